"""Brings the catalogue down: pages in order, each with its cursor in one transaction (G5, G6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.catalog import DATASETS, Dataset, ReadRows, RowReader
from edge_agent.domain.digest import LEAVES, scaled
from edge_agent.domain.money import CURRENCY_EXPONENT
from edge_agent.domain.overlap import ahead_s, is_stamp, less_overlap
from edge_agent.errors import ContractBroken, CursorLost, EdgeAgentError, NotSignedIn, Refused, StoreBroken, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore, PageResult, PageWrite
from edge_agent.sync.places import Places, Turns
from edge_agent.sync.report import Progress, Pulled, no_progress

PROMOTIONS_PAGE_ROWS = None  # head office's max_promotions_per_sync
_PAGES_MAX = 100_000
_ROUNDS = 3  # how often changes that arrive while changes are read are read along


def concerns_the_line(error: EdgeAgentError) -> bool:
    """Whether asking head office for anything else now is pointless."""
    if isinstance(error, Unreachable):
        return error.line_is_down or error.reason == "busy"
    return isinstance(error, (NotSignedIn, StoreBroken))


@dataclass(slots=True)
class Changes:
    """Small changes of several datasets, read but not yet applied."""

    writes: list[PageWrite] = field(default_factory=list)
    pulled: dict[Dataset, Pulled] = field(default_factory=dict)
    failed: dict[Dataset, EdgeAgentError] = field(default_factory=dict)
    cursors: dict[Dataset, str | None] = field(default_factory=dict)
    count: int = 0


@dataclass(slots=True)
class Pull:
    """Downloads of one cycle.

    Args:
        ho: head office.
        store: the catalogue.
        clock: the clock.
        settings: page size, overlap, scope.
        profile: ``native`` or ``baseline``.
        currency: the store's currency, for the prices' decimals.
        accept_sweep: a person allows a snapshot to delete more than half of a dataset.
        asked: a person asked.
        older_too: head office went back in time: its rows count although ours are newer (baseline).
        progress: told how far each download is.
    """

    ho: HeadOffice
    store: CatalogStore
    clock: Clock
    settings: Settings
    profile: str
    currency: str | None
    accept_sweep: bool = False
    asked: bool = False
    older_too: bool = False
    progress: Progress = no_progress
    places: Places = field(init=False)
    store_told: wire.Store | None = field(init=False, default=None)
    settings_told: wire.SyncSettings | None = field(init=False, default=None)
    changed: bool = field(init=False, default=False)  # whether any row is another one now
    outrun: bool = field(init=False, default=False)  # head office changed faster than it could be read: not all is here

    def __post_init__(self) -> None:
        self.places = Places(self.ho, self.store, self.clock, self.asked)

    def scope(self) -> str:
        """What a cursor was given for; when it changes, the download starts anew."""
        settings = self.settings
        return f"{self.profile}:{settings.company_id}/{settings.brand_id}/{settings.store_id}"

    def dataset(self, dataset: Dataset, *, snapshot: bool = False) -> Pulled:
        """Bring one dataset up to date.

        Args:
            dataset: which.
            snapshot: take a whole snapshot, whatever the cursor says.

        Raises:
            EdgeAgentError: by what to do; what was applied stays, the cursor stands behind it.
        """
        state = self.store.state(dataset)
        anew = snapshot or state.scope != self.scope() or (state.cursor is None and not state.in_snapshot)
        resumed = state.in_snapshot and state.cursor is not None and not anew
        if anew:
            self.store.begin_snapshot(dataset, self.scope())
        self.places.may_begin(dataset)
        pulled = Pulled()
        pages = self._native if self.profile == "native" else self._baseline
        try:
            try:
                pages(dataset, pulled)
                if resumed:  # what changed while the snapshot lay unfinished is older than the version just asked
                    pages(dataset, pulled)
            except CursorLost as error:
                self.places.lost(dataset, self.scope(), error)
                try:
                    pages(dataset, pulled)
                except CursorLost as again:
                    self.places.lost(dataset, self.scope(), again)
        finally:
            if dataset == "products":
                self.store.ensure_product_indexes()
        return pulled

    # ---- native ----------------------------------------------------------------------------------------------

    def _native(self, dataset: Dataset, pulled: Pulled) -> None:
        reader = self.reader()
        done = 0
        for asked, page, rows in self._pages(dataset, reader, self.store.state(dataset).cursor):
            before = self.store.state(dataset)
            if asked is None and page.snapshot is False:
                raise ContractBroken(
                    f"head office answers a first page of {dataset} that is no snapshot", hint="Tell head office."
                )
            # Where it does not say so, it goes on as it began.
            is_snapshot = before.in_snapshot if page.snapshot is None else page.snapshot
            if is_snapshot:
                pulled.snapshot = True
            elif before.in_snapshot and asked is not None:
                # The snapshot ended with the page before, whose next_cursor already continues as a delta.
                self._write(pulled, PageWrite(dataset=dataset, asked_cursor=asked, next_cursor=asked), True)
            self._write(pulled, _as_write(dataset, asked, page, rows), is_snapshot and not page.has_more)
            count = len(rows.good) + len(rows.refused)
            done += count
            left = (page.total_available or count) - count
            self.progress(dataset, done, done + max(left, 0))
        self._take_what_is_held(dataset, pulled)

    def _take_what_is_held(self, dataset: Dataset, pulled: Pulled) -> None:
        """A sweep of any size is taken when what it leaves equals head office's digest (contract, section 4)."""
        pulled.held = self.store.state(dataset).held_rows or 0
        if pulled.held and wire.DIGEST in self.ho.capabilities and self._head_office_agrees(dataset):
            gone = self.store.accept_sweep(dataset)
            pulled.deletes += gone
            self.changed = self.changed or gone > 0
            pulled.held = 0

    def _write(self, pulled: Pulled, page: PageWrite, completes: bool) -> None:
        page.completes_snapshot = completes
        page.sweep_allowed = self.accept_sweep
        page.synced_ms = self.clock.now_ms()
        self._count(pulled, page, self.store.apply(page))

    def _count(self, pulled: Pulled, page: PageWrite, result: PageResult) -> None:
        pulled.upserts += result.upserts
        pulled.deletes += result.deletes + result.swept
        pulled.held = result.held or pulled.held
        pulled.refused += len(page.refused)
        pulled.pages += page.pages
        self.changed = self.changed or result.changed > 0

    def _fetch(
        self, dataset: Dataset, turns: Turns, reader: RowReader, cursor: str | None
    ) -> tuple[wire.Page, ReadRows]:
        """One page and its rows."""
        limit = self.settings.page_rows if dataset != "promotions" else PROMOTIONS_PAGE_ROWS
        try:
            page = self.ho.page(dataset, cursor=cursor, limit=limit, updated_since=None)
        except Refused as error:
            if error.status == 400 and not error.ho_code and cursor is not None:  # it is the cursor that it can't read
                raise CursorLost(error.message, status=error.status) from error
            raise
        turns.check(page, cursor)
        rows = reader.read(dataset, page.rows)
        return msgspec.structs.replace(page, rows=[]), rows  # a whole answer hangs on the undecoded ones

    def whole(self, dataset: Dataset) -> Iterator[ReadRows]:
        """A native head office's snapshot, page by page, only to be looked at.

        Raises:
            EdgeAgentError: by what to do.
        """
        for _, page, rows in self._pages(dataset, self.reader(), None):
            if page.snapshot is False:
                return
            yield rows

    def _pages(
        self, dataset: Dataset, reader: RowReader, cursor: str | None
    ) -> Iterator[tuple[str | None, wire.Page, ReadRows]]:
        """Pages in order; while one is applied, the next one is fetched and decoded."""
        turns = self.places.turns(dataset)
        page, rows = self._fetch(dataset, turns, reader, cursor)
        with ThreadPoolExecutor(1, thread_name_prefix="edge-agent-fetch") as pool:
            for _ in range(_PAGES_MAX):
                following = None
                if page.has_more:
                    following = pool.submit(self._fetch, dataset, turns, reader, page.next_cursor)
                yield cursor, page, rows
                if following is None:
                    return
                cursor = page.next_cursor
                page, rows = following.result()
        raise ContractBroken(f"head office's {dataset} have no end", hint="Tell head office.")

    def _head_office_agrees(self, dataset: Dataset) -> bool:
        """Whether head office's digest, at our cursor, equals what a held sweep would leave (contract, section 4)."""
        try:
            digest = self.ho.digest(dataset)
        except (Unreachable, Refused, ContractBroken):
            return False
        if digest.cursor != self.store.state(dataset).cursor or not 0 < len(digest.leaves) <= LEAVES:
            return False
        left = self.store.leaves_after_sweep(dataset)
        said = [text.lower().rjust(16, "0") for text in digest.leaves]
        return digest.count == left.count and said == scaled(left.versions, len(said))

    # ---- small changes of all datasets together ----------------------------------------------------------------

    def go_on_from_cursors(self, datasets: Collection[Dataset]) -> bool:
        """Whether all of these datasets only have to go on from where they stand."""
        states = [self.store.state(dataset) for dataset in datasets]
        return self.profile == "native" and all(
            s.cursor is not None and not s.in_snapshot and s.scope == self.scope() and not s.held_rows for s in states
        )

    def together(
        self,
        datasets: Sequence[Dataset],
        moved_on: Callable[[], Collection[Dataset]],
        inseparable: Collection[Dataset] = (),
    ) -> tuple[dict[Dataset, Pulled], dict[Dataset, EdgeAgentError]]:
        """Bring datasets up to date in one transaction, when few rows changed: a price and its promotion change
        together (G6). Many rows are applied page by page.

        Args:
            datasets: which; each stands at a cursor.
            moved_on: asks head office which datasets changed since this sync began, or since it was last asked.
            inseparable: datasets that changed together: all of them are applied, or none.

        Returns:
            What each brought, and why some did not finish.

        Raises:
            EdgeAgentError: head office can't be asked at all.
        """
        changes = Changes(pulled={dataset: Pulled() for dataset in datasets})
        ask: Collection[Dataset] = datasets
        for _ in range(_ROUNDS):
            before = changes.count
            for dataset in (one for one in DATASETS if one in ask and one not in changes.failed):
                changes.pulled.setdefault(dataset, Pulled())
                if not self._gather(dataset, changes):
                    return self._one_by_one(changes)
            ask = moved_on() if changes.count != before else ()
            if not ask:
                break
        self.outrun = bool(ask)
        if any(d in inseparable and not isinstance(error, CursorLost) for d, error in changes.failed.items()):
            changes.writes = [write for write in changes.writes if write.dataset not in inseparable]
        results = self.store.apply_together(changes.writes)
        for page, result in zip(changes.writes, results, strict=True):
            self._count(changes.pulled[page.dataset], page, result)  # type: ignore[index]
        for dataset, error in list(changes.failed.items()):
            if isinstance(error, CursorLost):
                del changes.failed[dataset]
                self._alone(dataset, changes, error)
        return changes.pulled, changes.failed

    def _gather(self, dataset: Dataset, changes: Changes) -> bool:
        """Read a dataset's changes; False when there are too many to hold."""
        reader, turns = self.reader(), self.places.turns(dataset)
        limit = self.settings.small_delta_rows
        cursor = changes.cursors.get(dataset) or self.store.state(dataset).cursor
        for _ in range(_PAGES_MAX):
            try:
                page, rows = self._fetch(dataset, turns, reader, cursor)
            except EdgeAgentError as error:
                if concerns_the_line(error):
                    raise
                changes.failed[dataset] = error
                return True
            write = _as_write(dataset, cursor, page, rows)
            write.synced_ms = self.clock.now_ms()
            changes.writes.append(write)
            changes.count += len(rows.good) + len(rows.refused) + len(write.deleted_ids)
            changes.cursors[dataset] = cursor = page.next_cursor
            self.progress(dataset, changes.count, changes.count + (page.total_available or 0) * page.has_more)
            if not page.has_more:
                return changes.count <= limit
            if changes.count > limit:
                return False
        return False

    def _one_by_one(self, changes: Changes) -> tuple[dict[Dataset, Pulled], dict[Dataset, EdgeAgentError]]:
        """Too many: what was read is applied page by page, and so is the rest."""
        for write in changes.writes:
            self._write(changes.pulled[write.dataset], write, False)  # type: ignore[index]
        changes.failed.clear()
        for dataset in list(changes.pulled):
            self._alone(dataset, changes)
        return changes.pulled, changes.failed

    def _alone(self, dataset: Dataset, changes: Changes, lost: CursorLost | None = None) -> None:
        try:
            if lost is not None:
                self.places.lost(dataset, self.scope(), lost)
            changes.pulled[dataset].add(self.dataset(dataset))
        except EdgeAgentError as error:
            if concerns_the_line(error):
                raise
            changes.failed[dataset] = error

    # ---- baseline --------------------------------------------------------------------------------------------

    def _baseline(self, dataset: Dataset, pulled: Pulled) -> None:
        """One answer of everything since the last one, less the overlap; a first or full one is a snapshot."""
        state = self.store.state(dataset)
        since = None if state.in_snapshot else self._since(state.cursor or "")
        page = self.whole_list(dataset, since)
        rows = self.reader().read(dataset, page.rows)
        cut = cut_short(page)
        stamp = page.sync_timestamp if is_stamp(page.sync_timestamp or "") else None
        write = _as_write(dataset, state.cursor, page, rows)
        # Behind a cut are rows that were not sent: the place stays (G5). Without a stamp there is none to go on from.
        write.next_cursor = state.cursor if cut else stamp
        write.newer_only = True
        write.older_too = self.older_too
        self._write(pulled, write, state.in_snapshot and not cut)  # a truncated answer never sweeps
        reason = cut
        if reason is None and stamp is None:
            reason = "head office tells no time to go on from, so that the whole list is asked for each time"
        self.store.mark_incomplete(dataset, reason, self.clock.now_ms())
        pulled.snapshot = state.in_snapshot
        self.progress(dataset, len(page.rows), len(page.rows))

    def _since(self, cursor: str) -> str:
        """``updated_since``: head office's stamp less the overlap."""
        now = self.ho.timekeeper.now()
        return less_overlap(cursor, self.settings.overlap_s + ahead_s(cursor, now))

    def whole_list(self, dataset: Dataset, since: str | None = None) -> wire.Page:
        """A baseline head office's answer: everything, or everything since a moment.

        Raises:
            EdgeAgentError: by what to do.
        """
        page = self.ho.page(dataset, cursor=None, limit=None, updated_since=since)
        self.store_told = page.store or self.store_told
        self.settings_told = page.settings or self.settings_told
        return page

    def reader(self) -> RowReader:
        """Reads rows as this pull's profile and currency want it."""
        return RowReader(exponent=self._exponent(), ordered_by_time=self.profile != "native")

    def _exponent(self) -> int:
        return CURRENCY_EXPONENT.get(self.currency or "", 2)


def cut_short(page: wire.Page) -> str | None:
    """How a baseline answer was cut short, in words; None when it was not (contract, section 4)."""
    if page.total_available is not None:
        return f"{len(page.rows)} of {page.total_available} sent" if len(page.rows) < page.total_available else None
    # It does not say how many there are; but it says how many it sends at most.
    most = page.settings.max_promotions_per_sync if page.settings is not None else None
    if most is None or len(page.rows) < most:
        return None
    return (
        f"{len(page.rows)} sent, which is as many as head office sends at once; whether there are more it does not say"
    )


def _as_write(dataset: str, asked: str | None, page: wire.Page, rows: ReadRows) -> PageWrite:
    return PageWrite(
        dataset=dataset,
        asked_cursor=asked,
        next_cursor=page.next_cursor,
        rows=rows.good,
        refused=rows.refused,
        deleted_ids=page.deleted_ids or (),
        pages=1,
    )
