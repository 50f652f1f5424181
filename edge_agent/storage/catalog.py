"""The catalogue's file: pages and their cursors in one transaction (G5, G6), and the look-ups of a till."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.domain.catalog import RefusedRow
from edge_agent.errors import ContractBroken
from edge_agent.storage.database import Database, in_own_words
from edge_agent.storage.engine import sqlite3

_CACHE_KIB = 2_048
_RUNS_KEPT = 200
_ROWS_PER_INSERT = 50
# A baseline answer may hold everything; an SQL statement takes some 32,000 values on the oldest engine.
_ROWS_PER_STATEMENT = 10_000

# Per dataset: the columns of its rows, of which `body` is last, and the ones an index or the search stands on.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "categories": ("id", "parent_id", "name", "is_active", "display_order", "row_version", "updated_us", "body"),
    "products": (
        *("id", "category_id", "name", "sku", "barcode", "price", "is_active", "is_volatile"),
        *("row_version", "updated_us", "body"),
    ),
    "promotions": (
        *("id", "code", "name", "is_active", "start_date", "end_date", "row_version", "updated_us", "body"),
    ),
}
_INDEXED: dict[str, tuple[str, ...]] = {
    "categories": (),
    "products": ("category_id", "name", "sku", "barcode"),
    "promotions": (),
}
# The secondary indexes of products are made after a first load, which is more than twice as fast.
_PRODUCT_INDEXES = """
CREATE INDEX IF NOT EXISTS products_by_category ON products (category_id) WHERE category_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS products_by_sku ON products (sku) WHERE sku IS NOT NULL;
CREATE INDEX IF NOT EXISTS products_by_barcode ON products (barcode) WHERE barcode IS NOT NULL;
CREATE VIRTUAL TABLE IF NOT EXISTS products_text USING fts5 (
    name, sku, content = 'products', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS products_text_insert AFTER INSERT ON products
BEGIN
    INSERT INTO products_text (rowid, name, sku) VALUES (new.number, new.name, new.sku);
END;
CREATE TRIGGER IF NOT EXISTS products_text_delete AFTER DELETE ON products
BEGIN
    INSERT INTO products_text (products_text, rowid, name, sku) VALUES ('delete', old.number, old.name, old.sku);
END;
CREATE TRIGGER IF NOT EXISTS products_text_update AFTER UPDATE OF name, sku ON products
BEGIN
    INSERT INTO products_text (products_text, rowid, name, sku) VALUES ('delete', old.number, old.name, old.sku);
    INSERT INTO products_text (rowid, name, sku) VALUES (new.number, new.name, new.sku);
END;
"""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class DatasetState:
    """Where a download stands. Times are milliseconds since 1970."""

    name: str
    scope: str
    cursor: str | None
    generation: int
    in_snapshot: bool
    held_generation: int | None
    held_rows: int | None
    held_since_ms: int | None
    incomplete: str | None
    synced_ms: int | None
    changed_ms: int | None


@dataclass(slots=True, kw_only=True)
class PageWrite:
    """One page to apply, with what it does to the download's state.

    ``asked_cursor`` must still be the stored one; ``completes_snapshot`` asks for the sweep; ``sweep_allowed`` decides
    what to do when more than half of the dataset would go.
    """

    dataset: str
    asked_cursor: str | None
    next_cursor: str | None
    rows: Sequence[tuple[Any, ...]] = ()
    deleted_ids: Sequence[str] = ()
    refused: Sequence[RefusedRow] = ()
    newer_only: bool = False
    completes_snapshot: bool = False
    sweep_allowed: bool = False
    synced_ms: int = 0
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class PageResult:
    """What a page changed."""

    upserts: int = 0
    deletes: int = 0
    swept: int = 0
    held: int = 0


class CursorMoved(ContractBroken):
    """Another writer moved the cursor since this page was asked for; the page is not applied (G5)."""


def _key(dataset: str) -> str:
    return "product_id" if dataset == "stock" else "id"


@in_own_words
class CatalogStore:
    """``catalog.db``.

    Args:
        path: the file.
        group_access: share the file with its group.

    Raises:
        StoreBroken: it can't be opened.
    """

    def __init__(self, path: Path, *, group_access: bool = False) -> None:
        self.database = Database(path, "catalog", synchronous="NORMAL", cache_kib=_CACHE_KIB, group_access=group_access)

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    # ---- where downloads stand -------------------------------------------------------------------------------

    def state(self, dataset: str) -> DatasetState:
        """Where a download stands."""
        row = self.database.connection.execute(
            "SELECT name, scope, cursor, generation, in_snapshot, held_generation, held_rows, held_since_ms, "
            "incomplete, synced_ms, changed_ms FROM datasets WHERE name = ?",
            (dataset,),
        ).fetchone()
        values = list(row)
        values[4] = bool(values[4])
        return DatasetState(*values)

    def begin_snapshot(self, dataset: str, scope: str) -> None:
        """Drop a download's cursor, not its rows: the next page is the first of a snapshot (contract, section 8)."""
        with self.database.immediate() as connection:
            connection.execute(
                "UPDATE datasets SET cursor = NULL, scope = ?, in_snapshot = 1, generation = generation + 1 "
                "WHERE name = ?",
                (scope, dataset),
            )
            if dataset == "products" and connection.execute("SELECT 1 FROM products LIMIT 1").fetchone() is None:
                self._drop_product_indexes(connection)

    def _drop_product_indexes(self, connection: sqlite3.Connection) -> None:
        for name in ("insert", "delete", "update"):
            connection.execute(f"DROP TRIGGER IF EXISTS products_text_{name}")
        connection.execute("DROP TABLE IF EXISTS products_text")
        for name in ("sku", "barcode", "category"):
            connection.execute(f"DROP INDEX IF EXISTS products_by_{name}")

    def ensure_product_indexes(self) -> None:
        """Make the products' indexes and search if a first load left them for later; nothing otherwise."""
        if not self._is_indexed():
            with self.database.immediate() as connection:
                self._make_product_indexes(connection)

    def _is_indexed(self) -> bool:
        query = "SELECT 1 FROM sqlite_schema WHERE name = 'products_text_update'"
        return self.database.connection.execute(query).fetchone() is not None

    def _make_product_indexes(self, connection: sqlite3.Connection) -> None:
        from edge_agent.storage.migrate import statements

        # Unless pages may leave the cache before the commit, all indexes of a large catalogue stand in memory at once.
        connection.execute("PRAGMA cache_spill = ON")
        for statement in statements(_PRODUCT_INDEXES):
            connection.execute(statement)
        connection.execute("INSERT INTO products_text (products_text) VALUES ('rebuild')")
        connection.execute("PRAGMA cache_spill = OFF")

    # ---- applying pages --------------------------------------------------------------------------------------

    def apply(self, page: PageWrite) -> PageResult:
        """Apply a page and move its cursor, in one transaction (G5). Twice is once (G6).

        Raises:
            CursorMoved: the stored cursor is not the one that was asked.
            StoreBroken: the file can't be written; nothing of the page is kept.
        """
        result = PageResult()
        with self.database.immediate() as connection:
            state = self.state(page.dataset)
            if state.cursor != page.asked_cursor:
                raise CursorMoved(f"{page.dataset} was synced by another program meanwhile; this page is dropped")
            if page.dataset == "stock":
                result.upserts = self._upsert_stock(connection, page.rows, state.generation)
            else:
                for start in range(0, len(page.rows), _ROWS_PER_STATEMENT):
                    part = replace(page, rows=page.rows[start : start + _ROWS_PER_STATEMENT])
                    result.upserts += self._upsert(connection, part, state.generation)
            self._keep_refused(connection, page, state.generation)
            result.deletes = self._delete(connection, page.dataset, page.deleted_ids)
            completed = page.completes_snapshot and state.in_snapshot
            if completed:
                self._sweep(connection, page, state, result)
                if page.dataset == "products" and not self._is_indexed():
                    self._make_product_indexes(connection)
            changed = result.upserts + result.deletes + result.swept
            for key, value in page.meta.items():
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
            connection.execute(
                "UPDATE datasets SET cursor = ?, in_snapshot = ?, synced_ms = ?, "
                "changed_ms = CASE WHEN ? THEN ? ELSE changed_ms END WHERE name = ?",
                (
                    page.next_cursor,
                    state.in_snapshot and not completed,
                    page.synced_ms,
                    changed,
                    page.synced_ms,
                    page.dataset,
                ),
            )
        return result

    def _upsert(self, connection: sqlite3.Connection, page: PageWrite, generation: int) -> int:
        """Insert or update rows; a row whose indexed columns did not change leaves every index alone."""
        if not page.rows:
            return 0
        dataset, columns = page.dataset, _COLUMNS[page.dataset]
        quiet, others = self._split(connection, page)
        # Numbered places, so that rows are bound as they are: ?1 is the first of the columns, the id.
        place = {column: f"?{number}" for number, column in enumerate(columns, 1)}
        if quiet:
            kept = [column for column in columns[1:] if column not in _INDEXED[dataset]]
            assignments = ", ".join(f"{column} = {place[column]}" for column in kept)
            guard = f" AND updated_us <= {place['updated_us']}" if page.newer_only else ""
            connection.executemany(
                f"UPDATE {dataset} SET {assignments}, generation = {generation:d} WHERE id = ?1{guard}", quiet
            )
        if others:
            assignments = ", ".join(f"{column} = excluded.{column}" for column in (*columns[1:], "generation"))
            guard = f" WHERE excluded.updated_us >= {dataset}.updated_us" if page.newer_only else ""
            marks = f"({', '.join('?' * len(columns))}, {generation:d})"
            for start in range(0, len(others), _ROWS_PER_INSERT):
                part = others[start : start + _ROWS_PER_INSERT]
                connection.execute(
                    f"INSERT INTO {dataset} ({', '.join(columns)}, generation) VALUES {', '.join([marks] * len(part))} "
                    f"ON CONFLICT (id) DO UPDATE SET {assignments}{guard}",
                    [*chain.from_iterable(part)],
                )
        if page.newer_only:  # an older row does not overwrite, but it is there: keep it from the sweep
            connection.executemany(
                f"UPDATE {dataset} SET generation = ? WHERE id = ? AND generation <> ?",
                [(generation, row[0], generation) for row in page.rows],
            )
        connection.execute(
            f"DELETE FROM refused WHERE dataset = ? AND id IN (SELECT r.id FROM refused r JOIN {dataset} d "
            "ON d.id = r.id AND d.generation = ? WHERE r.dataset = ? AND r.row_version <= d.row_version)",
            (dataset, generation, dataset),
        )
        return len(page.rows)

    def _split(
        self, connection: sqlite3.Connection, page: PageWrite
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """A page's rows, apart: those whose indexed columns stand unchanged in the store, and the others."""
        dataset, indexed = page.dataset, _INDEXED[page.dataset]
        if not indexed or not self._is_indexed():
            return [], list(page.rows)
        indexed_values = itemgetter(*(_COLUMNS[dataset].index(column) for column in indexed))
        marks = ", ".join("?" * len(page.rows))
        present = {
            row[0]: row[1:]
            for row in connection.execute(
                f"SELECT id, {', '.join(indexed)} FROM {dataset} WHERE id IN ({marks})",
                [row[0] for row in page.rows],
            )
        }
        quiet: list[tuple[Any, ...]] = []
        others: list[tuple[Any, ...]] = []
        seen: set[str] = set()
        for row in page.rows:
            same = present.get(row[0]) == indexed_values(row) and row[0] not in seen
            (quiet if same else others).append(row)
            seen.add(row[0])
        return quiet, others

    def _upsert_stock(self, connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], generation: int) -> int:
        connection.executemany("DELETE FROM refused WHERE dataset = 'stock' AND id = ?", [(row[0],) for row in rows])
        connection.executemany(
            "INSERT INTO stock (product_id, quantity, reorder_level, generation) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity, "
            "reorder_level = excluded.reorder_level, generation = excluded.generation",
            [(*row, generation) for row in rows],
        )
        return len(rows)

    def _keep_refused(self, connection: sqlite3.Connection, page: PageWrite, generation: int) -> None:
        """Keep refused rows with their reason; the last good row of the same id stays in use, and is not swept."""
        for row in page.refused:
            connection.execute(
                "INSERT INTO refused (dataset, id, row_version, reason, body, generation, first_ms, last_ms) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (dataset, id) DO UPDATE SET reason = excluded.reason, "
                "row_version = excluded.row_version, body = excluded.body, generation = excluded.generation, "
                "last_ms = excluded.last_ms",
                (page.dataset, row.id, row.row_version, row.reason, row.body, generation, *[page.synced_ms] * 2),
            )
            connection.execute(
                f"UPDATE {page.dataset} SET generation = ? WHERE {_key(page.dataset)} = ?",
                (generation, row.id),
            )

    def _delete(self, connection: sqlite3.Connection, dataset: str, ids: Sequence[str]) -> int:
        gone = 0
        for row_id in ids:
            gone += connection.execute(f"DELETE FROM {dataset} WHERE {_key(dataset)} = ?", (row_id,)).rowcount
            connection.execute("DELETE FROM refused WHERE dataset = ? AND id = ?", (dataset, row_id))
        return gone

    def _sweep(self, connection: sqlite3.Connection, page: PageWrite, state: DatasetState, result: PageResult) -> None:
        """Delete what the complete snapshot did not bring, all together (G6), or hold a sweep that looks wrong."""
        dataset = page.dataset
        total, stale = connection.execute(
            f"SELECT count(*), coalesce(sum(generation < ?), 0) FROM {dataset}",
            (state.generation,),
        ).fetchone()
        connection.execute("DELETE FROM refused WHERE dataset = ? AND generation < ?", (dataset, state.generation))
        if stale * 2 > total and not page.sweep_allowed and dataset != "stock":
            result.held = stale
            connection.execute(
                "UPDATE datasets SET held_generation = ?, held_rows = ?, held_since_ms = coalesce(held_since_ms, ?) "
                "WHERE name = ?",
                (state.generation, stale, page.synced_ms, dataset),
            )
            return
        if stale:
            result.swept = connection.execute(
                f"DELETE FROM {dataset} WHERE generation < ?", (state.generation,)
            ).rowcount
        self._forget_hold(connection, dataset)

    def _forget_hold(self, connection: sqlite3.Connection, dataset: str) -> None:
        connection.execute(
            "UPDATE datasets SET held_generation = NULL, held_rows = NULL, held_since_ms = NULL WHERE name = ?",
            (dataset,),
        )

    def accept_sweep(self, dataset: str) -> int:
        """Take a held sweep on a person's word. Returns how many rows went."""
        held = self.state(dataset).held_generation
        if held is None:
            return 0
        with self.database.immediate() as connection:
            gone = connection.execute(
                f"DELETE FROM {dataset} WHERE generation < ?",
                (held,),
            ).rowcount
            self._forget_hold(connection, dataset)
        return gone

    def row_versions_of_present_generation(self, dataset: str) -> list[tuple[str, int]]:
        """(id, row_version) of what the last snapshot brought, refused rows included: they count in digests."""
        generation = self.state(dataset).generation
        rows = dict(
            self.database.connection.execute(
                f"SELECT id, row_version FROM {dataset} WHERE generation >= ?", (generation,)
            )
        )
        refused = "SELECT id, row_version FROM refused WHERE dataset = ? AND generation >= ?"
        rows |= dict(self.database.connection.execute(refused, (dataset, generation)))
        return list(rows.items())

    def mark_incomplete(self, dataset: str, reason: str | None) -> None:
        """Note that head office cut a list short (or, with None, that it no longer does); writes only on a change."""
        if self.state(dataset).incomplete != reason:
            with self.database.immediate() as connection:
                connection.execute("UPDATE datasets SET incomplete = ? WHERE name = ?", (reason, dataset))

    # ---- what is known of head office ------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """A remembered fact."""
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def all_meta(self) -> dict[str, str]:
        """Every remembered fact."""
        return dict(self.database.connection.execute("SELECT key, value FROM meta"))

    def remember(self, **facts: str | None) -> None:
        """Remember facts, forgetting those that are None; writes only what differs."""
        present = self.all_meta()
        changes = {key: value for key, value in facts.items() if present.get(key) != value}
        if not changes:
            return
        with self.database.immediate() as connection:
            for key, value in changes.items():
                if value is None:
                    connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def keep_run(self, report: dict[str, Any], finished_ms: int) -> None:
        """Keep a cycle's report, and the last 200."""
        with self.database.immediate() as connection:
            cursor = connection.execute(
                "INSERT INTO sync_runs (finished_ms, report) VALUES (?, ?)",
                (finished_ms, msgspec.json.encode(report).decode()),
            )
            connection.execute("DELETE FROM sync_runs WHERE id <= ?", ((cursor.lastrowid or 0) - _RUNS_KEPT,))

    # ---- look-ups --------------------------------------------------------------------------------------------

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
        if not self._is_indexed():  # during a first load the search is not there yet
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
