"""The container files: what goes in, who runs it, and what its health check takes for healthy."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging" / "container"
yaml = pytest.importorskip("yaml", reason="no YAML reader is installed")


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a container file, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (FOLDER / name).read_text("utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(words[0], words[1].strip()) for line in lines if (words := line.split(None, 1))]


def copied(name: str) -> list[str]:
    """What is copied out of the build context."""
    found = [arguments.split() for word, arguments in instructions(name) if word == "COPY"]
    return [
        part
        for parts in found
        if not any(one.startswith("--from") for one in parts)
        for part in parts[:-1]
        if not part.startswith("--")
    ]


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.stub"])
def test_what_is_copied_is_there_and_let_in(name: str) -> None:
    """Every file of the project that goes into an image exists, and the list of what is let in names it."""
    lines = (FOLDER / f"{name}.dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for part in copied(name):
        assert (ROOT / part).exists(), part
        assert any(part.rstrip("/") == one or one.startswith(part) for one in let_in), part
    for secret in ("credentials.json", "tokens.json", "journal.db", ".git", "tests"):
        assert not any(fnmatch.fnmatch(secret, one) for one in let_in), secret


def test_no_secret_is_baked_in() -> None:
    """No layer, argument or variable of the images holds a password, a token or an address of a shop."""
    for name in ("Containerfile", "Containerfile.stub"):
        for word, arguments in instructions(name):
            if word in ("ENV", "ARG", "RUN", "LABEL"):
                assert not re.search(r"PASSWORD|TOKEN|SECRET|EDGE_AGENT_(URL|USERNAME)", arguments, re.IGNORECASE)


def test_the_daemon_is_nobody_special_and_stops_cleanly() -> None:
    """Both images end with a user that is not root, and are stopped by SIGTERM, straight at the daemon."""
    for name in ("Containerfile", "Containerfile.stub"):
        words = dict(instructions(name))  # the last of each
        user = words["USER"].split(":")[0]
        assert user.isdigit()
        assert int(user) >= 1000
        assert words["STOPSIGNAL"] == "SIGTERM"
        assert json.loads(words["ENTRYPOINT"])  # as a list: no shell stands between the signal and the daemon
    words = dict(instructions("Containerfile"))
    assert json.loads(words["CMD"]) == ["run"]
    assert words["VOLUME"] == "/var/lib/edge-agent"
    assert "EDGE_AGENT_HOME=/var/lib/edge-agent" in words["ENV"]
    assert "EXPOSE" not in words


def test_packages_are_checked_against_their_hashes() -> None:
    """What the registry gives goes in only as it was locked; time zones come along."""
    runs = " ".join(arguments for word, arguments in instructions("Containerfile") if word == "RUN")
    assert "--require-hashes --requirement requirements/runtime.txt" in runs
    locked = (ROOT / "requirements" / "runtime.txt").read_text("utf-8")
    assert re.search(r"^tzdata==", locked, re.MULTILINE)
    assert locked.count("==") <= locked.count("--hash=sha256:")


# ---- health ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def healthy(tmp_path: Path) -> Callable[..., int]:
    """The health check beside an edge-agent that answers as told: ``healthy(code, daemon_running=True)``."""
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("there is no sh on this machine")

    def run(code: int, *, daemon_running: bool = True, said: str | None = None) -> int:
        program = tmp_path / "edge-agent"
        said = json.dumps({"schema": 1, "daemon_running": daemon_running}) if said is None else said
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{said}'\nexit {code}\n")
        program.chmod(0o755)
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run([shell, FOLDER / "healthy.sh"], env={"PATH": path}, capture_output=True, check=False)
        return done.returncode

    return run


@pytest.mark.parametrize(("code", "answer"), [(0, 0), (3, 0), (4, 0), (5, 0), (1, 1), (2, 1), (6, 1), (7, 1)])
def test_what_a_person_must_mend_restarts_nothing(healthy: Callable[..., int], code: int, answer: int) -> None:
    """Refused sales, a line that is down and a refused sign-in are healthy; a broken store or settings are not."""
    assert healthy(code) == answer


def test_a_home_that_nobody_syncs_is_not_healthy(healthy: Callable[..., int]) -> None:
    """status alone works without a daemon; the check wants one. What is no status is not healthy either."""
    assert healthy(0, daemon_running=False) == 1
    assert healthy(0, said="") == 1


def test_health_reads_what_status_says(agent: Any) -> None:
    """The field the check looks for is the field that status prints, as it prints it."""
    code = "from edge_agent.cli.output import print_json; print_json({'daemon_running': True})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert '"daemon_running":true' in done.stdout
    assert "daemon_running" in agent.status()


# ---- compose ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8")))


def test_the_trials_till_is_set_up_by_its_own_values(
    compose: dict[str, Any], make_office: Callable[..., Any], tmp_path: Path
) -> None:
    """What the helper of the trial is told signs in at the stub, for real."""
    office = make_office()
    told = compose["services"]["set-up"]["environment"] | {"EDGE_AGENT_URL": office.url}
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "--home", str(home), *compose["services"]["set-up"]["command"]],
        env={**{name: value for name, value in os.environ.items() if not name.startswith("EDGE_AGENT_")}, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "credentials.json").exists()


def test_the_trials_services_are_those_of_the_files(compose: dict[str, Any]) -> None:
    """Each build names a file that is there; the till's home is a volume; the till may do as little as possible."""
    for service in compose["services"].values():
        file = service["build"]["dockerfile"]
        assert (FOLDER / service["build"]["context"] / file).resolve().is_file()
    till = compose["services"]["till"]
    assert [volume.split(":")[1] for volume in till["volumes"]] == ["/var/lib/edge-agent"]
    assert till["cap_drop"] == ["ALL"]
    assert till["read_only"] is True
    assert "ports" not in till
    assert int(till["stop_grace_period"].removesuffix("s")) > 20
