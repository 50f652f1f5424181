"""Receipts: which of a journal's sales head office has seen (contract sections 4, Stock, and 6)."""

from collections.abc import Iterable
from typing import Any

from ho_stub.database import Database
from ho_stub.ledger import Ledger


class Receipts:
    """Sequence numbers by journal. Writing needs the caller's `db.write()`."""

    def __init__(self, db: Database, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger

    def mark(self, device_id: str | None, journal_id: str | None, seq: int | None, *, accepted: bool) -> None:
        """The journal has shown us this number."""
        if device_id is None or journal_id is None or seq is None:
            return
        # A number stays accepted. Its stock change moves on, so that no snapshot begun earlier claims to contain it.
        self._db.run(
            """INSERT INTO seen VALUES (?, ?, ?, ?, ?) ON CONFLICT (device_id, journal_id, device_seq) DO UPDATE SET
            accepted = CASE WHEN excluded.accepted = 1 THEN 1 ELSE seen.accepted END,
            stock_seq = CASE WHEN excluded.accepted = 1 THEN excluded.stock_seq ELSE seen.stock_seq END""",
            (device_id, journal_id, seq, accepted, self._db.current("stock")),
        )
        contiguous = self.contiguous_seq(device_id, journal_id)
        reached = contiguous
        while self._db.row(
            "SELECT 1 FROM seen WHERE device_id = ? AND journal_id = ? AND device_seq = ?",
            (device_id, journal_id, reached + 1),
        ):
            reached += 1
        if reached != contiguous:
            self._db.run(
                """INSERT INTO journal VALUES (?, ?, ?) ON CONFLICT (device_id, journal_id)
                DO UPDATE SET contiguous_seq = excluded.contiguous_seq""",
                (device_id, journal_id, reached),
            )

    def contiguous_seq(self, device_id: str, journal_id: str) -> int:
        """The last number up to which all of the journal's sales have been seen."""
        found = self._db.value(
            "SELECT contiguous_seq FROM journal WHERE device_id = ? AND journal_id = ?", (device_id, journal_id)
        )
        return int(found or 0)

    def seen_as_of(self, device_id: str, journal_id: str, stock_seq: int) -> dict[str, Any]:
        """The journal's sales that the stock figures contain up to a stock change (or that were refused)."""
        journal = (device_id, journal_id)
        later = {
            seq
            for (seq,) in self._db.rows(
                "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND stock_seq > ?",
                (*journal, stock_seq),
            )
        }
        contiguous = min([self.contiguous_seq(*journal), *(seq - 1 for seq in later)])
        beyond = [seq for seq in self._seen_beyond(device_id, journal_id, contiguous) if seq not in later]
        return {"contiguous_seq": contiguous, "beyond": ranges(beyond)}

    def _seen_beyond(self, device_id: str, journal_id: str, seq: int) -> list[int]:
        sql = """SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND device_seq > ?
          ORDER BY device_seq"""
        return [number for (number,) in self._db.rows(sql, (device_id, journal_id, seq))]

    def of(self, device_id: str, journal_id: str) -> dict[str, Any]:
        """Section 6: what of a journal head office holds, has refused and lacks."""
        journal = (device_id, journal_id)
        contiguous = self.contiguous_seq(*journal)
        seen = self._seen_beyond(device_id, journal_id, contiguous)
        refused = self._db.rows(
            "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND accepted = 0 ORDER BY device_seq",
            journal,
        )
        missing, expected = [], contiguous + 1
        for first, last in ranges(seen):
            if first > expected:
                missing.append([expected, first - 1])
            expected = last + 1
        count = self._db.value("SELECT count(*) FROM sale WHERE device_id = ? AND journal_id = ?", journal)
        usages = self._db.value("SELECT count(*) FROM usage WHERE device_id = ? AND journal_id = ?", journal)
        return {
            "contiguous_seq": contiguous,
            "highest_seq": seen[-1] if seen else contiguous,
            "count": count,
            "missing": missing,
            "refused": [seq for (seq,) in refused],
            "total_amount": self._ledger.journal_total(device_id, journal_id),
            "usages": usages,
        }


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] ranges."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
