"""What people read from the books: sales, analytics, low-stock alerts, the audit log (contract section 5)."""

import msgspec
from fastapi import APIRouter, Response

from ho_stub.accounts import Account
from ho_stub.alerts import STATES, AlertQuery
from ho_stub.analytics import PERIODS, AnalyticsQuery
from ho_stub.audit import AuditQuery
from ho_stub.call import Call, Caller, Sender, signed_in
from ho_stub.errors import ContractError, bad_request
from ho_stub.paging import PAGE_SIZE_DEFAULT, Pages, days, one_of
from ho_stub.ratelimit import LIMIT_MAX
from ho_stub.sale import is_id, storable
from ho_stub.uploads import listed
from ho_stub.world import World

SIZE = str(PAGE_SIZE_DEFAULT)

router = APIRouter(tags=["books"], dependencies=[signed_in])


@router.get("/api/sales/", summary="Sales of the account's store, or of the company")
def sales_list(
    call: Caller,
    external_id: str | None = None,
    device_id: str | None = None,
    store_id: str | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
    page: str = "1",
    page_size: str = SIZE,
) -> Response:
    """By business date, both ends included, oldest first."""
    where, bound = ["id IS NOT NULL"], list[object]()
    start, end = days(start_date, end_date)
    for column, value in (
        ("external_id =", storable(external_id)),
        ("device_id =", storable(device_id)),
        ("store_id =", _reach(call, store_id)),
        ("business_date >=", start),
        ("business_date <=", end),
    ):
        if value:
            where.append(f"{column} ?")
            bound.append(value)
    pages = Pages(call, page, page_size)
    with call.world.db.read():
        count, found = call.world.ledger.page("WHERE " + " AND ".join(where), bound, pages.size, pages.offset)
    return call.answer(msgspec.json.encode(pages.body(count, [listed(call, sale) for sale in found])))


@router.get("/api/sales/analytics/", summary="What was sold, by business date")
def analytics(
    call: Caller,
    product_id: str | None = None,
    store_id: str | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
    period: str = "daily",
) -> Response:
    """Exact sums of daily, weekly (from Monday) or monthly periods, refunds and voids subtracted; periods in which
    nothing was sold are left out. Each currency is counted on its own."""
    reach, (start, end) = _reach(call, store_id), days(start_date, end_date)
    wanted = AnalyticsQuery(one_of("period", period, tuple(PERIODS)), _id("product_id", product_id), reach, start, end)
    with call.world.db.read():
        body = call.world.analytics.report(wanted)
    return call.answer(msgspec.json.encode(body))


@router.get("/api/alerts/low-stock/", summary="Products whose stock is below their reorder level")
def alerts_list(
    call: Caller,
    status: str = "active",
    store_id: str | None = None,
    product_id: str | None = None,
    page: str = "1",
    page_size: str = SIZE,
) -> Response:
    """`status`: active (open or acknowledged), open, acknowledged, closed or all. Newest first."""
    reach = _reach(call, store_id)
    wanted = AlertQuery(one_of("status", status, tuple(STATES)), reach, _id("product_id", product_id))
    pages = Pages(call, page, page_size)
    with call.world.db.read():
        count, found = call.world.alerts.page(wanted, pages.size, pages.offset)
    return call.answer(msgspec.json.encode(pages.body(count, found)))


@router.post("/api/alerts/low-stock/{alert_id}/acknowledge/", summary="Somebody has seen an alert")
def acknowledge(call: Sender, alert_id: str) -> Response:
    """The alert as it is now. The first acknowledgement counts; another one changes nothing."""
    _reach(call, None)
    return call.answer(msgspec.json.encode(acknowledge_alert(call.world, call.account, alert_id)))


def acknowledge_alert(world: World, account: Account, alert_id: str) -> dict[str, object]:
    """Acknowledge an alert within the account's reach. Raises ContractError 404 for any other."""
    with world.db.write():
        alert = world.alerts.get(alert_id) if is_id(alert_id) else None
        if alert is None or account.store_id not in (None, alert["store_id"]):
            raise ContractError(404, "NOT_FOUND", "There is no such alert.")
        if world.alerts.acknowledge(alert_id, account.username):
            before, alert = alert, world.alerts.get(alert_id) or alert
            world.audit.note(account.username, "acknowledge alert", alert_id, before["status"], alert["status"])
    return alert


@router.get("/api/audit/", summary="Who changed what, and when; for accounts of the whole company")
def audit(
    call: Caller,
    actor: str = "",
    action: str = "",
    subject: str = "",
    start_date: str | None = None,
    end_date: str | None = None,
    page: str = "1",
    page_size: str = SIZE,
) -> Response:
    """Newest first. Dates are those of the UTC time stamps, both included."""
    office_only(call)
    wanted = AuditQuery(
        storable(actor) or "", storable(action) or "", storable(subject) or "", *days(start_date, end_date)
    )
    pages = Pages(call, page, page_size)
    with call.world.db.read():
        count, found = call.world.audit.page(wanted, pages.size, pages.offset)
    return call.answer(msgspec.json.encode(pages.body(count, found)))


@router.get("/api/rate-limits/", summary="How many requests a minute each store's devices may make")
def rate_limits(call: Caller) -> Response:
    """`{"limits": [{"store_id", "per_minute"}]}`; `store_id` null: every store that has no limit of its own."""
    office_only(call)
    return call.answer(_limits(call))


@router.post("/api/rate-limits/", summary="Set or take away a rate limit")
def set_rate_limit(call: Sender) -> Response:
    """`{"store_id": id or null, "per_minute": number or null}`; null takes the limit away."""
    office_only(call)
    body = call.body()
    store = call.store(body["store_id"])["id"] if isinstance(body.get("store_id"), str) else ""
    per_minute = body.get("per_minute")
    if per_minute is not None and not (type(per_minute) is int and 1 <= per_minute <= LIMIT_MAX):
        raise bad_request(f"per_minute must be a whole number from 1 to {LIMIT_MAX}, or null.")
    limit_rate(call.world, call.account, per_minute, store)
    return call.answer(_limits(call))


def limit_rate(world: World, account: Account, per_minute: int | None, store_id: str) -> None:
    """Set a store's limit ('': all stores'), and note who did it."""
    with world.db.write():
        before = world.rate_limits.all().get(store_id)
        world.rate_limits.set(per_minute, store_id)
        world.audit.note(account.username, "set rate limit", store_id or "all stores", before, per_minute)


def _limits(call: Call) -> bytes:
    found = call.world.rate_limits.all().items()
    limits = [{"store_id": store_id or None, "per_minute": number} for store_id, number in found]
    return msgspec.json.encode({"limits": limits})


def office_only(call: Call) -> None:
    """Raises ContractError 403 for the account of a device, or of no company."""
    if call.account.store_id is not None or not call.account.has_company:
        raise ContractError(403, "FORBIDDEN", "This is for accounts of the whole company.")


def _reach(call: Call, store_id: str | None) -> str:
    """The store that the answer is about; '' for the whole company."""
    if store_id:
        return str(call.store(store_id)["id"])
    if not call.account.has_company:
        raise ContractError(403, "FORBIDDEN", "This account belongs to no company.")
    return call.account.store_id or ""


def _id(name: str, value: str | None) -> str:
    if value and not is_id(value):
        raise bad_request(f"{name} must be a UUID in lower case.", "INVALID_ID")
    return value or ""
