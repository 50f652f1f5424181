"""Processes are killed in the middle of their work; afterwards the books are still exact (G1, G4, G5, G6)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, Payment
from edge_agent.clock import Clock
from edge_agent.domain.ids import is_uuid
from edge_agent.settings import make_settings
from edge_agent.setup import set_up
from ho_stub.testing import HeadOffice

KILLS, KILLS_LONG = 4, 20
PRODUCTS, PRODUCTS_LONG = 250, 600
ROUNDS, ROUNDS_LONG, TILLS = 12, 40, 3
SYNC = """
import sys
from edge_agent import EdgeAgent
with EdgeAgent.open(sys.argv[1]) as agent:
    print("ready", flush=True)
    report = agent.sync()
    print("done", report.errors, flush=True)
"""
RECORD = """
import sys
from edge_agent import EdgeAgent, Item, Payment
with EdgeAgent.open(sys.argv[1]) as agent:
    while True:
        sale = agent.record_sale([Item(sys.argv[2], "1", "7500.00")], [Payment("cash", "7500.00")])
        # Padded: a pipe that nobody reads is full after some sales, and not after thousands.
        print("." * 900, sale.external_id, sale.device_seq, flush=True)
"""


def product_row(number: int) -> dict[str, Any]:
    return {
        "id": f"10000000-0000-4000-8000-{number:012d}",
        "name": f"Product {number}",
        "sku": f"SKU-{number}",
        "price": f"{number % 90 + 1}.50",
    }


def set_up_till(office: HeadOffice, home: Path) -> None:
    settings = make_settings(
        {
            "url": office.url,
            "username": office.username,
            "company_id": office.company_id,
            "store_id": office.store_id,
            "brand_id": office.brand_id,
            "device_id": "pos-02",
            "page_rows": 25,
            "batch_count_max": 7,
        }
    )
    set_up(home, settings, office.password, Clock())


def start(script: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUTF8": "1"},
    )


def reap(child: subprocess.Popen[str]) -> str:
    output, _ = child.communicate(timeout=60)
    return output


class Executioner:
    """Kills a child at its n-th request, a moment before head office reads it, works on it, or has answered it."""

    def __init__(self, office: HeadOffice, dice: random.Random) -> None:
        self.office = office
        self.dice = dice
        self.places: list[str] = []

    def run(self, home: Path, request_number: int) -> None:
        seen = 0
        child = start(SYNC, str(home))

        def intercept(method: str, path: str) -> None:
            nonlocal seen
            seen += 1
            if seen == request_number:
                self.places.append(path.rstrip("/").rsplit("/", 1)[-1])
                delay_s = self.dice.choice([0.0, 0.001, 0.003, 0.006, 0.012])
                if delay_s:
                    threading.Timer(delay_s, child.kill).start()
                else:
                    child.kill()

        self.office.intercept = intercept
        reap(child)
        self.office.intercept = None


def acknowledged(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The id and the number of each sale that a recorder told to the end of its line."""
    told = [line.split() for line in lines if line.endswith("\n")]
    return [(words[1], words[2]) for words in told if len(words) == 3 and is_uuid(words[1])]


def catalogue(agent: EdgeAgent) -> dict[str, Any]:
    return {product.id: product.fields for product in agent.catalog.search("", limit=10**6).products}


def doubled_at(office: HeadOffice) -> int:
    """How many ids and places in the sequence head office counts more than once."""
    taken = [sale for sale in office.world.sales() if sale["state"] == "accepted"]
    ids = Counter(sale["external_id"] for sale in taken)
    places = Counter((sale["journal_id"], sale["device_seq"]) for sale in taken)
    return sum(count > 1 for count in (*ids.values(), *places.values()))


def missing_at(office: HeadOffice, wanted: set[str]) -> int:
    """How many of these sales head office has not taken."""
    return len(wanted - {sale["external_id"] for sale in office.world.sales() if sale["state"] == "accepted"})


def waiting_in(agent: EdgeAgent) -> int:
    """How many entries are not delivered."""
    status = agent.status()
    return int(status["pending"]) + int(status["quarantined"])


@pytest.mark.parametrize(
    ("kills", "products"), [(KILLS, PRODUCTS), pytest.param(KILLS_LONG, PRODUCTS_LONG, marks=pytest.mark.slow)]
)
def test_a_syncing_process_killed_again_and_again_ends_exact(
    tmp_path: Path, evidence: Callable[..., None], kills: int, products: int
) -> None:
    """Killed in the middle of both directions, twenty times: nothing lost, nothing doubled, the catalogue equal."""
    seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"KILL_SEED={seed}")
    dice = random.Random(seed)
    home = tmp_path / "home"
    with HeadOffice() as office:
        world = office.world
        template = world.get("products", world.live_ids("products")[0])
        for number in range(products):
            world.upsert("products", template | {"barcode": None} | product_row(number))
        set_up_till(office, home)
        killer = Executioner(office, dice)
        killer.run(home, 12)  # the very first pull, in the middle of its snapshot
        recorded: dict[str, Decimal] = {}
        while len(killer.places) <= kills:
            with EdgeAgent.open(home) as agent:
                for _ in range(dice.randrange(5, 30)):
                    product = product_row(dice.randrange(products))
                    quantity = dice.randrange(1, 9)
                    sale = agent.record_sale(
                        [Item(product["id"], quantity, product["price"])], [Payment("cash", "5000")], currency="IDR"
                    )
                    recorded[sale.external_id] = sale.total
            for _ in range(60):
                chosen = product_row(dice.randrange(products))["id"]
                if chosen in world.live_ids("products") and dice.random() < 0.1:
                    world.delete("products", chosen)
                elif chosen in world.live_ids("products"):
                    world.edit("products", chosen, price=f"{dice.randrange(1, 900)}.00")
            killer.run(home, dice.randrange(1, 14))
            held = [sale["external_id"] for sale in world.sales()]
            assert len(held) == len(set(held)), "head office counted a sale twice"
            assert set(held) <= set(recorded), "head office has a sale that was never recorded"
        print("killed at:", ", ".join(killer.places))
        with EdgeAgent.open(home) as agent:
            report = agent.sync()
            lost, doubled, stuck = missing_at(office, set(recorded)), doubled_at(office), waiting_in(agent)
            evidence("kill -9 while pushing", len(killer.places), lost=lost, doubled=doubled, stuck=stuck)
            assert (lost, doubled, stuck) == (0, 0, 0)
            assert not report.errors
            assert {sale["external_id"] for sale in world.sales() if sale["state"] == "accepted"} == set(recorded)
            assert Decimal(world.ledger_total()) == sum(recorded.values())
            assert catalogue(agent) == {row["id"]: row for row in world.rows("products")}


def test_every_sale_that_was_acknowledged_survives_a_kill(tmp_path: Path, evidence: Callable[..., None]) -> None:
    """What record_sale returned is in the journal after a kill; numbers have no gap (G1, G2)."""
    home = tmp_path / "home"
    with HeadOffice() as office:
        set_up_till(office, home)
        with EdgeAgent.open(home) as agent:
            agent.sync()
            cola = agent.catalog.by_sku("COLA-330")
            assert cola is not None
        told: set[str] = set()
        for round_number in range(8):
            child = start(RECORD, str(home), cola.id)
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(20 + 7 * round_number)]
            child.kill()
            whole = acknowledged((*lines, *reap(child).splitlines(keepends=True)))
            told |= {external_id for external_id, _ in whole}
            with EdgeAgent.open(home) as agent:
                for external_id, device_seq in whole:
                    sale = agent.sale(external_id)
                    assert sale is not None
                    assert sale.device_seq == int(device_seq)
        with EdgeAgent.open(home) as agent:
            agent.sync()
            last_seq = agent.status()["journal"]["device_seq"]
            entries = agent.outbox(state="delivered", limit=10**6)
            lost, doubled, stuck = missing_at(office, told), doubled_at(office), waiting_in(agent)
            evidence("kill -9 while recording", 8, lost=lost, doubled=doubled, stuck=stuck)
            assert (lost, doubled, stuck) == (0, 0, 0)
            assert [entry.device_seq for entry in entries] == list(range(1, last_seq + 1))
            assert office.world.sale_count() == last_seq


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(ROUNDS_LONG, marks=pytest.mark.slow)])
def test_several_processes_record_and_sync_at_once(tmp_path: Path, evidence: Callable[..., None], rounds: int) -> None:
    """Two POS programs and a syncer on one home: no "locked", no lost sale, no gap."""
    home = tmp_path / "home"
    with HeadOffice() as office:
        set_up_till(office, home)
        with EdgeAgent.open(home) as agent:
            agent.sync()
            cola = agent.catalog.by_sku("COLA-330")
            assert cola is not None
        children = [start(RECORD, str(home), cola.id) for _ in range(TILLS)]
        told: list[str] = []
        for _ in range(rounds):
            for child in children:
                assert child.stdout is not None
                line = child.stdout.readline()
                assert line, child.stderr.read() if child.stderr else ""
                told += [external_id for external_id, _ in acknowledged([line])]
            with EdgeAgent.open(home) as agent:
                agent.sync()
        for child in children:
            child.kill()
            told += [external_id for external_id, _ in acknowledged(reap(child).splitlines(keepends=True))]
        with EdgeAgent.open(home) as agent:
            assert not agent.sync().errors
            last_seq = agent.status()["journal"]["device_seq"]
            delivered = agent.outbox(state="delivered", limit=10**6)
            lost, doubled, stuck = missing_at(office, set(told)), doubled_at(office), waiting_in(agent)
        evidence("several processes at once", rounds, lost=lost, doubled=doubled, stuck=stuck)
        assert (lost, doubled, stuck) == (0, 0, 0)
        assert {entry.external_id for entry in delivered} >= set(told)
        assert [entry.device_seq for entry in delivered] == list(range(1, last_seq + 1))
        assert office.world.sale_count() == last_seq
