"""Imports point down only, and nothing heavy loads before it is needed: rules a machine can check are checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edge_agent"

# Each floor with what it may import of the project, itself apart. `edge_agent` is the package's own version and names.
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "lean": set(),
    "domain": {"errors"},
    "clock": set(),
    "timekeeper": {"clock", "domain"},
    "settings": {"domain", "errors"},
    "storage": {"domain", "errors"},
    "head_office": {"domain", "errors", "lean", "settings", "clock", "timekeeper", "edge_agent"},
    "sync": {"domain", "errors", "settings", "clock", "storage", "head_office", "edge_agent"},
    "catalog": {"domain", "storage", "errors", "explaining"},
    "explaining": {"domain", "storage"},
    "health": {"domain", "storage", "inspection"},
    "inspection": {"domain", "storage"},
    "status": {"domain", "storage", "edge_agent"},
    "setup": {"errors", "settings", "clock", "head_office"},
    "loop": {"domain", "errors"},
    "listener": {"clock", "domain", "errors", "head_office"},
    "news": set(),
    "recorded": {"storage"},
    "machine": set(),
    "nightly": {"errors", "clock", "recovery", "settings", "storage"},
    "recovery": {"errors", "clock", "machine", "storage"},
    "key": {"domain", "errors", "storage"},
    "portable": {"domain", "errors", "key", "storage"},
    "syncer": {
        *("domain", "errors", "settings", "clock", "storage", "head_office", "sync"),
        *("news", "recovery"),
    },
    "watch": {"errors"},
    "background": {
        *("domain", "errors", "settings", "clock", "storage", "head_office", "sync"),
        *("loop", "listener", "news", "syncer", "watch"),
    },
    "agent": {
        *("domain", "errors", "settings", "clock", "storage", "head_office", "sync"),
        *("background", "catalog", "health", "status", "recorded", "news", "syncer", "recovery", "nightly"),
        *("key", "portable"),
        "timekeeper",
    },
    "presence": {"errors"},
    "records": {"domain", "errors"},
    "forms": {"domain", "recorded", "status"},
    "redaction": {"domain"},
    "today": {"agent", "catalog", "domain", "status", "storage"},
    "doctor": {
        *("agent", "settings", "clock", "domain", "errors", "storage", "head_office", "sync", "status", "setup"),
        *("presence", "redaction", "syncer", "edge_agent"),
    },
    "daemon": {
        *("agent", "settings", "clock", "domain", "errors", "sync", "status", "recorded", "records", "news"),
        *("redaction", "today", "syncer", "catalog", "forms", "health", "lean", "nightly", "presence"),
        "edge_agent",
    },
    "restore": {"clock", "errors", "settings", "storage", "syncer"},
    "cli": {
        "agent",
        "presence",
        "forms",
        "records",
        "doctor",
        "daemon",
        "redaction",
        "restore",
        "recorded",
        "portable",
        "catalog",
        "status",
        "setup",
        "settings",
        "clock",
        "domain",
        "errors",
        "lean",
        "sync",
        "edge_agent",
    },
}
IMPURE = {"sqlite3", "pysqlite3", "sqlite_utils", "httpx", "logging", "os", "time", "random", "pathlib", "socket"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            names.add(node.module or "")
            if node.module in ("edge_agent", "edge_agent.domain", "edge_agent.head_office", "edge_agent.storage"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor_of(module: str) -> str:
    """The floor of a project's module; the package's own attributes are the floor ``edge_agent``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "edge_agent"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    """A file imports only from the floors below its own."""
    relative = path.relative_to(ROOT).with_suffix("")
    floor = floor_of(".".join(relative.parts))
    if floor == "edge_agent":
        return  # the package's map and its entry
    project = {module for module in imported(path) if module.split(".")[0] == "edge_agent"}
    used = {floor_of(module) for module in project} - {floor}
    if any(module != "edge_agent" for module in project):
        used -= {"edge_agent"} if "edge_agent.__version__" not in project else set()
    assert used <= FLOORS[floor], f"{relative} reaches up or across: {sorted(used - FLOORS[floor])}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").glob("*.py")), ids=lambda path: path.name)
def test_the_domain_is_pure(path: Path) -> None:
    """Domain code knows no database, network, files, clock or dice: values in, values out."""
    assert not {module.split(".")[0] for module in imported(path)} & IMPURE


def test_only_storage_speaks_sql_and_only_head_office_speaks_http() -> None:
    """httpx stays in head_office/ (it may have to be replaced), SQL in storage/."""
    for path in SOURCES:
        modules = {module.split(".")[0] for module in imported(path)}
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] != "head_office" and relative.name != "agent.py":  # agent.py: for type checkers alone
            assert "httpx" not in modules, relative
        if relative.parts[0] != "storage":
            assert not modules & {"sqlite3", "pysqlite3", "sqlite_utils"}, relative


def test_agent_and_stub_share_no_code() -> None:
    """The two sides of the contract share a document and golden files, nothing else; the demo alone knows both."""
    for path in SOURCES:
        if path.name != "demo.py":
            assert not any(module.split(".")[0] == "ho_stub" for module in imported(path)), path
    for path in (ROOT / "ho_stub").rglob("*.py"):
        assert not any(module.split(".")[0] == "edge_agent" for module in imported(path)), path


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_nothing_heavy_loads_before_it_is_needed() -> None:
    """A POS that only sells, and a status on a slow till, pay neither for the network nor for pretty printing."""
    assert not loaded_by("import edge_agent") & {"msgspec", "httpx", "sqlite3", "pysqlite3", "typer"}
    heavy = {"httpx", "sqlite_utils", "filelock", "tenacity", "pydantic", "fastapi", "rich"}
    assert not loaded_by("from edge_agent import EdgeAgent, Item, Payment") & heavy
    assert not loaded_by("import edge_agent.cli.app") & heavy


def test_status_beside_a_daemon_loads_next_to_nothing() -> None:
    """What is asked of the daemon is told without what takes longer to load than Python itself."""
    heavy = {"msgspec", "typing", "typing_extensions", "dataclasses", "inspect", "pathlib", "logging", "http", "email"}
    told = "from edge_agent.cli import showing; from edge_agent import status; from edge_agent.domain import calendar"
    assert not loaded_by(told) & {*heavy, "sqlite3", "pysqlite3", "edge_agent.agent", "edge_agent.settings"}
