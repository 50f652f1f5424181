"""Programs of two ages on one home: what the older one left is all there, both sell, and what is too new is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, InvalidSettings, Item, StoreBroken
from edge_agent.settings import FILE_NAME, load_settings, updated
from edge_agent.storage import migrate
from tests.conftest import Till

Make = Callable[..., Any]
ROOT = Path(__file__).parent.parent
HOMES = ROOT / "tests" / "upgrade"
COLA = "00000006-0000-4000-8000-000000000000"
SALES_EACH = 25
LEFT = sorted(folder.name for folder in HOMES.iterdir() if (folder / "journal.sql").is_file())


def put_in_place(folder: Path, home: Path, office: Any) -> None:
    """A home as the older program left it, at a head office of this test."""
    home.mkdir(mode=0o700)
    for name in ("journal", "catalog"):
        for part in (folder / f"{name}.sql").read_text("utf-8").split("-- open the file anew\n"):
            with closing(sqlite3.connect(home / f"{name}.db", isolation_level=None)) as connection:
                connection.executescript(part)
    lines = (folder / FILE_NAME).read_text("utf-8").splitlines()
    told = [f'url = "{office.url}"' if line.startswith("url =") else line for line in lines]
    (home / FILE_NAME).write_text("\n".join([*told, ""]), "utf-8")
    (home / "credentials.json").write_text(json.dumps({"password": office.password}))


def sold(home: Path) -> dict[str, tuple[int, bytes, str]]:
    """Every sale of a journal: number, bytes and fingerprint by id; read without the agent."""
    with closing(sqlite3.connect(home / "journal.db")) as connection:
        rows = connection.execute(
            "SELECT s.external_id, s.device_seq, b.body, s.fingerprint FROM sales s JOIN sale_bodies b USING (entry)"
        ).fetchall()
    return {external_id: (seq, body, mark) for external_id, seq, body, mark in rows}


def uses(home: Path) -> dict[str, bytes]:
    """Every use of a promotion, with its bytes."""
    with closing(sqlite3.connect(home / "journal.db")) as connection:
        return dict(connection.execute("SELECT external_id, body FROM usages").fetchall())


@pytest.mark.parametrize("name", LEFT)
def test_what_an_older_program_left_is_all_there(
    name: str, tmp_path: Path, make_office: Make, open_agent: Make, clock: Any
) -> None:
    """Each sale reads back byte for byte, the next one takes the next number, and all arrive, each once."""
    office, home = make_office(), tmp_path / "home"
    put_in_place(HOMES / name, home, office)
    before, uses_before = sold(home), uses(home)
    assert (len(before), len(uses_before)) == (13, 10)
    agent = open_agent(home, ballast_mib=0, retention_days=3_650)  # these homes grow old, and are read all the same
    till = Till(agent, office, clock)
    for external_id, (seq, _, _) in before.items():
        found = agent.sale(external_id)
        assert found is not None
        assert found.device_seq == seq
    assert agent.status()["pending_sales"] == 5
    sale = agent.record_sale([Item(COLA, "1", "7500.00")])
    assert sale.device_seq == 14
    for _ in range(4):  # the receipts of the other head office, then whatever waits
        agent.sync()
        clock.advance(hours=8)
    assert not agent.sync().errors
    assert agent.status()["pending"] == 0
    [refused] = agent.outbox(state="quarantined")  # the unknown product: kept, and shown
    after = sold(home)
    assert {external_id: after[external_id] for external_id in before} == before
    assert uses(home) == uses_before
    taken = Counter(sale["external_id"] for sale in office.world.sales() if sale["state"] == "accepted")
    assert taken == Counter(after.keys() - {refused.external_id})
    arrived = Counter(usage["external_id"] for usage in office.world.usages())
    assert arrived == Counter(uses_before.keys())
    assert till.catalogue_agrees()
    assert agent.catalog.by_id(COLA) is not None
    assert [found.id for found in agent.catalog.search("cola").products] == [COLA]


@pytest.mark.parametrize("name", LEFT)
def test_older_settings_are_read(name: str, tmp_path: Path, make_office: Make) -> None:
    """A settings.toml of an older program means what it meant; what came later stands at its default."""
    home = tmp_path / "home"
    put_in_place(HOMES / name, home, make_office())
    settings = load_settings(home)
    assert (settings.device_id, settings.username) == ("pos-02", "pos-02")
    assert settings.local_port == 8780
    assert settings.client_cert_file == ""


def test_a_setting_of_a_later_program_is_refused_by_name(home: Path) -> None:
    """A program that was rolled back names the key it does not know and says where all are; it does not guess."""
    with (home / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write("teleport_interval_s = 5\n")
    with pytest.raises(InvalidSettings, match="teleport_interval_s: there is no such setting") as caught:
        load_settings(home)
    assert caught.value.key == "teleport_interval_s"
    assert "docs/settings.md" in caught.value.hint


@pytest.mark.parametrize("name", ["journal", "catalog"])
def test_a_file_for_later_programs_alone_is_refused(home: Path, name: str) -> None:
    """The file stays as it is, and the mend is said."""
    EdgeAgent(home, load_settings(home)).close()
    with closing(sqlite3.connect(home / f"{name}.db")) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (str(migrate.WRITER + 1),))
    content = (home / f"{name}.db").read_bytes()
    with pytest.raises(StoreBroken, match="newer edge-agent") as caught:
        EdgeAgent(home, load_settings(home))
    assert "Install the newer" in caught.value.hint
    assert (home / f"{name}.db").read_bytes() == content


# ---- with the older program itself -----------------------------------------------------------------------------------

TILL = """
import sys
import edge_agent
from edge_agent import EdgeAgent, Item
print(edge_agent.__file__, flush=True)
with EdgeAgent.open(sys.argv[1]) as agent:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[2])):
        print(agent.record_sale([Item(sys.argv[3], "1", "7500.00")]).external_id, flush=True)
    if "sync" in sys.argv:
        report = agent.sync()
        assert not report.errors, report.errors
"""
SCHEMAS = ("migrations/journal/0002_lives_and_receipts.sql", "migrations/catalog/0002_digests.sql")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(
    scope="module",
    params=[SCHEMAS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in (SCHEMAS[1], "the last release"))],
)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of a program of before: of the one before a schema grew, or of the last release."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the older programs are in the git history, which is not here")
    if request.param == "the last release":
        commit = git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")
    else:
        added = git("log", "--diff-filter=A", "--format=%H", "--", request.param).split()
        commit = git("rev-parse", "--verify", "--quiet", f"{added[-1]}^") if added else ""
    if not commit:
        pytest.skip(f"this history does not reach back to the program before {request.param}")
    folder = tmp_path_factory.mktemp("older")
    packed = folder / "older.tar"
    git("archive", "--output", str(packed), commit, "edge_agent", "migrations")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def start() -> Iterator[Make]:
    """Starts programs of either age: ``start(home, older=None, then="")``. It opens, then waits for a line."""
    started: list[subprocess.Popen[str]] = []

    def run(home: Path, older: Path | None = None, sales: int = SALES_EACH, then: str = "") -> Any:
        import os

        process = subprocess.Popen(
            [sys.executable, "-c", TILL, str(home), str(sales), COLA, then],
            env={**os.environ, "PYTHONPATH": str(older or ROOT)},
            cwd=home.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        where = process.stdout.readline()
        assert where.startswith(str(older or ROOT)), where or (process.stderr and process.stderr.read())
        assert process.stdout.readline() == "open\n", process.stderr and process.stderr.read()
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> list[str]:
    """The ids of what a program sold."""
    said, wrong = process.communicate(timeout=120)
    assert process.returncode == 0, wrong
    return said.split()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_ages_sell_on_one_home(
    older: Path, tmp_path: Path, start: Make, make_office: Make, open_agent: Make, clock: Any
) -> None:
    """An update under a running till: both sell at once, the older one starts and syncs afterwards too, books exact."""
    office, home = make_office(), tmp_path / "home"
    put_in_place(HOMES / LEFT[0], home, office)
    (home / "journal.db").unlink()  # the older program begins its own
    (home / "catalog.db").unlink()
    with (home / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write('currency = "IDR"\n')
    ids = []
    before = start(home, older, 3)
    go(before)
    ids += finish(before)
    running = start(home, older)
    updating = start(home)  # migrates what the other one has open
    go(running)
    go(updating)
    ids += finish(running) + finish(updating)
    again, today = start(home, older, then="sync"), start(home)
    go(again)
    go(today)
    ids += finish(again) + finish(today)
    assert len(ids) == len(set(ids)) == 3 + 4 * SALES_EACH
    agent = open_agent(home, ballast_mib=0)
    till = Till(agent, office, clock)
    for _ in range(3):
        agent.sync()
        clock.advance(hours=8)
    assert agent.status()["pending"] == agent.status()["quarantined"] == 0
    journal = sold(home)
    assert sorted(journal) == sorted(ids)
    assert sorted(seq for seq, _, _ in journal.values()) == list(range(1, len(ids) + 1))
    assert len(till.ledger_rows("SELECT 1 FROM journals")) == 1
    assert till.books_agree()
    assert till.catalogue_agrees()


def test_a_rolled_back_program_reads_what_was_sold_meanwhile(
    older: Path, tmp_path: Path, start: Make, make_office: Make
) -> None:
    """Today's program sold; the older one is put back, sells on with the next number, and syncs all of it."""
    office, home = make_office(), tmp_path / "home"
    put_in_place(HOMES / LEFT[0], home, office)
    (home / "journal.db").unlink()
    (home / "catalog.db").unlink()
    with (home / FILE_NAME).open("a", encoding="utf-8") as file:
        file.write('currency = "IDR"\n')
    today = start(home, None, 5, "sync")
    go(today)
    ids = finish(today)
    back = start(home, older, 5, "sync")
    go(back)
    ids += finish(back)
    assert sorted(sale["external_id"] for sale in office.world.sales()) == sorted(ids)
    assert [seq for seq, _, _ in sorted(sold(home).values())] == list(range(1, 11))


def test_a_changed_setting_is_checked_like_a_new_one(home: Path) -> None:
    """Settings of before can't smuggle in a value that is out of range today."""
    with pytest.raises(InvalidSettings, match="heartbeat_interval_s"):
        updated(load_settings(home), heartbeat_interval_s=-1)
