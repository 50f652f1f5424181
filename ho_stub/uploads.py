"""What devices send: sales, usage logs, heartbeats; and the receipts they check against (contract sections 5 and 6)."""

import json
from typing import Any

import msgspec
from fastapi import APIRouter, Response

from ho_stub import baseline
from ho_stub.call import Call, Caller, Sender, signed_in, too_large
from ho_stub.errors import ContractError, Rejected, bad_request
from ho_stub.examples import BATCH, HEARTBEAT, ORDERS, RECEIPTS, RESULTS, SINGLE, TAKEN, USAGES, gives, takes
from ho_stub.sale import InvalidSale, is_id, read_single

BATCH_MAX = 500

router = APIRouter(tags=["uploads"], dependencies=[signed_in])
native_router = APIRouter(prefix="/api/v1/sync", tags=["uploads"], dependencies=[signed_in])


@native_router.post(
    "/sales/", summary="Up to 500 sales, each judged on its own", openapi_extra=takes(BATCH), responses=gives(RESULTS)
)
def sales_batch(call: Sender) -> Response:
    """One result per sale: created, duplicate, rejected or retry. A batch is never refused for one sale's fault."""
    _ = call.account
    sales = _batch(call.body(), "sales")
    books = call.world.books
    with call.world.db.write():  # one commit; each sale is a savepoint of its own
        results = [books.take(sale).result() for sale in sales]
        contiguous = 0
        if sales and isinstance(sales[-1], dict):
            device_id, journal_id = sales[-1].get("device_id"), sales[-1].get("journal_id")
            if isinstance(device_id, str) and isinstance(journal_id, str) and is_id(journal_id):
                contiguous = call.world.receipts.contiguous_seq(device_id, journal_id)
    return call.answer(msgspec.json.encode({"results": results, "contiguous_seq": contiguous}))


@native_router.get(
    "/receipts/", summary="What head office holds of a journal", tags=["verify"], responses=gives(RECEIPTS)
)
def receipts(call: Caller, device_id: str = "", journal_id: str = "") -> Response:
    """Accepted, refused and missing sequence numbers, and the sum of the declared totals."""
    _ = call.account
    _need_journal(device_id, journal_id)
    with call.world.db.read():
        body = {"epoch": call.world.epoch, **call.world.receipts.of(device_id, journal_id)}
    return call.answer(msgspec.json.encode(body))


@native_router.post(
    "/heartbeat/",
    summary="A device's sign of life",
    status_code=204,
    response_class=Response,
    openapi_extra=takes(HEARTBEAT),
    responses=gives(ORDERS),
)
def heartbeat(call: Sender) -> Response:
    """The last one of each device is kept. 200 with `orders` where something is asked of the device, else 204."""
    account, body = call.account, call.body()
    device_id = body.get("device_id")
    if not isinstance(device_id, str) or not device_id:
        raise bad_request("device_id must be text.")
    device_id = device_id.encode(errors="replace").decode()
    call.world.keep_heartbeat(device_id, account.store_id, body)
    orders = call.world.orders.waiting(device_id)
    return call.answer(msgspec.json.encode({"orders": orders})) if orders else Response(status_code=204)


@router.post(
    "/api/v1/sync/usage/", summary="Up to 500 uses of promotions", openapi_extra=takes(USAGES), responses=gives(TAKEN)
)
def usage(call: Sender) -> Response:
    """The same `external_id` counts once."""
    _ = call.account
    usages = _batch(call.body(), "usages")
    with call.world.db.write():
        taken, uses = call.world.usage_logs.take(usages, call.world.feed, native=call.world.native)
        call.world.promotions.count_uses(uses)
    if call.world.gaps.is_on("usage_always_created"):
        taken |= {"created": len(usages), "duplicates": 0, "errors": []}
    return call.answer(json.dumps(taken).encode())


@router.post("/api/sales/", summary="One sale in the baseline form", status_code=201, openapi_extra=takes(SINGLE))
def single_sale(call: Sender) -> Response:
    """201 created, 200 when head office has it already."""
    account, body = call.account, call.body()
    store_id = account.store_id or body.get("store_id") or call.world.device["store_id"]
    store = call.world.store(store_id) if isinstance(store_id, str) else None
    if store is None:
        raise ContractError(404, "STORE_NOT_FOUND", "There is no such store.")
    try:
        sale = read_single(body, store["id"], store["currency"], call.world.today())
        outcome = call.world.books.take_single(sale, body)
    except InvalidSale as exc:
        raise bad_request(str(exc), "INVALID_SALE") from exc
    except Rejected as exc:
        raise ContractError(403 if call.world.native else 404, exc.code, str(exc)) from exc
    _, found = call.world.ledger.page("WHERE id = ?", [outcome.id], 1, 0)
    answer = listed(call, found[0]) | {"products": outcome.products}
    is_new = outcome.status == "created"
    status = 201 if is_new else baseline.stored_before(call.world.gaps, found[0]["received_at"])
    return call.answer(msgspec.json.encode(answer), status)


def _batch(body: dict[str, Any], name: str) -> list[object]:
    batch = body.get(name)
    if not isinstance(batch, list):
        raise bad_request(f"{name} must be a list.")
    if len(batch) > BATCH_MAX:
        raise too_large(f"{name} has {len(batch)} entries; at most {BATCH_MAX} fit into one request.")
    return batch


def _need_journal(device_id: str, journal_id: str) -> None:
    if not device_id:
        raise bad_request("device_id is missing.")
    if not is_id(journal_id):
        raise bad_request("journal_id must be a UUID in lower case.", "INVALID_ID" if journal_id else "INVALID_REQUEST")


def listed(call: Call, sale: dict[str, Any]) -> dict[str, Any]:
    """A listed sale; a baseline head office writes its total as a JSON number."""
    return sale if call.world.native else sale | {"total_amount": float(sale["total_amount"])}
