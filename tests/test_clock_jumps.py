"""The device's clock jumps: an hour back, six hours ahead, 26 years ahead and home again; its monotonic one does not.

Time passes for everybody (`passes`), or the device's clock alone goes wrong (`jumps`); head office's `Date` is always
the true one. Nothing is lost or doubled, nothing waits for years, and nobody asks head office more often for it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from edge_agent import EdgeAgent, Item, Payment
from edge_agent.clock import Clock
from edge_agent.domain.calendar import business_date
from edge_agent.setup import set_up
from ho_stub.testing import HeadOffice

FAULT = "clock jumps"
HOUR_S = 3600.0
YEARS_26_S = 26 * 365.25 * 24 * HOUR_S
JUMPS_S = (-HOUR_S, 6 * HOUR_S, YEARS_26_S, -YEARS_26_S)
SESSIONS, SESSIONS_LONG, STEPS = 4, 150, 40
POLLS_MAX = 30  # with an hour between: a day's Retry-After, and no more
REQUESTS_A_POLL_MAX = 24  # every step of a cycle once, and one of them with its quick retries
COLA = "00000006-0000-4000-8000-000000000000"
DEAL = "00000009-0000-4000-8000-000000000000"
PRICE = "7500.00"
ZONE, DAY_START = ZoneInfo("Asia/Jakarta"), dt.time(4)
NEAR = dt.timedelta(seconds=4)  # HTTP dates are whole seconds, and small differences are not learned


class JumpingClock(Clock):
    """Real time; `passed_s` came on top for everybody, `wrong_s` is how far this device's clock is off."""

    def __init__(self, dice: random.Random | None = None) -> None:
        self.passed_s = 0.0
        self.wrong_s = 0.0
        self._dice = dice

    def passes(self, seconds: float = 0, *, hours: float = 0) -> None:
        """Time goes by."""
        self.passed_s += seconds + hours * HOUR_S

    def jumps(self, seconds: float) -> None:
        """The device's clock is set; no time goes by, and the monotonic clock does not notice."""
        self.wrong_s += seconds

    def is_set_right(self) -> None:
        self.wrong_s = 0.0

    def true_now(self) -> dt.datetime:
        return super().now() + dt.timedelta(seconds=self.passed_s)

    def now(self) -> dt.datetime:
        return self.true_now() + dt.timedelta(seconds=self.wrong_s)

    def now_ms(self) -> int:
        return super().now_ms() + int((self.passed_s + self.wrong_s) * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.passed_s

    def elapsed_s(self) -> float:
        return self.monotonic_s()

    def boot_id(self) -> str:
        return "the boot of this test"

    def sleep(self, seconds: float) -> None:
        self.passes(seconds)

    def dice(self) -> float:
        return self._dice.random() if self._dice else 0.5


class TrueDates(httpx.HTTPTransport):
    """The real line, with head office's clock showing the true time; counts requests."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__()
        self._clock = clock
        self.requests = 0
        self.dates = True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        response = super().handle_request(request)
        if self.dates:
            response.headers["date"] = format_datetime(self._clock.true_now(), usegmt=True)
        return response


@dataclass
class Device:
    """A device whose clock can't be trusted, its head office, and what both should hold."""

    home: Path
    office: HeadOffice
    clock: JumpingClock
    settings: Any
    recorded: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    stuck: int = 0

    def __post_init__(self) -> None:
        self.line = TrueDates(self.clock)
        self.agent = self._open()

    def _open(self) -> EdgeAgent:
        return EdgeAgent(self.home, self.settings, clock=self.clock, transport=self.line)

    def restart(self) -> None:
        self.agent.close()
        self.line = TrueDates(self.clock)
        self.agent = self._open()

    # ---- what it does, and what must be true of it -------------------------------------------------------------

    def record(self, *, usage: bool = False) -> None:
        """A sale; its time is the clock's, its business date head office's, however far the clock jumped."""
        self.clock.passes(2)  # what is known of head office may be a second old
        sale = self.agent.record_sale([Item(COLA, "1", PRICE)], [Payment("cash", PRICE)])
        record = self.agent.sale_record(sale.external_id)
        assert record is not None
        fields = json.loads(record.body or b"{}")
        if sale.external_id in self.recorded:
            self.faults.append(f"the id {sale.external_id} was given twice")
        self.recorded[sale.external_id] = sale.business_date
        stamped = dt.datetime.fromisoformat(fields["client_timestamp"])
        if abs(stamped - self.clock.now()) > NEAR:
            self.faults.append(f"stamped {stamped}, but the clock says {self.clock.now()}")
        local = self.clock.true_now().astimezone(ZONE)
        days = {business_date(local + nearly, DAY_START).isoformat() for nearly in (-NEAR, NEAR)}
        if sale.business_date not in days:
            self.faults.append(f"business date {sale.business_date}, expected {days}")
        if usage:
            self.agent.record_usage(DEAL, "500.00", sale=sale)

    def poll(self) -> int:
        """A cycle as the loop runs it, with nobody at the keyboard; how many requests it took."""
        asked, waiting = self.line.requests, self.waiting()
        self.agent._syncer.run(asked=False)
        asked = self.line.requests - asked
        if asked > REQUESTS_A_POLL_MAX + waiting:  # a lane that made no progress for long goes one by one
            self.faults.append(f"one poll took {asked} requests")
        return asked

    def drain(self, when: str) -> None:
        """Hours go by with head office in order: the outbox empties."""
        self.office.intercept, self.office.drop_after_commit = None, 0
        self.office.start()
        for _ in range(POLLS_MAX):
            if not self.waiting():
                return
            self.clock.passes(hours=1)
            self.poll()
        if self.waiting():
            self.stuck += self.waiting()
            lanes = [self.agent._outbox.lane(name) for name in ("sales", "usages", "pull")]
            self.faults.append(f"{when}, {self.waiting()} still wait: {lanes} at {self.clock.now_ms()}")

    def waiting(self) -> int:
        status = self.agent.status()
        return int(status["pending"]) + int(status["quarantined"])

    def check_books(self) -> None:
        """Head office's ledger is the journal's, each sale once, each number once, each business day as recorded."""
        taken = [sale for sale in self.office.world.sales() if sale["state"] == "accepted"]
        held = Counter(sale["external_id"] for sale in taken)
        places = Counter((sale["journal_id"], sale["device_seq"]) for sale in taken)
        lost = [one for one in self.recorded if self.agent.sale(one) is None or not held[one]]
        self.lost += len(lost)
        self.doubled += sum(count - 1 for count in (*held.values(), *places.values()))
        if {sale["external_id"]: sale["business_date"] for sale in taken} != self.recorded:
            self.faults.append(f"head office's ledger differs; it never had {lost}")
        numbers = sorted(
            line.device_seq for line in self.agent.outbox(state="delivered", limit=10**6) if line.device_seq
        )
        if numbers != list(range(1, len(self.recorded) + 1)):
            self.faults.append(f"the numbers have a gap: {numbers}")
        if len({journal_id for journal_id, _ in places}) > 1:
            self.faults.append("a clock that jumps is no reason for another journal_id")


def fails(device: Device, dice: random.Random) -> None:
    """Head office, or the line to it, is out of order in one way or another; or in order."""
    office = device.office
    office.intercept, office.drop_after_commit = None, 0
    office.start()
    asked_s = dice.choice((100, 7_000))
    until = device.clock.true_now() + dt.timedelta(seconds=asked_s)
    kind = dice.choice(("fine", "fine", "down", "broken", "busy", "busy until", "loses answers"))
    if kind == "down":
        office.stop()
    elif kind == "broken":
        office.intercept = lambda method, path: (500, {}, {"error": "out of order"})
    elif kind == "busy":
        office.intercept = lambda method, path: (429, {"Retry-After": str(asked_s)}, {"error": "busy"})
    elif kind == "busy until":
        date = format_datetime(until, usegmt=True)
        office.intercept = lambda method, path: (503, {"Retry-After": date}, {"error": "busy"})
    elif kind == "loses answers":
        office.drop_after_commit = 3


def hammer(device: Device) -> None:
    """Ten polls in one moment: whatever the clock says, a head office that fails is not asked ten times."""
    taken = sum(device.poll() for _ in range(10))
    if taken > 2 * REQUESTS_A_POLL_MAX + device.waiting():
        device.faults.append(f"ten polls in one moment took {taken} requests")


def play(device: Device, dice: random.Random, steps: int) -> None:
    """A session of sales, good and bad cycles, restarts, hours going by, and a clock that jumps at any moment."""
    actions: dict[str, Callable[[], object]] = {
        "sell": device.record,
        "sell with a promotion": lambda: device.record(usage=True),
        "poll": device.poll,
        "something fails": lambda: fails(device, dice),
        "polls in one moment": lambda: hammer(device),
        "jump": lambda: device.clock.jumps(dice.choice(JUMPS_S)),
        "set right": device.clock.is_set_right,
        "minutes pass": lambda: device.clock.passes(dice.uniform(1, 1_000)),
        "hours pass": lambda: device.clock.passes(hours=dice.uniform(0.5, 9)),
        "restart": device.restart,
    }
    weights = (6, 2, 6, 3, 1, 4, 1, 3, 2, 1)
    for _ in range(steps):
        name = dice.choices(list(actions), weights)[0]
        before = len(device.faults)
        actions[name]()
        for number in range(before, len(device.faults)):
            off = dt.timedelta(seconds=device.clock.wrong_s)
            device.faults[number] = f"{name}, with the clock off by {off}: {device.faults[number]}"


@pytest.fixture
def make_device(
    tmp_path: Path,
    make_office: Callable[..., HeadOffice],
    make_settings_for: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Device]:
    """A device in sync, with a clock of its own."""
    monkeypatch.setattr("edge_agent.head_office.client.QUICK_WAIT_MAX_S", 0.0)  # the test waits for no jitter

    def make(clock: JumpingClock, profile: str = "native", **more: Any) -> Device:
        office = make_office(profile=profile)
        settings = make_settings_for(office, currency="IDR", timezone="Asia/Jakarta", day_start="04:00", **more)
        home = tmp_path / f"home-{len(list(tmp_path.iterdir()))}"
        set_up(home, settings, office.password, clock)
        device = Device(home, office, clock, settings)
        assert not device.agent.sync().errors
        return device

    return make


def run_sessions(make_device: Callable[..., Device], evidence: Callable[..., None], count: int) -> None:
    seed = int(os.environ.get("CLOCK_SEED", random.SystemRandom().randrange(10**6)))
    lost = doubled = stuck = 0
    faults: list[str] = []
    for number in range(count):
        print(f"CLOCK_SEED={seed + number}")
        dice = random.Random(seed + number)
        device = make_device(JumpingClock(dice))
        try:
            play(device, dice, STEPS)
            device.record()
            device.drain("with the clock still wrong")
            device.clock.is_set_right()
            device.record(usage=True)
            device.drain("with the clock right again")
            device.check_books()
        finally:
            device.agent.close()
            device.office.close()
        lost, doubled, stuck = lost + device.lost, doubled + device.doubled, stuck + device.stuck
        faults += [f"CLOCK_SEED={seed + number}: {fault}" for fault in device.faults]
    evidence(FAULT, count, lost=lost, doubled=doubled, stuck=stuck)
    assert not faults, "\n".join(faults)
    assert (lost, doubled, stuck) == (0, 0, 0)


def test_a_clock_that_jumps_loses_nothing_and_asks_no_more(
    make_device: Callable[..., Device], evidence: Callable[..., None]
) -> None:
    """Wherever the clock jumps, the outbox empties within a day, each sale once, without a flood (G1, G4, G10)."""
    run_sessions(make_device, evidence, SESSIONS)


@pytest.mark.parametrize("ahead", ["hours pass", "the clock jumps"])
def test_what_is_due_by_the_clock_is_no_flood_while_head_office_fails(
    make_device: Callable[..., Device], ahead: str
) -> None:
    """What falls due by the clock (receipts, snapshots) is asked for once and then waits, while head office fails."""
    device = make_device(JumpingClock())
    device.record()
    device.poll()
    if ahead == "hours pass":
        device.clock.passes(hours=7)
    else:
        device.clock.jumps(YEARS_26_S)
    device.office.intercept = lambda method, path: (500, {}, {"error": "out of order"})
    hammer(device)
    device.agent.close()
    assert not device.faults, device.faults


@pytest.mark.slow
def test_a_clock_that_jumps_a_hundred_times_over(
    make_device: Callable[..., Device], evidence: Callable[..., None]
) -> None:
    """The same, far more often."""
    run_sessions(make_device, evidence, SESSIONS_LONG)


# ---- the loop, in real time ----------------------------------------------------------------------------------------


def grows_to(requests: list[Any], count: int, *, within_s: float) -> int:
    """How many requests there are after a while, or as soon as there are ``count``."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if len(requests) >= count:
            break
        pause.wait(0.02)
    return len(requests)


def test_a_loop_lives_through_every_jump(
    make_device: Callable[..., Device], wait_until: Callable[..., None], evidence: Callable[..., None]
) -> None:
    """Right after each jump, there and back, the loop still brings a sale up, and asks no more than once a poll."""
    device = make_device(JumpingClock(), poll_interval_s=1)
    office, clock = device.office, device.clock
    device.agent.start()
    jumps_s = [jump for there in JUMPS_S for jump in (there, -there)]
    for number, jump in enumerate(jumps_s, 1):
        clock.jumps(jump)
        device.record()
        wait_until(lambda number=number: office.world.sale_count() == number)
        wait_until(lambda: device.agent.status()["pending"] == 0)
        if number % 2:  # and with no sale to wake it
            office.clear_requests()
            wait_until(lambda: len(office.requests) >= 1)
            assert grows_to(office.requests, 20, within_s=0.3) < 20
    assert device.agent.stop()
    device.check_books()
    evidence(FAULT, len(jumps_s), lost=device.lost, doubled=device.doubled, stuck=0)
    assert (device.lost, device.doubled) == (0, 0)
    device.agent.close()


@pytest.mark.parametrize("jump", [*JUMPS_S, -25 * HOUR_S])
def test_a_loop_comes_back_though_the_clock_jumped_while_head_office_was_away(
    make_device: Callable[..., Device], wait_until: Callable[..., None], evidence: Callable[..., None], jump: float
) -> None:
    """A wait that was noted by another clock is over in bounded time: hours that pass, never years (G10)."""
    device = make_device(JumpingClock(), poll_interval_s=1)
    office, clock = device.office, device.clock
    office.intercept = lambda method, path: (429, {"Retry-After": "3000"}, {"error": "busy"})
    device.agent.start()
    device.record()
    wait_until(lambda: device.agent._outbox.lane("sales").failures > 0)
    clock.jumps(jump)
    office.intercept = None
    device.agent._background.wake()
    for _ in range(POLLS_MAX):
        clock.passes(hours=1)
        device.agent._background.wake()
        for _ in range(5):
            if device.waiting():
                grows_to(office.requests, len(office.requests) + 1, within_s=0.3)
    assert device.agent.stop()
    stuck = device.waiting()
    device.check_books()
    evidence(FAULT, 1, lost=device.lost, doubled=device.doubled, stuck=stuck)
    assert (device.lost, device.doubled, stuck) == (0, 0, 0), device.faults
    device.agent.close()


def test_a_loop_is_no_flood_when_a_failing_head_office_meets_a_jumping_clock(
    make_device: Callable[..., Device], wait_until: Callable[..., None]
) -> None:
    """Each jump may cost one more try of what waited, and not a stream of them."""
    device = make_device(JumpingClock(), poll_interval_s=3600)
    office, clock = device.office, device.clock
    office.intercept = lambda method, path: (500, {}, {"error": "out of order"})
    device.agent.start()
    device.record(usage=True)
    wait_until(lambda: device.agent._outbox.lane("sales").failures > 0)
    for jump in JUMPS_S:
        office.clear_requests()
        clock.jumps(jump)
        for _ in range(20):
            device.record()
        assert grows_to(office.requests, REQUESTS_A_POLL_MAX, within_s=0.5) < REQUESTS_A_POLL_MAX
    assert device.agent.stop()
    device.agent.close()


def test_a_clock_years_ahead_ages_nothing(make_device: Callable[..., Device]) -> None:
    """Sales of this hour keep their bytes when the clock is 26 years ahead for a while: head office may yet ask."""
    device = make_device(JumpingClock())
    for _ in range(20):
        device.record(usage=True)
    device.restart()  # closing does what was left for idle moments
    for _ in range(2):  # head office has them, its receipts say so, and its stock figures contain them
        device.poll()
        device.clock.passes(hours=7)
    device.agent.sync()
    device.clock.jumps(YEARS_26_S)
    for _ in range(3):
        device.clock.passes(hours=7)
        device.record()
        device.restart()
        device.poll()
        device.agent.sync()
    device.clock.is_set_right()
    device.poll()
    for external_id in device.recorded:
        record = device.agent.sale_record(external_id)
        assert record is not None
        assert record.body is not None, "retention went by a clock that was wrong"
    device.agent.close()


# ---- head office's time on this device -----------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [*JUMPS_S, -50 * YEARS_26_S / 26])
def test_promotions_and_business_dates_go_by_head_offices_time_right_after_a_jump(
    make_device: Callable[..., Device], jump: float
) -> None:
    """Offline, and in the moment the clock jumps: the same promotions, the same business date, and a finding."""
    device = make_device(JumpingClock())
    device.clock.passes(hours=(36 - device.clock.true_now().astimezone(ZONE).hour) % 24)  # noon, far from any midnight
    now = device.clock.true_now().astimezone(ZONE)
    window = {"start_date": now.date().isoformat(), "end_date": now.date().isoformat()}
    for promotion_id, spread in (("for now", 1), ("for then", 90)):
        begins, ends = (now + dt.timedelta(minutes=minutes) for minutes in (spread - 31, spread + 29))
        hours = {"time_start": f"{begins:%H:%M}", "time_end": f"{ends:%H:%M}"}
        device.office.world.edit("promotions", DEAL, name=promotion_id, validity={**window, **hours})
        assert not device.agent.sync().errors
        before = [one.id for one in device.agent.catalog.promotions()]
        assert (DEAL in before) is (promotion_id == "for now")
        day = device.agent.business_date()
        device.office.stop()
        device.clock.jumps(jump)
        assert abs(device.agent.now() - device.clock.true_now()) < NEAR
        assert [one.id for one in device.agent.catalog.promotions()] == before
        assert device.agent.business_date() == day
        assert "clock skew" in {one.kind for one in device.agent.health().findings}
        device.clock.is_set_right()
        assert "clock skew" not in {one.kind for one in device.agent.health().findings}
        assert device.agent.status()["clock_offset_ms"] == 0
        device.office.start()
    device.agent.close()


@pytest.mark.parametrize("jump", [*JUMPS_S])
def test_a_process_opened_after_a_jump_knows_head_offices_time(make_device: Callable[..., Device], jump: float) -> None:
    """What was measured belongs to a boot: in the same boot another process goes on from there, without a line."""
    device = make_device(JumpingClock())
    device.office.stop()
    device.clock.jumps(jump)
    device.restart()
    assert abs(device.agent.now() - device.clock.true_now()) < NEAR
    clock = device.agent.status()["clock"]
    assert abs(clock["offset_ms"] + jump * 1000) < NEAR / dt.timedelta(milliseconds=1)
    assert clock["samples"] >= 1
    device.agent.close()


def test_an_empty_battery_is_no_return_to_1970(
    make_device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a boot with an empty battery it is at least as late as it was; a clock that is set right is believed."""
    device = make_device(JumpingClock())
    device.office.stop()
    last = device.agent.now()
    monkeypatch.setattr(JumpingClock, "boot_id", lambda self: "another boot")
    device.clock.jumps(-device.clock.now().timestamp())
    device.restart()
    device.clock.passes(hours=1)
    assert dt.timedelta(minutes=59) < device.agent.now() - last < dt.timedelta(minutes=61)
    device.clock.is_set_right()
    assert abs(device.agent.now() - device.clock.true_now()) < NEAR
    device.agent.close()


def test_a_clock_that_jumps_is_remembered_once(
    make_device: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One jump is one write; the cycles before and after it write nothing, but for the night's work at its time."""
    monkeypatch.setattr("edge_agent.nightly.Nightly.run_if_due", lambda *_, **__: None)
    device = make_device(JumpingClock())
    device.poll()

    def facts() -> tuple[int, str | None]:
        store = device.agent._store
        return store.database.connection.execute("PRAGMA data_version").fetchone()[0], store.meta("clock_fix")

    writes = 0
    for step in range(6):
        before = facts()[1], device.agent._store.database.connection.total_changes
        if step == 3:
            device.clock.jumps(-HOUR_S)
        device.clock.passes(100)
        device.poll()
        writes += before != (facts()[1], device.agent._store.database.connection.total_changes)
    assert writes == 1
    assert device.agent.status()["clock"]["jumped_at"] is not None
    device.agent.close()


@pytest.mark.parametrize("kind", ["a portal's page", "a proxy's error", "an answer out of a proxy's memory"])
def test_the_date_of_something_else_is_not_head_offices(make_device: Callable[..., Device], kind: str) -> None:
    """Only what can be head office's own answer moves the clock."""
    device = make_device(JumpingClock())
    wrong = {"Date": "Fri, 31 Dec 2049 23:59:59 GMT"}
    answers: dict[str, Any] = {
        "a portal's page": (200, wrong, "<html>log in</html>"),
        "a proxy's error": (502, wrong, {"error": "bad gateway"}),
        "an answer out of a proxy's memory": (200, {**wrong, "Age": "77"}, {"version": 1}),
    }
    device.line.dates = False
    device.office.intercept = lambda method, path: answers[kind]
    for _ in range(3):
        device.clock.passes(100)
        device.agent.sync()
    assert abs(device.agent.now() - device.clock.true_now()) < NEAR
    device.agent.close()
