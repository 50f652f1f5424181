"""A sale as the cashier meant it, to compare with the bytes that were frozen (G2, G8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Self

import msgspec

from edge_agent import Item, OneOff

Line = tuple[str, str, str, str]  # product, quantity, price, discount
Lines = list[Line]
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the cashier meant. A product whose name begins with "one-off" is none of the catalogue's."""

    lines: tuple[Line, ...]
    kind: str
    refers_to: str | None
    external_id: str | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """What a frozen body says."""
        lines = [
            (
                line.get("product") or line["product_data"]["sku"],
                line["quantity"],
                line["unit_price"],
                line.get("discount") or "0",
            )
            for line in said["items"]
        ]
        return cls(tuple(lines), said["kind"], said["refers_to"], said["external_id"])

    @property
    def total(self) -> Decimal:
        """What it comes to, reckoned here."""
        parts = [Decimal(quantity) * Decimal(price) - Decimal(off) for _, quantity, price, off in self.lines]
        return sum((part.quantize(CENT, ROUND_HALF_UP) for part in parts), Decimal(0))

    def items(self) -> list[Item]:
        """As the agent takes them."""
        return [
            Item(product_data=OneOff(name, name), quantity=quantity, unit_price=price, discount=discount)
            if name.startswith("one-off")
            else Item(name, quantity, price, discount)
            for name, quantity, price, discount in self.lines
        ]

    def is_told_by(self, body: bytes) -> bool:
        """Whether frozen bytes say what was meant."""
        said = msgspec.json.decode(body)
        told = Attempt.of(said)
        same = (told.kind, told.refers_to, Decimal(said["total_amount"])) == (self.kind, self.refers_to, self.total)
        return same and _numbers(told) == _numbers(self) and self.external_id in (None, told.external_id)


def _numbers(attempt: Attempt) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    return [(name, Decimal(a), Decimal(b), Decimal(c)) for name, a, b, c in attempt.lines]
