"""The page of the sync settings: change them, see what a store would be sent, and who changed what when."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ho_stub.call import Caller
from ho_stub.policy import Outdated
from ho_stub.settings import RULES, STRATEGY_FIELDS, SyncWindows
from ho_stub.web.base import Form, Office, PageError, SentForm, office_user, page, redirect, wants_json, world_of
from ho_stub.web.places import Place, brands, place, stores
from ho_stub.web.preview_page import try_preview
from ho_stub.web.settings_api import settings_json
from ho_stub.web.settings_form import company_values, override_values, problems

PATH = "/promotions/settings/"
HISTORY_ROWS = 20
WINDOW_ROWS_MIN = 2

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def settings_page(call: Caller, saved: str = "") -> Response:
    """The form with what is saved; as JSON to a program that asks for it."""
    request = call.request
    if wants_json(request):
        return settings_json(call)
    office_user(request)
    notice = "Saved. Each store follows with its next sync." if saved else ""
    return _page(request, _with_saved(request), notice=notice)


@router.post(PATH)
def save_settings(request: Request, visitor: Office, form: SentForm) -> Response:
    """Save, or only show the preview (`action=preview`). When a field is wrong nothing is saved and all stays typed."""
    values = company_values(form)
    shown = _Shown(values, problems(values), form)
    if form.get("action") == "preview" or shown.messages:
        return _page(request, shown, 400 if shown.messages else 200)
    try:
        changed = world_of(request).policy.save(values, by=visitor.name, seen=form.get("seen"))
    except Outdated as exc:
        problem = (
            f"Nothing was saved: {exc.by} changed the settings while this page was open. Below is what you typed; "
            "the history says what changed. Save again to overwrite it."
        )
        return _page(request, shown, 409, problem=problem)
    return redirect(f"{PATH}?saved=1" if changed else PATH)


@router.get(PATH + "overrides/{level}/{own_id}/")
def override_page(request: Request, _: Office, level: str, own_id: str, saved: str = "") -> Response:
    """What a brand or a store has of its own."""
    at = _place(request, level, own_id)
    values = dict(world_of(request).policy.override(at.level, at.id).values)
    notice = "Saved. The stores concerned take their promotions anew with their next sync." if saved else ""
    return _override_page(request, at, values, {}, notice=notice)


@router.post(PATH + "overrides/{level}/{own_id}/")
def save_override(request: Request, visitor: Office, form: SentForm, level: str, own_id: str) -> Response:
    """Save, or only show the preview (`action=preview`)."""
    at, values = _place(request, level, own_id), override_values(form)
    messages = problems(values)
    if form.get("action") == "preview" or messages:
        return _override_page(request, at, values, messages, form, 400 if messages else 200)
    changed = world_of(request).policy.save_override(at.level, at.id, values, by=visitor.name)
    return redirect(f"{at.path}?saved=1" if changed else at.path)


class _Shown:
    """What stands in the fields."""

    def __init__(self, values: dict[str, Any], messages: dict[str, str], form: Form) -> None:
        self.values = values
        self.messages = messages
        self.form = form


def _with_saved(request: Request) -> _Shown:
    return _Shown(dict(world_of(request).policy.company()), {}, Form([]))


def _page(request: Request, shown: _Shown, status: int = 200, notice: str = "", problem: str = "") -> Response:
    world = world_of(request)
    saved, values = world.policy.company(), shown.values
    if shown.messages:
        problem = "Nothing was saved. Mend the fields marked below."
    found, messages = try_preview(world, shown.form)
    windows = list(values["sync_windows"])
    windows += [{"from": "", "to": ""}] * max(1, WINDOW_ROWS_MIN - len(windows))
    count, entries = world.policy.history(HISTORY_ROWS)
    return page(
        request,
        "settings.html",
        status,
        rules=RULES,
        values=values,
        windows=windows[: SyncWindows().most],
        messages=shown.messages,
        saved=saved,
        stores=stores(world),
        brands=brands(world),
        chosen={"store_id": shown.form.get("store_id", ""), "brand_id": shown.form.get("brand_id", "")},
        own=_own(world.policy.overrides()),
        preview=found,
        preview_messages=messages,
        notice=notice,
        problem=problem,
        history=_readable(request, entries),
        history_count=count,
    )


def _override_page(
    request: Request,
    at: Place,
    values: dict[str, object],
    messages: dict[str, str],
    form: Form | None = None,
    status: int = 200,
    notice: str = "",
) -> Response:
    world = world_of(request)
    reached = [one for one in stores(world) if at.id in (one.id, one.brand_id)]
    sent = form or Form([("level", at.level), ("id", at.id), *((n, str(v)) for n, v in values.items())])
    if reached and sent.get("store_id") not in [one.id for one in reached]:
        sent["store_id"] = reached[0].id
    found, wrong = try_preview(world, sent) if reached else (None, {})
    inherited = world.policy.company()
    if at.level == "store" and at.brand_id:
        inherited |= dict(world.policy.override("brand", at.brand_id).values)
    return page(
        request,
        "override.html",
        status,
        at=at,
        rules=RULES,
        values=dict.fromkeys(STRATEGY_FIELDS) | values,
        messages=messages,
        inherited=inherited,
        stores=reached,
        chosen=sent.get("store_id", ""),
        preview=found,
        preview_messages=wrong,
        notice=notice,
        problem="Nothing was saved. Mend the fields marked below." if messages else "",
    )


def _place(request: Request, level: str, own_id: str) -> Place:
    found = place(world_of(request), level, own_id)
    if found is None:
        raise PageError(404, "There is no such store or brand", "Go back to the sync settings and choose one there.")
    return found


def _own(overrides: list[Any]) -> dict[str, list[str]]:
    """Brand or store id → names of the fields that it has of its own."""
    return {one.id: list(one.values) for one in overrides}


def _readable(request: Request, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Audit entries with the name of the store or brand they are about."""
    world = world_of(request)
    names = {f"{one.level} {one.id}": one.name for one in (*brands(world), *stores(world))} | {"company": "All stores"}
    return [entry | {"about": names.get(entry["subject"], entry["subject"])} for entry in entries]
