"""Leaves a home behind as an older program does; README.md says how it is run. Takes the older program's own modules.

PYTHONPATH=OLDER_CHECKOUT python leave_a_home.py HOME DUMPS
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from edge_agent import EdgeAgent, Item, Payment
from edge_agent.clock import Clock
from edge_agent.settings import load_settings, make_settings, save_settings
from edge_agent.setup import set_up
from ho_stub import seed
from ho_stub.testing import HeadOffice

COLA, WATER = "00000006-0000-4000-8000-000000000000", "00000007-0000-4000-8000-000000000000"
DEAL, NOBODY = "00000009-0000-4000-8000-000000000000", "dead0000-0000-4000-8000-000000000000"


def sell(agent: EdgeAgent, number: int) -> None:
    """A sale with what a real one has, and the use of a promotion."""
    sale = agent.record_sale(
        [
            Item(product=COLA, quantity=str(1 + number % 3), unit_price="7500.00", discount="500.00"),
            Item(product=WATER, quantity="0.250", unit_price="4000.00"),
        ],
        [Payment("cash", f"{(1 + number % 3) * 7500 - 500 + 1000}.00")],
        receipt_number=f"R-{number}",
        cashier_id="née 雪",
        extra={"lane": number, "note": "ü\u2028'\""},
    )
    agent.record_usage(DEAL, "500.00", sale=sale, line=1)


def live(home: Path, office: HeadOffice) -> None:
    """A few days in little: delivered, refunded, quarantined, and what waits when the line is gone."""
    tiny = seed.tiny()
    settings = make_settings(
        {
            "url": office.url,
            "username": office.username,
            "company_id": tiny.company["id"],
            "store_id": next(iter(tiny.stores))["id"],
            "brand_id": next(iter(tiny.brands))["id"],
            "device_id": "pos-02",
        }
    )
    set_up(home, settings, office.password, Clock())
    with EdgeAgent(home, load_settings(home)) as agent:
        agent.sync()
        for number in range(6):
            sell(agent, number)
        first = agent.record_sale([Item(product=WATER, quantity="1", unit_price="4000.00")])
        agent.record_sale(
            [Item(product=WATER, quantity="1", unit_price="4000.00")], kind="refund", refers_to=first.external_id
        )
        agent.sync()
    office.stop()
    with EdgeAgent(home, load_settings(home)) as agent:
        for number in range(6, 10):
            sell(agent, number)
        agent.record_sale([Item(product=NOBODY, quantity="1", unit_price="1.00")])
        agent.sync()


def _in_two(lines: list[str]) -> list[str]:
    """Indexes and triggers come after the file was opened anew: only then are virtual tables known to SQLite.

    What a virtual table holds is in the plain tables behind it, which are there too.
    """
    virtual = [line.split("'")[3] for line in lines if line.startswith("INSERT INTO sqlite_master")]
    lines = [line for line in lines if not line.startswith(tuple(f'INSERT INTO "{name}" ' for name in virtual))]
    place = next(
        at for at, line in enumerate(lines) if line.startswith(("CREATE INDEX", "CREATE UNIQUE", "CREATE TRIG"))
    )
    between = ["PRAGMA writable_schema=OFF;", "COMMIT;", "-- open the file anew", "BEGIN TRANSACTION;"]
    return [*lines[:place], *between, *lines[place:]]


def main() -> None:
    home, dumps = Path(sys.argv[1]), Path(sys.argv[2])
    office = HeadOffice().start()
    live(home, office)
    save_settings(home, load_settings(home))
    dumps.mkdir(parents=True, exist_ok=True)
    for name in ("journal", "catalog"):
        with closing(sqlite3.connect(home / f"{name}.db")) as connection:
            if (
                name == "journal"
            ):  # which machine and file it was: whoever opens the copy is to take it for the original
                connection.execute("DELETE FROM meta WHERE key IN ('machine', 'file')")
            lines = _in_two([*connection.iterdump()])
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        lines += [f"PRAGMA user_version = {version};", f"PRAGMA application_id = {application};"]
        (dumps / f"{name}.sql").write_text("\n".join(lines) + "\n", "utf-8")
    (dumps / "settings.toml").write_text((home / "settings.toml").read_text("utf-8"), "utf-8")


if __name__ == "__main__":
    main()
