"""EdgeAgent: what a POS embeds. The only place that builds and wires the parts."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec

from edge_agent.background import Background
from edge_agent.catalog import Catalog
from edge_agent.clock import Clock
from edge_agent.domain.applicability import Here
from edge_agent.domain.calendar import business_date, clock_time, zone
from edge_agent.domain.findings import LISTED_MAX
from edge_agent.domain.health import FINDINGS_FACT, SUMMARY_FACT, read_findings, read_summary
from edge_agent.domain.money import NO_CURRENCY
from edge_agent.domain.sale import Draft, Item, Number, Payment, Place, check, timestamp_text
from edge_agent.domain.usage import UsageDraft, check_usage
from edge_agent.errors import InvalidSale, StoreBroken
from edge_agent.news import Event, News
from edge_agent.nightly import Nightly
from edge_agent.recorded import RecordedUsage, Sale, Usage, as_sale
from edge_agent.recovery import Recovery, moved_aside, open_sound
from edge_agent.settings import CREDENTIALS_NAME, Settings, find_home, load_settings
from edge_agent.status import build_status
from edge_agent.storage.ballast import Ballast
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.checkpointer import Checkpointer
from edge_agent.storage.database import GROUP_FILE, PRIVATE_FILE
from edge_agent.storage.journal import Journal, RecordedSale
from edge_agent.storage.keeping import Keeping
from edge_agent.storage.outbox import Outbox, OutboxLine
from edge_agent.syncer import Syncer
from edge_agent.timekeeper import Timekeeper

if TYPE_CHECKING:
    import httpx

    from edge_agent.domain.catalog import Dataset
    from edge_agent.domain.findings import Finding
    from edge_agent.domain.health import Health
    from edge_agent.domain.today import Today
    from edge_agent.head_office.client import HttpHeadOffice
    from edge_agent.portable import Exported, Imported
    from edge_agent.storage.backup import Backup
    from edge_agent.sync.receipts import Compared
    from edge_agent.sync.report import CycleReport, Progress
    from edge_agent.sync.verify import Verified

T = TypeVar("T")

JOURNAL_NAME = "journal.db"
CATALOG_NAME = "catalog.db"
FACTS_FRESH_S = 1.0
KEEPING_S = 1.0  # how long housekeeping may take after a sync that was asked for
_log = logging.getLogger("edge_agent")


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
        self._timekeeper = Timekeeper(self._clock)
        self._transport = transport
        ballast = Ballast(home, settings.ballast_mib)
        journal, catalog = home / JOURNAL_NAME, home / CATALOG_NAME
        group_access = settings.group_access
        mode = GROUP_FILE if group_access else PRIVATE_FILE
        self._journal = open_sound(
            journal, lambda: Journal(journal, group_access=group_access, ballast=ballast), self._clock, mode
        )
        try:
            self._store = open_sound(
                catalog, lambda: CatalogStore(catalog, group_access=group_access), self._clock, mode
            )
            if self._journal.life() is None:
                self._begin_life("first start", first=True)
            self._recovery = Recovery(self._journal, settings.store_id, self._clock, self._begin_life)
            self._soundly(self._recovery.look_around)
        except BaseException:
            self._journal.close()
            raise
        self._outbox = Outbox(self._journal)
        self._keeping = Keeping(
            home,
            self._journal,
            ballast,
            disk_warn_mib=settings.disk_warn_mib,
            retention_days=settings.retention_days,
        )
        self._checkpointer = Checkpointer(self._journal.database, self._tidy)
        self._news = News()
        self._nightly = Nightly(
            home,
            settings,
            self._journal,
            self._recovery,
            self._clock,
            self.local_now,
            self._validated_at,
            lambda: self.health(listed_max=0),
        )
        self._syncer = Syncer(
            home,
            settings,
            self._clock,
            self._journal,
            self._store,
            self.head_office,
            self._begin_life,
            self._news,
            self._recovery,
            self._nightly.run_if_due,
        )
        self._background = Background(self._syncer, settings, self._clock, self._journal, self._store, self._news)
        self.catalog = Catalog(
            self._store,
            self._journal,
            self.now,
            self._calendar,
            store_id=settings.store_id,
            brand_id=settings.brand_id,
            last_contact_ms=self._syncer.last_contact_ms,
        )
        self._facts: dict[str, str] = {}
        self._facts_until = -1.0

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
        journal_id = _new_id()
        self._journal.begin_life(
            journal_id, self.settings.device_id, reason=reason, now_ms=self._clock.now_ms(), first=first
        )

    def _soundly(self, work: Callable[[], T]) -> T:
        """Do something with the journal; when that shows it damaged, go on with a fresh one and do it again (G1)."""
        try:
            return work()
        except StoreBroken as error:
            if not error.is_damaged:
                raise
            if error.file == CATALOG_NAME:  # it can be pulled again
                moved_aside(self._store.database, self._clock)
                return work()
            if not self._recovery.replace_damaged_journal(error):
                raise
        except (TypeError, ValueError, LookupError) as error:  # what damage can put into a column
            if not self._began_anew() and not self._recovery.explains(error, self.settings.group_access):
                raise
        return work()

    def _began_anew(self) -> bool:
        """Give a journal without a life one: another program has put it in a damaged one's place just now, or was
        killed before it could do so. Selling must not wait for its next start (G1)."""
        if self._journal.life() is not None:
            return False
        self._begin_life("the journal before this one was damaged, or gone", first=True)
        self._recovery.tell_if_gone()
        return True

    def __enter__(self) -> EdgeAgent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop background threads and close the databases. Recorded sales are durable already."""
        ended = self.stop()
        self._news.close()
        self._checkpointer.close()
        if not ended:  # its thread is in the middle of a request: closing what it works with could crash the program
            _log.warning("syncing did not end in time; its connections stay open until it does")
            return
        self._journal.close()
        self._store.close()

    # ---- time and place --------------------------------------------------------------------------------------

    def _known(self) -> dict[str, str]:
        """What head office told, at most a second old; empty while the catalogue can't be read."""
        moment = self._clock.monotonic_s()
        if moment >= self._facts_until:
            with contextlib.suppress(StoreBroken):
                self._facts = self._store.all_meta()
                self._timekeeper.recall(self._facts)
            if "currency" not in self._facts or "timezone" not in self._facts:  # a catalogue that begins anew
                with contextlib.suppress(StoreBroken):
                    self._facts = {**self._journal.place(), **self._facts}
            self._facts_until = moment + FACTS_FRESH_S
        return self._facts

    def now(self) -> dt.datetime:
        """The present moment by head office's clock (UTC), as far as its offset is known."""
        self._known()
        return self._timekeeper.now()

    @property
    def place(self) -> Place:
        """This device's identity, and the store's currency when it is known."""
        settings = self.settings
        facts = self._known()
        currency = facts.get("currency") or settings.currency or None
        if currency is None and facts.get("profile") == "baseline":
            currency = NO_CURRENCY  # this head office asks for none: selling must not stop for it
        return Place(settings.company_id, settings.store_id, settings.device_id, currency)

    def _calendar(self) -> tuple[dt.tzinfo | None, dt.time]:
        """The store's time zone (None: this device's) and when its day begins: head office's word, then settings."""
        facts, settings = self._known(), self.settings
        name = facts.get("timezone") or settings.timezone
        return zone(name) if name else None, clock_time(facts.get("day_start") or settings.day_start)

    def local_now(self) -> dt.datetime:
        """The present moment in the store's time zone, by head office's clock."""
        return self.now().astimezone(self._calendar()[0])

    def business_date(self) -> dt.date:
        """The store's business date now: it begins at ``day_start`` in the store's time zone."""
        zone_of_store, day_start = self._calendar()
        return business_date(self.now().astimezone(zone_of_store), day_start)

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
        new_id = _new_id()
        checked = check(
            draft,
            self.place,
            new_id=new_id,
            client_timestamp=self._clock.now(),
            business_date=self.business_date().isoformat(),
        )
        recorded = self._soundly(lambda: self._journal.record_sale(checked, self._clock.now_ms()))
        self._wrote()
        return as_sale(recorded, existing=not recorded.is_new, warnings=self._warnings(draft.items))

    def _warnings(self, items: Sequence[Item]) -> tuple[str, ...]:
        products = [item.product for item in items if item.product is not None]
        try:
            unknown = self.catalog.unknown(products) if products else ()
        except StoreBroken:
            return ()  # the sale is stored; a catalogue that can't be read must not look like a failed sale
        return tuple([f"the catalogue does not know the product {product}" for product in unknown]) if unknown else ()

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
        draft = UsageDraft(
            promotion_id=promotion_id,
            discount_amount=discount_amount,
            sale_external_id=sale_id,
            line=line,
            bill_id=bill_id,
            customer_id=customer_id,
            used_at=used_at,
        )
        usage = self._soundly(lambda: self._record_usage(draft, currency))
        self._wrote()
        return Usage(usage.external_id, usage.promotion_id, usage.sale_external_id, usage.state, usage.existing)

    def _record_usage(self, draft: UsageDraft, currency: str) -> RecordedUsage:
        life = self._journal.life()
        if life is None and self._began_anew():
            life = self._journal.life()
        checked = check_usage(
            draft,
            self.place,
            journal_id=life.journal_id if life else "",
            currency=currency,
            used_at=self._clock.now(),
        )
        return self._journal.record_usage(checked, self._clock.now_ms())

    def _wrote(self) -> None:
        self._checkpointer.note_write()
        self._background.wake()

    def sale(self, external_id: str) -> Sale | None:
        """A recorded sale with its state; None when this device did not record it."""
        recorded = self._journal.sale(external_id)
        return None if recorded is None else as_sale(recorded, existing=True)

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
        # A use's bytes are empty once retention took them.
        return lines[0], recorded.body if recorded else self._outbox.usage_body(external_id) or None

    def retry(self, external_ids: Sequence[str] | None = None) -> int:
        """Offer quarantined entries again, and waiting ones at once.

        Args:
            external_ids: which; None for all.

        Returns:
            How many entries that were.
        """
        moved = self._outbox.retry(external_ids, self._clock.now_ms())
        self._background.wake()
        return moved

    def export_outbox(
        self,
        target: Path | BinaryIO,
        *,
        external_ids: Sequence[str] | None = None,
        delivered: bool = False,
        force: bool = False,
    ) -> Exported:
        """Write what head office has not taken into a portable file; nothing changes in the outbox.

        Args:
            target: the file to make, or a stream to write to.
            external_ids: only these entries, whatever their state; a sale takes its uses along.
            delivered: also what head office has, as far as its bytes are still here.
            force: replace a file of this name.

        Raises:
            InvalidSale: ``NOT_HERE``: an id that is not here.
            InvalidSettings: the file is there already.
            StoreBroken: the file or the device's key can't be written.
        """
        from edge_agent import portable
        from edge_agent.key import device_key

        key, life = device_key(self.home), self._journal.life()
        header = portable.Header(
            device_id=self.settings.device_id,
            store_id=self.settings.store_id,
            company_id=self.settings.company_id,
            journal_id=life.journal_id if life else "",
            exported_at=timestamp_text(self._clock.now()),
            key_id=portable.key_id(key),
        )
        file = portable.new_file(target, force=force) if isinstance(target, Path) else contextlib.nullcontext(target)
        with file as stream:
            done = portable.export_outbox(
                self._outbox, header, key, stream, delivered=delivered, external_ids=external_ids
            )
        done.file = str(target) if isinstance(target, Path) else "-"
        portable.note_export(self._journal, done, self._clock.now_ms())
        return done

    def import_outbox(self, source: Path | BinaryIO, *, key: Path | None = None) -> Imported:
        """Take over the entries of a portable file; they keep their identity, and head office counts them once.

        Args:
            source: the file, or a stream.
            key: a copy of the other device's ``device.key``; a file that it did not seal is refused.

        Raises:
            InvalidSale: the file is damaged, changed or foreign; names the line and the mend. Nothing was stored.
            InvalidSettings: ``key`` is none.
            StoreBroken: the journal can't be written; importing the file again is harmless.
        """
        from edge_agent import portable
        from edge_agent.key import own_key, read_key

        secret = own_key(self.home) if key is None else read_key(key)
        with portable.readable(source) as file:
            done = portable.import_outbox(
                self._journal,
                file,
                company_id=self.settings.company_id,
                store_id=self.settings.store_id,
                key=secret,
                must_prove=key is not None,
                begin_life=self._begin_life,
                now_ms=self._clock.now_ms(),
            )
        self._wrote()
        return done

    # ---- keeping ---------------------------------------------------------------------------------------------

    def backup(self, folder: Path | str | None = None) -> Backup:
        """Copy the journal while everything goes on, check the copy, and let this device's oldest backups go.

        Args:
            folder: where to; None for the setting ``backup_folder``.

        Raises:
            StoreBroken: no room, no access, or the copy is not whole. Nothing half-made stays.
        """
        return self._nightly.back_up(None if folder is None else Path(folder))

    def _tidy(self, go_on: Callable[[], bool]) -> None:
        """What is left for idle moments."""
        self._journal.tidy(go_on)
        self._recovery.shadow.catch_up(go_on)
        self._keep(go_on)

    def _keep(self, go_on: Callable[[], bool]) -> None:
        """Housekeeping, when it is due."""
        facts = self._known()
        seen = msgspec.json.decode(facts.get("stock_seen", "{}"))
        self._keeping.run(
            go_on,
            monotonic_s=self._clock.monotonic_s(),
            now_ms=self._clock.now_ms(),
            clock_offset_ms=self._timekeeper.offset_ms(),
            stock_watermark={seen["journal_id"]: seen["contiguous_seq"]} if seen else {},
        )

    # ---- syncing ---------------------------------------------------------------------------------------------

    def head_office(self, stop: threading.Event | None = None) -> HttpHeadOffice:
        """A client of this device's head office; the caller closes it."""
        from edge_agent.head_office.auth import SecretFiles
        from edge_agent.head_office.client import HttpHeadOffice

        secrets = SecretFiles(self.home, CREDENTIALS_NAME)
        return HttpHeadOffice(
            self.settings, secrets, self._clock, stop=stop, transport=self._transport, timekeeper=self._timekeeper
        )

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
        report = self._syncer.run(asked=True, full=full, accept_sweep=accept_sweep, progress=progress)
        self._facts_until = -1.0
        end_s = self._clock.monotonic_s() + KEEPING_S
        self._keep(lambda: self._clock.monotonic_s() < end_s)
        return report

    def check_journal(self) -> None:
        """Check the journal's file, whole: pages, fingerprints, numbers. A damaged one is replaced by a fresh one, and
        what can be read of it comes back with the next sync.

        Raises:
            StoreBroken: there is no room for a copy to check, or the damaged journal can't be replaced.
        """
        self._recovery.check_journal(self.settings.group_access)

    def verify(self, *, repair: bool = False, only: str | None = None) -> Compared | None:
        """Compare what this device sold with head office's receipts, now.

        Args:
            repair: offer again what head office lacks; else only list it.
            only: this entry alone, by its ``external_id``.

        Returns:
            What differs; None when this head office gives no receipts.

        Raises:
            EdgeAgentError: head office can't be asked, another process syncs, or the local store can't be used.

        Contract: section 6.
        """
        return self._soundly(lambda: self._syncer.verify(repair=repair, only=only))

    def verify_catalogue(
        self, *, repair: bool = False, dataset: Dataset | None = None, only: str | None = None
    ) -> Verified:
        """Compare the catalogue with head office's, now; what changed there meanwhile is pulled first.

        A native head office's digests are compared at the same cursor, and rows fetched only where they differ. A
        baseline one has none: its whole lists are fetched. Every row here is looked at as well, so that damage shows.

        Args:
            repair: put right what differs; else only list it.
            dataset: ``categories``, ``products`` or ``promotions``; None for all three.
            only: this row alone, by its id.

        Returns:
            What differs, and how many rows were put right.

        Raises:
            EdgeAgentError: head office can't be asked, another process syncs, or the local store can't be used.

        Contract: section 6.
        """
        from edge_agent.domain.catalog import DATASETS

        datasets = DATASETS if dataset is None else (dataset,)
        found = self._soundly(lambda: self._syncer.verify_catalogue(datasets, repair=repair, only=only))
        self._facts_until = -1.0
        return found

    def start(self) -> None:
        """Sync in a background thread: at once, after each recorded sale, and every ``poll_interval_s``.

        Safe to call twice. While another process syncs this home, this one only records.
        """
        self._background.start()

    def stop(self, deadline_s: float = 5.0) -> bool:
        """Stop syncing in the background.

        Args:
            deadline_s: how long to wait for the request under way, seconds.

        Returns:
            Whether it ended in time. Nothing is lost if not: what was under way is offered again (G4).
        """
        return self._background.stop(deadline_s)

    def sync_soon(self) -> bool:
        """Have the background sync now, whatever the backoff says: listeners hear ``sync began``, ``sync progress``
        and ``sync ended``.

        Returns:
            Whether it will: :meth:`start` was called here.
        """
        return self._background.ask()

    def heartbeat(self, stop: threading.Event | None = None) -> bool:
        """Tell head office how this device is, where it takes heartbeats and can be asked just now.

        Runs beside syncing, on a connection of its own, and waits for no lock. That it failed is no error: ``status``
        says when the last one went well.

        Args:
            stop: set to leave a request that is under way.

        Returns:
            Whether head office took it.

        Raises:
            StoreBroken: a database can't be read.

        Contract: section 6.
        """
        return self._syncer.heartbeat(stop)

    # ---- what the daemon looks after -------------------------------------------------------------------------

    def is_syncing(self) -> bool:
        """Whether the background's thread lives."""
        return self._background.is_alive()

    def busy_since_s(self) -> float | None:
        """Since when the background's present cycle runs, by the monotonic clock; None between cycles."""
        return self._background.busy_since_s()

    def start_again(self) -> None:
        """Start the background anew if its thread has ended by itself."""
        self._background.revive()

    def do_nights_work(self) -> None:
        """The night's work, once a night: a checked backup of the journal, and a look through the catalogue."""
        self._nightly.run_if_due()

    def keep_house(self, most_s: float) -> None:
        """Housekeeping that is due: retention, the room on the disk, second copies.

        Args:
            most_s: about how long it may take, seconds.
        """
        end_s = self._clock.monotonic_s() + most_s
        self._tidy(lambda: self._clock.monotonic_s() < end_s)

    # ---- health ----------------------------------------------------------------------------------------------

    def health(self, *, fresh: bool = True, listed_max: int = LISTED_MAX) -> Health:
        """What is wrong with the catalogue, the deliveries and the clock, with what to do about it, and a score.

        Reads the databases alone, and remembers the figures for ``status``. Whatever syncs does the same once a night.

        Args:
            fresh: look now; else the figures of the last time, without the findings themselves.
            listed_max: list at most so many findings of each kind and dataset; all are counted.

        Raises:
            StoreBroken: a database can't be read.
        """
        last = None if fresh else read_summary(self._store.meta(SUMMARY_FACT))
        return last or self._soundly(lambda: self._validate(listed_max))

    def _validate(self, listed_max: int) -> Health:
        from edge_agent.health import Device, remember, validate

        facts, settings = self._store.all_meta(), self.settings
        device = Device(
            here=Here(settings.store_id, settings.brand_id, self._calendar()[1]),
            now=self.local_now(),
            own_now_ms=self._clock.now_ms(),
            pull_interval_s=settings.sync_interval_s or float(facts.get("sync_interval_hours", "6")) * 3600,
            last_contact_ms=self._syncer.last_contact_ms(),
            clock_offset_ms=self._timekeeper.offset_ms(),
        )
        health = validate(self._store, self._outbox, device, listed_max=listed_max)
        remember(self._store, health)
        return health.listing(listed_max)

    def kept_findings(self) -> tuple[Finding, ...]:
        """The worst of what the last look through found, as it was then: at once, a few of each kind.

        Raises:
            StoreBroken: the catalogue can't be read.
        """
        return self._soundly(lambda: read_findings(self._store.meta(FINDINGS_FACT)))

    def _validated_at(self) -> dt.datetime | None:
        """When the catalogue was last looked through; None: never, or the whole of it has come since."""
        from edge_agent.health import has_come

        last = read_summary(self._store.meta(SUMMARY_FACT))
        if last is None or (not last.has_come and has_come(self._store)):
            return None
        return last.validated_at

    # ---- being told ------------------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Be told of what this process's syncing does: ``catalogue changed``, ``sale created``,
        ``sale rejected``, ``went offline``, ``came online`` ….

        Args:
            listener: called in a thread of its own, never on the selling thread.

        Returns:
            A function that ends the subscription.
        """
        return self._news.subscribe(listener)

    # ---- showing ---------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What ``edge-agent status --json`` prints; works without a network and without a daemon."""
        return self._soundly(self._status)

    def today(self) -> Today:
        """What this device sold on the store's present business day, by state; refunds and voids apart.

        Raises:
            StoreBroken: the journal can't be read.
        """
        from edge_agent.storage.today import DayBook

        now_ms = self._clock.now_ms()
        offset_ms = round(self.now().timestamp() * 1000) - now_ms
        day, tz, currency = self.business_date(), self._calendar()[0], self.place.currency
        book = DayBook(self._journal)
        return self._soundly(lambda: book.day(day, tz, currency, now_ms=now_ms, offset_ms=offset_ms))

    def _status(self) -> dict[str, Any]:
        runs = self._background.runs
        elsewhere = not runs and self._syncer.someone_syncs()
        return build_status(
            self._journal,
            self._outbox,
            self._store,
            now_ms=self._clock.now_ms(),
            clock=self._told_of_the_clock(),
            last_contact_ms=self._syncer.last_contact_ms(),
            last_heartbeat_ms=self._syncer.last_heartbeat_ms(),
            events=None if elsewhere else self._background.events_state(),
            daemon_running=runs or elsewhere,
        )

    def _told_of_the_clock(self) -> dict[str, Any]:
        self._facts_until = -1.0  # another process may just have measured it
        self._known()
        return self._timekeeper.told()


def _new_id() -> str:
    import uuid6  # loads what only recording needs

    return str(uuid6.uuid7())
