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

from ho_stub import seed, settings, upgrade
from ho_stub.accounts import Accounts
from ho_stub.alerts import Alerts
from ho_stub.analytics import Analytics
from ho_stub.audit import Audit
from ho_stub.bell import Bell
from ho_stub.books import Books
from ho_stub.cursor import Scope
from ho_stub.database import Backup, connect
from ho_stub.feed import Feed
from ho_stub.gaps import Gaps, Wanted
from ho_stub.held import Held
from ho_stub.ledger import Ledger
from ho_stub.orders import Orders
from ho_stub.policy import Policy
from ho_stub.promotions.kept import Promotions
from ho_stub.ratelimit import RateLimits
from ho_stub.receipts import Receipts
from ho_stub.rows import DATASETS, baseline_row, utc_now
from ho_stub.settings import Settings
from ho_stub.stock import Stock
from ho_stub.usages import Usages
from ho_stub.web.attempts import Attempts
from ho_stub.web.sessions import Sessions

Profile = Literal["native", "baseline"]
CAPABILITIES = (
    "cursor",
    "sales_batch",
    "receipts",
    "stock",
    "digest",
    "heartbeat",
    "events",
    "gzip_requests",
    "orders",
)
STORE_FIELDS = ("id", "code", "name", "timezone", "day_start", "currency", "brand_id")


class World:
    """`path` is a database file or ':memory:'; an empty one is filled from `data` (see ho_stub.seed.find)."""

    def __init__(
        self,
        path: str | Path = ":memory:",
        data: seed.Source = None,
        profile: Profile = "native",
        gaps: Wanted = (),
        *,
        joins: bool = False,
    ) -> None:
        self.profile = profile
        self.db = connect(path)
        self.bell = Bell(self.db)
        self.audit = Audit(self.db)
        self.policy = Policy(self)
        self.orders = Orders(self.db, self.audit)
        self.accounts = Accounts(self.db)
        self.sessions = Sessions(self.db, self.accounts)
        self.attempts = Attempts(self.db)
        self.ledger = Ledger(self.db)
        self.receipts = Receipts(self.db, self.ledger)
        self.usage_logs = Usages(self.db)
        self.alerts = Alerts(self)
        self.analytics = Analytics(self.db)
        self.rate_limits = RateLimits(self.db)
        self.promotions = Promotions(self)
        self.books = Books(self)
        self.gaps = Gaps(allowed=not self.native, switched=self._gap_switched, db=self.db)
        self._held = Held(self)
        self._today: date | None = None
        self._counts: dict[tuple[str, int], int] = {}
        if self.db.meta("company") is None:
            wanted = seed.find(data)
            with self.db.write():
                if self.db.meta("company") is None:  # another worker may have been quicker
                    self._fill(wanted)
        upgrade.columns(self.db)
        self._attach()
        if not self.feed.listings.keys():  # a database of an earlier release
            with self.db.write():
                self.policy_changed()
        self.promotions.settle_compiler()
        try:
            self.gaps.adopt(gaps)
        except ValueError:
            self.db.close()
            raise
        if self.db.shared and not joins:
            self._tell_workers()

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
        self._life = self.db.meta("life")
        self.versions: dict[tuple[Any, ...], dict[str, Any]] = {}  # store → its last version answer
        self._counts.clear()

    def _fill(self, data: seed.Seed) -> None:
        with self.db.write():
            self.db.set_meta("company", json.dumps(dict(data.company)))
            self.db.set_meta("epoch", str(uuid.uuid4()))
            self.db.set_meta("changed_at", utc_now())
            self.policy.fill()
            self._attach()
            self.db.run_many("INSERT INTO brand VALUES (?, ?)", [(b["id"], b["name"]) for b in data.brands])
            stores = [{"day_start": "00:00", "brand_id": None} | dict(store) for store in data.stores]
            self.db.run_many(
                "INSERT INTO store VALUES (?, ?, ?, ?, ?, ?, ?)", [[s[name] for name in STORE_FIELDS] for s in stores]
            )
            self.db.set_meta("first_store", stores[0]["id"])
            self.db.set_meta("first_brand", next((brand["id"] for brand in data.brands), ""))
            today = self.today()
            self.db.set_meta("window_day", today.isoformat())
            self.feed.listings.keep(self.policy.window_keys(), today)
            self.feed.load("categories", data.categories, today)
            self.feed.load("products", data.products, today)
            self.promotions.load(data.promotions, "data")
            self.stock.load(dict(row) for row in data.stock)
            self.alerts.settle_all()
            accounts = list(data.accounts) or [
                {"username": "pos-02", "password": "secret", "store_id": stores[0]["id"]},
                seed.OFFICE,
            ]
            for account in accounts:
                has_company = account.get("company", True)
                self.accounts.add(
                    account["username"], account["password"], account["store_id"], has_company=has_company
                )
            self.db.set_meta("first_account", json.dumps(dict(accounts[0])))
            offices = (dict(one) for one in accounts if one["store_id"] is None and one.get("company", True))
            self.db.set_meta("office_account", json.dumps(next(offices, None)))

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
            self.policy_changed()

    def has_brand(self, brand_id: str) -> bool:
        """Whether the company has this brand."""
        return self.db.row("SELECT 1 FROM brand WHERE id = ?", (brand_id,)) is not None

    @property
    def device(self) -> dict[str, str]:
        """Username, password, store and brand of the first account: what a device of this world signs in with."""
        account = json.loads(self.db.meta("first_account") or "{}")
        store_id = account.get("store_id") or self.db.meta("first_store") or ""
        brand_id = (self.store(store_id) or {}).get("brand_id") or self.db.meta("first_brand")
        return {**account, "store_id": store_id, "brand_id": brand_id or ""}

    @property
    def office_account(self) -> dict[str, str] | None:
        """Username and password of the account that may sign in to the pages and edit; None if the data had none."""
        found: dict[str, str] | None = json.loads(self.db.meta("office_account") or "null")
        return found

    # -- the day, the settings and the window

    def today(self) -> date:
        """The date in the company's zone, or the one that `set_today` set."""
        return self._today or datetime.now(ZoneInfo(self.company["timezone"])).date()

    def set_today(self, day: date | None) -> None:
        """Make it another day; None: today again."""
        self._today = day
        if self.db.shared:
            self._tell_workers()
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
        self.feed.listings.prune(self.policy.window_keys())
        self.feed.listings.settle(date.fromisoformat(today))
        if self.db.current("change") != before:
            self.db.set_meta("changed_at", utc_now())

    def settings(self) -> settings.Settings:
        """The company's sync settings (section 7)."""
        return self.policy.company()

    def set_settings(self, **fields: object) -> None:
        """Change sync settings. Raises InvalidSettings, with a message per field, and saves nothing."""
        self.policy.save(fields, by="test")

    def settings_of(self, store: Mapping[str, Any]) -> Settings:
        """The settings that count for a store, as answers show them."""
        return self.policy.effective(store) | {"timezone": self.company["timezone"]}

    def policy_changed(self) -> None:
        """Settings or overrides changed, inside the same `db.write()`: another version, other promotions."""
        self._changed()
        self.feed.listings.keep(self.policy.window_keys(), self.today())

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
            stored = self.feed.put(dataset, row, self.today())
            self.db.set_meta("changed_at", utc_now())
            if dataset == "products" and stored.get("is_volatile"):
                self.stock.drop(str(stored["id"]))
            if dataset == "products":
                self.alerts.settle_product(str(stored["id"]))
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
                self.alerts.settle_product(row_id)

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
            store = self.store(store_id) if store_id else None
            window = settings.window_key(self.policy.effective(store))
            brand_id = brand_id or (store or {}).get("brand_id")
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
        active_only = not self.native and dataset != "promotions"
        found = self.feed.everything(self.device_scope(dataset), active_only=active_only)
        rows = [msgspec.json.decode(body, type=dict[str, Any]) for body in found]
        return rows if self.native else [baseline_row(dataset, row) for row in rows]

    def live_ids(self, dataset: str) -> list[str]:
        """Ids of `rows()`."""
        return [str(row["product_id" if dataset == "stock" else "id"]) for row in self.rows(dataset)]

    def set_stock(
        self, product_id: str, quantity: object, store_id: str | None = None, reorder_level: object = None
    ) -> None:
        """Set a figure in the device's store, or another one. Without a reorder level the old one stays."""
        store_id = store_id or self.device["store_id"]
        with self.db.write():
            if reorder_level is None:
                reorder_level = self.stock.reorder_level(store_id, product_id)
            self.stock.put(store_id, product_id, quantity, reorder_level)
            self.alerts.settle(store_id, [product_id])

    def count(self, scope: Scope) -> int:
        """How many rows a scope sees; counted once per change."""
        with self.db.read():
            key = (scope.key, self.feed.head(scope))
            count = self._counts.get(key)
            if count is None:
                if len(self._counts) > 1_000:
                    self._counts.clear()
                count = self._counts[key] = self.feed.count(scope)
        return count

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

        Tokens stay valid, as signed ones would, and people stay signed in or out.
        """
        with self.db.lock:
            tokens = self.db.rows("SELECT token, kind, username, expires_at FROM token")
            sessions = self.db.rows("SELECT token_hash, username, csrf, expires_at FROM session")

            def begin_anew() -> None:
                self.db.run("DELETE FROM token")
                self.db.run_many("INSERT INTO token VALUES (?, ?, ?, ?)", tokens)
                self.db.run("DELETE FROM session")
                self.db.run_many("INSERT INTO session VALUES (?, ?, ?, ?)", sessions)
                self.db.set_meta("life", str(uuid.uuid4()))
                if new_epoch:
                    self.db.set_meta("epoch", str(uuid.uuid4()))
                if self.db.shared:
                    self._tell_workers()

            self.db.replace_by(backup, begin_anew)
            self._attach()
            self.bell.ring()

    def catch_up(self) -> None:
        """Called before anything is answered: what other workers did to the world is known here, and what a gap holds
        back happens if its time has come."""
        if self.db.shared:
            sql = "SELECT key, value FROM meta WHERE key IN ('life', 'today', 'gaps')"
            told: dict[str, str] = dict(self.db.rows(sql))
            self._today = date.fromisoformat(told["today"]) if told.get("today") else None
            self.gaps.follow(told.get("gaps") or "{}")
            if told.get("life") != self._life:
                self._attach()
        if self._held.waits:
            with self.db.lock:
                self._held.settle(self.gaps)

    def _tell_workers(self) -> None:
        with self.db.write():
            self.db.set_meta("today", self._today.isoformat() if self._today else "")
            self.db.set_meta("gaps", self.gaps.state())

    def _gap_switched(self, name: str) -> None:
        with self.db.lock:
            self._held.switched(name, self.gaps)
        if self.db.shared:
            self._tell_workers()

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

    def keep_heartbeat(self, device_id: str, store_id: str | None, beat: Mapping[str, Any]) -> None:
        """Keep a device's last sign of life, and what became of the orders it was given."""
        with self.db.write():
            self.db.run(
                """INSERT INTO heartbeat VALUES (?, ?, ?, ?) ON CONFLICT (device_id) DO UPDATE
                SET store_id = excluded.store_id, body = excluded.body, received_at = excluded.received_at""",
                (device_id, store_id, json.dumps(beat).encode(), utc_now()),
            )
            self.orders.report(device_id, beat.get("orders_done"))

    def heartbeat(self, device_id: str) -> dict[str, Any] | None:
        """A device's last sign of life, or None."""
        body = self.db.value("SELECT body FROM heartbeat WHERE device_id = ?", (device_id,))
        return None if body is None else json.loads(body)

    def close(self) -> None:
        """Close the database."""
        self.db.close()
