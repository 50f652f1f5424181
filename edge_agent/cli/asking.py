"""Asks this home's daemon for the status: it has everything loaded and open, and answers in a few milliseconds.

Looking oneself costs a slow till most of a second, nearly all of it for loading. So what is imported here is counted:
see the rows of ``edge-agent status`` in bench/README.md.
"""

from __future__ import annotations

import json
import os
import socket
import time

from edge_agent import __version__

TYPE_CHECKING = False  # typing's own takes as long to load as Python itself
if TYPE_CHECKING:
    from typing import Any

ANSWER_S_MAX = 2.0  # whoever looks instead has its answer in that time as well
BYTES_MAX = 4 * 1024 * 1024
_HOME = "EDGE_AGENT_HOME"
_READ_BYTES = 64 * 1024


def ask_daemon() -> tuple[bytes, dict[str, Any]] | None:
    """The status as the daemon tells it: its JSON as it came, and what that says.

    Returns:
        None when nobody can be asked who would answer as this process would: no daemon runs, it is of another version,
        the settings may be others than it began with, or it does not answer at once.
    """
    home = _home()
    if home is None:
        return None
    try:
        port = _port_of_daemon(home)
        if not port:
            return None
        body = _get(port, "/v1/status", key=_read(f"{home}/local-api.token")[0].strip())
        state = json.loads(body)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return (body, state) if isinstance(state, dict) and "pending" in state else None


def _home() -> str | None:
    """The folder that :func:`~edge_agent.settings.find_home` finds, where there is no doubt; None as well while the
    environment holds settings of its own."""
    if any(name.startswith("EDGE_AGENT_") and name != _HOME for name in os.environ):
        return None
    given = os.environ.get(_HOME)
    if given:
        return os.path.expanduser(given)  # noqa: PTH111 - as in _read
    import platformdirs

    folders = (platformdirs.site_data_dir("edge-agent", False), platformdirs.user_data_dir("edge-agent", False))
    found = [folder for folder in folders if os.access(f"{folder}/settings.toml", os.R_OK)]
    return found[0] if len(found) == 1 else None


def _read(path: str) -> tuple[bytes, int]:
    """A file's bytes, and when it was written, nanoseconds since 1970."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes half as long to load as Python itself
        return file.read(BYTES_MAX), os.fstat(file.fileno()).st_mtime_ns


def _port_of_daemon(home: str) -> int:
    """The port of the daemon that runs for this home; 0 when none does, or one that may answer otherwise.

    Raises:
        OSError, ValueError, LookupError, TypeError: none announced itself, or what it wrote can't be read.
    """
    said, said_ns = _read(f"{home}/daemon.json")
    there = json.loads(said)
    settings_ns = _read(f"{home}/settings.toml")[1]
    if there["version"] != __version__ or settings_ns >= said_ns or not _lives(home, int(there["pid"])):
        return 0
    return int(there["port"])


def _lives(home: str, pid: int) -> bool:
    """Whether the daemon lives: then no other program has its port, and the key goes to nobody else. Its lock tells,
    which is tried only beside a living process, so as to keep no daemon from starting."""
    try:
        import fcntl
    except ImportError:  # on Windows whoever asks looks
        return False
    os.kill(pid, 0)
    lock = os.open(f"{home}/daemon.lock", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _get(port: int, path: str, *, key: bytes) -> bytes:
    """What the daemon answers.

    Raises:
        OSError: nothing, or not in time.
        ValueError: an error, or a part of it.
    """
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nAuthorization: Bearer ".encode()
    end_s = time.monotonic() + ANSWER_S_MAX
    answer = bytearray()
    with socket.socket() as connection:
        connection.settimeout(ANSWER_S_MAX)
        connection.connect(("127.0.0.1", port))
        connection.sendall(head + key + b"\r\n\r\n")
        while len(answer) < BYTES_MAX:
            connection.settimeout(max(0.001, end_s - time.monotonic()))
            part = connection.recv(_READ_BYTES)
            if not part:
                break
            answer += part
    top, _, body = bytes(answer).partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200 ") or f"content-length: {len(body)}\r\n".encode() not in top.lower() + b"\r\n":
        raise ValueError("no whole answer")
    return body
