"""Exports an outbox into a portable file and imports one: the files; their form is domain/portable.py.

Both devices may send what the file holds, and head office takes each id once (G4). An export changes nothing in the
outbox. An import reads and checks the whole file before it stores the first entry.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, cast

from edge_agent.domain.frozen import FrozenSale, FrozenUsage
from edge_agent.domain.portable import (
    LINE_BYTES_MAX,
    Header,
    Line,
    Portable,
    Reader,
    Writer,
    key_id,
    line_of,
)
from edge_agent.errors import InvalidSale, InvalidSettings, StoreBroken
from edge_agent.storage.adopt import Adopting, Fate
from edge_agent.storage.durable import sync_folder
from edge_agent.storage.journal import Journal
from edge_agent.storage.outbox import LANES, LAST_ENTRY, Kept, Lane, Outbox

__all__ = [
    "Exported",
    "Header",
    "Imported",
    "export_outbox",
    "import_outbox",
    "key_id",
    "new_file",
    "note_export",
    "readable",
]
_IN_MEMORY_BYTES = 1024 * 1024


@dataclass(slots=True)
class Exported:
    """What an export wrote. ``damaged``: entries whose bytes are not those that were recorded; they were left out."""

    file: str
    key_id: str
    sales: int = 0
    usages: int = 0
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import took over.

    Args:
        existing: how many of the file's entries were here already.
        conflicts: ids that belong to other bytes here; those were left out.
        proved: whether the origin's key sealed the file, as far as a key to check it with was at hand.
        device_id: which device exported it.
        key_id: the name of the key that sealed it.
        rewound: whether the file showed that this journal is an older copy, so that it took a new ``journal_id``.
    """

    sales: int
    usages: int
    existing: int
    conflicts: tuple[str, ...]
    proved: bool
    device_id: str
    key_id: str
    rewound: bool


# ---- export --------------------------------------------------------------------------------------------------


def export_outbox(
    outbox: Outbox,
    header: Header,
    key: bytes,
    file: BinaryIO,
    *,
    delivered: bool = False,
    external_ids: Sequence[str] | None = None,
) -> Exported:
    """Write entries into a file.

    Args:
        outbox: where they are.
        header: whose outbox it is.
        key: the device's key.
        file: where they go.
        delivered: also what head office has, as far as its bytes are still here.
        external_ids: only these; a sale takes its uses along.

    Raises:
        InvalidSale: ``NOT_HERE``: an id that is not here, or whose bytes are gone.
        StoreBroken: the journal can't be read.
    """
    missing = outbox.without_bytes(external_ids) if external_ids is not None else []
    if missing:
        raise InvalidSale(
            "NOT_HERE",
            missing[0],
            "is not in this device's outbox, or its bytes are no longer kept",
            "Check the id with edge-agent outbox show.",
        )
    done = Exported("-", key_id(key))
    writer = Writer(header, key)
    file.write(writer.header())
    # What is sold meanwhile goes along, but no use recorded from now on: its sale might have come too late.
    up_to = {"sales": LAST_ENTRY, "usages": outbox.last_entry("usages")}
    for lane in LANES:
        batch = outbox.kept(lane, up_to=up_to[lane], delivered=delivered, external_ids=external_ids)
        while batch:
            for kept in batch:
                line = _line(lane, kept, done)
                if line is not None:
                    file.write(writer.line(line))
            batch = outbox.kept(
                lane, after=batch[-1].entry, up_to=up_to[lane], delivered=delivered, external_ids=external_ids
            )
    file.write(writer.footer())
    return done


def note_export(journal: Journal, done: Exported, now_ms: int) -> None:
    """Note an export in the journal's audit trail.

    Raises:
        StoreBroken: the journal can't be written; the file is whole all the same.
    """
    detail = f"{done.sales} sales, {done.usages} uses, {len(done.damaged)} damaged; key {done.key_id}"
    with journal.database.immediate() as connection:
        journal.note(connection, "outbox exported", done.file, detail, now_ms)


def _line(lane: Lane, kept: Kept, done: Exported) -> Line | None:
    """An entry as the file holds it; None for a damaged one, which must not spoil the others (G7)."""
    try:
        line = line_of(
            lane,
            kept.body,
            external_id=kept.external_id,
            fingerprint=kept.fingerprint,
            state=kept.state,
            code=kept.code,
            reason=kept.reason,
            recorded_ms=kept.recorded_ms,
        )
    except InvalidSale:
        done.damaged.append(kept.external_id)
        return None
    if lane == "sales":
        done.sales += 1
    else:
        done.usages += 1
    return line


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """A private file that appears under its name once it is whole and on the disk, or not at all.

    Args:
        path: its name.
        force: replace a file of this name.

    Raises:
        InvalidSettings: there is one already.
        StoreBroken: it can't be written.
    """
    _refuse_overwriting(path, force)
    try:
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _refuse_overwriting(path, force)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def _refuse_overwriting(path: Path, force: bool) -> None:
    if path.exists() and not path.is_file():  # a folder, or a whole disk
        raise InvalidSettings("FILE", f"{path} is no file", hint="Give the name of a file, or - for standard output.")
    if path.exists() and not force:
        raise InvalidSettings("FILE", f"{path} is there already", hint="Give another name, or --force to replace it.")


def _unwritable(path: Path, error: OSError) -> StoreBroken:
    return StoreBroken(f"{path} can't be written: {error.strerror}", hint="Check the folder, and its free space.")


# ---- import --------------------------------------------------------------------------------------------------


@contextmanager
def readable(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    """A file that can be read twice; a stream is copied to the disk first.

    Raises:
        InvalidSale: ``NO_FILE``: it can't be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            if isinstance(source, Path):
                yield stack.enter_context(source.open("rb"))
                return
            copy = cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)))
            shutil.copyfileobj(source, copy)
            yield copy
    except OSError as error:
        name = source if isinstance(source, Path) else "the input"
        raise InvalidSale("NO_FILE", "FILE", f"{name} can't be read: {error.strerror}", "Check the path.") from None


def import_outbox(
    journal: Journal,
    file: BinaryIO,
    *,
    company_id: str,
    store_id: str,
    key: bytes | None,
    must_prove: bool,
    begin_life: Callable[[str], None],
    now_ms: int,
) -> Imported:
    """Take a file's entries over: pending, under their own identity; head office judges them anew.

    Args:
        journal: where they go.
        file: the file; it is read twice.
        company_id: this device's company.
        store_id: this device's store: only its goods count for the stock shown here.
        key: a key that may prove the file's origin.
        must_prove: refuse a file that another key sealed.
        begin_life: gives this journal a new identity, for a reason.
        now_ms: milliseconds since 1970.

    Raises:
        InvalidSale: the file is damaged, cut short, changed or foreign; nothing was stored.
        StoreBroken: the journal can't be written; importing the file again is harmless.
    """

    def reader() -> Reader:
        file.seek(0)
        return Reader(_lines(file), company_id=company_id, key=key, must_prove=must_prove)

    checked = reader()
    header, proved = checked.header, checked.proved
    rewound = _shows_rewinding(journal, checked.entries())
    origin = f"{header.device_id}, journal {header.journal_id}, key {header.key_id}"
    trust = "origin proved by its key" if proved else "origin not proved"
    if rewound:
        # Before the first entry is stored: its numbers are taken, and no sale may draw them once more (G2).
        begin_life(f"rewound: an outbox exported by {header.device_id} holds later sales of this journal")
    adopting = Adopting(journal, store_id=store_id, source=f"import from {origin}; {trust}", now_ms=now_ms)
    for is_sale, part in groupby(reader().entries(), key=lambda one: isinstance(one.frozen, FrozenSale)):
        if is_sale:
            adopting.sales((cast(FrozenSale, one.frozen), _fate(one)) for one in part)
        else:
            adopting.usages((cast(FrozenUsage, one.frozen), _fate(one)) for one in part)
    done = adopting.adopted
    counts = f"{done.sales} sales, {done.usages} uses, {done.existing} here before, {len(done.conflicts)} conflicts"
    with journal.database.immediate() as connection:
        journal.note(connection, "outbox imported", origin, f"{counts}; {trust}", now_ms)
    return Imported(
        done.sales, done.usages, done.existing, tuple(done.conflicts), proved, header.device_id, header.key_id, rewound
    )


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(LINE_BYTES_MAX + 1), b"")


def _shows_rewinding(journal: Journal, entries: Iterable[Portable]) -> bool:
    """Reads all entries; whether one is a sale of this journal's present life that is not here: then the journal is
    an older copy of itself, and gives numbers out again that are taken."""
    life = journal.life()
    present = life.journal_id if life else None
    rewound = False
    for one in entries:
        sale = one.frozen
        if isinstance(sale, FrozenSale) and sale.journal_id == present and not rewound:
            rewound = journal.sale(sale.external_id) is None
    return rewound


def _fate(one: Portable) -> Fate:
    """Pending, with head office's words of then: they are judged anew."""
    return Fate(one.recorded_ms, code=one.code, reason=one.reason)
