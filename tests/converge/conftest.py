"""What all histories share: a head office of each profile, a till's template, and a way to play from a seed."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ho_stub.world import Profile
from tests.sim.death import observed

from .history import History, make, smaller
from .office import open_office
from .play import Play, Tally, make_stage

FAST_FOLDER = Path("/dev/shm")  # memory, where there is such a folder: the disk is not what is tried here


@pytest.fixture
def first_seed() -> int:
    """The seed of the environment, else any; printed, so that a failure can be repeated."""
    number = int(os.environ.get("CONVERGE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CONVERGE_SEED={number}")
    return number


@pytest.fixture
def play_histories() -> Callable[..., None]:
    """Plays histories of following seeds: ``play_histories("native", first_seed, runs, tally)``."""
    memory = FAST_FOLDER if FAST_FOLDER.is_dir() and os.access(FAST_FOLDER, os.W_OK) else None

    def run(profile: Profile, first: int, runs: int, tally: Tally, *, spoils: bool = False) -> None:
        with tempfile.TemporaryDirectory(dir=memory) as folder, open_office(profile) as office, observed() as engine:
            stage = make_stage(Path(folder), office, engine)

            def play(history: History, counted: Tally) -> None:
                Play(stage, counted).run(history)

            def fails(history: History) -> bool:
                try:
                    play(history, Tally())
                except Exception:  # noqa: BLE001 - whatever it is that fails
                    return True
                return False

            for number in range(first, first + runs):
                history = make(number, spoils=spoils)
                try:
                    play(history, tally)
                except Exception as error:
                    if "CONVERGE_SHRINK" in os.environ:
                        history = smaller(history, fails)
                    error.add_note(f"CONVERGE_SEED={number} CONVERGE_RUNS=1 ({profile})\n{history}")
                    raise

    return run
