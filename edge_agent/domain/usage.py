"""A promotion's use: what a POS hands over, its rules, and its frozen bytes (contract, section 5: usage logs)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from edge_agent.domain import canonical, money
from edge_agent.domain.ids import require_uuid, usage_id
from edge_agent.domain.sale import Number, Place, checked_text, parse_timestamp, timestamp_text
from edge_agent.errors import InvalidSale

LINE_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDraft:
    """Everything a caller may say of a promotion's use."""

    promotion_id: str
    discount_amount: Number
    sale_external_id: str | None = None
    line: int = 0
    bill_id: str | None = None
    customer_id: str | None = None
    used_at: str | dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class CheckedUsage:
    """A use that passed every rule, with its frozen bytes. The same use always has the same ``external_id``."""

    external_id: str
    promotion_id: str
    sale_external_id: str | None
    bill_id: str
    body: bytes


def check_usage(
    draft: UsageDraft, place: Place, *, journal_id: str, currency: str, used_at: dt.datetime
) -> CheckedUsage:
    """Check a promotion's use.

    Args:
        draft: what the caller said; without a sale it must name the bill.
        place: the device's identity.
        journal_id: the journal that records it.
        currency: the currency of ``discount_amount``.
        used_at: the time to use when the caller gave none.

    Raises:
        InvalidSale: names the field and the mend. Nothing was stored.
    """
    promotion_id = require_uuid(draft.promotion_id, "promotion_id")
    exponent = money.currency_exponent(currency, "discount_amount", of_store=currency)
    discount = money.parse_money(draft.discount_amount, exponent, "discount_amount")
    if type(draft.line) is not int or not 0 <= draft.line <= LINE_MAX:
        raise InvalidSale("INVALID_LINE", "line", f"{draft.line!r} is no line", "Give the line's number, or 0.")
    sale_id = draft.sale_external_id
    if sale_id is not None:
        require_uuid(sale_id, "sale_external_id")
    bill_id = checked_text(draft.bill_id, "bill_id") or sale_id
    if bill_id is None:
        raise InvalidSale(
            "MISSING", "bill_id", "names neither a sale nor a bill", "Give sale_external_id, or the bill's number."
        )
    external_id = usage_id(
        promotion_id=promotion_id,
        line=draft.line,
        sale_external_id=sale_id,
        store_id=place.store_id,
        bill_id=bill_id,
    )
    stamp = used_at if draft.used_at is None else parse_timestamp(draft.used_at, "used_at")
    body: dict[str, Any] = {
        "bill_id": bill_id,
        "customer_id": checked_text(draft.customer_id, "customer_id"),
        "device_id": place.device_id,
        "discount_amount": money.format_money(discount, exponent),
        "external_id": external_id,
        "journal_id": journal_id,
        "promotion_id": promotion_id,
        "sale_external_id": sale_id,
        "store_id": place.store_id,
        "used_at": timestamp_text(stamp),
    }
    return CheckedUsage(external_id, promotion_id, sale_id, bill_id, canonical.encode_sorted(body))
