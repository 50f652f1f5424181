"""The version answer: has anything changed? (contract section 3)"""

import hashlib
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Response

from ho_stub import baseline
from ho_stub.call import Call, Caller, signed_in
from ho_stub.rows import DATASETS, utc_now
from ho_stub.sale import is_id
from ho_stub.world import CAPABILITIES

router = APIRouter(prefix="/api/v1/sync", tags=["downloads"], dependencies=[signed_in])


@router.get("/version/", summary="Has anything changed?")
def version(call: Caller, company_id: str | None = None, store_id: str | None = None) -> Response:
    """Equality decides. `ETag` covers everything but `server_time`; `If-None-Match` is answered with 304."""
    if not call.world.native:
        return _baseline(call, company_id, store_id)
    call.company(company_id)
    store = call.store(store_id)
    world = call.world
    world.settle_day()
    body = _known(call, store) if world.db.shared else _body(call, store)
    etag = f'"{hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:32]}"'
    asked = call.request.headers.get("if-none-match", "")
    if asked.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in asked.split(",")]:
        return Response(status_code=304, headers={"ETag": etag})
    return call.answer(msgspec.json.encode(body | {"server_time": utc_now()}), headers={"ETag": etag})


def _body(call: Call, store: dict[str, Any]) -> dict[str, Any]:
    """The answer, all of one state."""
    world = call.world
    with world.db.read():
        return {
            "version": world.db.current("change"),
            "last_updated": world.db.meta("changed_at"),
            "force_update": bool(world.db.meta("force_update")),
            "epoch": world.epoch,
            "capabilities": CAPABILITIES,
            "datasets": {dataset: _state(call, dataset, store) for dataset in DATASETS},
            "settings": world.settings_of(store),
            "store": world.store_answer(store),
        }


def _known(call: Call, store: dict[str, Any]) -> dict[str, Any]:
    """The same, from memory while nothing changed: over a network each query of a poll costs its round trip."""
    world, place = call.world, tuple(store.values())
    body = world.versions.get(place)
    if body is None or body["version"] != world.db.current("change"):
        body = world.versions[place] = _body(call, store)
    return body


def _baseline(call: Call, company_id: str | None, store_id: str | None) -> Response:
    """Promotions only, in whole seconds, back again when the newest is deleted, 0 for a company that isn't there."""
    _ = call.account
    if company_id != call.world.company_id and is_id(company_id):
        return call.answer(b'{"version":0,"last_updated":null,"force_update":false}')
    call.company(company_id)
    call.store(store_id)
    gaps = call.world.gaps
    newest = call.world.db.value("SELECT max(updated_us) FROM feed WHERE dataset = 'promotions'")
    seconds = (newest or 0) // 1_000_000
    if gaps.every_second("lagging_replica"):
        seconds = max(0, seconds - (gaps.number("lagging_replica") or 0))
    last = datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if newest else None
    if last is not None:
        last = baseline.told(last, gaps, ZoneInfo(call.world.company["timezone"]))
    return call.answer(msgspec.json.encode({"version": seconds, "last_updated": last, "force_update": False}))


def _state(call: Call, dataset: str, store: dict[str, Any]) -> dict[str, int]:
    scope = call.world.scope(dataset, brand_id=store["brand_id"], store_id=store["id"])
    return {"version": call.world.feed.head(scope), "count": call.world.count(scope)}
