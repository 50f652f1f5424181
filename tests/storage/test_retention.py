"""Retention takes the bytes of what head office has and has confirmed, when they are old; never any others (G1, G2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import EdgeAgent, InvalidSale, Item
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL
from edge_agent.storage.retention import DAY_MS, Retention

COLA = "00000006-0000-4000-8000-000000000000"
NOW = 2_000_000_000_000
DAYS = 90
OLD = NOW - (DAYS + 1) * DAY_MS


def execute(agent: EdgeAgent, query: str, *values: object) -> list[Any]:
    return agent._journal.database.connection.execute(query, values).fetchall()


def run(agent: EdgeAgent, now_ms: int = NOW, watermark: dict[str, int] | None = None, **more: Any) -> Any:
    return Retention(agent._journal).run(now_ms, DAYS, watermark or {}, **more)


def record(agent: EdgeAgent, clock: Any, recorded_ms: int, *, uses: int = 0, **more: Any) -> Any:
    """A sale recorded at a moment, with uses of promotions."""
    clock.shift_s = 0.0
    clock.shift_s = (recorded_ms - clock.now_ms()) / 1000
    sale = agent.record_sale([Item(COLA, "2", "7500.00")], **more)
    for line in range(uses):
        agent.record_usage(COLA, "1.00", sale=sale, line=line)
    return sale


def confirm(agent: EdgeAgent, *, checked_ms: int | None = NOW, settled_ms: int = OLD) -> None:
    """Head office has taken everything and its receipts agreed."""
    for lane in ("sales", "usages"):
        execute(agent, f"UPDATE {lane} SET state = 'delivered', settled_ms = ?", settled_ms)
    execute(agent, "UPDATE journals SET confirmed_seq = last_seq, checked_ms = ?", checked_ms)


def bodies(agent: EdgeAgent) -> set[str]:
    """External ids of the entries whose bytes are here."""
    rows = execute(agent, "SELECT external_id FROM sales JOIN sale_bodies USING (entry)")
    rows += execute(agent, "SELECT external_id FROM usages WHERE length(body) > 0")
    return {row[0] for row in rows}


@pytest.fixture
def kept(agent: EdgeAgent, clock: Any) -> EdgeAgent:
    """A journal of 20 old sales with uses, all delivered, confirmed and indexed."""
    for number in range(20):
        record(agent, clock, OLD - (20 - number) * 1000, uses=1)
    agent._journal.tidy()
    confirm(agent)
    return agent


def test_old_confirmed_bytes_go_and_the_ledger_stays(kept: EdgeAgent) -> None:
    """Lines, totals, look-ups and stock are the same with and without the bytes; the same sale again is the same."""
    before = execute(kept, "SELECT * FROM sales"), kept._journal.totals(), kept.status()["delivered"]
    unseen = kept._journal.unseen_milli([COLA], {})
    assert len(bodies(kept)) == 40
    dropped = run(kept)
    assert (dropped.sales, dropped.usages, dropped.skipped) == (20, 20, None)
    assert bodies(kept) == set()
    assert (execute(kept, "SELECT * FROM sales"), kept._journal.totals(), kept.status()["delivered"]) == before
    assert kept._journal.unseen_milli([COLA], {}) == unseen
    [external_id] = execute(kept, "SELECT external_id FROM sales LIMIT 1")[0]
    sale = kept.sale(external_id)
    assert sale is not None
    assert sale.total_amount == "15000.00"
    assert kept.record_sale([Item(COLA, "2", "7500.00")], external_id=external_id).existing
    with pytest.raises(InvalidSale, match="already the id"):
        kept.record_sale([Item(COLA, "3", "7500.00")], external_id=external_id)
    assert kept.record_usage(COLA, "1.00", sale=external_id).existing
    [usage_id] = execute(kept, "SELECT external_id FROM usages LIMIT 1")[0]
    entry = kept.outbox_entry(usage_id)
    assert entry is not None
    assert entry[1] is None
    assert run(kept).sales == 0
    assert kept.backup().sales == 20


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sales SET state = 'pending'",
        "UPDATE sales SET state = 'quarantined'",
        "UPDATE usages SET state = 'pending'",
        "UPDATE usages SET state = 'quarantined'",
        f"UPDATE sales SET settled_ms = {NOW - DAYS * DAY_MS + 1}",
        f"UPDATE sales SET settled_ms = {NOW + DAY_MS}",
        "UPDATE sales SET settled_ms = NULL",
        "UPDATE journals SET confirmed_seq = 0",
        "DELETE FROM meta WHERE key = 'moves_indexed_entry'",
    ],
)
def test_what_is_not_settled_keeps_its_bytes(kept: EdgeAgent, change: str) -> None:
    """Undelivered, unconfirmed, lately settled, not indexed for stock, or with a use that waits: the bytes stay."""
    execute(kept, change)
    assert run(kept).sales == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journals SET difference = 'head office counts 3 uses fewer'",
        f"UPDATE journals SET checked_ms = {OLD - 1} WHERE number = 1",
        "UPDATE usages SET journal_number = NULL",
        "UPDATE sales SET state = 'pending'",
    ],
)
def test_uses_go_only_when_receipts_agreed(kept: EdgeAgent, change: str) -> None:
    """The bytes of a use stay while it is not known that head office counts it."""
    execute(kept, "INSERT INTO journals VALUES (2, 'x', 'pos-02', 0, 'a test', 1, 0, ?, NULL, NULL)", NOW)
    execute(kept, change)
    assert run(kept).usages == 0


def test_nothing_above_the_stock_watermark_goes(kept: EdgeAgent) -> None:
    """What head office's stock figures do not contain yet keeps its bytes."""
    life = kept._journal.life()
    assert life is not None
    assert run(kept, watermark={life.journal_id: 7}).sales == 7
    assert run(kept, watermark={"another": 0}).sales == 13


def test_a_wrong_clock_makes_nothing_old(agent: EdgeAgent, clock: Any) -> None:
    """A clock years ahead, years behind, or not head office's lets no young bytes go (G1)."""
    for _ in range(20):
        record(agent, clock, NOW - DAY_MS)
    agent._journal.tidy()
    confirm(agent, settled_ms=NOW - DAY_MS, checked_ms=NOW - DAY_MS // 2)
    ahead = NOW + 26 * 365 * DAY_MS
    assert "receipts" in run(agent, ahead).skipped
    execute(agent, "UPDATE journals SET checked_ms = ?", ahead)  # receipts were compared by the wrong clock
    assert "clock" in run(agent, ahead, clock_offset_ms=-26 * 365 * DAY_MS).skipped
    assert "receipts" in run(agent, NOW).skipped
    behind = [record(agent, clock, 946_684_800_000 + number) for number in range(20)]  # a battery died: the year 2000
    agent._journal.tidy()
    confirm(agent, settled_ms=946_684_900_000)
    assert run(agent).sales == 0
    assert bodies(agent) >= {sale.external_id for sale in behind}
    far = record(agent, clock, ahead)  # one sale with a clock ahead must not keep the others for ever
    for number in range(20):
        record(agent, clock, NOW - number)
    agent._journal.tidy()
    confirm(agent, settled_ms=NOW)
    later = NOW + (DAYS + 2) * DAY_MS
    execute(agent, "UPDATE journals SET checked_ms = ?", later)
    assert run(agent, later).sales == 60
    assert bodies(agent) == {far.external_id}


def test_it_stops_when_someone_sells(kept: EdgeAgent) -> None:
    """Housekeeping stops between two short transactions when it is asked to."""
    assert run(kept, go_on=lambda: False).sales == 0


@pytest.mark.parametrize("seed", range(12))
def test_only_what_may_go_goes(agent: EdgeAgent, clock: Any, seed: int) -> None:
    """Whatever the states, only allowed bytes go, ledger lines never, and figures stay (``seed``)."""
    dice = random.Random(seed)
    for life in (1, 2):
        for number in range(60):
            age_days = DAYS + 60 - number * dice.choice([0.5, 1, 2]) - (life - 1) * 20
            record(agent, clock, int(NOW - age_days * DAY_MS), uses=dice.choice([0, 0, 1, 2]))
            if dice.random() < 0.1:
                agent._journal.tidy()
        if life == 1:
            agent._begin_life("a test")
    for lane in ("sales", "usages"):
        for (entry,) in execute(agent, f"SELECT entry FROM {lane}"):
            state = dice.choice(["delivered"] * 6 + ["pending", "quarantined"])
            settled = dice.choice([NOW - int(dice.uniform(80, 150) * DAY_MS), NOW + DAY_MS, None, OLD, OLD, OLD])
            execute(agent, f"UPDATE {lane} SET state = ?, settled_ms = ? WHERE entry = ?", state, settled, entry)
    for number in (1, 2):
        execute(
            agent,
            "UPDATE journals SET confirmed_seq = ?, checked_ms = ?, difference = ? WHERE number = ?",
            *(dice.randint(0, 60), dice.choice([NOW, NOW, OLD - DAY_MS]), dice.choice([None, None, "x"]), number),
        )
    execute(agent, "UPDATE journals SET checked_ms = ? WHERE number = ?", NOW, dice.choice([1, 2]))
    ids = {life.number: life.journal_id for life in agent._journal.lives()}
    watermark = {ids[2]: dice.randint(0, 60)} if dice.random() < 0.5 else {}
    allowed = _allowed(agent, watermark, ids)
    figures = agent._journal.totals(), agent._journal.unseen_milli([COLA], {}), agent.status()["pending"]
    lines, before = execute(agent, "SELECT * FROM sales"), bodies(agent)
    run(agent, watermark=watermark)
    assert before - bodies(agent) <= allowed, seed
    assert execute(agent, "SELECT * FROM sales") == lines
    assert (agent._journal.totals(), agent._journal.unseen_milli([COLA], {}), agent.status()["pending"]) == figures
    for (external_id,) in execute(agent, "SELECT external_id FROM sales"):
        assert agent.record_sale([Item(COLA, "2", "7500.00")], external_id=external_id).existing
    agent.backup()


def _allowed(agent: EdgeAgent, watermark: dict[str, int], ids: dict[int, str]) -> set[str]:
    """The entries whose bytes may go, counted by hand."""
    young = NOW - DAYS * DAY_MS
    [(indexed_up_to,)] = execute(
        agent, "SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key LIKE 'mo%'"
    )
    lives = {
        row[0]: row[1:] for row in execute(agent, "SELECT number, confirmed_seq, checked_ms, difference FROM journals")
    }
    waiting = {row[0] for row in execute(agent, "SELECT sale_external_id FROM usages WHERE state <> 'delivered'")}
    allowed, open_sales = set(), set()
    for entry, external_id, recorded, state, settled in execute(
        agent, "SELECT entry, external_id, recorded_ms, state, settled_ms FROM sales ORDER BY entry"
    ):
        number, seq = divmod(entry, ENTRIES_PER_JOURNAL)
        if state != "delivered":
            open_sales.add(external_id)
        elif (
            settled is not None
            and max(settled, recorded) < young
            and seq <= min(lives[number][0], watermark.get(ids[number], seq))
            and entry <= indexed_up_to
            and external_id not in waiting
        ):
            allowed.add(external_id)
    for external_id, number, recorded, state, settled, sale in execute(
        agent, "SELECT external_id, journal_number, recorded_ms, state, settled_ms, sale_external_id FROM usages"
    ):
        _, checked, difference = lives[number]
        agreed = difference is None and checked is not None and settled is not None and checked > settled
        if state == "delivered" and agreed and max(settled, recorded) < young and sale not in open_sales:
            allowed.add(external_id)
    return allowed


def test_a_device_tidies_by_itself(make_till: Callable[..., Any]) -> None:
    """A sync lets bytes of more than 90 days go, and head office's books still agree."""
    till = make_till(synced=False, ballast_mib=0, currency="IDR")
    till.clock.advance(days=-91)
    first = [till.sell() for _ in range(20)]
    till.agent.sync()
    till.agent._journal.tidy()
    assert till.agent.sale_record(first[0].external_id).body  # head office's clock says another day: nothing goes
    till.clock.advance(days=91)
    till.sell()
    assert not till.agent.sync().errors
    assert [till.agent.sale_record(sale.external_id).body for sale in first] == [None] * 20
    assert till.books_agree()
    assert till.agent.record_sale([Item(till.cola, "1", "7500.00")], external_id=first[0].external_id).existing
