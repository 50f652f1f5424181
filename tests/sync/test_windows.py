"""Times of day for the catalogue, as head office wants them: prices wait, sales and people do not."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_agent.domain.hours import is_open, read_windows
from edge_agent.status import in_words
from edge_agent.timekeeper import Timekeeper

ZONE = ZoneInfo("Asia/Jakarta")


def windows_at(till: Any, hours: float) -> list[dict[str, str]]:
    """An hour's window that begins so many hours from now, in the store's time."""
    begins = till.clock.now().astimezone(ZONE) + dt.timedelta(hours=hours)
    return [{"from": f"{begins:%H:%M}", "to": f"{begins + dt.timedelta(hours=1):%H:%M}"}]


def closed(till: Any) -> None:
    """The catalogue may be fetched in six hours; it has been once, and a price has changed since."""
    till.agent.sync()
    till.office.world.set_settings(sync_windows=windows_at(till, 6))
    till.poll()
    till.clock.advance(60)
    till.office.world.edit("products", till.cola, price="9.00")
    till.office.clear_requests()


def price(till: Any) -> str:
    """What the till asks for a cola."""
    return str(till.agent.catalog.by_id(till.cola).price)


def test_outside_the_window_prices_wait_and_sales_do_not(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is asked, nothing is fetched, the sale goes up; in the window the price comes."""
    monkeypatch.setattr(Timekeeper, "now", lambda _: till.clock.now())  # head office's clock moves with the till's
    closed(till)
    till.sell()
    assert not till.poll().errors
    assert till.books_agree()
    assert "GET products" not in till.paths()
    assert price(till) != "9.00"
    till.clock.advance(hours=6, seconds=60)
    till.poll()
    assert price(till) == "9.00"
    assert till.catalogue_agrees()


def test_stock_goes_on(till: Any) -> None:
    """Figures of stock are no prices, and out of date within the hour."""
    closed(till)
    till.clock.advance(hours=1)
    till.poll()
    assert "GET stock" in till.paths()


def test_a_person_and_an_order_need_not_wait(till: Any) -> None:
    """``sync`` fetches at any time; so does head office's own ``force_update``."""
    closed(till)
    till.agent.sync()
    assert price(till) == "9.00"
    till.office.world.edit("products", till.cola, price="9.50")
    till.poll()
    assert price(till) == "9.00"
    till.office.world.set_force_update()
    till.poll()
    assert price(till) == "9.50"


def test_a_device_that_has_nothing_need_not_wait(till: Any) -> None:
    """A new till sells within a minute, whatever the hour."""
    till.office.world.set_settings(sync_windows=windows_at(till, 6))
    till.poll()
    assert till.catalogue_agrees()


def test_windows_that_are_taken_away_end_the_wait(till: Any) -> None:
    """The version answer tells the settings at any time of day."""
    closed(till)
    till.poll()
    till.office.world.set_settings(sync_windows=[])
    till.poll()
    assert price(till) == "9.00"


def test_status_says_when_prices_come(till: Any) -> None:
    """Staff see why the prices are of this morning, and the words do not claim that they are of now."""
    closed(till)
    pulled_at = till.agent.status()["datasets"]["products"]["synced_at"]
    till.clock.advance(hours=1)
    till.poll()
    status = till.agent.status()
    assert status["sync_windows"] == till.office.world.settings()["sync_windows"]
    words = "\n".join(in_words(status, till.clock.now()))
    at = dt.datetime.fromisoformat(pulled_at).astimezone(ZONE)
    assert f"{at:%H:%M}.\nHead office wants prices and promotions fetched from" in words


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ([], []),
        ([{"from": "02:00", "to": "05:00"}], [("02:00", "05:00")]),
        ([{"from": "22:00", "to": "05:00", "why": "night"}], [("22:00", "05:00")]),
        ([{"from": "2:00", "to": "05:00"}], None),
        ([{"from": "24:00", "to": "05:00"}], None),
        ([{"from": "05:00", "to": "05:00"}], None),
        ([{"from": "05:00"}], None),
        (["02:00"], None),
        ("02:00-05:00", None),
        ([{"from": "02:00", "to": "05:00"}] * 49, None),
    ],
)
def test_windows_are_read_or_left(told: object, read: object) -> None:
    """What is no list of times counts as not told: no typing mistake at head office stops a chain's prices."""
    assert read_windows(told) == read


@pytest.mark.parametrize(
    ("windows", "time", "expected"),
    [
        ([], "12:00", True),
        ([("02:00", "05:00")], "02:00", True),
        ([("02:00", "05:00")], "04:59", True),
        ([("02:00", "05:00")], "05:00", False),
        ([("22:00", "05:00")], "23:30", True),
        ([("22:00", "05:00")], "04:00", True),
        ([("22:00", "05:00")], "12:00", False),
        ([("02:00", "03:00"), ("14:00", "15:00")], "14:30", True),
    ],
)
def test_a_window_has_a_beginning_and_an_end(windows: list[tuple[str, str]], time: str, expected: bool) -> None:
    """The end is not included; one may pass midnight."""
    assert is_open(windows, dt.datetime.fromisoformat(f"2026-11-21T{time}:00")) is expected
