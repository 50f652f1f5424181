"""What every run of the simulator shares: one head office, one set-up till to copy, and a way to run from a seed."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from .checks import Tally
from .death import observed
from .machine import Simulation
from .office import open_office
from .till import make_template

FAST_FOLDER = Path("/dev/shm")  # memory, where there is such a folder: the disk is not what is tried here
STEPS = int(os.environ.get("SIM_STEPS", "50"))


@pytest.fixture(scope="module")
def simulation() -> Iterator[type[Simulation]]:
    """The machine with its head office and the template of a till, made once."""
    memory = FAST_FOLDER if FAST_FOLDER.is_dir() and os.access(FAST_FOLDER, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, open_office() as office, observed() as engine:
        template = Path(folder) / "template"
        make_template(template, office)
        yield type("Run", (Simulation,), {"office": office, "engine": engine, "template": template})


@pytest.fixture
def first_seed() -> int:
    """The seed of the environment, else any; printed, so that a failure can be repeated."""
    number = int(os.environ.get("SIM_SEED", random.SystemRandom().randrange(10**6)))
    print(f"SIM_SEED={number}")
    return number


@pytest.fixture
def simulate(simulation: type[Simulation]) -> Callable[..., Tally]:
    """Runs from a seed: ``simulate(seed, runs, tally, shrink=True)``; the first failure of a run raises."""

    def run(number: int, runs: int, tally: Tally, *, shrink: bool = True) -> None:
        phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
        options: dict[str, Any] = {"derandomize": False, "print_blob": True, "database": None, "phases": phases}
        run_state_machine_as_test(
            seed(number)(type("Run", (simulation,), {"tally": tally})),
            settings=settings(
                max_examples=runs,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                **options,
            ),
        )

    return run
