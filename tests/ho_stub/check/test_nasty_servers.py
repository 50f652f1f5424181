"""Whatever answers, the check ends in time with a report, and never with a traceback."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from typer.testing import CliRunner

from ho_stub.check import line
from ho_stub.check.inspection import inspect
from ho_stub.check.options import Options
from ho_stub.check.report import FAILS, SIGN_IN, UNREACHABLE, text
from ho_stub.cli import main
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ho_stub.check.report import Report

COMPANY, BRAND, STORE = (f"0000000{n}-aaaa-4000-8000-000000000000" for n in (1, 2, 3))
TIMEOUT_S = 0.4
ENDS_S_MAX = 15.0
SEED = 20261121

Talk = "Callable[[socket.socket], None]"


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(headers or ("Content-Type: application/json",))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """Talks to each connection as the test says; remembers nothing."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.over = threading.Event()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            self._talk(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], Server]]:
    """Makes servers, and closes them."""
    servers: list[Server] = []

    def make(talk: Callable[[socket.socket], None]) -> Server:
        servers.append(Server(talk))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def each_request(connection: socket.socket, reply: Callable[[str], bytes]) -> None:
    """Answer request after request; a request's body is read by its length."""
    stream = connection.makefile("rb")
    while head := stream.readline():
        length = 0
        while (header := stream.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        stream.read(length)
        connection.sendall(reply(head.decode().split(" ")[1]))


def check(url: str, **more: Any) -> Report:
    began = time.monotonic()
    options = {"write": True, "timeout_s": TIMEOUT_S, "deadline_s": 8.0} | more
    report = inspect(Options(url, "pos-02", "secret", COMPANY, BRAND, STORE, **options))
    assert time.monotonic() - began < ENDS_S_MAX
    assert text(report)
    assert json.loads(json.dumps(report.as_json()))["exit_code"] == report.exit_code
    return report


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def drips(connection: socket.socket) -> None:
    """A byte of the headers at a time, each within any read timeout."""
    connection.recv(65_536)
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1_000:
        connection.sendall(bytes((byte,)))
        threading.Event().wait(0.05)


def hangs_up(connection: socket.socket) -> None:
    connection.recv(65_536)


@pytest.mark.parametrize("talk", [says_nothing, drips, hangs_up])
def test_what_gives_no_answer_is_unreachable(serve: Any, talk: Any) -> None:
    """Silence, a drip of bytes, a line that is cut: told after one timeout."""
    report = check(serve(talk).url)
    assert report.exit_code == UNREACHABLE
    assert report.stopped


def test_a_closed_port_is_unreachable() -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert check(f"http://127.0.0.1:{port}").exit_code == UNREACHABLE


@pytest.mark.parametrize(
    ("reply", "ends"),
    [
        (answer(b"<!doctype html><title>Hello</title>", "200 OK", "Content-Type: text/html"), UNREACHABLE),
        (answer(b"<html>Bad gateway</html>", "502 Bad Gateway", "Content-Type: text/html"), UNREACHABLE),
        (answer(b"", "301 Moved", "Location: https://127.0.0.1/"), UNREACHABLE),
        (answer(b"", "302 Found"), UNREACHABLE),
        (answer(b'{"error": "oh"}', "500 Oh"), FAILS),
        (answer(b"null"), FAILS),
        (answer(b"[]"), FAILS),
        (answer(b"[" * 100_000), FAILS),
        (answer(b'{"access": 1}'), FAILS),
        (answer(b'{"access": "x"}'), FAILS),
        (answer(b'{"access": "x", "version": NaN}'), FAILS),
        (answer(b"\xff\xfe{", "200 OK", "Content-Type: application/json"), FAILS),
        (answer(b"", "204 No Content"), FAILS),
        (answer(b'{"detail": "no"}', "401 No"), SIGN_IN),
        (answer(b"{}", "429 Slow", "Retry-After: 0"), FAILS),
        (answer(b"{}", "503 Later", "Retry-After: soon"), FAILS),
        (answer(gzip.compress(b"{}" * 100, mtime=0)[:-8], "200 OK", "Content-Encoding: gzip"), UNREACHABLE),
        (answer(b"no gzip", "200 OK", "Content-Encoding: gzip"), UNREACHABLE),
        (answer(b"{}", "200 OK", "Content-Encoding: br"), UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", UNREACHABLE),
        (b"not http at all\r\n\r\n", UNREACHABLE),
    ],
)
def test_the_same_answer_to_everything(serve: Any, reply: bytes, ends: int) -> None:
    """One answer for all routes, of any kind: a report, and the exit code that fits."""
    report = check(serve(lambda connection: each_request(connection, lambda _: reply)).url)
    assert report.exit_code == ends


def tokens_else(reply: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """Signs in well; all else as told."""
    good = answer(b'{"access": "x", "refresh": "y"}')
    return lambda path: good if "/token/" in path else answer(b'{"status": "ok"}') if "health" in path else reply(path)


VERSION = b'{"version": 1, "last_updated": null, "force_update": false, "capabilities": ["cursor", "digest", "stock"]}'


def test_a_certificate_must_be_trusted(serve: Any, tmp_path: Path) -> None:
    """Unknown: unreachable, and said to be for its certificate; named by --ca: encrypted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            each_request(wrapped, lambda _: answer(b'{"detail": "no"}', "401 No"))

    url = serve(talk).url.replace("http:", "https:")
    report = check(url, timeout_s=3)
    assert report.exit_code == UNREACHABLE
    assert "certificate is not trusted" in report.results[0].finding.seen
    report = check(url, timeout_s=3, ca=str(tmp_path / "ca.pem"))
    assert report.exit_code == SIGN_IN
    assert next(one.finding.verdict for one in report.results if one.check.id == "line.tls") == "pass"


def test_a_feed_without_an_end(serve: Any) -> None:
    """Every page promises one more."""
    pages = iter(range(10**9))

    def reply(path: str) -> bytes:
        if "version" in path:
            return answer(VERSION)
        body: dict[str, Any] = {name: [] for name in ("categories", "products", "promotions", "stock")}
        return answer(json.dumps(body | {"has_more": True, "next_cursor": f"c{next(pages)}"}).encode())

    report = check(serve(lambda one: each_request(one, tokens_else(reply))).url, deadline_s=1.5)
    assert report.exit_code == FAILS


def test_a_body_that_is_too_large(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer beyond the limit is given up, plain or packed."""
    monkeypatch.setattr(line, "ANSWER_BYTES_MAX", 1_000_000)
    bomb = gzip.compress(b'{"x": "' + b"0" * 3_000_000 + b'"}', mtime=0)

    def reply(path: str) -> bytes:
        if "version" in path:
            return answer(VERSION)
        return answer(bomb, "200 OK", "Content-Encoding: gzip") if "products" in path else answer(b"0" * 3_000_000)

    report = check(serve(lambda one: each_request(one, tokens_else(reply))).url)
    assert report.exit_code in (FAILS, UNREACHABLE)
    assert any("larger" in result.finding.seen for result in report.results)


JUNK: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "2026-13-01",
    [],
    [None],
    [[]],
    {},
    {"id": None},
    "null",
    10**30,
    ["a", 1],
)


def junk_of(dice: random.Random, value: Any) -> Any:
    """The value with something wrong in it, here and there."""
    if dice.random() < 0.08:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        return {name: junk_of(dice, inner) for name, inner in value.items() if dice.random() > 0.03}
    return [junk_of(dice, one) for one in value] if isinstance(value, list) else value


def survives_junk(profile: Any, twist: Any, seeds: range) -> None:
    for seed in seeds:
        office, dice = HeadOffice(profile=profile), random.Random(seed)
        twist(office, lambda _m, path, _q, status, _h, body: (status, body if "token" in path else junk_of(dice, body)))  # noqa: B023 - used in its turn
        with office:
            given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
            report = inspect(Options(office.url, *given, write=True, timeout_s=3, deadline_s=10))
        assert report.exit_code == FAILS, seed
        assert text(report)
        assert json.dumps(report.as_json())


def test_answers_with_junk_in_them(twist: Any) -> None:
    """Good answers with wrong kinds, nulls and missing fields anywhere: each check ends with a finding."""
    survives_junk("native", twist, range(SEED, SEED + 1))


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_answers_with_much_junk(profile: Any, twist: Any) -> None:
    """The same with many seeds."""
    survives_junk(profile, twist, range(SEED, SEED + 15))


def test_a_head_office_that_asks_to_wait_is_waited_for() -> None:
    """429 and 503 with Retry-After, in seconds or as a date: the same is asked again, and nothing counts as a gap."""
    waits = itertools.cycle([None, (429, "0"), None, None, (503, "Sat, 21 Nov 2026 09:15:02 GMT")])

    def busy(method: str, path: str) -> Any:
        found = next(waits)
        return found and (found[0], {"Retry-After": found[1]}, {"error": "Later.", "code": "RATE_LIMITED"})

    with HeadOffice() as office:
        office.intercept = busy
        given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
        report = inspect(Options(office.url, *given, only=("lists.", "cursor.", "line.retry-after")))
        assert report.exit_code == 0
        assert any(status == 429 for _, _, status in office.requests)
        office.intercept = lambda method, path: (429, {}, {}) if "digest" in path else None
        report = inspect(Options(office.url, *given, only=("digest.", "line.retry-after")))
        assert {one.check.id for one in report.results if one.finding.verdict == "gap"} == {"line.retry-after"}


def test_a_token_that_expires_meanwhile_is_renewed() -> None:
    """The check takes longer than an access token lives: it signs in again."""
    with HeadOffice() as office:
        asked = itertools.count()
        office.intercept = lambda *_: office.world.expire_tokens() if next(asked) % 20 == 19 else None
        given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
        report = inspect(Options(office.url, *given, only=("lists.", "cursor.", "digest.")))
        assert report.exit_code == 0
        assert next(asked) > 40


def test_one_route_that_hangs_is_not_the_whole_office() -> None:
    """It is told to fail; what doesn't rest on it is checked."""
    with HeadOffice() as office:
        office.faults.add("close", route="products")
        given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
        report = inspect(Options(office.url, *given, timeout_s=TIMEOUT_S))
        verdicts = {one.check.id: one.finding.verdict for one in report.results}
        assert (report.exit_code, report.stopped) == (FAILS, "")
        assert (verdicts["lists.form"], verdicts["stock.form"]) == ("fail", "pass")


def test_the_command_ends_without_a_traceback() -> None:
    """Unreachable: exit code 3 and the report."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = ["--company", COMPANY, "--brand", BRAND, "--store", STORE]
    told = CliRunner().invoke(main, ["check", f"http://127.0.0.1:{port}", "--username", "x", "--password", "y", *where])
    assert told.exit_code == UNREACHABLE
    assert "can't be reached" in told.output
    assert "Traceback" not in told.output
