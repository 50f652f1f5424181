"""Tills without the newer SQLite (ARM, mostly) run on the one Python came with: the same tests, on that engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A module that is None in sys.modules can't be found: as on a machine that has no pysqlite3.
_WITHOUT = "import sys; sys.modules['pysqlite3'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def run_without_newer_sqlite(*paths: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    return done.stdout


def test_the_catalogue_works_on_the_engine_of_python_itself() -> None:
    """Pages, searches and refused rows behave alike on an older SQLite, in TRUNCATE mode."""
    assert "passed" in run_without_newer_sqlite("tests/storage/test_catalog.py")


@pytest.mark.slow
def test_everything_stored_and_synced_works_on_the_engine_of_python_itself() -> None:
    """Journal, outbox, pushing and the loop behave alike on an older SQLite."""
    assert "passed" in run_without_newer_sqlite("tests/storage", "tests/sync", "tests/test_loop.py")
