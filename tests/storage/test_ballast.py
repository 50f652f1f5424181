"""On a full disk: the room held back lets sales go on, and when that is used up a cashier is told in plain words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, StoreBroken
from edge_agent.storage.ballast import MIB, Ballast, low_disk
from edge_agent.storage.incidents import close_incident, incidents, raise_incident

COLA = "00000006-0000-4000-8000-000000000000"


def kinds(agent: EdgeAgent, *, only_open: bool = True) -> list[str]:
    connection = agent._journal.database.connection
    return [incident.kind for incident in incidents(connection, only_open=only_open)]


def test_room_is_held_back_where_there_is_plenty(tmp_path: Path) -> None:
    """The ballast really takes its size from the disk, and only where four times as much is free."""
    ballast = Ballast(tmp_path, 2, free_bytes=lambda _: 8 * MIB)
    assert not ballast.is_there
    assert ballast.ensure()
    assert ballast.is_there
    assert ballast.path.stat().st_size == 2 * MIB
    if os.name == "posix":
        assert ballast.path.stat().st_blocks * 512 >= 2 * MIB
    assert ballast.release()
    assert not ballast.release()
    assert not Ballast(tmp_path, 2, free_bytes=lambda _: 8 * MIB - 1).ensure()
    assert not ballast.path.exists()


def test_another_size_is_made_anew(tmp_path: Path) -> None:
    """A changed setting counts at once; 0 gives the room back."""
    assert Ballast(tmp_path, 2).ensure()
    assert Ballast(tmp_path, 1).ensure()
    assert (tmp_path / "ballast").stat().st_size == MIB
    assert Ballast(tmp_path, 0).ensure()
    assert list(tmp_path.iterdir()) == []


def test_low_room_is_known_early(tmp_path: Path) -> None:
    """Long before the disk is full, people can be told how much is left."""
    free = shutil.disk_usage(tmp_path).free
    assert low_disk(tmp_path, 0) is None
    low = low_disk(tmp_path, free // MIB + 10_000)
    assert low is not None
    assert abs(low - free) < 10_000 * MIB
    assert low_disk(tmp_path / "gone", 200) is None


def test_a_sync_holds_room_back_and_tells_of_a_low_disk(make_till: Callable[..., Any]) -> None:
    """After a sync the ballast is there; too little room shows as an incident, and goes when there is enough."""
    till = make_till(ballast_mib=1)
    assert (till.agent.home / "ballast").stat().st_size == MIB
    free_mib = shutil.disk_usage(till.agent.home).free // MIB
    till.agent._keeping._disk_warn_mib = free_mib + 10_000
    till.clock.advance(hours=2)
    till.agent.sync()
    assert kinds(till.agent) == ["disk nearly full"]
    till.agent._keeping._disk_warn_mib = 0
    till.clock.advance(hours=2)
    till.agent.sync()
    assert kinds(till.agent) == []
    assert kinds(till.agent, only_open=False) == ["disk nearly full"]


def test_an_incident_counts_on_while_it_is_open(agent: EdgeAgent) -> None:
    """One row a kind: first and last time and how often; closed and raised again it begins anew."""
    with agent._journal.database.immediate() as connection:
        raise_incident(connection, "disk full", "one", 10)
        raise_incident(connection, "disk full", "two", 20)
        [open_one] = incidents(connection)
        assert (open_one.first_ms, open_one.last_ms, open_one.times, open_one.detail) == (10, 20, 2, "two")
        assert close_incident(connection, "disk full")
        assert not close_incident(connection, "disk full")
        assert incidents(connection) == []
        raise_incident(connection, "disk full", "three", 30)
        [again] = incidents(connection)
        assert (again.first_ms, again.times, again.is_open) == (30, 1, True)


def test_words_for_a_cashier(agent: EdgeAgent) -> None:
    """A sale that can't be saved for want of room says so, what to do, and the id to ask again with (G1)."""
    connection = agent._journal.database.connection
    agent.record_sale([Item(COLA, "1", "2.00")])
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreBroken) as error:
        agent.record_sale([Item(COLA, "1", "2.00")], extra={"note": "x" * 200_000})
    assert error.value.message == "This sale could not be saved: the disk of this device is full."
    assert "do not hand over goods or receipt" in error.value.hint
    assert error.value.external_id

    def use_until_full() -> None:
        for number in range(1000):
            agent.record_usage(COLA, "1.00", bill_id=f"{number} {'x' * 400}")

    with pytest.raises(StoreBroken, match="promotion use could not be saved"):
        use_until_full()


# On a file system of 12 MiB: sell until the first sale fails, and tell what came to be.
FULL = """
import json, sys
from pathlib import Path
from edge_agent import EdgeAgent, Item, StoreBroken
from edge_agent.storage.incidents import incidents
home, mode = Path(sys.argv[1]), sys.argv[2]
from edge_agent.storage import database
database.wal_is_safe = lambda: mode == "wal"
told = {}
with EdgeAgent.open(home) as agent:
    agent._checkpointer.note_write = lambda: None
    assert agent._keeping._ballast.ensure()
    filler = home / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    sold = []
    try:
        while True:
            sold.append(agent.record_sale([Item(sys.argv[3], "1", "2.00")], extra={"note": "x" * 3000}).external_id)
            told.setdefault("ballast dropped after", len(sold)) if not (home / "ballast").exists() else None
    except StoreBroken as error:
        told["message"], failed = error.message, error.external_id
    try:
        agent.backup()
    except StoreBroken as error:
        told["backup"] = error.message
    filler.unlink()
    sold.append(agent.record_sale([Item(sys.argv[3], "1", "2.00")], external_id=failed).external_id)
    told["incident"] = [one.detail for one in incidents(agent._journal.database.connection)]
    agent._keeping._next_s = 0
    agent._keep(lambda: True)
with EdgeAgent.open(home) as agent:
    rows = agent._journal.database.connection.execute("SELECT external_id FROM sales ORDER BY entry").fetchall()
    told["lost"] = len(set(sold) - {row[0] for row in rows})
    told["extra"] = len(rows) - len(sold)
    told["check"] = agent._journal.database.connection.execute("PRAGMA integrity_check").fetchone()[0]
print(json.dumps(told))
"""


def _mounts() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    trial = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _mounts(), reason="no small file system can be mounted here")
@pytest.mark.parametrize("mode", ["wal", "truncate"])
def test_selling_goes_on_when_the_disk_is_full(home: Path, mode: str) -> None:
    """On a disk that is really full the ballast is dropped and sales go on; then one fails, and none is lost (G1)."""
    disk = home.parent / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=12m tmpfs "$1" && cp "$2"/* "$1" && shift 2 && exec "$@"'
    work = [sys.executable, "-c", FULL, str(disk), mode, COLA]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), str(home), *work],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "EDGE_AGENT_BALLAST_MIB": "2", "EDGE_AGENT_DISK_WARN_MIB": "0"},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["message"] == "This sale could not be saved: the disk of this device is full."
    assert told["ballast dropped after"] >= 1
    assert "no room" in told["backup"]
    assert told["incident"] == ["found when recording a sale; the room held back is used"]
    assert (told["lost"], told["extra"], told["check"]) == (0, 0, "ok")
