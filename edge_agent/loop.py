"""The timed loop of a POS that syncs in its own process: woken by a recorded sale or by head office's hint."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from edge_agent.domain.pace import Pace
from edge_agent.errors import AlreadyRunning

PAUSE_AFTER_FAULT_S = 30.0
PUSH_DELAY_S = 0.2  # gathers the sales of one busy moment into one batch
_log = logging.getLogger("edge_agent")


class SyncLoop:
    """Runs cycles in a background thread.

    Args:
        cycle: runs one cycle, told whether it is a push alone, and whether somebody asked for it.
        next_due_s: seconds until something is due by itself.
        on_error: told why a cycle could not run at all.
        monotonic_s: seconds that never jump.
    """

    def __init__(
        self,
        cycle: Callable[[bool, bool], None],
        next_due_s: Callable[[], float],
        on_error: Callable[[Exception], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cycle = cycle
        self._next_due_s = next_due_s
        self._on_error = on_error
        self._monotonic_s = monotonic_s
        self._wake = threading.Event()
        self._recorded = False
        self._hinted = False
        self._asked = False
        self._pace = Pace()
        self._too_many_told = False
        self.busy_since_s: float | None = None  # since when the present cycle runs, monotonic; None between cycles
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-agent-sync", daemon=True)

    def start(self) -> None:
        """Start the thread; its first cycle runs at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something was recorded: push soon."""
        self._recorded = True
        self._wake.set()

    def hint(self) -> None:
        """Head office has something new: a whole cycle at once, or as soon as the pace allows the next one."""
        self._hinted = True
        self._wake.set()

    def ask(self) -> None:
        """Somebody asks for a sync: a whole cycle at once, whatever the backoff says."""
        self._asked = True
        self._wake.set()

    def is_alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Ask the thread to end, without waiting for it."""
        self.stopping.set()
        self._wake.set()

    def stop(self, deadline_s: float) -> bool:
        """Ask the thread to end and wait for it.

        Args:
            deadline_s: how long to wait, seconds.

        Returns:
            Whether it ended in time. A sale is safe either way (G1); what was on the wire is offered again.
        """
        self.ask_to_stop()
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _pause_s(self) -> float:
        try:
            return self._next_due_s()
        except Exception as error:  # noqa: BLE001 - a store that can't be read now may be readable in a while
            self._on_error(error)
            return PAUSE_AFTER_FAULT_S

    def _run(self) -> None:
        push_only = False
        while not self.stopping.is_set():
            asked, self._asked = self._asked, False
            push_only = push_only and not asked
            if hinted := self._hinted and not push_only:
                self._hinted = False  # one that comes from now on asks for another cycle
            self.busy_since_s = self._monotonic_s()
            try:
                self._cycle(push_only, asked)
            except AlreadyRunning:  # the other syncer does this device's work, but it may have asked before the hint
                if hinted:
                    self._hinted = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the next cycle may go well: never end in silence
                self._on_error(error)
            self.busy_since_s = None
            push_only = self._wait()

    def _wait(self) -> bool:
        """Wait until something is due; whether that is a push alone."""
        end_s = self._monotonic_s() + self._pause_s()
        while not self.stopping.is_set():
            now_s = self._monotonic_s()
            hint_s = now_s + self._pace.wait_s(now_s) if self._hinted else end_s
            if self._hinted and hint_s <= now_s:
                self._note_hint(now_s)
                return False
            if self._asked or end_s <= now_s:
                return False
            if self._recorded:
                self.stopping.wait(PUSH_DELAY_S)
                self._recorded = False
                return True
            self._wake.wait(min(hint_s, end_s) - now_s)
            self._wake.clear()
        return True

    def _note_hint(self, now_s: float) -> None:
        if self._pace.took(now_s) and not self._too_many_told:
            self._too_many_told = True
            _log.warning("head office tells of changes without end: it is asked every few seconds, not for each")
