"""Each gap of a baseline head office shows what it says, over a real port."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ho_stub.cli import main
from ho_stub.gaps import GAPS, GROUPS, GapError
from ho_stub.testing import HeadOffice

ROOT = Path(__file__).parent.parent.parent
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture
def gaps(baseline: Any) -> Any:
    """The switches of the device's head office."""
    return baseline.office.world.gaps


def sale_of(device: Any, product: str | None = None, price: str = "7500.00") -> dict[str, Any]:
    line = {"product": product or device.cola, "quantity": "1", "unit_price": price}
    return {"items": [line], "external_id": str(uuid.uuid4()), "source_device": "pos-02", "business_date": "2026-11-21"}


def sell(device: Any, sale: dict[str, Any]) -> int:
    status: int = device.http.post("/api/sales/", json=sale).status_code
    return status


def version(device: Any) -> int:
    found: int = device.get("version", **device.ids).json()["version"]
    return found


# ---- the switches


def test_gaps_are_switched_at_the_start_and_at_run_time() -> None:
    """By name, by name=value or by a mapping; off again by name or all at once."""
    with HeadOffice(profile="baseline", gaps={"post_only", "late_commit=30"}) as office:
        gaps = office.world.gaps
        assert (gaps.is_on("post_only"), gaps.number("late_commit")) == (True, 30)
        gaps.on("naive_times", "local")
        assert gaps.text("naive_times") == "local"
        gaps.off("post_only")
        assert not gaps.is_on("post_only")
        gaps.off()
        assert not any(gaps.is_on(name) for name in GAPS)
    with HeadOffice(profile="baseline", gaps={"vanishing_rows": 2, "whole_seconds": None}) as office:
        assert office.world.gaps.number("vanishing_rows") == 2


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        ("floats", "There are: inactive_brand"),
        ("post_only=1", "write post_only alone"),
        ("late_commit=soon", "write late_commit=60 (seconds"),
        ("naive_times=utc+1", "utc, or local"),
        ("other_offset=x", "write other_offset=+07:00"),
    ],
)
def test_a_gap_that_is_none_is_told_with_those_there_are(gap: str, said: str) -> None:
    """The error names the mend."""
    with pytest.raises(GapError, match=re.escape(said)):
        HeadOffice(profile="baseline", gaps=[gap])


def test_a_native_head_office_has_no_gaps(office: Any) -> None:
    """The native profile is the contract without a gap."""
    with pytest.raises(GapError, match="profile baseline"):
        office.world.gaps.on("post_only")
    with pytest.raises(GapError, match="profile baseline"):
        HeadOffice(gaps=["post_only"])


def test_the_command_line_takes_and_lists_gaps() -> None:
    """`--gap list` prints every gap with its sentence; a bad one ends with a clear error and no traceback."""
    listed = CliRunner().invoke(main, ["run", "--gap", "list"])
    assert listed.exit_code == 0
    assert all(gap.name in listed.stdout and gap.says in listed.stdout for gap in GAPS.values())
    for arguments, said in (
        (["--profile", "baseline", "--gap", "floats"], "There is no gap 'floats'"),
        (["--gap", "post_only"], "baseline head offices"),
    ):
        refused = CliRunner().invoke(main, ["run", *arguments])
        assert refused.exit_code == 1
        assert said in refused.output
        assert "Traceback" not in refused.output


def test_every_gap_says_what_it_does_in_one_sentence() -> None:
    """Names are unique, sentences end, and a value has a unit."""
    assert len(GAPS) == sum(map(len, GROUPS.values()))
    for gap in GAPS.values():
        assert re.fullmatch(r"[a-z][a-z_0-9]*", gap.name)
        assert gap.says[0].isupper()
        assert gap.says.endswith(".")
        assert bool(gap.unit) == (gap.default is not None)


# ---- lists


def test_inactive_brand(baseline: Any, gaps: Any) -> None:
    """200 with no rows, in every list."""
    gaps.on("inactive_brand")
    for dataset in ("categories", "products", "promotions"):
        body = baseline.download(dataset)
        assert (body[dataset], body["total"], body["total_available"]) == ([], 0, 0)


def test_empty_once(baseline: Any, gaps: Any) -> None:
    """Empty the first time, whole the second."""
    gaps.on("empty_once")
    assert [baseline.download("products")["total"] for _ in range(3)] == [0, 3, 3]
    assert [baseline.download("categories")["total"] for _ in range(2)] == [0, 2]


def test_vanishing_rows(baseline: Any, gaps: Any) -> None:
    """Rows are missing, and nothing in the answer tells."""
    gaps.on("vanishing_rows", 2)
    body = baseline.download("products")
    assert (len(body["products"]), body["total"], body["total_available"]) == (1, 1, 1)


def test_row_left_out(baseline: Any, gaps: Any) -> None:
    """One promotion less than counted; with an id, that row."""
    gaps.on("row_left_out")
    body = baseline.download("promotions")
    assert (body["promotions"], body["total"], body["total_available"]) == ([], 0, 1)
    assert baseline.download("products")["total"] == 3
    gaps.on("row_left_out", baseline.cola)
    body = baseline.download("products")
    assert baseline.cola not in [row["id"] for row in body["products"]]
    assert (body["total"], body["total_available"]) == (2, 3)


def test_late_commit(baseline: Any, gaps: Any) -> None:
    """An edit isn't seen until its time, and appears with the stamp of when it was made."""
    world = baseline.office.world
    gaps.on("late_commit", 3600)
    made = world.edit("products", baseline.cola, price="8000.00")
    fresh = world.upsert("products", {"id": str(uuid.uuid4()), "brand_id": baseline.office.brand_id, "name": "New"})
    body = baseline.download("products")
    assert body["sync_timestamp"] > made["updated_at"]
    assert {row["id"]: row["price"] for row in body["products"]}[baseline.cola] == 7500
    assert baseline.download("products", updated_since=body["sync_timestamp"])["products"] == []
    gaps.off("late_commit")
    rows = {row["id"]: row for row in baseline.download("products")["products"]}
    assert (rows[baseline.cola]["price"], rows[baseline.cola]["updated_at"]) == (8000, made["updated_at"])
    assert fresh["id"] in rows
    assert baseline.download("products", updated_since=body["sync_timestamp"])["products"] == []
    gaps.on("late_commit", 0)
    world.edit("products", baseline.cola, price="9000.00")
    assert {row["id"]: row["price"] for row in baseline.download("products")["products"]}[baseline.cola] == 9000


def test_lagging_replica(baseline: Any, gaps: Any) -> None:
    """Every second version is an older one."""
    newest = version(baseline)
    gaps.on("lagging_replica", 30)
    assert [version(baseline) - newest for _ in range(4)] == [0, -30, 0, -30]


@pytest.mark.parametrize("gap", ["no_total_available", "no_sync_timestamp"])
def test_missing_members(baseline: Any, gaps: Any, gap: str) -> None:
    """The member isn't there; the rest is."""
    before = baseline.download("products").keys()
    gaps.on(gap)
    assert before - baseline.download("products").keys() == {gap.removeprefix("no_")}


# ---- times


def test_stamp_after_query(baseline: Any, gaps: Any) -> None:
    """What is edited after the query and before the stamp is in neither of two answers."""
    gaps.on("stamp_after_query", 60)
    body = baseline.download("products")
    edited = baseline.office.world.edit("products", baseline.cola, name="missed")
    assert edited["updated_at"] < body["sync_timestamp"]
    assert baseline.download("products", updated_since=body["sync_timestamp"])["products"] == []


def test_whole_seconds(baseline: Any, gaps: Any) -> None:
    """No fraction anywhere."""
    gaps.on("whole_seconds")
    body = baseline.download("products")
    stamps = [body["sync_timestamp"], *(row[name] for row in body["products"] for name in ("created_at", "updated_at"))]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp) for stamp in stamps)


def test_other_offset(baseline: Any, gaps: Any) -> None:
    """The same moments in another offset; and it is read back as well."""
    before = {row["id"]: row["updated_at"] for row in baseline.download("products")["products"]}
    gaps.on("other_offset")
    body = baseline.download("products")
    for stamp in [body["sync_timestamp"], *(row["updated_at"] for row in body["products"])]:
        assert stamp.endswith("+07:00")
    moment = dt.datetime.fromisoformat
    assert {row["id"]: moment(row["updated_at"]) for row in body["products"]} == {
        row_id: moment(stamp) for row_id, stamp in before.items()
    }
    assert baseline.get("version", **baseline.ids).json()["last_updated"].endswith("+07:00")
    assert baseline.download("products", updated_since=body["sync_timestamp"])["products"] == []


def test_naive_times(baseline: Any, gaps: Any) -> None:
    """No offset: UTC, or the company's own time. Either is read in local time when it comes back."""
    rows = baseline.download("products")["products"]
    gaps.on("naive_times")
    body = baseline.download("products")
    assert [row["updated_at"] + "Z" for row in body["products"]] == [row["updated_at"] for row in rows]
    utc = body["sync_timestamp"]
    assert len(baseline.download("products", updated_since=utc)["products"]) == 3  # seven hours too early
    gaps.on("naive_times", "local")
    local = baseline.download("products")["sync_timestamp"]
    assert utc[:13] != local[:13]
    assert baseline.download("products", updated_since=local)["products"] == []


# ---- rows


@pytest.mark.parametrize(("gap", "rules"), [("rules_error", "error"), ("empty_tiers", "tiers")])
def test_promotions_that_are_none(baseline: Any, gaps: Any, gap: str, rules: str) -> None:
    """All promotions, or the one of the id."""
    gaps.on(gap)
    [row] = baseline.download("promotions")["promotions"]
    assert rules in row["rules"]
    gaps.on(gap, str(uuid.uuid4()))
    [row] = baseline.download("promotions")["promotions"]
    assert rules not in row["rules"]


def test_noisy_money(baseline: Any, gaps: Any) -> None:
    """Floats one bit beside the price, in promotions too."""
    gaps.on("noisy_money")
    rows = {row["id"]: row for row in baseline.download("products")["products"]}
    price = rows[baseline.cola]["price"]
    assert price != 7500
    assert round(Decimal(price), 2) == 7500
    [deal] = baseline.download("promotions")["promotions"]
    assert isinstance(deal["rules"]["discount_percent"], float)


def test_swapped_types(baseline: Any, gaps: Any) -> None:
    """Prices are text, an SKU of digits is a number."""
    world = baseline.office.world
    cola = world.edit("products", baseline.cola, sku="330")["id"]
    gaps.on("swapped_types")
    rows = {row["id"]: row for row in baseline.download("products")["products"]}
    assert (rows[cola]["price"], rows[cola]["sku"]) == ("7500.0", 330)
    assert baseline.download("categories")["categories"][0]["display_order"] == "1"


@pytest.mark.parametrize(("gap", "flag"), [("numeric_flags", 1), ("null_flags", None)])
def test_flags(baseline: Any, gaps: Any, gap: str, flag: int | None) -> None:
    """is_active in every list."""
    gaps.on(gap)
    for dataset in ("categories", "products", "promotions"):
        flags = [row["is_active"] for row in baseline.download(dataset)[dataset]]
        assert [(type(one), one) for one in flags] == [(type(flag), flag)] * len(flags)


def test_upper_case_ids(baseline: Any, gaps: Any) -> None:
    """Ids, and those they point to."""
    made = baseline.office.world.upsert(
        "products", {"id": "abcdef00-0000-4000-8000-000000000000", "brand_id": baseline.office.brand_id, "name": "New"}
    )
    gaps.on("upper_case_ids")
    ids = [row["id"] for row in baseline.download("products")["products"]]
    assert made["id"].upper() in ids
    assert made["id"] not in ids


# ---- errors


def mistake(device: Any) -> httpx.Response:
    answer: httpx.Response = device.get("products", **(device.ids | {"brand_id": str(uuid.uuid4())}))
    return answer


def test_mistakes_are_500(baseline: Any, gaps: Any) -> None:
    """What would be 400 or 404 is 500; a route that isn't there stays 404."""
    gaps.on("mistakes_are_500")
    assert mistake(baseline).status_code == 500
    assert sell(baseline, sale_of(baseline, str(uuid.uuid4()))) == 500
    assert sell(baseline, {"items": []}) == 500
    assert baseline.get("nowhere").status_code == 404
    assert sell(baseline, sale_of(baseline)) == 201


def test_errors_without_code(baseline: Any, gaps: Any) -> None:
    """The sentence alone."""
    gaps.on("errors_without_code")
    answer = mistake(baseline)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


def test_errors_in_indonesian(baseline: Any, gaps: Any) -> None:
    """A detail alone, also when nobody is signed in."""
    gaps.on("errors_in_indonesian")
    answer = mistake(baseline)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Data yang diminta tidak ditemukan."})
    baseline.office.world.expire_tokens()
    answer = baseline.get("version", **baseline.ids)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Token tidak valid atau sudah kedaluwarsa."})


# ---- signing in


def test_v1_token_only(baseline: Any, gaps: Any) -> None:
    """The path of other deployments works; the usual one is not found."""
    gaps.on("v1_token_only")
    secret = {"username": baseline.office.username, "password": baseline.office.password}
    assert baseline.http.post("/api/token/", json=secret).status_code == 404
    tokens = baseline.http.post("/api/v1/token/", json=secret).json()
    refresh = {"refresh": tokens["refresh"]}
    assert baseline.http.post("/api/token/refresh/", json=refresh).status_code == 404
    assert baseline.http.post("/api/v1/token/refresh/", json=refresh).status_code == 200


def test_token_scheme_only(baseline: Any, gaps: Any) -> None:
    """A good Bearer token is refused; the static key is taken."""
    gaps.on("token_scheme_only")
    answer = baseline.get("version", **baseline.ids)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Token")
    baseline.http.headers["Authorization"] = f"Token {baseline.office.static_key}"
    assert baseline.get("version", **baseline.ids).status_code == 200


# ---- the line


@pytest.mark.parametrize(("gap", "allow"), [("post_only", "POST"), ("odd_allow", "post, options")])
def test_post_only(baseline: Any, gaps: Any, gap: str, allow: str) -> None:
    """GET is 405; the same parameters by POST give the same answer."""
    before = baseline.download("products")
    gaps.on(gap)
    for path in ("version", "categories", "products", "promotions"):
        refused = baseline.get(path, **baseline.ids)
        assert (refused.status_code, refused.headers["Allow"]) == (405, allow)
        assert baseline.post(path, baseline.ids).status_code == 200
    assert baseline.post("products", baseline.ids).json()["products"] == before["products"]
    since = {"updated_since": before["sync_timestamp"]}
    assert baseline.post("products", baseline.ids | since).json()["products"] == []
    assert baseline.post("products", {}).json()["code"] == "MISSING_COMPANY_ID"
    assert sell(baseline, sale_of(baseline)) == 201
    assert baseline.http.get("/api/sales/").status_code == 200


def test_moved_to_https(baseline: Any, gaps: Any) -> None:
    """301 to the same address with https, for downloads and uploads."""
    gaps.on("moved_to_https")
    answer = baseline.get("version", **baseline.ids)
    there = baseline.office.url.replace("http://", "https://")
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{there}/api/v1/sync/version/")
    assert sell(baseline, sale_of(baseline)) == 301


@pytest.mark.parametrize(("gap", "status"), [("captive_portal", 200), ("proxy_502", 502)])
def test_something_else_answers(baseline: Any, gaps: Any, gap: str, status: int) -> None:
    """HTML in head office's place: everywhere, or where the path holds a text."""
    gaps.on(gap)
    for answer in (baseline.get("version", **baseline.ids), baseline.http.post("/api/sales/", json=sale_of(baseline))):
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert b"<title>" in answer.content
    assert baseline.office.world.sale_count() == 0
    gaps.on(gap, "products")
    assert baseline.get("version", **baseline.ids).json()["version"]
    assert b"<title>" in baseline.get("products", **baseline.ids).content


# ---- uploads


@pytest.mark.parametrize(("gap", "status"), [("stored_sale_201", 201), ("stored_sale_400", 400)])
def test_a_stored_sale_again(baseline: Any, gaps: Any, gap: str, status: int) -> None:
    """Another status, and it is counted once all the same."""
    gaps.on(gap)
    sale = sale_of(baseline)
    assert [sell(baseline, sale) for _ in range(3)] == [201, status, status]
    assert baseline.office.world.sale_count() == 1


def test_duplicate_500(baseline: Any, gaps: Any) -> None:
    """500 so soon after the first time; later it is the duplicate that it is."""
    gaps.on("duplicate_500", 3600)
    sale = sale_of(baseline)
    assert [sell(baseline, sale) for _ in range(2)] == [201, 500]
    gaps.on("duplicate_500", 0)
    assert sell(baseline, sale) == 200
    assert baseline.office.world.sale_count() == 1


def test_usage_always_created(baseline: Any, gaps: Any) -> None:
    """Even what can't be used, and is dropped."""
    gaps.on("usage_always_created")
    bad = {"external_id": str(uuid.uuid4()), "promotion_id": str(uuid.uuid4()), "bill_id": "B-1"}
    answer = baseline.post("usage", {"usages": [bad, {"external_id": "x"}]}).json()
    assert (answer["created"], answer["errors"], answer["total"]) == (2, [], 2)
    assert baseline.office.world.usage_count() == 0


# ---- accidents


def test_restored_untold(baseline: Any, gaps: Any) -> None:
    """Edits and sales since the switch are gone, tokens are good, and nothing tells."""
    world = baseline.office.world
    gaps.on("restored_untold", 3600)
    sale = sale_of(baseline)
    assert sell(baseline, sale) == 201
    world.edit("products", baseline.cola, price="8000.00")
    assert world.sale_count() == 1
    gaps.off("restored_untold")
    assert (world.sale_count(), world.get("products", baseline.cola)["price"]) == (0, "7500.00")
    assert sell(baseline, sale) == 201
    gaps.on("restored_untold", 0)
    assert sell(baseline, sale) == 200  # due at once: it went back to what it had just now
    assert world.sale_count() == 1


# ---- the document


def test_every_gap_is_in_the_documents_table() -> None:
    """docs/head-office.md lists each gap once, with what the agent does and tests that are there."""
    text = (ROOT / "docs/head-office.md").read_text("utf-8")
    table = [line.strip("|").split("|") for line in text.splitlines() if "tests/sync/test_gaps.py::" in line]
    switches = [cells[2].strip() for cells in table]
    assert sorted(name.strip("`") for name in switches if name != "always") == sorted(GAPS)
    for cells in table:
        assert all(cell.strip() for cell in cells)
        named = NAMED_TEST.findall(cells[3])
        assert named, cells
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), name
