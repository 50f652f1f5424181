"""Each type of promotion from its definition to what a till reads: golden files, and everything that is accepted."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import event, given, settings

from edge_agent.domain.applicability import Here, never_applies
from edge_agent.domain.promotion import index_of, is_active_at, read_promotion
from edge_agent.domain.scope import names_ids, read_scope
from ho_stub.promotions import InvalidDefinition, compile_promotion
from ho_stub.promotions.catalogue import OfWorld
from ho_stub.promotions.compilers import COMPILERS
from ho_stub.rows import EMPTY
from ho_stub.seed import Dataset
from ho_stub.world import World

NOW = "2026-01-20T02:00:00.000000Z"
TYPES = (
    *("percent_discount", "amount_discount", "buy_x_get_y", "combo", "free_item", "happy_hour", "cashback"),
    *("payment_discount", "package", "mix_match", "upsell", "threshold_tier"),
)


@pytest.fixture(scope="module")
def world() -> Any:
    """The world of the golden file."""
    world = World(data=Dataset(**GOLDEN["data"]))
    yield world
    world.close()


def _golden() -> Any:
    from pathlib import Path

    return json.loads((Path(__file__).parents[2] / "contract" / "compiled_promotions.json").read_text("utf-8"))


GOLDEN = _golden()


def catalogue(world: World) -> OfWorld:
    return OfWorld(world.db, world.feed, world.company)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["definition"]["code"])
def test_a_definition_compiles_to_its_golden_row(world: World, case: Any) -> None:
    assert compile_promotion(case["definition"], catalogue(world), GOLDEN["now"]) == case["compiled"]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["definition"]["code"])
def test_a_till_reads_a_compiled_row_as_it_was_meant(case: Any) -> None:
    body = json.dumps(case["compiled"]).encode()
    index_of(body)
    promotion = read_promotion(body)
    meant = case["definition"]
    assert (promotion.code, promotion.promo_type) == (meant["code"], meant["type"])
    assert promotion.is_active is meant.get("is_active", True)
    assert promotion.validity.days == frozenset(meant.get("validity", {}).get("days_of_week", ()))
    start = meant.get("validity", {}).get("start_date")
    assert promotion.validity.start_date == (start and dt.date.fromisoformat(start))
    assert read_scope(promotion.fields).everything is (
        "scope" not in meant and meant["type"] not in ("combo", "package")
    )


def test_all_twelve_types_of_the_contract_have_a_compiler_and_a_golden_case() -> None:
    assert tuple(COMPILERS) == TYPES
    assert {case["definition"]["type"] for case in GOLDEN["cases"]} == set(TYPES)


def test_a_compiled_row_has_the_contract_s_fields(world: World) -> None:
    for case in GOLDEN["cases"]:
        assert same_names(case["compiled"], EMPTY["promotions"]), case["why"]


def same_names(row: Any, empty: Any, at: str = "") -> bool:
    """Whether a row has exactly the names of an empty one; what stands in `rules` is its type's own."""
    if not isinstance(empty, dict) or at == "rules":
        return True
    return row.keys() == empty.keys() and all(same_names(row[name], empty[name], name) for name in empty)


# -- whatever is accepted can be sent, read and used

percents = st.one_of(st.integers(-1, 101), st.decimals(0, 101, places=2), st.sampled_from(["5", "12.50", "100", "x"]))
money = st.one_of(st.integers(0, 10**13), st.sampled_from(["2500", "0.5", "1.239", "-1", None, True, 1.5, ""]))
counts = st.one_of(st.integers(-1, 5), st.sampled_from(["1", "0.5", "0.0001", None]))
products = st.lists(st.sampled_from(["COLA", "BUN", "CAKE", "COFFEE", "GONE", 7]), max_size=3)
categories = st.lists(st.sampled_from(["DRINKS", "HOT", "BAKERY", "GONE"]), max_size=2)
dates = st.sampled_from([None, "2026-01-01", "2026-01-03", "2026-12-31", "31.12.2026", ""])
times = st.sampled_from([None, "00:00", "09:30", "17:00:30", "23:59", "24:00", "9:00"])
EDITS: dict[str, st.SearchStrategy[Any]] = {
    "validity.start_date": dates,
    "validity.end_date": dates,
    "validity.time_start": times,
    "validity.time_end": times,
    "validity.days_of_week": st.lists(st.integers(0, 7), max_size=3),
    "scope.apply_to": st.sampled_from(["all", "products", "categories"]),
    "scope.products": products,
    "scope.categories": categories,
    "scope.exclude_categories": categories,
    "scope.exclude_products": products,
    "targeting.stores": st.lists(st.sampled_from(["C01", "M01", "X"]), max_size=2),
    "targeting.brands": st.lists(st.sampled_from(["Cafe", "Mart", "X"]), max_size=2),
    "targeting.member_tiers": st.lists(st.sampled_from(["gold", ""]), max_size=2),
    "limits.max_uses": st.integers(0, 3),
    "limits.max_uses_per_day": st.integers(0, 3),
    "rules.discount_percent": percents,
    "rules.discount_amount": money,
    "rules.fixed_price": money,
    "rules.max_discount": money,
    "rules.min_amount": money,
    "rules.min_quantity": counts,
    "rules.get_quantity": counts,
    "rules.quantity": counts,
    "rules.free_products": products,
    "rules.tiers": st.lists(
        st.fixed_dictionaries({"from": money}, optional={"discount_percent": percents}), max_size=3
    ),
    "rules.items": st.lists(st.fixed_dictionaries({"product": st.sampled_from(["COLA", "BUN"])}), max_size=2),
    "rules.groups": st.lists(st.fixed_dictionaries({"products": products}), max_size=3),
}
edits = st.lists(
    st.sampled_from(sorted(EDITS)).flatmap(lambda path: EDITS[path].map(lambda value: (path, value))), max_size=3
)


def edited(definition: dict[str, Any], changes: list[tuple[str, Any]]) -> dict[str, Any]:
    """A definition with some of its fields changed; those of another type's rules are left alone."""
    new = copy.deepcopy(definition) | {"is_active": True}
    known = {
        name
        for case in GOLDEN["cases"]
        if case["definition"]["type"] == new["type"]
        for name in case["definition"]["rules"]
    }
    for path, value in changes:
        part, name = path.split(".")
        if part != "rules" or name in known:
            new.setdefault(part, {})[name] = value
    return new


def compiled(definition: dict[str, Any], world: World) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The row, or what is wrong."""
    try:
        return compile_promotion(definition, catalogue(world), NOW), {}
    except InvalidDefinition as refused:
        return None, refused.messages


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(GOLDEN["cases"]), edits)
def test_what_is_accepted_a_till_can_read_and_use_and_what_is_not_says_where(
    world: World, case: dict[str, Any], changes: list[tuple[str, Any]]
) -> None:
    definition = edited(case["definition"], changes)
    row, messages = compiled(definition, world)
    if row is None:
        assert messages
        assert all(message and not message.endswith(".") for message in messages.values())
        return
    assert same_names(row, EMPTY["promotions"])
    event("accepted " + row["promo_type"])
    assert row["rules"]["type"] == row["promo_type"] == definition["type"]
    body = json.dumps(row).encode()
    index_of(body)
    promotion = read_promotion(body)
    stores, brands = GOLDEN["data"]["stores"], row["targeting"]["brands"]
    here = next(
        Here(store["id"], store["brand_id"])
        for store in stores
        if store["id"] in (row["targeting"]["stores"] or [store["id"]])
        and store["brand_id"] in (brands or [store["brand_id"]])
    )
    assert promotion.is_active
    assert never_applies(promotion, here) is None
    assert any(is_active_at(promotion, moment, dt.time()) for moment in moments(row)), row["validity"]
    assert names_ids(row["scope"]) or row["scope"]["apply_to"] == "all"
    for name in ("discount_percent", "cashback_percent"):
        percent = row["rules"].get(name)
        assert percent is None or 0 < Decimal(percent) <= 100


def moments(row: dict[str, Any]) -> list[dt.datetime]:
    """Every half hour of the eight days from the first that can be one of the promotion's."""
    day = dt.date.fromisoformat(row["validity"]["start_date"] or row["validity"]["end_date"] or "2026-01-01")
    back = 0 if row["validity"]["start_date"] or not row["validity"]["end_date"] else 7
    first = dt.datetime.combine(day, dt.time(), dt.UTC) - dt.timedelta(days=back)
    start = dt.time.fromisoformat(row["validity"]["time_start"] or "00:00")
    begin = first + dt.timedelta(hours=start.hour, minutes=start.minute, seconds=start.second)
    return [begin + dt.timedelta(days=number) for number in range(9)]
