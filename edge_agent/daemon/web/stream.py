"""What happens, told to whoever listens: server-sent events from the agent's news and a sync's progress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from edge_agent.agent import EdgeAgent
from edge_agent.daemon.web.problem import Problem
from edge_agent.news import Event

LISTENERS_MAX = 8
WAITING_MAX = 256  # events that a slow listener may be behind
HEARTBEAT_S = 15.0
SEND_DEADLINE_S = 30.0  # for one event to one who does not read
PROGRESS = "sync progress"
PROGRESS_PAUSE_S = 0.1  # a page or a person need no more
RECONNECT_MS = 3_000
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
_log = logging.getLogger("edge_agent")
_LAST = {"too slow": "this listener was too slow; listen again", "stopping": "the agent stops"}


class Listener:
    """One who listens: its events, at most so many."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        self.ended: str | None = None
        self.wake = asyncio.Event()

    def put(self, event: bytes) -> None:
        """Pass an event on; who is too far behind is dropped, so that nothing piles up."""
        if self.ended is not None:
            return
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.ended = "too slow"
        self.wake.set()

    def end(self, why: str) -> None:
        """Tell it a last word, and let it go."""
        self.ended = self.ended or why
        self.wake.set()


class Stream:
    """Everybody who listens. The agent is subscribed to only while somebody does.

    Args:
        agent: whose news it is.
    """

    def __init__(self, agent: EdgeAgent) -> None:
        self._agent = agent
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._unsubscribe: Callable[[], None] | None = None
        self._stopping = False
        self._progress_at_s = -1.0

    # ---- from any thread -------------------------------------------------------------------------------------

    def tell(self, event: str, details: Mapping[str, Any]) -> None:
        """Tell everybody who listens; never waits for any of them."""
        with self._lock:
            listeners = tuple(self._listeners)
        if not listeners:
            return
        data = _event(event, details)
        for listener in listeners:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                listener.loop.call_soon_threadsafe(listener.put, data)

    def close(self) -> None:
        """End every stream; new ones are refused."""
        self._stopping = True
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            with contextlib.suppress(RuntimeError):
                listener.loop.call_soon_threadsafe(listener.end, "stopping")

    def _news(self, event: Event) -> None:
        if event.name == PROGRESS:
            now_s = time.monotonic()
            is_last = event.details.get("done") == event.details.get("total")
            if not is_last and now_s - self._progress_at_s < PROGRESS_PAUSE_S:
                return
            self._progress_at_s = now_s
        self.tell(event.name, event.details)

    # ---- on the server's loop --------------------------------------------------------------------------------

    def _enter(self) -> Listener:
        listener = Listener()
        with self._lock:
            if self._stopping or len(self._listeners) >= LISTENERS_MAX:
                raise Problem(
                    503,
                    "TOO_MANY_LISTENERS" if not self._stopping else "STOPPING",
                    "the agent stops" if self._stopping else f"{LISTENERS_MAX} programs listen already",
                    hint="Try again in a moment; polling GET /v1/status works as well.",
                    headers={"Retry-After": "3"},
                )
            self._listeners.append(listener)
            if self._unsubscribe is None:
                self._unsubscribe = self._agent.subscribe(self._news)
        return listener

    def _leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.remove(listener)
            if not self._listeners and self._unsubscribe is not None:
                self._unsubscribe()
                self._unsubscribe = None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer ``GET /v1/events``: news until the listener leaves, is too slow, or the agent stops."""
        listener = self._enter()
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: listener.wake.set())

        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(SEND_DEADLINE_S):
                await send(message)

        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            hello = f"retry: {RECONNECT_MS}\n".encode() + _event("connected", {})
            await send({"type": "http.response.body", "body": hello, "more_body": True})
            if scope["method"] != "HEAD":
                await _pass_on(listener, gone, send_soon)
            await send_soon({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            _log.info("a program that listens to events reads none of them; it is let go")
        finally:
            gone.cancel()
            self._leave(listener)


async def _pass_on(listener: Listener, gone: asyncio.Future[None], send: Send) -> None:
    while not gone.done():
        listener.wake.clear()
        while not listener.events.empty() and listener.ended != "too slow":
            await send({"type": "http.response.body", "body": listener.events.get_nowait(), "more_body": True})
        if listener.ended is not None:
            last = _event(listener.ended, {"words": _LAST[listener.ended]})
            await send({"type": "http.response.body", "body": last, "more_body": True})
            return
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await listener.wake.wait()
        except TimeoutError:
            await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, details: Mapping[str, Any]) -> bytes:
    data = msgspec.json.encode({"event": name, "details": dict(details)})
    return b"data: " + data + b"\n\n"
