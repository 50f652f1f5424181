"""Stands between the port and the application: keeps the log, and does to each exchange what the faults say."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ho_stub.faults.change import CHANGES
from ho_stub.faults.exchange import Answer, Catcher, Exchange, Request, read_body, send_whole
from ho_stub.faults.instead import INSTEAD
from ho_stub.faults.sending import BEFORE, SENDING
from ho_stub.faults.switched import Asked, Fault, Faults
from ho_stub.world import World

LOST = 0  # the status in the log of an answer that never arrived whole
STREAM = "/api/v1/sync/events/"  # an answer without an end: only what keeps it away meets it
WHOLE = ("huge_body", "gzip_bomb", "drip", "truncated_to_fit")  # these arrive, in their way
Log = Callable[[str, str, int], None]


class Line(Protocol):
    """The server's side of a connection, by the client's address."""

    def say(self, client: tuple[str, int], raw: bytes) -> None:
        """Write bytes as they are."""

    def cut(self, client: tuple[str, int], *, reset: bool = False) -> None:
        """End a connection: broken off, or closed after what was said."""


class Wire:
    """The outermost part of a head office that can have faults.

    `line` is its server, to be set before the first request. The server must add no `Date` of its own.
    """

    line: Line

    def __init__(self, app: ASGIApp, world: World, faults: Faults, log: Log = lambda *_: None) -> None:
        self._app = app
        self._world = world
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        met = self._faults.meeting(_asked(scope))
        if scope["path"] == STREAM:
            met = [fault for fault in met if fault.kind.step in ("before", "instead")]
        await self.serve(met, scope, receive, dated(send))

    async def serve(self, met: list[Fault], scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the faults that meet it."""
        if not met:
            await self._pass(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        request = Request(scope, await read_body(receive))
        exchange = self._exchange(request, receive, send)
        for fault in _of("before", met):
            exchange.memory = fault.memory
            if not await BEFORE[fault.kind.name](exchange, fault.value):
                self._log(method, path, LOST)
                await exchange.gone()
                return
        if path == STREAM and not any(fault.kind.step == "instead" for fault in met):
            await self._pass(scope, receive, send)
            return
        answer = await self._answer(exchange, met)
        for fault in _of("change", met):
            exchange.memory = fault.memory
            answer = CHANGES[fault.kind.name](exchange, answer, fault.value)
        sending = _of("send", met)[:1]
        self._log(method, path, LOST if any(one.kind.name not in WHOLE for one in sending) else answer.status)
        if not sending:
            await send_whole(send, answer)
            return
        answer = answer if answer.header(b"date") else answer.with_header(b"date", _date())
        await SENDING[sending[0].kind.name](exchange, answer, sending[0].value)
        if sending[0].kind.name != "huge_body":
            await exchange.gone()

    async def _answer(self, exchange: Exchange, met: list[Fault]) -> Answer:
        request = exchange.request
        for fault in _of("instead", met):
            answer = INSTEAD[fault.kind.name](request, fault.value)
            if answer is not None:
                return answer
        return await exchange.ask(request.plain() if _of("change", met) else request)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._log(scope["method"], scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, log_and_send)

    async def _ask(self, request: Request) -> Answer:
        catcher = Catcher(request)
        await self._app(request.scope, catcher.receive, catcher.send)
        return catcher.answer

    def _exchange(self, request: Request, receive: Receive, send: Send) -> Exchange:
        client = request.scope["client"]

        def say(raw: bytes) -> None:
            self.line.say(client, raw)

        def cut(reset: bool) -> None:
            self.line.cut(client, reset=reset)

        return Exchange(request, self._world, self._ask, say, cut, send, receive)


def _of(step: str, met: list[Fault]) -> list[Fault]:
    return [fault for fault in met if fault.kind.step == step]


def _asked(scope: Scope) -> Asked:
    headers = dict(scope["headers"])
    query = scope["query_string"]
    has_cursor = query.startswith(b"cursor=") or b"&cursor=" in query
    return Asked(scope["method"], scope["path"], headers.get(b"x-device-id", b"").decode("latin-1"), has_cursor)


def _date() -> bytes:
    return format_datetime(datetime.now(UTC), usegmt=True).encode()


def dated(send: Send) -> Send:
    """Adds the header `Date` where it is missing: the server is told not to, so that a fault can change it."""

    async def send_dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if not any(name.lower() == b"date" for name, _ in headers):
                message = {**message, "headers": [*headers, (b"date", _date())]}
        await send(message)

    return send_dated
