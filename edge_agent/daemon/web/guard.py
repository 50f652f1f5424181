"""Who may ask, and how much: the one door that every request passes before anything else looks at it.

A page of a foreign site can make a shop's browser ask 127.0.0.1. Three things keep it out: the name it asked for must
be this machine's (a name that was re-bound to 127.0.0.1 is not), its origin must be this server, and it has no key.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from email.utils import formatdate

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.problem import Problem, problem_response
from edge_agent.errors import EdgeAgentError

BODY_BYTES_MAX = 1024 * 1024
BODY_DEADLINE_S = 10.0  # for a whole request body
TARGET_BYTES_MAX = 8 * 1024  # of path and query
HEADERS_BYTES_MAX = 16 * 1024
FREE_FAILURES = 3  # wrong keys in a row that are answered at once
FAILED_WAIT_S_MAX = 1.0
FAILED_WAITERS_MAX = 16
ROLE = "edge_agent.role"
TILL, PAGE = "till", "page"
_NAMES = ("127.0.0.1", "localhost", "[::1]")
_GUARDED = ("/v1/", "/metrics")
_OPEN = ("/v1/session",)
# A page asks for a sync and offers refused entries again; only a till sells.
_PAGE_POSTS = ("/v1/sync", "/v1/outbox/retry", "/v1/check")
_log = logging.getLogger("edge_agent")
_SAME_FOR_ALL = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def cookie_name(port: int | None) -> str:
    """The name of a page's cookie: browsers share cookies between ports, and a machine may have several homes."""
    return f"edge_agent_page_{port or 0}"


class Failures:
    """Slows down who guesses keys, without keeping anybody else waiting."""

    def __init__(self) -> None:
        self._count = 0.0
        self._at_s = 0.0
        self._waiting = 0

    async def slow_down(self) -> None:
        """Wait before a wrong key is answered.

        Raises:
            Problem: too many wait already.
        """
        now_s = time.monotonic()
        self._count = max(0.0, self._count - (now_s - self._at_s)) + 1
        self._at_s = now_s
        if self._count <= FREE_FAILURES:
            return
        if self._waiting >= FAILED_WAITERS_MAX:
            raise Problem(
                429,
                "TOO_MANY_WRONG_KEYS",
                "too many requests with a wrong key",
                hint="Read local-api.token in the device's home anew.",
                headers={"Retry-After": "2"},
            )
        self._waiting += 1
        try:
            await asyncio.sleep(min(0.05 * 2 ** min(self._count - FREE_FAILURES, 10), FAILED_WAIT_S_MAX))
        finally:
            self._waiting -= 1


class Guard:
    """ASGI middleware: checks the request, reads its body, dresses the answer.

    Args:
        app: what answers.
        keys: what opens the door.
        failures: slows down wrong keys.
    """

    def __init__(self, app: ASGIApp, keys: Keys, failures: Failures) -> None:
        self._app = app
        self._keys = keys
        self._failures = failures
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = self._dressed(message["headers"])
            await send(message)

        try:
            body = await self._admit(scope, receive)
            await self._app(scope, receive if body is None else _again(body, receive), dressed)
        except EdgeAgentError as error:
            await problem_response(error)(scope, receive, dressed)
        except Exception as error:  # noqa: BLE001 - whatever it is: one line in the log, and no details outside
            await self._fault(error, scope, receive, dressed, told=not started)

    async def _fault(self, error: Exception, scope: Scope, receive: Receive, send: Send, *, told: bool) -> None:
        number = secrets.token_hex(4)
        path = scope["raw_path"].decode("latin-1")  # as it was sent: no line of its own making in the log
        _log.error("fault %s: %s %s", number, scope["method"], path, exc_info=error)
        if told:
            problem = Problem(500, "FAULT", "the agent has a fault", hint=f"Its log says more, at fault {number}.")
            await problem_response(problem, fault=number)(scope, receive, send)

    def _dressed(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        second = int(time.time())
        if self._date[0] != second:
            self._date = second, formatdate(second, usegmt=True).encode()
        has = {name for name, _ in headers}
        return [*headers, (b"date", self._date[1]), *(pair for pair in _SAME_FOR_ALL if pair[0] not in has)]

    async def _admit(self, scope: Scope, receive: Receive) -> bytes | None:
        """Let a request in; its whole body where it has one.

        Raises:
            Problem: it may not come in.
        """
        headers = Headers(scope=scope)
        _check_place(scope, headers)
        _check_length(scope)
        path: str = scope["path"]
        if path.startswith(_GUARDED) and path not in _OPEN:
            role = scope[ROLE] = await self._role(scope, headers)
            if role == PAGE and scope["method"] not in ("GET", "HEAD") and path not in _PAGE_POSTS:
                raise Problem(
                    403,
                    "PAGE_MAY_NOT_SELL",
                    "the status page's session may look, ask for a sync and retry entries, but not record",
                    hint="A till records with the token of local-api.token.",
                )
        if scope["method"] != "POST":
            return None
        _check_type(headers)
        return await _read_body(headers, receive)

    async def _role(self, scope: Scope, headers: Headers) -> str:
        """Who asks: a till, by its token, or a page, by its cookie."""
        said = headers.get("authorization")
        if said is not None:
            scheme, _, token = said.partition(" ")
            if scheme.lower() == "bearer" and self._keys.is_token(token.strip()):
                return TILL
        elif (session := _session(scope, headers)) is not None:
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                raise _foreign(headers.get("origin", "another site"))
            if self._keys.is_session(session):
                return PAGE
        else:
            raise _no_key("no key was given")
        await self._failures.slow_down()
        raise _no_key("the key is wrong")


def _no_key(message: str) -> Problem:
    return Problem(
        401,
        "NO_KEY",
        message,
        hint="Send “Authorization: Bearer …” with what local-api.token in the device's home holds; for the page, run "
        "edge-agent page.",
        headers={"WWW-Authenticate": 'Bearer realm="edge-agent"'},
    )


def _session(scope: Scope, headers: Headers) -> str | None:
    """What a page's cookie says."""
    ours = cookie_name(server_port(scope))
    # By hand: a browser sends here what every other program on 127.0.0.1 has set, on whatever port, and the library
    # gives up all cookies for one that it finds odd, such as another program's JSON.
    for said in headers.getlist("cookie"):
        for one in said.split(";"):
            name, _, value = one.strip().partition("=")
            if name == ours:
                return value.strip('"')
    return None


def server_port(scope: Scope) -> int | None:
    """The port that the request came to; None on the Unix socket."""
    server = scope.get("server")
    return server[1] if server else None


def _foreign(origin: str) -> Problem:
    return Problem(
        403,
        "FOREIGN_ORIGIN",
        f"pages of {origin[:100]} may not ask this device",
        hint="Only the agent's own status page may; a till program sends no Origin.",
    )


def _check_place(scope: Scope, headers: Headers) -> None:
    """The name that was asked for is this machine's, and the page that asks is this server's."""
    port = server_port(scope)
    if port is None:
        return  # a Unix socket: no browser reaches it
    hosts = headers.getlist("host")
    allowed = {*_NAMES, *(f"{name}:{port}" for name in _NAMES)}
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        shown = hosts[0][:100] if hosts else "no name"
        raise Problem(
            421,
            "FOREIGN_HOST",
            f"the request asks for {shown!r}, which is not this device's own name",
            hint=f"Use http://127.0.0.1:{port}.",
        )
    for origin in headers.getlist("origin"):
        if origin.lower() != f"http://{hosts[0].lower()}":
            raise _foreign(origin)


def _check_length(scope: Scope) -> None:
    if len(scope["query_string"]) + len(scope["raw_path"]) > TARGET_BYTES_MAX:
        raise Problem(414, "URI_TOO_LONG", "the path and query are too long", hint="Ask for less at once.")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS_BYTES_MAX:
        raise Problem(
            431,
            "HEADERS_TOO_LONG",
            f"the headers are longer than {HEADERS_BYTES_MAX:,} bytes",
            hint="Send fewer, or clear this browser's cookies for 127.0.0.1.",
        )


def _check_type(headers: Headers) -> None:
    """Forms of foreign pages can't send this type without asking first, and are told no."""
    said = headers.get("content-type")
    if said is None and headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    kind, _, rest = (said or "").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        raise Problem(
            415,
            "NOT_JSON",
            f"the body is {said[:100]!r}, not JSON" if said else "the body has no type",
            hint="Send Content-Type: application/json, in UTF-8.",
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "ENCODED", "the body is compressed", hint="Send it plain: it does not leave this machine.")


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    said = headers.get("content-length")
    if said is not None and int(said) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "CUT_SHORT", "the request ended before its body did")
                body += message.get("body", b"")
                if len(body) > BODY_BYTES_MAX:
                    raise _too_large()
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise Problem(
            408,
            "TOO_SLOW",
            f"the body did not come within {BODY_DEADLINE_S:g} s",
            hint="Send it at once. Nothing of it was stored.",
            headers={"Connection": "close"},
        ) from None


def _too_large() -> Problem:
    return Problem(
        413, "TOO_LARGE", f"the body is longer than {BODY_BYTES_MAX:,} bytes", hint="Send one sale at a time."
    )


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read once more."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
