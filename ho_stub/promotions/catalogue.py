"""What a definition may name: products by SKU, categories and stores by code, brands by name; everything by its id."""

import json
from typing import Any, Protocol

from ho_stub.database import Database
from ho_stub.feed import Feed
from ho_stub.sale import is_id


class Catalogue(Protocol):
    """Finds what a definition names; ids come back, or None for what isn't there."""

    @property
    def company_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    def product(self, named: str) -> str | None: ...
    def category(self, named: str) -> str | None: ...
    def store(self, named: str) -> str | None: ...
    def brand(self, named: str) -> str | None: ...
    def brand_of(self, store_id: str) -> str | None: ...
    def category_of(self, product_id: str) -> str | None: ...
    def parent_of(self, category_id: str) -> str | None: ...


class OfWorld:
    """Head office's own catalogue. Categories are read once: make a new one for each use."""

    def __init__(self, db: Database, feed: Feed, company: dict[str, Any]) -> None:
        self._db = db
        self._feed = feed
        self.company_id = str(company["id"])
        self.currency = str(company["currency"])
        self._categories: dict[str, dict[str, Any]] | None = None

    def product(self, named: str) -> str | None:
        """By id, else by SKU."""
        if is_id(named):
            return named if self._feed.product(named) is not None else None
        return self._feed.product_by_sku(named, None)

    def category(self, named: str) -> str | None:
        """By id, else by code."""
        found = self._all_categories()
        if named in found:
            return named
        return next((row_id for row_id, row in found.items() if row.get("code") == named), None)

    def store(self, named: str) -> str | None:
        """By id, else by code."""
        found: str | None = self._db.value("SELECT id FROM store WHERE id = ? OR code = ?", (named, named))
        return found

    def brand(self, named: str) -> str | None:
        """By id, else by name."""
        found: str | None = self._db.value("SELECT id FROM brand WHERE id = ? OR name = ?", (named, named))
        return found

    def brand_of(self, store_id: str) -> str | None:
        """The brand that a store sells."""
        found: str | None = self._db.value("SELECT brand_id FROM store WHERE id = ?", (store_id,))
        return found

    def category_of(self, product_id: str) -> str | None:
        """A product's category."""
        return (self._feed.get("products", product_id) or {}).get("category_id")

    def parent_of(self, category_id: str) -> str | None:
        """The category above."""
        return self._all_categories().get(category_id, {}).get("parent_id")

    def _all_categories(self) -> dict[str, dict[str, Any]]:
        if self._categories is None:
            found = self._db.rows("SELECT id, body FROM feed WHERE dataset = 'categories' ORDER BY id")
            self._categories = {row_id: json.loads(body) for row_id, body in found}
        return self._categories
