"""The store's calendar: business dates that begin at ``day_start`` in the store's own time zone."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

OFFSET_MAX_MS = 500 * 365 * 86_400 * 1000  # beyond that no calendar can count


def plausible_offset_ms(offset: str | int | None) -> int:
    """Head office's clock less the device's, milliseconds; 0 when it can't be: no header may stop a till's calendar."""
    try:
        found = int(offset or 0)
    except ValueError:
        return 0
    return found if abs(found) <= OFFSET_MAX_MS else 0


@lru_cache(maxsize=32)
def zone(name: str | None) -> dt.tzinfo:
    """The named IANA zone; UTC when none is known yet or the name is unknown."""
    if name is None:
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return dt.UTC


@lru_cache(maxsize=32)
def clock_time(text: str | None) -> dt.time:
    """A ``HH:MM`` or ``HH:MM:SS`` text as a time; midnight when absent or malformed."""
    try:
        return dt.time.fromisoformat(text or "00:00").replace(tzinfo=None)
    except ValueError:
        return dt.time(0)


def business_date(local: dt.datetime, day_start: dt.time) -> dt.date:
    """The business date of a local time: before ``day_start`` it is still yesterday."""
    return local.date() if local.time() >= day_start else local.date() - dt.timedelta(days=1)
