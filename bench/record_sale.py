"""Recording a sale, against the same sale written by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.device import basket, fill_catalogue, make_home, open_agent
from bench.figure import Figure, median, percentile
from bench.raw_sale import RawSale
from edge_agent.agent import EdgeAgent
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

PRODUCTS = 20_000
BURST = 20
IDLE_S = 0.12  # longer than the pause after which the agent checkpoints

_Timed = tuple[list[float], list[float]]


class Idle:
    """Idle moments of the two that are compared, in which a third one keeps processor and disk awake.

    Else both would be measured waking up the machine, which costs several times what a sale costs.

    Args:
        path: a file of its own.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def wait(self, idle_s: float) -> None:
        """Let some time pass."""
        end = time.perf_counter() + idle_s
        while time.perf_counter() < end:
            self._file.seek(0)
            self._file.write(b"x" * 4096)
            self._file.flush()
            os.fsync(self._file.fileno())
            time.sleep(0.0005)


def _interleaved(agent: EdgeAgent, raw: RawSale, bursts: int, idle: Idle, idle_s: float) -> _Timed:
    """Bursts of sales by the agent and by hand in turns; each one's time in seconds."""
    mine: list[float] = []
    theirs: list[float] = []
    clock = time.perf_counter
    for burst in range(bursts):
        baskets = [basket(burst * BURST + number, PRODUCTS) for number in range(BURST)]
        for items, payments in baskets:
            start = clock()
            agent.record_sale(items, payments)
            mine.append(clock() - start)
        idle.wait(idle_s)
        for items, _ in baskets:
            start = clock()
            raw.record(items)
            theirs.append(clock() - start)
        idle.wait(idle_s)
    return mine, theirs


def speed(folder: Path, *, quick: bool) -> list[Figure]:
    """The middle and the slowest sale, in bursts with idle moments as at a till, and in an unbroken stream."""
    raw, idle = RawSale(folder / "raw.db", PRODUCTS), Idle(folder / "idle")
    with open_agent(make_home(folder / "home")) as agent:
        fill_catalogue(agent, PRODUCTS)
        _interleaved(agent, raw, 10, idle, IDLE_S)
        mine, theirs = _interleaved(agent, raw, 10 if quick else 100, idle, IDLE_S)
        stream_mine, stream_theirs = _interleaved(agent, raw, 10 if quick else 100, idle, 0)
    raw.close()
    p50, raw_p50 = median(mine), median(theirs)
    p99, raw_p99 = percentile(mine, 0.99), percentile(theirs, 0.99)
    return [
        Figure(
            "record_sale p50, against the 18-row sale by hand",
            p50 / raw_p50,
            1.20,
            stretch=1.00,
            note=f"{p50 * 1e3:.3f} against {raw_p50 * 1e3:.3f} ms; bursts of {BURST}",
        ),
        Figure(
            "the same without idle moments",
            median(stream_mine) / median(stream_theirs),
            note=f"{median(stream_mine) * 1e3:.3f} against {median(stream_theirs) * 1e3:.3f} ms",
        ),
        Figure(
            "record_sale p99 in bursts of 20, against the sale by hand with its own checkpoints",
            p99 / raw_p99,
            0.35,
            stretch=0.25,
            note=f"{p99 * 1e3:.2f} against {raw_p99 * 1e3:.2f} ms",
        ),
    ]


_COUNTED = """
import sys
from pathlib import Path
from bench.device import basket, open_agent, record
with open_agent(Path(sys.argv[1])) as agent:
    agent._checkpointer.note_write = lambda: None  # checkpoints belong to idle moments
    record(agent, [basket(number, 1_000) for number in range(int(sys.argv[2]))])
"""


def _syncs(home: Path, sales: int) -> int:
    """fdatasync and fsync calls of a process that records so many sales in one go."""
    trace = home.parent / f"syncs-{sales}"
    subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fdatasync,fsync,msync,sync_file_range"),
            *(sys.executable, "-c", _COUNTED, str(home), str(sales)),
        ],
        check=True,
        capture_output=True,
    )
    return sum("sync(" in line and "resumed" not in line for line in trace.read_text().splitlines())


def syncs(folder: Path) -> list[Figure]:
    """Syncs a sale: 120 sales less 20, so that opening, closing and the checkpoint at the end do not count."""
    what = "fdatasync calls a sale, outside checkpoints"
    if shutil.which("strace") is None:
        return [Figure(what, None, 1, sense="exactly", unit="", note="no strace here")]
    few, many = (_syncs(make_home(folder / f"counted-{sales}"), sales) for sales in (20, 120))
    return [Figure(what, (many - few) / 100, 1, sense="exactly", unit="", note=f"{many} for 120 sales, {few} for 20")]


_PENDING = """
WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < :count)
INSERT INTO sales (entry, journal_number, device_seq, external_id, kind, business_date, currency, exponent, total_minor,
    fingerprint, recorded_ms)
SELECT :first + seq, 1, seq, printf('0191e5a2-0000-7000-8000-%012d', seq), 'sale', '2026-11-20', 'USD', 2, 12345,
    printf('%064d', seq), 1763600000000 + seq FROM n"""
_PENDING_BODIES = "INSERT INTO sale_bodies SELECT entry, zeroblob(200) FROM sales"
_PENDING_MOVES = """
WITH RECURSIVE n (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n WHERE seq < :per_product)
INSERT INTO stock_moves SELECT p.id, :first + n.seq, 1, 1000 FROM bench_products p, n ORDER BY p.id, n.seq"""


def _make_pending(agent: EdgeAgent, count: int) -> None:
    """So many sales of eight lines that head office has not seen, written past the agent."""
    connection = agent._journal.database.connection
    ids = [row[0] for row in agent._store.database.connection.execute("SELECT id FROM products")]
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TEMP TABLE bench_products (id TEXT)")
    connection.executemany("INSERT INTO bench_products VALUES (?)", [(one,) for one in ids])
    values = {"first": ENTRIES_PER_JOURNAL, "count": count, "per_product": count * 8 // len(ids)}
    with agent._journal.database.immediate():
        connection.execute(_PENDING, values)
        connection.execute(_PENDING_BODIES)
        connection.execute(_PENDING_MOVES, values)
        connection.execute("UPDATE journals SET last_seq = ?", (count,))
        connection.execute("INSERT INTO meta VALUES ('moves_indexed_entry', ?)", (str(ENTRIES_PER_JOURNAL + count),))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    agent._recovery.shadow.catch_up()  # what a shop's idle moments do while so many sales gather


def backlog(folder: Path, *, quick: bool) -> list[Figure]:
    """Recording with a million sales waiting, against none waiting, in turns."""
    count = 20_000 if quick else 1_000_000
    empty, full = (open_agent(make_home(folder / name)) for name in ("none-pending", "many-pending"))
    with empty, full:
        for agent in (empty, full):
            fill_catalogue(agent, PRODUCTS)
        _make_pending(full, count)
        idle = Idle(folder / "idle")
        times: dict[EdgeAgent, list[float]] = {empty: [], full: []}
        for burst in range(10 if quick else 60):
            baskets = [basket(burst * BURST + number, PRODUCTS) for number in range(BURST)]
            for agent in (empty, full):
                for items, payments in baskets:
                    start = time.perf_counter()
                    agent.record_sale(items, payments)
                    times[agent].append(time.perf_counter() - start)
                idle.wait(0.06)
        few, many = median(times[empty]), median(times[full])
    return [
        Figure(
            f"record_sale p50 with {count:,} sales pending, against none",
            many / few,
            1.2,
            note=f"{many * 1e3:.3f} against {few * 1e3:.3f} ms",
        )
    ]


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of recording."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        say("record_sale: bursts, against the sale by hand")
        figures += speed(folder, quick=quick)
        say("record_sale: counting syncs")
        figures += syncs(folder)
        say("record_sale: with a backlog")
        figures += backlog(folder, quick=quick)
    return figures


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
