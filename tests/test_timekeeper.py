"""Head office's time in one process: what it hears, what it recalls, and where nothing names the boot."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from typing import Any

import pytest

from edge_agent.clock import Clock
from edge_agent.timekeeper import FIX_FACT, OFFSET_FACT, Timekeeper

TRUE = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)
HOUR_S = 3600.0


class HandClock(Clock):
    """A machine's clocks, moved by hand: on since ``elapsed`` seconds, its wall clock ``off`` seconds off."""

    def __init__(self, boot: str = "this boot") -> None:
        self.elapsed, self.off, self.boot = 5_000.0, 0.0, boot
        self.began = TRUE.timestamp() - self.elapsed

    def true_s(self) -> float:
        return self.began + self.elapsed

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.true_s() + self.off, dt.UTC)

    def now_ms(self) -> int:
        return int((self.true_s() + self.off) * 1000)

    def elapsed_s(self) -> float:
        return self.elapsed

    def boot_id(self) -> str:
        return self.boot

    def restarts(self, off_for_s: float) -> None:
        """The machine is off for a while, and its elapsed time begins anew."""
        self.began, self.elapsed, self.boot = self.true_s() + off_for_s, 10.0, self.boot and "the next boot"


def hears(timekeeper: Timekeeper, clock: HandClock, off_s: float = 0.0) -> None:
    """An answer of head office, half a second on the way."""
    date = dt.datetime.fromtimestamp(clock.true_s() + off_s, dt.UTC).replace(microsecond=0)
    timekeeper.hears(date, clock.elapsed - 0.25, clock.elapsed + 0.25)


def is_right(timekeeper: Timekeeper, clock: HandClock) -> bool:
    return abs(timekeeper.now().timestamp() - clock.true_s()) < 2.5


@pytest.fixture
def remembered() -> tuple[HandClock, dict[str, str]]:
    """A clock, and what another process of its boot has found out."""
    clock = HandClock()
    other = Timekeeper(clock)
    clock.elapsed += 60
    hears(other, clock)
    return clock, other.to_remember({})


def test_what_is_remembered_is_written_when_it_no_longer_tells_the_same() -> None:
    """Cycle after cycle nothing is written; after a jump, a restart or a moved head office once."""
    clock, facts = HandClock(), dict[str, str]()
    timekeeper = Timekeeper(clock)
    assert timekeeper.to_remember(facts) == {}

    def writes(cycles: int = 10, off_s: float = 0.0) -> int:
        nonlocal facts
        count = 0
        for _ in range(cycles):
            clock.elapsed += 60
            hears(timekeeper, clock, off_s)
            new = timekeeper.to_remember(facts)
            count, facts = count + bool(new), facts | new
        return count

    assert writes() == 1
    assert writes(2_000) == 0
    clock.off = -HOUR_S
    assert writes() == 1
    assert facts[OFFSET_FACT][:2] in ("35", "36")
    assert writes(20, off_s=7 * HOUR_S) == 1  # head office's own clock was set: believed when most answers say so
    clock.restarts(off_for_s=600)
    timekeeper = Timekeeper(clock)
    timekeeper.recall(facts)
    assert writes(off_s=7 * HOUR_S) == 1


@pytest.mark.parametrize("off_s", [-HOUR_S, 26 * 365 * 86_400.0, -1e9])
def test_a_jump_before_the_process_began_is_known_by_the_boot(
    remembered: tuple[HandClock, dict[str, str]], off_s: float
) -> None:
    """What another process of this boot measured counts, whatever the wall clock says by now."""
    clock, facts = remembered
    clock.off = off_s
    timekeeper = Timekeeper(clock)
    timekeeper.recall(facts)
    assert is_right(timekeeper, clock)


def test_where_nothing_names_the_boot_clocks_that_agree_do() -> None:
    """As on Windows: a process that starts in good time sees a later jump; one that starts after it can't."""
    clock = HandClock(boot="")
    other = Timekeeper(clock)
    clock.elapsed += 60
    hears(other, clock)
    facts = other.to_remember({})
    early = Timekeeper(clock)
    early.recall(facts)
    clock.elapsed += 600
    clock.off = HOUR_S
    assert is_right(early, clock)
    late = Timekeeper(clock)
    late.recall(facts)
    assert abs(late.now() - clock.now()) < dt.timedelta(seconds=1)
    hears(late, clock)
    assert is_right(late, clock)


def test_after_a_restart_the_wall_clock_is_believed_with_the_last_offset(
    remembered: tuple[HandClock, dict[str, str]],
) -> None:
    """A clock that was an hour slow before is an hour slow after, unless time would run backwards."""
    clock, _ = remembered
    clock.off = -HOUR_S
    before = Timekeeper(clock)
    hears(before, clock)
    facts = before.to_remember({})
    clock.restarts(off_for_s=10 * HOUR_S)
    timekeeper = Timekeeper(clock)
    timekeeper.recall(facts)
    assert is_right(timekeeper, clock)
    clock.off = 0.0  # set right meanwhile: one can't know
    assert timekeeper.now().timestamp() - clock.true_s() == pytest.approx(HOUR_S, abs=2.5)


def test_a_clock_that_was_years_ahead_and_is_right_after_a_restart_is_believed() -> None:
    """With the old offset it would be 2000: time does not run backwards."""
    clock = HandClock()
    clock.off = 26 * 365 * 86_400.0
    before = Timekeeper(clock)
    hears(before, clock)
    facts = before.to_remember({})
    clock.restarts(off_for_s=HOUR_S)
    clock.off = 0.0
    timekeeper = Timekeeper(clock)
    timekeeper.recall(facts)
    assert is_right(timekeeper, clock)


def test_a_home_of_an_older_version_has_a_number_alone() -> None:
    """It is used as it was: added to the wall clock."""
    clock = HandClock()
    timekeeper = Timekeeper(clock)
    timekeeper.recall({OFFSET_FACT: "3600000"})
    assert timekeeper.offset_ms() == 3_600_000
    clock.off = 60.0
    assert timekeeper.offset_ms() == 3_600_000


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", '{"boot":1}', '{"boot":"x","wall_ms":"x","elapsed_s":1}'])
@pytest.mark.parametrize("offset", ["", "nonsense", "9" * 30])
def test_a_fact_that_damage_spoilt_stops_nothing(kept: str, offset: str) -> None:
    """The device's own clock is what is left."""
    clock = HandClock()
    timekeeper = Timekeeper(clock)
    timekeeper.recall({OFFSET_FACT: offset, FIX_FACT: kept})
    assert timekeeper.now() == clock.now()


def test_before_head_office_told_anything_the_wall_clock_is_followed() -> None:
    """A till that starts in 1970 and is set right by a time server must not stay in 1970."""
    clock = HandClock()
    clock.off = -clock.true_s()
    timekeeper = Timekeeper(clock)
    timekeeper.recall({})
    assert timekeeper.now() == clock.now()
    clock.off = 0.0
    assert timekeeper.now() == clock.now()
    assert timekeeper.told()["measured_ms"] is None


def test_each_jump_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line, with how far; asking for the time again says nothing more."""
    clock = HandClock()
    timekeeper = Timekeeper(clock)
    hears(timekeeper, clock)
    clock.off = -HOUR_S
    with caplog.at_level(logging.WARNING, "edge_agent"):
        for _ in range(5):
            timekeeper.offset_ms()
    assert [record.getMessage() for record in caplog.records] == ["this device's clock jumped by -3600 s"]
    assert timekeeper.told()["jumped_ms"] == pytest.approx(clock.true_s() * 1000, abs=2_500)


def test_a_process_that_is_held_up_between_two_clocks_sees_no_jump(caplog: pytest.LogCaptureFixture) -> None:
    """Stopped for a minute between reading one clock and the other, as by a debugger or a full machine."""

    class HeldUp(HandClock):
        holds = 0

        def now_ms(self) -> int:
            moment = super().now_ms()
            if self.holds:
                self.holds -= 1
                self.elapsed += 60
            return moment

    clock = HeldUp()
    timekeeper = Timekeeper(clock)
    hears(timekeeper, clock)
    clock.holds = 3
    assert timekeeper.offset_ms() == 0
    assert not caplog.records


def test_many_threads_ask_while_the_clock_jumps(caplog: pytest.LogCaptureFixture) -> None:
    """Each jump is seen once, and nobody is told a wrong time."""
    clock = HandClock()
    timekeeper = Timekeeper(clock)
    hears(timekeeper, clock)
    wrong: list[Any] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            offset_ms, off_s = timekeeper.offset_ms(), clock.off
            if min(abs(offset_ms + one * 1000) for one in (off_s, 0.0, -HOUR_S)) > 2_500:
                wrong.append((offset_ms, off_s))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        clock.off = -HOUR_S
        timekeeper.offset_ms()
        clock.off = 0.0
        timekeeper.offset_ms()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(caplog.records) <= 40
