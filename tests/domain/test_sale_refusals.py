"""A sale the contract excludes is refused with its code, field, message and mend, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import EdgeAgent, InvalidSale, Item, OneOff, Payment, PriceOverride

COLA = "00000006-0000-4000-8000-000000000000"
CARD = "4111 1111 1111 1111"
FLOAT: Any = 1.5
NUMBER: Any = 7
NOTHING: Any = None


def one(**changes: Any) -> dict[str, Any]:
    return {"items": [Item(**{"product": COLA, "quantity": "1", "unit_price": "2.00", **changes})]}


def of(**changes: Any) -> dict[str, Any]:
    return {**one(), **changes}


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no items": ({"items": []}, "NO_ITEMS", "items"),
    "items that are no list": ({"items": NOTHING}, "NO_ITEMS", "items"),
    "a thousand lines and one": ({"items": one()["items"] * 1001}, "TOO_MANY_ITEMS", "items"),
    "an item of another kind": ({"items": [{"product": COLA}]}, "INVALID_ITEM", "items[0]"),
    "a quantity of zero": (one(quantity="0"), "NOT_POSITIVE", "items[0].quantity"),
    "a quantity of zero with decimals": (one(quantity="0.000"), "NOT_POSITIVE", "items[0].quantity"),
    "a negative quantity": (one(quantity="-1"), "NOT_POSITIVE", "items[0].quantity"),
    "a quantity in ten-thousandths": (one(quantity="0.7501"), "TOO_MANY_DECIMALS", "items[0].quantity"),
    "a float quantity": (one(quantity=FLOAT), "FLOAT", "items[0].quantity"),
    "a quantity that is a barcode": (one(quantity="5000112546415"), "TOO_LARGE", "items[0].quantity"),
    "a quantity of yes": (one(quantity=True), "INVALID_NUMBER", "items[0].quantity"),
    "a float price": (one(unit_price=FLOAT), "FLOAT", "items[0].unit_price"),
    "no price": (one(unit_price=NOTHING), "MISSING", "items[0].unit_price"),
    "a negative price": (one(unit_price="-1.00"), "NEGATIVE", "items[0].unit_price"),
    "a price in thousandths": (one(unit_price="1.001"), "TOO_MANY_DECIMALS", "items[0].unit_price"),
    "a float discount": (one(discount=FLOAT), "FLOAT", "items[0].discount"),
    "a negative discount": (one(discount="-1"), "NEGATIVE", "items[0].discount"),
    "a discount above the line": (one(discount="2.01"), "DISCOUNT_TOO_LARGE", "items[0].discount"),
    "a float tax": (one(tax=FLOAT), "FLOAT", "items[0].tax"),
    "no product": (one(product=None), "MISSING", "items[0].product"),
    "a product by SKU": (one(product="COLA-330"), "INVALID_ID", "items[0].product"),
    "a product in capitals": (one(product=COLA.replace("0", "A")), "INVALID_ID", "items[0].product"),
    "a product of 32 digits": (one(product=COLA.replace("-", "")), "INVALID_ID", "items[0].product"),
    "a product with a line feed": (one(product=COLA + "\n"), "INVALID_ID", "items[0].product"),
    "a product that is a number": (one(product=NUMBER), "INVALID_ID", "items[0].product"),
    "a foreign promotion": (one(promotion_ids=["COLA10"]), "INVALID_ID", "items[0].promotion_ids"),
    "promotions as one text": (one(promotion_ids=COLA), "INVALID_LIST", "items[0].promotion_ids"),
    "product and one-off at once": (
        one(product_data=OneOff("BREAD", "Bread")),
        "AMBIGUOUS",
        "items[0].product",
    ),
    "a one-off without a SKU": (
        one(product=None, product_data=OneOff("", "Bread")),
        "INVALID_TEXT",
        "items[0].product_data.sku",
    ),
    "a one-off without a name": (
        one(product=None, product_data=OneOff("BREAD", " ")),
        "INVALID_TEXT",
        "items[0].product_data.name",
    ),
    "a one-off that may be volatile": (
        one(product=None, product_data=OneOff("BREAD", "Bread", is_volatile=NUMBER)),
        "INVALID_FLAG",
        "items[0].product_data.is_volatile",
    ),
    "an override without a reason": (
        one(price_override=PriceOverride("")),
        "INVALID_TEXT",
        "items[0].price_override.reason",
    ),
    "a currency nobody has": (of(currency="XYZ"), "UNKNOWN_CURRENCY", "currency"),
    "a currency in small letters": (of(currency="idr"), "UNKNOWN_CURRENCY", "currency"),
    "a currency that is no text": (of(currency=NUMBER), "UNKNOWN_CURRENCY", "currency"),
    "another store's currency": (of(currency="USD"), "CURRENCY_MISMATCH", "currency"),
    "payments below the total": (of(payments=[Payment("cash", "1.99")]), "UNDERPAID", "payments"),
    "no payment of a sale that costs": (of(payments=[]), "UNDERPAID", "payments"),
    "a float payment": (of(payments=[Payment("cash", FLOAT)]), "FLOAT", "payments[0].amount"),
    "a negative payment": (of(payments=[Payment("cash", "-2")]), "NEGATIVE", "payments[0].amount"),
    "a float rounding": (of(payments=[Payment("cash", "2", FLOAT)]), "FLOAT", "payments[0].rounding"),
    "a payment without a method": (of(payments=[Payment("", "2")]), "INVALID_TEXT", "payments[0].method"),
    "a payment of another kind": (of(payments=[{"cash": "2"}]), "INVALID_PAYMENT", "payments[0]"),
    "payments that are no list": (of(payments="2.00"), "INVALID_LIST", "payments"),
    "a gift": (of(kind="gift"), "INVALID_KIND", "kind"),
    "a refund of nothing": (of(kind="refund"), "NOTHING_REFERRED_TO", "refers_to"),
    "a refund for a blank reason": (of(kind="refund", reason="  "), "NOTHING_REFERRED_TO", "refers_to"),
    "a void of nothing": (of(kind="void"), "NOTHING_REFERRED_TO", "refers_to"),
    "a refund of a malformed id": (of(kind="refund", refers_to="S01-42"), "INVALID_ID", "refers_to"),
    "a refund of itself": (of(kind="refund", refers_to=COLA, external_id=COLA), "INVALID_ID", "refers_to"),
    "a sale that refers": (of(refers_to=COLA), "INVALID_KIND", "refers_to"),
    "a malformed id of one's own": (of(external_id="42"), "INVALID_ID", "external_id"),
    "an id in capitals": (of(external_id=COLA.replace("0", "A")), "INVALID_ID", "external_id"),
    "a business date in words": (of(business_date="yesterday"), "INVALID_DATE", "business_date"),
    "a business date that never was": (of(business_date="2026-02-30"), "INVALID_DATE", "business_date"),
    "a time without an offset": (of(client_timestamp="2026-11-21T09:15:02"), "INVALID_TIME", "client_timestamp"),
    "a time that is none": (of(client_timestamp="soon"), "INVALID_TIME", "client_timestamp"),
    "a receipt number that is a number": (of(receipt_number=NUMBER), "INVALID_TEXT", "receipt_number"),
    "an endless reason": (of(kind="void", reason="x" * 501), "TOO_LONG", "reason"),
    "half a character": (of(reason="\ud83d"), "INVALID_TEXT", "reason"),
    "extra that is no object": (of(extra=[1]), "INVALID_EXTRA", "extra"),
    "a float in extra": (of(extra={"a": {"b": [FLOAT]}}), "FLOAT", "extra.a.b[0]"),
    "a key that is no text": (of(extra={NUMBER: 1}), "INVALID_EXTRA", "extra"),
    "extra without a floor": (of(extra={"a": deep(20)}), "TOO_DEEP", "extra.a" + "[0]" * 8),
    "a thing JSON has not": (of(extra={"a": {1, 2}}), "INVALID_EXTRA", "extra"),
    "an integer JSON can't keep": (of(extra={"a": 2**53}), "INVALID_EXTRA", "extra"),
    "half a character in extra": (of(extra={"a": "\udc00"}), "INVALID_EXTRA", "extra"),
    # A card's number, in every field that takes free words.
    "a card as receipt number": (of(receipt_number=CARD), "CARD_NUMBER", "receipt_number"),
    "a card as reason": (of(reason=f"card {CARD}"), "CARD_NUMBER", "reason"),
    "a card as cashier": (of(cashier_id="4111111111111111"), "CARD_NUMBER", "cashier_id"),
    "a card as customer": (of(customer_id="5500-0000-0000-0004"), "CARD_NUMBER", "customer_id"),
    "a card as method": (of(payments=[Payment(CARD, "2")]), "CARD_NUMBER", "payments[0].method"),
    "a card as reference": (
        of(payments=[Payment("card", "2", reference=f"ref {CARD}")]),
        "CARD_NUMBER",
        "payments[0].reference",
    ),
    "a card as SKU": (
        one(product=None, product_data=OneOff(CARD, "Bread")),
        "CARD_NUMBER",
        "items[0].product_data.sku",
    ),
    "a card as product": (
        one(product=None, product_data=OneOff("BREAD", CARD)),
        "CARD_NUMBER",
        "items[0].product_data.name",
    ),
    "a card as override": (
        one(price_override=PriceOverride(CARD)),
        "CARD_NUMBER",
        "items[0].price_override.reason",
    ),
    "a card as approver": (
        one(price_override=PriceOverride("old", CARD)),
        "CARD_NUMBER",
        "items[0].price_override.approved_by",
    ),
    "a card in extra": (of(extra={"a": {"b": [CARD]}}), "CARD_NUMBER", "extra.a.b[0]"),
    "a card as key": (of(extra={"a": {CARD: 1}}), "CARD_NUMBER", "extra.a"),
    "a card as whole number": (of(extra={"a": 4111111111111111}), "CARD_NUMBER", "extra.a"),
}


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One device for all refusals: none of them changes it."""
    from edge_agent.settings import make_settings

    ids = {
        f"{noun}_id": f"0000000{n}-0000-4000-8000-000000000000" for n, noun in enumerate(("company", "store", "brand"))
    }
    settings = make_settings({"url": "http://127.0.0.1:9", "device_id": "pos-02", "currency": "IDR", **ids})
    with EdgeAgent(tmp_path_factory.mktemp("home"), settings) as agent:
        yield agent


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused(till: EdgeAgent, name: str) -> None:
    """The refusal names the field and the mend, and the journal is as it was."""
    arguments, code, field = REFUSALS[name]
    with pytest.raises(InvalidSale) as refusal:
        till.record_sale(**arguments)
    error = refusal.value
    assert (error.code, error.field) == (code, field)
    assert error.message
    assert error.hint.endswith((".", ")"))
    assert set(error.as_dict()) == {"code", "field", "message", "hint"}
    assert till._journal.totals() == {}
    assert till.status()["pending"] == till.status()["journal"]["device_seq"] == 0


def test_a_sale_too_large_for_the_journal_is_refused(till: EdgeAgent) -> None:
    """A body no head office would take in one batch is refused at the till, where it can be mended."""
    with pytest.raises(InvalidSale) as refusal:
        till.record_sale(**of(extra={"note": "x" * 2_000_000}))
    assert refusal.value.field in ("extra", "items")
    assert till.status()["pending"] == 0


def test_a_refusal_leaves_no_gap(agent: EdgeAgent) -> None:
    """The number after a refused sale is the next one (G2)."""
    first = agent.record_sale(**one())
    with pytest.raises(InvalidSale):
        agent.record_sale(**one(quantity="0"))
    assert agent.record_sale(**one()).device_seq == first.device_seq + 1 == 2


def test_before_the_first_sync_the_currency_must_be_said(
    write_home: Callable[..., Any], open_agent: Callable[..., EdgeAgent]
) -> None:
    """A device that does not know its currency asks for it rather than guess."""
    agent = open_agent(write_home())
    with pytest.raises(InvalidSale) as refusal:
        agent.record_sale(**one())
    assert (refusal.value.code, refusal.value.field) == ("UNKNOWN_CURRENCY", "currency")
    assert agent.record_sale(**of(currency="IDR")).total_amount == "2.00"


USAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "of no promotion": (
        {"promotion_id": "COLA10", "discount_amount": "1", "bill_id": "7"},
        "INVALID_ID",
        "promotion_id",
    ),
    "of neither sale nor bill": ({"promotion_id": COLA, "discount_amount": "1"}, "MISSING", "bill_id"),
    "of a float": ({"promotion_id": COLA, "discount_amount": FLOAT, "bill_id": "7"}, "FLOAT", "discount_amount"),
    "below zero": ({"promotion_id": COLA, "discount_amount": "-1", "bill_id": "7"}, "NEGATIVE", "discount_amount"),
    "of a foreign sale": (
        {"promotion_id": COLA, "discount_amount": "1", "sale": "S01-42"},
        "INVALID_ID",
        "sale_external_id",
    ),
    "on no line": ({"promotion_id": COLA, "discount_amount": "1", "bill_id": "7", "line": -1}, "INVALID_LINE", "line"),
    "at no time": (
        {"promotion_id": COLA, "discount_amount": "1", "bill_id": "7", "used_at": "soon"},
        "INVALID_TIME",
        "used_at",
    ),
    "with a card as bill": ({"promotion_id": COLA, "discount_amount": "1", "bill_id": CARD}, "CARD_NUMBER", "bill_id"),
    "with a card as customer": (
        {"promotion_id": COLA, "discount_amount": "1", "bill_id": "7", "customer_id": CARD},
        "CARD_NUMBER",
        "customer_id",
    ),
}


@pytest.mark.parametrize("name", USAGES)
def test_a_use_is_refused(till: EdgeAgent, name: str) -> None:
    """A promotion's use is checked as strictly as a sale."""
    arguments, code, field = USAGES[name]
    with pytest.raises(InvalidSale) as refusal:
        till.record_usage(**arguments)
    assert (refusal.value.code, refusal.value.field) == (code, field)
    assert till.status()["pending_usages"] == 0
