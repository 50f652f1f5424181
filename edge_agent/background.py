"""Syncing in the background: the loop, the stream of hints, and the watch for other programs' sales, as one thing that
starts and stops."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from edge_agent.clock import Clock
from edge_agent.errors import AlreadyRunning, EdgeAgentError, StoreBroken
from edge_agent.news import News
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.journal import Journal
from edge_agent.storage.outbox import LANES, Outbox
from edge_agent.syncer import LOCK_NAME, LOOP_LOCK_NAME, Syncer

if TYPE_CHECKING:
    from edge_agent.head_office.events import EventStream
    from edge_agent.listener import Listener, State
    from edge_agent.loop import SyncLoop
    from edge_agent.sync.report import CycleReport
    from edge_agent.watch import JournalWatch

LOOP_PAUSE_MIN_S = 0.5
POLL_SPREAD = 0.1  # of the time between polls; devices switched on together drift apart
KEPT_OUT_MAX_S = 900.0  # no other program's cycle takes so long, unless it hangs
_log = logging.getLogger("edge_agent")


class Background:
    """Cycles in a thread, for a POS that calls ``start()`` and for the daemon alike.

    Args:
        syncer: runs a cycle.
        settings: the device's settings.
        clock: the clock and the dice.
        journal: what goes up.
        store: what comes down.
        news: who is told what happened.
    """

    def __init__(
        self, syncer: Syncer, settings: Settings, clock: Clock, journal: Journal, store: CatalogStore, news: News
    ) -> None:
        self._syncer = syncer
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._outbox = Outbox(journal)
        self._circuit = Circuit(journal)
        self._store = store
        self._news = news
        self._loop: SyncLoop | None = None
        self._lingers: SyncLoop | None = None  # one that was stopped, and is still in the middle of a request
        self._listener: Listener | None = None
        self._watch: JournalWatch | None = None
        self._next_full_s = 0.0
        self._said: set[str] = set()
        self._kept_out_since_s: float | None = None
        self._running = contextlib.ExitStack()  # holds the loop's lock
        self._claiming = threading.Lock()
        self._is_ours = False  # whether it does

    @property
    def runs(self) -> bool:
        """Whether it was started, and not stopped."""
        return self._loop is not None

    def start(self) -> None:
        """Begin; nothing when it runs already."""
        from edge_agent.listener import Listener
        from edge_agent.loop import SyncLoop
        from edge_agent.watch import JournalWatch

        if self._loop is not None:
            return
        self._next_full_s = 0.0
        loop = SyncLoop(self._cycle, self._next_due_s, self._failed, self._clock.monotonic_s)
        self._loop, self._listener = loop, Listener(self._connect_events, loop.hint, self._clock)
        self._watch = JournalWatch(self._journal.database.path, self._journal.newest, loop.wake)
        self._claim()
        loop.start()
        self._watch.start()

    def _claim(self) -> None:
        """Hold the loop's lock from now on, if no other process does: its loop shows in status as well, and listens."""
        with self._claiming, contextlib.suppress(AlreadyRunning):
            if self._loop is not None and not self._is_ours:
                self._running.enter_context(self._syncer.file_lock(LOOP_LOCK_NAME, 0))
                self._is_ours = True

    def stop(self, deadline_s: float) -> bool:
        """End everything; whether it ended within ``deadline_s`` seconds."""
        with self._claiming:
            loop, self._loop = self._loop, None
            self._running.close()
            self._is_ours = False
        listener, self._listener = self._listener, None
        watch, self._watch = self._watch, None
        end_s = time.monotonic() + deadline_s
        if listener is not None:
            listener.end()
        if watch is not None:
            watch.stop()
        loop = loop or self._lingers
        ended = loop is None or loop.stop(deadline_s)
        self._lingers = None if ended else loop
        if ended:
            self._syncer.hang_up()
        return (listener is None or listener.join(max(0.0, end_s - time.monotonic()))) and ended

    def wake(self) -> None:
        """Something was recorded here: push soon, if this runs."""
        if self._loop is not None:
            self._loop.wake()

    def ask(self) -> bool:
        """Somebody asks for a sync: one that waits for no backoff. Whether this runs, and so will do it."""
        loop = self._loop
        if loop is not None:
            loop.ask()
        return loop is not None

    def events_state(self) -> State:
        """How this process's stream of hints is: ``connected``, ``reconnecting``, or ``off``."""
        return "off" if self._listener is None else self._listener.state

    def busy_since_s(self) -> float | None:
        """Since when the present cycle runs, in monotonic seconds; None between cycles, and while this does not run."""
        return None if self._loop is None else self._loop.busy_since_s

    def is_alive(self) -> bool:
        """Whether the loop's thread lives, as it should from :meth:`start` to :meth:`stop`."""
        return self._loop is not None and self._loop.is_alive()

    def revive(self) -> None:
        """Start anew when the loop's thread has ended by itself; nothing otherwise."""
        if self._loop is not None and not self._loop.is_alive():
            self.stop(0)
            self.start()

    # ---- in the loop's thread --------------------------------------------------------------------------------

    def _cycle(self, push_only: bool, asked: bool) -> None:
        moment = self._clock.monotonic_s()
        push_only = push_only and not asked and moment < self._next_full_s
        if not push_only:
            spread = 1 - POLL_SPREAD * self._clock.dice()
            self._next_full_s = moment + self._settings.poll_interval_s * spread
        loop = self._loop
        if asked:
            self._news.tell("sync began", {})
        try:
            report = self._syncer.run(
                asked=asked,
                push_only=push_only,
                stopping=None if loop is None else loop.stopping,
                progress=self._tell_progress if asked else None,
            )
        except AlreadyRunning as other:
            self._note_kept_out(moment)
            if asked:  # who asked must not wait for an end that never comes
                self._news.tell("sync failed", {"code": other.code, "message": other.message})
            raise
        self._kept_out_since_s = None
        if asked:
            self._tell_end(report)
        with contextlib.suppress(StoreBroken):  # the next cycle finds out, and sees to it
            self._log_errors(report)
            self._look_for_events(in_touch=report.in_touch)

    def _log_errors(self, report: CycleReport) -> None:
        """An outage is one line in the log, not one a minute, whichever step of whichever kind of cycle meets it."""
        for error in report.errors:
            if error.message not in self._said:
                self._said.add(error.message)
                _log.warning("%s: %s", error.step, error.message)
        # What waits for its next try says nothing meanwhile, and a cycle that only pushes does not ask for everything.
        is_over = report.in_touch and not report.errors
        if self._said and is_over and not any(self._outbox.lane(name).failures for name in (*LANES, "pull")):
            self._said.clear()
            _log.info("head office answers again as it should")

    def _note_kept_out(self, moment_s: float) -> None:
        """Another program syncs. One that hangs, or was suspended in the middle, would keep this one out in silence."""
        if self._kept_out_since_s is None:
            self._kept_out_since_s = moment_s
        elif moment_s - self._kept_out_since_s >= KEPT_OUT_MAX_S:
            self._kept_out_since_s = moment_s
            _log.error(
                "another program holds %s for %d minutes, and nothing goes up through this one: end it, if it hangs",
                LOCK_NAME,
                KEPT_OUT_MAX_S // 60,
            )

    def _tell_progress(self, step: str, done: int, total: int | None) -> None:
        self._news.tell(
            "sync progress", {"step": step, "done": str(done), "total": "" if total is None else str(total)}
        )

    def _tell_end(self, report: CycleReport) -> None:
        worst = next(iter(report.errors), None)
        details = {"errors": str(len(report.errors))}
        self._news.tell("sync ended", details | ({"code": worst.code, "message": worst.message} if worst else {}))

    def _look_for_events(self, *, in_touch: bool) -> None:
        """Have the listener know what this cycle learned: one process a home listens, where head office offers it."""
        from edge_agent.head_office import wire

        listener = self._listener
        if listener is None:
            return
        self._claim()
        circuit, now = self._circuit.state(), self._clock.now_ms()
        offered = wire.EVENTS in msgspec.json.decode(self._store.all_meta().get("capabilities", "[]"), type=list[str])
        listener.look(
            offered=offered and self._is_ours,
            answers=not (circuit.failures or circuit.waits(now) or self._outbox.lane("pull").waits(now)),
            in_touch=in_touch,
        )

    def _connect_events(self) -> EventStream | None:
        return self._syncer.connect(None).events()

    def _next_due_s(self) -> float:
        """Seconds until the next full cycle, or until a lane that waits may ask again."""
        now = self._clock.now_ms()
        circuit = self._circuit.state()
        rests_until = circuit.next_attempt_ms or circuit.resume_ms
        if rests_until is not None and circuit.waits(now):
            due = [(rests_until - now) / 1000]  # nothing is asked before that
        else:
            waits = [self._outbox.lane(name).next_attempt_ms for name in (*LANES, "pull")]
            due = [self._next_full_s - self._clock.monotonic_s()]
            due += [(until - now) / 1000 for until in waits if until is not None]
        return min(max(min(due), LOOP_PAUSE_MIN_S), float(self._settings.poll_interval_s))

    def _failed(self, error: Exception) -> None:
        if isinstance(error, EdgeAgentError):
            code, message = error.code, error.message
            _log.error("this device can't sync: %s (%s)", message, error.hint)
        else:  # a fault of ours must not end syncing in silence (G11)
            code, message = "ERROR", repr(error)
            _log.error("this device can't sync: %s", message, exc_info=error)
        self._news.tell("sync failed", {"code": code, "message": message})
