"""A POS as small as can be: it sells by SKU at the price that is known here, online or not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from edge_agent import EdgeAgent, Item, Sale


class Pos:
    """One till. `home` is a device's home, set up before (`edge-agent init`)."""

    def __init__(self, home: Path) -> None:
        self.agent = EdgeAgent.open(home)

    def price(self, sku: str) -> Decimal | None:
        """The price on the shelf."""
        product = self.agent.catalog.by_sku(sku)
        return product.price if product else None

    def sell(self, sku: str, quantity: str = "1") -> Sale:
        """Sell for cash. The receipt may be printed when this returns: the sale is safe then."""
        product = self.agent.catalog.by_sku(sku)
        if product is None or product.price is None:
            raise LookupError(f"{sku} has no price here")
        return self.agent.record_sale([Item(product.id, quantity, product.price)])

    def pay_back(self, sale: Sale, sku: str) -> Sale:
        """Take one back for cash."""
        product = self.agent.catalog.by_sku(sku)
        assert product is not None
        item = Item(product.id, "1", product.price)
        return self.agent.record_sale([item], kind="refund", refers_to=sale.external_id)

    def close_shop(self) -> None:
        """The evening: send what is left, and end."""
        self.agent.sync()
        self.agent.close()
