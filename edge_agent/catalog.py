"""The catalogue as a till asks it: by id, SKU, barcode or words; promotions of a moment; categories; stock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from edge_agent.domain.catalog import Category, Product, Stock, category_tree
from edge_agent.domain.promotion import Promotion, is_active_at, read_promotion
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.journal import Journal

SEARCH_LIMIT = 50


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
    """

    def __init__(
        self,
        store: CatalogStore,
        journal: Journal,
        now: Callable[[], dt.datetime],
        calendar: Callable[[], tuple[dt.tzinfo | None, dt.time]],
    ) -> None:
        self._store = store
        self._journal = journal
        self._now = now
        self._calendar = calendar

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
        return tuple(_product(*row) for row in self._store.products_where("barcode", barcode))

    def all_by_sku(self, sku: str) -> tuple[Product, ...]:
        """Every product of a SKU, best first."""
        return tuple(_product(*row) for row in self._store.products_where("sku", sku))

    def in_category(self, category_id: str) -> tuple[Product, ...]:
        """The products of a category, without those of the categories below it."""
        return tuple(_product(*row) for row in self._store.products_where("category_id", category_id))

    def _best(self, column: str, value: str) -> Product | None:
        rows = self._store.products_where(column, value)
        return _product(*rows[0]) if rows else None

    def search(self, text: str, *, limit: int = SEARCH_LIMIT, offset: int = 0) -> Found:
        """Products whose name or SKU holds words beginning with the given ones; accents and case don't matter.

        Args:
            text: one or more words or beginnings of words; none lists everything by name.
            limit: at most so many.
            offset: how many to skip.
        """
        rows, total = self._store.search(text, limit=limit, offset=offset)
        return Found(tuple(_product(*row) for row in rows), total)

    def promotions(self, active_at: dt.datetime | None = None) -> tuple[Promotion, ...]:
        """The promotions that apply at a moment: by dates, weekdays and hours, in the store's time zone.

        Args:
            active_at: the moment; one without an offset is the store's local time. None: now, by head office's clock.
        """
        tz, day_start = self._calendar()
        moment = self._now() if active_at is None else active_at
        local = moment if moment.tzinfo is None else moment.astimezone(tz)
        # Business days and hours over midnight reach back to the day before.
        first, last = (local.date() - dt.timedelta(days=1)).isoformat(), local.date().isoformat()
        near = map(read_promotion, self._store.promotions(first_day=first, last_day=last))
        return tuple(promotion for promotion in near if is_active_at(promotion, local, day_start))

    def all_promotions(self) -> tuple[Promotion, ...]:
        """Every promotion on this device, active or not."""
        return tuple(map(read_promotion, self._store.promotions()))

    def promotion(self, code: str) -> Promotion | None:
        """A promotion by its code or id; None when there is none."""
        return next((p for p in self.all_promotions() if code in (p.code, p.id)), None)

    def categories(self) -> tuple[Category, ...]:
        """The categories as a tree, in display order."""
        rows = (msgspec.json.decode(body) for body in self._store.categories())
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

    def unknown(self, product_ids: Sequence[str]) -> list[str]:
        """Which of these ids the catalogue does not know."""
        asked = dict.fromkeys(product_ids)
        known = self._store.known_products(tuple(asked))
        return [] if len(known) == len(asked) else [product_id for product_id in asked if product_id not in known]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


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
