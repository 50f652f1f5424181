"""A native head office with one defect: the check that is there for it tells it."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from ho_stub.check.inspection import inspect
from ho_stub.check.options import Options
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER = "abcdef00-1111-4000-8000-000000000000"
numbers = itertools.count()


class Bench:
    """A native head office; `change` has its answers."""

    def __init__(self, twist: Any) -> None:
        self.change: Any = None
        self.office = HeadOffice()
        twist(self.office, self._changed)
        day = self.office.world.today().isoformat()
        self.office.world.upsert("promotions", {"id": OTHER, "name": "Now", "validity": {"start_date": day}})
        self.office.start()

    def _changed(self, method: str, path: str, query: str, status: int, headers: Any, body: Any) -> tuple[int, Any]:
        if self.change is None:
            return status, body
        return self.change(f"{method} {path}?{query}", status, headers, body) or (status, body)

    def verdict(self, check_id: str) -> str:
        office = self.office
        given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
        report = inspect(Options(office.url, *given, write=True, only=(check_id,)))
        return next(result.finding.verdict for result in report.results if result.check.id == check_id)


@pytest.fixture(scope="module")
def bench(twist: Any) -> Iterator[Bench]:
    bench = Bench(twist)
    yield bench
    bench.office.close()


def body(where: str, put: Callable[[Any], Any]) -> Any:
    """Changes the body of good answers whose request holds a text."""

    def change(asked: str, status: int, _: Any, body: Any) -> None:
        if where in asked and status < 300 and isinstance(body, dict):
            put(body)

    return change


def row(dataset: str, **fields: Any) -> Any:
    """Changes the first row of a list."""
    return body(f"/{dataset}/", lambda one: one[dataset][0].update(fields) if one.get(dataset) else None)


def promotion(name: str, **fields: Any) -> Any:
    """Changes an object inside the first promotion."""
    return body("/promotions/", lambda one: [row[name].update(fields) for row in one["promotions"][:1]])


def results(put: Callable[[Any], Any]) -> Any:
    """Changes each result of a batch of sales."""
    return body("POST /api/v1/sync/sales/", lambda one: [put(result) for result in one["results"]])


def status(where: str, old: int, new: int) -> Any:
    """Changes the status of an answer."""
    return lambda asked, found, _, body: (new, body) if where in asked and found == old else None


def tags(asked: str, status: int, headers: Any, _: Any) -> None:
    if "etag" in headers:
        headers["etag"] = f'"{next(numbers)}"'


def no_epoch(asked: str, status: int, headers: Any, _: Any) -> None:
    if "products" in asked:
        headers.pop("x-ho-epoch")


def when(name: str, value: Any, **fields: Any) -> Callable[[Any], Any]:
    """Changes a result where one of its fields has a value."""
    return lambda result: result.update(fields) if result[name] == value else None


DEFECTS: dict[str, Any] = {
    "lists.total": body("/products/", lambda one: one.update(total=99)),
    "lists.pages": body("/products/", lambda one: one["products"].reverse()),
    "lists.cursor-form": body("/categories/", lambda one: one.pop("next_cursor")),
    "lists.no-id-twice": body("/products/", lambda one: one["products"].append(one["products"][0])),
    "lists.own-rows": row("products", company_id=OTHER),
    "lists.count": body("/version/", lambda one: one["datasets"]["products"].update(count=99)),
    "version.epoch": body("/version/", lambda one: one.pop("epoch")),
    "line.epoch": no_epoch,
    "version.etag": tags,
    "version.store": body("/version/", lambda one: one["store"].update(timezone="Mars/Base")),
    "version.settings": body("/version/", lambda one: one["settings"].update(sync_interval_hours=99)),
    "version.server-time": body("/version/", lambda one: one.update(server_time="2020-01-01T00:00:00Z")),
    "version.force-update": body("/version/", lambda one: one.update(force_update="no")),
    "version.datasets": body("/version/", lambda one: one["datasets"].pop("products")),
    "version.each-store": status("version", 400, 200),
    "offers.stock": body("/version/", lambda one: one["capabilities"].remove("stock")),
    "rows.parents": row("categories", parent_id=OTHER),
    "rows.categories": row("products", category_id=OTHER),
    "rows.row-version": row("products", row_version="7"),
    "rows.times": row("products", updated_at=None),
    "rows.names": row("products", name=" "),
    "promotions.readable": row("promotions", promo_type="mystery"),
    "promotions.times": promotion("validity", days_of_week=[7]),
    "promotions.targets": promotion("targeting", stores=[OTHER]),
    "promotions.window": promotion("validity", end_date="2020-01-01"),
    "promotions.beside": body("/promotions/", lambda one: one.pop("store")),
    "deltas.naive": status("updated_since=2026-01-01", 400, 200),
    "cursor.goes-on": body("cursor=", lambda one: one.update(snapshot=True)),
    "cursor.apart": body("/products/", lambda one: one["deleted_ids"].append(one["products"][0]["id"])),
    "cursor.same-place": body("cursor=", lambda one: one.update(total_available=next(numbers))),
    "cursor.unknown": status("cursor=", 400, 200),
    "cursor.own-scope": status("cursor=", 410, 200),
    "digest.agrees": body("/digest/", lambda one: one["leaves"].__setitem__(0, "0123456789abcdef")),
    "digest.leaves": body("leaves_of", lambda one: [one[name].clear() for name in one if isinstance(one[name], list)]),
    "stock.form": body("/stock/", lambda one: one["stock"][0].update(quantity=1.5)),
    "stock.seen": body("/stock/", lambda one: one["seen"].update(contiguous_seq=5)),
    "receipts.nothing": body("/receipts/", lambda one: one.update(count=3)),
    "reach.store": status("/promotions/", 403, 404),
    "mistakes.problem": lambda asked, status, _, body: body.pop("title", None) and None if status == 400 else None,
    "mistakes.status": status("limit=many", 400, 500),
    "mistakes.noticed": status("limit=many", 400, 200),
    "mistakes.method": status("DELETE", 405, 404),
    "signin.body-401": lambda asked, status, _, body: (401, {"error": "no"}) if status == 401 else None,
    "signin.needed": status("/products/", 401, 200),
    "signin.wrong-refresh": status("refresh", 401, 500),
    "line.nowhere": status("no-such-route", 404, 200),
    "line.type": lambda asked, status, headers, _: headers.update({"content-type": "text/plain"}),
    "line.health": status("/health/", 200, 404),
    "change.list": row("products", sku="CONFORMANCE-CHECK", price="9"),
    "change.delta": body("cursor=", lambda one: one["products"].clear() if "products" in one else None),
    "change.version": body("/version/", lambda one: one.update(version=1)),
    "change.stock": body("/stock/", lambda one: [figure.update(quantity="5") for figure in one["stock"]]),
    "sales.results": results(lambda one: one.update(external_id=str(uuid.uuid4()))),
    "sales.one-bad": results(lambda one: one.update(status="rejected", code="UNKNOWN_PRODUCT")),
    "sales.fingerprint": results(lambda one: one.update(fingerprint="0" * 64)),
    "sales.contiguous": body("/sync/sales/", lambda one: one.update(contiguous_seq=0)),
    "sales.one-off": results(lambda one: one.update(products={"CONFORMANCE-CHECK": str(uuid.uuid4())})),
    "sales.again": results(when("status", "duplicate", id=str(uuid.uuid4()))),
    "sales.mismatch": results(when("code", "PAYLOAD_MISMATCH", status="duplicate", code=None)),
    "sales.judged-anew": results(when("code", "UNKNOWN_PRODUCT", status="retry")),
    "sales.seq-conflict": results(lambda one: one["warnings"].clear()),
    "sales.total": results(lambda one: one["warnings"].clear()),
    "sales.rounding": results(lambda one: one["warnings"].append("TOTAL_MISMATCH")),
    "sales.codes": results(lambda one: one.update(code="INVALID_SALE") if one["code"] else None),
    "sales.too-many": status("/sales/", 413, 200),
    "sales.malformed": status("/sales/", 400, 500),
    "sales.listed": body("GET /api/sales/", lambda one: one["results"].clear()),
    "sales.void": body("/receipts/", lambda one: one.update(total_amount="1")),
    "receipts.agree": body("/receipts/", lambda one: one.update(total_amount="1")),
    "books.still-there": body("GET /api/sales/", lambda one: one["results"].clear()),
    "usage.again": body("/usage/", lambda one: one.update(created=1, duplicates=0)),
    "usage.early": body("/usage/", lambda one: one["errors"].clear()),
    "usage.named": body("/usage/", lambda one: [error.pop("index") for error in one["errors"]]),
    "heartbeat.taken": status("/heartbeat/", 204, 200),
}  # fmt: skip


# One of each kind runs always, the others in `make check`.
ALWAYS = {
    "lists.pages", "version.etag", "rows.parents", "promotions.targets", "cursor.unknown", "digest.agrees",
    "stock.seen", "receipts.nothing", "reach.store", "mistakes.status", "signin.needed", "line.epoch", "change.delta",
    "sales.again", "sales.mismatch", "receipts.agree", "usage.again",
}  # fmt: skip


@pytest.mark.parametrize(
    "check_id", [one if one in ALWAYS else pytest.param(one, marks=pytest.mark.slow) for one in DEFECTS]
)
def test_a_defect_is_told_by_its_check(bench: Bench, check_id: str) -> None:
    """With the defect a gap or a failure; that the stub passes without it is tested elsewhere."""
    bench.change = DEFECTS[check_id]
    assert bench.verdict(check_id) in ("gap", "fail")
