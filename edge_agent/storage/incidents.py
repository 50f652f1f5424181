"""What happened that people should know of, with its age: one row a kind (G11). Each works inside the caller's
transaction, so that an incident is on disk exactly when what it tells of is."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.storage.engine import sqlite3

_RAISE = """
INSERT INTO incidents (kind, first_ms, last_ms, detail) VALUES (?, ?, ?, ?)
ON CONFLICT (kind) DO UPDATE SET
    first_ms = CASE WHEN is_open THEN first_ms ELSE excluded.first_ms END,
    times = CASE WHEN is_open THEN times + 1 ELSE 1 END,
    last_ms = excluded.last_ms, detail = excluded.detail, is_open = 1"""


@dataclass(frozen=True, slots=True)
class Incident:
    """One kind of incident. Times are milliseconds since 1970.

    ``times`` counts since ``first_ms``: one that was closed and comes again begins anew.
    """

    kind: str
    first_ms: int
    last_ms: int
    times: int
    detail: str
    is_open: bool


def raise_incident(connection: sqlite3.Connection, kind: str, detail: str, now_ms: int) -> None:
    """Tell of an incident; the same kind again counts on while it is open.

    Args:
        connection: inside the caller's transaction.
        kind: a few plain words, such as ``disk full``; the row's key.
        detail: what exactly, for people.
        now_ms: milliseconds since 1970.
    """
    connection.execute(_RAISE, (kind, now_ms, now_ms, detail))


def close_incident(connection: sqlite3.Connection, kind: str) -> bool:
    """It is over. Its row stays, closed; whether it was open."""
    changed = connection.execute("UPDATE incidents SET is_open = 0 WHERE kind = ? AND is_open", (kind,))
    return changed.rowcount > 0


def incidents(connection: sqlite3.Connection, *, only_open: bool = True) -> list[Incident]:
    """The incidents, oldest first."""
    rows = connection.execute(
        "SELECT kind, first_ms, last_ms, times, detail, is_open FROM incidents WHERE is_open OR ? ORDER BY first_ms",
        (not only_open,),
    )
    return [
        Incident(kind, first_ms, last_ms, times, detail, bool(is_open))
        for kind, first_ms, last_ms, times, detail, is_open in rows
    ]


def counted(sales: int, uses: int) -> str:
    """How many sales and uses, in words: ``3 sales and 1 promotion use``."""
    named = [(sales, "sale"), (uses, "promotion use")]
    parts = [f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in named if count]
    return " and ".join(parts) or "nothing"


def close_old(connection: sqlite3.Connection, before_ms: int) -> None:
    """Close what was last told of before a moment: people have had time to see it."""
    connection.execute("UPDATE incidents SET is_open = 0 WHERE is_open AND last_ms < ?", (before_ms,))
