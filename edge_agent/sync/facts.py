"""What head office tells of the store and of syncing, as facts that the catalogue remembers."""

from __future__ import annotations

import math

import msgspec

from edge_agent.domain.hours import Windows
from edge_agent.domain.money import CURRENCY_EXPONENT
from edge_agent.head_office import wire


def facts_told(store: wire.Store | None, settings: wire.SyncSettings | None) -> dict[str, str]:
    """What head office tells of the store and of syncing, as facts to remember."""
    store, settings = store or wire.Store(), settings or wire.SyncSettings()
    facts = {
        "store_name": store.name,
        "store_code": store.code,
        "timezone": store.timezone or settings.timezone,
        "day_start": store.day_start,
        "currency": _known_currency(store.currency),
        "auto_sync_enabled": "false" if settings.auto_sync_enabled is False else "true",
        "sync_interval_hours": f"{settings.sync_interval_hours or 6:g}",
        # What decides which promotions head office sends, for those who ask why one is not here.
        "sync_strategy": settings.sync_strategy,
        "future_days": _text(settings.future_days),
        "past_days": _text(settings.past_days),
        "include_inactive": _text(settings.include_inactive),
        "sync_windows": _windows(settings.sync_windows),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _text(value: bool | int | None) -> str | None:
    return None if value is None else str(value).lower()


def _windows(windows: Windows | None) -> str | None:
    return None if windows is None else msgspec.json.encode(windows).decode()


def number(value: object) -> float | None:
    """A number from what head office said, or from what is remembered of it; None when it is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _known_currency(code: str | None) -> str | None:
    """A currency the till can count in; an unknown code must not stop a store that has another in its settings."""
    upper = (code or "").strip().upper()
    return upper if upper in CURRENCY_EXPONENT else None
