"""From a definition to the row that stores are sent: the contract's compiled JSON (section 4)."""

import uuid
from collections.abc import Mapping
from datetime import time
from typing import Any

from ho_stub.promotions.catalogue import Catalogue
from ho_stub.promotions.compilers import COMPILERS, STAGE_OF
from ho_stub.promotions.definition import Definition, read_definition
from ho_stub.promotions.fields import Fields, InvalidDefinition

COMPILER_VERSION = "1.1.0"
GOODS_IN_RULES = ("combo", "package")


def compile_promotion(
    given: Mapping[str, Any], catalogue: Catalogue, now: str, current_uses: int = 0
) -> dict[str, Any]:
    """A promotion's compiled row, without `row_version`.

    Args:
        given: the definition.
        catalogue: what it may name.
        now: the time of compilation, as the contract writes it.
        current_uses: how often it has been used.

    Raises:
        InvalidDefinition: it can't be compiled; a message for each field that is wrong.
    """
    fields = Fields(given, catalogue)
    definition = read_definition(fields, COMPILERS)
    part, rules = fields.part("rules"), {}
    if definition.type:
        rules = {"type": definition.type} | COMPILERS[definition.type](part, definition)
        part.close()
        if definition.type in GOODS_IN_RULES and fields.given("scope") is not None:
            fields.problem("scope", "leave it out: the rules of this type name the goods themselves")
    fields.close()
    if fields.problems:
        raise InvalidDefinition(fields.problems)
    return _row(definition, rules, catalogue, now, current_uses)


def _row(about: Definition, rules: dict[str, Any], catalogue: Catalogue, now: str, uses: int) -> dict[str, Any]:
    scope, targeting, limits = _scope(about, rules), about.targeting, about.limits
    if targeting.cross_brand is not None:
        crossing = targeting.cross_brand
        rules["cross_brand"] = {"buy_brands": list(crossing.buy_brands), "get_brands": list(crossing.get_brands)}
    return {
        "id": about.id or str(uuid.uuid4()),
        "code": about.code,
        "name": about.name,
        "company_id": catalogue.company_id,
        "brand_id": targeting.brands[0] if len(targeting.brands) == 1 else None,
        "promo_type": about.type,
        "apply_to": scope["apply_to"],
        "execution_stage": about.stage or _stage(rules),
        "execution_priority": about.priority,
        "is_active": about.is_active,
        "is_auto_apply": about.is_auto_apply,
        "require_voucher": about.require_voucher,
        "member_only": targeting.member_only,
        "is_stackable": about.is_stackable,
        "validity": _validity(about),
        "scope": scope,
        "targeting": {
            "stores": list(targeting.stores),
            "brands": list(targeting.brands),
            "member_only": targeting.member_only,
            "member_tiers": list(targeting.member_tiers),
            "customer_type": targeting.customer_type,
            "sales_channels": list(targeting.sales_channels),
        },
        "rules": rules,
        "limits": {
            "max_uses": limits.max_uses,
            "max_uses_per_customer": limits.max_uses_per_customer,
            "max_uses_per_day": limits.max_uses_per_day,
            "current_uses": uses,
        },
        "compiled_at": now,
        "compiler_version": COMPILER_VERSION,
        "updated_at": now,
    }


def _stage(rules: dict[str, Any]) -> str:
    """Where in a bill's calculation it comes when nobody said: a discount on the bill follows those on its lines."""
    return "cart_level" if rules.get("per") == "bill" else STAGE_OF.get(rules["type"], "item_level")


def _validity(about: Definition) -> dict[str, Any]:
    validity = about.validity
    return {
        "start_date": validity.start_date and validity.start_date.isoformat(),
        "end_date": validity.end_date and validity.end_date.isoformat(),
        "time_start": _clock(validity.time_start),
        "time_end": _clock(validity.time_end),
        "days_of_week": list(validity.days_of_week) or None,
        "exclude_holidays": validity.exclude_holidays,
    }


def _clock(moment: time | None) -> str | None:
    """To the minute where that is the whole of it."""
    return None if moment is None else moment.isoformat("seconds" if moment.second else "minutes")


def _scope(about: Definition, rules: dict[str, Any]) -> dict[str, Any]:
    """The scope as defined; for a type whose rules name the goods, those."""
    scope = about.scope
    apply_to, products, categories = scope.apply_to, list(scope.products), list(scope.categories)
    if about.type in GOODS_IN_RULES:
        products, categories = (
            list(dict.fromkeys(_named(rules, "product"))),
            list(dict.fromkeys(_named(rules, "categor"))),
        )
        apply_to = "products" if products else "categories"
    return {
        "apply_to": apply_to,
        "categories": categories,
        "products": products,
        "exclude_categories": list(scope.exclude_categories),
        "exclude_products": list(scope.exclude_products),
    }


def _named(rules: dict[str, Any], kind: str) -> list[str]:
    """The ids that a combo's groups or a package's items name, each once."""
    found: dict[str, None] = {}
    for entry in rules.get("groups") or rules.get("items") or ():
        for name, value in entry.items():
            if name.startswith(kind):
                found |= dict.fromkeys([value] if isinstance(value, str) else value)
    return list(found)
