"""One SQLite connection and one lock: writes commit one after another, so change numbers are in commit order."""

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# One SQLite library for the process: sqlite_utils picks the newest there is.
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

Row = tuple[Any, ...]
DatabaseError = sqlite3.Error


class Backup:
    """An opaque copy of a database."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)

    def __del__(self) -> None:
        self.connection.close()


class Database:
    """`path` is a file or ':memory:'. Any thread may use it; they take turns."""

    def __init__(self, path: str) -> None:
        self.lock = threading.RLock()
        self._writing = 0
        self._marked: set[str] = set()
        self._moved: set[str] = set()
        self.on_commit: Callable[[Collection[str]], None] = lambda _moved: None  # told which counters moved
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        if path != ":memory:":
            # One connection only, so the WAL reset bug of older SQLites can't strike.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        if self.value("SELECT count(*) FROM sqlite_master WHERE name = 'feed'") == 0:
            self._connection.executescript((Path(__file__).parent / "schema.sql").read_text(encoding="utf-8"))

    def rows(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """All rows of a query."""
        with self.lock:
            found: list[Row] = self._connection.execute(sql, parameters).fetchall()
            return found

    def row(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Row | None:
        """The first row of a query, or None."""
        with self.lock:
            found: Row | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def value(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, parameters)
        return found[0] if found else None

    def run(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> None:
        """One statement; inside `write()` part of that transaction."""
        with self.lock:
            self._connection.execute(sql, parameters)

    def run_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """One statement for each row of parameters."""
        with self.lock:
            self._connection.executemany(sql, parameters)

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction; inside another one, a savepoint: its failure undoes it alone."""
        with self.lock:
            name = f"level_{self._writing}"
            self._connection.execute(f"SAVEPOINT {name}" if self._writing else "BEGIN IMMEDIATE")
            self._writing += 1
            try:
                yield
            except BaseException:
                self._writing -= 1
                self._marked.clear()
                self._connection.execute(f"ROLLBACK TO {name}" if self._writing else "ROLLBACK")
                if self._writing:
                    self._connection.execute(f"RELEASE {name}")
                else:
                    self._moved.clear()
                raise
            self._writing -= 1
            if not self._writing:
                self._marked.clear()
            self._connection.execute(f"RELEASE {name}" if self._writing else "COMMIT")
            if not self._writing and self._moved:
                moved, self._moved = self._moved, set()
                self.on_commit(moved)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Several queries that see one state."""
        with self.lock:
            yield

    def next(self, counter: str) -> int:
        """The counter's next number; call it inside `write()`."""
        self.run("UPDATE counter SET value = value + 1 WHERE name = ?", (counter,))
        seq = self.current(counter)
        if counter not in self._marked:
            self._marked.add(counter)
            self._moved.add(counter)
            self.run("INSERT INTO mark VALUES (?, ?, ?)", (counter, seq, secrets.randbits(32)))
        return seq

    def mark(self, counter: str, seq: int) -> int:
        """The mark of the transaction that gave out a number."""
        sql = "SELECT value FROM mark WHERE counter = ? AND seq <= ? ORDER BY seq DESC LIMIT 1"
        return int(self.value(sql, (counter, seq)) or 0)

    def current(self, counter: str) -> int:
        """The counter's last number."""
        return int(self.value("SELECT value FROM counter WHERE name = ?", (counter,)))

    def meta(self, key: str) -> str | None:
        """A setting of the database itself, or None."""
        found: str | None = self.value("SELECT value FROM meta WHERE key = ?", (key,))
        return found

    def set_meta(self, key: str, value: str) -> None:
        """Keep a setting of the database itself."""
        self.run("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))

    def copy(self) -> Backup:
        """A backup in memory."""
        backup = Backup()
        with self.lock:
            self._connection.backup(backup.connection)
        return backup

    def replace_by(self, backup: Backup) -> None:
        """Restore a backup over everything there is."""
        with self.lock:
            backup.connection.backup(self._connection)

    def close(self) -> None:
        """Close the file. Nothing may be under way."""
        with self.lock:
            self._connection.close()
