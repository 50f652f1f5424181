"""Health on real homes with a head office on a port: what is found, remembered, told, and asked before payment."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent import EdgeAgent, Finding, Item, OneOff, PriceOverride
from edge_agent.domain.findings import KINDS
from edge_agent.status import in_words
from ho_stub import loader

HERE = "10000000-0000-4000-8000-{:012d}".format


def found(agent: EdgeAgent, kind: str) -> list[Finding]:
    return [one for one in agent.health().findings if one.kind == kind]


def kinds(agent: EdgeAgent) -> set[str]:
    return set(agent.health().counts)


def upsert(till: Any, dataset: str, **row: Any) -> None:
    brand = {} if dataset == "promotions" else {"brand_id": till.office.brand_id}
    till.office.world.upsert(dataset, {"name": "Row", **brand, **row})


@pytest.fixture
def nights(make_till: Callable[..., Any], clock: Any) -> Any:
    """A till whose nights come by the clock that is moved by hand."""
    till = make_till()
    till.agent._nightly._local_now = clock.now
    till.agent._local_now = clock.now
    return till


# ---- each kind, as it comes about ------------------------------------------------------------------------------------


def test_a_sound_till_has_nothing_to_tell(till: Any) -> None:
    """A fresh catalogue in sync: no finding, 100 %, and status says no word of it."""
    health = till.agent.health()
    assert (health.findings, health.health_score, health.rows, health.valid) == ((), 100.0, 6, 6)
    assert not any("health" in words for words in in_words(till.agent.status(), dt.datetime.now(dt.UTC)))


def test_faults_of_rows_are_found_with_their_names(till: Any) -> None:
    """What head office sends wrongly is found, each row counts once, and the winner of a barcode is no fault."""
    upsert(till, "products", id=HERE(1), name="Cola again", barcode="5000112546415", sku="COLA-2", price="8000.00")
    upsert(till, "products", id=HERE(2), name="No price, no home", sku="NP", category_id=till.nobody)
    upsert(till, "products", id=HERE(3), name="Bread", sku="BREAD-KG", price="1.00", is_active=False)
    upsert(till, "products", id=HERE(4), name="Bad", price="-1.00")
    upsert(till, "categories", id=HERE(5), name="Lost", parent_id=till.nobody)
    upsert(till, "categories", id=HERE(6), name="Circle", parent_id=HERE(6))
    upsert(till, "promotions", id=HERE(7), name="Never", limits={"max_uses": 0})
    upsert(till, "promotions", id=HERE(8), name="Gone", scope={"apply_to": "products", "products": [till.nobody]})
    some = {"apply_to": "products", "products": [till.cola, till.nobody]}
    upsert(till, "promotions", id=HERE(9), name="Half gone", scope=some)
    upsert(till, "promotions", id=HERE(10), name="Over", validity={"end_date": yesterday(till)})
    till.agent.sync()
    health = till.agent.health()
    assert {(one.kind, one.id) for one in health.findings} == {
        ("refused row", HERE(4)),
        ("duplicate barcode", HERE(1)),  # the newest of two active ones
        ("no price", HERE(2)),
        ("missing category", HERE(2)),
        ("inactive duplicate", till.bread),
        ("orphan category", HERE(5)),
        ("category in a circle", HERE(6)),
        ("promotion can't apply", HERE(7)),
        ("promotion can't apply", HERE(8)),
        ("scope names missing", HERE(9)),
        ("promotion over", HERE(10)),
    }
    [twins] = found(till.agent, "duplicate barcode")
    assert twins.others == (till.cola,)
    assert till.agent.catalog.by_barcode("5000112546415").id == twins.id
    assert health.findings[0].severity == "error"
    # 6 of the tiny world and 10 more; faulty: the refused one, the old cola, NP once, two categories, three promotions
    assert (health.rows, health.valid, health.health_score) == (16, 8, 50.0)


def yesterday(till: Any) -> str:
    """The last business date, of which head office sends promotions at whatever hour of the night."""
    till.office.world.set_settings(past_days=7)
    return (till.agent.business_date() - dt.timedelta(days=1)).isoformat()


def test_a_refused_row_shows_until_head_office_mends_it(till: Any) -> None:
    """The last good row stays in use and counts as one row, not valid; mended, all is well."""
    till.office.world.edit("products", till.cola, price="-1.00")
    till.agent.sync()
    [refused] = found(till.agent, "refused row")
    assert (refused.dataset, refused.id, refused.name) == ("products", till.cola, "Cola 330 ml")
    assert refused.detail == "the price is negative"
    assert (till.agent.health().rows, till.agent.health().valid) == (6, 5)
    till.office.world.edit("products", till.cola, price="1.00")
    till.agent.sync()
    assert till.agent.health().health_score == 100


def test_a_promotion_that_head_office_could_not_compile_has_no_good_version(till: Any) -> None:
    """A refused row that is not in use is a row all the same, and the finding says that there is none of it."""
    upsert(till, "promotions", id=HERE(1), name="Broken", code="BROKEN", rules={"error": "no product"})
    till.agent.sync()
    [refused] = found(till.agent, "refused row")
    assert refused.detail == "head office could not compile it: no product; there is no good one of it yet"
    assert (till.agent.health().rows, till.agent.health().valid) == (7, 6)


def test_what_head_office_refused_is_an_error(till: Any) -> None:
    """A quarantined sale is money that head office does not have."""
    sale = till.sell(till.nobody)
    till.agent.sync()
    [one] = found(till.agent, "quarantined")
    assert (one.dataset, one.id, one.name, one.severity) == ("outbox", sale.external_id, "sale", "error")
    assert "UNKNOWN_PRODUCT" in one.detail


def test_a_long_outage_is_found(till: Any, clock: Any) -> None:
    """After a day without head office prices are old and sales wait for long; an hour is no news."""
    till.office.stop()
    sale = till.sell()
    clock.advance(hours=1)
    till.poll()
    assert kinds(till.agent) == set()
    clock.advance(hours=24)
    till.poll()
    assert kinds(till.agent) == {"stale catalogue", "waiting long"}
    [waiting] = found(till.agent, "waiting long")
    assert (waiting.id, waiting.detail) == (sale.external_id, "1, the oldest for 25 hours")
    assert {one.dataset for one in found(till.agent, "stale catalogue")} == {"categories", "products", "promotions"}
    till.office.start()
    clock.advance(hours=1)
    till.poll()
    assert "stale catalogue" not in kinds(till.agent), "a cycle that found nothing changed confirms what is here"


def test_a_device_that_never_pulled_says_so(agent: EdgeAgent) -> None:
    """No prices have come yet: that is an error, and the empty catalogue scores 100."""
    health = agent.health()
    assert health.counts == {"stale catalogue": 3}
    assert (health.health_score, health.rows, health.has_come) == (100.0, 0, False)


def test_a_wrong_clock_is_found(make_till: Callable[..., Any], clock: Any) -> None:
    """A device two hours fast is told so; the agent reckons with head office's clock meanwhile."""
    clock.advance(hours=2)
    till = make_till()
    [skew] = found(till.agent, "clock skew")
    assert skew.detail.endswith("s fast")
    assert 7190 <= int(skew.detail.split()[2].replace(",", "")) <= 7210


def test_a_lane_that_stands_is_found(till: Any, clock: Any) -> None:
    """Head office answers, but not this question: after five minutes it is a stall."""
    till.office.intercept = lambda _, path: (500, {}, "oops") if path.endswith("/sales/") else None
    till.sell()
    for _ in range(4):
        till.poll()
        clock.advance(120)
    [stalled] = found(till.agent, "stalled")
    assert (stalled.dataset, stalled.id) == ("outbox", "sales")
    assert "the oldest waiting sale" in stalled.detail


def test_a_list_that_head_office_cuts_is_found(baseline_till: Any) -> None:
    """Rows that are missing for that reason make no faults of others; the cut itself is the error."""
    till = baseline_till
    till.office.world.set_settings(max_promotions_per_sync=10, sync_strategy="all_active")
    for number in range(20):
        upsert(till, "promotions", id=HERE(number), name=f"Deal {number}")
    till.agent.sync(full=True)
    [cut] = found(till.agent, "incomplete list")
    assert (cut.dataset, cut.severity) == ("promotions", "error")


def test_a_held_sweep_is_found(baseline_till: Any) -> None:
    """Head office lists far less than before: nothing is deleted until someone agrees."""
    till = baseline_till
    for product in (till.cola, till.water):
        till.office.world.delete("products", product)
    till.agent.sync(full=True)
    [held] = found(till.agent, "held sweep")
    assert held.detail == "2 rows are not in head office's list"
    till.agent.sync(accept_sweep=True)
    assert found(till.agent, "held sweep") == []


def test_half_a_catalogue_makes_no_false_faults(make_till: Callable[..., Any]) -> None:
    """While the first load is under way, what is not here is just not here yet."""
    till = make_till(synced=False)
    till.office.intercept = lambda _, path: (500, {}, "oops") if path.endswith("/categories/") else None
    till.agent.sync()
    health = till.agent.health()
    assert till.catalogue_rows("SELECT count(*) FROM products") == [(3,)]
    assert not health.has_come
    assert not {"missing category", "scope names missing", "promotion can't apply"} & set(health.counts)
    till.office.intercept = None
    till.agent.sync()
    assert till.agent.health().has_come


def test_every_kind_can_come_about() -> None:
    """Each kind of the table is shown by a test of this file."""
    text = Path(__file__).read_text("utf-8")
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


def test_lists_are_bounded_and_counts_are_not(till: Any) -> None:
    """However many there are, the list stays short and the count is right."""
    for number in range(30):
        upsert(till, "products", id=HERE(number), name=f"Tea {number:02}", sku=f"T{number // 2}")
    till.agent.sync()
    health = till.agent.health(listed_max=4)
    assert health.counts == {"no price": 30, "duplicate SKU": 15}
    assert [one.name for one in health.findings if one.kind == "no price"] == [f"Tea {n:02}" for n in range(4)]
    assert len([one for one in health.findings if one.kind == "duplicate SKU"]) == 4
    assert till.agent.health(listed_max=0).findings == ()


# ---- remembered, each night ------------------------------------------------------------------------------------------


def test_each_night_has_its_validation(nights: Any, clock: Any) -> None:
    """Once a night by whatever syncs, though nothing was ever sold and the line is down; status tells of it."""
    till = nights

    def validated() -> Any:
        return till.agent.status()["health"]["validated_at"]

    first = validated()
    assert first is not None, "the first sync looks through what it brought"
    till.poll()
    assert validated() == first
    till.office.stop()
    seen = {first}
    for _ in range(3):
        clock.advance(hours=24)
        till.poll()
        seen.add(validated())
        till.poll()
        seen.add(validated())
    assert len(seen) == 4


def test_a_first_load_that_breaks_is_looked_through_when_it_is_whole(make_till: Callable[..., Any]) -> None:
    """Half a catalogue's score is not kept for the day."""
    till = make_till(synced=False)
    till.office.intercept = lambda _, path: (500, {}, "oops") if path.endswith("/promotions/") else None
    till.agent.sync()
    assert not till.agent.health(fresh=False).has_come
    till.office.intercept = None
    till.agent.sync()
    assert till.agent.health(fresh=False).has_come


def test_a_validation_writes_one_fact_and_no_journal(till: Any) -> None:
    """Looking through the catalogue costs selling nothing: the journal is only read."""
    before = till.ledger_rows("PRAGMA data_version"), till.agent._journal.database.connection.total_changes
    changes = till.agent._store.database.connection.total_changes
    till.agent.health()
    assert (till.ledger_rows("PRAGMA data_version"), till.agent._journal.database.connection.total_changes) == before
    assert till.agent._store.database.connection.total_changes - changes <= 1


def test_status_tells_what_the_last_validation_found(till: Any) -> None:
    """In figures for programs, in a sentence for people; the device's own troubles stand there as they are now."""
    upsert(till, "products", id=HERE(1), name="Tea")
    till.agent.sync()
    till.sell(till.nobody)
    till.agent.sync()
    till.agent.health()
    status = till.agent.status()
    assert status["health"]["score"] == 85.71
    assert status["health"]["findings"] == {"no price": 1, "quarantined": 1}
    assert dt.datetime.fromisoformat(status["health"]["validated_at"]).tzinfo is not None
    words = [line for line in in_words(status, dt.datetime.now(dt.UTC)) if "edge-agent health" in line]
    assert len(words) == 1
    assert words[0].startswith("85.71 % of the catalogue is in order")
    assert "no price (1)" in words[0]
    assert "quarantined" not in words[0]


def test_the_figures_of_the_last_time_can_be_had_at_once(till: Any) -> None:
    """Without looking again: the figures, not the list."""
    upsert(till, "products", id=HERE(1), name="Tea")
    till.agent.sync()
    fresh = till.agent.health()
    till.office.world.edit("products", HERE(1), price="1.00")
    till.agent.sync()
    kept = till.agent.health(fresh=False)
    assert (kept.findings, kept.counts, kept.health_score) == ((), fresh.counts, fresh.health_score)
    assert till.agent.health().health_score == 100


def test_a_damaged_catalogue_is_replaced_and_looked_through(till: Any) -> None:
    """What can be pulled again must not stop anything: a fresh one takes its place."""
    till.agent._store.database.connection.execute("DROP TABLE refused")
    assert till.agent.health().rows == 0
    assert list(till.agent.home.glob("catalog.db.damaged-*"))


# ---- before payment ------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(till: Any) -> Any:
    """A till with products that can't be sold as they are."""
    drinks = till.agent.catalog.by_id(till.cola).category_id
    upsert(till, "categories", id=HERE(90), name="Closed", is_active=False)
    upsert(
        till, "products", id=HERE(1), name="Cola, old", sku="OLD", price="7000.00", is_active=False, category_id=drinks
    )
    upsert(till, "products", id=HERE(2), name="Tea", sku="TEA", category_id=drinks)
    upsert(till, "products", id=HERE(3), name="Ice", price="1.00", category_id=HERE(90))
    upsert(till, "products", id=HERE(4), name="Juice", sku="JUICE", price="7400.00", category_id=drinks)
    till.agent.sync()
    till.office.stop()
    return till


def test_a_sale_as_the_catalogue_says_is_all_right(shop: Any) -> None:
    """Known, active, priced the same however the number is written; bread by weight has the price that is asked."""
    items = [
        Item(shop.cola, "2", "7500.00"),
        Item(shop.cola, "1", Decimal("7500")),
        Item(shop.cola, "1", 7500),
        Item(shop.bread, "0.350", "39999.99"),
        Item(shop.cola),
        shop.water,
    ]
    checked = shop.agent.catalog.check(items)
    assert [line.line for line in checked] == [1, 2, 3, 4, 5, 6]
    assert all(line.ok and line.problem is None and not line.alternatives for line in checked)
    assert (checked[0].catalogue_price, checked[0].name) == (Decimal("7500.00"), "Cola 330 ml")
    assert checked[5].unit_price is None


def test_each_problem_is_named_with_what_to_sell_instead(shop: Any) -> None:
    """One problem a line, the gravest first, in order, and alternatives where the product can't be sold."""
    items = [
        Item(shop.nobody, "1", "1.00"),
        Item(HERE(1), "1", "1.00"),
        Item(HERE(3), "1", "1.00"),
        Item(HERE(2), "1", "5000.00"),
        Item(shop.cola, "1", "7499.99"),
        Item(shop.cola, "1", 7500.0),  # type: ignore[arg-type]
        Item(None, "1", "1.00"),
    ]
    checked = shop.agent.catalog.check(items)
    assert [line.problem for line in checked] == [
        *("unknown", "inactive", "category inactive", "no price", "price differs", "invalid", "invalid"),
    ]
    assert not any(line.ok for line in checked)
    assert [one.name for one in checked[1].alternatives] == ["Juice", "Cola 330 ml", "Water 600 ml"]
    assert [one.name for one in checked[3].alternatives] == ["Cola 330 ml", "Juice", "Water 600 ml"]
    assert checked[4].words == "Cola 330 ml costs 7500.00, not 7499.99."
    assert checked[4].alternatives == ()
    assert "floating point" in checked[5].words
    assert shop.agent.record_sale(items[:1]).state == "pending", "the check refuses nothing"


def test_a_price_that_staff_changed_is_told_apart(shop: Any) -> None:
    """An override is no mistake, but it shows; it does not make an inactive product sellable."""
    override = PriceOverride("dented")
    changed, off = shop.agent.catalog.check(
        [Item(shop.cola, "1", "7000.00", price_override=override), Item(HERE(1), "1", "1.00", price_override=override)]
    )
    assert (changed.ok, changed.overridden, changed.catalogue_price) == (True, True, Decimal("7500.00"))
    assert changed.words == "The price was changed by staff (dented), the catalogue says 7500.00."
    assert (off.ok, off.problem) == (False, "inactive")


def test_a_one_off_product_is_all_right_and_a_known_sku_is_offered(shop: Any) -> None:
    """What the catalogue does not have can be sold; where it has the SKU, that product is named."""
    new, known, off = shop.agent.catalog.check(
        [Item(product_data=OneOff(sku, sku), unit_price="9.00") for sku in ("CANDLE", "JUICE", "OLD")]
    )
    assert (new.ok, known.ok, off.ok) == (True, True, True)
    assert (new.alternatives, [one.name for one in known.alternatives], off.alternatives) == ((), ["Juice"], ())


def test_alternatives_of_what_is_not_known_go_by_its_codes(shop: Any) -> None:
    """An unknown id has no category: only its SKU or barcode can help."""
    catalog = shop.agent.catalog
    assert catalog.alternatives(shop.nobody) == ()
    assert [one.name for one in catalog.alternatives(shop.nobody, sku="JUICE", barcode="5000112546415")] == [
        *("Cola 330 ml", "Juice"),
    ]
    assert [one.name for one in catalog.alternatives(catalog.by_id(shop.cola), 1)] == ["Juice"]
    assert catalog.check([]) == ()


# ---- why is this promotion (not) on this till? -----------------------------------------------------------------------


def test_a_promotion_is_explained_from_the_till(till: Any) -> None:
    """It applies; then head office narrows it, breaks it, takes it away, and each answer says so."""
    explain = till.agent.catalog.explain
    assert explain("COLA10").applies
    assert explain(till.deal).applies
    off = {"start_date": "2020-01-06", "end_date": "2090-01-01", "days_of_week": [5, 6]}
    till.office.world.edit("promotions", till.deal, validity=off)
    till.agent.sync()
    friday = explain("COLA10", at=dt.datetime.fromisoformat("2026-11-20T12:00"))
    assert not friday.applies
    assert "Saturday and Sunday" in friday.verdict
    assert explain("COLA10", at=dt.datetime.fromisoformat("2026-11-21T12:00")).applies
    till.office.world.edit("promotions", till.deal, rules={"error": "no product"})
    till.agent.sync()
    assert any(step.step == "refused" and "no product" in step.words for step in explain("COLA10").steps)
    till.office.world.delete("promotions", till.deal)
    till.agent.sync()
    gone = explain("COLA10")
    assert gone.promotion is None
    assert "is not on this till" in gone.verdict


def test_a_promotion_that_came_broken_is_explained_by_its_code(till: Any) -> None:
    """Refused rows are found by their code too."""
    upsert(till, "promotions", id=HERE(1), name="Broken", code="BROKEN", rules={"error": "no product"})
    till.agent.sync()
    assert "head office could not compile it: no product" in till.agent.catalog.explain("broken").verdict


def test_a_promotion_outside_its_window_is_explained(till: Any) -> None:
    """Head office does not send what begins in a month; the till says what its absence may mean."""
    later = (till.agent.business_date() + dt.timedelta(days=30)).isoformat()
    upsert(till, "promotions", id=HERE(1), name="Later", code="LATER", validity={"start_date": later})
    till.agent.sync()
    gone = till.agent.catalog.explain("LATER")
    assert gone.promotion is None
    assert {step.step for step in gone.steps} == {"here", "window", "scope", "active", "list", "pull"}
    till.agent._store.remember(sync_strategy="include_future", future_days="7", past_days="1")
    gone = till.agent.catalog.explain("LATER")
    assert any("begin within 7 days" in step.words for step in gone.steps)


def test_a_promotion_for_what_is_not_sold_here_is_explained(till: Any) -> None:
    """Its scope is walked too."""
    scope = {"apply_to": "products", "products": [till.nobody]}
    upsert(till, "promotions", id=HERE(1), name="Gone", code="GONE", scope=scope)
    till.agent.sync()
    why = till.agent.catalog.explain("GONE")
    assert not why.applies
    assert "nothing of it can be sold here" in why.verdict


def test_of_several_with_one_code_the_nearest_is_explained(till: Any) -> None:
    """A code that is used again each season means the one of now."""
    ended = {"end_date": yesterday(till)}
    upsert(till, "promotions", id=HERE(1), name="A Cola 10 % off, last season", code="COLA10", validity=ended)
    till.agent.sync()
    why = till.agent.catalog.explain("COLA10")
    assert why.applies
    assert why.promotion.id == till.deal
    assert "2 have this code" in why.steps[0].words


def test_explaining_needs_no_line(till: Any) -> None:
    """Everything is read from this device (G9)."""
    till.office.stop()
    till.office.clear_requests()
    assert till.agent.catalog.explain("COLA10").applies
    assert json.dumps(till.office.requests) == "[]"


# ---- a real grocer ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_grocers_catalogue(make_office: Callable[..., Any], make_till: Callable[..., Any]) -> None:
    """92,331 products and 1,198 promotions, whose dates are moved to now: what is wrong with them is what the source's
    files show."""
    repository = Path(__file__).parent.parent
    folder = Path(os.environ.get("EDGE_AGENT_COMPLETE_JOURNEY") or repository.parent / "shared/data/complete-journey")
    if not folder.is_dir():
        pytest.skip("the full complete-journey files are not here; name their folder in EDGE_AGENT_COMPLETE_JOURNEY")
    data = loader.load(folder)
    for row in data.promotions:
        row["validity"] |= {"start_date": None, "end_date": None}
    till = make_till(make_office(data=data))
    known = {row["id"] for row in data.products}
    unpriced = [row for row in data.products if row["price"] is None and not row["is_volatile"]]
    holed = [row for row in data.promotions if set(row["scope"]["products"]) - known]
    rows = len(data.products) + len(data.categories) + len(data.promotions)
    health = till.agent.health()
    assert health.counts == {"no price": len(unpriced), "scope names missing": len(holed)}
    assert (health.rows, health.valid) == (rows, rows - len(unpriced) - len(holed))
    assert (health.health_score, len(unpriced), len(holed)) == (74.36, 24_067, 5)
