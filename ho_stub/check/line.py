"""One request and its whole answer, within bounds of time and size. Never follows a redirect."""

import json
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NoReturn

import httpx

ANSWER_BYTES_MAX = 64 * 1024 * 1024
CONNECT_S = 5.0
WAIT_S_MAX = 65.0  # of a Retry-After: limits are by the minute
WAITS_MAX = 3


class NoAnswer(Exception):
    """No answer that can be read. `kind`: unreachable, certificate, timeout, cut, too large, no time left."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class NotTheContract(Exception):
    """An answer that is not of the contract's form; the message says what is wrong with it."""


@dataclass(frozen=True)
class Answer:
    """What came back. `body` is unpacked, `wire_bytes` is its size on the line; times in seconds."""

    method: str
    path: str
    status: int
    headers: httpx.Headers
    body: bytes
    wire_bytes: int
    took_s: float
    at: float

    @property
    def is_html(self) -> bool:
        """Whether it is a page for people."""
        return "html" in self.headers.get("content-type", "").lower() or self.body[:300].lstrip().startswith(b"<")

    @property
    def date(self) -> datetime | None:
        """The Date header, in UTC."""
        try:
            found = parsedate_to_datetime(self.headers.get("date", ""))
        except (ValueError, TypeError):
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    @cached_property
    def json(self) -> Any:
        """The body as JSON; numbers with a point are Decimal. Raises NotTheContract."""
        try:
            return json.loads(self.body, parse_float=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError) as exc:
            kind = "a page for people (HTML)" if self.is_html else "no JSON"
            raise NotTheContract(f"{self.named} answered {self.status} with {kind}") from exc

    @property
    def named(self) -> str:
        """The request, for people."""
        return f"{self.method} {self.path}"

    def object(self, *statuses: int) -> dict[str, Any]:
        """The JSON object of an answer with one of these statuses (200). Raises NotTheContract."""
        if self.status not in (statuses or (200,)):
            raise NotTheContract(f"{self.named} answered {self.status}{self._said()}")
        if not isinstance(self.json, dict):
            raise NotTheContract(f"{self.named} answered JSON that is no object")
        return self.json

    def _said(self) -> str:
        text = self.body[:120].decode(errors="replace").split("\n")[0]
        return "" if self.is_html or not text else f": {text}"


class Line:
    """Requests to one head office, all noted in `answers`. `authorization`: the header's value once signed in."""

    def __init__(self, url: str, timeout_s: float, deadline_s: float, ca: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.authorization: str | None = None
        self.answers: list[Answer] = []
        self._timeout_s = timeout_s
        self._end = time.monotonic() + deadline_s
        # Reading the system's certificates takes longer than most checks: only where there are some to compare.
        is_tls = self.url.startswith("https:")
        self._trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca) if is_tls and ca else is_tls
        self._client = self._connect()

    def _connect(self) -> httpx.Client:
        timeout = httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s))
        headers = {"User-Agent": "ho-stub-check/1", "Accept": "application/json", "X-Device-Id": "conformance-check"}
        return httpx.Client(
            base_url=self.url, timeout=timeout, headers=headers, follow_redirects=False, verify=self._trust
        )

    @property
    def time_left_s(self) -> float:
        """What is left of the time for the whole check, in seconds."""
        return self._end - time.monotonic()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        signed_in: bool = True,
    ) -> Answer:
        """The answer to one request; `body` is sent as JSON, `content` as it is. Waits where head office says so.

        Raises:
            NoAnswer: nothing that can be read came in time.
        """
        sent = dict(headers or {})
        if signed_in and self.authorization:
            sent.setdefault("Authorization", self.authorization)
        if body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        sent.setdefault("Accept-Encoding", "gzip")
        request = self._client.build_request(method, path, params=params, content=content, headers=sent)
        for _ in range(WAITS_MAX):
            answer = self._send(request)
            wait_s = _wait_s(answer)
            if wait_s is None or wait_s > min(WAIT_S_MAX, self.time_left_s):
                break
            threading.Event().wait(wait_s)
        return answer

    def _send(self, request: httpx.Request) -> Answer:
        began = time.monotonic()
        allowed_s = min(self._timeout_s, self._end - began)
        if allowed_s <= 0:
            raise NoAnswer("no time left", "the time for the whole check is over")
        # A read timeout alone would wait for ever on an answer that comes byte by byte.
        guard = threading.Timer(allowed_s, self._client.close)
        guard.daemon = True
        guard.start()
        try:
            response = self._client.send(request, stream=True)
            try:
                body, wire_bytes = _read(response)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, OSError, ValueError) as exc:
            late = time.monotonic() - began >= allowed_s * 0.99
            raise _no_answer(exc, f"{request.method} {request.url.path}", late, allowed_s) from exc
        finally:
            guard.cancel()
            if self._client.is_closed:
                self._client = self._connect()
        took_s = time.monotonic() - began
        answer = Answer(
            request.method, request.url.path, response.status_code, response.headers, body, wire_bytes, took_s,
            time.time(),
        )  # fmt: skip
        self.answers.append(answer)
        return answer

    def hear(
        self,
        path: str,
        params: Mapping[str, str],
        wait_s: float,
        pieces: int,
        then: Callable[[], object] = lambda: None,
    ) -> tuple[int, str, list[bytes]]:
        """Status, content type and the first pieces of a stream that has no end; waits so long for each at most.

        `then` is called after the first piece.
        """
        headers = {"Authorization": self.authorization or "", "Accept": "text/event-stream"}
        timeout = httpx.Timeout(min(wait_s, max(0.1, self.time_left_s)), connect=CONNECT_S)
        heard: list[bytes] = []
        with self._connect() as client:
            guard = threading.Timer(wait_s * (pieces + 1), client.close)
            guard.start()
            try:
                with client.stream("GET", path, params=params, headers=headers, timeout=timeout) as response:
                    status, kind = response.status_code, response.headers.get("content-type", "")
                    try:
                        for chunk in response.iter_bytes():
                            heard.append(chunk)
                            if len(heard) == 1:
                                then()
                            if len(heard) >= pieces:
                                break
                    except httpx.TimeoutException:
                        pass  # what was heard till then is the answer
                    return status, kind, heard
            except (httpx.HTTPError, RuntimeError, OSError) as exc:
                raise _no_answer(exc, f"GET {path}", isinstance(exc, httpx.TimeoutException), wait_s) from exc
            finally:
                guard.cancel()

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _read(response: httpx.Response) -> tuple[bytes, int]:
    """The whole body unpacked, and its size on the line. Raises ValueError for one that is cut or too large."""
    packed = response.headers.get("content-encoding", "").lower()
    if packed not in ("", "identity", "gzip"):
        raise ValueError(f"the answer is packed as {packed}, which nobody asked for")
    unpacker = zlib.decompressobj(31) if packed == "gzip" else None
    parts, size, wire_bytes = [], 0, 0
    for chunk in response.iter_raw(65_536):
        wire_bytes += len(chunk)
        try:
            part = unpacker.decompress(chunk, ANSWER_BYTES_MAX) if unpacker else chunk
        except zlib.error as exc:
            raise ValueError("the answer is announced as gzip and isn't") from exc
        parts.append(part)
        size += len(part)
        if size >= ANSWER_BYTES_MAX:
            raise ValueError(f"the answer is larger than {ANSWER_BYTES_MAX // 2**20} MiB")
    if unpacker and size and not unpacker.eof:
        raise ValueError("the answer's gzip ends too early")
    return b"".join(parts), wire_bytes


def _no_answer(exc: Exception, request: str, late: bool, allowed_s: float) -> NoAnswer:
    text = str(exc)
    if late or isinstance(exc, httpx.TimeoutException):
        return NoAnswer("timeout", f"{request}: no whole answer within {allowed_s:.0f} s")
    if "CERTIFICATE" in text.upper():
        return NoAnswer("certificate", f"{request}: its certificate is not trusted ({text})")
    if isinstance(exc, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return NoAnswer("unreachable", f"{request}: can't be reached ({text or type(exc).__name__})")
    if isinstance(exc, ValueError):
        return NoAnswer("too large" if "larger" in text else "cut", f"{request}: {text}")
    return NoAnswer("cut", f"{request}: the line broke ({text or type(exc).__name__})")


def _wait_s(answer: Answer) -> float | None:
    """Seconds to wait before the same again, if head office asks for it."""
    if answer.status not in (429, 503):
        return None
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text[:6])
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    now = answer.date or datetime.now(UTC)
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
