"""The catalogue's file: pages and cursors together, and look-ups that never scan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.catalog import RefusedRow, RowReader
from edge_agent.domain.digest import leaves, scaled
from edge_agent.storage.catalog import CatalogStore, CursorMoved, PageWrite


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CatalogStore]:
    store = CatalogStore(tmp_path / "catalog.db")
    yield store
    store.close()


def id_of(number: int) -> str:
    return f"10000000-0000-4000-8000-{number:012d}"


def rows(*numbers: int, **fields: Any) -> list[Any]:
    raws = [
        json.dumps(
            {"id": id_of(n), "name": f"Product {n}", "sku": f"SKU-{n}", "barcode": f"20{n}", "price": "2.00"} | fields
        )
        for n in numbers
    ]
    read = RowReader(ordered_by_time="updated_at" in fields).read("products", [raw.encode() for raw in raws])  # type: ignore[misc]
    assert not read.refused
    return read.good


def page(asked: str | None, following: str | None, *numbers: int, fields: Any = None, **more: Any) -> PageWrite:
    return PageWrite(
        dataset="products", asked_cursor=asked, next_cursor=following, rows=rows(*numbers, **(fields or {})), **more
    )


def dump(store: CatalogStore) -> list[Any]:
    query = "SELECT id, name, sku, barcode, price, body FROM products ORDER BY id"
    return store.database.connection.execute(query).fetchall()


def found(store: CatalogStore, text: str) -> list[str]:
    return [json.loads(body)["id"] for body, _ in store.search(text, limit=50)[0]]


def load(store: CatalogStore, count: int = 20) -> None:
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c1", *range(count), completes_snapshot=True))


def test_a_page_applied_twice_is_applied_once(store: CatalogStore) -> None:
    """The same page again changes nothing (G6)."""
    load(store)
    again = page("c1", "c1", 1, 2, 30, fields={"name": "New"}, deleted_ids=[id_of(3), id_of(99)])
    store.apply(again)
    once, indexed = dump(store), found(store, "new")
    store.apply(again)
    assert dump(store) == once
    assert found(store, "new") == indexed
    assert len(once) == 20


def test_a_row_twice_in_a_page_is_its_last_state(store: CatalogStore) -> None:
    """A row may arrive twice; the feed's order decides."""
    load(store)
    twice = [*rows(1, name="First", sku="A"), *rows(1, name="Second", sku="B"), *rows(1, name="Product 1", sku="SKU-1")]
    store.apply(PageWrite(dataset="products", asked_cursor="c1", next_cursor="c2", rows=twice))
    assert next(row for row in dump(store) if row[0] == id_of(1))[1:3] == ("Product 1", "SKU-1")
    assert found(store, "second") == []


def test_a_cursor_that_moved_stops_the_page(store: CatalogStore) -> None:
    """A page asked from another cursor is not applied, not even in part (G5)."""
    load(store)
    before = dump(store)
    with pytest.raises(CursorMoved):
        store.apply(page("c0", "c2", 1, 50, fields={"name": "New"}, deleted_ids=[id_of(2)]))
    assert dump(store) == before
    assert store.state("products").cursor == "c1"


def test_page_and_cursor_are_one(store: CatalogStore) -> None:
    """If the cursor can't be written, neither are the rows (G5)."""
    load(store)
    before = dump(store)
    store.database.connection.execute(
        "CREATE TRIGGER stumble BEFORE UPDATE OF cursor ON datasets BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(Exception, match="no"):
        store.apply(page("c1", "c2", 1, 50, fields={"name": "New"}))
    assert dump(store) == before


def test_a_snapshot_sweeps_what_it_did_not_bring(store: CatalogStore) -> None:
    """Deletions of a snapshot come last and together (G6)."""
    load(store)
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c2", *range(10)))
    assert len(dump(store)) == 20
    result = store.apply(page("c2", "c3", *range(10, 15), completes_snapshot=True))
    assert result.swept == 5
    assert len(dump(store)) == 15
    assert found(store, "19") == []


@pytest.mark.parametrize(("kept", "held"), [(10, 0), (9, 11), (0, 20)])
def test_a_sweep_of_more_than_half_is_held(store: CatalogStore, kept: int, held: int) -> None:
    """A snapshot that lacks more than half of what we have is not believed at once; the rows stay."""
    load(store)
    store.begin_snapshot("products", "scope")
    result = store.apply(page(None, "c2", *range(kept), completes_snapshot=True))
    assert result.held == held
    assert len(dump(store)) == (kept if not held else 20)
    assert store.state("products").held_rows == (held or None)
    assert store.state("products").cursor == "c2"
    assert store.accept_sweep("products") == held
    assert len(dump(store)) == kept
    assert store.state("products").held_rows is None


def test_a_row_that_came_after_a_held_sweep_is_not_swept(store: CatalogStore) -> None:
    """Accepting a sweep later takes what was missing then, not what came since."""
    load(store)
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c2", 1, completes_snapshot=True))
    store.apply(page("c2", "c3", 2, 77))
    store.accept_sweep("products")
    assert [row[0] for row in dump(store)] == [id_of(1), id_of(2), id_of(77)]


def test_an_older_row_does_not_overwrite_a_newer_one(store: CatalogStore) -> None:
    """Against a baseline head office the time stamp decides, and an older row still counts as present."""
    store.begin_snapshot("products", "scope")
    new, old = "2026-01-02T00:00:00.000001Z", "2026-01-02T00:00:00Z"
    store.apply(
        page(None, "c1", 1, fields={"name": "New", "updated_at": new}, newer_only=True, completes_snapshot=True)
    )
    for fields in ({"name": "Old", "sku": "OTHER"}, {"name": "New", "price": "9.00", "sku": "SKU-1"}):
        store.begin_snapshot("products", "scope")
        write = page(None, "c2", 1, fields={**fields, "updated_at": old}, newer_only=True, completes_snapshot=True)
        assert store.apply(write).swept == 0
    [(_, name, sku, _, price, _)] = dump(store)
    assert (name, sku, price) == ("New", "SKU-1", "2.00")


def test_a_refused_row_stays_beside_the_last_good_one(store: CatalogStore) -> None:
    """The last good row stays in use, survives the sweep, and the refused one goes when a good one comes (G7)."""
    load(store, 4)
    bad = RefusedRow(id_of(1), 7, "the price is negative", b'{"price":"-1"}')
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c2", 0, 2, 3, refused=[bad], completes_snapshot=True))
    assert len(dump(store)) == 4
    assert store.refused("products") == [("products", id_of(1), "the price is negative")]
    counted = [(id_of(1), 7), *[(id_of(n), 0) for n in (0, 2, 3)]]
    assert scaled(store.leaves("products").versions, 256) == leaves(counted)
    store.apply(page("c2", "c3", 1, fields={"row_version": 8}))
    assert store.refused("products") == []


def test_a_refused_row_goes_with_its_tombstone(store: CatalogStore) -> None:
    """What head office deleted is gone, refused or not."""
    load(store, 4)
    store.apply(
        page("c1", "c2", refused=[RefusedRow(id_of(1), 7, "bad", b"{}"), RefusedRow("sha256:1", 0, "bad", b"7")])
    )
    store.apply(page("c2", "c3", deleted_ids=[id_of(1)]))
    assert [row[1] for row in store.refused()] == ["sha256:1"]
    assert len(dump(store)) == 3


# A few rows each, whatever the shop sells.
SMALL = ("sqlite_schema", "journals", "lanes")


def traced(connection: Any, work: Any) -> list[str]:
    """The statements that some work runs, in order."""
    said: list[str] = []
    connection.set_trace_callback(said.append)
    work()
    connection.set_trace_callback(None)
    return [sql for sql in said if sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))]


def scans(connection: Any, statements: list[str]) -> list[str]:
    """Which of them walk a whole table."""
    plans = [row[3] for sql in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    return [plan for plan in plans if plan.startswith("SCAN") and not plan.endswith(SMALL) and " INDEX " not in plan]


def test_a_tills_look_ups_use_an_index(store: CatalogStore) -> None:
    """By id, SKU, barcode, category or words: no look-up walks the whole catalogue."""
    load(store)
    connection = store.database.connection

    def look_up() -> None:
        for column in ("id", "sku", "barcode", "category_id"):
            store.products_where(column, "x")
        store.search("prod 1", limit=10)
        store.stock("x")
        store.known_products(["x", "y"])

    statements = traced(connection, look_up)
    assert len(statements) >= 8
    assert scans(connection, statements) == []


def test_the_outbox_asks_by_index(agent: Any) -> None:
    """What is due, one sale, what a product's stock lacks: none of it walks the ledger."""
    connection = agent._journal.database.connection

    def ask() -> None:
        for lane in ("sales", "usages"):
            agent._outbox.due(lane, 1, count_max=10, bytes_max=1000)
        agent.sale("x")
        agent._journal.unseen_milli(["x"], {})
        agent._outbox.lane("sales")
        agent._journal.life()

    statements = traced(connection, ask)
    assert len(statements) >= 6
    assert scans(connection, statements) == []


def test_search_finds_what_people_type(store: CatalogStore) -> None:
    """Beginnings of words, without regard to accents, case or signs; names and SKUs."""
    store.begin_snapshot("products", "scope")
    names = ["Café Luwak 100 g", "Cola Zero", "COLA 330 ml", "Zero Cola"]
    write = PageWrite(
        dataset="products",
        asked_cursor=None,
        next_cursor="c1",
        rows=[row for n, name in enumerate(names) for row in rows(n, name=name, sku=f"AB-{n}X")],
        completes_snapshot=True,
    )
    store.apply(write)
    assert found(store, "cafe") == found(store, "CAFÉ") == found(store, "luw") == [id_of(0)]
    assert set(found(store, "cola")) == {id_of(1), id_of(2), id_of(3)}
    assert set(found(store, "zer col")) == {id_of(1), id_of(3)}
    assert found(store, "ab-2x") == [id_of(2)]
    assert len(found(store, "")) == 4
    for odd in ('"', "'", "*", "cola*", 'co"la', "NEAR(", "name:cola", "-", "(", "cola OR", "\x00", "%", "_" * 50):
        found(store, odd)


def test_search_works_while_the_first_load_is_under_way(store: CatalogStore) -> None:
    """Before the search index is made, words are still found."""
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c1", *range(3)))
    assert found(store, "product 2") == [id_of(2)]
    store.ensure_product_indexes()
    assert found(store, "product 2") == [id_of(2)]
    store.apply(page("c1", "c2", 4, completes_snapshot=True))
    assert found(store, "product 4") == [id_of(4)]


def test_the_best_of_several_is_the_active_newest(store: CatalogStore) -> None:
    """Of products that share a barcode the active, then the newest wins; none is hidden."""
    store.begin_snapshot("products", "scope")
    write = PageWrite(
        dataset="products",
        asked_cursor=None,
        next_cursor="c1",
        rows=[
            *rows(1, barcode="7", is_active=False, row_version=9),
            *rows(2, barcode="7", row_version=5),
            *rows(3, barcode="7", row_version=6),
        ],
        completes_snapshot=True,
    )
    store.apply(write)
    assert [json.loads(body)["id"] for body, _ in store.products_where("barcode", "7")] == [
        id_of(3),
        id_of(2),
        id_of(1),
    ]


def test_a_baseline_answer_may_hold_every_product(store: CatalogStore) -> None:
    """A baseline head office sends everything in one answer, and it is applied however long it is."""
    store.begin_snapshot("products", "scope")
    store.apply(page(None, "c1", completes_snapshot=True))
    # One more than any SQLite build takes variables in a statement (32,766 in most, 250,000 in some).
    many = [(id_of(n), None, "x", None, None, None, True, False, 0, 0, b"{}") for n in range(250_001)]
    store.apply(PageWrite(dataset="products", asked_cursor="c1", next_cursor="c2", rows=many, newer_only=True))
    assert store.count("products") == 250_001
