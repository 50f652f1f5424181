"""The progress watchdog: when what stands first in a lane does not move though head office answers (G11).

It climbs a ladder: each step tries something the one before it did not, and stays until there is progress.
"""

from __future__ import annotations

from enum import IntEnum

MINUTE_MS = 60_000


class Rung(IntEnum):
    """How far the watchdog has climbed."""

    MOVING = 0
    NEW_CONNECTION = 1
    NEW_SIGN_IN = 2
    SMALLER_BATCHES = 3
    ONE_BY_ONE = 4


_FROM_MS = (
    (60 * MINUTE_MS, Rung.ONE_BY_ONE),
    (30 * MINUTE_MS, Rung.SMALLER_BATCHES),
    (15 * MINUTE_MS, Rung.NEW_SIGN_IN),
    (5 * MINUTE_MS, Rung.NEW_CONNECTION),
)
_PORTION = {Rung.SMALLER_BATCHES: 10, Rung.ONE_BY_ONE: 10_000}


def rung(head_since_ms: int | None, now_ms: int) -> Rung:
    """The step for a lane whose head has not moved since then.

    Args:
        head_since_ms: when the head was first offered in vain, milliseconds since 1970; None when all moves.
        now_ms: milliseconds since 1970. A clock that was set back begins the count anew.
    """
    stalled_ms = 0 if head_since_ms is None else now_ms - head_since_ms
    return next((step for from_ms, step in _FROM_MS if stalled_ms >= from_ms), Rung.MOVING)


def portion(step: Rung, count_max: int) -> int:
    """How many entries or rows to move at once on this step, at least one."""
    return max(1, count_max // _PORTION.get(step, 1))
