"""Whether a journal's file is whole: its pages, its fingerprints, its numbers (G2). For files that nobody writes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_agent.domain import canonical
from edge_agent.errors import StoreBroken
from edge_agent.storage.database import broken
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.migrate import check_writer

_TABLES = {"meta", "journals", "sales", "sale_bodies", "usages"}
_ENTRIES_WITHOUT_BODY = """
SELECT count(*) FROM sales s WHERE s.state <> 'delivered'
    AND NOT EXISTS (SELECT 1 FROM sale_bodies b WHERE b.entry = s.entry)"""
_BODIES_WITHOUT_ENTRY = (
    "SELECT count(*) FROM sale_bodies b WHERE NOT EXISTS (SELECT 1 FROM sales s WHERE s.entry = b.entry)"
)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal's file holds. ``last_number``: the present life's last ``device_seq``."""

    device_id: str
    journal_id: str
    life: int
    last_number: int
    sales: int
    usages: int

    @property
    def progress(self) -> tuple[int, int, int, int]:
        """Grows with each entry a device records, whatever its clock says."""
        return (self.life, self.last_number, self.sales, self.usages)


def open_unwritten(path: Path) -> sqlite3.Connection:
    """Open a file that nobody writes, such as a backup: no lock, no file beside it, on read-only media too."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def contents(connection: sqlite3.Connection) -> Contents | None:
    """What a journal holds, by its own counters; None before its first life."""
    row = connection.execute(
        "SELECT device_id, journal_id, number, last_seq FROM journals ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    sales = connection.execute("SELECT coalesce(sum(last_seq), 0) FROM journals").fetchone()[0]
    usages = connection.execute("SELECT count(*) FROM usages").fetchone()[0]
    device_id, journal_id, life, last_number = row
    return Contents(device_id, journal_id, life, last_number, sales, usages)


def glance(path: Path) -> Contents | None:
    """What a backup holds, without checking it; None when it can't be read."""
    try:
        with closing(open_unwritten(path)) as connection:
            return contents(connection)
    except sqlite3.Error:
        return None


def check(path: Path) -> Contents:
    """Check a journal that nobody writes, whole.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        StoreBroken: it is no journal, it is damaged, or only a newer program can read it. Nothing was changed.
    """
    try:
        with closing(open_unwritten(path)) as connection:
            _refuse_what_is_no_journal(connection, path)
            check_writer(connection, path)
            found = contents(connection)
            for is_broken in (_broken_pages, _broken_numbers, _broken_entries, _broken_bytes):
                words = is_broken(connection)
                if words:
                    raise _damaged(path, words)
    except sqlite3.DatabaseError as error:
        text = str(error).lower()
        if "not a database" in text:
            raise _no_journal(path) from error
        if "malformed" in text:
            raise _damaged(path, str(error)) from error
        raise broken(error, path) from error
    if found is None:
        raise _no_journal(path)
    return found


def _refuse_what_is_no_journal(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables >= _TABLES:
        raise _no_journal(path)


def _broken_pages(connection: sqlite3.Connection) -> str | None:
    said = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return None if said == "ok" else said


def _broken_numbers(connection: sqlite3.Connection) -> str | None:
    """Sales of a life run from 1 to its counter without a gap; of an adopted one, only their number is known."""
    there = {
        number: (count, first, last)
        for number, count, first, last in connection.execute(
            "SELECT journal_number, count(*), min(device_seq), max(device_seq) FROM sales GROUP BY 1"
        )
    }
    for number, last_seq in connection.execute("SELECT number, last_seq FROM journals"):
        count, first, last = there.pop(number, (0, 1, 0))
        if count != last_seq or (number > 0 and (first, last) != (1, last_seq)):
            return f"it holds {count} of {last_seq} sales"
    return f"{len(there)} of its lives are missing" if there else None


def _broken_entries(connection: sqlite3.Connection) -> str | None:
    missing = connection.execute(_ENTRIES_WITHOUT_BODY).fetchone()[0]
    stray = connection.execute(_BODIES_WITHOUT_ENTRY).fetchone()[0]
    return f"{missing + stray} sales are not whole" if missing or stray else None


def _broken_bytes(connection: sqlite3.Connection) -> str | None:
    """Damage that `integrity_check` does not see shows in the fingerprints."""
    for query in (
        "SELECT s.external_id, s.fingerprint, b.body FROM sale_bodies b JOIN sales s ON s.entry = b.entry",
        "SELECT external_id, fingerprint, body FROM usages WHERE length(body) > 0 OR state <> 'delivered'",
    ):
        for external_id, fingerprint, body in connection.execute(query):
            if not isinstance(body, bytes) or canonical.fingerprint(body) != fingerprint:
                return f"the bytes of {external_id} are not those that were recorded"
    return None


def _no_journal(path: Path) -> StoreBroken:
    return StoreBroken(
        f"{path} is not a backup of edge-agent",
        hint="Name a file that edge-agent backup made: edge-agent restore --list shows them.",
    )


def _damaged(path: Path, words: str) -> StoreBroken:
    return StoreBroken(
        f"{path} is damaged: {words}",
        hint="Use another backup: edge-agent restore --list shows them. Keep this file, support may want it.",
        is_damaged=True,
        file=path.name,
    )
