"""`edge-agent page`: the way to the page, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli.app import app
from edge_agent.cli.exits import Exit
from edge_agent.presence import Presence, announce, one_daemon


@pytest.fixture
def running(shop: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A daemon's page that announced itself."""
    home = shop.till.agent.home
    announce(home, Presence(1, shop.port, "", "0", "2026-11-21T00:00:00Z"))
    monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
    with one_daemon(home):
        yield shop


def test_a_killed_daemons_port_gets_no_key(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds the lock: whatever answers at the announced port is not ours to trust."""
    announce(shop.till.agent.home, Presence(1, shop.port, "", "0", "2026-11-21T00:00:00Z"))
    monkeypatch.setenv("EDGE_AGENT_HOME", str(shop.till.agent.home))
    assert CliRunner().invoke(app, ["page", "--print"]).exit_code == Exit.FAILED


def test_the_address(running: Any) -> None:
    """--print and --json give the address with the page's key, not with the tills' token."""
    printed = CliRunner().invoke(app, ["page", "--print"])
    assert (printed.exit_code, printed.stdout) == (0, f"{running.link}\n")
    told = CliRunner().invoke(app, ["page", "--json"])
    assert json.loads(told.stdout) == {"schema": 1, "url": running.link, "port": running.port}
    assert running.keys.token not in printed.stdout + told.stdout


def test_it_opens_the_browser(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options the browser opens; where there is none, the address is said."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert CliRunner().invoke(app, ["page"]).exit_code == 0
    assert opened == [running.link]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    result = CliRunner().invoke(app, ["page"])
    assert running.link in result.stdout


def test_no_daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the daemon does not run, that is said, with what to do; no key goes anywhere."""
    monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
    monkeypatch.setenv("EDGE_AGENT_LOCAL_PORT", "0")
    result = CliRunner().invoke(app, ["page", "--json"])
    assert result.exit_code == Exit.FAILED
    assert "edge-agent run" in result.stderr
    assert json.loads(result.stdout)["error"]["code"] == "NOT_RUNNING"
    assert not (home / "local-api.token").exists()


def test_a_foreign_server_gets_no_key(running: Any, make_office: Any) -> None:
    """What a killed daemon announced may be another program's port by now: that one is not shown the key."""
    office = make_office()
    port = int(office.url.rsplit(":", 1)[1])
    announce(running.till.agent.home, Presence(1, port, "", "0", "2026-11-21T00:00:00Z"))
    result = CliRunner().invoke(app, ["page", "--print"])
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
