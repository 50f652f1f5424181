"""A device for tests: a home, a clock that is moved by hand, and a head office on a real port."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Item, Payment, Sale
from edge_agent.clock import Clock
from edge_agent.settings import CREDENTIALS_NAME, Settings, make_settings, save_settings
from edge_agent.setup import set_up
from ho_stub import seed
from ho_stub.testing import HeadOffice

CONTRACT = Path(__file__).parent / "contract"
WAIT_S_MAX = 20.0


CASES_QUICK = 4  # of a family of costly cases; the others run in ``make check``
COSTLY = frozenset({"till", "baseline_till", "agent", "office", "head_office", "make_till", "make_office", "device"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with many cases that each start a head office or a device, a few, spread evenly, are quick."""
    families: dict[tuple[Path, str], list[pytest.Item]] = {}
    for item in items:
        costly = COSTLY & set(getattr(item, "fixturenames", ()))
        if costly and hasattr(item, "callspec") and item.get_closest_marker("slow") is None:
            families.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    for cases in families.values():
        if len(cases) > CASES_QUICK:
            kept = {number * (len(cases) - 1) // (CASES_QUICK - 1) for number in range(CASES_QUICK)}
            for number, case in enumerate(cases):
                if number not in kept:
                    case.add_marker(pytest.mark.slow)


class FakeClock(Clock):
    """Real time moved on by hand. The dice show 0, so that no test waits for jitter between quick retries."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        self.rolls = 0.0

    def advance(self, seconds: float = 0, *, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        self.shift_s += seconds + hours * 3600 + days * 86_400

    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(seconds=self.shift_s)

    def now_ms(self) -> int:
        return super().now_ms() + int(self.shift_s * 1000)

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.shift_s

    def elapsed_s(self) -> float:
        return self.monotonic_s()

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def dice(self) -> float:
        return self.rolls


@dataclasses.dataclass
class Till:
    """A device, its head office and its clock; the ids are those of the stub's tiny world."""

    agent: EdgeAgent
    office: HeadOffice
    clock: FakeClock
    cola: str = "00000006-0000-4000-8000-000000000000"
    water: str = "00000007-0000-4000-8000-000000000000"
    bread: str = "00000008-0000-4000-8000-000000000000"
    deal: str = "00000009-0000-4000-8000-000000000000"
    nobody: str = "dead0000-0000-4000-8000-000000000000"

    def sell(self, product: str | None = None, quantity: str = "1", price: str = "7500.00", **more: Any) -> Sale:
        """One line, paid in cash."""
        return self.agent.record_sale([Item(product or self.cola, quantity, price)], **more)

    def poll(self) -> Any:
        """One cycle as the background loop runs it: nobody asked, so backoff counts."""
        return poll(self.agent)

    def failures(self) -> int:
        """How often in a row head office could not be asked."""
        return self.agent._syncer._circuit.state().failures

    def ledger_rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Looks into the journal itself."""
        return [tuple(row) for row in self.agent._journal.database.connection.execute(query, values)]

    def books_agree(self) -> bool:
        """Whether head office's ledger is the device's: same ids, each once, same total."""
        mine = self.ledger_rows("SELECT external_id, kind, total_minor, exponent FROM sales")
        total = sum((1 if kind == "sale" else -1) * minor for _, kind, minor, _ in mine)
        theirs = [sale["external_id"] for sale in self.office.world.sales() if sale["state"] == "accepted"]
        return sorted(theirs) == sorted(row[0] for row in mine) and _cents(self.office.world.ledger_total()) == total

    def catalogue_agrees(self, *datasets: str) -> bool:
        """Whether the catalogue holds exactly head office's rows."""
        for dataset in datasets or ("categories", "products", "promotions"):
            query = f"SELECT body FROM {dataset}"
            mine = {(row := json.loads(body))["id"]: row for (body,) in self.catalogue_rows(query)}
            theirs = {row["id"]: row for row in self.office.world.rows(dataset)}
            if mine != theirs:
                return False
        return True

    def catalogue_rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Looks into the catalogue itself."""
        return [tuple(row) for row in self.agent._store.database.connection.execute(query, values)]

    def paths(self) -> list[str]:
        """What head office was asked, as ``METHOD last-part-of-the-path``."""
        return [f"{method} {path.rstrip('/').rsplit('/', 1)[-1]}" for method, path, _ in self.office.requests]


def poll(agent: EdgeAgent) -> Any:
    """One cycle as the background loop runs it."""
    return agent._syncer.run(asked=False)


def _cents(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(2, "0"))


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the machine it runs on."""
    import os

    for name in list(os.environ):
        if name.startswith("EDGE_AGENT_") and name != "EDGE_AGENT_COMPLETE_JOURNEY":
            monkeypatch.delenv(name)


@pytest.fixture(name="poll")
def poll_fixture() -> Callable[[EdgeAgent], Any]:
    return poll


@pytest.fixture
def evidence() -> Callable[..., None]:
    """Counts the trials of a fault suite: ``evidence(fault, trials, lost=0, doubled=0, stuck=0)``.

    ``make evidence`` prints the table.
    """
    import os

    path = os.environ.get("EVIDENCE_FILE")

    def count(fault: str, trials: int, *, lost: int, doubled: int, stuck: int) -> None:
        if path:
            line = {"fault": fault, "trials": trials, "lost": lost, "doubled": doubled, "stuck": stuck}
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    return count


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """Reads a golden file of tests/contract."""
    return lambda name: json.loads((CONTRACT / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def tiny_with() -> Callable[..., seed.Dataset]:
    """The tiny world with more products."""

    def make(products: int = 0, **parts: Any) -> seed.Dataset:
        tiny = seed.tiny()
        brand = next(iter(tiny.brands))["id"]
        more = [
            {
                "id": f"10000000-0000-4000-8000-{number:012d}",
                "brand_id": brand,
                "name": f"Product {number}",
                "sku": f"SKU-{number}",
                "barcode": f"200{number:010d}",
                "price": f"{1000 + number}.00",
            }
            for number in range(products)
        ]
        return dataclasses.replace(tiny, products=[*tiny.products, *more], **parts)

    return make


@pytest.fixture
def make_office() -> Iterator[Callable[..., HeadOffice]]:
    """Makes head offices on free ports, and closes them."""
    offices: list[HeadOffice] = []

    def make(**arguments: Any) -> HeadOffice:
        office = HeadOffice(**arguments).start()
        offices.append(office)
        return office

    yield make
    for office in offices:
        office.stop()
        office.world.close()


@pytest.fixture
def head_office(make_office: Callable[..., HeadOffice]) -> HeadOffice:
    """A native head office with the tiny world."""
    return make_office()


def settings_for(office: HeadOffice | None, **more: Any) -> Settings:
    """A device's settings; without a head office, of one that nobody answers for."""
    tiny = seed.tiny()
    values: dict[str, Any] = {
        "url": office.url if office else "http://127.0.0.1:9",
        "username": office.username if office else "pos-02",
        "company_id": office.company_id if office else tiny.company["id"],
        "store_id": office.store_id if office else next(iter(tiny.stores))["id"],
        "brand_id": office.brand_id if office else next(iter(tiny.brands))["id"],
        "device_id": "pos-02",
        "ballast_mib": 0,
        **more,
    }
    return make_settings(values)


@pytest.fixture
def make_settings_for() -> Callable[..., Settings]:
    return settings_for


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nobody answers for: settings and a password, no network."""
    return _write_home(tmp_path / "home", settings_for(None, currency="IDR", timezone="Asia/Jakarta"))


@pytest.fixture
def write_home(tmp_path: Path) -> Callable[..., Path]:
    """Writes a home without asking head office: ``write_home(office, **settings)``."""

    def write(office: HeadOffice | None = None, name: str = "home", **settings: Any) -> Path:
        return _write_home(tmp_path / name, settings_for(office, **settings))

    return write


def _write_home(home: Path, settings: Settings) -> Path:
    home.mkdir()
    save_settings(home, settings)
    (home / CREDENTIALS_NAME).write_text('{"password": "secret"}')
    return home


@pytest.fixture
def open_agent(clock: FakeClock) -> Iterator[Callable[..., EdgeAgent]]:
    """Opens agents (``open_agent(home, transport=None)``) and closes them."""
    agents: list[EdgeAgent] = []

    def open_one(home: Path, *, transport: Any = None, **changes: Any) -> EdgeAgent:
        from edge_agent.settings import load_settings, updated

        agent = EdgeAgent(home, updated(load_settings(home), **changes), clock=clock, transport=transport)
        agents.append(agent)
        return agent

    yield open_one
    for agent in agents:
        agent.close()


@pytest.fixture
def agent(home: Path, open_agent: Callable[..., EdgeAgent]) -> EdgeAgent:
    """A device that has never reached head office."""
    return open_agent(home)


@pytest.fixture
def make_till(
    tmp_path: Path, clock: FakeClock, make_office: Callable[..., HeadOffice], open_agent: Callable[..., EdgeAgent]
) -> Callable[..., Till]:
    """Sets a device up at a head office: ``make_till(office=None, synced=True, **settings)``."""

    def make(office: HeadOffice | None = None, *, synced: bool = True, name: str = "till", **settings: Any) -> Till:
        office = office or make_office()
        home = tmp_path / name
        assert set_up(home, settings_for(office, **settings), office.password, clock).later is None
        till = Till(open_agent(home), office, clock)
        if synced:
            report = till.agent.sync()
            assert not report.errors, report.errors
        office.clear_requests()
        return till

    return make


@pytest.fixture
def till(make_till: Callable[..., Till]) -> Till:
    """A device of a native head office, in sync."""
    return make_till()


@pytest.fixture
def baseline_till(make_till: Callable[..., Till], make_office: Callable[..., HeadOffice]) -> Till:
    """A device of a baseline head office, in sync."""
    return make_till(make_office(profile="baseline"), currency="IDR", timezone="Asia/Jakarta", day_start="04:00")


@pytest.fixture
def cash() -> Callable[[str], list[Payment]]:
    """A payment in cash of so much."""
    return lambda amount: [Payment("cash", amount)]


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is so, and fails when it takes too long."""

    def wait(is_so: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(WAIT_S_MAX / 0.01)):
            if is_so():
                return
            pause.wait(0.01)
        raise AssertionError(f"not so after {WAIT_S_MAX} s")

    return wait
