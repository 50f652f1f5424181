"""Which promotions each window lists. A window is a strategy (section 7): the company's, and every other one that a
brand or a store has of its own; stores with the same strategy share it.

A promotion that enters a window takes a place at the end of that window's feed; one that leaves it leaves a departure.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from ho_stub.database import Database
from ho_stub.errors import cursor_expired
from ho_stub.rows import dates, micros, utc_now
from ho_stub.settings import Settings, in_window, strategy_of

LIST = "INSERT INTO listing (window_key, promotion_id, place) VALUES (?, ?, ?)"
DEPART = "INSERT INTO departure (dataset, id, seq, at_us, brands, stores, window_key) VALUES (?, ?, ?, ?, ?, ?, ?)"


class Listings:
    """Reads and writes windows. Writing needs the caller's `db.write()`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- windows

    def keys(self) -> list[str]:
        """The windows there are."""
        return [key for (key,) in self._db.rows("SELECT key FROM promotion_window ORDER BY key")]

    def keep(self, used: Collection[str], today: date) -> None:
        """Open the windows that are missing. The head of each moves to the change under way, for a store may have come
        from another one: what it is sent now must not look like what it had."""
        seq = self._db.current("change")
        for key in sorted(set(used) - set(self.keys())):
            self._db.run("INSERT INTO promotion_window (key, born, head) VALUES (?, ?, ?)", (key, seq, seq))
            self.fill(key, today)
        self._db.run("UPDATE promotion_window SET head = ?", (seq,))

    def prune(self, used: Collection[str]) -> None:
        """Close the windows that no store has any more. Their departures stay: ids once known remain so."""
        for key in set(self.keys()) - set(used):
            self._db.run("DELETE FROM listing WHERE window_key = ?", (key,))
            self._db.run("DELETE FROM promotion_window WHERE key = ?", (key,))

    def fill(self, key: str, today: date, after: int = 0) -> None:
        """List what belongs to a window, of the rows that came after a change number."""
        sql = "SELECT id, seq, is_active, starts, ends FROM feed WHERE dataset = 'promotions' AND seq > ?"
        found, strategy = self._db.rows(sql, (after,)), strategy_of(key)
        self._db.run_many(LIST, [(key, own_id, seq) for own_id, seq, *row in found if lists(strategy, today, *row)])
        self._db.run("UPDATE promotion_window SET head = ? WHERE key = ?", (self._db.current("change"), key))

    def head(self, key: str) -> int:
        """A window's last change. Raises ContractError 410 if it was closed: the store has another one by now."""
        head = self._db.value("SELECT head FROM promotion_window WHERE key = ?", (key,))
        if head is None:
            raise cursor_expired("the store's settings have just changed")
        return int(head)

    def spans(self, key: str, seq: int) -> bool:
        """Whether a number lies in this life of the window: one closed and opened again knows no old cursors."""
        found = self._db.row("SELECT born, head FROM promotion_window WHERE key = ?", (key,))
        return found is not None and found[0] <= seq <= found[1]

    # -- promotions

    def of(self, promotion_id: str) -> list[str]:
        """The windows that list it."""
        sql = "SELECT window_key FROM listing WHERE promotion_id = ? ORDER BY window_key"
        return [key for (key,) in self._db.rows(sql, (promotion_id,))]

    def wanting(self, row: Mapping[str, Any], today: date) -> list[str]:
        """The windows that a promotion belongs to."""
        is_active, (starts, ends) = bool(row.get("is_active", True)), dates(row)
        return [key for key in self.keys() if lists(strategy_of(key), today, is_active, starts, ends)]

    def put(self, promotion_id: str, keys: Iterable[str], seq: int) -> None:
        """List a promotion in these windows alone, at the end of their feeds."""
        self._db.run("DELETE FROM listing WHERE promotion_id = ?", (promotion_id,))
        self._db.run_many(LIST, [(key, promotion_id, seq) for key in keys])
        self._db.run("UPDATE promotion_window SET head = ?", (seq,))

    def settle(self, today: date) -> None:
        """Promotions enter and leave windows because the day is another one."""
        sql = """SELECT id, is_active, starts, ends, brands, stores, place FROM feed
          LEFT JOIN listing ON listing.promotion_id = feed.id AND listing.window_key = ? WHERE dataset = 'promotions'"""
        for key in self.keys():
            strategy, seq = strategy_of(key), 0
            for own_id, is_active, starts, ends, brands, stores, place in self._db.rows(sql, (key,)):
                is_in = lists(strategy, today, is_active, starts, ends)
                if is_in == (place is not None):
                    continue
                seq = self._db.next("change")
                if is_in:
                    self._db.run(LIST, (key, own_id, seq))
                else:
                    self._db.run("DELETE FROM listing WHERE window_key = ? AND promotion_id = ?", (key, own_id))
                    self.depart("promotions", own_id, seq, (brands, stores), [key])
            if seq:
                self._db.run("UPDATE promotion_window SET head = ? WHERE key = ?", (seq, key))

    def depart(self, dataset: str, row_id: str, seq: int, audience: tuple[str, str], keys: Iterable[str]) -> None:
        """Note that an audience loses a row; `keys`: in which windows, [''] for what has none."""
        now_us = micros(utc_now())
        self._db.run_many(DEPART, [(dataset, row_id, seq, now_us, *audience, key) for key in keys])


def lists(strategy: Settings, today: date, is_active: object, starts: str | None, ends: str | None) -> bool:
    """Whether a strategy sends such a promotion on this day."""
    return bool(is_active or strategy["include_inactive"]) and in_window(strategy, today, starts, ends)
