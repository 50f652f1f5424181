"""Brings the catalogue down: pages in order, each with its cursor in one transaction (G5, G6)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.catalog import Dataset, ReadRows, RefusedRow, RowReader, refuse_row
from edge_agent.domain.digest import leaves
from edge_agent.domain.ids import is_uuid
from edge_agent.domain.money import CURRENCY_EXPONENT
from edge_agent.domain.overlap import less_overlap
from edge_agent.errors import ContractBroken, CursorLost, Refused, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore, PageWrite
from edge_agent.sync.report import Progress, Pulled, no_progress

PROMOTIONS_PAGE_ROWS = None  # head office's max_promotions_per_sync
_PAGES_MAX = 100_000


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
    """

    ho: HeadOffice
    store: CatalogStore
    clock: Clock
    settings: Settings
    profile: str
    currency: str | None
    accept_sweep: bool = False
    progress: Progress = no_progress
    store_told: wire.Store | None = field(init=False, default=None)
    settings_told: wire.SyncSettings | None = field(init=False, default=None)
    lost_place: bool = field(init=False, default=False)  # head office no longer knew a cursor it had given
    _epoch: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._epoch = self.ho.epoch

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
        pulled = Pulled()
        pages = self._native if self.profile == "native" else self._baseline
        try:
            try:
                pages(dataset, pulled)
                if resumed:  # what changed while the snapshot lay unfinished is older than the version just asked
                    pages(dataset, pulled)
            except CursorLost:
                if self.store.state(dataset).cursor is None:
                    raise ContractBroken(
                        f"head office refuses even a first page of {dataset}", hint="Tell head office."
                    ) from None
                self.lost_place = True
                self.store.begin_snapshot(dataset, self.scope())
                pages(dataset, pulled)
        except CursorLost as error:
            raise ContractBroken(
                f"head office forgets its place in {dataset} while it is read: {error.message}",
                hint="Tell head office; the catalogue stays as it is, and the next sync tries again.",
            ) from error
        finally:
            if dataset == "products":
                self.store.ensure_product_indexes()
        return pulled

    # ---- native ----------------------------------------------------------------------------------------------

    def _native(self, dataset: Dataset, pulled: Pulled) -> None:
        reader = RowReader(exponent=self._exponent())
        done = 0
        for asked, page, rows in self._pages(dataset, reader):
            before = self.store.state(dataset)
            if page.snapshot:
                pulled.snapshot = True
            elif before.in_snapshot and asked is not None:
                # The snapshot ended with the page before, whose next_cursor already continues as a delta.
                self._write(dataset, pulled, PageWrite(dataset=dataset, asked_cursor=asked, next_cursor=asked), True)
            self._write(
                dataset,
                pulled,
                PageWrite(
                    dataset=dataset,
                    asked_cursor=asked,
                    next_cursor=page.next_cursor,
                    rows=rows.good,
                    refused=rows.refused,
                    deleted_ids=page.deleted_ids or (),
                ),
                page.snapshot and not page.has_more,
            )
            pulled.pages += 1
            pulled.refused += len(rows.refused)
            count = len(rows.good) + len(rows.refused)
            done += count
            left = (page.total_available or count) - count
            self.progress(dataset, done, done + max(left, 0))
        pulled.held = self.store.state(dataset).held_rows or 0
        if pulled.held and wire.DIGEST in self.ho.capabilities and self._head_office_agrees(dataset):
            pulled.deletes += self.store.accept_sweep(dataset)
            pulled.held = 0

    def _write(self, dataset: Dataset, pulled: Pulled, page: PageWrite, completes: bool) -> None:
        page.completes_snapshot = completes
        page.sweep_allowed = self.accept_sweep
        page.synced_ms = self.clock.now_ms()
        result = self.store.apply(page)
        pulled.upserts += result.upserts
        pulled.deletes += result.deletes + result.swept
        pulled.held = result.held or pulled.held

    def _pages(self, dataset: Dataset, reader: RowReader) -> Iterator[tuple[str | None, wire.Page, ReadRows]]:
        """Pages in order; while one is read and applied, the next one is already on its way."""
        limit = self.settings.page_rows if dataset != "promotions" else PROMOTIONS_PAGE_ROWS

        def fetch(cursor: str | None) -> wire.Page:
            page = self.ho.page(dataset, cursor=cursor, limit=limit, updated_since=None)
            self._check_page(dataset, page, cursor)
            return page

        cursor = self.store.state(dataset).cursor
        page = fetch(cursor)
        with ThreadPoolExecutor(1, thread_name_prefix="edge-agent-fetch") as pool:
            for _ in range(_PAGES_MAX):
                following = pool.submit(fetch, page.next_cursor) if page.has_more else None
                rows = reader.read(dataset, page.rows)
                page = msgspec.structs.replace(page, rows=[])  # a whole answer hangs on them
                yield cursor, page, rows
                if following is None:
                    return
                cursor = page.next_cursor
                page = following.result()
        raise ContractBroken(f"head office's {dataset} have no end", hint="Tell head office.")

    def _check_page(self, dataset: str, page: wire.Page | wire.StockPage, asked: str | None) -> None:
        """What must hold before a page may move the cursor (G5)."""
        if self.ho.epoch != self._epoch:
            raise ContractBroken(
                "head office was restored from a backup during this sync", hint="Nothing to do: it is asked again."
            )
        if page.next_cursor is None:
            raise ContractBroken(f"head office's {dataset} page has no next_cursor", hint="Tell head office.")
        if page.has_more and page.next_cursor == asked:
            raise ContractBroken(
                f"head office's {dataset} page leads back to itself", hint="Tell head office; nothing was lost."
            )

    def _head_office_agrees(self, dataset: Dataset) -> bool:
        """Whether head office's digest, at our cursor, equals what a held sweep would leave (contract, section 4)."""
        try:
            digest = self.ho.digest(dataset)
        except (Unreachable, Refused, ContractBroken):
            return False
        rows = self.store.row_versions_of_present_generation(dataset)
        mine = leaves(rows, len(digest.leaves)) if digest.leaves else None
        same_place = digest.cursor == self.store.state(dataset).cursor
        return same_place and digest.count == len(rows) and digest.leaves == mine

    # ---- baseline --------------------------------------------------------------------------------------------

    def _baseline(self, dataset: Dataset, pulled: Pulled) -> None:
        """One answer of everything since the last one, less the overlap; a first or full one is a snapshot."""
        state = self.store.state(dataset)
        since = None if state.in_snapshot else less_overlap(state.cursor or "", self.settings.overlap_s)
        page = self.ho.page(dataset, cursor=None, limit=None, updated_since=since)
        self.store_told = page.store or self.store_told
        self.settings_told = page.settings or self.settings_told
        if not page.sync_timestamp:
            raise ContractBroken(f"head office's {dataset} have no sync_timestamp", hint="Tell head office.")
        rows = RowReader(exponent=self._exponent(), ordered_by_time=True).read(dataset, page.rows)
        cut = page.total_available is not None and len(page.rows) < page.total_available
        complete = state.in_snapshot and not cut  # a truncated answer never sweeps
        self._write(
            dataset,
            pulled,
            PageWrite(
                dataset=dataset,
                asked_cursor=state.cursor,
                # Behind a cut are rows that were not sent: the place stays (G5).
                next_cursor=state.cursor if cut else page.sync_timestamp,
                rows=rows.good,
                refused=rows.refused,
                deleted_ids=page.deleted_ids or (),
                newer_only=True,
            ),
            complete,
        )
        reason = f"{len(page.rows)} of {page.total_available} sent" if cut else None
        self.store.mark_incomplete(dataset, reason)
        pulled.pages += 1
        pulled.snapshot = state.in_snapshot
        pulled.refused += len(rows.refused)
        self.progress(dataset, len(page.rows), len(page.rows))

    def _exponent(self) -> int:
        return CURRENCY_EXPONENT.get(self.currency or "", 2)

    # ---- stock -----------------------------------------------------------------------------------------------

    def stock(self, journal_id: str, *, snapshot: bool = False) -> Pulled:
        """Bring stock figures up to date, with the sales they contain (contract, section 4: stock).

        Args:
            journal_id: the journal whose sales are asked for; another one starts the feed anew.
            snapshot: take all figures again.
        """
        scope = f"{self.scope()}#{journal_id}"
        state = self.store.state("stock")
        if snapshot or state.scope != scope or (state.cursor is None and not state.in_snapshot):
            self.store.begin_snapshot("stock", scope)
        pulled = Pulled()
        try:
            self._stock_pages(journal_id, pulled)
        except CursorLost:
            self.store.begin_snapshot("stock", scope)
            pulled.snapshot = True
            self._stock_pages(journal_id, pulled)
        return pulled

    def _stock_pages(self, journal_id: str, pulled: Pulled) -> None:
        for _ in range(_PAGES_MAX):
            state = self.store.state("stock")
            page = self.ho.stock(journal_id=journal_id, cursor=state.cursor, limit=self.settings.page_rows)
            self._check_page("stock", page, state.cursor)
            if not page.has_more and page.seen is None:
                raise ContractBroken("head office's stock does not say which sales it contains", hint="Tell them.")
            rows, refused = _stock_rows(page.stock)
            write = PageWrite(
                dataset="stock",
                asked_cursor=state.cursor,
                next_cursor=page.next_cursor,
                rows=rows,
                refused=refused,
                deleted_ids=page.deleted_ids or (),
            )
            if page.seen is not None and not page.has_more:  # taken over with the last page alone
                seen = {"journal_id": journal_id, **msgspec.to_builtins(page.seen)}
                write.meta = {"stock_seen": msgspec.json.encode(seen).decode()}
            self._write_stock(pulled, write, page.snapshot and not page.has_more)
            pulled.pages += 1
            pulled.refused += len(refused)
            pulled.snapshot = pulled.snapshot or page.snapshot
            if not page.has_more:
                return
        raise ContractBroken("head office's stock has no end", hint="Tell head office.")

    def _write_stock(self, pulled: Pulled, write: PageWrite, completes: bool) -> None:
        write.completes_snapshot = completes
        write.sweep_allowed = True
        write.synced_ms = self.clock.now_ms()
        result = self.store.apply(write)
        pulled.upserts += result.upserts
        pulled.deletes += result.deletes + result.swept


def _stock_rows(raws: list[msgspec.Raw]) -> tuple[list[tuple[str, str, str | None]], list[RefusedRow]]:
    """Stock rows in the store's form, and those that break the contract."""
    decode = msgspec.json.Decoder(wire.StockRow).decode
    rows, refused = [], []
    for raw in raws:
        try:
            row = decode(raw)
            if not is_uuid(row.product_id):
                raise ValueError("product_id is not an id")
            quantity = _decimal_text(row.quantity)
            level = None if row.reorder_level is None else _decimal_text(row.reorder_level)
        except (ValueError, InvalidOperation) as error:
            refused.append(refuse_row(bytes(raw), str(error) or "not a number", key="product_id"))
            continue
        rows.append((row.product_id, quantity, level))
    return rows, refused


def _decimal_text(value: str | float) -> str:
    number = Decimal(value if isinstance(value, str) else repr(value))
    if not number.is_finite() or abs(number) > 10**12:
        raise ValueError(f"{value} is not a quantity")
    return f"{number:f}"
