"""How long to wait before asking again: exponential, capped, with full jitter, so that no chain returns at once."""

from __future__ import annotations

BASE_S = 2.0
CAP_S = 300.0
RETRY_AFTER_MAX_S = 86_400.0
JITTER_MAX_S = 5.0
OWN_WAIT_MAX_MS = int((CAP_S + JITTER_MAX_S) * 1000)
WAIT_MAX_MS = int((RETRY_AFTER_MAX_S + JITTER_MAX_S) * 1000)


def delay_s(attempts: int, dice: float, *, retry_after_s: float | None = None) -> float:
    """Seconds to wait before the next attempt.

    Args:
        attempts: failures in a row so far, 1 after the first.
        dice: a random number in [0, 1).
        retry_after_s: what head office asked for; never undercut.

    Returns:
        Seconds, at least 0.1.
    """
    ceiling: float = min(CAP_S, BASE_S * 2 ** min(attempts, 16))
    jittered = max(0.1, dice * ceiling)
    if retry_after_s is None:
        return jittered
    return max(jittered, retry_after_s + dice * min(ceiling, JITTER_MAX_S))  # "at once" is no leave to storm


def is_waiting(next_attempt_ms: int | None, now_ms: int, *, asked_for: bool = False) -> bool:
    """Whether the next attempt's time is still to come.

    A time further ahead than any wait there is was stored before the clock was set back: nobody waits for that one.

    Args:
        next_attempt_ms: milliseconds since 1970.
        now_ms: milliseconds since 1970.
        asked_for: head office asked for it (``Retry-After``), so that it may be a long one.
    """
    longest_ms = WAIT_MAX_MS if asked_for else OWN_WAIT_MAX_MS
    return next_attempt_ms is not None and now_ms < next_attempt_ms <= now_ms + longest_ms
