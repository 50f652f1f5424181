"""HTTP on a connection: uvicorn's, with limits on how many there are and how slow they are."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_agent.daemon.web.problem import MEDIA_TYPE

CONNECTIONS_MAX = 64  # far from the files that a process may open: the journal needs some
KEEP_ALIVE_S = 75  # a till's connection pool lives longer than the pause between two sales
IDLE_S_MIN = 1.0  # so long a connection is left alone, however many there are
HEADER_DEADLINE_S = 10.0
HEADER_BYTES_MAX = 16 * 1024


def _problem(status: int, title: str, code: str, detail: str) -> bytes:
    members = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    return msgspec.json.encode(members)


_NOT_HTTP = _problem(400, "Bad Request", "NOT_HTTP", "the request is not HTTP, or its headers are longer than 16 KiB")
_TOO_MANY = _problem(503, "Service Unavailable", "TOO_MANY_CONNECTIONS", f"{CONNECTIONS_MAX} connections are open")


class Protocol(H11Protocol):
    """One connection. It is closed when its headers take too long, and refused when there are too many."""

    _refused = False
    _heard_s = 0.0  # when something came last
    _half_a_head = False  # some of a request's headers have come
    _slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._heard_s = self.loop.time()
        if len(self.connections) >= CONNECTIONS_MAX and not self._room_made():
            self._refused = True
            head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\nconnection: close\r\n"
            transport.write(f"{head}retry-after: 1\r\ncontent-length: {len(_TOO_MANY)}\r\n\r\n".encode() + _TOO_MANY)
            transport.close()
            return
        super().connection_made(transport)
        self._slow = self.loop.call_later(KEEP_ALIVE_S, self._close_idle)

    def _room_made(self) -> bool:
        """Let go the connection that has been idle longest: a till program that opens one for each request and closes
        none must not lock itself out."""
        before_s = self._heard_s - IDLE_S_MIN
        others = [one for one in self.connections if isinstance(one, Protocol) and not one.transport.is_closing()]
        if len(others) < CONNECTIONS_MAX:
            return True
        idle = [one for one in others if one._heard_s < before_s and not (one._is_at_work() or one._half_a_head)]
        if idle:
            min(idle, key=lambda one: one._heard_s).transport.close()
        return bool(idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_slow()
        if not self._refused:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._heard_s = self.loop.time()
        super().data_received(data)
        if self._is_at_work():
            self._forget_slow()
            self._half_a_head = False
        elif self.timeout_keep_alive_task is not None or self.transport.is_closing():
            self._half_a_head = False
        elif not self._half_a_head:  # the rest must come soon, whatever else comes before it
            self._half_a_head = True
            self._forget_slow()
            self._slow = self.loop.call_later(HEADER_DEADLINE_S, self._close_idle)

    def _is_at_work(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        return cycle is not None and not cycle.response_complete

    def _forget_slow(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _close_idle(self) -> None:
        self._slow = None
        if not self.transport.is_closing() and not self._is_at_work():
            self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Never: there are none here."""
        self.send_400_response("no websockets")

    def send_400_response(self, msg: str) -> None:
        """Tell what is no HTTP, in words; a request at hand is over."""
        if self._is_at_work():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(_NOT_HTTP)).encode()),
                (b"connection", b"close"),
            ]
            response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            for part in (response, h11.Data(data=_NOT_HTTP), h11.EndOfMessage()):
                self.transport.write(self.conn.send(part))
        self.transport.close()
