"""The API's verbs: what each answers, and what it leaves in the journal."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.app import app as command_line
from edge_agent.errors import StoreBroken

ID = "0191e5a2-7c3b-7def-8a01-23456789abcd"


def cli(agent: Any, *words: str) -> Any:
    """What the command line prints of the same device."""
    done = CliRunner().invoke(command_line, [*words, "--json"], env={"EDGE_AGENT_HOME": str(agent.home)})
    return json.loads(done.stdout)


# ---- selling ---------------------------------------------------------------------------------------------------------


def test_a_sale_is_stored_when_it_is_answered(till: Any, api: Any, sale: Any) -> None:
    """What 201 answers for is in the journal, in the form of the command line."""
    answer = api.post("/v1/sales", sale())
    assert answer.status == 201
    told = answer.json
    assert told["total_amount"] == "15000.00"
    assert "existing" not in told
    assert till.ledger_rows("SELECT external_id FROM sales") == [(told["external_id"],)]
    shown = api.get(f"/v1/sales/{told['external_id']}")
    assert shown.status == 200
    assert shown.json == cli(till.agent, "sale", "show", told["external_id"])


def test_the_same_id_is_the_same_sale(till: Any, api: Any, sale: Any) -> None:
    """A retry is answered 200 with the sale of then, and nothing is recorded twice."""
    first, again = api.post("/v1/sales", sale(external_id=ID)), api.post("/v1/sales", sale(external_id=ID))
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, "existing": True}
    assert till.ledger_rows("SELECT count(*) FROM sales") == [(1,)]


def test_the_same_id_for_another_sale_is_a_conflict(api: Any, sale: Any) -> None:
    """An id that is recorded with other content is refused in words."""
    api.post("/v1/sales", sale(external_id=ID))
    answer = api.post("/v1/sales", sale(external_id=ID, receipt_number="another"))
    assert answer.status == 409
    assert answer.is_problem
    assert answer.json["code"] == "ID_REUSED"


def test_eight_tills_with_one_id_record_one_sale(till: Any, api: Any, sale: Any) -> None:
    """However many send the same sale at once, it is recorded once, and each is told of that one."""
    start, answers = threading.Barrier(8), []

    def sell() -> None:
        start.wait()
        answers.append(api.post("/v1/sales", sale(external_id=ID)))

    threads = [threading.Thread(target=sell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert {answer.json["device_seq"] for answer in answers} == {1}
    assert till.ledger_rows("SELECT external_id FROM sales") == [(ID,)]


@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_an_idempotency_key_stands_for_a_missing_id(api: Any, sale: Any, form: str) -> None:
    """A POS that speaks Idempotency-Key gets the same promise, with or without quotes."""
    answer = api.post("/v1/sales", sale(), headers={"Idempotency-Key": form.format(ID)})
    assert answer.status == 201
    assert answer.json["external_id"] == ID


@pytest.mark.parametrize(
    ("key", "own", "code"),
    [("4711", None, "INVALID_ID"), ("5d3c5f0e-8f3b-4d0a-9d51-0d3a52a6a001", ID, "TWO_IDS"), (ID, ID, None)],
)
def test_an_idempotency_key_must_be_the_sales_id(api: Any, sale: Any, key: str, own: str | None, code: Any) -> None:
    """A key that is no id, or another one than the sale's, is refused before anything is recorded."""
    answer = api.post("/v1/sales", sale(external_id=own), headers={"Idempotency-Key": key})
    if code is None:
        assert answer.status == 201
        return
    assert answer.status == 400
    assert answer.json["code"] == code
    assert answer.json["field"] == "Idempotency-Key"
    assert api.agent.status()["pending"] == 0


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"items": []}, 422, "NO_ITEMS", "items"),
        ({"items": "cola"}, 422, "INVALID_LIST", "items"),
        ({"totl": "1"}, 422, "UNKNOWN_FIELD", "totl"),
        ({"total_amount": "1.00"}, 422, "TOTAL_MISMATCH", "total_amount"),
        ({"payments": [{"method": "cash", "amount": "1.00"}]}, 422, "UNDERPAID", "payments"),
        ({"external_id": "x"}, 422, "INVALID_ID", "external_id"),
        ({"device_seq": 7}, 422, "SET_BY_JOURNAL", "device_seq"),
        ({"extra": {"card": "4111 1111 1111 1111"}}, 422, "CARD_NUMBER", "extra.card"),
        ({"extra": {"price": 2.5}}, 422, "FLOAT", "extra.price"),
        ({"kind": "refund"}, 422, "NOTHING_REFERRED_TO", "refers_to"),
    ],
)
def test_a_wrong_sale_names_its_field_and_mend(
    api: Any, sale: Any, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    """What the journal refuses is a problem that says where and what to do; nothing is stored."""
    answer = api.post("/v1/sales", sale(**change))
    assert (answer.status, answer.json["code"], answer.json["field"]) == (status, code, field)
    assert answer.is_problem
    assert answer.json["hint"]
    assert api.agent.status()["pending"] == 0


def test_a_sale_that_could_not_be_stored_names_its_id(api: Any, sale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is no proof of "not stored": the answer carries the id to ask again with, also one made here."""

    def full(*_: Any) -> Any:
        raise StoreBroken("the disk is full: journal.db can't be written", hint="Free some space.", external_id=ID)

    monkeypatch.setattr(api.agent._journal, "record_sale", full)
    answer = api.post("/v1/sales", sale())
    assert answer.status == 503
    assert answer.is_problem
    assert answer.json["external_id"] == ID
    assert "disk is full" in answer.json["detail"]


def test_a_refund_is_recorded(api: Any, till: Any, sale: Any) -> None:
    """Refunds go the same way as sales."""
    sold = api.post("/v1/sales", sale()).json["external_id"]
    answer = api.post("/v1/sales", sale(kind="refund", refers_to=sold))
    assert (answer.status, answer.json["kind"]) == (201, "refund")


def test_a_warning_is_no_refusal(api: Any, till: Any, sale: Any) -> None:
    """A product that the catalogue does not know is sold, and said."""
    items = [{"product": till.nobody, "quantity": "1", "unit_price": "5.00"}]
    answer = api.post("/v1/sales", sale(items=items, payments=None))
    assert answer.status == 201
    assert till.nobody in answer.json["warnings"][0]


def test_a_use_of_a_promotion_is_recorded_once(api: Any, till: Any, sale: Any) -> None:
    """The same use has the same id, however often it is sent."""
    sold = api.post("/v1/sales", sale()).json["external_id"]
    use = {"promotion_id": till.deal, "discount_amount": "500.00", "sale_external_id": sold}
    first, again = api.post("/v1/usages", use), api.post("/v1/usages", use)
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, "existing": True}


@pytest.mark.parametrize("missing", ["promotion_id", "discount_amount"])
def test_a_use_lacks_something(api: Any, till: Any, missing: str) -> None:
    """What a use needs is named."""
    use = {"promotion_id": till.deal, "discount_amount": "500.00", "bill_id": "7"}
    del use[missing]
    answer = api.post("/v1/usages", use)
    assert (answer.status, answer.json["field"]) == (422, missing)


def test_what_was_sold_reaches_head_office(api: Any, till: Any, sale: Any) -> None:
    """A sale through the API is delivered like any other, and says so."""
    sold = api.post("/v1/sales", sale()).json["external_id"]
    till.agent.sync()
    told = api.get(f"/v1/sales/{sold}").json
    assert (told["state"], told["existing"]) == ("delivered", True)
    assert told["head_office_id"]
    assert till.books_agree()


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def test_a_product_is_shown_as_the_command_line_shows_it(api: Any, till: Any) -> None:
    """Head office's fields, the exact price, and the stock."""
    told = api.get(f"/v1/products/{till.cola}").json
    printed = cli(till.agent, "products", "show", till.cola)
    stock = told.pop("stock")
    assert stock["quantity"] == printed.pop("stock")["quantity"]
    assert told == printed
    assert told["price"] == "7500.00"


def test_products_are_found(api: Any, till: Any) -> None:
    """By SKU, by barcode, by words; nothing found is an empty list."""
    cola = api.get(f"/v1/products/{till.cola}").json
    for query in (f"sku={cola['sku']}", f"barcode={cola['barcode']}", f"q={cola['name'].split()[0][:3]}"):
        found = api.get(f"/v1/products?{query}").json
        assert till.cola in [product["id"] for product in found["products"]], query
        assert found["total"] >= 1
    nothing = api.get("/v1/products?barcode=nothing").json
    assert (nothing["products"], nothing["total"]) == ([], 0)
    assert len(api.get("/v1/products?limit=2").json["products"]) == 2
    pages = [api.get(f"/v1/products?limit=1&offset={place}").json["products"][0]["id"] for place in (0, 1)]
    assert pages[0] != pages[1]


@pytest.mark.parametrize("path", ["", "/stock", "/alternatives"])
def test_an_unknown_product_is_not_here(api: Any, till: Any, path: str) -> None:
    """What the catalogue does not know is 404, in words."""
    answer = api.get(f"/v1/products/{till.nobody}{path}")
    assert answer.status == 404
    assert answer.is_problem
    assert answer.json["code"] == "NOT_HERE"


def test_stock_counts_what_was_just_sold(api: Any, till: Any, sale: Any) -> None:
    """Both paths give head office's figure less this device's own sales."""
    before = api.get(f"/v1/stock/{till.cola}").json
    api.post("/v1/sales", sale())
    after = api.get(f"/v1/products/{till.cola}/stock").json
    assert float(before["available"]) - float(after["available"]) == 2
    assert after["quantity"] == before["quantity"]


def test_categories_come_in_order(api: Any, till: Any) -> None:
    """Each category stands before those below it, with its depth."""
    told = api.get("/v1/categories").json["categories"]
    assert len(told) == len(till.catalogue_rows("SELECT id FROM categories"))
    place = {category["id"]: (at, category["depth"]) for at, category in enumerate(told)}
    for at, category in enumerate(told):
        if category.get("parent_id") in place:
            parent_at, depth = place[category["parent_id"]]
            assert parent_at < at
            assert category["depth"] == depth + 1


def test_promotions_are_listed_and_explained(api: Any, till: Any) -> None:
    """All of them, those of a moment, and why one applies; as the command line prints it."""
    every = api.get("/v1/promotions").json
    assert every == cli(till.agent, "promotions", "list")
    code = every["promotions"][0]["code"]
    at = "2026-01-05T10:00"
    assert api.get(f"/v1/promotions?at={at}").json == cli(till.agent, "promotions", "list", "--at", at)
    assert api.get(f"/v1/promotions/{code}/explain?at={at}").json == cli(
        till.agent, "promotions", "explain", code, "--at", at
    )
    assert api.get("/v1/promotions/NO/SUCH%2FONE/explain").json["applies"] is False


def test_an_offset_may_be_written_plainly(api: Any) -> None:
    """A plus that was not escaped has become a space: it is an offset all the same."""
    plain = api.get("/v1/promotions?at=2026-01-05T10:00+07:00")
    escaped = api.get("/v1/promotions?at=2026-01-05T10:00%2B07:00")
    assert plain.status == escaped.status == 200
    assert plain.json == escaped.json


def test_lines_are_checked_before_payment(api: Any, till: Any) -> None:
    """Right and wrong prices, a product without one, an id alone, an unknown one: told line by line, not refused."""
    items = [
        {"product": till.cola, "quantity": "2", "unit_price": "7500.00"},
        {"product": till.cola, "quantity": "1", "unit_price": "7000.00"},
        till.cola,
        {"product": till.water},
        till.nobody,
    ]
    told = api.post("/v1/check", {"items": items}).json
    assert told["ok"] is False
    assert [line["problem"] for line in told["lines"]] == [None, "price differs", None, None, "unknown"]
    assert [line["line"] for line in told["lines"]] == [1, 2, 3, 4, 5]
    assert api.agent.status()["pending"] == 0


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/products?limit=0", "limit"),
        ("/v1/products?limit=x", "limit"),
        ("/v1/products?limt=1", "limt"),
        ("/v1/products?sku=a&barcode=b", "barcode"),
        ("/v1/products?q=a&q=b", "q"),
        ("/v1/promotions?at=tomorrow", "at"),
        ("/v1/promotions?at=0001-01-01T00:00", "at"),
        ("/v1/promotions?at=9999-12-31T23:59", "at"),
        ("/v1/promotions?active=perhaps", "active"),
        ("/v1/outbox?state=lost", "state"),
        ("/v1/health?fresh=2", "fresh"),
        ("/v1/status?verbose=1", "verbose"),
    ],
)
def test_a_wrong_parameter_is_named(api: Any, path: str, field: str) -> None:
    """A parameter that is unknown, doubled or out of range is refused with the mend, not ignored."""
    answer = api.get(path)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert answer.is_problem
    assert answer.json["hint"]


# ---- delivery, status ------------------------------------------------------------------------------------------------


def test_the_outbox_is_listed_and_offered_again(api: Any, till: Any, sale: Any) -> None:
    """What waits or was refused is listed as the command line lists it; one entry or all are offered again."""
    items = [{"product": till.nobody, "quantity": "1", "unit_price": "5.00"}]
    refused = api.post("/v1/sales", sale(items=items, payments=None)).json["external_id"]
    till.agent.sync()
    api.post("/v1/sales", sale())
    assert api.get("/v1/outbox").json == cli(till.agent, "outbox", "list")
    [entry] = api.get("/v1/outbox?state=quarantined").json["entries"]
    assert (entry["external_id"], entry["code"]) == (refused, "UNKNOWN_PRODUCT")
    assert api.post("/v1/outbox/retry", {"ids": [refused]}).json == {"schema": 1, "retried": 1}
    assert api.get("/v1/outbox?state=quarantined").json["total"] == 0
    assert api.post("/v1/outbox/retry", {"ids": [ID]}).status == 404
    assert api.post("/v1/outbox/retry", {"all": True}).status == 200
    for wrong in ({}, {"ids": []}, {"ids": [7]}, {"ids": [refused], "all": True}, {"all": "yes"}, {"id": refused}):
        assert api.post("/v1/outbox/retry", wrong).status == 422, wrong


@pytest.mark.parametrize("body", [None, {}])
def test_a_sync_is_asked_for_and_not_waited_for(api: Any, body: Any) -> None:
    """202: it will be done, with or without a body."""
    answer = api.post("/v1/sync", body)
    assert (answer.status, answer.json["accepted"]) == (202, True)
    assert api.syncs == ["now"]


def test_the_status_is_that_of_the_command_line(api: Any, till: Any, sale: Any) -> None:
    """The same fields, the same figures."""
    api.post("/v1/sales", sale())
    told, printed = api.get("/v1/status").json, cli(till.agent, "status")
    assert set(told) <= set(printed)
    assert {key: told[key] for key in ("pending", "delivered", "journal", "datasets")} == {
        key: printed[key] for key in ("pending", "delivered", "journal", "datasets")
    }


def test_health_is_that_of_the_command_line(api: Any, till: Any) -> None:
    """The same findings; without a fresh look the remembered figures alone."""
    told, printed = api.get("/v1/health").json, cli(till.agent, "health")
    assert told["findings"] == printed["findings"]
    assert told["health_score"] == printed["health_score"]
    assert api.get("/v1/health?fresh=false").json["findings"] == []


def test_a_long_look_keeps_no_sale_waiting(api: Any, till: Any, sale: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While every reader is busy with something slow, sales are recorded."""
    busy, release = threading.Semaphore(0), threading.Event()
    status = till.agent.status

    def slow() -> Any:
        busy.release()
        release.wait(20)
        return status()

    monkeypatch.setattr(till.agent, "status", slow)
    threads = [threading.Thread(target=api.get, args=("/v1/status",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        assert busy.acquire(timeout=10)
    try:
        assert api.post("/v1/sales", sale()).status == 201
    finally:
        release.set()
        for thread in threads:
            thread.join()


def test_looks_through_the_catalogue_come_one_at_a_time(api: Any, till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for health, one reader looks; searches go on."""
    began, release = threading.Semaphore(0), threading.Event()
    health = till.agent.health

    def slow(**more: Any) -> Any:
        began.release()
        release.wait(20)
        return health(**more)

    monkeypatch.setattr(till.agent, "health", slow)
    threads = [threading.Thread(target=api.get, args=("/v1/health",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        assert began.acquire(timeout=10)
        assert api.get("/v1/products?q=a").status == 200
        assert not began.acquire(blocking=False)
    finally:
        release.set()
        for thread in threads:
            thread.join()


def test_the_page_gets_its_data(api: Any) -> None:
    """What the status page shows comes in one answer."""
    answer = api.get("/v1/page")
    assert answer.status == 200
    assert answer.json["schema"] == 1


def test_figures_for_prometheus(api: Any) -> None:
    """Prometheus text, with its type."""
    answer = api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text"))
    assert b"edge_agent" in answer.body


def test_figures_need_a_package(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus-client the answer says what to install."""
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "edge_agent.daemon.metrics", raising=False)
    answer = api.get("/metrics")
    assert (answer.status, answer.json["code"]) == (501, "NOT_INSTALLED")
    assert "edge-sync-agent[metrics]" in answer.json["hint"]
