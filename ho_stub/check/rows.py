"""Rows: fields, ids, kinds, money, and whether what they point to is there (section 4)."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from ho_stub.check.forms import (
    is_decimal_text,
    is_flag,
    is_id,
    is_id_of_other_form,
    is_number,
    is_object,
    is_text,
    is_time,
    is_whole,
    or_null,
)
from ho_stub.check.table import Finding, Group, judged, not_checked
from ho_stub.check.visit import DATASETS, Skip, Visit

NAME_CHARACTERS_MAX = 1_000
ROW_BYTES_MAX = 1024 * 1024
MONEY_DECIMALS = 4

Form = Callable[[object], bool]
TEXT, MAYBE_TEXT, FLAG, WHOLE, TIME = is_text, or_null(is_text), is_flag, is_whole, is_time
FLAT_PROMOTION = ("id", "name", "discount_type", "discount_value", "start_date", "end_date", "scope", "is_active")

# Kinds of fields. Ids, money, flags and times are looked at by checks of their own.
KINDS: dict[str, dict[str, Form]] = {
    "categories": {"name": TEXT, "code": MAYBE_TEXT, "display_order": WHOLE, "image_url": MAYBE_TEXT},
    "products": {
        "name": TEXT, "sku": MAYBE_TEXT, "barcode": MAYBE_TEXT, "image_url": MAYBE_TEXT, "description": MAYBE_TEXT,
    },
    "promotions": {
        "code": MAYBE_TEXT, "name": TEXT, "promo_type": TEXT, "apply_to": TEXT, "execution_stage": TEXT,
        "execution_priority": WHOLE, "validity": is_object, "scope": is_object, "targeting": is_object,
        "rules": is_object, "limits": is_object, "compiler_version": TEXT,
    },
}  # fmt: skip
IDS = {
    "categories": ("id", "company_id", "brand_id", "parent_id"),
    "products": ("id", "company_id", "brand_id", "store_id", "category_id"),
    "promotions": ("id", "company_id", "brand_id"),
}
FLAGS = {
    "categories": ("is_active",),
    "products": ("is_active", "is_volatile", "has_modifiers"),
    "promotions": ("is_active", "is_auto_apply", "require_voucher", "member_only", "is_stackable"),
}
TIMES = {
    "categories": ("created_at", "updated_at"),
    "products": ("created_at", "updated_at"),
    "promotions": ("compiled_at", "updated_at"),
}
MONEY = {"categories": (), "products": ("price", "cost"), "promotions": ()}
QUANTITIES = {"categories": (), "products": ("reorder_level",), "promotions": ()}

rows = Group("Rows")


def each_row(visit: Visit) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its dataset. Raises Skip where there is none."""
    wholes = [visit.whole(dataset) for dataset in DATASETS]
    if not any(whole.rows for whole in wholes):
        raise Skip("there are no rows")
    for whole in wholes:
        for row in whole.rows:
            yield whole.dataset, row


def is_flat(row: dict[str, Any]) -> bool:
    """Whether a promotion comes in the older flat form."""
    return "discount_type" in row


def named(dataset: str, row: dict[str, Any]) -> str:
    """A row, for people."""
    return f"{dataset} {str(row.get('id'))[:40]}"


def fields_of(dataset: str, row: dict[str, Any]) -> tuple[str, ...]:
    """The fields that the contract gives a row."""
    if dataset == "promotions" and is_flat(row):
        return FLAT_PROMOTION
    found = (*IDS[dataset], *KINDS[dataset], *FLAGS[dataset], *TIMES[dataset], *MONEY[dataset], *QUANTITIES[dataset])
    return tuple(dict.fromkeys(found))


@rows.check(
    "rows.fields",
    "4",
    "Rows have all fields of the contract",
    "What a till isn't told it can't know: without `barcode` nothing is found by scanner, without `is_volatile` "
    "one-off goods count as stock, without `reorder_level` nothing is told to run low.",
    "Send every field; null where there is nothing.",
)
def fields(visit: Visit) -> Finding:
    lacking: dict[str, None] = {}
    for dataset, row in each_row(visit):
        lacking |= {f"{dataset}: {name}": None for name in fields_of(dataset, row) if name not in row}
    return judged(list(lacking), of="missing")


@rows.check(
    "rows.ids",
    "1",
    "Ids are UUIDs in lower case, with hyphens",
    "Ids are compared as strings: a row whose ids have another form is refused by every till, and said to be.",
    "Write ids in lower case everywhere.",
)
def ids(visit: Visit) -> Finding:
    wrong = []
    for dataset, row in each_row(visit):
        for name in IDS[dataset]:
            value = row.get(name)
            if name == "id" and not is_id(value):
                wrong.append(f"{dataset}: id is {value!r}")
            elif value is not None and not is_id(value):
                wrong.append(f"{named(dataset, row)}: {name} is {value!r}")
    is_other = any(is_id_of_other_form(row.get("id")) for _, row in each_row(visit))
    return judged(wrong, of="another form of UUID" if wrong and is_other else "")


@rows.check(
    "rows.kinds",
    "4",
    "Texts are texts, numbers are numbers",
    "Readers less patient than the agent stop at such a row, or sort and compare it wrongly.",
    "Send each field in the kind that the contract gives it.",
)
def kinds(visit: Visit) -> Finding:
    wrong: dict[str, None] = {}
    for dataset, row in each_row(visit):
        for name, fits in KINDS[dataset].items():
            if name in row and not (dataset == "promotions" and is_flat(row)) and not fits(row[name]):
                wrong[f"{dataset}: {name} is {json.dumps(row[name], default=str)[:40]}"] = None
    return judged(list(wrong))


@rows.check(
    "rows.flags",
    "4",
    "Flags are true or false",
    "A reader that takes 0 or null for what it is in its own language sells what is switched off, or hides what is on.",
    "Send JSON booleans, never null.",
)
def flags(visit: Visit) -> Finding:
    wrong: dict[str, None] = {}
    for dataset, row in each_row(visit):
        for name in FLAGS[dataset]:
            if name in row and not is_flag(row[name]):
                wrong[f"{dataset}: {name} is {json.dumps(row[name], default=str)[:40]}"] = None
    return judged(list(wrong))


@rows.check(
    "rows.times",
    "1",
    "Rows have times",
    "A till can't tell which of two versions of a row is the newer one.",
    "Send `updated_at` with each row.",
)
def times(visit: Visit) -> Finding:
    wrong: dict[str, None] = {}
    for dataset, row in each_row(visit):
        for name in TIMES[dataset]:
            if row.get(name) is not None and not is_time(row[name]):
                wrong[f"{dataset}: {name} is {row[name]!r}"] = None
        if "updated_at" in row and row["updated_at"] is None:
            wrong[f"{dataset}: updated_at is null"] = None
    return judged(list(wrong))


def _amounts(visit: Visit) -> Iterator[tuple[str, Any]]:
    """Every amount and quantity of the products, and what looks like one in promotions."""
    for dataset, row in each_row(visit):
        for name in (*MONEY[dataset], *QUANTITIES[dataset]):
            if row.get(name) is not None:
                yield f"{dataset}: {name}", row[name]
        if dataset == "promotions":
            yield from _inner_amounts("promotions", row)


def _inner_amounts(at: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list):
                yield from _inner_amounts(f"{at}: {name}", inner)
            elif any(part in name for part in ("price", "amount", "percent", "discount_value")) and is_number(inner):
                yield f"{at}: {name}", inner
    elif isinstance(value, list):
        for inner in value:
            yield from _inner_amounts(at, inner)


@rows.check(
    "rows.money",
    "1",
    "Money and quantities are decimals in strings",
    "A JSON number passes through binary floats on its way: prices can be off by a cent where nobody rounds.",
    'Send "25000.00", not 25000.0.',
)
def money(visit: Visit) -> Finding:
    wrong: dict[str, None] = {}
    for at, value in _amounts(visit):
        if not is_decimal_text(value) and (at.startswith("products") or isinstance(value, Decimal)):
            wrong[f"{at} is {'a number' if is_number(value) else repr(value)[:40]}"] = None
    return judged(list(wrong))


@rows.check(
    "rows.noise",
    "1",
    "Money has no more decimals than money has",
    "7500.000000000001 is the noise of binary floats. The agent reads it to the cent; others charge it.",
    "Keep money as decimals from the database to the wire.",
)
def noise(visit: Visit) -> Finding:
    wrong: dict[str, None] = {}
    for at, value in _amounts(visit):
        try:
            decimals = -int(Decimal(str(value)).as_tuple().exponent)
        except (ArithmeticError, ValueError, TypeError):
            continue
        if decimals > MONEY_DECIMALS:
            wrong[f"{at} is {value}"] = None
    return judged(list(wrong))


@rows.check(
    "rows.names",
    "4",
    "Rows have names of a sensible size, and none is a page long",
    "A row without a name, or of more than 1 MiB, is refused by every till, and said to be.",
    "Refuse empty names when they are entered.",
)
def names(visit: Visit) -> Finding:
    wrong = []
    for dataset, row in each_row(visit):
        name = row.get("name")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX:
            wrong.append(f"{named(dataset, row)}: name is {str(name)[:40]!r}")
        elif len(str(row)) > ROW_BYTES_MAX // 4 and len(json.dumps(row, default=str)) > ROW_BYTES_MAX:
            wrong.append(f"{named(dataset, row)} is larger than 1 MiB")
    return judged(wrong)


@rows.check(
    "rows.parents",
    "4",
    "A category's parent is among the categories, and no category is its own ancestor",
    "The menu of a till has branches that hang nowhere: what is in them can't be found by hand.",
    "Send parents with their children, and refuse circles when they are entered.",
)
def parents(visit: Visit) -> Finding:
    parent_of = {str(row.get("id")): row.get("parent_id") for row in visit.whole("categories").rows}
    wrong = [f"{one}: no parent {up}" for one, up in parent_of.items() if up is not None and up not in parent_of]
    for one in parent_of:
        seen, at = set[object](), parent_of.get(one)
        while at is not None and at in parent_of and at not in seen:
            seen.add(at)
            at = parent_of[str(at)]
        if one in seen:
            wrong.append(f"{one} is its own ancestor")
    return judged(wrong)


@rows.check(
    "rows.categories",
    "4",
    "A product's category is among the categories",
    "The product hangs nowhere in a till's menu; it is found by scanner and by search alone.",
    "Send the category too, or none with the product.",
)
def categories(visit: Visit) -> Finding:
    there = set(visit.whole("categories").ids)
    wrong = [
        f"{named('products', row)}: no category {row['category_id']}"
        for row in visit.whole("products").rows
        if row.get("category_id") is not None and row["category_id"] not in there
    ]
    return judged(wrong)


@rows.check(
    "rows.row-version",
    "4",
    "Each row has a whole `row_version`",
    "Digests can't be compared: a till that lost a row to damage takes whole lists instead of a leaf.",
    "Send the number of the row's last change.",
    needs="cursor",
)
def row_version(visit: Visit) -> Finding:
    wrong = [named(*one) for one in each_row(visit) if not is_whole(one[1].get("row_version"))]
    return judged(wrong) if visit.whole("products").rows else not_checked("there are no products")
