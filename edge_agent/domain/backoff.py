"""How long to wait before asking again: exponential, capped, with full jitter, so that no chain returns at once."""

from __future__ import annotations

BASE_S = 2.0
CAP_S = 300.0


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
    return retry_after_s + dice * min(ceiling, 5.0)
