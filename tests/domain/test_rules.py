"""The small rules: the category tree, the outbox's table, backoff, the overlap, baseline sales, bad rows."""

from __future__ import annotations

import datetime as dt
import json
from decimal import ROUND_HALF_UP, Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain import money
from edge_agent.domain.backoff import CAP_S, delay_s
from edge_agent.domain.baseline_sale import baseline_sale
from edge_agent.domain.catalog import Category, RowReader, category_tree, microseconds
from edge_agent.domain.outbox import MOVES, Event, IllegalMove, State, move
from edge_agent.domain.overlap import less_overlap

ID = "00000009-0000-4000-8000-000000000000"


def tree(**parents: str | None) -> dict[str, Any]:
    def shape(categories: tuple[Category, ...]) -> dict[str, Any]:
        return {category.id: shape(category.children) for category in categories}

    return shape(category_tree(Category(id_, id_, parent, True, (), {}) for id_, parent in parents.items()))


def test_categories_form_a_tree() -> None:
    """Children stand below their parents, in the order they came."""
    assert tree(a=None, b="a", c="a", d="b") == {"a": {"b": {"d": {}}, "c": {}}}


def test_an_orphan_stands_at_the_top() -> None:
    """A category whose parent is missing is not lost."""
    assert tree(a="gone", b="a") == {"a": {"b": {}}}


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b", "d": "a"}])
def test_a_cycle_loses_no_category(parents: dict[str, str]) -> None:
    """Categories that are their own ancestors are shown, each once."""
    found: list[str] = []

    def walk(below: dict[str, Any]) -> None:
        for name, more in below.items():
            found.append(name)
            walk(more)

    walk(tree(**parents))
    assert sorted(found) == sorted(parents)


def test_a_very_deep_tree_is_a_tree() -> None:
    """However deep head office nests its categories, a till can show them."""
    depth = 3_000
    rows = [Category(str(n), str(n), str(n - 1) if n else None, True, (), {}) for n in range(depth)]
    category, levels = category_tree(rows)[0], 1
    while category.children:
        category, levels = category.children[0], levels + 1
    assert levels == depth


def test_the_outbox_moves_by_its_table_alone() -> None:
    """Every move the table does not have raises, and says which (G3)."""
    for state, event in product(State, Event):
        if (state, event) in MOVES:
            assert move(state, event) is MOVES[state, event]
        else:
            with pytest.raises(IllegalMove, match=state):
                move(state, event)
    leaving = {event for (state, event), to in MOVES.items() if state is State.PENDING and to is not State.PENDING}
    assert leaving == {Event.CREATED, Event.DUPLICATE, Event.REJECTED}


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 86_400))
def test_a_wait_is_bounded_and_never_undercuts_head_office(attempts: int, dice: float, asked: float | None) -> None:
    """Waits have a floor and a cap, and ``Retry-After`` is never undercut."""
    wait = delay_s(attempts, dice, retry_after_s=asked)
    if asked is None:
        assert 0.1 <= wait <= CAP_S
    else:
        assert asked <= wait <= max(asked + 5, CAP_S)


def test_waits_grow() -> None:
    """With the same dice each failure waits at least as long as the one before."""
    waits = [delay_s(attempts, 0.5) for attempts in range(1, 20)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] == CAP_S / 2


@pytest.mark.parametrize(
    ("stamp", "asked"),
    [
        ("2026-01-27T09:10:42.123456Z", "2026-01-27T09:05:42.123456Z"),
        ("2026-01-27T09:10:42.123456789Z", "2026-01-27T09:05:42.123456789Z"),
        ("2026-01-27T09:10:42Z", "2026-01-27T09:05:42Z"),
        ("2026-01-27T00:01:00+07:00", "2026-01-26T23:56:00+07:00"),
        ("2026-01-01T00:00:00.5+0000", "2025-12-31T23:55:00.5+0000"),
        ("2026-01-27 09:10:42.1", "2026-01-27 09:05:42.1Z"),
        ("2026-01-27T09:10:42", "2026-01-27T09:05:42Z"),
        ("yesterday", "yesterday"),
        ("", ""),
        ("2026-02-30T09:10:42Z", "2026-02-30T09:10:42Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_the_overlap_keeps_the_stamps_form(stamp: str, asked: str) -> None:
    """The stamp goes back by the overlap with the same precision and always an offset; garbage is echoed."""
    assert less_overlap(stamp, 300) == asked


def test_stamps_of_different_precision_compare() -> None:
    """Whatever precision and offset, the same moment is the same moment."""
    same = ["2026-01-27T09:10:42Z", "2026-01-27T09:10:42.000Z", "2026-01-27T16:10:42+07:00", "2026-01-27T09:10:42"]
    assert len({microseconds(stamp) for stamp in same}) == 1
    assert microseconds("2026-01-27T09:10:42.000001Z") == microseconds(same[0]) + 1
    assert microseconds("soon") == microseconds(None) == 0


def frozen(currency: str, lines: list[dict[str, str]]) -> bytes:
    return json.dumps(
        {
            "currency": currency, "items": [{"product": ID, **line} for line in lines], "external_id": ID,
            "device_id": "pos-02", "client_timestamp": "2026-11-21T09:15:02.114Z", "business_date": "2026-11-21",
        }
    ).encode()  # fmt: skip


def half_up(quantity: str, price: str) -> Decimal:
    return (Decimal(quantity) * Decimal(price)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_a_baseline_sale_has_the_baselines_fields() -> None:
    """The single-sale form has no discount, no payments and no total."""
    sent = json.loads(baseline_sale(frozen("USD", [{"quantity": "2", "unit_price": "1.50"}])))
    assert sent == {
        "items": [{"product": ID, "quantity": "2", "unit_price": "1.50"}],
        "external_id": ID, "source_device": "pos-02", "client_timestamp": "2026-11-21T09:15:02.114Z",
        "business_date": "2026-11-21",
    }  # fmt: skip


@given(st.integers(1, 500), st.integers(0, 10**7), st.integers(0, 10**6))
def test_a_discounted_baseline_line_sums_to_the_cent(pieces: int, price: int, discount: int) -> None:
    """Whole pieces at a discount are sent at net prices that multiply out to the till's amount, to the cent (G8)."""
    discount = min(discount, pieces * price)
    line = {
        "quantity": str(pieces),
        "unit_price": money.format_money(price, 2),
        "discount": money.format_money(discount, 2),
    }
    sent = json.loads(baseline_sale(frozen("USD", [line])))["items"]
    assert (
        sum(half_up(part["quantity"], part["unit_price"]) for part in sent) == Decimal(pieces * price - discount) / 100
    )
    assert sum(Decimal(part["quantity"]) for part in sent) == pieces
    assert all(Decimal(part["quantity"]) > 0 for part in sent)


@given(st.integers(1, 100_000), st.integers(0, 10**6), st.integers(0, 10**5))
def test_a_discounted_weight_sums_to_the_cent(grams: int, price: int, discount: int) -> None:
    """So are weights: head office's own multiplication gives the till's amount, to the cent (G8)."""
    amount = money.line_amount(grams, price, 0)
    discount = min(discount, amount)
    line = {
        "quantity": money.format_quantity(grams),
        "unit_price": money.format_money(price, 2),
        "discount": money.format_money(discount, 2),
    }
    sent = json.loads(baseline_sale(frozen("USD", [line])))["items"]
    expected = Decimal(money.line_amount(grams, price, discount)) / 100
    assert sum(half_up(part["quantity"], part["unit_price"]) for part in sent) == expected
    assert sum(Decimal(part["quantity"]) for part in sent) == Decimal(grams) / 1000


ANOTHER_ID = "00000002-0000-4000-8000-000000000000"
BAD_PRODUCTS: dict[str, Any] = {
    "no object": 7,
    "no id": {"name": "Cola"},
    "an id in capitals": {"id": ID.upper().replace("0", "A"), "name": "Cola"},
    "a name that is a number": {"id": ID, "name": 7},
    "no name": {"id": ID},
    "a negative price": {"id": ID, "name": "Cola", "price": "-1.00"},
    "a price in words": {"id": ID, "name": "Cola", "price": "free"},
    "an endless name": {"id": ID, "name": "x" * 1_001},
    "a flag that is a word": {"id": ID, "name": "Cola", "is_active": "yes"},
    "a version no database holds": {"id": ID, "name": "Cola", "row_version": 2**63},
    "a version beyond all bounds": {"id": ID, "name": "Cola", "row_version": 2**70},
    "a version that is text": {"id": ID, "name": "Cola", "row_version": "7"},
}


@pytest.mark.parametrize("name", BAD_PRODUCTS)
def test_a_bad_row_is_refused_and_the_next_one_read(name: str) -> None:
    """One bad row never blocks the next, and is kept with its reason (G7)."""
    raws = [msgspec.Raw(json.dumps(row).encode()) for row in (BAD_PRODUCTS[name], {"id": ANOTHER_ID, "name": "Good"})]
    read = RowReader().read("products", raws)
    assert [row.name for row in read.good] == ["Good"]
    [refused] = read.refused
    assert refused.reason
    assert refused.id
    assert refused.body == bytes(raws[0])


@pytest.mark.parametrize(
    "raw", [b'{"id":"%s","name":"\\ud83d"}', b'{"id":"%s","name":"\xff"}', b'{"id":"%s","name":"x","price":1e400}']
)
def test_a_row_of_damaged_text_is_refused(raw: bytes) -> None:
    """Half characters, bytes that are no text and numbers without end are one bad row."""
    read = RowReader().read("products", [msgspec.Raw(raw % ID.encode())])
    assert (len(read.good), len(read.refused)) == (0, 1)


def test_a_row_that_never_ends_is_refused() -> None:
    """A row nested beyond all measure is one bad row, not the end of the sync."""
    raw = b'{"id":"' + ID.encode() + b'","name":"Cola","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    read = RowReader().read("products", [msgspec.Raw(raw)])
    assert len(read.good) + len(read.refused) == 1


def test_a_moment_is_written_in_utc(golden: Any) -> None:
    """Whatever zone a POS thinks in, the wire has UTC with milliseconds."""
    from edge_agent.domain.sale import timestamp_text

    jakarta = dt.timezone(dt.timedelta(hours=7))
    assert timestamp_text(dt.datetime(2026, 11, 21, 16, 15, 2, 114_999, jakarta)) == "2026-11-21T09:15:02.114Z"
