"""The property list for macOS: it parses, and says what launchd must know."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "packaging" / "launchd" / "edge-agent.plist"


@pytest.fixture(scope="module")
def plist() -> dict[str, Any]:
    return dict(plistlib.loads(FILE.read_bytes()))


def test_the_daemon_starts_at_boot_and_comes_back(plist: dict[str, Any]) -> None:
    """It runs in the foreground, from boot on, is started again after its end, and not at once."""
    assert plist["Label"] == FILE.stem
    assert plist["ProgramArguments"][1:] == ["run"]
    assert Path(plist["ProgramArguments"][0]).name == "edge-agent"
    assert (plist["RunAtLoad"], plist["KeepAlive"]) == (True, True)
    assert plist["ThrottleInterval"] >= 10


def test_it_is_no_root_and_keeps_its_files_to_itself(plist: dict[str, Any]) -> None:
    """It runs as an account of its own, and what it writes nobody else reads."""
    assert plist["UserName"] not in ("root", "")
    assert plist["Umask"] == 0o077
    assert plist["HardResourceLimits"]["Core"] == 0


def test_it_gets_its_own_deadline(plist: dict[str, Any]) -> None:
    """launchd kills it only after the daemon's own 20 s."""
    assert plist["ExitTimeOut"] > 20


def test_its_home_is_set_and_its_words_are_kept(plist: dict[str, Any]) -> None:
    """The home is named, and what is said before logging begins goes to files in it."""
    home = plist["EnvironmentVariables"]["EDGE_AGENT_HOME"]
    assert home.startswith("/")
    assert all(plist[key].startswith(home) for key in ("StandardOutPath", "StandardErrorPath", "WorkingDirectory"))
    assert not any("PASSWORD" in name for name in plist["EnvironmentVariables"])
