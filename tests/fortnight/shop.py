"""The shop of the fortnight: head office on a real port, a home on a disk of its own, the programs, and the books."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge_agent import EdgeAgent
from edge_agent.cli.replay import Basket, by_code, read_baskets
from edge_agent.clock import Clock
from edge_agent.settings import make_settings
from edge_agent.setup import set_up
from edge_agent.storage.aside import damaged_files
from ho_stub.loader import Dataset, load
from ho_stub.testing import Canned, HeadOffice
from tests.fortnight.clockwork import VARIABLE, Clockwork, move_head_office
from tests.fortnight.pos import digest
from tests.fortnight.programs import ROOT, Pos, Service, launched

SAMPLE = ROOT / "ho_stub" / "sample"
DISK_MIB = 256
LAST_WORDS = 2_000
NODE = shutil.which("node")
# In simulated seconds: a cycle or two of a real shop's minute, at a speed that a small machine can follow.
PACE = {"poll_interval_s": 1_800, "heartbeat_interval_s": 3_600, "stock_interval_s": 3_600, "return_spread_s": 600}
# In real seconds: a socket knows no simulated time.
# A machine that is busy with other things as well must not look like a line that is dead.
PATIENCE = {"connect_timeout_s": 3.0, "read_timeout_s": 6.0, "answer_deadline_s": 8.0}
ROOM = {"ballast_mib": 4, "disk_warn_mib": 16}


class Disk:
    """A small disk for the home, so that it can be filled; where this user may mount none, a folder that can't be."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.why_not = ""
        self._mounted = False
        if sys.platform != "linux" or os.geteuid() != 0:
            self.why_not = "mounting a small disk needs root on Linux"
            return
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs", str(self.home)],
            capture_output=True,
            text=True,
            check=False,
        )
        self._mounted = done.returncode == 0
        self.why_not = "" if self._mounted else f"no small disk can be mounted here: {done.stderr.strip()}"

    @property
    def _filler(self) -> Path:
        return self.home / "somebody-elses-file"

    def fill(self) -> None:
        """Somebody's file takes all the room there is, again when some came free. Never on a real disk."""
        if not self.home.is_mount():
            return
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            for _ in range(DISK_MIB * 256):
                file.write(bytes(4096))

    def clear(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.home)], check=False)


class Shop:
    """Everything there is, and what was asked of it.

    Args:
        folder: an empty folder.
        begins: the first moment of simulated time.
        speed: how many simulated seconds a real one has.
        dice: the run's dice.
    """

    def __init__(self, folder: Path, begins: dt.datetime, speed: float, dice: random.Random) -> None:
        self.folder, self.dice = folder, dice
        self.work = Clockwork(folder / "clock", write=True)
        self.work.begin(begins, 1.0)
        move_head_office(self.work)
        self.disk = Disk(folder)
        self.home = self.disk.home
        self.office = HeadOffice(data=_this_year(begins.year))
        self.office._app = Dated(self.office._app, self.work)  # type: ignore[assignment]
        self.per_hour: collections.Counter[int] = collections.Counter()
        self.per_real_s: collections.Counter[int] = collections.Counter()
        self.weather: list[Callable[[str, str], Canned | None]] = []
        self.office.intercept = self._meet
        self.office.start()
        self.zone = ZoneInfo(self.office.world.company["timezone"])
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = int(one.getsockname()[1])
        self._set_up()
        self.work.begin(self.work.now(), speed)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_AGENT_")}
        self.environment = clean | {
            "EDGE_AGENT_HOME": str(self.home),
            VARIABLE: str(self.work.path),
            "PYTHONUTF8": "1",
            "NO_COLOR": "1",
        }
        self._outputs = (folder / "programs.log").open("w", encoding="utf-8")
        self.service = Service(self.home, self.environment, self._outputs)
        self.embedded = Pos("embedded", launched("pos"), self.environment, self._outputs)
        self.tills = [self.embedded]
        if NODE is not None:
            script = str(ROOT / "tests/fortnight/pos.mjs")
            command = [NODE, script, str(self.home), str(self.port)]
            self.tills.append(Pos("JavaScript", command, self.environment, self._outputs))
        self._baskets = self._all_baskets()
        self._products = {row["sku"]: row["id"] for row in self.office.world.rows("products")}
        self._promotions = by_code(self.office.world.rows("promotions"))
        self.receipts = 0

    def _set_up(self) -> None:
        office = self.office
        values = {
            "url": office.url,
            "username": office.username,
            "company_id": office.company_id,
            "store_id": office.store_id,
            "brand_id": office.brand_id,
            "device_id": "pos-02",
            "local_port": self.port,
        }
        clock, settings = RightClock(self.work), make_settings(values | PACE | PATIENCE | ROOM)
        set_up(self.home, settings, office.password, clock)
        with EdgeAgent(self.home, settings, clock=clock) as agent:  # as ``edge-agent init`` does
            assert not agent.sync().errors

    def _meet(self, method: str, path: str) -> Canned | None:
        """What happens to a request on its way."""
        self.per_hour[int(self.work.true_s() // 3600)] += 1
        self.per_real_s[int(time.monotonic())] += 1
        for way in tuple(self.weather):
            if (canned := way(method, path)) is not None:
                return canned
        return None

    # ---- programs ----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """The shop's machine is switched on."""
        self.service.start()
        for till in self.tills:
            till.open()

    def kill_everything(self) -> None:
        """The machine loses its power; what programs had written to the system stays (the disk is tried elsewhere)."""
        for till in self.tills:
            till.kill()
        self.service.kill()

    def close(self) -> None:
        """The end of everything."""
        for till in self.tills:
            till.close()
        if self.service.process is not None and self.service.process.poll() is None:
            self.service.kill()
        self.office.close()
        self._outputs.close()
        self.disk.close()

    # ---- selling -----------------------------------------------------------------------------------------------

    def _all_baskets(self) -> Iterator[Basket]:
        baskets = list(read_baskets(SAMPLE))
        self.dice.shuffle(baskets)
        while True:
            yield from baskets

    def sell(self) -> None:
        """The next customer, at one of the tills."""
        till = self.dice.choice(self.tills)
        basket = next(self._baskets)
        sale = self._sale_of(basket)
        till.ask({"do": "sell", "sale": sale})
        for use in basket.uses:
            if use.code in self._promotions:
                usage = {
                    "promotion_id": self._promotions[use.code],
                    "discount_amount": f"{use.amount:.2f}",
                    "sale_external_id": sale["external_id"],
                    "line": use.line_no,
                }
                till.ask({"do": "use", "usage": usage})

    def _sale_of(self, basket: Basket) -> dict[str, Any]:
        self.receipts += 1
        items = []
        for line in basket.lines:
            product = self._products.get(line.product_id) if line.known else None
            known = {"product": product} if product else {"product_data": {"sku": line.product_id, "name": line.name}}
            items.append({**known, "quantity": line.quantity, "unit_price": line.unit_price, "discount": line.discount})
        payments = [{"method": method, "amount": f"{amount:.2f}"} for method, amount in basket.payments]
        return {
            "external_id": str(uuid.UUID(int=self.dice.getrandbits(128), version=4)),
            "receipt_number": f"R{self.receipts:05d}",
            "items": items,
            "payments": payments or [{"method": "cash", "amount": "0.00"}],
            "extra": {"household": basket.household_id},
        }

    def product_ids(self) -> list[str]:
        """Products that head office has now and sells at a price."""
        return [row["id"] for row in self.office.world.rows("products") if row["price"] is not None]

    # ---- the books ---------------------------------------------------------------------------------------------

    def acknowledged(self) -> dict[str, Decimal]:
        """Every sale that a till was told is recorded, with its total."""
        answers = [one.answer or {} for till in self.tills for one in tuple(till.done) if one.asked["do"] == "sell"]
        return {answer["external_id"]: Decimal(answer["total"]) for answer in answers}

    def uses(self) -> set[str]:
        """Every use of a promotion that a till was told is recorded."""
        return {
            (one.answer or {})["external_id"]
            for till in self.tills
            for one in tuple(till.done)
            if one.asked["do"] == "use"
        }

    def at_head_office(self) -> list[dict[str, Any]]:
        """The sales that count in head office's ledger."""
        return [sale for sale in self.office.world.sales() if sale["state"] == "accepted"]

    def missing(self) -> set[str]:
        """Acknowledged sales that head office does not have."""
        return set(self.acknowledged()) - {sale["external_id"] for sale in self.at_head_office()}

    def catalogue(self) -> dict[str, str]:
        """Head office's catalogue as the till tells its own."""
        rows = self.office.world.rows
        return {name: digest({row["id"]: row for row in rows(name)}) for name in ("products", "promotions")}

    def log_lines(self) -> int:
        """How many lines the daemon's log has."""
        files = (self.home / "logs").glob("edge-agent.log*") if (self.home / "logs").exists() else []
        return sum(file.read_bytes().count(b"\n") for file in files)

    def set_aside(self, name: str) -> int:
        """How many damaged files of a name were moved aside."""
        return len(damaged_files(self.home / name)) if name else 0

    def last_words(self) -> str:
        """What the programs last wrote to their outputs, for finding out why one ended."""
        return (self.folder / "programs.log").read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].strip()

    def backups(self) -> list[str]:
        """The names of the backups there are."""
        folder = self.home / "backups"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def _this_year(year: int) -> Dataset:
    """The sample, its promotions on the same days of another year: some run, some begin, some end meanwhile."""
    sample = load(SAMPLE)
    return dataclasses.replace(sample, promotions=[_moved(row, year) for row in sample.promotions])


def _moved(row: Mapping[str, Any], year: int) -> dict[str, Any]:
    validity = dict(row["validity"])
    for key in ("start_date", "end_date"):
        if validity[key]:
            validity[key] = dt.date.fromisoformat(validity[key]).replace(year=year).isoformat()
    return {**row, "validity": validity}


class RightClock(Clock):
    """The clock of the person who sets the device up."""

    def __init__(self, work: Clockwork) -> None:
        self._work = work

    def now(self) -> dt.datetime:
        return self._work.now()

    def now_ms(self) -> int:
        return int(self._work.true_s() * 1000)

    def monotonic_s(self) -> float:
        return self._work.elapsed_s()

    def elapsed_s(self) -> float:
        return self._work.elapsed_s()

    def boot_id(self) -> str:
        return self._work.boot()


class Dated:
    """Head office's application with the right simulated time in its answers."""

    def __init__(self, app: Any, work: Clockwork) -> None:
        self._app, self._work = app, work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def dated(message: Any) -> None:
            if message["type"] == "http.response.start":
                date = self._work.now().strftime("%a, %d %b %Y %H:%M:%S GMT")
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"date"]
                message = {**message, "headers": [*headers, (b"date", date.encode())]}
            await send(message)

        await self._app(scope, receive, dated)


@contextlib.contextmanager
def opened(begins: dt.datetime, speed: float, dice: random.Random) -> Iterator[Shop]:
    """A shop in a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="fortnight-") as folder:
        shop = Shop(Path(folder), begins, speed, dice)
        try:
            yield shop
        finally:
            shop.close()
