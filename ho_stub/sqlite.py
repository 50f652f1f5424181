"""SQLite: one connection and one lock, so that everything takes turns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

# One SQLite library for the process: sqlite_utils picks the newest there is.
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from ho_stub import schema
from ho_stub.database import Backup, Database, DatabaseError, Parameters, Row, Transaction, Unavailable


class SQLiteBackup(Backup):
    """A copy in memory."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)

    def __del__(self) -> None:
        self.connection.close()


class SQLite(Database):
    """`path` is a file or ':memory:'.

    Statements go straight to the driver's connection: a sale takes about fifteen of them, and SQLAlchemy's own way
    costs six times as much for each as SQLite does.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._under_way = Transaction()

        def opened() -> Any:
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)

        self._engine = create_engine("sqlite://", module=sqlite3, creator=opened, poolclass=StaticPool)
        try:
            self._pooled = self._engine.raw_connection()
            self._connection = cast(Any, self._pooled.driver_connection)
            if path != ":memory:":
                # One connection only, so the WAL reset bug of older SQLites can't strike.
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as exc:
            _failed(exc)
        with self.write():
            for statement in schema.statements():
                self.run(statement)

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of a query."""
        with self.lock:
            try:
                found: list[Row] = self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as exc:
                _failed(exc)
            return found

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of a query, or None."""
        with self.lock:
            try:
                found: Row | None = self._connection.execute(sql, parameters).fetchone()
            except sqlite3.Error as exc:
                _failed(exc)
            return found

    def run(self, sql: str, parameters: Parameters = ()) -> None:
        """One statement; inside `write()` part of that transaction."""
        with self.lock:
            try:
                self._connection.execute(sql, parameters)
            except sqlite3.Error as exc:
                _failed(exc)

    def run_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """One statement for each row of parameters."""
        with self.lock:
            try:
                self._connection.executemany(sql, parameters)
            except sqlite3.Error as exc:
                _failed(exc)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Several queries that see one state: nobody else has a turn meanwhile."""
        with self.lock:
            self._under_way.reading += 1
            try:
                yield
            finally:
                self._under_way.reading -= 1

    def copy(self) -> Backup:
        """A backup in memory."""
        backup = SQLiteBackup()
        with self.lock:
            self._connection.backup(backup.connection)
        return backup

    def replace_by(self, backup: Backup, then: Callable[[], None] = lambda: None) -> None:
        """Restore a backup over everything there is; `then` may write before anybody sees it."""
        assert isinstance(backup, SQLiteBackup)
        with self.lock:
            backup.connection.backup(self._connection)
            with self.write():
                then()

    def close(self) -> None:
        """Close the file. Nothing may be under way."""
        with self.lock:
            self._pooled.close()
            self._engine.dispose()

    @property
    def _transaction(self) -> Transaction:
        return self._under_way  # whoever asks has the lock

    def _begin(self) -> None:
        depth = self._under_way.writing
        self.run(f"SAVEPOINT level_{depth}" if depth else "BEGIN IMMEDIATE")

    def _commit(self) -> None:
        depth = self._under_way.writing - 1
        self.run(f"RELEASE level_{depth}" if depth else "COMMIT")

    def _roll_back(self) -> None:
        depth = self._under_way.writing - 1
        if not self._connection.in_transaction:  # SQLite undid all of it by itself, as on a full disk
            return
        if depth:
            self.run(f"ROLLBACK TO level_{depth}")
            self.run(f"RELEASE level_{depth}")
        else:
            self.run("ROLLBACK")


def _failed(exc: Exception) -> NoReturn:
    is_busy = any(word in str(exc) for word in ("locked", "busy"))
    raise (Unavailable if is_busy else DatabaseError)(str(exc)) from exc
