"""Plays a history on one office and one till, looks at every step, ends all faults, and counts what then differs."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_agent.settings import Settings
from tests.sim.death import Engine

from . import truth
from .history import PAGES, History, Step
from .office import BRANDS, DATASETS, STORE, Office
from .till import SimulatedAgent, Till, make_template

NEW, SYNCED = "new", "synced"
HOUR_S = 3_600
OWN_WAIT_S = 310  # longer than any wait of the agent's own; nothing that is merely scheduled comes due in it
NATIVE_POLLS_MAX = 10  # in which head office may say that a place was lost, or that it was restored
POLL_S = 60
POLL_HOURS = 5
SNAPSHOT_HOURS = 25
DAYS_MAX = 5  # a hold that goes on while more is missing takes twice as long
LOOKED_AT_HOURS = 30  # each row here is looked at once a day, when digests are compared
VERIFIED_S = 6 * HOUR_S  # digests are compared so often
READ_ALONG = 2  # changes that come while changes are read are read along so often


@dataclass(slots=True)
class Tally:
    """What all histories together came to; lost, doubled and stuck must be 0.

    ``late``: it took longer, as it may: the next comparison of digests after a restore that head office kept silent
    about; a second snapshot for rows that went back in time, or three for a sweep of more than half (baseline).
    """

    runs: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    cycles: int = 0
    requests: int = 0
    late: int = 0
    edits: int = 0
    deaths: int = 0
    snapshots: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def add(self, count: truth.Count) -> None:
        """Add what a healed till came to."""
        self.lost += count.lost
        self.doubled += count.doubled
        self.stuck += count.stuck


class Diverged(AssertionError):
    """After all faults ended, the till's catalogue is not head office's."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What all histories share: head office, what kills processes, and the homes that tills begin with."""

    folder: Path
    office: Office
    engine: Engine
    settings: Settings
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def till(self, *, is_new: bool, page_rows: int) -> Till:
        """A till: one that was only set up, or one that has synced."""
        home = self.folder / f"till-{next(self.numbers)}"
        shutil.copytree(self.folder / (NEW if is_new else SYNCED), home)
        return Till(home, self.office, self.engine, replace(self.settings, page_rows=page_rows))


def make_stage(folder: Path, office: Office, engine: Engine) -> Stage:
    """Make the homes; head office begins with their tokens from now on."""
    settings = make_template(folder / NEW, office)
    office.keep()
    shutil.copytree(folder / NEW, folder / SYNCED)
    till = Till(folder / SYNCED, office, engine, settings)
    report = till.run(_poll)
    assert not report.errors, report.errors
    till.close()
    return Stage(folder, office, engine, settings)


class Play:
    """One history on a fresh till.

    Args:
        stage: what all histories share.
        tally: what is counted.
    """

    till: Till

    def __init__(self, stage: Stage, tally: Tally) -> None:
        self.stage = stage
        self.office = stage.office
        self.tally = tally
        self.copies = stage.folder / "copies"
        self._before: dict[str, truth.Held] = {}
        self._pair_was_one = True
        self._disturbed = False
        self._asked_to_wait_s = 0
        self._was_spoilt = False

    def run(self, history: History) -> None:
        """Play it.

        Raises:
            AssertionError: something did not hold; :class:`Diverged` when the end is not equal.
        """
        self.office.reset()
        self.copies.mkdir()
        self.tally.runs += 1
        self.till = self.stage.till(is_new=history.is_new, page_rows=history.page_rows)
        try:
            for step in history.steps:
                self._step(step)
            self._heal(mends=history.mends)
        finally:
            self.till.forget()
            shutil.rmtree(self.copies)

    # ---- one step --------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        if step.kind in ("poll", "sync", "full"):
            self._cycle(step)
        elif hasattr(self, f"_{step.kind}"):
            getattr(self, f"_{step.kind}")(step)
        else:
            self.tally.edits += 1
            self.office.do(step.kind, step.a, step.b, step.c)

    def _cycle(self, step: Step) -> Any:
        """One cycle with all that befalls it; its report, None when the process died."""
        till, line = self.till, self.till.line
        self._before = till.look()
        # What head office refuses of a delta comes later than the rest; and nobody waits for one that never rests.
        self._disturbed = bool(step.faults) or len(step.meanwhile) > READ_ALONG
        line.asked.clear()
        line.snapshots = 0
        line.fail(step.faults)
        self._asked_to_wait_s = max([self._asked_to_wait_s, *(one.seconds for one in step.faults)])
        line.before = lambda number: self._meanwhile(step, number)
        if step.death is not None:
            till.line.fuse.light(step.death[0], step.death[1], after=step.death[2])  # type: ignore[arg-type]
        report = till.run(_WORK[step.kind])
        died = report is None
        till.line.fuse.put_out()
        line.heal()
        line.before = None
        self.tally.cycles += 1
        self.tally.requests += len(line.asked)
        self.tally.deaths += died
        self.tally.snapshots += line.snapshots
        for error in report.errors if report is not None else ():
            self.tally.seen[error.code] = self.tally.seen.get(error.code, 0) + 1
        copy = self.copies / "power"
        if step.power is not None and copy.exists():
            till.lose_power(copy)
            copy.unlink()
            self._before = till.look()
        self._check(moved_by_us=step.power is not None)
        return report

    def _meanwhile(self, step: Step, number: int) -> None:
        """Right before a request: others edit, and the till's screen is read."""
        for at, edit in step.meanwhile:
            if at == number:
                self.tally.edits += 1
                self.office.do(edit.kind, edit.a, edit.b, edit.c)
        if step.power == number:
            self.till.copy_catalogue(self.copies / "power")
        if number % 3 == 0 and not self.till.line.fuse.dead:
            with self.till.line.fuse.resting():
                self.till.read()
            self._check_pair()

    def _check(self, *, moved_by_us: bool = False) -> None:
        """What must hold after every step."""
        if self._was_spoilt:
            return
        held = self.till.look()
        self._check_pair(held)
        for dataset in DATASETS:
            truth.check_never_had(self.office, held[dataset], dataset)
            if self.office.profile == "native":
                if not self.office.silent:
                    truth.check_cursor(self.office, dataset, self.till.brand, held[dataset])
                if not moved_by_us:
                    truth.check_forward(dataset, self._before[dataset], held[dataset])
        tags = truth.pair_tags(held)
        self._pair_was_one = tags[0] == tags[1]
        if self.till.agent is not None:
            self.till.read()
            self.till.agent.status()

    def _check_pair(self, held: dict[str, truth.Held] | None = None) -> None:
        """G6: a price and its promotion change together, when a small delta brings both from one transaction."""
        if self._was_spoilt:
            return
        if self.office.profile != "native" or self._disturbed or not self._pair_was_one or self.till.line.snapshots:
            return
        held = held or self.till.look()
        if any(one.in_snapshot or self._before[name].in_snapshot for name, one in held.items()):
            return
        product, deal = truth.pair_tags(held)
        assert product == deal, f"the price is of change {product}, its promotion of change {deal}"

    # ---- at the till -----------------------------------------------------------------------------------------

    def _restart(self, step: Step) -> None:
        self.till.close()

    def _brand(self, step: Step) -> None:
        """Someone sets the till's brand."""
        self.till.reopen(brand_id=BRANDS[1 + step.a % 2])

    def _page(self, step: Step) -> None:
        self.till.reopen(page_rows=PAGES[step.a % len(PAGES)])

    def _image(self, step: Step) -> None:
        """Someone keeps an image of the disk."""
        self.till.run(lambda agent: None)
        self.till.copy_catalogue(self.copies / "image")

    def _old_image(self, step: Step) -> None:
        """The catalogue's file comes back from an image, while the journal stays."""
        if (self.copies / "image").exists():
            self.till.lose_power(self.copies / "image")
            self._pair_was_one = False

    def _lost_file(self, step: Step) -> None:
        self.till.lose_power(None)

    def _spoil(self, step: Step) -> None:
        """Something changes the catalogue's file behind the agent's back."""
        self._was_spoilt = self.till.spoil(DATASETS[step.a % 3], step.b, step.c) or self._was_spoilt

    # ---- the end ---------------------------------------------------------------------------------------------

    def _heal(self, *, mends: bool) -> None:
        """All faults end; from here on nobody is at the keyboard."""
        if mends:
            self.office.mend()
        self.office.unblock()
        brand = (self.office.world.store(STORE) or {})["brand_id"] or self.till.brand
        if brand != self.till.brand:
            self.till.reopen(brand_id=brand)
        self.office.pass_time(OWN_WAIT_S + self._asked_to_wait_s)
        if self.office.profile == "native":
            self._end_natively()
        else:
            self._end_by_snapshots()
        count = self._difference()
        self.tally.add(count)
        if count.total:
            raise Diverged(self._words(count))

    def _end_natively(self) -> None:
        """Through the next cycle that works; what a till can't know of then is found by digests."""
        self._poll_until_it_works()
        if self._was_spoilt:
            self._poll_for_hours(LOOKED_AT_HOURS)
        if self.office.silent and self._difference().total:
            # Nothing but the digest shows that a life was lost, when head office says no word about it.
            self.tally.late += 1
            self.office.pass_time(VERIFIED_S)
            self._poll_until_it_works()

    def _end_by_snapshots(self) -> None:
        """Through the next day's snapshots, and those that a held sweep or an older row waits for."""
        self._poll_for_hours(SNAPSHOT_HOURS)
        for _ in range(DAYS_MAX):
            if not self._may_wait_for_another_snapshot():
                break
            self.tally.late += 1
            self._poll_for_hours(SNAPSHOT_HOURS)

    def _may_wait_for_another_snapshot(self) -> bool:
        """A large sweep waits for two more snapshots; rows older than ours, as after a restore, for one."""
        is_held = any(one.held for one in self.till.look().values())
        may_be_older = self.office.went_back or self._was_spoilt
        return is_held or (may_be_older and self._difference().total > 0)

    def _poll_until_it_works(self) -> None:
        """To the very next cycle that succeeds (G10)."""
        errors = []
        for _ in range(NATIVE_POLLS_MAX):
            report = self._cycle(Step("poll"))
            if not report.errors and report.in_touch:
                return
            errors.append(report.errors)
            self.office.pass_time(POLL_S)
        self.tally.stuck += 1
        raise Diverged(f"no cycle succeeds: {errors}")

    def _poll_for_hours(self, hours: int) -> None:
        """Through the next scheduled snapshots; a till polls each minute, here less often."""
        for _ in range(0, hours, POLL_HOURS):
            self.office.pass_time(POLL_HOURS * HOUR_S)
            self._cycle(Step("poll"))

    def _difference(self) -> truth.Count:
        held = self.till.look()
        total = truth.Count()
        for dataset in DATASETS:
            one = truth.difference(self.office, dataset, self.till.brand, held[dataset])
            total = truth.Count(total.lost + one.lost, total.doubled + one.doubled, total.stuck + one.stuck)
        mine, theirs = self.till.stock(), truth.expected_stock(self.office)
        total.lost += len(theirs.keys() - mine.keys())
        total.doubled += len(mine.keys() - theirs.keys())
        total.stuck += sum(mine[one] != theirs[one] for one in mine.keys() & theirs.keys())
        return total

    def _words(self, count: truth.Count) -> str:
        held = self.till.look()
        said = [f"lost {count.lost}, doubled {count.doubled}, stuck {count.stuck}"]
        for dataset in DATASETS:
            theirs = truth.expected(self.office, dataset, self.till.brand)
            one = held[dataset]
            said.append(
                f"{dataset}: {truth.words(one.rows, theirs)} refused {sorted(one.refused)} in_snapshot "
                f"{one.in_snapshot} held {one.held} cursor {truth.place(one.cursor) if one.cursor else None}"
                if self.office.profile == "native"
                else f"{dataset}: {truth.words(one.rows, theirs)} refused {sorted(one.refused)} held {one.held}"
            )
        said.append(f"stock: {self.till.stock()} for {truth.expected_stock(self.office)}")
        return "\n".join(said)


def _poll(agent: SimulatedAgent) -> Any:
    return agent._syncer.run(asked=False)


_WORK: dict[str, Callable[[SimulatedAgent], Any]] = {
    "poll": _poll,
    "sync": lambda agent: agent.sync(),
    "full": lambda agent: agent.sync(full=True),
}
