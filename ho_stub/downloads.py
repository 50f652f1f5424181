"""What devices fetch: categories, products, promotions, stock, digest (contract sections 4 and 6)."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from ho_stub import baseline
from ho_stub.call import Call, Caller, signed_in
from ho_stub.cursor import Cursor, Scope, read_cursor
from ho_stub.errors import bad_request
from ho_stub.examples import DIGEST, PRODUCTS, STOCK, gives
from ho_stub.rows import DATASETS, utc_now
from ho_stub.sale import is_id

LIMIT_DEFAULT = 1_000
LIMIT_MAX = 5_000
LEAVES_MAX = 256

router = APIRouter(prefix="/api/v1/sync", tags=["downloads"], dependencies=[signed_in])
native_router = APIRouter(prefix="/api/v1/sync", tags=["downloads"], dependencies=[signed_in])


class DownloadQuery(BaseModel):
    """Parameters of a download; all text here, so that a malformed one gets the contract's own error."""

    company_id: str | None = Field(None, description="UUID; required")
    brand_id: str | None = Field(None, description="UUID; required for products, else a filter")
    store_id: str | None = Field(None, description="UUID; required for promotions")
    cursor: str | None = Field(None, description="the last answer's next_cursor; without it a snapshot")
    limit: str | None = Field(None, description="rows and tombstones per answer, at most 5000")
    updated_since: str | None = Field(None, description="baseline delta: rows with updated_at >= this")
    leaves: str | None = Field(None, description="leaf numbers, comma-separated: all rows of these (section 6)")
    leaves_of: str | None = Field(None, description="how many leaves there are; default 256")


Parameters = Annotated[DownloadQuery, Query()]


@router.get("/categories/", summary="Categories: a snapshot, or what changed since a cursor")
def categories(call: Caller, query: Parameters) -> Response:
    """Deactivated ones come as upserts with `is_active: false`, deleted ones in `deleted_ids`."""
    return _download(call, "categories", query)


@router.get(
    "/products/", summary="Products of a brand: a snapshot, or what changed since a cursor", responses=gives(PRODUCTS)
)
def products(call: Caller, query: Parameters) -> Response:
    """A product without `store_id` is for all stores of the brand. One that moved away comes in `deleted_ids`."""
    return _download(call, "products", query)


@router.get("/promotions/", summary="Promotions in the store's window: a snapshot, or what changed since a cursor")
def promotions(call: Caller, query: Parameters) -> Response:
    """One that leaves the window, by an edit or because a day passed, comes in `deleted_ids`."""
    return _download(call, "promotions", query)


@native_router.get(
    "/stock/", summary="Stock figures of a store, and which of a journal's sales they contain", responses=gives(STOCK)
)
def stock(
    call: Caller,
    store_id: str | None = None,
    device_id: str = "",
    journal_id: str = "",
    cursor: str | None = None,
    limit: str | None = None,
) -> Response:
    """`seen` counts with the last page (`has_more: false`)."""
    store = call.store(store_id)
    if journal_id and not is_id(journal_id):
        raise bad_request("journal_id must be a UUID in lower case.", "INVALID_ID")
    world = call.world
    scope = Scope("stock", world.company_id, store_id=store["id"])
    with world.db.read():
        start = read_cursor(cursor, world.epoch, scope, world.stock.mark_of) if cursor else None
        page = world.stock.page(scope, start, _whole("limit", limit, LIMIT_DEFAULT, LIMIT_MAX))
        seen = world.receipts.seen_as_of(device_id, journal_id, page.seen_as_of)
    body = {
        "stock": page.rows,
        "deleted_ids": page.deleted_ids,
        "next_cursor": page.cursor.text(),
        "has_more": page.has_more,
        "snapshot": page.snapshot,
        "seen": seen,
    }
    return call.answer(msgspec.json.encode(body))


@native_router.get(
    "/digest/", summary="Digest of a dataset, to compare with one's own", tags=["verify"], responses=gives(DIGEST)
)
def digest(call: Caller, query: Parameters, dataset: str = "") -> Response:
    """Leaf = first byte of SHA-256(id), scaled; its value = sum of SHA-256("id:row_version")[:8] modulo 2^64."""
    _ = call.account
    if dataset not in DATASETS:
        raise bad_request(f"dataset must be one of {', '.join(DATASETS)}.")
    scope, _ = _scope(call, dataset, query)
    leaves = _whole("leaves", query.leaves, LEAVES_MAX, LEAVES_MAX)
    with call.world.db.read():
        count, values = call.world.feed.digest(scope, leaves)
        cursor = call.world.feed.cursor_at_head(scope).text()
    return call.answer(msgspec.json.encode({"dataset": dataset, "cursor": cursor, "count": count, "leaves": values}))


def _download(call: Call, dataset: str, query: DownloadQuery) -> Response:
    scope, store = _scope(call, dataset, query)
    more: dict[str, Any] = {}
    if store is not None and dataset == "promotions":
        more = {"settings": call.world.settings_of(store), "store": call.world.store_answer(store)}
    if not call.world.native:
        return baseline.download(call, scope, query.updated_since, more)
    if query.leaves is not None:
        return _leaves(call, scope, query)
    return _page(call, scope, query, more)


def _page(call: Call, scope: Scope, query: DownloadQuery, more: dict[str, Any]) -> Response:
    """A page by cursor; with `updated_since` and no cursor, everything since then in one answer."""
    feed = call.world.feed
    limit = _whole("limit", query.limit, LIMIT_DEFAULT, LIMIT_MAX)
    if scope.dataset == "promotions":  # also for whoever asks for more
        limit = min(limit, int(str(call.world.settings()["max_promotions_per_sync"])))
    now = utc_now()
    if query.updated_since is not None and query.cursor is None:
        since = baseline.moment(query.updated_since, None)
        with call.world.db.read():
            rows = feed.since(scope, since, active_only=False)
            deleted_ids, cursor = feed.departed_since(scope, since), feed.cursor_at_head(scope)
        has_more, snapshot, remaining = False, False, len(rows)
    else:
        with call.world.db.read():
            start = _cursor(call, query.cursor, scope)
            page = feed.page(scope, start, limit)
        rows, deleted_ids, cursor = page.rows, page.deleted_ids, page.cursor
        has_more, snapshot, remaining = page.has_more, page.snapshot, page.remaining
    rest = {
        "deleted_ids": deleted_ids,
        "sync_timestamp": now,
        "total": len(rows),
        "total_available": remaining,
        "next_cursor": cursor.text(),
        "has_more": has_more,
        "snapshot": snapshot,
    }
    return call.answer(_joined(scope.dataset, rows, rest | more))


def _leaves(call: Call, scope: Scope, query: DownloadQuery) -> Response:
    of = _whole("leaves_of", query.leaves_of, LEAVES_MAX, LEAVES_MAX)
    wanted = (query.leaves or "").split(",")
    if not all(leaf.isascii() and leaf.isdigit() and int(leaf) < of for leaf in wanted):
        raise bad_request(f"leaves must be numbers from 0 to {of - 1}, separated by commas.")
    with call.world.db.read():
        rows = call.world.feed.leaves(scope, map(int, wanted), of)
        cursor = call.world.feed.cursor_at_head(scope).text()
    return call.answer(_joined(scope.dataset, rows, {"cursor": cursor}))


def _scope(call: Call, dataset: str, query: DownloadQuery) -> tuple[Scope, dict[str, Any] | None]:
    """The scope that the parameters name, checked against the account's reach."""
    call.company(query.company_id)
    brand_id = call.brand(query.brand_id) if query.brand_id or dataset == "products" else None
    # A device that names no store is still that store's.
    store_id = query.store_id or call.account.store_id
    store = (
        call.store(query.store_id if dataset == "promotions" else store_id)
        if store_id or dataset == "promotions"
        else None
    )
    call.world.settle_day()
    return call.world.scope(dataset, brand_id=brand_id, store_id=store["id"] if store else None), store


def _joined(dataset: str, rows: list[bytes], rest: dict[str, Any]) -> bytes:
    """The rows' stored JSON, joined: no row is decoded on its way out."""
    return b'{"' + dataset.encode() + b'":[' + b",".join(rows) + b"]," + msgspec.json.encode(rest)[1:]


def _cursor(call: Call, text: str | None, scope: Scope) -> Cursor | None:
    if not text:
        return None
    return read_cursor(text, call.world.epoch, scope, lambda seq: call.world.feed.mark_of(scope, seq))


def _whole(name: str, text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most and len(text) < 10):
        raise bad_request(f"{name} must be a whole number from 1 to {most}.")
    return int(text)
