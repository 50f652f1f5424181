"""The breaker for the whole head office, the way back after an outage, and the progress watchdog (G9, G10, G11)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.domain.watchdog import Rung, portion, rung
from edge_agent.status import in_words

Make = Callable[..., Any]
SALES = "/api/v1/sync/sales/"
OOPS = (500, {}, {"error": "oops"})


def words(till: Any) -> str:
    return " ".join(in_words(till.agent.status(), dt.datetime.fromtimestamp(till.clock.now_ms() / 1000, dt.UTC)))


def test_a_dead_head_office_gets_one_probe(till: Any, clock: Any) -> None:
    """Whatever waits in whichever lane: while nobody answers, one small request at a time asks whether it is back."""
    clock.rolls = 0.05
    asked: list[str] = []
    till.sell()
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    real = till.agent._transport
    till.office.stop()
    till.poll()
    assert till.failures() == 1
    client = till.agent._syncer.connect(None)
    exchange = type(client)._exchange

    def counting(self: Any, method: str, path: str, **more: Any) -> Any:
        asked.append(path)
        return exchange(self, method, path, **more)

    type(client)._exchange = counting
    try:
        for _ in range(10):
            clock.advance(hours=1)
            asked.clear()
            till.poll()
            assert set(asked) == {"/api/v1/sync/version/"}
        till.poll()
    finally:
        type(client)._exchange = exchange
    assert till.failures() == 11
    assert real is None


def test_waking_does_not_wake_a_dead_line(till: Any, clock: Any) -> None:
    """A sale recorded while the breaker is open is no reason to ask; a person is."""
    clock.rolls = 0.9
    till.office.stop()
    till.sell()
    till.poll()
    till.office.start()
    till.poll()
    assert till.office.requests == []
    till.agent.sync()
    assert till.books_agree()
    assert till.failures() == 0


def test_after_a_long_outage_devices_come_back_one_after_another(till: Any, clock: Any, open_agent: Make) -> None:
    """When head office answers again after a long time, this device waits its turn; the wait survives a restart."""
    clock.rolls = 0.5
    till.office.stop()
    till.sell()
    till.poll()
    clock.advance(hours=2)
    till.poll()
    till.office.start()
    clock.advance(hours=1)
    till.poll()
    assert till.paths() == ["GET version"]
    assert "so that not all do it at once" in words(till)
    till.agent.close()
    till.agent = open_agent(till.agent.home)
    till.poll()
    assert till.paths() == ["GET version"]
    clock.advance(16)  # half of the 30 s
    till.poll()
    assert till.books_agree()


def test_a_request_that_fails_alone_does_not_stop_the_others(till: Any, clock: Any) -> None:
    """When only one route hangs, the lane pauses and the rest of the cycle goes on."""
    till.sell()
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.poll()
    till.sell()
    till.office.world.edit("products", till.cola, price="1.00")
    till.agent.record_usage(till.deal, "1.00", bill_id="2")
    real = type(till.agent._syncer.connect(None))._exchange

    def hanging(self: Any, method: str, path: str, **more: Any) -> Any:
        from edge_agent.errors import Unreachable

        if path == SALES:
            raise Unreachable("head office did not answer in time", reason="timeout")
        return real(self, method, path, **more)

    kind = type(till.agent._syncer.connect(None))
    kind._exchange = hanging
    clock.advance(hours=7)  # receipts are due: something answers before the sales are tried
    try:
        till.poll()
    finally:
        kind._exchange = real
    assert till.failures() == 0
    assert till.agent._outbox.lane("sales").failures == 1
    assert till.office.world.usage_count() == 2
    assert str(till.agent.catalog.by_id(till.cola).price) == "1.00"


@pytest.mark.parametrize(
    ("minutes", "step", "at_once"),
    [
        (0, Rung.MOVING, 500),
        (6, Rung.NEW_CONNECTION, 500),
        (16, Rung.NEW_SIGN_IN, 500),
        (31, Rung.SMALLER_BATCHES, 50),
        (61, Rung.ONE_BY_ONE, 1),
    ],
)
def test_the_watchdogs_ladder(minutes: int, step: Rung, at_once: int) -> None:
    """The longer the head of a lane stands, the more is tried."""
    assert rung(1_000, 1_000 + minutes * 60_000) is step
    assert portion(step, 500) == at_once
    assert rung(None, 10**15) is Rung.MOVING


def test_a_stalled_lane_is_told_and_climbs(till: Any, clock: Any) -> None:
    """A head of the queue that does not move though head office answers shows with age and cause, and is tried anew."""
    sales = [till.sell() for _ in range(3)]
    too_many = (500, {}, {"error": "too much at once"})
    till.office.intercept = lambda method, path: too_many if SALES in path else None
    till.poll()
    assert till.agent.status()["stalled"] == []
    clock.advance(7 * 60)
    till.poll()
    [stalled] = till.agent.status()["stalled"]
    assert (stalled["lane"], stalled["head"], stalled["trying"]) == ("sales", sales[0].external_id, "new connection")
    assert "too much at once" in stalled["cause"]
    assert "has not moved for 7 min although head office answers" in words(till)
    till.office.clear_requests()
    clock.advance(10 * 60)
    till.poll()
    assert "POST token" in till.paths(), "a new sign-in was tried"
    clock.advance(60 * 60)
    till.office.clear_requests()
    till.office.intercept = None
    till.poll()
    assert till.paths().count("POST sales") == 3, "one by one"
    assert till.agent.status()["stalled"] == []
    assert till.books_agree()


def test_a_sale_that_is_always_to_be_sent_again_is_told(till: Any, clock: Any) -> None:
    """``retry`` for ever is a stall too: nothing failed, nothing moved."""
    sale = till.sell()
    result = {"external_id": sale.external_id, "status": "retry", "error": "later, please"}
    till.office.intercept = lambda method, path: (200, {}, {"results": [result]}) if SALES in path else None
    for _ in range(3):
        till.poll()
        clock.advance(6 * 60)
    [stalled] = till.agent.status()["stalled"]
    assert stalled["cause"] == "later, please"
    till.sell()
    till.poll()
    assert till.agent.status()["stalled"][0]["head"] == sale.external_id


def test_a_catalogue_that_does_not_move_is_told(till: Any, clock: Any) -> None:
    """A download that fails again and again while head office answers shows as a stall of the catalogue."""
    till.office.world.edit("products", till.cola, price="1.00")
    till.office.intercept = lambda method, path: OOPS if "products" in path else None
    for _ in range(3):
        till.poll()
        clock.advance(6 * 60)
    [stalled] = till.agent.status()["stalled"]
    assert stalled["lane"] == "pull"
    till.office.intercept = None
    till.poll()
    assert till.agent.status()["stalled"] == []
    assert till.catalogue_agrees()
