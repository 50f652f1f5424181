"""What a till must hold, found without the stub's feed and without the agent: by the contract's words alone."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ho_stub.cursor import read_cursor
from ho_stub.errors import ContractError

from .office import DATASETS, PAIR_DEAL, PAIR_PRODUCT, Office, is_bad

BASELINE_LACKS = ("row_version", "barcode", "is_volatile", "reorder_level")
Rows = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Held:
    """What the catalogue's file holds of one dataset, read from outside."""

    rows: Rows = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    new: Rows = field(default_factory=dict)  # brought by the present snapshot or since it
    refused: dict[str, int] = field(default_factory=dict)
    scope: str = ""
    cursor: str | None = None
    in_snapshot: bool = False
    generation: int = 0
    held: int = 0


@dataclass(slots=True)
class Count:
    """How a till's rows differ from head office's."""

    lost: int = 0
    doubled: int = 0
    stuck: int = 0

    @property
    def total(self) -> int:
        """Any difference at all."""
        return self.lost + self.doubled + self.stuck


def expected(office: Office, dataset: str, brand: str) -> Rows:
    """The rows of a dataset that are for this store, this brand and this day (contract, sections 4 and 7)."""
    settings = office.world.settings()
    found: Rows = {}
    for row in office.feed_rows(dataset):
        if not _is_for(dataset, row, brand, office.store_id):
            continue
        if dataset == "promotions" and not _in_window(row, settings, office.world.today()):
            continue
        if office.profile == "baseline":
            if not row.get("is_active", True):
                continue
            row = _as_baseline(dataset, row)
        found[row["id"]] = row
    return found


def _is_for(dataset: str, row: dict[str, Any], brand: str, store: str) -> bool:
    brands = [row["brand_id"]] if row.get("brand_id") else []
    stores = [row["store_id"]] if row.get("store_id") else []
    if dataset == "promotions":
        targeting = row.get("targeting") or {}
        brands, stores = targeting.get("brands") or brands, targeting.get("stores") or []
    return (not brands or brand in brands) and (not stores or store in stores)


def _in_window(row: dict[str, Any], settings: dict[str, Any], today: dt.date) -> bool:
    if not (row.get("is_active", True) or settings["include_inactive"]):
        return False
    if settings["sync_strategy"] == "all_active":
        return True
    both = settings["sync_strategy"] == "include_future"
    ahead, behind = (settings["future_days"], settings["past_days"]) if both else (0, 0)
    dates = row.get("validity") or {}
    start, end = (dates.get(name) and dt.date.fromisoformat(dates[name]) for name in ("start_date", "end_date"))
    return (not start or start <= today + dt.timedelta(ahead)) and (not end or end >= today - dt.timedelta(behind))


def _as_baseline(dataset: str, row: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in row.items() if name not in BASELINE_LACKS}
    if dataset == "products":
        row |= {name: float(row[name]) for name in ("price", "cost") if isinstance(row.get(name), str)}
    return row


def expected_stock(office: Office) -> dict[str, str]:
    """The store's figures; a baseline head office gives none."""
    if office.profile == "baseline":
        return {}
    found = office.world.db.rows(
        "SELECT product_id, quantity FROM stock WHERE store_id = ? AND NOT deleted", (office.store_id,)
    )
    return {row_id: f"{quantity / 1000:.3f}" for row_id, quantity in found}


def digest(versions: Iterable[tuple[str, int]]) -> list[int]:
    """256 sums over (id, row_version), as the contract's section 6 has them."""
    sums = [0] * 256
    for row_id, version in versions:
        value = int.from_bytes(hashlib.sha256(f"{row_id}:{version}".encode()).digest()[:8], "big")
        sums[hashlib.sha256(row_id.encode()).digest()[0]] += value
    return [one % 2**64 for one in sums]


def difference(office: Office, dataset: str, brand: str, held: Held) -> Count:
    """How far a dataset is from head office's; a row that breaks the contract leaves the last good one in use."""
    theirs = expected(office, dataset, brand)
    bad = {row_id for row_id, row in theirs.items() if is_bad(row)}
    good = {row_id: row for row_id, row in theirs.items() if row_id not in bad}
    mine = {row_id: row for row_id, row in held.rows.items() if row_id not in bad}
    count = Count(
        lost=len(good.keys() - mine.keys()),
        doubled=len(mine.keys() - good.keys()) + len(held.refused.keys() - bad),
        stuck=sum(mine[row_id] != good[row_id] for row_id in mine.keys() & good.keys())
        + len(bad - held.refused.keys())
        + int(held.in_snapshot)
        + int(held.cursor is None)
        + int(held.held > 0),
    )
    if office.profile == "native" and not count.total:
        versions = {row_id: row["row_version"] for row_id, row in held.rows.items()} | held.refused
        same = digest(versions.items()) == digest((row_id, row["row_version"]) for row_id, row in theirs.items())
        count.stuck += not same
    return count


def check_never_had(office: Office, held: Held, dataset: str) -> None:
    """A till never holds a row that head office never had."""
    for body in held.bodies:
        known = body in office.ever if office.profile == "native" else _was_known(office, dataset, body)
        assert known, f"{dataset}: head office never had {body!r}"


def _was_known(office: Office, dataset: str, body: bytes) -> bool:
    row = json.loads(body)
    ever = (json.loads(one) for one in office.ever if row["id"].encode() in one)
    return any(_as_baseline(dataset, one) == row for one in ever)


def check_cursor(office: Office, dataset: str, brand: str, held: Held) -> None:
    """G5: rows here, and what the cursor still brings, are head office's; in a snapshot's middle too."""
    if held.cursor is None or held.held or f"/{brand}/" not in held.scope:
        return
    world = office.world
    scope = world.scope(dataset, brand_id=brand, store_id=office.store_id)
    try:
        cursor = read_cursor(held.cursor, world.epoch, scope, lambda seq: world.feed.mark_of(scope, seq))
    except ContractError:
        return  # head office would refuse it: the next pull takes a snapshot
    rows, refused = dict(held.new if held.in_snapshot else held.rows), set(held.refused)
    for _ in range(2):  # the rest of a snapshot, then the delta behind it
        page = world.feed.page(scope, cursor, 5_000)
        rows |= {row["id"]: row for row in map(json.loads, page.rows)}
        gone = {*page.deleted_ids}
        rows = {row_id: row for row_id, row in rows.items() if row_id not in gone}
        cursor = page.cursor
    theirs = expected(office, dataset, brand)
    skip = {row["id"] for row in [*theirs.values(), *rows.values()] if is_bad(row)} | refused
    mine = {row_id: row for row_id, row in rows.items() if row_id not in skip}
    good = {row_id: row for row_id, row in theirs.items() if row_id not in skip}
    assert mine == good, f"{dataset} at its cursor: {words(mine, good)}"


def place(cursor: str | None) -> tuple[str, int, str] | None:
    """Where a cursor of the stub stands: whose it is, its number, and the id in a snapshot's middle."""
    if cursor is None:
        return None
    epoch, scope, seq, _, after = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[4:])
    return f"{epoch}/{scope}", seq, "~" if after is None else after


def check_forward(dataset: str, before: Held, after: Held) -> None:
    """A cursor only goes forward, unless a new snapshot began."""
    old, new = place(before.cursor), place(after.cursor)
    if old is None or before.generation != after.generation:
        return
    assert new is not None, f"{dataset} lost its cursor without a snapshot"
    assert new[0] == old[0], f"{dataset} went on under another epoch or scope without a snapshot"
    assert new[1:] >= old[1:], f"{dataset} moved back from {old} to {new}"


def pair_tags(held: dict[str, Held]) -> tuple[str | None, str | None]:
    """The tags of the paired product and its promotion on a till."""
    product = held["products"].rows.get(PAIR_PRODUCT)
    deal = held["promotions"].rows.get(PAIR_DEAL)
    return product and str(product["price"]), deal and str(deal["rules"]["amount"])


def words(mine: Rows, theirs: Rows) -> str:
    """A difference for people."""
    parts = {
        "missing here": sorted(theirs.keys() - mine.keys()),
        "too many here": sorted(mine.keys() - theirs.keys()),
        "differ": sorted(one for one in mine.keys() & theirs.keys() if mine[one] != theirs[one]),
    }
    return ", ".join(f"{name}: {ids}" for name, ids in parts.items() if ids)


__all__ = ["DATASETS", "Count", "Held", "difference", "expected", "expected_stock"]
