"""Puts a backup in a journal's place. Everything is prepared beside the journal; one rename makes it the journal (G1).

A crash before that rename has changed nothing, one after it has changed everything: the new life has begun and what the
old journal held beyond the backup is taken over before the copy becomes the journal.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import AlreadyRunning, StoreBroken
from edge_agent.storage import check, durable
from edge_agent.storage.database import GROUP_FILE, PRIVATE_FILE, broken, create_private
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal
from edge_agent.storage.replaced import TakenOver, take_over

FRESH_NAME = "restoring.db"
REASON = "restored from a backup"
_PATIENCE_S = 1.0  # for a program that has the journal open just now


@dataclass(frozen=True, slots=True)
class Restored:
    """How a restore went.

    Args:
        file: the backup.
        journal_id: the life that begins with it.
        sales: ledger lines that came from the backup.
        usages: uses of promotions that came from it.
        last_number: the last number of the life it was taken from.
        replaced: where the journal is now that was there before; None when there was none.
        taken_over: what that journal held beyond the backup.
    """

    file: Path
    journal_id: str
    sales: int
    usages: int
    last_number: int
    replaced: Path | None
    taken_over: TakenOver


def restore(
    journal: Path,
    file: Path,
    *,
    journal_id: str,
    device_id: str,
    store_id: str,
    now_ms: int,
    group_access: bool = False,
) -> Restored:
    """Put a backup in the journal's place; the caller holds the locks that keep other syncers away.

    Args:
        journal: ``journal.db``; may be absent or damaged.
        file: the backup.
        journal_id: a new UUID: sales recorded from now on count from 1 under it (contract, section 5).
        device_id: this device's name.
        store_id: this device's store.
        now_ms: milliseconds since 1970.
        group_access: share the file with its group.

    Raises:
        AlreadyRunning: a program has the journal open.
        StoreBroken: the backup is damaged, no backup, or another device's; or there is no room. Nothing was changed.
    """
    if journal.exists() and file.samefile(journal):
        raise StoreBroken(f"{file} is the journal in use", hint="Name a backup: edge-agent restore --list shows them.")
    inside = check.check(file)
    if inside.device_id != device_id:
        raise StoreBroken(
            f"{file} is a backup of {inside.device_id}, and this device is {device_id}",
            hint="Sales of another device come here with edge-agent outbox import: restore it on a device of its own, "
            "then run edge-agent outbox export there.",
        )
    fresh = journal.with_name(FRESH_NAME)
    try:
        durable.remove_database(fresh)
        create_private(fresh, GROUP_FILE if group_access else PRIVATE_FILE)
        durable.copy_bytes(file, fresh)
        with _old_journal(journal) as old:
            taken = TakenOver()
            with closing(Journal(fresh, group_access=group_access)) as successor:
                successor.begin_life(journal_id, device_id, reason=REASON, now_ms=now_ms)
                if old is not None:
                    taken = take_over(
                        old, successor, store_id=store_id, source="the journal it replaced", now_ms=now_ms
                    )
            aside = _switch(journal, fresh, old, now_ms)
    except sqlite3.Error as error:
        raise broken(error, journal) from error
    except OSError as error:
        raise _in_words(error, journal) from error
    finally:
        with contextlib.suppress(OSError):
            durable.remove_database(fresh)
            fresh.with_suffix(".migrate.lock").unlink(missing_ok=True)
    return Restored(file, journal_id, inside.sales, inside.usages, inside.last_number, aside, taken)


@contextlib.contextmanager
def _old_journal(journal: Path) -> Iterator[sqlite3.Connection | None]:
    """The journal that is there, for us alone: nobody records into it while its successor is made.

    Leaving WAL mode needs the file for oneself, so it tells whether a program has it open; and it leaves one file.
    """
    if not journal.exists():
        yield None
        return
    was_wal = False
    with closing(sqlite3.connect(journal, isolation_level=None, timeout=_PATIENCE_S)) as old:
        try:
            was_wal = old.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            old.execute("PRAGMA journal_mode = DELETE").fetchone()
            old.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error).lower() or "busy" in str(error).lower():
                raise AlreadyRunning(
                    f"a program has {journal.name} open",
                    hint="Close the POS program and everything else that uses edge-agent on this device, then restore.",
                ) from error
        except sqlite3.DatabaseError:
            # Damaged: what can be read of it is taken over, as far as it goes. This lets SQLite read a file that is
            # shorter than it says.
            old.execute("PRAGMA writable_schema = ON")
        try:
            yield old
        except BaseException:
            if was_wal:  # it stays the journal: as it was
                with contextlib.suppress(sqlite3.Error):
                    if old.in_transaction:
                        old.execute("ROLLBACK")
                    old.execute("PRAGMA journal_mode = WAL").fetchone()
            raise


def _switch(journal: Path, fresh: Path, old: sqlite3.Connection | None, now_ms: int) -> Path | None:
    """Make the finished copy the journal; the old one is kept under another name."""
    if old is None:
        durable.put_in_place(fresh, journal)
        return None
    if os.name != "posix" or not old.in_transaction:
        old.close()  # Windows renames no open file; a damaged journal's WAL goes with it, and must be at rest
    aside = journal.with_name(f"{journal.name}.replaced-{now_ms}")
    durable.keep_aside(journal, aside)
    try:
        for after in ("-wal", "-journal"):
            beside = journal.with_name(journal.name + after)
            if beside.exists():
                beside.replace(aside.with_name(aside.name + after))
        journal.with_name(journal.name + "-shm").unlink(missing_ok=True)
        durable.put_in_place(fresh, journal)
    except OSError:  # back to how it was
        for after in ("", "-wal", "-journal"):
            beside = aside.with_name(aside.name + after)
            if beside.exists():
                beside.replace(journal.with_name(journal.name + after))
        aside.unlink(missing_ok=True)  # renaming one name of a file to its other name does nothing
        raise
    return aside


def _in_words(error: OSError, journal: Path) -> StoreBroken:
    if isinstance(error, PermissionError):
        return StoreBroken(
            f"{journal.name} can't be replaced",
            hint="Close the POS program and everything else that uses edge-agent on this device, and check that this "
            "user may write its folder. Nothing was changed.",
        )
    return broken(error, journal)
