"""Stands between a device and head office on a raw socket, and does to an exchange what a fault says."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

PATIENCE_S = 10.0
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")


@dataclass(frozen=True)
class Request:
    """What the device asked, whole."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """Method and last part of the path: ``POST sales``."""
        return f"{self.method} {self.target.partition('?')[0].rstrip('/').rsplit('/', 1)[-1]}"

    @property
    def is_upload(self) -> bool:
        return self.route in ("POST sales", "POST usage")

    def content(self) -> Any:
        """The body as JSON."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


@dataclass(frozen=True)
class Answer:
    """An answer, whole; its length is added when it is sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reason: str = "Some Words"

    @property
    def packed(self) -> bool:
        return self.headers.get("content-encoding") == "gzip"

    def content(self) -> Any:
        """The body as JSON."""
        return json.loads(gzip.decompress(self.body) if self.packed else self.body)

    def saying(self, value: Any) -> Answer:
        """The same answer with another JSON body."""
        headers = {name: text for name, text in self.headers.items() if name != "content-encoding"}
        return replace(self, headers=headers, body=json.dumps(value).encode())

    def as_gzip(self) -> Answer:
        """The same answer with its body packed."""
        if self.packed:
            return self
        return replace(self, headers=self.headers | {"content-encoding": "gzip"}, body=gzip.compress(self.body))

    def head(self, length: int | None = None, **more: str) -> bytes:
        """Status line and headers; with ``length`` None, the true one."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in (self.headers | more).items()]
        if self.status not in (204, 304) and "transfer_encoding" not in more:
            lines.append(f"Content-Length: {len(self.body) if length is None else length}")
        return ("\r\n".join(lines).replace("transfer_encoding", "Transfer-Encoding") + "\r\n\r\n").encode("latin-1")

    def raw(self) -> bytes:
        """The answer as it stands on the wire."""
        return self.head() + (b"" if self.status in (204, 304) else self.body)


class Cut(Exception):
    """The connection ends now."""


class Exchange:
    """One request on its way. A fault acts on it: ``deliver`` asks head office, ``say`` speaks to the device."""

    def __init__(self, line: Line, connection: socket.socket, request: Request) -> None:
        self.line = line
        self.connection = connection
        self.request = request

    def deliver(self, request: Request | None = None) -> Answer:
        """Have head office answer this request, or another one."""
        request = request or self.request
        answer = self.line.ask_office(request)
        if request is self.request:
            self.line.keep(request, answer)
        return answer

    def say(self, raw: bytes) -> None:
        """Send bytes to the device."""
        self.connection.sendall(raw)

    def answer(self, answer: Answer) -> None:
        """Send a whole answer to the device."""
        self.say(answer.raw())

    def close(self) -> None:
        """End the connection as a server does that is shut down."""
        raise Cut

    def reset(self) -> None:
        """End the connection as a line does that breaks."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut

    def hang(self) -> None:
        """Say nothing until the device gives up."""
        self.connection.settimeout(PATIENCE_S)
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        raise Cut

    def drip(self, parts: Iterable[bytes], pause_s: float) -> None:
        """Send part after part until the device gives up."""
        for part in parts:
            self.say(part)
            if self.line.stopping.wait(pause_s):
                break
        raise Cut


Fault = Callable[[Exchange], None]


class Line:
    """The line to head office. ``plan`` names the fault of an exchange; None lets it pass.

    Args:
        office_port: head office's port on this machine.
        tls: the line's own certificate, when the device is to speak TLS.
    """

    def __init__(self, office_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.office_port = office_port
        self.tls = tls
        self.port = 0
        self.plan: Callable[[Request], Fault | None] = lambda request: None
        self.seen: list[tuple[str, str]] = []
        self.opened = 0
        self.uploads: list[Request] = []
        self.answers: dict[str, list[Answer]] = {}
        self.stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Open the port, the same as before after a stop."""
        self.stopping.clear()
        listener = self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._spawn(self._accept, listener)
        return self

    def stop(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        self.stopping.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a connection of the line does not end"
        self._threads.clear()

    def _spawn(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="line", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.opened += 1
            self._open.add(connection)
            self._spawn(self._serve, connection)

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                connection = self.tls.wrap_socket(plain, server_side=True)
            reader = connection.makefile("rb")
            while (request := _read_request(reader)) is not None:
                fault = self.plan(request) or pass_on
                self.seen.append((request.route, getattr(fault, "__name__", "fault")))
                fault(Exchange(self, connection, request))
        except (Cut, OSError, http.client.HTTPException):
            pass
        finally:
            self._open.discard(plain)
            connection.close()
            plain.close()

    def ask_office(self, request: Request) -> Answer:
        """Head office's answer to a request."""
        office = http.client.HTTPConnection("127.0.0.1", self.office_port, timeout=PATIENCE_S)
        try:
            office.request(request.method, request.target, request.body or None, request.headers)
            response = office.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
            return Answer(response.status, kept, response.read(), response.reason)
        finally:
            office.close()

    def keep(self, request: Request, answer: Answer) -> None:
        """Remember an exchange, to repeat it at the wrong moment."""
        if answer.status < 400:
            for key in (request.route, request.target):
                self.answers.setdefault(key, []).append(answer)
        if request.is_upload:
            self.uploads.append(request)

    def clear(self) -> None:
        """Forget what was seen so far; what may be repeated stays."""
        self.seen.clear()
        self.opened = 0

    def asked(self, *routes: str) -> int:
        """How many requests came, or how many of these routes."""
        return sum(1 for route, _ in self.seen if not routes or route in routes)


def pass_on(exchange: Exchange) -> None:
    """No fault."""
    exchange.answer(exchange.deliver())


def _read_request(reader: Any) -> Request | None:
    first = reader.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Request(first[0], first[1], headers, body)
