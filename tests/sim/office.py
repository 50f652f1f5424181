"""Head office in the simulation: the stub's own world and application, set back to the same start for every run."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ho_stub import seed
from ho_stub.app import create_app
from ho_stub.world import World

from .line import Wire, without_thread_pool

START = dt.datetime(2026, 11, 21, 2, 0, tzinfo=dt.UTC)
DATASETS = ("categories", "products", "promotions")


def _id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


COLA, WATER, BREAD, DEAL = _id(6), _id(7), _id(8), _id(9)
TEA, MILK = _id(0x20), _id(0x21)
STRANGE = tuple(_id(0xDEAD0000 + number) for number in range(3))  # products head office does not know, at first
ODD_DEAL = _id(0xDEAD00FF)  # such a promotion
GOODS = (COLA, WATER, BREAD, TEA, MILK)


class Time:
    """The true time; only the simulation moves it."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_s(self) -> float:
        """Seconds since 1970."""
        return START.timestamp() + self.passed_s


class Office:
    """Head office. One a process: :meth:`reset` gives each run the same start."""

    def __init__(self) -> None:
        self.time = Time()
        self.world = World(":memory:", _small_world())
        self.wire = Wire(create_app(self.world), lambda: self.time.now_s(), self.restore)
        self._pristine = self.backup = self.world.snapshot()
        self.company_id, self.brand_id = self.world.company_id, self.world.device["brand_id"]
        self.store_id = self.world.device["store_id"]
        self.proved: set[bytes] = set()  # bodies of uses that were found equal to the tills'

    def reset(self) -> None:
        """Begin anew."""
        self.time.passed_s = 0.0
        self.backup = self._pristine
        self.proved.clear()
        self.world.db.run("DELETE FROM token")
        self.world.restore(self._pristine)
        self.world.set_today(self._day())

    def close(self) -> None:
        """The end of this office."""
        self.wire.close()
        self.world.close()

    def pass_time(self, seconds: float) -> None:
        """Let true time go on; at midnight, promotions enter and leave their window."""
        before = self._day()
        self.time.passed_s += seconds
        if self._day() != before:
            self.world.set_today(self._day())

    def _day(self) -> dt.date:
        return dt.datetime.fromtimestamp(self.time.now_s(), dt.UTC).date()

    # ---- accidents -------------------------------------------------------------------------------------------

    def back_up(self) -> None:
        """Take a backup; it replaces the one before."""
        self.backup = self.world.snapshot()

    def restore(self, new_epoch: bool) -> None:
        """Go back to the backup; silently, when head office does not know that it was restored."""
        self.world.restore(self.backup, new_epoch=new_epoch)
        self.world.set_today(self._day())

    # ---- the catalogue ---------------------------------------------------------------------------------------

    def ids(self, dataset: str) -> list[str]:
        """Every row's id, whoever it is for."""
        return [
            row_id for (row_id,) in self.world.db.rows("SELECT id FROM feed WHERE dataset = ? ORDER BY id", [dataset])
        ]

    def change(self, dataset: str, number: int, what: str) -> None:
        """Change, break, switch off or delete one of the rows."""
        ids = self.ids(dataset)
        if not ids:
            return
        row_id = ids[number % len(ids)]
        if what == "delete":
            self.world.delete(dataset, row_id)
        elif what == "switch":
            self.world.edit(dataset, row_id, is_active=not self.world.get(dataset, row_id)["is_active"])
        elif what == "break":
            self.world.edit(dataset, row_id, name=7)
        else:
            self.world.edit(
                dataset, row_id, name=f"Name {number}", **({"price": f"{number}.50"} if dataset == "products" else {})
            )

    def add(self, dataset: str, number: int) -> None:
        """A new row, or an old one as new."""
        row: dict[str, Any] = {"id": _id(0x1000 * (1 + DATASETS.index(dataset)) + number), "brand_id": self.brand_id}
        row |= {"name": f"New {number}", "is_active": True}
        if dataset == "products":
            row |= {"sku": f"NEW-{number}", "price": f"{number}.25", "category_id": None}
        elif dataset == "promotions":
            day = self._day() + dt.timedelta(days=number * 3 - 12)
            row |= {"validity": {"start_date": day.isoformat(), "end_date": (day + dt.timedelta(days=4)).isoformat()}}
            row |= {
                "code": f"NEW{number}",
                "promo_type": "percent_discount",
                "rules": {"type": "percent", "discount_percent": "5"},
            }
        self.world.upsert(dataset, row)

    def learn(self, row_id: str) -> None:
        """Know a product (or the promotion) that was unknown; nothing if it is known."""
        dataset = "promotions" if row_id == ODD_DEAL else "products"
        if self.world.feed.known(dataset, row_id):
            return
        row = {"id": row_id, "brand_id": self.brand_id, "name": "Late news"}
        row |= {"code": "ODD"} if dataset == "promotions" else {"sku": row_id[:8], "price": "1.00"}
        self.world.upsert(dataset, row)

    def mend(self) -> None:
        """Everything a head office can put right: rows that break the contract, settings, what it does not know."""
        for dataset in DATASETS:
            for row_id in self.ids(dataset):
                if not isinstance(self.world.get(dataset, row_id)["name"], str):
                    self.world.edit(dataset, row_id, name="Mended")
        if not self.world.settings()["auto_sync_enabled"]:
            self.world.set_settings(auto_sync_enabled=True)

    def learn_everything(self) -> None:
        """Know every product and promotion that any till ever named."""
        for row_id in (*STRANGE, ODD_DEAL, *GOODS, DEAL):
            known = "promotions" if row_id in (ODD_DEAL, DEAL) else "products"
            if not self.world.feed.known(known, row_id):
                self.learn(row_id)

    # ---- the books -------------------------------------------------------------------------------------------

    def sales(self) -> list[tuple[str, bytes, str, str, int, int]]:
        """Accepted sales: id, canonical bytes, device, journal, sequence, total as computed here (minor units)."""
        return list(
            self.world.db.rows(
                "SELECT external_id, body, device_id, journal_id, device_seq, total FROM sale ORDER BY rowid"
            )
        )  # type: ignore[arg-type]

    def usages(self) -> list[tuple[str, bytes]]:
        """Accepted uses: id, and JSON as head office keeps it."""
        return list(self.world.db.rows("SELECT external_id, body FROM usage"))  # type: ignore[arg-type]


def _small_world() -> seed.Dataset:
    tiny = seed.tiny()
    brand = next(iter(tiny.brands))["id"]
    more = [
        {"id": TEA, "brand_id": brand, "name": "Tea", "sku": "TEA", "price": "4500.00"},
        {"id": MILK, "brand_id": brand, "name": "Milk", "sku": "MILK", "price": "9000.00"},
    ]
    figure = {"store_id": next(iter(tiny.stores))["id"], "product_id": TEA, "quantity": "7", "reorder_level": None}
    return dataclasses.replace(tiny, products=[*tiny.products, *more], stock=[*tiny.stock, figure])


@contextmanager
def open_office() -> Iterator[Office]:
    """An office for any number of runs. Its passwords are hashed quickly: they are not what is tried here."""
    with patch("ho_stub.accounts.HASH_ROUNDS", 1), without_thread_pool():
        office = Office()
        try:
            yield office
        finally:
            office.close()
