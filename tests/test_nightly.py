"""Once a night: a checked backup, which finds what broke in the journal meanwhile (G1, G11)."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def till(make_till: Any, clock: Any) -> Any:
    """A till whose nights come by the clock that is moved by hand: head office's own stands still."""
    till = make_till()
    till.agent._nightly._local_now = clock.now
    return till


def backups(till: Any) -> list[Any]:
    return sorted((till.agent.home / "backups").glob("journal-2*.db"))


def test_a_backup_each_night(till: Any, clock: Any) -> None:
    """Whatever syncs makes one backup a night, and none while nothing was ever sold."""
    till.poll()
    assert backups(till) == []
    till.sell()
    till.poll()
    till.poll()
    assert len(backups(till)) == 1
    for _ in range(3):
        clock.advance(hours=24)
        till.poll()
        till.poll()
    assert len(backups(till)) == 4


def test_a_night_that_finds_damage(till: Any, clock: Any) -> None:
    """Damage that no query met is found by the night's check; the journal is replaced, and no sale is lost."""
    till.office.stop()
    sales = [till.sell() for _ in range(20)]
    till.agent._recovery.shadow.catch_up()
    connection = till.agent._journal.database.connection
    connection.execute("DROP TRIGGER bodies_are_frozen")
    connection.execute("UPDATE sale_bodies SET body = CAST(replace(body, '7500', '9500') AS BLOB) WHERE entry % 7 = 0")
    clock.advance(hours=24)
    till.poll()
    assert list(till.agent.home.glob("journal.db.damaged-*"))
    till.office.start()
    for _ in range(3):
        clock.advance(hours=1)
        till.poll()
    theirs = {sale["external_id"]: sale["total"] for sale in till.office.world.sales()}
    assert theirs == {sale.external_id: "7500.00" for sale in sales}


def test_a_backup_that_can_not_be_made_is_told(till: Any, clock: Any) -> None:
    """It stops neither selling nor syncing, shows in status, and is over when a later one is made."""
    till.sell()
    folder = till.agent.home / "backups"
    folder.write_text("in the way")
    till.poll()
    assert till.books_agree()
    [incident] = till.agent.status()["incidents"]
    assert (incident["kind"], incident["open"]) == ("no backup", True)
    folder.unlink()
    clock.advance(hours=24)
    till.poll()
    assert not any(incident["open"] for incident in till.agent.status()["incidents"])
    assert len(backups(till)) == 1
