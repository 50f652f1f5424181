"""Whatever head office does, the till's catalogue is head office's again: random histories from a seed.

CONVERGE_SEED=…    the seed a failure printed
CONVERGE_RUNS=…    how many histories each test plays
CONVERGE_SHRINK=1  look for the fewest steps of a failure
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from .play import Tally

SHARDS = 4
RUNS = int(os.environ.get("CONVERGE_RUNS", "0"))
QUICK_RUNS = {"native": RUNS or 16, "baseline": RUNS or 8}
QUICK_SPOILT_RUNS = RUNS or 5
LONG_RUNS = RUNS or 1_000
Work = Callable[..., None]


def converged(play: Work, evidence: Work, profile: str, seed: int, runs: int, *, spoils: bool = False) -> None:
    tally = Tally()
    try:
        play(profile, seed, runs, tally, spoils=spoils)
    finally:
        print(tally)
        fault = f"convergence, {profile}{', rows spoilt on the till' * spoils}"
        evidence(fault, tally.runs, lost=tally.lost, doubled=tally.doubled, stuck=tally.stuck)
    assert (tally.lost, tally.doubled, tally.stuck) == (0, 0, 0)


def test_after_any_history_a_native_catalogue_is_equal(play_histories: Work, evidence: Work, first_seed: int) -> None:
    """Natively, the next cycle that succeeds after the last fault makes the catalogue equal, to the digest (G10)."""
    converged(play_histories, evidence, "native", first_seed, QUICK_RUNS["native"])


def test_after_any_history_a_baseline_catalogue_is_equal(play_histories: Work, evidence: Work, first_seed: int) -> None:
    """Against a baseline head office, the snapshots that come by themselves make the catalogue equal (G10)."""
    converged(play_histories, evidence, "baseline", first_seed, QUICK_RUNS["baseline"])


@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_rows_spoilt_on_the_till_are_mended(
    play_histories: Work, evidence: Work, first_seed: int, profile: str
) -> None:
    """A row that was changed, lost or made up on the till itself is head office's again within a day (G10)."""
    converged(play_histories, evidence, profile, first_seed, QUICK_SPOILT_RUNS, spoils=True)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_many_spoilt_rows_are_mended(play_histories: Work, evidence: Work, first_seed: int, profile: str) -> None:
    """The same, more often."""
    converged(play_histories, evidence, profile, first_seed + 9_000_000, LONG_RUNS // 4, spoils=True)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_thousands_of_histories_end_equal(
    play_histories: Work, evidence: Work, first_seed: int, profile: str, shard: int
) -> None:
    """The same, thousands of times, each shard from a seed of its own."""
    converged(play_histories, evidence, profile, first_seed + 1_000_000 * (shard + 1), -(-LONG_RUNS // SHARDS))
