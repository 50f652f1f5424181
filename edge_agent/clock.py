"""The clock and the dice: one of the two seams that tests replace (the other is the network)."""

from __future__ import annotations

import datetime as dt
import random
import sys
import time
from functools import cache
from pathlib import Path


class Clock:
    """The device's clock. Head office's offset is applied where the contract asks for it, not here."""

    def now(self) -> dt.datetime:
        """The present moment in UTC, as the device believes."""
        return dt.datetime.now(dt.UTC)

    def now_ms(self) -> int:
        """Milliseconds since 1970, as the device believes."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds that never jump, and count the time a device sleeps: what a wall clock can be checked against."""
        return _elapsed_s()

    def boot_id(self) -> str:
        """Names the boot that ``elapsed_s`` counts from; empty where the system does not tell."""
        return _boot_id()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def dice(self) -> float:
        """A random number in [0, 1)."""
        return random.random()  # noqa: S311 - spreads retries; no secret hangs on it


def _elapsed_s() -> float:
    if sys.platform == "darwin":  # there it is CLOCK_MONOTONIC_RAW that counts sleep; time.monotonic() does not
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    if sys.platform == "win32":  # counts sleep and hibernation
        return time.monotonic()
    # Linux: CLOCK_MONOTONIC stands still in suspend, CLOCK_BOOTTIME does not.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
