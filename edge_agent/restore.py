"""Restoring a device's journal from a backup: nobody syncs, migrates or sells while it is replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.errors import AlreadyRunning, StoreBroken
from edge_agent.settings import Settings
from edge_agent.storage import migrate
from edge_agent.storage import restore as storage
from edge_agent.storage.backup import Backup, backup_folder, backups
from edge_agent.storage.database import GROUP_FILE, PRIVATE_FILE
from edge_agent.storage.restore import Restored
from edge_agent.syncer import LOCK_NAME, LOCK_PATIENCE_S, LOOP_LOCK_NAME

__all__ = ["Backup", "Restored", "backups_of", "restore"]

JOURNAL_NAME = "journal.db"
_CLOSE_ALL = "Close the POS program and everything else that uses edge-agent on this device, then restore."


def backups_of(home: Path, settings: Settings) -> list[Backup]:
    """The backups this device can be restored from, newest first."""
    folders = {backup_folder(home, settings.backup_folder), backup_folder(home, "")}
    found = [backup for folder in folders for backup in backups(folder) if backup.device_id == settings.device_id]
    return sorted(found, key=lambda backup: (backup.taken_at, backup.path.name), reverse=True)


def restore(home: Path, settings: Settings, file: Path, clock: Clock) -> Restored:
    """Put a backup in the journal's place. It begins a new life, and nothing recorded after the backup is lost.

    Args:
        home: the device's home.
        settings: its settings.
        file: the backup.
        clock: the clock.

    Returns:
        What came from where, and where the replaced journal is kept.

    Raises:
        AlreadyRunning: a program syncs this home, or has its journal open.
        StoreBroken: the file is damaged, no backup or another device's, or there is no room. Nothing was changed.

    Contract: section 5, ``journal_id``.
    """
    import uuid6

    if not file.is_file():
        raise StoreBroken(
            f"there is no file {file}", hint="edge-agent restore --list shows the backups of this device."
        )
    journal = home / JOURNAL_NAME
    mode = GROUP_FILE if settings.group_access else PRIVATE_FILE
    with (
        _held(home / LOOP_LOCK_NAME, 0, mode, "a program syncs this device in the background"),
        _held(home / LOCK_NAME, LOCK_PATIENCE_S, mode, "a program is syncing this device just now"),
        migrate.lock(journal, mode),
    ):
        return storage.restore(
            journal,
            file,
            journal_id=str(uuid6.uuid7()),
            device_id=settings.device_id,
            store_id=settings.store_id,
            now_ms=clock.now_ms(),
            group_access=settings.group_access,
        )


@contextlib.contextmanager
def _held(path: Path, patience_s: float, mode: int, otherwise: str) -> Iterator[None]:
    """A lock between processes."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience_s, mode=mode)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunning(otherwise, hint=_CLOSE_ALL) from None
    except OSError as error:
        raise StoreBroken(
            f"{path} can't be locked: {error.strerror}", hint="Check that this user may write the folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
