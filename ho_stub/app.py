"""The stub as an ASGI application: routes of the profile, errors by code, the epoch on every native answer."""

import os
import socket
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ho_stub import baseline, downloads, events, reports, uploads, version
from ho_stub.call import Sender
from ho_stub.database import Unavailable
from ho_stub.errors import ContractError, NotSignedIn, bad_request
from ho_stub.examples import CREDENTIALS, REFRESH, takes
from ho_stub.front import Front
from ho_stub.openapi.complete import describe
from ho_stub.web import pages
from ho_stub.world import World

DESCRIPTION = """The reference head office of the edge agent's wire contract (`docs/head-office-api.md`).

Sign in at `/api/token/`, then send `Authorization: Bearer <access>`."""

router = APIRouter()


@router.get("/health/", tags=["health"], summary="Is head office up? No sign-in needed")
def health() -> dict[str, str]:
    """`{"status": "ok"}`."""
    return {"status": "ok"}


@router.post(
    "/api/token/", tags=["sign-in"], summary="Sign in with username and password", openapi_extra=takes(CREDENTIALS)
)
@router.post(
    "/api/v1/token/",
    tags=["sign-in"],
    summary="The same at the path that other deployments use",
    openapi_extra=takes(CREDENTIALS),
)
def sign_in(call: Sender) -> dict[str, str]:
    """`{"access", "refresh"}`; 401 for a wrong name or password."""
    username, password = _texts(call.body(), "username", "password")
    return call.world.accounts.sign_in(username, password)


@router.post("/api/token/refresh/", tags=["sign-in"], summary="A new access token", openapi_extra=takes(REFRESH))
@router.post(
    "/api/v1/token/refresh/",
    tags=["sign-in"],
    summary="The same at the path that other deployments use",
    openapi_extra=takes(REFRESH),
)
def refresh(call: Sender) -> dict[str, str]:
    """`{"access"}`; 401 when the refresh token has expired."""
    (token,) = _texts(call.body(), "refresh")
    return call.world.accounts.refresh(token)


def create_app(world: World) -> ASGIApp:
    """The application for one world; its profile decides which routes there are."""
    # Its pages at /docs work without the internet, where a shop's head office may well stand.
    app = FastAPIOffline(
        title=f"Head office ({world.profile})",
        description=DESCRIPTION,
        version="1.0",
        redirect_slashes=False,  # a redirect would be followed without a token, or with one by a careless client
    )
    app.state.world = world
    routers = [router, version.router, downloads.router, uploads.router, reports.router]
    if world.native:
        routers += [downloads.native_router, uploads.native_router, events.router]
    for one in routers:  # as they are: to include one builds each of its routes anew, for each head office
        app.router.routes.extend(one.routes)
    pages.install(app)
    describe(app, world.profile)

    def contract_error(_: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, ContractError)
        if not world.native:
            status, body = baseline.error(exc, world.gaps)
            return JSONResponse(body, status, exc.headers)
        return JSONResponse(exc.body(native=True), exc.status, exc.headers, "application/problem+json")

    def not_signed_in(_: Request, exc: Exception) -> JSONResponse:
        """401 with a body of its own kind."""
        is_english = not world.gaps.is_on("errors_in_indonesian")
        body = {"detail": str(exc) if is_english else baseline.INDONESIAN[401]}
        return JSONResponse(body, 401, {"WWW-Authenticate": "Bearer"})

    def malformed(request: Request, _: Exception) -> JSONResponse:
        return contract_error(request, bad_request("The request is malformed."))

    def http_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, HTTPException)
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(exc.status_code, "INVALID_REQUEST")
        answer = contract_error(request, ContractError(exc.status_code, code, str(exc.detail)))
        answer.headers.update(exc.headers or {})
        return answer

    def internal(request: Request, _: Exception) -> JSONResponse:
        return contract_error(request, ContractError(500, "INTERNAL_ERROR", "Head office made a mistake."))

    def unavailable(request: Request, _: Exception) -> JSONResponse:
        sentence = "Head office's database is busy or away. Nothing was changed; try again."
        return contract_error(request, ContractError(503, "INTERNAL_ERROR", sentence, {"Retry-After": "1"}))

    app.add_exception_handler(ContractError, contract_error)
    app.add_exception_handler(Unavailable, unavailable)
    app.add_exception_handler(NotSignedIn, not_signed_in)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, internal)
    # Around the whole application: an answer to a mistake of ours has the epoch too.
    return EpochHeader(app, world) if world.native else Front(app, world.gaps)


def listen(host: str, port: int, *, spread: bool = False) -> socket.socket:
    """A listening socket. Its protocol is named, for only then does asyncio switch off Nagle's delays (40 ms each).

    `spread` (Linux): others may listen on the same port, and the system spreads connections over them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if spread:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(1_024 if spread else 128)
    except OSError:
        listener.close()
        raise
    return listener


class EpochHeader:
    """Puts `X-HO-Epoch` on every answer."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_epoch(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-ho-epoch", self._world.epoch.encode())]
            await send(message)

        await self._app(scope, receive, send_with_epoch)


def _texts(body: dict[str, Any], *names: str) -> list[str]:
    values = [body.get(name) for name in names]
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str) or not value:
            raise bad_request(f"{name} must be text.")
    return [str(value).encode(errors="replace").decode() for value in values]
