"""A business day's sales, added up from the journal's end: no index of its own, so that a sale stays as quick as it is.

The rows of a life lie in the order of recording, so a day's sales lie together at its end. A till may date a sale as it
likes, so the look back ends only where a whole stretch is neither dated nor recorded lately.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

from edge_agent.domain.today import Sum, Today
from edge_agent.storage.database import in_own_words
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

STRETCH_ROWS = 500  # a stretch of so many sales without any of the last days ends the look back
LATELY_MS = 36 * 3600 * 1000
_QUARTER_MS = 15 * 60 * 1000  # every time zone differs by whole quarters of an hour
_STATES = ("pending", "delivered", "quarantined")

_STRETCH = "SELECT * FROM sales WHERE entry BETWEEN :low AND :high ORDER BY entry DESC LIMIT :rows"
_EDGES = f"SELECT min(entry), max(business_date), max(recorded_ms) FROM ({_STRETCH})"
_SUMS = f"""
SELECT kind, state, currency, exponent, recorded_ms / {_QUARTER_MS}, count(*), sum(total_minor)
FROM sales WHERE entry BETWEEN ? AND ? AND business_date = ? GROUP BY 1, 2, 3, 4, 5"""


@in_own_words
class DayBook:
    """A journal's sales by business day.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.database = journal.database

    def day(self, date: dt.date, tz: dt.tzinfo | None, currency: str | None, *, now_ms: int, offset_ms: int) -> Today:
        """What was sold on a business day, the present one or one near to it.

        Args:
            date: the business day.
            tz: the store's time zone; None for this device's.
            currency: the store's; None to take that of the sales.
            now_ms: the present moment by this device's clock, milliseconds since 1970.
            offset_ms: head office's clock less this device's.

        Raises:
            StoreBroken: the journal can't be read.
        """
        sales = dict.fromkeys(_STATES, Sum())
        back = {"refund": Sum(), "void": Sum()}
        hours: dict[int, Sum] = {}
        others: dict[str, Decimal] = {}
        for kind, state, of, exponent, quarter, count, minor in self._rows(date.isoformat(), now_ms):
            total = Decimal(minor).scaleb(-exponent)
            currency = currency or of
            signed = total if kind == "sale" else -total
            if of != currency:
                others[of] = others.get(of, Decimal(0)) + signed
                continue
            if kind == "sale":
                sales[state] = sales[state].plus(count, total)
            else:
                back[kind] = back[kind].plus(count, total)
            hour = _hour(quarter * _QUARTER_MS + offset_ms, tz)
            hours[hour] = hours.get(hour, Sum()).plus(count, signed)
        net = sum((one.total for one in sales.values()), Decimal(0)) - back["refund"].total - back["void"].total
        return Today(
            business_date=date,
            currency=currency,
            sales=sales,
            refunds=back["refund"],
            voids=back["void"],
            net=net,
            hours=dict(sorted(hours.items())),
            others=others,
        )

    def _rows(self, date: str, now_ms: int) -> Iterator[tuple[str, str, str, int, int, int, int]]:
        connection = self.database.connection
        numbers = [row[0] for row in connection.execute("SELECT number FROM journals WHERE last_seq > 0")]
        before = (dt.date.fromisoformat(date) - dt.timedelta(days=1)).isoformat()
        for number in numbers:
            low, high = number * ENTRIES_PER_JOURNAL, (number + 1) * ENTRIES_PER_JOURNAL - 1
            first = self._first(low, high, before, now_ms - LATELY_MS)
            if first is not None:
                yield from connection.execute(_SUMS, (first, high, date))

    def _first(self, low: int, high: int, day_before: str, lately_ms: int) -> int | None:
        """Up to which entry one must look back in a life for sales of a day; None where there are none."""
        execute = self.database.connection.execute
        found = None
        while high >= low:
            bounds = {"low": low, "high": high, "rows": STRETCH_ROWS}
            first, last_date, last_ms = execute(_EDGES, bounds).fetchone()
            if first is None:
                return found
            found = int(first)
            if last_date < day_before and last_ms < lately_ms:
                return found
            high = found - 1
        return found


def _hour(ms: int, tz: dt.tzinfo | None) -> int:
    try:
        return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).astimezone(tz).hour
    except (ValueError, OverflowError, OSError):  # a clock far from any calendar
        return 0
