"""The breaker for the whole head office: one probe for a dead line, kept over a restart with its reason (G11)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.domain.backoff import delay_s, is_waiting
from edge_agent.errors import EdgeAgentError
from edge_agent.storage.database import Database, in_own_words, typed
from edge_agent.storage.journal import Journal

SPREAD_MAX_MS = 3_600_000
_STATE = "SELECT failures, next_attempt_ms, retry_after_ms, code, reason, since_ms, resume_ms FROM circuit"


@dataclass(frozen=True, slots=True)
class CircuitState:
    """Whether head office can be asked at all, and why not. Times are milliseconds since 1970.

    Args:
        failures: probes in a row that failed; 0 when head office answers.
        next_attempt_ms: when the next probe is due.
        since_ms: since when it has not answered.
        resume_ms: it answers again after a long outage; until then this device lets others go first.
    """

    failures: int
    next_attempt_ms: int | None
    retry_after_ms: int | None
    code: str | None
    reason: str | None
    since_ms: int | None
    resume_ms: int | None

    def waits(self, now_ms: int) -> bool:
        """Whether the next probe, or this device's turn after an outage, is still to come."""
        asked_for = self.retry_after_ms is not None
        resumes = self.resume_ms is not None and now_ms < self.resume_ms <= now_ms + SPREAD_MAX_MS
        return resumes or is_waiting(self.next_attempt_ms, now_ms, asked_for=asked_for)


@in_own_words
class Circuit:
    """The breaker's state in the journal's file.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.database: Database = journal.database

    def state(self) -> CircuitState:
        """The present state."""
        return typed(CircuitState, self.database.connection.execute(_STATE).fetchone() or (), self.database.path)

    def failed(self, error: EdgeAgentError, *, dice: float, now_ms: int) -> None:
        """Open the breaker, or keep it open: the next probe comes after a longer wait, with full jitter.

        Args:
            error: why; a ``Retry-After`` it carries is never undercut.
            dice: a random number in [0, 1).
            now_ms: milliseconds since 1970.
        """
        asked_s: float | None = getattr(error, "retry_after_s", None)
        with self.database.immediate() as connection:
            failures = connection.execute("SELECT failures + 1 FROM circuit").fetchone()[0]
            wait_s = delay_s(failures, dice, retry_after_s=asked_s)
            connection.execute(
                "UPDATE circuit SET failures = ?, next_attempt_ms = ?, retry_after_ms = ?, code = ?, reason = ?, "
                "since_ms = coalesce(since_ms, ?), resume_ms = NULL",
                (
                    failures,
                    now_ms + int(wait_s * 1000),
                    None if asked_s is None else now_ms + int(asked_s * 1000),
                    error.code,
                    error.message,
                    now_ms,
                ),
            )

    def works(self, *, resume_ms: int | None = None) -> None:
        """Close the breaker: head office answered. Writes only when there is something to change.

        Args:
            resume_ms: from when on this device may send and fetch again, milliseconds since 1970; None for now.
        """
        state = self.state()
        if state.failures or state.resume_ms != resume_ms:
            with self.database.immediate() as connection:
                connection.execute(
                    "UPDATE circuit SET failures = 0, next_attempt_ms = NULL, retry_after_ms = NULL, code = NULL, "
                    "reason = NULL, since_ms = NULL, resume_ms = ?",
                    (resume_ms,),
                )
