"""Notices what other programs record in the journal: two looks at file times a second, and a read when one moved."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import StoreBroken

LOOK_EVERY_S = 0.5
QUIET_S = 60.0  # after so long without a change
LOOK_QUIET_S = 2.0  # a look each so many seconds does: a wake-up costs a busy till half a millisecond
_log = logging.getLogger("edge_agent")
_Signature = tuple[tuple[int, int] | None, ...]


class JournalWatch:
    """A thread that tells when something was recorded, by whichever program.

    A change of the file alone tells nothing: settling, a checkpoint and housekeeping change it as well. Where file
    times are too coarse to show a sale, the next poll sends it.

    Args:
        path: ``journal.db``.
        newest: gives a mark that is another one after each recorded entry.
        tell: called when it has changed.
    """

    def __init__(self, path: Path, newest: Callable[[], object], tell: Callable[[], None]) -> None:
        self._paths = (str(path), f"{path}-wal")
        self._newest = newest
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-agent-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End at the next look; nothing waits for it."""
        self._stopping.set()

    def _signature(self) -> _Signature:
        return tuple(_times(path) for path in self._paths)

    def _run(self) -> None:
        signature, newest = self._signature(), self._look(None)
        moved_s = time.monotonic()
        while not self._stopping.wait(LOOK_EVERY_S if time.monotonic() - moved_s < QUIET_S else LOOK_QUIET_S):
            before, signature = signature, self._signature()
            if signature == before:
                continue
            moved_s = time.monotonic()
            last, newest = newest, self._look(newest)
            if newest != last:
                self._tell()

    def _look(self, otherwise: object) -> object:
        try:
            return self._newest()
        except StoreBroken:  # a cycle meets the same trouble, and tells of it
            return otherwise
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not end the watch in silence (G11)
            _log.error("looking for other programs' sales failed", exc_info=fault)
            return otherwise


def _times(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - twice a second for months: a third of the time of Path.stat
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
