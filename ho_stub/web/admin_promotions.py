"""The promotions' pages: what there is, a form for a definition with its messages, switching off, deleting."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ho_stub import assortment
from ho_stub.promotions.compilers import COMPILERS
from ho_stub.promotions.fields import InvalidDefinition
from ho_stub.promotions.starters import RULES
from ho_stub.web.base import Form, Office, PageError, SentForm, page, redirect, world_of
from ho_stub.web.promotion_form import NoJson, at_fields, definition_of, fields_of, typed

PATH = "/promotions/"
SHOWN_MAX = 200
TYPES = {name: (make.__doc__ or "").strip() for name, make in COMPILERS.items()}
DONE = {"saved": "Saved.", "off": "Switched off.", "deleted": "Deleted."}

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def promotions(request: Request, _: Office, done: str = "") -> Response:
    """All promotions, by code; those without a definition too."""
    world = world_of(request)
    defined = {one["id"]: one for one in world.promotions.list()}
    rows = sorted(assortment.rows(world, "promotions"), key=lambda row: (str(row.get("code")), row["id"]))
    return page(
        request,
        "admin_promotions.html",
        promotions=rows[:SHOWN_MAX],
        more=len(rows) - SHOWN_MAX,
        defined=defined,
        refused=world.promotions.refused(),
        types=TYPES,
        notice=f"{DONE[done]} Tills follow with their next sync." if done in DONE else "",
    )


@router.get(PATH + "new/")
def new_promotion(request: Request, _: Office, type: str = "percent_discount") -> Response:  # noqa: A002 - its usual name
    """An empty form for a type, with an example of its rules."""
    kind = type if type in TYPES else "percent_discount"
    return _form(request, None, fields_of({"type": kind, "rules": RULES[kind]}), {})


@router.get(PATH + "{row_id}/edit/")
def promotion(request: Request, _: Office, row_id: str) -> Response:
    """The form with what is saved; for one without a definition its row."""
    definition = world_of(request).promotions.get(row_id)
    row = _row(request, row_id)
    if definition is None:
        return page(request, "admin_promotion_row.html", row=row, shown=_pretty(row), row_id=row_id, is_on=_is_on(row))
    return _form(request, row_id, fields_of(definition), {})


@router.post(PATH + "new/")
def add(request: Request, visitor: Office, form: SentForm) -> Response:
    """Add a promotion."""
    return _save(request, None, form, visitor.name)


@router.post(PATH + "{row_id}/edit/")
def save(request: Request, visitor: Office, form: SentForm, row_id: str) -> Response:
    """Save a promotion; when a field is wrong nothing is saved and all stays typed."""
    _row(request, row_id)
    return _save(request, row_id, form, visitor.name)


@router.post(PATH + "{row_id}/deactivate/")
def deactivate(request: Request, visitor: Office, _: SentForm, row_id: str) -> Response:
    """Switch a promotion off: stores lose it."""
    _row(request, row_id)
    world_of(request).promotions.deactivate(row_id, visitor.name)
    return redirect(f"{PATH}?done=off")


@router.post(PATH + "{row_id}/delete/")
def delete(request: Request, visitor: Office, _: SentForm, row_id: str) -> Response:
    """Delete a promotion for good."""
    _row(request, row_id)
    world_of(request).promotions.delete(row_id, visitor.name)
    return redirect(f"{PATH}?done=deleted")


def _save(request: Request, row_id: str | None, form: Form, actor: str) -> Response:
    try:
        definition = definition_of(form) | ({"id": row_id} if row_id else {})
        if form.get("action") == "compile":
            row = world_of(request).promotions.compiled(definition)
            return _form(request, row_id, typed(form), {}, compiled=_pretty(row))
        world_of(request).promotions.save(definition, actor)
    except NoJson as exc:
        return _form(request, row_id, typed(form), exc.messages, 400)
    except InvalidDefinition as exc:
        return _form(request, row_id, typed(form), at_fields(exc.messages), 400)
    return redirect(f"{PATH}?done=saved")


def _form(
    request: Request,
    row_id: str | None,
    values: dict[str, Any],
    messages: dict[str, str],
    status: int = 200,
    compiled: str = "",
) -> Response:
    return page(
        request,
        "admin_promotion.html",
        status,
        row_id=row_id,
        is_on=row_id is not None and _is_on(_row(request, row_id)),
        values=values,
        messages=messages,
        says=TYPES.get(str(values["type"]), ""),
        compiled=compiled,
        problem="Nothing was saved. Mend the fields marked below." if messages else "",
    )


def _row(request: Request, row_id: str) -> dict[str, Any]:
    try:
        return world_of(request).get("promotions", row_id)
    except KeyError:
        raise PageError(
            404, "There is no such promotion", "It may have been deleted. Go back to the promotions."
        ) from None


def _is_on(row: dict[str, Any]) -> bool:
    return row.get("is_active") is not False


def _pretty(row: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(row), indent=2).decode()
