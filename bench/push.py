"""Draining the outbox into a sink that stores nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import sink
from bench.device import basket, make_home, open_agent, record
from bench.figure import Figure, median, seconds
from bench.products import write_pages
from edge_agent.agent import EdgeAgent
from edge_agent.domain.canonical import fingerprint
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

PRODUCTS = 20_000
BATCH = 500


def _drain(agent: EdgeAgent) -> None:
    report = agent.sync()
    assert not report.errors, report.errors


def drain(folder: Path, count: int, rounds: int) -> list[Figure]:
    """Sales of eight lines, compressed, each batch's verdicts made durable before the next is offered."""
    rates = []
    (folder / "none").mkdir()
    sink.write_version(folder / "none", 1)
    write_pages(folder / "none", 1_000)
    with sink.running(folder / "none") as url, open_agent(make_home(folder / "home", url)) as agent:
        agent.sync()
        for number in range(rounds):
            record(agent, [basket(number * count + one, PRODUCTS) for one in range(count)])
            agent._journal.tidy()  # the idle moments that a till has between selling and the line's return
            agent._journal.database.checkpoint()
            rates.append(count / seconds(lambda: _drain(agent)))
            assert agent.status()["pending"] == 0
    return [
        Figure(
            f"draining {count:,} sales of 8 lines, compressed, into a sink that stores nothing",
            median(rates),
            40_000,
            sense="at least",
            stretch=50_000,
            unit="sales/s",
            note=f"batches of {BATCH}; the sink decodes on another core; fastest {max(rates):,.0f}",
        )
    ]


def _fill(agent: EdgeAgent, count: int) -> None:
    """So many sales of eight lines that wait, written past the agent: real frozen bytes, each with its own id."""
    agent.record_sale(*basket(1, PRODUCTS))
    connection = agent._journal.database.connection
    columns = [row[1] for row in connection.execute("PRAGMA table_info(sales)")]
    [row] = connection.execute("SELECT * FROM sales").fetchall()
    first = dict(zip(columns, row, strict=True))
    [[body]] = connection.execute("SELECT body FROM sale_bodies").fetchall()
    insert = f"INSERT INTO sales ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    connection.execute("PRAGMA synchronous = OFF")
    for start in range(2, count + 1, 10_000):
        sales, bodies = [], []
        for seq in range(start, min(start + 10_000, count + 1)):
            new_id = f"0191e5a2-0000-7000-8000-{seq:012d}"
            frozen = body.replace(first["external_id"].encode(), new_id.encode())
            frozen = frozen.replace(b'"device_seq":1,', b'"device_seq":%d,' % seq)
            entry = ENTRIES_PER_JOURNAL + seq
            changed = {"entry": entry, "device_seq": seq, "external_id": new_id, "fingerprint": fingerprint(frozen)}
            sales.append(list((first | changed).values()))
            bodies.append((entry, frozen))
        with agent._journal.database.immediate():
            connection.executemany(insert, sales)
            connection.executemany("INSERT INTO sale_bodies VALUES (?, ?)", bodies)
            connection.execute("UPDATE journals SET last_seq = ?", (start + len(sales) - 1,))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def backlog(folder: Path, counts: tuple[int, int]) -> list[Figure]:
    """What a long outage costs: memory and speed of sending a backlog, a small one against a large one."""
    (folder / "pages").mkdir()
    sink.write_version(folder / "pages", 1)
    write_pages(folder / "pages", 1_000)
    peaks, rates = [], []
    with sink.running(folder / "pages") as url:
        for count in counts:
            home = make_home(folder / f"backlog-{count}", url)
            with open_agent(home) as agent:
                agent.sync()
                _fill(agent, count)
            command = [sys.executable, "-m", "bench.push", "--drain", str(home)]
            took_s, peak_mb, sent = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
            assert sent == count, sent
            peaks.append(peak_mb)
            rates.append(count / took_s)
            shutil.rmtree(home)
    return [
        Figure(
            f"peak memory of sending {counts[1]:,} waiting sales, against {counts[0]:,}",
            peaks[1] / peaks[0],
            1.1,
            note=f"{peaks[1]:.1f} against {peaks[0]:.1f} MB",
        ),
        Figure(
            f"sending {counts[1]:,} waiting sales, against {counts[0]:,}, sales a second",
            rates[1] / rates[0],
            None,
            note=f"{rates[1]:,.0f} against {rates[0]:,.0f} sales/s, from a cold start",
        ),
    ]


def _drain_and_tell(home: Path) -> None:
    """In a process of its own: seconds, peak memory in MB, sales that were taken."""
    import resource

    with EdgeAgent.open(home) as agent:
        took_s = seconds(lambda: _drain(agent))
        taken = agent.status()["delivered"]
    print(took_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, taken)


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of pushing."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        say("push: draining the outbox")
        folder = Path(name)
        figures = drain(folder, 1_000 if quick else 10_000, 1 if quick else 3)
        say("push: sending a million")
        return figures + backlog(folder, (1_000, 10_000) if quick else (10_000, 1_000_000))


if __name__ == "__main__":
    if "--drain" in sys.argv:
        _drain_and_tell(Path(sys.argv[-1]))
        sys.exit()
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
