"""Tells head office how this device is: one small request now and then, that nothing hangs on (contract, section 6)."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.domain.backoff import is_waiting
from edge_agent.domain.health import SUMMARY_FACT, read_summary
from edge_agent.domain.sale import timestamp_text
from edge_agent.errors import EdgeAgentError, Refused, Unreachable
from edge_agent.head_office import beat, wire
from edge_agent.head_office.client import HttpHeadOffice
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.journal import Journal
from edge_agent.storage.outbox import LANES, Outbox

LOOKED_S = 0.25  # how often a shutdown is looked for, while a request is under way
WAITED_S_MAX = 30.0  # then the request is left to its own time limits, and other work goes on
NOT_TAKEN_S = 3600.0  # a head office that announces heartbeats and takes none is asked once an hour


@dataclass(slots=True, kw_only=True)
class SendHeartbeat:
    """One heartbeat.

    Args:
        connect: makes a client of head office; its waits end when the given event is set.
        device_id: whose heartbeat it is.
        journal: the journal.
        store: the catalogue, with what is remembered of head office.
        clock: the device's clock.
        stop: set to leave a request that is under way; None: never.
        done: orders that were carried out, to be reported.
        orders: what head office asked in its answer.
    """

    connect: Callable[[threading.Event | None], HttpHeadOffice]
    device_id: str
    journal: Journal
    store: CatalogStore
    clock: Clock
    stop: threading.Event | None = None
    done: Sequence[beat.OrderDone] = ()
    orders: list[beat.Order] = field(default_factory=list)
    not_again_s: float = 0.0  # after a failure: seconds in which head office is to be left alone

    def run(self) -> bool:
        """Send it, if head office takes heartbeats and can be asked just now.

        Returns:
            Whether head office took it. A failure is none of syncing's: nothing is remembered of it.

        Raises:
            StoreBroken: a database can't be read.
        """
        facts = self.store.all_meta()
        capabilities = frozenset(msgspec.json.decode(facts.get("capabilities", "[]"), type=list[str]))
        if wire.HEARTBEAT not in capabilities or self._is_to_be_left_alone():
            return False
        try:
            head_office = self.connect(self.stop)
            head_office.timekeeper.recall(facts)
            body = beat.heartbeat_request(self._beat(facts, head_office.timekeeper.offset_ms()))
        except EdgeAgentError as error:
            self._failed(error)
            return False
        return self._send(head_office, body, takes_orders=beat.ORDERS in capabilities)

    def _is_to_be_left_alone(self) -> bool:
        """Whether head office is dead, or asked for time (``Retry-After``)."""
        now_ms, circuit, outbox = self.clock.now_ms(), Circuit(self.journal).state(), Outbox(self.journal)
        if circuit.failures or circuit.waits(now_ms):
            return True
        told = [outbox.lane(name).retry_after_ms for name in ("pull", *LANES)]
        return any(is_waiting(until_ms, now_ms, asked_for=True) for until_ms in told)

    def _beat(self, facts: dict[str, str], clock_offset_ms: int) -> beat.Heartbeat:
        counts = Outbox(self.journal).counts(sales_only=facts.get("profile") == "baseline")
        oldest_ms, life = counts.oldest_pending_ms, self.journal.life()
        last = read_summary(facts.get(SUMMARY_FACT))
        return beat.Heartbeat(
            device_id=self.device_id,
            journal_id=life.journal_id if life else "",
            agent_version=__version__,
            pending=counts.pending,
            oldest_pending_at=None
            if oldest_ms is None
            else timestamp_text(dt.datetime.fromtimestamp(oldest_ms / 1000, dt.UTC)),
            quarantined=counts.quarantined,
            data_version=_data_version(facts.get("version")),
            clock_offset_ms=clock_offset_ms,
            health_score=None if last is None else last.health_score,
            orders_done=tuple(self.done) or msgspec.UNSET,
        )

    def _send(self, head_office: HttpHeadOffice, body: bytes, *, takes_orders: bool) -> bool:
        """Send it from a thread of its own, which nobody has to wait for: it holds no lock and no database."""
        done, ended = threading.Event(), list[Exception | bytes]()

        def send() -> None:
            try:
                ended.append(head_office.heartbeat(body))
            except Exception as error:  # noqa: BLE001 - told below, by the thread that asked
                ended.append(error)
            finally:
                head_office.close()
                done.set()

        threading.Thread(target=send, name="edge-agent-heartbeat", daemon=True).start()
        for _ in range(int(WAITED_S_MAX / LOOKED_S)):
            if done.wait(LOOKED_S) or (self.stop is not None and self.stop.is_set()):
                break
        if not ended:
            return False
        end = ended[0]
        if isinstance(end, bytes):
            self.orders = beat.orders_answer(end) if takes_orders else []
            return True
        if not isinstance(end, EdgeAgentError):
            raise end
        self._failed(end)
        return False

    def _failed(self, error: EdgeAgentError) -> None:
        asked_s = error.retry_after_s if isinstance(error, Unreachable) else None
        not_taken = isinstance(error, Refused) or (isinstance(error, Unreachable) and error.reason == "route")
        self.not_again_s = asked_s if asked_s is not None else NOT_TAKEN_S if not_taken else 0.0


def _data_version(label: str | None) -> int | float | str | None:
    """Head office's version that was last pulled as a whole; None before the first."""
    try:
        found = msgspec.json.decode(label or "[]")[0]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return None
    return found if isinstance(found, int | float | str) else None
