"""Reads head office's stream of hints (contract, section 6): bounded in time and size, and ended from any thread.

httpx alone waits for the next byte however long a line grows, and no other thread can end its wait.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore

from edge_agent.clock import Clock
from edge_agent.errors import Unreachable
from edge_agent.head_office import answers
from edge_agent.head_office.body import read_body
from edge_agent.head_office.lean import httpx

SILENCE_S = 45.0  # head office says something every 15 s
LINE_BYTES_MAX = 8 * 1024
FLOOD_S = 60.0
FLOOD_BYTES_MAX = 256 * 1024  # thousands of hints; what brings more a minute is no stream of hints
ERROR_BYTES_MAX = 64 * 1024
_AT_HAND_S = 0.1


class EventStream:
    """One stream of hints. Opened and read by one thread, closed by any.

    Args:
        client: made for this stream alone; closed with it.
        path: the route.
        params: the query.
        headers: with the sign-in.
        clock: the device's clock.
        deadline_s: from the request to the end of the answer's headers, seconds.
        silence_s: how long head office may say nothing before the stream counts as dead, seconds.
    """

    def __init__(
        self,
        client: httpx.Client,
        path: str,
        params: dict[str, str],
        headers: dict[str, str],
        *,
        clock: Clock,
        deadline_s: float,
        silence_s: float | None = None,
    ) -> None:
        self._client = client
        self._request = client.build_request("GET", path, params=params, headers=headers, timeout=client.timeout)
        self._clock = clock
        self._deadline_s = deadline_s
        self._silence_s = SILENCE_S if silence_s is None else silence_s
        self._response: httpx.Response | None = None
        self._patience = _Patience()
        for transport in (client._transport, *client._mounts.values()):
            pool: Any = getattr(transport, "_pool", None)
            if isinstance(pool, httpcore.ConnectionPool):
                pool._network_backend = _Network(pool._network_backend, self._patience)

    def open(self) -> None:
        """Ask for the stream.

        Raises:
            Unreachable: ``not_contract`` where something else than a stream answers; else as for any request.
            NotSignedIn: the access token is not accepted. It is never renewed here.
            Refused: head office has no stream for this device.
        """
        self._patience.for_s(self._deadline_s)
        with _translated():
            response = self._response = self._client.send(self._request, stream=True)
            if response.status_code != 200:
                body = read_body(response, bytes_max=ERROR_BYTES_MAX, deadline_s=self._deadline_s)
                if 200 <= response.status_code < 300:
                    raise _no_stream(f"HTTP {response.status_code}")
                raise answers.as_error(response.status_code, response.headers, body, self._clock.now())
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = response.headers.get("content-encoding", "identity").lower()
        if kind != "text/event-stream" or encoding != "identity":
            raise _no_stream(kind[:100] or "no type")

    def hints(self) -> Iterator[None]:
        """One for each ``changed``, until head office ends the stream or :meth:`close` does.

        Raises:
            Unreachable: silence, a line that broke, or more than a stream of hints can be.
        """
        assert self._response is not None, "open() comes first"
        event = b""
        for line in self._lines(self._response):
            name, _, value = line.partition(b":")
            if name == b"event":
                event = value.removeprefix(b" ")
            elif not line:
                if event == b"changed":
                    yield
                event = b""

    def _lines(self, response: httpx.Response) -> Iterator[bytes]:
        """Lines without their ends: LF, CR LF or CR."""
        rest, after_cr, window_end_s, window_bytes = b"", False, 0.0, 0
        self._patience.for_s(self._silence_s)
        chunks = response.iter_raw()
        while True:
            with _translated():
                chunk = next(chunks, None)
            if chunk is None:
                return
            now_s = time.monotonic()
            if now_s >= window_end_s:
                window_end_s, window_bytes = now_s + FLOOD_S, 0
            window_bytes += len(chunk)
            if window_bytes > FLOOD_BYTES_MAX:
                raise Unreachable("head office's stream of hints brings too much", reason="too_large")
            if after_cr and chunk.startswith(b"\n"):
                chunk = chunk[1:]
            after_cr = chunk.endswith(b"\r")
            *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            if len(rest) > LINE_BYTES_MAX:
                raise Unreachable("head office's stream of hints has a line without end", reason="too_large")
            if lines:  # single bytes that drip in are no sign of life
                self._patience.for_s(self._silence_s)
            yield from lines

    def end(self) -> None:
        """From any thread: whatever :meth:`open` or :meth:`hints` waits for, they end at once.

        Only a connection that is just being made takes as long as it takes.
        """
        self._patience.end()

    def close(self) -> None:
        """Close the connection; by the thread that reads."""
        if self._response is not None:
            self._response.close()
        self._client.close()
        self._patience.close()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise answers.as_unreachable(error) from error
    except httpx.InvalidURL as error:
        raise Unreachable(f"head office's address can't be used: {error}", reason="redirect", sent=False) from error


def _no_stream(what: str) -> Unreachable:
    return Unreachable(f"head office's address for hints gives no stream of events ({what})", reason="not_contract")


class _Patience:
    """How long may still be waited, and the bell that ends the wait from another thread.

    A pair of sockets, since no system lets one thread end another's wait for a socket by closing it on all platforms.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._end_s = 0.0
        self._heard, self._bell = socket.socketpair()
        self._heard.setblocking(False)

    def for_s(self, seconds: float) -> None:
        """From now on, at most so long."""
        self._end_s = self._monotonic() + seconds

    def wait_for(self, line: socket.socket) -> None:
        """Until there is something to read, or :meth:`end` is called."""
        with selectors.DefaultSelector() as selector:
            selector.register(line, selectors.EVENT_READ)
            selector.register(self._heard, selectors.EVENT_READ)
            ready = selector.select(self.left_s())
        if any(key.fileobj is self._heard for key, _ in ready):
            raise httpcore.ReadError("ended by this device")
        if not ready:
            raise httpcore.ReadTimeout("head office said nothing")

    def left_s(self) -> float:
        """Seconds left, more than 0."""
        left_s = self._end_s - self._monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("head office said nothing")
        return left_s

    def end(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._bell.send(b".")

    def close(self) -> None:
        self._bell.close()
        self._heard.close()


class _Network(httpcore.NetworkBackend):
    """Connections as they were, but their reads can be ended."""

    def __init__(self, network: httpcore.NetworkBackend, patience: _Patience) -> None:
        self._network = network
        self._patience = patience

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._patience)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, patience: _Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        tls: Any = self._stream.get_extra_info("ssl_object")
        if isinstance(tls, ssl.SSLObject):  # TLS inside a proxy's TLS keeps bytes where no selector sees them
            return self._stream.read(max_bytes, self._patience.left_s())
        while True:
            if tls is None or not tls.pending():
                self._patience.wait_for(self._stream.get_extra_info("socket"))
            try:
                return self._stream.read(max_bytes, min(_AT_HAND_S, self._patience.left_s()))
            except httpcore.ReadTimeout:  # TLS had something to read, only nothing for us
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
