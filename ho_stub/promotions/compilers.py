"""Twelve small compilers: the fields that a type of promotion has, to the contract's `rules` (docs/promotions.md).

Each names all keys of its rules, null where nothing was said, so that a till program finds what it looks for.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ho_stub.promotions.definition import Definition
from ho_stub.promotions.fields import Fields

Rules = dict[str, Any]
PER = ("unit", "line", "bill")
BASES = ("amount", "quantity")
PAID_AS = ("balance", "points", "voucher")
VALID_DAYS_MAX = 3_650
CARD_PREFIX_DIGITS = range(4, 9)
KINDS: dict[str, Callable[[Fields, str], str | None]] = {
    "discount_percent": Fields.percent,
    "discount_amount": Fields.money,
    "fixed_price": Fields.money,
    "cashback_percent": Fields.percent,
    "cashback_amount": Fields.money,
}


def percent_discount(rules: Fields, _: Definition) -> Rules:
    """So much per cent off the goods in scope, perhaps at most so much money."""
    percent = rules.percent("discount_percent", needed=True)
    return {"discount_percent": percent, "max_discount": rules.money("max_discount"), **_least(rules)}


def amount_discount(rules: Fields, _: Definition) -> Rules:
    """So much money off each unit, each line or the bill."""
    amount = rules.money("discount_amount", needed=True)
    return {"discount_amount": amount, "per": rules.choice("per", PER, default="unit"), **_least(rules)}


def buy_x_get_y(rules: Fields, _: Definition) -> Rules:
    """Buy so many of the goods in scope, get so many of the same (or of others) for nothing, or for less."""
    return {
        "buy_quantity": rules.quantity("buy_quantity", needed=True),
        "get_quantity": rules.quantity("get_quantity", needed=True),
        "get_products": rules.all_found("get_products", "product"),
        "get_categories": rules.all_found("get_categories", "category"),
        "discount_percent": rules.percent("discount_percent") or "100",
        "max_times_per_bill": rules.whole("max_times_per_bill"),
    }


def combo(rules: Fields, _: Definition) -> Rules:
    """One choice of each group, together for a price or for less."""
    groups = [
        {"name": group.text("name"), **_goods(group), "quantity": group.quantity("quantity") or "1"}
        for group in _each(rules.parts("groups", least=2))
    ]
    return {
        "groups": groups,
        **_reward(rules, "fixed_price", "discount_percent", "discount_amount"),
        "max_times_per_bill": rules.whole("max_times_per_bill"),
    }


def free_item(rules: Fields, _: Definition) -> Rules:
    """Something for nothing, from so much of the goods in scope on."""
    products = rules.all_found("free_products", "product", needed=True)
    least = _least(rules)
    if least == {"min_amount": None, "min_quantity": None}:
        rules.problem("min_amount", "is missing: say from which amount, or from which quantity (min_quantity)")
    return {"free_products": products, "free_quantity": rules.quantity("free_quantity", needed=True), **least}


def happy_hour(rules: Fields, about: Definition) -> Rules:
    """Less at certain hours, those of its validity."""
    hours = (about.validity.time_start, about.validity.time_end)
    if None in hours or hours[0] == hours[1]:
        name = "validity.time_start" if hours[0] is None else "validity.time_end"
        rules.problems.setdefault(name, "a happy hour needs two different times, time_start and time_end")
    return {**_reward(rules, "discount_percent", "discount_amount", "fixed_price"), **_least(rules)}


def cashback(rules: Fields, _: Definition) -> Rules:
    """A part of what was paid comes back: as a balance, as points or as a voucher."""
    return {
        **_reward(rules, "cashback_percent", "cashback_amount"),
        "max_cashback": rules.money("max_cashback"),
        "paid_as": rules.choice("paid_as", PAID_AS, default="balance"),
        "valid_days": rules.whole("valid_days", 1, VALID_DAYS_MAX),
        **_least(rules),
    }


def payment_discount(rules: Fields, _: Definition) -> Rules:
    """Less for who pays by certain means."""
    methods, issuers = rules.words("methods", needed=True), rules.words("issuers")
    prefixes = rules.words("card_prefixes")
    for number, prefix in enumerate(prefixes):
        if not (prefix.isascii() and prefix.isdigit() and len(prefix) in CARD_PREFIX_DIGITS):
            rules.problem(f"card_prefixes[{number}]", "must be the first 4 to 8 digits of cards")
    return {
        "methods": methods,
        "issuers": issuers,
        "card_prefixes": prefixes,
        **_reward(rules, "discount_percent", "discount_amount"),
        "max_discount": rules.money("max_discount"),
        **_least(rules),
    }


def package(rules: Fields, _: Definition) -> Rules:
    """Certain products in certain quantities, together for one price."""
    items = [
        {"product": item.found("product", "product"), "quantity": item.quantity("quantity") or "1"}
        for item in _each(rules.parts("items"))
    ]
    named = [item["product"] for item in items]
    for number, product in enumerate(named):
        if product is not None and product in named[:number]:
            rules.problem(f"items[{number}].product", "is there already: raise its quantity instead")
    price = rules.money("fixed_price", needed=True)
    return {"items": items, "fixed_price": price, "max_times_per_bill": rules.whole("max_times_per_bill")}


def mix_match(rules: Fields, about: Definition) -> Rules:
    """Any so many of the goods in scope, for a price or for less."""
    if about.scope.apply_to == "all":
        rules.problems.setdefault("scope.apply_to", "must be products or categories: say which goods can be mixed")
    return {
        "quantity": rules.quantity("quantity", needed=True),
        **_reward(rules, "fixed_price", "discount_percent", "discount_amount"),
        "max_times_per_bill": rules.whole("max_times_per_bill"),
    }


def upsell(rules: Fields, _: Definition) -> Rules:
    """Who buys of the goods in scope is offered something more for less."""
    return {
        "offer_products": rules.all_found("offer_products", "product", needed=True),
        "offer_quantity": rules.quantity("offer_quantity") or "1",
        "message": rules.text("message"),
        **_reward(rules, "fixed_price", "discount_percent", "discount_amount"),
        **_least(rules),
    }


def threshold_tier(rules: Fields, _: Definition) -> Rules:
    """The more, the better: tiers by amount or quantity, the highest one reached counts."""
    basis = rules.choice("basis", BASES, default="amount")
    tiers: list[Rules] = []
    for tier in _each(rules.parts("tiers")):
        read = tier.quantity if basis == "quantity" else tier.money
        start = read("from", needed=True)
        if start and tiers and tiers[-1]["from"] and Decimal(start) <= Decimal(tiers[-1]["from"]):
            tier.problem("from", f"must be above that of the tier before ({tiers[-1]['from']})")
        tiers.append({"from": start, **_reward(tier, "discount_percent", "discount_amount")})
    return {"basis": basis, "tiers": tiers}


COMPILERS: dict[str, Callable[[Fields, Definition], Rules]] = {
    one.__name__: one
    for one in (
        *(percent_discount, amount_discount, buy_x_get_y, combo, free_item, happy_hour),
        *(cashback, payment_discount, package, mix_match, upsell, threshold_tier),
    )
}
STAGE_OF = {
    "combo": "cart_level",
    "free_item": "cart_level",
    "package": "cart_level",
    "upsell": "cart_level",
    "threshold_tier": "cart_level",
    "cashback": "payment_level",
    "payment_discount": "payment_level",
}


def _least(rules: Fields) -> Rules:
    """From which amount or quantity of the goods in scope it applies."""
    return {"min_amount": rules.money("min_amount"), "min_quantity": rules.quantity("min_quantity")}


def _goods(fields: Fields) -> Rules:
    """Goods that rules name themselves."""
    if fields.given("products") is None and fields.given("categories") is None:
        fields.problem("products", "is missing: name products or categories")
    products = fields.all_found("products", "product")
    return {"products": products, "categories": fields.all_found("categories", "category")}


def _reward(rules: Fields, *kinds: str) -> Rules:
    """What the customer gets: exactly one of some kinds; the others are null."""
    found: Rules = {kind: KINDS[kind](rules, kind) for kind in kinds}
    given = [kind for kind in kinds if rules.given(kind) is not None]
    if not given:
        rules.problem(kinds[0], f"is missing: say one of {', '.join(kinds)}")
    for extra in given[1:]:
        rules.problem(extra, f"contradicts {given[0]}: leave one of the two out")
    return found


def _each(parts: list[Fields]) -> Iterator[Fields]:
    """Each entry of a list; when it has been read, nothing unread may be left in it."""
    for part in parts:
        yield part
        part.close()
