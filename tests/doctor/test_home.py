"""Homes that are broken in every way, each for real: what the doctor says, what it mends, and what it leaves alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent
from edge_agent.presence import Presence, announce, one_daemon
from edge_agent.storage import engine
from edge_agent.storage.incidents import raise_incident

Make = Callable[..., Any]
posix_alone = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
MIB = 1024 * 1024


def test_no_home(tmp_path: Path, call_doctor: Make) -> None:
    """The folder is not there: the doctor says that first, and what can't be looked at without it."""
    said = call_doctor(tmp_path / "gone")
    assert said.wrong == ["home"]
    assert said.about("home").words == f"The folder {tmp_path / 'gone'} is not there."
    assert said.about("journal").words == "Not asked: this device's folder can't be read."
    assert said.exit == 2


def test_a_folder_that_cant_be_written(closed_till: Make, call_doctor: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that turned read-only: told first, and all that can be read is looked at still."""
    home = closed_till().agent.home
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, how: not how & os.W_OK and real(path, how))
    said = call_doctor(home, offline=True)
    assert said.wrong == ["home", "backup"]
    assert said.about("home").words == f"Nothing can be written into the folder {home}."
    assert said.about("journal").state == "fine"
    assert said.exit == 6


def test_a_typing_mistake_in_the_settings(closed_till: Make, call_doctor: Make) -> None:
    """The setting is named; all that needs no settings is looked at still."""
    till = closed_till()
    path = till.agent.home / "settings.toml"
    path.write_text(path.read_text() + "\npoll_intervall_s = 60\n")
    said = call_doctor(till.agent.home)
    assert said.wrong == ["settings"]
    assert said.about("settings").words == ("The settings can't be used: poll_intervall_s: there is no such setting.")
    assert said.about("journal").state == "fine"
    assert said.about("name").words == "Not asked: the settings can't be used."
    assert said.exit == 2


def test_settings_that_are_no_toml(closed_till: Make, call_doctor: Make) -> None:
    """A quote that was forgotten: the line is told."""
    till = closed_till()
    path = till.agent.home / "settings.toml"
    path.write_text('device_id = "pos-02\n' + path.read_text())
    said = call_doctor(till.agent.home)
    assert said.wrong == ["settings"]
    assert "line 1" in said.about("settings").words
    assert said.about("settings").mend == "Mend that line."


def test_settings_overridden_by_the_environment(closed_till: Make, call_doctor: Make) -> None:
    """A variable that stands over the file is named: two programs may see two stores."""
    said = call_doctor(closed_till().agent.home, environment={"EDGE_AGENT_POLL_INTERVAL_S": "30"})
    assert said.about("settings").state == "warn"
    assert "EDGE_AGENT_POLL_INTERVAL_S" in said.about("settings").words
    assert said.exit == 0


@posix_alone
def test_files_that_others_can_read(closed_till: Make, call_doctor: Make) -> None:
    """The password's file is open to all: told, and with --fix closed, nothing else touched."""
    home = closed_till().agent.home
    for name in ("credentials.json", "journal.db"):
        (home / name).chmod(0o644)
    said = call_doctor(home)
    assert said.wrong == ["permissions"]
    assert said.about("permissions").words == (
        "Others who use this machine can read or change credentials.json, journal.db."
    )
    assert said.exit == 3
    mended = call_doctor(home, fix=True)
    [done] = mended.report.fixed  # what SQLite keeps beside the journal has the journal's mode
    assert done.startswith("Let only the agent's user read credentials.json, journal.db")
    assert mended.wrong == []
    assert stat.S_IMODE((home / "credentials.json").stat().st_mode) == 0o600
    assert mended.words.startswith("Mended: Let only")


def test_a_full_disk(closed_till: Make, call_doctor: Make) -> None:
    """No room for a sale: the gravest thing there is."""
    said = call_doctor(closed_till().agent.home, free_bytes=lambda _: 1000)
    assert said.wrong == ["disk"]
    assert said.about("disk").words == "The disk is full: new sales can't be saved."
    assert said.about("disk").mend.startswith("Free some space now")
    assert said.exit == 6


def test_a_disk_that_is_nearly_full(closed_till: Make, call_doctor: Make) -> None:
    """Told before it is too late."""
    said = call_doctor(closed_till().agent.home, free_bytes=lambda _: 150 * MIB)
    assert said.wrong == ["disk"]
    assert said.about("disk").words == "The disk is nearly full: 150 MiB are free."


def test_reserve_leftovers_and_backup_folder_are_mended(
    closed_till: Make, call_doctor: Make, set_setting: Make, tmp_path: Path
) -> None:
    """Room held back, half-made files, a folder for backups: what is safe to mend is mended and told, locks stay."""
    home = closed_till().agent.home
    set_setting(home, ballast_mib=1, backup_folder=str(tmp_path / "stick"))
    for name in ("ballast.new", "device.key.abc12345", "tokens.new"):
        (home / name).write_bytes(b"x")
        os.utime(home / name, (1_700_000_000, 1_700_000_000))
    (home / "settings.new").write_text("just being made")
    locks = {path.name for path in home.glob("*.lock")}
    said = call_doctor(home)
    assert said.noted[:2] == ["reserve", "leftovers"]
    assert said.wrong == ["backup"]
    mended = call_doctor(home, fix=True)
    assert mended.report.fixed == (
        "Held 1 MiB back for the day the disk is full.",
        "Removed ballast.new, device.key.abc12345, tokens.new.",
        f"Made the folder {tmp_path / 'stick'} for backups.",
    )
    assert mended.wrong == []
    assert (home / "settings.new").exists()
    assert {path.name for path in home.glob("*.lock")} == locks
    assert (home / "ballast").stat().st_size == MIB


def test_a_damaged_journal(closed_till: Make, call_doctor: Make) -> None:
    """It is told, kept where it is, and opened by nobody; the till's own start replaces it afterwards."""
    home = closed_till().agent.home
    path = home / "journal.db"
    content = bytearray(path.read_bytes())
    content[4096:12_288] = os.urandom(8192)
    path.write_bytes(content)
    said = call_doctor(home)
    assert said.wrong == ["journal"]
    assert said.about("journal").words == "The journal is damaged (journal.db)."
    assert said.about("journal").mend.startswith("Delete nothing.")
    assert said.about("waiting").words == "Not asked: the journal can't be read."
    assert said.exit == 6
    assert call_doctor(home, fix=True).report.fixed == ()
    assert path.read_bytes() == bytes(content)


def test_a_journal_that_is_none(closed_till: Make, call_doctor: Make) -> None:
    """Somebody copied a letter over it."""
    home = closed_till().agent.home
    (home / "journal.db").write_bytes(b"Dear head office, " * 1000)
    said = call_doctor(home)
    assert said.wrong == ["journal"]
    assert said.exit == 6


def test_a_last_sale_that_is_not_as_it_was_recorded(closed_till: Make, call_doctor: Make) -> None:
    """Damage that SQLite does not see shows in the last sale's fingerprint."""
    till = closed_till()
    with engine.sqlite3.connect(till.agent.home / "journal.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE sale_bodies SET body = CAST('{}' AS BLOB)")
    connection.close()
    said = call_doctor(till.agent.home)
    assert said.wrong == ["journal"]
    assert said.exit == 6


def test_a_large_journal_without_wal_is_not_looked_through(
    closed_till: Make, call_doctor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a reader keeps tills waiting: only its end is looked at, and the doctor says so."""
    home = closed_till().agent.home
    with engine.sqlite3.connect(home / "journal.db") as connection:
        connection.execute("PRAGMA journal_mode = TRUNCATE").fetchall()
    connection.close()
    monkeypatch.setattr("edge_agent.storage.look.ROLLBACK_BYTES_MAX", 0)
    said = call_doctor(home, offline=True)
    assert said.about("journal").words.startswith("The journal is whole as far as could be seen without keeping a till")


def test_damaged_prices(closed_till: Make, call_doctor: Make) -> None:
    """They can be fetched again: no talk of lost sales."""
    home = closed_till().agent.home
    (home / "catalog.db").write_bytes(b"nothing" * 1000)
    said = call_doctor(home)
    assert said.wrong == ["prices"]
    assert said.about("prices").words == "The file with the prices is damaged. No sale is in it."
    assert said.exit == 3


def test_a_journal_of_a_newer_program(closed_till: Make, call_doctor: Make) -> None:
    """Told with the mend; nothing is touched."""
    home = closed_till().agent.home
    with engine.sqlite3.connect(home / "journal.db") as connection:
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('min_writer', '99')")
    connection.close()
    said = call_doctor(home)
    assert said.wrong == ["journal"]
    assert said.about("journal").words == "The journal was written by a newer edge-agent than this one."
    assert "Install the newer edge-agent" in said.about("journal").mend


def test_no_sale_yet(home: Path, call_doctor: Make) -> None:
    """A device that was set up and never sold is no fault."""
    said = call_doctor(home, offline=True)
    assert said.wrong == ["permissions"] if os.name == "posix" else []
    assert said.about("journal").words.startswith("There is no journal yet")
    assert said.about("waiting").words == "Not asked: there is no journal yet."


_OLD_ENGINE = """
import sys
sys.modules["pysqlite3"] = None  # a till without it: an engine with the fault
from pathlib import Path
from edge_agent.cli.doctor import _print, exit_of
from edge_agent.doctor.report import examine
report = examine(Path(sys.argv[1]), offline=True, environment={}, fix=len(sys.argv) > 2)
_print(report, sys.stdout)
sys.exit(exit_of(report))
"""


@pytest.mark.skipif(not engine.wal_is_safe(), reason="needs an engine that uses WAL beside one that must not")
def test_a_journal_in_wal_for_an_engine_with_the_fault(closed_till: Make, call_doctor: Make) -> None:
    """The journal was kept the fast way by a newer engine; this program's could damage it: told, and mended alone."""
    home = closed_till().agent.home
    assert call_doctor(home, offline=True).about("journal mode").words == (
        "The journal is kept the fast and safe way (WAL)."
    )

    def run(*options: str) -> Any:
        return subprocess.run(
            [sys.executable, "-c", _OLD_ENGINE, str(home), *options],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )

    done = run()
    assert done.returncode == 6, done.stderr
    assert "WRONG  journal mode: The journal is kept in a way (WAL) that SQLite" in done.stdout
    with EdgeAgent.open(home):  # a till has it open: the mend has to wait
        assert "Could not be mended: journal mode: another program has it open" in run("--fix").stdout
    assert "Mended: Turned the journal to the careful way (TRUNCATE)." in run("--fix").stdout
    assert call_doctor(home, offline=True).about("journal mode").words == (
        "The journal is kept the careful way (TRUNCATE)."
    )


def test_a_refused_sale(make_till: Make, call_doctor: Make) -> None:
    """What head office refused needs a person."""
    till = make_till()
    till.sell(product=till.nobody)
    till.agent.sync()
    till.agent.close()
    said = call_doctor(till.agent.home)
    assert said.wrong == ["waiting"]
    assert said.about("waiting").words == "Head office refused 1 entry; it is kept here."
    assert said.exit == 3


def test_sales_that_wait(make_till: Make, call_doctor: Make) -> None:
    """What waits is told with its age; for long it is a note."""
    till = make_till()
    till.sell()
    till.agent.close()
    assert call_doctor(till.agent.home).about("waiting").words.startswith("1 sale waiting for head office, the oldest")
    till.clock.advance(days=2, hours=1)
    said = call_doctor(till.agent.home, offline=True)
    assert said.about("waiting").words == "1 sale waiting for head office, the oldest for 2 days."
    assert said.about("waiting").state == "warn"


def test_nothing_runs_in_the_background(closed_till: Make, call_doctor: Make) -> None:
    """Nobody sends: told with how long head office has not been reached, and how to begin."""
    till = closed_till()
    till.clock.advance(hours=3)
    said = call_doctor(till.agent.home, offline=True)
    assert said.about("syncing").words == (
        "Nothing sends to head office in the background just now. It was last reached 3 h 0 min ago."
    )
    assert said.about("syncing").mend.startswith("Start the service (edge-agent run)")


def test_a_daemon_without_its_port(closed_till: Make, call_doctor: Make) -> None:
    """Another program has the port: there is no status page, and nobody would know why."""
    till = closed_till()
    home = till.agent.home
    said = call_doctor(home, offline=True)
    assert said.about("local port").state == "fine"
    with one_daemon(home):
        announce(home, Presence(1, 0, "", "0.1.0", "2026-11-21T08:00:00+00:00"))
        said = call_doctor(home, offline=True)
        assert said.about("local port").words.startswith("edge-agent run could not have the port 8780")
        assert "local_port" in said.about("local port").mend
        announce(home, Presence(1, 8780, "", "0.1.0", "2026-11-21T08:00:00+00:00"))
        assert "http://127.0.0.1:8780/" in call_doctor(home, offline=True).about("local port").words


def test_what_happened_is_told(make_till: Make, call_doctor: Make) -> None:
    """An incident that is open is told with where to read on."""
    till = make_till()
    with till.agent._journal.database.immediate() as connection:
        raise_incident(connection, "no backup", "its disk is away", till.clock.now_ms())
    till.agent.close()
    said = call_doctor(till.agent.home, offline=True)
    assert said.about("incidents").words == "No backup: its disk is away."


def test_an_unknown_time_zone(home: Path, call_doctor: Make, set_setting: Make) -> None:
    """A zone that is none is named."""
    set_setting(home, timezone="Asia/Jakatra")
    said = call_doctor(home, offline=True)
    assert said.about("time zone").words == "This device does not know the time zone Asia/Jakatra."


def test_a_check_that_fails_itself_spoils_no_other(
    closed_till: Make, call_doctor: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault nobody thought of costs one check."""

    def fault(_: Any) -> int:
        raise RuntimeError("nobody thought of this")

    said = call_doctor(closed_till().agent.home, free_bytes=fault, offline=True)
    assert said.about("disk").words == "This could not be looked at: RuntimeError: nobody thought of this."
    assert said.about("journal").state == "fine"


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_json(closed_till: Make, command: Make) -> None:
    """Each check with its name, state, message, mend and time."""
    result = command(closed_till().agent.home, "--json")
    assert result.exit_code == 0
    assert result.json["schema"] == 1
    assert result.json["fixed"] == []
    assert set(result.json["checks"][0]) == {"name", "state", "message", "mend", "took_ms"}
    names = [check["name"] for check in result.json["checks"]]
    assert len(names) == len(set(names))
    assert sum(check["took_ms"] for check in result.json["checks"]) < 10_000


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_no_console_makes_it_fail(closed_till: Make, encoding: str) -> None:
    """A console that lacks the marks shows others; words say the same."""
    home = closed_till().agent.home
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "EDGE_AGENT_HOME": str(home), "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "doctor", "--offline"],
        capture_output=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert ("✓ fine" if encoding == "utf-8" else "+ fine") in text
    assert "\x1b" not in text
