"""Days of a shop in minutes: every fault there is, real processes, and nobody at the keyboard."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.fortnight.stage import squeezed
from tests.fortnight.verdict import complaints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals"),
]


def test_three_days_with_every_fault(evidence: Callable[..., None]) -> None:
    """Whatever happens to the shop: the ledgers are exact, all is well again by itself, and no figure runs away."""
    seed = int(os.environ.get("FORTNIGHT_SEED", random.SystemRandom().randrange(10**6)))
    print(f"FORTNIGHT_SEED={seed}")
    with squeezed(seed, print) as (play, books):
        evidence(
            "a shop's days with every fault",
            len(play.happened),
            lost=books.lost + books.uses_lost,
            doubled=books.doubled,
            stuck=books.stuck,
        )
        wrong = complaints(play, books)
        assert not wrong, "\n".join(wrong)
