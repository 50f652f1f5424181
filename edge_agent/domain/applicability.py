"""Why a promotion can never apply at this store, or no longer does, in words that a sentence goes on with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent.domain.calendar import business_date
from edge_agent.domain.promotion import Promotion, Validity, goes_over_midnight, has_not_ended, is_on_weekday
from edge_agent.domain.scope import Limits, names_ids, part, read_limits, read_scope, read_targeting

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAYS_A_WEEK = 7


@dataclass(frozen=True, slots=True)
class Here:
    """The store a promotion is asked for.

    Args:
        store_id: its id.
        brand_id: the brand this device sells.
        day_start: when its business day begins.
    """

    store_id: str
    brand_id: str
    day_start: dt.time = dt.time(0)


def weekdays_in_words(days: frozenset[int]) -> str:
    """Weekdays as people list them; ``every day`` for none named."""
    named = [WEEKDAYS[day] for day in sorted(days)]
    if not named:
        return "every day"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def misses_its_weekdays(validity: Validity) -> bool:
    """Whether none of its weekdays falls between its first and its last date.

    Hours can't be empty: equal ones mean all day, and an end before the start is the next day's (decision 0008).
    """
    start, end = validity.start_date, validity.end_date
    if not validity.days or start is None or end is None:
        return False
    span = min((end - start).days + 1, _DAYS_A_WEEK)
    return not any(is_on_weekday(validity, start + dt.timedelta(days=number)) for number in range(span))


def _without_uses(limits: Limits) -> str | None:
    named = (
        ("in all", limits.max_uses),
        ("by a customer", limits.max_uses_per_customer),
        ("a day", limits.max_uses_per_day),
    )
    return next(
        (f"it may be used {most} times {of_what}" for of_what, most in named if most is not None and most <= 0), None
    )


def _without_tiers(rules: Mapping[str, Any]) -> bool:
    return rules.get("tiers") == [] and "tier" in str(rules.get("type", "tier"))


def never_applies(promotion: Promotion, here: Here) -> str | None:
    """Why a promotion can never apply at this store, whatever the time and whatever is sold; None when it may.

    Head office refuses none of these, and a till that has one would wonder for ever.
    """
    targeting, scope = read_targeting(promotion.fields), read_scope(promotion.fields)
    rules = part(promotion.fields, "rules")
    if targeting.stores and here.store_id not in targeting.stores:
        return "it is for other stores"
    if targeting.brands and here.brand_id not in targeting.brands:
        return "it is for another brand"
    if misses_its_weekdays(promotion.validity):
        validity = promotion.validity
        days = weekdays_in_words(validity.days)
        return f"no {days.replace(' and ', ' or ')} falls between {validity.start_date} and {validity.end_date}"
    if without := _without_uses(read_limits(promotion.fields)):
        return without
    if promotion.promo_type == "threshold_tier" and _without_tiers(rules):
        return "it has no tiers"
    if scope.is_empty and not names_ids(rules):
        return "it is for certain products and names none"
    return None


def is_over(promotion: Promotion, local: dt.datetime, here: Here) -> str | None:
    """Why a promotion applies no more; None when it may still.

    Args:
        promotion: the promotion.
        local: the moment in the store's time zone.
        here: the store.
    """
    validity, limits = promotion.validity, read_limits(promotion.fields)
    day = business_date(local, here.day_start)
    if goes_over_midnight(validity):
        day = min(day, local.date() - dt.timedelta(days=1))  # its last night may still be going on
    if not has_not_ended(validity, day):
        return f"it ended on {validity.end_date}"
    if limits.max_uses and limits.current_uses >= limits.max_uses:
        return f"it was used {limits.current_uses:,} times of {limits.max_uses:,}"
    return None
