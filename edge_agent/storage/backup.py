"""Backups of the journal: copied while others sell and sync, checked before they get their name, rotated.

The copy is taken with SQLite's own backup. In WAL mode it reads one moment's view, which nobody waits for. In TRUNCATE
mode it takes a few pages at a time; when a sale comes between it begins again with larger steps, so that it ends on a
busy device too, and a sale waits for one step at most.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import StoreBroken
from edge_agent.storage import check, durable
from edge_agent.storage.database import (
    BUSY_TIMEOUT_MS,
    GROUP_FILE,
    PRIVATE_FILE,
    broken,
    create_private,
)
from edge_agent.storage.engine import sqlite3

FOLDER_NAME = "backups"
AUDIT_FOLDER_NAME = "audit"
PAGES_PER_STEP = 200  # some 0.8 MB
ROOM_LEFT_BYTES = 32 * 1024 * 1024  # a backup never takes the last room: sales need it
KEPT_BEFORE_MIGRATIONS = 2
_GROUP_FOLDER, _PRIVATE_FOLDER = 0o770, 0o700
_LOCK_WAIT_S = 5.0
_BUSY_PAUSE_S = 0.01
_NAME = re.compile(r"journal-(\d{8}T\d{6}Z)(?:-\d+)?\.db")
_BEFORE = re.compile(r"journal-before-\w+(?:-\d+)?\.db")


@dataclass(frozen=True, slots=True)
class Backup:
    """A checked backup.

    Args:
        path: the file.
        device_id: whose journal it is.
        sales: ledger lines in it.
        usages: uses of promotions in it.
        last_number: the last ``device_seq`` of the life it was taken from.
        bytes: the file's size.
    """

    path: Path
    device_id: str
    sales: int
    usages: int
    last_number: int
    bytes: int

    @property
    def taken_at(self) -> dt.datetime:
        """When, in UTC: as the name says, else the file's time."""
        named = _NAME.fullmatch(self.path.name)
        if named is None:
            return dt.datetime.fromtimestamp(self.path.stat().st_mtime, dt.UTC)
        return dt.datetime.strptime(named[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)


def back_up(
    journal: Path,
    folder: Path,
    keep: int,
    *,
    now: dt.datetime,
    group_access: bool = False,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> Backup:
    """Copy a journal while it is in use, check the copy, and let older ones go.

    Args:
        journal: ``journal.db``.
        folder: where the copy goes; made when absent. Other devices may keep theirs there too.
        keep: how many of this device's backups stay, this one included.
        now: the moment in the copy's name, UTC.
        group_access: share folder and copy with their group.
        free_bytes: the room in a folder.

    Raises:
        StoreBroken: no room, no access, or the copy is not whole. Nothing half-made stays, older backups stay.
    """
    with _alone(journal, group_access):
        made = _copy(journal, folder, f"journal-{now:%Y%m%dT%H%M%SZ}", group_access, free_bytes)
        _rotate(folder, made, keep)
        return made


def audit(journal: Path, *, group_access: bool = False) -> Backup:
    """Check a journal that is in use, whole: on a copy that is thrown away, so that nobody waits for it.

    Args:
        journal: ``journal.db``.
        group_access: share the copy with its group.

    Returns:
        What it holds.

    Raises:
        StoreBroken: it is damaged, or there is no room for the copy.
    """
    with _alone(journal, group_access):
        made = _copy(journal, journal.parent / AUDIT_FOLDER_NAME, "journal-audit", group_access, _free_bytes)
        shutil.rmtree(made.path.parent, ignore_errors=True)
        return made


def back_up_before_migration(journal: Path, migration: str, *, group_access: bool = False) -> Backup:
    """The backup before a migration changes the journal. It stands apart from the others' rotation; two stay.

    Args:
        journal: ``journal.db``.
        migration: the first migration that will run.
        group_access: share folder and copy with their group.

    Raises:
        StoreBroken: as :func:`back_up`.
    """
    folder = journal.parent / FOLDER_NAME
    with _alone(journal, group_access):
        made = _copy(journal, folder, f"journal-before-{migration}", group_access, _free_bytes)
        before = [path for path in folder.iterdir() if _BEFORE.fullmatch(path.name) and path != made.path]
        before.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        _remove(before[KEPT_BEFORE_MIGRATIONS - 1 :])
        return made


def backup_folder(home: Path, setting: str) -> Path:
    """Where a device's backups are: as the setting says, else in its home."""
    return Path(setting).expanduser() if setting else home / FOLDER_NAME


def backups(folder: Path) -> list[Backup]:
    """The backups in a folder, of whichever device, newest first; those before migrations too."""
    if not folder.is_dir():
        return []
    names = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) or _BEFORE.fullmatch(path.name)]
    found = [_backup(path, inside) for path in names if (inside := check.glance(path)) is not None]
    return sorted(found, key=lambda backup: (backup.taken_at, backup.path.name), reverse=True)


def _backup(path: Path, inside: check.Contents) -> Backup:
    return Backup(path, inside.device_id, inside.sales, inside.usages, inside.last_number, path.stat().st_size)


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def _alone(journal: Path, group_access: bool) -> Iterator[None]:
    """One backup of a journal at a time: what another run left half-made can then be removed."""
    from filelock import FileLock, Timeout

    lock = FileLock(
        journal.with_suffix(".backup.lock"), timeout=_LOCK_WAIT_S, mode=GROUP_FILE if group_access else PRIVATE_FILE
    )
    try:
        lock.acquire()
    except Timeout:
        raise StoreBroken(
            "another backup of this journal is being made just now", hint="Wait for it, then look at its result."
        ) from None
    except OSError as error:
        raise broken(error, journal) from error
    try:
        yield
    finally:
        lock.release()


def _copy(journal: Path, folder: Path, stem: str, group_access: bool, free_bytes: Callable[[Path], int]) -> Backup:
    """A checked copy of the journal under a free name."""
    try:
        _make_folder(folder, group_access)
        with closing(_connect(journal)) as source:
            inside = check.contents(source)
            device = inside.device_id if inside else "nobody"
            fresh = folder / f".{device}-{journal.stem}.part"
            try:
                _need_room(journal, folder, free_bytes)
                durable.remove_database(fresh)
                create_private(fresh, GROUP_FILE if group_access else PRIVATE_FILE)
                _copy_pages(source, fresh)
                found = check.check(fresh)
                if inside is not None and found.progress < inside.progress:
                    raise StoreBroken("the backup holds less than the journal", hint="Check the disk, then try again.")
                path = _free_name(folder, stem)
                durable.put_in_place(fresh, path)
            finally:
                with contextlib.suppress(OSError):
                    durable.remove_database(fresh)
        return _backup(path, found)
    except (sqlite3.Error, OSError) as error:
        raise _in_words(error, folder) from error


def _make_folder(folder: Path, group_access: bool) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        if group_access:
            folder.chmod(_GROUP_FOLDER)


def _need_room(journal: Path, folder: Path, free_bytes: Callable[[Path], int]) -> None:
    files = (journal, journal.with_name(journal.name + "-wal"))
    needed = sum(file.stat().st_size for file in files if file.exists()) + ROOM_LEFT_BYTES
    if free_bytes(folder) < needed:
        raise _no_room(folder)


def _no_room(folder: Path) -> StoreBroken:
    return StoreBroken(
        f"there is no room for a backup in {folder}: its disk is full",
        hint="The journal itself is as it was. Free some space, or name a folder on another disk with --to.",
    )


def _in_words(error: Exception, folder: Path) -> StoreBroken:
    text = str(error).lower()
    if "full" in text or "no space" in text:
        return _no_room(folder)
    if "malformed" in text or "not a database" in text:
        return broken(error, folder)
    return StoreBroken(
        f"the backup in {folder} could not be made: {error}",
        hint="The journal itself is as it was. Check that this user may write the folder, and that its disk is there.",
    )


def _connect(journal: Path) -> sqlite3.Connection:
    return sqlite3.connect(journal, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)


class _BeganAgain(Exception):
    """A sale came between two steps, so that SQLite began the copy anew."""


def _copy_pages(source: sqlite3.Connection, fresh: Path) -> None:
    mode = source.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "wal":
        source.execute("BEGIN")  # one moment's view: writers go on beside it
        source.execute("SELECT 1 FROM sqlite_schema").fetchone()
    pages = PAGES_PER_STEP
    while True:
        with closing(sqlite3.connect(fresh, isolation_level=None)) as target:
            target.execute("PRAGMA journal_mode = OFF")  # a copy that fails is thrown away; one that is whole is
            target.execute("PRAGMA synchronous = OFF")  # synced before it gets its name
            try:
                source.backup(target, pages=pages, progress=_stop_when_begun_again(), sleep=_BUSY_PAUSE_S)
                break
            except _BeganAgain:
                pages *= 2
        os.truncate(fresh, 0)
    if mode == "wal":
        source.execute("COMMIT")


def _stop_when_begun_again() -> Callable[[int, int, int], None]:
    least: int | None = None

    def progress(_status: int, remaining: int, _total: int) -> None:
        nonlocal least
        if least is not None and remaining > least:
            raise _BeganAgain
        least = remaining

    return progress


def _free_name(folder: Path, stem: str) -> Path:
    path, number = folder / f"{stem}.db", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.db"
    return path


def _rotate(folder: Path, made: Backup, keep: int) -> None:
    """Let this device's older backups go. What is older is told by what they hold: a clock may have jumped."""
    older = []
    for path in folder.iterdir():
        if path != made.path and _NAME.fullmatch(path.name):
            inside = check.glance(path)
            if inside is not None and inside.device_id == made.device_id:
                older.append((inside.progress, path.name, path))
    _remove([path for _, _, path in sorted(older, reverse=True)[max(keep, 1) - 1 :]])


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # a file that can't go now goes next time
            path.unlink()
