"""How the daemon is asked to end, and that it does end, whatever hangs."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any

SAY_S = 1.0  # for the log's last words: what hangs may be the log
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP") if hasattr(signal, name)]
_log = logging.getLogger("edge_agent")


class Ending:
    """From a signal on the process has so long to end.

    A thread of its own hears the signals, over a socket that the system's own handler writes to: the main thread may be
    in the middle of opening a large journal, and nothing that it holds is waited for.

    Args:
        asked: set when it is to end.
        deadline_s: how long, seconds.
    """

    def __init__(self, asked: threading.Event, deadline_s: float) -> None:
        self._asked = asked
        self._deadline_s = deadline_s
        self._over = threading.Event()
        self._before: dict[int, Any] = {}
        self._ear, self._mouth = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="edge-agent-signals", daemon=True)

    def __enter__(self) -> Ending:
        self._mouth.setblocking(False)
        self._thread.start()
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            # What whoever started this has switched off stays off: nohup, and a shell's & without job control.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, _heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        if _others_run():  # the interpreter waits for them when it ends: so long, and no longer
            self._start_deadline(1 if kind else 0)
        else:
            self._over.set()
        self._mouth.close()
        self._thread.join(SAY_S)
        self._ear.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while numbers := self._ear.recv(64):
                if any(number in self._before for number in numbers) and not self._asked.is_set():
                    self._start_deadline(0)
                    self._asked.set()

    def _start_deadline(self, code: int) -> None:
        threading.Thread(target=self._end, args=(code,), name="edge-agent-deadline", daemon=True).start()

    def _end(self, code: int) -> None:
        if not self._over.wait(self._deadline_s):
            leave(
                code,
                f"stopping took longer than {self._deadline_s:.0f} s: ended all the same, what is recorded is safe",
            )


def _heard(_number: int, _frame: FrameType | None) -> None:
    """What counts is written to the socket by then."""


def _others_run() -> bool:
    ours = (threading.main_thread(), threading.current_thread())
    return any(not thread.daemon and thread not in ours for thread in threading.enumerate())


def leave(code: int, why: str) -> None:
    """End the process now, without waiting for any thread; what was recorded is on disk (G1).

    Args:
        code: its exit code.
        why: for the log, as far as that can still be written.
    """
    level = logging.CRITICAL if code else logging.WARNING

    def say() -> None:
        _log.log(level, "%s", why)
        logging.shutdown()

    words = threading.Thread(target=say, name="edge-agent-last-words", daemon=True)
    words.start()
    words.join(SAY_S)
    os._exit(code)
