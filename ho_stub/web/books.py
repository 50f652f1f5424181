"""The books' pages: a day's sales by store, low-stock alerts, rate limits, and who changed what."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ho_stub.alerts import AlertQuery
from ho_stub.analytics import AnalyticsQuery
from ho_stub.audit import AuditQuery
from ho_stub.errors import ContractError
from ho_stub.ratelimit import LIMIT_MAX
from ho_stub.reports import acknowledge_alert, limit_rate
from ho_stub.sale import iso_day
from ho_stub.web.base import Office, PageError, SentForm, page, redirect, world_of
from ho_stub.world import World

SHOWN_MAX = 100
ENTRIES = 50

Skip = Annotated[int, Query(ge=0, le=1_000_000_000)]

router = APIRouter(include_in_schema=False)


@router.get("/books/")
def books(request: Request, _: Office, day: str = "") -> Response:
    """A business day's sales by store, the alerts that are open, and the rate limits."""
    world = world_of(request)
    try:
        day = iso_day(day) if day else world.today().isoformat()
    except ValueError as exc:
        raise PageError(400, "That is no date", "Dates look like 2026-11-21. Go back and choose one.") from exc
    with world.db.read():
        stores = _stores(world)
        count, alerts = world.alerts.page(AlertQuery(), SHOWN_MAX, 0)
        limits = world.rate_limits.all()
        sold = [
            {"store": name, **sums}
            for store_id, name in stores.items()
            for sums in world.analytics.report(AnalyticsQuery("daily", "", store_id, day, day))["totals"]
        ]
    return page(
        request, "books.html", day=day, sold=sold, stores=stores, alerts=alerts, more=count - len(alerts), limits=limits
    )


@router.post("/books/alerts/{alert_id}/acknowledge/")
def acknowledge(request: Request, alert_id: str, visitor: Office, _: SentForm) -> Response:
    """Somebody has seen it."""
    try:
        acknowledge_alert(world_of(request), visitor.account, alert_id)
    except ContractError as exc:
        raise PageError(exc.status, "There is no such alert", "Go back and load the page again.") from exc
    return redirect("/books/")


@router.post("/books/rate-limits/")
def rate_limit(request: Request, visitor: Office, form: SentForm) -> Response:
    """Set a limit; an empty number takes it away."""
    world = world_of(request)
    store_id, text = form.get("store_id", ""), form.get("per_minute", "").strip()
    if store_id and world.store(store_id) is None:
        raise PageError(404, "There is no such store", "Go back and choose one.")
    is_number = text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX
    if text and not is_number:
        raise PageError(
            400, "That is no limit", f"Give a whole number from 1 to {LIMIT_MAX}, or leave it empty for no limit."
        )
    limit_rate(world, visitor.account, int(text) if text else None, store_id)
    return redirect("/books/")


@router.get("/books/audit/")
def audit(
    request: Request, _: Office, actor: str = "", action: str = "", subject: str = "", skip: Skip = 0
) -> Response:
    """Who changed what, newest first; `skip` so many of them."""
    world, wanted = world_of(request), AuditQuery(actor, action, subject)
    with world.db.read():
        count, entries = world.audit.page(wanted, ENTRIES, skip)
    older = skip + ENTRIES if skip + ENTRIES < count else None
    told = [entry | {"change": _change(entry["before"], entry["after"])} for entry in entries]
    return page(request, "audit.html", entries=told, count=count, wanted=wanted, older=older)


def _stores(world: World) -> dict[str, str]:
    return dict(world.db.rows("SELECT id, name FROM store ORDER BY code, id"))


def _change(before: Any, after: Any) -> str:
    """What an entry changed, in a line: of two objects the fields that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        fields = [name for name in before | after if before.get(name) != after.get(name)]
        before, after = ({name: one.get(name) for name in fields} for one in (before, after))
    old, new = ("" if one is None else json.dumps(one, ensure_ascii=False) for one in (before, after))
    return f"{old} → {new}" if old and new else new or (f"{old} → gone" if old else "")
