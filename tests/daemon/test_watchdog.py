"""The watchdog sees a clock that jumped, a loop that ended, and whatever hangs."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.daemon.watchdog import STEP_S_MAX, STUCK_S, Part, Watchdog, keepalive_s


class Stage:
    """A daemon's parts, as far as the watchdog sees them."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.alive = True
        self.busy_since_s: float | None = None
        self.api_since_s: float | None = None
        self.said: list[str] = []
        self.watchdog = Watchdog(
            clock,
            (Part("a sync", lambda: self.busy_since_s), Part("the API", lambda: self.api_since_s, 1 / 6)),
            lambda: self.alive,
            lambda: self.said.append("revived"),
            lambda: self.said.append("jumped"),
        )

    def pass_by(self, seconds: float) -> str | None:
        """Time passes, with a look each minute."""
        for _ in range(int(seconds / 60)):
            self.clock.advance(60)
            if (stuck := self.watchdog.look()) is not None:
                return stuck
        return None


@pytest.fixture
def stage(clock: Any) -> Stage:
    return Stage(clock)


def test_time_that_passes_is_no_jump(stage: Stage) -> None:
    """Not a minute, not a night's sleep of the device."""
    for seconds in (0, 1, 10, 8 * 3_600):
        stage.clock.advance(seconds)
        assert stage.watchdog.look() is None
    assert stage.said == []


@pytest.mark.parametrize("seconds", [-3_600, 3_600, 26 * 365 * 86_400, -26 * 365 * 86_400])
def test_a_jump_is_told_once(stage: Stage, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock moved and time did not."""
    now_ms = stage.clock.now_ms
    monkeypatch.setattr(stage.clock, "now_ms", lambda: now_ms() + seconds * 1000)
    assert stage.watchdog.look() is None
    assert stage.watchdog.look() is None
    assert stage.said == ["jumped"]


def test_a_loop_that_ended_is_started_again(stage: Stage) -> None:
    """Syncing never ends in silence (G11)."""
    stage.alive = False
    assert stage.watchdog.look() is None
    assert stage.said == ["revived"]


def test_what_hangs_is_beyond_help(stage: Stage) -> None:
    """A long cycle is left alone; one that is over all its deadlines needs a new process. A till waits for less."""
    stage.busy_since_s = stage.clock.monotonic_s()
    assert stage.pass_by(STUCK_S / 2) is None
    assert stage.pass_by(STUCK_S) == "a sync"
    stage.busy_since_s, stage.api_since_s = None, stage.clock.monotonic_s()
    assert stage.pass_by(STUCK_S / 5) == "the API"


def test_what_ends_in_time_does_not_add_up(stage: Stage) -> None:
    """Work without a pause is no work that hangs."""
    for _ in range(10):
        stage.busy_since_s = stage.clock.monotonic_s()
        assert stage.pass_by(STUCK_S * 0.9) is None


def test_a_sleep_of_the_device_is_no_hanging(stage: Stage) -> None:
    """A till whose lid was shut in the middle of a cycle, where the clock counts sleep: the cycle gets its time."""
    stage.busy_since_s = stage.clock.monotonic_s()
    stage.clock.advance(hours=12)
    assert stage.watchdog.look() is None
    assert stage.pass_by(STUCK_S - 2 * STEP_S_MAX) is None


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 20),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_service_manager_says_how_often(environment: dict[str, str], seconds: float | None) -> None:
    """Three signs of life in the time it allows; none where it asks this process for none."""
    assert keepalive_s(environment) == seconds
