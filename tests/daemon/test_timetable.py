"""The timetable runs each job when it is due by a clock that does not jump, whatever the wall clock does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.daemon.timetable import Job, Timetable
from edge_agent.errors import StoreBroken

HOUR_S = 3_600.0
YEARS_26_S = 26 * 365.25 * 24 * HOUR_S
Make = Callable[..., Any]


class Work:
    """Counts how often it was done, and tells."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times = 0
        self.error = error
        self.done = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        self.done.set()
        if self.error is not None:
            raise self.error


@pytest.fixture
def timetable(clock: Any) -> Iterator[Callable[..., Timetable]]:
    tables: list[Timetable] = []

    def make(*jobs: Job) -> Timetable:
        tables.append(Timetable(jobs, clock))
        tables[-1].start()
        return tables[-1]

    yield make
    for table in tables:
        table.stop()


def test_a_job_runs_when_it_is_due_and_plans_its_next_run(timetable: Make) -> None:
    """What is due in a moment is done then; its next run is asked for afterwards."""
    work, waits = Work(), iter([0.0, HOUR_S])
    table = timetable(Job("work", work, lambda: next(waits)))
    assert work.done.wait(10)
    while table.next_s()["work"] < 10:
        pass
    assert table.next_s()["work"] == pytest.approx(HOUR_S, abs=10)
    assert work.times == 1


def test_one_that_fires_before_its_time_is_not_done(timetable: Make, clock: Any) -> None:
    """The wall clock ran ahead: the scheduler fires, but so much time has not passed. No flood, however far it ran."""
    work = Work()
    table = timetable(Job("work", work, lambda: HOUR_S))
    for _ in range(50):
        table._run(table._jobs["work"])  # as the scheduler calls it
    assert work.times == 0
    assert table.next_s()["work"] == pytest.approx(HOUR_S, abs=10)


def test_a_clock_set_back_stops_nothing(timetable: Make, clock: Any) -> None:
    """An hour has passed, and the wall clock says otherwise: planned anew, the job is done at once."""
    work = Work()
    table = timetable(Job("work", work, lambda: HOUR_S))
    clock.advance(HOUR_S)
    table.plan_anew()
    assert work.done.wait(10)


@pytest.mark.parametrize("jump_s", [-HOUR_S, YEARS_26_S, -YEARS_26_S])
def test_a_jump_leaves_intervals_alone_and_asks_again_for_times_of_day(timetable: Make, jump_s: float) -> None:
    """What is due after an hour stays so; what is due at two o'clock is worked out by the new time."""
    waits = iter([5 * HOUR_S, 2 * HOUR_S])
    asked = Work()
    table = timetable(
        Job("interval", asked, lambda: HOUR_S), Job("night", asked, lambda: next(waits), by_the_clock=True)
    )
    assert table.next_s()["night"] == pytest.approx(5 * HOUR_S, abs=10)
    table.plan_anew()
    assert table.next_s() == {
        "interval": pytest.approx(HOUR_S, abs=10),
        "night": pytest.approx(2 * HOUR_S, abs=10),
    }
    assert asked.times == 0


@pytest.mark.parametrize("error", [StoreBroken("the disk is full"), ZeroDivisionError()])
def test_a_job_that_fails_ends_neither_itself_nor_the_others(timetable: Make, error: Exception) -> None:
    """A fault is logged, and the job planned again."""
    bad, good = Work(error), Work()
    waits = iter([0.0, HOUR_S])
    table = timetable(Job("bad", bad, lambda: next(waits)), Job("good", good, lambda: 0.0))
    assert bad.done.wait(10)
    assert good.done.wait(10)
    good.done.clear()
    assert good.done.wait(10)
    assert table.next_s()["bad"] > 0


def test_what_a_sleep_has_missed_is_done_soon(timetable: Make, clock: Any) -> None:
    """The scheduler's own wait stands still while the device sleeps. A night that began meanwhile is not put off."""
    work, waits = Work(), iter([HOUR_S, 24 * HOUR_S, 24 * HOUR_S])
    table = timetable(Job("night", work, lambda: next(waits), by_the_clock=True))
    table.catch_up()
    assert table.next_s()["night"] == pytest.approx(HOUR_S, abs=10)
    clock.advance(hours=8)
    table.catch_up()
    assert work.done.wait(10)


def test_a_job_that_hangs_is_seen(timetable: Make, clock: Any, wait_until: Any) -> None:
    """Since when it runs is told, and it is not begun a second time."""
    begun, go_on, times = threading.Event(), threading.Event(), []

    def hang() -> None:
        times.append(1)
        begun.set()
        go_on.wait(20)

    table = timetable(Job("hangs", hang, lambda: 0.0 if not times else HOUR_S))
    try:
        assert begun.wait(10)
        clock.advance(HOUR_S)
        table.catch_up()
        table.plan_anew()
        since_s = table.busy_since_s()
        assert since_s is not None
        assert clock.monotonic_s() - since_s >= HOUR_S
        assert times == [1]
    finally:
        go_on.set()
    wait_until(lambda: table.busy_since_s() is None)


def test_a_fault_in_planning_ends_nothing(timetable: Make) -> None:
    """A job whose next time can't be worked out is tried in an hour; the others go on."""
    good = Work()

    def no_time() -> float:
        raise OverflowError("date value out of range")

    table = timetable(Job("bad", Work(), no_time), Job("good", good, lambda: 0.0))
    assert good.done.wait(10)
    assert table.next_s()["bad"] == pytest.approx(HOUR_S, abs=10)


def test_after_the_stop_nothing_begins(timetable: Make) -> None:
    """A daemon that ends waits for no job, and starts none."""
    work = Work()
    table = timetable(Job("work", work, lambda: HOUR_S))
    table.stop()
    table._run(table._jobs["work"])
    table.plan_anew()
    assert work.times == 0
    table.stop = lambda: None
