"""The live preview: what a store would be sent of the promotions, with values that nobody has saved yet."""

import msgspec
from fastapi import APIRouter, Response
from starlette.responses import HTMLResponse

from ho_stub.call import Caller, signed_in
from ho_stub.errors import ContractError, bad_request
from ho_stub.examples import gives
from ho_stub.policy import Override
from ho_stub.preview import Preview, preview
from ho_stub.sale import is_id
from ho_stub.settings import STRATEGY_FIELDS, InvalidSettings
from ho_stub.web.asker import office_asker
from ho_stub.web.base import HEADERS, Form, fragment, office_user
from ho_stub.web.places import place, stores
from ho_stub.web.settings_api import Refused
from ho_stub.web.settings_form import company_values, override_values, problems
from ho_stub.world import World

PATH = "/promotions/settings/preview-query/"
MATTERS = (*STRATEGY_FIELDS, "max_promotions_per_sync")
PREVIEW = {
    "count": 14,
    "total_available": 14,
    "truncated": False,
    "answers": 1,
    "first_day": "2026-11-20",
    "last_day": "2026-11-28",
    "description": "Active promotions that are valid on some day from Fri 20 November 2026 to Sat 28 November 2026.",
    "samples": [{"id": "00000009-0000-4000-8000-000000000000", "code": "COLA10", "name": "Cola 10 % off"}],
}

router = APIRouter(tags=["settings"], dependencies=[signed_in])


@router.get(PATH, summary="What a store would be sent with settings not saved yet", responses=gives(PREVIEW))
def preview_query(
    call: Caller,
    store_id: str | None = None,
    brand_id: str | None = None,
    sync_strategy: str | None = None,
    future_days: str | None = None,
    past_days: str | None = None,
    include_inactive: str | None = None,
    max_promotions_per_sync: str | None = None,
) -> Response:
    """Settings left out are the saved ones. With `level` (brand or store) and `id` they are an override's.

    Counts exactly what a whole download would bring this store. A browser gets it as a piece of a page.
    """
    request, world = call.request, call.world
    sent = Form(list(request.query_params.multi_items()))
    if "text/html" in request.headers.get("accept", ""):
        office_user(request)
        found, messages = try_preview(world, sent)
        return HTMLResponse(fragment("preview.html", preview=found, messages=messages), 200, HEADERS)
    office_asker(call)
    if not is_id(store_id) or world.store(store_id or "") is None:
        raise bad_request("store_id must be a store of the company.", "STORE_NOT_FOUND")
    if brand_id and not (is_id(brand_id) and world.has_brand(brand_id)):
        raise bad_request("brand_id must be a brand of the company.", "BRAND_NOT_FOUND")
    found, messages = try_preview(world, sent)
    if found is None:
        raise Refused(InvalidSettings(messages))
    return call.answer(msgspec.json.encode(found), headers={"Cache-Control": "no-store"})


def try_preview(world: World, sent: Form) -> tuple[Preview | None, dict[str, str]]:
    """A preview of the form's values for its store, or for the first there is; or a message for each wrong field."""
    chosen, brand_id = sent.get("store_id", ""), sent.get("brand_id") or None
    store = (world.store(chosen) if is_id(chosen) else None) or world.store(stores(world)[0].id) or {}
    if brand_id and not is_id(brand_id):
        brand_id = None
    if sent.get("level"):
        own = place(world, sent["level"], sent.get("id", ""))
        if own is None:
            raise ContractError(404, "NOT_FOUND", "There is no such brand or store.")
        values = override_values(sent)
        messages = problems(values)
        instead = Override(own.level, own.id, values)
        return (None, messages) if messages else (preview(world, store, brand_id, None, instead), {})
    values = {name: value for name, value in company_values(sent).items() if name in MATTERS}
    messages = problems(values)
    return (None, messages) if messages else (preview(world, store, brand_id, values), {})
