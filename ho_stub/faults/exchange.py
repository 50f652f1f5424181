"""One request on its way through a fault, and the answer that it gets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Scope, Send

from ho_stub.world import World

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole. Names of headers are in lower case."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @classmethod
    def of(cls, status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> Self:
        """An answer of our own; an object is sent as JSON, text as a page. `_` in a header's name stands for `-`."""
        kind = {dict: "application/json", str: "text/html; charset=utf-8"}.get(type(body))
        named = ({"content-type": kind} if kind else {}) | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        raw = json.dumps(body) if isinstance(body, dict) else body
        told = tuple((name.encode(), text.encode("latin-1", "replace")) for name, text in named.items())
        return cls(status, told, raw.encode() if isinstance(raw, str) else raw)

    def header(self, name: bytes) -> bytes | None:
        """A header's text, or None."""
        return next((text for one, text in self.headers if one == name), None)

    def with_header(self, name: bytes, text: bytes | None) -> "Answer":
        """The same answer with another header; None takes it away."""
        kept = tuple(pair for pair in self.headers if pair[0] != name)
        return replace(self, headers=kept if text is None else (*kept, (name, text)))

    def with_body(self, body: bytes) -> "Answer":
        """The same answer with another body, and the length that fits it."""
        return replace(self, body=body).with_header(b"content-length", str(len(body)).encode())

    def content(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def saying(self, content: object) -> "Answer":
        """The same answer with another JSON body."""
        return self.with_body(json.dumps(content, ensure_ascii=False).encode())

    def head(self, length: int | None = None) -> bytes:
        """Status line and headers as they stand on the wire; `length` instead of the true one."""
        phrase = HTTPStatus(self.status).phrase
        size = len(self.body) if length is None else length
        lines = [f"HTTP/1.1 {self.status} {phrase}".encode()]
        lines += [b": ".join(pair) for pair in self.headers if pair[0] not in (b"content-length", b"connection")]
        lines += [b"content-length: %d" % size, b"connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, whole."""

    scope: Scope
    body: bytes

    @property
    def method(self) -> str:
        """GET, POST, …"""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """Without the query."""
        return str(self.scope["path"])

    def parameter(self, name: str) -> str | None:
        """The first value of a name in the query, or None."""
        query: str = self.scope["query_string"].decode("latin-1")
        return next(iter(parse_qs(query).get(name, [])), None)

    def content(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        return Answer(0, (), self.body).content()

    def plain(self) -> "Request":
        """The same request by a client that takes no gzip."""
        headers = [pair for pair in self.scope["headers"] if pair[0] != b"accept-encoding"]
        return Request({**self.scope, "headers": headers}, self.body)


@dataclass
class Exchange:
    """What a fault acts on: `ask` has head office answer, `say` writes to the client's connection as it is."""

    request: Request
    world: World
    ask: Callable[[Request], Awaitable[Answer]]
    say: Callable[[bytes], None]
    cut: Callable[[bool], None]  # True: as a line does that breaks, False: as a server does that is shut down
    send: Send
    receive: Receive
    memory: dict[str, Any] = field(default_factory=dict)  # the fault's own, from one request to the next

    async def gone(self) -> None:
        """Wait until the client has gone away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def pause(self, seconds: float) -> bool:
        """Wait; False if the client goes away meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.gone()
        except TimeoutError:
            return True
        return False


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request: an answer given before it is read could be lost with the connection."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def send_whole(send: Send, answer: Answer) -> None:
    """Send an answer as a server does."""
    if answer.header(b"content-length") is None and answer.status not in (204, 304):
        answer = answer.with_body(answer.body)
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})


class Catcher:
    """Catches the application's answer instead of sending it."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._read = False
        self.status = 500
        self.headers: Headers = ()
        self.parts: list[bytes] = []

    async def receive(self) -> Message:
        """The request's body, once; then nothing more happens."""
        if self._read:
            await asyncio.Event().wait()
        self._read = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def send(self, message: Message) -> None:
        """Keep what the application answers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((bytes(name).lower(), bytes(text)) for name, text in message["headers"])
        else:
            self.parts.append(message.get("body", b""))

    @property
    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(self.status, self.headers, b"".join(self.parts))
