"""Against a baseline head office: time stamps, no tombstones, lists cut short, one sale a request."""

from __future__ import annotations

import datetime as dt
import urllib.parse
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from edge_agent import Item

Make = Callable[..., Any]
STAMP = "2026-01-27T09:10:42.123456Z"
COLA = "00000006-0000-4000-8000-000000000000"
WATER = "00000007-0000-4000-8000-000000000000"


class Canned:
    """A baseline head office in a few lines: answers that are set by the test, and what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {"categories": [], "products": [], "promotions": []}
        self.available: dict[str, int] = {}
        self.stamp = STAMP
        self.sales: list[dict[str, Any]] = []
        self.sale_answers: list[httpx.Response | Exception] = []
        self.listed: list[str] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, dict(urllib.parse.parse_qsl(request.url.query.decode()))
        name = path.rstrip("/").rsplit("/", 1)[-1]
        self.asked.append((request.method, name, query))
        if name == "token":
            return _answer(200, {"access": "a", "refresh": "r"})
        if name == "version":
            return _answer(200, {"version": 1, "last_updated": None, "force_update": False})
        if name == "sales" and request.method == "GET":
            found = [{"external_id": one} for one in self.listed if one == query["external_id"]]
            return _answer(200, {"count": len(found), "results": found})
        if name == "sales":
            self.sales.append(msgspec.json.decode(request.content))
            answer = self.sale_answers.pop(0) if self.sale_answers else _answer(201, {"id": len(self.sales)})
            if isinstance(answer, Exception):
                raise answer
            return answer
        rows = self.rows[name]
        total = self.available.get(name, len(rows))
        body = {
            name: rows,
            "deleted_ids": [],
            "sync_timestamp": self.stamp,
            "total": len(rows),
            "total_available": total,
        }
        return _answer(200, body)

    def since(self, name: str) -> list[str | None]:
        return [query.get("updated_since") for method, asked, query in self.asked if asked == name]


def _answer(status: int, body: Any) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(msgspec.json.encode(body)))


def product(id_: str, updated_at: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "name": "Cola", "sku": "COLA", "price": 7500.0, "updated_at": updated_at, **fields}


@pytest.fixture
def canned() -> Canned:
    return Canned()


@pytest.fixture
def device(canned: Canned, write_home: Make, open_agent: Make) -> Any:
    """A device of the canned head office, which knows its currency by settings."""
    home = write_home(currency="IDR", timezone="Asia/Jakarta", username="pos-02")
    return open_agent(home, transport=httpx.MockTransport(canned))


def test_a_whole_cycle_against_the_stub(baseline_till: Any) -> None:
    """Catalogue down, sales and uses up; both sides agree to the cent."""
    till = baseline_till
    sale = till.agent.record_sale(
        [Item(till.cola, "3", "7500.00", discount="1000"), Item(till.bread, "0.750", "42000")]
    )
    till.agent.record_usage(till.deal, "1000", sale=sale)
    till.sell()
    report = till.agent.sync()
    assert not report.errors
    assert (report.pushed.created, report.pushed_usages.created) == (2, 1)
    assert till.books_agree()
    assert till.agent.catalog.by_id(till.cola).price == Decimal("7500.00")
    assert till.agent.catalog.stock(till.cola) is None
    assert till.agent.status()["head_office"]["profile"] == "baseline"


def test_a_lost_answer_counts_once(baseline_till: Any) -> None:
    """A sale whose answer was lost is asked again and found to be a duplicate (G4)."""
    baseline_till.sell()
    baseline_till.office.drop_after_commit = 1
    baseline_till.agent.sync()
    assert baseline_till.agent.status()["pending"] == 1
    baseline_till.agent.sync()
    assert baseline_till.agent.status()["pending"] == 0
    assert baseline_till.books_agree()


def test_refunds_and_voids_are_held_in_sight(baseline_till: Any) -> None:
    """A baseline head office would count a refund as a sale: it is held, and shown."""
    till = baseline_till
    sale = till.sell()
    till.sell(kind="refund", refers_to=sale.external_id)
    till.sell(kind="void", reason="typo")
    assert till.agent.sync().pushed.created == 1
    status = till.agent.status()
    assert (status["pending"], status["held"]) == (2, 2)
    assert till.office.world.sale_count() == 1


def test_a_foreign_product_blocks_nobody(baseline_till: Any) -> None:
    """The sale of a product head office never had is set aside; the next sale goes up (G7)."""
    till = baseline_till
    bad = till.sell(till.nobody)
    till.sell()
    report = till.agent.sync()
    assert (report.pushed.created, report.pushed.rejected) == (1, 1)
    assert till.agent.sale(bad.external_id).state == "quarantined"


@pytest.mark.parametrize("status", [200, 201])
def test_200_and_201_both_mean_taken(canned: Canned, device: Any, status: int) -> None:
    """Some head offices answer 201 to a sale they had: both are its word that it has it."""
    canned.sale_answers = [_answer(status, {"id": 7})]
    sale = device.record_sale([Item(COLA, "1", "2.00")])
    device.sync()
    assert device.sale(sale.external_id).state == "delivered"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, stream=httpx.ByteStream(b"<html>please log in</html>")),
        _answer(200, {"detail": "please log in"}),
        _answer(200, {"external_id": WATER, "id": 7}),
    ],
)
def test_an_answer_about_something_else_keeps_the_sale(canned: Canned, device: Any, answer: httpx.Response) -> None:
    """A 200 that names neither the sale nor a record of it is nobody's word about it (G3)."""
    canned.sale_answers = [answer]
    sale = device.record_sale([Item(COLA, "1", "2.00")])
    assert device.sync().errors
    assert device.sale(sale.external_id).state == "pending"


def test_a_refusal_after_a_lost_answer_is_looked_up(canned: Canned, device: Any) -> None:
    """400 for a sale that may have arrived: head office is asked whether it has it, before it is set aside."""
    lost = device.record_sale([Item(COLA, "1", "2.00")])
    canned.sale_answers = [httpx.ReadError("cut")]
    device.sync()
    canned.listed = [lost.external_id]
    canned.sale_answers = [_answer(400, {"external_id": ["already exists"]})]
    device.sync()
    assert device.sale(lost.external_id).state == "delivered"
    bad = device.record_sale([Item(COLA, "1", "2.00")])
    canned.sale_answers = [httpx.ReadError("cut")]
    device.sync()
    canned.sale_answers = [_answer(400, {"items": ["wrong"]})]
    device.sync()
    assert device.sale(bad.external_id).state == "quarantined"


@pytest.mark.parametrize(
    "body", [{"items": ["wrong"]}, ["wrong"], {"detail": "kesalahan"}, {"error": "no", "code": "INVALID_SALE"}, "wrong"]
)
def test_a_400_of_any_form_sets_the_sale_aside(canned: Canned, device: Any, body: Any) -> None:
    """Errors come without a code, as lists, in another language: the status decides, not the words."""
    canned.sale_answers = [_answer(400, body)]
    bad = device.record_sale([Item(COLA, "1", "2.00")])
    good = device.record_sale([Item(COLA, "1", "2.00")])
    device.sync()
    assert (device.sale(bad.external_id).state, device.sale(good.external_id).state) == ("quarantined", "delivered")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_error_is_never_the_sales_fault(canned: Canned, device: Any, status: int) -> None:
    """Parallel duplicates answer 500 in the field: the sale stays, and is tried again."""
    canned.sale_answers = [_answer(status, {"error": "oops"})]
    device.record_sale([Item(COLA, "1", "2.00")])
    device.sync()
    assert device.status()["pending"] == 1
    device.sync()
    assert device.status()["pending"] == 0
    assert len(canned.sales) == 2


def test_a_single_sale_is_not_repeated_inside_a_call(canned: Canned, device: Any) -> None:
    """Two of the same at once are what makes such a head office count twice: one attempt a cycle."""
    canned.sale_answers = [httpx.ReadError("cut"), httpx.ReadError("cut")]
    device.record_sale([Item(COLA, "1", "2.00")])
    device.sync()
    assert len(canned.sales) == 1


def test_a_delta_goes_back_by_the_overlap_in_head_offices_own_time(canned: Canned, device: Any, clock: Any) -> None:
    """``updated_since`` is head office's stamp less the overlap, with its precision; never the device's clock."""
    device.sync()
    clock.advance(hours=7)
    device.sync()
    assert canned.since("products") == [None, "2026-01-27T09:05:42.123456Z"]


def test_a_stamp_that_is_none_costs_the_whole_list_each_time(canned: Canned, device: Any) -> None:
    """A stamp nobody can read does not end the sync: there is no place to go on from, and status says so."""
    canned.stamp = "2026-02-30T00:00:00Z"
    device.sync()
    assert not device.sync().errors
    assert canned.since("products") == [None, None]
    assert "whole list" in device.status()["datasets"]["products"]["incomplete"]


def test_an_older_row_never_overwrites_a_newer_one(canned: Canned, device: Any) -> None:
    """Rows come again and late within the overlap: the newer stamp wins, and rows that came again stay."""
    canned.rows["products"] = [product(COLA, "2026-01-02T00:00:00.5Z", price=8000.0)]
    device.sync()
    canned.rows["products"] = [
        product(COLA, "2026-01-02T00:00:00Z", price=7000.0),
        product(WATER, "2026-01-01T00:00:00Z"),
    ]
    device.sync()
    assert device.catalog.by_id(COLA).price == 8000
    assert device.catalog.by_id(WATER) is not None
    canned.rows["products"] = [product(COLA, "2026-01-02T07:00:01+07:00", price=9000.0)]
    device.sync()
    assert device.catalog.by_id(COLA).price == 9000


def test_a_list_cut_short_is_said_and_never_sweeps(canned: Canned, device: Any) -> None:
    """``total < total_available``: incomplete is shown, nothing is deleted, the place is not left behind."""
    canned.rows["products"] = [product(COLA, STAMP), product(WATER, STAMP)]
    device.sync()
    canned.rows["products"] = [product(COLA, STAMP)]
    canned.available["products"] = 2
    device.sync(full=True)
    assert device.catalog.search("").total == 2
    assert "1 of 2" in device.status()["datasets"]["products"]["incomplete"]
    canned.available.clear()
    canned.rows["products"].append(product(WATER, STAMP))
    device.sync()
    assert device.status()["datasets"]["products"]["incomplete"] is None


def test_a_delta_cut_short_does_not_move_the_stamp(canned: Canned, device: Any) -> None:
    """Rows behind the cut were not sent: the next delta asks from the same place (G5)."""
    device.sync()
    canned.rows["products"] = [product(COLA, "2026-01-27T10:00:00Z")]
    canned.available["products"] = 2
    canned.stamp = "2026-01-27T11:00:00Z"
    device.sync()
    device.sync()
    assert canned.since("products")[1:] == ["2026-01-27T09:05:42.123456Z"] * 2


def test_a_list_cut_short_is_not_asked_for_all_the_time(canned: Canned, device: Any, clock: Any, poll: Make) -> None:
    """An incomplete list is asked again on schedule, not at every poll."""
    canned.rows["promotions"] = [{"id": COLA, "name": "Deal"}]
    canned.available["promotions"] = 200
    poll(device)
    canned.asked.clear()
    for _ in range(5):
        clock.advance(60)
        poll(device)
    assert canned.since("promotions") == []
    clock.advance(hours=7)
    poll(device)
    assert len(canned.since("promotions")) == 1


def test_the_schedule_pulls_whatever_the_version_says(canned: Canned, device: Any, clock: Any, poll: Make) -> None:
    """A baseline version covers promotions alone: products are asked for when they are old."""
    poll(device)
    canned.rows["products"] = [product(COLA, STAMP)]
    poll(device)
    assert device.catalog.by_id(COLA) is None
    clock.advance(hours=6.1)
    poll(device)
    assert device.catalog.by_id(COLA) is not None


def test_a_clock_set_back_does_not_stop_the_schedule(canned: Canned, device: Any, clock: Any, poll: Make) -> None:
    """A catalogue that seems to be from the future is asked for now."""
    clock.advance(days=1000)
    poll(device)
    canned.rows["products"] = [product(COLA, STAMP)]
    clock.advance(days=-1000)
    poll(device)
    assert device.catalog.by_id(COLA) is not None


def test_an_empty_answer_over_a_full_table_is_held(canned: Canned, device: Any) -> None:
    """An inactive brand answers 200 with no rows: the rows stay, and a person is asked."""
    canned.rows["products"] = [product(COLA, STAMP), product(WATER, STAMP)]
    device.sync()
    canned.rows["products"] = []
    report = device.sync(full=True)
    assert report.pulled["products"].held == 2
    assert device.catalog.search("").total == 2
    device.sync(accept_sweep=True)
    assert device.catalog.search("").total == 0


def test_a_vanished_row_goes_with_the_next_snapshot(canned: Canned, device: Any) -> None:
    """Baseline deltas know no tombstones: a complete snapshot sweeps what is gone."""
    canned.rows["products"] = [product(f"{n:08d}-0000-4000-8000-000000000000", STAMP) for n in range(5)]
    device.sync()
    canned.rows["products"].pop()
    device.sync()
    assert device.catalog.search("").total == 5
    assert device.sync(full=True).pulled["products"].deletes == 1
    assert device.catalog.search("").total == 4


def test_promotions_run_in_the_settings_zone_when_head_office_gives_none(canned: Canned, device: Any) -> None:
    """Before head office has told the store's zone, the one of the settings counts."""
    hours = {"time_start": "22:00", "time_end": "23:30"}
    canned.rows["promotions"] = [{"id": COLA, "name": "Night", "validity": hours}]
    device.sync()
    assert device.catalog.promotions(dt.datetime(2026, 11, 20, 16, tzinfo=dt.UTC)) != ()  # 23:00 in Jakarta


def test_a_repeated_version_that_goes_back_means_a_snapshot(baseline_till: Any) -> None:
    """The newest promotion was deleted: the version goes back, and a snapshot finds what is gone."""
    till = baseline_till
    newer = till.nobody
    till.office.world.upsert("promotions", {"id": newer, "name": "New", "updated_at": "2030-01-01T00:00:00Z"})
    till.agent.sync()
    assert till.agent.catalog.promotion(newer) is not None
    till.office.world.delete("promotions", newer)
    till.agent.sync()
    assert till.agent.catalog.promotion(newer) is None


def test_a_product_that_is_not_found_blocks_nobody(baseline_till: Any, clock: Any) -> None:
    """A bare 404 may be the product's: the sale is set apart, and refused if that stays so while others go (G7)."""
    till = baseline_till
    bad, good = till.sell(), [till.sell() for _ in range(3)]
    real = till.office.world.books.take_single

    def take(sale: Any, raw: Any) -> Any:
        from ho_stub.errors import ContractError

        if raw["external_id"] == bad.external_id:
            raise ContractError(404, "", "Not found.")
        return real(sale, raw)

    till.office.world.books.take_single = take
    till.poll()
    assert {till.agent.sale(sale.external_id).state for sale in good} == {"delivered"}
    assert till.agent.sale(bad.external_id).state == "pending", "once may be anybody's fault"
    clock.advance(600)
    till.poll()
    assert till.agent.sale(bad.external_id).state == "quarantined"


@pytest.mark.parametrize("status", [403, 404])
def test_a_head_office_that_refuses_the_device_refuses_no_sale(baseline_till: Any, clock: Any, status: int) -> None:
    """Where no sale is taken, a bare 403 or 404 is about the device or the address: all stay pending."""
    till = baseline_till
    sales = [till.sell() for _ in range(4)]
    till.office.intercept = lambda method, path: (
        (status, {}, {"error": "no"}) if (method, path) == ("POST", "/api/sales/") else None
    )
    for _ in range(4):
        till.poll()
        clock.advance(900)
    assert {till.agent.sale(sale.external_id).state for sale in sales} == {"pending"}
    till.office.intercept = None
    for _ in range(3):
        clock.advance(900)
        till.poll()
    assert till.books_agree()


def test_a_refusal_is_looked_up_also_when_no_answer_was_seen_to_be_lost(baseline_till: Any) -> None:
    """Killed after head office took it: nothing was noted, and the refusal only means "I have it already" (G4)."""
    till = baseline_till
    sale = till.sell()
    till.poll()
    till.agent._journal.database.connection.execute("UPDATE sales SET state = 'pending'")
    till.office.intercept = lambda method, path: (
        (400, {}, {"error": "duplicate"}) if (method, path) == ("POST", "/api/sales/") else None
    )
    till.agent.sync()
    assert till.agent.sale(sale.external_id).state == "delivered"


@pytest.mark.parametrize("status", [503, 500, 401])
def test_a_look_up_that_fails_settles_nothing(baseline_till: Any, status: int) -> None:
    """When head office can't be asked just now whether it has a refused sale, the sale stays pending (G3)."""
    till = baseline_till
    sale = till.sell()
    till.office.intercept = lambda method, path: (
        None if "/api/sales/" not in path else (400 if method == "POST" else status, {}, {"error": "no"})
    )
    till.agent.sync()
    assert till.agent.sale(sale.external_id).state == "pending"


@pytest.mark.parametrize("status", [402, 405, 406, 409, 410, 418, 451])
def test_a_refusal_that_is_about_no_sale_quarantines_none(baseline_till: Any, clock: Any, status: int) -> None:
    """What is neither 400 nor 422 says nothing of a sale, however few sales wait: after it ends, all go up."""
    till = baseline_till
    for _ in range(3):
        till.sell()
    till.office.intercept = lambda method, path: (status, {}, {"error": "no", "code": "X"})
    for _ in range(4):
        till.poll()
        clock.advance(900)
    if status != 409:  # a conflict may be about the sale: it is looked up, and judged anew after a day
        assert till.agent.status()["quarantined"] == 0
    till.office.intercept = None
    for _ in range(5):
        clock.advance(hours=13)
        till.poll()
    assert till.books_agree()


def test_a_head_office_that_refuses_everything_for_an_hour(baseline_till: Any, clock: Any) -> None:
    """400 to everything for an hour, with too few sales to see a storm: a day later all of them are up (G10)."""
    till = baseline_till
    for _ in range(3):
        till.sell()
    till.office.intercept = lambda method, path: (400, {}, {"error": "no"})
    till.poll()
    till.office.intercept = None
    for _ in range(3):
        clock.advance(hours=13)
        till.poll()
    assert till.books_agree()


def test_a_lost_answer_is_looked_up_before_the_sale_is_sent_again(baseline_till: Any) -> None:
    """Where head office does not know duplicates but can be asked, a sale whose answer was lost is not sent twice."""
    till = baseline_till
    till.sell()
    till.office.drop_after_commit = 1
    till.poll()
    till.office.clear_requests()
    till.agent.sync()
    assert "POST sales" not in till.paths()
    assert till.books_agree()


def test_five_products_that_are_not_found_hold_nobody_up(baseline_till: Any, clock: Any) -> None:
    """Several bare 404 at the head of the lane are set apart, and behind the others from then on."""
    till = baseline_till
    bad = {till.sell().external_id for _ in range(5)}
    good = [till.sell() for _ in range(8)]
    real = till.office.world.books.take_single

    def take(sale: Any, raw: Any) -> Any:
        from ho_stub.errors import ContractError

        if raw["external_id"] in bad:
            raise ContractError(404, "", "Not found.")
        return real(sale, raw)

    till.office.world.books.take_single = take
    for _ in range(8):
        till.poll()
        clock.advance(600)
    assert {till.agent.sale(sale.external_id).state for sale in good} == {"delivered"}
    assert {till.agent.sale(one).state for one in bad} == {"quarantined"}


def test_a_device_that_is_refused_keeps_its_uses(baseline_till: Any, clock: Any) -> None:
    """403 to the uses is about this device: the one use that waits stays pending, and goes up later (G3)."""
    till = baseline_till
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.office.intercept = lambda method, path: (403, {}, {"error": "no", "code": "FORBIDDEN"})
    till.poll()
    assert till.agent.status()["pending_usages"] == 1
    till.office.intercept = None
    clock.advance(600)
    till.poll()
    assert till.office.world.usage_count() == 1


def test_a_pause_that_ends_is_heard_of(make_till: Any, make_office: Any) -> None:
    """A baseline head office tells its settings beside the promotions alone: they are asked for while it is paused."""
    till = make_till(make_office(profile="baseline"))
    world = till.office.world
    world.set_settings(auto_sync_enabled=False)
    till.agent.sync()
    till.clock.advance(hours=7)
    till.poll()
    world.set_settings(auto_sync_enabled=True)
    world.edit("products", till.cola, price="1.00")
    for _ in range(4):
        till.clock.advance(hours=4)
        till.poll()
    assert till.catalogue_agrees("products")


def test_another_brand_is_not_held(make_till: Any, make_office: Any, open_agent: Any) -> None:
    """A person gave this device another brand: its list takes the place of the old one's at once."""
    till = make_till(make_office(profile="baseline"))
    brand = "0000beef-0000-4000-8000-000000000000"
    with till.office.world.db.write():
        till.office.world.db.run("INSERT INTO brand VALUES (?, 'Other')", (brand,))
        till.office.world.db.run("UPDATE store SET brand_id = ?", (brand,))
    product = {"id": "0000cafe-0000-4000-8000-000000000000", "brand_id": brand, "name": "Other", "price": "1.00"}
    till.office.world.upsert("products", product)
    till.agent.close()
    agent = open_agent(till.agent.home, brand_id=brand)
    agent.sync()
    assert [one.id for one in agent.catalog.search("").products] == [product["id"]]
    assert agent.status()["datasets"]["products"]["held_sweep"] is None


def test_a_daily_list_writes_only_what_changed(make_till: Any, make_office: Any, tiny_with: Any) -> None:
    """Three hundred products come again each day, one changed and one gone: a till's flash is not worn by it."""
    till = make_till(make_office(profile="baseline", data=tiny_with(300)))
    world = till.office.world
    for day in range(3):
        world.edit("products", till.cola, price=f"{day + 1}.00")
        world.delete("products", f"10000000-0000-4000-8000-{day:012d}")
        before = till.agent._store.database.connection.total_changes
        till.clock.advance(hours=25)
        till.poll()
        assert till.catalogue_agrees("products")
        assert till.agent._store.database.connection.total_changes - before < 60
