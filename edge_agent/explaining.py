"""Gathers what an explanation of a promotion stands on, from the catalogue alone (G9)."""

from __future__ import annotations

import datetime as dt

from edge_agent.domain.absence import Pulled, Window, explain_absent
from edge_agent.domain.applicability import Here
from edge_agent.domain.explain import Explanation, Refusal, explain_present
from edge_agent.domain.hours import windows_of
from edge_agent.domain.promotion import Promotion, has_begun, has_not_ended, is_active_at, read_promotion
from edge_agent.domain.scope import reaches_nothing, read_scope
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.findings import RowFindings
from edge_agent.storage.promotions import Promotions


def explain(
    store: CatalogStore, code: str, at: dt.datetime, here: Here, *, now: dt.datetime, last_contact_ms: int | None
) -> Explanation:
    """Why a promotion applies at a moment, or does not, or is not here.

    Args:
        store: the catalogue.
        code: the promotion's code or id.
        at: the moment, in the store's time zone.
        here: the store.
        now: the present moment in the store's time zone.
        last_contact_ms: when head office last answered a cycle, milliseconds since 1970; None: never.
    """
    promotions = Promotions(store)
    found = [read_promotion(body) for body in promotions.named(code)]
    refused = promotions.refused(code)
    if not found:
        known = refused[0] if refused else None
        refusal = Refusal(known.reason, _at(known.first_ms, now)) if known else None
        return explain_absent(code, at, now, _pulled(store, now, last_contact_ms), refusal)
    nearest = min(found, key=lambda promotion: _distance(promotion, at, here))
    newer = next((one for one in promotions.refused(nearest.id)), None)
    return explain_present(
        code,
        nearest,
        at,
        here,
        reaches=_reaches(store, nearest),
        refusal=Refusal(newer.reason, _at(newer.first_ms, now)) if newer else None,
        alike=len(found),
    )


def _at(ms: int, now: dt.datetime) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).astimezone(now.tzinfo)


def _distance(promotion: Promotion, at: dt.datetime, here: Here) -> tuple[bool, bool]:
    """How near a promotion comes to applying: of several with one code people mean the nearest."""
    in_dates = has_begun(promotion.validity, at.date()) and has_not_ended(promotion.validity, at.date())
    return not is_active_at(promotion, at, here.day_start), not in_dates


def _reaches(store: CatalogStore, promotion: Promotion) -> bool | None:
    """Whether anything in a promotion's scope can be sold here; None when it does not say."""
    scope = read_scope(promotion.fields)
    if scope.is_empty:
        return None
    rows = RowFindings(store)
    here = rows.products_of(scope.products)
    return not reaches_nothing(
        scope, {one: category for one, (category, is_active) in here.items() if is_active}, rows.shelf()
    )


def _pulled(store: CatalogStore, now: dt.datetime, last_contact_ms: int | None) -> Pulled:
    facts, state = store.all_meta(), store.state("promotions")
    paused = facts.get("auto_sync_enabled") == "false"
    confirms = facts.get("profile") == "native" and not paused and not windows_of(facts)
    confirmed_ms = (last_contact_ms or 0) if confirms else 0
    synced_ms = None if state.synced_ms is None else max(state.synced_ms, confirmed_ms)
    return Pulled(
        window=Window(
            facts.get("sync_strategy"),
            _days(facts.get("future_days")),
            _days(facts.get("past_days")),
            {"true": True, "false": False}.get(facts.get("include_inactive", "")),
        ),
        count=store.count("promotions"),
        synced=None if synced_ms is None else _at(synced_ms, now),
        in_snapshot=state.in_snapshot,
        incomplete=state.incomplete,
        paused=paused,
    )


def _days(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
