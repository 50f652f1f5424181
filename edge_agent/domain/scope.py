"""What and whom a promotion is for: its scope, targeting and limits, read leniently (contract, section 4).

The agent does not evaluate promotions. It reads these parts to say why one can't apply, and claims only what is
certain: what it can't read counts as open to all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.domain.ids import is_uuid

_TREE_DEPTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Scope:
    """What a promotion is for. ``everything``: its lists of products and categories don't count."""

    everything: bool
    products: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    exclude_products: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it is for named things and names none."""
        return not (self.everything or self.products or self.categories)


@dataclass(frozen=True, slots=True)
class Targeting:
    """Where a promotion is for; empty for everywhere."""

    stores: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a promotion may be used; None for no limit."""

    max_uses: int | None = None
    max_uses_per_customer: int | None = None
    max_uses_per_day: int | None = None
    current_uses: int = 0


@dataclass(frozen=True, slots=True)
class Shelf:
    """What can be sold, as far as promotions ask for it.

    Args:
        parents: every category's parent.
        stocked: the categories with active products of their own.
        has_loose: whether there are active products without a category.
    """

    parents: Mapping[str, str | None]
    stocked: frozenset[str]
    has_loose: bool

    def is_below(self, category: str, named: Collection[str]) -> bool:
        """Whether a category, or one above it, is among the named ones."""
        step: str | None = category
        for _ in range(_TREE_DEPTH_MAX):
            if step is None:
                return False
            if step in named:
                return True
            step = self.parents.get(step)
        return False


def part(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object inside a promotion; empty when it is none."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _ids(value: object) -> tuple[str, ...]:
    """A list of ids, each given as text or as an object with an ``id``; every id once."""
    if not isinstance(value, list):
        return ()
    found = (one.get("id") if isinstance(one, dict) else one for one in value)
    return tuple(dict.fromkeys(str(one) for one in found if one not in (None, "")))


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def names_ids(value: object) -> bool:
    """Whether a piece of JSON holds an id anywhere: a combo names its products in its rules."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and is_uuid(one):
            return True
    return False


def read_scope(fields: Mapping[str, Any]) -> Scope:
    """The scope of a promotion of either form."""
    scope = part(fields, "scope")
    said = scope.get("apply_to", fields.get("apply_to"))
    what = said.lower() if isinstance(said, str) else ""
    products, categories = _ids(scope.get("products")), _ids(scope.get("categories"))
    names_things = what.startswith(("product", "categor", "item"))
    return Scope(
        everything=what.startswith("all") or not (names_things or products or categories),
        products=products,
        categories=categories,
        exclude_products=_ids(scope.get("exclude_products")),
        exclude_categories=_ids(scope.get("exclude_categories")),
    )


def read_targeting(fields: Mapping[str, Any]) -> Targeting:
    """Where a promotion is for; without a list of brands its own brand counts."""
    targeting = part(fields, "targeting")
    brand = fields.get("brand_id")
    brands = _ids(targeting.get("brands")) or ((brand,) if isinstance(brand, str) and brand else ())
    return Targeting(_ids(targeting.get("stores")), brands)


def read_limits(fields: Mapping[str, Any]) -> Limits:
    """How often a promotion may be used."""
    limits = part(fields, "limits")
    return Limits(
        _whole(limits.get("max_uses")),
        _whole(limits.get("max_uses_per_customer")),
        _whole(limits.get("max_uses_per_day")),
        _whole(limits.get("current_uses")) or 0,
    )


def reaches_nothing(scope: Scope, sold: Mapping[str, str | None], shelf: Shelf) -> bool:
    """Whether no product that can be sold here is in a scope.

    Args:
        scope: the scope.
        sold: those of its named products that are here and active, with their categories.
        shelf: what can be sold.

    A named category counts with those below it, an excluded one alone: that claims too little rather than too much.
    """

    def is_let_in(category: str | None) -> bool:
        return category not in scope.exclude_categories

    if scope.everything:
        # Excluding every single product one by one is not looked for.
        return not shelf.has_loose and not any(map(is_let_in, shelf.stocked))
    if any(product not in scope.exclude_products and is_let_in(category) for product, category in sold.items()):
        return False
    return not any(is_let_in(category) and shelf.is_below(category, scope.categories) for category in shelf.stocked)
