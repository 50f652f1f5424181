"""`edge-agent` on a home of its own: as a call in this process, or as a process."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import main


class Shell:
    """Runs commands in this process, by the function that a process would call."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("EDGE_AGENT_")} | {
            "EDGE_AGENT_HOME": str(home),
            "PYTHONUTF8": "1",
        }

    def __call__(self, *words: str, stdin: str = "", exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """One command; its exit code must be as said, and no traceback may show."""
        done = self._run(words, stdin)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *words: str, stdin: str = "", exit_code: int = 0) -> Any:
        """The command's ``--json``."""
        return json.loads(self(*words, "--json", stdin=stdin, exit_code=exit_code).stdout)

    def _run(self, words: tuple[str, ...], stdin: str) -> subprocess.CompletedProcess[str]:
        written = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["edge-agent", *words])
            patch.setenv("EDGE_AGENT_HOME", str(self.home))
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
            streams = {name: io.TextIOWrapper(written[name], "utf-8") for name in written}
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            try:
                with pytest.raises(SystemExit) as end:
                    main()
            finally:
                gc.enable()  # a command that ends at once does without
                for stream in streams.values():
                    stream.flush()
        said = {name: kept.getvalue().decode() for name, kept in written.items()}
        return subprocess.CompletedProcess(words, int(end.value.code or 0), **said)


class Processes(Shell):
    """Runs each command as a process of its own."""

    def _run(self, words: tuple[str, ...], stdin: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edge_agent", *words],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=self.environment,
            timeout=60,
            check=False,
        )
