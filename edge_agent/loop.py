"""The timed loop of a POS that syncs in its own process: woken by a recorded sale, one syncer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.errors import AlreadyRunning

PAUSE_AFTER_FAULT_S = 30.0
PUSH_DELAY_S = 0.2  # gathers the sales of one busy moment into one batch


class SyncLoop:
    """Runs cycles in a background thread.

    Args:
        cycle: runs one cycle; ``push_only`` leaves the downloads out. Returns whether head office wants pulls at all.
        next_due_s: seconds until something is due by itself.
        on_error: told why a cycle could not run at all.
    """

    def __init__(
        self,
        cycle: Callable[[bool], None],
        next_due_s: Callable[[], float],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._cycle = cycle
        self._next_due_s = next_due_s
        self._on_error = on_error
        self._wake = threading.Event()
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-agent-sync", daemon=True)

    def start(self) -> None:
        """Start the thread; its first cycle runs at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something was recorded: push soon."""
        self._wake.set()

    def stop(self, deadline_s: float) -> bool:
        """Ask the thread to end and wait for it.

        Args:
            deadline_s: how long to wait, seconds.

        Returns:
            Whether it ended in time. A sale is safe either way (G1); what was on the wire is offered again.
        """
        self.stopping.set()
        self._wake.set()
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
            try:
                self._cycle(push_only)
            except AlreadyRunning:
                pass  # the other syncer does this device's work; ask again when the next cycle is due
            except Exception as error:  # noqa: BLE001 - whatever it is, the next cycle may go well: never end in silence
                self._on_error(error)
            push_only = self._wake.wait(self._pause_s())
            self._wake.clear()
            if push_only:
                self.stopping.wait(PUSH_DELAY_S)
                self._wake.clear()
