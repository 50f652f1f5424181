"""uvicorn, but it can cut a single connection, speak to it as it likes, and close its door for a while."""

import asyncio
import contextlib
import os
import socket
import struct
import threading
from typing import Any

import uvicorn

from ho_stub.app import listen
from ho_stub.faults.switched import Faults

LAST_WORDS_S = 0.5
DOOR_S_MAX = 5.0
OPEN_AGAIN_S = 0.1  # how long after a port that was taken meanwhile it is tried again
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Server(uvicorn.Server):
    """Serves on one listener until `should_exit`. `up` is set when it does; `faults` may close its door."""

    def __init__(self, config: uvicorn.Config, faults: Faults) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._faults = faults
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._address = ("", 0)
        self._timer: asyncio.TimerHandle | None = None

    # -- single connections

    def say(self, client: tuple[str, int], raw: bytes) -> None:
        """Write bytes to a client as they are."""
        for transport in self._transports(client):
            transport.write(raw)

    def cut(self, client: tuple[str, int], *, reset: bool = False) -> None:
        """End a client's connection: broken off at once, or closed after what was said."""
        for transport in self._transports(client):
            if reset:
                _reset(transport)
            else:
                transport.close()

    def cut_all(self) -> None:
        """Break off every connection."""
        for transport in self._transports(None):
            transport.abort()

    def _transports(self, client: tuple[str, int] | None) -> list[asyncio.Transport]:
        connections: list[Any] = list(self.server_state.connections)  # uvicorn's types don't tell these two attributes
        return [one.transport for one in connections if client is None or one.client == tuple(client)]

    # -- the door

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        self._address = (host, port)
        self._faults.moved = self._settle_soon
        await self._settle()
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The end waits for nobody."""
        self._faults.moved = lambda: None
        if self._timer is not None:
            self._timer.cancel()
        self._close_door()
        for listener in sockets or []:
            listener.close()
        self.cut_all()
        if tasks := list(self.server_state.tasks):  # what streams ends by itself, since its client is gone
            for task in (await asyncio.wait(tasks, timeout=LAST_WORDS_S))[1]:
                task.cancel()
        await asyncio.sleep(0)

    def _settle_soon(self) -> None:
        """From any thread: open or close the door as the faults say; where it can, this waits until that is done."""
        assert self._loop is not None
        if threading.get_ident() == self._thread:
            self._settling = self._loop.create_task(self._settle())
            return
        with contextlib.suppress(RuntimeError, TimeoutError):  # the loop has ended, or ends
            asyncio.run_coroutine_threadsafe(self._settle(), self._loop).result(DOOR_S_MAX)

    async def _settle(self) -> None:
        assert self._loop is not None
        refuses, change_s = self._faults.refuses()
        if refuses and self.servers:
            self._close_door()
            self.cut_all()
        elif not refuses and not self.servers and not self.should_exit:
            change_s = await self._open_door() or change_s
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if change_s is None else self._loop.call_later(max(change_s, 0.001), self._settle_soon)

    def _close_door(self) -> None:
        for server in self.servers:
            server.close()
        self.servers = []

    async def _open_door(self) -> float | None:
        """Listen on the same port again; if somebody has taken it, the seconds after which to try anew."""
        assert self._loop is not None
        try:
            listener = listen(*self._address)
        except OSError:
            return OPEN_AGAIN_S
        self.servers = [await self._loop.create_server(self._protocol, sock=listener)]
        return None

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made


def _reset(transport: asyncio.Transport) -> None:
    """Break a connection off with a reset: what was written and not sent is lost."""
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
