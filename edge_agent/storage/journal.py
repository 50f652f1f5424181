"""The journal: recording sales and usages, durable when it returns (G1), in a gap-free order (G2).

Delivering them is `storage/outbox.py`; both work on the same file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edge_agent.domain import canonical
from edge_agent.domain.money import format_money
from edge_agent.domain.outbox import State
from edge_agent.domain.sale import SIGN, Checked
from edge_agent.domain.usage import CheckedUsage
from edge_agent.errors import InvalidSale, StoreBroken
from edge_agent.storage.ballast import INCIDENT, Ballast, full
from edge_agent.storage.database import FAULTS, Database, broken, in_own_words, typed
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.incidents import raise_incident
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL, Moves

# A safety net only: checkpoints belong into idle moments, off a sale's path (agent.py).
_AUTOCHECKPOINT_PAGES = 16_000

PLACE_FACTS = ("profile", "currency", "timezone", "day_start", "store_name")
_PLACE = "place"
_DRAW_NUMBER = """
UPDATE journals SET last_seq = last_seq + 1 WHERE number = (SELECT max(number) FROM journals)
RETURNING number, last_seq, journal_id"""
_INSERT_SALE = """
INSERT INTO sales (entry, journal_number, device_seq, external_id, kind, refers_to, business_date, currency, exponent,
    total_minor, fingerprint, recorded_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_BODY = "INSERT INTO sale_bodies (entry, body) VALUES (?, ?)"
_SALE = """
SELECT s.entry, j.journal_id, j.device_id, s.device_seq, s.external_id, s.kind, s.refers_to, s.business_date,
    s.currency, s.exponent, s.total_minor, s.fingerprint, s.recorded_ms, s.state, s.attempts, s.code, s.reason,
    s.first_failed_ms, s.last_attempt_ms, s.settled_ms, s.ho_id, s.warnings, b.body
FROM sales s JOIN journals j ON j.number = s.journal_number LEFT JOIN sale_bodies b ON b.entry = s.entry
WHERE s.external_id = ?"""


T = TypeVar("T")


class RecordedSale(msgspec.Struct, frozen=True, gc=False):
    """A sale as the journal holds it. Times are milliseconds since 1970; ``body`` is None once retention took it."""

    entry: int
    journal_id: str
    device_id: str
    device_seq: int
    external_id: str
    kind: str
    refers_to: str | None
    business_date: str
    currency: str
    exponent: int
    total_minor: int
    fingerprint: str
    recorded_ms: int
    state: State
    attempts: int
    code: str | None
    reason: str | None
    first_failed_ms: int | None
    last_attempt_ms: int | None
    settled_ms: int | None
    ho_id: str | None
    warnings: str | None
    body: bytes | None
    is_new: bool = False

    @property
    def total_amount(self) -> str:
        """The total as the contract's decimal text, unsigned: the kind gives the sign."""
        return format_money(self.total_minor, self.exponent)

    def fields(self) -> dict[str, Any] | None:
        """The frozen body as a value."""
        return None if self.body is None else dict(msgspec.json.decode(self.body))


@dataclass(frozen=True, slots=True)
class RecordedUsage:
    """A promotion's use as the journal holds it."""

    external_id: str
    sale_external_id: str | None
    promotion_id: str
    state: State
    existing: bool


@dataclass(frozen=True, slots=True)
class JournalLife:
    """One unbroken life of the journal (contract, section 5: ``journal_id``)."""

    number: int
    journal_id: str
    device_id: str
    last_seq: int


@in_own_words
class Journal:
    """The journal's file: appending, and looking up what was appended.

    Args:
        path: ``journal.db``.
        group_access: share the file with its group.
        ballast: what is dropped when the disk is full.

    Raises:
        StoreBroken: it can't be opened.
    """

    def __init__(self, path: Path, *, group_access: bool = False, ballast: Ballast | None = None) -> None:
        self.database = Database(
            path,
            "journal",
            synchronous="FULL",  # G1
            wal_autocheckpoint_pages=_AUTOCHECKPOINT_PAGES,
            group_access=group_access,
        )
        self._moves = Moves(self.database)
        self._ballast = ballast

    def look_at_the_end(self) -> None:
        """Whether the last sale of the present life is as it was recorded: the cheap part of an audit, at each open.

        Raises:
            StoreBroken: ``is_damaged``: it is not.
        """
        row = self.database.connection.execute(
            "SELECT j.last_seq, s.fingerprint, b.body FROM journals j "
            "LEFT JOIN sales s ON s.entry = j.number * 1099511627776 + j.last_seq "
            "LEFT JOIN sale_bodies b ON b.entry = s.entry ORDER BY j.number DESC LIMIT 1"
        ).fetchone()
        if row is None or row[0] == 0:
            return
        _, fingerprint, body = row
        if fingerprint is None or (body is not None and canonical.fingerprint(body) != fingerprint):
            raise StoreBroken(
                f"{self.database.path.name} is damaged: its last sale is not as it was recorded",
                is_damaged=True,
                file=self.database.path.name,
            )

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def begin_life(self, journal_id: str, device_id: str, *, reason: str, now_ms: int, first: bool = False) -> None:
        """Start a new life of the journal; sales recorded from now on count from 1 under ``journal_id``.

        Args:
            journal_id: a new UUID.
            device_id: the device's name.
            reason: why, for the audit trail.
            now_ms: milliseconds since 1970.
            first: only if the journal has no life yet (another process may have begun it meanwhile).
        """
        with self.database.immediate() as connection:
            if first and connection.execute("SELECT 1 FROM journals").fetchone() is not None:
                return
            connection.execute(
                "INSERT INTO journals (journal_id, device_id, reason, created_ms) VALUES (?, ?, ?, ?)",
                (journal_id, device_id, reason, now_ms),
            )
            self.note(connection, "journal began", journal_id, reason, now_ms)

    def life(self) -> JournalLife | None:
        """The present life, or None in a journal that was just created."""
        row = self.database.connection.execute(
            "SELECT number, journal_id, device_id, last_seq FROM journals ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return None if row is None else typed(JournalLife, row, self.database.path)

    def lives_begun(self, reason: str, since_ms: int) -> int:
        """How many lives began for a reason since a moment, milliseconds since 1970."""
        row = self.database.connection.execute(
            "SELECT count(*) FROM journals WHERE number > 0 AND reason = ? AND created_ms >= ?", (reason, since_ms)
        ).fetchone()
        return int(row[0])

    def lives(self) -> list[JournalLife]:
        """Every life of this journal, oldest first."""
        rows = self.database.connection.execute(
            "SELECT number, journal_id, device_id, last_seq FROM journals ORDER BY number"
        )
        return [typed(JournalLife, row, self.database.path) for row in rows]

    def is_empty(self) -> bool:
        """Whether nothing was ever recorded."""
        query = "SELECT NOT EXISTS (SELECT 1 FROM sales) AND NOT EXISTS (SELECT 1 FROM usages)"
        return bool(self.database.connection.execute(query).fetchone()[0])

    def fact(self, key: str) -> str | None:
        """Something the journal keeps about itself."""
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep_fact(self, key: str, value: str) -> None:
        """Keep something about the journal itself."""
        with self.database.immediate() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def place(self) -> dict[str, str]:
        """What head office told of the store, kept here too: selling must not stop because the catalogue is gone."""
        return dict(msgspec.json.decode(self.fact(_PLACE) or "{}", type=dict[str, str]))

    def keep_place(self, facts: Mapping[str, str]) -> None:
        """Keep what head office told of the store; writes only when it changed. A catalogue that began anew knows only
        a part of it at first, and takes nothing away."""
        known = self.place()
        place = known | {key: facts[key] for key in PLACE_FACTS if key in facts}
        if place != known:
            self.keep_fact(_PLACE, msgspec.json.encode(place).decode())

    @staticmethod
    def note(connection: sqlite3.Connection, event: str, subject: str, detail: str | None, now_ms: int) -> None:
        """Write a line of the audit trail, inside the caller's transaction."""
        connection.execute(
            "INSERT INTO audit (at_ms, event, subject, detail) VALUES (?, ?, ?, ?)", (now_ms, event, subject, detail)
        )

    def record_sale(self, sale: Checked, now_ms: int) -> RecordedSale:
        """Store a sale with its outbox entry, in one durable transaction (G1).

        Args:
            sale: a sale that passed every rule.
            now_ms: milliseconds since 1970.

        Returns:
            The stored sale. When its ``external_id`` is known already, the sale of then.

        Raises:
            InvalidSale: ``ID_REUSED``: the id belongs to a sale that says something else.
            StoreBroken: it could not be stored; carries the ``external_id`` to ask again with.
        """
        try:
            return self._record_sale(sale, now_ms)
        except StoreBroken as error:
            return self._once_more(lambda: self._record_sale(sale, now_ms), error, "sale", sale.external_id, now_ms)

    def _record_sale(self, sale: Checked, now_ms: int) -> RecordedSale:
        database = self.database
        try:
            connection = database.begin()
            execute = connection.execute
            try:
                number, device_seq, journal_id = execute(_DRAW_NUMBER).fetchone()
                entry = number * ENTRIES_PER_JOURNAL + device_seq
                body = sale.seal(journal_id, device_seq)
                digest = canonical.fingerprint(body)
                execute(
                    _INSERT_SALE,
                    (
                        entry,
                        number,
                        device_seq,
                        sale.external_id,
                        sale.kind,
                        sale.refers_to,
                        sale.business_date,
                        sale.currency,
                        sale.exponent,
                        sale.total_minor,
                        digest,
                        now_ms,
                    ),
                )
                execute(_INSERT_BODY, (entry, body))
                execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            return self._same_sale(sale)
        except FAULTS as error:
            translated = broken(error, database.path)
            translated.external_id = sale.external_id
            raise translated from error
        return RecordedSale(
            entry,
            journal_id,
            sale.fields["device_id"],
            device_seq,
            sale.external_id,
            sale.kind,
            sale.refers_to,
            sale.business_date,
            sale.currency,
            sale.exponent,
            sale.total_minor,
            digest,
            now_ms,
            State.PENDING,
            *(0, None, None, None, None, None, None, None),
            body,
            is_new=True,
        )

    def _same_sale(self, sale: Checked) -> RecordedSale:
        """The sale recorded before under this id, when it says the same (G2)."""
        recorded = self.sale(sale.external_id)
        if recorded is None:
            raise StoreBroken(
                "the journal refused a sale it does not hold",
                hint="Record it once more; if this stays, call support.",
                external_id=sale.external_id,
            )
        fields = recorded.fields()
        if not (_looks_like(recorded, sale) if fields is None else sale.says_the_same_as(fields)):
            raise InvalidSale(
                "ID_REUSED",
                "external_id",
                f"{sale.external_id} is already the id of another sale, of {recorded.total_amount}",
                "Every sale needs an id of its own; leave external_id out and the agent makes one.",
                external_id=sale.external_id,
            )
        return recorded

    def sale(self, external_id: str) -> RecordedSale | None:
        """A sale by its id, with where its delivery stands; None when this journal does not hold it."""
        row = self.database.connection.execute(_SALE, (external_id,)).fetchone()
        if row is None:
            return None
        values = list(row)
        values[13] = State(values[13])
        return RecordedSale(*values)

    def record_usage(self, usage: CheckedUsage, now_ms: int) -> RecordedUsage:
        """Store a promotion's use in one durable transaction (G1). The same use again is the same entry.

        Raises:
            InvalidSale: ``ID_REUSED``: this promotion's use on this line is recorded with another discount.
            StoreBroken: it could not be stored.
        """
        try:
            return self._record_usage(usage, now_ms)
        except StoreBroken as error:
            again = "promotion use", usage.external_id, now_ms
            return self._once_more(lambda: self._record_usage(usage, now_ms), error, *again)

    def _record_usage(self, usage: CheckedUsage, now_ms: int) -> RecordedUsage:
        connection = self.database.connection
        with self.database.immediate():
            row = connection.execute(
                "SELECT body, state FROM usages WHERE external_id = ?", (usage.external_id,)
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO usages (external_id, sale_external_id, promotion_id, bill_id, fingerprint, "
                    "recorded_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        usage.external_id,
                        usage.sale_external_id,
                        usage.promotion_id,
                        usage.bill_id,
                        canonical.fingerprint(usage.body),
                        now_ms,
                        usage.body,
                    ),
                )
        # Without its bytes (retention) nothing can be compared; the id says promotion, sale and line.
        if row is not None and row[0] and _discount(row[0]) != _discount(usage.body):
            raise InvalidSale(
                "ID_REUSED",
                "discount_amount",
                f"this promotion's use is already recorded with {_discount(row[0])}",
                "Name the line when a promotion is used more than once in a sale.",
                external_id=usage.external_id,
            )
        state = State.PENDING if row is None else State(row[1])
        return RecordedUsage(
            usage.external_id, usage.sale_external_id, usage.promotion_id, state, existing=row is not None
        )

    def _once_more(self, record: Callable[[], T], error: StoreBroken, what: str, external_id: str, now_ms: int) -> T:
        """On a full disk: drop the ballast and record the same again under the same id. A failed commit may have been
        stored all the same; then that is found under its id."""
        if self._ballast is None or not self._ballast.is_full(error):
            raise error
        self._ballast.release()  # another program may have dropped it a moment ago: trying again makes sense anyway
        try:
            recorded = record()
        except StoreBroken as again:
            if self._ballast.is_full(again):
                raise full(what, external_id) from again
            raise
        with contextlib.suppress(StoreBroken), self.database.immediate() as connection:
            raise_incident(connection, INCIDENT, f"found when recording a {what}; the room held back is used", now_ms)
        return recorded

    def unseen_milli(self, product_ids: Iterable[str], seen: Mapping[str, Any]) -> dict[str, int]:
        """Thousandths of products that left the shop and are not in head office's stock figures.

        Args:
            product_ids: the products asked for.
            seen: ``journal_id``, ``contiguous_seq`` and ``beyond`` of the figures (contract, section 4: stock).

        Returns:
            For each product the sum over own sales outside ``seen``, and over quarantined ones wherever they stand:
            those goods have left, though head office does not count them.
        """
        life = next((life for life in self.lives() if life.journal_id == seen.get("journal_id")), None)
        if life is None:
            return self._moves.outside(product_ids, life_number=None, contiguous=0, beyond=())
        return self._moves.outside(
            product_ids,
            life_number=life.number,
            contiguous=int(seen.get("contiguous_seq", 0)),
            beyond=list(seen.get("beyond", [])),
        )

    def tidy(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """The journal's work for idle moments: what left the shop is sorted by product.

        Args:
            go_on: asked before each short transaction.

        Raises:
            StoreBroken: the journal can't be written; nothing is lost.
        """
        self._moves.index(go_on)

    def newest(self) -> tuple[int, int, int]:
        """A mark that is another one after each recorded entry: the present life, its last number, the last use."""
        row = self.database.connection.execute(
            "SELECT number, last_seq, coalesce((SELECT max(entry) FROM usages), 0) FROM journals "
            "ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return tuple(row) if row else (0, 0, 0)

    def totals(self) -> dict[str, int]:
        """The ledger's sum in minor units by currency, signed by kind."""
        rows = self.database.connection.execute("SELECT currency, kind, sum(total_minor) FROM sales GROUP BY 1, 2")
        sums: dict[str, int] = {}
        for currency, kind, total in rows:
            sums[currency] = sums.get(currency, 0) + SIGN[kind] * total
        return sums


def _looks_like(recorded: RecordedSale, sale: Checked) -> bool:
    """Whether a sale whose bytes retention took says the same, as far as its ledger line can tell."""
    mine = (sale.kind, sale.refers_to, sale.currency, sale.exponent, sale.total_minor)
    return mine == (recorded.kind, recorded.refers_to, recorded.currency, recorded.exponent, recorded.total_minor)


def _discount(body: bytes) -> str:
    return str(msgspec.json.decode(body)["discount_amount"])
