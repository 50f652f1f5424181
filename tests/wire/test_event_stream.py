"""The stream of hints, read from a raw socket: bounded in time and size, and ended from any thread."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from edge_agent.clock import Clock
from edge_agent.errors import NotSignedIn, Refused, Unreachable
from edge_agent.head_office.auth import SecretFiles, Secrets
from edge_agent.head_office.client import HttpHeadOffice
from edge_agent.head_office.events import FLOOD_BYTES_MAX, LINE_BYTES_MAX, EventStream
from tests.wire.stage import HEAD, HINT, Actor, Stage

Make = Callable[..., Any]
QUICK_S = 3.0  # "at once", on a machine that runs many tests


@pytest.fixture
def listen(make_settings_for: Make) -> Make:
    """Makes a stream of hints from a stage: ``listen(stage, silence_s=…)``."""

    @contextlib.contextmanager
    def make(
        stage: Stage, silence_s: float = 10.0, access: str | None = "key", **settings: Any
    ) -> Iterator[EventStream]:
        secrets = SecretFiles(None, "credentials.json", Secrets(access=access, refresh="fresh", password="secret"))
        office = HttpHeadOffice(make_settings_for(None, url=stage.url, **settings), secrets, Clock())
        stream = office.events()
        assert stream is not None
        stream._silence_s = silence_s
        try:
            yield stream
        finally:
            stream.close()
            office.close()

    return make


def count(stream: EventStream) -> int:
    """Hints until the stream ends."""
    return sum(1 for _ in stream.hints())


def plays(*texts: bytes) -> Callable[[Actor], None]:
    return lambda actor: actor.says(*texts)


@pytest.mark.parametrize(
    ("texts", "hints"),
    [
        ([HINT], 1),
        ([HINT * 3], 3),
        ([HINT.replace(b"\n", b"\r\n")], 1),
        ([HINT.replace(b"\n", b"\r")], 1),
        ([bytes([byte]) for byte in HINT], 1),
        ([bytes([byte]) for byte in HINT.replace(b"\n", b"\r\n")], 1),
        ([b"event:changed\n\n"], 1),
        ([b"event: changed\ndata: no JSON at all\n\n"], 1),
        ([b"\xef\xbb\xbf: a mark\n\n" + HINT], 1),
        ([b": a comment\n\n", HINT, b": another\n\n"], 1),
        ([b"event: restored\ndata: {}\n\n", b"data: without a name\n\n", b"id: 7\nretry: 1\n\n"], 0),
        ([b"event: changed\nevent: other\n\n"], 0),
        ([b"event: changed\n"], 0),
        ([b"\n\n\n\n"], 0),
        ([b"\x00\xff\xfe\n\n" + HINT], 1),
    ],
)
def test_hints_are_read_in_every_form(listen: Make, texts: list[bytes], hints: int) -> None:
    """One hint for each ``changed`` that came whole, in whatever pieces and with whatever ends of lines."""
    with Stage(plays(HEAD, *texts)) as stage, listen(stage) as stream:
        stream.open()
        assert count(stream) == hints


def test_hints_come_while_the_stream_goes_on(listen: Make) -> None:
    """A hint is passed on when it is whole, not when more comes; chunks are no lines."""
    go_on = threading.Event()
    pieces = [b"5\r\nevent\r\n", b"%x\r\n" % (len(HINT) - 5) + HINT[5:] + b"\r\n"]

    def play(actor: Actor) -> None:
        actor.says(HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", *pieces)
        go_on.wait(10)
        actor.says(*pieces, b"0\r\n\r\n")

    with Stage(play) as stage, listen(stage) as stream:
        stream.open()
        hints = stream.hints()
        next(hints)
        go_on.set()
        assert len(list(hints)) == 1


def test_what_is_asked(listen: Make) -> None:
    """The contract's route and type, the kept sign-in, and nothing compressed."""
    with Stage(plays(HEAD)) as stage, listen(stage) as stream:
        stream.open()
        head = stage.heads[0].lower()
    assert head.startswith(b"get /api/v1/sync/events/?store_id=")
    for line in (b"accept: text/event-stream", b"accept-encoding: identity", b"authorization: bearer key"):
        assert b"\r\n" + line + b"\r\n" in head, line


def answer(status: str, kind: str, body: bytes, *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


JSON = "application/json"


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        (answer("200 OK", "text/html", b"<html>Please log in</html>"), Unreachable, "not_contract"),
        (answer("200 OK", JSON, b"{}"), Unreachable, "not_contract"),
        (answer("200 OK", "text/event-stream", HINT, "Content-Encoding: gzip"), Unreachable, "not_contract"),
        (answer("204 No Content", "text/event-stream", b""), Unreachable, "not_contract"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + HINT, Unreachable, "not_contract"),
        (answer("301 Moved", JSON, b"{}", "Location: http://elsewhere.example/"), Unreachable, "redirect"),
        (answer("404 Not Found", JSON, b'{"error": "no"}'), Unreachable, "route"),
        (answer("403 Forbidden", JSON, b'{"error": "no", "code": "FORBIDDEN"}'), Refused, ""),
        (answer("500 Oops", "text/plain", b"x" * 70_000), Unreachable, "too_large"),
        (answer("503 Busy", JSON, b"{}", "Retry-After: 77"), Unreachable, "busy"),
        (answer("401 No", JSON, b'{"detail": "expired"}'), NotSignedIn, ""),
        (b"SSH-2.0-OpenSSH_9\r\n", Unreachable, "network"),
        (b"", Unreachable, "network"),
    ],
)
def test_an_answer_that_is_no_stream(listen: Make, said: bytes, error: type[Exception], reason: str) -> None:
    """Whatever else answers is sorted by what to do about it, and asked once: no redirect followed, no sign-in."""
    with Stage(plays(said)) as stage, listen(stage) as stream:
        with pytest.raises(error) as refusal:
            stream.open()
        assert getattr(refusal.value, "reason", "") == reason
        assert stage.asked == 1
        if reason == "busy":
            assert getattr(refusal.value, "retry_after_s", None) == 77


def test_without_a_kept_token_nothing_is_asked(listen: Make) -> None:
    """This client never signs in: the syncing one does."""
    with Stage(plays(HEAD)) as stage:
        with pytest.raises(NotSignedIn), listen(stage, access=None):
            pass
        assert stage.asked == 0


@pytest.mark.parametrize(
    "dribble",
    [b"", b": beginning of a line that never ends"[:1], b"."],
    ids=["nothing", "one byte", "bytes that drip"],
)
def test_silence_ends_the_stream(listen: Make, dribble: bytes) -> None:
    """No whole line for too long: dead, even if single bytes drip in."""

    def play(actor: Actor) -> None:
        actor.says(HEAD)
        while not actor.waits(0.02):
            actor.says(dribble)

    with Stage(play) as stage, listen(stage, silence_s=0.3) as stream:
        stream.open()
        with pytest.raises(Unreachable) as refusal:
            count(stream)
    assert refusal.value.reason == "timeout"


def test_comments_keep_it_alive(listen: Make) -> None:
    """A stream that says something now and then lives for longer than any one silence may be."""

    def play(actor: Actor) -> None:
        actor.says(HEAD)
        for _ in range(10):
            actor.waits(0.06)
            actor.says(b":\n\n")
        actor.says(HINT)

    with Stage(play) as stage, listen(stage, silence_s=0.5) as stream:
        stream.open()
        assert count(stream) == 1


@pytest.mark.parametrize(
    "flood",
    [b"x" * (LINE_BYTES_MAX * 2), b": y\n" * FLOOD_BYTES_MAX, HINT * 20_000],
    ids=["a line", "comments", "hints"],
)
def test_a_flood_is_no_stream_of_hints(listen: Make, flood: bytes) -> None:
    """A line without end, or more than a stream of hints can be, ends it: neither memory nor time goes down there."""

    def play(actor: Actor) -> None:
        with contextlib.suppress(OSError):
            actor.says(HEAD, flood)
            actor.waits_for_the_end()

    with Stage(play) as stage, listen(stage) as stream:
        stream.open()
        with pytest.raises(Unreachable) as refusal:
            count(stream)
    assert refusal.value.reason == "too_large"


@pytest.mark.parametrize("piece", [b"X-Drip: 1\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", b""])
def test_headers_that_do_not_end(listen: Make, piece: bytes) -> None:
    """Headers that drip in, interim answers without end, or no word at all: the deadline ends them."""

    def play(actor: Actor) -> None:
        with contextlib.suppress(OSError):
            actor.says(b"" if b"103" in piece or not piece else b"HTTP/1.1 200 OK\r\n")
            while not actor.waits(0.02):
                actor.says(piece)

    with Stage(play) as stage, listen(stage, read_timeout_s=0.3) as stream, pytest.raises(Unreachable) as refusal:
        stream.open()
    assert refusal.value.reason == "timeout"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["http", "https"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA, tmp_path: Path) -> tuple[ssl.SSLContext | None, str]:
    """A server's context and the file of its authority, where the line speaks TLS."""
    if request.param == "http":
        return None, ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, str(tmp_path / "ca.pem")


def test_hints_over_tls(listen: Make, tls: Any) -> None:
    """What TLS sends for itself is no hint and no silence; two hints in one record are two."""
    context, ca_file = tls

    def play(actor: Actor) -> None:
        actor.says(HEAD)
        actor.waits(0.3)  # what TLS sends for itself has long come
        actor.says(HINT + HINT, HINT)

    with Stage(play, tls=context) as stage, listen(stage, ca_file=ca_file) as stream:
        stream.open()
        assert count(stream) == 3


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + HINT + b"event: cha"], ids=["nothing", "headers", "half a hint"])
def test_another_thread_ends_the_wait_at_once(listen: Make, tls: Any, said: bytes) -> None:
    """Whatever the stream waits for, ``end`` ends it: nobody waits for a head office that says nothing."""
    context, ca_file = tls
    asked = threading.Event()

    def play(actor: Actor) -> None:
        actor.says(said)
        asked.set()
        actor.waits_for_the_end()

    with Stage(play, tls=context) as stage, listen(stage, silence_s=600, read_timeout_s=600, ca_file=ca_file) as stream:
        ended: list[BaseException] = []

        def read() -> None:
            try:
                stream.open()
                count(stream)
            except Unreachable as error:
                ended.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert asked.wait(10)
        began = time.monotonic()
        stream.end()
        reader.join(10)
        assert not reader.is_alive()
        assert time.monotonic() - began < QUICK_S
        assert len(ended) == 1
    stream.end()  # and once more, when all is over


def test_ended_before_it_began(listen: Make) -> None:
    """An end that comes first is not forgotten."""
    with Stage(lambda actor: actor.waits_for_the_end()) as stage, listen(stage) as stream:
        stream.end()
        with pytest.raises(Unreachable):
            stream.open()
