"""Runs cycles for a device, one syncer at a time by a lock."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.clock import Clock
from edge_agent.errors import AlreadyRunning, StoreBroken, Unreachable
from edge_agent.news import News
from edge_agent.recovery import Recovery, moved_aside
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.database import GROUP_FILE, PRIVATE_FILE
from edge_agent.storage.journal import Journal
from edge_agent.storage.ledger import Ledger
from edge_agent.storage.outbox import Outbox

if TYPE_CHECKING:
    from edge_agent.domain.catalog import Dataset
    from edge_agent.head_office.beat import Order
    from edge_agent.head_office.client import HttpHeadOffice
    from edge_agent.sync.cycle import Cycle
    from edge_agent.sync.orders import Orders
    from edge_agent.sync.receipts import Compared
    from edge_agent.sync.report import CycleReport, Progress
    from edge_agent.sync.verify import Verified

LOCK_NAME = "sync.lock"  # held for a cycle
LOOP_LOCK_NAME = "loop.lock"  # held as long as a loop runs
CONTACT_NAME = "last-contact"
HEARTBEAT_NAME = "last-heartbeat"
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
        self.connect = connect
        self._begin_life = begin_life
        self._news = news
        self._recovery = recovery
        self._nightly = nightly
        self._online: bool | None = None
        self._no_heartbeat_until_s = 0.0
        self._kept: HttpHeadOffice | None = None  # the background's connection, between its cycles

    # ---- one cycle -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def file_lock(self, name: str, patience_s: float) -> Iterator[None]:
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
        stopping: threading.Event | None = None,
    ) -> CycleReport:
        """Run one cycle; the arguments are those of :class:`~edge_agent.sync.cycle.Cycle`.

        Args:
            stopping: given by who runs cycle after cycle; set, it ends all waits. The connection is then kept from
                cycle to cycle, as long as nothing fails, until :meth:`hang_up`.

        Raises:
            AlreadyRunning: another process syncs this home.
            StoreBroken: the local store can't be used.
        """
        # A moment's patience: status takes the lock for an instant to see whether someone syncs.
        with self.file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            head_office = self._kept or self.connect(stopping)
            head_office.answered = False
            self._kept = None
            report = None

            def cycle() -> CycleReport:
                self._bring_back()  # within: the journal that takes it in may turn out damaged as well
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
                if stopping is not None and report is not None and not report.causes:
                    self._kept = head_office
                else:  # a fault may lie in the connection or in what we sign in with: begin anew
                    head_office.close()
            if (
                report.in_touch
                and not push_only
                and not any(not error.step.startswith("push") for error in report.errors)
            ):
                self._touch(CONTACT_NAME)
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
        with self.file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            head_office = self.connect(None)
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

        with self.file_lock(LOCK_NAME, LOCK_PATIENCE_S):
            self._bring_back()
            head_office = self.connect(None)
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
            elif not self._recovery.replace_damaged_journal(error):
                raise
        except (TypeError, ValueError, LookupError) as error:  # what damage can put into a column
            if not self._recovery.explains(error, self._settings.group_access):
                raise
        return cycle()

    def _tell_of_the_line(self, report: CycleReport, *, answered: bool) -> None:
        down = any(isinstance(error, Unreachable) and error.line_is_down for error in report.causes)
        online = False if down else True if answered else self._online
        if online is not self._online:
            self._news.tell("came online" if online else "went offline", {})
        self._online = online

    def _touch(self, name: str) -> None:
        """Remember when something last went well, without a write to any database: an unchanged cycle writes none."""
        path = self._home / name
        moment = self._clock.now_ms() / 1000
        with contextlib.suppress(OSError, OverflowError):  # 32-bit systems end in 2038
            path.touch(mode=GROUP_FILE if self._settings.group_access else PRIVATE_FILE)
            os.utime(path, (moment, moment))

    def hang_up(self) -> None:
        """Close the connection that was kept for the next cycle."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def last_contact_ms(self) -> int | None:
        """When head office last answered a whole cycle of any process of this home, milliseconds since 1970."""
        return self._touched_ms(CONTACT_NAME)

    def _touched_ms(self, name: str) -> int | None:
        try:
            return int((self._home / name).stat().st_mtime * 1000)
        except OSError:
            return None

    def heartbeat(self, stop: threading.Event | None = None) -> bool:
        """Tell head office how this device is: :class:`~edge_agent.sync.heartbeat.SendHeartbeat`. Takes no lock, and
        leaves a head office alone that asked for it. Then do what head office orders in its answer, and report that.

        Returns:
            Whether head office took it.
        """
        from edge_agent.sync.orders import Orders

        orders = Orders(self._store, lambda datasets, repair: self.verify_catalogue(datasets, repair=repair, only=None))
        took, asked = self._beat(orders, stop)
        if asked and not (stop is not None and stop.is_set()) and orders.carry_out(asked):
            self._beat(orders, stop)
        return took

    def _beat(self, orders: Orders, stop: threading.Event | None) -> tuple[bool, list[Order]]:
        """One heartbeat: whether head office took it, and what it asks."""
        from edge_agent.sync.heartbeat import SendHeartbeat

        moment_s = self._clock.monotonic_s()
        if moment_s < self._no_heartbeat_until_s:
            return False, []
        done = orders.done()
        sending = SendHeartbeat(
            connect=self.connect,
            device_id=self._settings.device_id,
            journal=self._journal,
            store=self._store,
            clock=self._clock,
            stop=stop,
            done=done,
        )
        took = sending.run()
        self._no_heartbeat_until_s = moment_s + sending.not_again_s
        if took:
            self._touch(HEARTBEAT_NAME)
            if done:
                orders.taken(done)
        return took, sending.orders

    def last_heartbeat_ms(self) -> int | None:
        """When head office last took a heartbeat of any process of this home, milliseconds since 1970."""
        return self._touched_ms(HEARTBEAT_NAME)

    def someone_syncs(self) -> bool:
        """Whether another process syncs this home now, or any one in a loop."""
        return self._is_held(LOOP_LOCK_NAME) or self._is_held(LOCK_NAME)

    def _is_held(self, name: str) -> bool:
        if not (self._home / name).exists():
            return False
        try:
            with self.file_lock(name, 0):
                return False
        except (AlreadyRunning, StoreBroken):
            return True
