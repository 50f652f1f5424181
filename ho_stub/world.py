"""The world behind the stub: one company, its data, its books, and the handle that tests change it with.

Each method is safe to call from any thread while the stub runs; each that changes something is one commit.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from ho_stub import seed, settings
from ho_stub.accounts import Accounts
from ho_stub.bell import Bell
from ho_stub.books import Books
from ho_stub.cursor import Scope
from ho_stub.database import Backup, Database
from ho_stub.feed import Feed
from ho_stub.gaps import Gaps, Wanted
from ho_stub.held import Held
from ho_stub.ledger import Ledger
from ho_stub.receipts import Receipts
from ho_stub.rows import DATASETS, baseline_row, utc_now
from ho_stub.stock import Stock
from ho_stub.usages import Usages

Profile = Literal["native", "baseline"]
CAPABILITIES = ("cursor", "sales_batch", "receipts", "stock", "digest", "heartbeat", "events", "gzip_requests")
STORE_FIELDS = ("id", "code", "name", "timezone", "day_start", "currency", "brand_id")


class World:
    """`path` is a database file or ':memory:'; an empty one is filled from `data` (see ho_stub.seed.find)."""

    def __init__(
        self,
        path: str | Path = ":memory:",
        data: seed.Source = None,
        profile: Profile = "native",
        gaps: Wanted = (),
    ) -> None:
        self.profile = profile
        self.db = Database(str(path))
        self.bell = Bell(self.db)
        self.accounts = Accounts(self.db)
        self.ledger = Ledger(self.db)
        self.receipts = Receipts(self.db, self.ledger)
        self.usage_logs = Usages(self.db)
        self.books = Books(self)
        self.gaps = Gaps(allowed=not self.native, switched=self._gap_switched)
        self._held = Held(self)
        self._today: date | None = None
        self._counts: dict[tuple[str, int], int] = {}
        if self.db.meta("company") is None:
            self._fill(seed.find(data))
        self._attach()
        try:
            self.gaps.adopt(gaps)
        except ValueError:
            self.db.close()
            raise

    @property
    def native(self) -> bool:
        """Whether the stub serves the native layer."""
        return self.profile == "native"

    def _attach(self) -> None:
        """Everything that depends on which database this is."""
        self.company: dict[str, Any] = json.loads(self.db.meta("company") or "{}")
        self.company_id: str = self.company["id"]
        self.epoch = str(self.db.meta("epoch"))
        self.feed = Feed(self.db, self.company_id, self.epoch)
        self.stock = Stock(self.db, self.epoch)
        self._counts.clear()

    def _fill(self, data: seed.Seed) -> None:
        with self.db.write():
            self.db.set_meta("company", json.dumps(dict(data.company)))
            self.db.set_meta("epoch", str(uuid.uuid4()))
            self.db.set_meta("changed_at", utc_now())
            self.db.set_meta("settings", json.dumps(settings.DEFAULTS | {"updated_at": utc_now(), "updated_by": None}))
            self._attach()
            self.db.run_many("INSERT INTO brand VALUES (?, ?)", [(b["id"], b["name"]) for b in data.brands])
            stores = [{"day_start": "00:00", "brand_id": None} | dict(store) for store in data.stores]
            self.db.run_many(
                "INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)", [[s[name] for name in STORE_FIELDS] for s in stores]
            )
            now, today = self.settings(), self.today()
            self.db.set_meta("window_day", today.isoformat())
            for dataset in DATASETS:
                self.feed.load(dataset, getattr(data, dataset), now, today)
            self.stock.load(dict(row) for row in data.stock)
            accounts = list(data.accounts) or [
                {"username": "pos-02", "password": "secret", "store_id": stores[0]["id"]}
            ]
            for account in accounts:
                self.accounts.add(account["username"], account["password"], account["store_id"])
            self.db.set_meta("first_account", json.dumps(dict(accounts[0])))

    # -- who is who

    def store(self, store_id: str) -> dict[str, Any] | None:
        """A store of the company, or None."""
        found = self.db.row(
            "SELECT id, code, name, timezone, day_start, currency, brand_id FROM store WHERE id = ?", (store_id,)
        )
        return None if found is None else dict(zip(STORE_FIELDS, found, strict=True))

    def store_answer(self, store: Mapping[str, Any]) -> dict[str, Any]:
        """The contract's `store` object."""
        return {name: store[name] for name in STORE_FIELDS if name != "brand_id"}

    def move_store(self, store_id: str, brand_id: str | None) -> None:
        """Give a store to another brand, or to none: its devices then ask for that one's rows, or are refused."""
        with self.db.write():
            self.db.run("UPDATE store SET brand_id = ? WHERE id = ?", (brand_id, store_id))
            self._changed()

    def has_brand(self, brand_id: str) -> bool:
        """Whether the company has this brand."""
        return self.db.row("SELECT 1 FROM brand WHERE id = ?", (brand_id,)) is not None

    @property
    def device(self) -> dict[str, str]:
        """Username, password, store and brand of the first account: what a device of this world signs in with."""
        account = json.loads(self.db.meta("first_account") or "{}")
        store_id = account.get("store_id") or self.db.value("SELECT id FROM store ORDER BY rowid")
        brand_id = (self.store(store_id) or {}).get("brand_id") or self.db.value("SELECT id FROM brand ORDER BY rowid")
        return {**account, "store_id": store_id, "brand_id": brand_id or ""}

    # -- the day, the settings and the window

    def today(self) -> date:
        """The date in the company's zone, or the one that `set_today` set."""
        return self._today or datetime.now(ZoneInfo(self.company["timezone"])).date()

    def set_today(self, day: date | None) -> None:
        """Make it another day; None: today again."""
        self._today = day
        self.settle_day()

    def settle_day(self) -> None:
        """If the date moved, promotions enter and leave the window, though nobody edited them."""
        today = self.today().isoformat()
        if self.db.meta("window_day") == today:
            return
        with self.db.write():
            self._settle(today)

    def _settle(self, today: str) -> None:
        before = self.db.current("change")
        self.db.set_meta("window_day", today)
        self.feed.settle_window(self.settings(), date.fromisoformat(today))
        if self.db.current("change") != before:
            self.db.set_meta("changed_at", utc_now())

    def settings(self) -> settings.Settings:
        """The company's sync settings (section 7)."""
        found: settings.Settings = json.loads(self.db.meta("settings") or "{}")
        return found

    def set_settings(self, **fields: object) -> None:
        """Change sync settings. Raises InvalidSettings, with a message per field, and saves nothing."""
        settings.check(fields)
        with self.db.write():
            new = self.settings() | fields | {"updated_at": utc_now(), "updated_by": "test"}
            self.db.set_meta("settings", json.dumps(new))
            self._changed()
            self._settle(self.today().isoformat())

    def set_force_update(self, on: bool = True) -> None:
        """Ask all devices for a full snapshot."""
        with self.db.write():
            self.db.set_meta("force_update", "1" if on else "")
            self._changed()

    def _changed(self) -> None:
        self.db.next("change")
        self.db.set_meta("changed_at", utc_now())

    # -- the catalogue

    def put(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Insert or replace a row; its `row_version` is new, the rest is taken as it is."""
        return self._held.keep(dataset, row) if self.gaps.is_on("late_commit") else self.commit(dataset, row)

    def commit(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """`put`, whatever gap is on."""
        with self.db.write():
            stored = self.feed.put(dataset, row, self.settings(), self.today())
            self.db.set_meta("changed_at", utc_now())
            if dataset == "products" and stored.get("is_volatile"):
                self.stock.drop(str(stored["id"]))
            return stored

    def upsert(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Insert or replace a row (fields left out get empty values); returns it as stored."""
        return self.put(dataset, {"updated_at": None, **row})

    def edit(self, dataset: str, row_id: str, **fields: Any) -> dict[str, Any]:
        """Change fields of a row. Raises KeyError if it isn't there."""
        with self.db.write():
            return self.put(dataset, self.get(dataset, row_id) | {"updated_at": None} | fields)

    def delete(self, dataset: str, row_id: str) -> None:
        """Delete a row for good. Raises KeyError if it isn't there."""
        with self.db.write():
            self.get(dataset, row_id)
            self.feed.delete(dataset, row_id)
            self.db.set_meta("changed_at", utc_now())
            if dataset == "products":
                self.stock.drop(row_id)

    def get(self, dataset: str, row_id: str) -> dict[str, Any]:
        """A row as stored, whoever it is for. Raises KeyError if it isn't there."""
        row = self.feed.get(dataset, row_id)
        if row is None:
            raise KeyError(f"{dataset} has no row {row_id}")
        return row

    def scope(self, dataset: str, *, brand_id: str | None = None, store_id: str | None = None) -> Scope:
        """A scope as downloads ask for it. Without a brand, promotions are matched with that of the store."""
        window = ""
        if dataset == "promotions":
            window = settings.window_key(self.settings())
            if not brand_id and store_id:
                brand_id = (self.store(store_id) or {}).get("brand_id")
        return Scope(dataset, self.company_id, brand_id or "", store_id or "", window)

    def device_scope(self, dataset: str) -> Scope:
        """The scope of this world's own device."""
        device = self.device
        return self.scope(dataset, brand_id=device["brand_id"] or None, store_id=device["store_id"])

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """What this world's device would be sent, in id order. For 'stock': its store's figures."""
        if dataset == "stock":
            scope = Scope("stock", self.company_id, store_id=self.device["store_id"])
            return self.stock.page(scope, None, 10_000_000).rows
        self.settle_day()
        found = self.feed.everything(self.device_scope(dataset), active_only=not self.native)
        rows = [msgspec.json.decode(body, type=dict[str, Any]) for body in found]
        return rows if self.native else [baseline_row(dataset, row) for row in rows]

    def live_ids(self, dataset: str) -> list[str]:
        """Ids of `rows()`."""
        return [str(row["product_id" if dataset == "stock" else "id"]) for row in self.rows(dataset)]

    def set_stock(
        self, product_id: str, quantity: object, store_id: str | None = None, reorder_level: object = None
    ) -> None:
        """Set a figure in the device's store, or another one."""
        with self.db.write():
            self.stock.put(store_id or self.device["store_id"], product_id, quantity, reorder_level)

    def count(self, scope: Scope) -> int:
        """How many rows a scope sees; counted once per change."""
        key = (scope.key, self.feed.head(scope.dataset))
        if key not in self._counts:
            if len(self._counts) > 1_000:
                self._counts.clear()
            self._counts[key] = self.feed.count(scope)
        return self._counts[key]

    # -- accidents

    def purge(self, before: int | None = None) -> None:
        """Forget tombstones older than a change number; None: all there are. Cursors older than they answer 410."""
        with self.db.write():
            for dataset in DATASETS:
                self.feed.purge(dataset, self.db.current("change") + 1 if before is None else before)

    def snapshot(self) -> Backup:
        """A backup of everything, for `restore`."""
        return self.db.copy()

    def restore(self, backup: Backup, new_epoch: bool = True) -> None:
        """Go back to a backup. With `new_epoch=False` head office doesn't know that it was restored.

        Tokens stay valid, as signed ones would.
        """
        with self.db.lock:
            tokens = self.db.rows("SELECT token, kind, username, expires_at FROM token")
            self.db.replace_by(backup)
            with self.db.write():
                self.db.run("DELETE FROM token")
                self.db.run_many("INSERT INTO token VALUES (?, ?, ?, ?)", tokens)
                if new_epoch:
                    self.db.set_meta("epoch", str(uuid.uuid4()))
            self._attach()
            self.bell.ring()

    def settle_gaps(self) -> None:
        """What a gap holds back happens now, if its time has come."""
        with self.db.lock:
            self._held.settle(self.gaps)

    def _gap_switched(self, name: str) -> None:
        with self.db.lock:
            self._held.switched(name, self.gaps)

    def expire_tokens(self, *, refresh: bool = False) -> None:
        """All access tokens expire now, and refresh tokens too if asked."""
        self.accounts.expire(refresh=refresh)

    # -- the books

    def sales(self) -> list[dict[str, Any]]:
        """Every sale accepted, then every one refused and not accepted since, each with `state` and `body`."""
        return self.ledger.sales()

    def ledger_total(self) -> str:
        """The sum of all accepted sales as head office computes them, refunds and voids subtracted."""
        return self.ledger.total()

    def sale_count(self) -> int:
        """How many sales were accepted."""
        return self.ledger.sale_count()

    def line_count(self) -> int:
        """How many lines the accepted sales have."""
        return self.ledger.line_count()

    def usages(self) -> list[dict[str, Any]]:
        """Every usage log taken, as received."""
        return self.usage_logs.taken()

    def usage_count(self) -> int:
        """How many usage logs were taken."""
        return self.usage_logs.count()

    def keep_heartbeat(self, device_id: str, body: bytes) -> None:
        """Keep a device's last sign of life."""
        with self.db.write():
            self.db.run("INSERT OR REPLACE INTO heartbeat VALUES (?, ?, ?)", (device_id, body, utc_now()))

    def heartbeat(self, device_id: str) -> dict[str, Any] | None:
        """A device's last sign of life, or None."""
        body = self.db.value("SELECT body FROM heartbeat WHERE device_id = ?", (device_id,))
        return None if body is None else json.loads(body)

    def close(self) -> None:
        """Close the database."""
        self.db.close()
