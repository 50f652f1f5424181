"""What the page is given: the day's sales by state, low stock, promotions and findings, exact and cheap."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from edge_agent.domain.today import Sum
from edge_agent.timekeeper import Timekeeper
from edge_agent.today import shop_view


def view(agent: Any) -> dict[str, Any]:
    """What the page gets, as JSON brings it."""
    return dict(json.loads(json.dumps(shop_view(agent))))


def test_the_day_by_state(till: Any) -> None:
    """Sales stand under their state; refunds and voids are taken off; nothing is counted twice."""
    sold = till.sell(quantity="2")
    till.sell(till.nobody, price="100.00")
    till.agent.sync()
    till.sell()
    till.sell(kind="refund", refers_to=sold.external_id)
    till.sell(kind="void", refers_to=sold.external_id, price="1.00")
    today = till.agent.today()
    assert today.sales == {
        "delivered": Sum(1, Decimal("15000.00")),
        "quarantined": Sum(1, Decimal("100.00")),
        "pending": Sum(1, Decimal("7500.00")),
    }
    assert (today.refunds, today.voids) == (Sum(1, Decimal("7500.00")), Sum(1, Decimal("1.00")))
    assert today.net == Decimal("15099.00")
    assert sum(one.total for one in today.hours.values()) == today.net
    assert today.currency == "IDR"


def test_only_the_present_business_day(till: Any) -> None:
    """Yesterday's sales are not today's, in whatever order a till dates them."""
    yesterday = till.agent.business_date() - dt.timedelta(days=1)
    till.sell()
    till.sell(business_date=yesterday)
    till.sell()
    assert till.agent.today().sales["pending"].count == 2
    till.clock.advance(days=1)
    assert till.agent.today().sales["pending"].count == 0


def test_a_day_is_found_behind_what_was_entered_late(till: Any) -> None:
    """A thousand slips of last week, typed in today, hide no sale of this morning."""
    till.sell()
    last_week = till.agent.business_date() - dt.timedelta(days=7)
    for _ in range(1_000):
        till.sell(business_date=last_week)
    assert till.agent.today().sales["pending"].count == 1


def test_low_stock_equals_stock_one_by_one(till: Any) -> None:
    """The list of what is low is what asking for each product would give: pending, delivered, refused, refunded."""
    till.sell(quantity="30")
    till.agent.sync()
    till.sell(quantity="14")
    till.sell(till.water, quantity="109", price="3500.00")
    till.sell(till.water, quantity="1", price="3500.00", kind="refund", reason="broken")
    till.agent.catalog.low_stock()
    till.sell()
    low = till.agent.catalog.low_stock()
    assert [(one.id, one.available) for one in low.products] == [(till.cola, Decimal(3))]
    assert low.products[0].available == till.agent.catalog.stock(till.cola).available
    assert (low.total, low.is_whole) == (1, True)
    till.sell(till.water, quantity="1", price="3500.00")
    till.agent._journal.tidy()
    assert [one.id for one in till.agent.catalog.low_stock().products] == [till.cola, till.water]
    till.agent.sync()
    after = till.agent.catalog.low_stock()
    assert {one.id: one.available for one in after.products} == {
        product: till.agent.catalog.stock(product).available for product in (till.cola, till.water)
    }


def test_no_stock_figures_are_not_zero(baseline_till: Any) -> None:
    """A head office that gives no stock leaves it unknown."""
    assert baseline_till.agent.catalog.low_stock().total is None
    assert view(baseline_till.agent)["low_stock"]["total"] is None


def test_promotions_that_run_and_that_come(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs now, until when, and whose hours begin later on this business day."""
    world = till.office.world
    local, _ = till.agent.catalog.local_time()
    noon = dt.datetime.combine(local.date(), dt.time(12), local.tzinfo)
    monkeypatch.setattr(Timekeeper, "now", lambda _: noon.astimezone(dt.UTC))  # whatever head office's clock says
    world.edit("promotions", till.deal, validity={"time_start": "10:00", "time_end": "14:00"})
    row = world.get("promotions", till.deal)
    world.upsert(
        "promotions", {**row, "id": till.nobody, "code": "EVE", "name": "Evening", "validity": {"time_start": "18:00"}}
    )
    till.agent.sync()
    promotions = view(till.agent)["promotions"]
    assert [(one["code"], one["until_time"], one["stops_today"]) for one in promotions["running"]] == [
        ("COLA10", "14:00", True)
    ]
    assert [(one["code"], one["from_time"]) for one in promotions["later"]] == [("EVE", "18:00")]


def test_refused_entries_with_their_reason(till: Any) -> None:
    """What head office refused is there with its receipt, why, and since when."""
    till.sell(till.nobody, receipt_number="R-1")
    till.agent.sync()
    [entry] = view(till.agent)["quarantined"]["listed"]
    assert (entry["receipt_number"], entry["code"], entry["kind"]) == ("R-1", "UNKNOWN_PRODUCT", "sale")
    assert till.nobody in entry["reason"]
    assert entry["since"].endswith("Z")


@pytest.mark.parametrize("listed_max", [0, 100])
def test_findings_are_remembered(till: Any, listed_max: int) -> None:
    """Every look through the catalogue leaves its worst findings behind, also the night's that lists none."""
    till.office.world.edit("products", till.water, price=None)
    till.agent.sync()
    till.agent.health(listed_max=listed_max)
    [one] = view(till.agent)["findings"]["listed"]
    assert (one["kind"], one["name"]) == ("no price", "Water 600 ml")
    assert one["recommendation"]
    till.office.world.edit("products", till.water, price="3500.00")
    till.agent.sync()
    till.agent.health(listed_max=0)
    assert view(till.agent)["findings"]["listed"] == []


def test_a_device_that_never_reached_head_office(agent: Any) -> None:
    """The page is whole on the first day, before the first sync."""
    found = view(agent)
    assert found["schema"] == 1
    assert found["today"]["net"] == "0"
    assert found["findings"]["listed"] == []
    assert found["device"] == "pos-02"


def test_times_are_told_by_both_clocks(till: Any) -> None:
    """The page learns head office's time for people, and this device's for how long things wait."""
    found = view(till.agent)
    server, device = (dt.datetime.fromisoformat(found[name]) for name in ("server_time", "device_time"))
    offset_ms = (server - device).total_seconds() * 1000
    assert abs(offset_ms - found["status"]["clock_offset_ms"]) < 1
