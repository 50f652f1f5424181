"""Reads an answer's body completely or not at all: bounded in time and size, gzip checked to its end mark.

httpx alone accepts a gzip body that was cut short, lets bytes drip past every timeout, inflates without a bound, and
takes bytes behind an answer for the answer to the next request.
"""

from __future__ import annotations

import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from edge_agent.errors import Unreachable
from edge_agent.head_office.lean import httpx

_GZIP = 31  # zlib's window bits for "gzip, with its header and trailer"


def read_body(
    response: httpx.Response, *, bytes_max: int, deadline_s: float, monotonic: Callable[[], float] = time.monotonic
) -> bytes:
    """The whole decoded body of a streamed response.

    Args:
        response: opened with ``client.stream``.
        bytes_max: limit of the decoded body, bytes.
        deadline_s: limit for the whole body, seconds.
        monotonic: seconds that never jump.

    Raises:
        Unreachable: ``timeout``, ``too_large`` or ``incomplete``: keep everything and ask again later.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        shown = encoding[:40] if encoding.isprintable() else "unreadable"
        raise Unreachable(f"head office answered in an encoding nobody asked for: {shown}", reason="not_contract")
    inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    end = monotonic() + deadline_s
    parts: list[bytes] = []
    size = 0
    began = False
    try:
        for chunk in response.iter_raw():
            if monotonic() > end:
                raise Unreachable(f"head office's answer took longer than {deadline_s:g} s", reason="timeout")
            began = began or bool(chunk)
            if inflate is not None:
                # One byte beyond the limit is enough to know; a bomb is never inflated whole.
                chunk = inflate.decompress(chunk, bytes_max - size + 1)
                if inflate.unused_data:
                    raise Unreachable("head office's answer has something behind its end", reason="incomplete")
            size += len(chunk)
            if size > bytes_max:
                raise Unreachable(f"head office's answer is larger than {bytes_max} bytes", reason="too_large")
            parts.append(chunk)
    except zlib.error as error:
        raise Unreachable(f"head office's answer is damaged: {error}", reason="incomplete") from error
    if inflate is not None and began and not inflate.eof:
        raise Unreachable("head office's answer was cut short", reason="incomplete")
    _drop_what_follows(response)
    return b"".join(parts)


def _drop_what_follows(response: httpx.Response) -> None:
    """End a connection that brought bytes behind the answer: they would be taken for the next request's answer (G3).

    A proxy that lost count could so acknowledge an upload that head office never saw. The answer itself is whole. No
    public name leads to what was read ahead; where the way to it is another one, nothing is dropped.
    """
    connection: Any = response.stream
    for name in ("_stream", "_httpcore_stream", "_stream", "_connection"):
        connection = getattr(connection, name, None)
    parser = getattr(connection, "_h11_state", None)
    behind, _ended = getattr(parser, "trailing_data", (b"", False))
    if behind:
        response.extensions["network_stream"].close()


def bound(client: httpx.Client, deadline_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Limit how long a client waits for a whole answer, headers included.

    httpx limits the wait for each byte alone: headers that drip in, or interim answers without end, pass it for ever.

    Args:
        client: fresh; transports that tests put in place of the network stay as they are.
        deadline_s: from the end of the request to the last byte of its answer, seconds.
        monotonic: seconds that never jump.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            pool._network_backend = _BoundNetwork(pool._network_backend, deadline_s, monotonic)


class _BoundNetwork(httpcore.NetworkBackend):
    """Connections as they were, but each answer's reads share one time limit."""

    def __init__(self, network: httpcore.NetworkBackend, deadline_s: float, monotonic: Callable[[], float]) -> None:
        self._network = network
        self._deadline_s = deadline_s
        self._monotonic = monotonic

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _BoundStream(stream, self._deadline_s, self._monotonic)


class _BoundStream(httpcore.NetworkStream):
    """The clock starts at the first read after a write: where a request ends and its answer begins."""

    def __init__(self, stream: httpcore.NetworkStream, deadline_s: float, monotonic: Callable[[], float]) -> None:
        self._stream = stream
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._end: float | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        now = self._monotonic()
        if self._end is None:
            self._end = now + self._deadline_s
        left = self._end - now
        if left <= 0:
            raise httpcore.ReadTimeout(f"the answer took longer than {self._deadline_s:g} s")
        return self._stream.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._end = None
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _BoundStream(stream, self._deadline_s, self._monotonic)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
