"""The second copy of what has not gone up, and coming back from damage (G1, G2, G4)."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, Payment

Make = Callable[..., Any]
NAMES = ("journal.db", "journal.db-wal")


def idle(agent: EdgeAgent) -> None:
    """What the agent does when writing pauses."""
    agent._recovery.shadow.catch_up()


def killed(agent: EdgeAgent, into: Path) -> Path:
    """The home as a killed process leaves it: WAL and all."""
    if into.exists():
        shutil.rmtree(into)
    shutil.copytree(agent.home, into)
    return into


def flip(path: Path, dice: random.Random, count: int, *, start: int = 0) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(count):
        data[dice.randrange(start, len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(data))


def sell(till: Any, count: int) -> list[str]:
    return [till.sell(quantity=str(number + 1)).external_id for number in range(count)]


def come_home(till: Any, open_agent: Make, home: Path) -> EdgeAgent:
    """Open what is there, sell on, and sync until all is up."""
    agent = open_agent(home)
    till.agent = agent
    for _ in range(4):
        till.clock.advance(hours=7)
        till.poll()
    return agent


def held(till: Any) -> list[str]:
    return [sale["external_id"] for sale in till.office.world.sales() if sale["state"] == "accepted"]


@pytest.fixture
def offline(till: Any) -> Any:
    """A till that has sold: some delivered, some waiting, the line down."""
    sell(till, 3)
    till.poll()
    till.office.stop()
    return till


def test_a_bit_that_flips_in_the_wal_loses_no_sale(offline: Any, open_agent: Make, tmp_path: Path) -> None:
    """SQLite drops every sale behind it without a word; the shadow has them (measured: 49 of 100 lost)."""
    waiting = sell(offline, 40)
    idle(offline.agent)
    home = killed(offline.agent, tmp_path / "after")
    wal = home / "journal.db-wal"
    data = bytearray(wal.read_bytes())
    data[len(data) // 2] ^= 1
    wal.write_bytes(bytes(data))
    offline.office.start()
    life = offline.agent.status()["journal"]["id"]
    agent = come_home(offline, open_agent, home)
    assert sorted(held(offline)) == sorted({*held(offline)})
    assert set(waiting) <= set(held(offline))
    status = agent.status()
    assert status["pending"] == 0
    assert status["journal"]["id"] != life, "the journal was rewound: a new life"
    assert any(incident["kind"] == "journal damaged" for incident in status["incidents"])


@pytest.mark.parametrize("what", ["zeros", "header", "empty", "gone", "text"])
def test_a_journal_that_can_not_be_opened(offline: Any, open_agent: Make, tmp_path: Path, what: str) -> None:
    """It is moved aside, selling goes on at once, and what waited goes up under its own identity."""
    waiting = sell(offline, 12)
    used = offline.agent.record_usage(
        offline.deal,
        "1.00",
        sale=waiting[0],
    )
    idle(offline.agent)
    offline.agent.close()
    home = killed(offline.agent, tmp_path / "after")
    journal = home / "journal.db"
    data = journal.read_bytes()
    {
        "zeros": lambda: journal.write_bytes(bytes(len(data))),
        "header": lambda: journal.write_bytes(b"\xff" * 64 + data[64:]),
        "empty": lambda: journal.write_bytes(b""),
        "gone": journal.unlink,
        "text": lambda: journal.write_bytes(b"this is no database at all" * 1000),
    }[what]()
    agent = open_agent(home)
    offline.agent = agent
    if what not in ("empty", "gone"):
        [incident] = agent.status()["incidents"]
        assert "comes back with the next sync" in incident["detail"], "never silent about what is not counted"
    later = offline.sell()
    assert later.state == "pending"
    offline.office.start()
    for _ in range(3):
        offline.clock.advance(hours=1)
        offline.poll()
    assert {*waiting, later.external_id} <= set(held(offline))
    assert len(held(offline)) == len(set(held(offline)))
    assert [use["external_id"] for use in offline.office.world.usages()] == [used.external_id]
    theirs = {sale["external_id"]: sale["journal_id"] for sale in offline.office.world.sales()}
    assert theirs[waiting[0]] != theirs[later.external_id]
    still_open = any(incident["open"] for incident in agent.status()["incidents"])
    assert still_open is (what not in ("empty", "gone")), "a file that could not be read at all stays on the screen"
    if what not in ("empty", "gone"):
        assert list(home.glob("journal.db.damaged-*")), "the damaged file is kept"


def test_damage_that_shows_while_selling(offline: Any) -> None:
    """A journal that breaks under a running POS is replaced under it: the sale at hand is stored, none waits."""
    waiting = sell(offline, 30)
    idle(offline.agent)
    database = offline.agent._journal.database
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    database.close()
    path = database.path
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = bytes(len(data) - 4096)
    path.write_bytes(bytes(data))
    later = offline.sell()
    assert offline.agent.sale(later.external_id).state == "pending"
    offline.office.start()
    for _ in range(3):
        offline.clock.advance(hours=1)
        offline.poll()
    assert {*waiting, later.external_id} <= set(held(offline))


def test_damaged_bytes_never_go_up(till: Any) -> None:
    """A sale whose stored bytes changed is not sent: the journal is replaced, and the sale goes up as it was."""
    till.office.stop()
    [sale] = sell(till, 1)
    idle(till.agent)
    connection = till.agent._journal.database.connection
    connection.execute("DROP TRIGGER bodies_are_frozen")
    connection.execute("UPDATE sale_bodies SET body = replace(body, '7500', '9500')")
    till.office.start()
    till.agent.sync()
    till.agent.sync()
    [theirs] = till.office.world.sales()
    assert (theirs["external_id"], theirs["total"]) == (sale, "7500.00")


def test_a_journal_on_another_machine(till: Any, open_agent: Make, tmp_path: Path, monkeypatch: Any) -> None:
    """A cloned till takes a new life before it records a sale; the two never share a number (G2, G4)."""
    sell(till, 2)
    clone = killed(till.agent, tmp_path / "clone")
    monkeypatch.setattr("edge_agent.recovery.machine_identity", lambda: "another machine")
    agent = open_agent(clone)
    assert agent.status()["journal"]["device_seq"] == 0
    assert agent.status()["journal"]["id"] != till.agent.status()["journal"]["id"]
    mine = till.sell()
    theirs = agent.record_sale([Item(till.cola, 1, "7500.00")], [Payment("cash", "7500.00")])
    till.agent.sync()
    agent.sync()
    sales = till.office.world.sales()
    assert {sale["external_id"] for sale in sales} >= {mine.external_id, theirs.external_id}
    assert not any("SEQ_CONFLICT" in sale["warnings"] for sale in sales)
    again = open_agent(clone)
    assert again.status()["journal"]["id"] == agent.status()["journal"]["id"], "once, not at each start"


def test_a_machine_without_an_identity(till: Any, open_agent: Make, monkeypatch: Any) -> None:
    """Where the system gives no id, nothing is concluded."""
    monkeypatch.setattr("edge_agent.recovery.machine_identity", lambda: None)
    assert open_agent(till.agent.home).status()["journal"] == till.agent.status()["journal"]


def test_the_shadow_stays_small_and_is_behind_nothing(till: Any) -> None:
    """What head office has is not copied; idle moments without news write nothing."""
    sell(till, 5)
    till.poll()
    idle(till.agent)
    shadow = till.agent._recovery.shadow
    size = shadow.path.stat().st_size
    assert size < 500
    idle(till.agent)
    assert shadow.path.stat().st_size == size
    assert shadow.behind() is None
    till.office.stop()
    waiting = sell(till, 450)
    idle(till.agent)
    assert sorted(entry.external_id for entry in shadow.entries()) == sorted(waiting)
    till.office.start()
    till.agent.sync()
    shadow.compact()
    assert shadow.path.stat().st_size < 500


def test_a_damaged_shadow_harms_nobody(till: Any, open_agent: Make) -> None:
    """Lines that do not prove themselves are left out, whatever the damage."""
    dice = random.Random(3)
    till.office.stop()
    waiting = sell(till, 20)
    idle(till.agent)
    shadow = till.agent._recovery.shadow
    whole = shadow.path.read_bytes()
    for _ in range(30):
        shadow.path.write_bytes(whole)
        flip(shadow.path, dice, dice.randrange(1, 40))
        assert {entry.external_id for entry in shadow.entries()} <= set(waiting)
        shadow.behind()
    till.agent.close()
    agent = open_agent(till.agent.home)
    assert agent.status()["pending"] == 20


def test_a_damaged_catalogue_is_pulled_again(till: Any, open_agent: Make) -> None:
    """It is moved aside and pulled; the sales are not touched."""
    till.agent.close()
    (till.agent.home / "catalog.db").write_bytes(b"x" * 9000)
    till.agent = open_agent(till.agent.home)
    till.sell()
    till.poll()
    assert till.catalogue_agrees()
    assert till.books_agree()


def test_a_catalogue_damaged_under_a_running_agent(till: Any) -> None:
    """A cycle that finds the catalogue damaged pulls it again."""
    database = till.agent._store.database
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    database.close()
    size = database.path.stat().st_size
    with database.path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(size - 4096))
    till.agent.sync(full=True)
    assert till.catalogue_agrees()


def test_a_copy_of_a_home_takes_a_new_life(till: Any, open_agent: Make, tmp_path: Path) -> None:
    """A home that was copied, on the same machine too, never goes on with the numbers of the one it came from."""
    sell(till, 3)
    till.poll()
    copy = killed(till.agent, tmp_path / "copy")
    mine = sell(till, 2)
    agent = open_agent(copy)
    theirs = [agent.record_sale([Item(till.cola, 1, "7500.00")]).external_id for _ in range(2)]
    assert agent.status()["journal"]["device_seq"] == 2
    till.agent.sync()
    agent.sync()
    sales = till.office.world.sales()
    assert {sale["external_id"] for sale in sales} >= {*mine, *theirs}
    assert not any("SEQ_CONFLICT" in sale["warnings"] for sale in sales)
    agent.close()
    assert open_agent(copy).status()["journal"]["device_seq"] == 2


def test_a_file_system_without_lasting_numbers_does_not_begin_lives_for_ever(
    till: Any, open_agent: Make, monkeypatch: Any
) -> None:
    """Where each mount numbers its files anew, some starts begin a life, and then no more that day."""
    numbers = iter(range(1, 1000))
    monkeypatch.setattr("edge_agent.storage.database.Database.file_number", lambda self: str(next(numbers)))
    for _ in range(12):
        till.agent.close()
        till.agent = open_agent(till.agent.home)
        till.sell()
    assert len(till.agent._journal.lives()) <= 6
    till.agent.sync()
    assert till.books_agree()


def test_a_line_that_a_power_cut_left_unfinished_takes_no_other_along(till: Any) -> None:
    """What is copied after it begins a line of its own."""
    till.office.stop()
    first = sell(till, 3)
    idle(till.agent)
    shadow = till.agent._recovery.shadow
    shadow.path.write_bytes(shadow.path.read_bytes() + b'{"kind":"entry","lane":"sal')
    second = sell(till, 2)
    idle(till.agent)
    assert {entry.external_id for entry in shadow.entries()} >= {*first, *second}
    assert shadow.behind() is None
