"""Head office in these histories: the stub's own world, edited in every way a company edits, and what it ever held."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from ho_stub import seed
from ho_stub.app import create_app
from ho_stub.world import Profile, World
from tests.sim.line import Wire, without_thread_pool
from tests.sim.office import Time

DATASETS = ("categories", "products", "promotions")
POOL = {"categories": 7, "products": 24, "promotions": 18}  # ids an edit may name; most exist from the start
AT_START = {"categories": 5, "products": 18, "promotions": 14}
SPANS_S = (1, 20, 250, 900, 3_600, 7 * 3_600, 86_400, 2 * 86_400, 4 * 86_400)
LATE_S = (30, 200, 400, 4_000, 90_000)
TICK_S = 0.001  # head office's clock goes on a little with everything it notes
SETTINGS: tuple[dict[str, Any], ...] = (
    {"sync_strategy": "current_only"},
    {"sync_strategy": "all_active"},
    {"sync_strategy": "include_future", "future_days": 0, "past_days": 0},
    {"sync_strategy": "include_future", "future_days": 30, "past_days": 5},
    {"include_inactive": True},
    {"include_inactive": False},
    {"max_promotions_per_sync": 10},
    {"max_promotions_per_sync": 11, "sync_interval_hours": 1},
    {"max_promotions_per_sync": 500, "sync_interval_hours": 24},
    {"auto_sync_enabled": False},
    {"auto_sync_enabled": True},
    {"enable_compression": False},
)
DATES: tuple[tuple[int | None, int | None], ...] = (  # a promotion's first and last day, counted from today
    (None, None),
    (-3, 0),
    (-9, -1),
    (-9, -2),
    (1, 4),
    (7, 9),
    (8, 8),
    (-1, None),
    (None, 3),
    (40, 50),
)


def _id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-{number * 0x9E3779B1 % 2**48:012x}"


COMPANY, BRAND, OTHER_BRAND, STORE, OTHER_STORE = map(_id, (1, 2, 0xB2, 3, 0x33))
PAIR_PRODUCT, PAIR_DEAL = _id(0xAAAA), _id(0xAAAB)
STORES = (None, STORE, OTHER_STORE)
BRANDS = (None, BRAND, OTHER_BRAND)


def row_id(dataset: str, number: int) -> str:
    """The id of one of a dataset's rows."""
    return _id(0x1000 * (1 + DATASETS.index(dataset)) + number % POOL[dataset])


def new_row(dataset: str, number: int) -> dict[str, Any]:
    """A row as it is first made."""
    row: dict[str, Any] = {"id": row_id(dataset, number), "brand_id": BRAND, "name": f"{dataset} {number}"}
    if dataset == "categories":
        return row | {"parent_id": row_id(dataset, 0) if number % 3 else None}
    if dataset == "products":
        return row | {"sku": f"SKU-{number % 15}", "price": f"{number}.25", "category_id": row_id("categories", number)}
    return row | {
        "code": f"CODE{number}",
        "promo_type": "percent_discount",
        "rules": {"type": "percent", "discount_percent": "5"},
    }


def pair(tag: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A product and its promotion as head office writes them in one transaction: both carry the tag."""
    product = {"id": PAIR_PRODUCT, "brand_id": BRAND, "name": "Paired", "price": f"{tag}.00"}
    rules = {"type": "amount", "amount": f"{tag}.00"}
    return product, {"id": PAIR_DEAL, "brand_id": BRAND, "name": "Paired deal", "code": "PAIR", "rules": rules}


class MovedClock:
    """Head office's clock: the simulated time, and a little later with everything that is noted.

    Args:
        time: the simulated time.
        zone_s: how far the company's zone is ahead of UTC, seconds.
    """

    def __init__(self, time: Time, zone_s: int) -> None:
        self.time = time
        self._zone_s = zone_s
        self.ticks = 0
        self._stack = ExitStack()

    def __enter__(self) -> MovedClock:
        for place in ("feed", "listings", "world", "baseline", "downloads", "version"):
            self._stack.enter_context(patch(f"ho_stub.{place}.utc_now", self.utc_now))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def utc_now(self) -> str:
        """This moment."""
        self.ticks += 1
        return self.stamp(0)

    def stamp(self, ago_s: float) -> str:
        """A moment so long ago, as the contract writes it."""
        moment = dt.datetime.fromtimestamp(self.time.now_s() + self.ticks * TICK_S - ago_s, dt.UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def day(self) -> dt.date:
        """The date in the company's zone."""
        return dt.datetime.fromtimestamp(self.time.now_s() + self._zone_s, dt.UTC).date()


class Office:
    """Head office of one profile; :meth:`reset` gives each history the same start."""

    store_id = STORE

    def __init__(self, profile: Profile) -> None:
        self.time = Time()
        self.clock = MovedClock(self.time, 7 * 3_600).__enter__()
        self.world = World(":memory:", _world(), profile)
        self.wire = Wire(create_app(self.world), self.time.now_s, self.restore)
        self.world.set_today(self.clock.day())
        self.keep()
        self.ever: set[bytes] = set()
        self._tag = 0
        self.silent = False  # whether it was restored from a backup and does not say so
        self.went_back = False  # whether a row may be older than it was before

    @property
    def profile(self) -> Profile:
        """Native or baseline."""
        return self.world.profile

    def keep(self) -> None:
        """Let histories begin with what there is now."""
        self._pristine = self.backup = self.world.snapshot()
        self._ticks = self.clock.ticks

    def reset(self) -> None:
        """Begin anew, under the same epoch: tokens and cursors of the very start stay good."""
        self.time.passed_s = 0.0
        self.clock.ticks, self._tag = self._ticks, 0
        self.silent = self.went_back = False
        self.backup = self._pristine
        self.world.restore(self._pristine, new_epoch=False)
        self.world.set_today(self.clock.day())
        self.ever.clear()
        self.note()

    def close(self) -> None:
        """The end of this office."""
        self.clock.__exit__()
        self.wire.close()
        self.world.close()

    # ---- time ------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let true time go on; at midnight, promotions enter and leave their window."""
        before = self.clock.day()
        self.time.passed_s += seconds
        if self.clock.day() != before:
            self.world.set_today(self.clock.day())

    # ---- edits -----------------------------------------------------------------------------------------------

    def do(self, kind: str, a: int = 0, b: int = 0, c: int = 0) -> None:
        """One thing that happens at head office; any numbers will do."""
        getattr(self, f"_{kind}")(a, b, c)
        self.note()

    def _edit(self, a: int, b: int, c: int) -> None:
        """Change, create or re-create a row."""
        dataset = DATASETS[a % 3]
        self._write(dataset, b, self._changes(dataset, c), None)

    def _batch(self, a: int, b: int, c: int) -> None:
        """Several changes in one transaction."""
        with self.world.db.write():
            for number in range(2 + a % 9):
                self._edit(a + number, b + 3 * number, c + 5 * number)
                if number % 4 == 3:
                    self._delete(a, b + number, 0)

    def _late(self, a: int, b: int, c: int) -> None:
        """A row commits late: its ``updated_at`` lies behind."""
        dataset = DATASETS[a % 3]
        self.went_back = True
        self._write(dataset, b, self._changes(dataset, c), self.clock.stamp(LATE_S[(a + b + c) % len(LATE_S)]))

    def _write(self, dataset: str, number: int, changes: dict[str, Any], updated_at: str | None) -> None:
        row = self.world.feed.get(dataset, row_id(dataset, number)) or new_row(dataset, number)
        toggled = {"is_active": not row.get("is_active", True)} if changes.pop("toggle", False) else {}
        self.world.put(dataset, {**row, **changes, **toggled, "updated_at": updated_at})

    def _changes(self, dataset: str, number: int) -> dict[str, Any]:
        """What of a row an edit changes; mostly harmless, sometimes breaking the contract."""
        choices: list[Callable[[], dict[str, Any]]] = [
            lambda: {"name": f"Name {number}"},
            lambda: {"toggle": True},
            lambda: {"brand_id": BRANDS[number // 16 % 3]},
            lambda: {"allergens": [number]},
        ]
        if dataset == "categories":
            parents = [None, *(row_id(dataset, one) for one in range(POOL[dataset]))]
            choices += [lambda: {"parent_id": parents[number // 16 % len(parents)]}] * 3
        elif dataset == "products":
            choices += [lambda: {"price": f"{number % 997}.{number % 100:02}"}] * 4
            choices += [
                lambda: {"store_id": STORES[number // 16 % 3]},
                lambda: {"store_id": OTHER_STORE},
                lambda: {"category_id": row_id("categories", number // 16)},
                lambda: {"sku": f"SKU-{number % 5}", "barcode": f"99{number % 4}"},
                lambda: {"is_volatile": bool(number // 16 % 2)},
            ]
        else:
            choices += [
                lambda: {"targeting": {"stores": [STORES[1 + number // 16 % 2]], "brands": []}},
                lambda: {"targeting": {"stores": [], "brands": [BRANDS[1 + number // 16 % 2]]}},
                *[lambda: {"validity": self._dates(number // 16)}] * 4,
            ]
        choices.append(lambda: {"name": 7} if number % 2 else self._bad(dataset))
        return choices[number % 16 % len(choices)]()

    @staticmethod
    def _bad(dataset: str) -> dict[str, Any]:
        return {"categories": {"name": None}, "products": {"price": "-1.00"}}.get(dataset, {"rules": {"error": "no"}})

    def _dates(self, number: int) -> dict[str, Any]:
        days = [
            None if day is None else (self.clock.day() + dt.timedelta(days=day)).isoformat()
            for day in DATES[number % len(DATES)]
        ]
        return {"start_date": days[0], "end_date": days[1]}

    def _pair(self, a: int, b: int, c: int) -> None:
        """A price and its promotion change in one transaction."""
        self._tag += 1
        product, deal = pair(self._tag)
        with self.world.db.write():
            self.world.put("products", product)
            self.world.put("promotions", deal)

    def _delete(self, a: int, b: int, c: int) -> None:
        """Delete a row, if it is there."""
        dataset = DATASETS[a % 3]
        if self.world.feed.get(dataset, row_id(dataset, b)) is not None:
            self.world.delete(dataset, row_id(dataset, b))

    def _clear_out(self, a: int, b: int, c: int) -> None:
        """Delete most of a dataset."""
        for number in range(POOL[DATASETS[a % 3]]):
            if number % 5:
                self._delete(a, number, 0)

    def _settings(self, a: int, b: int, c: int) -> None:
        self.world.set_settings(**SETTINGS[a % len(SETTINGS)])

    def _force(self, a: int, b: int, c: int) -> None:
        self.world.set_force_update(bool(a % 3))

    def _time(self, a: int, b: int, c: int) -> None:
        self.pass_time(SPANS_S[a % len(SPANS_S)])

    def _purge(self, a: int, b: int, c: int) -> None:
        """Old tombstones are forgotten."""
        self.world.purge(self.world.db.current("change") + 1 - a % 12)

    def _store_moves(self, a: int, b: int, c: int) -> None:
        """The store itself moves to another brand, or to none."""
        self.world.move_store(STORE, BRANDS[a % 3])

    def _stock(self, a: int, b: int, c: int) -> None:
        self.world.set_stock(row_id("products", a), str(b % 50 - 5), STORES[1 + c % 5 // 4])

    def _backup(self, a: int, b: int, c: int) -> None:
        self.backup = self.world.snapshot()

    def _restore(self, a: int, b: int, c: int) -> None:
        self.restore(bool(a % 2))

    def restore(self, new_epoch: bool) -> None:
        """Go back to the backup; silently, when head office does not know that it was restored."""
        self.world.restore(self.backup, new_epoch=new_epoch)
        self.world.set_today(self.clock.day())
        self.silent = self.silent or not new_epoch
        self.went_back = True

    def mend(self) -> None:
        """Everything a head office can put right: rows that break the contract, pauses, lists that are cut."""
        for dataset in DATASETS:
            for number in range(POOL[dataset]):
                row = self.world.feed.get(dataset, row_id(dataset, number))
                if row is not None and is_bad(row):
                    self.world.edit(dataset, row["id"], name="Mended", price="1.00", rules={"type": "percent"})
        self.note()

    def unblock(self) -> None:
        """Let tills sync again: no pause, no list that is cut short."""
        self.world.set_settings(auto_sync_enabled=True, max_promotions_per_sync=max(10, self._most_promotions()))
        self.world.set_force_update(False)  # another version, even where these were the settings already
        self.note()

    def _most_promotions(self) -> int:
        cut = self.profile == "baseline"
        return 500 if cut else int(str(self.world.settings()["max_promotions_per_sync"]))

    # ---- what it held ----------------------------------------------------------------------------------------

    def note(self) -> None:
        """Remember every row as it stands now: a till may hold nothing else."""
        self.ever.update(body for (body,) in self.world.db.rows("SELECT body FROM feed"))

    def feed_rows(self, dataset: str) -> list[dict[str, Any]]:
        """Every row as stored, whoever it is for."""
        found = self.world.db.rows("SELECT body FROM feed WHERE dataset = ? ORDER BY id", (dataset,))
        return [msgspec.json.decode(body, type=dict[str, Any]) for (body,) in found]


def is_bad(row: dict[str, Any]) -> bool:
    """Whether a row breaks the contract."""
    if not isinstance(row["name"], str) or "error" in (row.get("rules") or {}):
        return True
    return str(row.get("price")).startswith("-")


def _world() -> seed.Dataset:
    zone = {"timezone": "Asia/Jakarta", "currency": "IDR"}
    store = {"day_start": "04:00", "brand_id": BRAND, **zone}
    rows = {dataset: [new_row(dataset, number) for number in range(AT_START[dataset])] for dataset in DATASETS}
    product, deal = pair(0)
    figures = [
        {"store_id": STORE, "product_id": row_id("products", number), "quantity": str(number), "reorder_level": None}
        for number in range(6)
    ]
    return seed.Dataset(
        company={"id": COMPANY, "name": "Example Retail", **zone},
        brands=[{"id": BRAND, "name": "Example"}, {"id": OTHER_BRAND, "name": "Other"}],
        stores=[
            {"id": STORE, "code": "S01", "name": "Main", **store},
            {"id": OTHER_STORE, "code": "S02", "name": "Side", **store},
        ],
        categories=rows["categories"],
        products=[*rows["products"], product],
        promotions=[*rows["promotions"], deal],
        stock=figures,
        accounts=[{"username": "pos-02", "password": "secret", "store_id": STORE}],
    )


@contextmanager
def open_office(profile: Profile) -> Iterator[Office]:
    """An office for any number of histories. Its passwords are hashed quickly: they are not what is tried here."""
    with patch("ho_stub.accounts.HASH_ROUNDS", 1), without_thread_pool():
        office = Office(profile)
        try:
            yield office
        finally:
            office.close()
