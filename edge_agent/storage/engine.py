"""The SQLite the agent uses: the one sqlite-utils picks, named here without loading sqlite-utils itself.

WAL has a rare corruption bug ("WAL reset") up to 3.51.2 when several connections write and checkpoint at once, which
is the agent's very shape. On such an engine the databases use a rollback journal (TRUNCATE) instead.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
elif importlib.util.find_spec("pysqlite3") is not None:
    # The same choice as sqlite_utils.utils.sqlite3, whose import costs a command 50 ms; a test holds them together.
    from pysqlite3 import dbapi2 as sqlite3
else:
    import sqlite3

__all__ = ["OLDEST_SQLITE", "SAFE_WAL_SQLITE", "engine_is_too_old", "sqlite3", "wal_is_safe"]

OLDEST_SQLITE = (3, 38, 0)  # RETURNING, STRICT-era UPSERT and FTS5 as the stores use them
SAFE_WAL_SQLITE = (3, 51, 3)


def wal_is_safe() -> bool:
    """Whether this process's SQLite is past the WAL-reset bug."""
    return sqlite3.sqlite_version_info >= SAFE_WAL_SQLITE


def engine_is_too_old() -> bool:
    """Whether this process's SQLite lacks what the stores need."""
    return sqlite3.sqlite_version_info < OLDEST_SQLITE
