"""The pytest plugin: offices by marker, and the example POS project that a team would begin with."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from ho_stub.pytest_plugin import MARKER, head_office, ho_stub  # noqa: F401 - fixtures, by their names
from ho_stub.testing import HeadOffice

REPO = Path(__file__).resolve().parents[2]


def run_pytest(folder: Path) -> subprocess.CompletedProcess[str]:
    """A project on its own, with this plugin and no other."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "ho_stub.pytest_plugin", str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "EDGE_AGENT_"))}
    environment = kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)


def test_the_example_project_passes() -> None:
    """examples/pos_test, run as a POS team runs it: strict markers, warnings are errors."""
    ran = run_pytest(REPO / "examples/pos_test")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "6 passed" in ran.stdout


def test_loading_the_plugin_imports_no_head_office() -> None:
    code = (
        "import sys, ho_stub.pytest_plugin as p; print([n for n in sys.modules if n in ('fastapi', 'ho_stub.testing')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


class Config:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def addinivalue_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))


def test_the_marker_is_named_for_strict_markers() -> None:
    from ho_stub import pytest_plugin

    config: Any = Config()
    pytest_plugin.pytest_configure(config)
    assert config.lines == [("markers", MARKER)]


def test_the_fixture_is_a_native_office_on_a_port(head_office: HeadOffice) -> None:  # noqa: F811
    assert (head_office.running, head_office.world.native) == (True, True)
    head_office.drop_line()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{head_office.url}/health/")
    head_office.restore_line()
    assert httpx.get(f"{head_office.url}/health/").status_code == 200
    assert head_office.requests[-1] == ("GET", "/health/", 200)


def test_prices_change_by_id_or_sku_and_backups_bring_them_back(head_office: HeadOffice) -> None:  # noqa: F811
    world, before = head_office.world, head_office.world.epoch
    cola = str(world.feed.product_by_sku("COLA-330", None))
    head_office.change_price("COLA-330", Decimal("8000.00"))
    head_office.change_price(cola, "8100.00")
    assert world.get("products", cola)["price"] == "8100.00"
    with pytest.raises(KeyError, match="no product FANTA"):
        head_office.change_price("FANTA", "1.00")
    head_office.restore_backup(new_epoch=False)
    assert (world.get("products", cola)["price"], world.epoch) == ("7500.00", before)
    head_office.restore_backup()
    assert world.epoch != before


def test_several_offices_at_once_and_what_they_take(ho_stub: Any) -> None:  # noqa: F811
    native = ho_stub(faults=["slow=0", {"name": "http_503", "route": "health"}], seed=3)
    old = ho_stub(profile="baseline", gaps={"post_only"}, faults="no_total_available")
    assert (old.world.native, old.world.gaps.is_on("post_only")) == (False, True)
    assert old.world.gaps.is_on("no_total_available")
    assert httpx.get(f"{native.url}/health/").status_code == 503
    assert native.faults.seed == 3
    with pytest.raises(RuntimeError, match="no backup"):
        native.restore_backup()
    with pytest.raises(ValueError, match="fault 1: There is no fault 'flood'"):
        ho_stub(faults=["flood"])


def test_a_plan_of_faults_is_taken_from_a_file(ho_stub: Any, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "plan.toml"
    path.write_text("seed = 5\n[[fault]]\nname = 'http_500'\ntimes = 1\n", "utf-8")
    office = ho_stub(faults=path)
    assert [httpx.get(f"{office.url}/health/").status_code for _ in range(2)] == [500, 200]
    assert office.faults.seed == 5
