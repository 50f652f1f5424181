"""Draining the outbox into a sink that stores nothing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import sink
from bench.device import basket, make_home, open_agent, record
from bench.figure import Figure, median, seconds
from bench.products import write_pages
from edge_agent.agent import EdgeAgent

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


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """All figures of pushing."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        say("push: draining the outbox")
        return drain(Path(name), 1_000 if quick else 10_000, 1 if quick else 3)


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
