"""Hints: with the line up a change is on the till within two seconds; without them polling goes on."""

from __future__ import annotations

import contextlib
import logging
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from edge_agent.domain.pace import BURST, GAP_S, REFILL_S, Pace
from edge_agent.listener import reconnect_s
from edge_agent.loop import SyncLoop
from tests.wire.stage import HEAD, HINT, Actor, Stage

Make = Callable[..., Any]
NEVER_S = 3600  # a poll that no test waits for
PROMISE_S = 2.0
BUSY = 5.0  # how much slower a machine may be that runs many tests
HOLD = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1]) / sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def listening(make_till: Make, wait_until: Make) -> Make:
    """Tills whose loop runs and is quiet, connected to head office's hints: ``listening(**settings)``."""

    def make(**settings: Any) -> Any:
        till = make_till(**{"poll_interval_s": NEVER_S, **settings})
        till.agent.start()
        # One version for the first cycle, one for what may have been missed before the stream began.
        wait_until(lambda: Counter(till.paths()) == {"GET version": 2, "GET events": 1})
        wait_until(lambda: till.agent._background.events_state() == "connected")
        till.clock.advance(GAP_S)  # so that the next hint is the first of its second
        till.office.clear_requests()
        return till

    return make


@pytest.fixture
def on_stage(make_till: Make, make_office: Make) -> Iterator[Make]:
    """Tills whose stream of hints is played by a test: ``on_stage(play, **settings)`` gives the till and the stage."""
    with contextlib.ExitStack() as stages:

        def make(play: Callable[[Actor], None], **settings: Any) -> tuple[Any, Stage]:
            office = make_office()
            stage = stages.enter_context(Stage(play, office.port))
            till = make_till(office, url=stage.url, **{"poll_interval_s": NEVER_S, **settings})
            stages.callback(till.agent.stop)
            return till, stage

        yield make


@contextlib.contextmanager
def held(home: Any, name: str) -> Iterator[None]:
    """Another process holds a lock of this home."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.kill()
        holder.communicate()


def price_of(till: Any) -> int:
    return int(till.agent.catalog.by_id(till.cola).price)


# ---- the promise -------------------------------------------------------------------------------------------------


def test_a_price_is_on_the_till_within_two_seconds(listening: Make, clock: Any) -> None:
    """With a poll an hour, what is edited at head office is on the till as fast as the line carries it."""
    till = listening()
    changed = threading.Event()
    till.agent.subscribe(lambda event: changed.set() if event.name == "catalogue changed" else None)
    took_s = []
    for price in range(1, 6):
        changed.clear()
        clock.advance(GAP_S)
        began = time.monotonic()
        till.office.world.edit("products", till.cola, price=f"{price}.00")
        assert changed.wait(PROMISE_S * BUSY)
        took_s.append(time.monotonic() - began)
        assert price_of(till) == price
    print(f"from the commit to the till: {', '.join(f'{s * 1000:.0f}' for s in took_s)} ms")
    assert till.agent.stop()


def test_a_price_and_its_promotion_come_with_one_hint(listening: Make, wait_until: Make) -> None:
    """Whatever head office commits together costs one round of requests, stock included."""
    till = listening()
    with till.office.world.db.write():
        till.office.world.edit("products", till.cola, price="1.00")
        till.office.world.delete("promotions", till.deal)
    wait_until(lambda: till.agent.catalog.by_id(till.cola).price == 1 and till.catalogue_agrees())
    wait_until(lambda: till.paths().count("GET stock") == 1)
    assert till.paths().count("GET products") == till.paths().count("GET promotions") == 1
    assert till.agent.stop()


def test_a_burst_of_edits_is_a_few_cycles(listening: Make, wait_until: Make) -> None:
    """A thousand edits don't cost a thousand rounds of requests: the first at once, then one a second."""
    till = listening()
    began = time.monotonic()
    for number in range(1, 1_001):
        till.office.world.edit("products", till.cola, price=f"{number}.00")
    wait_until(lambda: price_of(till) == 1_000)
    assert till.paths().count("GET stock") <= 2 + (time.monotonic() - began) / GAP_S  # one a cycle
    assert till.agent.stop()


def test_a_hint_without_a_change_costs_one_request(on_stage: Make, wait_until: Make) -> None:
    """An empty hint is answered by the version's 304, and writes nothing."""
    go_on = threading.Event()

    def play(actor: Actor) -> None:
        actor.says(HEAD)
        go_on.wait(10)
        actor.says(HINT)
        actor.waits_for_the_end()

    till, _ = on_stage(play)
    till.agent.start()
    wait_until(lambda: till.paths() == ["GET version"] * 2)
    go_on.set()
    wait_until(lambda: len(till.office.requests) >= 3)
    assert [status for _, _, status in till.office.requests] == [304] * 3
    assert till.agent.stop()


def test_a_sale_beside_the_stream_is_a_push_alone(listening: Make, wait_until: Make) -> None:
    """A recorded sale wakes the loop for a push; it is no hint, and asks for no catalogue."""
    till = listening()
    till.sell()
    wait_until(lambda: till.office.world.sale_count() == 1)
    wait_until(lambda: till.agent.status()["pending"] == 0)
    assert till.paths() == ["POST sales"]
    till.office.world.edit("products", till.cola, price="1.00")
    wait_until(lambda: price_of(till) == 1)
    assert till.agent.stop()


# ---- without them polling goes on ----------------------------------------------------------------------------------


def hangs(actor: Actor) -> None:
    actor.waits_for_the_end()


def silent(actor: Actor) -> None:
    actor.says(HEAD)
    actor.waits_for_the_end()


def cut_soon(actor: Actor) -> None:
    actor.says(HEAD)
    actor.waits(0.2)


ANSWERS: dict[str, Callable[[Actor], None]] = {
    "refused": lambda actor: actor.says(b'HTTP/1.1 403 No\r\nContent-Length: 24\r\n\r\n{"error":"x","code":"x"}'),
    "html": lambda actor: actor.says(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"),
    "500": lambda actor: actor.says(b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"),
    "401": lambda actor: actor.says(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}"),
    "reset": lambda actor: actor.line.close(),
    "hangs": hangs,
    "silent": silent,
    "cut soon": cut_soon,
}


@pytest.mark.parametrize("how", ANSWERS)
def test_polling_goes_on_without_a_stream(
    on_stage: Make, wait_until: Make, how: str, caplog: pytest.LogCaptureFixture, clock: Any
) -> None:
    """Whatever becomes of the stream, changes come by polling, nothing shows as a failure, and the log has one line."""
    caplog.set_level(logging.INFO, "edge_agent")
    till, stage = on_stage(ANSWERS[how], poll_interval_s=1, read_timeout_s=0.5)
    till.agent.start()
    wait_until(lambda: stage.asked >= 1)
    for price in (1, 2, 3) if how == "cut soon" else (1,):
        till.office.world.edit("products", till.cola, price=f"{price}.00")
        wait_until(lambda price=price: price_of(till) == price)
    status = till.agent.status()
    assert status["last_error"] is None
    assert status["head_office"]["reachable"]
    assert till.failures() == 0
    assert till.agent.stop()
    assert len([record for record in caplog.records if record.name == "edge_agent"]) <= 1
    assert stage.asked <= 4


@pytest.mark.parametrize("play", [hangs, silent])
def test_stopping_does_not_wait_for_a_stream_that_says_nothing(on_stage: Make, wait_until: Make, play: Make) -> None:
    """A till is switched off at once, though the stream may be silent for much longer; no thread stays."""
    till, stage = on_stage(play)
    till.agent.start()
    wait_until(lambda: stage.asked == 1)
    began = time.monotonic()
    assert till.agent.stop(deadline_s=5)
    assert time.monotonic() - began < 3
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-agent-events"]
    assert till.agent._background.events_state() == "off"


def test_it_can_be_stopped_and_started_again(listening: Make, wait_until: Make) -> None:
    """A new start listens anew."""
    till = listening()
    assert till.agent.stop()
    wait_until(lambda: till.office.world.bell.listeners == 0)
    till.office.world.edit("products", till.cola, price="1.00")
    till.agent.start()
    wait_until(lambda: price_of(till) == 1 and till.agent._background.events_state() == "connected")
    till.office.world.edit("products", till.cola, price="2.00")
    wait_until(lambda: price_of(till) == 2)
    assert till.agent.stop()


# ---- coming back ---------------------------------------------------------------------------------------------------


def test_what_was_missed_is_asked_for_when_the_stream_is_back(listening: Make, wait_until: Make, clock: Any) -> None:
    """A change while the stream was away comes with the new stream, not with the next poll."""
    till = listening()
    clock.rolls = 0.1
    till.office.stop()
    wait_until(lambda: till.agent._background.events_state() == "reconnecting")
    till.office.world.edit("products", till.cola, price="1.00")
    till.office.start()
    wait_until(lambda: price_of(till) == 1)
    wait_until(lambda: till.agent._background.events_state() == "connected")
    assert till.agent.stop()


def test_a_retry_after_is_kept(on_stage: Make, wait_until: Make, clock: Any) -> None:
    """Head office's word when to come back counts, whatever the cycles find meanwhile."""
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 600\r\nContent-Length: 2\r\n\r\n{}"
    till, stage = on_stage(lambda actor: actor.says(busy))
    till.agent.start()
    wait_until(lambda: stage.asked == 1)
    for _ in range(5):
        clock.advance(100)
        till.agent._background._loop.hint()
        asked = len(till.office.requests)
        wait_until(lambda asked=asked: len(till.office.requests) > asked)
    assert stage.asked == 1
    clock.advance(200)
    till.agent._background._loop.hint()
    wait_until(lambda: stage.asked == 2)
    assert till.agent.stop()


def test_a_dead_head_office_is_not_asked_for_a_stream(listening: Make, wait_until: Make, clock: Any) -> None:
    """While the circuit says wait, its one probe is all; when head office is back, so is the stream."""
    till = listening()
    clock.rolls = 0.999
    till.office.stop()
    till.agent._background._loop.hint()
    wait_until(lambda: till.failures() == 1)
    clock.advance(100)  # the circuit's wait is over, and the stream's own with it
    till.agent._background._loop.hint()
    wait_until(lambda: till.failures() == 2)
    till.office.start()
    till.office.clear_requests()
    clock.advance(2)
    till.agent._background.wake()
    threading.Event().wait(0.5)
    assert till.agent._syncer._circuit.state().waits(clock.now_ms())
    assert till.paths() == []
    clock.advance(100)
    till.agent._background.wake()
    wait_until(lambda: till.agent._background.events_state() == "connected")
    assert till.paths()[0] == "GET version"
    assert till.agent.stop()


def test_it_never_signs_in_itself(listening: Make, wait_until: Make, clock: Any) -> None:
    """A refused token is left to the next regular cycle, so that no refresh token is spoilt by two who use it."""
    till = listening()
    world, office = till.office.world, till.office
    world.expire_tokens()
    office.stop()
    office.start()
    office.clear_requests()
    wait_until(lambda: ("GET", "/api/v1/sync/events/", 401) in office.requests)
    clock.advance(1_000)
    threading.Event().wait(0.3)
    assert till.paths() == ["GET events"]
    world.edit("products", till.cola, price="1.00")
    till.agent._background._next_full_s = 0  # the next poll is due
    till.agent._background.wake()
    wait_until(lambda: till.agent._background.events_state() == "connected")
    wait_until(lambda: price_of(till) == 1)
    assert [path for path in till.paths() if path.startswith("POST")] == ["POST refresh"]
    assert till.agent.stop()


def test_a_chain_does_not_reconnect_in_one_second() -> None:
    """A thousand devices whose head office restarted come back one after another, later and later if it stays away."""
    dice = random.Random(4)
    first = [reconnect_s(1, dice.random()) for _ in range(1_000)]
    assert min(first) >= 1.0
    assert max(Counter(int(s) for s in first).values()) < 200
    late = [reconnect_s(30, dice.random()) for _ in range(1_000)]
    assert 200 < max(late) <= 301
    asked = [reconnect_s(1, dice.random(), retry_after_s=60) for _ in range(1_000)]
    assert min(asked) >= 60
    assert max(Counter(int(s) for s in asked).values()) < 400


# ---- who listens, and when -----------------------------------------------------------------------------------------


def test_a_head_office_without_events_is_not_asked(make_till: Make, make_office: Make, wait_until: Make) -> None:
    """No announcement, no request and no thread."""
    till = make_till(make_office(profile="baseline"), poll_interval_s=1, currency="IDR", timezone="Asia/Jakarta")
    till.agent.start()
    wait_until(lambda: till.paths().count("GET version") >= 2)
    assert "GET events" not in till.paths()
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-agent-events"]
    assert till.agent._background.events_state() == "off"
    assert till.agent.stop()


def test_the_announcement_is_followed_as_it_changes(listening: Make, wait_until: Make, monkeypatch: Any) -> None:
    """Head office takes the ability back: the stream is closed. It offers it again: so does the till."""
    from ho_stub import version

    till = listening()
    offered = version.CAPABILITIES
    monkeypatch.setattr(version, "CAPABILITIES", tuple(name for name in offered if name != "events"))
    till.office.world.edit("products", till.cola, price="1.00")
    wait_until(lambda: till.office.world.bell.listeners == 0)
    wait_until(lambda: till.agent._background.events_state() == "off")
    monkeypatch.setattr(version, "CAPABILITIES", offered)
    till.agent._background._loop.hint()
    wait_until(lambda: till.agent._background.events_state() == "connected")
    assert till.agent.stop()


def test_one_process_of_a_home_listens(make_till: Make, wait_until: Make) -> None:
    """While another process holds the loop's lock, this one only polls; when that one ends, this one listens."""
    till = make_till(poll_interval_s=1)
    with held(till.agent.home, "loop.lock"):
        till.agent.start()
        wait_until(lambda: till.paths().count("GET version") >= 2)
        assert "GET events" not in till.paths()
    wait_until(lambda: till.agent._background.events_state() == "connected")
    assert till.agent.stop()


def test_a_hint_is_not_lost_while_another_process_syncs(listening: Make, wait_until: Make) -> None:
    """The other may have asked before the change: the hint waits until this one's turn."""
    till = listening()
    with held(till.agent.home, "sync.lock"):
        till.office.world.edit("products", till.cola, price="1.00")
        threading.Event().wait(1.0)
        assert till.paths() == []
    wait_until(lambda: price_of(till) == 1)
    assert till.agent.stop()


def test_a_fault_of_ours_does_not_end_listening(listening: Make, wait_until: Make, monkeypatch: Any) -> None:
    """Whatever goes wrong in the thread is told in the log, and it tries again (G11)."""
    from edge_agent.head_office.events import EventStream

    opening, failing = EventStream.open, [True]

    def once(stream: Any) -> None:
        if failing:
            failing.clear()
            raise AttributeError("a mistake")
        opening(stream)

    till = listening()
    monkeypatch.setattr(EventStream, "open", once)
    till.office.stop()
    till.office.start()
    wait_until(lambda: not failing)
    wait_until(lambda: till.agent._background.events_state() == "connected")
    assert till.agent.stop()


# ---- a head office that hints without end ----------------------------------------------------------------------------


def test_hints_without_end_are_limited(on_stage: Make, wait_until: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A head office that hints all the time is asked at the pace's rate, and the log says so once."""

    def play(actor: Actor) -> None:
        with contextlib.suppress(OSError):
            actor.says(HEAD)
            while not actor.waits(0.01):
                actor.says(HINT)

    till, stage = on_stage(play)
    pace = Pace(gap_s=0.05, burst=5, refill_s=0.2)
    till.agent.start()
    till.agent._background._loop._pace = pace
    wait_until(lambda: "without end" in caplog.text)
    till.office.clear_requests()
    threading.Event().wait(1.0)
    assert len(till.office.requests) <= 5 + 3
    assert caplog.text.count("without end") == 1
    assert stage.asked == 1
    assert till.agent.stop()


def test_the_pace_lets_the_first_through_at_once_and_the_rest_in_time() -> None:
    """At once; a second between two; a bucket for busy minutes; then one every other second, so never more than two."""
    pace, now, began = Pace(), 1_000.0, []
    assert pace.wait_s(now) == 0
    while now < 1_120:
        now += pace.wait_s(now)
        began.append(now)
        emptied = pace.took(now)
    gaps = [later - earlier for earlier, later in pairwise(began)]
    assert min(gaps) >= GAP_S
    assert max(gaps) <= REFILL_S
    assert emptied
    first_minute = sum(moment < 1_060 for moment in began)
    assert first_minute <= 60 / REFILL_S + BURST
    assert pace.wait_s(now + 3_600) == 0
    assert not pace.took(now + 3_600)


class Script:
    """A loop's cycles, as they ran."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.ran = threading.Condition()
        self.loop = SyncLoop(self.cycle, lambda: 60.0, self.failed)
        self.loop.start()

    def cycle(self, push_only: bool, asked: bool) -> None:
        with self.ran:
            self.kinds.append("push" if push_only else "full")
            self.ran.notify_all()

    def failed(self, error: Exception) -> None:
        raise AssertionError from error

    def wait_for(self, *kinds: str) -> None:
        with self.ran:
            assert self.ran.wait_for(lambda: self.kinds == list(kinds), 10), self.kinds


def test_what_wakes_the_loop_decides_what_it_does() -> None:
    """A sale: a push. A hint: a whole cycle, at once; the next one waits its second, and no sale waits for it."""
    script = Script()
    try:
        script.wait_for("full")
        script.loop.wake()
        script.wait_for("full", "push")
        script.loop.hint()
        script.wait_for("full", "push", "full")
        for _ in range(100):
            script.loop.hint()
        script.loop.wake()
        script.wait_for("full", "push", "full", "push")
        script.wait_for("full", "push", "full", "push", "full")
    finally:
        assert script.loop.stop(5)
