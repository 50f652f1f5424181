"""The power is cut at random moments of the real engine's work; what was acknowledged is there (G1, G2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.storage.engine import wal_is_safe

SELL = str(Path(__file__).parent / "sell.py")
SALES = 250
MODES = ["wal", "truncate"]
MANY = pytest.param(600, marks=pytest.mark.slow)


@pytest.fixture
def log_of(run_on_disk: Callable[..., Any], home: Path, tmp_path: Path, dice: random.Random) -> Callable[..., Path]:
    """Sells on the disk of shim.c: the log of what reached the disk, and when."""

    def sell(mode: str, synchronous: str = "FULL", sales: int = SALES) -> Path:
        if mode == "wal" and not wal_is_safe():
            pytest.skip("this SQLite is not trusted with WAL; TRUNCATE is what it uses")
        log = tmp_path / "log"
        done = run_on_disk(SELL, str(home), str(dice.randrange(10**6)), str(sales), mode, synchronous, log=log)
        assert len(done.stdout.split()) >= sales
        return log

    return sell


@pytest.mark.parametrize("points", [60, MANY])
@pytest.mark.parametrize("mode", MODES)
def test_no_acknowledged_sale_is_lost_when_the_power_is_cut(
    mode: str, points: int, log_of: Callable[..., Path], cut_power: Callable[..., Any], evidence: Callable[..., None]
) -> None:
    """Unsynced writes dropped, kept or torn: every acknowledged sale is there once, whole, without a gap."""
    found = cut_power(log_of(mode), points)
    evidence(f"power cut, {mode.upper()}", points, lost=found.lost, doubled=found.doubled, stuck=found.stuck)
    assert not found.words, found.words[:10]


@pytest.mark.parametrize("mode", ["wal", pytest.param("truncate", marks=pytest.mark.slow)])
def test_the_simulated_power_cut_bites(mode: str, log_of: Callable[..., Path], cut_power: Callable[..., Any]) -> None:
    """With synchronous = NORMAL acknowledged sales are lost: the cut is a cut, and FULL is what saves them."""
    assert cut_power(log_of(mode, "NORMAL"), 60).lost > 0


@pytest.mark.parametrize("mode", ["wal", pytest.param("truncate", marks=pytest.mark.slow)])
def test_a_crash_that_drops_no_write_loses_nothing(
    mode: str, log_of: Callable[..., Path], cut_power: Callable[..., Any]
) -> None:
    """When every write reaches the disk in order, even NORMAL loses nothing: it is the dropping that loses sales."""
    found = cut_power(log_of(mode, "NORMAL"), 60, fate=lambda: "kept")
    assert not found.words, found.words[:10]
