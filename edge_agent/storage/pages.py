"""What a page does to a dataset's rows, inside the caller's transaction (G5, G6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any

from edge_agent.domain.catalog import RefusedRow
from edge_agent.storage import leaves
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.indexes import INDEXED, is_indexed
from edge_agent.storage.leaves import Leaves

_ROWS_PER_INSERT = 50
# A baseline answer may hold everything; an SQL statement takes some 32,000 values on the oldest engine.
_ROWS_PER_STATEMENT = 10_000

INSISTED_MS = 3_600_000  # a whole list must be so much younger than the one before to say the same once more
REFUSED_KEPT = 10_000  # of a dataset; head office may send ever new ones

# Per dataset: the columns of its rows, of which `body` is last.
COLUMNS: dict[str, tuple[str, ...]] = {
    "categories": ("id", "parent_id", "name", "is_active", "display_order", "row_version", "updated_us", "body"),
    "products": (
        *("id", "category_id", "name", "sku", "barcode", "price", "is_active", "is_volatile"),
        *("row_version", "updated_us", "body"),
    ),
    "promotions": (
        *("id", "code", "name", "is_active", "start_date", "end_date", "row_version", "updated_us", "body"),
    ),
}
_VERSION = {dataset: columns.index("row_version") for dataset, columns in COLUMNS.items()}
_UPDATED = {dataset: columns.index("updated_us") for dataset, columns in COLUMNS.items()}


@dataclass(slots=True, kw_only=True)
class PageWrite:
    """One page to apply, with what it does to the download's state.

    ``asked_cursor`` must still be the stored one; ``completes_snapshot`` asks for the sweep; ``sweep_allowed`` decides
    what to do when more than half of the dataset would go. ``newer_only``: rows are ordered by time, as a baseline head
    office gives them, and have no versions; ``older_too``: they count although ours are newer.
    """

    dataset: str
    asked_cursor: str | None
    next_cursor: str | None
    rows: Sequence[tuple[Any, ...]] = ()
    deleted_ids: Sequence[str] = ()
    refused: Sequence[RefusedRow] = ()
    newer_only: bool = False
    older_too: bool = False
    completes_snapshot: bool = False
    sweep_allowed: bool = False
    synced_ms: int = 0
    pages: int = 0  # how many of head office's answers it is
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class PageResult:
    """What a page did: rows taken over, ids deleted, rows swept or held, and how many of all that were a change."""

    upserts: int = 0
    deletes: int = 0
    swept: int = 0
    held: int = 0
    changed: int = 0


def key_of(dataset: str) -> str:
    """The column that holds a dataset's ids."""
    return "product_id" if dataset == "stock" else "id"


def write_rows(connection: sqlite3.Connection, page: PageWrite, generation: int, result: PageResult) -> None:
    """Write a page's rows, refused rows and tombstones, and keep the dataset's digest up."""
    if page.dataset == "stock":
        result.upserts = result.changed = _upsert_stock(connection, page.rows, generation)
        _keep_refused(connection, page, generation)
        result.deletes = _delete(connection, page)
        return
    by = _Accounts(connection, page)
    for start in range(0, len(page.rows), _ROWS_PER_STATEMENT):
        part = page.rows[start : start + _ROWS_PER_STATEMENT]
        result.changed += _upsert(connection, page, part, generation, by)
    result.upserts = len(page.rows)
    if by.some_refused:
        _forget_refused(connection, page, by.changed_ids)
    _keep_refused(connection, page, generation)
    result.deletes = _delete(connection, page)
    by.settle(connection, page)
    if page.refused:
        _drop_oldest_refused(connection, page)


class _Accounts:
    """What a page's ids counted for before, so that the digest can follow in the same transaction."""

    def __init__(self, connection: sqlite3.Connection, page: PageWrite) -> None:
        self.kept = not page.newer_only
        dataset = page.dataset
        if self.kept:
            leaves.keep_up(connection, dataset)
        elif leaves.is_kept(connection, dataset):
            connection.execute("UPDATE datasets SET leaves_kept = 0 WHERE name = ?", (dataset,))
        query = "SELECT 1 FROM refused WHERE dataset = ? LIMIT 1"
        self.some_refused = connection.execute(query, (dataset,)).fetchone() is not None
        self.by = Leaves()
        # Ids whose place in the digest the refused rows or a tombstone may decide; few or none.
        self.apart: set[str] = set()
        self.changed_ids: list[str] = []
        self.changes: list[leaves.Exchange] = []
        if self.kept:
            self.apart = {*page.deleted_ids, *(row.id for row in page.refused)}
            if self.some_refused:
                self.apart |= leaves.refused_among(connection, dataset, [row[0] for row in page.rows])
            for row_id, counted in leaves.counted(connection, dataset, self.apart).items():
                self.by.take(row_id, counted.row_version, counted.body)

    def replaced(self, dataset: str, old: tuple[Any, ...] | None, row: tuple[Any, ...]) -> None:
        """A row is written in place of the old one."""
        if self.some_refused:
            self.changed_ids.append(row[0])
        if not self.kept or row[0] in self.apart:
            return
        version = _VERSION[dataset]
        before = (None, None) if old is None else (old[version], old[len(row) - 1])
        self.changes.append((row[0], *before, row[version], row[-1]))

    def added(self, dataset: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows are written that were not there."""
        if self.some_refused or self.apart:
            for row in rows:
                self.replaced(dataset, None, row)
        elif self.kept:
            version = _VERSION[dataset]
            self.changes += [(row[0], None, None, row[version], row[-1]) for row in rows]

    def settle(self, connection: sqlite3.Connection, page: PageWrite) -> None:
        """The digest follows what was written."""
        if not self.kept:
            return
        self.by.exchange(self.changes)
        for row_id, counted in leaves.counted(connection, page.dataset, self.apart).items():
            self.by.add(row_id, counted.row_version, counted.body)
        leaves.change(connection, page.dataset, self.by)


def _upsert(
    connection: sqlite3.Connection,
    page: PageWrite,
    rows: Sequence[tuple[Any, ...]],
    generation: int,
    accounts: _Accounts,
) -> int:
    """Insert or update rows; what did not change is not written, and no index without need. How many did change."""
    dataset, columns = page.dataset, COLUMNS[page.dataset]
    quiet, others, same, older = _sort(connection, page, rows, generation, accounts)
    # Numbered places, so that rows are bound as they are: ?1 is the first of the columns, the id.
    place = {column: f"?{number}" for number, column in enumerate(columns, 1)}
    if quiet:
        kept = [column for column in columns[1:] if column not in INDEXED[dataset]]
        assignments = ", ".join(f"{column} = {place[column]}" for column in kept)
        connection.executemany(f"UPDATE {dataset} SET {assignments}, generation = {generation:d} WHERE id = ?1", quiet)
    if others:
        assignments = ", ".join(f"{column} = excluded.{column}" for column in (*columns[1:], "generation"))
        marks = f"({', '.join('?' * len(columns))}, {generation:d})"
        for start in range(0, len(others), _ROWS_PER_INSERT):
            part = others[start : start + _ROWS_PER_INSERT]
            connection.execute(
                f"INSERT INTO {dataset} ({', '.join(columns)}, generation) VALUES {', '.join([marks] * len(part))} "
                f"ON CONFLICT (id) DO UPDATE SET {assignments}",
                [*chain.from_iterable(part)],
            )
    if older:
        _note_older(connection, page, older)
    if same:  # they are there: keep them from the sweep
        connection.executemany(f"UPDATE {dataset} SET generation = {generation:d} WHERE id = ?", same)
    return len(quiet) + len(others)


def _sort(
    connection: sqlite3.Connection,
    page: PageWrite,
    rows: Sequence[tuple[Any, ...]],
    generation: int,
    accounts: _Accounts,
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[str]], list[tuple[str, int]]]:
    """A page's rows, apart: those whose indexed columns stand unchanged, the other changes, what is as it was, and the
    ids and times of rows that are older than ours."""
    dataset = page.dataset
    if _are_new(connection, dataset, rows):
        accounts.added(dataset, rows)
        return [], list(rows), [], []
    updated, last = _UPDATED[dataset], len(COLUMNS[dataset])
    indexed = _indexed_values(connection, dataset)
    present = _present(connection, dataset, rows)
    quiet: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    same: list[tuple[str]] = []
    older: list[tuple[str, int]] = []
    insisted = _insisted(connection, page) if page.newer_only and page.completes_snapshot else {}
    latest: dict[str, tuple[Any, ...]] = {}  # of ids that this page names twice, what it said first
    for row in rows:
        row_id = row[0]
        again = latest.get(row_id)
        old = present.get(row_id) if again is None else again
        if old is None:
            others.append(row)
        elif (
            page.newer_only
            and row[updated] < old[updated]
            and not (again is None and (page.older_too or insisted.get(row_id) == row[updated]))
        ):
            if again is None and _is_to_be_kept(page, old[last], generation):
                same.append((row_id,))
            older.append((row_id, row[updated]))
            continue
        elif again is not None:
            others.append(row)
        elif old[last - 1] == row[-1] and old[:last] == row:
            if _is_to_be_kept(page, old[last], generation):
                same.append((row_id,))
            continue
        elif indexed is not None and indexed(old) == indexed(row):
            quiet.append(row)
        else:
            others.append(row)
        accounts.replaced(dataset, old, row)
        latest[row_id] = row
    return quiet, others, same, older


def _is_to_be_kept(page: PageWrite, old: int, generation: int) -> bool:
    """Whether an unchanged row must be written only to be kept from the sweep. A baseline head office's whole list is
    one page, so that what it lacks is known by itself: its unchanged rows, nearly all of them, are not written."""
    return old < 0 if page.newer_only else old != generation


def _insisted(connection: sqlite3.Connection, page: PageWrite) -> dict[str, int]:
    """Rows that an earlier whole list brought in an older state than ours already, by id, and which state."""
    query = "SELECT id, updated_us FROM older WHERE dataset = ? AND first_ms NOT BETWEEN ? AND ?"
    return dict(connection.execute(query, (page.dataset, page.synced_ms - INSISTED_MS, page.synced_ms)))


def _note_older(connection: sqlite3.Connection, page: PageWrite, older: Sequence[tuple[str, int]]) -> None:
    """Against a baseline head office an older row does not overwrite a newer one (contract, section 4). But a head
    office that was restored from a backup says it again, and then it is right."""
    if page.completes_snapshot:
        connection.executemany(
            "INSERT INTO older VALUES (?, ?, ?, ?) ON CONFLICT (dataset, id) DO UPDATE SET "
            "updated_us = excluded.updated_us, first_ms = excluded.first_ms WHERE updated_us <> excluded.updated_us",
            [(page.dataset, row_id, updated_us, page.synced_ms) for row_id, updated_us in older],
        )


def forget_older(connection: sqlite3.Connection, page: PageWrite) -> None:
    """What a whole list noted of a day ago and was not said again, or was followed, is forgotten."""
    query = "DELETE FROM older WHERE dataset = ? AND first_ms NOT BETWEEN ? AND ?"
    connection.execute(query, (page.dataset, page.synced_ms - INSISTED_MS, page.synced_ms))


def _indexed_values(connection: sqlite3.Connection, dataset: str) -> Any:
    """Takes the values out of a row that its indexes and search stand on; None where there are none to spare."""
    if dataset != "products" or not is_indexed(connection):
        return None
    return itemgetter(*(COLUMNS[dataset].index(column) for column in INDEXED[dataset]))


def _are_new(connection: sqlite3.Connection, dataset: str, rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether all ids lie behind those in the table, as in a first load: then nobody needs to look for them."""
    if not all(before[0] < after[0] for before, after in pairwise(rows)):
        return False
    last = connection.execute(f"SELECT max(id) FROM {dataset}").fetchone()[0]
    return last is None or rows[0][0] > last


def _present(
    connection: sqlite3.Connection, dataset: str, rows: Sequence[tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """The rows of these ids as they stand, each with its generation behind the columns."""
    marks = ", ".join("?" * len(rows))
    found = connection.execute(
        f"SELECT {', '.join(COLUMNS[dataset])}, generation FROM {dataset} WHERE id IN ({marks})",
        [row[0] for row in rows],
    )
    return {row[0]: row for row in found}


def _forget_refused(connection: sqlite3.Connection, page: PageWrite, changed_ids: Sequence[str]) -> None:
    """A good row takes the place of what was refused. Against a baseline head office only one that is newer does: the
    good row from before may come again while the newest one is still bad."""
    ids = changed_ids if page.newer_only else [row[0] for row in page.rows]
    query = "DELETE FROM refused WHERE dataset = ? AND id = ?"
    connection.executemany(query, [(page.dataset, row_id) for row_id in ids])


def _keep_refused(connection: sqlite3.Connection, page: PageWrite, generation: int) -> None:
    """Keep refused rows with their reason; the last good row of the same id stays in use, and is not swept."""
    for row in page.refused:
        connection.execute(
            "INSERT INTO refused (dataset, id, row_version, reason, body, generation, first_ms, last_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (dataset, id) DO UPDATE SET reason = excluded.reason, "
            "row_version = excluded.row_version, body = excluded.body, generation = excluded.generation, "
            "last_ms = excluded.last_ms",
            (page.dataset, row.id, row.row_version, row.reason, row.body, generation, *[page.synced_ms] * 2),
        )
        kept = "generation < 0" if page.newer_only else "generation <> ?1"
        connection.execute(
            f"UPDATE {page.dataset} SET generation = ?1 WHERE {key_of(page.dataset)} = ?2 AND {kept}",
            (generation, row.id),
        )


def _drop_oldest_refused(connection: sqlite3.Connection, page: PageWrite) -> None:
    """Bounded: a head office that sends ever new nonsense must not fill the disk."""
    query = "SELECT count(*) FROM refused WHERE dataset = ?"
    if connection.execute(query, (page.dataset,)).fetchone()[0] > REFUSED_KEPT:
        connection.execute(
            "DELETE FROM refused WHERE rowid IN (SELECT rowid FROM refused WHERE dataset = ? "
            "ORDER BY last_ms DESC, rowid DESC LIMIT -1 OFFSET ?)",
            (page.dataset, REFUSED_KEPT),
        )
        connection.execute("UPDATE datasets SET leaves_kept = 0 WHERE name = ?", (page.dataset,))


def _delete(connection: sqlite3.Connection, page: PageWrite) -> int:
    gone = 0
    for row_id in page.deleted_ids:
        query = f"DELETE FROM {page.dataset} WHERE {key_of(page.dataset)} = ?"
        gone += connection.execute(query, (row_id,)).rowcount
        connection.execute("DELETE FROM refused WHERE dataset = ? AND id = ?", (page.dataset, row_id))
    return gone


def _upsert_stock(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], generation: int) -> int:
    connection.executemany("DELETE FROM refused WHERE dataset = 'stock' AND id = ?", [(row[0],) for row in rows])
    connection.executemany(
        "INSERT INTO stock (product_id, quantity, reorder_level, generation) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (product_id) DO UPDATE SET quantity = excluded.quantity, "
        "reorder_level = excluded.reorder_level, generation = excluded.generation",
        [(*row, generation) for row in rows],
    )
    return len(rows)


def mark_missing(connection: sqlite3.Connection, page: PageWrite, generation: int) -> None:
    """Mark the rows that a whole list in one page lacks: their generation is the first one that did, made negative."""
    there = {row[0] for row in page.rows} | {row.id for row in page.refused}
    present = connection.execute(f"SELECT id FROM {page.dataset} WHERE generation >= 0")
    missing = [(-generation, row_id) for (row_id,) in present if row_id not in there]
    connection.executemany(f"UPDATE {page.dataset} SET generation = ? WHERE id = ?", missing)


@dataclass(frozen=True, slots=True)
class Doomed:
    """Which rows a sweep deletes: those that no snapshot from a generation on brought, or those that whole lists
    lacked from a generation on.

    Args:
        generation: that of the snapshot.
        by_list: snapshots are whole lists in one page, whose rows are not written unless they change.
    """

    generation: int
    by_list: bool

    @property
    def where(self) -> str:
        """As a condition."""
        if self.by_list:
            return f"generation BETWEEN {-self.generation:d} AND -1"
        return f"generation < {self.generation:d}"


def sweep(connection: sqlite3.Connection, dataset: str, doomed: Doomed, *, counted: bool) -> int:
    """Delete rows, refused ones too; how many.

    Args:
        connection: inside a transaction.
        dataset: which.
        doomed: which rows.
        counted: whether the dataset's digest is kept up.
    """
    if not counted:
        return _sweep(connection, dataset, doomed)
    query = (
        f"SELECT id FROM {dataset} WHERE {doomed.where} "
        "UNION SELECT id FROM refused WHERE dataset = ? AND generation < ?"
    )
    ids = [row_id for (row_id,) in connection.execute(query, (dataset, doomed.generation))]
    parts = [ids[start : start + _ROWS_PER_STATEMENT] for start in range(0, len(ids), _ROWS_PER_STATEMENT)]
    by = Leaves()
    for part in parts:
        for row_id, was in leaves.counted(connection, dataset, part).items():
            by.take(row_id, was.row_version, was.body)
    gone = _sweep(connection, dataset, doomed)
    for part in parts:
        for row_id, still in leaves.counted(connection, dataset, part).items():
            by.add(row_id, still.row_version, still.body)
    leaves.change(connection, dataset, by)
    return gone


def _sweep(connection: sqlite3.Connection, dataset: str, doomed: Doomed) -> int:
    connection.execute("DELETE FROM refused WHERE dataset = ? AND generation < ?", (dataset, doomed.generation))
    return int(connection.execute(f"DELETE FROM {dataset} WHERE {doomed.where}").rowcount)
