"""Brings stock figures down, with the sales they contain (contract, section 4: stock)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.catalog import RefusedRow, quantity_text, refuse_row
from edge_agent.domain.ids import is_uuid
from edge_agent.errors import ContractBroken, CursorLost
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore, PageWrite
from edge_agent.sync.places import Places
from edge_agent.sync.report import Pulled

_PAGES_MAX = 100_000


@dataclass(slots=True)
class PullStock:
    """The stock feed of one cycle.

    Args:
        ho: head office.
        store: the catalogue.
        clock: the clock.
        settings: page size.
        places: watches over cursors.
        scope: what the catalogue's cursors were given for.
    """

    ho: HeadOffice
    store: CatalogStore
    clock: Clock
    settings: Settings
    places: Places
    scope: str

    def run(self, journal_id: str, *, snapshot: bool = False) -> Pulled:
        """Bring stock figures up to date.

        Args:
            journal_id: the journal whose sales are asked for; another one starts the feed anew.
            snapshot: take all figures again.

        Raises:
            EdgeAgentError: by what to do; what was applied stays.
        """
        scope = f"{self.scope}#{journal_id}"
        state = self.store.state("stock")
        if snapshot or state.scope != scope or (state.cursor is None and not state.in_snapshot):
            self.store.begin_snapshot("stock", scope)
        self.places.may_begin("stock")
        pulled = Pulled()
        try:
            self._pages(journal_id, pulled)
        except CursorLost as error:
            self.places.lost("stock", scope, error)
            pulled.snapshot = True
            try:
                self._pages(journal_id, pulled)
            except CursorLost as again:
                self.places.lost("stock", scope, again)
        return pulled

    def _pages(self, journal_id: str, pulled: Pulled) -> None:
        turns = self.places.turns("stock")
        for _ in range(_PAGES_MAX):
            state = self.store.state("stock")
            page = self.ho.stock(journal_id=journal_id, cursor=state.cursor, limit=self.settings.page_rows)
            turns.check(page, state.cursor)
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
            is_snapshot = state.in_snapshot if page.snapshot is None else page.snapshot
            self._write(pulled, write, is_snapshot and not page.has_more)
            pulled.pages += 1
            pulled.refused += len(refused)
            pulled.snapshot = pulled.snapshot or is_snapshot
            if not page.has_more:
                return
        raise ContractBroken("head office's stock has no end", hint="Tell head office.")

    def _write(self, pulled: Pulled, write: PageWrite, completes: bool) -> None:
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
            quantity = quantity_text(row.quantity)
            level = None if row.reorder_level is None else quantity_text(row.reorder_level)
        except (ValueError, RecursionError) as error:
            refused.append(refuse_row(bytes(raw), str(error) or "not a number", key="product_id"))
            continue
        rows.append((row.product_id, quantity, level))
    return rows, refused
