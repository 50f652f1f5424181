"""The catalogue compared with head office's: digests kept up, leaves mended, drift listed (contract, section 6)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.domain.digest import leaves, scaled

Make = Callable[..., Any]
PRODUCTS = 600


@pytest.fixture
def till(make_till: Make, make_office: Make, tiny_with: Make) -> Any:
    """A till with some hundred products, synced, its requests forgotten."""
    till = make_till(make_office(data=tiny_with(PRODUCTS)))
    till.agent.sync()
    till.office.clear_requests()
    return till


def id_of(number: int) -> str:
    return f"10000000-0000-4000-8000-{number:012d}"


def spoil(till: Any, statement: str, *values: object) -> None:
    """Change the catalogue behind the agent's back."""
    with till.agent._store.database.immediate() as connection:
        connection.execute(statement, values)


def kept_up(till: Any, dataset: str) -> bool:
    """Whether the kept-up digest is that of the rows themselves, and that of head office."""
    store, office = till.agent._store, till.office
    mine = store.leaves(dataset)
    scope = office.world.device_scope(dataset)
    count, theirs = office.world.feed.digest(scope, 256)
    by_rows = store.computed_leaves(dataset)
    return not mine.differing(by_rows) and mine.count == count and scaled(mine.versions, 256) == theirs


def all_kept_up(till: Any) -> bool:
    return all(kept_up(till, dataset) for dataset in ("categories", "products", "promotions"))


def test_the_digest_follows_every_change(till: Any) -> None:
    """Edits, tombstones, refusals, their mending and new rows: the kept-up digest is head office's after each sync."""
    world, dice = till.office.world, random.Random(4)
    assert all_kept_up(till)
    for turn in range(12):
        for _ in range(dice.randrange(1, 40)):
            row_id = id_of(dice.randrange(PRODUCTS))
            try:
                what = dice.randrange(5)
                if what == 0:
                    world.delete("products", row_id)
                elif what == 1:
                    world.edit("products", row_id, price="-1.00")  # refused, and counted all the same
                else:
                    world.edit("products", row_id, price=f"{dice.randrange(100, 999)}.00", is_active=what != 2)
            except KeyError:
                world.upsert(
                    "products", {"id": row_id, "brand_id": till.office.brand_id, "name": "Again", "price": "1"}
                )
        till.agent.sync(full=turn % 5 == 4)
        assert all_kept_up(till), turn
    assert till.agent._store.refused_count("products")


def test_a_digest_nobody_kept_up_is_made_anew(till: Any) -> None:
    """After an update, or a time against a baseline head office, the digest is made from the rows once."""
    spoil(till, "UPDATE datasets SET leaves_kept = 0")
    spoil(till, "DELETE FROM leaves")
    till.office.world.edit("products", till.cola, price="1.00")
    till.agent.sync()
    assert all_kept_up(till)


def test_a_row_changed_a_row_missing_a_row_extra_are_found_and_mended(till: Any) -> None:
    """Each is listed by id and kind; nothing changes without repair; with it the catalogue is head office's again."""
    spoil(till, "UPDATE products SET price = '0.01' WHERE id = ?", id_of(1))
    spoil(till, "DELETE FROM products WHERE id = ?", id_of(2))
    body = json.dumps({"id": id_of(9_999), "name": "Ghost", "row_version": 5})
    spoil(
        till,
        "INSERT INTO products (id, name, is_active, is_volatile, row_version, updated_us, generation, body) "
        "VALUES (?, 'Ghost', 1, 0, 5, 0, 1, ?)",
        id_of(9_999),
        body.encode(),
    )
    found = till.agent.verify_catalogue()
    expected = [(id_of(1), "stale"), (id_of(2), "missing"), (id_of(9_999), "extra")]
    assert sorted((one.id, one.kind) for one in found.drift) == expected
    assert not found.repaired
    assert found.in_sync == {"categories": True, "products": False, "promotions": True}
    assert till.agent.catalog.by_id(id_of(9_999)) is not None

    found = till.agent.verify_catalogue(repair=True)
    assert sorted((one.id, one.kind) for one in found.drift) == expected
    assert found.repaired == 3
    assert found.fetched < PRODUCTS / 10, "only the leaves that differ come over the line"
    assert all(found.in_sync.values())
    assert till.catalogue_agrees()
    assert str(till.agent.catalog.by_id(id_of(1)).price) == "1001.00"
    assert all_kept_up(till)
    assert not till.agent.verify_catalogue().drift
    assert "catalogue mended" in [incident["kind"] for incident in till.agent.status()["incidents"]]


@pytest.mark.parametrize("column", ["body", "price", "row_version", "name", "sku"])
def test_damage_to_any_part_of_a_row_is_found(till: Any, column: str) -> None:
    """Bytes, look-up columns and versions: whatever of a row is not as head office sent it."""
    values = {"body": b'{"id": "x"}', "price": "9.99", "row_version": 1, "name": "?", "sku": "?"}
    spoil(till, f"UPDATE products SET {column} = ? WHERE id = ?", values[column], id_of(7))
    assert [(one.id, one.kind) for one in till.agent.verify_catalogue(repair=True).drift] == [(id_of(7), "stale")]
    assert till.catalogue_agrees()
    assert not till.agent.verify_catalogue().drift


@pytest.mark.parametrize(("column", "value"), [("body", "'{}'"), ("body", "1.5"), ("row_version", "'x'")])
def test_a_column_of_another_type_is_found_and_mended(till: Any, column: str, value: str) -> None:
    """Whatever somebody's UPDATE or damage put into a column: comparing does not end there."""
    spoil(till, f"UPDATE products SET {column} = {value} WHERE id = ?", id_of(7))
    assert [one.id for one in till.agent.verify_catalogue(repair=True).drift] == [id_of(7)]
    assert till.catalogue_agrees()


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b"\xff", "text"])
def test_a_spoilt_row_stops_no_till(till: Any, body: object) -> None:
    """Until it comes anew a row that can't be read is left out of every look-up, and the others are found."""
    catalog, water = till.agent.catalog, till.agent.catalog.by_id(till.water)
    for table in ("products", "categories", "promotions"):
        spoil(till, f"UPDATE {table} SET body = ? WHERE id = (SELECT min(id) FROM {table})", body)
    spoil(till, "UPDATE products SET body = ? WHERE id = ?", body, till.cola)
    assert catalog.by_id(till.cola) is None
    assert catalog.by_id(till.water) == water
    assert till.cola not in [one.id for one in catalog.search("").products]
    catalog.categories()
    catalog.promotions()
    catalog.all_promotions()
    assert [line.ok for line in catalog.check([till.cola, till.water])] == [False, True]
    till.sell()
    till.agent.status()
    till.agent.health()
    till.agent.verify_catalogue(repair=True)
    assert till.catalogue_agrees()


def test_a_cycle_compares_when_it_is_due_and_mends(till: Any) -> None:
    """Nobody at the keyboard: six hours on, digests are compared, and what lacks here comes (G10)."""
    with till.agent._store.database.immediate() as connection:
        connection.execute("DELETE FROM products WHERE id = ?", (id_of(3),))
        connection.execute("UPDATE datasets SET leaves_kept = 0 WHERE name = 'products'")
    till.clock.advance(hours=6.1)
    report = till.poll()
    assert report.verified == {
        "in_sync": True,
        "drift": 1,
        "repaired": 1,
        "datasets": {"categories": True, "products": True, "promotions": True},
    }
    assert till.catalogue_agrees()
    assert till.agent.status()["datasets"]["products"]["verified_at"] is not None


def test_once_a_day_every_row_is_looked_at(till: Any) -> None:
    """Damage that changes no version is found within a day, by itself."""
    spoil(till, "UPDATE products SET price = '0.01' WHERE id = ?", id_of(3))
    for _ in range(5):
        till.clock.advance(hours=6.1)
        till.poll()
    assert till.catalogue_agrees()
    assert str(till.agent.catalog.by_id(id_of(3)).price) == "1003.00"


def moves_on(till: Any) -> list[Any]:
    """Head office changes a row whenever its digest is asked for."""
    edits: list[Any] = []

    def intercept(method: str, path: str) -> Any:
        if "/digest/" in path:
            edits.append(till.office.world.edit("products", till.cola, price=f"{len(edits) + 1}.00"))
        return None

    till.office.intercept = intercept
    return edits


def test_comparing_waits_for_the_same_cursor(till: Any) -> None:
    """Head office moves on while digests are compared: it is pulled and compared again, three times, then postponed."""
    edits = moves_on(till)
    till.clock.advance(hours=6.1)
    report = till.poll()
    assert report.verified["datasets"] == {"categories": True, "products": None, "promotions": True}
    assert len(edits) == 5  # once each for the others
    till.office.intercept = None
    till.clock.advance(660)
    assert till.poll().verified["in_sync"] is True


def test_digests_that_never_can_be_compared_are_told_and_lists_taken(till: Any) -> None:
    """A head office whose digest never stands at our cursor is not asked every ten minutes for ever: whole lists come
    daily instead, status says so, and damage here does not stay (G10, G11)."""
    moves_on(till)
    spoil(till, "UPDATE products SET price = '0.01' WHERE id = ?", id_of(3))
    for _ in range(3 * 24):
        till.clock.advance(hours=1)
        till.poll()
    assert till.paths().count("GET digest") < 150
    assert "never stands" in till.agent.status()["datasets"]["products"]["differs"]
    assert str(till.agent.catalog.by_id(id_of(3)).price) == "1003.00"
    till.office.intercept = None
    for _ in range(8):
        till.clock.advance(hours=1)
        till.poll()
    assert till.agent.status()["datasets"]["products"]["differs"] is None


def test_without_a_digest_rows_are_compared(
    make_till: Make, make_office: Make, tiny_with: Make, monkeypatch: Any
) -> None:
    """A native head office without the ability is compared row by row, and its whole list is taken daily."""
    from ho_stub import version

    monkeypatch.setattr(version, "CAPABILITIES", tuple(c for c in version.CAPABILITIES if c != "digest"))
    till = make_till(make_office(data=tiny_with(30)))
    spoil(till, "UPDATE products SET price = '0.01' WHERE id = ?", id_of(1))
    spoil(till, "DELETE FROM products WHERE id = ?", id_of(2))
    found = till.agent.verify_catalogue()
    assert [(one.id, one.kind) for one in found.drift] == [(id_of(1), "stale"), (id_of(2), "missing")]
    assert found.in_sync["products"] is False
    till.clock.advance(hours=25)
    till.poll()
    assert till.catalogue_agrees()
    assert str(till.agent.catalog.by_id(id_of(1)).price) == "1001.00"
    spoil(till, "DELETE FROM products WHERE id = ?", id_of(2))
    assert till.agent.verify_catalogue(repair=True).repaired == 1
    assert till.catalogue_agrees()


def test_sums_that_are_wrong_themselves_are_made_anew(till: Any, monkeypatch: Any) -> None:
    """A program of the version before pulled and kept no sums, or the sums were damaged: no row is moved for it."""
    from edge_agent.sync import verify

    monkeypatch.setattr(verify, "_SNAPSHOT_FROM_ROWS", 100)
    spoil(till, "UPDATE leaves SET versions = versions + 1, contents = 5")
    till.clock.advance(hours=6.1)
    report = till.poll()
    assert report.verified["in_sync"] is True
    assert all_kept_up(till)
    spoil(till, "DELETE FROM leaves")
    found = till.agent.verify_catalogue(repair=True)
    assert not found.drift
    assert all(found.in_sync.values())
    assert all_kept_up(till)


def test_a_digest_that_never_agrees_is_told_and_not_mended_for_ever(till: Any, monkeypatch: Any) -> None:
    """Head office's own digest is wrong: its rows are compared, nothing is moved, and status says so (G11)."""
    feed = till.office.world.feed
    honest = feed.digest

    def lies(scope: Any, count: int) -> Any:
        return (PRODUCTS + 3, ["00" * 8] * count) if scope.dataset == "products" else honest(scope, count)

    monkeypatch.setattr(feed, "digest", lies)
    found = till.agent.verify_catalogue(repair=True, dataset="products")
    assert not found.drift
    assert found.in_sync == {"products": False}
    assert "rows are the same" in till.agent.status()["datasets"]["products"]["differs"]
    till.clock.advance(hours=6.1)
    till.poll()
    till.office.clear_requests()
    for _ in range(30):
        till.clock.advance(60)
        till.poll()
    assert "GET digest" not in till.paths()


def test_an_answer_that_contradicts_the_digest_deletes_nothing(till: Any) -> None:
    """Head office cuts the rows of a leaf short: what it did not send stays, what it sent comes, and it is told."""
    spoil(till, "DELETE FROM products WHERE id < ?", id_of(300))
    missing = till.agent.status()["datasets"]["products"]["count"]
    feed, honest = till.office.world.feed, till.office.world.feed.leaves
    feed.leaves = lambda *arguments: honest(*arguments)[:1]  # type: ignore[method-assign]
    found = till.agent.verify_catalogue(repair=True)
    assert [dataset for dataset, _ in found.errors] == ["products"]
    assert not [one for one in found.drift if one.kind == "extra"]
    assert missing < till.agent.status()["datasets"]["products"]["count"]
    assert till.catalogue_agrees()  # a snapshot brought the rest


def test_hex_digits_in_any_form_are_read(till: Any, monkeypatch: Any) -> None:
    """Upper case, or without leading zeros: the same number."""
    feed = till.office.world.feed
    honest = feed.digest

    def shouts(scope: Any, count: int) -> Any:
        rows, values = honest(scope, count)
        return rows, [value.upper().lstrip("0") or "0" for value in values]

    monkeypatch.setattr(feed, "digest", shouts)
    found = till.agent.verify_catalogue(repair=True)
    assert found.fetched == 0
    assert all(found.in_sync.values())


def test_one_row_alone_is_compared(till: Any) -> None:
    """``only`` fetches that row's leaf, and says and mends nothing of others."""
    spoil(till, "DELETE FROM products WHERE id IN (?, ?)", id_of(1), id_of(2))
    found = till.agent.verify_catalogue(repair=True, only=id_of(1))
    assert [(one.id, one.kind) for one in found.drift] == [(id_of(1), "missing")]
    assert till.agent.catalog.by_id(id_of(1)) is not None
    assert till.agent.catalog.by_id(id_of(2)) is None


def test_a_refused_row_is_not_mended_for_ever(till: Any) -> None:
    """A row that can't be used counts in the digest with its version, so that nothing differs."""
    till.office.world.edit("products", id_of(4), price="-5.00")
    till.agent.sync()
    assert till.agent._store.refused_count("products") == 1
    found = till.agent.verify_catalogue(repair=True)
    assert not found.drift
    assert all(found.in_sync.values())


def test_a_row_spoilt_once_on_its_way_is_asked_for_again(till: Any) -> None:
    """A refused row counts with its version, so that digests agree: each day it is asked for again all the same."""
    till.office.world.edit("products", id_of(4), price="5.00")
    row = till.office.world.get("products", id_of(4))
    cursor = till.office.world.feed.cursor_at_head(till.office.world.device_scope("products")).text()
    page = {"products": [{**row, "price": "?"}], "next_cursor": cursor, "has_more": False, "snapshot": False}
    till.office.intercept = lambda _, path: (200, {}, page) if "/products/" in path else None
    till.agent.sync()
    till.office.intercept = None
    assert till.agent._store.refused_count("products") == 1
    for _ in range(5):
        till.clock.advance(hours=6.1)
        till.poll()
    assert till.agent._store.refused_count("products") == 0
    assert till.catalogue_agrees()


def test_head_office_with_fewer_leaves_is_understood(till: Any) -> None:
    """A digest of 16 leaves is compared as well as one of 256."""
    world = till.office.world

    def coarse(method: str, path: str) -> Any:
        if "/digest/" not in path:
            return None
        count, values = world.feed.digest(world.device_scope("products"), 16)
        cursor = world.feed.cursor_at_head(world.device_scope("products")).text()
        return 200, {}, {"dataset": "products", "cursor": cursor, "count": count, "leaves": values}

    spoil(till, "DELETE FROM products WHERE id = ?", id_of(5))
    till.office.intercept = coarse
    found = till.agent.verify_catalogue(repair=True, dataset="products")
    assert [(one.id, one.kind) for one in found.drift] == [(id_of(5), "missing")]
    assert found.in_sync == {"products": True}


def test_a_baseline_head_office_is_compared_row_by_row(make_till: Make, make_office: Make, tiny_with: Make) -> None:
    """Without digests the whole list is fetched; drift is listed the same way, and mended by a snapshot."""
    till = make_till(make_office(data=tiny_with(30), profile="baseline"))
    till.agent.sync()
    spoil(till, "UPDATE products SET price = '0.01' WHERE id = ?", id_of(1))
    spoil(till, "DELETE FROM products WHERE id = ?", id_of(2))
    till.office.world.delete("products", id_of(3))  # no tombstone tells of it
    found = till.agent.verify_catalogue()
    kinds = {(one.id, one.kind) for one in found.drift}
    assert kinds == {(id_of(1), "stale"), (id_of(2), "missing"), (id_of(3), "extra")}
    assert till.agent.verify_catalogue(repair=True).repaired == 3
    assert till.catalogue_agrees()
    assert not till.agent.verify_catalogue().drift


def test_leaves_over_pairs_equal_leaves_of_rows() -> None:
    """Sums of 256 leaves, folded into fewer, are the leaves of fewer."""
    rows = [(id_of(number), number) for number in range(500)]
    fine = [int(value, 16) for value in leaves(rows)]
    for count in (1, 2, 7, 16, 100, 256):
        assert scaled(fine, count) == leaves(rows, count)


def test_an_unchanged_cycle_is_one_request_and_no_write(till: Any) -> None:
    """Nothing changed: the version is asked, 304, and no database is written."""
    changes = till.agent._store.database.connection.total_changes
    till.poll()
    assert till.paths() == ["GET version"]
    assert till.agent._store.database.connection.total_changes == changes
