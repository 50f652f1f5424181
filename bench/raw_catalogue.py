"""The reference catalogue: the agent's own schema, filled with rows that lie ready in memory by one executemany."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.products import pages
from edge_agent.domain.catalog import RowReader
from edge_agent.head_office import wire
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.engine import sqlite3

UPSERT_ROWS = 2_000  # a transaction, as the bar says

Rows = list[tuple[Any, ...]]
_COLUMNS = (
    "id, category_id, name, sku, barcode, price, is_active, is_volatile, row_version, updated_us, body, generation"
)
_INSERT = f"INSERT INTO products ({_COLUMNS}) VALUES ({', '.join('?' * 12)})"
_UPSERT = f"{_INSERT} ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f"{column} = excluded.{column}" for column in _COLUMNS.split(", ")[1:]
)


def rows(count: int, *, version: int = 1) -> Rows:
    """Products as the agent stores them."""
    reader = RowReader(exponent=2)
    return [
        (*row, 1)
        for body in pages(count, version=version)
        for row in reader.read("products", wire.decode(body, wire.PAGE_TYPES["products"]).rows).good
    ]


class RawCatalogue:
    """A catalogue file without the agent: its tables, with or without the products' indexes.

    Args:
        path: the file.
        indexes: whether they stand from the beginning.
        synchronous: ``NORMAL`` as the agent's catalogue, or ``FULL``.
    """

    def __init__(self, path: Path, *, indexes: bool, synchronous: str = "NORMAL") -> None:
        store = CatalogStore(path)
        store.begin_snapshot("products", "bench")
        if indexes:
            store.ensure_product_indexes()
        store.close()
        self._path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute(f"PRAGMA synchronous = {synchronous}")
        self.connection.execute("PRAGMA cache_size = -16384")

    def upsert(self, rows: Rows) -> None:
        """Every column of every row, 2,000 rows a transaction."""
        for start in range(0, len(rows), UPSERT_ROWS):
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany(_UPSERT, rows[start : start + UPSERT_ROWS])
            self.connection.execute("COMMIT")

    def insert_and_index(self, rows: Rows) -> None:
        """The rows by one executemany in one transaction, then the indexes and the search."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(_INSERT, rows)
        self.connection.execute("COMMIT")
        store = CatalogStore(self._path)
        store.ensure_product_indexes()
        store.close()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
