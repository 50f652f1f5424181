"""The example requests: for the tiny world, in an order in which they can be made, again and again.

`{{name}}` stands for a variable: the stub's address, accounts and ids, or something that an earlier answer `gave`.
`{{$guid}}` is a new UUID.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

VARIABLES: Mapping[str, str] = MappingProxyType({
    "url": "http://127.0.0.1:8700",
    "username": "pos-02",
    "password": "secret",
    "office": "office",
    "office_password": "office-demo",
    "company": "00000001-0000-4000-8000-000000000000",
    "brand": "00000002-0000-4000-8000-000000000000",
    "store": "00000003-0000-4000-8000-000000000000",
    "cola": "00000006-0000-4000-8000-000000000000",
    "water": "00000007-0000-4000-8000-000000000000",
    "deal": "00000009-0000-4000-8000-000000000000",
    "journal": "9b2d6a4e-1c3f-4e5a-8b7c-0d1e2f3a4b5c",
    "sale": "0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b37",
    "usage": "d02b2a4f-9c0e-5a3b-8f6d-1f2e3d4c5b6a",
    "nobody": "99999999-9999-4999-8999-999999999999",
})  # fmt: skip
BOTH, NATIVE, BASELINE = ("native", "baseline"), ("native",), ("baseline",)
DEVICE, OFFICE, NOBODY = "access", "office_access", None
SYNC = "/api/v1/sync/"


@dataclass(frozen=True)
class Asked:
    """One example request. `who`: the variable with its access token. `gave`: variable → JSON path in the answer."""

    name: str
    method: str
    path: str
    status: int = 200
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    who: str | None = DEVICE
    gave: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = BOTH

    @property
    def title(self) -> str:
        """The name, for people."""
        return self.name.replace("_", " ").capitalize()


ITEM = {"line": 1, "product": "{{cola}}", "quantity": "45", "unit_price": "7500.00", "discount": "500.00", "tax": None}
ITEM |= {"promotion_ids": ["{{deal}}"], "price_override": None}
MADE_UP = {"id": "8f7cd2a4-57e3-5d0a-9a4e-2f0c8f8f1c11", "sku": "GIFT-WRAP", "name": "Gift wrapping"}
SALE: dict[str, Any] = {
    "external_id": "{{sale}}", "store_id": "{{store}}", "device_id": "{{username}}", "journal_id": "{{journal}}",
    "device_seq": 1, "kind": "sale", "refers_to": None, "reason": None, "receipt_number": "S01-T02-000001",
    "business_date": "2026-11-21", "client_timestamp": "2026-11-21T09:15:02.114Z", "cashier_id": None,
    "customer_id": None, "currency": "IDR", "items": [ITEM],
    "payments": [{"method": "cash", "amount": "337000.00", "rounding": "0.00", "reference": None}],
    "total_amount": "337000.00", "extra": {"table": 7},
}  # fmt: skip
ONE_OFF = {"line": 1, "quantity": "1", "unit_price": "1500.00"} | {
    "product_data": MADE_UP | {"unit_price": "1500.00", "is_volatile": True}
}
SECOND = SALE | {
    "external_id": "0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b38", "device_seq": 2, "items": [ONE_OFF],
    "receipt_number": "S01-T02-000002", "total_amount": "1000.00",
}  # fmt: skip
REFUSED = SALE | {
    "external_id": "0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b39", "device_seq": 3, "currency": "USD",
}  # fmt: skip
SINGLE = {
    "items": [{"product": "{{water}}", "quantity": "115", "unit_price": "3500.00"}], "external_id": "{{$guid}}",
    "source_device": "{{username}}", "client_timestamp": "2026-11-21T09:15:02.114Z", "business_date": "2026-11-21",
}  # fmt: skip
USAGE = {
    "external_id": "{{usage}}", "device_id": "{{username}}", "journal_id": "{{journal}}", "promotion_id": "{{deal}}",
    "bill_id": "B-1042", "sale_external_id": None, "discount_amount": "500.00",
    "used_at": "2026-11-21T09:15:02.114Z", "store_id": "{{store}}", "customer_id": None,
}  # fmt: skip
HEARTBEAT = {
    "device_id": "{{username}}", "journal_id": "{{journal}}", "agent_version": "0.5.0", "pending": 3,
    "oldest_pending_at": "2026-11-21T09:15:02.114Z", "quarantined": 0, "data_version": 4711, "clock_offset_ms": 120,
    "health_score": 99.5,
}  # fmt: skip
IDS = {"company_id": "{{company}}", "brand_id": "{{brand}}", "store_id": "{{store}}"}
OF_STORE = {"company_id": "{{company}}", "store_id": "{{store}}"}
JOURNAL = {"device_id": "{{username}}", "journal_id": "{{journal}}"}
SETTINGS = "/promotions/settings/api/"
OWN = f"{SETTINGS}overrides/store/{{{{store}}}}/"
SIGN_IN = {"username": "{{username}}", "password": "{{password}}"}
OFFICE_SIGN_IN = {"username": "{{office}}", "password": "{{office_password}}"}
TOKENS = {"access": "$.access", "refresh": "$.refresh"}

ASKED: tuple[Asked, ...] = (
    Asked("health", "GET", "/health/", who=NOBODY),
    Asked("sign_in", "POST", "/api/token/", body=SIGN_IN, who=NOBODY, gave=TOKENS),
    Asked("sign_in_elsewhere", "POST", "/api/v1/token/", body=SIGN_IN, who=NOBODY),
    Asked("sign_in_of_the_office", "POST", "/api/token/", body=OFFICE_SIGN_IN, who=NOBODY,
          gave={"office_access": "$.access"}),
    Asked("wrong_password", "POST", "/api/token/", 401, body=SIGN_IN | {"password": "wrong"}, who=NOBODY),
    Asked("refresh", "POST", "/api/token/refresh/", body={"refresh": "{{refresh}}"}, who=NOBODY),
    Asked("refresh_elsewhere", "POST", "/api/v1/token/refresh/", body={"refresh": "{{refresh}}"}, who=NOBODY),
    Asked("wrong_refresh", "POST", "/api/token/refresh/", 401, body={"refresh": "expired"}, who=NOBODY),
    Asked("version", "GET", f"{SYNC}version/", query=OF_STORE),
    Asked("version_not_signed_in", "GET", f"{SYNC}version/", 401, query=OF_STORE, who=NOBODY),
    Asked("version_without_store", "GET", f"{SYNC}version/", 400, query={"company_id": "{{company}}"}),
    Asked("categories", "GET", f"{SYNC}categories/", query=IDS),
    Asked("products", "GET", f"{SYNC}products/", query=IDS, gave={"cursor": "$.next_cursor"}, profiles=NATIVE),
    Asked("products", "GET", f"{SYNC}products/", query=IDS, gave={"stamp": "$.sync_timestamp"}, profiles=BASELINE),
    Asked("products_since", "GET", f"{SYNC}products/", query=IDS | {"updated_since": "{{stamp}}"}, profiles=BASELINE),
    Asked("products_in_pages", "GET", f"{SYNC}products/", query=IDS | {"limit": "2"}, profiles=NATIVE),
    Asked("products_since_cursor", "GET", f"{SYNC}products/", query=IDS | {"cursor": "{{cursor}}"}, profiles=NATIVE),
    Asked("products_of_two_leaves", "GET", f"{SYNC}products/", query=IDS | {"leaves": "3,17", "leaves_of": "256"},
          profiles=NATIVE),
    Asked("products_with_a_wrong_cursor", "GET", f"{SYNC}products/", 400, query=IDS | {"cursor": "no-cursor"},
          profiles=NATIVE),
    Asked("products_of_another_scope", "GET", f"{SYNC}categories/", 410, query=IDS | {"cursor": "{{cursor}}"},
          profiles=NATIVE),
    Asked("products_without_brand", "GET", f"{SYNC}products/", 400, query=OF_STORE),
    Asked("products_of_another_brand", "GET", f"{SYNC}products/", 403, query=IDS | {"brand_id": "{{nobody}}"},
          profiles=NATIVE),
    Asked("products_of_another_brand", "GET", f"{SYNC}products/", 404, query=IDS | {"brand_id": "{{nobody}}"},
          profiles=BASELINE),
    Asked("promotions", "GET", f"{SYNC}promotions/", query=IDS),
    Asked("promotions_without_store", "GET", f"{SYNC}promotions/", 400, query={"company_id": "{{company}}"}),
    Asked("digest", "GET", f"{SYNC}digest/", query=IDS | {"dataset": "products", "leaves": "4"}, profiles=NATIVE),
    Asked("digest_of_nothing", "GET", f"{SYNC}digest/", 400, query=IDS | {"dataset": "customers"}, profiles=NATIVE),
    Asked("sales", "POST", f"{SYNC}sales/", profiles=NATIVE,
          body={"device_id": "{{username}}", "clock_offset_ms": 120, "sales": [SALE, SECOND, REFUSED]}),
    Asked("sales_again", "POST", f"{SYNC}sales/", profiles=NATIVE,
          body={"device_id": "{{username}}", "clock_offset_ms": 120, "sales": [SALE]}),
    Asked("sales_that_are_none", "POST", f"{SYNC}sales/", 400, body={"sales": "none"}, profiles=NATIVE),
    Asked("receipts", "GET", f"{SYNC}receipts/", query=JOURNAL, profiles=NATIVE),
    Asked("receipts_of_nothing", "GET", f"{SYNC}receipts/", 400, profiles=NATIVE),
    Asked("stock", "GET", f"{SYNC}stock/", query={"store_id": "{{store}}"} | JOURNAL, profiles=NATIVE),
    Asked("stock_of_another_store", "GET", f"{SYNC}stock/", 403, query={"store_id": "{{nobody}}"}, profiles=NATIVE),
    Asked("heartbeat", "POST", f"{SYNC}heartbeat/", 204, body=HEARTBEAT, profiles=NATIVE),
    Asked("heartbeat_of_nobody", "POST", f"{SYNC}heartbeat/", 400, body={"pending": 0}, profiles=NATIVE),
    Asked("usage", "POST", f"{SYNC}usage/",
          body={"usages": [USAGE, USAGE | {"external_id": "{{$guid}}", "promotion_id": "{{nobody}}"}]}),
    Asked("single_sale", "POST", "/api/sales/", 201, body=SINGLE, gave={"single": "$.external_id"}),
    Asked("single_sale_again", "POST", "/api/sales/", body=SINGLE | {"external_id": "{{single}}"}),
    Asked("single_sale_of_nothing", "POST", "/api/sales/", 400, body=SINGLE | {"items": []}),
    Asked("sales_list", "GET", "/api/sales/", query={"start_date": "2026-11-01", "end_date": "2026-11-30"}),
    Asked("sale_by_id", "GET", "/api/sales/", query={"external_id": "{{single}}"}),
    Asked("sales_of_a_wrong_day", "GET", "/api/sales/", 400, query={"start_date": "yesterday"}),
    Asked("analytics", "GET", "/api/sales/analytics/", query={"period": "weekly", "product_id": "{{water}}"}),
    Asked("analytics_by_the_hour", "GET", "/api/sales/analytics/", 400, query={"period": "hourly"}),
    Asked("alerts", "GET", "/api/alerts/low-stock/", gave={"alert": "$.results[0].id"}),
    Asked("acknowledge", "POST", "/api/alerts/low-stock/{{alert}}/acknowledge/"),
    Asked("acknowledge_nothing", "POST", "/api/alerts/low-stock/{{nobody}}/acknowledge/", 404),
    Asked("settings", "GET", SETTINGS, who=OFFICE),
    Asked("settings_of_a_device", "GET", SETTINGS, 403),
    Asked("change_settings", "PUT", SETTINGS, body={"future_days": 14}, who=OFFICE),
    Asked("change_settings_back", "POST", SETTINGS, body={"future_days": 7}, who=OFFICE),
    Asked("wrong_settings", "PUT", SETTINGS, 400, body={"future_days": 91}, who=OFFICE),
    Asked("override", "PUT", OWN, body={"sync_strategy": "current_only"}, who=OFFICE),
    Asked("read_override", "GET", OWN, who=OFFICE),
    Asked("take_back_override", "POST", OWN, body={}, who=OFFICE),
    Asked("wrong_override", "PUT", OWN, 400, body={"past_days": 31}, who=OFFICE),
    Asked("preview", "GET", "/promotions/settings/preview-query/", who=OFFICE,
          query={"store_id": "{{store}}", "sync_strategy": "all_active"}),
    Asked("preview_of_nothing", "GET", "/promotions/settings/preview-query/", 400, who=OFFICE),
    Asked("audit", "GET", "/api/audit/", query={"page_size": "2"}, who=OFFICE),
    Asked("audit_of_a_device", "GET", "/api/audit/", 403),
    Asked("set_rate_limit", "POST", "/api/rate-limits/", body={"store_id": None, "per_minute": 6_000}, who=OFFICE),
    Asked("rate_limits", "GET", "/api/rate-limits/", who=OFFICE),
    Asked("take_away_rate_limit", "POST", "/api/rate-limits/", body={"store_id": None, "per_minute": None}, who=OFFICE),
    Asked("wrong_rate_limit", "POST", "/api/rate-limits/", 400, body={"per_minute": 0}, who=OFFICE),
)  # fmt: skip


def asked_of(profile: str) -> list[Asked]:
    """The requests that a profile takes, in their order."""
    return [one for one in ASKED if profile in one.profiles]
