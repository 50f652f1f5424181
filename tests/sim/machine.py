"""The simulation: up to three tills, a faulty line, a head office with accidents, jumping clocks, dying processes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from edge_agent import InvalidSale, Payment

from . import checks
from .attempt import Attempt, Lines
from .death import Engine, Step
from .line import FAULTS, OF_UPLOADS, Fault
from .office import BREAD, COLA, DATASETS, DEAL, MILK, ODD_DEAL, STRANGE, TEA, WATER, Office
from .till import Look, SimulatedAgent, Till, make_till

HEALING_POLLS_MAX = 30
HEALING_PAUSES_S = (1 * 3_600.0, 7 * 3_600.0)  # in turn: soon, and late enough for what is due every six hours
SPANS_S = (1, 20, 300, 3_600, 7 * 3_600, 86_400, 3 * 86_400)
JUMPS_S = (-3_600, 6 * 3_600, 26 * 365 * 86_400, 0)
CHANGES = ("edit", "edit", "add", "add", "delete", "switch", "break")
SETTINGS: tuple[dict[str, Any], ...] = (
    {"sync_strategy": "current_only"},
    {"sync_strategy": "all_active"},
    {"future_days": 0, "past_days": 0},
    {"include_inactive": True},
    {"auto_sync_enabled": False},
    {"max_promotions_per_sync": 10, "sync_interval_hours": 1},
    {"enable_compression": False},
    {"force_update": True},
    {"force_update": False},
)

tills = st.integers(0, 2)
products = st.sampled_from([COLA, WATER, BREAD, TEA, MILK, *STRANGE, "one-off A", "one-off B"])
quantities = st.sampled_from(["1", "2", "0.750", "0.333", "12"])
prices = st.sampled_from(["7500.00", "3500", "0.99", "42000.05"])
line = st.tuples(products, quantities, prices, st.sampled_from(["0", "0.25"]))
lines = st.lists(line, min_size=1, max_size=3)
kinds = st.sampled_from(["sale", "sale", "refund", "void"])
steps = st.sampled_from(["write", "request"])
faults = st.builds(
    Fault, st.sampled_from(OF_UPLOADS) | st.sampled_from(FAULTS), st.sampled_from([0, 4, 30, 3_600, 90_000])
)


def poll(agent: SimulatedAgent) -> Any:
    """A cycle as the background loop runs it."""
    return agent._syncer.run(asked=False)


class Simulation(RuleBasedStateMachine):
    """One run. What lasts longer than a run is given by the class: head office, the killer, the tally."""

    office: ClassVar[Office]
    engine: ClassVar[Engine]
    template: ClassVar[Path]
    tally: ClassVar[checks.Tally]

    def __init__(self) -> None:
        super().__init__()
        self.office.reset()
        self.folder = Path(tempfile.mkdtemp(dir=self.template.parent))
        self.tills: list[Till] = []
        self.sold = 0

    @initialize(number=st.sampled_from([2, 1, 1, 2, 3]))
    def tills_stand(self, number: int) -> None:
        numbers = range(1, number + 1)
        self.tills = [make_till(one, self.template, self.folder, self.office, self.engine) for one in numbers]

    def till(self, number: int) -> Till:
        return self.tills[number % len(self.tills)]

    # ---- selling ---------------------------------------------------------------------------------------------

    @rule(which=tills, lines=lines, kind=kinds, own_id=st.booleans())
    def sells(self, which: int, lines: Lines, kind: str, own_id: bool) -> None:
        self._sell(self.till(which), lines, kind, own_id=own_id)

    @rule(which=tills, sales=st.lists(lines, min_size=2, max_size=7))
    def sells_to_a_queue(self, which: int, sales: list[Lines]) -> None:
        for one in sales:
            self._sell(self.till(which), one, "sale", own_id=False)

    def _sell(self, till: Till, lines: Lines, kind: str, *, own_id: bool) -> None:
        refers_to = next(reversed(till.sales), None) if kind != "sale" else None
        self.sold += 1
        external_id = f"{self.sold:08x}-5a1e-4000-8000-{till.number:012x}" if own_id else None
        self._record(till, Attempt(tuple(lines), kind, refers_to, external_id))

    @rule(which=tills, number=st.integers(0, 20), same=st.booleans())
    def sells_under_an_old_id(self, which: int, number: int, same: bool) -> None:
        till = self.till(which)
        if not till.sales:
            return
        old = list(till.sales.values())[number % len(till.sales)]
        said = msgspec.json.decode(old.body)
        told = Attempt.of(said).lines if same else ((COLA, "5", "1.00", "0"), (COLA, "7", "3.00", "0"))
        self._record(till, Attempt(told, old.kind, said["refers_to"], old.external_id), old="same" if same else "other")

    def _record(self, till: Till, attempt: Attempt, *, old: str = "") -> None:
        """Record a sale; ``old`` says whether its id is one of before, with the ``same`` content or with ``other``."""
        requests, known = till.line.requests, set(till.sales)

        def work(agent: SimulatedAgent) -> Any:
            try:
                return agent.record_sale(
                    attempt.items(),
                    [Payment("cash", str(attempt.total))],
                    kind=attempt.kind,
                    refers_to=attempt.refers_to,
                    reason="changed mind" if attempt.kind != "sale" and attempt.refers_to is None else None,
                    external_id=attempt.external_id,
                )
            except InvalidSale as error:
                if (error.code, old) != ("ID_REUSED", "other"):
                    raise
                return None

        sale = till.run(work)
        checks.check_g9(till, requests)
        look = till.look()
        new = [row.booked for external_id, row in look.sales.items() if external_id not in known]
        assert len(new) <= (0 if old else 1), f"one sale was recorded as {new}"
        for booked in new:
            assert attempt.is_told_by(booked.body), f"meant {attempt}, froze {booked.body!r}"
            till.sales[booked.external_id] = booked
        if sale is not None:
            assert old != "other", "another sale was taken under an old id"
            assert [booked.external_id for booked in new] == ([] if old else [sale.external_id])
            assert (sale.existing, sale.total) == (bool(old), attempt.total)
            till.acknowledged.add(sale.external_id)
        self._check(till, look)

    @rule(
        which=tills,
        number=st.none() | st.integers(0, 20),
        promotion=st.sampled_from([DEAL, DEAL, ODD_DEAL]),
        line=st.integers(0, 1),
    )
    def uses_a_promotion(self, which: int, number: int | None, promotion: str, line: int) -> None:
        till = self.till(which)
        sale = None if number is None or not till.sales else list(till.sales)[number % len(till.sales)]
        bill = None if sale else f"bill-{till.number}-{number}"
        requests, known = till.line.requests, set(till.uses)
        use = till.run(lambda agent: agent.record_usage(promotion, "0.50", sale=sale, line=line, bill_id=bill))
        checks.check_g9(till, requests)
        look = till.look()
        new = {use_id: body for use_id, (body, _) in look.uses.items() if use_id not in known}
        till.uses |= new
        assert len(new) <= 1
        if use is not None:
            assert use.existing == (not new)
            till.acknowledged.add(use.external_id)
        self._check(till, look)

    # ---- syncing ---------------------------------------------------------------------------------------------

    @rule(which=tills)
    def polls(self, which: int) -> None:
        self._sync(self.till(which), poll)

    @rule()
    def all_poll(self) -> None:
        for till in self.tills:
            self._sync(till, poll)

    @rule(which=tills, full=st.sampled_from([False, False, False, True]))
    def syncs(self, which: int, full: bool) -> None:
        self._sync(self.till(which), lambda agent: agent.sync(full=full))

    @rule(which=tills, sale=lines, faults=st.lists(faults, min_size=1, max_size=8), asked=st.booleans())
    def sells_and_syncs_on_a_bad_line(self, which: int, sale: Lines, faults: list[Fault], asked: bool) -> None:
        till = self.till(which)
        self._sell(till, sale, "sale", own_id=False)
        till.line.fail(faults)
        self._sync(till, lambda agent: agent._syncer.run(asked=asked))

    @rule(which=tills, step=steps, number=st.integers(1, 30), after=st.booleans(), again=st.integers(1, 3))
    def dies_while_it_syncs(self, which: int, step: Step, number: int, after: bool, again: int) -> None:
        till = self.till(which)
        for _ in range(again):
            till.fuse.light(step, number, after=after)
            self._sync(till, lambda agent: agent.sync())
        till.fuse.put_out()

    @rule(which=tills, lines=lines, number=st.integers(1, 6), after=st.booleans())
    def dies_while_it_sells(self, which: int, lines: Lines, number: int, after: bool) -> None:
        till = self.till(which)
        till.fuse.light("write", number, after=after)
        self._sell(till, lines, "sale", own_id=True)
        till.fuse.put_out()

    def _sync(self, till: Till, work: Callable[[SimulatedAgent], Any]) -> None:
        requests = till.line.requests
        report = till.run(work)
        errors = report.errors if report is not None else ()
        status = self._check(till, till.look(), errors=errors)
        if status is not None and report is not None and not errors and till.line.requests > requests:
            checks.check_skew(till, status)

    def _check(self, till: Till, look: Look, *, errors: Any = ()) -> dict[str, Any] | None:
        """What must hold after every step; the status, when a process runs that can be asked."""
        checks.check_g1(till, look)
        checks.check_g2(till, look)
        checks.check_g3(till, look)
        checks.check_g4(self.office, self.tills)
        if till.agent is None:
            return None
        requests = till.line.requests
        with till.fuse.resting():
            status = till.agent.status()
        checks.check_g9(till, requests)
        checks.check_g11(till, look, status, errors)
        return status

    # ---- time, the line and the process ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from(SPANS_S))
    def time_passes(self, seconds: int) -> None:
        self.office.pass_time(seconds)

    @rule(which=tills, seconds=st.sampled_from(JUMPS_S), rolls=st.sampled_from([0.0, 0.3, 0.99]))
    def clock_jumps(self, which: int, seconds: int, rolls: float) -> None:
        clock = self.till(which).clock
        clock.jump_s, clock.rolls = seconds, rolls

    @rule(which=tills, fault=faults, times=st.integers(1, 6), good=st.integers(0, 3))
    def line_fails(self, which: int, fault: Fault, times: int, good: int) -> None:
        self.till(which).line.fail([Fault("none")] * good + [fault] * times)

    @rule(which=tills, number=st.integers(0, 5))
    def old_request_arrives(self, which: int, number: int) -> None:
        till = self.till(which)
        if till.line.parcels:
            till.line.arrive_again(number)
            checks.check_g4(self.office, self.tills)

    @rule(which=tills, step=steps, number=st.integers(1, 24), after=st.booleans())
    def process_will_die(self, which: int, step: Step, number: int, after: bool) -> None:
        self.till(which).fuse.light(step, number, after=after)

    @rule(which=tills, what=st.sampled_from(["restart", "idle", "retry"]))
    def someone_at_the_till(self, which: int, what: str) -> None:
        till = self.till(which)
        if what == "restart":
            till.close()
        elif what == "idle":
            till.idle()
        else:
            till.run(lambda agent: agent.retry())
        self._check(till, till.look())

    # ---- head office -----------------------------------------------------------------------------------------

    @rule(dataset=st.sampled_from(DATASETS), number=st.integers(1, 30), what=st.sampled_from(CHANGES))
    def catalogue_changes(self, dataset: str, number: int, what: str) -> None:
        if what == "add":
            self.office.add(dataset, number % 9 + 1)
        else:
            self.office.change(dataset, number, what)

    @rule(change=st.sampled_from(SETTINGS))
    def settings_change(self, change: dict[str, Any]) -> None:
        if "force_update" in change:
            self.office.world.set_force_update(change["force_update"])
        else:
            self.office.world.set_settings(**change)

    @rule(product=st.sampled_from([COLA, WATER, TEA]), quantity=st.sampled_from(["0", "-3", "40.5"]))
    def stock_is_counted(self, product: str, quantity: str) -> None:
        self.office.world.set_stock(product, quantity)

    @rule(what=st.sampled_from([*STRANGE, ODD_DEAL, "access tokens", "all tokens"]))
    def head_office_learns_or_forgets(self, what: str) -> None:
        if what.endswith("tokens"):
            self.office.world.expire_tokens(refresh=what.startswith("all"))
        else:
            self.office.learn(what)

    @rule()
    def head_office_backs_up(self) -> None:
        self.office.back_up()

    @rule(new_epoch=st.booleans())
    def head_office_is_restored(self, new_epoch: bool) -> None:
        self.office.restore(new_epoch)

    @rule(which=tills, sales=st.lists(lines, min_size=1, max_size=5), new_epoch=st.booleans(), more=st.booleans())
    def head_office_loses_what_it_took(self, which: int, sales: list[Lines], new_epoch: bool, more: bool) -> None:
        self.office.back_up()
        till = self.till(which)
        for one in sales:
            self._sell(till, one, "sale", own_id=False)
        self.uses_a_promotion(which, None if more else 20, DEAL, 1)
        self._sync(till, poll)
        self.office.restore(new_epoch)
        if more:
            self._sell(till, sales[0], "sale", own_id=False)
            self._sync(till, poll)

    # ---- healing ---------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None and self.tills:
                self.tally.runs += 1
                for till in self.tills:
                    checks.check_g5(self.office, till)
                self._heal()
        finally:
            for till in self.tills:
                till.forget()
            self.folder.rmdir()

    def _heal(self) -> None:
        """All faults end; from here on nobody is at the keyboard, but to offer again what head office truly refused."""
        for till in self.tills:
            till.fuse.put_out()
            till.line.heal()
            till.clock.jump_s = 0.0
        self.office.mend()
        if any(till.line.words.refused for till in self.tills):
            self._settle(self._check_nothing_blocked)
        self.office.learn_everything()
        for till in self.tills:
            refused = till.look().ids("quarantined")
            if refused:
                assert set(refused) <= till.line.words.refused
                till.run(lambda agent, ids=refused: agent.retry(ids))  # type: ignore[misc]
        try:
            self._settle(self._check_all_agrees)
        finally:
            checks.count(self.tally, self.office, self.tills)
        if self.sold % 3 == 0:  # in some runs is enough: it takes long
            self._check_a_snapshot_changes_nothing()

    def _settle(self, agrees: Callable[[], None]) -> None:
        """Poll with hours in between, until it agrees; at most so often."""
        for number in range(HEALING_POLLS_MAX):
            self.office.pass_time(HEALING_PAUSES_S[number % 2])
            for till in self.tills:
                self._sync(till, poll)
            try:
                agrees()
                return
            except AssertionError:
                if number == HEALING_POLLS_MAX - 1:
                    raise

    def _check_nothing_blocked(self) -> None:
        for till in self.tills:
            checks.check_g7(till, till.look(), self._status(till))

    def _check_all_agrees(self) -> None:
        checks.check_g10(self.office, self.tills)
        checks.check_g8(self.office, self.tills)
        for till in self.tills:
            checks.check_g5(self.office, till)
            checks.check_well(till, self._status(till))

    def _check_a_snapshot_changes_nothing(self) -> None:
        till = self.tills[0]
        before = {dataset: till.catalogue(dataset) for dataset in DATASETS}
        self._sync(till, lambda agent: agent.sync(full=True))
        checks.check_g6(before, {dataset: till.catalogue(dataset) for dataset in DATASETS})

    def _status(self, till: Till) -> dict[str, Any]:
        status = till.run(lambda agent: agent.status())
        assert status is not None
        return status
