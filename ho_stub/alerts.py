"""Low-stock alerts: one open for each product and store below its reorder level, closed on recovery (section 5).

Stock is below when it is less than the store's reorder level, or than the product's where the store has none.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ho_stub.database import Database
from ho_stub.feed import Feed
from ho_stub.rows import utc_now
from ho_stub.stock import quantity_text, thousandths

STATES = {
    "active": "alert.closed_at IS NULL",
    "open": "alert.closed_at IS NULL AND alert.acknowledged_at IS NULL",
    "acknowledged": "alert.closed_at IS NULL AND alert.acknowledged_at IS NOT NULL",
    "closed": "alert.closed_at IS NOT NULL",
    "all": "alert.id IS NOT NULL",
}
FIGURES = """
SELECT stock.store_id, stock.product_id, stock.quantity, stock.reorder_level, stock.deleted, alert.id
FROM stock LEFT JOIN low_stock_alert AS alert
  ON alert.store_id = stock.store_id AND alert.product_id = stock.product_id AND alert.closed_at IS NULL
WHERE {where}"""
OPEN = """
INSERT INTO low_stock_alert (id, store_id, product_id, quantity, reorder_level, opened_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (store_id, product_id) WHERE closed_at IS NULL DO NOTHING"""
LIST = """
SELECT alert.id, alert.store_id, alert.product_id, stock.quantity, alert.quantity, alert.reorder_level, alert.opened_at,
  alert.acknowledged_at, alert.acknowledged_by, alert.closed_at
FROM low_stock_alert AS alert LEFT JOIN stock
  ON stock.store_id = alert.store_id AND stock.product_id = alert.product_id AND stock.deleted = 0
WHERE {where} ORDER BY alert.opened_at DESC, alert.id LIMIT ? OFFSET ?"""


class Shelves(Protocol):
    """What alerts need of the world around them."""

    db: Database
    feed: Feed


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which alerts are wanted; `state` is one of STATES, an empty text means any."""

    state: str = "active"
    store_id: str = ""
    product_id: str = ""


class Alerts:
    """Opened and closed with the stock change itself: writing needs the caller's `db.write()`."""

    def __init__(self, world: Shelves) -> None:
        self._world = world
        self._db = world.db

    def settle(self, store_id: str, product_ids: Iterable[str]) -> None:
        """Stock of these products of a store moved."""
        products = sorted(set(product_ids))
        if products:
            marks = ", ".join("?" * len(products))
            self._settle(f"stock.store_id = ? AND stock.product_id IN ({marks})", [store_id, *products])

    def settle_product(self, product_id: str) -> None:
        """A product's reorder level may have changed, or it is tracked no longer: in all stores."""
        self._settle("stock.product_id = ?", [product_id])

    def settle_all(self) -> None:
        """All figures are new."""
        self._settle("stock.reorder_level IS NULL OR stock.quantity < stock.reorder_level", [])

    def _settle(self, where: str, bound: Sequence[object]) -> None:
        for store_id, product_id, quantity, level, deleted, alert_id in self._db.rows(
            FIGURES.format(where=where), bound
        ):
            if level is None and not deleted:
                level = self._level_of(product_id)
            is_low = level is not None and not deleted and quantity < level
            if is_low and alert_id is None:
                self._db.run(OPEN, (str(uuid.uuid4()), store_id, product_id, quantity, level, utc_now()))
            elif alert_id is not None and not is_low:
                self._db.run("UPDATE low_stock_alert SET closed_at = ? WHERE id = ?", (utc_now(), alert_id))

    def _level_of(self, product_id: str) -> int | None:
        """The product's own reorder level, where the store has none."""
        level = (self._world.feed.get("products", product_id) or {}).get("reorder_level")
        try:
            return None if level is None else thousandths(level)
        except ArithmeticError:  # a row taken as it came, with a level that is none
            return None

    def page(self, wanted: AlertQuery, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """How many alerts there are of that kind, and some of them, newest first."""
        where, bound = [STATES[wanted.state]], list[object]()
        for column in ("store_id", "product_id"):
            if value := getattr(wanted, column):
                where.append(f"alert.{column} = ?")
                bound.append(value)
        sql = " AND ".join(where)
        count = self._db.value(f"SELECT count(*) FROM low_stock_alert AS alert WHERE {sql}", bound)  # noqa: S608
        found = self._db.rows(LIST.format(where=sql), [*bound, limit, offset])
        return int(count), [self._told(row) for row in found]

    def get(self, alert_id: str) -> dict[str, Any] | None:
        """One alert, or None."""
        found = self._db.rows(LIST.format(where="alert.id = ?"), (alert_id, 1, 0))
        return self._told(found[0]) if found else None

    def acknowledge(self, alert_id: str, username: str) -> bool:
        """Somebody has seen it; who did so first counts. False: it was acknowledged before."""
        sql = "SELECT 1 FROM low_stock_alert WHERE id = ? AND acknowledged_at IS NULL"
        if self._db.row(sql, (alert_id,)) is None:
            return False
        self._db.run(
            "UPDATE low_stock_alert SET acknowledged_at = ?, acknowledged_by = ? WHERE id = ?",
            (utc_now(), username, alert_id),
        )
        return True

    def _told(self, row: Sequence[Any]) -> dict[str, Any]:
        alert_id, store_id, product_id, now, then, level, opened_at, seen_at, seen_by, closed_at = row
        product = self._world.feed.get("products", product_id) or {}
        return {
            "id": alert_id,
            "store_id": store_id,
            "product_id": product_id,
            "product_name": product.get("name"),
            "sku": product.get("sku"),
            "status": "closed" if closed_at else "acknowledged" if seen_at else "open",
            "quantity": None if now is None else quantity_text(now),
            "quantity_when_opened": quantity_text(then),
            "reorder_level": quantity_text(level),
            "opened_at": opened_at,
            "acknowledged_at": seen_at,
            "acknowledged_by": seen_by,
            "closed_at": closed_at,
        }
