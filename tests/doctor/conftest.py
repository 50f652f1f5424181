"""A shop whose doctor is called: a device in sync, and a way to hear what the doctor says of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner

from edge_agent.cli.app import app
from edge_agent.cli.doctor import _print, exit_of
from edge_agent.doctor.check import Check
from edge_agent.doctor.report import Report, examine

HERE = "127.0.0.1"
_OURS_TO_MAKE = ("-shm", "-wal")  # SQLite makes them for a reader too


@dataclass(frozen=True)
class Said:
    """What a doctor said."""

    report: Report
    exit: int
    words: str

    def about(self, name: str) -> Check:
        return next(check for check in self.report.checks if check.name == name)

    @property
    def wrong(self) -> list[str]:
        return [check.name for check in self.report.checks if check.state == "bad"]

    @property
    def noted(self) -> list[str]:
        return [check.name for check in self.report.checks if check.state == "warn"]

    @property
    def skipped(self) -> list[str]:
        return [check.name for check in self.report.checks if check.state == "skipped"]


def contents(home: Path) -> dict[str, tuple[int, str]]:
    """Each file of a home with its mode and a digest."""
    return {
        path.relative_to(home).as_posix(): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(_OURS_TO_MAKE)
    }


class Paper:
    """Where a doctor writes: no terminal, UTF-8."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def isatty(self) -> bool:
        return False


@pytest.fixture
def call_doctor(clock: Any, request: pytest.FixtureRequest) -> Callable[..., Said]:
    """Calls the doctor, and proves that nothing in the home changed unless it was to mend something.

    ``DOCTOR_WORDS=FILE`` keeps what it said, to be read aloud.
    """

    def call(home: Path, *, fix: bool = False, **more: Any) -> Said:
        before = contents(home) if home.is_dir() else {}
        report = examine(home, fix=fix, clock=clock, **{"environment": {}, **more})
        if not fix and home.is_dir():
            assert contents(home) == before, "the doctor changed something"
        paper: Any = Paper()
        _print(report, paper)
        said = Said(report, int(exit_of(report)), paper.text)
        if "DOCTOR_WORDS" in os.environ:
            with Path(os.environ["DOCTOR_WORDS"]).open("a", encoding="utf-8") as file:
                about = (request.function.__doc__ or "").strip().splitlines()[0]
                named = request.node.name.removeprefix("test_").replace("_", " ")
                shown = paper.text.replace(str(home), "/var/lib/edge-agent")
                shown = re.sub(r"/\S+/pytest-\d+/\w+/", "/media/", shown)
                file.write(f"## {named}\n\n{about}\n\n```\n{shown}```\n\nExit code {said.exit}.\n\n")
        return said

    return call


@pytest.fixture
def closed_till(make_till: Callable[..., Any]) -> Callable[..., Any]:
    """A device that is in sync, has sold, and whose programs are closed: ``closed_till(office=None, **settings)``."""

    def make(office: Any = None, **settings: Any) -> Any:
        till = make_till(office, **settings)
        till.sell()
        till.agent.sync()
        till.agent.backup()
        till.agent.close()
        return till

    return make


@pytest.fixture
def set_setting() -> Callable[..., None]:
    """Writes settings into a home's file by hand, as people do."""

    def change(home: Path, **values: Any) -> None:
        import tomli_w

        from edge_agent.settings import stored_values

        (home / "settings.toml").write_text(tomli_w.dumps({**stored_values(home), **values}), "utf-8")

    return change


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def presenting() -> Callable[..., ssl.SSLContext]:
    """What a server presents: ``presenting(authority, *names, not_before=…, not_after=…)``."""

    def make(authority: trustme.CA, *names: str, **times: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or (HERE,)), **times).configure_cert(context)
        return context

    return make


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command line: ``command(home, "--json")`` gives its result; ``.json`` is its standard output as JSON."""

    def run(home: Path, *options: str) -> Any:
        monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
        for name in list(os.environ):
            if name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        result: Any = CliRunner().invoke(app, ["doctor", *options])
        if "--json" in options:
            result.json = json.loads(result.stdout)
        return result

    return run
