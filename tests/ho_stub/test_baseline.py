"""The baseline profile shows the gaps that head offices in the field have (contract section 4)."""

from __future__ import annotations

import uuid
from typing import Any


def test_a_baseline_answer_has_no_native_signs(baseline: Any) -> None:
    answer = baseline.get("version", **baseline.ids)
    assert answer.json().keys() == {"version", "last_updated", "force_update"}
    assert not {"x-ho-epoch", "etag"} & set(answer.headers)
    body = baseline.download("products")
    assert body.keys() == {"products", "deleted_ids", "sync_timestamp", "total", "total_available"}
    assert not {"row_version", "barcode", "is_volatile", "reorder_level"} & body["products"][0].keys()
    assert isinstance(body["products"][0]["price"], float)
    for path in ("stock", "receipts", "digest"):
        assert baseline.get(path, **baseline.ids).status_code == 404
    for path in ("sales", "heartbeat"):
        assert baseline.post(path, {}).status_code == 404


def test_rows_that_went_just_vanish(baseline: Any) -> None:
    world = baseline.office.world
    since = baseline.download("products")["sync_timestamp"]
    world.delete("products", baseline.cola)
    world.edit("products", baseline.bread, is_active=False)
    delta = baseline.download("products", updated_since=since)
    assert (delta["products"], delta["deleted_ids"]) == ([], [])
    assert len(baseline.download("products")["products"]) == 1


def test_updated_since_is_inclusive(baseline: Any) -> None:
    row = baseline.office.world.edit("products", baseline.cola, name="again")
    delta = baseline.download("products", updated_since=row["updated_at"])
    assert [sent["id"] for sent in delta["products"]] == [row["id"]]
    assert baseline.get("products", **baseline.ids, updated_since="x").json()["code"] == "INVALID_DATE_FORMAT"


def test_promotions_are_cut_without_a_way_to_the_rest(baseline: Any) -> None:
    world = baseline.office.world
    world.set_settings(max_promotions_per_sync=10)
    for _ in range(12):
        world.upsert("promotions", {"id": str(uuid.uuid4())})
    body = baseline.download("promotions", limit=500)
    assert (body["total"], body["total_available"]) == (10, 13)


def test_the_version_covers_promotions_only_and_goes_back(baseline: Any) -> None:
    world = baseline.office.world
    first = baseline.get("version", **baseline.ids).json()["version"]
    world.edit("products", baseline.cola, price="1.00")
    assert baseline.get("version", **baseline.ids).json()["version"] == first
    newest = world.upsert("promotions", {"id": str(uuid.uuid4()), "updated_at": "2030-01-01T00:00:00.9Z"})
    assert baseline.get("version", **baseline.ids).json()["version"] == 1893456000
    world.delete("promotions", newest["id"])
    assert baseline.get("version", **baseline.ids).json()["version"] == first
    unknown = baseline.ids | {"company_id": str(uuid.uuid4())}
    assert baseline.get("version", **unknown).json()["version"] == 0


def test_what_is_out_of_reach_is_not_found(baseline: Any) -> None:
    for name, code in (("company", "COMPANY_NOT_FOUND"), ("brand", "BRAND_NOT_FOUND"), ("store", "STORE_NOT_FOUND")):
        answer = baseline.get("products", **(baseline.ids | {f"{name}_id": str(uuid.uuid4())}))
        assert (answer.status_code, answer.json().keys(), answer.json()["code"]) == (404, {"error", "code"}, code)


def test_a_single_sale_is_201_then_200(baseline: Any) -> None:
    world = baseline.office.world
    made = {"sku": "FRESH", "name": "Fresh bread", "unit_price": 1.5}
    items = [
        {"product": baseline.cola, "quantity": "2", "unit_price": "7500.00"},
        {"product_data": made, "quantity": "1", "unit_price": "1.50"},
    ]
    sale = {"items": items, "external_id": str(uuid.uuid4()), "source_device": "pos-02", "business_date": "2026-11-21"}
    first, again = (baseline.http.post("/api/sales/", json=sale) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["total_amount"] == 15001.5
    assert (world.sale_count(), world.ledger_total(), world.line_count()) == (1, "15001.50", 2)
    found = baseline.http.get("/api/sales/", params={"external_id": sale["external_id"]}).json()
    assert (found["count"], found["results"][0]["id"]) == (1, first.json()["id"])
    assert world.stock.quantity(baseline.office.store_id, baseline.cola) == "46.000"


def test_a_bad_single_sale_is_400_and_a_foreign_product_404(baseline: Any) -> None:
    line = {"product": str(uuid.uuid4()), "quantity": "1", "unit_price": "1.00"}
    assert baseline.http.post("/api/sales/", json={"items": [line]}).status_code == 404
    assert baseline.http.post("/api/sales/", json={"items": []}).json()["code"] == "INVALID_SALE"
    assert baseline.office.world.sale_count() == 0


def test_usages_are_said_to_be_created_whatever_they_are(baseline: Any) -> None:
    promotion = baseline.office.world.live_ids("promotions")[0]
    usage = {"external_id": str(uuid.uuid4()), "promotion_id": promotion, "bill_id": "B-1"}
    for _ in range(2):
        assert baseline.post("usage", {"usages": [usage]}).json()["created"] == 1
    error = baseline.post("usage", {"usages": [usage | {"external_id": "x"}]}).json()["errors"][0]
    assert error.keys() == {"data", "error"}
