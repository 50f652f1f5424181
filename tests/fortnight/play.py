"""Plays days of a shop in simulated time and keeps what happened: faults, what ``status`` said, figures of each day."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import functools
import heapq
import itertools
import json
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.fortnight.faults import Planned
from tests.fortnight.programs import ROOT, Counted, launched, status_of
from tests.fortnight.shop import Shop

OPENS_H, CLOSES_H = 7, 21
BEGINS_H = 5
NIGHT_H = 2
NIGHT_SEEN_H = 6.5  # by then last night's work must have been done, if nothing stood in its way
EDITS_A_DAY = 4
NOTICED_S = 3 * 3_600.0
LOOK_REAL_S = 0.02
FIGURES_REAL_S = 0.5
WELL_REAL_S = 0.3
WELL = "all well again"
CONVERGE_REAL_S_MAX = 60.0
# What must be over by itself. That a journal was damaged is told until a person has looked at the disk.
TO_END = ("catalogue damaged", "can't be offered again", "disk full", "disk nearly full", "no backup")


@dataclass
class Said:
    """What ``edge-agent status`` said."""

    when: str
    moment: dt.datetime
    words: str
    exit_code: int


@dataclass
class Happened:
    """A fault as it went."""

    planned: Planned
    began_s: float
    ended_s: float | None = None
    well_s: float | None = None
    said: list[Said] = field(default_factory=list)
    aside_before: int = 0
    noticed_s: float | None = None
    not_well_because: str = ""


@dataclass
class Day:
    """A day's figures."""

    number: int
    sales: int = 0
    recorded: int = 0
    rss_mb: float = 0.0
    rss_max_mb: float = 0.0
    pid: int = 0
    threads: int = 0
    files: int = 0
    cpu_s: float = 0.0
    log_lines: int = 0
    requests: int = 0
    requests_hour_max: int = 0
    validated_at: str = ""
    night_due_s: float = 0.0
    backups: int = 0
    prices: int = 0
    price_delay_s_max: float = 0.0


@dataclass
class Price:
    """A price that head office changed, and who must see it."""

    product: str
    since_s: float
    unseen: set[str]


class Fortnight:
    """The play.

    Args:
        shop: where.
        plan: what happens.
        days: how long.
        sales_a_day: the least and the most.
        say: told what happens, for who watches.
    """

    def __init__(
        self,
        shop: Shop,
        plan: Sequence[Planned],
        days: int,
        sales_a_day: tuple[int, int],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.shop, self.plan, self.day_count, self.say = shop, plan, days, say
        self._sales_a_day = sales_a_day
        self.happened: list[Happened] = []
        self.days: list[Day] = []
        self.prices: list[Price] = []
        self.price_delays_s: list[float] = []
        self.verified: dict[str, Any] = {}
        self.final_status = ""
        self.final_exit = -1
        self.final_state: dict[str, Any] = {}
        self.converged = False
        self.why_not = ""
        self.real_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._begin_s = shop.work.true_s()
        self._midnight = shop.work.now().astimezone(shop.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        self._beside = concurrent.futures.ThreadPoolExecutor(1)  # what takes a while and must not hold up the shop
        self._checking: concurrent.futures.Future[None] | None = None
        self._next_figures_s = self._next_check_s = 0.0
        self._last_log_lines = 0
        self._samples: list[dict[str, float]] = []

    # ---- the play ----------------------------------------------------------------------------------------------

    def play(self) -> None:
        """From the first morning to the last night."""
        began = time.monotonic()
        self.shop.open()
        for number in range(1, self.day_count + 1):
            self._plan_day(number)
        for planned in self.plan:
            self._at(self._moment(planned.day, planned.hour), functools.partial(self._begin, planned))
        end_s = self._moment(self.day_count + 1, BEGINS_H - 1)
        while self.shop.work.true_s() < end_s:
            self._step()
        self._converge()
        self._beside.shutdown(wait=True)
        self._close_books()
        self.real_s = time.monotonic() - began

    def _moment(self, day: int, hour: float) -> float:
        midnight = self._midnight + dt.timedelta(days=day - 1)  # wall time of the store: a day of 23 hours is one
        return (midnight.replace(tzinfo=None) + dt.timedelta(hours=hour)).replace(tzinfo=self.shop.zone).timestamp()

    def _at(self, moment_s: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment_s, next(self._numbers), work))

    def _plan_day(self, number: int) -> None:
        day, dice = Day(number), self.shop.dice
        self.days.append(day)
        day.sales = dice.randint(*self._sales_a_day)
        for _ in range(day.sales):
            self._at(self._moment(number, dice.uniform(OPENS_H, CLOSES_H)), self.shop.sell)
        for _ in range(EDITS_A_DAY):
            self._at(self._moment(number, dice.uniform(6, 22)), lambda: self._edit(day))
        self._at(self._moment(number, 23.0), lambda: self._count(day))
        self._at(
            self._moment(number + 1, NIGHT_SEEN_H if number < self.day_count else BEGINS_H - 2),
            lambda: self._look_soon(day),
        )

    def _step(self) -> None:
        now = self.shop.work.true_s()
        while self._events and self._events[0][0] <= now:
            heapq.heappop(self._events)[2]()
        self.shop.service.look()
        real = time.monotonic()
        if real >= self._next_figures_s:
            self._next_figures_s = real + FIGURES_REAL_S
            if figures := self.shop.service.figures():
                self._samples.append(figures)
            self._watch_prices()
            self._watch_damage()
        if real >= self._next_check_s and (self._checking is None or self._checking.done()):
            self._next_check_s = real + WELL_REAL_S
            if any(one.ended_s is not None and one.well_s is None for one in self.happened):
                self._checking = self._beside.submit(self._check)
        time.sleep(LOOK_REAL_S)

    # ---- faults ------------------------------------------------------------------------------------------------

    def _begin(self, planned: Planned) -> None:
        """A fault begins; one that lasts is looked at while it does."""
        one = Happened(planned, self.shop.work.true_s())
        one.aside_before = self.shop.set_aside(planned.fault.damages)
        self.happened.append(one)
        self.say(f"day {planned.day} {self._clock(one.began_s)}: {planned.fault.name}")
        end = planned.fault.begin(self.shop)
        length_s = planned.hours * 3600
        self._at(one.began_s + length_s * 0.7, lambda: self._ask_status(one, "while it lasts"))
        self._at(one.began_s + length_s, lambda: self._end(one, end))

    def _end(self, one: Happened, end: Callable[[], None]) -> None:
        end()
        one.ended_s = self.shop.work.true_s()

    def _watch_damage(self) -> None:
        """Damage is noticed when something reads the place, hours later perhaps."""
        for one in self.happened:
            name = one.planned.fault.damages
            if name and one.noticed_s is None and self.shop.set_aside(name) > one.aside_before:
                one.noticed_s = self.shop.work.true_s()
                self._at(one.noticed_s, functools.partial(self._ask_status, one, "when it was noticed"))
                self._at(one.noticed_s + NOTICED_S, functools.partial(self._ask_status, one, "some hours after that"))

    def _ask_status(self, one: Happened, when: str) -> None:
        self._beside.submit(self._status, one, when)

    def _status(self, one: Happened, when: str) -> None:
        words, code = status_of(self.shop.environment)  # what it tells is of the end of its run
        one.said.append(Said(when, self.shop.work.now().astimezone(self.shop.zone), words, code))

    def _check(self) -> None:
        """Whether all is well again after the faults that ended."""
        waiting = [one for one in self.happened if one.ended_s is not None and one.well_s is None]
        since_s = max(one.ended_s or 0.0 for one in waiting)
        why = self._not_well(since_s)
        for one in waiting:
            one.not_well_because = why
        if why:
            return
        now = self.shop.work.true_s()
        for one in waiting:
            one.well_s = now
            if all(said.when != WELL for said in one.said):
                self._status(one, WELL)

    def _not_well(self, since_s: float) -> str:
        """Why not all is well that was disturbed until a moment; empty when it is."""
        if not self.shop.service.is_up():
            return "the daemon is not up"
        if stuck := [till.name for till in self.shop.tills if till.waiting() > 5]:
            return f"customers wait at: {', '.join(stuck)}"
        state = self._ask({"do": "status"}).get("status")
        if state is None:
            return "the till does not tell its status"
        self.final_state = state
        if trouble := _trouble(state, since_s, self.shop.work.true_s()):
            return trouble
        recorded_before = len(self.shop.acknowledged())
        missing = len(self.shop.missing())
        if missing and state["pending"] == 0 and recorded_before == len(self.shop.acknowledged()):
            return f"head office lacks {missing} sales"
        wanted, found = self.shop.catalogue(), self._ask({"do": "catalogue"})
        if wanted != found and wanted == self.shop.catalogue():
            return "the catalogue is not head office's"
        return ""

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Ask the embedded till something, and wait for the answer."""
        answered: concurrent.futures.Future[Counted] = concurrent.futures.Future()
        self.shop.embedded.ask(asked, answered.set_result)
        try:
            return answered.result(timeout=5).answer or {}
        except concurrent.futures.TimeoutError:
            return {}

    # ---- prices ------------------------------------------------------------------------------------------------

    def _edit(self, day: Day) -> None:
        """Head office changes a price; both tills must show it."""
        taken = {price.product for price in self.prices}
        product = self.shop.dice.choice([one for one in self.shop.product_ids() if one not in taken])
        price = f"{self.shop.dice.randrange(50, 2_000) / 100:.2f}"
        self.shop.office.world.edit("products", product, price=price)
        day.prices += 1
        self.prices.append(Price(product, self.shop.work.true_s(), {till.name for till in self.shop.tills}))

    def _watch_prices(self) -> None:
        for price in self.prices[:]:
            for till in self.shop.tills:
                if till.name in price.unseen and till.waiting() == 0:
                    till.ask({"do": "price", "product": price.product}, functools.partial(self._saw, price, till.name))

    def _saw(self, price: Price, name: str, told: Counted) -> None:
        wanted = self.shop.office.world.get("products", price.product)["price"]  # a restore may have undone the edit
        shown = (told.answer or {}).get("price")
        if shown is None or wanted is None or Decimal(shown) != Decimal(wanted) or price not in self.prices:
            return
        price.unseen.discard(name)
        if not price.unseen:
            self.prices.remove(price)
            delay_s = self.shop.work.true_s() - price.since_s
            self.price_delays_s.append(delay_s)
            day = self._day_of(price.since_s)
            day.price_delay_s_max = max(day.price_delay_s_max, delay_s)

    def _day_of(self, moment_s: float) -> Day:
        number = int((moment_s - self._moment(1, 0)) // 86_400)
        return self.days[min(max(number, 0), len(self.days) - 1)]

    # ---- figures -----------------------------------------------------------------------------------------------

    def _count(self, day: Day) -> None:
        """The day's figures, at its end."""
        samples, self._samples = self._samples, []
        if samples:
            last = samples[-1]
            day.rss_mb, day.rss_max_mb = last["rss_mb"], max(sample["rss_mb"] for sample in samples)
            day.pid, day.threads, day.files = int(last["pid"]), int(last["threads"]), int(last["files"])
            same = [sample for sample in samples if sample["pid"] == last["pid"]]
            day.cpu_s = same[-1]["cpu_s"] - same[0]["cpu_s"]
        lines = self.shop.log_lines()
        day.log_lines, self._last_log_lines = lines - self._last_log_lines, lines
        first, last_hour = int(self._moment(day.number, 0) // 3600), int(self._moment(day.number + 1, 0) // 3600)
        hours = [self.shop.per_hour[hour] for hour in range(first, last_hour)]
        day.requests, day.requests_hour_max = sum(hours), max(hours)
        day.recorded = len(self.shop.acknowledged())
        self.say(
            f"day {day.number} ends: {day.recorded} sales recorded, {self.shop.office.world.sale_count()} at head "
            f"office, {day.rss_mb:.1f} MB, {day.log_lines} log lines, {day.requests} requests"
        )

    def _look_soon(self, day: Day) -> None:
        self._beside.submit(self._look_at_night, day)

    def _look_at_night(self, day: Day) -> None:
        state = self._ask({"do": "status"}).get("status") or {}
        day.validated_at = str((state.get("health") or {}).get("validated_at") or "")
        day.night_due_s = self._moment(day.number + 1, NIGHT_H)
        day.backups = len(self.shop.backups())

    # ---- the end -----------------------------------------------------------------------------------------------

    def _converge(self) -> None:
        """Nobody does anything any more: all must be well by itself."""
        since_s, until = self.shop.work.true_s(), time.monotonic() + CONVERGE_REAL_S_MAX
        while time.monotonic() < until:
            self._step()
            if self._events or any(till.waiting() for till in self.shop.tills) or self.prices:
                continue
            self.why_not = self._beside.submit(self._not_well, since_s).result()
            if not self.why_not and not any(one.well_s is None for one in self.happened):
                self.converged = True
                return
        self.why_not = self.why_not or "prices, tills or faults that did not come to an end"

    def _close_books(self) -> None:
        self.final_status, self.final_exit = status_of(self.shop.environment)
        for _ in range(3):  # the daemon may just hold the lock
            done = subprocess.run(
                launched("verify", "--json"),
                cwd=ROOT,
                env=self.shop.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 7:
                break
        try:
            self.verified = {"exit": done.returncode, **json.loads(done.stdout)}
        except ValueError:
            self.verified = {"exit": done.returncode, "said": done.stdout + done.stderr}

    def _clock(self, moment_s: float) -> str:
        return dt.datetime.fromtimestamp(moment_s, self.shop.zone).strftime("%H:%M")


def _trouble(state: dict[str, Any], since_s: float, now_s: float) -> str:
    """What in a status is not well."""
    if state["last_error"]:
        return f"last error: {state['last_error']['message']}"
    success = _seconds(state["last_success_at"])
    if success is None or not since_s - 1 <= success <= now_s + 3_600:
        return f"last contact: {state['last_success_at']}"
    if state["quarantined"] or state["stalled"] or state["receipts"]["differences"]:
        return "something needs a person"
    oldest = _seconds(state["oldest_pending_at"])
    if oldest is not None and oldest < since_s:
        return f"{state['pending']} entries wait, the oldest since {state['oldest_pending_at']}"
    for name, dataset in state["datasets"].items():
        if dataset["held_sweep"] or dataset["incomplete"] or dataset["differs"]:
            return f"{name} is held, incomplete or different"
    if findings := [one["kind"] for one in state["incidents"] if one["open"] and one["kind"] in TO_END]:
        return f"open: {', '.join(findings)}"
    if abs(state["clock_offset_ms"]) > 30 * 60_000:
        return f"the clock is {state['clock_offset_ms'] / 60_000:.0f} min off"
    return ""


def _seconds(text: str | None) -> float | None:
    return None if text is None else dt.datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True)
class Books:
    """How the ledgers compare.

    Args:
        recorded: sales that a till got an acknowledgement for.
        lost: of those, what head office does not have.
        doubled: ids that head office counts more than once.
        foreign: sales at head office that no till was told of.
        wrong_totals: sales whose totals differ.
        stuck: entries that still wait or are set aside.
        uses: uses of promotions acknowledged.
        uses_lost: of those, what head office lacks.
    """

    recorded: int
    lost: int
    doubled: int
    foreign: int
    wrong_totals: int
    stuck: int
    total_here: Decimal
    total_there: Decimal
    uses: int
    uses_lost: int

    @property
    def exact(self) -> bool:
        wrong = self.lost + self.doubled + self.foreign + self.wrong_totals + self.stuck + self.uses_lost
        return not wrong and self.total_here == self.total_there


def books_of(shop: Shop, state: dict[str, Any]) -> Books:
    """Compare what the tills were told with head office's ledger."""
    mine, theirs = shop.acknowledged(), shop.at_head_office()
    totals = {sale["external_id"]: Decimal(sale["body"]["total_amount"]) for sale in theirs}
    uses, used = shop.uses(), {usage["external_id"] for usage in shop.office.world.usages()}
    return Books(
        recorded=len(mine),
        lost=len(set(mine) - set(totals)),
        doubled=len(theirs) - len(totals),
        foreign=len(set(totals) - set(mine)),
        wrong_totals=sum(total != mine[one] for one, total in totals.items() if one in mine),
        stuck=int(state.get("pending", 0)) + int(state.get("quarantined", 0)),
        total_here=sum(mine.values(), Decimal(0)),
        total_there=Decimal(shop.office.world.ledger_total()),
        uses=len(uses),
        uses_lost=len(uses - used),
    )


def seeded(dice: random.Random) -> random.Random:
    """Dice of their own for one purpose, so that more throws for another change nothing here."""
    return random.Random(dice.getrandbits(64))
