"""The files: which engine, which journal mode, whose eyes, and how they come to their schema."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlite_utils.utils import sqlite3 as chosen_by_sqlite_utils

from edge_agent import EdgeAgent, StoreBroken
from edge_agent.storage import database as database_module
from edge_agent.storage import engine, migrate
from edge_agent.storage.database import Database
from edge_agent.storage.engine import sqlite3

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


def opened(path: Path) -> Database:
    return Database(path, "journal", synchronous="FULL")


def test_the_engine_is_the_one_sqlite_utils_picks() -> None:
    """One process has one SQLite: the one sqlite-utils picked (two would corrupt a file they share)."""
    assert engine.sqlite3.connect is chosen_by_sqlite_utils.connect
    assert engine.sqlite3.sqlite_version == chosen_by_sqlite_utils.sqlite_version


@pytest.mark.parametrize(("is_safe", "mode"), [(True, "wal"), (False, "truncate")])
def test_the_mode_follows_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_safe: bool, mode: str) -> None:
    """A new file gets WAL on a safe engine, TRUNCATE elsewhere; both are durable."""
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: is_safe)
    database = opened(tmp_path / "journal.db")
    try:
        assert database.mode == mode
        assert database.connection.execute("PRAGMA journal_mode").fetchone()[0] == mode
        assert database.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert database.connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    finally:
        database.close()


def test_an_unsafe_engine_takes_a_file_out_of_wal_when_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode belongs to the file: made safe for an old engine, it is not turned back silently."""
    path = tmp_path / "journal.db"
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: True)
    opened(path).close()
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: False)
    database = opened(path)
    assert database.mode == "truncate"
    database.close()
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: True)
    database = opened(path)
    assert database.mode == "truncate"
    database.close()


def test_an_unsafe_engine_refuses_a_wal_file_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a program that writes WAL, an old engine does not open the file, and says what to do."""
    path = tmp_path / "journal.db"
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: True)
    first = opened(path)
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: False)
    with pytest.raises(StoreBroken, match="newer SQLite") as refusal:
        opened(path)
    assert "pysqlite3" in refusal.value.hint
    first.close()


def test_an_engine_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without what the stores need is named at once."""
    monkeypatch.setattr(database_module, "engine_is_too_old", lambda: True)
    with pytest.raises(StoreBroken, match="too old"):
        opened(tmp_path / "journal.db")


@posix
@pytest.mark.parametrize(("group_access", "mode"), [(False, 0o600), (True, 0o660)])
def test_only_the_owner_reads_the_files(home: Path, group_access: bool, mode: int) -> None:
    """Every database file is the owner's alone, or the group's where settings say so, whatever the umask."""
    from edge_agent.settings import load_settings, updated

    before = os.umask(0o022)
    try:
        with EdgeAgent(home, updated(load_settings(home), group_access=group_access)) as agent:
            agent._journal.note(agent._journal.database.connection, "x", "y", None, 1)
            found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.glob("*.db*")}
    finally:
        os.umask(before)
    assert set(found.values()) == {mode}, found
    assert len(found) >= 4 or agent._journal.database.mode != "wal"


def test_a_new_file_gets_every_migration_once(tmp_path: Path) -> None:
    """From empty every migration runs, in order; the second time none does."""
    path = tmp_path / "journal.db"
    first = opened(path)
    assert first.migrated == [file.stem for file in migrate.migration_files("journal")]
    first.close()
    second = opened(path)
    assert second.migrated == []
    second.close()


def test_every_migration_says_why() -> None:
    """Migrations are numbered without a gap, and open with their reason."""
    for schema in ("journal", "catalog"):
        files = migrate.migration_files(schema)  # type: ignore[arg-type]
        assert [int(file.stem[:4]) for file in files] == list(range(1, len(files) + 1))
        assert all(file.read_text("utf-8").startswith("-- ") for file in files)


def test_a_failed_migration_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that breaks half-way is undone whole, and runs when it is mended."""
    folder = tmp_path / "migrations" / "journal"
    folder.mkdir(parents=True)
    good = migrate.migration_files("journal")[0].read_text("utf-8")
    (folder / "0001_ledger.sql").write_text(good + "\nINSERT INTO nowhere VALUES (1);\n", "utf-8")
    monkeypatch.setattr(migrate, "migrations_folder", lambda: tmp_path / "migrations")
    migrate.migration_files.cache_clear()
    path = tmp_path / "journal.db"
    try:
        with pytest.raises(StoreBroken):
            opened(path)
        (folder / "0001_ledger.sql").write_text(good, "utf-8")
        database = opened(path)
        assert database.migrated == ["0001_ledger"]
        database.close()
    finally:
        migrate.migration_files.cache_clear()


def test_a_file_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    """A file only a newer program may write is left alone, with the mend (upgrades don't halt tills)."""
    path = tmp_path / "journal.db"
    opened(path).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'min_writer'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreBroken, match="newer edge-agent") as refusal:
        opened(path)
    assert "newer edge-agent" in refusal.value.hint
    assert path.read_bytes() == before


OPEN_MANY = """
import sys, threading
from pathlib import Path
from edge_agent.storage.database import Database
barrier = threading.Barrier(int(sys.argv[2]))
errors = []
def open_one(number):
    barrier.wait()
    try:
        Database(Path(sys.argv[1]) / f"journal-{number}.db", "journal", synchronous="FULL").close()
    except Exception as error:
        errors.append(repr(error.__cause__ or error))
sys.stdin.readline()
threads = [threading.Thread(target=open_one, args=(n,)) for n in range(int(sys.argv[2]))]
[t.start() for t in threads]; [t.join() for t in threads]
print(errors)
"""


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    """A POS and a daemon that start together on a new device both get their journal, migrated once."""
    files = 6
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_MANY, str(tmp_path), str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["[]"] * 3
    for number in range(files):
        database = opened(tmp_path / f"journal-{number}.db")
        assert database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert database.connection.execute("SELECT count(*) FROM lanes").fetchone()[0] == 3
        database.close()


def test_a_damaged_catalogue_is_moved_aside(home: Path) -> None:
    """The catalogue can be pulled again, so a broken one does not stop the shop; the broken file is kept."""
    EdgeAgent.open(home).close()
    (home / "catalog.db").write_bytes(b"not a database at all" * 500)
    for suffix in ("-wal", "-shm"):
        (home / f"catalog.db{suffix}").unlink(missing_ok=True)
    with EdgeAgent.open(home) as agent:
        assert agent.catalog.search("").total == 0
    assert len(list(home.glob("catalog.db.damaged-*"))) == 1


def test_a_damaged_journal_is_kept(home: Path) -> None:
    """A journal that can't be read is moved aside as it is: it may hold the only copy of sales. Selling goes on."""
    EdgeAgent.open(home).close()
    damaged = b"not a database at all" * 500
    (home / "journal.db").write_bytes(damaged)
    with EdgeAgent.open(home) as agent:
        assert agent.status()["pending"] == 0
    [aside] = home.glob("journal.db.damaged-*")
    assert aside.read_bytes() == damaged


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong inside a transaction, all of it is undone, and the connection can go on."""
    database = opened(tmp_path / "journal.db")

    def write(then: str) -> None:
        with database.immediate() as connection:
            connection.execute("INSERT INTO audit (at_ms, event, subject) VALUES (1, 'x', 'y')")
            connection.execute(then)

    with pytest.raises(StoreBroken):
        write("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError):
        write("INSERT INTO lanes (name) VALUES ('sales')")
    with database.immediate() as connection:
        assert connection.execute("SELECT count(*) FROM audit").fetchone()[0] == 0
    database.close()
