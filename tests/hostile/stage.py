"""A till in sync with an honest head office, and a line on which its answers can be replaced by lies."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from edge_agent import Item, Sale
from edge_agent.settings import CREDENTIALS_NAME, load_settings, make_settings, save_settings
from ho_stub import seed
from ho_stub.app import create_app
from ho_stub.world import Profile, World
from tests.sim.line import Wire, without_thread_pool
from tests.sim.office import Time
from tests.sim.till import JumpingClock, SimulatedAgent

UNMOVED = ("version", "categories", "products", "promotions", "digest")  # what no sale changes: asked once for all acts
DATASETS = ("categories", "products", "promotions")
FACTS = ("timezone", "day_start", "currency", "store_name", "auto_sync_enabled", "sync_interval_hours", "profile")
ADDRESS_LENGTH_MAX = HEADER_LENGTH_MAX = 8_150  # of common servers, less the words around it
ANSWER_BYTES_MAX = 1024 * 1024


def an_id(number: int) -> str:
    """A UUID of the honest world, by number."""
    return f"{number:08x}-0000-4000-8000-000000000000"


COLA, WATER, BREAD, DEAL = an_id(6), an_id(7), an_id(8), an_id(9)
DRINKS = an_id(4)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the line."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """A request and the answer the till was given, whoever gave it."""

    route: str
    params: dict[str, str]
    answer: Answer
    lied: bool


Lie = Callable[[str, dict[str, str], Answer], Answer | None]
"""Makes another answer of the honest one, given its route and parameters; None lets it through."""


@dataclass
class LyingLine(httpx.BaseTransport):
    """Carries requests to head office, and what it makes of the answers back.

    ``heard`` keeps what was answered, ``known`` what head office answers to what never changes. A lie may raise what a
    transport raises.
    """

    wire: Wire
    known: dict[tuple[str, str | None], tuple[int, dict[str, str], bytes]]
    lie: Lie | None = None
    heard: list[Heard] = field(default_factory=list)
    requests: int = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.requests += 1
        sent = request.read()
        if request.headers.get("content-encoding") == "gzip":
            sent = gzip.decompress(sent)
            del request.headers["content-encoding"]
        request.headers.pop("accept-encoding", None)
        too_long = _too_long(request)
        if too_long is not None:
            return too_long
        route = request.url.path.rstrip("/").rpartition("/")[2]
        key = str(request.url), request.headers.get("if-none-match")
        if route in UNMOVED and request.method == "GET":
            status, headers, body = self.known.get(key) or self.wire.carry(request, sent)
            headers = {**headers, "date": self.wire.date()}
            if status != 401:
                self.known[key] = status, headers, body
        else:
            status, headers, body = self.wire.carry(request, sent)
        headers.pop("content-length", None)
        if headers.pop("content-encoding", None) == "gzip":
            body = gzip.decompress(body)
        honest = Answer(status, headers, body)
        params = dict(request.url.params)
        told = self.lie(route, params, honest) if self.lie else None
        answer = told or honest
        self.heard.append(Heard(route, params, answer, told is not None))
        # Bytes, so that a header may hold what no text can.
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        return httpx.Response(answer.status, headers=raw, stream=httpx.ByteStream(answer.body))


def _too_long(request: httpx.Request) -> httpx.Response | None:
    """What servers say to addresses and headers that are too long, whoever made the till send them."""
    if len(request.url.raw_path) > ADDRESS_LENGTH_MAX:
        return httpx.Response(414, stream=httpx.ByteStream(b"<html>Request-URI Too Large</html>"))
    if max(len(value) for _, value in request.headers.raw) > HEADER_LENGTH_MAX:
        return httpx.Response(400, stream=httpx.ByteStream(b"<html>Request Header Too Large</html>"))
    return None


class Stage:
    """Head office, and the home of a till that is in sync with it; each act plays with a copy of both.

    Between that sync and the act, head office has honestly changed a little of everything.
    """

    def __init__(self, folder: Path, profile: Profile) -> None:
        self.folder = folder
        self.profile = profile
        self.time = Time()
        self.world = World(":memory:", _world(), profile)
        self.wire = Wire(create_app(self.world), lambda: self.time.now_s(), lambda _: None)
        self.template = folder / "template"
        self.template.mkdir()
        device = self.world.device
        settings = {
            "url": "http://127.0.0.1:9",
            "username": device["username"],
            "company_id": self.world.company_id,
            "store_id": device["store_id"],
            "brand_id": device["brand_id"],
            "device_id": "till",
            "currency": "IDR",
            "timezone": "Asia/Jakarta",
            "day_start": "04:00",
            "page_rows": 4,
            "answer_bytes_max": ANSWER_BYTES_MAX,
            "ballast_mib": 0,
        }
        save_settings(self.template, make_settings(settings))
        (self.template / CREDENTIALS_NAME).write_text('{"password": "secret"}', encoding="utf-8")
        clock = JumpingClock(self.time)
        agent = SimulatedAgent(
            self.template,
            load_settings(self.template, environment={}),
            clock=clock,
            transport=LyingLine(self.wire, {}),  # type: ignore[arg-type]
        )
        for _ in range(2):
            report = agent.sync()
            assert not report.errors, report.errors
        facts = agent._store.all_meta()
        self.facts = {name: facts.get(name) for name in FACTS}
        agent.close()
        _change(self.world)
        self._known: dict[tuple[str, str | None], tuple[int, dict[str, str], bytes]] = {}
        self.pristine = self.world.snapshot()
        self.truth = {dataset: {row["id"]: row for row in self.world.rows(dataset)} for dataset in DATASETS}

    def close(self) -> None:
        """The end of this head office."""
        self.wire.close()
        self.world.close()

    @contextmanager
    def act(self, **settings: Any) -> Iterator[Act]:
        """One act: a till of its own, and head office as it was."""
        home = Path(tempfile.mkdtemp(dir=self.folder)) / "home"
        shutil.copytree(self.template, home)
        self.world.restore(self.pristine, new_epoch=False)
        self.time.passed_s = 3_600.0
        line = LyingLine(self.wire, self._known)
        known = load_settings(home, environment={})
        agent = SimulatedAgent(home, replace(known, **settings), clock=JumpingClock(self.time), transport=line)  # type: ignore[arg-type]
        act = Act(self, agent, line)
        try:
            yield act
        finally:
            agent.close()
            shutil.rmtree(home.parent, ignore_errors=True)


@dataclass
class Act:
    """A till, its line and its head office, for as long as a lie is tried."""

    stage: Stage
    agent: SimulatedAgent
    line: LyingLine
    sold: list[str] = field(default_factory=list)

    def sell(self) -> Sale:
        """A sale, as at any time."""
        sale = self.agent.record_sale([Item(COLA, "1", "7500.00")])
        self.sold.append(sale.external_id)
        return sale

    def poll(self, *, hours: float = 0.0) -> Any:
        """A cycle as the background loop runs it, some hours later."""
        self.stage.time.passed_s += hours * 3_600
        return self.agent._syncer.run(asked=False)

    def rows(self, dataset: str) -> dict[str, bytes]:
        """The rows in use, as they are stored."""
        query = f"SELECT id, body FROM {dataset}"
        return {row_id: bytes(body) for row_id, body in self.agent._store.database.connection.execute(query)}

    def columns(self, dataset: str) -> list[dict[str, Any]]:
        """The rows in use with every column."""
        cursor = self.agent._store.database.connection.execute(f"SELECT * FROM {dataset}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def refused(self, dataset: str) -> dict[str, tuple[str, bytes]]:
        """The refused rows: reason and what was kept of them."""
        query = "SELECT id, reason, body FROM refused WHERE dataset = ?"
        found = self.agent._store.database.connection.execute(query, (dataset,))
        return {row_id: (reason, bytes(body)) for row_id, reason, body in found}

    def cursor(self, dataset: str) -> str | None:
        """Where a download stands."""
        return self.agent._store.state(dataset).cursor

    def differences(self) -> list[str]:
        """How the catalogue differs from what head office holds for this store; nothing when it is the same."""
        found = []
        for dataset in DATASETS:
            mine = {row_id: json.loads(body) for row_id, body in self.rows(dataset).items()}
            theirs = self.stage.truth[dataset]
            found += [f"{dataset} {row_id} missing" for row_id in theirs.keys() - mine.keys()]
            found += [f"{dataset} {row_id} extra" for row_id in mine.keys() - theirs.keys()]
            for row_id in theirs.keys() & mine.keys():
                if mine[row_id].get("row_version") != theirs[row_id].get("row_version"):
                    found.append(f"{dataset} {row_id} stale")
                elif mine[row_id] != theirs[row_id]:
                    found.append(f"{dataset} {row_id} other")
        return found


def _world() -> seed.Dataset:
    tiny = seed.tiny()
    brand, store = next(iter(tiny.brands))["id"], next(iter(tiny.stores))["id"]
    products = [
        {"id": an_id(0x100 + n), "brand_id": brand, "category_id": DRINKS, "name": f"Tea {n}", "sku": f"TEA-{n}",
         "barcode": f"20000000{n:05}", "price": f"{n}000.00"}
        for n in range(1, 10)
    ]  # fmt: skip
    products[3] |= {"allergens": ["none"], "labels": {"bio": True}}
    categories = [{"id": an_id(0x200 + n), "brand_id": brand, "name": f"Shelf {n}"} for n in range(1, 6)]
    flat = {
        "id": an_id(0x300), "brand_id": brand, "code": "WEEKEND", "name": "Weekend", "discount_type": "amount",
        "discount_value": "5000.00", "start_date": "2026-01-01", "end_date": None,
        "time_rules": {"days_of_week": [6, 7], "time_start": "09:00", "time_end": "21:00"},
        "scope": {"apply_to": "all_products"}, "is_active": True,
    }  # fmt: skip
    nightly = {
        "id": an_id(0x301), "brand_id": brand, "code": "NIGHT", "name": "Night", "promo_type": "happy_hour",
        "validity": {"start_date": None, "end_date": None, "time_start": "22:00", "time_end": "02:00",
                     "days_of_week": [4, 5], "exclude_holidays": False},
        "scope": {"apply_to": "product", "products": [COLA]}, "rules": {"type": "percent", "discount_percent": "5"},
        "targeting": {"stores": [store]}, "limits": {"max_uses": None},
    }  # fmt: skip
    more = [{"id": an_id(0x310 + n), "brand_id": brand, "code": f"P{n}", "name": f"Deal {n}"} for n in range(4)]
    return replace(
        tiny,
        categories=[*tiny.categories, *categories],
        products=[*tiny.products, *products],
        promotions=[*tiny.promotions, flat, nightly, *more],
    )


def _change(world: World) -> None:
    """What head office honestly edits between the till's last sync and the act."""
    brand = world.device["brand_id"]
    world.edit("products", COLA, price="8000.00")
    world.edit("products", an_id(0x104), name="Tea, green", allergens=[])
    world.delete("products", an_id(0x109))
    world.upsert("products", {"id": an_id(0x180), "brand_id": brand, "name": "Coffee", "price": "9000.00"})
    world.edit("categories", an_id(0x202), name="Shelf, second")
    world.delete("categories", an_id(0x205))
    world.upsert("categories", {"id": an_id(0x280), "brand_id": brand, "name": "Shelf, new"})
    world.edit("promotions", DEAL, name="Cola 15 % off")
    world.delete("promotions", an_id(0x313))
    world.upsert("promotions", {"id": an_id(0x380), "brand_id": brand, "code": "NEW", "name": "New"})
    world.set_stock(COLA, "11")


@contextmanager
def open_stage(profile: Profile = "native") -> Iterator[Stage]:
    """A stage for any number of acts, in memory where there is such a folder: the disk is not what is tried here."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        patch("ho_stub.accounts.HASH_ROUNDS", 1),
        without_thread_pool(),
    ):
        stage = Stage(Path(folder), profile)
        try:
            yield stage
        finally:
            stage.close()
