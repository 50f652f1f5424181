"""A till in the simulation: the real agent on real files, a clock that jumps, and a process that can die."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_agent import EdgeAgent
from edge_agent.agent import CATALOG_NAME, JOURNAL_NAME
from edge_agent.clock import Clock
from edge_agent.head_office.auth import SecretFiles
from edge_agent.head_office.client import HttpHeadOffice
from edge_agent.settings import CREDENTIALS_NAME, Settings, load_settings, make_settings, save_settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.journal import Journal

from .death import Crash, Engine, Fuse, plain_connection
from .line import Line
from .office import Office, Time

T = TypeVar("T")


class JumpingClock(Clock):
    """The device's clock: the true time and a jump. What is monotonic goes on alone, and waiting costs no time."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self.jump_s = 0.0
        self.rolls = 0.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._time.now_s() + self.jump_s, dt.UTC)

    def now_ms(self) -> int:
        return int((self._time.now_s() + self.jump_s) * 1000)

    def monotonic_s(self) -> float:
        return self._time.passed_s

    def elapsed_s(self) -> float:
        return self.monotonic_s()

    def sleep(self, seconds: float) -> None:
        self._time.passed_s += seconds

    def dice(self) -> float:
        return self.rolls


class Pause(threading.Event):
    """What short waits between retries wait for: the simulated time passes instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.sleep(timeout or 0.0)
        return self.is_set()


class NoIdleThread:
    """Stands for the thread that works in idle moments: the simulation chooses those moments (see ``Till.idle``)."""

    def note_write(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class SimulatedAgent(EdgeAgent):
    """The agent, but its short waits cost no time, and its idle moments are chosen."""

    def __init__(self, home: Path, settings: Settings, *, clock: Clock, transport: Line) -> None:
        super().__init__(home, settings, clock=clock, transport=transport)
        self._checkpointer = NoIdleThread()  # type: ignore[assignment]
        # One process at a time works in this home, and a killed one leaves no lock behind: none, for speed.
        self._syncer.file_lock = lambda *_: contextlib.nullcontext()  # type: ignore[method-assign]
        self._syncer.someone_syncs = lambda: False  # type: ignore[method-assign]

    def head_office(self, stop: threading.Event | None = None) -> HttpHeadOffice:
        secrets = SecretFiles(self.home, CREDENTIALS_NAME)
        return HttpHeadOffice(
            self.settings, secrets, self._clock, stop=stop or Pause(self._clock), transport=self._transport
        )


@dataclass(frozen=True, slots=True)
class Booked:
    """A sale as the journal first showed it; it must stay so for ever."""

    external_id: str
    journal_id: str
    device_seq: int
    kind: str
    total_minor: int
    fingerprint: str
    body: bytes


@dataclass(slots=True)
class Row:
    """A sale in the journal now."""

    booked: Booked
    state: str


@dataclass(slots=True)
class Look:
    """What the journal holds, seen from outside the process."""

    sales: dict[str, Row] = field(default_factory=dict)
    uses: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    lives: list[tuple[int, str, int]] = field(default_factory=list)

    def ids(self, state: str) -> list[str]:
        """The sales, then the uses, that stand in a state."""
        sales = [external_id for external_id, row in self.sales.items() if row.state == state]
        return sales + [external_id for external_id, (_, one) in self.uses.items() if one == state]


class Till:
    """A device: its home outlives every process that works in it.

    Args:
        number: 1, 2, 3.
        home: its folder, set up.
        office: head office.
        engine: what kills its processes.
    """

    def __init__(self, number: int, home: Path, office: Office, engine: Engine) -> None:
        self.number = number
        self.home = home
        self.clock = JumpingClock(office.time)
        self.line = Line(office.wire, Fuse())
        self.agent: SimulatedAgent | None = None
        self.sales: dict[str, Booked] = {}
        self.uses: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()
        self.proved: set[str] = set()  # sales whose fingerprint was found to be that of their bytes
        self._engine = engine
        self._window: Any = None

    @property
    def fuse(self) -> Fuse:
        """Of the process that runs, or runs next."""
        return self.line.fuse

    def run(self, work: Callable[[SimulatedAgent], T]) -> T | None:
        """Let the till's process do something; None when it died of it (a new one starts with the next work)."""
        try:
            if self.agent is None:
                self._engine.fuses[self.home] = self.fuse
                self.agent = SimulatedAgent(
                    self.home, load_settings(self.home, environment={}), clock=self.clock, transport=self.line
                )
            return work(self.agent)
        except Crash:
            self.die()
            return None

    def die(self) -> None:
        """The process ends as a killed one does."""
        self.fuse.bury()
        self.agent = None
        self.line.fuse = Fuse()

    def close(self) -> None:
        """The process ends in good order."""
        self.run(lambda agent: agent.close())
        self.die()

    def idle(self) -> None:
        """A quiet moment, as the agent's own thread would use it."""

        def tidy(agent: SimulatedAgent) -> None:
            agent._journal.tidy()
            agent._journal.database.checkpoint()

        self.run(tidy)

    def look(self) -> Look:
        """Read the journal from outside."""
        if self._window is None:
            self._window = plain_connection(self.home / JOURNAL_NAME)
        ask = self._window.execute
        look = Look(
            lives=[tuple(row) for row in ask("SELECT number, journal_id, last_seq FROM journals WHERE number > 0")]
        )
        for *booked, body, state in ask(
            "SELECT s.external_id, j.journal_id, s.device_seq, s.kind, s.total_minor, s.fingerprint, b.body, s.state "
            "FROM sales s JOIN journals j ON j.number = s.journal_number LEFT JOIN sale_bodies b ON b.entry = s.entry "
            "ORDER BY s.entry"
        ):
            look.sales[booked[0]] = Row(Booked(*booked, body=bytes(body or b"")), state)
        for external_id, body, state in ask("SELECT external_id, body, state FROM usages ORDER BY entry"):
            look.uses[external_id] = (bytes(body), state)
        return look

    def catalogue(self, dataset: str) -> dict[str, dict[str, Any]]:
        """The catalogue's rows in use, read from outside."""
        window = plain_connection(self.home / CATALOG_NAME)
        try:
            return {(row := json.loads(body))["id"]: row for (body,) in window.execute(f"SELECT body FROM {dataset}")}
        finally:
            window.close()

    def stock(self) -> dict[str, str]:
        """Head office's stock figures as the till has them."""
        window = plain_connection(self.home / CATALOG_NAME)
        try:
            return dict(window.execute("SELECT product_id, quantity FROM stock"))
        finally:
            window.close()

    def forget(self) -> None:
        """The end of a run: everything of this till goes."""
        if self.agent is not None:
            self.die()
        if self._window is not None:
            self._window.close()
        self._engine.fuses.pop(self.home, None)
        shutil.rmtree(self.home, ignore_errors=True)


def make_template(folder: Path, office: Office) -> None:
    """A device that was set up and never started: settings, password, migrated databases without a life."""
    folder.mkdir()
    settings = {
        "url": "http://127.0.0.1:9",
        "username": office.world.device["username"],
        "company_id": office.company_id,
        "store_id": office.store_id,
        "brand_id": office.brand_id,
        "device_id": "till",
        "currency": "IDR",
        "timezone": "Asia/Jakarta",
        "page_rows": 3,
        "batch_count_max": 4,
    }
    save_settings(folder, make_settings(settings))
    (folder / CREDENTIALS_NAME).write_text('{"password": "secret"}', encoding="utf-8")
    Journal(folder / JOURNAL_NAME).close()
    CatalogStore(folder / CATALOG_NAME).close()


def make_till(number: int, template: Path, folder: Path, office: Office, engine: Engine) -> Till:
    """A device of its own: a copy of the template under another name."""
    home = folder / f"till-{number}"
    shutil.copytree(template, home)
    text = (home / "settings.toml").read_text(encoding="utf-8")
    (home / "settings.toml").write_text(text.replace('"till"', f'"till-{number}"'), encoding="utf-8")
    return Till(number, home, office, engine)
