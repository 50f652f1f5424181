"""Digests of a dataset: equal leaves mean equal rows, for the price of one small answer (contract, section 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

LEAVES = 256
MODULUS = 2**64


def leaf_of(row_id: str) -> int:
    """The leaf an id belongs to, 0 to 255: the first byte of its SHA-256."""
    return hashlib.sha256(row_id.encode()).digest()[0]


def version_value(row_id: str, row_version: int) -> int:
    """What a row adds to its leaf: the first 8 bytes of SHA-256("id:row_version")."""
    return int.from_bytes(hashlib.sha256(f"{row_id}:{row_version}".encode()).digest()[:8], "big")


def scaled(values: Sequence[int], count: int) -> list[str]:
    """The leaves as head office writes them.

    Args:
        values: sums of all 256 leaves.
        count: how many leaves head office made of them, 1 to 256.

    Returns:
        ``count`` texts of 16 hex digits.
    """
    sums = [0] * count
    for leaf, value in enumerate(values):
        place = leaf * count // LEAVES
        sums[place] = (sums[place] + value) % MODULUS
    return [f"{value:016x}" for value in sums]


def leaves(rows: Iterable[tuple[str, int]], count: int = LEAVES) -> list[str]:
    """The leaves over (id, row_version) pairs.

    Args:
        rows: every row in use and every refused one.
        count: number of leaves, 1 to 256.

    Returns:
        ``count`` texts of 16 hex digits.
    """
    sums = [0] * LEAVES
    for row_id, row_version in rows:
        sums[leaf_of(row_id)] += version_value(row_id, row_version)
    return scaled(sums, count)
