"""Why a promotion that is on this till applies at a moment, or does not: the rules walked step by step, in words.

The rules are those of ``promotion.py`` and ``scope.py``; nothing is decided here a second time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.applicability import WEEKDAYS, Here, is_over, never_applies, weekdays_in_words
from edge_agent.domain.calendar import business_date
from edge_agent.domain.promotion import (
    Promotion,
    day_of,
    has_begun,
    has_not_ended,
    is_active_at,
    is_on_weekday,
)
from edge_agent.domain.scope import Limits, part, read_limits, read_scope, read_targeting


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an explanation.

    Args:
        step: what is looked at: ``here``, ``refused``, ``active``, ``store``, ``brand``, ``scope``, ``dates``,
            ``weekday``, ``hours``, ``limits``, ``conditions``, ``version``; for one that is not here also ``window``,
            ``list`` and ``pull``.
        ok: whether it lets the promotion apply; None when this till can't judge it, or it is only told.
        words: a sentence for people.
    """

    step: str
    ok: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a promotion applies on this till, or does not.

    Args:
        asked: the code or id that was asked for.
        at: the moment, in the store's time zone.
        promotion: the promotion; None when it is not on this till.
        applies: whether it applies at that moment.
        verdict: one sentence.
        steps: how that comes about, in order.
    """

    asked: str
    at: dt.datetime
    promotion: Promotion | None
    applies: bool
    verdict: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A promotion that head office sent and that can't be used: why, and since when (in the store's time)."""

    reason: str
    since: dt.datetime


def when_in_words(moment: dt.datetime) -> str:
    """A moment in the store's time."""
    return f"{moment:%Y-%m-%d %H:%M}"


def _span(first: object, last: object) -> str:
    if first and last:
        return f"from {first} to {last}"
    if first:
        return f"from {first} on"
    return f"until {last}" if last else "at any time"


def _place_steps(promotion: Promotion, here: Here) -> list[Step]:
    targeting = read_targeting(promotion.fields)
    in_store = not targeting.stores or here.store_id in targeting.stores
    in_brand = not targeting.brands or here.brand_id in targeting.brands
    stores = "It is for all stores." if not targeting.stores else "It is for this store."
    brands = "It is for all brands." if not targeting.brands else "It is for this brand."
    others = f"It is for {len(targeting.stores)} other store{'s' if len(targeting.stores) != 1 else ''}, not this one."
    return [
        Step("store", in_store, stores if in_store else others),
        Step("brand", in_brand, brands if in_brand else "It is for another brand than this device sells."),
    ]


def _scope_step(promotion: Promotion, reaches: bool | None) -> Step:
    scope = read_scope(promotion.fields)
    counts = ((len(scope.products), "product"), (len(scope.categories), "categor"))
    named = [f"{count:,} {noun}{_ending(noun, count)}" for count, noun in counts if count]
    words = "It is for everything." if scope.everything else f"It is for {' and '.join(named) or 'what its rules say'}."
    if reaches is False:
        return Step("scope", False, f"{words[:-1]}, and nothing of it can be sold here.")
    return Step("scope", True if reaches else None, words)


def _ending(noun: str, count: int) -> str:
    if noun.endswith("r"):
        return "y" if count == 1 else "ies"
    return "" if count == 1 else "s"


def _date_steps(promotion: Promotion, local: dt.datetime, here: Here) -> list[Step]:
    """Dates, weekday and hours; outside the hours the first two are judged by the business day."""
    validity = promotion.validity
    day_in_hours = day_of(validity, local, here.day_start)
    day = day_in_hours or business_date(local, here.day_start)
    counted = "" if day == local.date() else f" (the business day is still {day})"
    begun, not_ended = has_begun(validity, day), has_not_ended(validity, day)
    if not begun:
        dates = f"It begins on {validity.start_date}"
    elif not not_ended:
        dates = f"It ended on {validity.end_date}"
    else:
        dates = f"It applies {_span(validity.start_date, validity.end_date)}"
    hours = _span(
        validity.time_start and f"{validity.time_start:%H:%M}", validity.time_end and f"{validity.time_end:%H:%M}"
    )
    hours = "all day" if hours == "at any time" else hours
    return [
        Step("dates", begun and not_ended, f"{dates}{counted}."),
        Step(
            "weekday",
            is_on_weekday(validity, day),
            f"It applies {_on(weekdays_in_words(validity.days))}; {day} is a {WEEKDAYS[day.weekday()]}.",
        ),
        Step("hours", day_in_hours is not None, f"It applies {hours}; it is {local:%H:%M} here."),
    ]


def _on(days: str) -> str:
    return days if days == "every day" else f"on {days}"


def _limits_step(limits: Limits) -> Step:
    parts = []
    if limits.max_uses is not None:
        parts.append(f"{limits.max_uses:,} times in all, {limits.current_uses:,} used by head office's count")
    parts += [f"{limits.max_uses_per_customer:,} times a customer"] if limits.max_uses_per_customer is not None else []
    parts += [f"{limits.max_uses_per_day:,} times a day"] if limits.max_uses_per_day is not None else []
    used_up = limits.max_uses is not None and limits.current_uses >= limits.max_uses
    words = f"It may be used {'; '.join(parts)}." if parts else "It may be used as often as one likes."
    return Step("limits", not used_up, words)


def _conditions_step(promotion: Promotion) -> Step | None:
    """What the POS judges, not the agent (decision 0008)."""
    fields = promotion.fields
    targeting, validity = part(fields, "targeting"), part(fields, "validity")
    found = (
        (fields.get("member_only") or targeting.get("member_only"), "members only"),
        (targeting.get("member_tiers"), "certain member tiers"),
        (
            targeting.get("customer_type") not in (None, "", "all"),
            f"customers of type {targeting.get('customer_type')}",
        ),
        (targeting.get("sales_channels"), "certain sales channels"),
        (fields.get("require_voucher"), "a voucher or code"),
        (fields.get("is_auto_apply") is False, "staff must choose it"),
        (validity.get("exclude_holidays"), "not on holidays"),
    )
    named = [words for holds, words in found if holds]
    if not named:
        return None
    return Step("conditions", None, f"The till program judges these itself: {', '.join(named)}.")


def _version_step(promotion: Promotion) -> Step:
    fields = promotion.fields
    parts = [f"Head office last changed it at {fields['updated_at']}"] if fields.get("updated_at") else []
    parts += [f"row version {fields['row_version']}"] if fields.get("row_version") is not None else []
    parts += [f"compiled by {fields['compiler_version']}"] if fields.get("compiler_version") else []
    return Step("version", None, f"{', '.join(parts)}." if parts else "Head office tells no version of it.")


def _verdict(promotion: Promotion, at: dt.datetime, here: Here, steps: Sequence[Step], *, applies: bool) -> str:
    name = promotion.name
    if applies:
        judged = any(step.step == "conditions" for step in steps)
        return f"{name} applies at {when_in_words(at)}{', if the customer fits its conditions' if judged else ''}."
    never = never_applies(promotion, here)
    if never is not None:
        return f"{name} can never apply here: {never}."
    over = is_over(promotion, at, here)
    if over is not None and promotion.is_active:
        return f"{name} applies no more: {over}."
    first = next(step for step in steps if step.ok is False)
    return f"{name} does not apply at {when_in_words(at)}. {first.words}"


def explain_present(
    asked: str,
    promotion: Promotion,
    at: dt.datetime,
    here: Here,
    *,
    reaches: bool | None = None,
    refusal: Refusal | None = None,
    alike: int = 1,
) -> Explanation:
    """Why a promotion that is on this till applies at a moment, or does not.

    Args:
        asked: the code or id that was asked for.
        promotion: the promotion.
        at: the moment, in the store's time zone.
        here: the store.
        reaches: whether anything in its scope can be sold here; None when that is not known.
        refusal: a newer version of it that can't be used.
        alike: how many promotions on this till have this code.
    """
    one_of = f"; {alike} have this code, and this is the one that comes nearest" if alike > 1 else ""
    steps = [Step("here", True, f"{promotion.name} is on this till{one_of}.")]
    if refusal is not None:
        words = f"A newer version of it can't be used ({refusal.reason}); this is the last good one."
        steps.append(Step("refused", None, words))
    is_on = "It is switched on." if promotion.is_active else "It is switched off at head office."
    steps.append(Step("active", promotion.is_active, is_on))
    steps += _place_steps(promotion, here)
    steps.append(_scope_step(promotion, reaches))
    steps += _date_steps(promotion, at, here)
    steps.append(_limits_step(read_limits(promotion.fields)))
    conditions = _conditions_step(promotion)
    steps += [conditions] if conditions else []
    steps.append(_version_step(promotion))
    applies = is_active_at(promotion, at, here.day_start) and not any(step.ok is False for step in steps)
    applies = applies and never_applies(promotion, here) is None
    return Explanation(
        asked, at, promotion, applies, _verdict(promotion, at, here, steps, applies=applies), tuple(steps)
    )
