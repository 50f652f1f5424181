"""What can be read of a damaged journal, and of the shadow, comes back behind the selling (G1)."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from edge_agent.domain.frozen import FrozenSale, FrozenUsage
from edge_agent.storage.adopt import Adopted, Adopting, Fate
from edge_agent.storage.aside import SHADOW_SUFFIX, damaged_files
from edge_agent.storage.database import in_own_words
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.incidents import close_incident, counted, incidents, raise_incident
from edge_agent.storage.journal import Journal
from edge_agent.storage.replaced import TakenOver, take_over
from edge_agent.storage.restore import REASON as RESTORED
from edge_agent.storage.shadow import Shadow

INCIDENT = "journal damaged"
_COPY_FOLDER = "salvage"
_DONE = "salvaged "


@in_own_words
class Salvage:
    """Brings back what damaged journals and the shadow hold. Doing it again is harmless.

    Args:
        journal: the journal in use.
        shadow: its shadow.
        store_id: this device's store.
    """

    def __init__(self, journal: Journal, shadow: Shadow, store_id: str) -> None:
        self.database = journal.database
        self._journal = journal
        self._shadow = shadow
        self._store_id = store_id

    def run(self, now_ms: int) -> list[str]:
        """Bring back what was not brought back yet.

        Args:
            now_ms: milliseconds since 1970.

        Returns:
            What happened, in sentences; empty when there was nothing to do.

        Raises:
            StoreBroken: the journal in use can't be written.
        """
        told = [self._from_file(path, now_ms) for path in damaged_files(self.database.path) if not self._is_done(path)]
        behind = self._shadow.behind()
        if behind is not None:
            told.append(self._from_shadow(behind, now_ms))
        return told

    # ---- from the shadow --------------------------------------------------------------------------------------

    def _from_shadow(self, behind: str, now_ms: int) -> str:
        adopted = self._adopt(self._shadow.entries(), "the journal's shadow", now_ms)
        words = f"{behind}; {counted(adopted.sales, adopted.usages)} came back from its second copy"
        words += _conflicting(len(adopted.conflicts))
        if adopted.sales or adopted.usages or not self._was_restored():
            with self.database.immediate() as connection:
                raise_incident(connection, INCIDENT, words, now_ms)
                close_incident(connection, INCIDENT)
        self._shadow.compact()  # from here on it speaks of the journal as it is
        return words

    def _adopt(self, entries: Iterable[FrozenSale | FrozenUsage], source: str, now_ms: int) -> Adopted:
        adopting = Adopting(self._journal, store_id=self._store_id, source=source, now_ms=now_ms)
        usages: list[tuple[FrozenUsage, Fate]] = []
        sales: list[tuple[FrozenSale, Fate]] = []
        for entry in entries:
            if isinstance(entry, FrozenSale):
                sales.append((entry, Fate(now_ms)))
            else:
                usages.append((entry, Fate(now_ms)))
            if len(sales) >= 1_000:
                adopting.sales(sales)
                sales.clear()
        adopting.sales(sales)
        adopting.usages(usages)
        return adopting.adopted

    # ---- from a damaged file ----------------------------------------------------------------------------------

    def _from_file(self, path: Path, now_ms: int) -> str:
        seen = self._signature(path)
        taken = self._read(path, now_ms)
        adopted = self._adopt(self._shadow_of(path).entries(), path.name, now_ms)
        came = counted(taken.sales + adopted.sales, taken.usages + adopted.usages)
        lost = f"; {taken.unreadable} places of it can't be read" if taken.unreadable else ""
        words = f"{came} came back from {path.name}{lost}"
        words += _conflicting(len(taken.conflicts) + len(adopted.conflicts))
        with self.database.immediate() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_DONE + path.name, seen))
            raise_incident(connection, INCIDENT, words, now_ms)
            if not taken.unreadable:
                close_incident(connection, INCIDENT)
            self._journal.note(connection, INCIDENT, path.name, words, now_ms)
        return words

    def announce(self, now_ms: int) -> None:
        """Tell of damaged journals that were not read yet: until then their sales are missing in every figure (G11)."""
        waiting = [path.name for path in damaged_files(self.database.path) if not self._is_done(path)]
        if waiting and all(incident.kind != INCIDENT for incident in incidents(self.database.connection)):
            names = ", ".join(waiting)
            self._tell(
                f"what can be read of {names} comes back with the next sync; until then it is not counted", now_ms
            )

    def _read(self, path: Path, now_ms: int) -> TakenOver:
        """Read a copy: what SQLite does to a file when it opens it must not change the original."""
        folder = path.parent / _COPY_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        copy = folder / "journal.db"
        taken = TakenOver()
        try:
            for beside in ("", "-wal", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(path.with_name(path.name + beside), copy.with_name(copy.name + beside))
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as old:
                taken = take_over(old, self._journal, store_id=self._store_id, source=path.name, now_ms=now_ms)
        except (sqlite3.Error, OSError, UnicodeDecodeError):
            taken.unreadable += 1  # not even opened: the shadow may have it all
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return taken

    def _shadow_of(self, path: Path) -> Shadow:
        """The shadow that was moved aside with a journal; the present one when that is gone."""
        beside = path.with_name(path.name + SHADOW_SUFFIX)
        return Shadow(self.database, beside) if beside.exists() else self._shadow

    def _signature(self, path: Path) -> str:
        """Changes when a program that still had the file open has written to it."""
        files = [path.with_name(path.name + beside) for beside in ("", "-wal")]
        stats = [file.stat() for file in files if file.exists()]
        return " ".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)

    def _is_done(self, path: Path) -> bool:
        row = self.database.connection.execute("SELECT value FROM meta WHERE key = ?", (_DONE + path.name,)).fetchone()
        return row is not None and row[0] == self._signature(path)

    def _was_restored(self) -> bool:
        """Whether a person has put a backup in the journal's place: then it is behind its shadow on purpose."""
        row = self.database.connection.execute("SELECT reason FROM journals ORDER BY number DESC LIMIT 1").fetchone()
        return row is not None and row[0] == RESTORED

    def _tell(self, words: str, now_ms: int) -> None:
        with self.database.immediate() as connection:
            raise_incident(connection, INCIDENT, words, now_ms)


def _conflicting(count: int) -> str:
    return f"; {count} of its ids stand for other entries here and were left out" if count else ""
