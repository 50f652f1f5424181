"""A file that another program has moved aside is left by who only reads, too."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import Clock
from edge_agent.errors import StoreBroken
from edge_agent.recovery import moved_aside
from edge_agent.storage.database import Database

Make = Callable[..., Any]
COLA = "00000006-0000-4000-8000-000000000000"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows replaces no file that is open")


def another_catalogue(till: Any, open_agent: Make) -> Any:
    """Another program has met damage in the catalogue, and a fresh one takes its place."""
    other = open_agent(till.agent.home)
    assert moved_aside(other._store.database, till.clock)
    return other


def test_a_till_shows_the_prices_of_the_fresh_catalogue(till: Any, open_agent: Make) -> None:
    """A till that only looks things up does not stay with a catalogue that the daemon has moved aside: it would show
    its prices for ever."""
    assert till.agent.catalog.by_id(COLA).price is not None
    other = another_catalogue(till, open_agent)
    assert till.agent.catalog.by_id(COLA) is None
    till.office.world.edit("products", COLA, price="123.00")
    other.sync()
    assert str(till.agent.catalog.by_id(COLA).price) == "123.00"
    assert till.agent.status()["datasets"]["products"]["synced_at"]


def test_who_syncs_fills_a_catalogue_that_another_program_began(till: Any, open_agent: Make) -> None:
    """A till that met the damage moves the file aside; the program that syncs notices, though head office has nothing
    new, and brings the prices back."""
    another_catalogue(till, open_agent)
    till.poll()
    assert till.agent.catalog.by_id(COLA).price is not None
    assert till.catalogue_agrees()


def test_many_threads_follow_at_once(tmp_path: Path) -> None:
    """Threads that find another file at the path open it once, and none of them reads it before it has its tables."""
    database = Database(tmp_path / "catalog.db", "catalog", synchronous="NORMAL")
    faults, begin = [], threading.Barrier(8)

    def read() -> None:
        try:
            database.connection.execute("SELECT count(*) FROM products").fetchone()
            begin.wait()
            for _ in range(300):
                database.connection.execute("SELECT count(*) FROM products").fetchone()
                with database.immediate() as connection:
                    connection.execute("SELECT count(*) FROM meta").fetchone()
        except Exception as error:  # noqa: BLE001 - told by the test
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(7)]
    for thread in threads:
        thread.start()
    begin.wait()
    other = Database(database.path, "catalog", synchronous="NORMAL")
    for _ in range(5):
        with contextlib.suppress(StoreBroken):  # locked, at this very moment, by one of many
            moved_aside(other, Clock())
    for thread in threads:
        thread.join()
    other.close()
    database.close()
    # Files that move under an opening connection may fail it for a moment; what never may be is half a schema.
    assert [fault for fault in faults if "no such" in str(fault) or getattr(fault, "is_damaged", False)] == []
