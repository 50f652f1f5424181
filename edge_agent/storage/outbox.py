"""The outbox's side of the journal: what is due, what head office said of it, and when to ask again (G3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edge_agent.domain.backoff import OWN_WAIT_MAX_MS
from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.money import format_money
from edge_agent.domain.outbox import Event, State, move
from edge_agent.errors import StoreBroken
from edge_agent.storage.database import in_own_words, typed
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.lanes import LANES, Lane, Lanes, LaneState

_FAR_FUTURE_MS = 2**62
FIRST_ENTRY = -(2**62)  # before the sales of adopted lives, whose numbers are negative
LAST_ENTRY = 2**63 - 1
KEPT_PER_READ = 500
KEPT_BYTES_PER_READ = 1024 * 1024
DAY_MS = 24 * 3600 * 1000
JUDGED_ANEW_TIMES = 3
REFUSED_BEFORE = tuple(event.name for event in (Event.JUDGED_ANEW, Event.COUNTED_AFTER_ALL, Event.RETRIED_BY_PERSON))
SETTLED_PER_TRANSACTION = 50  # a sale never waits longer than for this many rows

_DUE_SALES = """
SELECT s.entry, s.external_id, s.fingerprint, s.kind, s.attempts, s.unknown_outcomes, s.code, b.body
FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.state = 'pending' AND s.entry > ? AND (s.next_attempt_ms IS NULL OR s.next_attempt_ms NOT BETWEEN ? AND ?)
    AND (s.kind = 'sale' OR NOT ?)
ORDER BY s.entry LIMIT ?"""
# A usage that names a sale of this journal waits for that sale alone; any other goes its way.
_DUE_USAGES = """
SELECT u.entry, u.external_id, u.fingerprint, 'usage', u.attempts, u.unknown_outcomes, u.code, u.body
FROM usages u LEFT JOIN sales s ON s.external_id = u.sale_external_id
WHERE u.state = 'pending' AND u.entry > ? AND (u.next_attempt_ms IS NULL OR u.next_attempt_ms NOT BETWEEN ? AND ?)
    AND (s.state IS NULL OR s.state = 'delivered')
ORDER BY u.entry LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A pending entry with the frozen bytes that go on the wire."""

    entry: int
    external_id: str
    fingerprint: str
    kind: str
    attempts: int
    unknown_outcomes: int
    code: str | None
    body: bytes

    @property
    def was_refused(self) -> bool:
        """Whether head office refused this very entry before, and it is offered once more all the same."""
        return self.code in REFUSED_BEFORE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is settled of one entry, on head office's word about that very entry (G3)."""

    entry: int
    event: Event
    ho_id: str | None = None
    code: str | None = None
    reason: str | None = None
    warnings: str | None = None
    next_attempt_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OutboxLine:
    """An entry as ``outbox list`` shows it."""

    lane: str
    external_id: str
    state: str
    kind: str
    device_seq: int | None
    total_amount: str | None
    recorded_ms: int
    attempts: int
    code: str | None
    reason: str | None
    first_failed_ms: int | None
    last_attempt_ms: int | None
    next_attempt_ms: int | None
    held_by: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry whose frozen bytes are still here, as an export takes it."""

    entry: int
    external_id: str
    fingerprint: str
    state: Literal["pending", "quarantined", "delivered"]
    code: str | None
    reason: str | None
    recorded_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entries stand where. ``held`` counts those among the pending that wait for something else."""

    pending: int
    held: int
    quarantined: int
    delivered: int
    pending_sales: int
    pending_usages: int
    oldest_pending_ms: int | None


@in_own_words
class Outbox(Lanes):
    """Delivery of what the journal holds."""

    def due(
        self,
        lane: Lane,
        now_ms: int,
        *,
        after: int = FIRST_ENTRY,
        count_max: int,
        bytes_max: int,
        sales_only: bool = False,
        newest: bool = False,
    ) -> list[Entry]:
        """The next entries to offer, in order.

        Args:
            lane: which lane.
            now_ms: milliseconds since 1970; entries with a later next attempt are left out.
            after: only entries behind this one.
            count_max: at most so many.
            bytes_max: at most so many bytes of bodies together; always at least one entry.
            sales_only: leave refunds and voids out (a baseline head office would count them as sales).
            newest: the last entries first.
        """
        waiting = (now_ms + 1, now_ms + OWN_WAIT_MAX_MS)  # as domain.backoff.is_waiting
        if lane == "sales":
            query, values = _DUE_SALES, [after, *waiting, sales_only, count_max]
        else:
            query, values = _DUE_USAGES, [after, *waiting, count_max]
        if newest:
            query = query.replace(".entry LIMIT", ".entry DESC LIMIT")
        entries: list[Entry] = []
        size = 0
        cursor = self.database.connection.execute(query, values)
        for row in cursor:
            entry = typed(Entry, row, self.database.path)
            if fingerprint(entry.body) != entry.fingerprint:  # damaged bytes never go on the wire (G2)
                raise StoreBroken(
                    f"{self.database.path.name} is damaged: the bytes of {entry.external_id} are not those recorded",
                    is_damaged=True,
                    file=self.database.path.name,
                )
            size += len(entry.body) + 1
            if entries and size > bytes_max:
                break
            entries.append(entry)
        cursor.close()
        return entries

    def newest(self, lane: Lane, *, sales_only: bool = False) -> list[Entry]:
        """The entry recorded last among those that could be offered now; empty when there is none."""
        entries = self.due(lane, _FAR_FUTURE_MS, count_max=1, bytes_max=0, sales_only=sales_only, newest=True)
        return entries[:1]

    def settle(self, lane: Lane, verdicts: Sequence[Verdict], now_ms: int) -> None:
        """Write verdicts down, at most 50 a transaction. Only pending entries move; a second verdict changes nothing.

        Raises:
            IllegalMove: an event a pending entry can't have.
            StoreBroken: the journal can't be written; head office will say ``duplicate`` next time.
        """
        # Each part is synced: frames that a failed sync may have dropped must never lie before those of a sale (G1).
        for start in range(0, len(verdicts), SETTLED_PER_TRANSACTION):
            part = verdicts[start : start + SETTLED_PER_TRANSACTION]
            done = [v for v in part if move(State.PENDING, v.event) is State.DELIVERED]
            back = [v for v in part if v.event is Event.RETRY]
            bad = [v for v in part if move(State.PENDING, v.event) is State.QUARANTINED]
            with self.database.immediate() as connection:
                connection.executemany(
                    f"UPDATE {lane} SET state = 'delivered', settled_ms = ?, ho_id = ?, warnings = ?, code = NULL, "
                    "reason = NULL, next_attempt_ms = NULL WHERE entry = ? AND state = 'pending'",
                    [(now_ms, v.ho_id, v.warnings, v.entry) for v in done],
                )
                connection.executemany(
                    f"UPDATE {lane} SET attempts = attempts + 1, code = ?, reason = ?, next_attempt_ms = ?, "
                    "first_failed_ms = coalesce(first_failed_ms, ?), last_attempt_ms = ? "
                    "WHERE entry = ? AND state = 'pending'",
                    [(v.code, v.reason, v.next_attempt_ms, now_ms, now_ms, v.entry) for v in back],
                )
                connection.executemany(
                    f"UPDATE {lane} SET state = 'quarantined', attempts = attempts + 1, code = ?, reason = ?, "
                    "settled_ms = ?, next_attempt_ms = NULL, first_failed_ms = coalesce(first_failed_ms, ?), "
                    "last_attempt_ms = ? WHERE entry = ? AND state = 'pending'",
                    [(v.code, v.reason, now_ms, now_ms, now_ms, v.entry) for v in bad],
                )

    def outcome_unknown(self, lane: Lane, entries: Iterable[Entry], now_ms: int) -> None:
        """Note that head office may have taken these entries: the answer was lost. They stay pending (G3)."""
        with self.database.immediate() as connection:
            connection.executemany(
                f"UPDATE {lane} SET unknown_outcomes = unknown_outcomes + 1, last_attempt_ms = ? "
                "WHERE entry = ? AND state = 'pending'",
                [(now_ms, entry.entry) for entry in entries],
            )

    def head(self, lane: Lane, *, sales_only: bool = False) -> tuple[str, str | None] | None:
        """The first entry of a lane that nothing but head office keeps waiting: its id, and why it still waits."""
        if lane == "sales":
            query = "SELECT external_id, reason FROM sales WHERE state = 'pending' AND (kind = 'sale' OR NOT ?)"
            row = self.database.connection.execute(f"{query} ORDER BY entry LIMIT 1", (sales_only,)).fetchone()
        else:
            row = self.database.connection.execute(
                "SELECT u.external_id, u.reason FROM usages u LEFT JOIN sales s ON s.external_id = u.sale_external_id "
                "WHERE u.state = 'pending' AND (s.state IS NULL OR s.state = 'delivered') ORDER BY u.entry LIMIT 1"
            ).fetchone()
        return None if row is None else (row[0], row[1])

    def put_back(self, lane: Lane, code: str, count: int, now_ms: int) -> int:
        """Return the last ``count`` entries quarantined with ``code`` to pending: a storm, not bad sales."""
        with self.database.immediate() as connection:
            cursor = connection.execute(
                f"UPDATE {lane} SET state = ?, settled_ms = NULL WHERE entry IN (SELECT entry FROM {lane} "
                "WHERE state = 'quarantined' AND code = ? ORDER BY settled_ms DESC, entry DESC LIMIT ?)",
                (move(State.QUARANTINED, Event.PUT_BACK), code, count),
            )
            self._note(connection, "put back after a storm of refusals", lane, code, now_ms)
            return cursor.rowcount

    def retry(self, external_ids: Sequence[str] | None, now_ms: int) -> int:
        """A person's retry: quarantined entries become pending again, and waiting ones due at once.

        Args:
            external_ids: which entries; None for every quarantined one.
            now_ms: milliseconds since 1970.

        Returns:
            How many entries moved from quarantine to pending or were made due.
        """
        moved = 0
        after = move(State.QUARANTINED, Event.RETRIED_BY_PERSON)
        with self.database.immediate() as connection:
            for lane in LANES:
                base = (
                    f"UPDATE {lane} SET state = ?, next_attempt_ms = NULL, settled_ms = NULL, "
                    "code = CASE state WHEN 'quarantined' THEN ? ELSE code END "
                    "WHERE (state = 'quarantined' OR (state = 'pending' AND next_attempt_ms IS NOT NULL))"
                )
                if external_ids is None:
                    moved += connection.execute(base, (after, Event.RETRIED_BY_PERSON.name)).rowcount
                else:
                    for external_id in external_ids:
                        moved += connection.execute(
                            f"{base} AND external_id = ?", (after, Event.RETRIED_BY_PERSON.name, external_id)
                        ).rowcount
            subject = "all" if external_ids is None else ", ".join(external_ids[:20])
            self._note(connection, "retried by a person", subject, f"{moved} entries", now_ms)
            connection.execute("UPDATE lanes SET refusal_code = NULL, refusals = 0")
        return moved

    def judge_anew(self, now_ms: int) -> int:
        """Return entries to pending that were refused a day ago or earlier: head office may have been mended since, and
        judges the same entry anew (contract, section 5). Three times each; then a person must look.

        Args:
            now_ms: milliseconds since 1970.

        Returns:
            How many.
        """
        after = move(State.QUARANTINED, Event.JUDGED_ANEW)
        wanted = "state = 'quarantined' AND last_attempt_ms < ? AND attempts <= ?"
        limits = (now_ms - DAY_MS, JUDGED_ANEW_TIMES)
        execute = self.database.connection.execute
        moved = 0
        for lane in LANES:
            if execute(f"SELECT EXISTS (SELECT 1 FROM {lane} WHERE {wanted})", limits).fetchone()[0]:
                with self.database.immediate() as connection:
                    moved += connection.execute(
                        f"UPDATE {lane} SET state = ?, settled_ms = NULL, next_attempt_ms = NULL, code = ? "
                        f"WHERE {wanted}",
                        (after, Event.JUDGED_ANEW.name, *limits),
                    ).rowcount
                    self._note(connection, "offered again after a day", lane, None, now_ms)
        return moved

    def counts(self, *, sales_only: bool = False) -> Counts:
        """How many entries stand where.

        Args:
            sales_only: True when head office is a baseline one: refunds and voids are then held.
        """
        execute = self.database.connection.execute

        def one(query: str, *values: Any) -> Any:
            return execute(query, values).fetchone()[0]

        pending_sales = one("SELECT count(*) FROM sales WHERE state = 'pending'")
        pending_usages = one("SELECT count(*) FROM usages WHERE state = 'pending'")
        bad_sales = one("SELECT count(*) FROM sales WHERE state = 'quarantined'")
        bad_usages = one("SELECT count(*) FROM usages WHERE state = 'quarantined'")
        sales = one("SELECT coalesce(sum(last_seq), 0) FROM journals")
        usages = one("SELECT count(*) FROM usages")
        held = 0
        if bad_sales:
            held += one(
                "SELECT count(*) FROM sales s JOIN usages u ON u.sale_external_id = s.external_id "
                "WHERE s.state = 'quarantined' AND u.state = 'pending'"
            )
        if sales_only and pending_sales:
            held += one("SELECT count(*) FROM sales WHERE state = 'pending' AND kind <> 'sale'")
            held += one(
                "SELECT count(*) FROM sales s JOIN usages u ON u.sale_external_id = s.external_id "
                "WHERE s.state = 'pending' AND s.kind <> 'sale' AND u.state = 'pending'"
            )
        oldest = [
            row[0]
            for lane in LANES
            if (
                row := execute(
                    f"SELECT recorded_ms FROM {lane} WHERE state = 'pending' ORDER BY entry LIMIT 1"
                ).fetchone()
            )
        ]
        return Counts(
            pending=pending_sales + pending_usages,
            held=held,
            quarantined=bad_sales + bad_usages,
            delivered=sales + usages - pending_sales - pending_usages - bad_sales - bad_usages,
            pending_sales=pending_sales,
            pending_usages=pending_usages,
            oldest_pending_ms=min((ms for ms in oldest if isinstance(ms, int)), default=None),
        )

    def remarked(self) -> int:
        """How many sales head office took with a remark, such as TOTAL_MISMATCH."""
        row = self.database.connection.execute("SELECT count(*) FROM sales WHERE warnings IS NOT NULL").fetchone()
        return int(row[0])

    def lines(self, *, state: str | None, limit: int, external_id: str | None = None) -> list[OutboxLine]:
        """Entries as ``outbox list`` shows them, sales first, oldest first.

        Args:
            state: only this state; None for everything that is not delivered.
            limit: at most so many.
            external_id: only this entry, whatever its state.
        """
        if external_id is not None:
            wanted, values = "external_id = ?", [external_id]
        elif state is None:
            wanted, values = "state IN ('pending', 'quarantined')", []
        else:
            wanted, values = "state = ?", [state]
        connection = self.database.connection
        result = [
            _sale_line(row)
            for row in connection.execute(
                "SELECT external_id, state, kind, device_seq, total_minor, exponent, recorded_ms, attempts, code, "
                f"reason, first_failed_ms, last_attempt_ms, next_attempt_ms FROM sales WHERE {wanted} "
                "ORDER BY entry LIMIT ?",
                (*values, limit),
            )
        ]
        wanted = wanted.replace("external_id", "u.external_id").replace("state", "u.state")
        rows = connection.execute(
            "SELECT 'usages', u.external_id, u.state, 'usage', NULL, NULL, u.recorded_ms, u.attempts, u.code, "
            "u.reason, u.first_failed_ms, u.last_attempt_ms, u.next_attempt_ms, "
            "CASE WHEN u.state = 'pending' AND s.state <> 'delivered' THEN s.external_id END "
            f"FROM usages u LEFT JOIN sales s ON s.external_id = u.sale_external_id WHERE {wanted} "
            "ORDER BY u.entry LIMIT ?",
            (*values, limit - len(result)),
        )
        return result + [OutboxLine(*row) for row in rows]

    def kept(
        self,
        lane: Lane,
        *,
        after: int = FIRST_ENTRY,
        up_to: int = LAST_ENTRY,
        delivered: bool = False,
        external_ids: Sequence[str] | None = None,
    ) -> list[Kept]:
        """The next entries whose bytes are still here, in order; a short read, so that no sale ever waits for it.

        Args:
            lane: which lane.
            after: only entries behind this one.
            up_to: none behind this one.
            delivered: also those that head office has.
            external_ids: only these, whatever their state; a sale takes its uses along.
        """
        wanted = "AND x.state IN ('pending', 'quarantined')"
        values: list[int | str] = [after, up_to]
        if external_ids is not None:
            named = "(SELECT value FROM json_each(?))"
            wanted = f"AND x.external_id IN {named}"
            values.append(msgspec.json.encode(list(external_ids)).decode())
            if lane == "usages":
                wanted = f"AND (x.external_id IN {named} OR x.sale_external_id IN {named})"
                values.append(values[-1])
        elif delivered:
            wanted = ""
        bodies, body = ("JOIN sale_bodies b ON b.entry = x.entry", "b.body") if lane == "sales" else ("", "x.body")
        cursor = self.database.connection.execute(
            f"SELECT x.entry, x.external_id, x.fingerprint, x.state, x.code, x.reason, x.recorded_ms, {body} "
            f"FROM {lane} x {bodies} WHERE x.entry > ? AND x.entry <= ? {wanted} AND length({body}) > 0 "
            f"ORDER BY x.entry LIMIT {KEPT_PER_READ}",
            values,
        )
        rows: list[Kept] = []
        size = 0
        for row in cursor:
            rows.append(Kept(*row))
            size += len(rows[-1].body)
            if size > KEPT_BYTES_PER_READ:
                break
        cursor.close()
        return rows

    def last_entry(self, lane: Lane) -> int:
        """The newest entry of a lane, 0 when there is none."""
        row = self.database.connection.execute(f"SELECT max(entry) FROM {lane}").fetchone()
        return int(row[0] or 0)

    def without_bytes(self, external_ids: Sequence[str]) -> list[str]:
        """Those of some ids that are not here, or whose bytes retention took."""
        rows = self.database.connection.execute(
            "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM sales s JOIN sale_bodies b "
            "ON b.entry = s.entry WHERE s.external_id = value) AND NOT EXISTS "
            "(SELECT 1 FROM usages u WHERE u.external_id = value AND length(u.body) > 0)",
            (msgspec.json.encode(list(external_ids)).decode(),),
        )
        return [row[0] for row in rows]

    def usage_body(self, external_id: str) -> bytes | None:
        """The frozen bytes of a usage; None when this journal does not hold it."""
        row = self.database.connection.execute(
            "SELECT body FROM usages WHERE external_id = ?", (external_id,)
        ).fetchone()
        return None if row is None else bytes(row[0])


def _sale_line(row: sqlite3.Row) -> OutboxLine:
    external_id, state, kind, device_seq, total, exponent, recorded_ms, *rest = row
    values = ["sales", external_id, state, kind, device_seq, format_money(total, exponent), recorded_ms, *rest, None]
    return OutboxLine(*values)


__all__ = ["FIRST_ENTRY", "LANES", "Counts", "Entry", "Kept", "Lane", "LaneState", "Outbox", "OutboxLine", "Verdict"]
