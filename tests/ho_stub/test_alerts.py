"""Low-stock alerts, and the sales rules that move stock (contract section 5)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

ALERTS = "/api/alerts/low-stock/"
OTHER_STORE = "00000009-0000-4000-8000-000000000000"


@pytest.fixture
def sell(device: Any) -> Callable[..., list[str]]:
    """Sells (product, quantity) lines; the warnings of head office's answer."""
    numbers = iter(range(1, 1000))

    def sell(*lines: tuple[str, str], **fields: Any) -> list[str]:
        sale = device.sale(next(numbers), *((product, quantity, "7500.00") for product, quantity in lines), **fields)
        (result,) = device.upload(sale)
        assert result["status"] == "created", result
        warnings: list[str] = result["warnings"]
        return warnings

    return sell


@pytest.fixture
def alerts(device: Any) -> Callable[..., list[dict[str, Any]]]:
    def alerts(**query: Any) -> list[dict[str, Any]]:
        answer = device.http.get(ALERTS, params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["count"] >= len(body["results"])
        found: list[dict[str, Any]] = body["results"]
        return found

    return alerts


def test_one_alert_opens_when_stock_falls_below_the_level_and_closes_when_it_recovers(
    device: Any, sell: Any, alerts: Any
) -> None:
    """The level is 6 of 48: not at 6, at 5.999, and not twice; closed at 6 again."""
    sell((device.cola, "42"))
    assert alerts() == []
    sell((device.cola, "0.001"))
    (opened,) = alerts()
    assert (opened["status"], opened["product_id"], opened["sku"]) == ("open", device.cola, "COLA-330")
    assert (opened["quantity"], opened["reorder_level"]) == ("5.999", "6.000")
    sell((device.cola, "3"), (device.cola, "20"))
    (still,) = alerts(status="all")
    assert (still["id"], still["quantity"], still["quantity_when_opened"]) == (opened["id"], "-17.001", "5.999")

    sell((device.cola, "23.001"), kind="refund", reason="brought back")
    assert alerts() == []
    (closed,) = alerts(status="closed")
    assert (closed["id"], closed["quantity"]) == (opened["id"], "6.000")
    assert closed["closed_at"] > closed["opened_at"]

    sell((device.cola, "1"))
    newest, older = alerts(status="all")
    assert (newest["status"], older["id"]) == ("open", opened["id"])
    assert newest["id"] != opened["id"]


def test_acknowledging_is_idempotent_and_the_alert_stays_until_stock_recovers(
    device: Any, office: Any, sell: Any, alerts: Any, clerk: Any
) -> None:
    sell((device.cola, "45"))
    (opened,) = alerts()
    path = f"{ALERTS}{opened['id']}/acknowledge/"
    first, again = device.http.post(path), clerk.post(path)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert (first.json()["status"], first.json()["acknowledged_by"]) == ("acknowledged", "pos-02")
    assert (alerts(status="open"), len(alerts(status="acknowledged")), len(alerts())) == ([], 1, 1)
    sell((device.cola, "1"))
    assert len(alerts(status="all")) == 1
    office.world.set_stock(device.cola, "100")
    (closed,) = alerts(status="closed")
    assert closed["acknowledged_by"] == "pos-02"
    assert device.http.post(path).json() == closed
    (entry,) = clerk.get("/api/audit/", params={"action": "acknowledge alert"}).json()["results"]
    assert (entry["actor"], entry["subject"], entry["after"]) == ("pos-02", opened["id"], "acknowledged")


def test_alerts_of_other_stores_are_out_of_a_device_s_reach(device: Any, office: Any, alerts: Any, clerk: Any) -> None:
    world = office.world
    with world.db.write():
        world.db.run(
            "INSERT INTO store (id, code, name, timezone, day_start, currency, brand_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (OTHER_STORE, "S09", "Other", "Asia/Jakarta", "04:00", "IDR", office.brand_id),
        )
    world.set_stock(device.cola, "1", OTHER_STORE, "5")
    world.set_stock(device.cola, "1", office.store_id)
    assert [alert["store_id"] for alert in alerts()] == [office.store_id]
    everywhere = clerk.get(ALERTS).json()["results"]
    assert {alert["store_id"] for alert in everywhere} == {office.store_id, OTHER_STORE}
    (theirs,) = clerk.get(ALERTS, params={"store_id": OTHER_STORE}).json()["results"]
    assert device.http.get(ALERTS, params={"store_id": OTHER_STORE}).status_code == 403
    assert device.http.post(f"{ALERTS}{theirs['id']}/acknowledge/").status_code == 404
    assert device.http.post(f"{ALERTS}{uuid.uuid4()}/acknowledge/").json()["code"] == "NOT_FOUND"
    assert device.http.post(f"{ALERTS}nothing/acknowledge/").status_code == 404
    assert clerk.get(ALERTS, params={"store_id": OTHER_STORE}).json()["results"][0]["status"] == "open"


def test_alerts_come_in_pages_and_by_product(device: Any, office: Any) -> None:
    for product in (device.cola, device._named("WATER-600")):
        office.world.set_stock(product, "-1", reorder_level="2")
    first = device.http.get(ALERTS, params={"page_size": 1}).json()
    second = device.http.get(first["next"]).json()
    assert (first["count"], first["previous"], second["next"]) == (2, None, None)
    assert {page["results"][0]["product_id"] for page in (first, second)} == {device.cola, device._named("WATER-600")}
    (only,) = device.http.get(ALERTS, params={"product_id": device.cola}).json()["results"]
    assert only["product_id"] == device.cola
    for query in ({"status": "odd"}, {"page": "0"}, {"product_id": "x"}):
        assert device.http.get(ALERTS, params=query).status_code == 400


def test_a_changed_level_a_deletion_and_a_volatile_product_settle_alerts(device: Any, office: Any, alerts: Any) -> None:
    """The store's own level goes before the product's; what is no longer tracked has no alert."""
    world, water = office.world, device._named("WATER-600")
    world.set_stock(device.cola, "8")
    world.db.run("UPDATE stock SET reorder_level = NULL")
    world.edit("products", device.cola, reorder_level="9")
    (low,) = alerts()
    assert low["reorder_level"] == "9.000"
    world.edit("products", device.cola, reorder_level="8")
    assert alerts() == []
    world.set_stock(water, "1", reorder_level="2")
    assert len(alerts()) == 1
    world.edit("products", water, is_volatile=True)
    assert alerts() == []
    world.set_stock(device.cola, "1")
    world.delete("products", device.cola)
    assert alerts() == []


def test_stock_that_is_low_when_head_office_begins_has_its_alert(office: Any) -> None:
    with office.world.db.write():
        office.world.db.run("UPDATE stock SET quantity = 1")
        office.world.alerts.settle_all()
    assert len(office.world.db.rows("SELECT id FROM low_stock_alert")) == 2


def test_a_refused_sale_opens_nothing(device: Any, alerts: Any) -> None:
    """Its lines are undone together, and so is what they opened."""
    sale = device.sale(1, (device.cola, "47", "7500.00"), (str(uuid.uuid4()), "1", "1.00"))
    assert device.upload(sale)[0]["code"] == "UNKNOWN_PRODUCT"
    assert alerts(status="all") == []


def test_a_tracked_one_off_product_goes_into_stock_and_below_zero(device: Any, office: Any) -> None:
    """Each till makes the same product of the same SKU, and its stock is one figure."""
    made = {"id": str(uuid.uuid4()), "sku": "CAKE", "name": "Cake", "unit_price": "9.00", "is_volatile": False}
    line = {"product_data": made, "quantity": "1.125", "unit_price": "9.00"}
    results = device.upload(*(device.sale(seq, items=[line], total_amount="10.13") for seq in (1, 2)))
    cake = results[0]["products"]["CAKE"]
    assert [result["warnings"] for result in results] == [[], []]
    assert office.world.stock.quantity(office.store_id, cake) == "-2.250"
    assert office.world.get("products", cake)["price"] == "9.00"


def test_a_volatile_price_follows_sales_and_no_refund(device: Any, office: Any) -> None:
    """Of two lines of one sale the last counts; a refund at an old price brings that price not back."""
    lines = [(device.bread, "0.5", "100.00"), (device.bread, "0.250", "120.00")]
    device.upload(device.sale(1, *lines))
    assert office.world.get("products", device.bread)["price"] == "120.00"
    device.upload(device.sale(2, (device.bread, "0.5", "90.00"), kind="refund", reason="stale"))
    device.upload(device.sale(3, (device.bread, "0.5", "95.00"), kind="void", reason="mistake"))
    assert office.world.get("products", device.bread)["price"] == "120.00"
    assert office.world.stock.quantity(office.store_id, device.bread) is None


def test_a_usage_counts_into_its_promotion_once(device: Any, office: Any) -> None:
    """`limits.current_uses` grows by new uses alone; tills are sent the changed row."""
    promotion = office.world.live_ids("promotions")[0]
    device.pull("promotions")
    usages = [
        {"external_id": str(uuid.uuid4()), "device_id": "pos-02", "journal_id": device.journal_id,
         "promotion_id": promotion, "bill_id": f"B-{n}", "sale_external_id": None, "discount_amount": "1.00",
         "used_at": "2026-11-21T09:15:02Z", "store_id": office.store_id, "customer_id": None}
        for n in range(3)
    ]  # fmt: skip
    device.post("usage", {"usages": usages[:2]})
    device.post("usage", {"usages": [*usages, {"external_id": "x"}]})
    assert device.pull("promotions")[promotion]["limits"]["current_uses"] == 3
    assert office.world.usage_count() == 3
