"""What keeping a catalogue equal costs on the wire and on the disk: requests, bytes both ways, rows written.

    python -m bench.wire [--quick]

prints a Markdown table. Bytes are what goes over the connection, headers included, counted between a till and the
stub on real ports; rows are SQLite's own count of changes in ``catalog.db``, those of the search's tables included.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.device import make_home
from bench.figure import Figure
from bench.products import BRAND, COMPANY, STORE, product, product_id
from edge_agent.agent import EdgeAgent
from edge_agent.settings import CREDENTIALS_NAME
from ho_stub.seed import Dataset
from ho_stub.testing import HeadOffice

MANY_PRICES = 1_000
CHUNK_BYTES = 65_536


@dataclass
class Traffic:
    """Bytes that went by, from the till and to it."""

    up: int = 0
    down: int = 0


class Relay:
    """A port that leads to another one and counts what goes by.

    Args:
        to_port: where it leads, on this machine.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self.traffic = Traffic()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def close(self) -> None:
        """Close the port; connections end with their till."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @staticmethod
    def _start(work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                till, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, till)

    def _serve(self, till: socket.socket) -> None:
        with till, socket.create_connection(("127.0.0.1", self._to_port)) as office:
            for one in (till, office):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            upwards = self._start(self._carry, till, office, "up")
            self._carry(office, till, "down")
            upwards.join()

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                # Counted before it goes on: when the till has an answer, all of it is counted.
                setattr(self.traffic, way, getattr(self.traffic, way) + len(data))
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost."""

    what: str
    requests: int
    up: int
    down: int
    rows: int

    @property
    def as_row(self) -> str:
        """A line of the Markdown table."""
        return f"| {self.what} | {self.requests} | {_size(self.up)} | {_size(self.down)} | {self.rows:,} |"

    @property
    def as_figure(self) -> Figure:
        """A line of the benchmarks' table."""
        note = f"{self.requests} requests, {_size(self.up)} up, {_size(self.down)} down, {self.rows:,} rows written"
        return Figure(f"wire: {self.what}", (self.up + self.down) / 1024, unit="KiB", note=note)


def _size(count: int) -> str:
    return f"{count:,} B" if count < 10_240 else f"{count / 1024:,.0f} KiB"


@dataclass
class Bench:
    """A till, its head office, and what stands between and counts."""

    agent: EdgeAgent
    office: HeadOffice
    relay: Relay

    def measure(self, what: str, work: Callable[[], object]) -> Cost:
        """Do something, and say what it cost."""
        traffic, connection = self.relay.traffic, self.agent._store.database.connection
        before = (len(self.office.requests), traffic.up, traffic.down, connection.total_changes)
        work()
        after = (len(self.office.requests), traffic.up, traffic.down, connection.total_changes)
        return Cost(what, *(new - old for new, old in zip(after, before, strict=True)))

    def poll(self) -> None:
        """One cycle as the background loop runs it.

        Raises:
            RuntimeError: it did not go well.
        """
        report = self.agent._syncer.run(asked=False)
        if report.errors:
            raise RuntimeError(f"the cycle failed: {report.errors}")

    def reprice(self, numbers: range) -> None:
        """New prices at head office, in one transaction."""
        world = self.office.world
        with world.db.write():
            for number in numbers:
                world.edit("products", product_id(number), price=f"{number % 89 + 1}.49")

    def verify(self, expected: int) -> None:
        """Compare with head office, and mend.

        Raises:
            RuntimeError: it found another number of rows than there are.
        """
        found = self.agent.verify_catalogue(repair=True, dataset="products")
        if (len(found.drift), found.repaired) != (expected, expected):
            raise RuntimeError(f"verify found {len(found.drift)} rows and mended {found.repaired}, not {expected}")

    def spoil(self, sql: str, *values: object) -> None:
        """Change the till's catalogue behind the agent's back."""
        self.agent._store.database.connection.execute(sql, values)


@contextmanager
def opened(folder: Path, count: int) -> Iterator[Bench]:
    """A till that was set up and has not synced, with so many products at its head office."""
    stores = [{"id": STORE, "code": "S01", "name": "Main", "brand_id": BRAND, "timezone": "Asia/Jakarta"}]
    data = Dataset(
        company={"id": COMPANY, "name": "Bench", "timezone": "Asia/Jakarta", "currency": "USD"},
        brands=[{"id": BRAND, "name": "Bench"}],
        stores=[{**stores[0], "day_start": "04:00", "currency": "USD"}],
        products=map(product, range(count)),
    )
    with HeadOffice(data=data) as office:
        relay = Relay(office.port)
        home = make_home(folder / f"wire-{count}", relay.url)
        (home / CREDENTIALS_NAME).write_bytes(msgspec.json.encode({"password": office.static_key}))
        agent = EdgeAgent.open(home)
        try:
            yield Bench(agent, office, relay)
        finally:
            agent.close()
            relay.close()


def costs(folder: Path, count: int) -> list[Cost]:
    """Each case, on so many products."""
    middle = product_id(count // 2)
    with opened(folder, count) as bench:
        found = [bench.measure(f"first load of {count:,} products", bench.poll)]
        bench.poll()
        found.append(bench.measure("nothing changed", bench.poll))
        bench.reprice(range(7, 8))
        found.append(bench.measure("one price", bench.poll))
        bench.reprice(range(0, count, count // MANY_PRICES))
        found.append(bench.measure(f"{MANY_PRICES:,} prices", bench.poll))
        found.append(bench.measure("verify, and all is equal", lambda: bench.verify(0)))
        bench.spoil("UPDATE products SET price = '0.01', body = CAST(body || ' ' AS BLOB) WHERE id = ?", middle)
        found.append(bench.measure("one row drifted here: verify and repair", lambda: bench.verify(1)))
        bench.spoil("DELETE FROM products WHERE id = ?", middle)
        found.append(bench.measure("one row missing here: verify and repair", lambda: bench.verify(1)))
        _must_be_equal(bench)
    return found


def _must_be_equal(bench: Bench) -> None:
    mine: Any = bench.agent._store.database.connection.execute("SELECT body FROM products ORDER BY id")
    theirs = bench.office.world.rows("products")
    if [msgspec.json.decode(body) for (body,) in mine] != theirs:
        raise RuntimeError("the catalogue is not head office's")


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of the wire."""
    count = 10_000 if quick else 100_000
    say(f"wire: {count:,} products, what keeping them equal costs")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return [cost.as_figure for cost in costs(Path(name), count)]


def main() -> None:
    """Print the table."""
    count = 10_000 if "--quick" in sys.argv else 100_000
    print(f"| on {count:,} products | requests | to head office | from head office | rows written |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for cost in costs(Path(name), count):
            print(cost.as_row)


if __name__ == "__main__":
    main()
