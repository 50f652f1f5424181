"""The feed of categories, products and promotions: a change sequence in commit order, read by cursor (section 4)."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from ho_stub.cursor import Cursor, Scope
from ho_stub.database import Database, Row
from ho_stub.listings import Listings, lists
from ho_stub.rows import audience, dates, filled, micros, utc_now
from ho_stub.settings import Settings

# A row's audience and a departure's are matched in the same way.
# Nothing in an id is a wildcard.
IN_SCOPE = """(brands = '' OR :brand = '' OR brands = :brand OR brands LIKE '%' || :brand || '%')
  AND (stores = '' OR :store = '' OR stores = :store OR stores LIKE '%' || :store || '%')"""
FROM = "FROM feed WHERE dataset = :dataset"
FROM_WINDOW = """FROM feed JOIN listing ON listing.promotion_id = feed.id AND listing.window_key = :window
  WHERE dataset = :dataset"""
HEAD = """SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM feed WHERE dataset = :dataset
  UNION ALL SELECT max(seq) FROM departure WHERE dataset = :dataset) AS heads"""
KNOWN = """SELECT EXISTS (SELECT 1 FROM feed WHERE dataset = :dataset AND id = :id)
  OR EXISTS (SELECT 1 FROM departure WHERE dataset = :dataset AND id = :id)"""

INSERT = """
INSERT INTO feed (dataset, id, seq, row_version, leaf, updated_us, brands, stores, is_active, starts, ends, sku,
  is_volatile, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (dataset, id) DO UPDATE SET seq = excluded.seq, row_version = excluded.row_version, leaf = excluded.leaf,
  updated_us = excluded.updated_us, brands = excluded.brands, stores = excluded.stores,
  is_active = excluded.is_active, starts = excluded.starts, ends = excluded.ends, sku = excluded.sku,
  is_volatile = excluded.is_volatile, body = excluded.body"""


@dataclass(frozen=True, slots=True)
class Sight:
    """The SQL of what a scope sees of a dataset. A promotion is seen through a window, which gives it its place there;
    any other row's place is that of its last edit."""

    visible: str
    gone: str
    place: str

    @property
    def snapshot(self) -> str:
        """A page of rows in id order."""
        return f"SELECT id, body {self.visible} AND id > :after ORDER BY id LIMIT :limit"

    @property
    def delta(self) -> str:
        """A page of rows and departures in commit order."""
        return f"""SELECT {self.place}, id, body {self.visible} AND {self.place} > :seq
          UNION ALL SELECT max(seq), id, NULL {self.gone} AND seq > :seq GROUP BY id ORDER BY 1 LIMIT :limit"""


def _sight(seen: str, place: str) -> Sight:
    # A departure counts only while the scope doesn't see the row: so no answer names an id twice.
    gone = f"""FROM departure AS gone WHERE dataset = :dataset AND gone.window_key = :window AND {IN_SCOPE}
      AND NOT EXISTS (SELECT 1 {seen} AND feed.id = gone.id AND {IN_SCOPE})"""
    return Sight(f"{seen} AND {IN_SCOPE}", gone, place)


SIGHTS = {
    "categories": _sight(FROM, "seq"),
    "products": _sight(FROM, "seq"),
    "promotions": _sight(FROM_WINDOW, "place"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: rows as JSON bytes, tombstones, where to go on; `remaining`: rows still to come, these included."""

    rows: list[bytes]
    deleted_ids: list[str]
    cursor: Cursor
    has_more: bool
    snapshot: bool
    remaining: int


class Feed:
    """Reads and writes the three datasets. Writing needs the caller's `db.write()`."""

    def __init__(self, db: Database, company_id: str, epoch: str) -> None:
        self._db = db
        self._company_id = company_id
        self._epoch = epoch[:8]
        self.listings = Listings(db)
        # (cursor, scope) → (head, rows that remain there): counting again for each page would cost more than reading.
        self._remaining: dict[tuple[str, str], tuple[int, int]] = {}

    # -- writing

    def put(self, dataset: str, row: Mapping[str, Any], today: date) -> dict[str, Any]:
        """Insert or replace a row as the feed's newest change; returns it as stored."""
        row_id = str(row["id"])
        keys = self.listings.wanting(row, today) if dataset == "promotions" else [""]
        self._depart(dataset, row_id, keys, audience(dataset, row))
        seq = self._db.next("change")
        stored = filled(dataset, row, self._company_id, utc_now()) | {"row_version": seq}
        self._db.run(INSERT, _columns(dataset, stored))
        if dataset == "promotions":
            self.listings.put(row_id, keys, seq)
        return stored

    def load(self, dataset: str, rows: Iterable[Mapping[str, Any]], today: date) -> None:
        """Insert many new rows, each with a number of its own."""
        now = utc_now()
        first = last = self._db.next("change") - 1

        def columns() -> Iterator[tuple[Any, ...]]:
            nonlocal last
            for row in rows:
                last += 1
                stored = filled(dataset, row, self._company_id, now) | {"row_version": last}
                yield _columns(dataset, stored)

        self._db.run_many(INSERT, columns())
        self._db.run("UPDATE counter SET value = ? WHERE name = 'change'", (last,))
        for key in self.listings.keys() if dataset == "promotions" else ():
            self.listings.fill(key, today, after=first)

    def delete(self, dataset: str, row_id: str) -> None:
        """Delete a row for good; every scope that had it gets a tombstone."""
        seq = self._db.next("change")
        self._depart(dataset, row_id)
        self._db.run("DELETE FROM feed WHERE dataset = ? AND id = ?", (dataset, row_id))
        if dataset == "promotions":
            self.listings.put(row_id, (), seq)

    def _depart(
        self, dataset: str, row_id: str, stays_in: Collection[str] = (), goes_to: tuple[str, str] | None = None
    ) -> None:
        """Note that the row's present audience loses it, but in windows that it stays in for the very same audience."""
        old = self._db.row("SELECT brands, stores FROM feed WHERE dataset = ? AND id = ?", (dataset, row_id))
        if old is None:
            return
        had = (str(old[0]), str(old[1]))
        was_in = self.listings.of(row_id) if dataset == "promotions" else [""]
        left = [key for key in was_in if key not in stays_in or goes_to != had]
        if left:
            # The number of the change under way: a row's own comes one later, which no scope can tell.
            seq = self._db.current("change") if goes_to is None else self._db.next("change")
            self.listings.depart(dataset, row_id, seq, had, left)

    # -- reading

    def head(self, scope: Scope) -> int:
        """The last change of the scope's dataset; of promotions: of its window."""
        if scope.dataset == "promotions":
            return self.listings.head(scope.window)
        return int(self._db.value(HEAD, {"dataset": scope.dataset}))

    def cursor_at_head(self, scope: Scope) -> Cursor:
        """The cursor of a client that has everything."""
        return self._at(scope, self.head(scope))

    def mark_of(self, scope: Scope, seq: int) -> int | None:
        """The mark of a number that the dataset has reached, and whose later tombstones are all still known."""
        is_reached = (
            self.listings.spans(scope.window, seq) if scope.dataset == "promotions" else seq <= self.head(scope)
        )
        return self._db.mark("change", seq) if is_reached and self._purged(scope.dataset) <= seq else None

    def purge(self, dataset: str, before: int) -> None:
        """Forget the tombstones of changes before a number, as head offices do to save room: a cursor that has not
        passed them all answers 410 from now on. Their ids stay known, for the sales that name them."""
        sql = "SELECT max(seq) FROM departure WHERE dataset = ? AND seq < ?"
        newest = self._db.value(sql, (dataset, before)) or 0
        self._db.set_meta(f"purged {dataset}", str(max(newest, self._purged(dataset))))

    def _purged(self, dataset: str) -> int:
        """The newest tombstone that was purged, 0 when none was."""
        return int(self._db.meta(f"purged {dataset}") or 0)

    def _at(self, scope: Scope, seq: int, after: str | None = None) -> Cursor:
        return Cursor(self._epoch, scope.key, seq, self._db.mark("change", seq), after)

    def page(self, scope: Scope, cursor: Cursor | None, limit: int) -> Page:
        """The next page: of a snapshot (no cursor, or one from its middle), else of a delta."""
        with self._db.read():
            head = self.head(scope)
            start = cursor or self._at(scope, head, "")
            return (
                self._delta(scope, start, head, limit)
                if start.after is None
                else self._snapshot(scope, start, head, limit)
            )

    def _snapshot(self, scope: Scope, start: Cursor, head: int, limit: int) -> Page:
        found = self._db.rows(SIGHTS[scope.dataset].snapshot, _bound(scope, after=start.after, limit=limit + 1))
        has_more = len(found) > limit
        found = found[:limit]
        # The end of a snapshot goes on as a delta from its beginning.
        end = self._at(scope, start.seq, found[-1][0] if has_more else None)
        remaining = self._count_remaining(scope, start, head, "id > :after", after=start.after)
        self._remember(scope, end, head, remaining - len(found), has_more)
        return Page([body for _, body in found], [], end, has_more, True, remaining)

    def _delta(self, scope: Scope, start: Cursor, head: int, limit: int) -> Page:
        found = self._db.rows(SIGHTS[scope.dataset].delta, _bound(scope, seq=start.seq, limit=limit + 1))
        has_more = len(found) > limit
        found = found[:limit]
        end = self._at(scope, found[-1][0] if has_more else head)
        rows = [body for _, _, body in found if body is not None]
        remaining = self._count_remaining(scope, start, head, f"{SIGHTS[scope.dataset].place} > :seq", seq=start.seq)
        self._remember(scope, end, head, remaining - len(rows), has_more)
        return Page(rows, [row_id for _, row_id, body in found if body is None], end, has_more, False, remaining)

    def _count_remaining(self, scope: Scope, at: Cursor, head: int, where: str, **bound: object) -> int:
        known = self._remaining.pop((at.text(), scope.key), None)
        if known is not None and known[0] == head:
            return known[1]
        sql = f"SELECT count(*) {SIGHTS[scope.dataset].visible} AND {where}"
        return int(self._db.value(sql, _bound(scope, **bound)))

    def _remember(self, scope: Scope, at: Cursor, head: int, remaining: int, has_more: bool) -> None:
        if len(self._remaining) > 1_000:
            self._remaining.clear()
        if has_more:
            self._remaining[at.text(), scope.key] = (head, remaining)

    def everything(self, scope: Scope, *, active_only: bool = False) -> list[bytes]:
        """All rows that the scope sees, in id order."""
        sql = f"SELECT body {SIGHTS[scope.dataset].visible} AND is_active >= :active ORDER BY id"
        return [body for (body,) in self._db.rows(sql, _bound(scope, active=int(active_only)))]

    def since(self, scope: Scope, moment_us: int, *, active_only: bool) -> list[bytes]:
        """Rows edited at or after a moment: what a head office without cursors can tell."""
        visible = SIGHTS[scope.dataset].visible
        sql = f"SELECT body {visible} AND is_active >= :active AND updated_us >= :us ORDER BY updated_us, id"
        return [body for (body,) in self._db.rows(sql, _bound(scope, active=int(active_only), us=moment_us))]

    def departed_since(self, scope: Scope, moment_us: int) -> list[str]:
        """Ids that the scope lost at or after a moment and has not now."""
        sql = f"SELECT DISTINCT id {SIGHTS[scope.dataset].gone} AND at_us >= :us AND seq > :purged"
        bound = _bound(scope, us=moment_us, purged=self._purged(scope.dataset))
        return [row_id for (row_id,) in self._db.rows(sql, bound)]

    def count(self, scope: Scope) -> int:
        """How many rows the scope sees."""
        return int(self._db.value(f"SELECT count(*) {SIGHTS[scope.dataset].visible}", _bound(scope)))

    def digest(self, scope: Scope, leaves: int) -> tuple[int, list[str]]:
        """Section 6: the number of rows, and for each leaf the sum of its rows' hashes, modulo 2^64, in hex."""
        found = self._db.rows(f"SELECT leaf, id, row_version {SIGHTS[scope.dataset].visible}", _bound(scope))
        sums = [0] * leaves
        for leaf, row_id, row_version in found:
            sums[leaf * leaves // 256] += int.from_bytes(
                hashlib.sha256(f"{row_id}:{row_version}".encode()).digest()[:8], "big"
            )
        return len(found), [f"{total % 2**64:016x}" for total in sums]

    def leaves(self, scope: Scope, wanted: Iterable[int], of: int) -> list[bytes]:
        """All rows of some leaves."""
        named = ",".join(str(int(leaf)) for leaf in wanted)
        sql = f"SELECT body {SIGHTS[scope.dataset].visible} AND leaf * :of / 256 IN ({named}) ORDER BY id"
        return [body for (body,) in self._db.rows(sql, _bound(scope, of=of))]

    def promotions_for(self, store_id: str, brand_id: str, settings: Settings, today: date) -> list[bytes]:
        """What a store's snapshot would hold with these settings, in the order of the snapshot; nothing is kept."""
        sql = f"SELECT body, is_active, starts, ends {FROM} AND {IN_SCOPE} ORDER BY id"
        found = self._db.rows(sql, _bound(Scope("promotions", self._company_id, brand_id, store_id)))
        return [body for body, *row in found if lists(settings, today, *row)]

    def get(self, dataset: str, row_id: str) -> dict[str, Any] | None:
        """A row as stored, whoever it is for; None if there is none."""
        body = self._db.value("SELECT body FROM feed WHERE dataset = ? AND id = ?", (dataset, row_id))
        return None if body is None else msgspec.json.decode(body, type=dict[str, Any])

    def known(self, dataset: str, row_id: str) -> bool:
        """Whether the row exists or ever did."""
        return bool(self._db.value(KNOWN, {"dataset": dataset, "id": row_id}))

    def product(self, product_id: str) -> Row | None:
        """(is_volatile,) of a product, or None."""
        return self._db.row("SELECT is_volatile FROM feed WHERE dataset = 'products' AND id = ?", (product_id,))

    def product_by_sku(self, sku: str, brand_id: str | None) -> str | None:
        """The id of the product that a SKU names: an active one of the brand first."""
        sql = """SELECT id FROM feed WHERE sku = ? AND dataset = 'products'
          ORDER BY (brands = ?) DESC, is_active DESC, updated_us DESC, id LIMIT 1"""
        found: str | None = self._db.value(sql, (sku, brand_id or ""))
        return found


def _bound(scope: Scope, **more: object) -> dict[str, object]:
    return {"dataset": scope.dataset, "brand": scope.brand_id, "store": scope.store_id, "window": scope.window, **more}


def _columns(dataset: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    brands, stores = audience(dataset, row)
    is_active = bool(row.get("is_active", True))
    starts, ends = dates(row) if dataset == "promotions" else (None, None)
    row_id = str(row["id"])
    sku = str(row["sku"]) if dataset == "products" and row.get("sku") else None
    version = row["row_version"]
    return (
        dataset, row_id, version, version, hashlib.sha256(row_id.encode()).digest()[0], micros(str(row["updated_at"])),
        brands, stores, is_active, starts, ends, sku, bool(row.get("is_volatile")), msgspec.json.encode(row),
    )  # fmt: skip
