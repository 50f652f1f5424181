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
    """(quantity in thousandths, unit price in minor units) whose amounts sum to ``amount``, as near as can be."""
    price, rest = divmod(amount * 1000, quantity_milli)
    if rest == 0:
        return [(quantity_milli, price)]
    if quantity_milli % 1000 == 0:  # whole pieces: some cost one cent more
        dearer = amount - price * (quantity_milli // 1000)
        return [(quantity_milli - dearer * 1000, price), (dearer * 1000, price + 1)]
    nearest = (amount * 1000 * 2 + quantity_milli) // (2 * quantity_milli)
    return [(quantity_milli, nearest)]


def baseline_sale(body: bytes) -> bytes:
    """The request body for ``POST /api/sales/`` of a frozen sale."""
    sale: dict[str, Any] = msgspec.json.decode(body)
    exponent = CURRENCY_EXPONENT[sale["currency"]]
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
