"""What a till asks the catalogue's file: counts, products, search, categories, promotions, stock."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from edge_agent.storage.database import Database, in_own_words
from edge_agent.storage.indexes import is_indexed

_WORD = re.compile(r"[^\W_]+")


@in_own_words
class Lookups:
    """Reads ``catalog.db``; the base of :class:`~edge_agent.storage.catalog.CatalogStore`."""

    database: Database

    def count(self, dataset: str) -> int:
        """How many rows are in use."""
        query = f"SELECT count(*) FROM {dataset}"
        return int(self.database.connection.execute(query).fetchone()[0])

    def refused_count(self, dataset: str) -> int:
        """How many rows are refused."""
        query = "SELECT count(*) FROM refused WHERE dataset = ?"
        return int(self.database.connection.execute(query, (dataset,)).fetchone()[0])

    def refused(self, dataset: str | None = None, limit: int = 100) -> list[tuple[str, str, str]]:
        """Refused rows as (dataset, id, reason)."""
        query = "SELECT dataset, id, reason FROM refused WHERE ? IS NULL OR dataset = ? LIMIT ?"
        return list(self.database.connection.execute(query, (dataset, dataset, limit)))

    def known_products(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids the catalogue knows."""
        marks = ",".join("?" * len(ids))
        rows = self.database.connection.execute(f"SELECT id FROM products WHERE id IN ({marks})", ids).fetchall()
        return {row_id for (row_id,) in rows}

    def products_where(self, column: str, value: str) -> list[tuple[bytes, str | None]]:
        """Products by ``id``, ``sku``, ``barcode`` or ``category_id``, best first, as (JSON, price).

        Active ones come first, then the newest, then the most complete.
        """
        if column not in ("id", "sku", "barcode", "category_id"):
            raise ValueError(column)
        return list(
            self.database.connection.execute(
                f"SELECT body, price FROM products WHERE {column} = ? "
                "ORDER BY is_active DESC, updated_us DESC, row_version DESC, price IS NULL, sku IS NULL, "
                "length(body) DESC, id",
                (value,),
            )
        )

    def search(self, text: str, *, limit: int, offset: int = 0) -> tuple[list[tuple[bytes, str | None]], int]:
        """Products whose name or SKU holds words that begin with the given ones, best first, and how many there are."""
        words = _WORD.findall(unicodedata.normalize("NFC", text))
        connection = self.database.connection
        if not words:
            rows = connection.execute(
                "SELECT body, price FROM products ORDER BY is_active DESC, name, id LIMIT ? OFFSET ?", (limit, offset)
            )
            return list(rows), self.count("products")
        if not is_indexed(connection):  # during a first load the search is not there yet
            like = " AND ".join("(name LIKE ? OR sku LIKE ?)" for _ in words)
            values = [f"%{word}%" for word in words for _ in (1, 2)]
            rows = connection.execute(
                f"SELECT body, price FROM products WHERE {like} ORDER BY is_active DESC, name LIMIT ? OFFSET ?",
                (*values, limit, offset),
            )
            total = connection.execute(f"SELECT count(*) FROM products WHERE {like}", values)
            return list(rows), int(total.fetchone()[0])
        match = " ".join(f'"{word}"*' for word in words)
        rows = connection.execute(
            "SELECT p.body, p.price FROM products_text t JOIN products p ON p.number = t.rowid "
            "WHERE products_text MATCH ? ORDER BY p.is_active DESC, t.rank, p.name LIMIT ? OFFSET ?",
            (match, limit, offset),
        )
        total = connection.execute("SELECT count(*) FROM products_text WHERE products_text MATCH ?", (match,))
        return list(rows), int(total.fetchone()[0])

    def categories(self) -> list[bytes]:
        """Every category's JSON in display order."""
        rows = self.database.connection.execute("SELECT body FROM categories ORDER BY display_order, name, id")
        return [body for (body,) in rows]

    def promotions(self, *, first_day: str | None = None, last_day: str | None = None) -> list[bytes]:
        """Promotions' JSON whose dates touch the given days (ISO dates, both included); all without days."""
        return [
            body
            for (body,) in self.database.connection.execute(
                "SELECT body FROM promotions WHERE (:first IS NULL OR ((end_date IS NULL OR end_date >= :first) "
                "AND (start_date IS NULL OR start_date <= :last))) ORDER BY name, id",
                {"first": first_day, "last": last_day or first_day},
            )
        ]

    def stock(self, product_id: str) -> tuple[str, str | None] | None:
        """Head office's figure and reorder level of a product; None when it gave none."""
        row = self.database.connection.execute(
            "SELECT quantity, reorder_level FROM stock WHERE product_id = ?", (product_id,)
        ).fetchone()
        return None if row is None else (row[0], row[1])
