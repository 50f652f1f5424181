"""One SQLite file: opened safely, one connection a thread, immediate transactions, errors in the agent's own words."""

from __future__ import annotations

import errno
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import msgspec

from edge_agent.errors import StoreBroken
from edge_agent.storage import migrate
from edge_agent.storage.engine import engine_is_too_old, sqlite3, wal_is_safe

BUSY_TIMEOUT_MS = 10_000
# Damage can turn any text into bytes that are none; Python's SQLite then fails to decode a value, or its own message.
FAULTS = (sqlite3.Error, OSError, UnicodeDecodeError)
WAL_BYTES_KEPT = 64 * 1024 * 1024  # a WAL that grew longer is cut back once it is empty
PRIVATE_FILE = 0o600
GROUP_FILE = 0o660
_DISK_IS_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows knows no quota
_REWRITE_BYTES = 1024 * 1024
_REWRITE_TRIES = 3


def create_private(path: Path, mode: int = PRIVATE_FILE) -> None:
    """Create an empty file with its mode set before anything is in it; ``-wal`` and ``-shm`` inherit the mode."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    except FileExistsError:
        return
    os.close(handle)
    if os.name == "posix":
        path.chmod(mode)  # the umask may have taken the group's bits away


def broken(error: Exception, path: Path) -> StoreBroken:
    """Translate an SQLite or file error at the wall, by what to do about it."""
    text = str(error).lower()
    if "full" in text or (isinstance(error, OSError) and error.errno in _DISK_IS_FULL):
        return StoreBroken(
            f"the disk is full: {path.name} can't be written",
            hint="Free some space on this device now. Nothing already recorded is lost.",
        )
    if "locked" in text or "busy" in text:
        return StoreBroken(
            f"{path.name} stayed busy for {BUSY_TIMEOUT_MS // 1000} s",
            hint="Another program holds the store. Try again; if it persists, restart this device.",
        )
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return StoreBroken(
            f"{path} can't be opened for writing",
            hint="Check that this user may write the folder, and that the disk is there.",
        )
    if (
        isinstance(error, UnicodeDecodeError)
        or "malformed" in text
        or "not a database" in text
        or "corrupt" in text
        or "could not decode" in text
        or "no such table" in text  # our own names: the schema itself is damaged
        or "no such column" in text
    ):
        return StoreBroken(
            f"{path.name} is damaged",
            hint="Keep the file. It is moved aside by itself; selling goes on with a fresh one.",
            is_damaged=True,
            file=path.name,
        )
    said = error.strerror if isinstance(error, OSError) else error
    return StoreBroken(f"{path.name} can't be used: {said}", hint="Check the disk, then restart this device.")


def _write_again(path: Path) -> None:
    """Write a file's bytes over themselves, and sync them."""
    with path.open("r+b", buffering=0) as file:
        at = 0
        while data := file.read(_REWRITE_BYTES):
            file.seek(at)
            at += file.write(data)
            file.seek(at)
        os.fsync(file.fileno())


T = TypeVar("T", bound=type)
R = TypeVar("R")


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def typed(kind: type[R], row: Sequence[Any], path: Path) -> R:
    """A row as a value of its type: damage can put anything into any column, and must not look like a fault of ours.

    Args:
        kind: a dataclass with a field for each column.
        row: the columns in the order of the fields.
        path: the database's file.

    Raises:
        StoreBroken: ``is_damaged``: a column holds something of another type.
    """
    try:
        return msgspec.convert(dict(zip(_names(kind), row, strict=False)), kind)  # type: ignore[arg-type]
    except msgspec.ValidationError as error:
        raise broken(sqlite3.DatabaseError(f"malformed row: {error}"), path) from error


def in_own_words(store: T) -> T:
    """Class decorator: a store's public methods raise the agent's errors, not SQLite's (its file is ``database``)."""
    for name, method in list(vars(store).items()):
        if not name.startswith("_") and isinstance(method, FunctionType):
            setattr(store, name, _translating(method))
    return store


def _translating(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def translated(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise broken(error, self.database.path) from error

    return translated


class Database:
    """One SQLite file with a connection for each thread.

    Args:
        path: the file; created when absent.
        schema: which migrations it follows.
        synchronous: ``FULL`` for the journal (G1), ``NORMAL`` for what can be pulled again.
        wal_autocheckpoint_pages: how long SQLite lets the WAL grow before it checkpoints inside a commit.
        cache_kib: page cache of each connection.
        group_access: share the file with its group (0660 instead of 0600).

    Raises:
        StoreBroken: it can't be opened, the engine is too old, or the file belongs to a newer program.
    """

    def __init__(
        self,
        path: Path,
        schema: migrate.SchemaName,
        *,
        synchronous: str,
        wal_autocheckpoint_pages: int = 1_000,
        cache_kib: int = 2_048,
        group_access: bool = False,
    ) -> None:
        self.path = path
        self._schema: migrate.SchemaName = schema
        self.file_mode = GROUP_FILE if group_access else PRIVATE_FILE
        self._synchronous = synchronous
        self._autocheckpoint = wal_autocheckpoint_pages
        self._cache_kib = cache_kib
        self._local = threading.local()
        self._connections: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._opening = threading.Lock()  # held while a file is opened anew: nobody reads one without its tables
        self._identity: tuple[int, int] | None = None
        if engine_is_too_old():
            raise StoreBroken(
                f"SQLite {sqlite3.sqlite_version} is too old",
                hint="Install the package pysqlite3, or a newer Python.",
            )
        self.openings = 0
        self._begin()

    def _begin(self) -> None:
        path, mode = self.path, self.file_mode
        self.openings += 1
        try:
            create_private(path, mode)
            if path.stat().st_size:
                self._write_leftover_wal_again()
                self.mode = self._choose_mode()
            else:  # programs that open a new file at once: SQLite waits for nobody when the mode is set
                with migrate.lock(path, mode):
                    self.mode = self._choose_mode()
            identity = self._file_identity()
            self.migrated = migrate.migrate(self._own(), path, self._schema, lock_mode=mode)
            self._identity = identity
        except FAULTS as error:
            self.let_go()  # its own alone: other threads may be in the middle of something in theirs
            raise broken(error, path) from error
        except BaseException:
            self.let_go()
            raise

    def _file_identity(self) -> tuple[int, int] | None:
        if os.name != "posix":
            return None  # Windows neither moves nor replaces a file that is open
        stat = os.stat(self.path)  # noqa: PTH116 - on a sale's path: a third of the time of Path.stat
        return stat.st_dev, stat.st_ino

    def file_number(self) -> str | None:
        """The number the file system knows this file by; a copy has another one. None where it has none."""
        number = self.path.stat().st_ino
        return str(number) if number else None

    def begin(self) -> sqlite3.Connection:
        """Begin a write transaction in the file that is at the path now: another program may have put a fresh one in
        its place, after damage or by a restore, while this one waited for the lock."""
        while True:
            connection = self._own()
            connection.execute("BEGIN IMMEDIATE")
            replaced = self.was_replaced()
            is_present = getattr(self._local, "connection", None) is connection
            if is_present and not replaced:
                return connection
            connection.execute("ROLLBACK")
            if replaced:  # else another thread has opened the fresh one meanwhile
                self.reopen()

    def was_replaced(self) -> bool:
        """Whether the path now leads to another file than the one that is open."""
        try:
            return self._file_identity() != self._identity
        except FileNotFoundError:
            return True

    def reopen(self) -> None:
        """Open what is at the path now, for every thread from its next use on."""
        self.let_go()
        with self._opening:
            self._open_anew()

    def _open_anew(self) -> None:
        with self._lock:
            # Other threads may be in the middle of something: their connections are closed when they have ended.
            self._local = threading.local()
        self._begin()

    def _follow(self) -> None:
        """Go over to the file that another program has put at the path, for what only reads as well: a till must not
        show the prices of a catalogue that was moved aside for ever."""
        with self._opening:
            if self.was_replaced():  # another thread may have done it meanwhile
                self._open_anew()

    def _is_elsewhere(self) -> bool:
        """As :meth:`was_replaced`; a file that is just missing is waited for."""
        try:
            return self._file_identity() != self._identity
        except OSError:  # the read itself will tell
            return False

    def let_go(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            return
        with self._lock:
            self._connections = [pair for pair in self._connections if pair[1] is not connection]
        connection.close()
        self._local.connection = None

    def _write_leftover_wal_again(self) -> None:
        """Have a WAL that a crash left behind on disk for sure, before SQLite builds on it (G1).

        After a sync that failed, the system may take for written what it still shows us and never writes. SQLite would
        take such commits out of the WAL and append to them; a power cut then ends the WAL before what was appended.
        """
        wal = self.path.with_name(self.path.name + "-wal")
        if not wal.exists() or wal.stat().st_size == 0:
            return
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" in str(error) or "busy" in str(error):
                    return  # another program has it open: its WAL is no leftover
                raise
            for tries_left in reversed(range(_REWRITE_TRIES)):
                try:
                    _write_again(wal)
                    break
                except OSError:
                    if not tries_left:
                        raise
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def _choose_mode(self) -> str:
        """WAL on a safe engine; TRUNCATE elsewhere. The mode belongs to the file and is never turned back silently."""
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            is_new = connection.execute("PRAGMA page_count").fetchone()[0] == 0
            present = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            if is_new and wal_is_safe():
                return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            if present != "wal":
                return "truncate"
            if wal_is_safe():
                return "wal"
            try:
                present = str(connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()[0])
            except sqlite3.OperationalError:
                present = "wal"
            if present == "wal":
                raise StoreBroken(
                    f"{self.path.name} is in use by a program with a newer SQLite",
                    hint="Stop the other program once, so that the file can be made safe for this one, or install "
                    "the package pysqlite3 here.",
                )
            return "truncate"
        finally:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        # Autocommit: transactions are begun explicitly, and immediate. Closed from another thread at shutdown.
        connection = sqlite3.connect(
            self.path,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        if sys.platform == "darwin":  # fsync alone leaves a Mac's drive free to lose the write (G1)
            connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{self._cache_kib}")
        connection.execute("PRAGMA cache_spill = OFF")
        if self.mode == "wal":
            connection.execute(f"PRAGMA wal_autocheckpoint = {self._autocheckpoint}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        else:
            connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
        return connection

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection to the file that is at the path now, unless it is in the middle of a transaction."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and (connection.in_transaction or not self._is_elsewhere()):
            return connection
        while True:
            if self.was_replaced():
                self._follow()
            connection = self._own()
            if not self._is_elsewhere():
                return connection
            self.let_go()  # put there just now: perhaps it has no tables yet

    def _own(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
            with self._lock:
                self._forget_dead_threads()
                self._connections.append((threading.current_thread(), connection))
        return connection

    def _forget_dead_threads(self) -> None:
        for owner, connection in self._connections:
            if not owner.is_alive():
                connection.close()
        self._connections = [pair for pair in self._connections if pair[0].is_alive()]

    @contextmanager
    def immediate(self) -> Iterator[sqlite3.Connection]:
        """One write transaction. It takes the write lock at once, so that it can't fail half-way as "locked".

        Raises:
            StoreBroken: the file can't be written. Nothing of the transaction is kept, unless the very commit failed:
                then it may be (an error is no proof of "not stored").
        """
        try:
            connection = self.begin()
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            raise
        except FAULTS as error:
            raise broken(error, self.path) from error

    def checkpoint(self) -> None:
        """Move the WAL's pages into the file now, without waiting for anyone; a no-op in TRUNCATE mode."""
        if self.mode == "wal":
            try:
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                raise broken(error, self.path) from error

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            for _, connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()
