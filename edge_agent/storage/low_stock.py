"""Products that run low: head office's figures less this journal's sales that they lack (contract, section 4: stock).

What a sale moved is read from its frozen body once and kept in memory, as long as head office's figures stay the same;
the next look reads only what was sold since.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from edge_agent.domain.sale import moves_of
from edge_agent.domain.today import LowProduct, LowStock, scarcity
from edge_agent.errors import InvalidSale
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.database import in_own_words
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

BODIES_PER_LOOK = 10_000  # after weeks offline the first looks are not whole yet, and say so
_IDS_PER_QUERY = 500
_BODIES = """
SELECT s.entry, s.kind, b.body FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.entry > ? AND s.entry < ? ORDER BY s.entry LIMIT ?"""
# Beside the named life's sales: what other lives still have to send, and what was refused wherever it stands.
_APART = """
SELECT s.entry, s.kind, b.body FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.state = 'quarantined'
UNION
SELECT s.entry, s.kind, b.body FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.state = 'pending' AND (s.entry <= :first OR s.entry >= :end) LIMIT :rows"""
# CROSS JOIN: few products are low, so the stock is walked through and their names are looked up.
_LOW = """
SELECT s.product_id, s.quantity, s.reorder_level, p.name FROM stock s CROSS JOIN products p ON p.id = s.product_id
WHERE s.reorder_level IS NOT NULL AND p.is_active"""
_BY_FIGURES = f"{_LOW} AND CAST(s.quantity AS REAL) <= CAST(s.reorder_level AS REAL)"


class _Unseen:
    """What the sales behind one watermark moved, in thousandths by product, as far as they have been read."""

    def __init__(self, seen: Any, first: int, end: int, contained: list[tuple[int, int]]) -> None:
        self.seen = seen
        self.first = first
        self.end = end
        self.contained = contained
        self.read_up_to = first + int(seen[1]) if end > first else end
        self.milli: dict[str, int] = {}

    def has(self, entry: int) -> bool:
        """Whether an entry belongs to the life of the watermark and is not contained in the figures."""
        if not self.first + int(self.seen[1]) < entry < self.end:
            return False
        return not any(low <= entry <= high for low, high in self.contained)


@in_own_words
class StockLevels:
    """Stock of all products at once. Thread-safe.

    Args:
        store: the catalogue.
        journal: this device's own sales.
    """

    def __init__(self, store: CatalogStore, journal: Journal) -> None:
        self.database = store.database
        self._store = store
        self._journal = journal
        self._unseen: _Unseen | None = None
        self._lock = threading.Lock()

    def low(self, limit: int) -> LowStock:
        """Active products of which less is available than their reorder level.

        Args:
            limit: list at most so many; all are counted.

        Raises:
            StoreBroken: a database can't be read.
        """
        synced_ms = self._store.state("stock").synced_ms
        if synced_ms is None:
            return LowStock((), None, None)
        with self._lock:
            moved, is_whole = self._moved()
        rows = {row[0]: row for row in self.database.connection.execute(_BY_FIGURES)}
        touched = [one for one, milli in moved.items() if milli > 0 and one not in rows]
        rows |= {row[0]: row for row in self._of(touched)}
        found = [
            LowProduct(product_id, name, available, Decimal(level))
            for product_id, quantity, level, name in rows.values()
            if (available := Decimal(quantity) - Decimal(moved.get(product_id, 0)) / 1000) < Decimal(level)
        ]
        as_of = dt.datetime.fromtimestamp(synced_ms / 1000, dt.UTC).isoformat(timespec="seconds")
        listed = tuple(sorted(found, key=scarcity)[:limit])
        return LowStock(listed, len(found), as_of.replace("+00:00", "Z"), is_whole)

    def _of(self, ids: list[str]) -> Iterable[Any]:
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = ids[start : start + _IDS_PER_QUERY]
            marks = ",".join("?" * len(part))
            yield from self.database.connection.execute(f"{_LOW} AND s.product_id IN ({marks})", part)

    def _moved(self) -> tuple[dict[str, int], bool]:
        """Thousandths of products that left the shop and are not in head office's figures; whether that is all."""
        unseen = self._present()
        connection = self._journal.database.connection
        rows = connection.execute(_BODIES, (unseen.read_up_to, unseen.end, BODIES_PER_LOOK)).fetchall()
        for entry, kind, body in rows:
            if unseen.has(entry):
                _add(unseen.milli, body, kind)
        if rows:
            unseen.read_up_to = rows[-1][0]
        moved = dict(unseen.milli)
        bounds = {"first": unseen.first, "end": unseen.end, "rows": BODIES_PER_LOOK}
        apart = connection.execute(_APART, bounds).fetchall()
        for entry, kind, body in apart:
            if not unseen.has(entry):
                _add(moved, body, kind)
        return moved, len(rows) < BODIES_PER_LOOK and len(apart) < BODIES_PER_LOOK

    def _present(self) -> _Unseen:
        """What is remembered, or a fresh start where head office's figures or the journal are others now."""
        text = self._store.meta("stock_seen")
        said = msgspec.json.decode(text) if text else {}
        life = next((one for one in self._journal.lives() if one.journal_id == said.get("journal_id")), None)
        seen = (self._journal.database.openings, int(said.get("contiguous_seq", 0)), text, life and life.number)
        if self._unseen is None or self._unseen.seen != seen:
            first = (life.number if life else 0) * ENTRIES_PER_JOURNAL
            end = first + ENTRIES_PER_JOURNAL if life else first
            contained = [(first + int(low), first + int(high)) for low, high in said.get("beyond", [])]
            self._unseen = _Unseen(seen, first, end, contained)
        return self._unseen


def _add(milli: dict[str, int], body: bytes, kind: str) -> None:
    try:
        moves = moves_of(body, kind)
    except (ValueError, InvalidSale):
        return  # a damaged body: what it moved can't be known, and must not hide what the others did
    for product, moved in moves:
        milli[product] = milli.get(product, 0) + moved
