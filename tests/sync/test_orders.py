"""Orders of head office: carried out once, and reported until the report is taken (decision 0029)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from edge_agent.head_office import beat

DEVICE = "pos-02"


def spoil(till: Any) -> None:
    """One product is missing here, one is of yesterday, one is nobody's."""
    till.agent.sync()
    connection = till.agent._store.database.connection
    connection.execute("DELETE FROM products WHERE id = ?", (till.water,))
    row = json.loads(connection.execute("SELECT body FROM products WHERE id = ?", (till.cola,)).fetchone()[0])
    body = json.dumps(row | {"price": "1.00", "row_version": row["row_version"] - 1}).encode()
    connection.execute("UPDATE products SET body = ?, row_version = row_version - 1 WHERE id = ?", (body, till.cola))


def result(till: Any, order_id: str) -> Any:
    """What the device said of an order; None before it did."""
    [order] = [one for one in till.office.world.orders.last() if one["id"] == order_id]
    return order["result"]


def test_a_dry_run_tells_and_touches_nothing(till: Any) -> None:
    """Who lacks what, by name; the catalogue is as it was."""
    spoil(till)
    before = till.catalogue_rows("SELECT id, body FROM products ORDER BY id")
    order = till.office.world.orders.give(DEVICE)
    assert till.agent.heartbeat()
    told = result(till, order)
    assert (told["in_sync"], told["missing"], told["stale"], told["repaired"], told["error"]) == (False, 1, 1, 0, None)
    assert {(one["id"], one["kind"]) for one in told["examples"]} == {(till.water, "missing"), (till.cola, "stale")}
    assert till.catalogue_rows("SELECT id, body FROM products ORDER BY id") == before
    assert till.office.world.orders.waiting(DEVICE) == []


def test_an_order_to_repair_puts_it_right(till: Any) -> None:
    """One dataset, mended and reported with the same visit."""
    spoil(till)
    order = till.office.world.orders.give(DEVICE, dataset="products", repair=True)
    assert till.agent.heartbeat()
    assert result(till, order)["in_sync"] is True
    assert result(till, order)["repaired"] == 2
    assert till.catalogue_agrees()
    assert till.paths().count("POST heartbeat") >= 2


def test_an_order_is_carried_out_once_though_the_report_is_lost(till: Any) -> None:
    """The report is kept until head office has it, over a restart too; the order is not done again."""
    till.agent.sync()
    order = till.office.world.orders.give(DEVICE)
    beats = iter([False, True, True])
    till.office.intercept = lambda method, path: (
        (503, {}, {"error": "no"}) if "heartbeat" in path and next(beats) else None
    )
    assert till.agent.heartbeat()
    assert result(till, order) is None
    compared = till.paths().count("GET digest")
    till.office.intercept = None
    assert till.agent.heartbeat()
    assert result(till, order)["in_sync"] is True
    assert till.paths().count("GET digest") == compared
    assert json.loads(till.agent._store.meta("orders_done") or "[]") == []


def test_while_another_program_syncs_an_order_waits(till: Any) -> None:
    """The next heartbeat brings it again."""
    till.agent.sync()
    order = till.office.world.orders.give(DEVICE)
    with till.agent._syncer.file_lock("sync.lock", 1):
        assert till.agent.heartbeat()
        assert result(till, order) is None
    assert till.agent.heartbeat()
    assert result(till, order)["in_sync"] is True


@pytest.mark.parametrize(
    "order", [{"what": "reboot"}, {"what": "verify", "dataset": "sales"}, {"what": "verify", "dataset": ""}]
)
def test_an_order_that_is_not_known_is_answered_in_words(till: Any, order: dict[str, Any]) -> None:
    """Head office sees that this program can't, and stops asking."""
    till.agent.sync()
    till.office.world.orders.waiting = lambda device_id: [{"id": "x", **order}]
    assert till.agent.heartbeat()
    told = till.office.world.heartbeat(DEVICE)["orders_done"]
    assert [(one["id"], one["in_sync"]) for one in told] == [("x", None)]
    assert "knows no order" in told[0]["error"]


@pytest.mark.parametrize("said", [{"orders": 5}, {"orders": [5, {"id": ""}, {"what": "verify"}]}, {"hello": 1}, []])
def test_an_answer_that_is_no_order_asks_nothing(till: Any, said: Any) -> None:
    """Nonsense is no order, and the heartbeat counts."""
    assert beat.orders_answer(msgspec.json.encode(said)) == []
    till.agent.sync()
    till.office.intercept = lambda method, path: (200, {}, json.dumps(said)) if "heartbeat" in path else None
    assert till.agent.heartbeat() is isinstance(said, dict)


def test_a_head_office_that_announces_no_orders_gives_none(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the ability counts."""
    from ho_stub import version

    monkeypatch.setattr(version, "CAPABILITIES", tuple(one for one in version.CAPABILITIES if one != "orders"))
    till.agent.sync()
    order = till.office.world.orders.give(DEVICE)
    assert till.agent.heartbeat()
    assert till.agent.heartbeat()
    assert result(till, order) is None
