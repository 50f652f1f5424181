"""What a checkout asks of the catalogue's file before payment: its products with their categories, and alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.database import in_own_words

_IDS_PER_QUERY = 500


class ProductRow(NamedTuple):
    """A product's JSON and price, and its category's name and activity (None: it has none, or that is not here)."""

    body: bytes
    price: str | None
    category: str | None
    category_is_active: bool | None


@in_own_words
class Checkout:
    """Look-ups before payment.

    Args:
        store: the catalogue.
    """

    def __init__(self, store: CatalogStore) -> None:
        self.database = store.database

    def products(self, ids: Sequence[str]) -> dict[str, ProductRow]:
        """Those of these products that are here."""
        found: dict[str, ProductRow] = {}
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = ids[start : start + _IDS_PER_QUERY]
            query = (
                "SELECT p.id, p.body, p.price, c.name, c.is_active FROM products p "
                f"LEFT JOIN categories c ON c.id = p.category_id WHERE p.id IN ({','.join('?' * len(part))})"
            )
            for row_id, body, price, category, is_active in self.database.connection.execute(query, part):
                found[row_id] = ProductRow(body, price, category, None if is_active is None else bool(is_active))
        return found

    def alternatives(
        self, category_id: str, *, but: str, near: Decimal | None, limit: int
    ) -> list[tuple[bytes, str | None]]:
        """Active products of a category that have a price, the nearest price first, then by name; as (JSON, price).

        Args:
            category_id: the category.
            but: the product that is left out.
            near: the price to be near to; None: by name alone.
            limit: at most so many.
        """
        # Rounded, so that two prices equally far away in decimals are equally far away in binary.
        distance = "NULL" if near is None else "round(abs(CAST(price AS REAL) - CAST(:near AS REAL)), 6)"
        query = (
            "SELECT body, price FROM products WHERE category_id = :category AND is_active AND price IS NOT NULL "
            f"AND id <> :but ORDER BY {distance}, name, id LIMIT :limit"
        )
        values = {"category": category_id, "but": but, "near": f"{near or 0:f}", "limit": limit}
        return list(self.database.connection.execute(query, values))
