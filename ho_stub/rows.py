"""The contract's rows (section 4): their fields with empty values, and what of a row the feed must know."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

DATASETS = ("categories", "products", "promotions")

EMPTY: dict[str, dict[str, Any]] = {
    "categories": {
        "id": None, "company_id": None, "brand_id": None, "name": "", "code": None, "parent_id": None,
        "is_active": True, "display_order": 0, "image_url": None, "created_at": None, "updated_at": None,
    },
    "products": {
        "id": None, "company_id": None, "brand_id": None, "store_id": None, "category_id": None, "name": "",
        "sku": None, "barcode": None, "price": None, "cost": None, "is_active": True, "is_volatile": False,
        "has_modifiers": False, "reorder_level": None, "image_url": None, "description": None, "created_at": None,
        "updated_at": None,
    },
    "promotions": {
        "id": None, "code": None, "name": "", "company_id": None, "brand_id": None,
        "promo_type": "percent_discount", "apply_to": "all", "execution_stage": "item_level",
        "execution_priority": 500, "is_active": True, "is_auto_apply": True, "require_voucher": False,
        "member_only": False, "is_stackable": False,
        "validity": {
            "start_date": None, "end_date": None, "time_start": None, "time_end": None, "days_of_week": None,
            "exclude_holidays": False,
        },
        "scope": {
            "apply_to": "all", "categories": [], "products": [], "exclude_categories": [], "exclude_products": [],
        },
        "targeting": {
            "stores": [], "brands": [], "member_only": False, "member_tiers": [], "customer_type": "all",
            "sales_channels": [],
        },
        "rules": {},
        "limits": {
            "max_uses": None, "max_uses_per_customer": None, "max_uses_per_day": None, "current_uses": 0,
        },
        "compiled_at": None, "compiler_version": "1.0.0", "updated_at": None,
    },
}  # fmt: skip

BASELINE_LACKS = {"categories": (), "products": ("barcode", "is_volatile", "reorder_level"), "promotions": ()}


def filled(dataset: str, row: Mapping[str, Any], company_id: str, now: str) -> dict[str, Any]:
    """A row with all of the contract's fields; unknown ones stay. The flat form of a promotion is left as it is."""
    is_flat = dataset == "promotions" and "discount_type" in row
    whole = dict(row) if is_flat else EMPTY[dataset] | dict(row)
    for name in ("created_at", "updated_at", "compiled_at"):
        if name in whole and whole[name] is None:
            whole[name] = now
    whole.setdefault("updated_at", now)
    whole["company_id"] = whole.get("company_id") or company_id
    return whole


def audience(dataset: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """Whom the row is for: brand ids and store ids, each joined by a space; '' = all."""
    brands = [row["brand_id"]] if row.get("brand_id") else []
    stores: list[Any] = []
    if dataset == "products" and row.get("store_id"):
        stores = [row["store_id"]]
    if dataset == "promotions":
        targeting = row.get("targeting") or {}
        brands = list(targeting.get("brands") or []) or brands
        stores = list(targeting.get("stores") or [])
    return " ".join(map(str, brands)), " ".join(map(str, stores))


def dates(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """A promotion's first and last day: from `validity`, or from the flat form."""
    source = row.get("validity") or row
    return source.get("start_date"), source.get("end_date")


def micros(moment: str) -> int:
    """ISO 8601 as microseconds since 1970. A time without an offset is taken as UTC.

    Raises:
        ValueError: if it is no time.
    """
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    delta = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def utc_now() -> str:
    """This moment as the contract writes it, in microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def baseline_row(dataset: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row as a baseline head office sends it: fewer fields, money as numbers."""
    for name in ("row_version", *BASELINE_LACKS[dataset]):
        row.pop(name, None)
    for name in ("price", "cost"):
        if dataset == "products" and isinstance(row.get(name), str):
            row[name] = _number(row[name])
    return row


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
