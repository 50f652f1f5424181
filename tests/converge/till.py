"""A till in these histories: the real agent on real files, that dies, loses power, and reads while it syncs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from edge_agent.agent import CATALOG_NAME, JOURNAL_NAME
from edge_agent.head_office.auth import TOKENS_NAME
from edge_agent.settings import CREDENTIALS_NAME, Settings, make_settings, save_settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.journal import Journal
from tests.sim.death import Crash, Engine, Fuse, plain_connection
from tests.sim.line import Line
from tests.sim.till import JumpingClock, SimulatedAgent

from .office import BRAND, COMPANY, DATASETS, STORE, Office
from .truth import Held

CATALOG_FILES = (CATALOG_NAME, f"{CATALOG_NAME}-wal", f"{CATALOG_NAME}-shm", f"{CATALOG_NAME}-journal")

_HAS_TABLES = "SELECT 1 FROM sqlite_schema WHERE name = 'stock'"
_SPOILT = (
    "DELETE FROM {dataset} WHERE number = :number",
    "UPDATE {dataset} SET name = 'Wrong' WHERE number = :number",
    'UPDATE {dataset} SET body = CAST(replace(body, \'"name":"\', \'"name":"X\') AS BLOB) WHERE number = :number',
    "UPDATE {dataset} SET row_version = row_version + 1 WHERE number = :number",
    "UPDATE {dataset} SET is_active = NOT is_active, updated_us = 9e15 WHERE number = :number",
    "UPDATE {dataset} SET id = replace(id, '0000-4000', 'ffff-4000') WHERE number = :number",
    "UPDATE {dataset} SET generation = 0 WHERE number = :number",
    "UPDATE {dataset} SET body = CAST(body AS TEXT) WHERE number = :number",
)


class EventfulLine(Line):
    """A line on which something happens right before the n-th request of a cycle."""

    def __init__(self, wire: Any, fuse: Fuse) -> None:
        super().__init__(wire, fuse)
        self.asked: list[str] = []
        self.snapshots = 0
        self.before: Callable[[int], None] | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rstrip("/").rpartition("/")[2]
        self.asked.append(path)
        params = request.url.params
        self.snapshots += path in (*DATASETS, "stock") and not {"cursor", "updated_since", "leaves"} & set(params)
        if self.before is not None:
            self.before(len(self.asked))
        return super().handle_request(request)


class Till:
    """A device: its home outlives every process that works in it.

    Args:
        home: its folder, set up.
        office: head office.
        engine: what kills its processes.
        settings: the device's settings.
    """

    def __init__(self, home: Path, office: Office, engine: Engine, settings: Settings) -> None:
        self.home = home
        self.office = office
        self.settings = settings
        self.clock = JumpingClock(office.time)
        self.line = EventfulLine(office.wire, Fuse())
        self.agent: SimulatedAgent | None = None
        self._engine = engine

    @property
    def brand(self) -> str:
        """The brand whose rows it asks for."""
        return self.settings.brand_id

    def run(self, work: Callable[[SimulatedAgent], Any]) -> Any:
        """Let the till's process do something; None when it died of it (a new one starts with the next work)."""
        try:
            if self.agent is None:
                self._engine.fuses[self.home] = self.line.fuse
                self.agent = SimulatedAgent(self.home, self.settings, clock=self.clock, transport=self.line)
            return work(self.agent)
        except Crash:
            self.die()
            return None

    def die(self) -> None:
        """The process ends as a killed one does."""
        self.line.fuse.bury()
        self.agent = None
        self.line.fuse = Fuse()

    def close(self) -> None:
        """The process ends in good order."""
        self.run(lambda agent: agent.close())
        self.die()

    def reopen(self, **changes: Any) -> None:
        """A new process, with other settings."""
        self.close()
        self.settings = replace(self.settings, **changes)

    def forget(self) -> None:
        """The end of a history: everything of this till goes."""
        self.die()
        self._engine.fuses.pop(self.home, None)
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- the disk --------------------------------------------------------------------------------------------

    def copy_catalogue(self, to: Path) -> None:
        """What of the catalogue is on the disk for sure at this moment: its committed state."""
        source, copy = plain_connection(self.home / CATALOG_NAME), sqlite3.connect(to)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()

    def lose_power(self, copy: Path | None) -> None:
        """The process is gone, and so is what the catalogue's file took after the copy (None: the whole file)."""
        self.die()
        for name in CATALOG_FILES:
            (self.home / name).unlink(missing_ok=True)
        if copy is not None:
            shutil.copy(copy, self.home / CATALOG_NAME)

    def spoil(self, dataset: str, number: int, what: int) -> bool:
        """Change a row behind the agent's back: its words, its version, its presence; False when there is none."""
        window = plain_connection(self.home / CATALOG_NAME)
        try:
            if window.execute(_HAS_TABLES).fetchone() is None:
                return False
            numbers = [one for (one,) in window.execute(f"SELECT number FROM {dataset} ORDER BY id")]
            if not numbers:
                return False
            window.execute(
                _SPOILT[what % len(_SPOILT)].format(dataset=dataset), {"number": numbers[number % len(numbers)]}
            )
            return True
        finally:
            window.close()

    def look(self) -> dict[str, Held]:
        """What the catalogue's file holds, read from outside."""
        path = self.home / CATALOG_NAME
        if not path.exists():
            return {dataset: Held() for dataset in DATASETS}
        window = plain_connection(path)
        try:
            if window.execute(_HAS_TABLES).fetchone() is None:
                return {dataset: Held() for dataset in DATASETS}  # it died before the file was made
            return {dataset: _held(window, dataset) for dataset in DATASETS}
        finally:
            window.close()

    def stock(self) -> dict[str, str]:
        """Head office's stock figures as the till has them."""
        window = plain_connection(self.home / CATALOG_NAME)
        try:
            return dict(window.execute("SELECT product_id, quantity FROM stock"))
        finally:
            window.close()

    def read(self) -> None:
        """Everything a till's screen asks for; a reader never sees an error."""
        agent = self.agent
        assert agent is not None
        found = agent.catalog.search("")
        for product in found.products[:3]:
            agent.catalog.by_id(product.id)  # may be gone by now
            agent.catalog.stock(product.id)
        agent.catalog.search("name 1")
        agent.catalog.by_sku("SKU-3")
        agent.catalog.all_by_barcode("991")
        agent.catalog.categories()
        agent.catalog.promotions()


def _held(window: Any, dataset: str) -> Held:
    held = Held()
    state = "SELECT scope, cursor, in_snapshot, generation, coalesce(held_rows, 0) FROM datasets WHERE name = ?"
    held.scope, held.cursor, in_snapshot, held.generation, held.held = window.execute(state, (dataset,)).fetchone()
    held.in_snapshot = bool(in_snapshot)
    for row_id, body, generation in window.execute(f"SELECT id, body, generation FROM {dataset}"):
        row = held.rows[row_id] = json.loads(body)
        held.bodies.append(body)
        if generation >= held.generation:
            held.new[row_id] = row
    refused = "SELECT id, row_version FROM refused WHERE dataset = ?"
    held.refused = dict(window.execute(refused, (dataset,)))
    return held


def make_template(folder: Path, office: Office) -> Settings:
    """A device that was set up and has signed in once, and never started: databases without a life."""
    folder.mkdir()
    settings = make_settings(
        {
            "url": "http://127.0.0.1:9",
            "username": "pos-02",
            "company_id": COMPANY,
            "store_id": STORE,
            "brand_id": BRAND,
            "device_id": "pos-02",
            "currency": "IDR",
            "timezone": "Asia/Jakarta",
            "ballast_mib": 0,
        }
    )
    save_settings(folder, settings)
    tokens = office.world.accounts.sign_in("pos-02", "secret")
    (folder / CREDENTIALS_NAME).write_text('{"password": "secret"}', encoding="utf-8")
    (folder / TOKENS_NAME).write_text(json.dumps(tokens), encoding="utf-8")
    Journal(folder / JOURNAL_NAME).close()
    CatalogStore(folder / CATALOG_NAME).close()
    return settings
