"""Good sales: what they total, what they are frozen into, and that asking twice is asking once."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import EdgeAgent, InvalidSale, Item, OneOff, Payment, PriceOverride, Sale
from edge_agent.domain.canonical import canonical_bytes, fingerprint

COLA = "00000006-0000-4000-8000-000000000000"
DEAL = "00000009-0000-4000-8000-000000000000"
OWN_ID = "0191e5a2-7c3b-7def-8a01-23456789abcd"


def body_of(agent: EdgeAgent, sale: Sale) -> dict[str, Any]:
    recorded = agent.sale_record(sale.external_id)
    assert recorded is not None
    assert recorded.body is not None
    assert fingerprint(recorded.body) == sale.fingerprint
    assert recorded.body == canonical_bytes(json.loads(recorded.body))
    return dict(json.loads(recorded.body))


def test_a_sale_says_everything_the_contract_asks(agent: EdgeAgent) -> None:
    """Every part a POS may give is in the frozen body, in the contract's words."""
    sale = agent.record_sale(
        [
            Item(COLA, "0.5", "2.00", discount="0.1", tax="0.09", promotion_ids=[DEAL]),
            Item(COLA, 2, Decimal("1.50"), price_override=PriceOverride("dented", "Ann")),
            Item(product_data=OneOff("BREAD", "Frîsh bread 🍞"), quantity="1.250", unit_price="3"),
        ],
        [Payment("cash", "5.00", rounding="-0.02"), Payment("card", "2.65", reference="T-7")],
        external_id=OWN_ID,
        receipt_number="S01-T02-000042",
        business_date="2026-11-20",
        client_timestamp="2026-11-21T03:00:00.5+07:00",
        cashier_id="ann",
        customer_id="c-1",
        extra={"table": 7, "z": [True, None], "ﬀ": {"b": 1, "a": 2}},
    )
    body = body_of(agent, sale)
    assert (sale.total_amount, body["total_amount"], sale.device_seq) == ("7.65", "7.65", 1)
    first, second, third = body["items"]
    assert first == {
        "line": 1, "product": COLA, "quantity": "0.500", "unit_price": "2.00", "discount": "0.10", "tax": "0.09",
        "promotion_ids": [DEAL],
    }  # fmt: skip
    assert second["price_override"] == {"reason": "dented", "approved_by": "Ann"}
    assert (third["quantity"], third["product_data"]["sku"], third["product_data"]["unit_price"]) == (
        "1.250",
        "BREAD",
        "3.00",
    )
    assert body["payments"] == [
        {"method": "cash", "amount": "5.00", "rounding": "-0.02", "reference": None},
        {"method": "card", "amount": "2.65", "rounding": "0.00", "reference": "T-7"},
    ]
    assert (body["business_date"], body["client_timestamp"]) == ("2026-11-20", "2026-11-20T20:00:00.500Z")
    assert body["extra"] == {"table": 7, "z": [True, None], "ﬀ": {"b": 1, "a": 2}}
    assert (body["external_id"], body["kind"], body["currency"]) == (OWN_ID, "sale", "IDR")
    assert (body["device_id"], body["journal_id"]) == ("pos-02", sale.journal_id)


def test_refunds_and_voids_are_sales_with_a_sign(agent: EdgeAgent) -> None:
    """Quantities stay positive; the kind gives the sign, in the ledger as in the books."""
    sale = agent.record_sale([Item(COLA, "3", "2.00")])
    agent.record_sale([Item(COLA, "1", "2.00")], kind="refund", refers_to=sale.external_id)
    agent.record_sale([Item(COLA, "1", "0.50")], kind="void", reason="without receipt")
    assert agent._journal.totals() == {"IDR": 600 - 200 - 50}
    assert agent._journal.unseen_milli([COLA], {}) == {COLA: 1000}


def test_a_sale_of_nothing_owed_is_a_sale(agent: EdgeAgent, cash: Callable[[str], list[Payment]]) -> None:
    """A line may cost nothing, and then nothing need be paid."""
    assert agent.record_sale([Item(COLA, "1", "0")], []).total_amount == "0.00"
    assert agent.record_sale([Item(COLA, "1", "2", discount="2")], cash("0")).total_amount == "0.00"


def test_cash_rounding_may_close_the_gap(agent: EdgeAgent) -> None:
    """A payment below the total is enough where its rounding says why."""
    assert agent.record_sale([Item(COLA, "1", "2.02")], [Payment("cash", "2.00", "-0.02")]).total_amount == "2.02"
    assert agent.record_sale([Item(COLA, "1", "1.99")], [Payment("cash", "2.00", "0.01")]).total_amount == "1.99"
    with pytest.raises(InvalidSale):
        agent.record_sale([Item(COLA, "1", "2.03")], [Payment("cash", "2.00", "-0.02")])


def test_an_unknown_product_is_sold_with_a_warning(agent: EdgeAgent) -> None:
    """The shop has sold it: a product the catalogue does not know is no reason to refuse."""
    sale = agent.record_sale([Item(COLA, "1", "2.00")])
    assert sale.state == "pending"
    assert COLA in sale.warnings[0]


def test_the_same_id_again_is_the_same_sale(agent: EdgeAgent) -> None:
    """A POS that did not hear the answer asks again with the id, and gets the sale of then (G2)."""
    first = agent.record_sale([Item(COLA, "1", "2.00")], external_id=OWN_ID)
    again = agent.record_sale([Item(COLA, "1.000", Decimal("2"))], external_id=OWN_ID)
    assert again.existing
    assert (again.device_seq, again.fingerprint) == (first.device_seq, first.fingerprint)
    assert agent.record_sale([Item(COLA, "1", "2.00")]).device_seq == 2


@pytest.mark.parametrize(
    "other",
    [
        {"items": [Item(COLA, "2", "2.00")]},
        {"items": [Item(COLA, "1", "2.00"), Item(COLA, "1", "0")]},
        {"items": [Item(DEAL, "1", "2.00")]},
        {"items": [Item(COLA, "1", "2.00")], "payments": [Payment("cash", "5.00")]},
        {"items": [Item(COLA, "1", "2.00")], "kind": "void", "reason": "x"},
        {"items": [Item(COLA, "1", "2.00")], "extra": {"table": 7}},
        {"items": [Item(COLA, "1", "2.00")], "receipt_number": "7"},
    ],
)
def test_the_same_id_for_another_sale_is_refused(agent: EdgeAgent, other: dict[str, Any]) -> None:
    """An id never comes to mean another sale, silently (G2)."""
    agent.record_sale([Item(COLA, "1", "2.00")], external_id=OWN_ID)
    with pytest.raises(InvalidSale) as refusal:
        agent.record_sale(**other, external_id=OWN_ID)
    assert (refusal.value.code, refusal.value.field, refusal.value.external_id) == (
        "ID_REUSED",
        "external_id",
        OWN_ID,
    )
    assert agent._journal.totals() == {"IDR": 200}


def test_the_same_use_is_recorded_once(agent: EdgeAgent) -> None:
    """A promotion's use on a line is one use; another amount for it is a mistake."""
    sale = agent.record_sale([Item(COLA, "1", "2.00")])
    first = agent.record_usage(DEAL, "0.50", sale=sale)
    assert agent.record_usage(DEAL, Decimal("0.5"), sale=sale.external_id).external_id == first.external_id
    assert agent.record_usage(DEAL, "0.50", sale=sale, line=1).external_id != first.external_id
    with pytest.raises(InvalidSale) as refusal:
        agent.record_usage(DEAL, "0.60", sale=sale)
    assert refusal.value.code == "ID_REUSED"
    assert agent.status()["pending_usages"] == 2


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
free = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
lines = st.builds(
    lambda quantity, price, discount: Item(
        COLA,
        Decimal(quantity).scaleb(-3),
        Decimal(price).scaleb(-2),
        discount=min(Decimal(discount).scaleb(-2), (Decimal(quantity * price).scaleb(-5)).quantize(Decimal("0.01"))),
    ),
    st.integers(1, 9_999_999),
    st.integers(0, 99_999_999),
    st.integers(0, 10_000),
)


@given(items=st.lists(lines, min_size=1, max_size=6), extra=st.dictionaries(words, free, max_size=4), reason=words)
def test_what_is_accepted_is_canonical_and_adds_up(items: list[Item], extra: dict[str, Any], reason: str) -> None:
    """Whatever is accepted is frozen in its one canonical spelling, and its total is its lines' sum (G2, G8)."""
    import datetime as dt

    from edge_agent.domain.sale import Draft, Place, check

    place = Place(COLA, DEAL, "pos-02", "USD")
    draft = Draft(items=items, kind="void", reason=reason, extra=extra, cashier_id=reason)
    try:
        checked = check(
            draft,
            place,
            new_id=OWN_ID,
            client_timestamp=dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC),
            business_date="2026-11-21",
        )
    except InvalidSale as refusal:
        # The words may look like a card; a discount may exceed half a cent that was rounded up.
        assert refusal.code in ("CARD_NUMBER", "INVALID_TEXT", "DISCOUNT_TOO_LARGE")  # noqa: PT017
        return
    body = checked.seal(COLA, 7)
    value = json.loads(body)
    assert body == canonical_bytes(value)
    amounts = [
        (Decimal(line["quantity"]) * Decimal(line["unit_price"]) - Decimal(line.get("discount", "0"))).quantize(
            Decimal("0.01"), ROUND_HALF_UP
        )
        for line in value["items"]
    ]
    assert Decimal(value["total_amount"]) == sum(amounts)
    assert value["extra"] == extra
    assert (value["device_seq"], value["journal_id"]) == (7, COLA)
