"""The journal: frozen, gap-free, durable with one sync to disk, and the same answer to the same question."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, StoreBroken
from edge_agent.domain.canonical import canonical_bytes, fingerprint
from edge_agent.storage import database as database_module
from edge_agent.storage.engine import sqlite3

COLA = "00000006-0000-4000-8000-000000000000"
PROCESSES, SALES_EACH = 4, 25

RECORD = """
import sys
from edge_agent import EdgeAgent, Item
with EdgeAgent.open(sys.argv[1]) as agent:
    sys.stdin.readline()
    for number in range(int(sys.argv[2])):
        shared = f"00000000-0000-4000-8000-{number:012d}"
        print(agent.record_sale([Item(sys.argv[3], "1", "2.00")]).device_seq)
        print(agent.record_sale([Item(sys.argv[3], "1", "2.00")], external_id=shared).device_seq)
"""


def journal_rows(agent: EdgeAgent, query: str) -> list[Any]:
    return agent._journal.database.connection.execute(query).fetchall()


@pytest.mark.parametrize("is_safe", [True, False])
def test_processes_that_sell_at_once_leave_no_gap(home: Path, monkeypatch: pytest.MonkeyPatch, is_safe: bool) -> None:
    """However many processes record at once, numbers run from 1 without a gap, and one id is one sale (G2)."""
    if is_safe and not database_module.wal_is_safe():
        pytest.skip("this SQLite has the WAL-reset bug: the other processes would rightly turn WAL off")
    with monkeypatch.context() as patch:
        patch.setattr(database_module, "wal_is_safe", lambda: is_safe)
        EdgeAgent.open(home).close()  # the mode belongs to the file
    command = [sys.executable, "-c", RECORD, str(home), str(SALES_EACH), COLA]
    runs = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    answers = []
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        answers += [int(line) for line in out.split()]
    with EdgeAgent.open(home) as agent:
        assert agent._journal.database.mode == ("wal" if is_safe else "truncate")
        numbers = [seq for (seq,) in journal_rows(agent, "SELECT device_seq FROM sales ORDER BY entry")]
        assert numbers == list(range(1, SALES_EACH * (PROCESSES + 1) + 1))
        assert set(answers) == set(numbers)
        for external_id, frozen, body in journal_rows(
            agent, "SELECT external_id, fingerprint, body FROM sales JOIN sale_bodies USING (entry)"
        ):
            value = json.loads(body)
            assert (value["external_id"], fingerprint(body)) == (external_id, frozen)
            assert bytes(body) == canonical_bytes(value)


def test_threads_share_an_agent(agent: EdgeAgent) -> None:
    """An agent is thread-safe: sales, look-ups and status from many threads at once all work."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                sale = agent.record_sale([Item(COLA, "1", "2.00")])
                assert agent.sale(sale.external_id) is not None
                agent.catalog.search("cola")
                agent.status()
        except BaseException as error:  # noqa: BLE001 - told to the test below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert agent.status()["pending_sales"] == agent.status()["journal"]["device_seq"] == 60


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM sales",
        "UPDATE sales SET total_minor = 1",
        "UPDATE sales SET fingerprint = 'x'",
        "UPDATE sales SET device_seq = 9, entry = 9",
        "UPDATE sales SET external_id = 'x'",
        "UPDATE sales SET recorded_ms = 1",
        "UPDATE sales SET state = 'lost'",
        "UPDATE sale_bodies SET body = x'7b7d'",
        "UPDATE journals SET last_seq = -1",
        "INSERT INTO sales SELECT * FROM sales",
    ],
)
def test_a_recorded_sale_can_not_be_changed(agent: EdgeAgent, change: str) -> None:
    """The database itself refuses to change what was frozen (G2)."""
    agent.record_sale([Item(COLA, "1", "2.00")])
    before = journal_rows(agent, "SELECT * FROM sales")
    with pytest.raises(sqlite3.IntegrityError):
        agent._journal.database.connection.execute(change)
    assert journal_rows(agent, "SELECT * FROM sales") == before


@pytest.mark.parametrize(
    "change", ["UPDATE usages SET body = x'7b7d'", "UPDATE usages SET external_id = 'x'", "DELETE FROM usages"]
)
def test_a_recorded_use_can_not_be_changed(agent: EdgeAgent, change: str) -> None:
    """A promotion's use is as frozen as a sale (G2)."""
    agent.record_usage(COLA, "1.00", bill_id="7")
    with pytest.raises(sqlite3.IntegrityError):
        agent._journal.database.connection.execute(change)


def test_a_sale_that_can_not_be_stored_says_so(agent: EdgeAgent) -> None:
    """A full disk is said at once, with the id to ask again with; once there is room the same id works (G1)."""
    agent.record_sale([Item(COLA, "1", "2.00")])
    connection = agent._journal.database.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    note = {"note": "x" * 200_000}
    with pytest.raises(StoreBroken) as error:
        agent.record_sale([Item(COLA, "1", "2.00")], extra=note)
    assert "full" in error.value.message
    assert error.value.external_id
    assert error.value.hint
    assert agent.sale(error.value.external_id) is None
    connection.execute("PRAGMA max_page_count = 1000000")
    sale = agent.record_sale([Item(COLA, "1", "2.00")], extra=note, external_id=error.value.external_id)
    assert sale.device_seq == 2


def test_a_till_waits_its_turn(agent: EdgeAgent) -> None:
    """A journal that another program keeps locked is named as busy, and nothing is stored."""
    other = sqlite3.connect(agent._journal.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    agent._journal.database.connection.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreBroken, match="busy"):
        agent.record_sale([Item(COLA, "1", "2.00")])
    other.execute("ROLLBACK")
    other.close()
    assert agent.record_sale([Item(COLA, "1", "2.00")]).device_seq == 1


def test_an_outbox_entry_is_born_with_its_sale(agent: EdgeAgent) -> None:
    """A sale, its body and its place in the outbox are one transaction (G1)."""
    connection = agent._journal.database.connection
    connection.execute("CREATE TRIGGER stumble BEFORE INSERT ON sale_bodies BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StoreBroken):
        agent.record_sale([Item(COLA, "1", "2.00")])
    connection.execute("DROP TRIGGER stumble")
    assert journal_rows(agent, "SELECT count(*) FROM sales") == [(0,)]
    assert journal_rows(agent, "SELECT last_seq FROM journals") == [(0,)]


@pytest.mark.parametrize("seed", range(8))
def test_what_left_the_shop_is_what_the_bodies_say(agent: EdgeAgent, seed: int) -> None:
    """Goods outside head office's figures are counted the same by the index, without it, and by hand (``seed``)."""
    dice, products = random.Random(seed), [f"0000000{n}-0000-4000-8000-000000000000" for n in range(6, 10)]
    journal, lives = agent._journal, []
    for number in range(90):
        if number in (0, 30, 60):
            agent._begin_life("a test")
            lives.append(journal.life().journal_id)  # type: ignore[union-attr]
        items = [Item(dice.choice(products), str(dice.randint(1, 9)), "2.00") for _ in range(dice.randint(1, 4))]
        agent.record_sale(items, kind=dice.choice(["sale", "refund", "void"]), reason="x", refers_to=None)
        if dice.random() < 0.05:
            journal.tidy()
        state = dice.choice(["pending", "pending", "delivered", "quarantined"])
        journal.database.connection.execute(
            "UPDATE sales SET state = ? WHERE entry = (SELECT entry FROM sales ORDER BY random() LIMIT 1)", (state,)
        )
    for _ in range(10):
        low = dice.randint(0, 20)
        high = low + dice.randint(2, 5)
        seen = {"journal_id": dice.choice([*lives, "of another"]), "contiguous_seq": low, "beyond": [[high, high + 2]]}
        assert journal.unseen_milli(products, seen) == _by_hand(agent, products, seen, lives)
        if dice.random() < 0.2:
            journal.tidy()


def _by_hand(agent: EdgeAgent, products: list[str], seen: dict[str, Any], lives: list[str]) -> dict[str, int]:
    sums = dict.fromkeys(products, 0)
    order = [life.journal_id for life in agent._journal.lives()]
    known = order.index(seen["journal_id"]) if seen["journal_id"] in order else None
    [[low, high]] = seen["beyond"]
    for body, state in journal_rows(agent, "SELECT body, state FROM sales JOIN sale_bodies USING (entry)"):
        sale = json.loads(body)
        life, seq = order.index(sale["journal_id"]), sale["device_seq"]
        counts = not (seq <= seen["contiguous_seq"] or low <= seq <= high) if life == known else state == "pending"
        if counts or state == "quarantined":
            sign = 1 if sale["kind"] == "sale" else -1
            for line in sale["items"]:
                sums[line["product"]] += sign * int(float(line["quantity"]) * 1000)
    return sums


def test_a_clock_set_back_disturbs_no_order(agent: EdgeAgent, clock: Any) -> None:
    """Sales are in the order of their numbers, whatever the clock said."""
    first = agent.record_sale([Item(COLA, "1", "2.00")])
    clock.advance(days=-3)
    second = agent.record_sale([Item(COLA, "1", "2.00")])
    assert [line.external_id for line in agent.outbox()] == [first.external_id, second.external_id]


COUNT_SYNCS = """
import os, sys
from edge_agent import EdgeAgent, Item
with EdgeAgent.open(sys.argv[1]) as agent:
    agent._checkpointer.note_write = lambda: None  # checkpoints belong to idle moments
    for _ in range(3):
        agent.record_sale([Item(sys.argv[2], "1", "2.00")])
    os.write(2, b"BEGIN\\n")
    for _ in range(20):
        agent.record_sale([Item(sys.argv[2], "1", "2.00")] * 8)
    os.write(2, b"END\\n")
"""


def _can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_trace(), reason="strace is not here, or may not trace")
def test_a_sale_costs_one_sync_to_disk(home: Path, tmp_path: Path) -> None:
    """A durable sale is exactly one fdatasync, whatever its number of lines."""
    trace = tmp_path / "trace"
    tracing = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", str(trace)]
    work = [sys.executable, "-c", COUNT_SYNCS, str(home), COLA]
    subprocess.run([*tracing, *work], check=True, capture_output=True)
    told = trace.read_text(errors="replace")
    told = told[told.index('"BEGIN\\n"') : told.index('"END\\n"')]
    with EdgeAgent.open(home) as agent:
        if agent._journal.database.mode != "wal":
            pytest.skip("a rollback journal needs more than one sync")
    assert len(re.findall(r"\bf(?:data)?sync\(", told)) == 20
