"""The agent against the golden files of tests/contract, which the stub must pass too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edge_agent.domain import canonical, money
from edge_agent.domain.catalog import RowReader
from edge_agent.domain.digest import leaves
from edge_agent.domain.ids import one_off_product_id, usage_id
from edge_agent.domain.promotion import read_promotion
from edge_agent.head_office import answers, wire

Golden = Callable[[str], Any]


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_canonical_json_has_one_spelling(golden: Golden) -> None:
    """Each value has exactly one canonical text, whatever order its keys came in."""
    for case in golden("canonical")["cases"]:
        found = canonical.canonical_bytes(case["value"])
        assert found.decode() == case["canonical"], case["why"]
        assert (found.hex(), canonical.fingerprint(found)) == (case["utf8_hex"], case["sha256"])


def test_what_has_no_canonical_form_is_refused(golden: Golden) -> None:
    """Floats, giant integers and half characters have no canonical form."""
    for case in golden("canonical")["refused"]:
        with pytest.raises(ValueError):  # noqa: PT011 - its words are for people
            canonical.canonical_bytes(json.loads(case["json"]))


def test_lines_are_rounded_half_up_at_the_currencys_exponent(golden: Golden) -> None:
    """A line's amount is exact until it is rounded once, half-up."""
    file = golden("line_totals")
    assert {code: money.currency_exponent(code) for code in file["exponents"]} == file["exponents"]

    def amount(quantity: str, price: str, discount: str | None, exponent: int) -> int:
        cents = [money.parse_money(value or "0", exponent, "x") for value in (price, discount)]
        return money.line_amount(money.parse_quantity(quantity, "x"), *cents)

    for case in file["cases"]:
        exponent = money.currency_exponent(case["currency"])
        found = amount(case["quantity"], case["unit_price"], case["discount"], exponent)
        assert money.format_money(found, exponent) == case["amount"], case
    for case in file["totals"]:
        exponent = money.currency_exponent(case["currency"])
        total = sum(amount(*line, exponent) for line in case["lines"])
        assert money.format_money(total, exponent) == case["total"], case["why"]


def test_ids_made_from_names_are_the_same_everywhere(golden: Golden) -> None:
    """The same one-off product, and the same use of a promotion, always has the same id."""
    for case in golden("one_off_ids")["cases"]:
        assert one_off_product_id(case["company_id"], case["sku"]) == case["id"]
    for case in golden("usage_ids")["cases"]:
        found = usage_id(
            promotion_id=case["promotion_id"],
            line=case["line"] or 0,
            sale_external_id=case["sale_external_id"],
            store_id=case["store_id"],
            bill_id=case["bill_id"] or "",
        )
        assert found == case["external_id"]


def test_digest_leaves_are_sums_of_row_hashes(golden: Golden) -> None:
    """Leaves are sums, so the order of rows does not matter."""
    file = golden("digest")
    rows = [(row["id"], row["row_version"]) for row in file["rows"]]
    for count in (256, 16, 1):
        assert leaves(rows, count) == leaves(reversed(rows), count) == file[f"leaves_{count}"]


def test_a_sales_fingerprint_is_that_of_its_canonical_bytes(golden: Golden) -> None:
    """The frozen form of the contract's example sale has the contract's fingerprint."""
    file = golden("sale")
    found = canonical.canonical_bytes(file["sale"])
    assert (found.decode(), found.hex()) == (file["canonical"], file["utf8_hex"])
    assert canonical.fingerprint(found) == file["fingerprint"]


def test_version_answers_of_both_profiles_are_read(golden: Golden) -> None:
    """Only announced capabilities make a head office native."""
    file = golden("version")
    native = wire.decode(encoded(file["native"]["body"]), wire.Version)
    assert native.profile == "native"
    assert native.datasets["products"].count == 92_331
    assert (native.store.timezone, native.store.day_start, native.store.currency) == ("Asia/Jakarta", "04:00", "IDR")
    for name in ("baseline", "baseline_unknown_company"):
        assert wire.decode(encoded(file[name]["body"]), wire.Version).profile == "baseline"


def test_product_pages_of_both_profiles_are_read(golden: Golden) -> None:
    """Rows keep fields nobody knows; prices are exact whether they came as text or as numbers."""
    file = golden("products_page")
    native = wire.decode(encoded(file["native"]), wire.PAGE_TYPES["products"])
    assert (native.next_cursor, native.deleted_ids) == (
        file["native"]["next_cursor"],
        file["native"]["deleted_ids"],
    )
    rows = RowReader(exponent=2).read("products", native.rows)
    assert not rows.refused
    assert [row.price for row in rows.good] == [row["price"] for row in file["native"]["products"]]
    assert json.loads(rows.good[1].body)["allergens"] == ["none"]
    baseline = wire.decode(encoded(file["baseline"]), wire.PAGE_TYPES["products"])
    rows = RowReader(exponent=2, ordered_by_time=True).read("products", baseline.rows)
    assert not rows.refused
    assert all(row.price is None or row.price.count(".") == 1 for row in rows.good)


def test_both_forms_of_promotions_are_read_as_one(golden: Golden) -> None:
    """Weekdays mean the same whichever form counted them."""
    file = golden("promotions_page")
    page = wire.decode(encoded(file["native"]), wire.PAGE_TYPES["promotions"])
    rows = RowReader().read("promotions", page.rows)
    assert not rows.refused
    found = {row.id: sorted(read_promotion(row.body).validity.days) for row in rows.good}
    assert found == {name: means["days_of_week"] for name, means in file["means"].items()}


def test_answers_to_uploads_are_read(golden: Golden) -> None:
    """Every status an upload can get has its place."""
    batch = wire.decode(encoded(golden("sales_batch")["native"]), wire.SalesAnswer)
    assert {result.status for result in batch.results} >= {"created", "duplicate", "rejected", "retry"}
    file = golden("usage")
    native = wire.decode(encoded(file["native"]), wire.UsagesAnswer)
    assert (native.created, native.duplicates, native.errors[0].index) == (1, 1, 2)
    baseline = wire.decode(encoded(file["baseline"]), wire.UsagesAnswer)
    assert baseline.errors[0].external_id is None
    assert baseline.errors[0].data["bill_id"] == "B-1"


def test_stock_and_receipts_are_read(golden: Golden) -> None:
    """The stock feed says which of our sales it contains."""
    body = golden("stock_page")["native"]
    page = wire.decode(encoded(body), wire.StockPage)
    assert page.seen is not None
    assert json.loads(msgspec.json.encode(page.seen)) == body["seen"]
    receipts = wire.decode(encoded(golden("receipts")["native"]), wire.Receipts)
    assert receipts.contiguous_seq == golden("receipts")["native"]["contiguous_seq"]


def test_errors_are_sorted_by_what_to_do(golden: Golden) -> None:
    """An error's class follows from its status and code, never from its words."""
    import datetime as dt

    expected = {
        "MISSING_STORE_ID": "Refused",
        "INVALID_CURSOR": "CursorLost",
        "FORBIDDEN": "Refused",
        "CURSOR_EXPIRED": "CursorLost",
        "PAYLOAD_TOO_LARGE": "Refused",
        None: "NotSignedIn",
    }
    for case in golden("errors")["native"]:
        found = answers.as_error(case["status"], {}, encoded(case["body"]), dt.datetime.now(dt.UTC))
        assert type(found).__name__ == expected[case["body"].get("code")], case
        assert found.hint or found.message
