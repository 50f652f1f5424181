"""A device whose loopback API is served on a real port, and a caller that says what it likes."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent
from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.serve import LocalServer
from edge_agent.settings import make_settings, save_settings
from ho_stub import seed

TIMEOUT_S = 20
COLA = "00000006-0000-4000-8000-000000000000"


@dataclass
class Answer:
    """What the API answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_problem(self) -> bool:
        """Whether it is a whole problem, in words."""
        problem = self.json
        whole = {"type", "title", "status", "code", "detail"} <= set(problem)
        return whole and self.headers["content-type"] == "application/problem+json" and problem["status"] == self.status


@dataclass
class Caller:
    """Asks the API of one device over its port."""

    agent: EdgeAgent
    keys: Keys
    server: LocalServer
    syncs: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.server.port

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; ``token=None`` sends no key."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            sent = {"Content-Type": "application/json"} if body is not None else {}
            if token is not None:
                sent["Authorization"] = f"Bearer {token or self.keys.token}"
            sent.update(headers or {})
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, {name: value for name, value in sent.items() if value is not None})
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, response.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.ask("POST", path, body, **more)

    def as_page(self) -> dict[str, str]:
        """The cookie of a page that was opened with the page's key."""
        opened = self.post("/v1/session", {"key": self.keys.page_key()}, token=None)
        assert opened.status == 200, opened.body
        return {"Cookie": opened.headers["set-cookie"].partition(";")[0]}

    def raw(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)


@pytest.fixture
def sale() -> Callable[..., dict[str, Any]]:
    """Makes a sale's JSON: one line, paid in cash."""

    def make(**more: Any) -> dict[str, Any]:
        return {
            "items": [{"product": COLA, "quantity": "2", "unit_price": "7500.00"}],
            "payments": [{"method": "cash", "amount": "15000.00"}],
            **more,
        }

    return make


@contextlib.contextmanager
def _serving(agent: EdgeAgent, *, port: int | None = 0, **more: Any) -> Iterator[Caller]:
    keys = Keys.of_home(agent.home)
    syncs: list[str] = []
    app = make_app(agent, keys, port=port or 0, sync_now=lambda: syncs.append("now"))
    server = LocalServer(app, port=port, **more)
    server.start()
    try:
        yield Caller(agent, keys, server, syncs)
    finally:
        assert server.stop(10), "the API did not stop in time"


@pytest.fixture
def serve() -> Iterator[Callable[..., Caller]]:
    """Serves agents' APIs on free ports, and stops them."""
    with contextlib.ExitStack() as stack:
        yield lambda agent, **more: stack.enter_context(_serving(agent, **more))


@pytest.fixture(scope="module")
def lone_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The API of a device that knows no head office, one for all tests of a file."""
    home, tiny = tmp_path_factory.mktemp("lone") / "home", seed.tiny()
    home.mkdir()
    values = {
        "url": "http://127.0.0.1:9",
        "username": "pos-02",
        "device_id": "pos-02",
        "company_id": tiny.company["id"],
        "store_id": next(iter(tiny.stores))["id"],
        "brand_id": next(iter(tiny.brands))["id"],
        "currency": "IDR",
        "timezone": "Asia/Jakarta",
        "ballast_mib": 0,
    }
    save_settings(home, make_settings(values))
    with EdgeAgent.open(home) as agent, _serving(agent) as caller:
        yield caller


@pytest.fixture
def api(till: Any, serve: Callable[..., Caller]) -> Caller:
    """The API of a device in sync with its head office."""
    return serve(till.agent)


@pytest.fixture
def home_of(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder
