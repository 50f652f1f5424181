"""Retention: the bytes of what head office has may go, ledger lines never.

What may go is delivered, confirmed by receipts, indexed for stock, inside head office's stock figures, without a use
that still waits, and old. Old is judged carefully, because a device's clock may be wrong by years:

- Nothing goes unless head office has been heard of late: receipts were compared within the last day by this clock, and
  head office's clock says the same as this one to the hour. A clock that jumped fails the one or the other.
- An entry is as young as the youngest one recorded before it (times that lie in the future left out): a clock that was
  behind for a while makes nothing old.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edge_agent.storage.adopt import FORK
from edge_agent.storage.database import Database, in_own_words
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

DROPPED_PER_TRANSACTION = 50  # a sale never waits longer than for so many rows
HEARD_WITHIN_MS = 24 * 3600 * 1000
CLOCK_OFF_MAX_MS = 3600 * 1000
DAY_MS = 24 * 3600 * 1000

_INDEXED_UP_TO = "moves_indexed_entry"  # storage/moves.py

_SALES = """
SELECT s.entry, s.recorded_ms, s.state = 'delivered' AND s.settled_ms < ? AND NOT EXISTS (
        SELECT 1 FROM usages u WHERE u.sale_external_id = s.external_id AND u.state <> 'delivered')
FROM sale_bodies b JOIN sales s ON s.entry = b.entry WHERE b.entry > ? AND b.entry <= ? ORDER BY b.entry LIMIT ?"""
# Uses of a life whose receipts agreed after they were taken: only then is it known that head office counts them all.
_USAGES = """
SELECT u.entry, u.recorded_ms, u.state = 'delivered' AND u.settled_ms < ? AND EXISTS (
        SELECT 1 FROM journals j
        WHERE j.number = u.journal_number AND j.difference IS NULL AND j.checked_ms > u.settled_ms)
    AND NOT EXISTS (SELECT 1 FROM sales s WHERE s.external_id = u.sale_external_id AND s.state <> 'delivered')
FROM usages u WHERE u.entry > ? AND u.entry <= ? AND length(u.body) > 0 ORDER BY u.entry LIMIT ?"""
_DROP = {
    "sales": (_SALES, "DELETE FROM sale_bodies WHERE entry = ?"),
    "usages": (_USAGES, "UPDATE usages SET body = x'' WHERE entry = ?"),
}


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many entries lost their bytes. ``skipped``: why the run did nothing, in words; None when it ran."""

    sales: int = 0
    usages: int = 0
    skipped: str | None = None


@in_own_words
class Retention:
    """Retention of a journal.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Journal) -> None:
        self.database: Database = journal.database

    def run(
        self,
        now_ms: int,
        days: int,
        stock_watermark: Mapping[str, int],
        go_on: Callable[[], bool] = lambda: True,
        *,
        clock_offset_ms: int = 0,
    ) -> Dropped:
        """Let the bytes go that may go.

        Args:
            now_ms: milliseconds since 1970, by this device's clock.
            days: how long bytes stay.
            stock_watermark: by ``journal_id``, the number up to which head office's stock figures contain its sales;
                a journal that is not named has no such limit.
            go_on: asked before each short transaction.
            clock_offset_ms: head office's clock less this device's.

        Raises:
            StoreBroken: the journal can't be written; nothing is lost.
        """
        skipped = self._why_not(now_ms, clock_offset_ms)
        if skipped is not None:
            return Dropped(skipped=skipped)
        before_ms = now_ms - days * DAY_MS
        sales = 0
        for first, last in list(self._sale_ranges(stock_watermark)):
            sales += self._drop("sales", first, last, before_ms, now_ms, go_on)
        return Dropped(sales, self._drop("usages", 0, 2**62, before_ms, now_ms, go_on))

    def _why_not(self, now_ms: int, clock_offset_ms: int) -> str | None:
        if abs(clock_offset_ms) > CLOCK_OFF_MAX_MS:
            return "this device's clock is not head office's"
        heard_ms = self.database.connection.execute("SELECT max(checked_ms) FROM journals").fetchone()[0]
        if heard_ms is None or not now_ms - HEARD_WITHIN_MS <= heard_ms <= now_ms + CLOCK_OFF_MAX_MS:
            return "receipts were not compared within the last day"
        return None

    def _sale_ranges(self, stock_watermark: Mapping[str, int]) -> Iterator[tuple[int, int]]:
        """For each life the entries that are confirmed, indexed and inside the stock figures: (behind, up to)."""
        execute = self.database.connection.execute
        row = execute("SELECT value FROM meta WHERE key = ?", (_INDEXED_UP_TO,)).fetchone()
        indexed = 0 if row is None else int(row[0])
        for number, label, confirmed_seq in execute("SELECT number, journal_id, confirmed_seq FROM journals"):
            first = number * ENTRIES_PER_JOURNAL
            limit = stock_watermark.get(label.partition(FORK)[0], ENTRIES_PER_JOURNAL)
            last = first + min(confirmed_seq, limit, ENTRIES_PER_JOURNAL - 1)
            yield first, last if number < 0 else min(last, indexed)  # adopted lives are indexed when they come

    def _drop(self, lane: str, first: int, last: int, before_ms: int, now_ms: int, go_on: Callable[[], bool]) -> int:
        """Empty what may go among the entries behind ``first``, up to ``last``; how many that were."""
        query, drop = _DROP[lane]
        youngest_ms, dropped, after = 0, 0, first
        while after < last and youngest_ms < before_ms and go_on():  # behind a young entry all are young
            may_go = []
            with self.database.immediate() as connection:
                rows = connection.execute(query, (before_ms, after, last, DROPPED_PER_TRANSACTION)).fetchall()
                for entry, recorded_ms, is_done in rows:
                    youngest_ms = max(youngest_ms, self._youngest(lane, after, entry, now_ms))
                    after = entry
                    if is_done and recorded_ms < before_ms and youngest_ms < before_ms:
                        may_go.append((entry,))
                connection.executemany(drop, may_go)
            dropped += len(may_go)
            if not rows:
                break
        return dropped

    def _youngest(self, lane: str, behind: int, up_to: int, now_ms: int) -> int:
        """When the last of these entries was recorded, by clocks that were not ahead."""
        row = self.database.connection.execute(
            f"SELECT max(recorded_ms) FROM {lane} WHERE entry > ? AND entry <= ? AND recorded_ms <= ?",
            (behind, up_to, now_ms),
        ).fetchone()
        return row[0] or 0
