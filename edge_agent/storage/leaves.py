"""A dataset's digest, kept up by whatever changes its rows, in the same transaction (contract, section 6)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from edge_agent.domain.digest import LEAVES, MODULUS
from edge_agent.storage.engine import sqlite3

_EVERY = -(2**62)  # below every generation
_IDS_PER_STATEMENT = 10_000  # SQLite takes some 32,000 values on the oldest engine


@dataclass(frozen=True, slots=True)
class Counted:
    """What a digest counts of an id: the version in use or refused, and the bytes in use (None: no good row)."""

    row_version: int
    body: bytes | None


Exchange = tuple[str, int | None, bytes | None, int | None, bytes | None]


@dataclass(slots=True)
class Leaves:
    """Sums of 256 leaves, as ``domain/digest.py`` defines them: over (id, version), and over the rows' bytes."""

    rows: list[int] = field(default_factory=lambda: [0] * LEAVES)
    versions: list[int] = field(default_factory=lambda: [0] * LEAVES)
    contents: list[int] = field(default_factory=lambda: [0] * LEAVES)

    @property
    def count(self) -> int:
        """How many ids are counted."""
        return sum(self.rows)

    def add(self, row_id: str, row_version: int, body: bytes | None) -> None:
        """Count a row."""
        self.exchange([(row_id, None, None, row_version, body)])

    def take(self, row_id: str, row_version: int, body: bytes | None) -> None:
        """Count a row no more."""
        self.exchange([(row_id, row_version, body, None, None)])

    def exchange(self, changes: Iterable[Exchange]) -> None:
        """Count rows anew: each as id, version and bytes from before, version and bytes from now; None for no row."""
        # One loop with everything inside it: a first load comes here for every row.
        rows, versions, contents, sha256, crc32 = self.rows, self.versions, self.contents, hashlib.sha256, zlib.crc32
        whole = int.from_bytes
        for row_id, old_version, old_body, new_version, new_body in changes:
            leaf = sha256(row_id.encode()).digest()[0]
            if old_version is not None:
                rows[leaf] -= 1
                versions[leaf] -= whole(sha256(f"{row_id}:{old_version}".encode()).digest()[:8], "big")
                if old_body is not None:
                    contents[leaf] -= crc32(old_body if type(old_body) is bytes else _as_bytes(old_body))
            if new_version is not None:
                rows[leaf] += 1
                versions[leaf] += whole(sha256(f"{row_id}:{new_version}".encode()).digest()[:8], "big")
                if new_body is not None:
                    contents[leaf] += crc32(new_body if type(new_body) is bytes else _as_bytes(new_body))

    def touched(self) -> list[int]:
        """The leaves whose sums are not 0."""
        triples = zip(self.rows, self.versions, self.contents, strict=True)
        return [leaf for leaf, triple in enumerate(triples) if any(triple)]

    def differing(self, other: Leaves) -> list[int]:
        """The leaves that differ from another's."""
        mine = zip(self.rows, self.versions, self.contents, strict=True)
        theirs = zip(other.rows, other.versions, other.contents, strict=True)
        return [leaf for leaf, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]


def _as_bytes(body: object) -> bytes:
    """What damage, or somebody's UPDATE, made of a row's bytes: it must be counted to be found and mended."""
    return str(body).encode(errors="replace")


def is_kept(connection: sqlite3.Connection, dataset: str) -> bool:
    """Whether the dataset's leaves are kept up."""
    row = connection.execute("SELECT leaves_kept FROM datasets WHERE name = ?", (dataset,)).fetchone()
    return bool(row[0])


def stored(connection: sqlite3.Connection, dataset: str) -> Leaves:
    """The leaves as they are kept."""
    found = Leaves()
    query = "SELECT leaf, rows, versions, contents FROM leaves WHERE dataset = ?"
    for leaf, rows, versions, contents in connection.execute(query, (dataset,)):
        found.rows[leaf], found.versions[leaf], found.contents[leaf] = rows, versions % MODULUS, contents % MODULUS
    return found


def computed(connection: sqlite3.Connection, dataset: str, *, generation: int = _EVERY) -> Leaves:
    """The leaves over the rows themselves, in one pass that holds one row at a time.

    Args:
        dataset: which.
        generation: only rows that a snapshot of at least this one brought.
    """
    found = Leaves()
    rows: Iterator[tuple[str, int, bytes]] = connection.execute(
        f"SELECT d.id, coalesce(r.row_version, d.row_version), d.body FROM {dataset} d "
        "LEFT JOIN refused r ON r.dataset = ? AND r.id = d.id WHERE d.generation >= ?",
        (dataset, generation),
    )
    found.exchange((row_id, None, None, row_version, body) for row_id, row_version, body in rows)
    alone: Iterator[tuple[str, int]] = connection.execute(
        f"SELECT id, row_version FROM refused r WHERE dataset = ? AND generation >= ? "
        f"AND NOT EXISTS (SELECT 1 FROM {dataset} d WHERE d.id = r.id AND d.generation >= ?)",
        (dataset, generation, generation),
    )
    found.exchange((row_id, None, None, row_version, None) for row_id, row_version in alone)
    found.versions = [value % MODULUS for value in found.versions]
    found.contents = [value % MODULUS for value in found.contents]
    return found


def change(connection: sqlite3.Connection, dataset: str, by: Leaves) -> None:
    """Add sums to the kept ones."""
    touched = by.touched()
    if not touched:
        return
    present = stored(connection, dataset)
    _store(
        connection,
        dataset,
        [
            (
                leaf,
                present.rows[leaf] + by.rows[leaf],
                present.versions[leaf] + by.versions[leaf],
                present.contents[leaf] + by.contents[leaf],
            )
            for leaf in touched
        ],
    )


def replace(connection: sqlite3.Connection, dataset: str, by: Leaves) -> None:
    """Keep these sums from now on."""
    _store(connection, dataset, list(zip(range(LEAVES), by.rows, by.versions, by.contents, strict=True)))
    connection.execute("UPDATE datasets SET leaves_kept = 1 WHERE name = ?", (dataset,))


def keep_up(connection: sqlite3.Connection, dataset: str) -> None:
    """Make sure that the leaves are kept up from here on; the first time costs one pass over the rows."""
    if not is_kept(connection, dataset):
        replace(connection, dataset, computed(connection, dataset))


def _store(connection: sqlite3.Connection, dataset: str, sums: list[tuple[int, int, int, int]]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO leaves VALUES (?, ?, ?, ?, ?)",
        [(dataset, leaf, rows, _signed(versions), _signed(contents)) for leaf, rows, versions, contents in sums],
    )


def _signed(value: int) -> int:
    value %= MODULUS
    return value - MODULUS if value >= MODULUS // 2 else value


def counted(connection: sqlite3.Connection, dataset: str, ids: Iterable[str]) -> dict[str, Counted]:
    """What the digest counts of each of these ids now; ids it does not count are left out."""
    found: dict[str, Counted] = {}
    every = list(dict.fromkeys(ids))
    for start in range(0, len(every), _IDS_PER_STATEMENT):
        part = every[start : start + _IDS_PER_STATEMENT]
        marks = ", ".join("?" * len(part))
        for row_id, version, body in connection.execute(
            f"SELECT id, row_version, body FROM {dataset} WHERE id IN ({marks})", part
        ):
            found[row_id] = Counted(version, body)
        for row_id, version in connection.execute(
            f"SELECT id, row_version FROM refused WHERE dataset = ? AND id IN ({marks})", (dataset, *part)
        ):
            good = found.get(row_id)
            found[row_id] = Counted(version, good.body if good else None)
    return found


def refused_among(connection: sqlite3.Connection, dataset: str, ids: Sequence[str]) -> set[str]:
    """Which of these ids have a refused row."""
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        part = ids[start : start + _IDS_PER_STATEMENT]
        marks = ", ".join("?" * len(part))
        query = f"SELECT id FROM refused WHERE dataset = ? AND id IN ({marks})"
        found |= {row_id for (row_id,) in connection.execute(query, (dataset, *part))}
    return found
