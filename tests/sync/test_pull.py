"""Bringing the catalogue down from a native head office."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from edge_agent import Item
from ho_stub.testing import HeadOffice

Make = Callable[..., Any]


def files_of(till: Any) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in till.agent.home.glob("*.db*") if not file.name.endswith("-shm")}


def intercepting(office: HeadOffice, part: str, *, after: int = 0, answer: Any = (503, {}, {"error": "busy"})) -> None:
    """From the ``after``-th request to a path on, answer in head office's place."""
    seen = 0

    def intercept(method: str, path: str) -> Any:
        nonlocal seen
        if part not in path:
            return None
        seen += 1
        return answer if seen > after else None

    office.intercept = intercept


def test_a_first_sync_brings_everything(make_till: Make, make_office: Make, tiny_with: Make) -> None:
    """A snapshot in pages is exactly head office's rows, with every field they have."""
    till = make_till(make_office(data=tiny_with(45)), synced=False, page_rows=10)
    report = till.agent.sync()
    assert not report.errors
    assert (report.pulled["products"].pages, report.pulled["products"].snapshot) == (5, True)
    assert till.catalogue_agrees()
    assert till.agent.catalog.by_barcode("5000112546415").price == Decimal("7500.00")
    assert till.agent.catalog.by_sku("SKU-7").price == Decimal("1007.00")
    assert till.agent.catalog.search("product 4").total == 6
    assert [category.name for category in till.agent.catalog.categories()] == ["Drinks", "Bakery"]


def test_a_delta_brings_what_changed(till: Any) -> None:
    """Edits, new rows and tombstones come, and nothing else is touched."""
    world = till.office.world
    world.edit("products", till.cola, price="8000.00", name="Cola 0.33 l", allergens=["none"])
    world.delete("products", till.water)
    world.delete("promotions", till.deal)
    world.upsert("categories", {"id": till.nobody, "name": "Snacks", "parent_id": None})
    report = till.agent.sync()
    pulled = report.pulled["products"]
    assert (pulled.upserts, pulled.deletes, pulled.snapshot) == (1, 1, False)
    assert till.catalogue_agrees()
    cola = till.agent.catalog.by_id(till.cola)
    assert (cola.price, cola.fields["allergens"]) == (Decimal("8000.00"), ["none"])
    assert till.agent.catalog.by_id(till.water) is None
    assert till.agent.catalog.search("0.33").total == 1
    assert till.agent.catalog.all_promotions() == ()


def test_a_deactivated_product_stays_known(till: Any) -> None:
    """A deactivated product is an upsert: the till still knows it, and knows that it is off."""
    till.office.world.edit("products", till.cola, is_active=False)
    till.agent.sync()
    assert till.agent.catalog.by_id(till.cola).is_active is False


def test_an_unchanged_catalogue_costs_one_request_and_no_write(till: Any) -> None:
    """Nothing new: one request, and not one byte of either database changes."""
    till.agent.sync()
    till.office.clear_requests()
    before = files_of(till)
    changes = till.agent._store.database.connection.total_changes, till.agent._journal.database.connection.total_changes
    assert till.agent.sync().unchanged
    assert till.paths() == ["GET version"]
    assert files_of(till) == before
    assert changes == (
        till.agent._store.database.connection.total_changes,
        till.agent._journal.database.connection.total_changes,
    )
    assert till.agent.status()["last_success_at"]


def test_an_interrupted_snapshot_goes_on_where_it_was(make_till: Make, make_office: Make, tiny_with: Make) -> None:
    """Pages that came are in use; the next sync asks for the rest, not for everything again (G5)."""
    till = make_till(make_office(data=tiny_with(45)), synced=False, page_rows=10)
    intercepting(till.office, "products/", after=2, answer=(503, {"Retry-After": "600"}, {"error": "busy"}))
    report = till.agent.sync()
    assert [error.code for error in report.errors] == ["UNREACHABLE"]
    assert till.agent.status()["datasets"]["products"]["in_snapshot"]
    assert till.agent._store.count("products") == 20
    assert till.agent.catalog.search("product").total > 0
    till.office.intercept = None
    till.office.clear_requests()
    till.clock.advance(601)
    assert not till.agent.sync().errors
    assert till.paths().count("GET products") == 4  # three pages, and the delta behind them
    assert till.catalogue_agrees()


def test_a_row_deleted_during_a_snapshot_is_gone(make_till: Make, make_office: Make, tiny_with: Make) -> None:
    """What head office changes while a snapshot is read comes with the delta behind it."""
    office = make_office(data=tiny_with(45))
    till = make_till(office, synced=False, page_rows=10)
    intercepting(office, "products/", after=2, answer=(503, {"Retry-After": "600"}, {"error": "busy"}))
    till.agent.sync()
    office.intercept = None
    office.world.delete("products", "10000000-0000-4000-8000-000000000001")
    office.world.edit("products", "10000000-0000-4000-8000-000000000002", price="1.00")
    till.clock.advance(601)
    assert not till.agent.sync().errors
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()


def test_a_refused_row_leaves_the_last_good_one_in_use(till: Any) -> None:
    """A row that breaks the contract is kept beside the last good one, shown, and healed by a good one (G7)."""
    world = till.office.world
    world.edit("products", till.cola, price="-1.00")
    world.edit("promotions", till.deal, rules={"error": "no such product"})
    world.edit("products", till.water, price="3600.00")
    report = till.agent.sync()
    assert not report.errors
    assert (report.pulled["products"].refused, report.pulled["promotions"].refused) == (1, 1)
    assert till.agent.catalog.by_id(till.cola).price == Decimal("7500.00")
    assert till.agent.catalog.by_id(till.water).price == Decimal("3600.00")
    assert till.agent.status()["datasets"]["products"]["refused"] == 1
    assert till.agent.sync(full=True).pulled["products"].deletes == 0
    assert till.agent.catalog.by_id(till.cola).price == Decimal("7500.00")
    world.edit("products", till.cola, price="1.00")
    till.agent.sync()
    assert till.agent.status()["datasets"]["products"]["refused"] == 0
    assert till.agent.catalog.by_id(till.cola).price == Decimal("1.00")


def test_a_full_sync_sweeps(till: Any) -> None:
    """A snapshot removes what head office does not have."""
    connection = till.agent._store.database.connection
    row = connection.execute("SELECT * FROM products WHERE id = ?", (till.cola,)).fetchone()
    body = row[-1].replace(till.cola.encode(), till.nobody.encode())
    connection.execute(
        f"INSERT INTO products VALUES ({', '.join('?' * len(row))})", (99, till.nobody, *row[2:-1], body)
    )
    assert not till.catalogue_agrees()
    report = till.agent.sync(full=True)
    assert report.pulled["products"].deletes == 1
    assert till.catalogue_agrees()


def _empty_page(till: Any) -> Any:
    cursor = till.agent._store.state("products").cursor
    page = {
        "products": [], "deleted_ids": [], "sync_timestamp": "2026-01-01T00:00:00Z", "total": 0, "total_available": 0,
        "next_cursor": cursor, "has_more": False, "snapshot": True,
    }  # fmt: skip
    return (200, {"X-HO-Epoch": till.office.world.epoch}, page)


def test_a_snapshot_that_lacks_nearly_everything_is_held(till: Any) -> None:
    """An empty answer over a full table is not believed, unless head office's digest says so or a person does."""
    intercepting(till.office, "products/", answer=_empty_page(till))
    report = till.agent.sync(full=True)
    assert report.pulled["products"].held == 3
    assert till.agent.catalog.search("").total == 3
    status = till.agent.status()
    assert status["datasets"]["products"]["held_sweep"] == 3
    till.agent.sync(full=True, accept_sweep=True)
    assert till.agent.catalog.search("").total == 0
    assert till.agent.status()["datasets"]["products"]["held_sweep"] is None
    till.office.intercept = None
    till.agent.sync(full=True)
    assert till.catalogue_agrees()


def test_a_large_sweep_that_head_office_confirms_is_taken(till: Any) -> None:
    """Where count and digest agree, a sweep of any size is taken at once."""
    world = till.office.world
    with world.db.write():  # deleted without tombstones, as after a restore that nobody told of
        world.db.run("DELETE FROM feed WHERE dataset = 'products' AND id <> ?", (till.cola,))
    report = till.agent.sync(full=True)
    assert not report.errors
    assert (report.pulled["products"].held, report.pulled["products"].deletes) == (0, 2)
    assert till.catalogue_agrees()


@pytest.mark.parametrize(
    "lost",
    [(410, {}, {"error": "gone", "code": "CURSOR_EXPIRED"}), (400, {}, {"error": "no", "code": "INVALID_CURSOR"})],
)
def test_a_lost_cursor_is_answered_by_a_snapshot(till: Any, lost: Any) -> None:
    """A cursor head office no longer knows costs one snapshot, and no row."""
    world = till.office.world
    world.edit("products", till.cola, price="8000.00")
    count = 0

    def intercept(method: str, path: str) -> Any:
        nonlocal count
        if "products/" in path:
            count += 1
            return lost if count == 1 else None
        return None

    till.office.intercept = intercept
    report = till.agent.sync()
    assert not report.errors
    assert report.pulled["products"].snapshot
    assert count == 2
    assert till.catalogue_agrees()


def test_a_cursor_lost_for_ever_does_not_hammer(till: Any) -> None:
    """A snapshot that ends in the same 410 stops, says so and keeps the rows."""
    intercepting(till.office, "products/", answer=(410, {}, {"error": "gone", "code": "CURSOR_EXPIRED"}))
    till.office.world.edit("products", till.cola, price="8000.00")
    report = till.agent.sync()
    assert [error.code for error in report.errors] == ["CONTRACT_BROKEN"]
    assert till.paths().count("GET products") <= 2
    assert till.agent.catalog.search("").total == 3


@pytest.mark.parametrize("new_epoch", [True, False])
def test_a_restored_head_office_is_followed(till: Any, new_epoch: bool) -> None:
    """After head office was restored from a backup the catalogue equals it again, told or not (G10)."""
    world = till.office.world
    backup = world.snapshot()
    world.edit("products", till.cola, price="8000.00")
    world.delete("products", till.water)
    world.upsert("products", {"id": till.nobody, "name": "New", "price": "1.00", "brand_id": till.office.brand_id})
    till.agent.sync()
    assert till.catalogue_agrees()
    world.restore(backup, new_epoch=new_epoch)
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()
    assert till.agent.status()["head_office"]["epoch"] == world.epoch


def test_an_epoch_that_changes_in_the_middle_discards_the_cycle(
    make_till: Make, make_office: Make, tiny_with: Make
) -> None:
    """Pages of two lives of head office are never mixed; the next cycle starts anew."""
    office = make_office(data=tiny_with(45))
    till = make_till(office, synced=False, page_rows=10)
    backup, count = office.world.snapshot(), 0

    def intercept(method: str, path: str) -> Any:
        nonlocal count
        count += "products/" in path
        if count == 3:
            count += 1
            office.world.restore(backup)
        return None

    office.intercept = intercept
    assert [error.code for error in till.agent.sync().errors] == ["CONTRACT_BROKEN"]
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()


def test_force_update_takes_one_snapshot(till: Any) -> None:
    """``force_update`` means a full snapshot now, once for each version."""
    till.office.world.set_force_update()
    assert till.agent.sync().pulled["products"].snapshot
    till.office.clear_requests()
    assert till.agent.sync().unchanged
    assert till.paths() == ["GET version"]


def test_a_changed_scope_starts_anew(till: Any, open_agent: Make) -> None:
    """A device moved to another brand or store does not go on with the old one's cursor."""
    agent = open_agent(till.agent.home, brand_id=till.nobody)
    errors = agent.sync().errors
    assert errors
    assert agent.catalog.search("").total == 3
    assert agent._store.state("products").cursor is None or agent._store.state("products").in_snapshot


def test_stock_is_head_offices_figure_less_our_own_sales(till: Any) -> None:
    """What is available follows each own sale at once, and stays the same when head office has counted it."""

    def available() -> Decimal:
        stock = till.agent.catalog.stock(till.cola)
        assert stock is not None
        return stock.available

    assert available() == 48
    sale = till.sell(quantity="2.500")
    till.sell(quantity="1", kind="refund", refers_to=sale.external_id)
    assert available() == Decimal("46.5")
    assert till.agent.catalog.stock(till.cola).quantity == 48
    till.agent.sync()
    assert till.agent.catalog.stock(till.cola).quantity == available() == Decimal("46.5")
    till.office.world.set_stock(till.cola, "10")
    till.sell(quantity="1")
    till.agent.sync()
    assert available() == 9
    assert till.agent.catalog.stock(till.bread) is None


def test_quarantined_goods_have_left_the_shop(till: Any) -> None:
    """A sale that head office refuses still took the goods: they are not available."""
    till.agent.record_sale([Item(till.cola, "5", "7500.00"), Item(till.nobody, "1", "1.00")])
    report = till.agent.sync()
    assert report.pushed.rejected == 1
    stock = till.agent.catalog.stock(till.cola)
    assert (stock.quantity, stock.available) == (48, 43)
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    till.agent.retry()
    till.agent.sync()
    stock = till.agent.catalog.stock(till.cola)
    assert (stock.quantity, stock.available) == (43, 43)


def test_stock_is_asked_when_it_is_old(till: Any, clock: Any) -> None:
    """Other tills' sales move the figures without a version: they are asked for when they are old."""
    till.office.world.set_stock(till.cola, "7")
    assert till.agent.sync().unchanged
    assert till.agent.catalog.stock(till.cola).quantity == 48
    clock.advance(till.agent.settings.stock_interval_s + 1)
    assert till.agent.sync().unchanged
    assert till.agent.catalog.stock(till.cola).quantity == 7


def test_a_stock_row_that_is_none_is_refused(till: Any) -> None:
    """A figure that is no number does not hide the others."""
    seen = {"contiguous_seq": 0, "beyond": []}
    good = {"product_id": till.cola, "quantity": 7, "reorder_level": None}
    bad = [{"product_id": till.water, "quantity": "many"}, {"product_id": "x", "quantity": "1"}, 7, {"quantity": "1"}]
    page = {"stock": [*bad, good], "deleted_ids": [], "next_cursor": "c", "has_more": False, "seen": seen}
    intercepting(till.office, "stock/", answer=(200, {"X-HO-Epoch": till.office.world.epoch}, page))
    till.sell(till.water, price="3500.00")
    report = till.agent.sync()
    assert not report.errors
    assert report.pulled["stock"].refused == 4
    assert till.agent.catalog.stock(till.cola).quantity == 7
    assert till.agent.catalog.stock(till.water).quantity == 120


def test_promotions_follow_the_stores_day(till: Any) -> None:
    """A promotion that leaves the window because a day passed leaves the till too, though nobody edited it."""
    import datetime as dt

    world = till.office.world
    today = world.today()
    tomorrow = today + dt.timedelta(days=9)
    world.upsert(
        "promotions",
        {
            "id": till.nobody,
            "name": "Soon",
            "validity": {"start_date": tomorrow.isoformat(), "end_date": tomorrow.isoformat()},
        },
    )
    till.agent.sync()
    assert till.agent.catalog.promotion(till.nobody) is None
    world.set_today(tomorrow)
    till.agent.sync()
    assert till.agent.catalog.promotion(till.nobody) is not None
    noon = dt.datetime.combine(tomorrow, dt.time(12))
    assert till.nobody in [promotion.id for promotion in till.agent.catalog.promotions(noon)]
    assert till.nobody not in [p.id for p in till.agent.catalog.promotions(noon + dt.timedelta(days=1))]
    world.set_today(tomorrow + dt.timedelta(days=5))
    till.agent.sync()
    assert till.agent.catalog.promotion(till.nobody) is None


def test_the_store_s_zone_decides_which_promotions_run(till: Any) -> None:
    """The same moment is another hour in the store: its zone counts, not the device's."""
    import datetime as dt

    till.office.world.edit("promotions", till.deal, validity={"time_start": "22:00", "time_end": "02:00"})
    till.agent.sync()
    utc = dt.datetime(2026, 11, 20, 16, 0, tzinfo=dt.UTC)  # 23:00 in Jakarta
    assert [p.id for p in till.agent.catalog.promotions(utc)] == [till.deal]
    assert till.agent.catalog.promotions(utc + dt.timedelta(hours=6)) == ()
    assert till.agent.catalog.promotions(dt.datetime(2026, 11, 20, 23)) != ()  # noqa: DTZ001 - the store's own time


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {}, b"<html>log in</html>"), "UNREACHABLE"),
        ((200, {}, b""), "UNREACHABLE"),
        ((200, {}, b"[]"), "UNREACHABLE"),
        ((200, {}, b'{"products": [{"id"'), "UNREACHABLE"),
        ((200, {}, {"login": True}), "CONTRACT_BROKEN"),
        ((200, {}, {"products": 7}), "CONTRACT_BROKEN"),
        ((200, {}, {"products": []}), "CONTRACT_BROKEN"),
        ((301, {"Location": "https://elsewhere.example/"}, b""), "UNREACHABLE"),
        ((403, {}, {"error": "no", "code": "FORBIDDEN"}), "REFUSED"),
        ((404, {}, b"<html>not found</html>"), "UNREACHABLE"),
        ((500, {}, {"error": "oops"}), "UNREACHABLE"),
        ((200, {"Content-Encoding": "br"}, b"{}"), "UNREACHABLE"),
    ],
)
def test_an_answer_that_is_none_moves_nothing(till: Any, answer: Any, code: str) -> None:
    """Whatever else answers, rows and cursor stay, the cause is shown, and the next good answer is taken (G5, G11)."""
    till.office.world.edit("products", till.cola, price="8000.00")
    cursor = till.agent._store.state("products").cursor
    intercepting(till.office, "products/", answer=answer)
    report = till.agent.sync()
    assert [error.code for error in report.errors] == [code]
    assert report.errors[0].hint
    assert till.agent._store.state("products").cursor == cursor
    assert till.agent.catalog.search("").total == 3
    assert all(path != "GET elsewhere.example" for path in till.paths())
    till.office.intercept = None
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()


def test_a_page_that_leads_back_to_itself_ends(till: Any) -> None:
    """A head office whose pages go in a circle is stopped, not followed."""
    cursor = till.agent._store.state("products").cursor
    page = {"products": [], "deleted_ids": [], "next_cursor": cursor, "has_more": True, "snapshot": False}
    intercepting(till.office, "products/", answer=(200, {"X-HO-Epoch": till.office.world.epoch}, page))
    till.office.world.edit("products", till.cola, price="8000.00")
    assert [error.code for error in till.agent.sync().errors] == ["CONTRACT_BROKEN"]
    assert till.paths().count("GET products") == 1


def test_downloads_by_post_are_remembered(till: Any) -> None:
    """A head office that takes downloads by POST alone is asked by POST, from then on."""
    asked: list[str] = []
    posted = {"version": 1, "last_updated": "2026-01-01T00:00:00Z", "capabilities": []}

    def intercept(method: str, path: str) -> Any:
        if "version/" not in path:
            return None
        asked.append(method)
        return (405, {"Allow": "POST"}, {"error": "no"}) if method == "GET" else (500, {}, posted)

    till.office.intercept = intercept
    till.agent.sync()
    assert asked[:2] == ["GET", "POST"]
    asked.clear()
    till.agent.sync()
    assert set(asked) == {"POST"}


def test_a_captive_portal_that_speaks_json_changes_nothing(till: Any) -> None:
    """A version answer without a version is no head office's: the agent does not take it for a baseline one."""
    intercepting(till.office, "version/", answer=(200, {}, {"login": "required"}))
    report = till.agent.sync()
    assert report.errors
    assert till.agent.status()["head_office"]["profile"] == "native"
    till.office.intercept = None
    till.office.clear_requests()
    assert till.agent.sync().unchanged
    assert till.paths() == ["GET version"]


def test_one_dataset_that_fails_does_not_hide_the_others(till: Any) -> None:
    """A failure of one step never hides the result of another."""
    world = till.office.world
    world.edit("products", till.cola, price="8000.00")
    world.edit("categories", "00000004-0000-4000-8000-000000000000", name="Cold drinks")
    intercepting(till.office, "categories/", answer=(200, {}, {"categories": 7}))
    till.sell()
    report = till.agent.sync()
    assert [error.step for error in report.errors] == ["categories"]
    assert report.pushed.created == 1
    assert till.agent.catalog.by_id(till.cola).price == Decimal("8000.00")
    till.office.intercept = None
    till.agent.sync()
    assert till.catalogue_agrees()


def test_json_of_the_report_has_the_contracts_fields(till: Any) -> None:
    """The report can be printed as JSON, with the fields others build on."""
    till.office.world.edit("products", till.cola, price="8000.00")
    report = till.agent.sync().as_json()
    assert json.loads(json.dumps(report)) == report
    assert set(report["pushed"]) >= {"created", "duplicate", "rejected"}
    assert set(report["pulled"]["products"]) >= {"upserts", "deletes", "refused", "pages", "snapshot"}


def test_nulls_and_numbers_where_text_is_usual_are_read(till: Any) -> None:
    """A head office that sends null flags, or a barcode as a number, keeps its products on the till."""
    till.office.world.edit("products", till.cola, is_active=None, is_volatile=None, barcode=5000112546415)
    till.agent.sync()
    cola = till.agent.catalog.by_barcode("5000112546415")
    assert cola is not None
    assert (cola.is_active, cola.is_volatile, cola.barcode) == (True, False, "5000112546415")
    assert till.agent.status()["datasets"]["products"]["refused"] == 0


def test_a_word_is_found_however_its_accent_is_written(till: Any) -> None:
    """Names and queries may spell an accent as one character or two."""
    till.office.world.edit("products", till.cola, name="Cre\u0301me caramel")
    till.agent.sync()
    for text in ("Cr\u00e9me", "Cre\u0301me", "creme"):
        assert till.agent.catalog.search(text).total == 1, text


def test_a_held_sweep_is_taken_when_the_digest_can_be_had_later(till: Any, clock: Any) -> None:
    """A digest that could not be asked for just then is asked for again, with nobody at the keyboard (G10)."""
    world = till.office.world
    world.set_settings(sync_strategy="current_only")
    for promotion in world.live_ids("promotions"):
        world.delete("promotions", promotion)
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if "digest" in path else None
    till.poll()
    assert not till.catalogue_agrees("promotions")
    assert till.agent.status()["datasets"]["promotions"]["held_sweep"]
    till.office.intercept = None
    for _ in range(3):
        clock.advance(hours=1)
        till.poll()
    assert till.catalogue_agrees("promotions")
    assert till.agent.status()["datasets"]["promotions"]["held_sweep"] is None


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "nonsense"])
def test_no_date_of_head_office_stops_the_till(till: Any, date: str) -> None:
    """A ``Date`` that can't be is no clock: selling, business dates and status go on."""
    till.office.intercept = lambda method, path: (500, {"Date": date}, {"error": "oops"})
    till.poll()
    till.agent._facts_until = -1.0
    assert till.sell().business_date[:2] == "20"
    assert till.agent.status()["clock_offset_ms"] == 0


def test_an_etag_that_can_not_be_sent_is_not_kept(till: Any) -> None:
    """One odd header does not poison the cycles after it."""
    till.office.intercept = lambda method, path: (
        (200, {"ETag": '"\u00e4\u00ff"'}, {"version": 99, "capabilities": ["cursor"]}) if "version" in path else None
    )
    try:
        till.agent.sync()
    finally:
        till.office.intercept = None
    till.office.world.edit("products", till.cola, price="1.00")
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()


def test_a_version_that_was_spoilt_once_is_not_confirmed_for_ever(till: Any) -> None:
    """A body without capabilities came under the right ETag: some hours later the whole answer is asked for again."""
    till.office.world.edit("products", till.cola, price="1.00")
    office, done = till.office, []
    asking = till.agent.head_office()
    version, etag = asking.version(None)
    asking.close()

    def spoils(method: str, path: str) -> Any:
        if "/version/" in path and not done:
            done.append(path)
            return 200, {"ETag": etag}, {"version": version.version, "last_updated": None, "force_update": False}
        return None

    office.intercept = spoils
    till.poll()
    assert till.agent.status()["head_office"]["profile"] == "baseline"
    for _ in range(3):
        till.clock.advance(hours=4)
        till.poll()
    assert till.agent.status()["head_office"]["profile"] == "native"
    assert till.catalogue_agrees()
