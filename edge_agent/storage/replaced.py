"""Takes over what a journal that is put aside holds and its successor does not, however damaged it is (G1, G3).

Reads by key, window by window; where a window can't be read, key by key, so that damage costs its own rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.frozen import FrozenSale, FrozenUsage, read_sale, read_usage
from edge_agent.domain.outbox import State
from edge_agent.errors import InvalidSale
from edge_agent.storage.adopt import ADOPTED_PER_TRANSACTION, Adopting, Fate
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL

WINDOW = 200
BAD_WINDOWS_MAX = 500  # in a row: then the rest of that life is given up

_FATE = "recorded_ms, state, code, reason, ho_id, warnings, first_failed_ms, last_attempt_ms, settled_ms"
_SALES = (
    "SELECT s.entry, s.external_id, s.fingerprint, b.body, "
    + ", ".join(f"s.{column}" for column in _FATE.split(", "))
    + " FROM sales s LEFT JOIN sale_bodies b ON b.entry = s.entry WHERE s.entry"
)
_USAGES = f"SELECT entry, external_id, fingerprint, body, {_FATE} FROM usages WHERE entry"
Range = tuple[int, int]
Row = tuple[Any, ...]


@dataclass(slots=True)
class TakenOver:
    """What came over.

    Args:
        sales: sales that the successor did not hold.
        usages: uses of promotions likewise.
        caught_up: entries that both hold, and whose delivery had come further (or had been undone) in the old one.
        without_bytes: delivered entries whose bytes retention had taken; only the old file has their lines.
        unreadable: rows that could not be read, or are not what was recorded.
        conflicts: ids that stand for other bytes in the successor; left out.
    """

    sales: int = 0
    usages: int = 0
    caught_up: int = 0
    without_bytes: int = 0
    unreadable: int = 0
    conflicts: list[str] = field(default_factory=list)


def take_over(old: sqlite3.Connection, journal: Journal, *, store_id: str, source: str, now_ms: int) -> TakenOver:
    """Bring what only the old journal holds into its successor. Doing it twice is harmless.

    Args:
        old: a connection to the old journal.
        journal: the successor.
        store_id: this device's store.
        source: where the entries come from, for the audit trail.
        now_ms: milliseconds since 1970.

    Raises:
        StoreBroken: the successor can't be written.
    """
    taken = TakenOver()
    adopting = Adopting(journal, store_id=store_id, source=source, now_ms=now_ms)
    sales = _Lane("sales", _SALES, _ranges_of_lives(old, taken), read_sale)
    usages = _Lane("usages", _USAGES, _range_of_usages(old, taken), read_usage)
    adopting.sales(sales.missing(old, journal, taken))
    adopting.usages(usages.missing(old, journal, taken))
    for lane in (sales, usages):
        taken.caught_up += _catch_up(journal, lane.name, lane.fates)
    taken.sales, taken.usages = adopting.adopted.sales, adopting.adopted.usages
    taken.conflicts += adopting.adopted.conflicts
    return taken


F = TypeVar("F", FrozenSale, FrozenUsage)


class _Lane(Generic[F]):
    """One table of the old journal. ``fates``: of entries that both hold, where the delivery differs."""

    def __init__(self, name: str, query: str, ranges: Sequence[Range], read: Callable[[bytes], F]) -> None:
        self.name = name
        self._query = query
        self._ranges = ranges
        self._read: Callable[[bytes], F] = read
        self.fates: list[tuple[Fate, str]] = []

    def missing(self, old: sqlite3.Connection, journal: Journal, taken: TakenOver) -> Iterator[tuple[F, Fate]]:
        """The entries that the successor does not hold."""
        known = f"SELECT fingerprint, state FROM {self.name} WHERE external_id = ?"
        for row in _rows(old, self._query, self._ranges, taken):
            _, external_id, frozen_as, body, *rest = row
            here = journal.database.connection.execute(known, (external_id,)).fetchone()
            fate = Fate(rest[0], State(rest[1]), *rest[2:])
            if here is not None and here[0] == frozen_as:
                if here[1] != fate.state:
                    self.fates.append((fate, external_id))
            elif here is not None:
                taken.conflicts.append(external_id)
            elif not body and fate.state is State.DELIVERED:
                taken.without_bytes += 1
            else:
                entry = self._frozen(body, frozen_as)
                if entry is None:
                    taken.unreadable += 1
                else:
                    yield entry, fate

    def _frozen(self, body: object, frozen_as: str) -> F | None:
        if not isinstance(body, bytes) or fingerprint(body) != frozen_as:
            return None
        try:
            return self._read(body)
        except InvalidSale:
            return None


def _rows(old: sqlite3.Connection, query: str, ranges: Sequence[Range], taken: TakenOver) -> Iterator[Row]:
    for low, high in ranges:
        after, bad_windows = low - 1, 0
        while after < high and bad_windows < BAD_WINDOWS_MAX:
            window = _read(old, f"{query} BETWEEN ? AND ? ORDER BY 1 LIMIT {WINDOW}", after + 1, high)
            if window is not None:
                yield from window
                after = window[-1][0] if window else high
                continue
            read = 0  # something in here is damaged: key by key, and on behind it
            for key in range(after + 1, min(after + WINDOW, high) + 1):
                row = _read(old, f"{query} = ?", key)
                taken.unreadable += row is None
                read += len(row or ())
                yield from row or ()
            after += WINDOW
            bad_windows = 0 if read else bad_windows + 1


def _read(old: sqlite3.Connection, query: str, *values: int) -> list[Row] | None:
    """Rows, or None where one of them can't be read."""
    try:
        rows = old.execute(query, values).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    return rows if all(map(_is_plausible, rows)) else None


def _is_plausible(row: Row) -> bool:
    """Whether what stands in a row can be an entry at all: damage can turn any column into anything."""
    _, external_id, frozen_as, _, recorded_ms, state, *_ = row
    return (
        isinstance(external_id, str)
        and isinstance(frozen_as, str)
        and isinstance(recorded_ms, int)
        and state in tuple(State)
    )


def _ranges_of_lives(old: sqlite3.Connection, taken: TakenOver) -> list[Range]:
    """Where sales can stand: for each life from its first key to its last."""
    try:
        lives = old.execute("SELECT number, last_seq FROM journals ORDER BY number").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        taken.unreadable += 1
        return []
    ranges = []
    for number, last_seq in lives:
        first = number * ENTRIES_PER_JOURNAL
        end = first + ENTRIES_PER_JOURNAL - 1
        if number > 0:
            end = min(end, first + last_seq)
        ranges.append((first + 1, end))
    return ranges


def _range_of_usages(old: sqlite3.Connection, taken: TakenOver) -> list[Range]:
    try:
        last = old.execute("SELECT max(entry) FROM usages").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError):
        taken.unreadable += 1
        return []
    return [(1, int(last))] if last else []


def _catch_up(journal: Journal, lane: str, fates: Sequence[tuple[Fate, str]]) -> int:
    """Write down how far the delivery of entries had come that both journals hold. Only what has bytes may go back to
    pending: without them it could never be offered."""
    has_body = "entry IN (SELECT entry FROM sale_bodies)" if lane == "sales" else "length(body) > 0"
    update = (
        f"UPDATE {lane} SET state = ?, code = ?, reason = ?, ho_id = ?, warnings = ?, first_failed_ms = ?, "
        "last_attempt_ms = ?, settled_ms = ?, next_attempt_ms = NULL "
        f"WHERE external_id = ? AND (? OR {has_body})"
    )
    moved, rest = 0, iter(fates)
    while part := list(islice(rest, ADOPTED_PER_TRANSACTION)):
        values = [(*fate.values(), external_id, fate.state is State.DELIVERED) for fate, external_id in part]
        with journal.database.immediate() as connection:
            moved += connection.executemany(update, values).rowcount
    return moved
