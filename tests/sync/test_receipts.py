"""The ledger against head office's receipts: what head office lost is offered again by itself (G10; contract 6, 8)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]
HOURS = 6.1


def settle(till: Any, clock: Any, rounds: int = 6) -> None:
    """Some hours pass with nobody at the keyboard."""
    for _ in range(rounds):
        clock.advance(hours=HOURS / 2)
        till.poll()


def uses_agree(till: Any) -> bool:
    mine = sorted(row[0] for row in till.ledger_rows("SELECT external_id FROM usages"))
    return sorted(use["external_id"] for use in till.office.world.usages()) == mine


def sell_a_day(till: Any, dice: random.Random, count: int) -> None:
    for _ in range(count):
        sale = till.sell(quantity=str(dice.randrange(1, 9)))
        if dice.random() < 0.4:
            till.agent.record_usage(till.deal, "1.00", sale=sale)
        if dice.random() < 0.1:
            till.agent.record_usage(till.deal, "1.00", bill_id=f"B-{dice.randrange(10**9)}")
        if dice.random() < 0.1:
            till.sell(kind="refund", refers_to=sale.external_id)


@pytest.mark.parametrize("announced", [True, False], ids=["with a new epoch", "without anybody knowing"])
def test_a_restored_head_office_gets_back_what_it_lost(till: Any, clock: Any, announced: bool) -> None:
    """Sales and uses acknowledged since the backup are offered again by themselves, oldest first, and count once."""
    dice = random.Random(7)
    sell_a_day(till, dice, 10)
    till.poll()
    backup = till.office.world.snapshot()
    sell_a_day(till, dice, 12)
    till.poll()
    total = till.office.world.ledger_total()
    till.office.world.restore(backup, new_epoch=announced)
    assert not till.books_agree()
    settle(till, clock)
    assert till.books_agree()
    assert till.office.world.ledger_total() == total
    assert uses_agree(till)
    status = till.agent.status()
    assert (status["pending"], status["quarantined"], status["receipts"]["differences"]) == (0, 0, [])
    assert "head office lost entries" in {incident["kind"] for incident in status["incidents"]}
    seqs = [sale["device_seq"] for sale in till.office.world.sales()]
    assert seqs == sorted(seqs), "oldest first"


def test_a_new_epoch_is_answered_in_the_same_cycle(till: Any) -> None:
    """Head office's word about a restore is enough: no six hours pass."""
    backup = till.office.world.snapshot()
    till.sell()
    till.agent.sync()
    till.office.world.restore(backup)
    report = till.poll()
    assert report.offered_again == 1
    assert till.books_agree()


def test_a_count_that_fell_is_noticed_with_the_next_sale(till: Any) -> None:
    """A silent restore shows in the answer to the next batch: head office counts less than it has acknowledged."""
    backup = till.office.world.snapshot()
    for _ in range(3):
        till.sell()
    till.poll()
    till.office.world.restore(backup, new_epoch=False)
    till.sell()
    till.poll()
    assert till.books_agree()


def test_restored_in_the_middle_of_anything(till: Any, clock: Any) -> None:
    """Again and again restored, announced or not, while the shop sells: the books end exact."""
    dice = random.Random(11)
    world = till.office.world
    backups = [world.snapshot()]
    for _ in range(12):
        sell_a_day(till, dice, dice.randrange(1, 6))
        till.office.drop_after_commit = dice.choice([0, 0, 1])
        till.poll()
        clock.advance(hours=dice.randrange(3))
        if dice.random() < 0.5:
            world.restore(dice.choice(backups), new_epoch=dice.random() < 0.5)
        backups = [*backups[-2:], world.snapshot()]
        till.poll()
    settle(till, clock)
    assert till.books_agree()
    assert uses_agree(till)


def test_receipts_are_compared_every_six_hours(till: Any, clock: Any) -> None:
    """One small request each six hours, and none when nothing was ever sold."""
    till.poll()
    clock.advance(hours=HOURS)
    till.poll()
    assert "GET receipts" not in till.paths()
    till.sell()
    till.poll()
    till.poll()
    assert till.paths().count("GET receipts") == 1
    clock.advance(hours=5)
    till.poll()
    assert till.paths().count("GET receipts") == 1
    clock.advance(hours=2)
    till.poll()
    assert till.paths().count("GET receipts") == 2


def test_head_office_that_has_seen_more_than_we_have_recorded(
    till: Any, clock: Any, open_agent: Make, monkeypatch: Any
) -> None:
    """A whole machine that was set back shows only in receipts: a new life, nothing lost or doubled (G2, G4)."""
    import shutil

    monkeypatch.setattr("edge_agent.storage.database.Database.file_number", lambda self: "the same as ever")
    till.agent._journal.keep_fact("file", "the same as ever")
    till.sell()
    till.poll()
    home, office = till.agent.home, till.office
    till.agent.close()
    shutil.copytree(home, home.parent / "as it was")
    till.agent = open_agent(home)
    ahead = [till.sell() for _ in range(2)]
    till.poll()
    till.agent.close()
    shutil.rmtree(home)
    (home.parent / "as it was").rename(home)
    till.agent = agent = open_agent(home)
    before = agent.status()["journal"]["id"]
    clock.advance(hours=HOURS)
    late = till.sell()
    till.poll()
    assert agent.status()["journal"]["id"] != before
    after = till.sell()
    settle(till, clock)
    held = {sale["external_id"]: sale for sale in office.world.sales()}
    assert {late.external_id, after.external_id, *(sale.external_id for sale in ahead)} <= set(held)
    assert held[after.external_id]["device_seq"] == 1
    assert "SEQ_CONFLICT" in held[late.external_id]["warnings"]
    assert agent.status()["pending"] == 0


def test_a_refused_sale_that_head_office_counts_after_all(make_till: Make, make_office: Make, clock: Any) -> None:
    """A sale that was set aside here and reached head office another way is settled by itself."""
    till = make_till()
    bad = till.sell(till.nobody)
    good = till.sell()
    till.poll()
    assert till.agent.sale(bad.external_id).state == "quarantined"
    world = till.office.world
    world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    body = till.agent.sale_record(bad.external_id).fields()
    assert world.books.take(body).status == "created"
    settle(till, clock)
    assert till.agent.sale(bad.external_id).state == "delivered"
    assert till.books_agree()
    assert till.agent.sale(good.external_id).state == "delivered"


def test_sums_that_differ_are_told_and_offered_once(till: Any, clock: Any) -> None:
    """Head office that counts other money under our numbers: everything is offered once, then people are told (G11)."""
    for _ in range(3):
        till.sell()
    till.poll()
    till.office.world.db.run("UPDATE sale SET declared = declared + 100 WHERE device_seq = 2")
    clock.advance(hours=HOURS)
    report = till.poll()
    assert report.offered_again == 3
    settle(till, clock)
    assert till.paths().count("POST sales") == 2
    [difference] = till.agent.status()["receipts"]["differences"]
    assert "22501.00" in difference
    assert "22500.00" in difference
    till.office.world.db.run("UPDATE sale SET declared = declared - 100 WHERE device_seq = 2")
    settle(till, clock)
    assert till.agent.status()["receipts"]["differences"] == []


def test_uses_that_head_office_lost_alone(till: Any, clock: Any) -> None:
    """Receipts only count uses: when there are too few, all of the journal are offered again, and count once."""
    for number in range(4):
        till.agent.record_usage(till.deal, "1.00", bill_id=str(number))
    till.sell()
    till.poll()
    till.office.world.db.run("DELETE FROM usage WHERE external_id IN (SELECT external_id FROM usage LIMIT 2)")
    assert till.office.world.usage_count() == 2
    settle(till, clock)
    assert uses_agree(till)
    assert till.agent.status()["receipts"]["differences"] == []


def test_a_head_office_that_always_counts_too_few_uses_is_not_flooded(till: Any, clock: Any) -> None:
    """What offering again does not mend is told, not repeated for ever."""
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.sell()
    till.poll()
    till.office.world.db.run("UPDATE usage SET journal_id = 'elsewhere'")
    settle(till, clock, rounds=10)
    assert 2 <= till.paths().count("POST usage") <= 4, "once a day"
    assert "1 promotion uses" in till.agent.status()["receipts"]["differences"][0]


def test_receipts_that_can_not_be_had_stop_nothing(till: Any, clock: Any) -> None:
    """A failing receipts route is an error of its own: sales and prices go on."""
    till.sell()
    clock.advance(hours=HOURS)
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if "receipts" in path else None
    report = till.poll()
    assert [error.step for error in report.errors] == ["receipts"]
    assert till.books_agree()


def test_uses_without_any_sale_are_compared_too(till: Any, clock: Any) -> None:
    """A journal that holds uses and no sale is compared as well: nothing of it is lost with head office's backup."""
    backup = till.office.world.snapshot()
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.poll()
    till.office.world.restore(backup)
    settle(till, clock)
    assert uses_agree(till)


def test_a_restore_seen_by_a_device_that_sold_nothing(till: Any, clock: Any) -> None:
    """It is told, and over as soon as it is clear that nothing can be missing."""
    till.office.world.restore(till.office.world.snapshot())
    till.poll()
    settle(till, clock, rounds=2)
    [incident] = till.agent.status()["incidents"]
    assert (incident["kind"], incident["open"]) == ("head office was restored", False)


def test_receipts_that_can_not_be_had_are_told(till: Any, clock: Any) -> None:
    """A receipts route that answers nonsense for ever is no silence (G11)."""
    till.sell()
    till.office.intercept = lambda method, path: (301, {"Location": "/x/"}, "") if "receipts" in path else None
    settle(till, clock, rounds=3)
    assert [one["kind"] for one in till.agent.status()["incidents"] if one["open"]] == ["receipts can't be compared"]
    till.office.intercept = None
    settle(till, clock, rounds=3)
    assert [one["kind"] for one in till.agent.status()["incidents"] if one["open"]] == []


def test_what_is_lost_twice_is_offered_twice(till: Any, clock: Any) -> None:
    """The same loss again, unannounced, is another loss, though it reads the same."""
    backup = till.office.world.snapshot()
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.poll()
    for _ in range(3):
        till.office.world.restore(backup, new_epoch=False)
        settle(till, clock, rounds=3)
        assert uses_agree(till)


def test_a_sign_of_a_restore_is_not_forgotten(till: Any, clock: Any, open_agent: Make) -> None:
    """When the line drops, or the program ends, right after head office told its new epoch: the next cycle compares."""
    till.sell()
    till.poll()
    backup = till.office.world.snapshot()
    till.sell()
    till.poll()
    till.office.world.restore(backup)
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if "version" not in path else None
    till.poll()
    assert not till.books_agree()
    till.office.intercept = None
    till.agent.close()
    till.agent = open_agent(till.agent.home)
    clock.advance(600)
    till.poll()
    assert till.books_agree()


def test_a_twin_that_sold_under_our_numbers_is_no_loss(till: Any, clock: Any) -> None:
    """Head office that counts more than we sold has lost nothing: it is told, and nothing is offered again."""
    for _ in range(2):
        till.sell()
    till.poll()
    body = till.agent.sale_record(till.sell().external_id).fields()
    till.poll()
    twin = {**body, "external_id": "0191e5a2-7c3b-7def-8a01-23456789abcd"}
    assert till.office.world.books.take(twin).status == "created"
    settle(till, clock)
    assert till.paths().count("POST sales") == 2
    [difference] = till.agent.status()["receipts"]["differences"]
    assert "another device has sold" in difference


@pytest.mark.parametrize("number", [2**63, 2**70, -1, 2**40])
def test_receipts_beyond_all_numbers(till: Any, clock: Any, number: int) -> None:
    """Numbers no journal can have are no receipts: that step fails in words, and sales go up."""
    till.sell()
    clock.advance(hours=HOURS)
    answer = {"contiguous_seq": 1, "highest_seq": number, "count": 1, "total_amount": "1.00"}
    till.office.intercept = lambda method, path: (200, {}, answer) if "receipts" in path else None
    report = till.poll()
    assert [error.code for error in report.errors] == ["CONTRACT_BROKEN"]
    assert till.books_agree()


def test_acknowledged_numbers_that_are_gone_void_the_cursors(till: Any, clock: Any) -> None:
    """Restored without knowing it: what the cursors stood for may be gone, so snapshots follow (section 8)."""
    world = till.office.world
    till.sell()
    till.poll()
    backup = world.snapshot()
    till.sell()
    world.edit("products", till.cola, price="9999.00")
    till.poll()
    world.restore(backup, new_epoch=False)
    till.office.clear_requests()
    settle(till, clock)
    assert till.books_agree()
    assert till.catalogue_agrees()


def test_uses_that_came_from_another_journal_are_compared_too(make_till: Make, clock: Any, tmp_path: Any) -> None:
    """Uses that were imported and went up from here are offered again like those recorded here."""
    till = make_till()
    other = make_till(till.office, name="other", device_id="pos-03")
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.agent.export_outbox(tmp_path / "outbox.jsonl")
    other.agent.import_outbox(tmp_path / "outbox.jsonl")
    backup = till.office.world.snapshot()
    other.poll()
    assert till.office.world.usage_count() == 1
    till.office.world.restore(backup)
    settle(other, clock)
    assert till.office.world.usage_count() == 1
