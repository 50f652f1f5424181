"""Promotions for made-up data: definitions of each of the twelve types, over goods that the dice choose."""

import random
from collections.abc import Callable
from typing import Any

from ho_stub.generator import SHELVES, code_of, sku

Definition = dict[str, Any]
WHEN: tuple[Definition, ...] = (
    {},
    {"start_date": "2026-01-01", "end_date": "2035-12-31"},
    {"days_of_week": [4, 5, 6], "exclude_holidays": True},
)
HOURS = (("07:00", "10:00"), ("15:00", "18:00"), ("22:00", "02:00"))


def _goods(dice: random.Random, count: int, many: int) -> list[str]:
    return [sku(index) for index in dice.sample(range(count), many)]


def _products(dice: random.Random, count: int, many: int = 5) -> Definition:
    return {"apply_to": "products", "products": _goods(dice, count, many)}


def _category(dice: random.Random) -> Definition:
    shelf = dice.choice(SHELVES)
    return {"apply_to": "categories", "categories": [code_of(shelf.department, shelf.name)]}


def _money(dice: random.Random, low: int, high: int) -> str:
    return f"{dice.randint(low, high) * 1_000}.00"


def percent_discount(dice: random.Random, count: int, number: int) -> Definition:
    """A category for less; the third for members alone."""
    percent = str(dice.randint(1, 6) * 5)
    targeting = {"member_only": True, "member_tiers": ["gold"]} if number == 3 else {}
    rules = {"discount_percent": percent}
    return {"name": f"{percent} % off", "scope": _category(dice), "targeting": targeting, "rules": rules}


def amount_discount(dice: random.Random, count: int, number: int) -> Definition:
    """Some products for less; the third by voucher."""
    amount = _money(dice, 1, 5)
    return {
        "name": "So much off each",
        "scope": _products(dice, count),
        "require_voucher": number == 3,
        "rules": {"discount_amount": amount},
        "limits": {"max_uses": 10_000} if number == 3 else {},
    }


def buy_x_get_y(dice: random.Random, count: int, number: int) -> Definition:
    """Buy some, get one more."""
    rules = {"buy_quantity": number, "get_quantity": 1}
    return {"name": f"Buy {number}, get one more", "scope": _products(dice, count, 3), "rules": rules}


def combo(dice: random.Random, count: int, number: int) -> Definition:
    """A choice of each of two groups."""
    groups = [{"name": f"Group {one}", "products": _goods(dice, count, 3)} for one in (1, 2)]
    return {"name": f"Combo {number}", "rules": {"groups": groups, "fixed_price": _money(dice, 20, 60)}}


def free_item(dice: random.Random, count: int, number: int) -> Definition:
    """Something for nothing from an amount on."""
    rules = {"free_products": _goods(dice, count, 1), "free_quantity": 1, "min_amount": _money(dice, 100, 300)}
    return {"name": "A present from us", "rules": rules, "limits": {"max_uses_per_customer": number}}


def happy_hour(dice: random.Random, count: int, number: int) -> Definition:
    """A category for less at certain hours; the third over midnight."""
    start, end = HOURS[number - 1]
    validity = {"time_start": start, "time_end": end}
    rules = {"discount_percent": "20"}
    return {"name": f"Happy hour from {start}", "validity": validity, "scope": _category(dice), "rules": rules}


def cashback(dice: random.Random, count: int, number: int) -> Definition:
    """A part comes back."""
    rules = {"cashback_percent": number, "max_cashback": "25000", "paid_as": "points", "valid_days": 90}
    return {"name": f"{number} % back in points", "rules": rules}


def payment_discount(dice: random.Random, count: int, number: int) -> Definition:
    """Less for a way to pay."""
    method = ("card", "wallet", "transfer")[number - 1]
    rules = {"methods": [method], "discount_percent": "5", "max_discount": "20000", "min_amount": "100000"}
    return {"name": f"5 % off by {method}", "rules": rules, "targeting": {"brands": ["Market"]}}


def package(dice: random.Random, count: int, number: int) -> Definition:
    """Some products together."""
    items = [{"product": one, "quantity": dice.randint(1, 3)} for one in _goods(dice, count, number + 1)]
    return {"name": f"Package {number}", "rules": {"items": items, "fixed_price": _money(dice, 30, 120)}}


def mix_match(dice: random.Random, count: int, number: int) -> Definition:
    """Any few of a category; the third in one store."""
    rules = {"quantity": number + 1, "fixed_price": _money(dice, 20, 60)}
    targeting = {"stores": ["M01"]} if number == 3 else {}
    return {"name": f"Any {number + 1}", "scope": _category(dice), "targeting": targeting, "rules": rules}


def upsell(dice: random.Random, count: int, number: int) -> Definition:
    """Something more for less; the third across brands."""
    rules = {"offer_products": _goods(dice, count, 1), "discount_percent": "30", "message": "One more for less?"}
    crossing = {"cross_brand": {"buy_brands": ["Cafe"], "get_brands": ["Market"]}} if number == 3 else {}
    return {"name": "One more for less", "scope": _products(dice, count, 2), "targeting": crossing, "rules": rules}


def threshold_tier(dice: random.Random, count: int, number: int) -> Definition:
    """The more, the better."""
    tiers = [{"from": str(step * number * 100_000), "discount_percent": str(step * 2)} for step in (1, 2, 3)]
    return {"name": "The more the better", "is_stackable": True, "rules": {"tiers": tiers}}


def _dated(make: Callable[[random.Random, int, int], Definition]) -> Callable[[random.Random, int, int], Definition]:
    def dated(dice: random.Random, count: int, number: int) -> Definition:
        made = make(dice, count, number)
        return made | {"validity": WHEN[number - 1] | made.get("validity", {})}

    return dated


TYPES = {
    make.__name__: _dated(make)
    for make in (
        *(percent_discount, amount_discount, buy_x_get_y, combo, free_item, happy_hour),
        *(cashback, payment_discount, package, mix_match, upsell, threshold_tier),
    )
}
