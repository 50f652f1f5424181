"""/_bench/faults/: faults switched over HTTP where a bench is open, by the office's people or with the bench's key."""

import json
import secrets
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ho_stub.errors import ContractError, NotSignedIn, bad_request
from ho_stub.faults.switched import FIELDS, Faults
from ho_stub.faults.table import GROUPS, FaultError
from ho_stub.gaps import GapError
from ho_stub.world import World

PATH = "/_bench/"
KEY_HEADER = "x-bench-key"
BODY_BYTES_MAX = 64 * 1024
ANSWER_S = 0.25  # so long the door stays open for the answer to whoever closes it


class Bench:
    """The bench's own routes. `key` opens them without an account."""

    def __init__(self, world: World, faults: Faults, key: str) -> None:
        self._world = world
        self._faults = faults
        self._key = key

    def before(self, app: ASGIApp) -> ASGIApp:
        """An application with these routes before its own."""
        bench = self._app()

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            is_ours = scope["type"] == "http" and scope["path"].startswith(PATH)
            await (bench if is_ours else app)(scope, receive, send)

        return either

    def _app(self) -> ASGIApp:
        routes = [
            Route("/_bench/faults/", self._all, methods=["GET"]),
            Route("/_bench/faults/", self._add, methods=["POST"]),
            Route("/_bench/faults/", self._clear, methods=["DELETE"]),
            Route("/_bench/faults/{number:int}/", self._remove, methods=["DELETE"]),
        ]
        handlers = {ContractError: _contract_error, NotSignedIn: _not_signed_in}
        return Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]

    def _who(self, request: Request) -> str:
        """Who switches. Raises NotSignedIn or ContractError 403."""
        if secrets.compare_digest(request.headers.get(KEY_HEADER, "").encode(), self._key.encode()):
            return "bench"
        account = self._world.accounts.who(request.headers.get("authorization"))
        if account.store_id is not None or not account.has_company:
            raise ContractError(403, "FORBIDDEN", "This is for accounts of the whole company, or with the bench's key.")
        return account.username

    def _all(self, request: Request) -> Response:
        """What is switched on, what there is, and the seed."""
        self._who(request)
        known = {
            title: [{"name": kind.name, "says": kind.says, "value": kind.default} for kind in group]
            for title, group in GROUPS.items()
        }
        told = [fault.told() for fault in self._faults.all()]
        return JSONResponse({"faults": told, "seed": self._faults.seed, "known": known})

    async def _add(self, request: Request) -> Response:
        """`{"name", "value", …}` with the fields of a scope."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise ContractError(413, "PAYLOAD_TOO_LARGE", "A fault is no longer than that.")
        return await run_in_threadpool(self._added, request, body)

    def _added(self, request: Request, body: bytes) -> Response:
        actor, content = self._who(request), _object(body)
        name = content.pop("name", "")
        value = content.pop("value", None)
        try:
            if not isinstance(name, str):
                raise FaultError("name must be text.")
            if name == "refuse" and content.get("for_s") is None:
                raise FaultError("refuse needs for_s here: this route is behind the same door.")
            if name == "refuse":
                content.setdefault("at_s", ANSWER_S)
            told = self._faults.add(name, value, **{str(field): one for field, one in content.items()}).told()
        except (FaultError, GapError) as exc:
            raise bad_request(str(exc)) from exc
        self._note(actor, "add fault", name, None, told)
        return JSONResponse(told, 201)

    def _remove(self, request: Request) -> Response:
        actor, number = self._who(request), request.path_params["number"]
        if not self._faults.remove(number):
            raise ContractError(404, "NOT_FOUND", "No such fault is switched on.")
        self._note(actor, "remove fault", str(number), None, None)
        return Response(status_code=204)

    def _clear(self, request: Request) -> Response:
        actor, before = self._who(request), [fault.told() for fault in self._faults.all()]
        self._faults.clear()
        self._note(actor, "remove fault", "all", before, None)
        return Response(status_code=204)

    def _note(self, actor: str, action: str, subject: str, before: object, after: object) -> None:
        with self._world.db.write():
            self._world.audit.note(actor, action, subject, before, after)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as exc:
        raise bad_request("The body is not JSON.") from exc
    if not isinstance(found, dict):
        raise bad_request(f"The body must be an object with name, value, {', '.join(FIELDS)}.")
    return found


def _contract_error(_: Request, exc: ContractError) -> Response:
    return JSONResponse(exc.body(native=True), exc.status, media_type="application/problem+json")


def _not_signed_in(_: Request, exc: NotSignedIn) -> Response:
    return JSONResponse({"detail": str(exc)}, 401, {"WWW-Authenticate": "Bearer"})
