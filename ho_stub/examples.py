"""Examples for the API's page. Requests are shown here since the routes read their bodies themselves."""

from typing import Any

Example = dict[str, Any]

STORE = "00000003-0000-4000-8000-000000000000"
COLA = "00000006-0000-4000-8000-000000000000"
PROMOTION = "00000009-0000-4000-8000-000000000000"
JOURNAL = "9b2d6a4e-1c3f-4e5a-8b7c-0d1e2f3a4b5c"
SALE_ID = "0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b37"
CURSOR = "echo-this-byte-for-byte"

CREDENTIALS: Example = {"username": "pos-02", "password": "secret"}
REFRESH: Example = {"refresh": "kHZ1…"}
ITEM: Example = {"line": 1, "product": COLA, "quantity": "2", "unit_price": "7500.00", "discount": "500.00"}
SALE: Example = {
    "external_id": SALE_ID,
    "store_id": STORE,
    "device_id": "pos-02",
    "journal_id": JOURNAL,
    "device_seq": 42,
    "kind": "sale",
    "refers_to": None,
    "reason": None,
    "receipt_number": "S01-T02-000042",
    "business_date": "2026-11-21",
    "client_timestamp": "2026-11-21T09:15:02.114Z",
    "cashier_id": None,
    "customer_id": None,
    "currency": "IDR",
    "items": [ITEM],
    "payments": [{"method": "cash", "amount": "14500.00", "rounding": "0.00", "reference": None}],
    "total_amount": "14500.00",
    "extra": {},
}
BATCH: Example = {"device_id": "pos-02", "clock_offset_ms": 120, "sales": [SALE]}
RESULTS: Example = {
    "results": [
        {
            "external_id": SALE_ID,
            "fingerprint": "the SHA-256 of the canonical sale, 64 hex digits",
            "status": "created",
            "id": "d2719e7e-0000-4000-8000-000000000001",
            "code": None,
            "error": None,
            "warnings": [],
            "products": {},
        }
    ],
    "contiguous_seq": 42,
}
SINGLE: Example = {
    "external_id": SALE_ID,
    "source_device": "pos-02",
    "client_timestamp": "2026-11-21T09:15:02.114Z",
    "business_date": "2026-11-21",
    "items": [{"product": COLA, "quantity": "2", "unit_price": "7500.00"}],
}
USAGES: Example = {
    "usages": [
        {
            "external_id": "5f0f1d9e-0000-5000-8000-000000000003",
            "device_id": "pos-02",
            "journal_id": JOURNAL,
            "promotion_id": PROMOTION,
            "bill_id": "B-1042",
            "sale_external_id": SALE_ID,
            "discount_amount": "500.00",
            "used_at": "2026-11-21T09:15:02.114Z",
            "store_id": STORE,
            "customer_id": None,
        }
    ]
}
TAKEN: Example = {"created": 1, "duplicates": 0, "errors": [], "total": 1}
HEARTBEAT: Example = {
    "device_id": "pos-02",
    "journal_id": JOURNAL,
    "agent_version": "0.1.0",
    "pending": 0,
    "oldest_pending_at": None,
    "quarantined": 0,
    "data_version": 4711,
    "clock_offset_ms": 120,
    "health_score": 99.5,
}
ORDERS: Example = {
    "orders": [{"id": "5f0c8a52-9d2c-4c1e-8b60-1f2f4be0a111", "what": "verify", "dataset": "products", "repair": False}]
}
RECEIPTS: Example = {
    "epoch": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
    "contiguous_seq": 41,
    "highest_seq": 57,
    "count": 51,
    "missing": [[42, 42], [50, 53]],
    "refused": [7],
    "total_amount": "1234567.50",
    "usages": 12,
}
STOCK: Example = {
    "stock": [{"product_id": COLA, "quantity": "42.000", "reorder_level": "6.000"}],
    "deleted_ids": [],
    "next_cursor": CURSOR,
    "has_more": False,
    "snapshot": False,
    "seen": {"contiguous_seq": 41, "beyond": [[43, 43]]},
}
PRODUCTS: Example = {
    "products": [{"id": COLA, "name": "Cola 330 ml", "sku": "COLA-330", "price": "7500.00", "row_version": 4711}],
    "deleted_ids": [],
    "sync_timestamp": "2026-11-21T09:15:02.114000Z",
    "total": 1,
    "total_available": 1,
    "next_cursor": CURSOR,
    "has_more": False,
    "snapshot": False,
}
DIGEST: Example = {"dataset": "products", "cursor": CURSOR, "count": 92331, "leaves": ["19da057c3f9f79ab", "…"]}
EVENTS = """: this stream tells when to pull

event: changed
data: {"version":4712}

event: settings
data: {"updated_at":"2026-11-21T09:15:02.114000Z"}

: still here
"""


def takes(example: Example) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a JSON body."""
    media = {"schema": {"type": "object"}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": media}}}


def gives(example: Example, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: what it answers when all is well."""
    return {status: {"description": "OK", "content": {"application/json": {"example": example}}}}
