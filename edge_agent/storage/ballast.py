"""Room held back for the day the disk is full: dropping it lets sales go on until a person has made space (G1).

On a full disk reads work, but nothing can be written, not even a deletion inside a database. A file of its own can be
deleted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from edge_agent.errors import StoreBroken
from edge_agent.storage import durable
from edge_agent.storage.database import PRIVATE_FILE

FILE_NAME = "ballast"
INCIDENT = "disk full"
MIB = 1024 * 1024
WORTH = 4  # held back only where at least so many times its size is free
NO_ROOM_BYTES = MIB  # less than this and an I/O error is one of room


class Ballast:
    """The ballast of a home.

    Args:
        home: the device's home.
        mib: its size in MiB; 0 for none.
        free_bytes: the room in a folder.
    """

    def __init__(
        self,
        home: Path,
        mib: int,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.path = home / FILE_NAME
        self._home = home
        self._bytes = mib * MIB
        self._free_bytes = free_bytes

    def room(self) -> int:
        """Bytes that are free on the home's disk."""
        return self._free_bytes(self._home)

    @property
    def is_there(self) -> bool:
        """Whether all of it is held back now."""
        try:
            return self.path.stat().st_size == self._bytes
        except OSError:
            return self._bytes == 0

    def ensure(self) -> bool:
        """Hold the room back, if there is plenty. Never raises: what can't be done now is done another day.

        Returns:
            Whether it is held back.
        """
        if self.is_there:
            return True
        fresh = self.path.with_suffix(".new")
        try:
            if self._bytes == 0:
                self.path.unlink(missing_ok=True)
                return True
            if self.room() < WORTH * self._bytes:
                return False
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            _allocate(fresh, self._bytes)
            fresh.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            return False
        return True

    def release(self) -> bool:
        """Give the room back; whether there was any."""
        try:
            self.path.unlink()
            durable.sync_folder(self._home)
        except OSError:
            return False
        return True

    def is_full(self, error: StoreBroken) -> bool:
        """Whether an error comes from a full disk. Some file systems say "I/O error" for it."""
        text = str(error.__cause__).lower()
        if "full" in text or "no space" in text:
            return True
        try:
            return "i/o" in text and self.room() < NO_ROOM_BYTES
        except OSError:
            return False


def low_disk(home: Path, warn_mib: int) -> int | None:
    """Free bytes on the home's disk when they are fewer than people want to be warned of, else None.

    Args:
        home: the device's home.
        warn_mib: the setting ``disk_warn_mib``.
    """
    try:
        free = shutil.disk_usage(home).free
    except OSError:
        return None
    return free if free < warn_mib * MIB else None


def full(what: str, external_id: str) -> StoreBroken:
    """The words for a cashier whose sale or use could not be stored.

    Args:
        what: ``sale`` or ``promotion use``.
        external_id: to ask again with.
    """
    return StoreBroken(
        f"This {what} could not be saved: the disk of this device is full.",
        hint="Free some space on this device and record it again; do not hand over goods or receipt before that. "
        "Everything recorded before is safe.",
        external_id=external_id,
    )


def _allocate(path: Path, size: int) -> None:
    """Make a file whose bytes are really taken from the disk."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        else:
            for _ in range(size // MIB):
                os.write(handle, bytes(MIB))
        os.fsync(handle)
    finally:
        os.close(handle)
