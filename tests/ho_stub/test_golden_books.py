"""The books and settings against the golden files of tests/contract: figures, lists, alerts, ranges."""

from __future__ import annotations

import uuid
from typing import Any

import httpx


def sold(device: Any, one: dict[str, Any], seq: int) -> dict[str, Any]:
    """A golden sale as a device sends it."""
    fields = {name: one[name] for name in ("external_id", "business_date", "kind", "refers_to") if name in one}
    reason = None if one["kind"] == "sale" else "golden"
    sale: dict[str, Any] = device.sale(seq, (device.cola, one["quantity"], one.get("unit_price", "7500.00")), **fields)
    sale["items"][0]["discount"] = one.get("discount", "0.00")
    return sale | {"reason": reason, "total_amount": one.get("total_amount", "0.00")}


def sell_all(device: Any, sales: list[dict[str, Any]]) -> None:
    results = device.upload(*(sold(device, one, one["seq"]) for one in sales))
    assert [(one["status"], one["warnings"]) for one in results] == [("created", [])] * len(sales)


def test_figures_are_by_business_date_and_exact(device: Any, golden: Any) -> None:
    """Daily, weekly, monthly; refunds and voids subtracted."""
    file = golden("analytics")
    sell_all(device, file["sales"])
    for case in file["cases"]:
        body = device.http.get("/api/sales/analytics/", params=case["query"] | {"product_id": device.cola}).json()
        assert (body["results"], body["totals"]) == (case["results"], case["totals"]), case["query"]
        assert body["period"] == case["query"]["period"]


def test_sales_are_listed_by_what_was_asked(device: Any, golden: Any) -> None:
    """Filters, both days included, and pages that name the next one."""
    file = golden("sales_list")
    sell_all(device, golden("analytics")["sales"])
    for case in file["cases"]:
        body = device.http.get("/api/sales/", params=case["query"]).json()
        assert body["count"] == case["count"], case["query"]
        assert [one["external_id"] for one in body["results"]] == case["external_ids"], case["query"]
        assert (body["next"] is not None, body["previous"] is not None) == (
            case.get("next", False),
            case.get("previous", False),
        )
        for one in body["results"]:
            assert {name: type(value) for name, value in one.items()} == {
                name: type(value) for name, value in file["example"].items()
            }


def test_one_alert_is_open_at_most(device: Any, golden: Any) -> None:
    """It opens below the level, stays one, is acknowledged, and closes on recovery."""
    file = golden("alerts")
    device.office.world.set_stock(device.cola, file["stock"], reorder_level=file["reorder_level"])
    path, query = "/api/alerts/low-stock/", {"status": "all", "product_id": device.cola}
    for seq, step in enumerate(file["steps"], 1):
        before = device.http.get(path, params=query).json()["results"]
        if step.get("acknowledge"):
            assert device.http.post(f"{path}{before[0]['id']}/acknowledge/").status_code == 200
        else:
            sale = sold(device, step | {"external_id": str(uuid.uuid4())}, seq)
            assert device.upload(sale)[0]["status"] == "created"
            figures = {one["product_id"]: one["quantity"] for one in device.stock()["stock"]}
            assert figures[device.cola] == step["stock"]
        found = device.http.get(path, params=query).json()["results"]
        told = [{name: one[name] for name in step["alerts"][0]} for one in found] if step["alerts"] else found
        assert told == step["alerts"], step
        assert all(one.keys() == file["example"].keys() for one in found)


def test_settings_are_taken_or_refused_at_their_field(device: Any, golden: Any) -> None:
    """What is refused changes nothing."""
    file, office = golden("settings"), device.office
    path = "/promotions/settings/api/"
    secret = {"username": "office", "password": "office-demo"}
    with httpx.Client(base_url=office.url) as http:
        http.headers["Authorization"] = f"Bearer {http.post('/api/token/', json=secret).json()['access']}"
        before = http.get(path).json()["settings"]
        assert {name: before[name] for name in file["defaults"]} == file["defaults"]
        for fields in file["refused"]:
            answer = http.put(path, json=fields | {"past_days": fields.get("past_days", 2)})
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_SETTINGS"), fields
            assert list(answer.json()["messages"]) == list(fields), fields
        assert http.get(path).json()["settings"] == before
        for fields in file["taken"]:
            saved = http.put(path, json=fields).json()["settings"]
            assert fields.items() <= saved.items()
