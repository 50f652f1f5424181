"""A home against other people of the same machine: modes, links, credentials, and what SQLite may load."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import hookimpl
from sqlite_utils.plugins import pm

from edge_agent import EdgeAgent, InvalidSettings
from edge_agent.head_office.auth import SERVICE_CREDENTIAL, SecretFiles
from edge_agent.presence import Presence, announce, find
from edge_agent.settings import CREDENTIALS_NAME, load_settings
from edge_agent.storage.engine import sqlite3

Make = Callable[..., Any]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes: the folder's rights count there")
OTHERS = stat.S_IRWXO
GROUP = stat.S_IRWXG
# Holds no secret, and is read by people of the shop: as the umask says.
OPEN = frozenset({"settings.toml"})


@pytest.fixture
def careless() -> Iterator[None]:
    """The mask of a careless system: whatever a program does not forbid is allowed."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(home: Path) -> dict[str, int]:
    """Every file and folder of a home, with its mode."""
    return {path.relative_to(home).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in home.rglob("*")}


def lived_in(make_till: Make, **settings: Any) -> tuple[Any, Path]:
    """A home in which everything was made that an agent makes; still open, so that -wal and -shm are there."""
    till = make_till(ballast_mib=1, **settings)
    agent: EdgeAgent = till.agent
    for _ in range(3):
        till.sell()
    agent.backup()
    agent.export_outbox(agent.home / "out.jsonl")
    till.sell()
    agent.sync()
    return till, agent.home


@posix
@pytest.mark.usefixtures("careless")
def test_nobody_else_reads_anything(make_till: Make) -> None:
    """With no umask at all, no file or folder of a private home lets group or others in, -wal and -shm included."""
    _, home = lived_in(make_till)
    found = modes(home)
    assert {"journal.db", "catalog.db", "credentials.json", "tokens.json", "device.key", "out.jsonl"} <= found.keys()
    assert any(name.startswith("backups/") for name in found)
    wrong = {name: oct(mode) for name, mode in found.items() if mode & (GROUP | OTHERS) and name not in OPEN}
    assert wrong == {}


@posix
@pytest.mark.usefixtures("careless")
def test_a_group_shares_the_databases_and_no_secret(make_till: Make) -> None:
    """With group_access others are kept out as before, and the group gets neither password nor token nor key."""
    _, home = lived_in(make_till, group_access=True)
    found = modes(home)
    assert {name: oct(mode) for name, mode in found.items() if mode & OTHERS and name not in OPEN} == {}
    assert found["journal.db"] == found["catalog.db"] == 0o660
    for name in ("credentials.json", "tokens.json", "device.key", "ballast"):
        assert found[name] == 0o600, name


@posix
@pytest.mark.parametrize("name", ["tokens.json", "tokens.new"])
def test_a_planted_link_leads_no_token_away(home: Path, tmp_path: Path, name: str) -> None:
    """Tokens replace a link that somebody put in their place; what it points to stays as it was."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    elsewhere.chmod(0o666)
    (home / name).symlink_to(elsewhere)
    SecretFiles(home, CREDENTIALS_NAME).keep_tokens("access", "refresh")
    assert elsewhere.read_text() == "mine"
    tokens = home / "tokens.json"
    assert not tokens.is_symlink()
    assert json.loads(tokens.read_text())["access"] == "access"
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("name", ["daemon.json", "daemon.new"])
def test_a_planted_link_is_not_written_through_by_the_daemon(home: Path, tmp_path: Path, name: str) -> None:
    """Where the daemon announces itself, a link leads to no file of its user: neither its bytes nor its mode change."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    elsewhere.chmod(0o600)
    (home / name).symlink_to(elsewhere)
    announce(home, Presence(1, 8780, "", "0", "2026-11-21T00:00:00Z"))
    assert (elsewhere.read_text(), stat.S_IMODE(elsewhere.stat().st_mode)) == ("mine", 0o600)
    there = find(home)
    assert there is not None
    assert there.port == 8780
    assert stat.S_IMODE((home / "daemon.json").stat().st_mode) == 0o644


def test_a_planted_announcement_names_a_port(home: Path) -> None:
    """What is no port is no announcement."""
    for port in (-1, 65_536, 10**12):
        announce(home, Presence(1, port, "", "0", "2026-11-21T00:00:00Z"))
        assert find(home) is None


@pytest.mark.parametrize("name", ["a folder", "out of reach"])
def test_settings_out_of_reach_are_told_in_words(tmp_path: Path, name: str) -> None:
    """Another user's home, or what else keeps its settings from being read, ends no program in a traceback."""
    folder = tmp_path if name == "a folder" else tmp_path / ("x" * 300)
    if name == "a folder":
        (tmp_path / "settings.toml").mkdir()
    with pytest.raises(InvalidSettings, match="can't be read"):
        load_settings(folder)


def test_a_password_may_come_from_systemd(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service's credential takes the place of the stored password; the environment still wins over both."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert SecretFiles(home, CREDENTIALS_NAME).secrets.password == "secret"
    (folder / SERVICE_CREDENTIAL).write_text("from systemd\n")
    assert SecretFiles(home, CREDENTIALS_NAME).secrets.password == "from systemd"
    (home / CREDENTIALS_NAME).unlink()
    assert SecretFiles(home, CREDENTIALS_NAME).secrets.password == "from systemd"
    monkeypatch.setenv("EDGE_AGENT_PASSWORD", "by hand")
    assert SecretFiles(home, CREDENTIALS_NAME).secrets.password == "by hand"


def test_the_units_credential_is_the_one_that_is_read() -> None:
    """packaging/systemd/password.conf names the credential as the code reads it."""
    file = Path(__file__).parents[2] / "packaging" / "systemd" / "password.conf"
    assert f"\nLoadCredential={SERVICE_CREDENTIAL}:" in file.read_text("utf-8")


def test_no_extension_is_loaded(agent: EdgeAgent) -> None:
    """SQL can't load a library into the till's program, in either database."""
    for database in (agent._journal.database, agent._store.database):
        with pytest.raises(sqlite3.OperationalError, match=r"not authorized|no such function"):
            database.connection.execute("SELECT load_extension('mod_spatialite')")


def test_no_plugin_of_sqlite_utils_runs(home: Path, open_agent: Make) -> None:
    """A plugin that is installed on the machine does not run inside the agent, which keeps the shop's books."""
    seen: list[object] = []

    class Plugin:
        @hookimpl
        def prepare_connection(self, conn: object) -> None:
            seen.append(conn)

    plugin = Plugin()
    pm.register(plugin)
    try:
        open_agent(home).status()
    finally:
        pm.unregister(plugin)
    assert seen == []
