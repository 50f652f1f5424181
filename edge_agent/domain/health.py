"""What a validation of the catalogue found: its findings and figures, and the few that are remembered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from edge_agent.domain.findings import Finding

SUMMARY_FACT = "health"  # under this name the catalogue remembers it
FINDINGS_FACT = "health_findings"  # and under this one the worst of what was found
KEPT_OF_A_KIND = 5
KEPT_MAX = 40
DETAIL_KEPT = 300  # characters


@dataclass(frozen=True, slots=True)
class Health:
    """What a validation found.

    Args:
        findings: what is wrong, the worst first; of each kind and dataset at most so many as were asked for.
        totals: how many there are, by kind and dataset, listed or not.
        health_score: valid rows in percent of all rows (:func:`~edge_agent.domain.findings.health_score`).
        rows: how many rows that were.
        valid: how many of them are valid.
        validated_at: when, by head office's clock (UTC).
        has_come: whether categories, products and promotions had all come; else some faults were not looked for.
    """

    findings: tuple[Finding, ...]
    totals: Mapping[tuple[str, str], int]
    health_score: float
    rows: int
    valid: int
    validated_at: dt.datetime
    has_come: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each kind."""
        counts: dict[str, int] = {}
        for (kind, _), total in self.totals.items():
            counts[kind] = counts.get(kind, 0) + total
        return counts

    def kept_findings(self) -> tuple[Finding, ...]:
        """The findings that are remembered: the worst, a few of each kind and dataset."""
        kept = _few(self.findings, KEPT_OF_A_KIND)[:KEPT_MAX]
        return tuple(replace(one, detail=one.detail[:DETAIL_KEPT], others=()) for one in kept)

    def listing(self, listed_max: int) -> Health:
        """The same with fewer findings of each kind and dataset listed."""
        return replace(self, findings=_few(self.findings, listed_max))

    def summary(self) -> Summary:
        """The figures that are remembered."""
        return Summary(
            score=self.health_score,
            rows=self.rows,
            valid=self.valid,
            validated_at=self.validated_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            totals=[(kind, dataset, total) for (kind, dataset), total in self.totals.items()],
            has_come=self.has_come,
        )


def _few(findings: Sequence[Finding], of_a_kind: int) -> tuple[Finding, ...]:
    seen: dict[tuple[str, str], int] = {}
    few = []
    for one in findings:
        key = (one.kind, one.dataset)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= of_a_kind:
            few.append(one)
    return tuple(few)


class Summary(msgspec.Struct, frozen=True):
    """What the catalogue remembers of its last validation."""

    score: float
    rows: int
    valid: int
    validated_at: str
    totals: list[tuple[str, str, int]]
    has_come: bool

    def as_health(self) -> Health:
        """The figures without the findings themselves.

        Raises:
            ValueError: the time can't be read.
        """
        totals = {(kind, dataset): total for kind, dataset, total in self.totals}
        moment = dt.datetime.fromisoformat(self.validated_at)
        return Health((), totals, self.score, self.rows, self.valid, moment, self.has_come)


@dataclass(slots=True)
class Tally:
    """Findings as they come: all are counted, the first of each kind and dataset are listed."""

    listed_max: int
    findings: list[Finding] = field(default_factory=list)
    totals: dict[tuple[str, str], int] = field(default_factory=dict)

    def many(self, kind: str, dataset: str, total: int, listed: Sequence[Finding]) -> None:
        """Count findings of a kind; those given are the first of them."""
        if total:
            before = self.totals.get((kind, dataset), 0)
            self.totals[kind, dataset] = before + total
            self.findings += listed[: max(self.listed_max - before, 0)]

    def one(self, found: Finding) -> None:
        """Count one finding."""
        self.many(found.kind, found.dataset, 1, [found])


def read_summary(text: str | None) -> Health | None:
    """The last validation's figures, without its findings; None when there was none, or they can't be read.

    Args:
        text: what the catalogue remembers of it.
    """
    try:
        return msgspec.json.decode(text or "", type=Summary).as_health()
    except ValueError:  # msgspec's errors are ValueErrors
        return None


def read_findings(text: str | None) -> tuple[Finding, ...]:
    """The findings that the last validation left behind; none when they can't be read.

    Args:
        text: what the catalogue remembers of them.
    """
    try:
        return msgspec.json.decode(text or "", type=tuple[Finding, ...])
    except ValueError:  # msgspec's errors are ValueErrors
        return ()
