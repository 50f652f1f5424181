"""Keeps head office's stream of hints open, in a thread of its own. A hint is all it gives: polling goes on (G10)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from edge_agent.clock import Clock
from edge_agent.domain.backoff import delay_s
from edge_agent.errors import EdgeAgentError, NotSignedIn, Refused, Unreachable

if TYPE_CHECKING:
    from edge_agent.head_office.events import EventStream

State = Literal["connected", "reconnecting", "off"]
RECONNECT_MIN_S = 1.0
SPREAD_S = 1.0  # within which the devices of a chain follow a hint
STEADY_S = 60.0  # a stream that ends sooner counts as one that failed
FAILURES_AT_CAP = 7  # in a row; from then on the waits no longer grow
_NOT_OFFERED = ("route", "not_contract", "redirect", "forbidden")
_log = logging.getLogger("edge_agent")


def reconnect_s(failures: int, dice: float, *, retry_after_s: float | None = None) -> float:
    """Seconds until the next attempt: one, and full jitter over 8 s … 5 min, so that a chain whose head office
    restarts does not come back in one second.

    Args:
        failures: streams in a row that did not last, 1 after the first.
        dice: a random number in [0, 1).
        retry_after_s: what head office asked for; never undercut.
    """
    return RECONNECT_MIN_S + delay_s(failures + 1, dice, retry_after_s=retry_after_s)


class Listener:
    """The thread that listens. It begins with the first :meth:`look` that allows it.

    Args:
        connect: makes a stream, to be opened; None where there can be none.
        hint: called for each hint, and once whenever a stream begins: something may have been missed.
        clock: the clock and the dice.
    """

    def __init__(self, connect: Callable[[], EventStream | None], hint: Callable[[], None], clock: Clock) -> None:
        self._connect = connect
        self._hint = hint
        self._clock = clock
        self._changed = threading.Condition()
        self._offered = False
        self._answers = False
        self._signed_out = False
        self._stopping = False
        self._failures = 0
        self._told = False
        self._not_before_s = self._asked_until_s = float("-inf")
        self._stream: EventStream | None = None
        self._thread: threading.Thread | None = None
        self.state: State = "off"

    def look(self, *, offered: bool, answers: bool, in_touch: bool) -> None:
        """What the last cycle found.

        Args:
            offered: head office announces a stream, and it is this process's turn to listen.
            answers: head office can be asked for downloads; a dead or busy one is left alone until a cycle may ask it.
            in_touch: a signed-in request went well in that cycle.
        """
        with self._changed:
            if answers and not self._answers:  # it is back: the cycles came back one device after another, and so do we
                self._failures, self._not_before_s = 0, self._asked_until_s
            self._offered, self._answers = offered, answers
            if in_touch:
                self._signed_out = False
            if not offered and self._stream is not None:
                self._stream.end()
            if offered and self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="edge-agent-events", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def end(self) -> None:
        """Ask the thread to end, whatever it waits for."""
        with self._changed:
            self._stopping = True
            if self._stream is not None:
                self._stream.end()
            self._changed.notify_all()

    def join(self, deadline_s: float) -> bool:
        """Wait for the thread's end; whether it came within ``deadline_s`` seconds."""
        if self._thread is None:
            return True
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    # ---- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_turn():
            began_s = self._clock.monotonic_s()
            try:
                stream = self._connect()
                if stream is None:
                    break
                error = self._listen(stream)
            except EdgeAgentError as why:
                error = why
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not end listening in silence (G11)
                _log.error("listening for head office's hints failed", exc_info=fault)
                error = EdgeAgentError(repr(fault))
            if self._stopping or not self._offered:
                self.state = "off"
            else:
                self._failed(error, lasted_s=self._clock.monotonic_s() - began_s)
        self.state = "off"

    def _wait_for_turn(self) -> bool:
        """Wait until a stream may be asked for; False at the end."""
        with self._changed:
            while not self._stopping:
                wait_s = self._not_before_s - self._clock.monotonic_s()
                may = self._offered and self._answers and not self._signed_out
                if may and wait_s <= 0:
                    return True
                if not self._offered:
                    self.state = "off"
                self._changed.wait(wait_s if may else None)
        return False

    def _listen(self, stream: EventStream) -> EdgeAgentError:
        """Open a stream and pass its hints on, until it ends; why it did."""
        with self._changed:
            self._stream = None if self._stopping or not self._offered else stream
        try:
            if self._stream is not None:
                stream.open()
                self.state = "connected"
                self._hint()
                for _ in stream.hints():
                    self._spread()
                    self._hint()
        finally:
            with self._changed:
                self._stream = None
            stream.close()
        return Unreachable("head office ended the stream of hints")

    def _spread(self) -> None:
        """All devices of a chain hear of a change in the same moment: they ask one after another."""
        with self._changed:
            if not self._stopping:
                self._changed.wait_for(lambda: self._stopping, self._clock.dice() * SPREAD_S)

    def _failed(self, error: EdgeAgentError, *, lasted_s: float) -> None:
        if self.state == "connected" and lasted_s >= STEADY_S:
            self._failures, self._told = 0, False
        self._failures += 1
        not_offered = isinstance(error, Refused) or getattr(error, "reason", "") in _NOT_OFFERED
        if not_offered:
            self._failures = max(self._failures, FAILURES_AT_CAP)
        self.state = "off" if not_offered else "reconnecting"
        self._signed_out = isinstance(error, NotSignedIn)  # the next regular cycle signs in; this thread never does
        retry_after_s = error.retry_after_s if isinstance(error, Unreachable) else None
        wait_s = reconnect_s(self._failures, self._clock.dice(), retry_after_s=retry_after_s)
        with self._changed:
            self._not_before_s = self._clock.monotonic_s() + wait_s
            if retry_after_s is not None:
                self._asked_until_s = self._not_before_s
        if self._failures > 1 and not self._told:  # once an outage; one cut that heals by itself is no news
            self._told = True
            _log.warning("no hints from head office (%s); polling goes on", error.message)
