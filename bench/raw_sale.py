"""The reference sale: what one would write by hand in sqlite3, without validation, ids or frozen bytes.

Eighteen rows in one transaction: a sale, eight items, eight stock updates, one outbox row with a payload that is
ready-made. WAL and FULL, checkpoints as SQLite makes them by itself.
"""

from __future__ import annotations

from pathlib import Path

from bench.products import product_id
from edge_agent.domain.sale import Item
from edge_agent.storage.engine import sqlite3

_SCHEMA = """
CREATE TABLE sale (
    id INTEGER PRIMARY KEY, external_id TEXT NOT NULL UNIQUE, sold_at TEXT NOT NULL, total TEXT NOT NULL
);
CREATE TABLE item (
    id INTEGER PRIMARY KEY, sale_id INTEGER NOT NULL, line INTEGER NOT NULL, product_id TEXT NOT NULL,
    quantity TEXT NOT NULL, unit_price TEXT NOT NULL, discount TEXT NOT NULL
);
CREATE INDEX item_by_sale ON item (sale_id);
CREATE TABLE stock (product_id TEXT PRIMARY KEY, quantity INTEGER NOT NULL);
CREATE TABLE outbox (id INTEGER PRIMARY KEY, external_id TEXT NOT NULL, state TEXT NOT NULL, payload BLOB NOT NULL);
"""
PAYLOAD = b"{" + b'"key":"value",' * 90 + b'"end":1}'


class RawSale:
    """One connection that stays open.

    Args:
        path: the database.
        products: how many products have stock.
    """

    def __init__(self, path: Path, products: int) -> None:
        self.connection = connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO stock VALUES (?, 1000000)", [(product_id(n),) for n in range(products)])
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._number = 0

    def record(self, items: list[Item]) -> None:
        """Write one sale."""
        self._number += 1
        execute, executemany = self.connection.execute, self.connection.executemany
        external_id = f"0191e5a2-0000-7000-9000-{self._number:012d}"
        execute("BEGIN IMMEDIATE")
        sale = execute(
            "INSERT INTO sale (external_id, sold_at, total) VALUES (?, ?, ?)",
            (external_id, "2026-11-21T09:15:02.114Z", "123.45"),
        ).lastrowid
        executemany(
            "INSERT INTO item (sale_id, line, product_id, quantity, unit_price, discount) VALUES (?, ?, ?, ?, ?, ?)",
            [
                (sale, line, item.product, item.quantity, item.unit_price, item.discount)
                for line, item in enumerate(items, 1)
            ],
        )
        executemany(
            "UPDATE stock SET quantity = quantity - 1 WHERE product_id = ?", [(item.product,) for item in items]
        )
        execute("INSERT INTO outbox (external_id, state, payload) VALUES (?, 'pending', ?)", (external_id, PAYLOAD))
        execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
