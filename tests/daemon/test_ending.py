"""The daemon ends when it is asked to, whatever hangs; signals that were switched off stay so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

END_S_MAX = 30
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")

BEGIN = """
import signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from edge_agent.daemon.ending import Ending
asked = threading.Event()
"""
PATIENT = """
with Ending(asked, 20.0):
    print("up", flush=True)
    asked.wait()
print("ended", flush=True)
"""
HANGS_INSIDE = """
with Ending(asked, 0.2):
    print("up", flush=True)
    threading.Lock().acquire() and time.sleep(60)
"""
BUSY_FOR_LONG = """
with Ending(asked, 0.2):
    print("up", flush=True)
    import sqlite3  # in the middle of one statement: no Python runs in this thread
    sqlite3.connect(":memory:").execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000000) SELECT count(*) FROM n")
"""
HANGS_AT_THE_END = """
with Ending(asked, 0.2):
    ThreadPoolExecutor(1).submit(time.sleep, 60)
    print("up", flush=True)
    asked.wait()
"""
HANGING_LOG = """
import logging
class Hangs(logging.Handler):
    def emit(self, record):
        time.sleep(60)
logging.getLogger().addHandler(Hangs())
with Ending(asked, 0.2):
    print("up", flush=True)
    time.sleep(60)
"""


def started(program: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + program], stdout=subprocess.PIPE, text=True, preexec_fn=before
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_it_to_end(number: int) -> None:
    """A service's stop, Ctrl-C and a terminal that is closed: exit 0, with everything put away."""
    process = started(PATIENT)
    process.send_signal(number)
    assert process.communicate(timeout=END_S_MAX)[0] == "ended\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_was_switched_off_stays_off(number: int) -> None:
    """nohup, and a shell's & without job control: closing the terminal ends nothing; SIGTERM still does."""
    process = started(PATIENT, lambda: signal.signal(number, signal.SIG_IGN))
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.communicate(timeout=END_S_MAX)[0] == "ended\n"
    assert process.returncode == 0


@pytest.mark.parametrize("program", [HANGS_INSIDE, BUSY_FOR_LONG, HANGS_AT_THE_END, HANGING_LOG])
def test_nothing_keeps_it_beyond_its_deadline(program: str) -> None:
    """A start that takes minutes, a job that hangs, a log that hangs: exit 0 all the same."""
    process = started(program)
    process.terminate()
    process.communicate(timeout=END_S_MAX)
    assert process.returncode == 0
