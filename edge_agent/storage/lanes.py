"""The lanes: when each may ask head office again, why it waits, and what stands first in it in vain (G11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_agent.domain.backoff import delay_s, is_waiting
from edge_agent.errors import EdgeAgentError
from edge_agent.storage.database import Database, in_own_words, typed
from edge_agent.storage.journal import Journal

Lane = Literal["sales", "usages"]
LANES: tuple[Lane, ...] = ("sales", "usages")


@dataclass(frozen=True, slots=True)
class LaneState:
    """When a lane may ask again, and why it waits. Times are milliseconds since 1970."""

    name: str
    failures: int
    next_attempt_ms: int | None
    retry_after_ms: int | None
    code: str | None
    reason: str | None
    failing_since_ms: int | None
    refusal_code: str | None
    refusals: int
    head: str | None = None  # what has stood first in vain though head office answers
    head_since_ms: int | None = None
    head_cause: str | None = None
    moved_ms: int | None = None  # when something behind such a head was taken

    def waits(self, now_ms: int) -> bool:
        """Whether its next attempt is still to come."""
        return is_waiting(self.next_attempt_ms, now_ms, asked_for=self.retry_after_ms is not None)

    @property
    def stands_since_ms(self) -> int | None:
        """Since when nothing at all has moved; None when something does, or nothing waits in vain."""
        return None if self.head_since_ms is None else max(self.head_since_ms, self.moved_ms or 0)


@in_own_words
class Lanes:
    """The lanes' state in the journal's file.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.database: Database = journal.database
        self._note = journal.note

    def lane(self, name: str) -> LaneState:
        """A lane's state."""
        row = self.database.connection.execute(
            "SELECT name, failures, next_attempt_ms, retry_after_ms, code, reason, failing_since_ms, refusal_code, "
            "refusals, head, head_since_ms, head_cause, moved_ms FROM lanes WHERE name = ?",
            (name,),
        ).fetchone()
        return typed(LaneState, row or (), self.database.path)

    def lane_failed(self, name: str, error: EdgeAgentError, *, dice: float, now_ms: int) -> None:
        """Pause a lane with backoff, and keep the reason. In the database: a restart does not forget it.

        Args:
            name: ``sales``, ``usages`` or ``pull``.
            error: why; a ``Retry-After`` it carries is never undercut.
            dice: a random number in [0, 1), for the jitter.
            now_ms: milliseconds since 1970.
        """
        asked_s: float | None = getattr(error, "retry_after_s", None)
        wait_s = delay_s(self.lane(name).failures + 1, dice, retry_after_s=asked_s)
        with self.database.immediate() as connection:
            connection.execute(
                "UPDATE lanes SET failures = failures + 1, next_attempt_ms = ?, retry_after_ms = ?, code = ?, "
                "reason = ?, failing_since_ms = coalesce(failing_since_ms, ?) WHERE name = ?",
                (
                    now_ms + int(wait_s * 1000),
                    None if asked_s is None else now_ms + int(asked_s * 1000),
                    error.code,
                    error.message,
                    now_ms,
                    name,
                ),
            )

    def lane_works(self, name: str) -> None:
        """Clear a lane's failures; writes only when there are any."""
        if self.lane(name).failures:
            with self.database.immediate() as connection:
                connection.execute(
                    "UPDATE lanes SET failures = 0, next_attempt_ms = NULL, retry_after_ms = NULL, code = NULL, "
                    "reason = NULL, failing_since_ms = NULL WHERE name = ?",
                    (name,),
                )

    def note_head(self, name: str, head: str | None, cause: str | None, now_ms: int, *, moved: bool = False) -> None:
        """Remember what stands first in a lane although head office answers; None when the lane moves.

        Args:
            name: ``sales``, ``usages`` or ``pull``.
            head: an entry's id, or the cursors of the catalogue.
            cause: why it does not move, in words.
            now_ms: milliseconds since 1970; kept from the first time this head was noted.
            moved: whether something behind it was taken.
        """
        state = self.lane(name)
        if (state.head, state.head_cause) == (head, cause) and not (moved and head is not None):
            return
        since = None if head is None else state.head_since_ms if state.head == head else now_ms
        with self.database.immediate() as connection:
            connection.execute(
                "UPDATE lanes SET head = ?, head_since_ms = ?, head_cause = ?, moved_ms = ? WHERE name = ?",
                (head, since, cause, now_ms if moved else state.moved_ms, name),
            )

    def count_refusals(self, lane: Lane, code: str | None, count: int) -> None:
        """Remember how many refusals with the same code came in a row; ``code=None`` ends the row."""
        state = self.lane(lane)
        if (state.refusal_code, state.refusals) == (code, count):
            return
        with self.database.immediate() as connection:
            connection.execute("UPDATE lanes SET refusal_code = ?, refusals = ? WHERE name = ?", (code, count, lane))
