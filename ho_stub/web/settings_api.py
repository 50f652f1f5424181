"""Sync settings and their overrides as JSON, for office accounts (a token, or the page's session)."""

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from ho_stub.call import Call, Caller, Sender, signed_in
from ho_stub.errors import ContractError
from ho_stub.examples import gives, takes
from ho_stub.policy import LEVELS, Level
from ho_stub.sale import is_id
from ho_stub.settings import DEFAULTS, InvalidSettings
from ho_stub.web.asker import office_asker

PATH = "/promotions/settings/api/"
OWN = {"sync_strategy": "current_only", "future_days": None, "past_days": None, "include_inactive": None}
SAVED = {"updated_at": "2026-11-21T09:15:02.114000Z", "updated_by": "office"}
OVERRIDE = {"level": "store", "id": "00000003-0000-4000-8000-000000000000", **OWN, **SAVED}

router = APIRouter(tags=["settings"], dependencies=[signed_in])


class Refused(ContractError):
    """Nothing was saved: a message for each wrong field."""

    def __init__(self, exc: InvalidSettings) -> None:
        super().__init__(400, "INVALID_SETTINGS", str(exc))
        self.messages = exc.messages

    def body(self, *, native: bool) -> dict[str, object]:
        """The error with `messages`: field → what it may be."""
        return super().body(native=native) | {"messages": self.messages}


@router.get(PATH, summary="Sync settings of the company", responses=gives({"settings": DEFAULTS | SAVED}))
def read(call: Caller) -> Response:
    """`settings` (contract, section 7) with who changed them when; `overrides` of brands and stores."""
    return settings_json(call)


@router.put(PATH, summary="Change sync settings", openapi_extra=takes({"future_days": 14}))
@router.post(PATH, summary="The same", openapi_extra=takes({"future_days": 14}))
def save(call: Sender) -> Response:
    """Fields left out stay. 400 INVALID_SETTINGS with `messages` for each wrong field: then nothing is saved."""
    visitor = office_asker(call)
    try:
        changed = call.world.policy.save(_without_audit(call.body()), by=visitor.name)
    except InvalidSettings as exc:
        raise Refused(exc) from exc
    return _answer(call, _shown(call) | {"changed": changed})


@router.get(
    PATH + "overrides/{level}/{own_id}/", summary="What a brand or store has of its own", responses=gives(OVERRIDE)
)
def read_override(call: Caller, level: str, own_id: str) -> Response:
    """Each field of the strategy, null where it is inherited; `effective` for a store: what counts there."""
    office_asker(call)
    return _answer(call, _override(call, _level(call, level, own_id), own_id))


@router.put(PATH + "overrides/{level}/{own_id}/", summary="Give it values of its own", openapi_extra=takes(OWN))
@router.post(PATH + "overrides/{level}/{own_id}/", summary="The same", openapi_extra=takes(OWN))
def save_override(call: Sender, level: str, own_id: str) -> Response:
    """Fields that are null or left out are inherited from now on."""
    visitor = office_asker(call)
    found = _level(call, level, own_id)
    body = {
        name: value for name, value in _without_audit(call.body()).items() if name not in ("level", "id", "effective")
    }
    try:
        changed = call.world.policy.save_override(found, own_id, body, by=visitor.name)
    except InvalidSettings as exc:
        raise Refused(exc) from exc
    return _answer(call, _override(call, found, own_id) | {"changed": changed})


def settings_json(call: Call) -> Response:
    """The settings as JSON."""
    office_asker(call)
    return _answer(call, _shown(call))


def _shown(call: Call) -> dict[str, Any]:
    policy = call.world.policy
    return {"settings": policy.company(), "overrides": [one.json() for one in policy.overrides()]}


def _override(call: Call, level: Level, own_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = call.world.policy.override(level, own_id).json()
    store = call.world.store(own_id) if level == "store" else None
    return shown | ({"effective": call.world.policy.effective(store)} if store else {})


def _level(call: Call, level: str, own_id: str) -> Level:
    for one in LEVELS if is_id(own_id) else ():
        known = call.world.store(own_id) is not None if one == "store" else call.world.has_brand(own_id)
        if one == level and known:
            return one
    raise ContractError(404, "NOT_FOUND", f"There is no {level if level in LEVELS else 'brand or store'} {own_id}.")


def _without_audit(body: dict[str, Any]) -> dict[str, Any]:
    """What was read may be sent back: who changed it when is ours to say. A name may be no text at all."""
    named = {name.encode(errors="replace").decode(): value for name, value in body.items()}
    return {name: value for name, value in named.items() if name not in ("updated_at", "updated_by")}


def _answer(call: Call, body: dict[str, Any]) -> Response:
    return call.answer(msgspec.json.encode(body), headers={"Cache-Control": "no-store"})
