"""A month of a real chain's head office: 92,331 products and 1,197 promotions, edited by script every day.

MONTH_SEED=… repeats a month. Needs the full data set: EDGE_AGENT_COMPLETE_JOURNEY names its folder.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.agent import CATALOG_NAME
from edge_agent.settings import CREDENTIALS_NAME, make_settings, save_settings
from ho_stub.app import create_app
from ho_stub.loader import load
from ho_stub.world import Profile, World
from tests.converge.office import DATASETS, MovedClock
from tests.converge.truth import digest, expected, expected_stock
from tests.sim.death import Crash, Engine, Fuse, observed, plain_connection
from tests.sim.line import Wire, without_thread_pool
from tests.sim.office import Time
from tests.sim.till import JumpingClock, SimulatedAgent

BESIDE = Path(__file__).parents[2] / "shared" / "data" / "complete-journey"
FOLDER = Path(os.environ.get("EDGE_AGENT_COMPLETE_JOURNEY", BESIDE))
NEW_YORK_S = -5 * 3_600
BEGINS_S = 86_400 * -263.0  # 3 March 2026 in the simulation's time: dates of the data are moved to this year
YEARS_ON = 9
DAYS = 30
SYNCS_AT_H = (7, 11, 15, 19)
OFFLINE = range(9, 12)  # days without a line
BIG_DAY, BIG_COUNT = 16, 20_000
BACKUP_DAY, RESTORE_DAY = 21, 22
FILES = (CATALOG_NAME, f"{CATALOG_NAME}-wal")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / "products.csv.gz").exists(), reason="needs the full Complete Journey data set"),
]


class Offline(httpx.BaseTransport):
    """Stands where the line was."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no line", request=request)


@dataclass
class Figures:
    """What a till's month cost."""

    requests: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    rows_written: int = 0
    syncs: int = 0
    deaths: int = 0
    edits: int = 0
    pull_s: float = 0.0

    def __sub__(self, other: Figures) -> Figures:
        return Figures(**{name: getattr(self, name) - getattr(other, name) for name in vars(self)})


@dataclass
class CountingLine(httpx.BaseTransport):
    """Carries requests to head office in this process, and counts their bytes as HTTP/1.1 writes them."""

    wire: Wire
    fuse: Fuse
    figures: Figures
    up: bool = True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not self.up:
            raise httpx.ConnectError("no line", request=request)
        with self.fuse.around("request"):
            body = request.read()
            status, headers, answer = self.wire.carry(request, body)
        self.figures.requests += 1
        head = f"{request.method} {request.url.raw_path.decode()} HTTP/1.1\r\n\r\n"
        lines = [*request.headers.raw, *((name.encode(), value.encode()) for name, value in headers.items())]
        sizes = [len(name) + len(value) + 4 for name, value in lines]
        own = len(request.headers.raw)
        self.figures.up_bytes += len(head) + sum(sizes[:own]) + len(body)
        self.figures.down_bytes += len("HTTP/1.1 200 OK\r\n\r\n") + sum(sizes[own:]) + len(answer)
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(answer))


class Chain:
    """Head office with the real data, and the month's script.

    Args:
        profile: native or baseline.
        dice: decides what is edited.
    """

    def __init__(self, profile: Profile, dice: random.Random) -> None:
        self.dice = dice
        self.profile = profile
        self.time = Time()
        self.time.passed_s = BEGINS_S
        self.clock = MovedClock(self.time, NEW_YORK_S)
        self.clock.__enter__()
        data = load(FOLDER)
        for promotion in data.promotions:  # the year 2017, moved on to the one of the simulation
            for name in ("start_date", "end_date"):
                day = promotion["validity"][name]
                promotion["validity"][name] = day and f"{int(day[:4]) + YEARS_ON}{day[4:]}"
        self.world = World(":memory:", data, profile)
        self.wire = Wire(create_app(self.world), self.time.now_s, lambda new: None)
        device = self.world.device
        self.username, self.password = device["username"], device["password"]
        self.store_id, self.brand_id = device["store_id"], device["brand_id"]
        if profile == "baseline":  # all promotions of a store have to fit into its one list
            self.world.set_settings(max_promotions_per_sync=500)
        self.products = [row["id"] for row in data.products]
        self.promotions = [row["id"] for row in data.promotions]
        self.edits = 0
        self._backup: Any = None
        self._made = 0

    def close(self) -> None:
        """The end of this head office."""
        self.clock.__exit__()
        self.wire.close()
        self.world.close()

    def go_to(self, day: int, hour: float) -> None:
        """Let time go on; at midnight promotions enter and leave the window."""
        self.time.passed_s = BEGINS_S + day * 86_400 + hour * 3_600
        if self.world.today() != self.clock.day():
            self.world.set_today(self.clock.day())

    def work(self, day: int, part: int) -> None:
        """What people at head office do in a part of a day."""
        dice = self.dice
        if part == 0 and day == BIG_DAY:
            self._prices(BIG_COUNT)
        if part == 2 and day == BACKUP_DAY:
            self._backup = self.world.snapshot()
        if part == 1 and day == RESTORE_DAY:
            self.world.restore(self._backup)
            self.world.set_today(self.clock.day())
            self.products = [row_id for row_id in self.products if self.world.feed.get("products", row_id)]
        self._prices(dice.randint(200, 1_000) // len(SYNCS_AT_H))
        with self.world.db.write():
            for _ in range(dice.randint(0, 8)):
                self._new_product()
            for row_id in dice.sample(self.products, dice.randint(0, 8)):
                row = self.world.get("products", row_id)
                self._edit("products", row_id, is_active=not row["is_active"])
            for row_id in dice.sample(self.products, dice.randint(0, 4)):
                self.world.delete("products", row_id)
                self.products.remove(row_id)
                self.edits += 1
            for row_id in dice.sample(self.promotions, dice.randint(0, 5)):
                row = self.world.get("promotions", row_id)
                self._edit("promotions", row_id, is_active=not row["is_active"] or dice.random() < 0.6)

    def _prices(self, count: int) -> None:
        with self.world.db.write():
            for row_id in self.dice.sample(self.products, count):
                cents = self.dice.randint(29, 4_999)
                self._edit("products", row_id, price=f"{cents // 100}.{cents % 100:02}")

    def _edit(self, dataset: str, row_id: str, **fields: Any) -> None:
        self.world.edit(dataset, row_id, **fields)
        self.edits += 1

    def _new_product(self) -> None:
        self._made += 1
        row_id = f"{self._made:08x}-aaaa-4000-8000-{self.dice.getrandbits(48):012x}"
        row = {"id": row_id, "brand_id": self.brand_id, "name": f"New {self._made}", "sku": f"N{self._made}"}
        self.world.upsert("products", row | {"price": "1.99"})
        self.products.append(row_id)
        self.edits += 1

    def feed_rows(self, dataset: str) -> Iterator[dict[str, Any]]:
        """Every row as stored, whoever it is for."""
        import msgspec

        for (body,) in self.world.db.rows("SELECT body FROM feed WHERE dataset = ? ORDER BY id", (dataset,)):
            yield msgspec.json.decode(body, type=dict[str, Any])


@dataclass
class Shop:
    """The till of the chain's store."""

    chain: Chain
    home: Path
    engine: Engine
    figures: Figures = field(default_factory=Figures)
    agent: SimulatedAgent | None = None
    fuse: Fuse = field(default_factory=Fuse)
    _counted: int = 0

    def __post_init__(self) -> None:
        self.line = CountingLine(self.chain.wire, self.fuse, self.figures)
        self.home.mkdir()
        values = {"url": "http://127.0.0.1:9", "username": self.chain.username, "device_id": "till-367"}
        ids = {"company_id": self.chain.world.company_id, "store_id": self.chain.store_id}
        more = {"brand_id": self.chain.brand_id, "ballast_mib": 0, "answer_bytes_max": 256 * 1024**2}
        self.settings = make_settings({**values, **ids, **more})
        save_settings(self.home, self.settings)
        (self.home / CREDENTIALS_NAME).write_text(f'{{"password": "{self.chain.password}"}}', encoding="utf-8")

    def sync(self, *, dies_at: int | None = None) -> Any:
        """One cycle as the background loop runs it; None when the process was killed."""
        began = time.perf_counter()
        report = None
        try:
            if self.agent is None:
                self.engine.fuses[self.home] = self.fuse
                clock = JumpingClock(self.chain.time)
                self.agent = SimulatedAgent(self.home, self.settings, clock=clock, transport=self.line)
                self._counted = 0
            if dies_at is not None:
                self.fuse.light("write", dies_at, after=bool(dies_at % 2))
            report = self.agent._syncer.run(asked=False)
            self.fuse.put_out()
            self._count_writes(self.agent._store.database.connection)
        except Crash:
            if self.agent is not None:
                self._count_writes(self.agent._store.database.connection)
            self.die()
        self.figures.syncs += 1
        self.figures.pull_s += time.perf_counter() - began
        return report

    def _count_writes(self, connection: Any) -> None:
        self.figures.rows_written += connection.total_changes - self._counted
        self._counted = connection.total_changes

    def die(self) -> None:
        """The process is gone; its files stay."""
        self.fuse.bury()
        self.agent = None
        self.fuse = self.line.fuse = Fuse()
        self.figures.deaths += 1

    def held(self, query: str) -> list[tuple[Any, ...]]:
        """Looks into the catalogue's file."""
        window = plain_connection(self.home / CATALOG_NAME)
        try:
            return [tuple(row) for row in window.execute(query)]
        finally:
            window.close()


@contextmanager
def running(profile: Profile, seed: int) -> Iterator[Shop]:
    """A chain and its till."""
    from unittest.mock import patch

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        patch("ho_stub.accounts.HASH_ROUNDS", 1),
        without_thread_pool(),
        observed() as engine,
    ):
        chain = Chain(profile, random.Random(seed))
        shop = Shop(chain, Path(folder) / "home", engine)
        try:
            yield shop
        finally:
            if shop.agent is not None:
                shop.agent.close()
                shop.fuse.bury()
            chain.close()
            shutil.rmtree(shop.home)


def versions_here(shop: Shop, dataset: str) -> list[tuple[str, int]]:
    """(id, row_version) of the till's rows; a refused row counts in its present state."""
    rows = dict(shop.held(f"SELECT id, row_version FROM {dataset}"))
    rows |= dict(shop.held(f"SELECT id, row_version FROM refused WHERE dataset = '{dataset}'"))
    return list(rows.items())


def versions_there(chain: Chain, dataset: str) -> list[tuple[str, int]]:
    """(id, row_version) of head office's rows for this store; the data has one brand and no row of one store alone."""
    window = "JOIN listing ON promotion_id = id" if dataset == "promotions" else ""  # there is one window only
    sql = f"SELECT id, row_version FROM feed {window} WHERE dataset = ?"
    return chain.world.db.rows(sql, (dataset,))  # type: ignore[return-value]


def difference(shop: Shop) -> dict[str, tuple[int, int, int]]:
    """For each dataset: rows missing here, too many here, and different."""
    found = {}
    for dataset in DATASETS:
        import json

        theirs = expected(shop.chain, dataset, shop.chain.brand_id)  # type: ignore[arg-type]
        mine = {(row := json.loads(body))["id"]: row for (body,) in shop.held(f"SELECT body FROM {dataset}")}
        both = mine.keys() & theirs.keys()
        differing = sum(mine[one] != theirs[one] for one in both)
        found[dataset] = (len(theirs.keys() - mine.keys()), len(mine.keys() - theirs.keys()), differing)
    mine, theirs = dict(shop.held("SELECT product_id, quantity FROM stock")), expected_stock(shop.chain)  # type: ignore[arg-type]
    both = mine.keys() & theirs.keys()
    found["stock"] = (
        len(theirs.keys() - mine.keys()),
        len(mine.keys() - theirs.keys()),
        sum(mine[one] != theirs[one] for one in both),
    )
    return found


def play_month(shop: Shop, at_days_end: Callable[[int], None]) -> None:
    """The month: edits, syncs, days without a line, kills."""
    chain, dice = shop.chain, shop.chain.dice
    chain.go_to(0, 6)
    first = shop.sync()
    assert not first.errors, first.errors
    _say("first load", shop.figures)
    kills = set(dice.sample(range(DAYS * len(SYNCS_AT_H)), 10))
    for day in range(DAYS):
        before = Figures(**vars(shop.figures))
        shop.line.up = day not in OFFLINE
        for part, hour in enumerate(SYNCS_AT_H):
            chain.go_to(day, hour)
            chain.work(day, part)
            is_killed = day * len(SYNCS_AT_H) + part in kills
            shop.sync(dies_at=dice.randint(1, 20) if is_killed else None)
        if shop.line.up:
            chain.go_to(day, 22)
            for _ in range(3):
                report = shop.sync()
                if report.in_touch and not report.errors:
                    break
                chain.time.passed_s += 400
            assert not report.errors, f"day {day}: {report.errors}"
            at_days_end(day)
        shop.figures.edits = chain.edits
        _say(f"day {day}", shop.figures - before)


def _say(what: str, figures: Figures) -> None:
    print(
        f"{what}: {figures.edits:,} edits, {figures.syncs} syncs, {figures.requests:,} requests, "
        f"{figures.up_bytes / 1024:,.0f} KiB up, {figures.down_bytes / 1024:,.0f} KiB down, "
        f"{figures.rows_written:,} rows written, {figures.pull_s:.1f} s, {figures.deaths} kills"
    )


@pytest.fixture
def month_seed() -> int:
    """The seed of the environment, else any; printed, so that a failure can be repeated."""
    number = int(os.environ.get("MONTH_SEED", random.SystemRandom().randrange(10**6)))
    print(f"MONTH_SEED={number}")
    return number


def settle(shop: Shop, evidence: Callable[..., None], fault: str) -> None:
    """Count and compare at the end of the month."""
    _say("the month", shop.figures)
    found = difference(shop)
    print(found)
    lost, doubled, stuck = (sum(one[place] for one in found.values()) for place in range(3))
    evidence(fault, 1, lost=lost, doubled=doubled, stuck=stuck)
    assert (lost, doubled, stuck) == (0, 0, 0), found


def test_a_month_of_a_native_head_office_ends_equal_every_day(month_seed: int, evidence: Callable[..., None]) -> None:
    """Each evening with a line, all digests are head office's; at the end every row is, and every figure."""
    with running("native", month_seed) as shop:

        def equal_by_digest(day: int) -> None:
            for dataset in DATASETS:
                mine, theirs = versions_here(shop, dataset), versions_there(shop.chain, dataset)
                assert len(mine) == len(theirs), f"day {day}: {dataset}: {len(mine)} here, {len(theirs)} there"
                assert digest(mine) == digest(theirs), f"day {day}: {dataset} differ"

        play_month(shop, equal_by_digest)
        settle(shop, evidence, "a real month, native")


def test_a_month_of_a_baseline_head_office_ends_equal(month_seed: int, evidence: Callable[..., None]) -> None:
    """With a day's snapshots alone, after a day without edits the catalogue is head office's, row by row."""
    with running("baseline", month_seed) as shop:
        play_month(shop, lambda day: None)
        for hours in (12, 26, 40, 54):  # a restored head office's older rows are believed at the second snapshot
            shop.chain.go_to(DAYS, hours)
            report = shop.sync()
            assert not report.errors, report.errors
        settle(shop, evidence, "a real month, baseline")
