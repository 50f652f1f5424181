"""Answers as a baseline head office gives them: by time, with the gaps of the field (contract section 4).

What each gap does stands in `ho_stub/gaps.py`; those on the wire are in `ho_stub/front.py`.
"""

import math
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Response

from ho_stub.call import Call
from ho_stub.cursor import Scope
from ho_stub.errors import ContractError, bad_request
from ho_stub.gaps import Gaps
from ho_stub.rows import baseline_row, micros, utc_now

TIMES = ("created_at", "updated_at", "compiled_at")
IDS = ("id", "company_id", "brand_id", "store_id", "category_id", "parent_id")
DIGITS = ("sku", "code", "barcode")
INDONESIAN = {
    400: "Permintaan tidak dapat diproses karena ada data yang tidak valid.",
    401: "Token tidak valid atau sudah kedaluwarsa.",
    404: "Data yang diminta tidak ditemukan.",
}


def download(call: Call, scope: Scope, updated_since: str | None, more: dict[str, Any]) -> Response:
    """No tombstones, inactive rows just gone, promotions cut with no way to the rest."""
    feed, zone = call.world.feed, ZoneInfo(call.world.company["timezone"])
    gaps, dataset = call.world.gaps, scope.dataset
    active_only = dataset != "promotions"  # whether inactive ones of these are sent is a setting
    if updated_since is None:
        found = feed.everything(scope, active_only=active_only)
    else:
        found = feed.since(scope, moment(updated_since, zone), active_only=active_only)
    if gaps.is_on("inactive_brand") or gaps.first("empty_once", dataset):
        found = []
    found = found[: max(0, len(found) - (gaps.number("vanishing_rows") or 0))]
    available = len(found)
    if dataset == "promotions":
        found = found[: int(str(call.world.settings()["max_promotions_per_sync"]))]
    rows = [baseline_row(dataset, msgspec.json.decode(body, type=dict[str, Any])) for body in found]
    rows = [_sent(dataset, row, gaps, zone) for row in _compiled(dataset, rows, gaps)]
    stamp = _later(utc_now(), gaps.number("stamp_after_query") or 0)
    rest = {"deleted_ids": [], "sync_timestamp": told(stamp, gaps, zone), "total": len(rows)}
    if gaps.is_on("no_sync_timestamp"):
        del rest["sync_timestamp"]
    if not gaps.is_on("no_total_available"):
        rest["total_available"] = available
    return call.answer(msgspec.json.encode({dataset: rows} | rest | more))


def moment(text: str, naive_zone: ZoneInfo | None) -> int:
    """Microseconds of `updated_since`. A baseline head office reads a time without an offset in local time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise bad_request("updated_since must be an ISO 8601 time.", "INVALID_DATE_FORMAT") from exc
    if moment.tzinfo is None:
        if naive_zone is None:
            raise bad_request("updated_since needs its offset, like Z or +07:00.", "INVALID_DATE_FORMAT")
        moment = moment.replace(tzinfo=naive_zone)
    return micros(moment.isoformat())


def told(stamp: str, gaps: Gaps, zone: ZoneInfo) -> str:
    """A time stamp as this head office writes it."""
    when = datetime.fromisoformat(stamp)
    if gaps.is_on("whole_seconds"):
        when = when.replace(microsecond=0)
    offset, naive = gaps.text("other_offset"), gaps.text("naive_times")
    if offset is not None:
        when = when.astimezone(timezone(_span(offset)))
    if naive is not None:
        when = (when.astimezone(zone) if naive == "local" else when).replace(tzinfo=None)
    untouched = not gaps.is_on("whole_seconds") and offset is None and naive is None
    return stamp if untouched else when.isoformat().replace("+00:00", "Z")


def error(failed: ContractError, gaps: Gaps) -> tuple[int, dict[str, object]]:
    """Status and body of an error, as this head office gives them."""
    status, body = failed.status, failed.body(native=False)
    is_mistake = status in (400, 403, 404) and failed.code != "NOT_FOUND"  # not a route that isn't there
    if gaps.is_on("mistakes_are_500") and is_mistake:
        status = 500
    if gaps.is_on("errors_in_indonesian"):
        body = {"detail": INDONESIAN.get(status, "Terjadi kesalahan pada server.")}
    elif gaps.is_on("errors_without_code"):
        del body["code"]
    return status, body


def stored_before(gaps: Gaps, received_at: str) -> int:
    """The status of a sale that head office holds already. Raises ContractError where it makes an error of it."""
    again_us, soon_s = micros(utc_now()) - micros(received_at), gaps.number("duplicate_500")
    if soon_s is not None and again_us < soon_s * 1_000_000:
        raise ContractError(500, "INTERNAL_ERROR", "UNIQUE constraint failed: sale.external_id")
    if gaps.is_on("stored_sale_400"):
        raise bad_request("A sale with this external_id already exists.", "INVALID_SALE")
    return 201 if gaps.is_on("stored_sale_201") else 200


def _compiled(dataset: str, rows: list[dict[str, Any]], gaps: Gaps) -> list[dict[str, Any]]:
    """The rows without the one that can't be compiled."""
    left_out = gaps.text("row_left_out")
    if left_out == "":
        return rows[:-1] if dataset == "promotions" else rows
    return [row for row in rows if row["id"] != left_out]


def _sent(dataset: str, row: dict[str, Any], gaps: Gaps, zone: ZoneInfo) -> dict[str, Any]:
    """A row as this head office writes it."""
    if dataset == "promotions":
        row = _promotion(row, gaps)
    for name in TIMES:
        if isinstance(row.get(name), str):
            row[name] = told(row[name], gaps, zone)
    if gaps.is_on("noisy_money"):
        row = {name: _noisy(name, value) for name, value in row.items()}
    if gaps.is_on("swapped_types"):
        row = {name: _swapped(name, value) for name, value in row.items()}
    if "is_active" in row and gaps.is_on("numeric_flags"):
        row["is_active"] = int(row["is_active"])
    if "is_active" in row and gaps.is_on("null_flags"):
        row["is_active"] = None
    if gaps.is_on("upper_case_ids"):
        row |= {name: row[name].upper() for name in IDS if isinstance(row.get(name), str)}
    return row


def _promotion(row: dict[str, Any], gaps: Gaps) -> dict[str, Any]:
    if gaps.text("rules_error") in ("", row["id"]):
        row |= {"rules": {"error": "division by zero"}}
    if gaps.text("empty_tiers") in ("", row["id"]):
        row |= {"promo_type": "threshold_tier", "rules": {"type": "threshold_tier", "tiers": []}}
    return row


def _noisy(name: str, value: Any) -> Any:
    """Money and percentages as floats that are off by their last bit, at whatever depth."""
    if isinstance(value, dict):
        return {inner: _noisy(inner, one) for inner, one in value.items()}
    is_money = any(part in name for part in ("price", "cost", "amount", "percent"))
    if not is_money or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return math.nextafter(float(value), math.inf)
    except ValueError:
        return value


def _swapped(name: str, value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return int(value) if name in DIGITS and isinstance(value, str) and value.isdecimal() else value


def _later(stamp: str, seconds: int) -> str:
    if not seconds:
        return stamp
    when = datetime.fromisoformat(stamp) + timedelta(seconds=seconds)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _span(offset: str) -> timedelta:
    found = datetime.fromisoformat(f"2026-01-01T00:00:00{offset}").utcoffset()
    return found or timedelta(0)
