"""One simulated time for several processes: a small file says how it runs, and each process reads it.

Time runs many times faster than real time. Elapsed time never jumps, except that it begins anew at a reboot; the wall
clock of the till can be set wrong on top of it, head office's clock is always right.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import mmap
import os
import struct
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "FORTNIGHT_CLOCK"
WAIT_REAL_S_MIN = 0.25  # no pause of a program is shortened below this: the machine would only be busy with looking
MOMENT_REAL_S = 0.003  # readings of one thread so close together are one moment, as they would be on a till
STUCK_REAL_S = 600.0  # the watchdog's hour is meant for real requests, which here take as long as ever
_FORM = struct.Struct("<dddddd")


class Clockwork:
    """The file.

    Args:
        path: where it is.
        write: makes it anew, for who moves time.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        if write:
            path.write_bytes(bytes(_FORM.size))
        with path.open("r+b" if write else "rb") as file:
            access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), _FORM.size, access=access)
        self.path = path
        self._last = threading.local()

    def _read(self) -> tuple[float, ...]:
        while True:  # a reader may meet a half-written file
            one = self._map[: _FORM.size]
            if one == self._map[: _FORM.size]:
                return _FORM.unpack(one)

    # ---- for who moves time ------------------------------------------------------------------------------------

    def begin(self, moment: dt.datetime, speed: float) -> None:
        """Time begins at a moment and runs so many times faster than real time."""
        self._write(time.monotonic(), 1_000.0, moment.timestamp() - 1_000.0, 0.0, speed, 1.0)

    def _write(self, *values: float) -> None:
        self._map[: _FORM.size] = _FORM.pack(*values)

    def shift_wall(self, seconds: float) -> None:
        """From now on the till's wall clock is wrong by so many seconds."""
        real, elapsed, true, _, speed, boot = self._read()
        self._write(real, elapsed, true, seconds, speed, boot)

    def reboot(self) -> None:
        """The machine starts: elapsed time begins anew, the wall clock goes on (its battery is fine)."""
        _, _, _, wrong, speed, boot = self._read()
        moment = self.true_s()
        self._write(time.monotonic(), 20.0, moment - 20.0, wrong, speed, boot + 1)

    # ---- for everyone ------------------------------------------------------------------------------------------

    @property
    def speed(self) -> float:
        return self._read()[4]

    def boot(self) -> str:
        return f"boot-{self._read()[5]:.0f}"

    def _moment(self) -> tuple[float, float, float]:
        """Elapsed seconds, true time and the till's time; one moment for readings that follow each other at once."""
        now = time.monotonic()
        last = getattr(self._last, "moment", None)
        if last is not None and now - last[0] < MOMENT_REAL_S:
            found: tuple[float, float, float] = last[1]
            return found
        real, elapsed, true, wrong, speed, _ = self._read()
        elapsed += (now - real) * speed
        found = elapsed, elapsed + true, elapsed + true + wrong
        self._last.moment = now, found
        return found

    def elapsed_s(self) -> float:
        return self._moment()[0]

    def true_s(self) -> float:
        """The right time, seconds since 1970."""
        return self._moment()[1]

    def wall_s(self) -> float:
        """What the till's clock shows, seconds since 1970."""
        return self._moment()[2]

    def now(self) -> dt.datetime:
        """The right time."""
        return dt.datetime.fromtimestamp(self.true_s(), dt.UTC)


def datetime_by(now_s: Any) -> type[dt.datetime]:
    """``datetime`` whose ``now`` is another one; what it makes are plain datetimes."""

    class Kind(type(dt.datetime)):  # type: ignore[misc]
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, dt.datetime)

    class Moved(dt.datetime, metaclass=Kind):
        def __new__(cls, *values: Any, **named: Any) -> Any:
            return dt.datetime(*values, **named)  # noqa: DTZ001 - whatever was asked for

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(now_s(), tz)

        @classmethod
        def fromtimestamp(cls, value: float, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromtimestamp(value, tz)

        @classmethod
        def fromisoformat(cls, text: str) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.fromisoformat(text)

    return Moved


class Other:
    """A module with some of its names replaced."""

    def __init__(self, module: ModuleType, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def move_the_agent(work: Clockwork, program: str) -> None:
    """Have the agent in this process live by this time: its clock, and the pauses of its loops.

    Args:
        work: the time.
        program: ``run``, ``status``, …: what is loaded is what the program loads anyway.
    """
    from edge_agent.clock import Clock

    replaced: dict[str, Any] = {
        "now": lambda self: dt.datetime.fromtimestamp(work.wall_s(), dt.UTC),
        "now_ms": lambda self: int(work.wall_s() * 1000),
        "monotonic_s": lambda self: work.elapsed_s(),
        "elapsed_s": lambda self: work.elapsed_s(),
        "boot_id": lambda self: work.boot(),
        "sleep": lambda self, seconds: time.sleep(shortened(seconds, work.speed)),
    }
    for name, function in replaced.items():
        setattr(Clock, name, function)
    if program == "run":
        _move_the_daemon(work)
    elif program == "status":
        _replace(Other(dt, datetime=datetime_by(work.wall_s)), "dt", "edge_agent.cli.showing")


def _move_the_daemon(work: Clockwork) -> None:
    moved, event = datetime_by(work.wall_s), _event(work)
    _replace(Other(dt, datetime=moved), "dt", "edge_agent.daemon.run", "edge_agent.daemon.timetable")
    _replace(moved, "datetime", "apscheduler.schedulers.base", "apscheduler.executors.base")
    _replace(event, "Event", "apscheduler.schedulers.background", "apscheduler.schedulers.blocking")
    loops = ("edge_agent.loop", "edge_agent.listener", "edge_agent.daemon.run", "edge_agent.storage.checkpointer")
    _replace(Other(threading, Event=event, Condition=_condition(work)), "threading", *loops)
    _replace(STUCK_REAL_S * work.speed, "STUCK_S", "edge_agent.daemon.watchdog")


def _replace(value: object, name: str, *modules: str) -> None:
    """Have modules see something else under a name that they have."""
    for module in map(importlib.import_module, modules):
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        setattr(module, name, value)


def shortened(seconds: float, speed: float) -> float:
    """How long a pause lasts in real seconds."""
    return max(seconds / speed, min(seconds, WAIT_REAL_S_MIN))


def _condition(work: Clockwork) -> type[threading.Condition]:
    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(None if timeout is None else shortened(timeout, work.speed))

    return Condition


def _event(work: Clockwork) -> type[threading.Event]:
    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(None if timeout is None else shortened(timeout, work.speed))

    return Event


def move_head_office(work: Clockwork) -> None:
    """Have the stub in this process live by the right time. ``Dated`` must tell it in the answers."""
    import uvicorn

    _replace(datetime_by(work.true_s), "datetime", "ho_stub.rows", "ho_stub.world")
    _replace(Other(time, time=work.true_s), "time", "ho_stub.accounts")
    undated = functools.partial(uvicorn.Config, date_header=False)
    _replace(Other(uvicorn, Config=undated), "uvicorn", "ho_stub.testing")


def of_environment() -> Clockwork:
    """The time that this process was started in."""
    return Clockwork(Path(os.environ[VARIABLE]))
