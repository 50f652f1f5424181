"""A second copy of what head office does not have yet, in a plain file beside the journal (G1).

Written in idle moments, never on a sale's path. It helps where SQLite can't: a bit that flips in the middle of the WAL
makes SQLite drop every sale behind it without a word, and a page that can't be read takes its sales along. Then the
shadow says how far the journal had come, and holds the bytes of what has not gone up.

One JSON object a line. An entry: its fingerprint and its frozen bytes, so that each line proves itself. A mark, after
each batch: how far the journal had come.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.frozen import FrozenSale, FrozenUsage, read_sale, read_usage
from edge_agent.errors import InvalidSale
from edge_agent.storage import durable
from edge_agent.storage.database import Database, broken, create_private, in_own_words

NAME = "journal.shadow"
COPIED_AT_ONCE = 200
COMPACT_FROM_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 4_096

_LIFE = "SELECT journal_id, last_seq FROM journals ORDER BY number DESC LIMIT 1"
_SALES = """
SELECT s.entry, s.fingerprint, b.body FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.state <> 'delivered' AND s.entry > ? ORDER BY s.entry LIMIT ?"""
_USAGES = """
SELECT entry, fingerprint, body FROM usages WHERE state <> 'delivered' AND entry > ? ORDER BY entry LIMIT ?"""


class Mark(msgspec.Struct, frozen=True, tag_field="kind", tag="mark"):
    """How far the journal had come: its present life, that life's last number, and the last entries copied."""

    journal_id: str
    last_seq: int
    sale: int
    usage: int


class _Copy(msgspec.Struct, frozen=True, tag_field="kind", tag="entry"):
    lane: str
    sha256: str
    body: str


_decoder: msgspec.json.Decoder[Mark | _Copy] = msgspec.json.Decoder(Mark | _Copy)
_encode = msgspec.json.Encoder().encode


@in_own_words
class Shadow:
    """The shadow of one journal.

    Args:
        database: the journal's file.
        path: the shadow's; None for beside the journal.
    """

    def __init__(self, database: Database, path: Path | None = None) -> None:
        self.database = database
        self.path = path or database.path.with_name(NAME)
        self._mode = database.file_mode
        self._compact_from_bytes: int | None = None

    def mark(self) -> Mark | None:
        """How far the journal had come when the shadow was last written; None when it says nothing."""
        try:
            with self.path.open("rb") as file:
                file.seek(-min(_TAIL_BYTES, self.path.stat().st_size), os.SEEK_END)
                tail = file.read().splitlines()
        except OSError:
            return None
        lines = (_line(line) for line in reversed(tail))
        return next((line for line in lines if isinstance(line, Mark)), None)

    def behind(self) -> str | None:
        """Whether the journal is older than its shadow: why, or None when it holds all that the shadow speaks of."""
        mark = self.mark()
        if mark is None:
            return None
        row = self.database.connection.execute(
            "SELECT last_seq FROM journals WHERE journal_id = ?", (mark.journal_id,)
        ).fetchone()
        if row is not None and row[0] >= mark.last_seq:
            return None
        ends = "is not here" if row is None else f"ends at {row[0]}"
        return f"this journal had come to number {mark.last_seq}, and now {ends}"

    def entries(self) -> Iterator[FrozenSale | FrozenUsage]:
        """Every copy that proves itself; damaged lines are left out."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            for raw in file:
                line = _line(raw)
                if isinstance(line, _Copy) and fingerprint(line.body.encode()) == line.sha256:
                    with contextlib.suppress(InvalidSale):
                        yield (read_sale if line.lane == "sales" else read_usage)(line.body.encode())

    def catch_up(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Copy what was recorded since, as far as head office has not taken it. For idle moments.

        Args:
            go_on: asked between batches.

        Raises:
            StoreBroken: the disk refuses; the journal itself is as it was.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path.with_suffix(".shadow.lock"), timeout=0, mode=self._mode)
        try:
            with lock:
                self._catch_up(go_on)
        except Timeout:
            pass  # another program copies just now, and copies all
        except OSError as error:
            raise broken(error, self.path) from error

    def _catch_up(self, go_on: Callable[[], bool]) -> None:
        life = self.database.connection.execute(_LIFE).fetchone()
        if life is None or self.behind() is not None:
            return  # what the shadow holds is still to be taken over
        mark = self.mark() or Mark(life[0], 0, 0, 0)
        while go_on():
            now = self._now()
            if (now.journal_id, now.last_seq, now.usage) == (mark.journal_id, mark.last_seq, mark.usage):
                break
            sales, sale = self._next("sales", _SALES, mark.sale, now.sale)
            usages, usage = self._next("usages", _USAGES, mark.usage, now.usage)
            reached = now if (sale, usage) == (now.sale, now.usage) else Mark(now.journal_id, 0, sale, usage)
            self._append([*sales, *usages, _encode(reached)])
            mark = reached
        if self._is_worth_compacting():
            self.compact()

    def _now(self) -> Mark:
        execute = self.database.connection.execute
        journal_id, last_seq = execute(_LIFE).fetchone()
        sale = execute("SELECT coalesce(max(entry), 0) FROM sales").fetchone()[0]
        usage = execute("SELECT coalesce(max(entry), 0) FROM usages").fetchone()[0]
        return Mark(journal_id, last_seq, sale, usage)

    def _next(self, lane: str, query: str, after: int, end: int) -> tuple[list[bytes], int]:
        rows = self.database.connection.execute(query, (after, COPIED_AT_ONCE)).fetchall()
        lines = [_encode(_Copy(lane, digest, body.decode())) for _, digest, body in rows]
        return lines, rows[-1][0] if len(rows) == COPIED_AT_ONCE else end

    def _append(self, lines: list[bytes]) -> None:
        create_private(self.path, self._mode)
        with self.path.open("ab") as file:
            # Begins a line of its own: a power cut may have left the last one unfinished.
            file.write(b"\n" + b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _is_worth_compacting(self) -> bool:
        """Whether a large file is about entries that head office has meanwhile: surely when nothing waits any more,
        probably when it has doubled."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < COMPACT_FROM_BYTES:
            return False
        if self._compact_from_bytes is None:
            self._compact_from_bytes = 2 * size
        waits = "SELECT EXISTS (SELECT 1 FROM sales WHERE state = 'pending')"
        return size >= self._compact_from_bytes or not self.database.connection.execute(waits).fetchone()[0]

    def compact(self) -> None:
        """Write the shadow anew with what still waits, in one step."""
        fresh = self.path.with_suffix(".shadow.new")
        fresh.unlink(missing_ok=True)
        create_private(fresh, self._mode)
        now = self._now()
        with fresh.open("wb") as file:
            for lane, query, end in (("sales", _SALES, now.sale), ("usages", _USAGES, now.usage)):
                after = -(2**62)
                while after < end:
                    lines, after = self._next(lane, query, after, end)
                    file.writelines(line + b"\n" for line in lines)
            file.write(_encode(now) + b"\n")
        durable.put_in_place(fresh, self.path)
        self._compact_from_bytes = max(COMPACT_FROM_BYTES, 2 * self.path.stat().st_size)


def _line(raw: bytes) -> Mark | _Copy | None:
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
