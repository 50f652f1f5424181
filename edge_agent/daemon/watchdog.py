"""Looks after the daemon by a clock that does not jump: does the sync loop live, did the wall clock jump, and does the
service manager still get its sign of life."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from edge_agent.clock import Clock

JUMP_S = 2.0  # the wall clock moved by so much more or less than time passed
STUCK_S = 3_600.0  # no cycle takes so long: each of its requests has a deadline
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


class Watchdog:
    """Looks when :meth:`look` is called.

    Args:
        clock: the clock.
        busy_since_s: since when the present cycle runs, in monotonic seconds; None between cycles.
        is_alive: whether the sync loop's thread lives.
        revive: starts it again.
        on_jump: the wall clock jumped.
    """

    def __init__(
        self,
        clock: Clock,
        busy_since_s: Callable[[], float | None],
        is_alive: Callable[[], bool],
        revive: Callable[[], object],
        on_jump: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._busy_since_s = busy_since_s
        self._is_alive = is_alive
        self._revive = revive
        self._on_jump = on_jump
        self._apart_s = self._wall_less_elapsed_s()

    def _wall_less_elapsed_s(self) -> float:
        return self._clock.now_ms() / 1000 - self._clock.elapsed_s()

    def look(self) -> bool:
        """Look once.

        Returns:
            Whether all is well; False: a cycle is stuck beyond help, and only a new process mends that.
        """
        apart_s = self._wall_less_elapsed_s()
        if abs(apart_s - self._apart_s) > JUMP_S:
            _log.warning("this device's clock was moved by %.0f s", apart_s - self._apart_s)
            self._on_jump()
        self._apart_s = apart_s
        if not self._is_alive():
            _log.error("the sync loop had ended; it is started again")
            self._revive()
        since_s = self._busy_since_s()
        return since_s is None or self._clock.monotonic_s() - since_s < STUCK_S
