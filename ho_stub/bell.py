"""Rings when a commit moved the version, for whoever waits in an event loop; they ask the database nothing."""

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator

from ho_stub.database import Database, DatabaseError

LOOK_EVERY_S = 1.0


class Bell:
    """Wakes the streams of hints. Safe to use from any thread.

    Args:
        db: whose commits it hears of.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.AbstractEventLoop, set[asyncio.Event]] = {}
        self._on_its_way: set[asyncio.AbstractEventLoop] = set()
        self.version = 0
        self.closed = False
        self._watching = False
        self._seen: int | None = None  # the version at the last look
        self._ended = threading.Event()
        db.on_commit = self._committed

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        with self._lock:
            return sum(map(len, self._listeners.values()))

    def ring(self) -> None:
        """The version moved: tell every stream."""
        self.version = self._db.current("change")
        self._wake_all()

    def close(self) -> None:
        """The server ends: so do all streams."""
        self.closed = True
        self._ended.set()
        self._wake_all()

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set whenever the bell rings."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._listeners.setdefault(loop, set()).add(event)
            if self._db.shared and not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="bell", daemon=True).start()
        try:
            yield event
        finally:
            with self._lock:
                self._listeners[loop].discard(event)
                if not self._listeners[loop]:
                    del self._listeners[loop]

    def _committed(self, moved: Collection[str]) -> None:
        if "change" in moved and self._listeners:
            with contextlib.suppress(DatabaseError):  # what was committed stays so, whoever hears of it
                self.ring()

    def _watch(self) -> None:
        """Hear what other workers commit, for as long as there are streams."""
        self._seen = None
        while not self._ended.wait(LOOK_EVERY_S if self._seen is not None else 0):
            with self._lock:
                if not self._listeners:
                    self._watching = False
                    return
            with contextlib.suppress(DatabaseError):  # the next look may find it
                now = self._db.current("change")
                if self._seen is not None and now not in (self._seen, self.version):
                    self.version = now
                    self._wake_all()
                self._seen = now

    def _wake_all(self) -> None:
        with self._lock:
            for loop in self._listeners:
                if loop not in self._on_its_way:
                    with contextlib.suppress(RuntimeError):  # this loop has ended
                        loop.call_soon_threadsafe(self._wake, loop)
                        self._on_its_way.add(loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._on_its_way.discard(loop)
            for event in self._listeners.get(loop, ()):
                event.set()
