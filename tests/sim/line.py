"""The line between a till and head office, without a socket: it carries requests, loses them, remembers answers."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import httpx
from starlette.types import ASGIApp, Message

from .death import Fuse

SALES, USAGE, TOKEN = "/api/v1/sync/sales/", "/api/v1/sync/usage/", "/token/"
NEVER_ARRIVES = ("refused", "lost", "late", "500", "429", "503", "html", "moved", "404")
ARRIVES = ("answer lost", "timed out", "500 after", "cut", "torn", "twice")
OF_UPLOADS = ("too large", "evasive", "forgetful", "garbled")
RESTORES = ("restored", "restored silently")  # head office goes back to its backup right before the request
FAULTS = (*NEVER_ARRIVES, *ARRIVES, *OF_UPLOADS, *RESTORES)
NO_FINGERPRINT = "0" * 64
HTML = b"<html><body>Welcome to the guest network. Please accept the terms.</body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. ``seconds``: a Retry-After."""

    kind: str
    seconds: int = 0


@dataclass(slots=True)
class Parcel:
    """An upload as it stood on the line, so that a copy of it can arrive once more."""

    request: httpx.Request
    body: bytes


@dataclass(slots=True)
class Words:
    """What head office has told a till about single entries, in answers that arrived whole (G3)."""

    taken: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    def note(self, path: str, sent: bytes, status: int, answer: bytes) -> None:
        """Read an answer as the contract's section 5 has it."""
        if status != 200 or path not in (SALES, USAGE):
            return
        said = json.loads(answer)
        if path == SALES:
            for result in said["results"]:
                if result["fingerprint"] == NO_FINGERPRINT:
                    continue  # about other bytes: no word about this sale
                if result["status"] in ("created", "duplicate"):
                    self.taken.add(result["external_id"])
                elif result["status"] == "rejected":
                    self.refused.add(result["external_id"])
            return
        named = {error["external_id"]: error["code"] for error in said["errors"]}
        for usage in json.loads(sent)["usages"]:
            code = named.get(usage["external_id"])
            if code is None:
                self.taken.add(usage["external_id"])
            elif code != "RETRY":
                self.refused.add(usage["external_id"])


class Wire:
    """Runs head office's application in this thread, one request at a time.

    Args:
        app: the application.
        now_s: the true time, seconds since 1970, for the header ``Date``.
        restore: takes head office back to its backup; called with whether it knows (a new epoch).
    """

    def __init__(self, app: ASGIApp, now_s: Callable[[], float], restore: Callable[[bool], None]) -> None:
        self._app = app
        self.restore = restore
        self._now_s = now_s
        self._loop = asyncio.new_event_loop()
        self._turn = threading.Lock()

    def close(self) -> None:
        """Give the event loop back."""
        self._loop.close()

    def date(self) -> str:
        """What head office's clock shows."""
        return email.utils.formatdate(self._now_s(), usegmt=True)

    def carry(self, request: httpx.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Let a request arrive; head office's status, headers and body."""
        with self._turn:
            status, headers, answer = self._loop.run_until_complete(self._ask(request, body))
        return status, {**headers, "date": self.date()}, answer

    async def _ask(self, request: httpx.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        url = request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("till", 1),
            "server": ("head-office", 80),
        }
        answers: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            answers.append(message)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
        return answers[0]["status"], headers, b"".join(message.get("body", b"") for message in answers[1:])


@contextmanager
def without_thread_pool() -> Iterator[None]:
    """Head office's routes run where they are called: a thread for each request would cost four times the request."""

    async def here(call: Callable[..., Any], /, *values: Any, **named: Any) -> Any:
        return call(*values, **named)

    places = ("fastapi.routing", "fastapi.dependencies.utils", "starlette._exception_handler")
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(patch(f"{place}.run_in_threadpool", here))
        yield


class Line(httpx.BaseTransport):
    """A till's line.

    Args:
        wire: to head office.
        fuse: of the process that asks.
    """

    def __init__(self, wire: Wire, fuse: Fuse) -> None:
        self.wire = wire
        self.fuse = fuse
        self.faults: deque[Fault] = deque()
        self.faults_of_uploads: deque[Fault] = deque()
        self.requests = 0
        self.parcels: deque[Parcel] = deque(maxlen=6)
        self.words = Words()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request, and what the line makes of it."""
        with self.fuse.around("request"):
            self.requests += 1
            body = request.read()
            path = request.url.path
            fault = self._next_fault(path)
            if path in (SALES, USAGE):
                if request.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                    del request.headers["content-encoding"]
                self.parcels.append(Parcel(request, body))
            if fault.kind in NEVER_ARRIVES:
                return self._instead(request, fault)
            return self._carried(request, body, fault)

    def fail(self, faults: Iterable[Fault]) -> None:
        """Let the next requests suffer these, one each; faults of uploads wait for uploads."""
        for fault in faults:
            (self.faults_of_uploads if fault.kind in OF_UPLOADS else self.faults).append(fault)

    def heal(self) -> None:
        """A good line from now on."""
        self.faults.clear()
        self.faults_of_uploads.clear()

    def _next_fault(self, path: str) -> Fault:
        if self.faults:
            return self.faults.popleft()
        if self.faults_of_uploads and path in (SALES, USAGE):
            return self.faults_of_uploads.popleft()
        return Fault("none")

    def arrive_again(self, number: int) -> None:
        """A copy of an old upload arrives (once more); nobody reads the answer."""
        parcel = self.parcels[number % len(self.parcels)]
        self.wire.carry(parcel.request, parcel.body)

    def _instead(self, request: httpx.Request, fault: Fault) -> httpx.Response:
        """The request never reaches head office."""
        match fault.kind:
            case "refused":
                raise httpx.ConnectError("refused", request=request)
            case "lost":
                raise httpx.ReadError("reset", request=request)
            case "late":
                raise httpx.ReadTimeout("late", request=request)
            case "500":
                return self._answer(500, {}, b'{"error": "broken", "code": "INTERNAL_ERROR"}')
            case "429":
                return self._answer(429, {"retry-after": str(fault.seconds)}, b'{"code": "RATE_LIMITED"}')
            case "503":
                until = email.utils.formatdate(
                    email.utils.parsedate_to_datetime(self.wire.date()).timestamp() + fault.seconds, usegmt=True
                )
                return self._answer(503, {"retry-after": until}, b"{}")
            case "moved":
                return self._answer(301, {"location": "https://elsewhere.example/"}, b"")
            case _:
                return self._answer(404 if fault.kind == "404" else 200, {"content-type": "text/html"}, HTML)

    def _carried(self, request: httpx.Request, body: bytes, fault: Fault) -> httpx.Response:
        """The request reaches head office; its answer may not reach the till as it was given."""
        path = request.url.path
        if fault.kind == "too large" and path in (SALES, USAGE) and len(json.loads(body)[_list_of(path)]) > 1:
            return self._answer(413, {}, b'{"error": "too large", "code": "PAYLOAD_TOO_LARGE"}')
        if fault.kind in RESTORES:
            self.wire.restore(fault.kind == "restored")
        status, headers, answer = self.wire.carry(request, body)
        if fault.kind == "twice":
            status, headers, answer = self.wire.carry(request, body)
        if fault.kind == "answer lost":
            raise httpx.ReadError("reset", request=request)
        if fault.kind == "timed out":
            raise httpx.ReadTimeout("too slow", request=request)
        if fault.kind == "500 after":
            return self._answer(500, {}, b'{"error": "broken", "code": "INTERNAL_ERROR"}')
        if headers.get("content-encoding") == "gzip":
            answer = gzip.decompress(answer)
            del headers["content-encoding"]
        headers.pop("content-length", None)
        if fault.kind == "cut" and answer:  # cut short behind a fitting length: no error on the line
            return self._answer(status, {**headers, "content-encoding": "gzip"}, gzip.compress(answer, 1)[:-9])
        if fault.kind == "torn":
            return httpx.Response(status, headers=headers, stream=_Torn(answer, request))
        if path == SALES and status == 200:
            answer = _twisted(answer, fault.kind)
        self.words.note(path, body, status, answer)
        return self._answer(status, headers, answer)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> httpx.Response:
        return httpx.Response(status, headers={"date": self.wire.date(), **headers}, stream=httpx.ByteStream(body))


class _Torn(httpx.SyncByteStream):
    """A body that breaks off with an error of the line."""

    def __init__(self, body: bytes, request: httpx.Request) -> None:
        self._body = body
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.RemoteProtocolError("peer closed connection", request=self._request)


def _list_of(path: str) -> str:
    return "sales" if path == SALES else "usages"


def _twisted(answer: bytes, kind: str) -> bytes:
    """An answer that says less than happened: no result for the last sale, another fingerprint, or "ask again"."""
    if kind not in ("evasive", "forgetful", "garbled"):
        return answer
    said = json.loads(answer)
    if said["results"]:
        last = said["results"].pop()
        if kind == "evasive":
            said["results"].append({**last, "status": "retry", "code": "BUSY", "error": "not now"})
        elif kind == "garbled" and last["status"] in ("created", "duplicate"):
            said["results"].append({**last, "fingerprint": NO_FINGERPRINT})
        elif kind == "garbled":
            said["results"].append(last)
    return json.dumps(said).encode()
