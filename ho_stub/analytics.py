"""What was sold, by business date: exact sums, refunds and voids subtracted (contract section 5)."""

import calendar
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ho_stub.database import Database, Row
from ho_stub.sale import SIGN
from ho_stub.stock import quantity_text

SUMS = """
SELECT sale.business_date, sale.currency, sale.exponent, sale.kind, count(DISTINCT sale.id), sum(sale_line.quantity),
  sum(sale_line.amount)
FROM sale JOIN sale_line ON sale_line.sale_id = sale.id WHERE {where}
GROUP BY sale.business_date, sale.currency, sale.exponent, sale.kind"""
Days = tuple[date, date]  # the first and the last
KIND_COUNTS = {"sale": "sales", "refund": "refunds", "void": "voids"}


@dataclass(frozen=True, slots=True)
class AnalyticsQuery:
    """What is asked: one of PERIODS; an empty text means any. Business dates, both included."""

    period: str = "daily"
    product_id: str = ""
    store_id: str = ""
    start_date: str = ""
    end_date: str = ""


@dataclass
class Sums:
    """Sums of a period in one currency, in minor units and thousandths."""

    exponent: int
    sales: int = 0
    refunds: int = 0
    voids: int = 0
    quantity: int = 0
    amount: int = 0

    def add(self, kind: str, count: int, quantity: int, amount: int) -> None:
        """Take in a day's sales of one kind."""
        name = KIND_COUNTS[kind]
        setattr(self, name, getattr(self, name) + count)
        self.quantity += SIGN[kind] * quantity
        self.amount += SIGN[kind] * amount

    def told(self) -> dict[str, Any]:
        """The figures as JSON."""
        counts = {name: getattr(self, name) for name in KIND_COUNTS.values()}
        amount = f"{Decimal(self.amount).scaleb(-self.exponent):.{self.exponent}f}"
        return counts | {"quantity": quantity_text(self.quantity), "total_amount": amount}


def _week(day: date) -> Days:
    first = day - timedelta(days=day.weekday())
    return first, date.fromordinal(min(first.toordinal() + 6, date.max.toordinal()))


def _month(day: date) -> Days:
    return day.replace(day=1), day.replace(day=calendar.monthrange(day.year, day.month)[1])


# Weeks are those of ISO 8601: from Monday to Sunday.
PERIODS: dict[str, Callable[[date], Days]] = {"daily": lambda day: (day, day), "weekly": _week, "monthly": _month}


class Analytics:
    """Reads only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def report(self, wanted: AnalyticsQuery) -> dict[str, Any]:
        """The figures of each period in which anything was sold, and of all together, for each currency on its own."""
        periods: dict[tuple[date, str], Sums] = {}
        totals: dict[str, Sums] = {}
        for day, currency, digits, kind, *figures in self._days(wanted):
            first, _ = PERIODS[wanted.period](date.fromisoformat(day))
            for sums in (
                periods.setdefault((first, currency), Sums(digits)),
                totals.setdefault(currency, Sums(digits)),
            ):
                sums.add(kind, *map(int, figures))
        results = [
            _days_of(wanted, first) | {"currency": currency} | sums.told()
            for (first, currency), sums in sorted(periods.items())
        ]
        asked = {name: getattr(wanted, name) or None for name in ("product_id", "store_id", "start_date", "end_date")}
        told = [{"currency": currency} | sums.told() for currency, sums in sorted(totals.items())]
        return {"period": wanted.period, **asked, "results": results, "totals": told}

    def _days(self, wanted: AnalyticsQuery) -> Iterable[Row]:
        where, bound = ["sale.id IS NOT NULL"], list[object]()
        for column, value in (
            ("sale_line.product_id =", wanted.product_id),
            ("sale.store_id =", wanted.store_id),
            ("sale.business_date >=", wanted.start_date),
            ("sale.business_date <=", wanted.end_date),
        ):
            if value:
                where.append(f"{column} ?")
                bound.append(value)
        return self._db.rows(SUMS.format(where=" AND ".join(where)), bound)


def _days_of(wanted: AnalyticsQuery, first: date) -> dict[str, str]:
    """The days that a period's figures are of: no more than was asked for."""
    start, end = (day.isoformat() for day in PERIODS[wanted.period](first))
    if wanted.start_date:
        start = max(start, wanted.start_date)
    if wanted.end_date:
        end = min(end, wanted.end_date)
    return {"start_date": start, "end_date": end}
