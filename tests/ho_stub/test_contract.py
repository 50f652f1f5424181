"""The stub against the golden files of tests/contract, which the agent must pass too."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ho_stub.canonical import NotCanonical, canonical, fingerprint, one_off_id, usage_id
from ho_stub.cursor import Scope
from ho_stub.errors import ContractError
from ho_stub.sale import exponent, line_amount, read_sale


def shape(value: Any) -> Any:
    """Names and kinds, for comparing a real answer with an example; lists by their first entry, null fits anything."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def fits(real: Any, example: Any) -> bool:
    """Whether an answer has the example's names, and kinds where both have a value."""
    if isinstance(real, dict) and isinstance(example, dict):
        if not real or not all(map(str.islower, real)):  # a map by SKU: its names are data
            return True
        return real.keys() == example.keys() and all(fits(real[name], example[name]) for name in real)
    if isinstance(real, list) and isinstance(example, list):
        return not real or not example or fits(real[0], example[0])
    return real == example or "NoneType" in (real, example)


def test_canonical_json_has_one_spelling(golden: Any) -> None:
    for case in golden("canonical")["cases"]:
        found = canonical(case["value"])
        assert found.decode() == case["canonical"], case["why"]
        assert found.hex() == case["utf8_hex"]
        assert fingerprint(found) == case["sha256"]


def test_what_has_no_canonical_form_is_refused(golden: Any) -> None:
    for case in golden("canonical")["refused"]:
        with pytest.raises(NotCanonical):
            canonical(json.loads(case["json"]))


def test_lines_are_rounded_half_up_at_the_currency_s_exponent(golden: Any) -> None:
    file = golden("line_totals")
    assert {name: exponent(name) for name in file["exponents"]} == file["exponents"]
    for case in file["cases"]:
        discount = Decimal(case["discount"] or 0)
        found = line_amount(Decimal(case["quantity"]), Decimal(case["unit_price"]), discount, case["currency"])
        assert f"{found:f}" == case["amount"], case
    for case in file["totals"]:
        amounts = [line_amount(*map(Decimal, line), case["currency"]) for line in case["lines"]]
        assert f"{sum(amounts):f}" == case["total"], case["why"]


def test_ids_made_from_names_are_the_same_everywhere(golden: Any) -> None:
    for case in golden("one_off_ids")["cases"]:
        assert one_off_id(case["company_id"], case["sku"]) == case["id"]
    for case in golden("usage_ids")["cases"]:
        namespace = case["sale_external_id"] or case["store_id"]
        bill_id = None if case["sale_external_id"] else case["bill_id"]
        assert usage_id(namespace, case["promotion_id"], case["line"] or 0, bill_id) == case["external_id"]


def test_digest_leaves_are_sums_of_row_hashes(office: Any, golden: Any) -> None:
    file = golden("digest")
    feed, db = office.world.feed, office.world.db
    with db.write():
        db.run("DELETE FROM feed WHERE dataset = 'categories'")
        for row in file["rows"]:
            feed.put("categories", {"id": row["id"], "name": "x"}, date(2026, 1, 1))
            db.run("UPDATE feed SET row_version = ? WHERE id = ?", (row["row_version"], row["id"]))
    scope = Scope("categories", office.company_id)
    for leaves in (256, 16, 1):
        assert feed.digest(scope, leaves) == (file["count"], file[f"leaves_{leaves}"])
    for case in file["leaf_of"]:
        assert any(case["id"] in body.decode() for body in feed.leaves(scope, [case["leaf_256"]], 256))


def test_a_sale_s_fingerprint_is_that_of_its_canonical_bytes(golden: Any) -> None:
    file = golden("sale")
    found = canonical(file["sale"])
    assert (found.decode(), found.hex()) == (file["canonical"], file["utf8_hex"])
    assert fingerprint(found) == file["fingerprint"] == hashlib.sha256(found).hexdigest()
    sale = read_sale(file["sale"])
    assert f"{sale.total}" == f"{sale.declared}" == file["total_amount"]
    assert file["sale"]["items"][1]["product_data"]["id"] == one_off_id(file["company_id"], "BREAD")


def test_answers_have_the_examples_shape(device: Any, baseline: Any, golden: Any) -> None:
    real = {
        "version": device.get("version", **device.ids).json(),
        "products_page": device.download("products"),
        "promotions_page": device.download("promotions"),
        "sales_batch": device.post("sales", {"device_id": "pos-02", "sales": [device.sale(1)]}).json(),
        "receipts": device.receipts(),
        "stock_page": device.stock(),
        "usage": device.post("usage", {"usages": [{}]}).json(),
    }
    for example in golden("errors")["native"]:
        code = example["body"].get("code")
        error = ContractError(example["status"], code, "") if code else None
        assert error is None or error.body(native=True).keys() == example["body"].keys()
    for name, answer in real.items():
        example = golden(name)["native"]
        assert fits(shape(answer), shape(example.get("body", example))), name
    assert fits(shape(baseline.get("version", **baseline.ids).json()), shape(golden("version")["baseline"]["body"]))
    assert fits(shape(baseline.download("products")), shape(golden("products_page")["baseline"]))
    assert fits(shape(baseline.post("usage", {"usages": [{}]}).json())["errors"], [{"data": {}, "error": "str"}])


def test_a_heartbeat_is_kept_as_it_was_sent(office: Any, device: Any, golden: Any) -> None:
    request = golden("heartbeat")["request"]
    answer = device.post("heartbeat", request)
    assert (answer.status_code, answer.content) == (204, b"")
    assert office.world.heartbeat(request["device_id"]) == request
