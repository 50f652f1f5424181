"""The watch for other programs' sales goes on, whatever a look at the journal meets."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_agent.watch import JournalWatch

WAIT_S = 10


@pytest.mark.parametrize("fault", [TypeError("no row"), MemoryError()])
def test_a_fault_ends_no_watch(
    tmp_path: Path, fault: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a look stumbled over is told, and the next sale is noticed all the same (G11)."""
    monkeypatch.setattr("edge_agent.watch.LOOK_EVERY_S", 0.01)
    path, stumbled, told = tmp_path / "journal.db", threading.Event(), threading.Event()
    marks = [1]

    def newest() -> int:
        if path.exists() and not stumbled.is_set():
            stumbled.set()
            raise fault
        return marks[0]

    watch = JournalWatch(path, newest, told.set)
    watch.start()
    path.write_bytes(b"1")
    assert stumbled.wait(WAIT_S)
    marks[0] = 2
    path.write_bytes(b"more")
    assert told.wait(WAIT_S)
    watch.stop()
    assert "other programs' sales" in caplog.text
