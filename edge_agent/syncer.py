"""Runs cycles for a device: one syncer at a time by a lock, once when asked or in a background loop."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_agent.clock import Clock
from edge_agent.errors import AlreadyRunning, EdgeAgentError, StoreBroken, Unreachable
from edge_agent.news import News
from edge_agent.recovery import Recovery, moved_aside
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.database import GROUP_FILE, PRIVATE_FILE
from edge_agent.storage.journal import Journal
from edge_agent.storage.ledger import Ledger
from edge_agent.storage.outbox import LANES, Outbox

if TYPE_CHECKING:
    from edge_agent.domain.catalog import Dataset
    from edge_agent.head_office.client import HttpHeadOffice
    from edge_agent.head_office.events import EventStream
    from edge_agent.listener import Listener, State
    from edge_agent.loop import SyncLoop
    from edge_agent.sync.cycle import Cycle
    from edge_agent.sync.receipts import Compared
    from edge_agent.sync.report import CycleReport, Progress
    from edge_agent.sync.verify import Verified

LOCK_NAME = "sync.lock"  # held for a cycle
LOOP_LOCK_NAME = "loop.lock"  # held as long as a loop runs
CONTACT_NAME = "last-contact"
LOCK_PATIENCE_S = 0.5
LOOP_PAUSE_MIN_S = 0.5
MUCH_PULLED = 20_000  # rows
_log = logging.getLogger("edge_agent")


class Syncer:
    """Syncing of one home.

    Args:
        home: where the lock and the time of the last contact are kept.
        settings: the device's settings.
        clock: the clock and the dice.
        journal: what goes up.
        store: what comes down.
        connect: makes a client of head office; its waits end when the given event is set.
        begin_life: gives the journal a new identity, with a reason.
        news: who is told what happened.
        recovery: what to do when a database turns out damaged.
        nightly: does the night's work when it is due.
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        store: CatalogStore,
        connect: Callable[[threading.Event | None], HttpHeadOffice],
        begin_life: Callable[[str], None],
        news: News,
        recovery: Recovery,
        nightly: Callable[[], None],
    ) -> None:
        self._home = home
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._outbox = Outbox(journal)
        self._ledger = Ledger(journal)
        self._circuit = Circuit(journal)
        self._store = store
        self._connect = connect
        self._begin_life = begin_life
        self._news = news
        self._recovery = recovery
        self._nightly = nightly
        self._loop: SyncLoop | None = None
        self._listener: Listener | None = None
        self._next_full_s = 0.0
        self._online: bool | None = None
        self._said: list[str] = []
        self._running = contextlib.ExitStack()  # holds the loop's lock
        self._claiming = threading.Lock()
        self._is_ours = False  # whether it does
        self._kept: HttpHeadOffice | None = None  # the loop's connection, between its cycles

    # ---- one cycle -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _file_lock(self, name: str, patience_s: float) -> Iterator[None]:
        """A lock between processes; the operating system frees that of a killed one."""
        from filelock import FileLock, Timeout

        mode = GROUP_FILE if self._settings.group_access else PRIVATE_FILE
        lock = FileLock(self._home / name, timeout=patience_s, thread_local=False, mode=mode)
        try:
            lock.acquire()
        except Timeout:
            raise AlreadyRunning(
                "another program is syncing this device just now",
                hint="Nothing to do: it does the same work. Look again with edge-agent status.",
            ) from None
        except OSError as error:
            raise StoreBroken(
                f"{self._home / name} can't be locked: {error.strerror}",
                hint="Check that this user may write the folder; group_access shares a home with a group.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def run(
        self,
        *,
        asked: bool,
        full: bool = False,
        accept_sweep: bool = False,
        push_only: bool = False,
        progress: Progress | None = None,
        loop: SyncLoop | None = None,
    ) -> CycleReport:
        """Run one cycle; the arguments are those of :class:`~edge_agent.sync.cycle.Cycle`.

        Args:
            loop: the loop that asks; it keeps its connection from cycle to cycle, as long as nothing fails.

        Raises:
            AlreadyRunning: another process syncs this home.
            StoreBroken: the local store can't be used.
        """
        # A moment's patience: status takes the lock for an instant to see whether someone syncs.
        with self._file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            self._bring_back()
            head_office = self._kept or self._connect(loop.stopping if loop is not None else None)
            head_office.answered = False
            self._kept = None
            report = None

            def cycle() -> CycleReport:
                return self._cycle(
                    head_office,
                    asked=asked,
                    full=full,
                    accept_sweep=accept_sweep,
                    push_only=push_only,
                    progress=progress,
                )

            try:
                report = self._soundly(cycle)
            finally:
                if loop is not None and report is not None and not report.causes:
                    self._kept = head_office
                else:  # a fault may lie in the connection or in what we sign in with: begin anew
                    head_office.close()
            if (
                report.in_touch
                and not push_only
                and not any(not error.step.startswith("push") for error in report.errors)
            ):
                self._touch_contact()
            self._journal.keep_place(self._store.all_meta())
        self._tell_of_the_line(report, answered=head_office.answered)
        self._journal.database.checkpoint()
        # After a first load of many thousand rows the night's work waits for the next cycle.
        if not push_only and sum(pulled.upserts for pulled in report.pulled.values()) < MUCH_PULLED:
            self._nightly()
        return report

    def _cycle(
        self,
        head_office: HttpHeadOffice,
        *,
        asked: bool,
        full: bool,
        accept_sweep: bool,
        push_only: bool,
        progress: Progress | None,
    ) -> CycleReport:
        return self._a_cycle(
            head_office,
            asked=asked,
            full=full,
            accept_sweep=accept_sweep,
            push_only=push_only,
            progress=progress,
        ).run()

    def _a_cycle(
        self,
        head_office: HttpHeadOffice,
        *,
        asked: bool,
        full: bool = False,
        accept_sweep: bool = False,
        push_only: bool = False,
        progress: Progress | None = None,
    ) -> Cycle:
        from edge_agent.sync.cycle import Cycle
        from edge_agent.sync.report import no_progress

        life = self._journal.life()
        return Cycle(
            ho=head_office,
            outbox=self._outbox,
            store=self._store,
            clock=self._clock,
            settings=self._settings,
            ledger=self._ledger,
            circuit=self._circuit,
            begin_life=self._begin_life,
            journal_id=life.journal_id if life else "",
            progress=progress or no_progress,
            asked=asked,
            full=full,
            accept_sweep=accept_sweep,
            push_only=push_only,
            on_event=self._news.tell,
        )

    def verify_catalogue(self, datasets: Collection[Dataset], *, repair: bool, only: str | None) -> Verified:
        """Compare the catalogue with head office's now; the arguments are those of
        :meth:`~edge_agent.sync.cycle.Cycle.compare_catalogue`.

        Raises:
            EdgeAgentError: head office can't be asked, another process syncs, or the local store can't be used.
        """
        with self._file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            head_office = self._connect(None)
            try:
                return self._a_cycle(head_office, asked=True).compare_catalogue(datasets, repair=repair, only=only)
            finally:
                head_office.close()

    def verify(self, *, repair: bool, only: str | None) -> Compared | None:
        """Compare the ledger with head office's receipts now; None when this head office gives none.

        Args:
            repair: offer again what head office lacks; else only list it.
            only: this entry alone, by its id.

        Raises:
            EdgeAgentError: head office can't be asked, another process syncs, or the local store can't be used.
        """
        from edge_agent.head_office import wire
        from edge_agent.sync.receipts import CompareReceipts

        with self._file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            self._bring_back()
            head_office = self._connect(None)
            try:
                head_office.version(None)
                if wire.RECEIPTS not in head_office.capabilities:
                    return None
                return CompareReceipts(
                    ho=head_office,
                    ledger=self._ledger,
                    clock=self._clock,
                    begin_life=self._begin_life,
                    epoch=head_office.epoch,
                    on_event=self._news.tell,
                    repair=repair,
                    only=only,
                ).run()
            finally:
                head_office.close()

    def _bring_back(self) -> None:
        """What a damaged or rewound journal still holds comes back before anything is sent."""
        for words in self._recovery.bring_back():
            self._news.tell("sales came back", {"what": words})

    def _soundly(self, cycle: Callable[[], CycleReport]) -> CycleReport:
        """Run a cycle; when it finds a database damaged, a fresh one takes its place and the cycle runs again."""
        try:
            return cycle()
        except StoreBroken as error:
            if not error.is_damaged:
                raise
            if error.file == self._store.database.path.name:
                moved_aside(self._store.database, self._clock)
            elif self._recovery.replace_damaged_journal(error):
                self._bring_back()
            else:
                raise
        except (TypeError, ValueError, LookupError) as error:  # what damage can put into a column
            if not self._recovery.explains(error, self._settings.group_access):
                raise
            self._bring_back()
        return cycle()

    def _tell_of_the_line(self, report: CycleReport, *, answered: bool) -> None:
        down = any(isinstance(error, Unreachable) and error.line_is_down for error in report.causes)
        online = False if down else True if answered else self._online
        if online is not self._online:
            self._news.tell("came online" if online else "went offline", {})
        self._online = online

    def _touch_contact(self) -> None:
        """Remember when a cycle last succeeded, without a write to any database: an unchanged cycle writes none."""
        path = self._home / CONTACT_NAME
        moment = self._clock.now_ms() / 1000
        with contextlib.suppress(OSError, OverflowError):  # 32-bit systems end in 2038
            path.touch(mode=GROUP_FILE if self._settings.group_access else PRIVATE_FILE)
            os.utime(path, (moment, moment))

    def last_contact_ms(self) -> int | None:
        """When head office last answered a whole cycle of any process of this home, milliseconds since 1970."""
        try:
            return int((self._home / CONTACT_NAME).stat().st_mtime * 1000)
        except OSError:
            return None

    def someone_syncs(self) -> bool:
        """Whether some process, this one included, syncs this home now or in a loop."""
        if self._loop is not None:
            return True
        return self._is_held(LOOP_LOCK_NAME) or self._is_held(LOCK_NAME)

    def _is_held(self, name: str) -> bool:
        if not (self._home / name).exists():
            return False
        try:
            with self._file_lock(name, 0):
                return False
        except (AlreadyRunning, StoreBroken):
            return True

    # ---- the loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sync in a background thread; nothing when it runs already."""
        from edge_agent.listener import Listener
        from edge_agent.loop import SyncLoop

        if self._loop is not None:
            return
        self._next_full_s = 0.0
        loop = SyncLoop(self._loop_cycle, self._next_due_s, self._loop_failed, self._clock.monotonic_s)
        self._loop, self._listener = loop, Listener(self._connect_events, loop.hint, self._clock)
        self._claim()
        loop.start()

    def _claim(self) -> None:
        """Hold the loop's lock from now on, if no other process does: its loop shows in status as well, and listens."""
        with self._claiming, contextlib.suppress(AlreadyRunning):
            if self._loop is not None and not self._is_ours:
                self._running.enter_context(self._file_lock(LOOP_LOCK_NAME, 0))
                self._is_ours = True

    def stop(self, deadline_s: float) -> bool:
        """Stop the loop and the stream of hints; whether they ended within ``deadline_s`` seconds."""
        with self._claiming:
            loop, self._loop = self._loop, None
            self._running.close()
            self._is_ours = False
        listener, self._listener = self._listener, None
        end_s = time.monotonic() + deadline_s
        if listener is not None:
            listener.end()
        ended = loop is None or loop.stop(deadline_s)
        if ended and self._kept is not None:
            self._kept.close()
            self._kept = None
        return (listener is None or listener.join(max(0.0, end_s - time.monotonic()))) and ended

    def wake(self) -> None:
        """Something was recorded: push soon, if a loop runs."""
        if self._loop is not None:
            self._loop.wake()

    def _loop_cycle(self, push_only: bool) -> None:
        moment = self._clock.monotonic_s()
        push_only = push_only and moment < self._next_full_s
        if not push_only:
            self._next_full_s = moment + self._settings.poll_interval_s
        loop = self._loop
        report = self.run(
            asked=False,
            push_only=push_only,
            loop=loop,
        )
        said = [f"{error.step}: {error.message}" for error in report.errors]
        for line in said if said != self._said else []:  # an outage is one line in the log, not one a minute
            _log.warning("%s", line)
        self._said = said
        with contextlib.suppress(StoreBroken):  # the next cycle finds out, and sees to it
            self._look_for_events(in_touch=report.in_touch)

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
        return self._connect(None).events()

    def events_state(self) -> State:
        """How this process's stream of hints is: ``connected``, ``reconnecting``, or ``off``."""
        return "off" if self._listener is None else self._listener.state

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

    def _loop_failed(self, error: Exception) -> None:
        if isinstance(error, EdgeAgentError):
            code, message = error.code, error.message
            _log.error("this device can't sync: %s (%s)", message, error.hint)
        else:  # a fault of ours must not end syncing in silence (G11)
            code, message = "ERROR", repr(error)
            _log.error("this device can't sync: %s", message, exc_info=error)
        self._news.tell("sync failed", {"code": code, "message": message})
