"""A till that sells, checkpoints and settles: ``sell.py HOME SEED SALES MODE SYNCHRONOUS``; run on the disk of shim.c.

Every sale and usage is printed, and marked in the disk's log, once it has been acknowledged.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
from pathlib import Path

home, seed, sales, mode, synchronous = sys.argv[1:]
if mode == "truncate":
    sys.modules["pysqlite3"] = None  # as on a machine without it

from edge_agent import EdgeAgent, Item, Payment  # noqa: E402
from edge_agent.domain.outbox import Event  # noqa: E402
from edge_agent.storage import database, journal  # noqa: E402
from edge_agent.storage.outbox import Verdict  # noqa: E402

if mode == "truncate":
    database.wal_is_safe = lambda: False  # Python's own engine may be a safe one


class LessSafe(database.Database):
    """A journal's database with the durability that the test wants."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options | {"synchronous": synchronous})


if synchronous != "FULL":
    journal.Database = LessSafe
mark = ctypes.CDLL(os.environ["LD_PRELOAD"]).power_mark
dice = random.Random(int(seed))


def acknowledge(lane: str, external_id: str, fingerprint: str) -> None:
    mark(f"{lane} {external_id} {fingerprint}".encode())
    print(external_id, flush=True)


def settle(agent: EdgeAgent) -> None:
    lane = dice.choice(["sales", "usages"])
    entries = agent._outbox.due(lane, agent._clock.now_ms(), count_max=dice.choice([5, 120]), bytes_max=10**6)
    verdicts = [Verdict(entry.entry, Event.CREATED, ho_id=entry.external_id) for entry in entries]
    agent._outbox.settle(lane, verdicts, agent._clock.now_ms())


with EdgeAgent.open(Path(home)) as agent:
    base = agent._journal.database
    assert base.mode == mode, base.mode
    assert base.connection.execute("PRAGMA synchronous").fetchone()[0] == {"NORMAL": 1, "FULL": 2}[synchronous]
    for number in range(int(sales)):
        product = f"10000000-0000-4000-8000-{number % 40:012d}"
        extra = {"note": "x" * dice.choice([0, 0, 0, 50, 6_000])}
        sale = agent.record_sale(
            [Item(product, dice.randrange(1, 9), "7500.00")] * dice.choice([1, 1, 2, 30]),
            [Payment("cash", "3000000.00")],
            extra=extra,
        )
        acknowledge("sale", sale.external_id, sale.fingerprint)
        if dice.random() < 0.2:
            usage = agent.record_usage("00000009-0000-4000-8000-000000000000", "500.00", sale=sale)
            (row,) = base.connection.execute(
                "SELECT fingerprint FROM usages WHERE external_id = ?", (usage.external_id,)
            )
            acknowledge("usage", usage.external_id, row[0])
        if dice.random() < 0.03:
            agent._journal.tidy()
        if dice.random() < 0.04:
            base.checkpoint()
        if dice.random() < 0.05:
            settle(agent)
