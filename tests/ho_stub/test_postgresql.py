"""The stub on a real PostgreSQL: numbers in commit order, nothing half done, and several workers that agree."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# ruff: noqa: PT012 - a transaction's failure is told by the `with` that holds several statements

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

from ho_stub.database import Database, DatabaseError, Unavailable, connect
from ho_stub.own_schema import OwnSchema
from ho_stub.testing import HeadOffice
from ho_stub.world import World
from tests.ho_stub.cluster import Cluster, NoCluster
from tests.ho_stub.conftest import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
WRITERS = 4
QUICK_ROUNDS, ROUNDS = 4, 60
SEED = int(os.environ.get("HAMMER_SEED", random.randrange(2**32)))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Once for all tests here."""
    try:
        made = Cluster()
    except NoCluster as why:
        pytest.skip(str(why))
    yield made
    made.close()


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    """An empty database."""
    schema = OwnSchema(cluster.url)
    yield schema.url
    schema.drop()


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = connect(url)
    yield opened
    opened.close()


@pytest.fixture
def other(url: str, db: Database) -> Iterator[Database]:  # after db: the tables are there
    """What another worker has: the same database, connections of its own."""
    opened = connect(url)
    yield opened
    opened.close()


def in_threads(*work: Callable[[], object]) -> None:
    """Run all at once; the first failure is raised."""
    failed: list[BaseException] = []

    def one(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - told below
            failed.append(exc)

    threads = [threading.Thread(target=one, args=(call,)) for call in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


# -- numbers


@pytest.mark.parametrize("rounds", [QUICK_ROUNDS, pytest.param(ROUNDS, marks=pytest.mark.slow)])
def test_no_reader_ever_skips_a_change_of_many_writers(url: str, rounds: int) -> None:
    """Readers follow their cursors while writers of two workers edit, delete, and fail half-way."""
    print(f"HAMMER_SEED={SEED}")
    worlds = [World(url), World(url, joins=True)]
    first, writing = worlds[0], threading.Event()
    company, brand = first.company_id, first.device["brand_id"]
    scope = first.scope("products", brand_id=brand)
    done = threading.Semaphore(0)

    def write(number: int) -> None:
        world, chance = worlds[number % 2], random.Random(SEED + number)
        try:
            for turn in range(rounds):
                fails = chance.random() < 0.2
                with contextlib.suppress(ZeroDivisionError), world.db.write():
                    for part in range(chance.randrange(1, 4)):
                        row_id = f"{number:08x}-{(turn + part) % 7:04x}-4000-8000-000000000000"
                        if chance.random() < 0.25 and world.feed.get("products", row_id) is not None:
                            world.delete("products", row_id)
                        else:
                            row = {"id": row_id, "company_id": company, "brand_id": brand, "name": f"{turn}.{part}"}
                            world.upsert("products", row)
                    if fails:
                        raise ZeroDivisionError
        finally:
            done.release()

    def follow(number: int) -> None:
        world, cursor, held, last = worlds[number % 2], None, {}, 0
        while True:
            is_last = not writing.is_set()
            page = world.feed.page(scope, cursor, 1 + number * 3)
            assert page.cursor.seq >= last, "a cursor went back"
            last, cursor = page.cursor.seq, page.cursor
            for body in page.rows:
                row = json.loads(body)
                held[row["id"]] = row
            for gone in page.deleted_ids:
                held.pop(gone, None)
            if is_last and not page.has_more and not page.snapshot:
                break
        # Whoever skipped one change would lack it for ever.
        assert held == {row["id"]: row for row in world.rows("products")}

    def end() -> None:
        for _ in range(WRITERS):
            done.acquire()
        writing.clear()

    writing.set()
    try:
        readers = [lambda number=number: follow(number) for number in range(3)]
        in_threads(end, *(lambda number=number: write(number) for number in range(WRITERS)), *readers)
        numbers = [seq for (seq,) in first.db.rows("SELECT seq FROM feed WHERE row_version = seq")]
        assert len(numbers) == len(set(numbers))
    finally:
        for world in worlds:
            world.close()


def test_a_number_is_seen_only_with_all_smaller_ones(db: Database, other: Database) -> None:
    """The second writer waits for the first one's commit, whoever began to write sooner."""
    has_number, go_on, began = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        with db.write():
            assert db.next("change") == 1
            has_number.set()
            assert go_on.wait(10)

    def quick() -> None:
        assert has_number.wait(10)
        began.set()
        with other.write():
            assert other.next("change") == 2

    def look() -> None:
        assert began.wait(10)
        with other.read():
            assert other.current("change") == 0
            go_on.set()
            assert other.current("change") == 0, "a reader sees one state"

    in_threads(slow, quick, look)
    assert db.current("change") == 2


# -- transactions


def test_a_savepoint_is_undone_alone(db: Database) -> None:
    with db.write():
        db.set_meta("kept", "1")
        with pytest.raises(DatabaseError), db.write():
            db.set_meta("undone", "1")
            db.run("INSERT INTO meta VALUES ('kept', 'twice')")
        db.set_meta("later", "1")
    assert [db.meta(key) for key in ("kept", "undone", "later")] == ["1", None, "1"]


def test_a_failed_statement_that_nobody_minds_is_no_commit(db: Database) -> None:
    """PostgreSQL answers such a COMMIT with ROLLBACK and no error: the writer must hear of it."""
    with pytest.raises(DatabaseError, match="failed"), db.write():
        db.set_meta("lost", "1")
        with contextlib.suppress(DatabaseError):
            db.run("SELECT 1 / 0")
    assert db.meta("lost") is None
    with db.write():
        db.set_meta("next", "1")
    assert db.meta("next") == "1"


def test_nothing_is_written_while_reading(db: Database) -> None:
    with pytest.raises(RuntimeError, match="inside read"), db.read(), db.write():
        pass
    with pytest.raises(DatabaseError, match="read-only"), db.read():
        db.set_meta("a", "1")


def kill_connections(db: Database) -> None:
    """As a network that breaks, or a server that restarts, does."""
    of_ours = "pid <> pg_backend_pid() AND application_name = 'ho-stub'"
    db.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of_ours}")


def test_a_lost_connection_leaves_no_trace(db: Database, other: Database) -> None:
    with pytest.raises(Unavailable), db.write():
        db.set_meta("half", "1")
        kill_connections(other)
        db.set_meta("other half", "1")
    with pytest.raises(Unavailable), db.write():  # lost at commit
        db.set_meta("half", "1")
        kill_connections(other)
    assert db.meta("half") is None
    with db.write():
        db.set_meta("whole", "1")
    assert db.meta("whole") == "1"


def test_a_lock_that_is_never_free_is_told(db: Database, url: str) -> None:
    """The wait is a setting of the URL, as every other of PostgreSQL's."""
    impatient = connect(f"{url}%20-clock_timeout%3D50")
    with db.write(), pytest.raises(Unavailable, match="lock timeout"), impatient.write():
        pass
    with impatient.write():
        pass
    impatient.close()


def test_values_come_back_as_sqlite_gives_them(db: Database) -> None:
    with db.write():
        db.run("INSERT INTO meta VALUES (?, ?)", ("zero byte\0", "a%b?"))
        db.run("INSERT INTO stock VALUES ('s', 'p', ?, NULL, 1, ?)", (2**40, True))
    assert db.row("SELECT sum(quantity), max(deleted), count(*) FROM stock") == (2**40, 1, 1)
    assert db.row("SELECT quantity FROM stock WHERE deleted = ?", (True,)) == (2**40,)
    assert db.value("SELECT value FROM meta WHERE key LIKE 'zero%'") == "a%b?"
    assert db.value("SELECT value FROM meta WHERE key = :key", {"key": "zero byte\0", "unused": None}) == "a%b?"
    with db.write():
        db.run_many("INSERT INTO brand VALUES (?, ?)", [(letter, "") for letter in ("b", "-a", "B", "a")])
    assert [brand for (brand,) in db.rows("SELECT id FROM brand ORDER BY id")] == ["-a", "B", "a", "b"], "byte by byte"


# -- the stub on it


@pytest.fixture
def office(url: str) -> Iterator[HeadOffice]:
    with HeadOffice(db=url) as office:
        yield office


@pytest.fixture
def device(office: HeadOffice) -> Iterator[Device]:
    device = Device(office)
    yield device
    device.http.close()


def test_a_lost_connection_answers_503_and_the_batch_can_be_sent_again(
    office: HeadOffice, device: Device, other: Database
) -> None:
    """Nothing of the batch is booked, not even what was judged before the connection was lost."""
    batch = [device.sale(seq) for seq in (1, 2, 3)]
    mark, taken = office.world.receipts.mark, 0

    def lose(*arguments: Any, **more: Any) -> None:
        nonlocal taken
        mark(*arguments, **more)
        taken += 1
        if taken == 2:
            kill_connections(other)

    office.world.receipts.mark = lose  # type: ignore[method-assign]
    answer = device.post("sales", {"device_id": "pos-02", "sales": batch})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["code"] == "INTERNAL_ERROR"
    assert office.world.sale_count() == 0
    assert [result["status"] for result in device.upload(*batch)] == ["created"] * 3
    assert device.receipts()["contiguous_seq"] == 3


@pytest.mark.slow
def test_a_server_that_is_away_answers_503_until_it_is_back(
    office: HeadOffice, device: Device, cluster: Cluster
) -> None:
    device.pull("products")
    cluster.stop()
    try:
        assert device.get("version", **device.ids).status_code == 503
        assert device.get("products", **device.ids).status_code == 503
    finally:
        cluster.start()
    assert device.get("version", **device.ids).status_code in (200, 503)  # a connection that it had may be dead still
    assert device.get("version", **device.ids).status_code == 200


def test_a_backup_goes_back_in_every_worker(url: str) -> None:
    """Cursors of the lost life are refused by both; the day, the settings and the tokens are what they should be."""
    with HeadOffice(db=url) as office:
        worker = World(url, joins=True)
        device = Device(office)
        device.pull("products")
        backup = office.world.snapshot()
        office.world.edit("products", device.cola, price="1.00")
        device.pull("products")
        device.upload(device.sale(1))
        office.world.restore(backup)
        worker.catch_up()
        assert worker.epoch == office.world.epoch
        assert worker.sale_count() == 0
        assert device.get("products", **device.ids, cursor=device.cursors["products"]).status_code == 410
        device.http.close()
        worker.close()


def test_what_one_worker_is_told_all_know(url: str) -> None:
    """The day, gaps, what a gap has met already, and commits that streams of hints wait for."""
    one = World(url, profile="baseline", gaps={"whole_seconds": None})
    two = World(url, profile="baseline", joins=True)
    two.catch_up()
    assert two.gaps.is_on("whole_seconds")
    day = one.today().replace(year=2017)
    one.set_today(day)
    one.gaps.on("empty_once")
    two.catch_up()
    assert (two.today(), two.gaps.is_on("empty_once")) == (day, True)
    assert [world.gaps.first("empty_once", "products") for world in (two, one, two)] == [True, False, False]
    assert [world.gaps.every_second("empty_once") for world in (one, two, one, two)] == [False, True, False, True]

    async def hear() -> int:
        with two.bell.listening() as rung:
            while not two.bell._seen:  # it has looked once
                await asyncio.sleep(0.01)
            one.upsert("categories", {"id": "00000009-0000-4000-8000-000000000000", "name": "New"})
            async with asyncio.timeout(10):
                await rung.wait()
            return two.bell.version

    assert asyncio.run(hear()) == one.db.current("change")
    two.bell.close()
    for world in (one, two):
        world.close()


def test_an_empty_database_is_filled_once(url: str) -> None:
    worlds: list[World] = []
    in_threads(*[lambda: worlds.append(World(url))] * 4)
    assert len({world.epoch for world in worlds}) == 1
    assert len({world.accounts.static_key("pos-02") for world in worlds}) == 1
    assert worlds[0].db.value("SELECT count(*) FROM store") == 1
    for world in worlds:
        world.close()


@pytest.mark.slow
def test_two_workers_serve_one_port(url: str) -> None:
    """A token of one worker is known to the other, and Ctrl-C ends all."""
    import httpx

    command = [sys.executable, "-m", "ho_stub", "run", "--port", "0", "--db", url, "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        address = running.stdout.readline().split()[3]
        started = {running.stderr.readline() for _ in range(2)}
        assert all("Started server process" in line for line in started), started
        with httpx.Client(base_url=address) as http:
            token = http.post("/api/token/", json={"username": "pos-02", "password": "secret"}).json()["access"]
        for _ in range(20):
            answer = httpx.get(f"{address}/api/sales/", headers={"Authorization": f"Bearer {token}"})
            assert answer.json()["count"] == 0
        running.terminate()
        _, said = running.communicate(timeout=30)
        assert running.returncode == 0, said
    assert len(started) == 2, "two processes"


@pytest.mark.slow
@pytest.mark.parametrize(
    "tests",
    [
        ["tests/ho_stub"],
        [
            "tests/sync/test_push.py",
            "tests/sync/test_pull.py",
            "tests/sync/test_receipts.py",
            "tests/sync/test_verify.py",
        ],
        ["tests/sync/test_gaps.py", "tests/sync/test_baseline.py", "tests/sync/test_together.py"],
    ],
    ids=["stub", "agent, native", "agent, baseline"],
)
def test_it_is_the_same_stub(cluster: Cluster, tests: list[str]) -> None:
    """The stub's own tests, and a good part of the agent's, with every head office on PostgreSQL."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    command += ["--deselect", "tests/ho_stub/test_postgresql.py", "--deselect", "tests/ho_stub/test_database.py"]
    environment = {**os.environ, "HO_STUB_DB": cluster.url}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=3_000
    )
    assert done.returncode == 0, done.stdout[-8_000:]
