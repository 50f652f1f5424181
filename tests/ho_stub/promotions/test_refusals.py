"""A definition that can't be compiled is refused at entry, with a message at each wrong field; nothing is kept."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest

from ho_stub.promotions import InvalidDefinition
from ho_stub.world import World

GOOD: dict[str, Any] = {
    "code": "GOOD",
    "name": "Good",
    "type": "percent_discount",
    "scope": {"apply_to": "products", "products": ["COLA-330"]},
    "rules": {"discount_percent": "10"},
}
COLA, DRINKS = {"apply_to": "products", "products": ["COLA-330"]}, {"apply_to": "categories", "categories": ["DRINKS"]}


@pytest.fixture(scope="module")
def world() -> Any:
    world = World()
    yield world
    world.close()


def of(kind: str, rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": kind, "rules": rules, **more}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        # what it is
        ({"code": None}, "code", "is missing"),
        ({"code": "TWO WORDS"}, "code", "without a space"),
        ({"name": "  "}, "name", "line of text"),
        ({"name": "x" * 201}, "name", "at most 200"),
        ({"type": None}, "type", "is missing"),
        ({"type": "lottery"}, "type", "one of percent_discount"),
        ({"id": "A1"}, "id", "UUID"),
        ({"is_active": "yes"}, "is_active", "true or false"),
        ({"colour": "red"}, "colour", "no such field; there are code"),
        ({"stage": "never"}, "stage", "one of item_level"),
        ({"priority": 1001}, "priority", "from 0 to 1000"),
        ({"require_voucher": True, "is_auto_apply": True}, "is_auto_apply", "contradicts require_voucher"),
        # when
        (
            {"validity": {"start_date": "2026-02-01", "end_date": "2026-01-31"}},
            "validity.end_date",
            "before start_date",
        ),
        ({"validity": {"start_date": "1.2.2026"}}, "validity.start_date", "a date like"),
        ({"validity": {"start_date": "2026-02-30"}}, "validity.start_date", "a date like"),
        ({"validity": {"time_start": "9:00"}}, "validity.time_start", "a time like"),
        ({"validity": {"time_end": "24:00"}}, "validity.time_end", "23:59"),
        ({"validity": {"days_of_week": [7]}}, "validity.days_of_week", "0 = Monday"),
        ({"validity": {"days_of_week": [True]}}, "validity.days_of_week", "0 = Monday"),
        (
            {"validity": {"start_date": "2026-11-23", "end_date": "2026-11-24", "days_of_week": [6]}},
            "validity.days_of_week",
            "none of these days",
        ),
        ({"validity": []}, "", ""),  # an empty part is a part left out
        ({"validity": "always"}, "validity", "an object"),
        ({"validity": {"until": "2026-01-01"}}, "validity.until", "no such field"),
        # for what
        ({"scope": {"apply_to": "products", "products": ["NONE"]}}, "scope.products[0]", "no product has this SKU"),
        ({"scope": {"apply_to": "categories", "categories": ["NONE"]}}, "scope.categories[0]", "no category"),
        ({"scope": {"apply_to": "products"}}, "scope.products", "is empty"),
        ({"scope": {"products": ["COLA-330"]}}, "scope.apply_to", "is missing"),
        ({"scope": COLA | {"apply_to": "all"}}, "scope.products", "contradicts apply_to"),
        ({"scope": COLA | {"categories": ["DRINKS"]}}, "scope.categories", "contradicts apply_to"),
        ({"scope": COLA | {"exclude_products": ["COLA-330"]}}, "scope.exclude_products", "nothing of the scope"),
        ({"scope": COLA | {"exclude_categories": ["DRINKS"]}}, "scope.exclude_products", "nothing of the scope"),
        ({"scope": DRINKS | {"exclude_categories": ["DRINKS"]}}, "scope.exclude_products", "nothing of the scope"),
        # for whom
        ({"targeting": {"stores": ["S99"]}}, "targeting.stores[0]", "no store has this code"),
        ({"targeting": {"brands": ["Nobody"]}}, "targeting.brands[0]", "no brand has this name"),
        ({"targeting": {"stores": "S01"}}, "targeting.stores", "a list"),
        ({"targeting": {"member_tiers": ["gold"]}}, "targeting.member_tiers", "set member_only"),
        ({"targeting": {"customer_type": "rich"}}, "targeting.customer_type", "one of all"),
        (
            {"targeting": {"cross_brand": {"buy_brands": ["Example"], "get_brands": ["Example"]}}},
            "targeting.cross_brand.get_brands",
            "the very same",
        ),
        ({"targeting": {"cross_brand": {"buy_brands": ["Example"]}}}, "targeting.cross_brand.get_brands", "is missing"),
        # how often
        ({"limits": {"max_uses": 0}}, "limits.max_uses", "from 1"),
        ({"limits": {"max_uses": 5, "max_uses_per_day": 6}}, "limits.max_uses_per_day", "more than max_uses"),
        # by which rules
        (of("percent_discount", {}), "rules.discount_percent", "is missing"),
        (of("percent_discount", {"discount_percent": "100.5"}), "rules.discount_percent", "at most 100"),
        (of("percent_discount", {"discount_percent": 0}), "rules.discount_percent", "above 0"),
        (
            of("percent_discount", {"discount_percent": Decimal("1e999999999")}),
            "rules.discount_percent",
            "a percentage",
        ),
        (
            of("percent_discount", {"discount_percent": Decimal("1e-999999999")}),
            "rules.discount_percent",
            "a percentage",
        ),
        (of("percent_discount", {"\ud800": 1}), "rules.'\\ud800'", "no such field"),
        (of("percent_discount", {"discount_percent": 12.5}), "rules.discount_percent", "written as text"),
        (of("percent_discount", {"discount_percent": "12.345"}), "rules.discount_percent", "2 decimals"),
        (of("amount_discount", {"discount_amount": "10,50"}), "rules.discount_amount", "an amount like"),
        (of("amount_discount", {"discount_amount": "-5"}), "rules.discount_amount", "above 0"),
        (of("amount_discount", {"discount_amount": "5", "per": "day"}), "rules.per", "unit, line, bill"),
        (of("buy_x_get_y", {"buy_quantity": 2}), "rules.get_quantity", "is missing"),
        (of("buy_x_get_y", {"buy_quantity": "0.0005", "get_quantity": 1}), "rules.buy_quantity", "3 decimals"),
        (
            of("combo", {"groups": [{"products": ["COLA-330"]}], "fixed_price": "1"}, scope=None),
            "rules.groups",
            "least 2",
        ),
        (of("combo", {"groups": [{}, {}], "fixed_price": "1"}, scope=None), "rules.groups[0].products", "is missing"),
        (of("combo", {"groups": [], "fixed_price": "1"}), "scope", "leave it out"),
        (of("free_item", {"free_products": ["COLA-330"], "min_amount": 5}), "rules.free_quantity", "is missing"),
        (of("free_item", {"free_products": ["COLA-330"], "free_quantity": 1}), "rules.min_amount", "is missing"),
        (of("happy_hour", {"discount_percent": 10}), "validity.time_start", "two different times"),
        (
            of("happy_hour", {"discount_percent": 10}, validity={"time_start": "17:00", "time_end": "17:00"}),
            "validity.time_end",
            "two different times",
        ),
        (of("cashback", {}), "rules.cashback_percent", "say one of"),
        (of("cashback", {"cashback_percent": 5, "cashback_amount": 5}), "rules.cashback_amount", "contradicts"),
        (of("payment_discount", {"discount_percent": 5}), "rules.methods", "is missing"),
        (
            of("payment_discount", {"methods": ["card"], "discount_percent": 5, "card_prefixes": ["4111111111111111"]}),
            "rules.card_prefixes[0]",
            "first 4 to 8 digits",
        ),
        (of("package", {"items": [{"product": "COLA-330"}]}, scope=None), "rules.fixed_price", "is missing"),
        (of("package", {"items": [], "fixed_price": 5}, scope=None), "rules.items", "least 1"),
        (
            of("package", {"items": [{"product": "COLA-330"}, {"product": "COLA-330"}], "fixed_price": 5}, scope=None),
            "rules.items[1].product",
            "there already",
        ),
        (of("mix_match", {"quantity": 3, "fixed_price": 5}, scope=None), "scope.apply_to", "which goods"),
        (of("upsell", {"discount_percent": 5}), "rules.offer_products", "is missing"),
        (of("threshold_tier", {"tiers": []}), "rules.tiers", "at least 1 entry"),
        (of("threshold_tier", {"tiers": [{"from": 5}]}), "rules.tiers[0].discount_percent", "is missing"),
        (
            of(
                "threshold_tier",
                {"tiers": [{"from": 5, "discount_percent": 1}, {"from": "5.00", "discount_percent": 2}]},
            ),
            "rules.tiers[1].from",
            "above that of the tier before",
        ),
        (
            of("threshold_tier", {"tiers": [{"from": 5, "off": 1, "discount_percent": 1}]}),
            "rules.tiers[0].off",
            "no such",
        ),
        (of("percent_discount", {"discount_percent": 5, "discount_amount": 5}), "rules.discount_amount", "no such"),
    ],
)
def test_a_wrong_field_is_named_with_its_mend(world: World, changes: Any, field: str, words: str) -> None:
    definition = copy.deepcopy(GOOD) | changes
    if not field:
        world.promotions.compiled(definition)
        return
    with pytest.raises(InvalidDefinition) as refused:
        world.promotions.save(definition, "test")
    assert words in refused.value.messages.get(field, ""), refused.value.messages
    assert world.promotions.list() == []
    assert world.live_ids("promotions") == ["00000009-0000-4000-8000-000000000000"]


def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    definition = GOOD | {"name": "", "scope": {"apply_to": "products", "products": ["A", "COLA-330", "B"]}, "rules": {}}
    with pytest.raises(InvalidDefinition) as refused:
        world.promotions.save(definition, "test")
    assert list(refused.value.messages) == [
        "name",
        "scope.products[0]",
        "scope.products[2]",
        "rules.discount_percent",
    ]


def test_a_store_of_another_brand_contradicts_the_brands_named(world: World) -> None:
    with world.db.write():
        world.db.run("INSERT INTO brand VALUES (?, ?)", ("0000000b-0000-4000-8000-000000000000", "Other"))
    with pytest.raises(InvalidDefinition) as refused:
        world.promotions.save(GOOD | {"targeting": {"brands": ["Other"], "stores": ["S01"]}}, "test")
    assert "another brand" in refused.value.messages["targeting.stores[0]"]
