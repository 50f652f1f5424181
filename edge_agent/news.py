"""Telling listeners what syncing did, in a thread of its own: never on the selling thread."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

CLOSE_DEADLINE_S = 2.0
_log = logging.getLogger("edge_agent")


@dataclass(frozen=True, slots=True)
class Event:
    """Something a listener may want to hear of, such as ``sale created`` or ``catalogue changed``."""

    name: str
    details: Mapping[str, str]


class News:
    """Listeners, and the thread that tells them."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._teller: threading.Thread | None = None

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Add a listener; returns a function that takes it away again."""
        self._listeners.append(listener)
        if self._teller is None:
            self._teller = threading.Thread(target=self._run, name="edge-agent-news", daemon=True)
            self._teller.start()
        return lambda: self._listeners.remove(listener)

    def tell(self, name: str, details: Mapping[str, str]) -> None:
        """Pass an event on; costs nothing while nobody listens."""
        if self._listeners:
            self._events.put(Event(name, details))

    def close(self) -> None:
        """Tell what is still to be told, and stop."""
        teller, self._teller = self._teller, None
        if teller is not None:
            self._events.put(None)
            if teller is not threading.current_thread():
                # A listener that waits for the thread that closes, as those of a till's screen may, must not keep it.
                teller.join(CLOSE_DEADLINE_S)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - a listener's fault must not end the others' news
                    _log.exception("a listener failed on %s", event.name)
