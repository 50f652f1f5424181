"""A measured figure and the bar it is held to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Args:
        what: what was measured, against what.
        value: the ratio or count; None when it was not measured (``note`` says why).
        bar: what is asked; None for a figure that only informs.
        sense: ``at most``, ``at least`` or ``exactly`` the bar.
        stretch: what would be better still.
        unit: behind the value: ``×``, ``MB``, ``sales/s``.
        note: the figures behind it, or why there is none.
    """

    what: str
    value: float | None
    bar: float | None = None
    sense: Literal["at most", "at least", "exactly"] = "at most"
    stretch: float | None = None
    unit: str = "×"
    note: str = ""

    def reaches(self, bar: float | None) -> bool | None:
        """Whether the value reaches a bar; None without value or bar."""
        if self.value is None or bar is None:
            return None
        value = round(self.value, 2)
        if self.sense == "exactly":
            return value == bar
        return value <= bar if self.sense == "at most" else value >= bar

    @property
    def verdict(self) -> str:
        """``met``, ``stretch``, ``MISSED``, ``skipped`` or nothing for a figure that only informs."""
        if self.value is None:
            return "skipped"
        if self.bar is None:
            return ""
        if not self.reaches(self.bar):
            return "MISSED"
        return "stretch" if self.reaches(self.stretch) else "met"

    @property
    def value_text(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "–"
        text = f"{self.value:,.0f}" if abs(self.value) >= 1_000 else f"{self.value:.2f}"
        return f"{text.removesuffix('.00')} {self.unit}".strip()

    @property
    def bar_text(self) -> str:
        """The bar in words and signs, with the stretch in brackets."""
        if self.bar is None:
            return ""
        sign = {"at most": "≤", "at least": "≥", "exactly": "="}[self.sense]
        text = f"{sign} {self.bar:,g} {self.unit}".strip()
        return text if self.stretch is None else f"{text} ({self.stretch:,g})"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
