"""The demo plays a whole day; it must end with books that agree, from a checkout and from an installed wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def complete_journey() -> Path | None:
    """The full data set, where it lies; users' machines don't have it."""
    given = os.environ.get("EDGE_AGENT_COMPLETE_JOURNEY")
    folder = Path(given) if given else ROOT.parent / "shared" / "data" / "complete-journey"
    return folder if (folder / "products.csv.gz").is_file() else None


def figures(output: str) -> dict[str, dict[str, Any]]:
    report = json.loads(output)
    assert report["agrees"] is True, report
    return {line["what"]: line for line in report["reconciliation"]}


def run_demo(python: Path | str, *words: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("EDGE_AGENT_", "PYTHON"))}
    done = subprocess.run(
        [str(python), "-m", "edge_agent", "demo", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment | {"PYTHONUTF8": "1"},
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_sample_day_ends_with_books_that_agree(tmp_path: Path) -> None:
    """300 real baskets sold without a line are in head office's books to the cent."""
    lines = figures(run_demo(sys.executable, "--json", cwd=tmp_path))
    assert lines["baskets"]["head_office"] == "300"
    assert lines["total"]["till"] == lines["total"]["source"] == "10,932.88"
    assert lines["products that differ"]["till"] == "0"


def test_the_day_is_told_in_words(tmp_path: Path) -> None:
    """A person sees the line fail, the shop sell on, and the difference: none."""
    told = run_demo(sys.executable, cwd=tmp_path)
    for words in ("head office is stopped", "Selling works.", "The line is back", "Differences: none."):
        assert words in told


@pytest.mark.slow
@pytest.mark.skipif(complete_journey() is None, reason="the full data set is not on this machine")
def test_the_whole_real_year_agrees_to_the_cent(tmp_path: Path) -> None:
    """4,194 baskets of a real store, 41,334 lines: 148,169.67 at the till and at head office."""
    lines = figures(run_demo(sys.executable, "--json", "--data", str(complete_journey()), cwd=tmp_path))
    assert lines["baskets"]["head_office"] == "4,194"
    assert lines["lines"]["till"] == lines["lines"]["head_office"] == "41,334"
    assert lines["total"]["till"] == lines["total"]["head_office"] == "148,169.67"


def test_an_installed_wheel_carries_all_it_needs(tmp_path: Path) -> None:
    """Migrations and the sample ship inside the wheel: it runs the demo outside the checkout."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    [wheel] = tmp_path.glob("*.whl")
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = fresh / scripts / ("python.exe" if os.name == "nt" else "python")
    site = Path(
        subprocess.run(
            [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    # The dependencies come from this environment's folder, behind the wheel's own packages.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    where = subprocess.run(
        [str(python), "-c", "import edge_agent, ho_stub; print(edge_agent.__file__, ho_stub.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert str(ROOT) not in where
    assert (site / "edge_agent" / "migrations" / "journal").is_dir()
    figures(run_demo(python, "--json", cwd=tmp_path))
