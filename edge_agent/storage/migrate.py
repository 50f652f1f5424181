"""Brings a database to the present schema: numbered SQL files, applied once, under a lock between processes.

sqlite-utils runs and records them, each in one transaction. Ours are the guard (a file that only a newer program may
write is refused) and the lock. Migrations are additive, so that an older program goes on selling beside a newer one.
"""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_agent.errors import StoreBroken
from edge_agent.storage.engine import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import FileLock
    from sqlite_utils import Database as SqliteUtilsDatabase

SchemaName = Literal["journal", "catalog"]
WRITER = 1  # raised when a file written by this program can no longer be written by older ones
_LOCK_WAIT_S = 600  # another process may be copying a large journal before it migrates it


def migrations_folder() -> Path:
    """Where the migrations are: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


@lru_cache(maxsize=4)
def migration_files(schema: SchemaName) -> tuple[Path, ...]:
    """The migrations of one database, in order."""
    return tuple(sorted((migrations_folder() / schema).glob("[0-9][0-9][0-9][0-9]_*.sql")))


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: ``executescript`` would commit the migration's transaction."""
    buffer = ""
    for line in script.splitlines(keepends=True):
        if not buffer and (not line.strip() or line.lstrip().startswith("--")):
            continue
        buffer += line
        if sqlite3.complete_statement(buffer):
            yield buffer.strip()
            buffer = ""
    if buffer.strip():
        raise ValueError(f"a migration ends in the middle of a statement: {buffer.strip()[:80]}")


def _applied(connection: sqlite3.Connection, schema: SchemaName) -> set[str]:
    table = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = '_sqlite_migrations'").fetchone()
    if table is None:
        return set()
    query = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
    return {name for (name,) in connection.execute(query, (schema,))}


def check_writer(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that only a newer program may write.

    Raises:
        StoreBroken: names the file and the mend.
    """
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is None:
        return
    row = connection.execute("SELECT value FROM meta WHERE key = 'min_writer'").fetchone()
    if row is not None and int(row[0]) > WRITER:
        raise StoreBroken(
            f"{path} was written by a newer edge-agent",
            hint="Install the newer edge-agent on this device; the older one can't write this file.",
        )


def lock(path: Path, mode: int = 0o600) -> FileLock:
    """The lock under which a database's file gets its journal mode and its schema.

    Args:
        path: the database's file; the lock stands beside it.
        mode: file mode of the lock; whoever may write the database must be able to take it.
    """
    from filelock import FileLock

    return FileLock(path.with_suffix(".migrate.lock"), timeout=_LOCK_WAIT_S, mode=mode)


def migrate(connection: sqlite3.Connection, path: Path, schema: SchemaName, *, lock_mode: int = 0o600) -> list[str]:
    """Apply what is missing.

    Args:
        connection: an open connection to ``path``, outside any transaction.
        path: the database's file; the lock stands beside it.
        schema: which set of migrations.
        lock_mode: file mode of the lock.

    Returns:
        The names applied now, in order.

    Raises:
        StoreBroken: the file belongs to a newer program.
    """
    check_writer(connection, path)
    if {file.stem for file in migration_files(schema)} <= _applied(connection, schema):
        return []
    from sqlite_utils import Database as SqliteUtilsDatabase
    from sqlite_utils.migrations import Migrations

    migrations = Migrations(schema)
    for file in migration_files(schema):

        def apply(db: SqliteUtilsDatabase, script: str = file.read_text("utf-8")) -> None:
            for statement in statements(script):
                db.conn.execute(statement)

        migrations(name=file.stem)(apply)
    with lock(path, lock_mode):
        before = _applied(connection, schema)
        without_backup = _back_up_before(connection, path, schema, before, lock_mode) if before else None
        migrations.apply(SqliteUtilsDatabase(connection, execute_plugins=False))
        if without_backup is not None:
            _tell(connection, without_backup)
    return sorted(_applied(connection, schema) - before)


def _back_up_before(
    connection: sqlite3.Connection, path: Path, schema: SchemaName, applied: set[str], mode: int
) -> StoreBroken | None:
    """Copy a journal that holds entries before it changes. What prevents a copy (a full disk, say) must not keep a shop
    from selling: a migration is one transaction and additive. It is returned, and told afterwards."""
    pending = [file.stem for file in migration_files(schema) if file.stem not in applied]
    if schema != "journal" or path.stem != schema or not pending:  # another name: a copy, whose original is kept
        return None
    if connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sales) AND NOT EXISTS (SELECT 1 FROM usages)").fetchone()[
        0
    ]:
        return None
    from edge_agent.storage.backup import back_up_before_migration

    try:
        back_up_before_migration(path, pending[0], group_access=bool(mode & 0o060))
    except StoreBroken as error:
        return error
    return None


def _tell(connection: sqlite3.Connection, error: StoreBroken) -> None:
    from edge_agent.storage.incidents import raise_incident

    raise_incident(connection, "no backup before an update", error.message, time.time_ns() // 1_000_000)
