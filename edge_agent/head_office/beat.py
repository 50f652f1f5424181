"""Heartbeats on the wire, and the orders that head office gives in its answer (contract, section 6; decision 0029)."""

from __future__ import annotations

from typing import Annotated

import msgspec

ORDERS = "orders"  # the ability, an addition to the contract
ORDERS_MAX = 4  # an answer; the next heartbeat brings more
EXAMPLES_MAX = 20


class Order(msgspec.Struct, frozen=True):
    """What head office asks of one device in the answer to its heartbeat (docs/decisions/0029).

    Args:
        id: names the order; one with the same id is carried out once.
        what: ``verify``; any other is answered with an error.
        dataset: the dataset to compare; None for all three.
        repair: put right what differs; else only tell it.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    what: str = ""
    dataset: str | None = None
    repair: bool = False


class Differs(msgspec.Struct, frozen=True):
    """A row that differs: ``kind`` is ``missing`` (here), ``extra`` or ``stale``."""

    dataset: str
    id: str
    kind: str


class OrderDone(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, told with a later heartbeat.

    Args:
        id: the order's.
        in_sync: whether all that was compared is equal at the end; None when it could not be compared.
        missing, extra, stale: how many rows differed, before anything was put right.
        repaired: how many were put right.
        examples: some of them.
        error: why it could not be carried out, in words.
    """

    id: str
    in_sync: bool | None = None
    missing: int = 0
    extra: int = 0
    stale: int = 0
    repaired: int = 0
    examples: tuple[Differs, ...] = ()
    error: str | None = None


class _HeartbeatAnswer(msgspec.Struct):
    orders: list[msgspec.Raw] = []


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How a device is (contract, section 6).

    Args:
        device_id: which device.
        journal_id: its journal.
        agent_version: the program's version.
        pending: entries that wait.
        oldest_pending_at: when the oldest of them was recorded, by the device's own clock.
        quarantined: entries that head office refused.
        data_version: head office's version that was last pulled; None before the first pull.
        clock_offset_ms: head office's clock less the device's.
        health_score: percent of the catalogue's rows that are in order; None before the first look.
        orders_done: head office's orders that were carried out and not reported; left out when there are none.
    """

    device_id: str
    journal_id: str
    agent_version: str
    pending: int
    oldest_pending_at: str | None
    quarantined: int
    data_version: int | float | str | None
    clock_offset_ms: int
    health_score: float | None
    orders_done: tuple[OrderDone, ...] | msgspec.UnsetType = msgspec.UNSET


def orders_answer(body: bytes) -> list[Order]:
    """The orders in the answer to a heartbeat, at most :data:`ORDERS_MAX`; what is none is left out."""
    try:
        found = msgspec.json.decode(body or b"{}", type=_HeartbeatAnswer).orders
    except msgspec.MsgspecError:
        return []
    orders = []
    for one in found[:ORDERS_MAX]:
        try:
            orders.append(msgspec.json.decode(one, type=Order))
        except msgspec.MsgspecError:
            continue
    return orders


def heartbeat_request(beat: Heartbeat) -> bytes:
    """A heartbeat's body."""
    return msgspec.json.encode(beat)
