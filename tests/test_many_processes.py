"""Many programs on one home at once: tills, a daemon, the command line, some of them killed; the books stay exact."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest

from edge_agent import EdgeAgent
from edge_agent.clock import Clock
from edge_agent.setup import set_up
from edge_agent.storage import migrate
from edge_agent.storage.database import BUSY_TIMEOUT_MS, Database
from ho_stub.testing import HeadOffice

FAULT = "several processes at once"
OPENERS = 10
TILLS = 2
BURST = 10
PRICE = "7500.00"
COLA = "00000006-0000-4000-8000-000000000000"
DEAL = "00000009-0000-4000-8000-000000000000"
REAP_S_MAX = 60
# What no program may say, however many there are.
COMPLAINTS = ("locked", "busy for", "Traceback", "malformed", "damaged")
CLI_EXITS_FINE = {"status": {0}, "outbox": {0}, "sync": {0, 7}}  # 7: another program is syncing just now

# A POS: told to sell so many at once; says the id and number of each sale and use, and how long it took.
TILL = """
import sys, time
from edge_agent import EdgeAgent, Item, Payment
print("ready", flush=True)
sys.stdin.readline()
with EdgeAgent.open(sys.argv[1]) as agent:
    print("open", flush=True)
    for line in sys.stdin:
        for number in range(int(line)):
            began = time.perf_counter()
            sale = agent.record_sale(
                [Item(sys.argv[2], "1", sys.argv[3])], [Payment("cash", sys.argv[3])], currency="IDR"
            )
            took_ms = (time.perf_counter() - began) * 1000
            print("sale", sale.external_id, sale.journal_id, sale.device_seq, f"{took_ms:.3f}", flush=True)
            if number % 2:
                began = time.perf_counter()
                usage = agent.record_usage(sys.argv[4], "500.00", sale=sale)
                took_ms = (time.perf_counter() - began) * 1000
                print("use", usage.external_id, f"{took_ms:.3f}", flush=True)
        print("told", flush=True)
"""
# What `edge-agent run` does: the loop, for as long as it is wanted.
DAEMON = """
import sys
from edge_agent import EdgeAgent
with EdgeAgent.open(sys.argv[1]) as agent:
    agent.start()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@dataclass
class Program:
    """A child with its words; what it complains of goes to a file."""

    process: subprocess.Popen[str]
    errors: Path

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors.read_text(encoding="utf-8")
        return line.strip()


@dataclass
class Shop:
    """One home, its programs, and everything they acknowledged."""

    home: Path
    office: HeadOffice
    folder: Path
    programs: list[Program] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    took_ms: list[float] = field(default_factory=list)
    cli_words: list[str] = field(default_factory=list)

    def start(self, script: str, *words: str) -> Program:
        errors = self.folder / f"errors-{len(self.programs)}.txt"
        with errors.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(self.home), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=_environment(),
            )
        program = Program(process, errors)
        self.programs.append(program)
        return program

    def open_tills(self, count: int) -> list[Program]:
        """So many programs that open the home in the same moment."""
        tills = [self.start(TILL, COLA, PRICE, DEAL) for _ in range(count)]
        for till in tills:
            assert till.hear() == "ready"
        for till in tills:
            till.tell("open now")
        for till in tills:
            assert till.hear() == "open"
        return tills

    def listen(self, till: Program) -> None:
        """Note what a till says until its burst is over, or it is dead."""
        assert till.process.stdout is not None
        for line in till.process.stdout:
            word, *rest = line.split()
            if word == "told":
                return
            if not line.endswith("\n"):
                return  # killed in the middle of a word
            self.took_ms.append(float(rest[-1]))
            if word == "sale":
                self.acknowledged[rest[0]] = int(rest[2])
            else:
                self.used.add(rest[0])

    def sell_at_once(self, tills: list[Program], count: int, *, kill: Program | None = None) -> None:
        """Every till sells a burst at the same time; one of them may not live to its end."""
        threads = [threading.Thread(target=self.listen, args=(till,)) for till in tills]
        for till in tills:
            till.tell(str(count))
        for thread in threads:
            thread.start()
        if kill is not None:
            kill.process.kill()
        for thread in threads:
            thread.join()

    def command(self, *words: str) -> None:
        """A command of a person at the shop's keyboard."""
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent", "--home", str(self.home), *words],
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=REAP_S_MAX,
            check=False,
        )
        self.cli_words.append(done.stdout + done.stderr)
        assert done.returncode in CLI_EXITS_FINE[words[0]], f"{words}: {done.returncode}\n{self.cli_words[-1]}"

    def close(self) -> None:
        """Let every program come to its end."""
        for program in self.programs:
            streams: list[IO[str] | None] = [program.process.stdin, program.process.stdout]
            try:
                program.process.communicate(timeout=REAP_S_MAX)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                program.process.kill()
                program.process.wait()
            for stream in streams:
                if stream is not None:
                    stream.close()

    def complaints(self) -> list[str]:
        """What programs said on the way that no person should read."""
        said = [program.errors.read_text(encoding="utf-8") for program in self.programs] + self.cli_words
        return [text for text in said if any(one in text for one in COMPLAINTS)]

    def settle(self, evidence: Callable[..., None], trials: int) -> None:
        """Close, sync once more, and compare both ledgers with what was acknowledged."""
        self.close()
        with EdgeAgent.open(self.home) as agent:
            for _ in range(3):
                agent.sync()
            status = agent.status()
            lines = agent.outbox(state="delivered", limit=10**6)
            journal = {line.external_id: line.device_seq for line in lines if line.lane == "sales"}
            held = Counter(sale["external_id"] for sale in self.office.world.sales() if sale["state"] == "accepted")
            places = Counter((sale["journal_id"], sale["device_seq"]) for sale in self.office.world.sales())
        uses = Counter(usage["external_id"] for usage in self.office.world.usages())
        lost = [one for one, number in self.acknowledged.items() if journal.get(one) != number or not held[one]]
        lost += [one for one in self.used if not uses[one]]
        doubled = [one for one, count in (*held.items(), *places.items(), *uses.items()) if count > 1]
        stuck = status["pending"] + status["quarantined"]
        evidence(FAULT, trials, lost=len(lost), doubled=len(doubled), stuck=stuck)
        assert not self.complaints(), self.complaints()
        assert (lost, doubled, stuck) == ([], [], 0)
        assert set(held) == set(journal), "the two ledgers hold other sales"
        assert sorted(journal.values()) == list(range(1, len(journal) + 1)), "the numbers have a gap"
        assert len({journal_id for journal_id, _ in places}) == 1, "one journal, one life"
        assert Decimal(self.office.world.ledger_total()) == len(journal) * Decimal(PRICE)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONUTF8": "1"}


@pytest.fixture
def make_shop(
    tmp_path: Path, make_office: Callable[..., HeadOffice], make_settings_for: Callable[..., Any]
) -> Iterator[Callable[..., Shop]]:
    """Shops whose home has settings and a sign-in, and no database yet."""
    shops: list[Shop] = []

    def make(*, batch: int = 7) -> Shop:
        office = make_office()
        home = tmp_path / f"home-{len(shops)}"
        folder = tmp_path / f"said-{len(shops)}"
        folder.mkdir()
        settings = make_settings_for(
            office, currency="IDR", timezone="Asia/Jakarta", batch_count_max=batch, poll_interval_s=1
        )
        set_up(home, settings, office.password, Clock())
        shops.append(Shop(home, office, folder))
        return shops[-1]

    yield make
    for shop in shops:
        for program in shop.programs:
            if program.process.poll() is None:
                program.process.kill()
                program.process.communicate()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def open_race(shop: Shop, evidence: Callable[..., None]) -> None:
    """Ten tills open the home in one moment, and sell in the next."""
    tills = shop.open_tills(OPENERS)
    shop.sell_at_once(tills, 3)
    assert len(shop.acknowledged) == OPENERS * 3
    shop.settle(evidence, 1)


def leave_an_old_journal(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal as the first program ever made it: all later migrations are still to come."""
    first = migrate.migration_files("journal")[:1]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migration_files", lambda _schema: first)
        Database(home / "journal.db", "journal", synchronous="FULL").close()


def busy_day(shop: Shop, dice: random.Random, rounds: int, evidence: Callable[..., None]) -> None:
    """Tills sell, a daemon syncs, people type commands, and now and then one of them dies."""
    tills = shop.open_tills(TILLS)
    daemon = shop.start(DAEMON)
    assert daemon.hear() == "ready"
    kills = 0
    for number in range(rounds):
        victim = tills[dice.randrange(TILLS)] if number % 3 == 2 else None
        typing = threading.Thread(target=_type_a_command, args=(shop, dice.randrange(4)))
        typing.start()
        shop.sell_at_once(tills, BURST, kill=victim)
        if number % 5 == 3:
            daemon.process.kill()
            daemon = shop.start(DAEMON)
            kills += 1
        if victim is not None:
            kills += 1
            tills.remove(victim)
            tills += shop.open_tills(1)
        typing.join()
    print(f"{len(shop.acknowledged)} sales, {kills} kills, p99 {percentile(shop.took_ms, 0.99):.1f} ms")
    shop.settle(evidence, rounds)
    assert percentile(shop.took_ms, 0.99) < BUSY_TIMEOUT_MS


def _type_a_command(shop: Shop, number: int) -> None:
    shop.command(*(("sync",), ("status",), ("outbox", "list"), ("status", "--json"))[number])


@pytest.mark.parametrize("journal", ["an old one", pytest.param("none yet", marks=pytest.mark.slow)])
def test_ten_programs_open_a_home_at_once(
    make_shop: Callable[..., Shop], evidence: Callable[..., None], monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    """Ten programs that open a home in one moment make or upgrade one journal with one life, and all of them sell."""
    shop = make_shop()
    if journal == "an old one":
        leave_an_old_journal(shop.home, monkeypatch)
    open_race(shop, evidence)


def test_tills_a_daemon_and_commands_share_a_home(
    make_shop: Callable[..., Shop], evidence: Callable[..., None]
) -> None:
    """Two tills, a daemon and commands at once, some of them killed: no gap, none twice, nobody "locked" (G1–G4)."""
    busy_day(make_shop(), _dice(), 4, evidence)


@pytest.mark.slow
def test_ten_programs_open_homes_at_once_often(
    make_shop: Callable[..., Shop], evidence: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of opening has no lucky winner: twenty times over."""
    for number in range(20):
        shop = make_shop()
        if number % 2:
            leave_an_old_journal(shop.home, monkeypatch)
        open_race(shop, evidence)


@pytest.mark.slow
@pytest.mark.parametrize("day", range(3))
def test_a_long_day_of_tills_a_daemon_and_commands(
    make_shop: Callable[..., Shop], evidence: Callable[..., None], day: int
) -> None:
    """A long day of the same, with a death every few moments."""
    busy_day(make_shop(batch=20 * day + 3), _dice(), 60, evidence)


def _dice() -> random.Random:
    seed = int(os.environ.get("PROCESSES_SEED", random.SystemRandom().randrange(10**6)))
    print(f"PROCESSES_SEED={seed}")
    return random.Random(seed)
