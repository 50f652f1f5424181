"""What a shop asks of its day: what was sold by state, and which products run low."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Sum:
    """How many, and what they come to in the store's currency."""

    count: int = 0
    total: Decimal = Decimal(0)

    def plus(self, count: int, total: Decimal) -> Sum:
        """Some more of them."""
        return Sum(self.count + count, self.total + total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """A business day's sales in this journal.

    Args:
        business_date: the day.
        currency: the currency of the sums; None while nothing tells it.
        sales: sales by state (``pending``, ``delivered``, ``quarantined``), refunds and voids apart.
        refunds: what was refunded; the sum is positive.
        voids: what was taken back; the sum is positive.
        net: sales less refunds and voids.
        hours: the same net figure by the hour in which it was recorded, 0 to 23 in the store's time zone.
        others: the net figures in other currencies, where there are any.
    """

    business_date: dt.date
    currency: str | None
    sales: Mapping[str, Sum]
    refunds: Sum
    voids: Sum
    net: Decimal
    hours: Mapping[int, Sum]
    others: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class LowProduct:
    """A product of which less is available than its reorder level."""

    id: str
    name: str
    available: Decimal
    reorder_level: Decimal


@dataclass(frozen=True, slots=True)
class LowStock:
    """Products below their reorder level.

    Args:
        products: the scarcest first: what is left as a share of the reorder level, then by name.
        total: how many there are, listed or not; None while head office gives no figures: unknown, not zero.
        as_of: when head office's figures were pulled (UTC, ISO 8601).
        is_whole: whether all own sales outside head office's figures are counted yet.
    """

    products: tuple[LowProduct, ...]
    total: int | None
    as_of: str | None
    is_whole: bool = True


def scarcity(product: LowProduct) -> tuple[Decimal, str, str]:
    """The order of a list of low stock."""
    share = product.available / product.reorder_level if product.reorder_level else product.available
    return share, product.name, product.id
