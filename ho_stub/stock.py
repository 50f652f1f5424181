"""The stock feed, and which of a journal's sales its figures contain (contract section 4, Stock)."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ho_stub.cursor import Cursor, Scope
from ho_stub.database import Database

PAGE = """
SELECT seq, product_id, quantity, reorder_level, deleted FROM stock
WHERE store_id = :store AND {where} ORDER BY {order} LIMIT :limit"""

MOVE = """
INSERT INTO stock (store_id, product_id, quantity, reorder_level, seq) VALUES (:store, :product, :quantity, NULL, :seq)
ON CONFLICT (store_id, product_id) DO UPDATE SET
  quantity = CASE WHEN stock.deleted = 1 THEN 0 ELSE stock.quantity END + excluded.quantity,
  seq = excluded.seq, deleted = 0"""

PUT = """
INSERT INTO stock (store_id, product_id, quantity, reorder_level, seq) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (store_id, product_id) DO UPDATE SET
  quantity = excluded.quantity, reorder_level = excluded.reorder_level, seq = excluded.seq, deleted = 0"""


@dataclass(frozen=True, slots=True)
class StockPage:
    """One answer of the stock feed."""

    rows: list[dict[str, Any]]
    deleted_ids: list[str]
    cursor: Cursor
    has_more: bool
    snapshot: bool
    seen_as_of: int


def thousandths(quantity: object) -> int:
    """A quantity (decimal text, at most 3 decimals) as a whole number of thousandths."""
    return int(Decimal(str(quantity)) * 1000)


def quantity_text(quantity: int) -> str:
    """Thousandths as the contract's decimal text."""
    return f"{Decimal(quantity) / 1000:.3f}"


class Stock:
    """Figures for each (store, product). Writing needs the caller's `db.write()`."""

    def __init__(self, db: Database, epoch: str) -> None:
        self._db = db
        self._epoch = epoch[:8]

    def head(self) -> int:
        """The last stock change."""
        return self._db.current("stock")

    def mark_of(self, seq: int) -> int | None:
        """The mark of a number that the feed has reached."""
        return self._db.mark("stock", seq) if seq <= self.head() else None

    def _at(self, scope: Scope, seq: int, after: str | None = None) -> Cursor:
        return Cursor(self._epoch, scope.key, seq, self._db.mark("stock", seq), after)

    def move(self, store_id: str, product_id: str, by: int) -> None:
        """Add thousandths (negative: goods left). A product without a figure starts at zero."""
        self._db.run(MOVE, {"store": store_id, "product": product_id, "quantity": by, "seq": self._db.next("stock")})

    def put(self, store_id: str, product_id: str, quantity: object, reorder_level: object = None) -> None:
        """Set a figure (a count or a delivery)."""
        level = None if reorder_level is None else thousandths(reorder_level)
        self._db.run(
            PUT,
            (store_id, product_id, thousandths(quantity), level, self._db.next("stock")),
        )

    def load(self, rows: Iterable[dict[str, Any]]) -> None:
        """Insert many figures at once."""
        seq = self._db.next("stock")
        self._db.run_many(
            PUT,
            (
                (
                    row["store_id"],
                    row["product_id"],
                    thousandths(row["quantity"]),
                    None if row.get("reorder_level") is None else thousandths(row["reorder_level"]),
                    (seq := seq + 1),
                )
                for row in rows
            ),
        )
        self._db.run("UPDATE counter SET value = ? WHERE name = 'stock'", (seq,))

    def drop(self, product_id: str) -> None:
        """The product is no longer tracked: a tombstone for each store that has a figure."""
        for (store_id,) in self._db.rows(
            "SELECT store_id FROM stock WHERE product_id = ? AND deleted = 0", (product_id,)
        ):
            self._db.run(
                "UPDATE stock SET deleted = 1, seq = ? WHERE store_id = ? AND product_id = ?",
                (self._db.next("stock"), store_id, product_id),
            )

    def quantity(self, store_id: str, product_id: str) -> str | None:
        """The figure as decimal text, or None."""
        found = self._db.value(
            "SELECT quantity FROM stock WHERE store_id = ? AND product_id = ? AND deleted = 0", (store_id, product_id)
        )
        return None if found is None else quantity_text(found)

    def reorder_level(self, store_id: str, product_id: str) -> str | None:
        """The store's own reorder level as decimal text, or None."""
        found = self._db.value(
            "SELECT reorder_level FROM stock WHERE store_id = ? AND product_id = ? AND deleted = 0",
            (store_id, product_id),
        )
        return None if found is None else quantity_text(found)

    def page(self, scope: Scope, cursor: Cursor | None, limit: int) -> StockPage:
        """The next page of a store's figures.

        `seen_as_of` is the stock change up to which all figures sent so far are complete. For the last page of a
        snapshot that is the snapshot's beginning: rows sent early may have moved since, and the delta brings them.
        """
        head = self.head()
        start = cursor or self._at(scope, head, "")
        snapshot = start.after is not None
        where = "product_id > :after AND deleted = 0" if snapshot else "seq > :seq"
        sql = PAGE.format(where=where, order="product_id" if snapshot else "seq")
        bound = {"store": scope.store_id, "after": start.after, "seq": start.seq, "limit": limit + 1}
        found = self._db.rows(sql, bound)
        has_more = len(found) > limit
        found = found[:limit]
        if snapshot:
            end = self._at(scope, start.seq, found[-1][1] if has_more else None)
        else:
            end = self._at(scope, found[-1][0] if has_more else head)
        rows = [
            {
                "product_id": product_id,
                "quantity": quantity_text(quantity),
                "reorder_level": None if level is None else quantity_text(level),
            }
            for _, product_id, quantity, level, deleted in found
            if not deleted
        ]
        gone = [product_id for _, product_id, _, _, deleted in found if deleted]
        return StockPage(rows, gone, end, has_more, snapshot, start.seq if snapshot or has_more else head)
