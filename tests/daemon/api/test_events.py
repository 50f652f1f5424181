"""The stream of events: who listens hears what happens, nobody who doesn't keep up holds anybody up."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_agent.daemon.web import stream


class Ear:
    """Listens on a bare connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while (line := self._file.readline().rstrip()) != b"":
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def hang_up(self) -> None:
        """Leave, also while someone still reads."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self._file.close()

    def lines(self) -> Iterator[str]:
        """What is said, without the chunks' lengths."""
        rest = b""
        while length := int(self._file.readline(), 16):
            rest += self._file.read(length)
            self._file.readline()
            *whole, rest = rest.split(b"\n")
            yield from (line.decode() for line in whole)

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens."""
        for line in self.lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


@contextmanager
def listening(api: Any) -> Iterator[Ear]:
    with api.raw() as connection:
        connection.sendall(
            f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\n"
            f"Authorization: Bearer {api.keys.token}\r\n\r\n".encode()
        )
        ear = Ear(connection)
        try:
            yield ear
        finally:
            ear.hang_up()


def the_stream(api: Any) -> stream.Stream:
    found: stream.Stream = api.server._app.state.stream
    return found


def test_what_happens_is_told(api: Any, till: Any, sale: Any) -> None:
    """A sale that head office takes is told to who listens, after a word of welcome."""
    with listening(api) as ear:
        assert (ear.status, ear.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        events = ear.events()
        assert next(events) == {"event": "connected", "details": {}}
        sold = api.post("/v1/sales", sale()).json["external_id"]
        till.agent.sync()
        told = next(event for event in events if event["event"] == "sale created")
        assert told["details"]["external_id"] == sold


def test_how_far_a_sync_is_is_told(lone_api: Any) -> None:
    """Progress is told, not more than ten times a second, and its end always."""
    with listening(lone_api) as ear:
        events = ear.events()
        next(events)
        for done in range(1_001):
            details = {"step": "products", "done": str(done), "total": "1000"}
            lone_api.agent._news.tell("sync progress", details)
        told = []
        for event in events:
            told.append(event["details"])
            if event["details"]["done"] == "1000":
                break
    assert told[0] == {"step": "products", "done": "0", "total": "1000"}
    assert len(told) < 200


def test_a_quiet_stream_shows_that_it_lives(lone_api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment comes when nothing happens."""
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    with listening(lone_api) as ear:
        assert any(line.startswith(":") for line in ear.lines())


def test_the_stream_ends_when_the_agent_stops(agent: Any, serve: Any) -> None:
    """Stopping says so to who listens, and waits for nobody."""
    api = serve(agent)
    with listening(api) as ear:
        events = ear.events()
        next(events)
        assert api.server.stop(5)
        assert [event["event"] for event in events] == ["stopping"]


def test_who_is_too_slow_is_dropped(lone_api: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any) -> None:
    """Who doesn't read loses events and the stream, with a last word; who tells never waits."""
    monkeypatch.setattr(stream, "WAITING_MAX", 4)
    with listening(lone_api) as slow:
        told = the_stream(lone_api)
        [first] = told._listeners
        words = {"words": "x" * 65_536}
        while first.ended is None:  # until what lies between the two is full
            told.tell("news", words)
            threading.Event().wait(0.001)
        assert first.ended == "too slow"
        last = list(slow.events())[-1]
        assert last["event"] == "too slow"
        wait_until(lambda: first not in told._listeners)
    wait_until(lambda: not told._listeners)


def test_who_reads_nothing_is_let_go(lone_api: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any) -> None:
    """Who never reads does not keep its place, though it never hangs up."""
    monkeypatch.setattr(stream, "SEND_DEADLINE_S", 0.1)
    monkeypatch.setattr(stream, "WAITING_MAX", 4)
    told = the_stream(lone_api)
    with listening(lone_api):
        [first] = told._listeners
        while first.ended is None:
            told.tell("news", {"words": "x" * 65_536})
            threading.Event().wait(0.001)
        wait_until(lambda: not told._listeners)


def test_there_is_an_end_to_listeners(lone_api: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any) -> None:
    """One too many is refused in words; when one leaves there is room again, and nobody is told news any more."""
    monkeypatch.setattr(stream, "LISTENERS_MAX", 1)
    with listening(lone_api) as ear:
        next(ear.events())
        answer = lone_api.get("/v1/events")
        assert (answer.status, answer.json["code"]) == (503, "TOO_MANY_LISTENERS")
        assert answer.is_problem
    wait_until(lambda: not the_stream(lone_api)._listeners)
    with listening(lone_api) as ear:
        assert ear.status == 200
    wait_until(lambda: not lone_api.agent._news._listeners)
