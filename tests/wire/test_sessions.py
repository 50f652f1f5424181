"""Shops live through random faults of the wire; when these end, head office's books are the journal's, once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.faults import FAMILIES, FAULTS, SLOW
from tests.wire.middleman import Fault, Request
from tests.wire.shop import CLEAN, IMPATIENT, Count, Shop

Make = Callable[..., Any]
STEPS = 8
SLOW_SHARE = 0.02  # each slow fault waits for a real time limit
QUICK_TRIALS = 1
QUICK_MIXED = 2
SLOW_TRIALS = 12
SLOW_MIXED = 60
PAUSES_S = (0.5, 30.0, 400.0, 3_000.0)
# A baseline head office that answers a single sale with 403 has refused that sale (contract, section 5).
A_REFUSAL = {("forbidden_403", "POST sales")}


def plan_of(dice: random.Random, names: list[str], rate: float, profile: str) -> Callable[[Request], Fault | None]:
    """A fault for some of the exchanges."""
    quick = [name for name in names if name not in SLOW]
    slow = [name for name in names if name in SLOW]

    def plan(request: Request) -> Fault | None:
        if dice.random() >= rate:
            return None
        name = dice.choice(slow if slow and (not quick or dice.random() < SLOW_SHARE) else quick)
        return None if profile == "baseline" and (name, request.route) in A_REFUSAL else FAULTS[name]

    return plan


def trade(shop: Shop, dice: random.Random) -> None:
    """Some sales, refunds and uses of promotions; now and then head office edits its catalogue."""
    till, world = shop.till, shop.till.office.world
    for _ in range(dice.randrange(5)):
        product = dice.choice([till.cola, till.water, till.bread])
        refunded = dice.choice([*shop.recorded, None])
        quantity, price = f"{dice.randrange(1, 4000) / 1000:.3f}", f"{dice.randrange(1, 90_000) / 100:.2f}"
        if refunded is not None and dice.random() < 0.2:
            shop.sell(product, quantity, price, kind=dice.choice(["refund", "void"]), refers_to=refunded)
            continue
        sale = shop.sell(product, quantity, price)
        if dice.random() < 0.4:
            shop.use(sale=sale)
    if dice.random() < 0.3:
        shop.use(bill_id=f"B-{len(shop.used)}")
    if dice.random() < 0.4:
        world.edit("products", dice.choice([till.cola, till.water]), price=f"{dice.randrange(1, 9_000)}.00")
    if shop.is_native and dice.random() < 0.2:
        spare = [one for one in world.live_ids("products") if one.startswith("10000000-")]
        if spare:
            world.delete("products", dice.choice(spare))


def live(shop: Shop, dice: random.Random, names: list[str], profile: str) -> set[str]:
    """A session under faults; gives what was acknowledged before head office had it."""
    early: set[str] = set()
    shop.line.plan = plan_of(dice, names, dice.uniform(0.1, 0.8), profile)
    for _ in range(STEPS):
        trade(shop, dice)
        if dice.random() < 0.15:
            shop.restart()
        refused = dice.random() < 0.1
        if refused:
            shop.line.stop()
        shop.poll(dice.choice(PAUSES_S))
        if refused:
            shop.line.start()
        early |= shop.delivered_early()
    return early


def run_trials(open_shop: Make, evidence: Make, family: str, names: list[str], trials: int, profile: str) -> None:
    seed = int(os.environ.get("WIRE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WIRE_SEED={seed}")
    dice = random.Random(f"{seed} {family} {profile}")
    total, faulty = CLEAN, []
    limits = IMPATIENT if SLOW & set(names) else {}
    for trial in range(trials):
        with open_shop(profile, f"till{trial}", synced=dice.random() < 0.8, limits=limits) as shop:
            early = live(shop, dice, names, profile)
            polls = shop.heal()
            count = shop.count() + Count(len(early), 0, 0)
            total += count
            exact = shop.money_agrees() and shop.till.catalogue_agrees()
            if not (count.is_clean and exact):
                agree = {name: shop.till.catalogue_agrees(name) for name in ("categories", "products", "promotions")}
                faulty.append((trial, count, polls, early, shop.money_agrees(), agree, shop.words()))
                print(trial, faulty[-1], shop.line.seen, shop.till.agent.outbox(), sep="\n")
    evidence(f"wire: {family}", trials, lost=total.lost, doubled=total.doubled, stuck=total.stuck)
    assert total.is_clean, f"WIRE_SEED={seed}: {faulty}"
    assert not faulty, f"WIRE_SEED={seed}: {faulty}"


QUICK = [name for name in FAMILIES if name != "slow answer"]
# Where it hangs on the order of what happened; tests/wire/test_faults.py has each fault of the others.
QUICKEST = ("results that are not true", "requests and answers repeated or out of order")


@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_a_shop_lives_through_every_fault_mixed(open_shop: Make, evidence: Make, profile: str) -> None:
    """Any fault may happen to any exchange, and the POS may restart: everything arrives, once, to the cent (G10)."""
    run_trials(open_shop, evidence, f"any fault mixed, {profile}", list(FAULTS), QUICK_MIXED, profile)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name in QUICKEST else [pytest.mark.slow]) for name in QUICK]
)
def test_a_shop_lives_through_a_family_of_faults(open_shop: Make, evidence: Make, family: str) -> None:
    """The faults of one family may happen to any exchange of a session (G10)."""
    run_trials(open_shop, evidence, family, list(FAMILIES[family]), QUICK_TRIALS, "native")


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_many_shops_live_through_every_fault_mixed(open_shop: Make, evidence: Make, profile: str) -> None:
    """The same, many times over."""
    run_trials(open_shop, evidence, f"any fault mixed, {profile}", list(FAULTS), SLOW_MIXED, profile)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["native", "baseline"])
@pytest.mark.parametrize("family", FAMILIES)
def test_many_shops_live_through_a_family_of_faults(open_shop: Make, evidence: Make, family: str, profile: str) -> None:
    """The same, many times over."""
    trials = SLOW_TRIALS if family in QUICK else SLOW_TRIALS // 3
    run_trials(open_shop, evidence, family, list(FAMILIES[family]), trials, profile)
