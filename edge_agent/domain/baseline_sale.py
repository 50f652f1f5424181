"""A frozen sale in the form a baseline head office takes (contract, section 5: sales, baseline).

That form has no discount, and head office multiplies quantity by unit price. So that its books agree with the till's
to the cent, a discounted line is sent at its net price; where the net price is no whole cent, as two lines whose
amounts sum to the line's (docs/decisions/0004).
"""

from __future__ import annotations

from typing import Any

import msgspec

from edge_agent.domain.money import (
    CURRENCY_EXPONENT,
    format_money,
    format_quantity,
    line_amount,
    parse_money,
    parse_quantity,
)


def _net_parts(quantity_milli: int, amount: int) -> list[tuple[int, int]]:
    """(quantity in thousandths, unit price in minor units) whose amounts sum to ``amount``.

    A part of the quantity costs one cent more than the rest, so that both together are ``amount`` exactly; whole pieces
    stay whole. Where both parts end in half a cent, which would round up twice, a thousandth changes sides.
    """
    price, dearer = divmod(amount * 1000, quantity_milli)
    splits = (
        [part for part in ((quantity_milli - more, price), (more, price + 1)) if part[0]]
        for more in (dearer, dearer + 1, dearer - 1)
    )
    return next(parts for parts in splits if sum(line_amount(*part, 0) for part in parts) == amount)


def baseline_sale(body: bytes) -> bytes:
    """The request body for ``POST /api/sales/`` of a frozen sale."""
    sale: dict[str, Any] = msgspec.json.decode(body)
    exponent = CURRENCY_EXPONENT.get(sale["currency"], 2)
    items = []
    for line in sale["items"]:
        product = {key: line[key] for key in ("product", "product_data") if key in line}
        quantity = parse_quantity(line["quantity"], "quantity")
        price = parse_money(line["unit_price"], exponent, "unit_price")
        discount = parse_money(line.get("discount", "0"), exponent, "discount")
        amount = line_amount(quantity, price, discount)
        for part_quantity, part_price in _net_parts(quantity, amount) if discount else [(quantity, price)]:
            items.append(
                {
                    **product,
                    "quantity": format_quantity(part_quantity),
                    "unit_price": format_money(part_price, exponent),
                }
            )
    return msgspec.json.encode(
        {
            "items": items,
            "external_id": sale["external_id"],
            "source_device": sale["device_id"],
            "client_timestamp": sale["client_timestamp"],
            "business_date": sale["business_date"],
        }
    )
