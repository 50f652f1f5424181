"""Rings when a commit moved the version, for whoever waits in an event loop; they ask the database nothing."""

import asyncio
import contextlib
import threading
from collections.abc import Collection, Iterator

from ho_stub.database import Database


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
        self._wake_all()

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set whenever the bell rings."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._listeners.setdefault(loop, set()).add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._listeners[loop].discard(event)
                if not self._listeners[loop]:
                    del self._listeners[loop]

    def _committed(self, moved: Collection[str]) -> None:
        if "change" in moved and self._listeners:
            self.ring()

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
