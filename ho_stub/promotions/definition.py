"""A promotion as head office's people define it: what all twelve types have in common (docs/promotions.md).

Names are those of the compiled form (contract, section 4). Goods, stores and brands are named as people know them and
are ids here. What can never apply is refused: a till that has it would wonder for ever.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from ho_stub.promotions.catalogue import Catalogue
from ho_stub.promotions.fields import Fields

STAGES = ("item_level", "cart_level", "payment_level")
CUSTOMERS = ("all", "new", "returning", "business", "staff")
REACHES = ("all", "categories", "products")
PRIORITY_MAX = 1_000
PRIORITY = 500
DAYS_A_WEEK = 7
TREE_DEPTH_MAX = 100

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,49}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Validity:
    """When it applies; dates are business days and included, `time_end` is the first moment outside."""

    start_date: date | None
    end_date: date | None
    time_start: time | None
    time_end: time | None
    days_of_week: tuple[int, ...]
    exclude_holidays: bool


@dataclass(frozen=True, slots=True)
class Scope:
    """Which goods it is for: `apply_to` all, categories or products; ids."""

    apply_to: str
    categories: tuple[str, ...]
    products: tuple[str, ...]
    exclude_categories: tuple[str, ...]
    exclude_products: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrossBrand:
    """Buy at one of some brands, profit at another: ids."""

    buy_brands: tuple[str, ...]
    get_brands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Targeting:
    """Whom it is for: ids of stores and brands (none: the whole company), members, customers, channels."""

    stores: tuple[str, ...]
    brands: tuple[str, ...]
    cross_brand: CrossBrand | None
    member_only: bool
    member_tiers: tuple[str, ...]
    customer_type: str
    sales_channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How often it may be used; None: as often as one likes."""

    max_uses: int | None
    max_uses_per_customer: int | None
    max_uses_per_day: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """All of a promotion but the rules of its type. `stage` None: its type's own."""

    id: str | None
    code: str
    name: str
    type: str
    is_active: bool
    is_auto_apply: bool
    require_voucher: bool
    is_stackable: bool
    stage: str | None
    priority: int
    validity: Validity
    scope: Scope
    targeting: Targeting
    limits: Limits


def is_definition(row: Mapping[str, Any]) -> bool:
    """Whether it is a definition, and not a promotion's row in the compiled or the older flat form."""
    return "type" in row and not ("promo_type" in row or "discount_type" in row)


def read_definition(fields: Fields, types: Collection[str]) -> Definition:
    """The common part of a definition; what is wrong is kept in `fields.problems`.

    Args:
        fields: the definition.
        types: the types there are.
    """
    code = fields.text("code", needed=True) or ""
    if code and not _CODE.fullmatch(code):
        fields.problem("code", "must be at most 50 letters, digits and . _ / - without a space")
    fields.text("note")  # for head office's people; it isn't sent
    require_voucher = fields.flag("require_voucher")
    is_auto_apply = fields.flag("is_auto_apply", default=not require_voucher)
    if require_voucher and is_auto_apply:
        fields.problem("is_auto_apply", "contradicts require_voucher: without its voucher it can't apply by itself")
    stage = fields.choice("stage", STAGES, default="")
    priority = fields.whole("priority", 0, PRIORITY_MAX)
    return Definition(
        id=fields.identity("id"),
        code=code,
        name=fields.text("name", needed=True) or "",
        type=fields.choice("type", tuple(types)) or "",
        is_active=fields.flag("is_active", default=True),
        is_auto_apply=is_auto_apply,
        require_voucher=require_voucher,
        is_stackable=fields.flag("is_stackable"),
        stage=stage or None,
        priority=PRIORITY if priority is None else priority,
        validity=_validity(fields.part("validity")),
        scope=_scope(fields.part("scope")),
        targeting=_targeting(fields.part("targeting")),
        limits=_limits(fields.part("limits")),
    )


def _validity(fields: Fields) -> Validity:
    validity = Validity(
        start_date=fields.date("start_date"),
        end_date=fields.date("end_date"),
        time_start=fields.time("time_start"),
        time_end=fields.time("time_end"),
        days_of_week=_days(fields),
        exclude_holidays=fields.flag("exclude_holidays"),
    )
    start, end, days = validity.start_date, validity.end_date, validity.days_of_week
    if start and end and end < start:
        fields.problem("end_date", f"is before start_date ({start})")
    elif start and end and days:
        span = min((end - start).days + 1, DAYS_A_WEEK)
        if not any((start + timedelta(days=number)).weekday() in days for number in range(span)):
            fields.problem("days_of_week", f"none of these days falls between {start} and {end}")
    fields.close()
    return validity


def _days(fields: Fields) -> tuple[int, ...]:
    value = fields.given("days_of_week")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(type(day) is int and 0 <= day < DAYS_A_WEEK for day in value):
        fields.problem("days_of_week", "must be a list of days from 0 = Monday to 6 = Sunday")
        return ()
    return tuple(sorted(set(value)))


def _scope(fields: Fields) -> Scope:
    scope = Scope(
        apply_to=fields.choice("apply_to", REACHES, default="all") or "all",
        categories=tuple(fields.all_found("categories", "category")),
        products=tuple(fields.all_found("products", "product")),
        exclude_categories=tuple(fields.all_found("exclude_categories", "category")),
        exclude_products=tuple(fields.all_found("exclude_products", "product")),
    )
    if scope.apply_to == "all" and fields.given("apply_to") is None and (scope.categories or scope.products):
        fields.problem("apply_to", "is missing: say products or categories")
    for name in ("categories", "products"):
        if name == scope.apply_to and fields.given(name) is None:
            fields.problem(name, f"is empty, though the promotion is for {name}: name some")
        elif name != scope.apply_to and fields.given(name) is not None:
            fields.problem(name, f"contradicts apply_to, which is {scope.apply_to}: leave one of the two out")
    if not fields.problems and scope.apply_to != "all" and _is_emptied(scope, fields.catalogue):
        fields.problem("exclude_products", "with exclude_categories, nothing of the scope is left: exclude less")
    fields.close()
    return scope


def _is_emptied(scope: Scope, catalogue: Catalogue) -> bool:
    """Whether everything that the scope names is excluded again. An excluded category counts with those below it."""

    def is_out(category: str | None) -> bool:
        return any(one in scope.exclude_categories for one in _upwards(category, catalogue))

    if scope.apply_to == "categories":
        return all(map(is_out, scope.categories))
    if not scope.exclude_categories:
        return all(one in scope.exclude_products for one in scope.products)
    return all(one in scope.exclude_products or is_out(catalogue.category_of(one)) for one in scope.products)


def _upwards(category: str | None, catalogue: Catalogue) -> Iterator[str]:
    """A category and all above it."""
    for _ in range(TREE_DEPTH_MAX):
        if category is None:
            return
        yield category
        category = catalogue.parent_of(category)


def _targeting(fields: Fields) -> Targeting:
    cross_brand = _cross_brand(fields) if fields.given("cross_brand") is not None else None
    brands = tuple(fields.all_found("brands", "brand"))
    if cross_brand is not None:
        if brands:
            fields.problem("brands", "contradicts cross_brand, which names its brands itself: leave one of the two out")
        brands = tuple(dict.fromkeys(cross_brand.buy_brands + cross_brand.get_brands))
    targeting = Targeting(
        stores=tuple(fields.all_found("stores", "store")),
        brands=brands,
        cross_brand=cross_brand,
        member_only=fields.flag("member_only"),
        member_tiers=tuple(fields.words("member_tiers")),
        customer_type=fields.choice("customer_type", CUSTOMERS, default="all") or "all",
        sales_channels=tuple(fields.words("sales_channels")),
    )
    if targeting.member_tiers and not targeting.member_only:
        fields.problem("member_tiers", "are of members: set member_only to true")
    for number, store in enumerate(targeting.stores):
        own = fields.catalogue.brand_of(store)
        if targeting.brands and own is not None and own not in targeting.brands:
            fields.problem(f"stores[{number}]", "sells another brand than those named in brands")
    fields.close()
    return targeting


def _cross_brand(fields: Fields) -> CrossBrand:
    part = fields.part("cross_brand")
    buy = tuple(part.all_found("buy_brands", "brand", needed=True))
    get = tuple(part.all_found("get_brands", "brand", needed=True))
    if buy and set(buy) == set(get):
        part.problem("get_brands", "are the very same as buy_brands: then name them in brands")
    part.close()
    return CrossBrand(buy, get)


def _limits(fields: Fields) -> Limits:
    limits = Limits(
        max_uses=fields.whole("max_uses"),
        max_uses_per_customer=fields.whole("max_uses_per_customer"),
        max_uses_per_day=fields.whole("max_uses_per_day"),
    )
    for name in ("max_uses_per_customer", "max_uses_per_day"):
        most = getattr(limits, name)
        if limits.max_uses is not None and most is not None and most > limits.max_uses:
            fields.problem(name, f"is more than max_uses ({limits.max_uses})")
    fields.close()
    return limits
