"""A head office for tests: a real port on the loopback, a handle to change its world, and accidents on demand.

    with HeadOffice(data="sample") as office:
        office.world.edit("products", some_id, price="2.50")
        office.stop()            # connection refused; the state stays
        office.start()           # the same port again

In pytest: `from ho_stub.testing import head_office` makes the fixture `head_office` (an office with the tiny world).
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ho_stub.app import create_app, listen
from ho_stub.database import Backup
from ho_stub.faults.exchange import Answer, read_body, send_whole
from ho_stub.faults.plan import FaultsWanted, plan_from
from ho_stub.faults.route import Bench
from ho_stub.faults.server import Server
from ho_stub.faults.switched import Faults, once
from ho_stub.faults.wire import Wire, dated
from ho_stub.gaps import Wanted
from ho_stub.ledger import Ledger
from ho_stub.seed import Source
from ho_stub.world import Profile, World

START_S_MAX = 10.0

# What an intercept gives instead of head office's answer; a dict is sent as JSON.
Canned = tuple[int, Mapping[str, str], "bytes | str | dict[str, Any]"]
Intercept = Callable[[str, str], Canned | None]


class HeadOffice:
    """A running stub. `world` changes what it holds, `requests` tells what it was asked.

    `intercept(method, path)` may answer in its place (None: let it through). `drop_after_commit = n`: the next n
    uploads are committed, then the connection is cut without an answer (they are logged with status 0).
    `faults` does what lines, proxies and sick head offices do (docs/faults.md); `seed` makes its chances repeatable.
    """

    def __init__(
        self,
        data: Source = None,
        db: str | Path = ":memory:",
        profile: Profile = "native",
        port: int = 0,
        gaps: Wanted = (),
        seed: int | None = None,
        faults: FaultsWanted = (),
    ) -> None:
        self.world = World(db, data, profile, gaps)
        try:
            plan = plan_from(faults)
            self.faults = Faults(self.world.gaps, plan.seed if seed is None else seed)
            plan.begin(self.faults)
        except ValueError:
            self.world.close()
            raise
        self.bench_key = secrets.token_hex(16)
        self.profile: Profile = profile
        self.port = port
        self.requests: list[tuple[str, str, int]] = []
        self.intercept: Intercept | None = None
        self.drop_after_commit = 0
        device = self.world.device
        self.username, self.password = device["username"], device["password"]
        self.company_id, self.brand_id, self.store_id = self.world.company_id, device["brand_id"], device["store_id"]
        self.static_key = self.world.accounts.static_key(self.username)
        bench = Bench(self.world, self.faults, self.bench_key)
        self._app = _Wire(self, bench.before(create_app(self.world)))
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self._backup: Backup | None = None

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
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,  # the wire adds it
            loop="asyncio",
            http="h11",
            ws="none",
        )
        self._server = Server(config, self.faults)
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

    # -- what POS tests ask for

    def drop_line(self) -> None:
        """The line is dead: connections are refused, open ones are cut; the world stays."""
        self.stop()

    def restore_line(self) -> None:
        """The line is back, at the same address."""
        self.start()

    def back_up(self) -> None:
        """Make a backup, for `restore_backup`."""
        self._backup = self.world.snapshot()

    def restore_backup(self, new_epoch: bool = True) -> None:
        """Head office is restored from its last backup: what came since is gone there.

        Args:
            new_epoch: whether it knows, and tells, that it was restored.

        Raises:
            RuntimeError: there is no backup yet.
        """
        if self._backup is None:
            raise RuntimeError("There is no backup; call back_up() first.")
        self.world.restore(self._backup, new_epoch)

    def change_price(self, product: str, price: str | Decimal) -> None:
        """Give a product, named by its id or its SKU, another price.

        Raises:
            KeyError: there is no such product.
        """
        found = self.world.feed.get("products", product)
        row_id = product if found else self.world.feed.product_by_sku(product, None)
        if row_id is None:
            raise KeyError(f"head office has no product {product}")
        self.world.edit("products", row_id, price=str(price))

    @property
    def ledger(self) -> Ledger:
        """What head office took: `total()`, `sale_count()`, `sales()`."""
        return self.world.ledger

    def clear_requests(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()

    def note_request(self, method: str, path: str, status: int) -> None:
        """Log what was asked and how it was answered."""
        self.requests.append((method, path, status))

    def say(self, client: tuple[str, int], raw: bytes) -> None:
        """Write bytes to one client's connection as they are."""
        if self._server is not None:
            self._server.say(client, raw)

    def cut(self, client: tuple[str, int], *, reset: bool = True) -> None:
        """Cut one client's connection without a word; `reset=False`: after what was said."""
        if self._server is not None:
            self._server.cut(client, reset=reset)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Wire(Wire):
    """Answers what an office's `intercept` gives; loses the answers it is told to."""

    def __init__(self, office: HeadOffice, app: ASGIApp) -> None:
        super().__init__(app, office.world, office.faults, office.note_request)
        self.line = self._office = office

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        office, method, path = self._office, scope["method"], scope["path"]
        canned = office.intercept(method, path) if office.intercept else None
        if canned is not None:
            await read_body(receive)
            office.note_request(method, path, canned[0])
            await send_whole(dated(send), _answer(canned))
        elif method == "POST" and office.drop_after_commit > 0 and "/token/" not in path:
            office.drop_after_commit -= 1
            await self.serve([once("closed_answer")], scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _answer(canned: Canned) -> Answer:
    status, headers, body = canned
    named = {name.lower(): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, named = json.dumps(body), {"content-type": "application/json"} | named
    raw = body.encode() if isinstance(body, str) else body
    told = tuple((name.encode(), value.encode()) for name, value in named.items())
    return Answer(status, told, raw)


def __getattr__(name: str) -> object:
    """The fixture `head_office`: this module needs no pytest otherwise."""
    if name != "head_office":
        raise AttributeError(name)
    from ho_stub.pytest_plugin import head_office

    globals()["head_office"] = head_office
    return head_office
