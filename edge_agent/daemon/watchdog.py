"""Looks after the daemon by a clock that does not jump: does the sync loop live, does anything hang, did the wall clock
jump, and does the service manager still get its sign of life."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.clock import Clock

JUMP_S = 2.0  # the wall clock moved by so much more or less than time passed
STUCK_S = 3_600.0  # no cycle takes so long: each of its requests has a deadline
STEP_S_MAX = 600.0  # between two looks; what took longer was a sleep of the device
_log = logging.getLogger("edge_agent")


def keepalive_s(environment: Mapping[str, str] | None = None) -> float | None:
    """How often the service manager wants a sign of life, in seconds; None when it wants none.

    Args:
        environment: the process's environment; None for the real one.
    """
    values = os.environ if environment is None else environment
    try:
        wanted_us = int(values["WATCHDOG_USEC"])
        if int(values.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
    except (KeyError, ValueError):
        return None
    return wanted_us / 1_000_000 / 3 if wanted_us > 0 else None


@dataclass(frozen=True, slots=True)
class Part:
    """What must not hang.

    Args:
        name: what it is called in the log.
        busy_since_s: since when its present work runs, in monotonic seconds; None between two.
        share: of ``STUCK_S``, after which it is beyond help.
    """

    name: str
    busy_since_s: Callable[[], float | None]
    share: float = 1.0


class Watchdog:
    """Looks when :meth:`look` is called.

    Args:
        clock: the clock.
        parts: what must not hang.
        is_alive: whether the sync loop's thread lives.
        revive: starts it again.
        on_jump: the wall clock jumped.
    """

    def __init__(
        self,
        clock: Clock,
        parts: Sequence[Part],
        is_alive: Callable[[], bool],
        revive: Callable[[], object],
        on_jump: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._parts = parts
        self._is_alive = is_alive
        self._revive = revive
        self._on_jump = on_jump
        self._apart_s = self._wall_less_elapsed_s()
        self._looked_s = clock.monotonic_s()
        self._awake_s = 0.0  # what passed while we looked: in a sleep nothing moves, and nothing hangs
        self._busy: dict[str, tuple[float, float]] = {}

    def _wall_less_elapsed_s(self) -> float:
        return self._clock.now_ms() / 1000 - self._clock.elapsed_s()

    def look(self) -> str | None:
        """Look once.

        Returns:
            What is stuck beyond help, so that only a new process mends it; None: all is well.
        """
        apart_s = self._wall_less_elapsed_s()
        if abs(apart_s - self._apart_s) > JUMP_S:
            _log.debug("this device's clock was moved by %.0f s", apart_s - self._apart_s)  # timekeeper.py tells it
            self._on_jump()
        self._apart_s = apart_s
        if not self._is_alive():
            _log.error("the sync loop had ended; it is started again")
            self._revive()
        return self._stuck()

    def _stuck(self) -> str | None:
        now_s = self._clock.monotonic_s()
        self._awake_s += min(max(now_s - self._looked_s, 0.0), STEP_S_MAX)
        self._looked_s = now_s
        for part in self._parts:
            since_s = part.busy_since_s()
            if since_s is None:
                self._busy.pop(part.name, None)
                continue
            if self._busy.get(part.name, (None,))[0] != since_s:
                self._busy[part.name] = since_s, self._awake_s
            if self._awake_s - self._busy[part.name][1] >= STUCK_S * part.share:
                return part.name
        return None
