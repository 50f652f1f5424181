"""What the shop may rely on, seen from both ends: the till, and head office's ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pos import Pos

    from ho_stub.testing import HeadOffice


def test_selling_needs_no_line(pos: Pos, head_office: HeadOffice) -> None:
    head_office.drop_line()
    pos.sell("COLA-330", "2")
    pos.agent.sync()
    assert head_office.ledger.sale_count() == 0
    head_office.restore_line()
    pos.agent.sync()
    assert head_office.ledger.total() == "15000.00"


def test_a_new_price_is_on_the_till_after_a_sync(pos: Pos, head_office: HeadOffice) -> None:
    head_office.change_price("COLA-330", "8000.00")
    assert pos.price("COLA-330") == Decimal("7500.00")
    pos.agent.sync()
    assert pos.price("COLA-330") == Decimal("8000.00")
    sale = pos.sell("COLA-330")
    pos.pay_back(sale, "COLA-330")
    pos.agent.sync()
    assert (head_office.ledger.sale_count(), head_office.ledger.total()) == (2, "0.00")


def test_an_answer_that_is_lost_doubles_nothing(pos: Pos, head_office: HeadOffice) -> None:
    with head_office.faults.during("lost_answer", route="sales", times=1) as fault:
        pos.sell("COLA-330")
        pos.agent.sync()
        pos.agent.sync()
    assert (fault.hits, head_office.ledger.sale_count()) == (1, 1)
    sent = [status for _, path, status in head_office.requests if path.endswith("/sales/")]
    assert sent == [0, 200]


def test_head_office_comes_back_from_its_backup(pos: Pos, head_office: HeadOffice) -> None:
    """It has lost what it took since; the till brings it again."""
    pos.sell("COLA-330")
    pos.agent.sync()
    head_office.restore_backup()
    assert head_office.ledger.sale_count() == 0
    for _ in range(3):
        pos.agent.sync()
    assert head_office.ledger.sale_count() == 1


@pytest.mark.head_office(profile="baseline", gaps=["stored_sale_400"])
def test_an_older_head_office_will_do(pos: Pos, head_office: HeadOffice) -> None:
    head_office.faults.add("truncated", route="sales", times=1)
    pos.sell("WATER-600")
    for _ in range(2):
        pos.agent.sync()
    assert head_office.ledger.total() == "3500.00"


@pytest.mark.head_office(faults=[{"name": "http_503", "value": "0", "chance": 0.3}], seed=7)
def test_a_day_with_a_sick_head_office(pos: Pos, head_office: HeadOffice) -> None:
    for _ in range(5):
        pos.sell("COLA-330")
        pos.agent.sync()
    head_office.faults.clear()
    pos.agent.sync()
    assert head_office.ledger.sale_count() == 5
