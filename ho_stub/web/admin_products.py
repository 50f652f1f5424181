"""The products' pages: find one, change its price, delete it, add one, and watch a till follow."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from ho_stub import assortment
from ho_stub.web.base import Form, Office, PageError, SentForm, page, redirect, world_of
from ho_stub.world import World

PATH = "/products/"
SHOWN_MAX = 50
FLAGS = ("is_active", "is_volatile")

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def products(request: Request, _: Office, q: Annotated[str, Query(max_length=200)] = "", done: str = "") -> Response:
    """Those whose name, SKU or barcode holds the text."""
    world = world_of(request)
    found, count = assortment.find(world, q, SHOWN_MAX)
    names = {category["id"]: category["name"] for category in _categories(world)}
    notice = {"saved": "Saved.", "deleted": "Deleted."}.get(done, "")
    return page(
        request,
        "admin_products.html",
        products=found,
        more=count - len(found),
        many=count == assortment.FOUND_MAX,
        q=q,
        categories=names,
        notice=f"{notice} Tills follow with their next sync." if notice else "",
    )


@router.get(PATH + "new/")
def new_product(request: Request, _: Office) -> Response:
    """An empty form."""
    return _form(request, None, {"is_active": True, "brand_id": world_of(request).device["brand_id"]}, {})


@router.get(PATH + "{row_id}/edit/")
def product(request: Request, _: Office, row_id: str) -> Response:
    """The form with what is saved."""
    return _form(request, row_id, _saved(request, row_id), {})


@router.post(PATH + "new/")
def add(request: Request, visitor: Office, form: SentForm) -> Response:
    """Add a product."""
    return _save(request, None, form, visitor.name)


@router.post(PATH + "{row_id}/edit/")
def save(request: Request, visitor: Office, form: SentForm, row_id: str) -> Response:
    """Save a product; when a field is wrong nothing is saved and all stays typed."""
    _saved(request, row_id)
    return _save(request, row_id, form, visitor.name)


@router.post(PATH + "{row_id}/delete/")
def delete(request: Request, visitor: Office, _: SentForm, row_id: str) -> Response:
    """Delete a product for good."""
    _saved(request, row_id)
    assortment.remove(world_of(request), row_id, visitor.name)
    return redirect(f"{PATH}?done=deleted")


def _save(request: Request, row_id: str | None, form: Form, actor: str) -> Response:
    given: dict[str, Any] = {name: form.get(name, "").strip() for name in assortment.FIELDS}
    given |= {name: name in form for name in FLAGS}
    try:
        assortment.save(world_of(request), row_id, given, actor, form.get("seen", ""))
    except assortment.InvalidProduct as exc:
        return _form(request, row_id, given | {"row_version": form.get("seen", "")}, exc.messages, 400)
    except assortment.Outdated:
        problem = (
            "Nothing was saved: somebody changed this product while the page was open. Save again to overwrite it."
        )
        known = {"row_version": _saved(request, str(row_id))["row_version"]}
        return _form(request, row_id, given | known, {}, 409, problem)
    return redirect(f"{PATH}?done=saved")


def _form(
    request: Request,
    row_id: str | None,
    values: dict[str, Any],
    messages: dict[str, str],
    status: int = 200,
    problem: str = "",
) -> Response:
    world = world_of(request)
    return page(
        request,
        "admin_product.html",
        status,
        row_id=row_id,
        values=dict.fromkeys((*assortment.FIELDS, "row_version")) | values,
        messages=messages,
        categories=_categories(world),
        brands=world.db.rows("SELECT id, name FROM brand ORDER BY name, id"),
        problem=problem or ("Nothing was saved. Mend the fields marked below." if messages else ""),
    )


def _saved(request: Request, row_id: str) -> dict[str, Any]:
    try:
        return world_of(request).get("products", row_id)
    except KeyError:
        raise PageError(404, "There is no such product", "It may have been deleted. Go back to the products.") from None


def _categories(world: World) -> list[dict[str, Any]]:
    """All categories, by the names of those above and their own."""
    rows = {str(row["id"]): row for row in assortment.rows(world, "categories")}

    def named(row: dict[str, Any]) -> str:
        above = rows.get(str(row.get("parent_id")))
        return f"{above['name']} / {row['name']}" if above else str(row["name"])

    return sorted(({"id": row["id"], "name": named(row)} for row in rows.values()), key=lambda row: row["name"].lower())
