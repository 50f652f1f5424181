"""Backups are whole, made beside the selling, and restoring one loses nothing and counts nothing twice."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent import EdgeAgent, Item, StoreBroken
from edge_agent.cli.app import app
from edge_agent.clock import Clock
from edge_agent.errors import AlreadyRunning
from edge_agent.restore import backups_of, restore
from edge_agent.settings import load_settings
from edge_agent.storage import backup as backup_module
from edge_agent.storage import database as database_module
from edge_agent.storage import durable
from edge_agent.storage.backup import back_up, backups
from edge_agent.storage.check import check
from edge_agent.storage.engine import sqlite3

COLA = "00000006-0000-4000-8000-000000000000"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def sell(agent: EdgeAgent, **more: Any) -> str:
    return agent.record_sale([Item(COLA, "1", "7500.00")], **more).external_id


def restored(home: Path, file: Path) -> Any:
    return restore(home, load_settings(home), file, Clock())


def ids(agent: EdgeAgent) -> set[str]:
    return {row[0] for row in agent._journal.database.connection.execute("SELECT external_id FROM sales")}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mended_by_hand(path: Path, *statements: str) -> None:
    """Changes a file as damage would: without the triggers that forbid it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)


# ---- backup --------------------------------------------------------------------------------------------------------


def test_a_backup_holds_every_sale_and_use(agent: EdgeAgent) -> None:
    """A backup is a whole journal of its own, checked before it gets its name, for its owner's eyes alone."""
    for _ in range(3):
        sell(agent)
    agent.record_usage(COLA, "1.00", bill_id="7")
    made = agent.backup()
    assert (made.sales, made.usages, made.last_number, made.device_id) == (3, 1, 3, "pos-02")
    assert files(agent.home / "backups") == {made.path.name}
    assert check(made.path).sales == 3
    if os.name == "posix":
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert files(agent.home / "backups") == {made.path.name}  # looking at it left nothing beside it


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_shared_homes_backup_is_shared(home: Path, open_agent: Callable[..., EdgeAgent]) -> None:
    """Where the group shares the journal, it can read its backups as well."""
    agent = open_agent(home, group_access=True)
    made = agent.backup()
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o660


@pytest.mark.parametrize("is_safe", [True, False])
def test_selling_goes_on_while_a_backup_is_made(home: Path, monkeypatch: pytest.MonkeyPatch, is_safe: bool) -> None:
    """Backups of a busy journal are whole and free of gaps, and no sale fails or waits for long."""
    if is_safe and not database_module.wal_is_safe():
        pytest.skip("this SQLite has the WAL-reset bug")
    monkeypatch.setattr(database_module, "wal_is_safe", lambda: is_safe)
    monkeypatch.setattr(backup_module, "PAGES_PER_STEP", 2)
    sold, stop, failed = [], threading.Event(), []

    def till() -> None:
        try:
            while not stop.wait(0.002):
                sold.append(sell(agent))
        except BaseException as error:  # noqa: BLE001 - told to the test below
            failed.append(error)

    with EdgeAgent(home, load_settings(home)) as agent:
        for _ in range(20):
            sell(agent)
        tills = [threading.Thread(target=till) for _ in range(2)]
        for one in tills:
            one.start()
        try:
            made = [agent.backup(home / f"copies-{number}") for number in range(5)]
        finally:
            stop.set()
            for one in tills:
                one.join()
        assert not failed
        assert sold
        assert agent._journal.database.mode == ("wal" if is_safe else "truncate")
    assert [check(one.path).sales for one in made] == sorted(one.sales for one in made)


def test_only_the_newest_of_this_device_stay(agent: EdgeAgent, tmp_path: Path, write_home: Callable[..., Path]) -> None:
    """Rotation keeps as many as asked for, whatever the clock says, and touches no other device's copies."""
    other_home = write_home(None, "other", device_id="pos-03", currency="IDR")
    folder = tmp_path / "copies"
    with EdgeAgent(other_home, load_settings(other_home)) as other:
        sell(other)
        theirs = other.backup(folder).path
    sell(agent)
    ahead = back_up(agent.home / "journal.db", folder, 3, now=NOON.replace(year=2052)).path
    made = []
    for _ in range(4):
        sell(agent)
        made.append(back_up(agent.home / "journal.db", folder, 3, now=NOON).path)
    assert files(folder) == {theirs.name, *(path.name for path in made[1:])}
    assert ahead.name not in files(folder)
    assert len({path.name for path in made}) == 4


def test_what_a_killed_backup_left_is_removed(agent: EdgeAgent) -> None:
    """A copy that a power cut left half-made goes with the next backup, and is never listed as one."""
    sell(agent)
    folder = agent.home / "backups"
    folder.mkdir()
    (folder / ".pos-02-journal.part").write_bytes(b"half")
    assert backups(folder) == []
    made = agent.backup()
    assert files(folder) == {made.path.name}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE sale_bodies SET body = x'7b7d' WHERE entry % 10 = 1", "not those that were recorded"),
        ("UPDATE usages SET body = x'7b7d'", "not those that were recorded"),
        ("UPDATE usages SET body = x''", "not those that were recorded"),
        ("DELETE FROM sale_bodies WHERE entry % 10 = 8", "not whole"),
        ("DELETE FROM sales WHERE device_seq = 3", "holds 4 of 5"),
        ("UPDATE journals SET last_seq = 6", "holds 5 of 6"),
    ],
)
def test_a_copy_that_is_not_whole_is_no_backup(home: Path, damage: str, words: str) -> None:
    """Damage that SQLite does not see shows in fingerprints and numbers; older backups then stay (G2)."""
    with EdgeAgent.open(home) as agent:
        for _ in range(5):
            sell(agent)
        agent.record_usage(COLA, "1.00", bill_id="7")
        good = agent.backup()
        mended_by_hand(home / "journal.db", damage)
        with pytest.raises(StoreBroken, match=words) as error:
            agent.backup()
    assert error.value.hint
    assert files(home / "backups") == {good.path.name}


def test_no_room_is_said_before_anything_is_written(agent: EdgeAgent) -> None:
    """A backup never takes the last room on a disk: sales need it."""
    sell(agent)
    with pytest.raises(StoreBroken, match="no room") as error:
        back_up(agent.home / "journal.db", agent.home / "backups", 3, now=NOON, free_bytes=lambda _: 1_000_000)
    assert "--to" in error.value.hint
    assert files(agent.home / "backups") == set()
    assert sell(agent)


LIMITED = """
import resource, signal, sys
from edge_agent import EdgeAgent, StoreBroken
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with EdgeAgent.open(sys.argv[1]) as agent:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    try:
        agent.backup()
    except StoreBroken as error:
        print(error.message, "|", error.hint)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_backup_that_fails_half_way_leaves_nothing(home: Path) -> None:
    """Whatever stops the copy, no half of it stays, and the error says that the journal is as it was."""
    with EdgeAgent.open(home) as agent:
        sell(agent)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(home)], capture_output=True, text=True, check=True)
    assert "could not be made" in done.stdout
    assert "The journal itself is as it was" in done.stdout
    assert files(home / "backups") == set()


# ---- restore -------------------------------------------------------------------------------------------------------


def test_a_restore_loses_nothing_and_counts_nothing_twice(till: Any) -> None:
    """Sales before and after the backup, sent or not, are in both ledgers once each after a restore (G1, G4)."""
    for _ in range(3):
        till.sell()
    till.agent.sync()
    till.sell()
    made = till.agent.backup()
    till.sell()
    till.agent.sync()
    last = till.sell()
    till.agent.record_usage(till.deal, "500.00", sale=last)
    before, life = ids(till.agent), till.agent._journal.life().journal_id
    home = till.agent.home
    till.agent.close()
    done = restored(home, made.path)
    assert (done.sales, done.taken_over.sales, done.taken_over.usages) == (4, 2, 1)
    assert done.taken_over.caught_up == 1  # sent after the backup: no need to send it again
    with EdgeAgent(home, load_settings(home), clock=till.clock) as agent:
        till.agent = agent
        assert ids(agent) == before
        assert agent._journal.life().journal_id == done.journal_id != life
        assert agent.status()["pending"] == 2
        assert till.sell().device_seq == 1
        report = agent.sync()
        assert not report.errors
        assert report.pushed.duplicate == 0
        assert till.books_agree()
        assert agent.status()["pending"] == 0
        assert len(agent.status()["receipts"]["differences"]) == 0


def test_a_restore_knows_what_became_of_a_sale(till: Any) -> None:
    """What head office refused after the backup stays set aside, with its reason (G3)."""
    till.sell()
    made = till.agent.backup()
    refused = till.sell(till.nobody)
    till.agent.sync()
    home = till.agent.home
    till.agent.close()
    restored(home, made.path)
    with EdgeAgent(home, load_settings(home), clock=till.clock) as agent:
        sale = agent.sale(refused.external_id)
        assert sale is not None
        assert (sale.state, sale.code) == ("quarantined", "UNKNOWN_PRODUCT")
        assert agent.status()["pending"] == 0


def test_a_lost_disk_is_restored_from_the_copy(till: Any, make_till: Callable[..., Any], tmp_path: Path) -> None:
    """A new disk with the backup alone: what head office has and the backup has not does no harm; no numbers clash."""
    till.sell()
    made = till.agent.backup(tmp_path / "stick")
    till.sell()
    till.agent.sync()
    till.agent.close()
    new = make_till(till.office, name="new-disk")
    done = restored_closed(new, made.path)
    assert done.taken_over.sales == 0
    with EdgeAgent(new.agent.home, load_settings(new.agent.home), clock=till.clock) as agent:
        new.agent = agent
        assert new.sell().device_seq == 1
        assert not agent.sync().errors
        assert agent.status()["pending"] == agent.status()["quarantined"] == 0
    assert len([sale for sale in till.office.world.sales() if sale["state"] == "accepted"]) == 3


def restored_closed(till: Any, file: Path) -> Any:
    till.agent.close()
    return restored(till.agent.home, file)


def test_a_restore_works_without_a_journal(home: Path) -> None:
    """On a device whose journal is gone, the backup is all there is."""
    with EdgeAgent.open(home) as agent:
        kept = {sell(agent), sell(agent)}
        made = agent.backup()
    for path in home.glob("journal.db*"):
        path.unlink()
    assert restored(home, made.path).replaced is None
    with EdgeAgent.open(home) as agent:
        assert ids(agent) == kept


@pytest.mark.parametrize("how", ["no database", "a page in the middle", "the end is cut off"])
def test_a_damaged_journal_is_replaced_and_what_can_be_read_is_kept(home: Path, how: str) -> None:
    """A damaged journal is kept aside as it was, and what can be read of it comes over."""
    with EdgeAgent.open(home) as agent:
        before = [sell(agent) for _ in range(40)]
        made = agent.backup()
        after = [sell(agent, extra={"note": "x" * 3000}) for _ in range(40)]
    path = home / "journal.db"
    damaged = bytearray(path.read_bytes())
    if how == "no database":
        damaged[:] = b"not a database at all" * 500
    elif how == "a page in the middle":
        page = 4096 * (len(damaged) // 4096 * 3 // 4)
        damaged[page : page + 4096] = os.urandom(4096)
    else:
        del damaged[len(damaged) - 3 * 4096 :]
    path.write_bytes(damaged)
    done = restored(home, made.path)
    assert done.replaced.read_bytes()[4096:] == bytes(damaged[4096:])  # the first page says its mode
    with EdgeAgent.open(home) as agent:
        assert ids(agent) >= set(before)
        here = ids(agent) & set(after)
        assert len(here) == done.taken_over.sales
        assert len(here) > 30 or how == "no database"
        assert len(here) == 40 or done.taken_over.unreadable
        assert agent.backup().sales == 40 + len(here)


def test_a_journal_in_use_is_not_replaced(home: Path) -> None:
    """While a program sells or syncs, restore says which to stop and changes nothing."""
    with EdgeAgent.open(home) as agent:
        sell(agent)
        made = agent.backup()
        if agent._journal.database.mode == "wal":
            with pytest.raises(AlreadyRunning, match="open") as error:
                restored(home, made.path)
            assert "Close" in error.value.hint
        agent.start()
        with pytest.raises(AlreadyRunning, match=r"background|syncing"):
            restored(home, made.path)
        agent.stop()
        assert sell(agent)
        assert agent._journal.life().last_seq == 2  # type: ignore[union-attr]
    assert not list(home.glob("*replaced*"))
    assert not list(home.glob("restoring*"))


def test_a_restore_that_fails_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the very last step the old journal is the journal; when that step fails it still is, in its old mode."""
    with EdgeAgent.open(home) as agent:
        sell(agent)
        made = agent.backup()
        kept, mode = {*ids(agent), sell(agent)}, agent._journal.database.mode

    def refuse(*_: object) -> None:
        raise PermissionError(13, "the disk said no")

    monkeypatch.setattr(durable, "put_in_place", refuse)
    with pytest.raises(StoreBroken, match="replaced"):
        restored(home, made.path)
    assert not list(home.glob("*replaced*"))
    assert not list(home.glob("restoring*"))
    with EdgeAgent.open(home) as agent:
        assert (ids(agent), agent._journal.database.mode) == (kept, mode)
        assert len(agent._journal.lives()) == 1


def test_restoring_twice_is_harmless(home: Path) -> None:
    """A restore undone by restoring what it replaced, and done again, still has every sale once."""
    with EdgeAgent.open(home) as agent:
        sell(agent)
        made = agent.backup()
        sell(agent)
    first = restored(home, made.path)
    with EdgeAgent.open(home) as agent:
        sell(agent)
        kept = ids(agent)
    second = restored(home, first.replaced)
    third = restored(home, made.path)
    assert (second.taken_over.conflicts, third.taken_over.conflicts) == ([], [])
    with EdgeAgent.open(home) as agent:
        assert ids(agent) == kept
        assert agent.backup().sales == 3


def test_another_devices_backup_is_refused(home: Path, write_home: Callable[..., Path]) -> None:
    """A backup belongs to its device: elsewhere it is refused, with the way that keeps the sales' identity."""
    other_home = write_home(None, "other", device_id="pos-03", currency="IDR")
    with EdgeAgent(other_home, load_settings(other_home)) as other:
        sell(other)
        made = other.backup()
    with pytest.raises(StoreBroken, match="pos-03") as error:
        restored(home, made.path)
    assert "outbox import" in error.value.hint


@pytest.mark.parametrize("what", ["nothing", "no database", "another database", "cut off", "the catalogue", "itself"])
def test_what_is_no_backup_is_refused(home: Path, tmp_path: Path, what: str) -> None:
    """A file that is missing, damaged or something else is refused by name, and nothing changes."""
    with EdgeAgent.open(home) as agent:
        sell(agent)
        made = agent.backup()
    file = tmp_path / "file.db"
    if what == "no database":
        file.write_bytes(b"not a database at all" * 500)
    elif what == "another database":
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE TABLE sales (x)")
    elif what == "cut off":
        file.write_bytes(made.path.read_bytes()[:-8192])
    elif what == "the catalogue":
        shutil.copy(home / "catalog.db", file)
    elif what == "itself":
        file = home / "journal.db"
    before = files(home), (home / "journal.db").read_bytes()
    with pytest.raises(StoreBroken) as error:
        restored(home, file)
    assert error.value.hint
    assert (home / "journal.db").read_bytes() == before[1]
    assert {name for name in files(home) - before[0] if not name.endswith(".lock")} == set()


# ---- the commands --------------------------------------------------------------------------------------------------


def test_the_commands_say_what_they_did(home: Path) -> None:
    """backup and restore tell in plain words, or in JSON, what was copied and what came back."""
    run = CliRunner().invoke
    at = ["--home", str(home)]
    assert "no backup" in run(app, [*at, "restore", "--list"]).stdout
    with EdgeAgent.open(home) as agent:
        sell(agent)
    told = run(app, [*at, "backup"])
    assert told.exit_code == 0
    assert told.stdout.startswith("1 sale and 0 promotion uses copied to ")
    made = json.loads(run(app, [*at, "backup", "--json", "--to", str(home / "elsewhere")]).stdout)
    assert (made["schema"], made["sales"], made["last_number"]) == (1, 1, 1)
    listed = json.loads(run(app, [*at, "restore", "--list", "--json"]).stdout)["backups"]
    assert [one["sales"] for one in listed] == [1]
    assert "last number" in run(app, [*at, "restore", "--list"]).stdout
    with EdgeAgent.open(home) as agent:
        sell(agent)
    told = run(app, [*at, "restore", made["path"]])
    assert told.exit_code == 0, told.stdout
    assert "1 sale and 0 promotion uses recorded after that backup were taken over" in told.stdout
    again = json.loads(run(app, [*at, "restore", "--json", made["path"]]).stdout)
    assert again["taken_over"]["sales"] == 1
    assert Path(again["replaced"]).exists()
    assert run(app, [*at, "restore"]).exit_code == 2
    assert run(app, [*at, "restore", str(home / "nothing.db")]).exit_code == 6


def test_backups_are_found_where_the_setting_says(home: Path, open_agent: Callable[..., EdgeAgent]) -> None:
    """The folder of the setting is used and listed, and so is the home's own."""
    agent = open_agent(home, backup_folder=str(home / "stick"))
    sell(agent)
    made = agent.backup()
    assert made.path.parent == home / "stick"
    back_up(home / "journal.db", home / "backups", 3, now=NOON)
    assert len(backups_of(home, agent.settings)) == 2
