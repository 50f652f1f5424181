"""Identities: their form, and the ones that are computed so that the same thing always has the same id."""

from __future__ import annotations

import re
import uuid

from edge_agent.errors import InvalidSale

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
is_uuid = _UUID.fullmatch


def require_uuid(value: object, field: str) -> str:
    """The id itself, when it is a UUID in lower case with hyphens (contract, section 1).

    Raises:
        InvalidSale: ``INVALID_ID``.
    """
    if isinstance(value, str) and is_uuid(value):
        return value
    shown = repr(value)[:60]
    raise InvalidSale(
        "INVALID_ID",
        field,
        f"{shown} is not an id",
        "An id is a UUID in lower case with hyphens, such as 0191e5a2-7c3b-7def-8a01-23456789abcd.",
    )


def one_off_product_id(company_id: str, sku: str) -> str:
    """The id every till gives a one-off product of this SKU (contract, section 5)."""
    return str(uuid.uuid5(uuid.UUID(company_id), f"product:{sku}"))


def usage_id(
    *, promotion_id: str, line: int, sale_external_id: str | None, store_id: str = "", bill_id: str = ""
) -> str:
    """The id of a promotion's use: the same use always has the same id (contract, section 5).

    Args:
        promotion_id: the promotion used.
        line: the sale's line number, 0 for the whole sale.
        sale_external_id: the sale, or None for a use without a sale.
        store_id: used without a sale.
        bill_id: used without a sale.
    """
    if sale_external_id is not None:
        return str(uuid.uuid5(uuid.UUID(sale_external_id), f"usage:{promotion_id}:{line}"))
    return str(uuid.uuid5(uuid.UUID(store_id), f"usage:{bill_id}:{promotion_id}:{line}"))
