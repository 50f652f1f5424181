"""Promotions: the compiled and the older flat form read as one, and when one is active (contract, section 4).

Evaluating promotions into prices is the POS's work, not ours: ``fields`` hands over the whole definition.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from edge_agent.domain.calendar import business_date

DAYS_MAX = 31  # entries of days_of_week; a day may be said twice
KIND_LENGTH_MAX = 100
SHOWN_LENGTH_MAX = 60
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ].{0,40})?", re.ASCII)  # perhaps with a time, which is left out
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?", re.ASCII)
_END_OF_DAY = (dt.time(23, 59), dt.time(23, 59, 59))
_FLAT_TYPES = {
    "percentage": "percent_discount",
    "percent": "percent_discount",
    "percent_discount": "percent_discount",
    "fixed": "amount_discount",
    "fixed_amount": "amount_discount",
    "amount": "amount_discount",
    "amount_discount": "amount_discount",
}


class PromotionError(ValueError):
    """Why a promotion can't be used, in plain words."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a promotion applies. Open ends are None; ``days`` holds 0 = Monday … 6 = Sunday, empty for every day."""

    start_date: dt.date | None = None
    end_date: dt.date | None = None
    time_start: dt.time | None = None
    time_end: dt.time | None = None
    days: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class DateRange:
    """A promotion's dates as ISO text, for the store's index."""

    start_date: str | None
    end_date: str | None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion of the catalogue; ``fields`` is the row as head office sent it."""

    id: str
    code: str | None
    name: str
    promo_type: str | None
    is_active: bool
    validity: Validity
    fields: dict[str, Any]


def _shown(value: object) -> str:
    """What head office sent, short enough for a line."""
    text = repr(value[:SHOWN_LENGTH_MAX] if isinstance(value, (str, list)) else value)
    return text if len(text) <= SHOWN_LENGTH_MAX else text[:SHOWN_LENGTH_MAX] + "…"


def _date(value: object, name: str) -> dt.date | None:
    if value in (None, ""):
        return None
    date = _DATE.fullmatch(value) if isinstance(value, str) else None
    with contextlib.suppress(ValueError):
        if date is not None:
            return dt.date.fromisoformat(date[1])
    raise PromotionError(f"{name} is not a date: {_shown(value)}")


def _time(value: object, name: str) -> dt.time | None:
    if value in (None, ""):
        return None
    if value in ("24:00", "24:00:00"):
        return dt.time(0)  # an end at 00:00 is the end of the day
    time = _TIME.fullmatch(value) if isinstance(value, str) else None
    with contextlib.suppress(ValueError):
        if time is not None:
            return dt.time.fromisoformat(time[0]).replace(tzinfo=None)
    raise PromotionError(f"{name} is not a time: {_shown(value)}")


def _days(value: object, *, first: int) -> frozenset[int]:
    if value in (None, "", []):
        return frozenset()
    if (
        not isinstance(value, list)
        or len(value) > DAYS_MAX
        or not all(type(day) is int and first <= day <= first + 6 for day in value)
    ):
        raise PromotionError(f"days_of_week is not a list of days {first} to {first + 6}: {_shown(value)}")
    return frozenset(day - first for day in value)


def _kind(row: dict[str, Any]) -> str | None:
    """The type of either form, in the compiled form's words.

    Raises:
        PromotionError: it is no word.
    """
    kind = row.get("promo_type")
    if kind is None and (flat := row.get("discount_type")) is not None:
        kind = _FLAT_TYPES.get(flat.lower(), flat) if isinstance(flat, str) else flat
    if kind is not None and not (isinstance(kind, str) and len(kind) <= KIND_LENGTH_MAX):
        raise PromotionError(f"promo_type is not a word: {_shown(kind)}")
    return kind


def _object(row: dict[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PromotionError(f"{key} is not an object")
    return value


def read_validity(row: dict[str, Any]) -> Validity:
    """When a promotion of either form applies.

    Raises:
        PromotionError: a date, time or day that can't be read, or dates that end before they begin.
    """
    if row.get("validity") or "discount_type" not in row:
        dates = _object(row, "validity")
        hours, first = dates, 0
    else:  # the older flat form counts days 1–7 from Monday
        dates, hours, first = row, _object(row, "time_rules"), 1
    validity = Validity(
        start_date=_date(dates.get("start_date"), "start_date"),
        end_date=_date(dates.get("end_date"), "end_date"),
        time_start=_time(hours.get("time_start"), "time_start"),
        time_end=_time(hours.get("time_end"), "time_end"),
        days=_days(hours.get("days_of_week"), first=first),
    )
    if validity.start_date and validity.end_date and validity.end_date < validity.start_date:
        raise PromotionError("end_date is before start_date")
    return validity


def index_of(body: bytes) -> DateRange:
    """The dates of a promotion's JSON, after checking that it can be used at all.

    Raises:
        PromotionError: head office's compiler reported an error in ``rules``, or a part is malformed.
    """
    row = msgspec.json.decode(body)
    rules = _object(row, "rules")
    if rules.get("error"):
        raise PromotionError(f"head office could not compile it: {str(rules['error'])[:200]}")
    if rules.get("tiers") == []:
        raise PromotionError("its rules have no tiers")
    _object(row, "scope")
    _object(row, "targeting")
    _object(row, "limits")
    _kind(row)
    validity = read_validity(row)
    return DateRange(
        validity.start_date.isoformat() if validity.start_date else None,
        validity.end_date.isoformat() if validity.end_date else None,
    )


def read_promotion(body: bytes) -> Promotion:
    """A stored promotion's JSON as a value. One that can't be read any more is there, but never applies."""
    row = msgspec.json.decode(body)
    try:
        promo_type, validity = _kind(row), read_validity(row)
    except PromotionError:
        promo_type, validity = None, None
    return Promotion(
        id=row["id"],
        code=row.get("code"),
        name=row["name"],
        promo_type=promo_type,
        is_active=row.get("is_active") not in (False, 0) and validity is not None,
        validity=validity or Validity(),
        fields=row,
    )


def _runs_until(end: dt.time | None) -> dt.time:
    """23:59, 23:59:59, midnight and no end mean the end of the day; any other end is the first moment outside."""
    return dt.time.max if end is None or end == dt.time(0) or end in _END_OF_DAY else end


def goes_over_midnight(validity: Validity) -> bool:
    """Whether the hours begin on one day and end on the next: 22:00 to 02:00."""
    return _runs_until(validity.time_end) < (validity.time_start or dt.time(0))


def day_of(validity: Validity, local: dt.datetime, day_start: dt.time) -> dt.date | None:
    """The date whose hours a moment belongs to, or None when it is outside the hours.

    Args:
        validity: when a promotion applies.
        local: the moment in the store's time zone.
        day_start: when the store's business day begins; before it, it is still the day before.
    """
    day = business_date(local, day_start)
    start, end = validity.time_start or dt.time(0), _runs_until(validity.time_end)
    now = local.time()
    if start == end:
        return day
    if start < end:
        return day if start <= now and (now < end or end == dt.time.max) else None
    if now >= start:
        # Hours over midnight belong to the day they begin on.
        return day
    return local.date() - dt.timedelta(days=1) if now < end else None


def has_begun(validity: Validity, day: dt.date) -> bool:
    """Whether a date is on or after the first one."""
    return validity.start_date is None or validity.start_date <= day


def has_not_ended(validity: Validity, day: dt.date) -> bool:
    """Whether a date is on or before the last one."""
    return validity.end_date is None or day <= validity.end_date


def is_on_weekday(validity: Validity, day: dt.date) -> bool:
    """Whether a date's weekday is one of the promotion's."""
    return not validity.days or day.weekday() in validity.days


def is_active_at(promotion: Promotion, local: dt.datetime, day_start: dt.time) -> bool:
    """Whether a promotion applies at a moment.

    Args:
        promotion: the promotion.
        local: the moment in the store's time zone.
        day_start: when the store's business day begins; before it, it is still the day before.

    Dates and weekdays are those of the business day. Hours over midnight (22:00 to 02:00) belong to the day they
    begin on. ``time_end`` itself is outside, but 23:59 means to the end of the day.
    """
    if not promotion.is_active:
        return False
    validity = promotion.validity
    day = day_of(validity, local, day_start)
    if day is None:
        return False
    return is_on_weekday(validity, day) and has_begun(validity, day) and has_not_ended(validity, day)
