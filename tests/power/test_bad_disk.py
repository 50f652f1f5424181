"""The disk is full, or fails: a sale is stored or refused at once in words, and selling goes on after (G1, G2)."""

from __future__ import annotations

import errno
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.storage.engine import wal_is_safe

SELL = str(Path(__file__).parent / "sell_on_bad_disk.py")
ANSWER_S_MAX = 5.0
UNTIL_MENDED = 2  # as in shim.c
FAULTS = {
    "disk full (ENOSPC)": ("w", errno.ENOSPC),
    "disk error on write (EIO)": ("w", errno.EIO),
    "disk error on sync (EIO)": ("s", errno.EIO),
}
FAILED_SYNC = """
import ctypes, os, sys
home, mode, part = sys.argv[1:]
if mode == "truncate":
    sys.modules["pysqlite3"] = None
from edge_agent import EdgeAgent, Item
from edge_agent.domain.outbox import Event
from edge_agent.errors import StoreBroken
from edge_agent.storage import database
from edge_agent.storage.outbox import Verdict
if mode == "truncate":
    database.wal_is_safe = lambda: False
disk = ctypes.CDLL(os.environ["LD_PRELOAD"])
try:
    agent = EdgeAgent.open(home)
except StoreBroken:  # it may refuse to start on a disk whose syncs fail
    disk.fault(0, 0, 0, 0, 0)
    agent = EdgeAgent.open(home)
disk.fault(0, 0, 0, 0, 0)

def sell():
    sale = agent.record_sale([Item("10000000-0000-4000-8000-000000000000", "1", "7500.00")])
    disk.power_mark(f"sale {sale.external_id} {sale.fingerprint}".encode())

def refused(work):
    disk.fault(ord("s"), 1, 5, 2, 0)  # EIO until mended
    try:
        work()
    except StoreBroken:
        return disk.fault(0, 0, 0, 0, 0)
    raise SystemExit("it was not refused")

def settle():
    entries = agent._outbox.due("sales", agent._clock.now_ms(), count_max=100, bytes_max=10**7)
    verdicts = [Verdict(entry.entry, Event.CREATED) for entry in entries]
    agent._outbox.settle("sales", verdicts, agent._clock.now_ms())

for _ in range(60 if part == "settle" else 3):  # more than one transaction's worth of verdicts
    sell()
if part != "goes on":
    refused(settle if part == "settle" else sell)
if part == "settle":
    sell()
os._exit(0)  # the program dies; the device does not
"""
SALE = {
    "items": [{"product": "10000000-0000-4000-8000-000000000000", "quantity": "1", "unit_price": "7500.00"}],
    "payments": [{"method": "cash", "amount": "7500.00"}],
}
MODES = ["wal", "truncate"]
MANY = pytest.param(200, marks=pytest.mark.slow)


@pytest.fixture
def sell(run_on_disk: Callable[..., Any], home: Path, tmp_path: Path, dice: random.Random) -> Callable[..., Any]:
    """Sells on a disk that breaks so many times: the till's report, and the log in ``tmp_path``."""

    def sell(fault: str, mode: str, trials: int) -> Any:
        if mode == "wal" and not wal_is_safe():
            pytest.skip("this SQLite is not trusted with WAL; TRUNCATE is what it uses")
        operation, number = FAULTS[fault]
        words = [SELL, str(home), str(dice.randrange(10**6)), str(trials), mode, operation, str(number)]
        return json.loads(run_on_disk(*words, log=tmp_path / "log").stdout.splitlines()[-1])

    return sell


@pytest.mark.parametrize("trials", [30, MANY])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_disk_refuses_sales_but_loses_and_doubles_none(
    fault: str,
    mode: str,
    trials: int,
    sell: Callable[..., Any],
    home: Path,
    findings: Any,
    evidence: Callable[..., None],
) -> None:
    """Every sale is stored once or refused at once in plain words, and goes in when the disk is mended."""
    report = sell(fault, mode, trials)
    acknowledged = {external_id: tuple(facts) for external_id, facts in report["acknowledged"].items()}
    findings.look_at(home, acknowledged, "after all faults", unasked_max=0)
    stuck = findings.stuck + report["stuck"]
    evidence(fault, report["hits"], lost=findings.lost, doubled=findings.doubled, stuck=stuck)
    assert not findings.words, findings.words[:10]
    assert stuck == 0, report["words"]
    assert report["hits"] >= trials // 2
    assert report["refused"] > 0
    assert report["slowest_s"] < ANSWER_S_MAX
    for said in report["words"]:
        assert "disk" in said.lower(), said
        assert "errno" not in said.lower(), said


@pytest.mark.parametrize(
    ("fault", "mode", "trials"),
    [
        *((fault, "wal", 15) for fault in FAULTS),
        ("disk error on sync (EIO)", "truncate", 15),
        pytest.param("disk full (ENOSPC)", "truncate", 15, marks=pytest.mark.slow),
        pytest.param("disk error on write (EIO)", "truncate", 15, marks=pytest.mark.slow),
        *(pytest.param(fault, mode, 200, marks=pytest.mark.slow) for fault in FAULTS for mode in MODES),
    ],
)
def test_the_power_is_cut_while_the_disk_is_bad(
    fault: str,
    mode: str,
    trials: int,
    sell: Callable[..., Any],
    tmp_path: Path,
    cut_power: Callable[..., Any],
    evidence: Callable[..., None],
) -> None:
    """Faults and a power cut together lose nothing, though a failed sync may have dropped writes for good."""
    sell(fault, mode, trials)
    found = cut_power(tmp_path / "log", 2 * trials)
    evidence(f"{fault}, then a power cut", 2 * trials, lost=found.lost, doubled=found.doubled, stuck=found.stuck)
    assert not found.words, found.words[:10]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("then", ["restart", "settle"])
def test_what_a_failed_sync_dropped_takes_no_later_sale_along(
    then: str, mode: str, run_on_disk: Callable[..., Any], home: Path, tmp_path: Path, cut_power: Callable[..., Any]
) -> None:
    """Writes that a failed sync dropped for good leave no hole before sales that are acknowledged later."""
    if mode == "wal" and not wal_is_safe():
        pytest.skip("this SQLite is not trusted with WAL; TRUNCATE is what it uses")
    log = tmp_path / "log"
    if then == "settle":
        run_on_disk("-c", FAILED_SYNC, str(home), mode, "settle", log=log)
    else:  # syncs fail from before the program dies until it has opened its files again
        run_on_disk("-c", FAILED_SYNC, str(home), mode, "fails", log=log)
        run_on_disk("-c", FAILED_SYNC, str(home), mode, "goes on", log=log, fault=f"s 1 {errno.EIO} {UNTIL_MENDED} 0")
    found = cut_power(log, None, fate=lambda: "dropped")
    assert not found.words, found.words


@pytest.mark.parametrize(
    "nth_write", [12, pytest.param(1, marks=pytest.mark.slow), pytest.param(15, marks=pytest.mark.slow)]
)
def test_a_cashier_reads_that_the_disk_is_full(
    nth_write: int, run_on_disk: Callable[..., Any], home: Path, findings: Any
) -> None:
    """The command says so in two lines and exit code 6; the same sale goes in when there is space again."""
    command = ["-m", "edge_agent", "sale", "record", "-", "--json"]
    first, second = (json.dumps(SALE | {"external_id": f"01890000-0000-7000-8000-00000000000{n}"}) for n in (1, 2))
    sold = [json.loads(run_on_disk(*command, stdin=first).stdout)]
    fault = f"w {nth_write} {errno.ENOSPC} {UNTIL_MENDED} 0"
    began = time.monotonic()
    refused = run_on_disk(*command, stdin=second, fault=fault, exit_code=6)
    assert time.monotonic() - began < ANSWER_S_MAX
    assert "disk" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) <= 3, refused.stderr
    assert json.loads(refused.stdout)["error"]["code"] == "STORE_BROKEN"
    sold.append(json.loads(run_on_disk(*command, stdin=second).stdout))
    assert [sale["device_seq"] for sale in sold] == [1, 2]
    acknowledged = {sale["external_id"]: ("sale", sale["fingerprint"]) for sale in sold}
    findings.look_at(home, acknowledged, "after a full disk", unasked_max=0)
    assert not findings.words, findings.words
