"""What head office orders of this device in the answer to its heartbeat: compare the catalogue, and mend it (decision
0029). An order is carried out once, and reported until head office has taken the report."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Collection, Iterable

import msgspec

from edge_agent.domain.catalog import DATASETS, Dataset
from edge_agent.errors import AlreadyRunning, EdgeAgentError, NotSignedIn, StoreBroken, Unreachable
from edge_agent.head_office.beat import EXAMPLES_MAX, Differs, Order, OrderDone
from edge_agent.storage.catalog import CatalogStore
from edge_agent.sync.report import Drift
from edge_agent.sync.verify import Verified

VERIFY = "verify"
KEPT_MAX = 50  # reports that head office does not take
_FACT = "orders_done"
_log = logging.getLogger("edge_agent")
_Verify = Callable[[Collection[Dataset], bool], Verified]


class Orders:
    """The orders of this device.

    Args:
        store: the catalogue, which remembers what is done.
        verify: compares datasets with head office's, and mends them if told to.
    """

    def __init__(self, store: CatalogStore, verify: _Verify) -> None:
        self._store = store
        self._verify = verify

    def done(self) -> list[OrderDone]:
        """What is carried out and not yet taken by head office.

        Raises:
            StoreBroken: the catalogue can't be read.
        """
        try:
            return msgspec.json.decode(self._store.meta(_FACT) or "[]", type=list[OrderDone])
        except msgspec.MsgspecError:  # a report lost costs head office a repeated order
            return []

    def taken(self, reported: Iterable[OrderDone]) -> None:
        """Head office has these reports."""
        gone = {one.id for one in reported}
        self._keep([one for one in self.done() if one.id not in gone])

    def carry_out(self, orders: Iterable[Order]) -> bool:
        """Carry out what is new. One that can't be now, because the line fails or another program syncs, is left: head
        office gives it again.

        Returns:
            Whether there is something to report.

        Raises:
            StoreBroken: a database can't be used.
        """
        known = {one.id for one in self.done()}
        for order in orders:
            if order.id in known:
                continue
            known.add(order.id)
            try:
                found = self._carry_out(order)
            except (Unreachable, NotSignedIn, AlreadyRunning):
                break
            self._keep([*self.done(), found][-KEPT_MAX:])
            _log.info("head office's order %s is carried out: %s", order.id, _in_words(found))
        return bool(self.done())

    def _carry_out(self, order: Order) -> OrderDone:
        datasets = _datasets(order)
        if order.what != VERIFY or not datasets:
            return OrderDone(id=order.id, error=f"this device knows no order {order.what} of {order.dataset}")
        try:
            found = self._verify(datasets, order.repair)
        except (Unreachable, NotSignedIn, AlreadyRunning, StoreBroken):
            raise
        except EdgeAgentError as error:
            return OrderDone(id=order.id, error=error.message)
        kinds = collections.Counter(one.kind for one in found.drift)
        states = found.in_sync.values()
        return OrderDone(
            id=order.id,
            in_sync=None if None in states else all(states),
            missing=kinds["missing"],
            extra=kinds["extra"],
            stale=sum(kinds.values()) - kinds["missing"] - kinds["extra"],
            repaired=found.repaired,
            examples=tuple(map(_example, found.drift[:EXAMPLES_MAX])),
            error="; ".join(f"{dataset}: {error.message}" for dataset, error in found.errors) or None,
        )

    def _keep(self, done: list[OrderDone]) -> None:
        self._store.remember(**{_FACT: msgspec.json.encode(done).decode() if done else None})


def _datasets(order: Order) -> tuple[Dataset, ...]:
    return DATASETS if order.dataset is None else tuple(one for one in DATASETS if one == order.dataset)


def _example(drift: Drift) -> Differs:
    return Differs(drift.dataset, drift.id, drift.kind)


def _in_words(done: OrderDone) -> str:
    if done.error:
        return done.error
    differing = done.missing + done.extra + done.stale
    return f"{differing} rows differed, {done.repaired} were put right" if differing else "nothing differed"
