"""What left the shop, by product: for the stock that is available (contract, section 4: stock).

A sale's frozen body says what it moved, so recording a sale writes nothing more. The table by product is filled from
the bodies in idle moments; the few sales behind it are read from their bodies, so a body may only ever go after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from edge_agent.domain.sale import moves_of
from edge_agent.errors import InvalidSale
from edge_agent.storage.database import Database

ENTRIES_PER_JOURNAL = 2**40
INDEXED_PER_TRANSACTION = 50  # a sale never waits longer than for this many sales' lines
WORTH_INDEXING = 16
_INDEXED_UP_TO = "moves_indexed_entry"

_BEHIND = "SELECT count(*) FROM (SELECT 1 FROM sales WHERE entry > ? LIMIT ?)"
_NEXT_BODIES = """
SELECT s.entry, s.kind, s.state, b.body FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.entry > ? ORDER BY s.entry LIMIT ?"""
_INSERT_MOVE = "INSERT OR IGNORE INTO stock_moves (product_id, entry, line, quantity_milli) VALUES (?, ?, ?, ?)"


class Moves:
    """The journal's stock moves.

    Args:
        database: the journal's file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def _indexed_up_to(self) -> int:
        row = self._database.connection.execute("SELECT value FROM meta WHERE key = ?", (_INDEXED_UP_TO,)).fetchone()
        return 0 if row is None else int(row[0])

    def index(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Bring the table by product up to date, when enough sales stand behind it. For idle moments.

        Args:
            go_on: asked before each transaction.

        Raises:
            StoreBroken: the journal can't be written; nothing is lost, the bodies say it all.
        """
        connection = self._database.connection
        behind = connection.execute(_BEHIND, (self._indexed_up_to(), WORTH_INDEXING)).fetchone()[0]
        while behind >= WORTH_INDEXING and go_on():
            with self._database.immediate():
                sales = connection.execute(_NEXT_BODIES, (self._indexed_up_to(), INDEXED_PER_TRANSACTION)).fetchall()
                for entry, kind, _, body in sales:
                    moves = enumerate(_moves(body, kind), 1)
                    rows = [(product, entry, line, milli) for line, (product, milli) in moves]
                    connection.executemany(_INSERT_MOVE, rows)
                if sales:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_INDEXED_UP_TO, str(sales[-1][0])))
            behind = len(sales) if len(sales) == INDEXED_PER_TRANSACTION else 0

    def outside(
        self, product_ids: Iterable[str], *, life_number: int | None, contiguous: int, beyond: Sequence[Sequence[int]]
    ) -> dict[str, int]:
        """Thousandths of products in sales that head office's figures do not contain.

        Args:
            product_ids: the products asked for.
            life_number: the journal whose sales the figures speak of; None when they speak of none of ours.
            contiguous: its sales up to this number are contained.
            beyond: ranges of numbers, both ends included, that are contained as well.

        Returns:
            For each product the sum over the named journal's other sales, over the pending ones of other lives, and
            over quarantined ones wherever they stand.
        """
        first = (life_number or 0) * ENTRIES_PER_JOURNAL
        end = first if life_number is None else first + ENTRIES_PER_JOURNAL  # no life: an empty range
        bounds = [first + contiguous, end]
        for low, high in beyond:
            bounds += [first + int(low), first + int(high)]
        connection = self._database.connection
        connection.execute("BEGIN")  # one moment's view of the table and of what stands behind it
        try:
            sums = {one: self._indexed(one, bounds, first, end) for one in product_ids}
            for entry, kind, state, body in connection.execute(_NEXT_BODIES, (self._indexed_up_to(), -1)):
                waits = state == "pending" and not first < entry < end
                if state == "quarantined" or waits or _is_outside(entry, bounds):
                    for product, milli in _moves(body, kind):
                        if product in sums:
                            sums[product] += milli
        finally:
            connection.execute("COMMIT")
        return sums

    def _indexed(self, product_id: str, bounds: Sequence[int], first: int, end: int) -> int:
        outside = "m.entry > ? AND m.entry < ?" + " AND m.entry NOT BETWEEN ? AND ?" * (len(bounds) // 2 - 1)
        query = (
            f"SELECT sum(m.quantity_milli) FROM stock_moves m WHERE m.product_id = ? AND ({outside} "
            "OR m.entry IN (SELECT entry FROM sales WHERE state = 'quarantined') "
            "OR (m.entry NOT BETWEEN ? AND ? AND m.entry IN (SELECT entry FROM sales WHERE state = 'pending')))"
        )
        row = self._database.connection.execute(query, (product_id, *bounds, first + 1, end - 1)).fetchone()
        return row[0] or 0


def _moves(body: bytes, kind: str) -> list[tuple[str, int]]:
    try:
        return moves_of(body, kind)
    except (ValueError, InvalidSale):
        return []  # a damaged body: what it moved can't be known, and must not hide what the others did


def _is_outside(entry: int, bounds: Sequence[int]) -> bool:
    low, high, *contained = bounds
    return low < entry < high and not any(a <= entry <= b for a, b in zip(contained[::2], contained[1::2], strict=True))
