"""What head office's receipts say of a journal's sales, number by number (contract, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INTERVAL_MS = 6 * 3600 * 1000
SEQ_END = 2**40 - 1


@dataclass(frozen=True, slots=True)
class Held:
    """Which numbers of a journal head office has seen.

    Args:
        contiguous_seq: all numbers up to it have been seen.
        highest_seq: the largest one seen.
        missing: ranges between the two that were not, both ends included.
        refused: seen, and refused.
    """

    contiguous_seq: int
    highest_seq: int
    missing: Sequence[tuple[int, int]] = ()
    refused: frozenset[int] = frozenset()

    def not_held(self) -> list[tuple[int, int]]:
        """Ranges of numbers whose sales head office does not count: never seen, or refused. In order."""
        ranges = [(low, high) for low, high in self.missing if low <= high]
        ranges += [(seq, seq) for seq in self.refused]
        return [*sorted(ranges), (max(self.highest_seq, self.contiguous_seq) + 1, SEQ_END)]

    def accepted(self, seq: int) -> bool:
        """Whether head office counts the sale of this number."""
        return not any(low <= seq <= high for low, high in self.not_held())


def is_due(checked_ms: int | None, began_ms: int, now_ms: int) -> bool:
    """Whether six hours have passed since the last comparison, or since the journal began; or the clock went back."""
    return not 0 <= now_ms - (began_ms if checked_ms is None else checked_ms) < INTERVAL_MS
