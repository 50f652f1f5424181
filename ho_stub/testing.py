"""A head office for tests: a real port on the loopback, a handle to change its world, and accidents on demand.

    with HeadOffice(data="sample") as office:
        office.world.edit("products", some_id, price="2.50")
        office.stop()            # connection refused; the state stays
        office.start()           # the same port again

In pytest: `from ho_stub.testing import head_office` makes the fixture `head_office` (an office with the tiny world).
"""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ho_stub.app import create_app, listen
from ho_stub.gaps import Wanted
from ho_stub.seed import Source
from ho_stub.world import Profile, World

START_S_MAX = 10.0
LAST_WORDS_S = 0.5

# What an intercept gives instead of head office's answer; a dict is sent as JSON.
Canned = tuple[int, Mapping[str, str], "bytes | str | dict[str, Any]"]
Intercept = Callable[[str, str], Canned | None]


class HeadOffice:
    """A running stub. `world` changes what it holds, `requests` tells what it was asked.

    `intercept(method, path)` may answer in its place (None: let it through). `drop_after_commit = n`: the next n
    uploads are committed, then the connection is cut without an answer (they are logged with status 0).
    """

    def __init__(
        self,
        data: Source = None,
        db: str | Path = ":memory:",
        profile: Profile = "native",
        port: int = 0,
        gaps: Wanted = (),
    ) -> None:
        self.world = World(db, data, profile, gaps)
        self.profile: Profile = profile
        self.port = port
        self.requests: list[tuple[str, str, int]] = []
        self.intercept: Intercept | None = None
        self.drop_after_commit = 0
        device = self.world.device
        self.username, self.password = device["username"], device["password"]
        self.company_id, self.brand_id, self.store_id = self.world.company_id, device["brand_id"], device["store_id"]
        self.static_key = self.world.accounts.static_key(self.username)
        self._app = _Wire(create_app(self.world), self)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address, without a slash at its end; known from the first start on."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the port is open."""
        return self._server is not None

    def start(self) -> Self:
        """Open the port (the same as before, after a stop) and serve in a thread."""
        if self._server is not None:
            return self
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app, lifespan="off", log_config=None, access_log=False, loop="asyncio", http="h11", ws="none"
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="head-office", daemon=True)
        self._thread.start()
        if not self._server.up.wait(START_S_MAX):
            raise RuntimeError(f"head office did not start within {START_S_MAX:.0f} s")
        return self

    def stop(self) -> None:
        """Close the port and cut every connection; the world stays."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._server = self._thread = None

    def close(self) -> None:
        """Stop, and close the database: the end of this office."""
        self.stop()
        self.world.close()

    def clear_requests(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()

    def cut(self, client: tuple[str, int]) -> None:
        """Cut one client's connection without a word."""
        for connection in list(self._server.server_state.connections) if self._server else []:
            if getattr(connection, "client", None) == tuple(client):
                getattr(connection, "transport").abort()  # noqa: B009 - the protocol's type doesn't tell

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Server(uvicorn.Server):
    """uvicorn, but it tells when it is up, and its end waits for nobody."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            getattr(connection, "transport").abort()  # noqa: B009 - the protocol's type doesn't tell
        if tasks := list(self.server_state.tasks):  # what streams ends by itself, since its client is gone
            for task in (await asyncio.wait(tasks, timeout=LAST_WORDS_S))[1]:
                task.cancel()
        await asyncio.sleep(0)


class _Wire:
    """Stands between the port and the application: logs, intercepts, loses answers."""

    def __init__(self, app: ASGIApp, office: HeadOffice) -> None:
        self._app = app
        self._office = office

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        office, method, path = self._office, scope["method"], scope["path"]
        canned = office.intercept(method, path) if office.intercept else None
        if canned is not None:
            await self._answer(canned, method, path, receive, send)
            return
        lose = method == "POST" and office.drop_after_commit > 0 and "/token/" not in path
        if lose:
            office.drop_after_commit -= 1

        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                office.requests.append((method, path, 0 if lose else message["status"]))
            if not lose:
                await send(message)

        await self._app(scope, receive, log_and_send)
        if lose:
            office.cut(scope["client"])
            while (await receive())["type"] != "http.disconnect":
                pass

    async def _answer(self, canned: Canned, method: str, path: str, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        status, headers, body = canned
        kind = {}
        if isinstance(body, dict):
            body, kind = json.dumps(body), {"content-type": "application/json"}
        body = body.encode() if isinstance(body, str) else body
        named = {name.lower(): value for name, value in headers.items()}
        raw = [
            (name.encode(), value.encode())
            for name, value in (kind | {"content-length": str(len(body))} | named).items()
        ]
        self._office.requests.append((method, path, status))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def __getattr__(name: str) -> object:
    """The fixture `head_office`, made when asked for: this module needs no pytest otherwise."""
    if name != "head_office":
        raise AttributeError(name)
    import pytest

    @pytest.fixture(name="head_office")
    def head_office() -> Iterator[HeadOffice]:
        with HeadOffice() as office:
            yield office

    globals()["head_office"] = head_office
    return head_office
