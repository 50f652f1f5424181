"""Takes over entries that another journal recorded: they keep their identity and their bytes (G2), and count once (G4).

An entry comes by import, from a salvaged journal, or from the one that a backup replaced. Its life gets a negative
number here (migrations/journal/0002): what this device records itself never mixes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from edge_agent.domain.frozen import FrozenSale, FrozenUsage
from edge_agent.domain.outbox import State
from edge_agent.domain.sale import moves_of
from edge_agent.storage.database import in_own_words
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

FORK = "~"  # parts a life's journal_id from the number of its fork, when a life was cloned or rewound
ADOPTED_PER_TRANSACTION = 50  # a sale never waits longer than for so many entries
_FATE = "state, code, reason, ho_id, warnings, first_failed_ms, last_attempt_ms, settled_ms"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fate:
    """How far an entry's delivery had come where it was recorded. Times are milliseconds since 1970."""

    recorded_ms: int
    state: State = State.PENDING
    code: str | None = None
    reason: str | None = None
    ho_id: str | None = None
    warnings: str | None = None
    first_failed_ms: int | None = None
    last_attempt_ms: int | None = None
    settled_ms: int | None = None

    def values(self) -> tuple[str | int | None, ...]:
        """In the order of the outbox's columns."""
        return (
            str(self.state),
            self.code,
            self.reason,
            self.ho_id,
            self.warnings,
            self.first_failed_ms,
            self.last_attempt_ms,
            self.settled_ms,
        )


@dataclass(slots=True)
class Adopted:
    """What became of the entries. ``conflicts``: ids that belong to other bytes here; those were left out."""

    sales: int = 0
    usages: int = 0
    existing: int = 0
    conflicts: list[str] = field(default_factory=list)


@in_own_words
class Adopting:
    """Adoption into a journal.

    Args:
        journal: where the entries go.
        store_id: this device's store: only its goods count for the stock shown here.
        source: where the entries come from, in words for the audit trail.
        now_ms: milliseconds since 1970.
    """

    def __init__(self, journal: Journal, *, store_id: str, source: str, now_ms: int) -> None:
        self.database = journal.database
        self._journal = journal
        self._store_id = store_id
        self._source = source
        self._now_ms = now_ms
        self.adopted = Adopted()

    def sales(self, sales: Iterable[tuple[FrozenSale, Fate]]) -> None:
        """Take sales over; one that is here already stays as it is.

        Raises:
            StoreBroken: the journal can't be written. What was taken over stays, and taking it again is harmless.
        """
        for part in _parts(sales):
            with self.database.immediate() as connection:
                for sale, fate in part:
                    if not self._is_here(connection, "sales", sale):
                        self._insert(connection, sale, fate)
                        self.adopted.sales += 1

    def usages(self, usages: Iterable[tuple[FrozenUsage, Fate]]) -> None:
        """Take uses of promotions over, as :meth:`sales` does."""
        for part in _parts(usages):
            with self.database.immediate() as connection:
                for usage, fate in part:
                    if not self._is_here(connection, "usages", usage):
                        connection.execute(
                            "INSERT INTO usages (external_id, sale_external_id, promotion_id, bill_id, fingerprint, "
                            f"recorded_ms, body, journal_number, {_FATE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, "
                            "?, ?, ?, ?, ?, ?, ?, ?)",
                            (
                                usage.external_id,
                                usage.sale_external_id,
                                usage.promotion_id,
                                usage.bill_id,
                                usage.fingerprint,
                                fate.recorded_ms,
                                usage.body,
                                self._life(connection, usage.journal_id, usage.device_id),
                                *fate.values(),
                            ),
                        )
                        self.adopted.usages += 1

    def _is_here(self, connection: sqlite3.Connection, lane: str, entry: FrozenSale | FrozenUsage) -> bool:
        row = connection.execute(
            f"SELECT fingerprint FROM {lane} WHERE external_id = ?", (entry.external_id,)
        ).fetchone()
        if row is None:
            return False
        if row[0] == entry.fingerprint:
            self.adopted.existing += 1
        else:  # the same id for something else: what is here was acknowledged here, and stays (G2)
            self.adopted.conflicts.append(entry.external_id)
        return True

    def _insert(self, connection: sqlite3.Connection, sale: FrozenSale, fate: Fate) -> None:
        number = self._life(connection, sale.journal_id, sale.device_id, sale.device_seq)
        entry = number * ENTRIES_PER_JOURNAL + sale.device_seq
        connection.execute(
            "INSERT INTO sales (entry, journal_number, device_seq, external_id, kind, refers_to, business_date, "
            f"currency, exponent, total_minor, fingerprint, recorded_ms, {_FATE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, "
            "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry,
                number,
                sale.device_seq,
                sale.external_id,
                sale.kind,
                sale.refers_to,
                sale.business_date,
                sale.currency,
                sale.exponent,
                sale.total_minor,
                sale.fingerprint,
                fate.recorded_ms,
                *fate.values(),
            ),
        )
        connection.execute("INSERT INTO sale_bodies (entry, body) VALUES (?, ?)", (entry, sale.body))
        if number < 0:
            connection.execute("UPDATE journals SET last_seq = last_seq + 1 WHERE number = ?", (number,))
        if sale.store_id == self._store_id:
            connection.executemany(
                "INSERT OR IGNORE INTO stock_moves (product_id, entry, line, quantity_milli) VALUES (?, ?, ?, ?)",
                [
                    (product, entry, line, milli)
                    for line, (product, milli) in enumerate(moves_of(sale.body, sale.kind), 1)
                ],
            )

    def _life(self, connection: sqlite3.Connection, journal_id: str, device_id: str, seq: int | None = None) -> int:
        """The number of a life here; a new negative one for a life, or a fork of it, that is not here yet."""
        label, fork = journal_id, 1
        while True:
            row = connection.execute("SELECT number, last_seq FROM journals WHERE journal_id = ?", (label,)).fetchone()
            if row is None:
                break
            number, last_seq = row
            if seq is None or not self._is_taken(connection, number, last_seq, seq):
                return int(number)
            fork += 1
            label = f"{journal_id}{FORK}{fork}"
        number = min(0, connection.execute("SELECT min(number) FROM journals").fetchone()[0] or 0) - 1
        connection.execute(
            "INSERT INTO journals (number, journal_id, device_id, reason, created_ms) VALUES (?, ?, ?, ?, ?)",
            (number, label, device_id, self._source, self._now_ms),
        )
        self._journal.note(connection, "life adopted", label, self._source, self._now_ms)
        return number

    @staticmethod
    def _is_taken(connection: sqlite3.Connection, number: int, last_seq: int, seq: int) -> bool:
        """Whether a sale can't have this place: another one has it (the life was cloned), or it lies behind the end
        of a life that was recorded here (the life was rewound)."""
        if number > 0 and seq > last_seq:
            return True
        place = number * ENTRIES_PER_JOURNAL + seq
        return connection.execute("SELECT 1 FROM sales WHERE entry = ?", (place,)).fetchone() is not None


def _parts(entries: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(entries)
    while part := list(islice(iterator, ADOPTED_PER_TRANSACTION)):
        yield part
