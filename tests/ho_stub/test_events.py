"""Server-sent events of the stub: a hint when the version moved, and nothing that costs when it did not."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ho_stub import bell as bells
from ho_stub import events
from ho_stub.testing import HeadOffice

Make = Callable[..., Any]
PATH = "/api/v1/sync/events/"
COLA = "00000006-0000-4000-8000-000000000000"


@dataclasses.dataclass
class Heard:
    """What a stream said so far."""

    response: httpx.Response
    chunks: Iterator[str]
    text: str = ""

    def until(self, is_so: Callable[[str], bool]) -> str:
        """Read on until what was said is enough; all of it."""
        end = time.monotonic() + 10
        while not is_so(self.text):
            assert time.monotonic() < end, self.text[-500:]
            self.text += next(self.chunks)
        return self.text

    def versions(self) -> list[int]:
        """Of the events that came whole."""
        said = [event for event in self.text.split("\n\n") if event.startswith("event: changed\n")]
        return [json.loads(event.partition("data: ")[2])["version"] for event in said]


@pytest.fixture
def listen(device: Any) -> Callable[..., contextlib.AbstractContextManager[Heard]]:
    """Opens a stream and reads its first comment."""

    @contextlib.contextmanager
    def open_one() -> Iterator[Heard]:
        with device.http.stream("GET", PATH, params={"store_id": device.office.store_id}, timeout=10) as response:
            heard = Heard(response, response.iter_text())
            heard.until(lambda text: text.endswith("\n\n"))
            yield heard

    return open_one


def test_a_stream_says_so_at_once(listen: Make, office: HeadOffice) -> None:
    """The first comment comes at once, in the type of the contract; it is announced, and logged once."""
    office.clear_requests()
    with listen() as heard:
        assert heard.response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in heard.response.headers
        assert heard.response.headers["x-ho-epoch"] == office.world.epoch
        assert heard.text.startswith(":")
        assert office.requests == [("GET", PATH, 200)]
        assert office.world.bell.listeners == 1
    assert "events" in httpx.get(f"{office.url}/openapi.json").text


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.edit("products", COLA, price="1.00"),
        lambda world: world.delete("products", COLA),
        lambda world: world.set_settings(future_days=30),
        lambda world: world.set_force_update(),
        lambda world: world.restore(world.snapshot()),
        lambda world: world.restore(world.snapshot(), new_epoch=False),
    ],
    ids=["edit", "delete", "settings", "force_update", "restore", "silent restore"],
)
def test_whatever_moves_the_version_is_told(listen: Make, office: HeadOffice, change: Make) -> None:
    """An edit, a deletion, settings, a wish for snapshots, a restore: each is told, with the version of then."""
    with listen() as heard:
        change(office.world)
        heard.until(lambda _text: bool(heard.versions()))
        assert heard.versions() == [office.world.db.current("change")]


def test_a_new_day_is_told(listen: Make, office: HeadOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promotion that leaves the window because a day passed is told though nobody edited or asked anything."""
    ends = {"start_date": None, "end_date": "2198-12-01", "time_start": None, "time_end": None, "days_of_week": None}
    office.world.edit("promotions", office.world.live_ids("promotions")[0], validity=ends)
    assert len(office.world.live_ids("promotions")) == 1
    monkeypatch.setattr(events, "COMMENT_EVERY_S", 0.02)
    with listen() as heard:
        office.world._today = dt.date(2199, 1, 1)  # what a clock does: it moves and tells nobody
        heard.until(lambda _text: bool(heard.versions()))
        assert office.world.live_ids("promotions") == []


def test_what_does_not_move_the_version_is_not_told(
    listen: Make, device: Any, office: HeadOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sales, stock and sign-ins are commits too, but no reason to pull; comments show that the stream lives."""
    monkeypatch.setattr(events, "COMMENT_EVERY_S", 0.02)
    with listen() as heard:
        office.world.set_stock(COLA, "5")
        device.sign_in()
        office.world.expire_tokens()
        heard.until(lambda text: text.count("\n: ") >= 3)
        assert heard.versions() == []
        with contextlib.suppress(KeyError), office.world.db.write():
            office.world.edit("products", COLA, price="9.99")
            raise KeyError  # rolled back: nothing happened
        office.world.edit("products", COLA, price="1.00")
        heard.until(lambda _text: bool(heard.versions()))
        assert heard.versions() == [office.world.db.current("change")]


def test_a_burst_is_few_events(listen: Make, office: HeadOffice) -> None:
    """A thousand edits are a handful of events, and the last one names the last version."""
    began = time.monotonic()
    with listen() as heard:
        for number in range(1_000):
            office.world.edit("products", COLA, price=f"{number}.00")
        last = office.world.db.current("change")
        heard.until(lambda _text: heard.versions()[-1:] == [last])
        assert len(heard.versions()) <= (time.monotonic() - began) / events.BURST_S + 2


def test_many_streams_are_cheap(listen: Make, office: HeadOffice) -> None:
    """Fifty streams hear of one commit by one call into the server's loop; when they are gone, nothing is left."""
    calls: list[object] = []
    wake = office.world.bell._wake
    office.world.bell._wake = lambda loop: (calls.append(loop), wake(loop))[1]  # type: ignore[method-assign, func-returns-value]
    with contextlib.ExitStack() as opened:
        heard = [opened.enter_context(listen()) for _ in range(50)]
        office.world.edit("products", COLA, price="1.00")
        for one in heard:
            one.until(lambda _text, one=one: bool(one.versions()))
        assert len(calls) == 1
    _soon(lambda: office.world.bell.listeners == 0)
    office.world.edit("products", COLA, price="2.00")
    assert len(calls) == 1


def test_sign_in_and_reach_are_checked_like_the_others(device: Any, office: HeadOffice) -> None:
    """401 without a sign-in, 400 without a store, 403 for a store of others; no stream opens."""
    ask = device.http.get
    assert httpx.get(office.url + PATH, params={"store_id": office.store_id}).status_code == 401
    assert ask(PATH).json()["code"] == "MISSING_STORE_ID"
    assert ask(PATH, params={"store_id": "no id"}).json()["code"] == "INVALID_ID"
    refused = ask(PATH, params={"store_id": "00000000-0000-4000-8000-00000000dead"})
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert office.world.bell.listeners == 0


def test_a_baseline_head_office_has_none() -> None:
    """Events are native: no route, no announcement."""
    with HeadOffice(profile="baseline") as office:
        key = {"Authorization": f"Token {office.static_key}"}
        assert httpx.get(office.url + PATH, params={"store_id": office.store_id}, headers=key).status_code == 404


def test_stopping_ends_streams_at_once_and_they_can_come_back(listen: Make, office: HeadOffice) -> None:
    """A stop cuts every stream without waiting; the next start serves new ones."""
    with listen() as heard:
        began = time.monotonic()
        office.stop()
        assert time.monotonic() - began < 5
        with pytest.raises(httpx.HTTPError):
            heard.until(lambda _text: False)
    assert office.world.bell.listeners == 0
    office.start()
    with listen() as heard:
        office.world.edit("products", COLA, price="1.00")
        heard.until(lambda _text: bool(heard.versions()))


def test_an_intercept_answers_in_its_place(device: Any, office: HeadOffice) -> None:
    """A test may put any answer in the stream's place."""
    office.intercept = lambda _method, path: (503, {"Retry-After": "7"}, "busy") if path == PATH else None
    assert device.http.get(PATH).status_code == 503


def test_a_client_that_reads_nothing_holds_nobody_up(listen: Make, device: Any, office: HeadOffice) -> None:
    """One that never reads is filled up and left alone; the others hear of each change."""
    deaf = socket.create_connection(("127.0.0.1", office.port))
    try:
        deaf.sendall(
            f"GET {PATH}?store_id={office.store_id} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {device.http.headers['Authorization']}\r\n\r\n".encode()
        )
        _soon(lambda: office.world.bell.listeners == 1)
        with listen() as heard:
            office.world.edit("products", COLA, price="1.00")
            heard.until(lambda _text: bool(heard.versions()))
    finally:
        deaf.close()
    _soon(lambda: office.world.bell.listeners == 0)


def test_the_server_of_the_command_line_ends_its_streams(listen: Make, office: HeadOffice) -> None:
    """When the bell is closed, streams end by themselves, properly: a server that waits for them can stop."""
    with listen() as heard:
        office.world.bell.close()
        with pytest.raises(StopIteration):
            heard.until(lambda _text: False)


def test_a_loop_that_ended_is_no_trouble(office: HeadOffice) -> None:
    """A bell rung after a server's loop is gone wakes nobody and fails nothing."""
    import asyncio

    bell = bells.Bell(office.world.db)
    loop = asyncio.new_event_loop()
    bell._listeners[loop] = set()
    loop.close()
    bell.ring()


def _soon(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if is_so():
            return
        pause.wait(0.005)
    raise AssertionError("not so after 10 s")
