"""The two sizes of the play: three days with everything squeezed in, and the whole fortnight."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

from tests.fortnight.faults import FULL, Planned, plan_of_days, plan_of_fortnight
from tests.fortnight.play import Books, Fortnight, books_of, seeded
from tests.fortnight.shop import opened

DAY_S = 86_400
ZONE = ZoneInfo("America/New_York")  # the sample's stores
# A Monday; on the first Sunday the clocks go forward in the middle of the night's work.
BEGINS = dt.datetime(2026, 3, 2, 5, tzinfo=ZONE)
BEGINS_SQUEEZED = dt.datetime(2026, 3, 6, 5, tzinfo=ZONE)
Say = Callable[[str], None]


@contextlib.contextmanager
def squeezed(seed: int, say: Say) -> Iterator[tuple[Fortnight, Books]]:
    """Three days in some 75 s: every fault once."""
    dice = random.Random(seed)
    plan = plan_of_days(3, seeded(dice))
    with _played(BEGINS_SQUEEZED, 24.0, plan, 3, (60, 80), dice, say) as found:
        yield found


@contextlib.contextmanager
def whole(seed: int, say: Say, *, days: int = 14, day_real_s: float = 45.0) -> Iterator[tuple[Fortnight, Books]]:
    """The fortnight, in some eleven minutes."""
    dice = random.Random(seed)
    plan = plan_of_fortnight(days, seeded(dice))
    with _played(BEGINS, day_real_s, plan, days, (60, 160), dice, say) as found:
        yield found


@contextlib.contextmanager
def _played(
    begins: dt.datetime,
    day_real_s: float,
    plan: list[Planned],
    days: int,
    sales_a_day: tuple[int, int],
    dice: random.Random,
    say: Say,
) -> Iterator[tuple[Fortnight, Books]]:
    with opened(begins, DAY_S / day_real_s, seeded(dice)) as shop:
        if shop.disk.why_not:
            say(f"without the full disk: {shop.disk.why_not}")
            plan = [planned for planned in plan if planned.fault is not FULL]
        if len(shop.tills) < 2:
            say("without the JavaScript till: there is no node here")
        play = Fortnight(shop, plan, days, sales_a_day, say)
        play.play()
        yield play, books_of(shop, play.final_state)
