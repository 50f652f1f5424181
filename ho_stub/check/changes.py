"""A change on its way: the first sale edits the price of the marked product; what tells tills? (sections 3, 4, 6)."""

from decimal import Decimal
from typing import Any

from ho_stub.check.digests import stock_pages
from ho_stub.check.line import Answer
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.till import SKU, till_of
from ho_stub.check.visit import SYNC, Skip, Visit, Whole

HEARD_S = 3.0

changes = Group("A change on its way")


def _edit(visit: Visit) -> tuple[Answer, Whole]:
    """Version and products as they were before the first sale; the sale is made by then."""
    till = till_of(visit)
    if not till.sold:
        raise Skip("no sale was taken")
    return till.before


def _marked(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return next((row for row in rows if row.get("sku") == SKU), None)


def _is_new(visit: Visit, row: dict[str, Any] | None) -> bool:
    try:
        return row is not None and round(Decimal(str(row.get("price"))), 3) == Decimal(till_of(visit).price)
    except ArithmeticError:
        return False


@changes.check(
    "change.list",
    "4",
    "A product edited a moment ago is in the whole list as it is now",
    "Edits are committed late, with the time at which they were begun: a delta by time misses them, till a whole list.",
    "Commit at once, or stamp rows when they are committed.",
    writes=True,
)
def in_list(visit: Visit) -> Finding:
    _ = _edit(visit)
    row = _marked(visit.pull("products").rows)
    if row is None:
        return gap("the product that a sale made is not in the list")
    return passed() if _is_new(visit, row) else gap(f"its price is {row.get('price')}, not {till_of(visit).price}")


@changes.check(
    "change.delta",
    "4",
    "The next delta brings it",
    "An edit reaches a till with the overlap, or with the next whole list, hours later.",
    "With cursors: in commit order. By time: take the stamp before the query.",
    writes=True,
)
def in_delta(visit: Visit) -> Finding:
    _, before = _edit(visit)
    page = before.pages[0]
    by_cursor = before.cursor is not None
    since = before.cursor if by_cursor else page.get("sync_timestamp")
    if not isinstance(since, str):
        return not_checked("lists say nothing to go on from")
    params = visit.ids_of("products") | {"cursor" if by_cursor else "updated_since": since}
    row = _marked(visit.get("products", params).object()["products"])
    how = "cursor" if by_cursor else "updated_since"
    if row is None or not _is_new(visit, row):
        return failed(f"by {how}: it is missing") if by_cursor else gap(f"by {how}: it is missing")
    old = _marked(before.rows)
    if by_cursor and old is not None and not row["row_version"] > old["row_version"]:
        return gap(f"row_version is {row['row_version']} after {old['row_version']}")
    return passed(f"by {how}")


@changes.check(
    "change.version",
    "3",
    "The version differs after it",
    "A price reaches tills at their own interval, hours later: the version covers promotions alone, or whole seconds.",
    "Let the version be the number of the last change of anything that a till is sent.",
    writes=True,
)
def version_moves(visit: Visit) -> Finding:
    before, _ = _edit(visit)
    now = visit.ask_version()
    if now.object()["version"] == before.object()["version"]:
        return gap(f"it is {now.object()['version']} as before")
    wrong = []
    if "etag" in before.headers and before.headers["etag"] == now.headers.get("etag"):
        wrong.append("the ETag is the same")
    datasets = [answer.object().get("datasets", {}).get("products", {}).get("version") for answer in (before, now)]
    if visit.native and datasets[0] == datasets[1]:
        wrong.append("the products' own version is the same")
    return judged(wrong)


@changes.check(
    "change.event",
    "6",
    "The stream of hints tells of it",
    "Tills that listen learn of a change at their next poll all the same.",
    "Send `event: changed` with the new version whenever it moves.",
    needs="events",
    writes=True,
)
def event(visit: Visit) -> Finding:
    till = till_of(visit)
    _ = _edit(visit)
    where = {"store_id": visit.options.store_id}
    edit = lambda: till.send(till.sale(till.item(price="3")))  # noqa: E731
    _, _, pieces = visit.line.hear(f"{SYNC}events/", where, HEARD_S, 2, edit)
    heard = b"".join(pieces)
    if b"event: changed" not in heard and b"event:changed" not in heard:
        return gap(f"nothing came within {HEARD_S:.0f} s")
    return passed()


@changes.check(
    "change.stock",
    "4",
    "A sale moves the stock of its product, and `seen` says so; its void moves it back",
    "Tills show more goods than there are, or subtract their own sales twice.",
    "Book stock and sequence number in the sale's transaction, and tell both from one view.",
    needs="stock",
    writes=True,
)
def stock(visit: Visit) -> Finding:
    till = till_of(visit)
    _ = till.a_sale_id
    figures = {str(one["product_id"]): Decimal(one["quantity"]) for page in stock_pages(visit) for one in page["stock"]}
    sold = {str(row["id"]) for row in visit.whole("products").rows if not row.get("is_volatile")}
    known = [one for one in figures if one in sold]
    if not known or "sales_batch" not in visit.announced:
        return not_checked("no product of the list has a stock figure")
    product = max(known, key=lambda one: figures[one])
    sale = till.sale(till.item(product=product, price="1"))
    result = till.send(sale)[sale["external_id"]]
    if result.get("status") != "created":
        return failed(f"the sale is {result.get('status')}: {result.get('error')}")
    pages = stock_pages(visit)
    after = {str(one["product_id"]): Decimal(one["quantity"]) for page in pages for one in page["stock"]}
    wrong = [f"{figures[product]}, then {after.get(product)}"] if after.get(product) != figures[product] - 1 else []
    seen = pages[-1]["seen"]
    if seen["contiguous_seq"] < till.seq and not any(low <= till.seq <= high for low, high in seen["beyond"]):
        wrong.append(f"seen is {seen}, without sale {till.seq}")
    return judged(wrong)
