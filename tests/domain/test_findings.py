"""What counts as a finding, which promotions can't apply, and how the score is reckoned."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.applicability import Here, is_over, never_applies
from edge_agent.domain.findings import (
    KINDS,
    SEVERITIES,
    Twin,
    circles,
    counts_against,
    duplicate,
    finding,
    health_score,
    kind_named,
    stale_after_s,
    worst_first,
)
from edge_agent.domain.health import Health, Tally, read_summary
from edge_agent.domain.promotion import Promotion, is_active_at, read_promotion
from edge_agent.domain.scope import Scope, Shelf, names_ids, reaches_nothing, read_limits, read_scope, read_targeting

ID = "00000009-0000-4000-8000-000000000000"
COLA = "00000006-0000-4000-8000-000000000000"
HERE = Here("store-1", "brand-1", dt.time(4))
NOON = dt.datetime.fromisoformat("2026-11-20T12:00")  # a Friday


def promotion(**fields: Any) -> Promotion:
    return read_promotion(json.dumps({"id": ID, "name": "Deal", **fields}).encode())


# ---- the table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_is_wrong_and_what_to_do(name: str) -> None:
    """Each kind has a severity, a sentence and a recommendation, in words that a shop reads."""
    kind = KINDS[name]
    assert kind.severity in SEVERITIES
    assert kind.sentence[0].isupper()
    assert not kind.sentence.endswith(".")
    assert kind.recommendation.endswith(".")
    found = finding(name, "products", ID, name="Cola", detail="why")
    assert (found.severity, found.recommendation) == (kind.severity, kind.recommendation)
    assert found.sentence == f"{kind.sentence}: why."


def test_a_kind_that_is_not_in_the_table_is_a_mistake() -> None:
    """The table is closed."""
    with pytest.raises(KeyError):
        finding("bad karma", "products", ID)


@pytest.mark.parametrize("text", ["duplicate SKU", "duplicate-sku", "DUPLICATE sku"])
def test_people_name_kinds_with_or_without_hyphens(text: str) -> None:
    """On the command line nobody wants to quote."""
    assert kind_named(text) == "duplicate SKU"
    assert kind_named("no such") is None


def test_the_worst_comes_first() -> None:
    """Errors stand before warnings before notes, and one kind keeps its order."""
    found = [finding(kind, "products", row) for row, kind in zip("abcd", reversed(KINDS), strict=False)]
    found += [finding("no price", "products", row) for row in ("z", "y")]
    ordered = worst_first(found)
    places = [SEVERITIES.index(one.severity) for one in ordered]
    assert places == sorted(places)
    assert [one.id for one in ordered if one.kind == "no price"] == ["z", "y"]


# ---- the score -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("valid", "rows", "score"),
    [(0, 0, 100.0), (1, 1, 100.0), (0, 1, 0.0), (2, 3, 66.66), (99_999, 100_000, 99.99), (199_999, 200_000, 99.99)],
)
def test_the_score_is_valid_rows_in_percent_rounded_down(valid: int, rows: int, score: float) -> None:
    """Only a catalogue without a fault scores 100; an empty one has none."""
    assert health_score(valid, rows) == score


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_the_score_is_100_only_without_a_fault(valid: int, faulty: int) -> None:
    """However large the catalogue, one fault shows."""
    score = health_score(valid, valid + faulty)
    assert 0 <= score <= 100
    assert (score == 100) == (faulty == 0)


def test_notes_and_the_devices_troubles_cost_no_points() -> None:
    """An ended promotion is no fault of the catalogue, nor is a wrong clock."""
    assert counts_against("no price")
    assert counts_against("refused row")
    assert not counts_against("promotion over")
    assert not counts_against("clock skew")
    assert not counts_against("a kind of a newer program")


def test_a_tally_counts_all_and_lists_the_first() -> None:
    """Ten thousand findings are counted, and as many listed as were asked for; of each kind and dataset."""
    tally = Tally(2)
    for number in range(5):
        tally.one(finding("no price", "products", str(number)))
    tally.many("refused row", "products", 7, [finding("refused row", "products", str(n)) for n in range(3)])
    tally.many("refused row", "categories", 0, [])
    assert tally.totals == {("no price", "products"): 5, ("refused row", "products"): 7}
    assert [one.id for one in tally.findings] == ["0", "1", "0", "1"]


def test_what_is_remembered_reads_back() -> None:
    """Figures survive a restart; what can't be read counts as never validated."""
    import msgspec

    at = dt.datetime(2026, 11, 20, 2, 0, tzinfo=dt.UTC)
    health = Health((), {("no price", "products"): 3, ("refused row", "stock"): 1}, 99.5, 200, 199, at, True)
    assert read_summary(msgspec.json.encode(health.summary()).decode()) == health
    assert health.counts == {"no price": 3, "refused row": 1}
    for text in (None, "", "{", "[]", '{"score": 1}', '{"score":1,"rows":1,"valid":1,"validated_at":"soon"}'):
        assert read_summary(text) is None


# ---- duplicates and trees ------------------------------------------------------------------------------------------


def test_a_duplicate_says_who_wins_and_who_loses() -> None:
    """The till sells the first one, and people are told which ones it does not."""
    twins = tuple(Twin(f"id-{n}", f"Tea {n}", f"{n}.00", True) for n in range(30))
    found = duplicate("barcode", "20001", twins, 40, 35)
    assert (found.kind, found.id, found.name) == ("duplicate barcode", "id-0", "Tea 0")
    assert found.others == tuple(f"id-{n}" for n in range(1, 21))
    assert found.detail == "barcode 20001 is Tea 0 (0.00), not Tea 1 (1.00), Tea 2 (2.00), Tea 3 (3.00), 36 more"


def test_a_duplicate_of_an_inactive_product_is_but_a_note() -> None:
    """One active product leaves no doubt what is sold."""
    twins = (Twin("a", "Tea", "1.00", True), Twin("b", "Old tea", None, False))
    found = duplicate("sku", "TEA", twins, 2, 1)
    assert (found.kind, found.severity) == ("inactive duplicate", "note")
    assert found.detail == "SKU TEA is Tea (1.00), not Old tea (no price, inactive)"


def test_categories_in_a_circle_are_found_those_below_are_not() -> None:
    """Only a category that is above itself turns; one below the circle does not."""
    parents = {"a": "b", "b": "c", "c": "a", "below": "a", "self": "self", "top": None, "orphan": "gone", "x": "top"}
    assert circles(parents) == ["a", "b", "c", "self"]


def test_a_catalogue_is_stale_after_two_pulls_and_never_within_a_day() -> None:
    """Twice the interval of pulls, at least 24 hours."""
    assert stale_after_s(3600) == 24 * 3600
    assert stale_after_s(24 * 3600) == 48 * 3600


# ---- promotions that can never apply -------------------------------------------------------------------------------

WEEKEND = {"start_date": "2026-11-16", "end_date": "2026-11-20", "days_of_week": [5, 6]}  # Monday to Friday
NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "for other stores": ({"targeting": {"stores": ["store-2"]}}, "other stores"),
    "for another brand": ({"targeting": {"brands": ["brand-2"]}}, "another brand"),
    "of another brand": ({"brand_id": "brand-2"}, "another brand"),
    "no such weekday in its dates": ({"validity": WEEKEND}, "no Saturday or Sunday falls between 2026-11-16 and"),
    "no use at all": ({"limits": {"max_uses": 0}}, "0 times in all"),
    "no use a day": ({"limits": {"max_uses_per_day": 0}}, "0 times a day"),
    "no use by a customer": ({"limits": {"max_uses_per_customer": "0"}}, "0 times by a customer"),
    "no tiers": ({"promo_type": "threshold_tier", "rules": {"type": "threshold_tier", "tiers": []}}, "no tiers"),
    "for products, none named": ({"scope": {"apply_to": "products", "products": []}}, "names none"),
}
MAYBE: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "this store among others": {"targeting": {"stores": ["store-2", "store-1"], "brands": ["brand-1"]}},
    "its own brand, targeted at ours": {"brand_id": "brand-2", "targeting": {"brands": ["brand-1"]}},
    "a week has every day": {"validity": WEEKEND | {"end_date": "2026-11-22"}},
    "an open end": {"validity": WEEKEND | {"end_date": None}},
    "equal hours mean all day": {"validity": {"time_start": "09:00", "time_end": "09:00"}},
    "hours over midnight": {"validity": {"time_start": "22:00", "time_end": "02:00"}},
    "no limit": {"limits": {"max_uses": None, "max_uses_per_day": "many", "current_uses": 7}},
    "products in the rules": {"scope": {"apply_to": "product"}, "rules": {"groups": [{"products": [COLA]}]}},
    "tiers of another type": {"promo_type": "percent_discount", "rules": {"tiers": []}},
    "parts that are no objects": {"targeting": [], "limits": 7, "scope": "all"},
}


@pytest.mark.parametrize("name", NEVER)
def test_it_can_never_apply(name: str) -> None:
    """What no moment and no basket can make apply is told, with the reason."""
    fields, words = NEVER[name]
    said = never_applies(promotion(**fields), HERE)
    assert said is not None
    assert words in said


@pytest.mark.parametrize("name", MAYBE)
def test_it_may_apply(name: str) -> None:
    """Only what is certain is claimed."""
    assert never_applies(promotion(**MAYBE[name]), HERE) is None


hours = st.one_of(st.none(), st.times().map(lambda time: time.isoformat("minutes")))
dates = st.one_of(st.none(), st.dates(dt.date(2026, 11, 1), dt.date(2026, 11, 30)))


@given(dates, dates, st.sets(st.integers(0, 6)), hours, hours, st.times())
def test_never_is_never(
    one: dt.date | None, other: dt.date | None, days: set[int], start: str | None, end: str | None, day_start: dt.time
) -> None:
    """No half hour of six weeks contradicts what is said of dates, weekdays and hours."""
    first, last = (one, other) if one is None or other is None else (min(one, other), max(one, other))
    deal = promotion(
        validity={
            "start_date": first and first.isoformat(),
            "end_date": last and last.isoformat(),
            "days_of_week": sorted(days),
            "time_start": start,
            "time_end": end,
        }
    )
    here = Here("store-1", "brand-1", day_start)
    begins = dt.datetime.fromisoformat("2026-10-28T00:00")
    moments = [begins + dt.timedelta(minutes=30 * step) for step in range(48 * 40)]
    active = [moment for moment in moments if is_active_at(deal, moment, day_start)]
    if never_applies(deal, here) is not None:
        assert not active
    if active:
        assert is_over(deal, active[-1], here) is None


OVER: dict[str, tuple[dict[str, Any], str | None]] = {
    "ended yesterday": ({"validity": {"end_date": "2026-11-19"}}, "it ended on 2026-11-19"),
    "ends today": ({"validity": {"end_date": "2026-11-20"}}, None),
    "its last night may go on": (
        {"validity": {"end_date": "2026-11-19", "time_start": "22:00", "time_end": "13:00"}},
        None,
    ),
    "used up": ({"limits": {"max_uses": 1000, "current_uses": 1000}}, "it was used 1,000 times of 1,000"),
    "not used up": ({"limits": {"max_uses": 5, "current_uses": 4}}, None),
    "unlimited": ({"limits": {"max_uses": None, "current_uses": 4}}, None),
}


@pytest.mark.parametrize("name", OVER)
def test_it_is_over(name: str) -> None:
    """What ended or is used up applies no more."""
    fields, words = OVER[name]
    assert is_over(promotion(**fields), NOON, HERE) == words


# ---- what a promotion is for ---------------------------------------------------------------------------------------


def test_scopes_of_both_forms_and_odd_ones_are_read() -> None:
    """The lists count when the scope is for products or categories; what can't be read is open to all."""
    assert read_scope({}).everything
    assert read_scope({"scope": {"apply_to": "all_products", "products": ["p"]}}).everything
    named = read_scope({"scope": {"apply_to": "product", "products": ["p", {"id": "q"}, "p", None, 7]}})
    assert (named.everything, named.products) == (False, ("p", "q", "7"))
    assert read_scope({"apply_to": "category", "scope": {"categories": ["c"]}}).categories == ("c",)
    assert read_scope({"scope": {"products": ["p"]}}) == Scope(False, ("p",))
    assert read_scope({"scope": {"products": "p"}}).everything
    assert read_scope({"scope": {"apply_to": "products"}}).is_empty
    assert read_targeting({"brand_id": "b", "targeting": None}).brands == ("b",)
    assert read_limits({"limits": {"max_uses": True, "current_uses": "3"}}).current_uses == 3
    assert names_ids({"a": [{"b": COLA}]})
    assert not names_ids({"a": ["x", 1, None]})


SHELF = Shelf({"food": None, "tea": "food", "toys": None, "loop": "loop"}, frozenset(["tea"]), has_loose=False)
REACH: dict[str, tuple[Scope, dict[str, str | None], bool]] = {
    "everything": (Scope(True), {}, False),
    "everything but what there is": (Scope(True, exclude_categories=("tea",)), {}, True),
    "a product": (Scope(False, ("p",)), {"p": "tea"}, False),
    "a product that is not sold": (Scope(False, ("p",)), {}, True),
    "a product that is left out": (Scope(False, ("p",), exclude_products=("p",)), {"p": "tea"}, True),
    "a product of a category that is left out": (Scope(False, ("p",), exclude_categories=("tea",)), {"p": "tea"}, True),
    "a category": (Scope(False, categories=("tea",)), {}, False),
    "a category above": (Scope(False, categories=("food",)), {}, False),
    "an empty category": (Scope(False, categories=("toys",)), {}, True),
    "a category that is not here": (Scope(False, categories=("gone", "loop")), {}, True),
    "one of two": (Scope(False, ("p",), ("toys",)), {"p": None}, False),
}


@pytest.mark.parametrize("name", REACH)
def test_what_a_scope_reaches(name: str) -> None:
    """A promotion reaches nothing when no product that is sold here is in its scope."""
    scope, sold, nothing = REACH[name]
    assert reaches_nothing(scope, sold, SHELF) is nothing
