"""One daemon a home, and where other programs find it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from edge_agent.errors import AlreadyRunning, StoreBroken

LOCK_NAME = "daemon.lock"
FILE_NAME = "daemon.json"
_FOR_ALL = 0o644
_PORTS = range(65_536)


@dataclass(frozen=True, slots=True)
class Presence:
    """A running daemon.

    Args:
        pid: its process.
        port: of its loopback API on 127.0.0.1; 0: none.
        socket: its Unix socket; empty: none.
        version: of the agent.
        started_at: ISO 8601 in UTC.
    """

    pid: int
    port: int
    socket: str
    version: str
    started_at: str


@contextlib.contextmanager
def one_daemon(home: Path) -> Iterator[None]:
    """Hold the home's daemon lock; the operating system frees that of a killed one.

    Raises:
        AlreadyRunning: another daemon serves this home.
        StoreBroken: the lock can't be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(home / LOCK_NAME, timeout=0, thread_local=False, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        there = find(home)
        who = f" (process {there.pid}, since {there.started_at})" if there else ""
        raise AlreadyRunning(
            f"a daemon runs for this device already{who}",
            hint="Nothing to do: it syncs. To restart it, stop that one first; edge-agent status tells how it is.",
        ) from None
    except OSError as error:
        raise StoreBroken(
            f"{home / LOCK_NAME} can't be locked: {error.strerror}",
            hint="Check that this user may write the folder; group_access shares a home with a group.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def lives(home: Path) -> bool:
    """Whether a daemon serves this home now: it holds the lock. One that this user may not try is another user's."""
    path = home / LOCK_NAME
    if not path.exists():
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0, thread_local=False, mode=0o600):
            return False
    except Timeout:
        return True
    except OSError:
        return True


def announce(home: Path, presence: Presence) -> None:
    """Write where the daemon is found, in one step. It holds no secret: every user of the device may read it.

    Raises:
        OSError: the home can't be written.
    """
    path = home / FILE_NAME
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)  # a link that somebody planted in a shared home must not be written through
    handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _FOR_ALL)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(presence)) + "\n")
        if os.name == "posix":
            os.chmod(handle, _FOR_ALL)  # noqa: PTH101 - the very file: the umask may have taken bits away
    fresh.replace(path)


def withdraw(home: Path) -> None:
    """Take the announcement back."""
    with contextlib.suppress(OSError):
        (home / FILE_NAME).unlink()


def find(home: Path) -> Presence | None:
    """What a daemon announced; None when none did. A killed one leaves its announcement: try the port."""
    try:
        there = msgspec.json.decode((home / FILE_NAME).read_bytes(), type=Presence)
    except (OSError, ValueError):
        return None
    return there if there.port in _PORTS else None
