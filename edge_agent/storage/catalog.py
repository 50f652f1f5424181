"""The catalogue's file: where each download stands, and pages applied with their cursors (G5, G6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.domain.catalog import RefusedRow
from edge_agent.domain.digest import leaf_of
from edge_agent.errors import ContractBroken
from edge_agent.storage import leaves, pages
from edge_agent.storage.database import Database, in_own_words
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.indexes import drop_indexes, is_indexed, make_indexes
from edge_agent.storage.leaves import Counted, Leaves
from edge_agent.storage.lookups import Lookups
from edge_agent.storage.pages import Doomed, PageResult, PageWrite

_CACHE_KIB = 2_048
_RUNS_KEPT = 200
_ROWS_AT_ONCE = 1_000
IN_A_ROW_MS = 600_000
HELD_SNAPSHOTS = 3  # so many complete snapshots must agree before a held sweep is taken,
HELD_MS = 24 * 3600 * 1000  # over at least so long (contract, section 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetState:
    """Where a download stands. Times are milliseconds since 1970; None: never, or not so."""

    name: str
    scope: str
    cursor: str | None
    generation: int  # of the last snapshot begun
    in_snapshot: bool
    is_elsewhere: bool  # this device was given another store, and no whole list of it has come yet
    held_generation: int | None  # of the last snapshot whose sweep is held,
    held_first_generation: int | None  # and of the first one
    held_snapshots: int  # how many complete snapshots have asked for the held sweep
    held_rows: int | None
    held_since_ms: int | None
    incomplete: str | None  # how head office cut the list short,
    incomplete_since_ms: int | None  # and since when
    synced_ms: int | None
    changed_ms: int | None
    snapshot_ms: int | None  # the last complete snapshot
    resets: int  # how often in a row the place was lost without a change coming through
    reset_ms: int | None
    verified_ms: int | None  # when the digest last equalled head office's
    differs: str | None  # what of it differed, when it last did not


_STATE = ", ".join(DatasetState.__dataclass_fields__)


def _place_of(scope: str) -> str:
    """Company, brand and store of a scope; before them stands how head office is read."""
    return scope.partition(":")[2].partition("#")[0]


class CursorMoved(ContractBroken):
    """Another writer moved the cursor since this page was asked for; the page is not applied (G5)."""


@in_own_words
class CatalogStore(Lookups):
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
        query = f"SELECT {_STATE} FROM datasets WHERE name = ?"
        row = self.database.connection.execute(query, (dataset,)).fetchone()
        values = dict(zip(DatasetState.__dataclass_fields__, row, strict=True))
        flags = {name: bool(values[name]) for name in ("in_snapshot", "is_elsewhere")}
        return DatasetState(**values | flags)

    def begin_snapshot(self, dataset: str, scope: str) -> None:
        """Drop a download's cursor, not its rows: the next page is the first of a snapshot (contract, section 8)."""
        with self.database.immediate() as connection:
            before = self.state(dataset).scope
            connection.execute(
                "UPDATE datasets SET cursor = NULL, scope = ?, in_snapshot = 1, generation = generation + 1 "
                "WHERE name = ?",
                (scope, dataset),
            )
            if before != scope:
                self._forget_hold(connection, dataset)
            if before and _place_of(before) != _place_of(scope):
                # Somebody gave this device another store: that the old one's rows are gone surprises nobody.
                connection.execute("UPDATE datasets SET is_elsewhere = 1 WHERE name = ?", (dataset,))
            if dataset == "products" and connection.execute("SELECT 1 FROM products LIMIT 1").fetchone() is None:
                drop_indexes(connection)

    def ensure_product_indexes(self) -> None:
        """Make the products' indexes and search if a first load left them for later; nothing otherwise."""
        if not is_indexed(self.database.connection):
            with self.database.immediate() as connection:
                make_indexes(connection)

    def lost_place(self, dataset: str, now_ms: int, wait_ms: Callable[[int], float]) -> int:
        """Note that head office lost our place; how often that was in a row, without a change coming through.

        Args:
            dataset: which.
            now_ms: milliseconds since 1970.
            wait_ms: how long a place is left alone that was lost so often, milliseconds; a loss long after that is a
                new one.
        """
        before = self.state(dataset)
        passed_ms = now_ms - (before.reset_ms or 0)
        in_a_row = 0 <= passed_ms < wait_ms(before.resets) + IN_A_ROW_MS
        resets = before.resets + 1 if in_a_row else 1
        with self.database.immediate() as connection:
            connection.execute("UPDATE datasets SET resets = ?, reset_ms = ? WHERE name = ?", (resets, now_ms, dataset))
        return resets

    # ---- applying pages --------------------------------------------------------------------------------------

    def apply(self, page: PageWrite) -> PageResult:
        """Apply a page and move its cursor, in one transaction (G5). Twice is once (G6).

        Raises:
            CursorMoved: the stored cursor is not the one that was asked.
            StoreBroken: the file can't be written; nothing of the page is kept.
        """
        return self.apply_together([page])[0]

    def apply_together(self, together: Sequence[PageWrite]) -> list[PageResult]:
        """Apply pages, of several datasets perhaps, in one transaction: readers see all of them or none (G6).

        Raises:
            CursorMoved, StoreBroken: as :meth:`apply`; nothing of any page is kept.
        """
        with self.database.immediate() as connection:
            return [self._apply(connection, page) for page in together]

    def _apply(self, connection: sqlite3.Connection, page: PageWrite) -> PageResult:
        result = PageResult()
        state = self.state(page.dataset)
        if state.cursor != page.asked_cursor:
            raise CursorMoved(f"{page.dataset} was synced by another program meanwhile; this page is dropped")
        pages.write_rows(connection, page, state.generation, result)
        completed = page.completes_snapshot and state.in_snapshot
        if completed:
            self._complete(connection, page, state, result)
        result.changed += result.deletes + result.swept
        for key, value in page.meta.items():
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        # A change came through where a cursor stood: head office knows our place again.
        found_place = page.asked_cursor is not None and not state.in_snapshot
        connection.execute(
            "UPDATE datasets SET cursor = ?, in_snapshot = ?, synced_ms = ?, "
            "changed_ms = CASE WHEN ? THEN ? ELSE changed_ms END, resets = CASE WHEN ? THEN 0 ELSE resets END "
            "WHERE name = ?",
            (
                page.next_cursor,
                state.in_snapshot and not completed,
                page.synced_ms,
                result.changed,
                page.synced_ms,
                found_place,
                page.dataset,
            ),
        )
        return result

    # ---- the end of a snapshot -------------------------------------------------------------------------------

    def _complete(
        self, connection: sqlite3.Connection, page: PageWrite, state: DatasetState, result: PageResult
    ) -> None:
        """Delete what the complete snapshot did not bring, all together (G6), or hold a sweep that looks wrong."""
        dataset = page.dataset
        by_list = page.newer_only
        if by_list:
            pages.mark_missing(connection, page, state.generation)
        doomed = Doomed(state.generation, by_list)
        query = f"SELECT count(*), coalesce(sum({doomed.where}), 0) FROM {dataset}"
        total, stale = connection.execute(query).fetchone()
        connection.execute("UPDATE datasets SET snapshot_ms = ? WHERE name = ?", (page.synced_ms, dataset))
        pages.forget_older(connection, page)
        if dataset == "products" and not is_indexed(connection):
            make_indexes(connection)
        counted = dataset != "stock" and not page.newer_only
        expected = page.sweep_allowed or (state.is_elsewhere and stale < total)
        connection.execute("UPDATE datasets SET is_elsewhere = 0 WHERE name = ? AND is_elsewhere", (dataset,))
        if stale * 2 > total and not expected and dataset != "stock":
            if not self._hold(connection, page, state, stale):
                result.held = stale
                return
            # Only what none of the snapshots brought that agreed.
            first = state.held_first_generation or state.generation
            # Of lists that is known of each row: since which one it has been missing.
            doomed = Doomed(first, by_list)
        result.swept = pages.sweep(connection, dataset, doomed, counted=counted)
        self._forget_hold(connection, dataset)

    def _hold(self, connection: sqlite3.Connection, page: PageWrite, state: DatasetState, stale: int) -> bool:
        """Hold a sweep, or hold it on; whether it has been held long enough to be taken (contract, section 4)."""
        held_before = state.held_generation is not None
        snapshots = state.held_snapshots + 1 if held_before else 1
        since = state.held_since_ms if held_before and state.held_since_ms is not None else page.synced_ms
        if snapshots >= HELD_SNAPSHOTS and page.synced_ms - since >= HELD_MS:
            # A row whose very id can't be read may be any of those that seem to be gone.
            unreadable = "SELECT 1 FROM refused WHERE dataset = ? AND generation = ? AND id LIKE 'sha256:%'"
            if connection.execute(unreadable, (page.dataset, state.generation)).fetchone() is None:
                return True
        if page.synced_ms < since:  # the clock was set back: the day is counted from here
            since = page.synced_ms
        connection.execute(
            "UPDATE datasets SET held_generation = ?, held_first_generation = ?, held_snapshots = ?, held_rows = ?, "
            "held_since_ms = ? WHERE name = ?",
            (
                state.generation,
                state.held_first_generation if held_before else state.generation,
                snapshots,
                stale,
                since,
                page.dataset,
            ),
        )
        return False

    def _forget_hold(self, connection: sqlite3.Connection, dataset: str) -> None:
        connection.execute(
            "UPDATE datasets SET held_generation = NULL, held_first_generation = NULL, held_snapshots = 0, "
            "held_rows = NULL, held_since_ms = NULL WHERE name = ? AND held_generation IS NOT NULL",
            (dataset,),
        )

    def accept_sweep(self, dataset: str) -> int:
        """Take a held sweep on a person's or a digest's word. Returns how many rows went."""
        held = self.state(dataset).held_generation
        if held is None:
            return 0
        with self.database.immediate() as connection:
            counted = leaves.is_kept(connection, dataset)
            marked = connection.execute(f"SELECT 1 FROM {dataset} WHERE generation < 0 LIMIT 1").fetchone()
            gone = pages.sweep(connection, dataset, Doomed(held, by_list=marked is not None), counted=counted)
            self._forget_hold(connection, dataset)
        return gone

    # ---- digests ---------------------------------------------------------------------------------------------

    def leaves(self, dataset: str) -> Leaves:
        """The dataset's digest as it is kept up; made anew when nobody has kept it up."""
        if not leaves.is_kept(self.database.connection, dataset):
            with self.database.immediate() as connection:
                leaves.keep_up(connection, dataset)
        return leaves.stored(self.database.connection, dataset)

    def computed_leaves(self, dataset: str) -> Leaves:
        """The digest over the rows themselves: where it differs from the one kept up, rows were changed by damage."""
        return leaves.computed(self.database.connection, dataset)

    def make_leaves_anew(self, dataset: str) -> None:
        """Have the digest that is kept up be what the rows say."""
        with self.database.immediate() as connection:
            leaves.replace(connection, dataset, leaves.computed(connection, dataset))

    def counted(self, dataset: str, ids: Sequence[str]) -> dict[str, Counted]:
        """What is here of these ids: version and bytes."""
        return leaves.counted(self.database.connection, dataset, ids)

    def leaves_after_sweep(self, dataset: str) -> Leaves:
        """The digest of what the last snapshot brought: what a held sweep would leave."""
        return leaves.computed(self.database.connection, dataset, generation=self.state(dataset).generation)

    def rows_of_leaves(self, dataset: str, wanted: Collection[int]) -> dict[str, Counted]:
        """What is here of some leaves, by id: good rows and refused ones."""
        connection = self.database.connection
        found: dict[str, Counted] = {}
        for row_id, version, body in connection.execute(f"SELECT id, row_version, body FROM {dataset}"):
            if leaf_of(row_id) in wanted:
                found[row_id] = Counted(version, body)
        query = "SELECT id, row_version FROM refused WHERE dataset = ?"
        for row_id, version in connection.execute(query, (dataset,)):
            if leaf_of(row_id) in wanted:
                good = found.get(row_id)
                found[row_id] = Counted(version, good.body if good else None)
        return found

    def every_row(self, dataset: str) -> Iterator[list[tuple[Any, ...]]]:
        """Every row in use as the columns hold it, some at a time."""
        query = (
            f"SELECT {', '.join(pages.COLUMNS[dataset])} FROM {dataset} WHERE id > ? ORDER BY id LIMIT {_ROWS_AT_ONCE}"
        )
        last = ""
        while rows := self.database.connection.execute(query, (last,)).fetchall():
            yield rows
            last = rows[-1][0]

    def repair(self, page: PageWrite) -> PageResult:
        """Put rows right at the very place where the download stands (contract, section 6).

        Args:
            page: what head office holds otherwise; ``asked_cursor`` is where its answer and this store both stand.

        Raises:
            CursorMoved, StoreBroken: nothing is kept.
        """
        dataset, result = page.dataset, PageResult()
        with self.database.immediate() as connection:
            state = self.state(dataset)
            if state.cursor != page.asked_cursor or state.in_snapshot:
                raise CursorMoved(f"{dataset} was synced by another program meanwhile; its repair is dropped")
            pages.write_rows(connection, page, state.generation, result)
            # What was kept up may be what was wrong: from here on it is what the rows say.
            leaves.replace(connection, dataset, leaves.computed(connection, dataset))
            result.changed += result.deletes
            connection.execute(
                "UPDATE datasets SET changed_ms = CASE WHEN ? THEN ? ELSE changed_ms END WHERE name = ?",
                (result.changed, page.synced_ms, dataset),
            )
        return result

    def mark_verified(self, dataset: str, now_ms: int, differs: str | None = None) -> None:
        """Note that the digest equals head office's, or what of it does not."""
        with self.database.immediate() as connection:
            if differs is None:
                connection.execute(
                    "UPDATE datasets SET verified_ms = ?, differs = NULL WHERE name = ?", (now_ms, dataset)
                )
            else:
                connection.execute("UPDATE datasets SET differs = ? WHERE name = ?", (differs, dataset))

    def mark_incomplete(self, dataset: str, reason: str | None, now_ms: int) -> None:
        """Note that head office cut a list short (or, with None, that it no longer does); writes only on a change."""
        if self.state(dataset).incomplete != reason:
            with self.database.immediate() as connection:
                connection.execute(
                    "UPDATE datasets SET incomplete = ?1, incomplete_since_ms = "
                    "CASE WHEN ?1 IS NULL THEN NULL ELSE coalesce(incomplete_since_ms, ?2) END WHERE name = ?3",
                    (reason, now_ms, dataset),
                )

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


__all__ = ["CatalogStore", "CursorMoved", "DatasetState", "PageResult", "PageWrite", "RefusedRow"]
