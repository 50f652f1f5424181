"""What is wrong with the catalogue's rows, found by SQL: the same as a plain look at each row would find."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.catalog import RefusedRow, RowReader
from edge_agent.storage.catalog import CatalogStore, PageWrite
from edge_agent.storage.checkout import Checkout
from edge_agent.storage.findings import RowFindings
from edge_agent.storage.promotions import Promotions

RUNS = 30


def id_of(number: int) -> str:
    return f"10000000-0000-4000-8000-{number:012d}"


def load(store: CatalogStore, dataset: str, *rows: dict[str, Any], refused: Any = (), whole: bool = True) -> None:
    """Takes a snapshot of these rows."""
    bodies = [json.dumps({"name": f"Row {n}", **row}).encode() for n, row in enumerate(rows)]
    read = RowReader(ordered_by_time=True).read(dataset, bodies)  # type: ignore[arg-type]
    assert not read.refused, read.refused
    store.begin_snapshot(dataset, "scope")
    store.apply(
        PageWrite(
            dataset=dataset,
            asked_cursor=None,
            next_cursor="c1",
            rows=read.good,
            refused=[RefusedRow(row_id, 1, "the price is negative", b"{}") for row_id in refused],
            completes_snapshot=whole,
            sweep_allowed=True,
            synced_ms=1,
        )
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CatalogStore]:
    store = CatalogStore(tmp_path / "catalog.db")
    yield store
    store.close()


def product(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": id_of(number), "price": "2.00", "sku": f"S{number}", **fields}


def test_the_winner_is_the_one_that_a_scan_gives(store: CatalogStore) -> None:
    """Of several products with one barcode the finding names the very one that a look-up returns, and the order too."""
    dice = random.Random(7)
    rows = [
        product(
            number,
            barcode="20001",
            sku=dice.choice([None, "S"]),
            price=dice.choice([None, "1.00", "2.00"]),
            is_active=dice.random() < 0.7,
            row_version=dice.randrange(3),
            updated_at=dice.choice([None, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"]),
            description="x" * dice.randrange(3),
        )
        for number in range(20)
    ]
    load(store, "products", *rows)
    looked_up = [json.loads(body)["id"] for body, _ in store.products_where("barcode", "20001")]
    assert [twin.id for twin in RowFindings(store).twins_of("barcode", "20001")] == looked_up


def test_what_is_no_code_is_no_duplicate(store: CatalogStore) -> None:
    """Products without a barcode, or with an empty one, are no duplicates of each other."""
    load(store, "products", product(1, barcode=""), product(2, barcode=""), product(3), product(4, barcode="7"))
    assert RowFindings(store).twins("barcode", 10) == (0, 0, [])


def test_twins_are_counted_all_and_listed_in_part(store: CatalogStore) -> None:
    """Doubtful ones apart from those that only inactive products share."""
    rows = [product(n, barcode=f"2{n // 2:03}", is_active=n >= 4 or n % 2 == 0) for n in range(20)]
    load(store, "products", *rows)
    doubted, quiet, listed = RowFindings(store).twins("barcode", 3)
    assert (doubted, quiet) == (8, 2)
    assert [value for value, _, active in listed if active > 1] == ["2002", "2003", "2004"]
    assert [value for value, _, active in listed if active < 2] == ["2000", "2001"]
    with pytest.raises(ValueError, match="name"):
        RowFindings(store).twins("name", 3)


def random_catalogue(dice: random.Random) -> tuple[list[Any], list[Any], list[str], list[str]]:
    categories = [
        {"id": id_of(900 + n), "parent_id": dice.choice([None, id_of(900), id_of(901), id_of(999)])} for n in range(4)
    ]
    products = [
        product(
            n,
            barcode=dice.choice([None, "", "1", "2", f"9{n}"]),
            sku=dice.choice([None, "A", f"S{n}"]),
            price=dice.choice([None, "1.00"]),
            is_active=dice.random() < 0.8,
            is_volatile=dice.random() < 0.2,
            category_id=dice.choice([None, id_of(900), id_of(999)]),
        )
        for n in range(dice.randrange(12))
    ]
    refused = [id_of(dice.randrange(20)) for _ in range(dice.randrange(3))]
    return categories, products, refused, [id_of(dice.choice([900, 950])) for _ in range(dice.randrange(2))]


def faulty_by_hand(categories: list[Any], products: list[Any], refused: list[str]) -> set[str]:
    """The faulty products, looked at one by one."""
    known = {row["id"] for row in categories}
    active = [row for row in products if row["is_active"]]
    faulty = set(refused)
    for row in active:
        if row["price"] is None and not row["is_volatile"]:
            faulty.add(row["id"])
        if row["category_id"] and row["category_id"] not in known:
            faulty.add(row["id"])
    for key in ("barcode", "sku"):
        for value in {row[key] for row in active if row[key]}:
            twins = [row for row in active if row[key] == value]
            # all of one age here: the most complete wins, then the lowest id
            twins.sort(key=lambda row: (row["price"] is None, row["sku"] is None, -length(row, products), row["id"]))
            faulty |= {row["id"] for row in twins[1:]}
    return faulty


def length(row: dict[str, Any], products: list[Any]) -> int:
    return len(json.dumps({"name": f"Row {products.index(row)}", **row}))


@pytest.mark.parametrize("indexed", [True, False])
def test_faulty_rows_are_those_a_plain_look_finds(tmp_path: Path, indexed: bool) -> None:
    """Random catalogues: each row counts once however much is wrong with it, with or without indexes."""
    for seed in range(RUNS):
        categories, products, refused, refused_categories = random_catalogue(random.Random(seed))
        store = CatalogStore(tmp_path / f"{seed}.db")
        load(store, "categories", *categories, refused=refused_categories)
        load(store, "products", *products, refused=refused, whole=indexed)
        rows = RowFindings(store)
        expected = faulty_by_hand(categories, products, refused)
        assert rows.faulty_products(with_homeless=True) == len(expected), f"seed {seed}"
        known = {row["id"] for row in categories}
        orphans = {row["id"] for row in categories if row["parent_id"] and row["parent_id"] not in known}
        assert rows.faulty_categories() == orphans | set(refused_categories), f"seed {seed}"
        ids = {row["id"] for row in (*categories, *products)} | set(refused) | set(refused_categories)
        assert rows.rows() == len(ids), f"seed {seed}"
        store.close()


def test_what_is_listed_has_names_and_what_it_lacks(store: CatalogStore) -> None:
    """Lists go by name and say what is missing."""
    load(store, "categories", {"id": id_of(1), "name": "Tea", "parent_id": id_of(9)}, {"id": id_of(2), "name": "Food"})
    load(
        store,
        "products",
        product(1, name="B", category_id=id_of(9), price=None),
        product(2, name="A", category_id=id_of(9), price=None),
        product(3, name="C", category_id=id_of(1)),
        product(4, name="Fuel", price=None, is_volatile=True),
        product(5, name="Off", price=None, is_active=False, category_id=id_of(9)),
        refused=[id_of(3), id_of(7)],
    )
    rows = RowFindings(store)
    assert rows.orphans(5) == (1, [(id_of(1), "Tea", id_of(9))])
    assert rows.homeless(1) == (2, [(id_of(2), "A", id_of(9))])
    assert [row.name for row in rows.unpriced(5)[1]] == ["A", "B"]
    assert [(row.id, row.name, row.in_use) for row in rows.refused("products", 5)] == [
        (id_of(3), "C", True),
        (id_of(7), None, False),
    ]
    assert rows.refused_counts() == {"products": 2}
    assert rows.shelf().stocked == {id_of(1), id_of(9)}
    assert rows.shelf().has_loose
    assert rows.products_of([id_of(3), id_of(5), id_of(99)]) == {
        id_of(3): (id_of(1), True),
        id_of(5): (id_of(9), False),
    }
    with pytest.raises(ValueError, match="sqlite"):
        rows.refused("sqlite_schema", 1)


def test_figures_of_one_validation_are_of_one_moment(store: CatalogStore, tmp_path: Path) -> None:
    """What is pulled meanwhile is not half seen."""
    load(store, "products", product(1))
    rows = RowFindings(store)
    if store.database.mode != "wal":
        pytest.skip("this SQLite keeps no WAL: a pull waits for the validation instead")
    with rows.reading():
        before = rows.rows()
        other = CatalogStore(tmp_path / "catalog.db")
        load(other, "products", product(1), product(2, price=None))
        other.close()
        assert (rows.rows(), rows.unpriced(9)) == (before, (0, []))
    assert (rows.rows(), rows.unpriced(9)[0]) == (before + 1, 1)


@pytest.mark.parametrize(
    ("total", "indexed"), [(20_000, True), (20_000, False), pytest.param(100_000, True, marks=pytest.mark.slow)]
)
def test_a_large_catalogue_is_looked_through_in_seconds(tmp_path: Path, total: int, indexed: bool) -> None:
    """One product in ten has a twin; memory does not grow with the catalogue."""
    store = CatalogStore(tmp_path / "catalog.db")
    load(store, "categories", *({"id": id_of(900_000 + n)} for n in range(300)))
    rows = [
        product(n, barcode=f"2{n % (total - total // 10):09}", category_id=id_of(900_000 + n % 301))
        for n in range(total)
    ]
    load(store, "products", *rows, whole=indexed)
    del rows
    look = RowFindings(store)
    tracemalloc.start()
    begun = time.perf_counter()
    doubted, _, listed = look.twins("barcode", 100)
    [look.twins_of("barcode", value) for value, _, _ in listed[: 100 if indexed else 5]]
    homeless, _ = look.homeless(100)
    unpriced, _ = look.unpriced(100)
    faulty = look.faulty_products(with_homeless=True)
    took, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    store.close()
    assert (doubted, unpriced, homeless) == (total // 10, 0, total // 301)
    assert total // 10 < faulty <= total // 10 + homeless
    print(f"\n{took:.2f} s, {peak / 1024:.0f} KiB, {'with' if indexed else 'without'} indexes")
    assert took < 20, "seconds on a slow machine, not minutes"
    assert peak < 1024 * 1024


# ---- promotions by name, and what a checkout asks ------------------------------------------------------------------


def test_promotions_are_found_by_code_and_id_refused_ones_too(store: CatalogStore) -> None:
    """As people type it: exactly first, else without regard to capitals."""
    load(store, "promotions", {"id": id_of(1), "code": "TEA10"}, {"id": id_of(2), "code": "tea10"}, {"id": id_of(3)})
    bad = [
        RefusedRow(id_of(4), 1, "rules is not an object", b'{"code": "BAD", "name": "Bad", "rules": 7}'),
        RefusedRow("sha256:1", 1, "not JSON", b"\xff{"),
    ]
    store.apply(PageWrite(dataset="promotions", asked_cursor="c1", next_cursor="c2", refused=bad, synced_ms=5))
    promotions = Promotions(store)

    def ids(key: str) -> list[str]:
        return [json.loads(body)["id"] for body in promotions.named(key)]

    assert ids("TEA10") == [id_of(1)]
    assert ids(" Tea10") == [id_of(1), id_of(2)]
    assert ids(id_of(3)) == [id_of(3)]
    assert ids("nothing") == []
    assert [(one.id, one.name, one.reason) for one in promotions.refused("bad")] == [
        (id_of(4), "Bad", "rules is not an object")
    ]
    assert [one.id for one in promotions.refused(id_of(4))] == [id_of(4)]
    assert promotions.refused("") == []


def test_alternatives_go_by_the_nearest_price_then_by_name(store: CatalogStore) -> None:
    """Equally far away in decimals is equally far away, whatever floating point makes of it."""
    tea = id_of(900)
    prices = {"a": "7.10", "b": "6.90", "c": "7.00", "d": None, "e": "9.00", "f": "7.00", "g": "0.10"}
    rows = [product(n, name=name, price=price, category_id=tea) for n, (name, price) in enumerate(prices.items())]
    rows += [
        product(50, name="off", category_id=tea, is_active=False),
        product(51, name="else", category_id=id_of(901)),
    ]
    load(store, "products", *rows)
    checkout = Checkout(store)

    def names(near: str | None, limit: int = 9) -> list[str]:
        found = checkout.alternatives(tea, but=id_of(2), near=near and Decimal(near), limit=limit)
        return [json.loads(body)["name"] for body, _ in found]

    assert names("7.00") == ["f", "a", "b", "e", "g"]
    assert names("7.00", 2) == ["f", "a"]
    assert names(None) == ["a", "b", "e", "f", "g"]


def test_alternatives_use_the_index(store: CatalogStore) -> None:
    """A till asks before payment: no walk over the whole catalogue (G9)."""
    load(store, "products", product(1, category_id=id_of(900)))
    connection, asked = store.database.connection, []
    connection.set_trace_callback(asked.append)
    Checkout(store).alternatives(id_of(900), but=id_of(2), near=Decimal("7.00"), limit=5)
    connection.set_trace_callback(None)
    plans = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert any("products_by_category" in plan for plan in plans), plans
    assert not any(plan.startswith("SCAN") for plan in plans)
