"""Sales, stock, receipts and usage logs (contract sections 4 to 6)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from ho_stub.canonical import canonical, fingerprint, one_off_id


def test_a_sale_is_created_once_and_a_duplicate_for_ever(device: Any, office: Any) -> None:
    sale = device.sale(1, total_amount="1.00")
    first, again = device.upload(sale)[0], device.upload(dict(reversed(sale.items())))[0]
    assert (first["status"], again["status"]) == ("created", "duplicate")
    assert first["fingerprint"] == again["fingerprint"] == fingerprint(canonical(sale))
    assert (first["id"], first["warnings"]) == (again["id"], ["TOTAL_MISMATCH"])
    assert again["warnings"] == first["warnings"]
    assert (office.world.sale_count(), office.world.ledger_total()) == (1, "7500.00")


def test_one_bad_sale_never_spoils_the_others(device: Any, office: Any) -> None:
    good, bad = device.sale(1), device.sale(2, (str(uuid.uuid4()), "1", "1.00"))
    results = device.upload(good, bad, "not a sale", device.sale(3))
    assert [result["status"] for result in results] == ["created", "rejected", "rejected", "created"]
    assert [result["code"] for result in results] == [None, "UNKNOWN_PRODUCT", "INVALID_SALE", None]
    assert office.world.sale_count() == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"total_amount": 2.5}, "INVALID_SALE"),
        ({"extra": {"deep": [{"x": 0.1}]}}, "INVALID_SALE"),
        ({"items": []}, "INVALID_SALE"),
        ({"kind": "gift"}, "INVALID_SALE"),
        ({"kind": "refund"}, "INVALID_SALE"),
        ({"device_seq": 0}, "INVALID_SALE"),
        ({"device_seq": True}, "INVALID_SALE"),
        ({"total_amount": "7500.001"}, "INVALID_SALE"),
        ({"total_amount": "١.00"}, "INVALID_SALE"),
        ({"business_date": "21.11.2026"}, "INVALID_SALE"),
        ({"client_timestamp": "2026-11-21T09:15:02"}, "INVALID_SALE"),
        ({"external_id": "A"}, "INVALID_SALE"),
        ({"extra": {"x": "\ud83d"}}, "INVALID_SALE"),
        ({"store_id": "00000099-0000-4000-8000-000000000000"}, "UNKNOWN_STORE"),
        ({"currency": "USD"}, "CURRENCY_MISMATCH"),
    ],
)
def test_a_rejection_is_a_receipt_with_its_code(device: Any, office: Any, change: dict[str, Any], code: str) -> None:
    sale = device.sale(7) | change
    body = json.dumps({"device_id": "pos-02", "sales": [sale]})
    for _ in range(2):
        result = device.http.post("/api/v1/sync/sales/", content=body).json()["results"][0]
        assert (result["status"], result["code"], result["id"]) == ("rejected", code, None)
    (kept,) = office.world.sales()
    assert (kept["state"], kept["code"], kept["body"]["items"]) == ("refused", code, sale["items"])
    expected = [] if "device_seq" in change else [7]
    assert device.receipts()["refused"] == expected


@pytest.mark.parametrize("quantity", ["0", "-1", "0.0001", "1e2", " 1", "01", "1.", ".5", "+1", 1, None])
def test_a_quantity_is_a_positive_decimal_string(device: Any, quantity: Any) -> None:
    assert device.upload(device.sale(1, (device.cola, quantity, "1.00")))[0]["code"] == "INVALID_SALE"


def test_a_rejected_sale_is_judged_anew_when_head_office_is_mended(device: Any, office: Any) -> None:
    row_id = str(uuid.uuid4())
    sale = device.sale(1, (row_id, "1", "7500.00"))
    assert device.upload(sale)[0]["code"] == "UNKNOWN_PRODUCT"
    office.world.upsert("products", {"id": row_id, "brand_id": office.brand_id, "price": "7500.00"})
    assert device.upload(sale)[0]["status"] == "created"
    receipts = device.receipts()
    assert (receipts["refused"], receipts["count"], receipts["contiguous_seq"]) == ([], 1, 1)
    assert [kept["state"] for kept in office.world.sales()] == ["accepted"]


def test_an_accepted_id_with_another_body_is_a_mismatch_and_stays_accepted(device: Any) -> None:
    sale = device.sale(1)
    device.upload(sale)
    result = device.upload(sale | {"receipt_number": "other"})[0]
    assert (result["status"], result["code"]) == ("rejected", "PAYLOAD_MISMATCH")
    assert (device.receipts()["refused"], device.receipts()["count"]) == ([], 1)


def test_the_same_sequence_number_under_another_id_is_created_with_a_warning(device: Any) -> None:
    assert device.upload(device.sale(1))[0]["warnings"] == []
    clone = device.upload(device.sale(1))[0]
    assert (clone["status"], clone["warnings"]) == ("created", ["SEQ_CONFLICT"])
    assert device.receipts()["count"] == 2


def test_a_product_deleted_since_is_accepted(device: Any, office: Any) -> None:
    sale = device.sale(1)
    office.world.delete("products", device.cola)
    assert device.upload(sale)[0]["status"] == "created"


def test_a_one_off_product_is_made_once_and_matched_by_sku(device: Any, office: Any) -> None:
    def one_off(seq: int, sku: str) -> dict[str, Any]:
        made = {"id": str(uuid.uuid4()), "sku": sku, "name": "Fresh", "unit_price": "1.50", "is_volatile": True}
        return device.sale(
            seq, items=[{"product_data": made, "quantity": "1", "unit_price": "1.50"}], total_amount="1.50"
        )

    bread = one_off_id(office.company_id, "FRESH")
    device.pull("products")
    sale = one_off(1, "FRESH")
    results = [device.upload(one)[0] for one in (sale, one_off(2, "FRESH"), one_off(3, "COLA-330"), sale)]
    assert [result["products"] for result in results] == [
        {"FRESH": bread},
        {"FRESH": bread},
        {"COLA-330": device.cola},
        {"FRESH": bread},
    ]
    made = device.page("products")["products"]
    assert [(row["id"], row["price"], row["is_volatile"]) for row in made] == [(bread, "1.50", True)]


def test_stock_and_prices_follow_the_kind_of_product_and_sale(device: Any, office: Any) -> None:
    world = office.world
    before = world.get("products", device.bread)
    refers = {"refers_to": str(uuid.uuid4())}
    device.upload(
        device.sale(1, (device.cola, "50.5", "7500.00"), (device.bread, "0.750", "43210.00")),
        device.sale(2, (device.cola, "1", "7500.00"), kind="refund", **refers),
        device.sale(3, (device.cola, "0.5", "7500.00"), kind="void", **refers),
    )
    assert world.stock.quantity(office.store_id, device.cola) == "-1.000"  # 48 - 50.5 + 1 + 0.5: never refused
    assert world.stock.quantity(office.store_id, device.bread) is None
    after = world.get("products", device.bread)
    assert after["price"] == "43210.00"
    assert after["row_version"] > before["row_version"]
    assert world.ledger_total() == "399907.50"  # 378750.00 + 32407.50 - 7500.00 - 3750.00
    assert world.line_count() == 4


def test_receipts_tell_what_is_missing(device: Any) -> None:
    device.upload(*(device.sale(seq) for seq in (1, 2, 5, 6, 9)), device.sale(7, currency="USD"))
    assert device.receipts() == {
        "epoch": device.office.world.epoch,
        "contiguous_seq": 2,
        "highest_seq": 9,
        "count": 5,
        "missing": [[3, 4], [8, 8]],
        "refused": [7],
        "total_amount": "37500.00",
        "usages": 0,
    }
    body = {"device_id": "pos-02", "sales": [device.sale(4), device.sale(3)]}
    assert device.post("sales", body).json()["contiguous_seq"] == 7


def test_a_restored_head_office_misses_what_it_lost_and_takes_it_again(device: Any, office: Any) -> None:
    first, second = device.sale(1), device.sale(2)
    device.upload(first)
    backup = office.world.snapshot()
    device.upload(second)
    office.world.restore(backup)
    assert (device.receipts()["contiguous_seq"], device.receipts()["count"]) == (1, 1)
    assert [result["status"] for result in device.upload(first, second)] == ["duplicate", "created"]


def test_the_stock_feed_says_which_sales_its_figures_contain(device: Any) -> None:
    first = device.stock()
    assert (first["snapshot"], first["seen"]) == (True, {"contiguous_seq": 0, "beyond": []})
    device.upload(device.sale(1), device.sale(3), device.sale(4, currency="USD"), device.sale(6))
    delta = device.stock(cursor=first["next_cursor"])
    assert ([row["quantity"] for row in delta["stock"]], delta["snapshot"]) == (["45.000"], False)
    assert delta["seen"] == {"contiguous_seq": 1, "beyond": [[3, 4], [6, 6]]}
    assert device.stock(cursor=delta["next_cursor"])["stock"] == []


def test_a_stock_snapshot_never_claims_a_sale_that_an_early_page_lacks(device: Any) -> None:
    page = device.stock(limit=1)  # Cola: 48
    assert (page["has_more"], page["stock"][0]["product_id"]) == (True, device.cola)
    device.upload(device.sale(1))
    last = device.stock(limit=1, cursor=page["next_cursor"])
    assert (last["has_more"], last["seen"]["contiguous_seq"]) == (False, 0)
    delta = device.stock(cursor=last["next_cursor"])
    assert (delta["stock"][0]["quantity"], delta["seen"]["contiguous_seq"]) == ("47.000", 1)


def test_stock_of_a_deleted_product_is_a_tombstone(device: Any, office: Any) -> None:
    cursor, cola = device.stock()["next_cursor"], device.cola
    office.world.delete("products", cola)
    assert device.stock(cursor=cursor)["deleted_ids"] == [cola]
    assert cola not in [row["product_id"] for row in device.stock()["stock"]]


def test_a_usage_counts_once_and_waits_for_its_sale(device: Any, office: Any) -> None:
    promotion = office.world.live_ids("promotions")[0]
    sale = device.sale(1)
    usage = {
        "external_id": str(uuid.uuid4()), "device_id": "pos-02", "journal_id": device.journal_id,
        "promotion_id": promotion, "bill_id": "B-1", "sale_external_id": sale["external_id"], "discount_amount": "1.00",
        "used_at": "2026-11-21T09:15:02Z", "store_id": office.store_id, "customer_id": None,
    }  # fmt: skip
    unknown = usage | {"external_id": str(uuid.uuid4()), "promotion_id": str(uuid.uuid4())}
    early = device.post("usage", {"usages": [usage, unknown, {"external_id": "x"}]}).json()
    assert [error["code"] for error in early["errors"]] == ["RETRY", "UNKNOWN_PROMOTION", "INVALID_USAGE"]
    device.upload(sale)
    assert device.post("usage", {"usages": [usage]}).json() == {"created": 1, "duplicates": 0, "errors": [], "total": 1}
    office.world.delete("promotions", promotion)
    alone = usage | {"external_id": str(uuid.uuid4()), "sale_external_id": None}
    again = device.post("usage", {"usages": [usage, alone]}).json()
    assert (again["created"], again["duplicates"]) == (1, 1)
    assert (office.world.usage_count(), device.receipts()["usages"]) == (2, 2)


def test_the_last_heartbeat_of_a_device_is_kept(device: Any, office: Any) -> None:
    for pending in (5, 3):
        answer = device.post("heartbeat", {"device_id": "pos-02", "pending": pending})
        assert (answer.status_code, answer.content) == (204, b"")
    assert office.world.heartbeat("pos-02")["pending"] == 3


def test_sales_are_listed_by_business_date(device: Any) -> None:
    device.upload(*(device.sale(seq, business_date=f"2026-11-{20 + seq}") for seq in (1, 2, 3)))
    query = {"start_date": "2026-11-22", "end_date": "2026-11-23", "page_size": 1}
    first = device.http.get("/api/sales/", params=query).json()
    assert (first["count"], first["previous"], first["results"][0]["business_date"]) == (2, None, "2026-11-22")
    second = device.http.get(first["next"]).json()
    assert (second["next"], second["results"][0]["total_amount"]) == (None, "7500.00")
    assert device.http.get("/api/sales/", params={"start_date": "x"}).json()["code"] == "INVALID_DATE_FORMAT"


def test_amounts_beyond_the_books_are_invalid_not_an_error_of_ours(device: Any) -> None:
    sale = device.sale(1, (device.cola, "999999999", "999999999999.00"))
    assert device.upload(sale)[0]["code"] == "INVALID_SALE"
    line = device.sale(2, (device.cola, "1", "999999999999.99"))
    assert device.upload(line)[0]["warnings"] == ["TOTAL_MISMATCH"]


def test_a_sale_taken_in_the_baseline_form_is_known_when_it_comes_in_a_batch(device: Any, office: Any) -> None:
    sale = device.sale(1)
    line = {"product": device.cola, "quantity": "1", "unit_price": "7500.00"}
    single = {"items": [line], "external_id": sale["external_id"], "source_device": "pos-02"}
    assert device.http.post("/api/sales/", json=single).status_code == 201
    assert device.upload(sale | {"total_amount": "1.00"}, sale)[1]["code"] == "PAYLOAD_MISMATCH"
    other = device.sale(2)
    device.http.post("/api/sales/", json=single | {"external_id": other["external_id"]})
    twice = device.upload(other, other)
    assert [result["status"] for result in twice] == ["duplicate", "duplicate"]
    assert (office.world.sale_count(), device.receipts()["contiguous_seq"]) == (2, 2)


def test_a_failure_of_head_office_s_database_asks_to_retry(device: Any, office: Any) -> None:
    office.world.db.run("ALTER TABLE sale_line RENAME TO out_of_reach")
    sale = device.sale(1)
    assert [result["status"] for result in device.upload(sale)] == ["retry"]
    assert (office.world.sales(), device.receipts()["highest_seq"]) == ([], 0)
    office.world.db.run("ALTER TABLE out_of_reach RENAME TO sale_line")
    assert device.upload(sale)[0]["status"] == "created"
