"""Starting: whole processes, against a bare Python, in turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.device import fill_catalogue, make_home, open_agent
from bench.figure import Figure, median, seconds
from bench.idle import START_S_MAX, environment_of, free_port, running
from edge_agent.presence import FILE_NAME as PRESENCE_NAME

_BARE = [sys.executable, "-c", "pass"]
_STATUS = [sys.executable, "-m", "edge_agent", "status"]
_IMPORT = [sys.executable, "-c", "from edge_agent import EdgeAgent, Item, Payment"]


def _run(command: list[str], home: Path) -> None:
    subprocess.run(command, check=True, capture_output=True, env=environment_of(home))


def _make_home(home: Path) -> Path:
    make_home(home)
    with open_agent(home) as agent:
        fill_catalogue(agent, 2_000)
    return home


def _wait_until_announced(home: Path, pause: threading.Event) -> None:
    for _ in range(int(START_S_MAX / 0.1)):
        if (home / PRESENCE_NAME).exists():
            return
        pause.wait(0.1)
    raise RuntimeError(f"no daemon came up within {START_S_MAX:.0f} s")


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """What a person waits for at the command line, and what embedding costs a POS."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        alone, served = _make_home(Path(name) / "alone"), _make_home(Path(name) / "served")
        with (served / "settings.toml").open("a", encoding="utf-8") as file:
            file.write(f"local_port = {free_port()}\n")
        with running("edge_agent", "run", home=served):
            _wait_until_announced(served, threading.Event())
            say("start: whole processes")
            times: dict[str, list[float]] = {}
            kinds = (
                ("bare", _BARE, alone),
                ("status", _STATUS, served),
                ("alone", _STATUS, alone),
                ("import", _IMPORT, alone),
            )
            for _, command, home in kinds:  # once uncounted: it may have to be compiled
                _run(command, home)
            for _ in range(3 if quick else 30):
                for label, command, home in kinds:
                    times.setdefault(label, []).append(seconds(partial(_run, command, home)))
    bare, status, looking, imported = (median(times[label]) for label in ("bare", "status", "alone", "import"))
    return [
        Figure(
            "`edge-agent status` beside a daemon, whole process, against a bare `python -c pass`",
            status / bare,
            5,
            stretch=3,
            note=f"{status * 1e3:.0f} against {bare * 1e3:.0f} ms",
        ),
        Figure(
            "the same where no daemon runs",
            looking / bare,
            5,
            stretch=3,
            note=f"{looking * 1e3:.0f} against {bare * 1e3:.0f} ms",
        ),
        Figure(
            "importing what a POS embeds, against a bare `python -c pass`",
            imported / bare,
            note=f"{imported * 1e3:.0f} against {bare * 1e3:.0f} ms",
        ),
    ]


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
