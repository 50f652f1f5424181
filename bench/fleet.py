"""A thousand devices against the head-office stub on PostgreSQL: what polls, pulls and sales cost it, and exact books.

    python -m bench.fleet --db postgresql://user@host/name [--devices 100 --devices 1000] [--workers 2]

prints a Markdown table. All devices live in this process, each with a connection, a token, an ETag, a cursor and a
journal of its own; they speak HTTP by hand, so that the two cores are the server's. Each number of devices gets a
schema of its own, which is dropped afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from bench.line import Line
from bench.products import BRAND, COMPANY, product, product_id
from ho_stub.own_schema import OwnSchema
from ho_stub.world import World

PRODUCTS = 1_000
STORES = 50
POLLS = 5  # of each device
BATCHES, BATCH_SALES = 1, 5
AGAIN = 0.1  # so many batches are sent twice, as after a lost answer
EDITS = 20
SYNC = "/api/v1/sync"


@dataclass
class Device:
    """A till: what it holds, and what it has sold."""

    number: int
    store_id: str
    line: Line
    etag: str = ""
    cursor: str = ""
    rows: int = 0
    journal_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sold: int = 0
    total: Decimal = Decimal(0)

    @property
    def name(self) -> str:
        """Its device id."""
        return f"till-{self.number:04d}"

    async def sign_in(self) -> None:
        """With the account of its store."""
        account = {"username": f"store-{self.number % STORES}", "password": "secret"}
        self.line.token = json.loads(await self._must(200, "POST", "/api/token/", account))["access"]

    async def poll(self) -> None:
        """Has anything changed?"""
        path = f"{SYNC}/version/?company_id={COMPANY}&store_id={self.store_id}"
        status, etag, _ = await self.line.ask("GET", path, etag=self.etag)
        if status not in (200, 304):
            raise RuntimeError(f"{self.name}: a poll was answered {status}")
        self.etag = etag

    async def pull(self) -> None:
        """Products, from the cursor on."""
        more = True
        while more:
            path = f"{SYNC}/products/?company_id={COMPANY}&brand_id={BRAND}&store_id={self.store_id}"
            body = await self._must(200, "GET", path + (f"&cursor={self.cursor}" if self.cursor else ""))
            answer = json.loads(body[body.index(b'"deleted_ids"') - 1 :].replace(b",", b"{", 1))  # not the rows
            self.cursor, more = answer["next_cursor"], answer["has_more"]
            self.rows += answer["total"]

    async def sell(self) -> None:
        """A batch of sales; now and then its answer is lost, and it goes again."""
        chance = random.Random(f"{self.name} {self.sold}")
        batch = {
            "device_id": self.name,
            "clock_offset_ms": 0,
            "sales": [self._sale(chance) for _ in range(BATCH_SALES)],
        }
        for expected in ("created", "duplicate")[: 2 if chance.random() < AGAIN else 1]:
            results = json.loads(await self._must(200, "POST", f"{SYNC}/sales/", batch))["results"]
            if [result["status"] for result in results] != [expected] * BATCH_SALES:
                raise RuntimeError(f"{self.name}: {results}")

    def _sale(self, chance: random.Random) -> dict[str, Any]:
        self.sold += 1
        lines = [(chance.randrange(PRODUCTS), chance.randrange(1, 4), chance.randrange(50, 2_000)) for _ in range(3)]
        total = Decimal(sum(quantity * cents for _, quantity, cents in lines)) / 100
        self.total += total
        items = [
            {"line": number, "product": product_id(one), "quantity": str(quantity), "unit_price": f"{cents / 100:.2f}"}
            for number, (one, quantity, cents) in enumerate(lines, 1)
        ]
        return {
            "external_id": str(uuid.uuid4()), "store_id": self.store_id, "device_id": self.name,
            "journal_id": self.journal_id, "device_seq": self.sold, "kind": "sale", "refers_to": None, "reason": None,
            "business_date": "2026-11-21", "client_timestamp": "2026-11-21T09:15:02.114Z", "currency": "USD",
            "items": items, "payments": [{"method": "cash", "amount": f"{total:.2f}"}],
            "total_amount": f"{total:.2f}", "extra": {},
        }  # fmt: skip

    async def check(self) -> None:
        """Head office's receipts say what was sold, to the cent. Raises RuntimeError if not."""
        path = f"{SYNC}/receipts/?device_id={self.name}&journal_id={self.journal_id}"
        said = json.loads(await self._must(200, "GET", path))
        held = (said["count"], said["contiguous_seq"], said["missing"], said["refused"], said["total_amount"])
        if held != (self.sold, self.sold, [], [], f"{self.total:.2f}"):
            raise RuntimeError(f"{self.name} sold {self.sold} for {self.total}; head office has {held}")

    async def _must(self, status: int, method: str, path: str, body: object = None) -> bytes:
        got, _, answer = await self.line.ask(method, path, body)
        if got != status:
            raise RuntimeError(f"{self.name}: {method} {path} was answered {got}: {answer[:200]!r}")
        return answer


@dataclass(frozen=True, slots=True)
class Cost:
    """What all devices doing one thing cost."""

    what: str
    count: int
    wall_s: float
    worker_s: float
    database_s: float
    p95_ms: float

    @property
    def cells(self) -> str:
        """Cells of the table."""
        each = f"{self.worker_s / self.count * 1e3:.2f} + {self.database_s / self.count * 1e3:.2f}"
        return f"{self.count:,} | {self.count / self.wall_s:,.0f} | {each} | {self.p95_ms:,.0f}"


class Server:
    """`ho-stub run` with its workers, and how much CPU they and PostgreSQL have used."""

    def __init__(self, url: str, data: Path, workers: int) -> None:
        command = [sys.executable, "-m", "ho_stub", "run", "--port", "0", "--db", url, "--data", str(data)]
        command += ["--workers", str(workers)]
        self._log = data.with_name("server.log")  # no pipe: nobody would read the log of requests
        with self._log.open("w") as log:
            self._running = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        while self._said().count("Started server process") < workers:
            if self._running.poll() is not None:
                raise RuntimeError(f"the stub ended: {self._said()}")
            time.sleep(0.1)  # what starting costs is not what serving costs
        self.host, port = self._said().split("http://", 1)[1].split()[0].split(":")
        self.port = int(port)

    def _said(self) -> str:
        return self._log.read_text()

    def worker_s(self) -> float:
        """CPU seconds of the stub's processes so far."""
        main = psutil.Process(self._running.pid)
        return sum(_cpu_s(one) for one in [main, *main.children(recursive=True)])

    def close(self) -> None:
        """End it."""
        self._running.terminate()
        self._running.wait(30)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def seed(folder: Path) -> tuple[Path, list[str]]:
    """A chain's data as the stub reads it, and its stores."""
    stores = [str(uuid.UUID(int=number + 1 | 4 << 76 | 2 << 62)) for number in range(STORES)]
    place = {"timezone": "Asia/Jakarta", "day_start": "04:00", "currency": "USD", "brand_id": BRAND}
    data = {
        "company": {"id": COMPANY, "name": "Fleet", "timezone": "Asia/Jakarta", "currency": "USD"},
        "brands": [{"id": BRAND, "name": "Fleet"}],
        "stores": [
            {"id": one, "code": f"S{number}", "name": f"S{number}"} | place for number, one in enumerate(stores)
        ],
        "products": [product(number) for number in range(PRODUCTS)],
        "accounts": [
            {"username": f"store-{number}", "password": "secret", "store_id": one} for number, one in enumerate(stores)
        ],
    }
    path = folder / "fleet.json"
    path.write_text(json.dumps(data))
    return path, stores


async def run(url: str, count: int, workers: int, folder: Path) -> list[Cost]:
    """All that so many devices do. Raises RuntimeError when a single sale is lost, doubled or off by a cent."""
    data, stores = seed(folder)
    server = Server(url, data, workers)
    office = World(url, joins=True)
    postmaster = psutil.Process(int(office.db.value("SELECT pg_backend_pid()"))).parent()
    devices = [Device(number, stores[number % STORES], Line(server.host, server.port)) for number in range(count)]
    costs: list[Cost] = []

    def database_s() -> float:
        if postmaster is None:
            return 0.0
        ended = postmaster.cpu_times()  # those of connections that were closed meanwhile
        return sum(map(_cpu_s, postmaster.children()), float(ended.children_user + ended.children_system))

    async def all_do(what: str, act: Callable[[Device], Awaitable[None]], times: int = 1, each: int = 1) -> None:
        took: list[float] = []

        async def one_does(device: Device) -> None:
            await asyncio.sleep(random.random() * 0.2)
            for _ in range(times):
                began = time.perf_counter()
                await act(device)
                took.append((time.perf_counter() - began) * 1e3)

        before, began = (server.worker_s(), database_s()), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for device in devices:
                group.create_task(one_does(device))
        wall_s = time.perf_counter() - began
        spent = (server.worker_s() - before[0], database_s() - before[1])
        costs.append(Cost(what, len(took) * each, wall_s, *spent, sorted(took)[len(took) * 95 // 100]))
        print(f"… {count} devices: {what}, {wall_s:.1f} s", file=sys.stderr, flush=True)

    try:
        await all_do("signing in", Device.sign_in)
        await all_do(f"first pull of {PRODUCTS:,} products", Device.pull)
        await all_do("version poll: first, 200", Device.poll)
        await all_do("version poll: nothing changed, 304", Device.poll, POLLS)
        with office.db.write():
            for number in range(EDITS):
                office.edit("products", product_id(number), price=f"{number}.99")
        await all_do(f"pull of {EDITS} new prices", Device.pull)
        await all_do("sale, in batches of 5", Device.sell, BATCHES, BATCH_SALES)
        await all_do("receipts", Device.check)
        total = sum((device.total for device in devices), Decimal(0))
        expected = (sum(device.sold for device in devices), f"{total:.2f}", {PRODUCTS + EDITS})
        held = (office.sale_count(), office.ledger_total(), {device.rows for device in devices})
        if held != expected:
            raise RuntimeError(f"head office holds {held}, the devices {expected}")
        costs.append(Cost(f"{expected[0]:,} sales, {expected[1]}", expected[0], 1, 0, 0, 0))
    finally:
        for device in devices:
            device.line.close()
        office.close()
        server.close()
    return costs


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--db", required=True, help="a PostgreSQL database to make schemas in")
    parser.add_argument("--devices", type=int, action="append", help="how many; say it once for each row")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    print("| devices | what | how often | a second | CPU ms each: workers + PostgreSQL | 95 % within ms |")
    print("|---|---|---|---|---|---|")
    for count in asked.devices or [100, 300, 1_000]:
        schema = OwnSchema(asked.db)
        try:
            with tempfile.TemporaryDirectory() as folder:
                *costs, books = asyncio.run(run(schema.url, count, asked.workers, Path(folder)))
        finally:
            schema.drop()
        for cost in costs:
            print(f"| {count:,} | {cost.what} | {cost.cells} |")
        print(f"| {count:,} | **books exact**: {books.what}, each once, to the cent | | | | |", flush=True)


if __name__ == "__main__":
    main()
