"""Repair orders: what head office asks of a device in the answer to its heartbeat, and what became of it.

An addition to the contract, announced as the ability `orders` (docs/decisions/0029).
"""

import json
import uuid
from typing import Any

from ho_stub.audit import Audit
from ho_stub.database import Database
from ho_stub.rows import DATASETS, utc_now

AT_ONCE_MAX = 4
SHOWN_MAX = 500
EXAMPLES_MAX = 20
TEXT_MAX = 500
NAMES = ("id", "device_id", "dataset", "repair", "given_at", "given_by", "done_at", "result")
LIST = f"SELECT {', '.join(NAMES)} FROM repair_order"  # noqa: S608 - this file's own names


class Orders:
    """Orders for devices. One is given until its device reports it."""

    def __init__(self, db: Database, audit: Audit) -> None:
        self._db = db
        self._audit = audit

    def give(self, device_id: str, *, dataset: str | None = None, repair: bool = False, actor: str = "test") -> str:
        """Ask a device to compare its catalogue with ours.

        Args:
            device_id: which device.
            dataset: one dataset; None for all three.
            repair: have it put right what differs; else it only tells.
            actor: who asks, for the audit log.

        Returns:
            The order's id.

        Raises:
            ValueError: there is no such dataset.
        """
        if dataset is not None and dataset not in DATASETS:
            raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, or none for all of them")
        order_id = str(uuid.uuid4())
        with self._db.write():
            self._db.run(
                "INSERT INTO repair_order VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                (order_id, device_id, dataset, int(repair), utc_now(), actor),
            )
            self._audit.note(actor, "order", device_id, None, {"id": order_id, "dataset": dataset, "repair": repair})
        return order_id

    def cancel(self, order_id: str, actor: str = "test") -> bool:
        """Take back an order that its device has not reported; whether there was one."""
        with self._db.write():
            found = self._db.row("SELECT device_id FROM repair_order WHERE id = ? AND done_at IS NULL", (order_id,))
            if found is not None:
                self._db.run("DELETE FROM repair_order WHERE id = ?", (order_id,))
                self._audit.note(actor, "cancel order", str(found[0]), {"id": order_id})
            return found is not None

    def waiting(self, device_id: str) -> list[dict[str, Any]]:
        """What a device is asked now, oldest first, as it goes over the wire."""
        sql = "SELECT id, dataset, repair FROM repair_order WHERE device_id = ? AND done_at IS NULL"
        found = self._db.rows(f"{sql} ORDER BY given_at, id LIMIT {AT_ONCE_MAX}", (device_id,))
        return [
            {"id": order_id, "what": "verify", "dataset": dataset, "repair": bool(repair)}
            for order_id, dataset, repair in found
        ]

    def report(self, device_id: str, done: object) -> None:
        """Take a device's word on its orders; what names none of them is ignored. Call it inside `db.write()`."""
        for one in done if isinstance(done, list) else []:
            if isinstance(one, dict) and isinstance(one.get("id"), str):
                sql = "UPDATE repair_order SET done_at = ?, result = ? WHERE id = ? AND device_id = ?"
                result = json.dumps(_result(one))
                self._db.run(f"{sql} AND done_at IS NULL", (utc_now(), result, one["id"], device_id))

    def last(self, device_id: str | None = None, limit: int = SHOWN_MAX) -> list[dict[str, Any]]:
        """Orders, newest first: all, or a device's."""
        where, bound = ("", ()) if device_id is None else (" WHERE device_id = ?", (device_id,))
        found = self._db.rows(f"{LIST}{where} ORDER BY given_at DESC, id LIMIT ?", (*bound, limit))
        return [_order(row) for row in found]


def _result(told: dict[str, Any]) -> dict[str, Any]:
    """What a device says of an order, with nothing in it that is not what it should be."""
    counts = {
        name: value if type(value := told.get(name)) is int and value >= 0 else 0
        for name in ("missing", "extra", "stale", "repaired")
    }
    examples = told.get("examples")
    return counts | {
        "in_sync": told["in_sync"] if isinstance(told.get("in_sync"), bool) else None,
        "examples": [
            {name: str(one.get(name, ""))[:TEXT_MAX] for name in ("dataset", "id", "kind")}
            for one in (examples if isinstance(examples, list) else [])[:EXAMPLES_MAX]
            if isinstance(one, dict)
        ],
        "error": str(told["error"])[:TEXT_MAX] if told.get("error") else None,
    }


def _order(row: tuple[Any, ...]) -> dict[str, Any]:
    order = dict(zip(NAMES, row, strict=True))
    result = json.loads(order["result"]) if order["result"] else None
    return order | {"repair": bool(order["repair"]), "result": result}
