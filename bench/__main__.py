"""Runs every benchmark, prints the table, and writes it to ``bench/out/results.json`` and ``bench/README.md``.

    python -m bench [--quick]

``--quick`` is a smoke run: it prints, and leaves the README alone.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import idle, local_api, pull, push, record_sale, start, wire
from bench.figure import Figure
from edge_agent.storage.engine import sqlite3

FOLDER = Path(__file__).parent
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
_RUNS: tuple[Callable[..., list[Figure]], ...] = (
    record_sale.run,
    pull.run,
    push.run,
    start.run,
    wire.run,
    local_api.run,
    idle.run,
)


def _sync_ms() -> float:
    """How long this disk takes to make one small write durable, in the middle, in milliseconds."""
    sync = getattr(os, "fdatasync", os.fsync)
    times = []
    with tempfile.NamedTemporaryFile(dir=".") as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            sync(file.fileno())
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def _machine() -> str:
    return (
        f"{dt.datetime.now(dt.UTC).date()}, {platform.system()} on {platform.machine()} with {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{_sync_ms():.2f} ms for a write to be durable"
    )


def as_table(figures: Sequence[Figure]) -> str:
    """The figures as Markdown."""
    rows = ["| what | measured | bar (stretch) | | figures behind it |", "|---|---|---|---|---|"]
    rows += [f"| {f.what} | {f.value_text} | {f.bar_text} | {f.verdict} | {f.note} |" for f in figures]
    return "\n".join(rows)


def write_readme(path: Path, machine: str, table: str) -> None:
    """Put the table between the README's markers."""
    text = path.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{machine}.\n\n{table}\n\n{END}{after}", "utf-8")


def main() -> None:
    """Run everything."""
    quick = "--quick" in sys.argv
    machine = _machine()
    figures: list[Figure] = []
    for run in _RUNS:
        figures += run(quick=quick, say=lambda text: print(f"… {text}", file=sys.stderr, flush=True))
    print(machine)
    for figure in figures:
        print(f"{figure.verdict:8} {figure.value_text:>16}  {figure.bar_text:24} {figure.what}  ({figure.note})")
    out = FOLDER / "out"
    out.mkdir(exist_ok=True)
    results = {"machine": machine, "figures": [{**asdict(one), "verdict": one.verdict} for one in figures]}
    (out / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False), "utf-8")
    if not quick:
        write_readme(FOLDER / "README.md", machine, as_table(figures))


if __name__ == "__main__":
    main()
