"""Everything that can go wrong, at once: afterwards both ledgers are equal, to the last sale and the last cent.

SIM_SEED=…   the seed a failure printed
SIM_RUNS=…   how many runs the long test makes in all (make soak)
SIM_STEPS=…  how many steps a run has at most
SIM_SHRINK=1 look for the fewest steps of a failure: takes minutes
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from .checks import Tally

FAULT = "simulator: 50 steps of everything"
QUICK_RUNS = 14
SHARDS = 8
LONG_RUNS = int(os.environ.get("SIM_RUNS", "2080"))


def simulated(simulate: Callable[..., None], evidence: Callable[..., None], seed: int, runs: int) -> None:
    tally = Tally()
    try:
        simulate(seed, runs, tally, shrink="SIM_SHRINK" in os.environ)
    finally:
        evidence(FAULT, tally.runs, lost=tally.lost, doubled=tally.doubled, stuck=tally.stuck)
    assert (tally.lost, tally.doubled, tally.stuck) == (0, 0, 0)
    assert tally.runs >= runs * 0.9, f"only {tally.runs} runs of {runs}: the simulation has become too narrow"


def test_fifty_steps_of_everything_end_exact(
    simulate: Callable[..., None], evidence: Callable[..., None], first_seed: int
) -> None:
    """Tills, a bad line, restores, jumping clocks and deaths: when all that ends, G1 to G11 hold."""
    simulated(simulate, evidence, first_seed, QUICK_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_thousands_of_runs_end_exact(
    simulate: Callable[..., None], evidence: Callable[..., None], first_seed: int, shard: int
) -> None:
    """The same, thousands of times, each shard from a seed of its own."""
    simulated(simulate, evidence, first_seed + 1_000_000 * (shard + 1), -(-LONG_RUNS // SHARDS))
