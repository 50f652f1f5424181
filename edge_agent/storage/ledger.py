"""The journal as a ledger: what head office must have of each of its lives, and offering again what it lost (G10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_agent.domain.backoff import delay_s, is_waiting
from edge_agent.domain.outbox import Event, State, move
from edge_agent.errors import EdgeAgentError
from edge_agent.storage.adopt import FORK
from edge_agent.storage.database import Database, in_own_words
from edge_agent.storage.incidents import close_incident, incidents, raise_incident
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

NOT_COMPARED = "receipts can't be compared"
_PAUSE = "receipts_pause"
_OFFERED = "offered_again "
OFFERED_AFTER_ALL_TIMES = 5
MOVED_PER_TRANSACTION = 50  # a sale never waits longer than for so many rows


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a journal, as receipts speak of it. Times are milliseconds since 1970.

    Args:
        journal_id: its id; forks of the same life are counted in.
        numbers: under which numbers its sales are kept here.
        last_seq: the last number drawn; 0 for an adopted life, of which we may hold only some sales.
        is_present: whether sales recorded now belong to it.
    """

    journal_id: str
    device_id: str
    numbers: tuple[int, ...]
    last_seq: int
    is_present: bool
    confirmed_seq: int
    checked_ms: int | None
    checked_epoch: str | None
    created_ms: int
    difference: str | None

    @property
    def is_whole(self) -> bool:
        """Whether all of its sales were recorded here, so that sums can be compared."""
        return self.numbers[0] > 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What this journal believes that head office holds of a life."""

    sales: int
    totals: dict[tuple[str, int], int]
    """Minor units by currency and exponent, signed by kind."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sale or a use by name. ``has_body``: its bytes are still here, so that it can be offered again."""

    entry: int
    external_id: str
    device_seq: int | None
    has_body: bool


@in_own_words
class Ledger:
    """The ledger's side of a journal.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.database: Database = journal.database
        self._note = journal.note

    def lives(self) -> list[Life]:
        """Every life that has sales or uses here, those recorded here first."""
        rows = self.database.connection.execute(
            "SELECT number, journal_id, device_id, last_seq, confirmed_seq, checked_ms, checked_epoch, created_ms, "
            "difference FROM journals ORDER BY number < 0, abs(number)"
        ).fetchall()
        newest = max((row[0] for row in rows), default=0)
        lives: dict[str, Life] = {}
        for number, label, device_id, last_seq, confirmed, checked, epoch, created, difference in rows:
            journal_id = label.partition(FORK)[0]
            known = lives.get(journal_id)
            if known is not None:  # a fork: the numbers of one life, drawn twice
                numbers = (*known.numbers, number)
                lives[journal_id] = Life(
                    *(journal_id, known.device_id, numbers, known.last_seq, known.is_present, known.confirmed_seq),
                    *(known.checked_ms, known.checked_epoch, known.created_ms, known.difference),
                )
            elif last_seq or self._has_uses(number):
                own_seq = last_seq if number > 0 else 0
                lives[journal_id] = Life(
                    *(journal_id, device_id, (number,), own_seq, number == newest, confirmed),
                    *(checked, epoch, created, difference),
                )
        return list(lives.values())

    def _has_uses(self, number: int) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM usages WHERE journal_number = ?)"
        return bool(self.database.connection.execute(query, (number,)).fetchone()[0])

    def delivered(self, life: Life) -> Delivered:
        """What head office should hold of a life, by its own word."""
        execute = self.database.connection.execute
        totals: dict[tuple[str, int], int] = {}
        sales = 0
        for number in life.numbers:
            rows = execute(
                "SELECT currency, exponent, count(*), sum(CASE kind WHEN 'sale' THEN total_minor ELSE -total_minor END)"
                " FROM sales WHERE entry BETWEEN ? AND ? AND state = 'delivered' GROUP BY 1, 2",
                _range(number, 1, ENTRIES_PER_JOURNAL - 1),
            )
            for currency, exponent, count, total in rows:
                sales += count
                totals[currency, exponent] = totals.get((currency, exponent), 0) + total
        return Delivered(sales, totals)

    def settled_up_to(self, number: int) -> int:
        """Up to which number head office has given its word about every sale of a life; 0 for an adopted one."""
        first = number * ENTRIES_PER_JOURNAL
        execute = self.database.connection.execute
        pending = execute(
            "SELECT min(entry) FROM sales WHERE state = 'pending' AND entry BETWEEN ? AND ?",
            (first, first + ENTRIES_PER_JOURNAL - 1),
        ).fetchone()[0]
        if number < 0:
            return 0
        if pending is not None:
            return int(pending) - first - 1
        return int(execute("SELECT last_seq FROM journals WHERE number = ?", (number,)).fetchone()[0])

    def pending_among(self, life: Life, ranges: Sequence[tuple[int, int]]) -> int:
        """How many sales with numbers *outside* these ranges are still pending: an answer about them was lost."""
        inside = sum(self._count(life, "pending", low, high) for low, high in ranges)
        return self._count(life, "pending", 1, ENTRIES_PER_JOURNAL - 1) - inside

    def _count(self, life: Life, state: str, low: int, high: int) -> int:
        return sum(
            self.database.connection.execute(
                "SELECT count(*) FROM sales WHERE entry BETWEEN ? AND ? AND state = ?",
                (*_range(number, low, high), state),
            ).fetchone()[0]
            for number in life.numbers
        )

    def delivered_in(self, life: Life, ranges: Iterable[tuple[int, int]]) -> list[Line]:
        """Delivered sales with numbers in these ranges, oldest first.

        Args:
            life: whose.
            ranges: numbers, both ends included.
        """
        rows = []
        for low, high in ranges:
            for number in life.numbers:
                rows += self.database.connection.execute(
                    "SELECT s.entry, s.external_id, s.device_seq, b.entry IS NOT NULL FROM sales s "
                    "LEFT JOIN sale_bodies b ON b.entry = s.entry WHERE s.entry BETWEEN ? AND ? "
                    "AND s.state = 'delivered' ORDER BY s.entry",
                    _range(number, low, high),
                ).fetchall()
        return [Line(entry, external_id, seq, bool(body)) for entry, external_id, seq, body in rows]

    def delivered_uses(self, life: Life) -> list[Line]:
        """Uses of a life that head office has taken, oldest first."""
        marks = ", ".join("?" * len(life.numbers))
        rows = self.database.connection.execute(
            "SELECT entry, external_id, length(body) > 0 FROM usages "
            f"WHERE journal_number IN ({marks}) AND state = 'delivered' ORDER BY entry",
            life.numbers,
        )
        return [Line(entry, external_id, None, bool(body)) for entry, external_id, body in rows]

    def quarantined(self, life: Life) -> list[Line]:
        """Sales of a life that head office refused, other than for being a second sale of one id, or many times."""
        rows = []
        for number in life.numbers:
            rows += self.database.connection.execute(
                "SELECT entry, external_id, device_seq FROM sales WHERE state = 'quarantined' AND entry BETWEEN ? "
                "AND ? AND coalesce(code, '') <> 'PAYLOAD_MISMATCH' AND attempts <= ? ORDER BY entry",
                (*_range(number, 1, ENTRIES_PER_JOURNAL - 1), OFFERED_AFTER_ALL_TIMES),
            ).fetchall()
        return [Line(entry, external_id, seq, has_body=True) for entry, external_id, seq in rows]

    def offer_again(self, lane: str, lines: Sequence[Line], event: Event, now_ms: int) -> int:
        """Put entries back to pending, oldest first, as far as their bytes are still here.

        Args:
            lane: ``sales`` or ``usages``.
            lines: which.
            event: why; decides which state they must be in.
            now_ms: milliseconds since 1970.

        Returns:
            How many moved.
        """
        before = next(state for state in State if _leads(state, event))
        after = move(before, event)
        entries = [line.entry for line in lines if line.has_body]
        moved = 0
        for start in range(0, len(entries), MOVED_PER_TRANSACTION):
            part = entries[start : start + MOVED_PER_TRANSACTION]
            with self.database.immediate() as connection:
                moved += connection.executemany(
                    f"UPDATE {lane} SET state = ?, settled_ms = NULL, next_attempt_ms = NULL, code = ?, reason = ? "
                    "WHERE entry = ? AND state = ?",
                    [(after, event.name, str(event), entry, before) for entry in part],
                ).rowcount
                self._note(connection, f"{lane} offered again", f"{len(part)} entries", str(event), now_ms)
        return moved

    def compare_soon(self) -> None:
        """Make every life's comparison due; a restart does not forget it."""
        with self.database.immediate() as connection:
            connection.execute("UPDATE journals SET checked_ms = 0")

    def offered_ms(self, life: Life) -> int | None:
        """When entries of a life were last offered again."""
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (_OFFERED + life.journal_id,))
        found = row.fetchone()
        return None if found is None else int(found[0])

    def note_offered(self, life: Life, now_ms: int) -> None:
        """Remember that entries of a life were offered again."""
        with self.database.immediate() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_OFFERED + life.journal_id, str(now_ms)))

    def comparing_waits(self, now_ms: int) -> bool:
        """Whether a comparison that failed is to be tried again later."""
        return is_waiting(self._pause()[1], now_ms, asked_for=True)

    def comparing_failed(self, error: EdgeAgentError, *, dice: float, now_ms: int) -> None:
        """Note why receipts could not be compared, and when to ask again: a restart does not forget it.

        Args:
            error: why; a ``Retry-After`` it carries is never undercut.
            dice: a random number in [0, 1).
            now_ms: milliseconds since 1970.
        """
        failures = self._pause()[0] + 1
        wait_s = delay_s(failures, dice, retry_after_s=getattr(error, "retry_after_s", None))
        with self.database.immediate() as connection:
            pause = f"{failures} {now_ms + int(wait_s * 1000)}"
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_PAUSE, pause))
            raise_incident(connection, NOT_COMPARED, error.message, now_ms)

    def comparing_works(self) -> None:
        """Clear the pause; writes only when there is one."""
        if self._pause()[0]:
            with self.database.immediate() as connection:
                connection.execute("DELETE FROM meta WHERE key = ?", (_PAUSE,))
                close_incident(connection, NOT_COMPARED)

    def _pause(self) -> tuple[int, int | None]:
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (_PAUSE,)).fetchone()
        if row is None:
            return 0, None
        failures, next_attempt_ms = str(row[0]).split()
        return int(failures), int(next_attempt_ms)

    def tell(self, kind: str, detail: str, now_ms: int) -> None:
        """Note an incident that people should know of (G11)."""
        with self.database.immediate() as connection:
            raise_incident(connection, kind, detail, now_ms)

    def over(self, *kinds: str) -> None:
        """Close incidents; writes only where one is open."""
        if any(incident.kind in kinds for incident in incidents(self.database.connection)):
            with self.database.immediate() as connection:
                for kind in kinds:
                    close_incident(connection, kind)

    def checked(
        self, life: Life, *, confirmed_seq: int, epoch: str | None, difference: str | None, now_ms: int
    ) -> None:
        """Remember how a comparison with receipts ended."""
        with self.database.immediate() as connection:
            connection.execute(
                "UPDATE journals SET confirmed_seq = ?, checked_ms = ?, checked_epoch = ?, difference = ? "
                "WHERE number = ?",
                (confirmed_seq, now_ms, epoch, difference, life.numbers[0]),
            )


def _leads(state: State, event: Event) -> bool:
    try:
        move(state, event)
    except ValueError:
        return False
    return True


def _range(number: int, low: int, high: int) -> tuple[int, int]:
    first = number * ENTRIES_PER_JOURNAL
    return first + low, first + min(high, ENTRIES_PER_JOURNAL - 1)
