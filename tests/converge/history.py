"""One history: what happens at head office and at a till, in which order; made from a seed, played, and made smaller.

A step is a word and numbers, and any numbers will do: so every part of a history is a history as well, and a failure
can be brought down to the few steps it needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.sim.line import ARRIVES, NEVER_ARRIVES, Fault

STEPS_MIN, STEPS_MAX = 4, 26
# What may happen at head office, and how often; the same things happen between two pages of a download.
EDITS = (
    *["edit"] * 14,
    *["pair"] * 5,
    *["delete"] * 5,
    *["batch"] * 4,
    *["late"] * 3,
    *["settings"] * 3,
    *["stock"] * 3,
    *["time"] * 5,
    *["purge"] * 3,
    *["restore"] * 2,
    *["backup"] * 2,
    "store_moves",
    "clear_out",
    "force",
)
AT_THE_TILL = (*["poll"] * 6, *["sync"] * 3, "full", "restart", "brand", "page", "image", "old_image", "lost_file")
FAULTS = (*NEVER_ARRIVES, *(fault for fault in ARRIVES if fault != "twice"), "restored", "restored silently")
PAGES = (1, 2, 3, 5, 8, 13, 20, 50)


@dataclass(frozen=True, slots=True)
class Edit:
    """Something at head office; see ``Office.do``."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a history.

    Args:
        kind: one of EDITS or AT_THE_TILL.
        a, b, c: numbers for it.
        meanwhile: for a cycle: what happens at head office right before its n-th request.
        faults: what the line does to its requests, one after the other.
        death: dies at the n-th ``write`` or ``request``, after it (True) or before.
        power: the death is a power cut: the catalogue's file goes back to what it was before this request of it.
    """

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0
    meanwhile: tuple[tuple[int, Edit], ...] = ()
    faults: tuple[Fault, ...] = ()
    death: tuple[str, int, bool] | None = None
    power: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Where a till begins, what happens, and whether rows that break the contract are mended in the end."""

    page_rows: int
    is_new: bool
    mends: bool
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        lines = [f"page_rows={self.page_rows} is_new={self.is_new} mends={self.mends}"]
        return "\n".join([*lines, *(f"  {_words(step)}" for step in self.steps)])


def _words(step: Step) -> str:
    parts = [step.kind, f"({step.a}, {step.b}, {step.c})"]
    parts += [f"before request {number}: {e.kind}({e.a}, {e.b}, {e.c})" for number, e in step.meanwhile]
    parts += [f"faults: {[fault.kind for fault in step.faults]}"] if step.faults else []
    parts += [f"dies at {step.death}"] if step.death else []
    parts += [f"power cut back to request {step.power}"] if step.power is not None else []
    return " ".join(parts)


def make(seed: int, *, spoils: bool = False) -> History:
    """The history of a seed; with ``spoils``, something changes the catalogue's file behind the agent's back."""
    dice = random.Random(seed)
    kinds = [dice.choice((_edit_step, _at_the_till)) for _ in range(dice.randint(STEPS_MIN, STEPS_MAX))]
    steps = [make_one(dice) for make_one in kinds]
    if dice.random() < 0.4:  # what comes while something else is read is most easily missed by the last cycle
        step = Step("poll", meanwhile=_meanwhile(dice))
        steps += [_edit_step(dice), step]
    for _ in range(dice.randint(1, 3) if spoils else 0):
        spoil = Step("spoil", dice.randrange(1_000), dice.randrange(1_000), dice.randrange(1_000))
        steps.insert(dice.randint(0, len(steps)), spoil)
    return History(dice.choice(PAGES), dice.random() < 0.3, dice.random() < 0.6, tuple(steps))


def _edit_step(dice: random.Random) -> Step:
    edit = _edit(dice)
    return Step(edit.kind, edit.a, edit.b, edit.c)


def _meanwhile(dice: random.Random) -> tuple[tuple[int, Edit], ...]:
    times = sorted(dice.randint(1, 9) for _ in range(dice.randint(1, 3)))
    return tuple((number, _edit(dice)) for number in times)


def _edit(dice: random.Random) -> Edit:
    return Edit(dice.choice(EDITS), dice.randrange(1_000), dice.randrange(1_000), dice.randrange(10_000))


def _at_the_till(dice: random.Random) -> Step:
    step = Step(dice.choice(AT_THE_TILL), dice.randrange(1_000), dice.randrange(1_000), dice.randrange(1_000))
    if step.kind not in ("poll", "sync", "full"):
        return step
    if dice.random() < 0.35:
        step = replace(step, meanwhile=_meanwhile(dice))
    if dice.random() < 0.2:
        good = [Fault("none")] * dice.randint(0, 6)
        bad = [Fault(dice.choice(FAULTS), dice.choice((0, 4, 30, 3_600)))] * dice.randint(1, 4)
        step = replace(step, faults=(*good, *bad))
    if dice.random() < 0.25:
        what = dice.choice(("write", "write", "request"))
        step = replace(step, death=(what, dice.randint(1, 30 if what == "write" else 9), dice.random() < 0.5))
        if dice.random() < 0.3:
            step = replace(step, power=dice.randint(1, 6))
    return step


def smaller(history: History, fails: Callable[[History], bool]) -> History:
    """The same failure in fewer steps: leaves out what it does not need, in large parts first."""
    size = len(history.steps) // 2
    while size:
        at = 0
        while at < len(history.steps):
            shorter = replace(history, steps=history.steps[:at] + history.steps[at + size :])
            if fails(shorter):
                history = shorter
            else:
                at += size
        size //= 2
    for number in range(len(history.steps)):
        for step in _plainer(history.steps[number]):
            plainer = replace(history, steps=(*history.steps[:number], step, *history.steps[number + 1 :]))
            if fails(plainer):
                history = plainer
    return history


def _plainer(step: Step) -> Iterator[Step]:
    if step.meanwhile:
        yield replace(step, meanwhile=())
        yield from (replace(step, meanwhile=(one,)) for one in step.meanwhile if len(step.meanwhile) > 1)
    if step.faults:
        yield replace(step, faults=())
    if step.power is not None:
        yield replace(step, power=None)
    if step.death:
        yield replace(step, death=None, power=None)
