"""The audit log: who changed what, and when. Entries are written with the change itself, and never edited."""

import json
from dataclasses import dataclass
from typing import Any

from ho_stub.database import Database
from ho_stub.rows import utc_now

NAMES = ("number", "at", "actor", "action", "subject", "before", "after")
LIST = "SELECT number, at, actor, action, subject, before_json, after_json FROM audit"


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are wanted; an empty text means any. Days are dates of the UTC time stamps, both included."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    start_date: str = ""
    end_date: str = ""


class Audit:
    """Entries in the order of their commits."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def note(self, actor: str, action: str, subject: str, before: object = None, after: object = None) -> None:
        """Write an entry, inside the caller's `db.write()`: it commits with the change, or not at all.

        Args:
            actor: the account's user name, or what else did it ("test", "head office").
            action: a verb and a noun, such as "edit product".
            subject: what was changed: an id or a name.
            before: what was there, as anything JSON can write; None if nothing.
            after: what is there now.
        """
        # Not Database.next: the log is no feed, so nobody holds a cursor into it.
        self._db.run("UPDATE counter SET value = value + 1 WHERE name = 'audit'")
        self._db.run(
            "INSERT INTO audit (number, at, actor, action, subject, before_json, after_json) "
            "SELECT value, ?, ?, ?, ?, ?, ? FROM counter WHERE name = 'audit'",
            (utc_now(), actor, action, subject, _json(before), _json(after)),
        )

    def page(self, wanted: AuditQuery, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """How many entries there are of that kind, and some of them, newest first."""
        where, bound = ["number > 0"], list[object]()
        for column in ("actor", "action", "subject"):
            if value := getattr(wanted, column):
                where.append(f"{column} = ?")
                bound.append(value)
        if wanted.start_date:
            where.append("at >= ?")
            bound.append(wanted.start_date)
        if wanted.end_date:
            where.append("at <= ?")
            bound.append(f"{wanted.end_date}T23:59:59.999999Z")
        sql = " WHERE " + " AND ".join(where)
        count = int(self._db.value(f"SELECT count(*) FROM audit{sql}", bound))  # noqa: S608 - constants; values bound
        found = self._db.rows(f"{LIST}{sql} ORDER BY number DESC LIMIT ? OFFSET ?", [*bound, limit, offset])
        return count, [_entry(row) for row in found]


def _entry(row: tuple[Any, ...]) -> dict[str, Any]:
    *values, before, after = row
    return dict(zip(NAMES, [*values, json.loads(before), json.loads(after)], strict=True))


def _json(what: object) -> str:
    return json.dumps(what, default=str, ensure_ascii=False)
