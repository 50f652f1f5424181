"""Journals of earlier programs come to the present schema with everything in them, while those programs go on selling.

The statements below are those the program with schema 0001 used; they never change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, StoreBroken
from edge_agent.domain.canonical import canonical_bytes, fingerprint
from edge_agent.settings import load_settings
from edge_agent.storage import database as database_module
from edge_agent.storage import migrate
from edge_agent.storage.check import check
from edge_agent.storage.engine import sqlite3
from edge_agent.storage.incidents import incidents

COLA = "00000006-0000-4000-8000-000000000000"
DEAL = "00000009-0000-4000-8000-000000000000"
STORE = "00000003-0000-4000-8000-000000000000"

# ---- the program of schema 0001 --------------------------------------------------------------------------------------

OLD_DRAW = """
UPDATE journals SET last_seq = last_seq + 1 WHERE number = (SELECT max(number) FROM journals)
RETURNING number, last_seq, journal_id"""
OLD_SALE = """
INSERT INTO sales (entry, journal_number, device_seq, external_id, kind, refers_to, business_date, currency, exponent,
    total_minor, fingerprint, recorded_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
OLD_BODY = "INSERT INTO sale_bodies (entry, body) VALUES (?, ?)"
OLD_LIFE = "INSERT INTO journals (journal_id, device_id, reason, created_ms) VALUES (?, ?, ?, ?)"
OLD_USAGE = (
    "INSERT INTO usages (external_id, sale_external_id, promotion_id, bill_id, fingerprint, recorded_ms, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
OLD_SETTLE = (
    "UPDATE {lane} SET state = 'delivered', settled_ms = ?, ho_id = ?, warnings = ?, code = NULL, "
    "reason = NULL, next_attempt_ms = NULL WHERE entry = ? AND state = 'pending'"
)
OLD_QUARANTINE = (
    "UPDATE {lane} SET state = 'quarantined', attempts = attempts + 1, code = ?, reason = ?, "
    "settled_ms = ?, next_attempt_ms = NULL, first_failed_ms = coalesce(first_failed_ms, ?), "
    "last_attempt_ms = ? WHERE entry = ? AND state = 'pending'"
)
OLD_LANE_FAILED = (
    "UPDATE lanes SET failures = failures + 1, next_attempt_ms = ?, retry_after_ms = ?, code = ?, "
    "reason = ?, failing_since_ms = coalesce(failing_since_ms, ?) WHERE name = ?"
)
OLD_DUE = """
SELECT s.entry, s.external_id, s.fingerprint, s.kind, s.unknown_outcomes, b.body
FROM sales s JOIN sale_bodies b ON b.entry = s.entry
WHERE s.state = 'pending' AND s.entry > ? AND (s.next_attempt_ms IS NULL OR s.next_attempt_ms NOT BETWEEN ? AND ?)
    AND (s.kind = 'sale' OR NOT ?)
ORDER BY s.entry LIMIT ?"""


def old_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def old_journal(path: Path, *, wal: bool | None = None) -> sqlite3.Connection:
    """A journal as the program with schema 0001 made it: migrated to 0001 alone, with its first life."""
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    connection = old_connection(path)
    if database_module.wal_is_safe() if wal is None else wal:
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    migrations = Migrations("journal")

    def apply(db: Any) -> None:
        for statement in migrate.statements(migrate.migration_files("journal")[0].read_text("utf-8")):
            db.conn.execute(statement)

    migrations(name="0001_ledger")(apply)
    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(OLD_LIFE, (str(uuid.uuid4()), "pos-02", "first start", 1))
    return connection


def old_sell(connection: sqlite3.Connection, *, uses: int = 0, product: str = COLA) -> str:
    """A sale, and uses of a promotion, as that program stored them."""
    external_id = str(uuid.uuid4())
    connection.execute("BEGIN IMMEDIATE")
    number, seq, journal_id = connection.execute(OLD_DRAW).fetchone()
    body = _sale_body(external_id, journal_id, seq, product)
    entry = number * 1099511627776 + seq
    values = (entry, number, seq, external_id, "sale", None, "2026-03-01", "IDR", 2, 750_000, fingerprint(body), 1000)
    connection.execute(OLD_SALE, values)
    connection.execute(OLD_BODY, (entry, body))
    connection.execute("COMMIT")
    for line in range(uses):
        use = _usage_body(external_id, journal_id, line)
        usage_id = json.loads(use)["external_id"]
        connection.execute(OLD_USAGE, (usage_id, external_id, DEAL, external_id, fingerprint(use), 1000, use))
    return external_id


def _sale_body(external_id: str, journal_id: str, seq: int, product: str) -> bytes:
    line = {"discount": "0.00", "price_override": None, "product": product, "promotion_ids": [], "quantity": "1"}
    return canonical_bytes(
        {
            **dict.fromkeys(("cashier_id", "customer_id", "reason", "receipt_number", "refers_to")),
            "business_date": "2026-03-01",
            "client_timestamp": "2026-03-01T12:00:00+07:00",
            "currency": "IDR",
            "device_id": "pos-02",
            "device_seq": seq,
            "external_id": external_id,
            "extra": {},
            "items": [{**line, "product_data": None, "tax": None, "unit_price": "7500.00"}],
            "journal_id": journal_id,
            "kind": "sale",
            "payments": [{"amount": "7500.00", "method": "cash"}],
            "store_id": STORE,
            "total_amount": "7500.00",
        }
    )


def _usage_body(sale_id: str, journal_id: str, line: int) -> bytes:
    return canonical_bytes(
        {
            "bill_id": sale_id,
            "customer_id": None,
            "device_id": "pos-02",
            "discount_amount": "500.00",
            "external_id": str(uuid.uuid5(uuid.UUID(sale_id), str(line))),
            "journal_id": journal_id,
            "promotion_id": DEAL,
            "sale_external_id": sale_id,
            "store_id": STORE,
            "used_at": "2026-03-01T12:00:00+07:00",
        }
    )


def everything(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    """Each table's rows, with the columns of schema 0001."""
    lanes = "name, failures, next_attempt_ms, retry_after_ms, code, reason, failing_since_ms, refusal_code, refusals"
    columns = {
        "journals": "number, journal_id, device_id, last_seq, reason, created_ms",
        "sales": "*",
        "sale_bodies": "*",
        "stock_moves": "*",
        "usages": "entry, external_id, sale_external_id, promotion_id, bill_id, fingerprint, recorded_ms, body, state, "
        "attempts, unknown_outcomes, next_attempt_ms, code, reason, settled_ms, ho_id, warnings",
        "lanes": lanes,
        "audit": "*",
        "meta": "*",
    }
    return {table: connection.execute(f"SELECT {names} FROM {table}").fetchall() for table, names in columns.items()}


# ---- the tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wal", [True, False])
def test_everything_is_there_after_a_migration(tmp_path: Path, write_home: Callable[..., Path], wal: bool) -> None:
    """Sales, uses, their bytes, fates, lanes and audit trail of the first schema are the same after migrating."""
    if wal and not database_module.wal_is_safe():
        pytest.skip("this SQLite has the WAL-reset bug")
    home = write_home(None, currency="IDR")
    with closing(old_journal(home / "journal.db", wal=wal)) as old:
        for number in range(30):
            old_sell(old, uses=number % 3)
        old.execute(OLD_SETTLE.format(lane="sales"), (2000, "ho-1", None, 1099511627776 + 1))
        old.execute(OLD_QUARANTINE.format(lane="sales"), ("BAD", "why", 2000, 2000, 2000, 1099511627776 + 2))
        old.execute(OLD_SETTLE.format(lane="usages"), (2000, "ho-2", "[]", 1))
        old.execute(OLD_LANE_FAILED, (5, None, "UNREACHABLE", "no line", 3, "sales"))
        old.execute("INSERT INTO audit (at_ms, event, subject) VALUES (1, 'x', 'y')")
        old.execute("INSERT INTO stock_moves VALUES (?, ?, 1, 1000)", (COLA, 1099511627776 + 1))
        before = everything(old)
    with EdgeAgent(home, load_settings(home)) as agent:
        connection = agent._journal.database.connection
        after = everything(connection)
        assert {table: after[table] for table in before if table not in ("meta", "audit")} == {
            table: rows for table, rows in before.items() if table not in ("meta", "audit")
        }
        assert set(before["meta"]) <= set(after["meta"])
        assert after["audit"][: len(before["audit"])] == before["audit"]
        assert connection.execute("SELECT count(*) FROM usages WHERE journal_number IS NOT 1").fetchone()[0] == 0
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        status = agent.status()
        assert (status["pending_sales"], status["quarantined"], status["delivered"]) == (28, 1, 2)
        assert status["journal"]["device_seq"] == 30


def test_an_old_journal_goes_up(make_office: Callable[..., Any], write_home: Callable[..., Path], clock: Any) -> None:
    """What an earlier program left waiting reaches head office byte for byte, once each."""
    office = make_office()
    home = write_home(office)
    with closing(old_journal(home / "journal.db")) as old:
        sold = [old_sell(old, uses=1) for _ in range(5)]
    (home / "credentials.json").write_text(json.dumps({"password": office.password}))
    with EdgeAgent(home, load_settings(home), clock=clock) as agent:
        report = agent.sync()
        assert not report.errors
        assert agent.status()["pending"] == agent.status()["quarantined"] == 0
    assert sorted(sale["external_id"] for sale in office.world.sales()) == sorted(sold)


def test_a_backup_comes_before_a_migration(write_home: Callable[..., Path]) -> None:
    """Before a journal with data changes, a checked copy of it is kept; a new journal needs none."""
    home = write_home(None, currency="IDR")
    with closing(old_journal(home / "journal.db")) as old:
        sold = {old_sell(old) for _ in range(3)}
    EdgeAgent(home, load_settings(home)).close()
    second = migrate.migration_files("journal")[1].stem
    copy = home / "backups" / f"journal-before-{second}.db"
    assert [path.name for path in (home / "backups").iterdir()] == [copy.name]
    assert check(copy).sales == 3
    with closing(sqlite3.connect(copy)) as connection:
        assert {row[0] for row in connection.execute("SELECT external_id FROM sales")} == sold
        assert connection.execute("SELECT count(*) FROM _sqlite_migrations").fetchone()[0] == 1
    EdgeAgent(home, load_settings(home)).close()
    assert len(list((home / "backups").iterdir())) == 1
    fresh = write_home(None, "fresh", currency="IDR")
    EdgeAgent(fresh, load_settings(fresh)).close()
    assert not (fresh / "backups").exists()


def test_a_shop_sells_on_when_no_backup_can_be_made(write_home: Callable[..., Path]) -> None:
    """What prevents the copy does not keep a shop from selling; it is told as an incident (G11)."""
    home = write_home(None, currency="IDR")
    with closing(old_journal(home / "journal.db")) as old:
        old_sell(old)
    (home / "backups").write_text("a file where the folder should be")
    with EdgeAgent(home, load_settings(home)) as agent:
        [incident] = incidents(agent._journal.database.connection)
        assert incident.kind == "no backup before an update"
        assert agent.status()["pending"] == 1


def test_an_older_program_sells_on_beside_a_newer_one(write_home: Callable[..., Path]) -> None:
    """A program that had the journal open before the migration sells and settles after it; the newer one counts all."""
    home = write_home(None, currency="IDR")
    old = old_journal(home / "journal.db")
    sold = [old_sell(old, uses=1) for _ in range(3)]
    with EdgeAgent(home, load_settings(home)) as agent, closing(old):
        sold += [old_sell(old, uses=1) for _ in range(3)]
        [due] = old.execute(OLD_DUE, (0, 1, 2, False, 1)).fetchall()
        old.execute("BEGIN IMMEDIATE")
        old.execute(OLD_SETTLE.format(lane="sales"), (2000, "ho-1", None, due[0]))
        old.execute(OLD_SETTLE.format(lane="usages"), (2000, "ho-2", None, 5))
        old.execute("COMMIT")
        old.execute(OLD_LANE_FAILED, (5, None, "UNREACHABLE", "no line", 3, "sales"))
        connection = agent._journal.database.connection
        assert connection.execute("SELECT count(*) FROM usages WHERE journal_number = 1").fetchone()[0] == 6
        status = agent.status()
        assert (status["pending_sales"], status["pending_usages"], status["delivered"]) == (5, 5, 2)
        assert [agent.sale(external_id).device_seq for external_id in sold] == [1, 2, 3, 4, 5, 6]  # type: ignore[union-attr]
        new = agent.record_sale([_item()])
        assert new.device_seq == 7
        [last] = old.execute("SELECT body FROM sale_bodies ORDER BY entry DESC LIMIT 1").fetchone()
        assert json.loads(last)["external_id"] == new.external_id


def _item() -> Any:
    from edge_agent import Item

    return Item(COLA, "1", "7500.00")


OLD_TILL = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("old", sys.argv[1])
old = importlib.util.module_from_spec(spec)
sys.modules["old"] = old
spec.loader.exec_module(old)
connection = old.old_connection(Path(sys.argv[2]))
connection.execute("SELECT * FROM sales").fetchall()
print("ready", flush=True)
while not Path(sys.argv[3]).exists():
    print(old.old_sell(connection, uses=1), flush=True)
"""
NEW_TILL = """
import sys
from edge_agent import EdgeAgent, Item
with EdgeAgent.open(sys.argv[1]) as agent:
    print(agent._journal.database.migrated)
    agent.record_sale([Item(sys.argv[2], "1", "7500.00")])
"""


def test_processes_migrate_at_once_while_an_older_one_sells(write_home: Callable[..., Path], tmp_path: Path) -> None:
    """Of several processes one migrates, all go on, and no sale that an older program records meanwhile is lost."""
    home, stop = write_home(None, currency="IDR"), tmp_path / "stop"
    with closing(old_journal(home / "journal.db")) as first:
        for _ in range(300):
            old_sell(first)
        till = subprocess.Popen(
            [sys.executable, "-c", OLD_TILL, __file__, str(home / "journal.db"), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert till.stdout is not None
        assert till.stdout.readline() == "ready\n"
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", NEW_TILL, str(home), COLA],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        told = [run.communicate(timeout=120) for run in runs]
        stop.touch()
        assert till.stderr is not None
        out, err = till.stdout.read(), till.stderr.read()  # communicate would lose what readline has read ahead
        till.stdout.close()
        till.stderr.close()
        till.wait(timeout=120)
    assert [run.returncode for run in (*runs, till)] == [0] * 4, (told, err)
    migrated = sorted(out.strip() for out, _ in told)
    assert migrated[:2] == ["[]", "[]"] or migrated.count("[]") == 2
    with EdgeAgent(home, load_settings(home)) as agent:
        connection = agent._journal.database.connection
        here = {row[0] for row in connection.execute("SELECT external_id FROM sales")}
        assert set(out.split()) <= here
        assert connection.execute("SELECT count(*) FROM usages WHERE journal_number IS NULL").fetchone()[0] == 0
        assert agent.backup().sales == len(here) == 303 + len(out.split())
    assert len(list((home / "backups").glob("journal-before-*"))) == 1


def test_a_journal_for_newer_programs_alone_is_refused(write_home: Callable[..., Path]) -> None:
    """A journal that says so is left to newer programs: in words, and not a byte of it changes."""
    home = write_home(None, currency="IDR")
    with closing(old_journal(home / "journal.db")) as old:
        old_sell(old)
        old.execute("UPDATE meta SET value = ? WHERE key = 'min_writer'", (str(migrate.WRITER + 1),))
    before = (home / "journal.db").read_bytes()
    with pytest.raises(StoreBroken, match="newer edge-agent") as error:
        EdgeAgent(home, load_settings(home))
    assert "Install the newer" in error.value.hint
    assert (home / "journal.db").read_bytes() == before
    assert not (home / "backups").exists()


def test_only_two_copies_before_migrations_stay(write_home: Callable[..., Path]) -> None:
    """Copies before migrations stand apart from the rotation of backups, and the two newest stay."""
    from edge_agent.storage.backup import back_up_before_migration

    home = write_home(None, currency="IDR")
    with EdgeAgent(home, load_settings(home)) as agent:
        agent.record_sale([_item()])
        made = []
        for name in ("0002_a", "0003_b", "0003_b"):
            made.append(back_up_before_migration(home / "journal.db", name).path)
            moment = time.time() - 100 + len(made)
            os.utime(made[-1], (moment, moment))
        for _ in range(9):
            agent.backup()
        left = {path.name for path in (home / "backups").iterdir() if "before" in path.name}
        assert left == {"journal-before-0003_b.db", "journal-before-0003_b-2.db"}
        assert len(list((home / "backups").iterdir())) == 2 + agent.settings.backup_keep
