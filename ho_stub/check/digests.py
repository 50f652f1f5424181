"""Digests, stock, receipts, events: what a native head office offers to verify and to hear (sections 4 and 6)."""

import hashlib
from collections.abc import Iterable
from typing import Any

from ho_stub.check.forms import is_decimal_text, is_id, is_list, is_whole
from ho_stub.check.lists import LIMIT_MAX
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.visit import DATASETS, SYNC, Visit, Whole

TRIES = 3
QUANTITY_DECIMALS = 3
FIRST_BYTE_S = 3.0
COMMENT_S = 20.0

verify = Group("Digests, stock, receipts, events")


def leaf_of(row_id: str, leaves: int) -> int:
    """The leaf of an id: the first byte of its SHA-256, scaled."""
    return hashlib.sha256(row_id.encode()).digest()[0] * leaves // 256


def leaf_values(rows: Iterable[dict[str, Any]], leaves: int) -> list[str]:
    """The digest of rows: sums of their hashes modulo 2^64, as 16 hex digits (section 6)."""
    sums = [0] * leaves
    for row in rows:
        digest = hashlib.sha256(f"{row['id']}:{row['row_version']}".encode()).digest()
        sums[leaf_of(str(row["id"]), leaves)] += int.from_bytes(digest[:8], "big")
    return [f"{total % 2**64:016x}" for total in sums]


def _digest(visit: Visit, dataset: str, leaves: int) -> tuple[dict[str, Any], Whole]:
    """A digest and the whole list at the same cursor; LookupError where they never meet."""
    for _ in range(TRIES):
        params = visit.ids_of(dataset) | {"dataset": dataset, "leaves": str(leaves)}
        digest, whole = visit.get("digest", params).object(), visit.whole(dataset)
        if digest.get("cursor") == whole.cursor:
            return digest, whole
        visit.replace(visit.pull(dataset))
    raise LookupError(f"{dataset}: the digest's cursor is never the list's, byte for byte")


@verify.check(
    "digest.agrees",
    "6",
    "The digest is that of the list, by 256, 16 and 1 leaves, and its cursor is the list's",
    "Tills that hold everything are told that they don't: each look repairs leaf after leaf, for ever.",
    "Sum SHA-256 of `id:row_version` by the first byte of SHA-256(id), modulo 2^64; tests/contract/digest.json.",
    needs="digest",
)
def agrees(visit: Visit) -> Finding:
    wrong = []
    for dataset in DATASETS:
        for leaves in (256, 16, 1):
            digest, whole = _digest(visit, dataset, leaves)
            if digest.get("dataset") != dataset or digest.get("count") != len(whole.rows):
                wrong.append(f"{dataset}: count {digest.get('count')} of {len(whole.rows)}")
            elif digest.get("leaves") != leaf_values(whole.rows, leaves):
                wrong.append(f"{dataset}: other leaves of {leaves}")
    return judged(wrong)


@verify.check(
    "digest.leaves",
    "6",
    "The rows of some leaves can be had, all of them and no others",
    "A till that found a difference can't mend it without a whole list.",
    "Answer `?leaves=3,17&leaves_of=256` with all rows of these leaves, and the cursor.",
    needs="digest",
)
def leaf_rows(visit: Visit) -> Finding:
    wrong = []
    for dataset in DATASETS:
        rows = visit.whole(dataset).rows
        wanted = sorted({leaf_of(str(row["id"]), 256) for row in rows})[:2] or [0]
        params = visit.ids_of(dataset) | {"leaves": ",".join(map(str, wanted)), "leaves_of": "256"}
        body = visit.get(dataset, params).object()
        found = {str(row["id"]) for row in body[dataset]}
        due = {str(row["id"]) for row in rows if leaf_of(str(row["id"]), 256) in wanted}
        wrong += [f"{dataset}: {len(found)} rows, {len(due)} are due"] if found != due else []
        wrong += [f"{dataset}: no cursor"] if not isinstance(body.get("cursor"), str) else []
    return judged(wrong)


def _stock(visit: Visit, **more: str) -> dict[str, Any]:
    params = {"store_id": visit.options.store_id, "device_id": visit.device_id, "journal_id": visit.journal_id}
    return visit.get("stock", params | more).object()


def stock_pages(visit: Visit, **more: str) -> list[dict[str, Any]]:
    """The whole stock feed, in pages."""
    pages = [_stock(visit, **more)]
    while pages[-1].get("has_more") is True and len(pages) < 1_000:
        pages.append(_stock(visit, **more | {"cursor": str(pages[-1]["next_cursor"])}))
    return pages


@verify.check(
    "stock.form",
    "4",
    "Stock figures are decimals in strings, one a product, with a cursor that goes on",
    "Stock at the till is unknown, or wrong by what binary floats make of it.",
    'Send {"product_id", "quantity": "42.000", "reorder_level"} in a feed of its own.',
    needs="stock",
)
def stock_form(visit: Visit) -> Finding:
    pages = stock_pages(visit)
    figures = [figure for page in pages for figure in page["stock"]]
    wrong = [f"{one.get('product_id')!r} is no id" for one in figures if not is_id(one.get("product_id"))]
    for one in figures:
        level = one.get("reorder_level")
        if not is_decimal_text(one.get("quantity"), QUANTITY_DECIMALS) or not (
            level is None or is_decimal_text(level, QUANTITY_DECIMALS)
        ):
            wrong.append(f"{one.get('product_id')}: {one.get('quantity')!r}, {level!r}")
    if len({one.get("product_id") for one in figures}) < len(figures):
        wrong.append("a product comes twice")
    if not all(is_list(page.get("deleted_ids")) for page in pages):
        wrong.append("no deleted_ids")
    after = _stock(visit, cursor=str(pages[-1].get("next_cursor")))
    if len(figures) > 1 and len(after["stock"]) >= len(figures):
        wrong.append("the end of the feed begins anew")
    return judged(wrong, f"{len(figures)} figures")


@verify.check(
    "stock.pages",
    "4",
    "The stock feed keeps `limit`",
    "A till on a poor line gets more than it asked for.",
    "Page the feed as the others.",
    needs="stock",
)
def stock_limit(visit: Visit) -> Finding:
    whole = [one["product_id"] for page in stock_pages(visit) for one in page["stock"]]
    if len(whole) < 2:
        return not_checked("there are too few figures")
    limit = min(LIMIT_MAX, -(-len(whole) // 2))
    pages = stock_pages(visit, limit=str(limit))
    wrong = [f"{len(page['stock'])} for limit={limit}" for page in pages if len(page["stock"]) > limit]
    if {one["product_id"] for page in pages for one in page["stock"]} != set(whole):
        wrong.append("the pages don't make the whole feed")
    return judged(wrong)


@verify.check(
    "stock.seen",
    "4",
    "A journal that head office never saw has no sales in the figures",
    "Available stock at the till is wrong by its own sales.",
    'Answer {"contiguous_seq": 0, "beyond": []} for it.',
    needs="stock",
)
def stock_seen(visit: Visit) -> Finding:
    found = stock_pages(visit)[-1].get("seen")
    return passed() if found == {"contiguous_seq": 0, "beyond": []} else gap(f"seen is {found!r}")


@verify.check(
    "receipts.nothing",
    "6",
    "The receipts of a journal that head office never saw are empty",
    "A new till is told that its sales are there already, or are missing.",
    "Answer zeros and empty lists, with the epoch.",
    needs="receipts",
)
def receipts_nothing(visit: Visit) -> Finding:
    found = visit.get("receipts", {"device_id": visit.device_id, "journal_id": visit.journal_id}).object()
    wrong = [f"{name} is {found.get(name)!r}" for name in ("contiguous_seq", "highest_seq", "count", "usages")
             if not is_whole(found.get(name)) or found[name]]  # fmt: skip
    wrong += [f"{name} is {found.get(name)!r}" for name in ("missing", "refused") if found.get(name) != []]
    amount = found.get("total_amount")
    wrong += [f"total_amount is {amount!r}"] if not is_decimal_text(amount) or float(str(amount)) else []
    wrong += ["another epoch"] if found.get("epoch") != visit.version.get("epoch") else []
    return judged(wrong)


@verify.check(
    "events.begin",
    "6",
    "The stream of hints begins at once, as text/event-stream",
    "Something between keeps the stream back: hints come late or never, and tills poll.",
    "Send a comment with the first bytes; switch buffering off in the proxy before it.",
    needs="events",
)
def events_begin(visit: Visit) -> Finding:
    status, kind, heard = visit.line.hear(f"{SYNC}events/", {"store_id": visit.options.store_id}, FIRST_BYTE_S, 1)
    if status != 200 or "text/event-stream" not in kind:
        return failed(f"it is answered {status} as {kind}")
    return passed() if heard else gap(f"nothing came within {FIRST_BYTE_S:.0f} s")


@verify.check(
    "events.comment",
    "6",
    "Every 15 s there is a sign of life on the stream",
    "Proxies and routers cut a silent stream, and tills open it anew all the time.",
    "Send a comment every 15 s.",
    needs="events",
)
def events_comment(visit: Visit) -> Finding:
    if not visit.options.slow:
        return not_checked("needs --slow")
    _, _, heard = visit.line.hear(f"{SYNC}events/", {"store_id": visit.options.store_id}, COMMENT_S, 2)
    return passed(f"{len(heard)} pieces") if len(heard) > 1 else gap(f"silence for {COMMENT_S:.0f} s")
