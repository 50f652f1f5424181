"""What a cycle did, as the door that called it prints or logs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_agent.errors import EdgeAgentError

Progress = Callable[[str, int, int | None], None]
"""Called with a step's name, how much of it is done, and of how much (None while unknown)."""


def no_progress(step: str, done: int, total: int | None) -> None:
    """Shows nothing."""


@dataclass(slots=True)
class Pushed:
    """Verdicts of head office on what was offered."""

    created: int = 0
    duplicate: int = 0
    rejected: int = 0
    retry: int = 0


@dataclass(slots=True)
class Pulled:
    """What a download brought."""

    upserts: int = 0
    deletes: int = 0
    refused: int = 0
    pages: int = 0
    snapshot: bool = False
    held: int = 0

    def add(self, other: Pulled) -> None:
        """Count what another part of the same download brought."""
        self.upserts += other.upserts
        self.deletes += other.deletes
        self.refused += other.refused
        self.pages += other.pages
        self.snapshot = self.snapshot or other.snapshot
        self.held = other.held


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that differs from head office: what ``verify`` lists."""

    dataset: str
    id: str
    kind: str
    recommendation: str


@dataclass(slots=True)
class StepError:
    """Why a step did not finish."""

    step: str
    code: str
    message: str
    hint: str


@dataclass(slots=True)
class CycleReport:
    """One cycle: nothing of one step hides the result of another."""

    pushed: Pushed = field(default_factory=Pushed)
    pushed_usages: Pushed = field(default_factory=Pushed)
    pulled: dict[str, Pulled] = field(default_factory=dict)
    unchanged: bool = False
    in_touch: bool = False  # head office answered the version, which comes after everything that goes up
    offered_again: int = 0
    verified: dict[str, object] | None = None  # what a comparison of digests found, when there was one
    errors: list[StepError] = field(default_factory=list)
    causes: list[EdgeAgentError] = field(default_factory=list)
    _steps: list[str] = field(default_factory=list)

    def failed(self, step: str, error: EdgeAgentError) -> None:
        """Note why a step did not finish; the same cause twice is one line."""
        line = StepError(step, error.code, error.message, error.hint)
        if not any(other.message == line.message for other in self.errors):
            self.errors.append(line)
        self.causes.append(error)
        self._steps.append(step)

    def went_well_after_all(self, step: str) -> None:
        """A step that had failed was done again in the same cycle, and finished."""
        left = [(cause, name) for cause, name in zip(self.causes, self._steps, strict=True) if name != step]
        self.causes = [cause for cause, _ in left]
        self._steps = [name for _, name in left]
        self.errors = [line for line in self.errors if line.step != step]

    @property
    def did_something(self) -> bool:
        """Whether anything was moved in either direction."""
        pushed = [self.pushed, self.pushed_usages]
        return (
            bool(self.offered_again)
            or any(p.created + p.duplicate + p.rejected for p in pushed)
            or any(pulled.upserts + pulled.deletes + pulled.refused + pulled.held for pulled in self.pulled.values())
        )

    def as_json(self) -> dict[str, Any]:
        """The report as ``sync --json`` prints it."""
        return {
            "schema": 1,
            "pushed": {**asdict(self.pushed), "usages": asdict(self.pushed_usages)},
            "pulled": {name: asdict(pulled) for name, pulled in self.pulled.items()},
            "unchanged": self.unchanged,
            "offered_again": self.offered_again,
            "verified": self.verified,
            "errors": [asdict(error) for error in self.errors],
        }
