"""The examples of docs/local-api.md sell: what is shown there runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "local-api"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_javascript_sells(api: Any, till: Any) -> None:
    """A till in JavaScript sells three times, and each sale is in the journal."""
    done = run("node", str(EXAMPLES / "pos.mjs"), str(till.agent.home), till.cola, str(api.port), "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sold ") == 3
    assert till.ledger_rows("SELECT count(*) FROM sales") == [(3,)]


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_javascript_tells_why_not(api: Any, till: Any) -> None:
    """What the agent says of a mistake reaches the till's screen."""
    done = run("node", str(EXAMPLES / "pos.mjs"), str(till.agent.home), till.nobody, str(api.port))
    assert done.returncode == 1
    assert "does not know a product" in done.stderr


@pytest.mark.skipif(shutil.which("curl") is None or os.name != "posix", reason="no curl or no shell here")
def test_curl_sells(api: Any, till: Any) -> None:
    """The shell script sells once, with the token in no argument."""
    done = run("sh", str(EXAMPLES / "pos.sh"), str(till.agent.home), till.cola, str(api.port))
    assert done.returncode == 0, done.stderr
    assert till.ledger_rows("SELECT total_minor FROM sales") == [(1_500_000,)]


def test_the_document_shows_what_runs() -> None:
    """docs/local-api.md names each example."""
    text = (EXAMPLES.parents[1] / "docs" / "local-api.md").read_text("utf-8")
    assert all(path.name in text for path in EXAMPLES.iterdir() if path.suffix in (".sh", ".mjs", ".cs"))
