"""Random damage to the bytes of journal, WAL, shadow and catalogue: no acknowledged sale is lost, none counts twice."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, StoreBroken

Make = Callable[..., Any]
FILES = ("journal.db", "journal.db-wal", "journal.shadow", "catalog.db", "catalog.db-wal")
DELIVERED, WAITING = 30, 60


def flip_bits(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randrange(1, 30)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def random_bytes(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(data))
    data[start : start + 64] = dice.randbytes(min(64, len(data) - start))


def zero_a_page(data: bytearray, dice: random.Random) -> None:
    start = dice.randrange(0, len(data), 4096)
    data[start : start + 4096] = bytes(min(4096, len(data) - start))


def swap_pages(data: bytearray, dice: random.Random) -> None:
    one, other = (dice.randrange(0, len(data), 4096) for _ in range(2))
    data[one : one + 4096], data[other : other + 4096] = data[other : other + 4096], data[one : one + 4096]


def cut_off(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def zero_all(data: bytearray, dice: random.Random) -> None:
    start = dice.choice([0, 0, dice.randrange(len(data))])
    data[start:] = bytes(len(data) - start)


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bits,
    random_bytes,
    zero_a_page,
    swap_pages,
    cut_off,
    zero_all,
)


def prepare(till: Any, home: Path) -> set[str]:
    """A shop that sells while the line is down, and the home as a kill leaves it; returns what was acknowledged."""
    sold = [till.sell(quantity=str(number % 7 + 1)) for number in range(DELIVERED)]
    till.poll()
    till.office.stop()
    sold += [till.sell(quantity=str(number % 5 + 1)) for number in range(WAITING)]
    for sale in sold[::3]:
        till.agent.record_usage(till.deal, "1.00", sale=sale)
    till.agent._journal.database.checkpoint()
    sold += [till.sell() for _ in range(WAITING // 3)]
    till.agent._recovery.shadow.catch_up()
    shutil.copytree(till.agent.home, home)
    till.office.start()
    return {sale.external_id for sale in sold}


def trial(till: Any, open_agent: Make, home: Path, name: str, dice: random.Random) -> tuple[EdgeAgent, str]:
    """Damage one file, open what is left, sell a sale, and let the device come back by itself."""
    path = home / name
    damage = dice.choice(DAMAGES)
    data = bytearray(path.read_bytes())
    damage(data, dice)
    path.write_bytes(bytes(data))
    agent = open_agent(home)
    agent._nightly._local_now = till.clock.now  # its nights come by the clock that is moved by hand
    till.agent = agent
    # One error is allowed while the damage comes to light; the same sale then goes through under its id.
    sale_id = "0191e5a2-7c3b-7def-8a01-23456789abcd"
    for attempt in range(2):
        try:
            till.sell(external_id=sale_id)
            break
        except StoreBroken:
            assert attempt == 0
    for _ in range(6):  # a day and a half: what no query met is found by the night's check
        till.clock.advance(hours=7)
        till.poll()
    till.agent.sync(full=True)
    return agent, f"{damage.__name__} in {name}"


def run(till: Any, open_agent: Make, folder: Path, trials: int, evidence: Make) -> None:
    seed = int(os.environ.get("DAMAGE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"DAMAGE_SEED={seed}")
    dice = random.Random(seed)
    whole = folder / "whole"
    acknowledged = prepare(till, whole)
    backup = till.office.world.snapshot()
    counts = {name: [0, 0, 0, 0] for name in FILES}
    for number in range(trials):
        name = FILES[number % len(FILES)]
        home = folder / f"home-{number}"
        shutil.copytree(whole, home)
        till.office.world.restore(backup, new_epoch=False)
        agent, what = trial(till, open_agent, home, name, dice)
        theirs = [sale["external_id"] for sale in till.office.world.sales() if sale["state"] == "accepted"]
        status = agent.status()
        result = (
            len(acknowledged - set(theirs)),
            len(theirs) - len(set(theirs)),
            status["pending"] + status["quarantined"],
        )
        if any(result):
            print(f"trial {number}: {what}: lost, doubled, stuck = {result}; {status['incidents']}")
        for place, count in enumerate((1, *result)):
            counts[name][place] += count
        assert till.catalogue_agrees(), what
        agent.close()
        shutil.rmtree(home)
    for name, (count, lost, doubled, stuck) in counts.items():
        evidence(f"damaged bytes: {name}", count, lost=lost, doubled=doubled, stuck=stuck)
    assert [row[1:] for row in counts.values()] == [[0, 0, 0]] * len(FILES)


def test_damaged_bytes(till: Any, open_agent: Make, tmp_path: Path, evidence: Make) -> None:
    """Whatever file is damaged wherever: every acknowledged sale reaches head office, once."""
    run(till, open_agent, tmp_path, 10, evidence)


@pytest.mark.slow
def test_damaged_bytes_many_times(till: Any, open_agent: Make, tmp_path: Path, evidence: Make) -> None:
    """The same, often."""
    run(till, open_agent, tmp_path, 400, evidence)


@pytest.mark.parametrize("first", ["sale", "use"])
def test_a_fresh_journal_that_nobody_began_stops_no_till(till: Any, first: str) -> None:
    """Another program replaced a damaged journal, and was killed before it gave the fresh one a life: a till that runs
    on records all the same (G1)."""
    with till.agent._journal.database.immediate() as connection:
        connection.execute("DELETE FROM journals")
    if first == "use":
        till.agent.record_usage(till.deal, "1.00", bill_id="bill-1")
    assert till.sell().device_seq == 1
    till.agent.sync()
    assert till.books_agree()
    assert [entry.state for entry in till.agent.outbox()] == []


def copied(till: Any) -> None:
    """An idle moment: the second copy is written, the WAL is in the file."""
    till.agent._recovery.shadow.catch_up()
    till.agent._journal.database.checkpoint()


def test_a_journal_that_somebody_took_away_is_told_and_comes_back_from_its_copy(till: Any) -> None:
    """Under a running program: selling goes on, status says so, and what the second copy holds goes up (G1, G11)."""
    kept = [till.sell().external_id for _ in range(3)]
    path = till.agent._journal.database.path
    copied(till)
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    till.sell()
    told = [one["detail"] for one in till.agent.status()["incidents"] if one["kind"] == "journal damaged"]
    assert told == ["journal.db was gone, and a fresh one took its place; what the second copy holds comes back"]
    till.agent.sync()
    assert {sale["external_id"] for sale in till.office.world.sales()} >= set(kept)
    assert till.books_agree()


def test_a_journal_damaged_while_an_earlier_one_comes_back_is_replaced_too(till: Any) -> None:
    """A dying disk damages twice: syncing goes on, and every sale of all three files arrives (G1, G10)."""
    path = till.agent._journal.database.path
    kept = {till.sell().external_id for _ in range(40)}
    copied(till)
    spoil(path, {0})
    kept |= {till.sell().external_id for _ in range(40)}
    copied(till)
    taken = till.agent._recovery.bring_back

    def bring_back() -> list[str]:
        till.agent._recovery.bring_back = taken
        spoil(path, set(range(2, path.stat().st_size // 4096)))
        till.agent._journal.database.reopen()  # what it has in memory is good
        return taken()

    till.agent._recovery.bring_back = bring_back
    for _ in range(3):
        assert not till.agent.sync().errors
    assert {sale["external_id"] for sale in till.office.world.sales()} == kept
    assert till.books_agree()


def spoil(path: Path, pages: set[int]) -> None:
    """Damage pages of the file under the program."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
