"""The catalogue as a till asks it: by id, SKU, barcode or words; promotions of a moment; categories; stock."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from edge_agent.domain.applicability import Here
from edge_agent.domain.catalog import Category, Product, Stock, category_tree
from edge_agent.domain.checkout import OFFER_OTHERS, LineCheck, Listed, check_line
from edge_agent.domain.promotion import Promotion, is_active_at, read_promotion
from edge_agent.domain.sale import Item
from edge_agent.domain.today import LowStock
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.checkout import Checkout
from edge_agent.storage.journal import Journal
from edge_agent.storage.low_stock import StockLevels

if TYPE_CHECKING:
    from edge_agent.domain.explain import Explanation

T = TypeVar("T")
SEARCH_LIMIT = 50
ALTERNATIVES_LIMIT = 5
LOW_STOCK_LIMIT = 50
_SPOILT = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, InvalidOperation, RecursionError)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, best first, and how many there are in all."""

    products: tuple[Product, ...]
    total: int


class Catalog:
    """Look-ups in the local catalogue. They never touch the network and never wait for a sync (G9).

    Args:
        store: the catalogue's file.
        journal: this device's own sales, for the stock that is left.
        now: the present moment by head office's clock.
        calendar: the store's time zone (None: this device's) and when its day begins.
        store_id: this device's store.
        brand_id: the brand it sells.
        last_contact_ms: when head office last answered a cycle, milliseconds since 1970; None: never.
    """

    def __init__(
        self,
        store: CatalogStore,
        journal: Journal,
        now: Callable[[], dt.datetime],
        calendar: Callable[[], tuple[dt.tzinfo | None, dt.time]],
        *,
        store_id: str,
        brand_id: str,
        last_contact_ms: Callable[[], int | None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._stock_levels = StockLevels(store, journal)
        self._now = now
        self._calendar = calendar
        self._store_id = store_id
        self._brand_id = brand_id
        self._last_contact_ms = last_contact_ms

    def by_id(self, product_id: str) -> Product | None:
        """The product of an id, active or not; None when the catalogue does not know it."""
        return self._best("id", product_id)

    def by_sku(self, sku: str) -> Product | None:
        """The best product of a SKU: active, then newest, then most complete; None when there is none."""
        return self._best("sku", sku)

    def by_barcode(self, barcode: str) -> Product | None:
        """The best product of a barcode, by the same rule; ``all_by_barcode`` gives every one."""
        return self._best("barcode", barcode)

    def all_by_barcode(self, barcode: str) -> tuple[Product, ...]:
        """Every product of a barcode, best first."""
        return _products(self._store.products_where("barcode", barcode))

    def all_by_sku(self, sku: str) -> tuple[Product, ...]:
        """Every product of a SKU, best first."""
        return _products(self._store.products_where("sku", sku))

    def in_category(self, category_id: str) -> tuple[Product, ...]:
        """The products of a category, without those of the categories below it."""
        return _products(self._store.products_where("category_id", category_id))

    def _best(self, column: str, value: str) -> Product | None:
        rows = self._store.products_where(column, value)
        return next(iter(_products(rows)), None)

    def search(self, text: str, *, limit: int = SEARCH_LIMIT, offset: int = 0) -> Found:
        """Products whose name or SKU holds words beginning with the given ones; accents and case don't matter.

        Args:
            text: one or more words or beginnings of words; none lists everything by name.
            limit: at most so many.
            offset: how many to skip.
        """
        rows, total = self._store.search(text, limit=limit, offset=offset)
        return Found(_products(rows), total)

    def promotions(self, active_at: dt.datetime | None = None) -> tuple[Promotion, ...]:
        """The promotions that apply at a moment: by dates, weekdays and hours, in the store's time zone.

        Args:
            active_at: the moment; one without an offset is the store's local time. None: now, by head office's clock.
        """
        local, day_start = self._local(active_at)
        # Business days and hours over midnight reach back to the day before.
        first, last = (local.date() - dt.timedelta(days=1)).isoformat(), local.date().isoformat()
        near = _readable(read_promotion, self._store.promotions(first_day=first, last_day=last))
        return tuple(promotion for promotion in near if is_active_at(promotion, local, day_start))

    def _local(self, moment: dt.datetime | None) -> tuple[dt.datetime, dt.time]:
        """A moment in the store's time zone (None: now), and when its day begins."""
        tz, day_start = self._calendar()
        moment = self._now() if moment is None else moment
        return (moment if moment.tzinfo is None else moment.astimezone(tz)), day_start

    def local_time(self) -> tuple[dt.datetime, dt.time]:
        """The present moment in the store's time zone, by head office's clock, and when the store's day begins."""
        return self._local(None)

    def all_promotions(self) -> tuple[Promotion, ...]:
        """Every promotion on this device, active or not."""
        return tuple(_readable(read_promotion, self._store.promotions()))

    def promotion(self, code: str) -> Promotion | None:
        """A promotion by its code or id; None when there is none."""
        return next((p for p in self.all_promotions() if code in (p.code, p.id)), None)

    def explain(self, code: str, at: dt.datetime | None = None) -> Explanation:
        """Why a promotion applies on this till at a moment, or does not, or is not here at all.

        Args:
            code: its code or id.
            at: the moment; one without an offset is the store's local time. None: now, by head office's clock.

        Raises:
            StoreBroken: the catalogue can't be read.

        Contract: sections 4 and 7.
        """
        from edge_agent.explaining import explain

        local, day_start = self._local(at)
        here = Here(self._store_id, self._brand_id, day_start)
        now, _ = self._local(None)
        return explain(self._store, code, local, here, now=now, last_contact_ms=self._last_contact_ms())

    def check(self, items: Sequence[Item | str]) -> tuple[LineCheck, ...]:
        """Whether each line can be sold as the catalogue says: known, active, its category active, its price the same.

        Asked before payment. It refuses nothing: what is not ok can be recorded all the same.

        Args:
            items: lines as a sale has them, or product ids alone.

        Returns:
            One result a line, in order; where the product can't be sold, with alternatives.

        Raises:
            StoreBroken: the catalogue can't be read.
        """
        lines = [Item(product=item) if isinstance(item, str) else item for item in items]
        ids = tuple(dict.fromkeys(line.product for line in lines if line.product is not None))
        found = {
            row_id: Listed(product, row.category, row.category_is_active)
            for row_id, row in Checkout(self._store).products(ids).items()
            for product in _products([(row.body, row.price)])
        }
        results = []
        for place, line in enumerate(lines, 1):
            result = check_line(place, line, found.get(line.product or ""))
            if result.problem in OFFER_OTHERS and result.product_id is not None:
                result = replace(result, alternatives=self.alternatives(result.product_id))
            elif line.product_data is not None:
                result = replace(result, alternatives=self.alternatives("", sku=line.product_data.sku))
            results.append(result)
        return tuple(results)

    def alternatives(
        self,
        product: Product | str,
        limit: int = ALTERNATIVES_LIMIT,
        *,
        sku: str | None = None,
        barcode: str | None = None,
    ) -> tuple[Product, ...]:
        """What could be sold instead: active products of the same category that have a price, the nearest price first,
        then by name.

        Args:
            product: the product, or its id.
            limit: at most so many.
            sku: for an id that the catalogue does not know: active products of this SKU that have a price.
            barcode: likewise.
        """
        known = product if isinstance(product, Product) else self.by_id(product)
        if known is None:
            found = {
                one.id: one
                for one in (
                    *(self.all_by_barcode(barcode) if barcode else ()),
                    *(self.all_by_sku(sku) if sku else ()),
                )
                if one.is_active and one.price is not None
            }
            return tuple(found.values())[:limit]
        if known.category_id is None:
            return ()
        rows = Checkout(self._store).alternatives(known.category_id, but=known.id, near=known.price, limit=limit)
        return _products(rows)

    def categories(self) -> tuple[Category, ...]:
        """The categories as a tree, in display order."""
        rows = _readable(_category, self._store.categories())
        return category_tree(
            Category(row["id"], row["name"], row.get("parent_id"), row.get("is_active") is not False, (), row)
            for row in rows
        )

    def stock(self, product_id: str) -> Stock | None:
        """What is there of a product, computed from head office's figure and own sales it does not contain yet.

        Returns:
            None when head office gives no figure: unknown, not zero.
        """
        row = self._store.stock(product_id)
        if row is None:
            return None
        seen = self._store.meta("stock_seen")
        unseen = self._journal.unseen_milli([product_id], msgspec.json.decode(seen) if seen else {})[product_id]
        quantity = Decimal(row[0])
        synced_ms = self._store.state("stock").synced_ms
        as_of = None if synced_ms is None else dt.datetime.fromtimestamp(synced_ms / 1000, dt.UTC)
        return Stock(
            quantity=quantity,
            available=quantity - Decimal(unseen) / 1000,
            reorder_level=None if row[1] is None else Decimal(row[1]),
            as_of=None if as_of is None else as_of.isoformat(timespec="seconds").replace("+00:00", "Z"),
        )

    def low_stock(self, limit: int = LOW_STOCK_LIMIT) -> LowStock:
        """Active products of which less is available than their reorder level, the scarcest first; all are counted.

        Args:
            limit: list at most so many.

        Raises:
            StoreBroken: a database can't be read.

        Contract: section 4, stock.
        """
        return self._stock_levels.low(limit)

    def unknown(self, product_ids: Sequence[str]) -> list[str]:
        """Which of these ids the catalogue does not know."""
        asked = dict.fromkeys(product_ids)
        known = self._store.known_products(tuple(asked))
        return [] if len(known) == len(asked) else [product_id for product_id in asked if product_id not in known]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _readable(read: Callable[[bytes], T], bodies: Iterable[bytes]) -> Iterator[T]:
    """What can be read. A row that damage spoilt is left out until it comes anew; it must not stop a till."""
    for body in bodies:
        with contextlib.suppress(*_SPOILT):
            yield read(body)


def _products(rows: Iterable[tuple[bytes, str | None]]) -> tuple[Product, ...]:
    found = []
    for body, price in rows:
        with contextlib.suppress(*_SPOILT):
            found.append(_product(body, price))
    return tuple(found)


def _category(body: bytes) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.json.decode(body)
    row["id"], row["name"]
    return row


def _product(body: bytes, price: str | None) -> Product:
    row = msgspec.json.decode(body)
    return Product(
        id=row["id"],
        name=row["name"],
        sku=_text(row.get("sku")),
        barcode=_text(row.get("barcode")),
        price=None if price is None else Decimal(price),
        category_id=row.get("category_id"),
        is_active=row.get("is_active") is not False,
        is_volatile=row.get("is_volatile") is True,
        fields=row,
    )
