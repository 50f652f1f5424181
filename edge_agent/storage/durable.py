"""Files that are on disk for sure: synced, put in place in one step, their names synced too (G1)."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

_AFTER = ("-wal", "-shm", "-journal")
_COPY_BYTES = 1024 * 1024


def sync_file(path: Path) -> None:
    """Have a file's bytes on disk before anything relies on them.

    Raises:
        OSError: the disk refused.
    """
    handle = os.open(path, os.O_RDWR)  # Windows syncs only what is open for writing
    try:
        if sys.platform == "darwin":  # fsync alone leaves a Mac's drive free to lose the write
            import fcntl

            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Have a folder's names on disk: a new or renamed file may else be gone after a power cut. POSIX only."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems can't, and keep names by themselves
            os.fsync(handle)
    finally:
        os.close(handle)


def copy_bytes(source: Path, target: Path) -> None:
    """Copy into a file that exists already, with the mode it has, and sync it."""
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, _COPY_BYTES)
    sync_file(target)


def put_in_place(fresh: Path, path: Path) -> None:
    """Give a finished file its name in one step, in place of what had it: after a crash there is the one or the other.

    Raises:
        OSError: on Windows also when a program has either file open.
    """
    sync_file(fresh)
    fresh.replace(path)
    sync_folder(path.parent)


def keep_aside(path: Path, aside: Path) -> None:
    """Keep a file under a second name too, so that what replaces it destroys nothing; where the file system knows no
    second names, the file moves."""
    try:
        os.link(path, aside)
    except FileExistsError:
        raise
    except OSError:
        path.replace(aside)
    sync_folder(path.parent)


def remove_database(path: Path) -> None:
    """Remove an SQLite file with what belongs to it; nothing when it is not there."""
    for name in (path.name, *(path.name + after for after in _AFTER)):
        path.with_name(name).unlink(missing_ok=True)
