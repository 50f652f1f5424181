"""A real till through every fault: it sells all the while, and when the fault is over both ledgers are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ho_stub.faults.table import KINDS

IMPATIENT = {"read_timeout_s": 2.0, "answer_deadline_s": 3.0}
SLOW = ("slow", "hang", "hang_after", "drip")  # each costs a time limit
VALUES = {"slow": 4, "drip": 10, "huge_body": 65, "gzip_bomb": 65}  # beyond what the till bears, and no more
NAMES = [kind.name for kind in KINDS.values() if kind.step != "gap"]
QUICK = ["lost_answer"]
ROUNDS = 6


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_till_outlives_it(
    make_till: Callable[..., Any], evidence: Callable[..., None], name: str, make_office: Callable[..., Any]
) -> None:
    """Sales and a price change while it lasts; nothing is lost, doubled or stuck after it."""
    till = make_till(make_office(seed=1), **(IMPATIENT if name in SLOW else {}))
    office = till.office
    fault = office.faults.add(name, VALUES.get(name))
    for number in range(3):
        office.world.edit("products", till.cola, price=f"{7000 + number}.00")
        till.sell(price=f"{7000 + number}.00")
        till.agent.sync()
        till.clock.advance(hours=1)
    assert fault.hits or fault.kind.step == "door" or fault.kind.fits == "cursor"
    office.faults.clear()
    till.agent.retry()  # what was refused is offered again, as staff do when head office is mended
    for _ in range(ROUNDS):
        till.clock.advance(hours=7)
        till.agent.sync(full=True)
        if till.books_agree() and till.catalogue_agrees():
            break
    mine = {row[0] for row in till.ledger_rows("SELECT external_id FROM sales")}
    theirs = [sale["external_id"] for sale in office.world.sales() if sale["state"] == "accepted"]
    stuck = [line for line in till.agent.outbox() if line.state != "delivered"]
    evidence(
        f"bench: {name}", 3, lost=len(mine - set(theirs)), doubled=len(theirs) - len(set(theirs)), stuck=len(stuck)
    )
    assert (sorted(theirs), stuck) == (sorted(mine), [])
    assert till.books_agree()
    assert till.catalogue_agrees()
