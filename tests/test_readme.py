"""What the documents show runs: the README's embedding example, and those of docs/."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ho_stub.testing import HeadOffice

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: str) -> list[str]:
    found = BLOCK.findall((ROOT / document).read_text("utf-8"))
    assert found, f"{document} shows no Python"
    return found


def run(document: str) -> dict[str, Any]:
    """Runs a document's Python, block after block, as one module."""
    names: dict[str, Any] = {"__name__": document}
    for block in blocks(document):
        exec(compile(block, document, "exec"), names)
    return names


@pytest.fixture
def at_home(make_till: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> HeadOffice:
    """A device that is set up and in sync, and its home in the environment, as the examples expect."""
    till = make_till()
    till.agent.close()
    monkeypatch.setenv("EDGE_AGENT_HOME", str(till.agent.home))
    office: HeadOffice = till.office
    return office


def test_the_readmes_example_runs_as_it_stands(at_home: HeadOffice, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's example sells, takes its cola off the stock and delivers, and prints what its comments say."""
    [block] = blocks("README.md")
    run("README.md")
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["1 13500.00 pending", "46.000", "delivered"]
    assert all(f"# {line}" in block for line in (printed[0], printed[2]))
    assert at_home.world.ledger_total() == "13500.00"
    assert at_home.world.usage_count() == 1


def test_the_readme_shows_how_the_demo_really_ends(tmp_path: Path) -> None:
    """The closing lines of the demo are those of the README, but for the seconds it took."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "edge_agent", "demo"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    start = "9. Reconciliation"
    shown = re.search(rf"^{re.escape(start)}.*?(?=^```)", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert shown is not None
    assert ending(done.stdout[done.stdout.index(start) :]) == ending(shown[0])


def ending(text: str) -> list[str]:
    """Lines without the blanks at their ends, and without the seconds."""
    return [re.sub(r"\([\d.]+ s\)", "", line).rstrip() for line in text.strip().splitlines()]


def test_the_examples_for_pos_programmers_run_in_order(at_home: HeadOffice) -> None:
    """Every example of docs/embedding.md runs, and what it recorded is with head office afterwards."""
    names = run("docs/embedding.md")
    recorded = {names[name].external_id for name in ("sale", "first", "refund", "no_receipt", "candle")}
    accepted = {sale["external_id"] for sale in at_home.world.sales() if sale["state"] == "accepted"}
    assert recorded == accepted
    assert {names[name].external_id for name in ("use", "loose")} == {
        usage["external_id"] for usage in at_home.world.usages()
    }


def test_the_example_of_a_pos_test_passes(make_office: Callable[..., HeadOffice], tmp_path: Path) -> None:
    """The test that docs/head-office.md shows passes as it stands."""
    names = run("docs/head-office.md")
    names["test_a_sale_outlives_a_dead_line"](make_office(), tmp_path / "shown")
