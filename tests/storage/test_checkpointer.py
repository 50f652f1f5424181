"""What is left for idle moments goes on being done, whatever one of them meets."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.storage.checkpointer import Checkpointer

WAIT_S = 10


def test_a_fault_ends_no_checkpoints(
    till: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault is told, and the next pause is used all the same (G11)."""
    monkeypatch.setattr("edge_agent.storage.checkpointer.IDLE_LONG_S", 0.01)
    stumbled, done = threading.Event(), threading.Event()

    def tidy(_go_on: Callable[[], bool]) -> None:
        if not stumbled.is_set():
            stumbled.set()
            raise OSError("a disk that was pulled out")
        done.set()

    checkpointer = Checkpointer(till.agent._journal.database, tidy)
    checkpointer.note_write()
    assert stumbled.wait(WAIT_S)
    checkpointer.note_write()
    assert done.wait(WAIT_S)
    checkpointer.close()
    assert "idle moment" in caplog.text


def test_a_fault_keeps_nobody_from_closing(till: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Damage that shows when a till program ends is told in the log, and raised into no till program."""

    def tidy(_go_on: Callable[[], bool]) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    checkpointer = Checkpointer(till.agent._journal.database, tidy)
    checkpointer.note_write()
    checkpointer.close()
    assert "malformed" in caplog.text
