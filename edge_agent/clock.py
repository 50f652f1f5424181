"""The clock and the dice: one of the two seams that tests replace (the other is the network)."""

from __future__ import annotations

import datetime as dt
import random
import time


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

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def dice(self) -> float:
        """A random number in [0, 1)."""
        return random.random()  # noqa: S311 - spreads retries; no secret hangs on it
