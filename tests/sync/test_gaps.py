"""Every gap of the head offices in the field against the agent; head office's own world is the oracle.

After a gap the till's catalogue is head office's; while it lasts, the last good rows stay and the status says so. Each
docstring names the defence that the test guards: without it the test fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import email.utils
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent.errors import EdgeAgentError
from ho_stub import seed

Make = Callable[..., Any]
ZONES = {"currency": "IDR", "timezone": "Asia/Jakarta", "day_start": "04:00"}
DATASETS = ("categories", "products", "promotions")
LONG_AGO = "2020-01-01T00:00:00Z"
A_MONTH_S = 2_592_000


@pytest.fixture
def make(make_till: Make, make_office: Make, tiny_with: Make) -> Make:
    """Sets a till up at a baseline head office: ``make(gaps=(), products=0, **settings)``."""

    def make_one(gaps: Any = (), *, products: int = 0, data: Any = None, synced: bool = True, **settings: Any) -> Any:
        office = make_office(profile="baseline", gaps=gaps, data=data or tiny_with(products=products))
        return make_till(office, synced=synced, **{**ZONES, **settings})

    return make_one


def live(till: Any, hours: float, minutes: int = 60) -> list[Any]:
    """Let the till live on, with a cycle each so many minutes; the reports."""
    reports = []
    for _ in range(round(hours * 60 / minutes)):
        till.clock.advance(minutes * 60)
        reports.append(till.poll())
    return reports


def gaps_of(till: Any) -> Any:
    return till.office.world.gaps


def mine(till: Any, dataset: str) -> dict[str, Any]:
    """What the till has, as it sells with it: names, prices, whether it is active."""
    found: dict[str, Any] = {}
    for (row_id,) in till.catalogue_rows(f"SELECT id FROM {dataset}"):
        if dataset == "products":
            product = till.agent.catalog.by_id(row_id)
            found[row_id] = (product.name, product.price, product.is_active)
        elif dataset == "promotions":
            promotion = till.agent.catalog.promotion(row_id)
            found[row_id] = (promotion.name, promotion.is_active)
        else:
            [(name, is_active)] = till.catalogue_rows("SELECT name, is_active FROM categories WHERE id = ?", row_id)
            found[row_id] = (name, bool(is_active))
    return found


def theirs(till: Any, dataset: str) -> dict[str, Any]:
    """What head office has for this store, without its gaps."""
    found: dict[str, Any] = {}
    for row in till.office.world.rows(dataset):
        price = () if dataset != "products" else (Decimal(str(row["price"])).quantize(Decimal("0.01")),)
        found[row["id"]] = (row["name"], *price, row["is_active"])
    return found


def agrees(till: Any) -> bool:
    """Whether the till sells with exactly what head office has."""
    return all(mine(till, dataset) == theirs(till, dataset) for dataset in DATASETS)


def seen(till: Any, dataset: str = "products") -> dict[str, Any]:
    """What the status says of a dataset."""
    found: dict[str, Any] = till.agent.status()["datasets"][dataset]
    return found


def price(till: Any, text: str, product: str | None = None) -> None:
    """Head office changes a price."""
    till.office.world.edit("products", product or till.cola, price=text)


def new_promotion(till: Any, number: int, **fields: Any) -> str:
    """Head office makes a promotion."""
    promotion_id = f"30000000-0000-4000-8000-{number:012d}"
    till.office.world.upsert("promotions", {"id": promotion_id, "name": f"Deal {number}", **fields})
    return promotion_id


def no_look_up(till: Any) -> None:
    """This head office can't be asked for a sale by its id."""
    till.office.intercept = lambda method, path: (
        (404, {}, {"detail": "Not found."}) if (method, path) == ("GET", "/api/sales/") else None
    )


def forget_outcome(till: Any) -> None:
    """As if the till had been killed before it could note head office's answer."""
    till.agent._journal.database.connection.execute("UPDATE sales SET state = 'pending'")


# ---- what every baseline head office does


def test_deleted_and_deactivated_rows_go_with_the_daily_snapshot(make: Make) -> None:
    """Rows that just vanish from deltas are gone after a day. Guards: the scheduled snapshot with sweep."""
    till = make(products=5)
    world = till.office.world
    world.delete("products", till.water)
    world.edit("products", till.bread, is_active=False)
    live(till, 7)
    assert till.agent.catalog.by_id(till.water) is not None, "no delta tells"
    live(till, 18)
    assert agrees(till)


def test_a_product_that_moved_to_another_store_goes(make: Make) -> None:
    """It is in no delta of this store. Guards: the scheduled snapshot with sweep."""
    till = make(products=5)
    till.office.world.edit("products", till.cola, store_id=till.nobody)
    live(till, 25)
    assert till.agent.catalog.by_id(till.cola) is None
    assert agrees(till)


def test_a_price_comes_though_the_version_says_nothing(make: Make) -> None:
    """The version covers promotions alone. Guards: the pull on schedule, whatever the version says."""
    till = make()
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)


def test_a_version_that_goes_back_means_a_snapshot_now(make: Make) -> None:
    """The newest promotion was deleted; it is gone at the next cycle, and the status tells why.

    Guards: a version that goes back is answered with a snapshot.
    """
    till = make()
    others = [new_promotion(till, number) for number in range(3)]
    newest = new_promotion(till, 9, updated_at="2030-01-01T00:00:00Z")
    till.poll()
    assert agrees(till)
    till.office.world.delete("promotions", newest)
    till.poll()
    assert till.agent.catalog.promotion(newest) is None
    assert till.agent.catalog.promotion(others[0]) is not None
    assert any("went back" in incident["kind"] for incident in till.agent.status()["incidents"])


class SameTime(httpx.HTTPTransport):
    """Head office's clock goes with the till's."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.headers["Date"] = email.utils.format_datetime(self._clock.now(), usegmt=True)
        return response


def test_a_promotion_enters_its_window_because_a_day_passed(make: Make, open_agent: Make, tmp_path: Path) -> None:
    """Edited long ago, so no delta brings it. Guards: a snapshot of the promotions at each new business day."""
    till = make(snapshot_interval_s=A_MONTH_S)
    till.agent.close()
    till.agent = open_agent(tmp_path / "till", transport=SameTime(till.clock))
    world = till.office.world
    starts = world.today() + dt.timedelta(days=8)
    coming = new_promotion(till, 1, updated_at=LONG_AGO, validity={"start_date": starts.isoformat(), "end_date": None})
    live(till, 7)
    assert till.agent.catalog.promotion(coming) is None, "not in the window yet"
    world.set_today(world.today() + dt.timedelta(days=1))
    live(till, 25)
    assert till.agent.catalog.promotion(coming) is not None
    assert agrees(till)


def test_two_promotions_within_a_second_have_one_version(make: Make) -> None:
    """The second one changes no version. Guards: the pull on schedule, whatever the version says."""
    till = make(snapshot_interval_s=A_MONTH_S)
    for number in (1, 2):
        new_promotion(till, number, updated_at=f"2030-01-01T00:00:00.{number}Z")
        till.poll()
    assert till.agent.catalog.promotion("30000000-0000-4000-8000-000000000002") is None
    live(till, 7)
    assert agrees(till)


def test_promotions_beyond_the_cut_sweep_nothing(make: Make) -> None:
    """The list is cut with no way to the rest. Guards: ``total < total_available`` never sweeps, and is told."""
    till = make()
    for number in range(11):
        new_promotion(till, number)
    till.agent.sync()
    assert agrees(till)
    till.office.world.set_settings(max_promotions_per_sync=10)
    live(till, 25)
    assert agrees(till)
    assert "10 of 12" in seen(till, "promotions")["incomplete"]
    till.office.world.set_settings(max_promotions_per_sync=100)
    live(till, 25)
    assert agrees(till)
    assert seen(till, "promotions")["incomplete"] is None


# ---- lists


def test_inactive_brand(make: Make) -> None:
    """200 with no rows over a full table: the rows stay, and the status says what is held.

    Guards: a sweep of more than half is held.
    """
    till = make()
    live(till, 20)
    gaps_of(till).on("inactive_brand")
    live(till, 10)
    assert agrees(till)
    assert seen(till)["held_sweep"] == 3
    assert any("list of products lacks 3 rows" in line for line in words(till))
    gaps_of(till).off()
    live(till, 13)
    assert agrees(till)
    assert seen(till)["held_sweep"] is None


def test_a_brand_that_stays_inactive_is_believed_after_a_day(make: Make) -> None:
    """Three complete snapshots over a day say the same: then it is so. Guards: the release of held sweeps."""
    till = make()
    for product in (till.cola, till.water):
        till.office.world.delete("products", product)
    live(till, 25)
    assert (seen(till)["count"], seen(till)["held_sweep"]) == (3, 2)
    live(till, 20)
    assert seen(till)["count"] == 3, "less than a day since it was first missed"
    live(till, 8)
    assert agrees(till)
    assert seen(till)["held_sweep"] is None


def test_three_empty_lists_in_an_hour_are_not_believed(make: Make) -> None:
    """However often it is asked. Guards: a held sweep is released after a day, not after three snapshots."""
    till = make()
    gaps_of(till).on("inactive_brand")
    for _ in range(5):
        till.clock.advance(hours=2)
        till.agent.sync(full=True)
    assert agrees(till)
    assert seen(till)["held_sweep"] == 3


def test_empty_once(make: Make) -> None:
    """One whole list comes empty: nothing goes, and the next one puts it right. Guards: a held sweep is forgotten."""
    till = make()
    till.clock.advance(hours=25)
    gaps_of(till).on("empty_once")
    till.poll()
    assert agrees(till)
    assert [seen(till, dataset)["held_sweep"] for dataset in DATASETS] == [2, 3, 1]
    live(till, 13)
    assert agrees(till)
    assert [seen(till, dataset)["held_sweep"] for dataset in DATASETS] == [None] * 3


def test_vanishing_rows(make: Make) -> None:
    """An incomplete list that looks complete: what it lacked is back with the next one. Guards: daily snapshots."""
    till = make(products=5)
    till.clock.advance(hours=25)
    gaps_of(till).on("vanishing_rows")
    till.poll()
    assert not agrees(till)
    gaps_of(till).off()
    live(till, 25)
    assert agrees(till)


def test_row_left_out(make: Make) -> None:
    """A promotion that head office can't compile any more stays as it last was, and the list is told incomplete.

    Guards: ``total < total_available`` never sweeps.
    """
    till = make()
    for number in range(3):
        new_promotion(till, number)
    till.agent.sync()
    gaps_of(till).on("row_left_out")
    live(till, 25)
    assert agrees(till)
    assert "3 of 4" in seen(till, "promotions")["incomplete"]
    gaps_of(till).off()
    till.office.world.delete("promotions", till.deal)
    live(till, 25)
    assert agrees(till)


def test_late_commit(make: Make) -> None:
    """Seen only after the next list was made, with its old stamp. Guards: the overlap of ``updated_since``."""
    till = make(snapshot_interval_s=A_MONTH_S)
    gaps_of(till).on("late_commit", 3600)
    price(till, "8000.00")
    live(till, 7)
    gaps_of(till).off()
    assert not agrees(till)
    live(till, 7)
    assert agrees(till)


def test_late_commit_beyond_the_overlap(make: Make) -> None:
    """Later than the overlap reaches: no delta brings it any more. Guards: the daily snapshot as the backstop."""
    till = make(overlap_s=0)
    gaps_of(till).on("late_commit", 3600)
    price(till, "8000.00")
    live(till, 7)
    gaps_of(till).off()
    live(till, 7)
    assert not agrees(till)
    live(till, 12)
    assert agrees(till)


def test_lagging_replica(make: Make) -> None:
    """A version that swings between two copies is no reason to take everything again and again.

    Guards: snapshots because a version went back are seldom, and edits come all the same.
    """
    till = make()
    gaps_of(till).on("lagging_replica")
    reports = live(till, 1, minutes=1)
    snapshots = [report for report in reports if "products" in report.pulled and report.pulled["products"].snapshot]
    assert len(snapshots) <= 2
    assert not [error for report in reports for error in report.errors]
    price(till, "8000.00")
    new_promotion(till, 1)
    live(till, 7)
    assert agrees(till)


def test_no_total_available(make: Make) -> None:
    """Nobody tells whether a list was cut: one as long as head office's own limit may be.

    Guards: a list of ``max_promotions_per_sync`` rows without ``total_available`` never sweeps.
    """
    till = make(products=5)
    for number in range(11):
        new_promotion(till, number)
    till.agent.sync()
    gaps_of(till).on("no_total_available")
    till.office.world.set_settings(max_promotions_per_sync=10)
    till.office.world.delete("products", till.water)
    live(till, 25)
    assert agrees(till)
    assert seen(till, "promotions")["incomplete"]


def test_no_sync_timestamp(make: Make) -> None:
    """Without a place to go on from, the whole list is taken on schedule, and the status says so.

    Guards: rows without a stamp are applied all the same.
    """
    till = make(["no_sync_timestamp"], products=5)
    assert agrees(till)
    assert "whole list" in seen(till)["incomplete"]
    price(till, "8000.00")
    till.office.world.delete("products", till.water)
    live(till, 7)
    assert agrees(till)
    gaps_of(till).off()
    live(till, 7)
    assert seen(till)["incomplete"] is None


# ---- times


def test_stamp_after_query(make: Make) -> None:
    """What was edited between query and stamp is in neither answer. Guards: the overlap."""
    till = make(["stamp_after_query=120"], snapshot_interval_s=A_MONTH_S)
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)


def test_stamp_long_after_query(make: Make) -> None:
    """More than the overlap between them. Guards: the daily snapshot as the backstop."""
    till = make(["stamp_after_query=3600"])
    price(till, "8000.00")
    live(till, 7)
    assert not agrees(till)
    live(till, 18)
    assert agrees(till)


def test_whole_seconds(make: Make) -> None:
    """Two edits within one second have the same stamp: the later one wins. Guards: an equal stamp is not an older."""
    till = make(["whole_seconds"], snapshot_interval_s=A_MONTH_S)
    for text in ("8000.00", "8100.00", "8200.00"):
        price(till, text)
        live(till, 7)
        assert agrees(till)


def test_times_that_lose_their_fraction(make: Make) -> None:
    """An edit whose stamp was cut may look older than the row it replaces.

    Guards: what two whole lists insist on counts, though it looks older.
    """
    till = make()
    price(till, "8000.00")
    live(till, 7)
    gaps_of(till).on("whole_seconds")
    till.office.world.edit("products", till.cola, price="8100.00")
    live(till, 50)
    assert agrees(till)


@pytest.mark.parametrize("offset", ["+07:00", "-08:00"])
def test_other_offset(make: Make, offset: str) -> None:
    """The same moment looks earlier or later as text. Guards: times are compared as moments."""
    till = make(snapshot_interval_s=A_MONTH_S)
    gaps_of(till).on("other_offset", offset)
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)
    gaps_of(till).off()
    price(till, "8100.00")
    live(till, 7)
    assert agrees(till)


def western(tiny: seed.Dataset) -> seed.Dataset:
    return dataclasses.replace(tiny, company={**tiny.company, "timezone": "America/Los_Angeles"})


def test_naive_times(make: Make) -> None:
    """Written in UTC and read in local time, hours later: in Los Angeles an edit would be missed.

    Guards: ``updated_since`` always has an offset.
    """
    till = make(["naive_times"], data=western(seed.tiny()), snapshot_interval_s=A_MONTH_S)
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)


@pytest.mark.parametrize("is_western", [False, True])
def test_naive_local_times(make: Make, is_western: bool) -> None:
    """Written in local time: read as UTC they lie seven hours ahead in Jakarta, eight behind in Los Angeles.

    Guards: a stamp ahead of head office's own clock is taken further back; and whole lists, when the offset is back.
    """
    data = western(seed.tiny()) if is_western else seed.tiny()
    till = make(["naive_times=local"], data=data, snapshot_interval_s=A_MONTH_S)
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)


def test_times_that_get_their_offset_back(make: Make) -> None:
    """Rows stamped in naive local time look newer than all edits of the next seven hours.

    Guards: what two whole lists insist on counts, though it looks older.
    """
    till = make(["naive_times=local"])
    gaps_of(till).off()
    price(till, "8000.00")
    live(till, 50)
    assert agrees(till)


# ---- rows


@pytest.mark.parametrize("gap", ["rules_error", "empty_tiers"])
def test_promotions_that_are_none(make: Make, gap: str) -> None:
    """The last good promotion stays in use; the bad one is shown with its reason.

    Guards: the refusal of such rows, and that a refused row keeps the good one from the sweep.
    """
    till = make()
    for number in range(3):
        new_promotion(till, number)
    till.agent.sync()
    gaps_of(till).on(gap, till.deal)
    live(till, 25)
    assert agrees(till)
    assert seen(till, "promotions")["refused"] == 1
    assert any("promotions" in line and "can't be used" in line for line in words(till))
    gaps_of(till).off()
    live(till, 25)
    assert agrees(till)
    assert seen(till, "promotions")["refused"] == 0


def test_noisy_money(make: Make) -> None:
    """7500.000000000001 is 7500.00. Guards: floats are read to the cent, exactly."""
    till = make(["noisy_money"])
    for text in ("0.10", "0.30", "1234567.89"):
        price(till, text)
        live(till, 7)
        assert agrees(till)
        assert str(till.agent.catalog.by_id(till.cola).price) == text
    assert seen(till)["refused"] == 0


def test_swapped_types(make: Make) -> None:
    """Prices as text, an SKU as a number, an order as text. Guards: rows are read whatever JSON type they come in."""
    till = make()
    gaps_of(till).on("swapped_types")
    till.office.world.edit("products", till.cola, sku="330", price="8000.00")
    till.office.world.edit("categories", till.office.world.live_ids("categories")[0], name="Soft drinks")
    live(till, 25)
    assert agrees(till)
    assert till.agent.catalog.by_sku("330").id == till.cola
    assert [seen(till, dataset)["refused"] for dataset in DATASETS] == [0, 0, 0]


@pytest.mark.parametrize("gap", ["numeric_flags", "null_flags"])
def test_flags(make: Make, gap: str) -> None:
    """A first load and later edits from a head office that writes 1 or null. Guards: flags are read in any form."""
    till = make([gap])
    assert agrees(till)
    price(till, "8000.00")
    live(till, 25)
    assert agrees(till)
    assert [seen(till, dataset)["refused"] for dataset in DATASETS] == [0, 0, 0]


def test_upper_case_ids(make: Make) -> None:
    """Rows under ids that are none are refused, visibly, however long that lasts; none of the good ones goes.

    Guards: a refused row is the row of its id, in whatever case, and keeps it from the sweep.
    """
    products = [{"id": f"abcdef0{n}-0000-4000-8000-00000000000a", "name": f"Lamp {n}", "price": "1.00"} for n in "12"]
    till = make()
    for row in products:
        till.office.world.upsert("products", {**row, "brand_id": till.office.brand_id})
    for product in (till.cola, till.water, till.bread):
        till.office.world.delete("products", product)
    till.agent.sync(full=True, accept_sweep=True)
    assert agrees(till)
    gaps_of(till).on("upper_case_ids")
    live(till, 75)
    assert mine(till, "products") == theirs(till, "products")
    assert seen(till)["refused"] == 2 or agrees(till)
    gaps_of(till).off()
    live(till, 25)
    assert agrees(till)
    assert seen(till)["refused"] == 0


def words(till: Any) -> list[str]:
    """The status in sentences."""
    from edge_agent.status import in_words

    return in_words(till.agent.status(), till.clock.now())


# ---- errors


@pytest.mark.parametrize("gap", ["mistakes_are_500", "errors_without_code", "errors_in_indonesian"])
def test_errors_of_another_form(make: Make, gap: str) -> None:
    """One sale that head office can't take blocks no other and is never dropped, in whatever form it is refused.

    Guards: errors are sorted by status and route, never by words; an entry that fails alone is set apart (G7).
    """
    till = make([gap])
    bad = till.sell(till.nobody)
    good = [till.sell() for _ in range(3)]
    price(till, "8000.00")
    if gap == "mistakes_are_500":  # nothing tells it from a head office out of order but time
        live(till, 1, minutes=10)
    till.poll()
    assert [till.agent.sale(sale.external_id).state for sale in good] == ["delivered"] * 3
    live(till, 7, minutes=30)
    state = till.agent.sale(bad.external_id).state
    assert state in (("pending",) if gap == "mistakes_are_500" else ("pending", "quarantined"))
    status = till.agent.status()
    assert status["remarked"] or status["stalled"] or status["quarantined"], "it shows (G11)"
    assert agrees(till)


@pytest.mark.parametrize("gap", ["mistakes_are_500", "errors_without_code", "errors_in_indonesian"])
def test_a_lost_sign_in_is_taken_up_again(make: Make, gap: str) -> None:
    """401 is 401 in every language. Guards: the sign-in anew by the status alone."""
    till = make([gap])
    till.office.world.expire_tokens(refresh=True)
    price(till, "8000.00")
    sale = till.sell()
    live(till, 7)
    assert agrees(till)
    assert till.agent.sale(sale.external_id).state == "delivered"


# ---- signing in


def test_v1_token_only(make: Make) -> None:
    """With ``token_path`` set it works. Guards: the path of the sign-in is a setting, also for the refresh."""
    till = make(["v1_token_only"], token_path="/api/v1/token/")
    till.office.world.expire_tokens()
    price(till, "8000.00")
    live(till, 7)
    assert agrees(till)
    assert ("POST", "/api/v1/token/refresh/", 200) in till.office.requests


def test_v1_token_only_is_told(make: Make) -> None:
    """Without it the status names the path that is wrong, and everything is kept. Guards: the hint at the sign-in."""
    till = make()
    gaps_of(till).on("v1_token_only")
    till.office.world.expire_tokens(refresh=True)
    till.sell()
    live(till, 7)
    assert "/api/token/" in till.agent.status()["last_error"]["message"]
    assert till.agent.status()["pending"] == 1
    assert till.agent.catalog.by_id(till.cola) is not None
    gaps_of(till).off()
    live(till, 2)
    assert agrees(till)
    assert till.books_agree()


def test_token_scheme_only(make_till: Make, make_office: Make) -> None:
    """With ``auth_scheme`` set it works, and no sign-in is asked for. Guards: the scheme is a setting."""
    office = make_office(profile="baseline", gaps=["token_scheme_only"])
    office.password = office.static_key
    till = make_till(office, auth_scheme="Token", **ZONES)
    price(till, "8000.00")
    till.sell()
    live(till, 7)
    assert agrees(till)
    assert till.books_agree()
    assert not [path for path in till.paths() if "token" in path]


def test_token_scheme_only_is_told(make: Make) -> None:
    """A device with a password is told what this head office wants. Guards: the hint of a refused scheme."""
    till = make()
    gaps_of(till).on("token_scheme_only")
    till.sell()
    live(till, 3)
    assert "static key" in till.agent.status()["last_error"]["message"]
    assert till.agent.status()["pending"] == 1
    gaps_of(till).off()
    live(till, 7)
    assert agrees(till)
    assert till.books_agree()


# ---- the line


@pytest.mark.parametrize(
    ("gap", "from_the_start"),
    [
        ("post_only", True),
        ("odd_allow", False),
        ("odd_allow=POST,HEAD", True),
        pytest.param("post_only", False, marks=pytest.mark.slow),
        pytest.param("odd_allow", True, marks=pytest.mark.slow),
        pytest.param("odd_allow=POST,HEAD", False, marks=pytest.mark.slow),
    ],
)
def test_post_only(make: Make, gap: str, from_the_start: bool) -> None:
    """Downloads by POST, from then on, and by GET again when that is what works. Guards: the fallback after a 405."""
    till = make([gap] if from_the_start else [])
    gaps_of(till).adopt([gap])
    price(till, "8000.00")
    till.sell()
    live(till, 25)
    assert agrees(till)
    assert till.books_agree()
    assert till.paths().count("GET version") <= 1, "remembered"
    gaps_of(till).off()
    price(till, "8100.00")
    live(till, 10)
    assert agrees(till)


def test_moved_to_https(make: Make) -> None:
    """Nobody follows with a token: the new address is told, everything is kept. Guards: redirects are refused."""
    till = make()
    gaps_of(till).on("moved_to_https")
    price(till, "8000.00")
    sale = till.sell()
    live(till, 7)
    assert "https://127.0.0.1" in till.agent.status()["last_error"]["message"]
    assert till.agent.sale(sale.external_id).state == "pending"
    assert till.agent.catalog.by_id(till.cola).price == 7500
    gaps_of(till).off()
    live(till, 7)
    assert agrees(till)
    assert till.books_agree()


@pytest.mark.parametrize("gap", ["captive_portal", "proxy_502"])
def test_something_else_answers(make: Make, gap: str) -> None:
    """A log-in page with 200 or a proxy's 502 is nobody's word: everything stays, and goes up after it.

    Guards: a body that isn't the contract's JSON is "unreachable", never "taken" or "refused".
    """
    till = make()
    gaps_of(till).on(gap)
    price(till, "8000.00")
    sales = [till.sell() for _ in range(3)]
    live(till, 30)
    status = till.agent.status()
    assert (status["pending"], status["quarantined"], status["delivered"]) == (3, 0, 0)
    assert status["last_error"] is not None
    assert seen(till)["count"] == 3
    gaps_of(till).off()
    live(till, 7)
    assert agrees(till)
    assert till.books_agree()
    assert {till.agent.sale(sale.external_id).state for sale in sales} == {"delivered"}


@pytest.mark.parametrize("gap", ["captive_portal", "proxy_502"])
@pytest.mark.parametrize("broken", DATASETS)
def test_one_broken_route(make: Make, gap: str, broken: str) -> None:
    """One download that is out of order keeps no other away, and is told. Guards: each dataset by itself."""
    till = make()
    world = till.office.world
    gaps_of(till).on(gap, f"/sync/{broken}/")
    world.edit("categories", world.live_ids("categories")[0], name="Soft drinks")
    price(till, "8000.00")
    new_promotion(till, 1)
    live(till, 7)
    for dataset in DATASETS:
        assert (mine(till, dataset) == theirs(till, dataset)) is (dataset != broken)
    assert till.agent.status()["last_error"] is not None
    gaps_of(till).off()
    live(till, 7)
    assert agrees(till)


# ---- uploads


def test_stored_sale_201(make: Make) -> None:
    """201 to a sale that it had is its word as well. Guards: 200 and 201 both mean delivered."""
    till = make(["stored_sale_201"])
    no_look_up(till)
    till.sell()
    till.office.drop_after_commit = 1
    till.poll()
    live(till, 2)
    assert [status for method, _, status in till.office.requests if method == "POST"][-1] == 201
    assert till.books_agree()
    assert till.agent.status()["delivered"] == 1


def test_stored_sale_400(make: Make) -> None:
    """400 to a sale that it has only means "I have it". Guards: a refusal is looked up before it is believed."""
    till = make(["stored_sale_400"])
    till.sell()
    till.poll()
    forget_outcome(till)
    till.poll()
    assert ("POST", "/api/sales/", 400) in till.office.requests
    assert till.agent.status()["quarantined"] == 0
    assert till.agent.status()["delivered"] == 1
    assert till.books_agree()


def test_duplicate_500(make: Make) -> None:
    """500 while the first copy is half stored: it stays and goes later. Guards: 500 is never the sale's fault."""
    till = make(["duplicate_500=3600"])
    no_look_up(till)
    till.sell()
    till.office.drop_after_commit = 1
    till.poll()
    live(till, 2)
    assert ("POST", "/api/sales/", 500) in till.office.requests
    assert (till.agent.status()["pending"], till.agent.status()["quarantined"]) == (1, 0)
    gaps_of(till).off()
    live(till, 2)
    assert till.agent.status()["delivered"] == 1
    assert till.books_agree()


def test_usage_always_created(make: Make) -> None:
    """A use whose answer was lost is sent again, and counts once. Guards: deterministic ids of uses."""
    till = make(["usage_always_created"])
    sale = till.sell()
    till.poll()
    till.agent.record_usage(till.deal, "100.00", sale=sale)
    till.office.drop_after_commit = 1
    till.poll()
    live(till, 2)
    assert till.agent.status()["pending"] == 0
    assert till.office.world.usage_count() == 1
    till.agent.record_usage(till.deal, "100.00", sale=sale)
    live(till, 2)
    assert till.office.world.usage_count() == 1


# ---- accidents


@pytest.mark.parametrize("version_tells", [True, False])
def test_restored_untold(make: Make, version_tells: bool) -> None:
    """Head office has older rows than the till: within two days the till has them too, though they look older.

    Guards: a version that goes back lets older rows count at once; else what two whole lists insist on counts.
    """
    till = make(products=5)
    gaps_of(till).on("restored_untold", 10_000)
    price(till, "8000.00")
    till.office.world.upsert("products", {"id": till.nobody, "brand_id": till.office.brand_id, "name": "New"})
    if version_tells:
        till.clock.advance(2)
        new_promotion(till, 1, updated_at="2030-01-01T00:00:00Z")
    till.agent.sync()
    assert agrees_but_for_missing_prices(till)
    gaps_of(till).off()
    if version_tells:
        till.poll()
        assert agrees(till)
        assert any("went back" in incident["kind"] for incident in till.agent.status()["incidents"])
    live(till, 50)
    assert agrees(till)


def agrees_but_for_missing_prices(till: Any) -> bool:
    return set(mine(till, "products")) == {row["id"] for row in till.office.world.rows("products")}


def test_whatever_gap_there_is_the_till_never_stops(make: Make, till_gap: str) -> None:
    """Under every single gap the till sells, its cycles end without an error of ours, and the catalogue is not lost."""
    till = make(products=5)
    gaps_of(till).on(till_gap)
    with contextlib.suppress(EdgeAgentError):
        till.agent.sync()
    sale = till.sell()
    live(till, 14, minutes=120)
    assert till.agent.sale(sale.external_id).state in ("pending", "delivered")
    assert seen(till)["count"] == 8 or till_gap == "vanishing_rows"
    gaps_of(till).off()
    live(till, 38, minutes=120)
    assert agrees(till)
    assert till.agent.sale(sale.external_id).state == "delivered"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from ho_stub.gaps import GAPS

    if "till_gap" in metafunc.fixturenames:
        # Each gap has a test of its own above; this one tries every sixth of them quickly.
        marks = [[] if number % 6 == 0 else [pytest.mark.slow] for number in range(len(GAPS))]
        metafunc.parametrize("till_gap", [pytest.param(gap, marks=mark) for gap, mark in zip(GAPS, marks, strict=True)])
