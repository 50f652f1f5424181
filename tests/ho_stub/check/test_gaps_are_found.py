"""Every gap of the stub that can be seen from outside is found by a check, and by none without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ho_stub.check.inspection import every_check, inspect
from ho_stub.check.options import Options
from ho_stub.check.report import CONFORMS, FAILS, GAPS, SIGN_IN, UNREACHABLE
from ho_stub.gaps import GAPS as SWITCHES
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ho_stub.check.report import Report

LETTERS = "abcdef00-0000-4000-8000-000000000000"
# The gap, and the check that tells it. Those with a star are seen with --write alone: they show when something changes,
# or is sent. `restored_untold` shows only if the restore falls into the time of the check.
FOUND_BY = {
    "inactive_brand": "lists.not-empty", "empty_once": "lists.same-twice", "vanishing_rows": "deltas.all",
    "row_left_out": "lists.complete", "late_commit": "*change.list", "lagging_replica": "version.steady",
    "no_total_available": "lists.total-available", "no_sync_timestamp": "lists.sync-timestamp",
    "stamp_after_query": "times.stamp", "whole_seconds": "times.precision", "other_offset": "times.utc",
    "naive_times": "times.offset", "rules_error": "promotions.compiled", "empty_tiers": "promotions.tiers",
    "noisy_money": "rows.noise", "swapped_types": "rows.kinds", "numeric_flags": "rows.flags",
    "null_flags": "rows.flags", "upper_case_ids": "rows.ids", "mistakes_are_500": "mistakes.status",
    "errors_without_code": "mistakes.codes", "errors_in_indonesian": "mistakes.body", "v1_token_only": "signin.path",
    "token_scheme_only": "signin.works", "post_only": "line.get", "odd_allow": "line.allow",
    "moved_to_https": "line.answers", "captive_portal": "line.answers", "proxy_502": "line.answers",
    "stored_sale_201": "*single.again", "stored_sale_400": "*single.again", "duplicate_500": "*single.soon",
    "usage_always_created": "*usage.judged", "restored_untold": "*books.still-there",
}  # fmt: skip
ENDS = {"token_scheme_only": SIGN_IN} | dict.fromkeys(("moved_to_https", "captive_portal", "proxy_502"), UNREACHABLE)
# What every baseline head office lacks, as the check tells it.
BASELINE = {
    *(f"offers.{name}" for name in ("cursor", "sales_batch", "receipts", "stock", "digest", "heartbeat", "events")),
    *("offers.gzip_requests", "version.epoch", "version.etag", "version.datasets", "version.settings"),
    *("version.store", "rows.fields", "rows.money", "deltas.naive"),
    *("reach.company", "reach.brand", "reach.store", "reach.version"),
}
BASELINE_WRITTEN = {"change.version", "single.content", "single.total", "usage.again", "usage.named"}


def check(office: HeadOffice, **more: Any) -> Report:
    given = {"username": office.username, "password": office.password, "company_id": office.company_id}
    given |= {"brand_id": office.brand_id, "store_id": office.store_id}
    return inspect(Options(office.url, **(given | more)))


def not_well(report: Report) -> set[str]:
    return {result.check.id for result in report.results if result.finding.verdict in ("gap", "fail")}


@pytest.fixture(scope="module")
def baseline() -> Iterator[HeadOffice]:
    """A baseline head office whose rows were edited at different times and have letters in their ids."""
    with HeadOffice(profile="baseline") as office:
        new = {"id": LETTERS, "brand_id": office.brand_id, "name": "New", "sku": "4711", "price": "1.50"}
        office.world.upsert("products", new)
        office.world.edit("products", str(office.world.feed.product_by_sku("COLA-330", None)), price="7600.00")
        yield office


@pytest.mark.parametrize("gap", SWITCHES)
def test_a_gap_is_found_by_its_check(baseline: HeadOffice, gap: str) -> None:
    """With the gap on its check tells it. That none tells it without is tested below."""
    named = FOUND_BY[gap].lstrip("*")
    how = {"only": (named,), "write": FOUND_BY[gap].startswith("*")}
    baseline.world.gaps.on(gap)
    if gap == "restored_untold":  # head office goes back while it is being checked: when it lists the sale
        baseline.intercept = lambda method, path: (
            baseline.world.gaps.off(gap) if (method, path) == ("GET", "/api/sales/") else None
        )
    try:
        found = check(baseline, **how)
    finally:
        baseline.world.gaps.off()
        baseline.intercept = None
    assert named in not_well(found)
    assert found.exit_code == ENDS.get(gap, GAPS)


def test_a_baseline_head_office_shows_precisely_its_gaps(baseline: HeadOffice) -> None:
    """No more than the baseline lacks, no less, and it can be used."""
    report = check(baseline, write=True)
    assert not_well(report) == BASELINE | BASELINE_WRITTEN
    assert (report.exit_code, report.native) == (GAPS, False)
    assert any("it counts" in sentence for sentence in report.left)


def test_without_write_nothing_is_written(baseline: HeadOffice) -> None:
    """No sale, no use, nothing left behind; the checks that write say what they need."""
    before = baseline.world.sale_count(), baseline.world.usage_count()
    report = check(baseline, only=("single.", "usage.", "change.", "books."))
    assert (baseline.world.sale_count(), baseline.world.usage_count()) == before
    assert report.left == []
    asked_for = [result for result in report.results if result.check.id.startswith(("single.", "usage."))]
    assert {result.finding.seen for result in asked_for} == {"needs --write"}


def test_the_native_stub_has_no_gap() -> None:
    """What it sold comes to nothing, and each ability works."""
    with HeadOffice() as office:
        before, total = office.world.sale_count(), office.world.ledger_total()
        report = check(office, write=True)
        assert (not_well(report), report.exit_code, report.native) == (set(), CONFORMS, True)
        assert {works for _, works in report.abilities.values()} == {"yes"}
        assert {one.how for one in report.guarantees} == {"in full"}
        assert office.world.sale_count() > before
        assert office.world.ledger_total() == total
        again = check(office, write=True, only=("change.", "sales.one-off"))
        assert not_well(again) == set()  # the marked product is there now, and is matched


def test_a_static_key_is_seen() -> None:
    """A head office that knows only `Token` is checked with its key, and told."""
    with HeadOffice(profile="baseline", gaps=["token_scheme_only"]) as office:
        report = check(office, auth_scheme="Token", password=office.static_key, only=("signin.", "rows."))
        assert not_well(report) == {"signin.scheme", "rows.fields", "rows.money"}
        office.world.gaps.off()
        report = check(office, auth_scheme="Token", password=office.static_key, only=("signin.",))
        assert "signin.scheme" not in not_well(report)


def test_promotions_that_are_cut_are_told() -> None:
    """More promotions than the settings' number: those beyond it never reach a till."""
    with HeadOffice(profile="baseline") as office:
        for number in range(12):
            office.world.upsert("promotions", {"id": f"{number:08}-aaaa-4000-8000-000000000000", "name": f"P{number}"})
        office.world.set_settings(max_promotions_per_sync=10)
        assert "lists.not-cut" in not_well(check(office, only=("lists.",)))


def test_one_broken_route_is_told_once() -> None:
    """A page in place of one list fails once; what rests on it is not checked, everything else is."""
    with HeadOffice(profile="baseline", gaps=["captive_portal=sync/products"]) as office:
        report = check(office, only=("lists.", "rows.", "mistakes.method"))
        verdicts = {result.check.id: result.finding for result in report.results}
        assert report.exit_code == FAILS
        assert verdicts["lists.form"].verdict == "fail"
        assert "HTML" in verdicts["lists.form"].seen
        assert verdicts["rows.fields"].verdict == "not checked"
        assert verdicts["mistakes.method"].verdict == "pass"


def test_each_check_is_told_in_full() -> None:
    """Ids are unique, sections are the contract's, and a gap has a consequence and a remedy."""
    checks = every_check()
    assert len({check.id for check in checks}) == len(checks)
    for one in checks:
        assert one.section in "12345678", one.id
        assert one.what[-1] not in ".;", one.id
        assert one.consequence.endswith("."), one.id
        assert one.remedy.endswith((".", "}.")), one.id
