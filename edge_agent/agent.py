"""EdgeAgent: what a POS embeds. The only place that builds and wires the parts."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import uuid6

from edge_agent.catalog import Catalog
from edge_agent.clock import Clock
from edge_agent.domain.calendar import business_date, clock_time, zone
from edge_agent.domain.money import NO_CURRENCY
from edge_agent.domain.sale import Draft, Item, Number, Payment, Place, check
from edge_agent.domain.usage import UsageDraft, check_usage
from edge_agent.errors import AlreadyRunning, EdgeAgentError, InvalidSale, StoreBroken
from edge_agent.settings import CREDENTIALS_NAME, Settings, find_home, load_settings
from edge_agent.status import build_status
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.checkpointer import Checkpointer
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal, RecordedSale
from edge_agent.storage.outbox import LANES, Outbox, OutboxLine

if TYPE_CHECKING:
    import httpx

    from edge_agent.head_office.client import HttpHeadOffice
    from edge_agent.loop import SyncLoop
    from edge_agent.sync.report import CycleReport, Progress

JOURNAL_NAME = "journal.db"
CATALOG_NAME = "catalog.db"
LOCK_NAME = "sync.lock"
CONTACT_NAME = "last-contact"
LOCK_PATIENCE_S = 0.5
FACTS_FRESH_S = 1.0
_log = logging.getLogger("edge_agent")


@dataclass(frozen=True, slots=True)
class Sale:
    """A recorded sale and where its delivery stands.

    Args:
        total: unsigned, exact; the kind gives the sign.
        state: ``pending``, ``delivered`` or ``quarantined`` (``code`` and ``reason`` say why).
        existing: True when this ``external_id`` had been recorded before.
        warnings: what staff may want to know; nothing of it stopped the sale.
    """

    external_id: str
    device_seq: int
    journal_id: str
    kind: str
    total: Decimal
    currency: str
    business_date: str
    fingerprint: str
    state: str
    existing: bool = False
    warnings: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None

    @property
    def total_amount(self) -> str:
        """The total as the contract's decimal text."""
        return str(self.total)


@dataclass(frozen=True, slots=True)
class Usage:
    """A recorded use of a promotion. ``existing``: the same use had been recorded before."""

    external_id: str
    promotion_id: str
    sale_external_id: str | None
    state: str
    existing: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something a listener may want to hear of, such as ``sale created`` or ``catalogue changed``."""

    name: str
    details: Mapping[str, str]


class EdgeAgent:
    """The agent of one device. Thread-safe: a connection for each thread.

    Use :meth:`open`; it does not touch the network. As a context manager it closes itself.

    Args:
        home: the device's home; holds ``settings.toml``.
        settings: the device's settings.
        clock: the clock and the dice.
        transport: replaces the network in tests.

    Raises:
        StoreBroken: a database can't be opened.
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        *,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.home = home
        self.settings = settings
        self._clock = clock or Clock()
        self._transport = transport
        self._journal = Journal(home / JOURNAL_NAME, group_access=settings.group_access)
        try:
            self._store = self._open_catalog()
            if self._journal.life() is None:
                self._begin_life("first start", first=True)
        except BaseException:
            self._journal.close()
            raise
        self._outbox = Outbox(self._journal)
        self._checkpointer = Checkpointer(self._journal.database)
        self.catalog = Catalog(self._store, self._journal, self.now)
        self._facts: dict[str, str] = {}
        self._facts_until = -1.0
        self._listeners: list[Callable[[Event], None]] = []
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._teller: threading.Thread | None = None
        self._loop: SyncLoop | None = None
        self._next_full_s = 0.0

    @classmethod
    def open(cls, home: Path | str | None = None) -> EdgeAgent:
        """Open the device's home. No network.

        Args:
            home: None for ``EDGE_AGENT_HOME``, else the one home of this device.

        Raises:
            InvalidSettings: no home, two homes, or a setting that is wrong.
            StoreBroken: a database can't be opened.
        """
        folder = find_home(home)
        return cls(folder, load_settings(folder))

    def _begin_life(self, reason: str, *, first: bool = False) -> None:
        """Give the journal a new identity; sales recorded from now on count from 1 (contract, section 5)."""
        journal_id = str(uuid6.uuid7())
        self._journal.begin_life(
            journal_id, self.settings.device_id, reason=reason, now_ms=self._clock.now_ms(), first=first
        )

    def _open_catalog(self) -> CatalogStore:
        """The catalogue; a damaged one is moved aside, and the next sync pulls it again."""
        path = self.home / CATALOG_NAME
        try:
            return CatalogStore(path, group_access=self.settings.group_access)
        except StoreBroken as error:
            if "damaged" not in error.message:
                raise
            aside = path.with_name(f"{CATALOG_NAME}.damaged-{self._clock.now_ms()}")
            _log.error("the catalogue is damaged; moved aside to %s, the next sync pulls it again", aside.name)
            path.replace(aside)
            for suffix in ("-wal", "-shm", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(CATALOG_NAME + suffix).unlink()
            return CatalogStore(path, group_access=self.settings.group_access)

    def __enter__(self) -> EdgeAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop background threads and close the databases. Recorded sales are durable already."""
        self.stop()
        if self._teller is not None:
            self._events.put(None)
            self._teller.join()
            self._teller = None
        self._checkpointer.close()
        self._journal.close()
        self._store.close()

    # ---- time and place --------------------------------------------------------------------------------------

    def _known(self) -> dict[str, str]:
        """What head office told, at most a second old; empty while the catalogue can't be read."""
        moment = self._clock.monotonic_s()
        if moment >= self._facts_until:
            with contextlib.suppress(sqlite3.Error):
                self._facts = self._store.all_meta()
            self._facts_until = moment + FACTS_FRESH_S
        return self._facts

    def now(self) -> dt.datetime:
        """The present moment by head office's clock (UTC), as far as its offset is known."""
        return self._clock.now() + dt.timedelta(milliseconds=int(self._known().get("clock_offset_ms", "0")))

    @property
    def place(self) -> Place:
        """This device's identity, and the store's currency when it is known."""
        settings = self.settings
        facts = self._known()
        currency = facts.get("currency") or settings.currency or None
        if currency is None and facts.get("profile") == "baseline":
            currency = NO_CURRENCY  # this head office asks for none: selling must not stop for it
        return Place(settings.company_id, settings.store_id, settings.device_id, currency)

    def business_date(self) -> dt.date:
        """The store's business date now: it begins at ``day_start`` in the store's time zone."""
        facts, settings = self._known(), self.settings
        name = facts.get("timezone") or settings.timezone
        local = self.now().astimezone(zone(name) if name else None)
        return business_date(local, clock_time(facts.get("day_start") or settings.day_start))

    # ---- recording -------------------------------------------------------------------------------------------

    def record_sale(
        self,
        items: Sequence[Item],
        payments: Sequence[Payment] | None = None,
        *,
        kind: str = "sale",
        refers_to: str | None = None,
        reason: str | None = None,
        external_id: str | None = None,
        receipt_number: str | None = None,
        business_date: str | dt.date | None = None,
        client_timestamp: str | dt.datetime | None = None,
        cashier_id: str | None = None,
        customer_id: str | None = None,
        currency: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Sale:
        """Record a sale, refund or void. When it returns, the sale survives a kill and a power cut (G1).

        Args:
            items: one or more lines; quantities stay positive, the kind gives the sign.
            payments: what was handed over; None when the POS keeps payments elsewhere.
            kind: ``sale``, ``refund`` or ``void``.
            refers_to: the ``external_id`` of the sale that is taken back.
            reason: why; required for a refund or void that names no sale.
            external_id: the caller's own id (a UUID); the same id again returns the same sale.
            receipt_number: what is printed on the receipt.
            business_date: the business day; None for the store's present one.
            client_timestamp: when it was sold, with an offset; None for now.
            cashier_id: who sold.
            customer_id: who bought.
            currency: must be the store's; needed only before head office has told it.
            extra: free JSON of the POS, without floats and card numbers.

        Returns:
            The sale. A product the catalogue does not know gives a warning, not a refusal.

        Raises:
            InvalidSale: names the field and the mend; nothing was stored.
            StoreBroken: it could not be stored; ask again with its ``external_id``.

        Contract: section 5.
        """
        draft = Draft(
            items=items,
            payments=payments,
            kind=kind,
            refers_to=refers_to,
            reason=reason,
            external_id=external_id,
            receipt_number=receipt_number,
            business_date=business_date,
            client_timestamp=client_timestamp,
            cashier_id=cashier_id,
            customer_id=customer_id,
            currency=currency,
            extra=extra or {},
        )
        return self.record(draft)

    def record(self, draft: Draft) -> Sale:
        """Record a sale given as a :class:`~edge_agent.domain.sale.Draft`; see :meth:`record_sale`."""
        new_id = str(uuid6.uuid7())
        checked = check(
            draft,
            self.place,
            new_id=new_id,
            client_timestamp=self._clock.now(),
            business_date=self.business_date().isoformat(),
        )
        recorded = self._journal.record_sale(checked, self._clock.now_ms())
        self._wrote()
        return _sale(recorded, existing=not recorded.is_new, warnings=self._warnings(draft.items))

    def _warnings(self, items: Sequence[Item]) -> tuple[str, ...]:
        products = [item.product for item in items if item.product is not None]
        try:
            unknown = self.catalog.unknown(products) if products else []
        except sqlite3.Error:
            return ()  # the sale is stored; a catalogue that can't be read must not look like a failed sale
        return tuple(f"the catalogue does not know the product {product}" for product in unknown)

    def record_usage(
        self,
        promotion_id: str,
        discount_amount: Number,
        *,
        sale: Sale | str | None = None,
        line: int = 0,
        bill_id: str | None = None,
        customer_id: str | None = None,
        used_at: str | dt.datetime | None = None,
    ) -> Usage:
        """Record a promotion's use. The same use (promotion, sale, line) is recorded once.

        Args:
            promotion_id: the promotion.
            discount_amount: what it gave, in the store's currency.
            sale: the sale it belongs to, or its ``external_id``; the use goes up after that sale.
            line: the sale's line, 0 for the whole sale.
            bill_id: the bill, for a use without a sale.
            customer_id: who used it.
            used_at: when, with an offset; None for now.

        Raises:
            InvalidSale: names the field and the mend; nothing was stored.
            StoreBroken: it could not be stored.

        Contract: section 5, usage logs.
        """
        sale_id = sale.external_id if isinstance(sale, Sale) else sale
        currency = sale.currency if isinstance(sale, Sale) else self.place.currency
        if currency is None and sale_id is not None:
            recorded = self._journal.sale(sale_id)
            currency = recorded.currency if recorded else None
        if currency is None:
            raise InvalidSale(
                "UNKNOWN_CURRENCY",
                "discount_amount",
                "the store's currency is not known before the first sync",
                "Set currency in settings.toml.",
            )
        life = self._journal.life()
        checked = check_usage(
            UsageDraft(
                promotion_id=promotion_id,
                discount_amount=discount_amount,
                sale_external_id=sale_id,
                line=line,
                bill_id=bill_id,
                customer_id=customer_id,
                used_at=used_at,
            ),
            self.place,
            journal_id=life.journal_id if life else "",
            currency=currency,
            used_at=self._clock.now(),
        )
        usage = self._journal.record_usage(checked, self._clock.now_ms())
        self._wrote()
        return Usage(usage.external_id, usage.promotion_id, usage.sale_external_id, usage.state, usage.existing)

    def _wrote(self) -> None:
        self._checkpointer.note_write()
        if self._loop is not None:
            self._loop.wake()

    def sale(self, external_id: str) -> Sale | None:
        """A recorded sale with its state; None when this device did not record it."""
        recorded = self._journal.sale(external_id)
        return None if recorded is None else _sale(recorded, existing=True)

    def sale_record(self, external_id: str) -> RecordedSale | None:
        """A recorded sale with its frozen bytes and delivery details; None when this device did not record it."""
        return self._journal.sale(external_id)

    # ---- the outbox ------------------------------------------------------------------------------------------

    def outbox(self, *, state: str | None = None, limit: int = 100) -> list[OutboxLine]:
        """Entries that are pending or quarantined, oldest first; or those of one state."""
        lines = self._outbox.lines(state=state, limit=limit)
        if self._known().get("profile") != "baseline":
            return lines
        # A baseline head office would count a refund as a sale: it is never posted there (contract, section 5).
        takes_back = ("refund", "void")
        why = "head office takes no refunds yet"
        return [
            replace(line, held_by=why) if line.kind in takes_back and line.state == "pending" else line
            for line in lines
        ]

    def outbox_entry(self, external_id: str) -> tuple[OutboxLine, bytes | None] | None:
        """One entry, whatever its state, with its frozen bytes."""
        lines = self._outbox.lines(state=None, limit=1, external_id=external_id)
        if not lines:
            return None
        recorded = self._journal.sale(external_id)
        return lines[0], recorded.body if recorded else self._outbox.usage_body(external_id)

    def retry(self, external_ids: Sequence[str] | None = None) -> int:
        """Offer quarantined entries again, and waiting ones at once.

        Args:
            external_ids: which; None for all.

        Returns:
            How many entries that were.
        """
        moved = self._outbox.retry(external_ids, self._clock.now_ms())
        if self._loop is not None:
            self._loop.wake()
        return moved

    # ---- syncing ---------------------------------------------------------------------------------------------

    def head_office(self, *, stop: threading.Event | None = None) -> HttpHeadOffice:
        """A client of this device's head office; the caller closes it."""
        from edge_agent.head_office.auth import SecretFiles
        from edge_agent.head_office.client import HttpHeadOffice

        secrets = SecretFiles(self.home, CREDENTIALS_NAME)
        return HttpHeadOffice(self.settings, secrets, self._clock, stop=stop, transport=self._transport)

    def sync(self, *, full: bool = False, accept_sweep: bool = False, progress: Progress | None = None) -> CycleReport:
        """Sync once, now, whatever the backoff says.

        Args:
            full: take whole snapshots.
            accept_sweep: allow a snapshot to delete more than half of a dataset.
            progress: told how far each step is.

        Returns:
            What was moved, and which steps failed why.

        Raises:
            AlreadyRunning: another process syncs this home.
            StoreBroken: the local store can't be used.
        """
        return self._run_cycle(asked=True, full=full, accept_sweep=accept_sweep, progress=progress)

    @contextlib.contextmanager
    def _sync_lock(self, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
        """One syncer at a time for this home; the operating system frees the lock of a killed process."""
        from filelock import FileLock, Timeout

        # A moment's patience: status takes the lock for an instant to see whether someone syncs.
        lock = FileLock(self.home / LOCK_NAME, timeout=patience_s, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise AlreadyRunning(
                "another program is syncing this device just now",
                hint="Nothing to do: it does the same work. Look again with edge-agent status.",
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _run_cycle(
        self,
        *,
        asked: bool,
        full: bool = False,
        accept_sweep: bool = False,
        push_only: bool = False,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
    ) -> CycleReport:
        from edge_agent.sync.cycle import Cycle
        from edge_agent.sync.report import no_progress

        with self._sync_lock():
            life = self._journal.life()
            head_office = self.head_office(stop=stop)
            try:
                report = Cycle(
                    ho=head_office,
                    outbox=self._outbox,
                    store=self._store,
                    clock=self._clock,
                    settings=self.settings,
                    journal_id=life.journal_id if life else "",
                    asked=asked,
                    full=full,
                    accept_sweep=accept_sweep,
                    push_only=push_only,
                    progress=progress or no_progress,
                    on_event=self._tell,
                ).run()
            finally:
                head_office.close()
            if head_office.answered:
                self._touch_contact()
            if report.seq_conflict:
                self._begin_life("head office holds other sales under this journal's numbers")
        self._facts_until = -1.0
        self._journal.database.checkpoint()
        return report

    def _touch_contact(self) -> None:
        """Remember when head office last answered, without a write to any database (an unchanged cycle writes none)."""
        path = self.home / CONTACT_NAME
        moment = self._clock.now_ms() / 1000
        with contextlib.suppress(OSError):
            path.touch(mode=0o600)
            os.utime(path, (moment, moment))

    def _last_contact_ms(self) -> int | None:
        try:
            return int((self.home / CONTACT_NAME).stat().st_mtime * 1000)
        except OSError:
            return None

    def start(self) -> None:
        """Sync in a background thread: at once, after each recorded sale, and every ``poll_interval_s``.

        Safe to call twice. While another process syncs this home, this one only records.
        """
        from edge_agent.loop import SyncLoop

        if self._loop is not None:
            return
        self._next_full_s = 0.0
        loop = self._loop = SyncLoop(self._loop_cycle, self._next_due_s, self._loop_failed)
        loop.start()

    def stop(self, deadline_s: float = 5.0) -> bool:
        """Stop syncing in the background.

        Args:
            deadline_s: how long to wait for the request under way, seconds.

        Returns:
            Whether it ended in time. Nothing is lost if not: what was under way is offered again (G4).
        """
        loop, self._loop = self._loop, None
        return True if loop is None else loop.stop(deadline_s)

    def _loop_cycle(self, push_only: bool) -> None:
        moment = self._clock.monotonic_s()
        push_only = push_only and moment < self._next_full_s
        paused = self._known().get("auto_sync_enabled") == "false"
        if not push_only:
            self._next_full_s = moment + self.settings.poll_interval_s
        loop = self._loop
        report = self._run_cycle(
            asked=False, push_only=push_only or paused, stop=loop.stopping if loop is not None else None
        )
        for error in report.errors:
            _log.warning("%s: %s", error.step, error.message)

    def _next_due_s(self) -> float:
        """Seconds until the next full cycle, or until a lane that waits may ask again."""
        due = [self._next_full_s - self._clock.monotonic_s()]
        now = self._clock.now_ms()
        lanes = LANES if self._known().get("auto_sync_enabled") == "false" else (*LANES, "pull")
        for name in lanes:
            waits_until = self._outbox.lane(name).next_attempt_ms
            if waits_until is not None:
                due.append((waits_until - now) / 1000)
        return min(max(min(due), 0.5), float(self.settings.poll_interval_s))

    def _loop_failed(self, error: EdgeAgentError) -> None:
        _log.error("this device can't sync: %s (%s)", error.message, error.hint)
        self._tell("sync failed", {"code": error.code, "message": error.message})

    # ---- being told ------------------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Be told of what this process's syncing does: ``catalogue changed``, ``sale created``, ``sale rejected`` ….

        Args:
            listener: called in a thread of its own, never on the selling thread.

        Returns:
            A function that ends the subscription.
        """
        self._listeners.append(listener)
        if self._teller is None:
            self._teller = threading.Thread(target=self._tell_listeners, name="edge-agent-events", daemon=True)
            self._teller.start()
        return lambda: self._listeners.remove(listener)

    def _tell(self, name: str, details: Mapping[str, str]) -> None:
        if self._listeners:
            self._events.put(Event(name, details))

    def _tell_listeners(self) -> None:
        while (event := self._events.get()) is not None:
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except Exception:  # noqa: BLE001 - a listener's fault must not end the others' news
                    _log.exception("a listener failed on %s", event.name)

    # ---- showing ---------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What ``edge-agent status --json`` prints; works without a network and without a daemon."""
        return build_status(
            self._journal,
            self._outbox,
            self._store,
            last_contact_ms=self._last_contact_ms(),
            daemon_running=self._someone_syncs(),
        )

    def _someone_syncs(self) -> bool:
        if self._loop is not None:
            return True
        if not (self.home / LOCK_NAME).exists():
            return False
        try:
            with self._sync_lock(patience_s=0):
                return False
        except AlreadyRunning:
            return True


def _sale(recorded: RecordedSale, *, existing: bool, warnings: tuple[str, ...] = ()) -> Sale:
    return Sale(
        external_id=recorded.external_id,
        device_seq=recorded.device_seq,
        journal_id=recorded.journal_id,
        kind=recorded.kind,
        total=Decimal(recorded.total_amount),
        currency=recorded.currency,
        business_date=recorded.business_date,
        fingerprint=recorded.fingerprint,
        state=str(recorded.state),
        existing=existing,
        warnings=warnings,
        code=recorded.code,
        reason=recorded.reason,
    )
