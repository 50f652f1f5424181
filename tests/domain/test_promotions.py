"""When a promotion applies: both forms, dates, weekdays, hours over midnight, business days and time zones."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from edge_agent.domain.calendar import business_date, clock_time, zone
from edge_agent.domain.catalog import RowReader
from edge_agent.domain.promotion import Promotion, PromotionError, index_of, is_active_at, read_promotion

ID = "00000009-0000-4000-8000-000000000000"
MIDNIGHT = dt.time(0)
FRIDAY = "2026-11-20"  # a Friday


def compiled(**validity: Any) -> Promotion:
    return read_promotion(json.dumps({"id": ID, "name": "Deal", "validity": validity}).encode())


def flat(time_rules: Any = None, **more: Any) -> Promotion:
    row = {"id": ID, "name": "Deal", "discount_type": "percentage", "time_rules": time_rules, **more}
    return read_promotion(json.dumps(row).encode())


def active(promotion: Promotion, moment: str, day_start: str = "00:00") -> bool:
    return is_active_at(promotion, dt.datetime.fromisoformat(moment), clock_time(day_start))


CASES: dict[str, tuple[dict[str, Any], str, str, bool]] = {
    "without limits": ({}, f"{FRIDAY}T12:00", "00:00", True),
    "on its first day": ({"start_date": FRIDAY}, f"{FRIDAY}T00:00", "00:00", True),
    "before its first day": ({"start_date": FRIDAY}, "2026-11-19T23:59:59", "00:00", False),
    "on its last day": ({"end_date": FRIDAY}, f"{FRIDAY}T23:59:59", "00:00", True),
    "after its last day": ({"end_date": FRIDAY}, "2026-11-21T00:00", "00:00", False),
    "a date with a time": ({"end_date": f"{FRIDAY}T00:00:00Z"}, f"{FRIDAY}T12:00", "00:00", True),
    "after midnight, before the day starts": ({"end_date": FRIDAY}, "2026-11-21T03:59", "04:00", True),
    "once the day has started": ({"end_date": FRIDAY}, "2026-11-21T04:00", "04:00", False),
    "on its weekday": ({"days_of_week": [4]}, f"{FRIDAY}T12:00", "00:00", True),
    "on another weekday": ({"days_of_week": [5]}, f"{FRIDAY}T12:00", "00:00", False),
    "on every day": ({"days_of_week": []}, f"{FRIDAY}T12:00", "00:00", True),
    "at its first moment": ({"time_start": "09:00", "time_end": "17:00"}, f"{FRIDAY}T09:00", "00:00", True),
    "a moment before": ({"time_start": "09:00", "time_end": "17:00"}, f"{FRIDAY}T08:59:59", "00:00", False),
    "at its end": ({"time_start": "09:00", "time_end": "17:00"}, f"{FRIDAY}T17:00", "00:00", False),
    "a moment before its end": ({"time_start": "09:00", "time_end": "17:00"}, f"{FRIDAY}T16:59:59", "00:00", True),
    "only from": ({"time_start": "09:00"}, f"{FRIDAY}T23:59:59", "00:00", True),
    "only until": ({"time_end": "09:00"}, f"{FRIDAY}T08:00", "00:00", True),
    "until 23:59": ({"time_start": "09:00", "time_end": "23:59"}, f"{FRIDAY}T23:59:30", "00:00", True),
    "until 23:59:59": ({"time_start": "09:00", "time_end": "23:59:59"}, f"{FRIDAY}T23:59:59.5", "00:00", True),
    "all day to 23:59": ({"time_start": "00:00", "time_end": "23:59"}, f"{FRIDAY}T23:59:59", "00:00", True),
    "until midnight": ({"time_start": "09:00", "time_end": "00:00"}, f"{FRIDAY}T23:59:59", "00:00", True),
    "until midnight, at noon before": ({"time_start": "18:00", "time_end": "00:00"}, f"{FRIDAY}T12:00", "00:00", False),
    "over midnight, before it": ({"time_start": "22:00", "time_end": "02:00"}, f"{FRIDAY}T23:00", "00:00", True),
    "over midnight, after it": ({"time_start": "22:00", "time_end": "02:00"}, f"{FRIDAY}T01:59", "00:00", True),
    "over midnight, at its end": ({"time_start": "22:00", "time_end": "02:00"}, f"{FRIDAY}T02:00", "00:00", False),
    "over midnight, at noon": ({"time_start": "22:00", "time_end": "02:00"}, f"{FRIDAY}T12:00", "00:00", False),
    "Friday's night on Saturday": (
        {"time_start": "22:00", "time_end": "02:00", "days_of_week": [4]},
        "2026-11-21T01:00",
        "00:00",
        True,
    ),
    "Thursday's night on Friday": (
        {"time_start": "22:00", "time_end": "02:00", "days_of_week": [4]},
        f"{FRIDAY}T01:00",
        "00:00",
        False,
    ),
    "the last day's night": (
        {"time_start": "22:00", "time_end": "02:00", "end_date": FRIDAY},
        "2026-11-21T01:00",
        "00:00",
        True,
    ),
    "the night before the first day": (
        {"time_start": "22:00", "time_end": "02:00", "start_date": FRIDAY},
        f"{FRIDAY}T01:00",
        "00:00",
        False,
    ),
    "Friday's night where days start late": (
        {"time_start": "22:00", "time_end": "02:00", "days_of_week": [4]},
        "2026-11-21T01:00",
        "04:00",
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_applies(name: str) -> None:
    """Dates and weekdays are the business day's; a night belongs to the day it began on."""
    validity, moment, day_start, expected = CASES[name]
    assert active(compiled(**validity), moment, day_start) is expected


def test_the_flat_form_means_the_same() -> None:
    """The older form counts weekdays from 1 and keeps its hours elsewhere; otherwise it is the same."""
    promotion = flat({"days_of_week": [5], "time_start": "09:00", "time_end": "17:00"}, start_date=FRIDAY)
    assert (
        promotion.validity
        == compiled(days_of_week=[4], time_start="09:00", time_end="17:00", start_date=FRIDAY).validity
    )
    assert promotion.promo_type == "percent_discount"
    assert flat(None).validity == compiled().validity


def test_the_flat_form_with_an_empty_validity_keeps_its_dates() -> None:
    """A flat promotion that also carries ``validity: null`` still ends when it says."""
    assert not active(flat(end_date=FRIDAY, validity=None), "2026-11-21T12:00")


def test_an_inactive_promotion_never_applies() -> None:
    """A promotion that head office switched off is off."""
    row = {"id": ID, "name": "Deal", "is_active": False}
    assert not active(read_promotion(json.dumps(row).encode()), f"{FRIDAY}T12:00")


@pytest.mark.parametrize(
    "row",
    [
        {"rules": {"error": "no product"}},
        {"rules": []},
        {"validity": "always"},
        {"validity": {"start_date": "soon"}},
        {"validity": {"start_date": "2026-11-21", "end_date": "2026-11-20"}},
        {"validity": {"time_start": "25:00"}},
        {"validity": {"days_of_week": [7]}},
        {"validity": {"days_of_week": "Mon"}},
        {"validity": {"days_of_week": [True]}},
        {"discount_type": "percentage", "time_rules": {"days_of_week": [0]}},
        {"scope": "all"},
        {"targeting": 1},
        {"limits": []},
    ],
)
def test_a_promotion_that_can_not_be_used_is_refused(row: dict[str, Any]) -> None:
    """A promotion head office could not compile, or that nobody can read, is refused with its reason (G7)."""
    body = json.dumps({"id": ID, "name": "Deal", **row}).encode()
    with pytest.raises(PromotionError):
        index_of(body)
    read = RowReader().read("promotions", [body])  # type: ignore[list-item]
    assert not read.good
    assert read.refused[0].id == ID
    assert read.refused[0].reason


def test_the_business_date_starts_when_the_day_does() -> None:
    """Sales after midnight belong to yesterday until the store's day starts."""
    night = dt.datetime(2026, 11, 21, 3, 59)  # noqa: DTZ001 - the store's own time
    assert business_date(night, dt.time(4)) == dt.date(2026, 11, 20)
    assert business_date(night.replace(hour=4, minute=0), dt.time(4)) == dt.date(2026, 11, 21)


def test_an_unknown_zone_or_time_is_no_reason_to_fail() -> None:
    """What head office may write wrongly falls back to what is safe."""
    assert zone("Mars/Olympus") is dt.UTC
    assert zone("../etc/passwd") is dt.UTC
    assert zone(None) is dt.UTC
    assert clock_time("4 o'clock") == clock_time(None) == MIDNIGHT
