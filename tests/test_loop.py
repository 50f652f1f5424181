"""Syncing in the background of a POS: at once, when woken, one at a time, and never a storm of requests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import AlreadyRunning, EdgeAgent, Item

Make = Callable[..., Any]
COLA = "00000006-0000-4000-8000-000000000000"

HOLD = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1]) / "sync.lock"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_it_syncs_at_once_and_after_every_sale(make_till: Make, wait_until: Make) -> None:
    """The first cycle runs at once; a recorded sale wakes the loop, long before the next poll."""
    till = make_till(synced=False, poll_interval_s=3600)
    till.agent.start()
    wait_until(lambda: till.agent.catalog.search("").total == 3)
    till.sell()
    wait_until(lambda: till.office.world.sale_count() == 1)
    till.sell()
    wait_until(lambda: till.agent.status()["pending"] == 0)
    assert till.agent.stop()
    assert till.books_agree()


def test_starting_and_stopping_twice_is_once(make_till: Make) -> None:
    """A POS may start and stop as it likes; a stopped agent still sells, and can be started again."""
    till = make_till()
    till.agent.stop()
    for _ in range(2):
        till.agent.start()
        till.agent.start()
        assert till.agent.status()["daemon_running"]
        assert till.agent.stop()
        assert till.agent.stop()
    assert not till.agent.status()["daemon_running"]
    assert till.sell().state == "pending"


def test_stopping_does_not_wait_for_a_dead_line(make_till: Make, wait_until: Make) -> None:
    """A till is switched off at once, whatever the line does."""
    till = make_till()
    till.office.stop()
    till.sell()
    till.agent.start()
    wait_until(lambda: till.failures() > 0)
    assert till.agent.stop(deadline_s=5)


def test_a_quiet_loop_asks_little(make_till: Make, wait_until: Make, clock: Any) -> None:
    """With nothing to do, the loop asks once a poll, and once more when head office's stream of hints begins."""
    till = make_till(poll_interval_s=3600)
    till.agent.start()
    wait_until(lambda: len(till.office.requests) >= 3)
    assert not _grows(till.office.requests, wait_until)
    till.agent.stop()
    assert till.paths() == ["GET version", "GET events", "GET version"]


def _grows(requests: list[Any], wait_until: Make, *, by: int = 1, within_s: float = 0.8) -> bool:
    """Whether a list grows within a while."""
    import threading
    import time

    start, end, pause = len(requests), time.monotonic() + within_s, threading.Event()
    while time.monotonic() < end:
        if len(requests) >= start + by:
            return True
        pause.wait(0.02)
    return False


def test_a_head_office_that_is_out_of_order_is_not_hammered(make_till: Make, wait_until: Make, clock: Any) -> None:
    """While head office fails, many sales cause few requests: the lane waits, however often it is woken."""
    till = make_till(poll_interval_s=3600)
    clock.rolls = 0.5
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"})
    till.agent.start()
    wait_until(lambda: till.agent._outbox.lane("pull").failures > 0)
    till.sell()
    wait_until(lambda: till.agent._outbox.lane("sales").failures > 0)
    till.office.clear_requests()
    for _ in range(20):
        till.sell()
        till.agent._background.wake()
    assert not _grows(till.office.requests, wait_until, by=4, within_s=0.8)
    assert till.agent.stop()


def test_a_head_office_that_never_answered_is_not_hammered(make_till: Make, wait_until: Make, clock: Any) -> None:
    """Nor is one that this device has never reached: sales are no reason to ask a dead line again."""
    till = make_till(synced=False, poll_interval_s=3600)
    clock.rolls = 0.5
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"})
    till.agent.start()
    wait_until(lambda: till.agent._outbox.lane("pull").failures > 0)
    till.office.clear_requests()
    for _ in range(20):
        till.sell(currency="IDR")
        till.agent._background.wake()
    assert not _grows(till.office.requests, wait_until, by=1, within_s=0.8)
    assert till.agent.stop()


def test_it_comes_back_by_itself(make_till: Make, wait_until: Make, clock: Any) -> None:
    """When the line is back, sales go up with nobody at the keyboard and no new sale (G10)."""
    till = make_till(poll_interval_s=1)
    till.office.stop()
    till.agent.start()
    till.sell()
    wait_until(lambda: till.failures() > 0)
    till.office.start()
    wait_until(lambda: till.office.world.sale_count() == 1)
    assert till.agent.stop()


def test_an_outage_is_one_line_in_the_log(make_till: Make, clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whole cycles and those that only push take turns while a shop sells, and meet the same trouble at other steps:
    the log tells it once, then that it is over, and the next one anew."""
    till = make_till(poll_interval_s=600)
    cycle = till.agent._background._cycle
    caplog.set_level("INFO", "edge_agent")
    for outage in (1, 2):
        till.office.intercept = lambda method, path: (200, {"content-type": "text/html"}, "<h1>Free Wi-Fi</h1>")
        for number in range(12):
            till.sell()
            clock.advance(hours=1)
            cycle(number % 2 == 0, False)
        said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(said) == outage
        assert "something other than head office answered" in said[-1]
        till.office.intercept = None
        for _ in range(3):
            clock.advance(hours=2)
            cycle(False, False)
        assert caplog.text.count("head office answers again") == outage
    assert till.books_agree()


def test_a_paused_company_is_asked_whether_it_is_still_paused(make_till: Make, wait_until: Make) -> None:
    """``auto_sync_enabled: false`` stops the pulls, not the sales, and is noticed when it is taken back."""
    till = make_till(poll_interval_s=1)
    world = till.office.world
    world.set_settings(auto_sync_enabled=False)
    till.agent.sync()
    till.office.clear_requests()
    till.agent.start()
    till.sell()
    wait_until(lambda: world.sale_count() == 1)
    world.set_settings(auto_sync_enabled=True)
    world.edit("products", till.cola, price="1.00")
    wait_until(lambda: till.agent.catalog.by_id(till.cola).price == 1)
    assert till.agent.stop()


def test_one_syncer_at_a_time(till: Any) -> None:
    """While another process syncs this home, this one says so, and goes on selling."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(till.agent.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning) as refusal:
            till.agent.sync()
        assert refusal.value.hint
        assert till.agent.status()["daemon_running"]
        assert till.sell().state == "pending"
    finally:
        holder.kill()
        holder.communicate()
    assert till.agent.sync().pushed.created == 1
    assert not till.agent.status()["daemon_running"]


def test_a_loop_beside_another_syncer_only_records(till: Any, wait_until: Make) -> None:
    """A POS whose daemon syncs starts its loop all the same; nothing fails, and sales are recorded."""
    failed: list[Any] = []
    till.agent.subscribe(failed.append)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(till.agent.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        till.agent.start()
        till.sell()
        assert not _grows(till.office.requests, wait_until)
        assert till.agent.stop()
        assert failed == []
    finally:
        holder.kill()
        holder.communicate()


def test_another_syncer_that_hangs_is_told(
    make_till: Make, wait_until: Make, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that was suspended in the middle of a sync keeps this one out: after a quarter of an hour the log says
    so, once for each; and who asks for a sync hears at once that there is none (G11)."""
    till, told = make_till(poll_interval_s=1), []
    till.agent.subscribe(lambda event: told.append(event.name))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(till.agent.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        till.agent.start()
        assert till.agent.sync_soon()
        wait_until(lambda: "sync failed" in told)
        assert not caplog.records
        clock.advance(hours=0.3)
        wait_until(lambda: "another program holds sync.lock" in caplog.text)
        assert till.agent.stop()
        assert caplog.text.count("another program holds") == 1
    finally:
        holder.kill()
        holder.communicate()


def test_asking_while_the_loop_works_is_no_error_of_the_store(make_till: Make) -> None:
    """``sync`` beside the own loop either runs or says that someone syncs; nothing is sent twice."""
    till = make_till(poll_interval_s=1)
    till.agent.start()
    for _ in range(10):
        till.sell()
        try:
            till.agent.sync()
        except AlreadyRunning:
            continue
    assert till.agent.stop()
    till.agent.sync()
    assert till.books_agree()


def test_closing_leaves_nothing_behind(till: Any) -> None:
    """A closed agent has no thread left, and its sales are there when it opens again."""
    import threading

    till.agent.subscribe(lambda event: None)
    till.agent.start()
    sale = till.sell()
    till.agent.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-agent")] == []
    with EdgeAgent.open(till.agent.home) as agent:
        assert agent.sale(sale.external_id) is not None
        assert agent.record_sale([Item(COLA, "1", "2.00")]).device_seq == sale.device_seq + 1


def test_a_fault_of_ours_does_not_end_the_loop(till: Any, wait_until: Make, monkeypatch: Any) -> None:
    """Whatever goes wrong inside a cycle is told, and the next cycle runs: syncing never ends in silence (G11)."""
    from edge_agent.sync.cycle import Cycle

    heard: list[str] = []
    till.agent.subscribe(lambda event: heard.append(event.name))
    run, failing = Cycle.run, [True]

    def once(cycle: Any) -> Any:
        if failing:
            failing.clear()
            raise AttributeError("a mistake")
        return run(cycle)

    monkeypatch.setattr(Cycle, "run", once)
    till.agent.start()
    wait_until(lambda: "sync failed" in heard)
    till.sell()
    wait_until(lambda: till.office.world.sale_count() == 1)
    assert till.agent.stop()


def test_closing_leaves_a_busy_thread_its_connections(make_till: Make, wait_until: Make) -> None:
    """A request that hangs keeps its database connections until it has ended: closing them could crash the program."""
    import threading

    till, hangs, reached = make_till(read_timeout_s=60), threading.Event(), threading.Event()

    def hang(method: str, path: str) -> None:
        if method == "POST" and "sales" in path:
            reached.set()
            hangs.wait(20)

    till.office.intercept = hang
    till.sell()
    till.agent.start()
    wait_until(reached.is_set)
    assert not till.agent.stop(deadline_s=0.1)
    background = till.agent._background._lingers
    assert background is not None
    till.agent.stop = lambda deadline_s=0.1: type(till.agent).stop(till.agent, 0.1)
    till.agent.close()
    assert till.agent._journal.database._connections
    till.office.intercept = None
    hangs.set()
    wait_until(lambda: not background.is_alive())
    del till.agent.stop
    till.agent.close()
    assert not till.agent._journal.database._connections
