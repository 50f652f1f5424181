"""Killed at every step it has: each statement, each request, each file it changes; afterwards the books are exact.

The steps are not listed here. One undisturbed run of the session tells them by name, so that a new statement or a new
request is a new step by itself. Then, for one step after the other, a process on a fresh home kills itself right there.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, Payment, Sale
from edge_agent.clock import Clock
from edge_agent.setup import set_up
from ho_stub.testing import HeadOffice

SALES = 3
POLLS = 4
SHARES = 4  # of the long run, for several workers
RUN_S_MAX = 60
DEAL = "00000009-0000-4000-8000-000000000000"
COLA = "00000006-0000-4000-8000-000000000000"
PRICE = "7500.00"
WHILE_RECORDING, WHILE_PUSHING = "kill -9 while recording", "kill -9 while pushing"

# The child counts a step before and after each statement, before each row of a bulk statement, before each change of a
# file of the home, before a request, when its answer begins (head office has committed) and when it was read. A step's
# name says where; how often that name came before makes it one place. Small batches give more places.
CHILD = """
import json, os, re, signal, sys, threading
from collections import Counter
from pathlib import Path

home, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
phase, counted, order, busy = "opening", Counter(), [], threading.Lock()

def step(name):
    if phase == "done":
        return
    here = "idle work" if threading.current_thread().name == "edge-agent-checkpoints" else phase
    name = f"{here}: {name}"
    with busy:
        counted[name] += 1
        place = f"{name} #{counted[name]}"
        order.append(place)
    if place == plan["kill_at"]:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows either ends it at once
        threading.Event().wait()  # a signal may take a moment to arrive; nothing more happens here

def without_numbers(text):
    return re.sub("[0-9a-f]*[0-9][0-9a-f]*", "#", text)

def watch_files(event, args):
    changes = event in ("os.rename", "os.link", "os.remove", "os.truncate", "os.utime", "os.chmod", "os.mkdir")
    if event == "open" and isinstance(args[2], int):
        changes = bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if changes and isinstance(args[0], (str, os.PathLike)) and str(home) in os.fspath(args[0]):
        step(f"before {event} {without_numbers(Path(args[0]).name)}")

import edge_agent.storage.database as database
sqlite3 = database.sqlite3
really_connect = sqlite3.connect

class Watched(sqlite3.Connection):
    def __init__(self, path, *args, **more):
        self.file = without_numbers(Path(path).name)
        super().__init__(path, *args, **more)
    def named(self, sql):
        return f"{self.file}: {without_numbers(' '.join(sql.split()))[:60]}"
    def execute(self, sql, *values):
        step(f"before {self.named(sql)}")
        answer = super().execute(sql, *values)
        step(f"after {self.named(sql)}")
        return answer
    def executemany(self, sql, rows):
        def watched():
            for row in rows:
                step(f"before a row of {self.named(sql)}")
                yield row
        answer = super().executemany(sql, watched())
        step(f"after {self.named(sql)}")
        return answer
    def backup(self, *args, **more):
        step(f"before a copy of {self.file}")
        super().backup(*args, **more)
        step(f"after a copy of {self.file}")
    def close(self):
        step(f"before closing {self.file}")
        super().close()
        step(f"after closing {self.file}")

sqlite3.connect = lambda *args, **more: really_connect(*args, **{"factory": Watched, **more})
if plan["mode"] == "truncate":
    database.wal_is_safe = lambda: False

from edge_agent import EdgeAgent, Item, Payment
from edge_agent.head_office import client
from edge_agent.storage import checkpointer, moves, outbox
for module, name, value in (
    (outbox, "SETTLED_PER_TRANSACTION", 2), (moves, "WORTH_INDEXING", 1), (checkpointer, "IDLE_LONG_S", 0.05),
):
    assert hasattr(module, name), name
    setattr(module, name, value)

really_exchange, really_read = client.HttpHeadOffice._exchange, client.read_body

def exchange(self, method, path, **more):
    name = f"request {method} {without_numbers(path)}"
    step(f"before the {name}")
    answer = really_exchange(self, method, path, **more)
    step(f"after the {name}")
    return answer

def read_body(response, **more):
    step(f"head office worked, before reading its answer to {without_numbers(response.request.url.path)}")
    return really_read(response, **more)

client.HttpHeadOffice._exchange, client.read_body = exchange, read_body
sys.addaudithook(watch_files)

agent = EdgeAgent.open(home)
phase = "recording"
for external_id in plan["sales"]:
    sale = agent.record_sale(
        [Item(plan["product"], "1", plan["price"])], [Payment("cash", plan["price"])], external_id=external_id
    )
    step("after record_sale returned")
    print("sale", sale.external_id, sale.device_seq, flush=True)
usage = agent.record_usage(plan["deal"], "500.00", sale=plan["sales"][0])
step("after record_usage returned")
print("usage", usage.external_id, 0, flush=True)
phase = "idle moment"
seen, quiet, pause = -1, 0, threading.Event()
for _ in range(200):
    idle = [place for place in order if place.startswith("idle work")]
    quiet = quiet + 1 if idle and len(idle) == seen else 0
    seen = len(idle)
    if quiet == 6:
        break
    pause.wait(0.02)
phase = "keeping"
agent.backup()
phase = "pushing"
report = agent.sync()
assert not report.errors, report.errors
phase = "closing"
agent.close()
phase = "done"
print("steps", json.dumps(order), flush=True)
"""


@dataclass
class Tally:
    """What the trials came to; all three must stay 0."""

    trials: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Session:
    """The session that is killed, its head office, and a home to copy that has synced once."""

    office: HeadOffice
    prepared: Path
    mode: str
    dice: random.Random

    def run(self, home: Path, sales: list[str], kill_at: str = "") -> tuple[int, dict[str, int], list[str]]:
        """One child: how it ended, the ids it acknowledged with their numbers, and its steps if it came to its end."""
        plan = {"kill_at": kill_at, "mode": self.mode, "sales": sales, "product": COLA, "deal": DEAL, "price": PRICE}
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(home), json.dumps(plan)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONUTF8": "1"},
            timeout=RUN_S_MAX,
            check=False,
        )
        assert "Traceback" not in child.stderr, child.stderr
        acknowledged: dict[str, int] = {}
        steps: list[str] = []
        for line in child.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word == "steps":
                steps = json.loads(rest)
            else:
                external_id, number = rest.split()
                acknowledged[external_id] = int(number)
        return child.returncode, acknowledged, steps

    def fresh_home(self, folder: Path) -> Path:
        home = folder / f"home-{uuid.UUID(int=self.dice.getrandbits(128)).hex[:12]}"
        return Path(shutil.copytree(self.prepared, home))

    def new_ids(self) -> list[str]:
        return [str(uuid.UUID(int=self.dice.getrandbits(128), version=4)) for _ in range(SALES)]

    def steps(self, folder: Path) -> list[str]:
        """Every step of an undisturbed run."""
        code, acknowledged, steps = self.run(self.fresh_home(folder), self.new_ids())
        assert code == 0
        assert len(acknowledged) == SALES + 1
        assert len(steps) == len(set(steps))
        return steps

    def trial(self, folder: Path, kill_at: str, tally: Tally) -> None:
        """Kill a child at one step, finish its session as a POS would, and count what went wrong."""
        home, sales = self.fresh_home(folder), self.new_ids()
        code, acknowledged, _ = self.run(home, sales, kill_at)
        if code == 0:
            # Idle work goes by the machine's own pace: a step of it may not come a second time.
            assert kill_at.startswith("idle"), f"the session never came to: {kill_at}"
            return
        tally.trials += 1
        faults_before = len(tally.faults)
        with EdgeAgent.open(home) as agent:
            self._check_acknowledged(agent, acknowledged, tally)
            usage = self._finish(agent, sales, acknowledged, tally)
            for _ in range(POLLS):
                if agent.status()["pending"]:
                    agent.sync()
            status = agent.status()
            if status["pending"] or status["quarantined"]:
                tally.stuck += status["pending"] + status["quarantined"]
                tally.faults.append(f"pending {status['pending']}, quarantined {status['quarantined']}")
            self._check_books(agent, sales, usage, tally)
            made = agent.backup()
            half_made = [path.name for path in made.path.parent.iterdir() if not path.name.startswith("journal-")]
            if half_made or made.sales != SALES:
                tally.faults.append(f"the next backup holds {made.sales} sales; left over: {half_made}")
        for number in range(faults_before, len(tally.faults)):
            tally.faults[number] = f"killed at {kill_at!r}: {tally.faults[number]}"
        shutil.rmtree(home)

    def _check_acknowledged(self, agent: EdgeAgent, acknowledged: dict[str, int], tally: Tally) -> None:
        for external_id, number in acknowledged.items():
            entry = agent.outbox_entry(external_id)
            if entry is None or (number and entry[0].device_seq != number):
                tally.lost += 1
                tally.faults.append(f"{external_id} was acknowledged as number {number}; the journal says {entry}")

    def _finish(self, agent: EdgeAgent, sales: list[str], acknowledged: dict[str, int], tally: Tally) -> str:
        """Ask again for everything, as a POS does that does not know what was stored (G1); the use's id."""
        for external_id in sales:
            sale = _record(agent, external_id)
            if external_id in acknowledged and not (sale.existing and sale.device_seq == acknowledged[external_id]):
                tally.doubled += 1
                tally.faults.append(f"{external_id} was recorded a second time, as {sale.device_seq}")
        return agent.record_usage(DEAL, "500.00", sale=sales[0]).external_id

    def _check_books(self, agent: EdgeAgent, sales: list[str], usage: str, tally: Tally) -> None:
        world = self.office.world
        taken = [sale for sale in world.sales() if sale["external_id"] in sales]
        times = Counter(sale["external_id"] for sale in taken if sale["state"] == "accepted")
        uses = Counter(one["external_id"] for one in world.usages())
        lost = [external_id for external_id in sales if not times[external_id]] + ([] if uses[usage] else [usage])
        twice = [external_id for external_id, count in (times + uses).items() if count > 1]
        tally.lost += len(lost)
        tally.doubled += len(twice)
        if lost or twice:
            tally.faults.append(f"head office never had {lost}, has twice {twice}")
        if sum(Decimal(sale["total"]) for sale in taken) != SALES * Decimal(PRICE):
            tally.faults.append(f"head office's sum is not the till's: {[sale['total'] for sale in taken]}")
        journal = {(line.external_id, line.device_seq) for line in agent.outbox(state="delivered") if line.device_seq}
        if {external_id for external_id, _ in journal} != set(sales):
            tally.faults.append(f"the journal holds {sorted(journal)}")
        places = Counter((sale.journal_id, sale.device_seq) for sale in map(agent.sale, sales) if sale is not None)
        lives = Counter(journal_id for journal_id, _ in places)
        if any((life, number) not in places for life in lives for number in range(1, lives[life] + 1)):
            tally.faults.append(f"the numbers have a gap: {sorted(places)}")


def _record(agent: EdgeAgent, external_id: str) -> Sale:
    return agent.record_sale([Item(COLA, "1", PRICE)], [Payment("cash", PRICE)], external_id=external_id)


@pytest.fixture
def make_session(
    tmp_path: Path, make_office: Callable[..., HeadOffice], make_settings_for: Callable[..., Any]
) -> Callable[[str, str], Session]:
    """A session against a head office of a profile, in a journal mode."""

    def make(profile: str, mode: str) -> Session:
        seed = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
        print(f"KILL_SEED={seed}")
        office = make_office(profile=profile)
        prepared = tmp_path / "prepared"
        settings = make_settings_for(office, currency="IDR", timezone="Asia/Jakarta", batch_count_max=2)
        set_up(prepared, settings, office.password, Clock())
        with EdgeAgent.open(prepared) as agent:
            assert not agent.sync().errors
        for path in prepared.glob("journal*"):  # each trial's journal is its own: a copy of one would be a clone
            path.unlink()
        return Session(office, prepared, mode, random.Random(seed))

    return make


def kill_at_each(session: Session, folder: Path, chosen: list[str], evidence: Callable[..., None]) -> None:
    """Kill a child at each of the chosen steps, and judge the whole."""
    tallies = {WHILE_RECORDING: Tally(), WHILE_PUSHING: Tally()}
    for kill_at in chosen:
        session.trial(folder, kill_at, tallies[WHILE_PUSHING if kill_at.startswith("pushing") else WHILE_RECORDING])
    for fault, tally in tallies.items():
        if tally.trials:
            evidence(fault, tally.trials, lost=tally.lost, doubled=tally.doubled, stuck=tally.stuck)
    faults = [one for tally in tallies.values() for one in tally.faults]
    assert not faults, "\n".join(faults)
    assert not any(tally.lost + tally.doubled + tally.stuck for tally in tallies.values())
    print(", ".join(f"{fault}: {tally.trials}" for fault, tally in tallies.items()))


def changing(steps: list[str]) -> list[str]:
    """The steps that may leave something changed: all but reading and setting a connection up."""
    return [place for place in steps if not re.search(": (SELECT|select|PRAGMA (?!journal_mode|wal))", place)]


def sample(steps: list[str], kills: int, dice: random.Random) -> list[str]:
    """So many steps that change something, from every phase of the session if there are enough.

    Most are of phases that sales hang on.
    """
    phases = ["pushing", "recording", "pushing", "recording", "keeping", "opening", "idle", "closing"]
    chosen = []
    for phase, count in Counter(itertools.islice(itertools.cycle(phases), kills)).items():
        places = [place for place in changing(steps) if place.startswith(phase)]
        chosen += dice.sample(places, min(len(places), count))
    return chosen


@pytest.mark.parametrize(
    ("profile", "mode", "kills"),
    [("native", "wal", 9), ("native", "truncate", 3), pytest.param("baseline", "wal", 9, marks=pytest.mark.slow)],
)
def test_killed_at_any_step_the_books_end_exact(
    make_session: Callable[..., Session],
    tmp_path: Path,
    evidence: Callable[..., None],
    profile: str,
    mode: str,
    kills: int,
) -> None:
    """Killed at a step drawn from each part of its session, the device loses nothing and doubles nothing (G1–G4)."""
    session = make_session(profile, mode)
    steps = session.steps(tmp_path)
    for wanted in ("BEGIN IMMEDIATE", "INSERT INTO sales", "COMMIT", "before the request POST", "UPDATE sales"):
        assert any(wanted in place for place in steps), f"no step is named {wanted}"
    kill_at_each(session, tmp_path, sample(steps, kills, session.dice), evidence)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize(("profile", "mode"), [("native", "wal"), ("native", "truncate"), ("baseline", "wal")])
def test_killed_at_every_step_the_books_end_exact(
    make_session: Callable[..., Session],
    tmp_path: Path,
    evidence: Callable[..., None],
    profile: str,
    mode: str,
    share: int,
) -> None:
    """Killed at each single step there is, the device loses nothing and doubles nothing (G1–G4).

    In the other cells than the usual one, at each step that changes something.
    """
    session = make_session(profile, mode)
    steps = session.steps(tmp_path)
    steps = steps if (profile, mode) == ("native", "wal") else changing(steps)
    kill_at_each(session, tmp_path, steps[share::SHARES], evidence)
