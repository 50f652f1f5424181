"""The programs of the shop as processes: the daemon under a service manager, two tills, and ``edge-agent status``."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent.parent
RESTART_PAUSE_S = 0.2
END_S_MAX = 30.0
AGAIN_S = 0.06
_Popen = subprocess.Popen


def launched(*words: str) -> list[str]:
    """The command that starts a program of ours in simulated time."""
    return [sys.executable, "-m", "tests.fortnight.launch", *words]


@dataclass
class Service:
    """The daemon, and a service manager that starts it again when it ends by itself."""

    home: Path
    environment: dict[str, str]
    log: IO[str]
    process: _Popen[bytes] | None = None
    wanted: bool = False
    started: int = 0
    ended_by_itself: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.wanted = True
        self._start()

    def _start(self) -> None:
        self.started += 1
        self.process = _Popen(launched("run"), cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)

    def look(self) -> None:
        """What a service manager does."""
        if self.wanted and self.process is not None and self.process.poll() is not None:
            self.ended_by_itself.append(self.process.returncode)
            time.sleep(RESTART_PAUSE_S)
            self._start()

    def kill(self) -> None:
        """kill -9; the service manager starts it anew by :meth:`start`."""
        self.wanted = False
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def end(self) -> int:
        """An orderly stop; the exit code."""
        self.wanted = False
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S_MAX)

    def figures(self) -> dict[str, float]:
        """Memory in MB and processor seconds of the present process; empty while it does not run."""
        import psutil

        if self.process is None or self.process.poll() is not None:
            return {}
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.process.pid)
            times = found.cpu_times()
            return {
                "pid": found.pid,
                "rss_mb": found.memory_info().rss / 1e6,
                "cpu_s": times.user + times.system,
                "threads": found.num_threads(),
                "files": found.num_fds() if os.name == "posix" else 0,
            }
        return {}

    def is_up(self) -> bool:
        """Whether this very process says that it runs."""
        try:
            there = json.loads((self.home / "daemon.json").read_text())
        except (OSError, ValueError):
            return False
        return self.process is not None and bool(there["pid"] == self.process.pid)


@dataclass
class Counted:
    """What became of one thing that a till was told to record."""

    asked: dict[str, Any]
    answer: dict[str, Any] | None = None
    tries: int = 0
    took_real_s: float = 0.0


class Pos:
    """A till: a process, and the person at it, who asks for each sale until the till says that it is recorded.

    Args:
        name: for people.
        command: starts the process.
        environment: its environment.
        log: where its stderr goes.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: IO[str]) -> None:
        self.name = name
        self.done: list[Counted] = []
        self.refusals: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.slowest_real_s = 0.0
        self.starts = 0
        self._ending = False
        self._command, self._environment, self._log = command, environment, log
        self._queue: queue.Queue[tuple[Counted, Callable[[Counted], None] | None] | None] = queue.Queue()
        self._process: _Popen[str] | None = None
        self._allowed = threading.Event()
        self._changing = threading.Lock()
        self.busy = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"pos-{name}", daemon=True)

    # ---- for the driver ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """The till is switched on."""
        self._allowed.set()
        if not self._thread.is_alive():
            self._thread.start()

    def kill(self) -> None:
        """kill -9; it stays off until :meth:`open`."""
        self._allowed.clear()
        with self._changing:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def _let_go(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # what was on its way to a program that was killed
                    assert pipe is not None
                    pipe.close()

    def ask(self, asked: dict[str, Any], then: Callable[[Counted], None] | None = None) -> None:
        """Have something done; what was begun before comes first."""
        self._queue.put((Counted(asked), then))

    def waiting(self) -> int:
        """How much was asked and is not answered."""
        return self._queue.unfinished_tasks

    def close(self) -> None:
        """Switch it off for good."""
        self._ending = True
        self._queue.put(None)
        if self._queue.unfinished_tasks > 1:
            self.kill()
            self._allowed.set()
        self._thread.join(END_S_MAX)
        self.kill()
        self._let_go()

    # ---- in the thread -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (taken := self._queue.get()) is not None:
            counted, then = taken
            began = time.monotonic()
            self.busy.set()
            while (answer := self._once(counted)) is None:
                if self._ending:
                    return
            self.busy.clear()
            counted.answer = answer
            counted.took_real_s = time.monotonic() - began
            if counted.asked["do"] in ("sell", "use"):
                self.slowest_real_s = max(self.slowest_real_s, counted.took_real_s)
                if "error" in answer:
                    self.wrong.append(f"{self.name}: {answer['error']}")
                else:
                    self.done.append(counted)
            if then is not None:
                then(counted)
            self._queue.task_done()

    def _once(self, counted: Counted) -> dict[str, Any] | None:
        """Ask once; None when nothing is proved and the same is to be asked again."""
        self._allowed.wait()
        counted.tries += 1
        process = self._running()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(counted.asked) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line.endswith("\n"):
                raise BrokenPipeError
        except (OSError, ValueError):
            self.refusals["the till was killed or ended"] += 1
            time.sleep(AGAIN_S)
            return None
        answer: dict[str, Any] = json.loads(line)
        if answer.get("last"):
            self.refusals[answer["last"]] += 1
        if str(answer.get("error", "")).startswith("STORE_BROKEN"):  # it may be stored all the same: the same id again
            self.refusals[answer["error"]] += 1
            time.sleep(AGAIN_S)
            return None
        return answer

    def _running(self) -> _Popen[str]:
        with self._changing:
            if self._process is None or self._process.poll() is not None:
                self.starts += 1
                self._let_go()
                self._process = _Popen(
                    self._command,
                    cwd=ROOT,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    text=True,
                    encoding="utf-8",
                )
            return self._process


def status_of(environment: dict[str, str]) -> tuple[str, int]:
    """What ``edge-agent status`` says, and its exit code."""
    done = subprocess.run(
        launched("status"), cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    return (done.stdout or done.stderr).strip(), done.returncode
