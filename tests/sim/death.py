"""A till's process that dies between any two steps: at its n-th write or its n-th request, before it or after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from edge_agent.storage import database
from edge_agent.storage.engine import sqlite3

Step = Literal["write", "request"]
_READS = ("SELECT", "PRAGMA", "WITH", "EXPLAIN")
_REAL_CONNECT = sqlite3.connect


class Crash(BaseException):
    """The process is gone. No ``except Exception`` sees it, and no clean-up of it works (see :class:`Fuse`)."""


class Fuse:
    """Counts the steps of one process and ends it at the chosen one; from then on every step of it fails."""

    def __init__(self) -> None:
        self.dead = False
        self.connections: list[sqlite3.Connection] = []
        self._step: Step | None = None
        self._left = 0
        self._after = False
        self._resting = False
        self._thread = threading.current_thread()

    @property
    def lit(self) -> bool:
        """Whether it burns."""
        return self._step is not None

    def light(self, step: Step, number: int, *, after: bool) -> None:
        """Die at the ``number``-th step of a kind from now on, just before it or just after it."""
        self._step, self._left, self._after = step, number, after

    def put_out(self) -> None:
        """Live on."""
        self._step = None

    @contextmanager
    def resting(self) -> Iterator[None]:
        """What the simulator itself looks at is no step of the process."""
        self._resting = True
        try:
            yield
        finally:
            self._resting = False

    @contextmanager
    def around(self, step: Step) -> Iterator[None]:
        """One step."""
        if self.dead:
            raise Crash
        # What other threads of the till write is maintenance in idle moments; counting it would be no repeatable count.
        counts = step == self._step and not self._resting and (step == "request" or self._is_own_thread())
        if counts:
            self._left -= 1
            if self._left <= 0 and not self._after:
                self.burn()
        yield
        if counts and self._left <= 0:
            self.burn()

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def burn(self) -> None:
        """Die now."""
        self.dead = True
        raise Crash

    def bury(self) -> None:
        """What the operating system does for a killed process: its files are closed, open transactions are undone."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()


class MortalConnection(sqlite3.Connection):
    """A connection whose writes are steps of a process."""

    fuse: Fuse

    def execute(self, sql: str, *values: Any) -> Any:
        """Reads are no steps: to die before one is to die after the write before it."""
        if sql.startswith(_READS):
            if self.fuse.dead:
                raise Crash
            # Power cuts are proved elsewhere; here a commit need not reach a disk.
            return super().execute("PRAGMA synchronous = OFF" if sql.startswith("PRAGMA synchronous") else sql, *values)
        with self.fuse.around("write"):
            return super().execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> Any:
        """Always a write."""
        with self.fuse.around("write"):
            return super().executemany(sql, *values)


class Engine:
    """Stands where ``storage/database.py`` has its SQLite module: homes under observation get mortal connections."""

    def __init__(self) -> None:
        self.fuses: dict[Path, Fuse] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, path: Path | str, **options: Any) -> sqlite3.Connection:
        """Connect as SQLite does; mortally, when a fuse belongs to the folder."""
        fuse = self.fuses.get(Path(path).parent)
        if fuse is None:
            return _REAL_CONNECT(path, **options)
        if fuse.dead:
            raise Crash
        connection: MortalConnection = _REAL_CONNECT(path, factory=MortalConnection, **options)
        connection.fuse = fuse
        fuse.connections.append(connection)
        return connection


@contextmanager
def observed() -> Iterator[Engine]:
    """While it lasts, the agent's databases are opened through an engine that can kill."""
    engine = Engine()
    database.sqlite3 = engine  # type: ignore[assignment]
    try:
        yield engine
    finally:
        database.sqlite3 = sqlite3


def plain_connection(path: Path) -> sqlite3.Connection:
    """A connection for looking from outside, which no process dies of."""
    return _REAL_CONNECT(path, isolation_level=None)
