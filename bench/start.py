"""Starting: whole processes, against a bare Python, in turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.device import fill_catalogue, make_home, open_agent
from bench.figure import Figure, median, seconds

_BARE = [sys.executable, "-c", "pass"]
_STATUS = [sys.executable, "-m", "edge_agent", "status"]
_IMPORT = [sys.executable, "-c", "from edge_agent import EdgeAgent, Item, Payment"]


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """What a person waits for at the command line, and what embedding costs a POS."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        home = make_home(Path(name) / "home")
        with open_agent(home) as agent:
            fill_catalogue(agent, 2_000)
        say("start: whole processes")
        environment = os.environ | {"EDGE_AGENT_HOME": str(home)}
        times: dict[str, list[float]] = {"bare": [], "status": [], "import": []}
        for _ in range(3 if quick else 15):
            for label, command in (("bare", _BARE), ("status", _STATUS), ("import", _IMPORT)):
                times[label].append(
                    seconds(
                        lambda command=command: subprocess.run(
                            command, check=True, capture_output=True, env=environment
                        )
                    )
                )
    bare, status, imported = (median(times[label]) for label in ("bare", "status", "import"))
    return [
        Figure(
            "`edge-agent status`, whole process, against a bare `python -c pass`",
            status / bare,
            5,
            stretch=3,
            note=f"{status * 1e3:.0f} against {bare * 1e3:.0f} ms",
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
