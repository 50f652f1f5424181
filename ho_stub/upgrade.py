"""A database of an earlier release: its tables get the columns they lack, and promotions their windows."""

from ho_stub.database import Database, DatabaseError

ADDED = (
    ("account", "has_company", "INTEGER NOT NULL DEFAULT 1"),
    ("departure", "window_key", "TEXT NOT NULL DEFAULT ''"),
)
DROPPED = (("feed", "listed"),)


def columns(db: Database) -> None:
    """Add and drop what is not as schema.sql has it; nothing where all is."""
    with db.write():
        for table, column, kind in ADDED:
            if not _has(db, table, column):
                db.run(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        for table, column in DROPPED:
            if _has(db, table, column):
                db.run(f"ALTER TABLE {table} DROP COLUMN {column}")


def _has(db: Database, table: str, column: str) -> bool:
    try:
        with db.write():
            db.run(f"SELECT {column} FROM {table} LIMIT 0")  # noqa: S608 - names of this file
    except DatabaseError:
        return False
    return True
