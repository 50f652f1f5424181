"""Answers that are cut, dripped, reset or blown up: read whole or not at all, in bounded time and memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from edge_agent.errors import Unreachable
from edge_agent.head_office.body import read_body

BODY = json.dumps({"version": 7, "rows": ["x" * 50] * 400}).encode()
PACKED = gzip.compress(BODY)
PACE_S = 0.02

Talk = Callable[[socket.socket, threading.Event], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], str]]:
    """A server that says what the test says, byte by byte; gives its address."""
    stop = threading.Event()
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(talk: Talk) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    connection.recv(65_536)
                    talk(connection, stop)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    stop.set()
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(5)


def head(length: int | None, *more: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", "Connection: close", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def fetch(url: str, *, bytes_max: int = 10**6, deadline_s: float = 5, monotonic: Any = None) -> bytes:
    with httpx.Client(timeout=2) as client, client.stream("GET", url) as response:
        return read_body(
            response, bytes_max=bytes_max, deadline_s=deadline_s, **({"monotonic": monotonic} if monotonic else {})
        )


def said(*parts: bytes) -> Talk:
    def talk(connection: socket.socket, stop: threading.Event) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


def test_a_whole_answer_is_read(serve: Any) -> None:
    """Plain, packed and chunked answers come out as they were meant."""
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PACKED), PACKED)
    for talk in (
        said(head(len(BODY)), BODY),
        said(head(len(PACKED), "Content-Encoding: gzip"), PACKED),
        said(head(len(PACKED), "Content-Encoding: GZIP"), PACKED[:10], PACKED[10:]),
        said(head(None, "Content-Encoding: gzip", "Transfer-Encoding: chunked"), chunk),
        said(head(None), BODY),
    ):
        assert fetch(serve(talk)) == BODY
    assert fetch(serve(said(head(0)))) == b""


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_packed_answer_cut_short_behind_a_fitting_length_is_incomplete(serve: Any, kept: float) -> None:
    """Half a gzip with the length of a half is no answer, however well it unpacks."""
    part = PACKED[: int(len(PACKED) * kept)]
    with pytest.raises(Unreachable) as error:
        fetch(serve(said(head(len(part), "Content-Encoding: gzip"), part)))
    assert error.value.reason == "incomplete"


def test_a_packed_answer_without_its_check_sum_is_incomplete(serve: Any) -> None:
    """Every byte there but the end mark: not complete."""
    part = PACKED[:-8]
    with pytest.raises(Unreachable):
        fetch(serve(said(head(len(part), "Content-Encoding: gzip"), part)))


@pytest.mark.parametrize(
    "packed", [PACKED[:50] + b"\0" * 50 + PACKED[100:], b"not gzip at all", PACKED + b"more", PACKED + PACKED]
)
def test_a_damaged_packed_answer_is_incomplete(serve: Any, packed: bytes) -> None:
    """What does not unpack to its end mark, and there ends, is no answer."""
    with pytest.raises(Unreachable) as error:
        fetch(serve(said(head(len(packed), "Content-Encoding: gzip"), packed)))
    assert error.value.reason == "incomplete"


def test_a_bomb_is_not_inflated(serve: Any) -> None:
    """An answer that unpacks beyond the limit is stopped at the limit, in memory as in time."""
    import tracemalloc

    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join([packer.compress(b"\0" * 10**6) for _ in range(300)] + [packer.flush()])
    url = serve(said(head(len(bomb), "Content-Encoding: gzip"), bomb))
    tracemalloc.start()
    try:
        with pytest.raises(Unreachable) as error:
            fetch(url, bytes_max=10**6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error.value.reason == "too_large"
    assert peak < 20 * 10**6


def test_an_endless_answer_is_stopped(serve: Any) -> None:
    """A plain answer beyond the limit is not read to its end."""

    def talk(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head(None))
        while not stop.is_set():
            connection.sendall(b"x" * 65_536)

    with pytest.raises(Unreachable) as error:
        fetch(serve(talk), bytes_max=10**6)
    assert error.value.reason == "too_large"


def test_an_answer_of_exactly_the_limit_is_taken(serve: Any) -> None:
    """The limit itself is allowed, packed or not; one byte more is not."""
    for talk in (said(head(len(BODY)), BODY), said(head(len(PACKED), "Content-Encoding: gzip"), PACKED)):
        url = serve(talk)
        assert fetch(url, bytes_max=len(BODY)) == BODY
        with pytest.raises(Unreachable):
            fetch(url, bytes_max=len(BODY) - 1)


def test_a_drip_is_ended_by_the_deadline(serve: Any) -> None:
    """Bytes that drip in below every read timeout end at the deadline of the whole answer."""

    def talk(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head(len(BODY)))
        for byte in BODY:
            connection.sendall(bytes([byte]))
            if stop.wait(PACE_S):
                return

    with pytest.raises(Unreachable) as error:
        fetch(serve(talk), deadline_s=0.2)
    assert error.value.reason == "timeout"


def test_a_short_answer_is_no_answer(serve: Any) -> None:
    """Fewer bytes than announced, or chunks without their end, are a fault of the line."""
    for talk in (
        said(head(len(BODY)), BODY[:100]),
        said(head(None, "Transfer-Encoding: chunked"), b"%x\r\n%s\r\n" % (100, BODY[:100])),
    ):
        with pytest.raises((httpx.HTTPError, Unreachable)):
            fetch(serve(talk))


def test_another_encoding_is_not_guessed(serve: Any) -> None:
    """The agent offers gzip alone; what comes in another coat is not taken for an answer."""
    with pytest.raises(Unreachable, match="encoding"):
        fetch(serve(said(head(len(BODY), "Content-Encoding: deflate"), BODY)))


def reset(connection: socket.socket, stop: threading.Event) -> None:
    import struct

    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut_in_the_head(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-")


def no_http(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH\r\n")


@pytest.mark.parametrize(
    "talk",
    [
        reset,
        cut_in_the_head,
        no_http,
        said(head(len(BODY)), BODY[:100]),
        said(head(100, "Content-Encoding: gzip"), PACKED[:100]),
    ],
)
def test_a_broken_line_costs_a_sale_nothing(serve: Any, write_home: Any, open_agent: Any, talk: Talk) -> None:
    """Whatever the line does to an answer, the cycle ends, says so, and the sale stays pending (G3, G11)."""
    from edge_agent import Item
    from edge_agent.settings import load_settings, save_settings, updated

    home = write_home(currency="IDR")
    save_settings(home, updated(load_settings(home), url=serve(talk)))
    agent = open_agent(home, read_timeout_s=1.0)
    agent.record_sale([Item("00000006-0000-4000-8000-000000000000", "1", "2.00")])
    report = agent.sync()
    assert [error.code for error in report.errors] == ["UNREACHABLE"]
    assert agent.status()["pending"] == 1


def test_nobody_at_the_address_is_said_in_words(agent: Any) -> None:
    """A head office that is away is an error for people, not a trace for programmers."""
    [error] = agent.sync().errors
    assert (error.code, error.message) == ("UNREACHABLE", "head office can't be reached")
    assert error.hint


def test_a_certificate_file_that_is_not_there_is_named(write_home: Any, open_agent: Any) -> None:
    """A private certificate authority that is missing or broken is a fault of the settings, said as such."""
    agent = open_agent(write_home(currency="IDR"), url="https://127.0.0.1:9", ca_file="/nowhere/ca.pem")
    [error] = agent.sync().errors
    assert "ca_file" in error.message + error.hint


def test_a_key_that_no_header_takes_is_no_crash(write_home: Any, open_agent: Any) -> None:
    """A static key with letters no header may have is refused in words."""
    home = write_home(currency="IDR", auth_scheme="Token")
    (home / "credentials.json").write_text('{"password": "pä\\nss"}')
    assert open_agent(home).sync().errors
