"""Head office's database: an SQLite file or memory, or PostgreSQL by URL. Writes commit one after another, so change
numbers are in commit order, and nobody sees a number before all smaller ones.

SQL is written once for both: `?` or `:name` for parameters, standard SQL otherwise.
"""

import os
import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

# A PostgreSQL URL: what would be in memory gets a schema of its own there. So tests of a head office run on either.
VARIABLE = "HO_STUB_DB"

Row = tuple[Any, ...]
Parameters = Sequence[object] | Mapping[str, object]


class DatabaseError(Exception):
    """The database refused, or failed."""


class Unavailable(DatabaseError):
    """It can't now: connection lost, locked, a conflict with another writer. Nothing was kept; a retry may help."""


class Backup:
    """An opaque copy of a database."""


class Transaction:
    """What is under way: how deep `write()` and `read()` are nested, and which counters gave out numbers."""

    def __init__(self) -> None:
        self.writing = 0
        self.reading = 0
        self.marked: set[str] = set()
        self.moved: set[str] = set()


class Database(ABC):
    """Any thread may use it. `connect()` makes one.

    Attributes:
        shared: other processes may write into it meanwhile.
        lock: held while this process writes; for what must not happen between two writes.
        on_commit: told which counters a commit of this process moved.
    """

    shared = False

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.on_commit: Callable[[Collection[str]], None] = lambda _moved: None

    # -- what each database does its own way

    @abstractmethod
    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of a query."""

    @abstractmethod
    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of a query, or None."""

    @abstractmethod
    def run(self, sql: str, parameters: Parameters = ()) -> None:
        """One statement; inside `write()` part of that transaction."""

    @abstractmethod
    def run_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """One statement for each row of parameters."""

    @abstractmethod
    def read(self) -> AbstractContextManager[None]:
        """Several queries that see one state. Nothing may be written in it."""

    @abstractmethod
    def copy(self) -> Backup:
        """A backup in memory."""

    @abstractmethod
    def replace_by(self, backup: Backup, then: Callable[[], None] = lambda: None) -> None:
        """Restore a backup over everything there is; `then` may write before anybody sees it."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections. Nothing may be under way."""

    @property
    @abstractmethod
    def _transaction(self) -> Transaction:
        """What this thread has under way."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin a transaction; inside another one, a savepoint."""

    @abstractmethod
    def _commit(self) -> None:
        """Commit the innermost of them."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Undo the innermost of them."""

    # -- what all have in common

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, parameters)
        return found[0] if found else None

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction; inside another one, a savepoint: its failure undoes it alone.

        Raises:
            Unavailable: the transaction left no trace; it may be tried again.
        """
        with self.lock:
            under_way = self._transaction
            if under_way.reading and not under_way.writing:
                raise RuntimeError("write() inside read(): read first, then write")
            self._begin()
            under_way.writing += 1
            try:
                yield
            except BaseException:
                self._undo(under_way)
                raise
            moved = under_way.moved if under_way.writing == 1 else set()
            try:
                self._commit()
            except BaseException:
                self._undo(under_way)
                raise
            under_way.writing -= 1
            if not under_way.writing:
                under_way.marked, under_way.moved = set(), set()
            if moved:
                self.on_commit(moved)

    def _undo(self, under_way: Transaction) -> None:
        under_way.marked.clear()
        if under_way.writing == 1:
            under_way.moved = set()
        try:
            self._roll_back()
        finally:
            under_way.writing -= 1

    def next(self, counter: str) -> int:
        """The counter's next number; call it inside `write()`."""
        seq = int(self.value("UPDATE counter SET value = value + 1 WHERE name = ? RETURNING value", (counter,)))
        under_way = self._transaction
        if counter not in under_way.marked:
            under_way.marked.add(counter)
            under_way.moved.add(counter)
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


def is_url(where: str) -> bool:
    """Whether it names a PostgreSQL database, not a file."""
    return where.partition("://")[0].partition("+")[0] in ("postgresql", "postgres")


def without_password(where: str) -> str:
    """The file or URL as it may be shown."""
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1:***@", where)


def connect(where: str | Path) -> Database:
    """The database that `where` names: a file, ':memory:', or `postgresql://user@host/name`.

    Raises:
        ValueError: the URL is none of ours, or the driver is not installed.
        DatabaseError: it can't be opened.
    """
    server = os.environ.get(VARIABLE)
    if server and str(where) == ":memory:":
        from ho_stub.own_schema import in_own_schema

        return in_own_schema(server)
    if is_url(str(where)):
        from ho_stub.postgresql import PostgreSQL  # its driver is an extra of its own

        return PostgreSQL(str(where))
    if "://" in str(where):
        raise ValueError(f"{where}: a database is a file, ':memory:' or postgresql://user@host/name.")
    from ho_stub.sqlite import SQLite

    return SQLite(str(where))
