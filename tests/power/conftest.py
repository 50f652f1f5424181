"""A disk whose power can be cut: what a till wrote is logged, and its files are rebuilt as of any moment."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from edge_agent import EdgeAgent, Item
from edge_agent.errors import StoreBroken
from edge_agent.settings import FILE_NAME
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal

HERE = Path(__file__).parent
SECTOR = 512
TIMEOUT_S = 240
SELL_ON_EVERY = 17  # a prime: any place in a transaction
Fate = Literal["kept", "dropped", "torn"]
_HEAD = struct.Struct("=B3xIQqQ")


@dataclasses.dataclass(frozen=True, slots=True)
class Op:
    """One operation of the log; ``kind`` is a letter of shim.c."""

    kind: str
    inode: int
    offset: int
    name: str
    data: bytes


def read_log(path: Path) -> list[Op]:
    """The operations in the order in which they happened."""
    ops = []
    log = path.read_bytes()
    at = 0
    while at < len(log):
        kind, name_size, inode, offset, size = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        name = log[at : at + name_size].decode()
        ops.append(Op(chr(kind), inode, offset, name, log[at + name_size : at + name_size + size]))
        at += name_size + size
    return ops


def every_fate(dice: random.Random) -> Callable[[], Fate]:
    """How one power cut treats unsynced writes: mostly each in its own way, sometimes all alike."""
    fates: tuple[Fate, ...] = dice.choice(
        [("kept",), ("dropped",), ("kept", "dropped"), ("kept", "dropped", "torn"), ("torn",)]
    )
    return lambda: dice.choice(fates)


class File:
    """What of a file is on the disk for sure, and what is on its way there."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.unsynced: list[Op] = []

    def after_a_cut(self, dice: random.Random, fate: Callable[[], Fate]) -> bytearray:
        """The file as a power cut leaves it: each unsynced write is there, is not, or is there in some sectors."""
        content = bytearray(self.durable)
        for op in self.unsynced:
            _apply(content, op, fate(), dice)
        return content

    def sync(self) -> None:
        """Everything written so far is durable."""
        for op in self.unsynced:
            _apply(self.durable, op, "kept", None)
        self.unsynced.clear()


def _apply(content: bytearray, op: Op, fate: Fate, dice: random.Random | None) -> None:
    if op.kind == "t":
        if fate == "kept" or (fate == "torn" and dice and dice.random() < 0.5):
            del content[op.offset :]
            content.extend(bytes(op.offset - len(content)))
        return
    at, end = op.offset, op.offset + len(op.data)
    while at < end and fate != "dropped":
        upto = end if fate == "kept" else min(end, (at // SECTOR + 1) * SECTOR)
        if fate == "kept" or (dice and dice.random() < 0.5):
            content.extend(bytes(max(0, upto - len(content))))
            content[at:upto] = op.data[at - op.offset : upto - op.offset]
        at = upto


class Disk:
    """Files and their names, fed with a log up to some moment.

    The model is a journalling file system such as ext4, at its least helpful: a file's data is durable after a sync of
    that file that succeeded, and only then. Until then every write and truncation may be there, be missing or be torn
    at the borders of 512-byte sectors (a sector itself is written whole), each for itself and in any order. Creating,
    renaming and deleting names are durable, in order, after a sync of the folder or of a file created since (its
    journal commits them together); before that a power cut keeps the first few of them. A failed sync makes nothing
    durable, and what was on its way then is not tried again: each such write may be lost for good.
    """

    def __init__(self, dice: random.Random, fate: Callable[[], Fate] | None = None) -> None:
        self.dice = dice
        self.fate = fate
        self.files: dict[int, File] = {}
        self.names: dict[str, File] = {}
        self.unsynced_names: list[tuple[Op, File | None]] = []
        self.acknowledged: dict[str, tuple[str, str]] = {}  # external_id: lane, fingerprint

    def feed(self, op: Op) -> None:
        """Let one more operation happen."""
        if op.kind == "a":
            lane, external_id, fingerprint = op.name.split()
            self.acknowledged[external_id] = (lane, fingerprint)
        elif op.kind in "cru":
            if op.kind == "c":
                self.files[op.inode] = File()
            self.unsynced_names.append((op, self.files[op.inode] if op.kind == "c" else None))
        elif op.kind in "wt":
            self.files[op.inode].unsynced.append(op)
        elif op.kind == "f":
            file = self.files[op.inode]
            file.durable = file.after_a_cut(self.dice, self.fate or every_fate(self.dice))
            file.unsynced.clear()
        elif op.kind == "d" or any(file is self.files[op.inode] for _, file in self.unsynced_names):
            self._rename(self.names, len(self.unsynced_names))
            self.unsynced_names.clear()
        if op.kind == "s":
            self.files[op.inode].sync()

    def _rename(self, names: dict[str, File], count: int) -> None:
        for op, file in self.unsynced_names[:count]:
            if file is not None:
                names[op.name] = file
            elif op.kind == "u":
                names.pop(op.name, None)
            else:
                old, new = op.name.split("\n")
                names[new] = names.pop(old)

    def cut(self, folder: Path) -> None:
        """Write the folder as the power cut leaves it; this disk itself stays as it is."""
        fate = self.fate or every_fate(self.dice)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        names = dict(self.names)
        kept = {"kept": len(self.unsynced_names), "dropped": 0}
        self._rename(names, kept.get(fate(), self.dice.randint(0, len(self.unsynced_names))))
        for name, file in names.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(file.after_a_cut(self.dice, fate))


@dataclasses.dataclass
class Findings:
    """What trials did to the books; ``stuck`` counts journals that can't be opened, are damaged or have a gap."""

    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    words: list[str] = dataclasses.field(default_factory=list)

    def look_at(self, home: Path, acknowledged: dict[str, tuple[str, str]], where: str, unasked_max: int = 1) -> None:
        """Open the journal as the agent does, and compare it with what was acknowledged.

        Args:
            home: the device's home.
            acknowledged: lane and fingerprint by ``external_id``.
            where: names the trial.
            unasked_max: so many sales may be stored without having been acknowledged (those in the making).
        """
        try:
            rows, check, last_seq = _read(home / "journal.db")
        except (StoreBroken, sqlite3.Error) as error:
            self.note(where, f"can't be read: {error}", lost=len(acknowledged), stuck=1)
            return
        stored = {external_id: (lane, digest) for lane, external_id, _, digest, _ in rows}
        lost = [external_id for external_id in acknowledged if stored.get(external_id) != acknowledged[external_id]]
        sequence = sorted(seq for lane, _, seq, _, _ in rows if lane == "sale")
        twice = len(rows) - len(stored) + len(sequence) - len(set(sequence))
        changed = [
            external_id for _, external_id, _, digest, body in rows if hashlib.sha256(body).hexdigest() != digest
        ]
        wrong = [line for line in check if line != "ok"]
        gap = sequence != list(range(1, last_seq + 1))
        unasked = len(stored.keys() - acknowledged.keys())
        self.note(where, f"{len(lost)} lost", lost=len(lost))
        self.note(where, f"{twice} twice", doubled=twice)
        self.note(where, f"changed {changed}, integrity {wrong}", stuck=int(bool(changed or wrong)))
        self.note(where, f"gap: {len(sequence)} sales, counted to {last_seq}", stuck=int(gap))
        self.note(where, f"{unasked} stored that nobody asked for", stuck=int(unasked > unasked_max))

    def note(self, where: str, words: str, *, lost: int = 0, doubled: int = 0, stuck: int = 0) -> None:
        self.lost, self.doubled, self.stuck = self.lost + lost, self.doubled + doubled, self.stuck + stuck
        if lost or doubled or stuck:
            self.words.append(f"{where}: {words}")


def _read(path: Path) -> tuple[list[tuple[str, str, int, str, bytes]], list[str], int]:
    """What a journal holds, what SQLite finds wrong with it, and how far it has counted.

    The rows come from the tables themselves: an index may hide what a table holds.
    """
    journal = Journal(path)
    try:
        execute = journal.database.connection.execute
        rows = execute(
            "SELECT 'sale', s.external_id, s.device_seq, s.fingerprint, b.body FROM sales s NOT INDEXED "
            "LEFT JOIN sale_bodies b ON b.entry = s.entry "
            "UNION ALL SELECT 'usage', external_id, 0, fingerprint, body FROM usages NOT INDEXED"
        ).fetchall()
        check = [text for (text,) in execute("PRAGMA integrity_check")]
        return [tuple(row) for row in rows], check, sum(life.last_seq for life in journal.lives())
    finally:
        journal.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of shim.c, compiled."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("the disk simulator needs Linux and a C compiler (gcc)")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    words = [
        compiler,
        "-O1",
        "-Wall",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        str(HERE / "shim.c"),
        "-ldl",
        "-lpthread",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


@pytest.fixture
def run_on_disk(shim: Path, home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python with the disk of shim.c below it: ``run_on_disk(*words, log=None, fault="", stdin="")``."""

    def run(
        *words: str, log: Path | None = None, fault: str = "", stdin: str = "", exit_code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        folder = os.path.realpath(home)
        more = {"LD_PRELOAD": str(shim), "POWER_FOLDER": folder, "EDGE_AGENT_HOME": folder, "PYTHONUTF8": "1"}
        more |= {"POWER_LOG": str(log)} if log else {}
        more |= {"POWER_FAULT": fault} if fault else {}
        done = subprocess.run(
            [sys.executable, *words],
            env=os.environ | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done

    return run


@pytest.fixture
def dice() -> random.Random:
    """A seed of its own for each run, printed; POWER_SEED repeats it."""
    seed = int(os.environ.get("POWER_SEED", random.SystemRandom().randrange(10**6)))
    print(f"POWER_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(name="findings")
def findings_fixture() -> Findings:
    return Findings()


def sell_on(rebuilt: Path, home: Path, findings: Findings, where: str) -> None:
    """Open the whole agent on a rebuilt disk; the next sale must have the next number."""
    shutil.copy(home / FILE_NAME, rebuilt)
    try:
        with EdgeAgent.open(rebuilt) as agent:
            numbers = [life.last_seq for life in agent._journal.lives()]
            sale = agent.record_sale([Item("10000000-0000-4000-8000-000000000000", "1", "7500.00")])
    except StoreBroken as error:
        findings.note(where, f"sells no more: {error.message}", stuck=1)
        return
    findings.note(where, f"number {sale.device_seq} after {numbers}", stuck=int(sale.device_seq != numbers[-1] + 1))


@pytest.fixture
def cut_power(tmp_path: Path, home: Path, dice: random.Random, findings: Findings) -> Callable[..., Findings]:
    """Cuts the power at random moments of a log, and looks at each disk: ``cut_power(log, points, fate=None)``.

    Without points the power is cut once, at the end of the log. Some of the rebuilt tills sell on.
    """
    rebuilt = tmp_path / "rebuilt"

    def cut(log: Path, points: int | None, fate: Callable[[], Fate] | None = None) -> Findings:
        ops = read_log(log)
        chosen = {len(ops)} if points is None else set(dice.sample(range(len(ops) + 1), points))
        disk = Disk(dice, fate)
        for place in range(len(ops) + 1):
            if place in chosen:
                where = f"cut before operation {place}"
                disk.cut(rebuilt)
                findings.look_at(rebuilt, disk.acknowledged, where)
                if place % SELL_ON_EVERY == 0:
                    sell_on(rebuilt, home, findings, where)
            if place < len(ops):
                disk.feed(ops[place])
        return findings

    return cut
