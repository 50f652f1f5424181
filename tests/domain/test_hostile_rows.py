"""Rows no honest head office sends: bounded, refused with a reason, and never the end of the page."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from edge_agent.domain import catalog
from edge_agent.domain.catalog import ReadRows, RowReader, price_text, quantity_text, refuse_row
from edge_agent.domain.promotion import is_active_at, read_promotion

ID = "00000001-0000-4000-8000-000000000000"


def numbered(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def read(*rows: Any, dataset: Any = "products", by_time: bool = False) -> ReadRows:
    bodies = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return RowReader(ordered_by_time=by_time).read(dataset, [msgspec.Raw(body) for body in bodies])


def with_field(text: bytes, dataset: str = "products") -> bytes:
    """A good row with an unknown field of this text."""
    return b'{"id":"%s","name":"Cola","their_own":%s}' % (ID.encode(), text)


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("dataset", ["categories", "products", "promotions"])
@pytest.mark.parametrize(
    "text",
    [
        b"1e400",
        b"-1e400",
        b"9" * 5_000,
        b'"\xff\xfe"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'{"\xff":1}',
        deep(64),
        deep(900),
    ],
)
def test_what_nobody_could_read_later_is_refused_now(dataset: str, text: bytes) -> None:
    """A field the agent does not know is skipped, not believed: a row is kept only when all of it can be read."""
    rows = read(with_field(text), {"id": numbered(2), "name": "Good"}, dataset=dataset)
    assert [row.id for row in rows.good] == [numbered(2)]
    [refused] = rows.refused
    assert refused.id == ID
    assert refused.reason


@pytest.mark.parametrize("dataset", ["categories", "products", "promotions"])
@pytest.mark.parametrize(
    "text",
    [b"1e300", b'"\\u0000"', b'"\\ud83e\\udd64"', b"[]", b'{"a":[{"b":null}]}', deep(63), b"[" + b"0," * 999 + b"0]"],
)
def test_unknown_fields_that_can_be_read_are_kept(dataset: str, text: bytes) -> None:
    """Head office may add what it likes, and the row stays as it came, to the byte."""
    body = with_field(text)
    assert [row.body for row in read(body, dataset=dataset).good] == [body]
    json.loads(body)


def test_after_one_row_with_unknown_fields_the_others_are_read_as_before() -> None:
    """Rows with and without fields of head office's own stand side by side, and bad ones among them."""
    rows = read(
        {"id": numbered(5), "name": "plain", "price": "1.00"},
        {"id": numbered(2), "name": "more", "price": "2.00", "own": 1},
        {"id": numbered(3), "name": 7},
        {"id": numbered(4), "name": "plain again", "price": "4.00"},
        with_field(b"1e400"),
    )
    assert [(row.name, row.price) for row in rows.good] == [
        ("plain", "1.00"),
        ("more", "2.00"),
        ("plain again", "4.00"),
    ]
    assert [row.id for row in rows.refused] == [numbered(3), ID]


def test_the_order_of_a_feed_decides_between_rows_of_one_id() -> None:
    """The last one is left, good or refused; no id is said twice."""
    good, other, bad = ({"id": ID, "name": name, "row_version": 7} for name in ("first", "second", 3))
    assert [row.name for row in read(good, other).good] == ["second"]
    only_bad = read(good, {"id": numbered(2), "name": "between"}, bad)
    assert [row.name for row in only_bad.good] == ["between"]
    assert [row.id for row in only_bad.refused] == [ID]
    healed = read(bad, other)
    assert ([row.name for row in healed.good], healed.refused) == (["second"], [])
    assert len(read(b"7", b"7", b"7").refused) == 1


def test_time_decides_between_rows_of_one_id_where_rows_are_ordered_by_time() -> None:
    """Against a baseline head office the newest is left, and of equals the later one."""
    old, new, newest_bad = (
        {"id": ID, "name": name, "updated_at": f"2026-01-0{day}T00:00:00Z"}
        for day, name in ((1, "old"), (2, "new"), (3, 7))
    )
    assert [row.name for row in read(new, old, by_time=True).good] == ["new"]
    assert [row.name for row in read(old, new, by_time=True).good] == ["new"]
    assert [row.name for row in read(new, {**new, "name": "later"}, by_time=True).good] == ["later"]
    rows = read(newest_bad, new, old, by_time=True)
    assert (rows.good, [row.id for row in rows.refused]) == ([], [ID])


def test_a_refused_row_keeps_its_identity_however_bad_the_rest_is() -> None:
    """Its id counts even where other fields can't be read: so that the last good row of that id is not swept."""
    refused = refuse_row(b'{"id":"%s","row_version":5,"name":"\xff","x":1e400}' % ID.encode(), "bad")
    assert (refused.id, refused.row_version) == (ID, 5)
    assert refuse_row(b'{"id":"%s"}' % ID.upper().replace("0", "A").encode(), "bad").id == ID.lower().replace("0", "a")
    assert refuse_row(b'{"id":"%s","row_version":1e400,"updated_at":"\xff"}' % ID.encode(), "bad").id == ID
    for nameless in (b"7", b'{"id":7}', b'{"id":"%s"}' % (b"x" * 101), deep(10_000), b'{"id":""}'):
        assert refuse_row(nameless, "bad").id.startswith("sha256:")
    assert refuse_row(b'{"id":"x","row_version":%d}' % 2**64, "bad").row_version == 0


def test_what_is_kept_of_a_refused_row_is_bounded() -> None:
    """A megabyte that is refused costs a few kilobytes, and its reason fits on a line."""
    body = b'{"id":"%s","name":"%s"}' % (ID.encode(), b"x" * 10**6)
    [refused] = read(body).refused
    assert len(refused.body) <= catalog.REFUSED_BYTES_MAX
    noisy = refuse_row(b"{}", "\x1b[2J\u202e" + "x" * 5_000)
    assert noisy.reason.isprintable()
    assert len(noisy.reason) < 2 * catalog.REASON_LENGTH_MAX


def test_nothing_endless_is_remembered() -> None:
    """What is kept at hand between rows is short: a category of a megabyte is refused, not remembered."""
    catalog._is_known_id.cache_clear()
    assert not read({"id": ID, "name": "Cola", "category_id": "x" * 10**6}).good
    assert not read({"id": ID, "name": "Drinks", "parent_id": "x" * 10**6}, dataset="categories").good
    assert catalog._is_known_id.cache_info().currsize == 0


@pytest.mark.parametrize("code", ["sku", "barcode"])
def test_a_number_for_a_code_is_read_while_it_is_one(code: str) -> None:
    """Digits without quotes are a SKU; hundreds of them are none."""
    assert getattr(read({"id": ID, "name": "Cola", code: 5000112546415}).good[0], code) == "5000112546415"
    assert not read({"id": ID, "name": "Cola", code: 10**300}).good


@pytest.mark.parametrize(("flag", "is_active"), [(True, True), (False, False), (None, True), (1, True), (0, False)])
@pytest.mark.parametrize("dataset", ["categories", "products", "promotions"])
def test_flags_may_be_ones_and_noughts(dataset: Any, flag: Any, is_active: bool) -> None:
    """Some databases have no yes and no; only a no is a no."""
    [row] = read({"id": ID, "name": "x", "is_active": flag}, dataset=dataset).good
    assert row.is_active is is_active
    assert not read({"id": ID, "name": "x", "is_active": 2}, dataset=dataset).good


@pytest.mark.parametrize(
    ("place", "order"),
    [(3, 3), ("4", 4), (2.7, 2), (None, 0), ("third", 0), (1e300, 0), ("9" * 30, 0), ("inf", 0), (2**63, 0), (True, 1)],
)
def test_what_only_sorts_refuses_nothing(place: Any, order: int) -> None:
    """A category whose place can't be read stands among the first."""
    assert [
        row.display_order for row in read({"id": ID, "name": "x", "display_order": place}, dataset="categories").good
    ] == [order]


@pytest.mark.parametrize(("price", "text"), [(-0.0, "0.00"), (0.1 + 0.2, "0.30"), (7, "7.00"), (1e-9, "0.00")])
def test_a_floats_noise_is_no_money(price: float, text: str) -> None:
    """A price that came as a number is exact text, and never less than nothing."""
    assert price_text(price, 2) == text


@pytest.mark.parametrize("price", [-1e-3, 10**15, 10**400, 1.005, "-0", "1e5", "٧", "1_0", " 1", "0" * 5_000, "9" * 16])
def test_what_is_no_price_is_refused(price: Any) -> None:
    """Only digits and one point are money."""
    with pytest.raises(ValueError, match="price"):
        price_text(price, 2)


@pytest.mark.parametrize(
    ("quantity", "text"), [("-3", "-3"), ("0.750", "0.750"), (12, "12"), (0.1 + 0.2, "0.3"), (-0.0, "0"), (1.5, "1.5")]
)
def test_a_quantity_is_exact(quantity: Any, text: str) -> None:
    """Figures may be negative, and numbers lose their noise alone."""
    assert quantity_text(quantity) == text


@pytest.mark.parametrize(
    "quantity", ["1e-999999999", "1e9", "NaN", "", " 5", "1_000", "٧", "9" * 16, "1." + "0" * 7, 1e15, 10**400]
)
def test_what_is_no_quantity_is_refused(quantity: Any) -> None:
    """Twelve bytes must not stand for a gigabyte of digits."""
    with pytest.raises(ValueError, match="quantity"):
        quantity_text(quantity)


@pytest.mark.parametrize(
    "part",
    [
        {"promo_type": {"a": 1}},
        {"promo_type": "x" * 101},
        {"discount_type": ["percent"]},
        {"rules": {"tiers": []}},
        {"validity": {"start_date": 20260101}},
        {"validity": {"start_date": "2026-01-01" + " " * 100_000 + "!"}},
        {"validity": {"time_start": 22}},
        {"validity": {"time_start": "22:00:00." + "1" * 100_000}},
        {"validity": {"days_of_week": [0] * 100_000}},
        {"validity": {"days_of_week": [10**300]}},
    ],
)
def test_a_promotion_that_is_nonsense_is_refused_in_a_line(part: dict[str, Any]) -> None:
    """What is wrong is quoted, but not at the length it came in."""
    rows = read({"id": ID, "name": "Deal", **part}, dataset="promotions")
    assert not rows.good
    assert len(rows.refused[0].reason) < 200


def test_a_stored_promotion_that_can_not_be_read_any_more_never_applies() -> None:
    """Rows an older program took must not break a till's list of promotions: they stay in it, switched off."""
    import datetime as dt

    row = {"id": ID, "name": "Deal", "promo_type": 7, "validity": {"start_date": "soon"}}
    promotion = read_promotion(json.dumps(row).encode())
    assert (promotion.name, promotion.promo_type, promotion.is_active) == ("Deal", None, False)
    assert not is_active_at(promotion, dt.datetime(2026, 11, 21, 12), dt.time(0))  # noqa: DTZ001 - the store's own time
