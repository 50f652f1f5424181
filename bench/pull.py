"""Pulling a catalogue over HTTP, against executemany of rows that lie ready in memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import sink
from bench.device import fill_catalogue, make_home, open_agent
from bench.figure import Figure, median, percentile, seconds
from bench.products import PAGE_ROWS, write_pages
from bench.raw_catalogue import UPSERT_ROWS, RawCatalogue, Rows, rows
from edge_agent.agent import EdgeAgent
from edge_agent.storage.catalog import PageWrite

MANY = 400_000


def served(folder: Path, count: int) -> Path:
    """The folder of a sink that serves so many products; made once."""
    pages = folder / f"pages-{count}"
    if not pages.exists():
        pages.mkdir()
        write_pages(pages, count)
        sink.write_version(pages, 1)
    return pages


def _pull(home: Path) -> float:
    """How long a pull takes, from the version answer to the last index; imports are not counted."""
    with open_agent(home) as agent:
        agent.head_office().close()
        return seconds(lambda: _must_work(agent))


def _must_work(agent: EdgeAgent) -> None:
    report = agent.sync()
    if report.errors:
        raise RuntimeError(f"the pull failed: {report.errors}")


def _indexed_after(path: Path, ready: Rows) -> float:
    raw = RawCatalogue(path, indexes=False)
    spent = seconds(lambda: raw.insert_and_index(ready))
    raw.close()
    return spent


def _indexed_before(path: Path, ready: Rows) -> float:
    raw = RawCatalogue(path, indexes=True, synchronous="FULL")
    spent = seconds(lambda: raw.upsert(ready))
    raw.close()
    return spent


def first_load(folder: Path, count: int, rounds: int) -> list[Figure]:
    """A first pull, the same rows by executemany, and upserts with every index in place, in turns."""
    ready = rows(count)
    mine, after, before = [], [], []
    with sink.running(served(folder, count)) as url:
        for number in range(rounds):
            name = f"{count}-{number}"
            mine.append(_pull(make_home(folder / f"first-{name}", url)))
            after.append(_indexed_after(folder / f"after-{name}.db", ready))
            before.append(_indexed_before(folder / f"before-{name}.db", ready))
    pull_s, after_s, before_s = median(mine), median(after), median(before)
    bar = 4.0 if count >= MANY else 2.0
    speed = f"{count / pull_s / 1e3:.0f}k rows/s over HTTP"
    return [
        Figure(
            f"pull of {count:,} over HTTP, against executemany and indexes built afterwards",
            after_s / pull_s,
            None if count >= MANY else 0.70,
            sense="at least",
            stretch=None if count >= MANY else 0.85,
            note=f"{speed} against {count / after_s / 1e3:.0f}k",
        ),
        Figure(
            f"the same, against {UPSERT_ROWS:,}-row upserts (FULL) with the indexes in place",
            before_s / pull_s,
            bar,
            sense="at least",
            stretch=5.0 if count >= MANY else 2.5,
            note=f"{speed} against {count / before_s / 1e3:.0f}k",
        ),
    ]


def _every_column(path: Path, old: Rows, new: Rows) -> float:
    raw = RawCatalogue(path, indexes=True)
    raw.upsert(old)
    spent = seconds(lambda: raw.upsert(new))
    raw.close()
    return spent


def _apply_pages(agent: EdgeAgent, ready: Rows) -> None:
    store = agent._store
    for start in range(0, len(ready), PAGE_ROWS):
        cursor = store.state("products").cursor
        part = ready[start : start + PAGE_ROWS]
        store.apply(PageWrite(dataset="products", asked_cursor=cursor, next_cursor=f"at {start}", rows=part))


def price_delta(folder: Path, count: int, rounds: int) -> list[Figure]:
    """New prices for every product: as the agent writes them, against an upsert that sets every column."""
    old, new = rows(count), rows(count, version=2)
    plain = [row[:-1] for row in new]
    mine, theirs = [], []
    for number in range(rounds):
        with open_agent(make_home(folder / f"delta-{number}")) as agent:
            fill_catalogue(agent, count)
            mine.append(seconds(lambda: _apply_pages(agent, plain)))
        theirs.append(_every_column(folder / f"raw-delta-{number}.db", old, new))
    return [
        Figure(
            f"a price-only delta of {count:,}, against an upsert that sets every column",
            median(theirs) / median(mine),
            3.0,
            sense="at least",
            stretch=4.0,
            note=f"{count / median(mine) / 1e3:.0f}k against {count / median(theirs) / 1e3:.0f}k rows/s",
        )
    ]


_PULLED = """
import sys
from pathlib import Path
from edge_agent.agent import EdgeAgent
with EdgeAgent.open(Path(sys.argv[1])) as agent:
    report = agent.sync(full=len(sys.argv) > 2)
    assert not report.errors, report.errors
status = Path("/proc/self/status")
if status.exists():  # the peak of this program alone; getrusage on Linux remembers the one that started it
    print(next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


def memory(folder: Path, few: int, many: int) -> list[Figure]:
    """The largest a process gets that pulls a first snapshot, and how that grows with the catalogue."""
    if sys.platform == "win32":
        return [Figure("peak memory of a pull", None, 60, unit="MB", note="not measured on Windows")]
    peaks = []
    for count in (few, many):
        with sink.running(served(folder, count)) as url:
            home = make_home(folder / f"memory-{count}", url)
            open_agent(home).close()  # making the databases is not part of a pull
            command = [sys.executable, "-c", _PULLED, str(home)]
            peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return [
        Figure(f"peak memory of a pull of {few:,}", peaks[0], 60, stretch=45, unit="MB"),
        Figure(f"its growth to {many:,}", peaks[1] - peaks[0], 3, unit="MB", note=f"{peaks[1]:.1f} MB"),
    ]


_SELL = """
import sys, time
from pathlib import Path
from bench.device import basket, open_agent
products = int(sys.argv[2])
with open_agent(Path(sys.argv[1])) as agent:
    number = 0
    print("ready", flush=True)
    for line in sys.stdin:
        took = []
        end = time.monotonic() + float(line)
        while time.monotonic() < end:
            number += 1
            items, payments = basket(number, products)
            start = time.perf_counter()
            agent.record_sale(items, payments)
            took.append(time.perf_counter() - start)
            time.sleep(0.1 if number % 20 == 0 else 0.001)
        print(*took, flush=True)
"""


def while_pulling(folder: Path, count: int, rounds: int, span_s: float) -> list[Figure]:
    """A till that sells in bursts of 20 while another process pulls into the same home, against the same when idle."""
    idle: list[float] = []
    busy: list[float] = []
    with sink.running(served(folder, count)) as url:
        home = str(make_home(folder / "busy", url))
        command = [sys.executable, "-c", _SELL, home, str(count)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as till:
            assert till.stdin is not None
            assert till.stdout is not None
            till.stdout.readline()
            for number in range(rounds):
                for times in (idle, busy):
                    till.stdin.write(f"{span_s}\n")
                    till.stdin.flush()
                    if times is busy:
                        full = ["--full"] if number else []
                        puller = [sys.executable, "-m", "edge_agent", "--home", home, "sync", *full]
                        subprocess.run(puller, check=True, capture_output=True)
                    times += [float(one) for one in till.stdout.readline().split()]
            till.stdin.close()
    p99, idle_p99 = percentile(busy, 0.99), percentile(idle, 0.99)
    return [
        Figure(
            f"record_sale p99 while another process pulls {count:,} products, against its own p99 when idle",
            p99 / idle_p99,
            1.5,
            stretch=1.1,
            note=f"{p99 * 1e3:.2f} against {idle_p99 * 1e3:.2f} ms; "
            f"p50 {median(busy) * 1e3:.2f} against {median(idle) * 1e3:.2f} ms",
        )
    ]


_CYCLES = """
import sys
from pathlib import Path
from edge_agent.agent import EdgeAgent
with EdgeAgent.open(Path(sys.argv[1])) as agent:
    for _ in range(int(sys.argv[2])):
        report = agent.sync()
        assert report.unchanged and not report.errors
"""


def unchanged(folder: Path) -> list[Figure]:
    """What a cycle costs when nothing changed, counted in requests and system calls: twelve cycles less two."""
    names = ("requests", "writes to a database", "fsync calls")
    traced = shutil.which("strace") is not None
    counts = []
    with sink.running(served(folder, 2_000)) as url:
        home = make_home(folder / "unchanged", url)
        _pull(home)
        for cycles in (2, 12):
            trace, before = folder / f"cycles-{cycles}", sink.requests_so_far(url)
            strace = ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=pwrite64,write,fdatasync,fsync"]
            command = [sys.executable, "-c", _CYCLES, str(home), str(cycles)]
            subprocess.run([*(strace if traced else []), *command], check=True, capture_output=True)
            lines = trace.read_text().splitlines() if traced else []
            writes = sum("write" in line and ".db" in line and "resumed" not in line for line in lines)
            syncs = sum("sync(" in line for line in lines)
            counts.append((sink.requests_so_far(url) - before, writes, syncs))
    return [
        Figure(
            f"unchanged catalogue: {name} a cycle",
            (many - few) / 10 if traced or name == "requests" else None,
            1 if name == "requests" else 0,
            sense="exactly",
            unit="",
            note="" if traced else "no strace here",
        )
        for name, few, many in zip(names, *counts, strict=True)
    ]


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of pulling."""
    few, many = (10_000, 40_000) if quick else (100_000, MANY)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        say("pull: unchanged catalogue")
        last = unchanged(folder)
        say(f"pull: {few:,} products, against the same rows by hand")
        figures += first_load(folder, few, 1 if quick else 3)
        say("pull: prices alone")
        figures += price_delta(folder, few, 1 if quick else 2)
        say("pull: selling meanwhile")
        selling = while_pulling(folder, few, 1 if quick else 3, 1.0 if quick else 3.0)
        say(f"pull: memory, {few:,} and {many:,} products")
        figures += memory(folder, few, many)
        if not quick:
            say(f"pull: {many:,} products, against the same rows by hand")
            figures += first_load(folder, many, 1)
    return [*figures, *selling, *last]


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
