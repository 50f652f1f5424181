"""How soon the next cycle may begin that head office's hints ask for: the first at once, then less and less often."""

from __future__ import annotations

from dataclasses import dataclass

GAP_S = 1.0
BURST = 20
REFILL_S = 2.0  # in the long run one cycle in so many seconds


@dataclass(slots=True)
class Pace:
    """A bucket of ``burst`` cycles that fills up again by one every ``refill_s``, with ``gap_s`` between two of them.

    Times are seconds that never jump.
    """

    gap_s: float = GAP_S
    burst: int = BURST
    refill_s: float = REFILL_S
    _full_at_s: float = float("-inf")  # when the bucket will be full again
    _last_s: float = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Seconds until a cycle may begin; 0 for now."""
        refilled_s = self._full_at_s - (self.burst - 1) * self.refill_s
        return max(0.0, refilled_s - now_s, self._last_s + self.gap_s - now_s)

    def took(self, now_s: float) -> bool:
        """A cycle begins now. Whether it was the last in the bucket: somebody hints without end."""
        self._last_s = now_s
        self._full_at_s = max(self._full_at_s, now_s) + self.refill_s
        return self._full_at_s - now_s > (self.burst - 1) * self.refill_s
