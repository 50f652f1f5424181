"""A device behind a line, and the count of what was lost, doubled or stuck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from edge_agent.status import in_words
from tests.wire.middleman import Fault, Line
from tests.wire.relay import Relay

HEALING_POLLS = 5
HEALING_PAUSE_S = 8 * 3600.0  # beyond every backoff, every Retry-After of these tests and a baseline's schedule
IMPATIENT: dict[str, Any] = {"connect_timeout_s": 0.3, "read_timeout_s": 0.3, "answer_deadline_s": 1.0}
LIMITS: dict[str, Any] = {
    # Generous, since a machine that runs tests may be busy; tests of slow lines are impatient.
    "connect_timeout_s": 10.0,
    "read_timeout_s": 10.0,
    "answer_deadline_s": 20.0,
    "answer_bytes_max": 256 * 1024,
    "batch_count_max": 4,
    "page_rows": 5,
    "currency": "IDR",
    "timezone": "Asia/Jakarta",
    "day_start": "04:00",
}


@dataclass(frozen=True)
class Count:
    """What must be zero, three times."""

    lost: int
    doubled: int
    stuck: int

    def __add__(self, other: Count) -> Count:
        return Count(self.lost + other.lost, self.doubled + other.doubled, self.stuck + other.stuck)

    @property
    def is_clean(self) -> bool:
        return (self.lost, self.doubled, self.stuck) == (0, 0, 0)


CLEAN = Count(0, 0, 0)


@dataclass
class Shop:
    """A till whose line goes through the middleman.

    Args:
        till: of tests/conftest.py.
        line: the middleman.
        reopen: opens the home again: ``reopen(home, **settings)``.
        relay: between till and line, where these speak TLS.
    """

    till: Any
    line: Line
    reopen: Callable[..., Any]
    relay: Relay | None = None
    recorded: dict[str, str] = field(default_factory=dict)  # external_id of an acknowledged sale -> its kind
    used: set[str] = field(default_factory=set)

    @property
    def is_native(self) -> bool:
        return bool(self.till.office.world.native)

    def sell(self, product: str | None = None, quantity: str = "1", price: str = "7500.00", **more: Any) -> Any:
        """Record a sale; from its return on it counts."""
        sale = self.till.sell(product, quantity, price, **more)
        self.recorded[sale.external_id] = sale.kind
        return sale

    def use(self, **about: Any) -> Any:
        """Record the use of a promotion."""
        usage = self.till.agent.record_usage(self.till.deal, "100.00", **about)
        self.used.add(usage.external_id)
        return usage

    def poll(self, pause_s: float) -> Any:
        """A cycle of the background loop, some time after the last one."""
        self.till.clock.advance(pause_s)
        return self.till.poll()

    def restart(self) -> None:
        """The POS ends and starts again."""
        self.till.agent.close()
        self.till.agent = self.reopen(self.till.agent.home)

    def fail(self, fault: Fault | None) -> None:
        """From now on this happens to every exchange."""
        self.line.plan = lambda request: fault

    def heal(self) -> int:
        """The faults end; the loop goes on by itself. Gives the number of cycles until nothing was left to do."""
        self.fail(None)
        for number in range(1, HEALING_POLLS + 1):
            self.poll(HEALING_PAUSE_S)
            # A sale of goods without a fixed price changes head office's catalogue: that comes with the next cycle.
            settled = self.waiting() == 0 and not self.till.agent.status()["last_error"]
            if settled and self.till.catalogue_agrees():
                return number
        return HEALING_POLLS

    def waiting(self) -> int:
        """What still has to go up; refunds and voids are held against a baseline head office, and their uses."""
        status = self.till.agent.status()
        return int(status["pending"] - status["held"])

    def words(self) -> str:
        """What the shop's staff read."""
        status = self.till.agent.status()
        return " ".join(in_words(status, self.till.clock.now()))

    # ---- the books -------------------------------------------------------------------------------------------

    def taken(self) -> list[dict[str, Any]]:
        """The sales that head office has accepted."""
        return [sale for sale in self.till.office.world.sales() if sale["state"] == "accepted"]

    def owed(self) -> set[str]:
        """The recorded sales that head office is to have in the end."""
        return {one for one, kind in self.recorded.items() if self.is_native or kind == "sale"}

    def delivered_early(self) -> set[str]:
        """Entries that left *pending* though head office does not have them: there must be none, ever (G3)."""
        entries = self.till.agent.outbox(state="delivered", limit=10**6)
        there = {sale["external_id"] for sale in self.taken()} | self._uses_taken().keys()
        return {entry.external_id for entry in entries} - there

    def _uses_taken(self) -> Counter[str]:
        return Counter(usage["external_id"] for usage in self.till.office.world.usages())

    def count(self) -> Count:
        """The books of both sides, compared: after the end of the faults everything must be there, once."""
        sales = self.taken()
        ids = Counter(sale["external_id"] for sale in sales)
        places = Counter((s["device_id"], s["journal_id"], s["device_seq"]) for s in sales if s["device_seq"])
        uses = self._uses_taken()
        twice = sum(n - 1 for counter in (ids, places, uses) for n in counter.values())
        foreign = len(ids.keys() - self.recorded.keys()) + len(uses.keys() - self.used)
        lost = len(self.owed() - ids.keys()) + len(self.used - uses.keys())
        status = self.till.agent.status()
        return Count(lost, twice + foreign, self.waiting() + status["quarantined"])

    def money_agrees(self) -> bool:
        """Whether head office's ledger sums up to the journal's, to the cent."""
        rows = self.till.ledger_rows("SELECT external_id, kind, total_minor, exponent FROM sales")
        mine = sum(
            ((1 if kind == "sale" else -1) * Decimal(minor).scaleb(-digits))
            for external_id, kind, minor, digits in rows
            if external_id in self.owed()
        )
        return Decimal(self.till.office.world.ledger_total()) == mine
