"""A look at a database that others use, or that nobody can use any more: nothing is written, moved or waited for.

``Database`` creates, migrates and mends what it opens; whoever only wants to see must not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import StoreBroken
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.database import FAULTS, Database, broken
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal
from edge_agent.storage.migrate import SchemaName, check_writer, migration_files

PATIENCE_S = 2.0  # a sale's commit takes milliseconds
WAL_CHECK_S = 4.0  # readers keep nobody waiting
# Without a WAL a reader does: no till may wait longer than its 50 ms (G9), and older engines can't be stopped half-way.
ROLLBACK_CHECK_S = 0.04
ROLLBACK_BYTES_MAX = 8 * 1024 * 1024
_STEPS_BETWEEN_LOOKS = 2_000


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a database found.

    Args:
        mode: its journal mode, ``wal`` or another.
        damage: what is wrong with its pages; None when nothing was found.
        whole: whether all pages were looked at; a large file is not looked through in the time there is.
        waiting: migrations of this program that it has not had.
    """

    mode: str
    damage: str | None
    whole: bool
    waiting: tuple[str, ...]


def look(path: Path, schema: SchemaName) -> Looked:
    """Look at a database's pages and schema.

    Args:
        path: the file; it must be there.
        schema: which migrations it follows.

    Raises:
        StoreBroken: it can't be read (``is_damaged``: because of what is in it), or only a newer program may write it.
    """
    with reading(path) as connection:
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0]).lower()
        check_writer(connection, path)
        missing = _waiting(connection, schema)
        if mode == "wal":
            damage, whole = _pages(connection, WAL_CHECK_S)
        elif path.stat().st_size <= ROLLBACK_BYTES_MAX:
            damage, whole = _pages(connection, ROLLBACK_CHECK_S)
        else:
            damage, whole = None, False
    return Looked(mode, damage, whole, missing)


def waiting(path: Path, schema: SchemaName) -> tuple[str, ...]:
    """The migrations of this program that a database has not had.

    Raises:
        StoreBroken: as :func:`look`.
    """
    with reading(path) as connection:
        return _waiting(connection, schema)


def _waiting(connection: sqlite3.Connection, schema: SchemaName) -> tuple[str, ...]:
    applied: set[str] = set()
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_sqlite_migrations'").fetchone():
        query = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
        applied = {name for (name,) in connection.execute(query, (schema,))}
    return tuple(file.stem for file in migration_files(schema) if file.stem not in applied)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can't write.

    Raises:
        StoreBroken: as :func:`look`.
    """
    try:
        connection = _connect(path)
        try:
            yield connection
        finally:
            connection.close()
    except FAULTS as error:
        raise broken(error, path) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=PATIENCE_S,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _pages(connection: sqlite3.Connection, within_s: float) -> tuple[str | None, bool]:
    """What is wrong with the pages, and whether all were looked at."""
    end = time.monotonic() + within_s
    connection.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS_BETWEEN_LOOKS)
    try:
        said = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return None, False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return (None if said == "ok" else said), True


class _Unwritten(Database):
    """A database whose connections can't write; it is taken as it is."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "journal", synchronous="NORMAL")

    def _begin(self) -> None:
        self.mode = "unknown"
        self.migrated = []
        self._identity = self._file_identity()
        try:
            self.mode = str(self.connection.execute("PRAGMA journal_mode").fetchone()[0]).lower()
        except FAULTS as error:
            self.close()
            raise broken(error, self.path) from error

    def _open(self) -> sqlite3.Connection:
        return _connect(self.path)


class UnwrittenJournal(Journal):
    """A journal to read from alone."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise StoreBroken(f"there is no {path.name}", file=path.name)
        self.database = _Unwritten(path)


class UnwrittenCatalog(CatalogStore):
    """A catalogue to read from alone."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise StoreBroken(f"there is no {path.name}", file=path.name)
        self.database = _Unwritten(path)
