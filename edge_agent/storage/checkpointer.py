"""Moves the journal's WAL into its file in idle moments, so that no sale pays for it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from edge_agent.errors import StoreBroken
from edge_agent.storage.database import Database

IDLE_S = 0.05
IDLE_LONG_S = 2.0
WRITES_WORTH_A_CHECKPOINT = 16
CLOSE_DEADLINE_S = 0.5
_log = logging.getLogger("edge_agent")


class Checkpointer:
    """A thread that works when writing pauses: first what else was left for idle moments, then the checkpoint.

    Args:
        database: whose WAL.
        tidy: what else is to do; asks the function it is given, after each short transaction, whether to go on.
    """

    def __init__(self, database: Database, tidy: Callable[[Callable[[], bool]], None] = lambda _go_on: None) -> None:
        self._database = database
        self._tidy = tidy
        self._writes = 0
        self._done = 0
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def note_write(self) -> None:
        """Tell that something was written. Costs next to nothing."""
        self._writes += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="edge-agent-checkpoints", daemon=True)
            self._thread.start()
        if not self._written.is_set():
            self._written.set()

    def close(self) -> None:
        """Stop the thread; closing the last connection checkpoints what is left."""
        self._stopping.set()
        self._written.set()
        if self._thread is not None:
            self._thread.join()
            end = time.monotonic() + CLOSE_DEADLINE_S
            self._soundly(lambda: self._tidy(lambda: time.monotonic() < end))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._written.wait()
            if not self._writing_paused():
                return
            self._written.clear()  # a write from here on asks for the next round
            seen = self._writes
            self._soundly(self._work)
            self._done = seen

    def _work(self) -> None:
        self._tidy(self._is_idle)
        self._database.checkpoint()

    def _soundly(self, work: Callable[[], None]) -> None:
        """What can't be done now is done later; the sale itself is already durable."""
        try:
            with contextlib.suppress(StoreBroken):
                work()
        except Exception as fault:  # noqa: BLE001 - of damage or of ours: it must end no checkpoints in silence (G11)
            _log.error("what was left for an idle moment failed", exc_info=fault)

    def _is_idle(self) -> bool:
        return not self._written.is_set()

    def _writing_paused(self) -> bool:
        """Wait for a pause: a short one after many writes, a long one after few. False when it is time to stop."""
        idle_s, seen = 0.0, self._writes
        while idle_s < (IDLE_S if seen - self._done >= WRITES_WORTH_A_CHECKPOINT else IDLE_LONG_S):
            if self._stopping.wait(IDLE_S):
                return False
            idle_s = idle_s + IDLE_S if seen == self._writes else 0.0
            seen = self._writes
        return True
