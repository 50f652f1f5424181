"""A till on a disk that breaks again and again: ``sell_on_bad_disk.py HOME SEED TRIALS MODE OPERATION ERRNO``.

What could not be stored is asked for again with its id, as a POS does; after a few refusals the disk is mended. The
last line it prints is a report in JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

home, seed, trials, mode, operation, errno = sys.argv[1:]
if mode == "truncate":
    sys.modules["pysqlite3"] = None  # as on a machine without it

from edge_agent import EdgeAgent, Item, Payment  # noqa: E402
from edge_agent.domain.outbox import Event  # noqa: E402
from edge_agent.errors import StoreBroken  # noqa: E402
from edge_agent.storage import database  # noqa: E402
from edge_agent.storage.outbox import Verdict  # noqa: E402

if mode == "truncate":
    database.wal_is_safe = lambda: False  # Python's own engine may be a safe one

ONCE, UNTIL_SPACE_IS_MADE, UNTIL_MENDED = range(3)  # as in shim.c
REFUSALS_BEFORE_A_MEND = 3
SALES_BEFORE_A_MEND = 8
T = TypeVar("T")
disk = ctypes.CDLL(os.environ["LD_PRELOAD"])
disk.fault.argtypes = [ctypes.c_char, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int]
dice = random.Random(int(seed))
report: dict[str, Any] = {"acknowledged": {}, "hits": 0, "refused": 0, "stuck": 0, "slowest_s": 0.0, "words": {}}


def mend() -> None:
    """Space is free again, or the disk answers again."""
    report["hits"] += disk.fault_hits()
    disk.fault(b"-", 0, 0, 0, 0)


def attempt(work: Callable[..., T], *words: Any) -> T | StoreBroken:
    """Do it, or be refused in words; how long it took is noted either way."""
    began = time.monotonic()
    try:
        return work(*words)
    except StoreBroken as error:
        report["refused"] += 1
        report["words"][f"{error.message} / {error.hint}"] = error.external_id
        return error
    finally:
        report["slowest_s"] = max(report["slowest_s"], time.monotonic() - began)


def until_stored(work: Callable[[str | None], T], *, mended: bool = False) -> T:
    """Ask again with the error's id until it is stored; on a mended disk a refusal means that selling is stuck."""
    external_id = None
    for refusals in range(50):
        result = attempt(work, external_id)
        if not isinstance(result, StoreBroken):
            return result
        external_id = result.external_id
        if mended or refusals >= REFUSALS_BEFORE_A_MEND:
            report["stuck"] += mended
            mend()
    raise SystemExit(f"still refused after 50 times: {result.message}")


def acknowledge(lane: str, external_id: str, fingerprint: str) -> None:
    disk.power_mark(f"{lane} {external_id} {fingerprint}".encode())
    report["acknowledged"][external_id] = (lane, fingerprint)


def sell(agent: EdgeAgent, *, mended: bool = False) -> None:
    items = [Item("10000000-0000-4000-8000-000000000000", "2", "7500.00")] * dice.choice([1, 1, 30])
    cash = [Payment("cash", "3000000.00")]
    sale = until_stored(lambda known: agent.record_sale(items, cash, external_id=known), mended=mended)
    acknowledge("sale", sale.external_id, sale.fingerprint)
    if dice.random() < 0.1:
        deal = "00000009-0000-4000-8000-000000000000"
        usage = until_stored(lambda _: agent.record_usage(deal, "500.00", sale=sale), mended=mended)
        query = "SELECT fingerprint FROM usages WHERE external_id = ?"
        (row,) = agent._journal.database.connection.execute(query, (usage.external_id,))
        acknowledge("usage", usage.external_id, row[0])


def settle(agent: EdgeAgent) -> None:
    now_ms = agent._clock.now_ms()
    entries = agent._outbox.due("sales", now_ms, count_max=200, bytes_max=10**7)
    agent._outbox.settle("sales", [Verdict(entry.entry, Event.CREATED, ho_id="1") for entry in entries], now_ms)


agent = EdgeAgent.open(Path(home))
assert agent._journal.database.mode == mode
for _ in range(int(trials)):
    nth = dice.randrange(1, 60 if operation == "w" else 8)
    lasting = dice.choice([ONCE, ONCE, UNTIL_SPACE_IS_MADE, UNTIL_MENDED])
    disk.fault(operation.encode(), nth, int(errno), lasting, dice.random() < 0.3)
    if dice.random() < 0.15:
        agent.close()
        agent = until_stored(lambda _: EdgeAgent.open(Path(home)))
    for _ in range(SALES_BEFORE_A_MEND):
        sell(agent)
        chance = dice.random()
        if chance < 0.012:  # seldom: large batches are settled in several transactions
            attempt(settle, agent)
        elif chance < 0.14:
            attempt(agent._journal.database.checkpoint)
        elif chance < 0.2:
            attempt(agent._journal.tidy)
    mend()
    sell(agent, mended=True)
agent.close()
print(json.dumps(report))
