"""The check before payment: whether each line's product can be sold as the catalogue says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from edge_agent.domain.catalog import Product
from edge_agent.domain.money import parse_money
from edge_agent.domain.sale import Item
from edge_agent.errors import InvalidSale

Problem = Literal["invalid", "unknown", "inactive", "category inactive", "no price", "price differs"]
OFFER_OTHERS: tuple[Problem, ...] = ("unknown", "inactive", "category inactive", "no price")
_DECIMALS = 6  # of any price that the catalogue takes


@dataclass(frozen=True, slots=True)
class LineCheck:
    """What the catalogue says of one line before payment.

    Args:
        line: its place, from 1.
        ok: whether it can be sold like this.
        problem: why not, the gravest reason first: ``invalid``, ``unknown``, ``inactive``, ``category inactive``,
            ``no price`` or ``price differs``; None when it is ok.
        words: a sentence for the cashier.
        product_id: the product; None for a one-off one.
        name: what the catalogue calls it.
        unit_price: the price asked, None when only an id was given.
        catalogue_price: the catalogue's price, None when it gives none.
        overridden: whether staff changed the price, which makes another price all right.
        alternatives: what could be sold instead.
    """

    line: int
    ok: bool
    problem: Problem | None
    words: str
    product_id: str | None = None
    name: str | None = None
    unit_price: Decimal | None = None
    catalogue_price: Decimal | None = None
    overridden: bool = False
    alternatives: tuple[Product, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """A product as the catalogue has it, with its category's name and activity (None: no category here)."""

    product: Product
    category: str | None
    category_is_active: bool | None


def _same(asked: Item, price: Decimal) -> bool:
    return parse_money(asked.unit_price, _DECIMALS, "unit_price") == parse_money(price, _DECIMALS, "price")


def _amount(item: Item, line: int) -> Decimal | None:
    """The price asked, exact.

    Raises:
        InvalidSale: it is none.
    """
    if item.unit_price is None:
        return None
    parse_money(item.unit_price, _DECIMALS, f"items[{line - 1}].unit_price")
    return Decimal(item.unit_price)


def _problem(item: Item, listed: Listed) -> tuple[Problem | None, str]:
    """The gravest thing that is wrong with a line, and the sentence for the cashier."""
    product = listed.product
    if not product.is_active:
        return "inactive", f"{product.name} is switched off: it is not to be sold."
    if listed.category_is_active is False:
        return "category inactive", f"{product.name} is not to be sold: {listed.category} is switched off."
    if item.price_override is not None:
        was = "" if product.price is None else f", the catalogue says {product.price}"
        return None, f"The price was changed by staff ({item.price_override.reason}){was}."
    if product.is_volatile:
        return None, "The price of this product is asked at each sale."
    if product.price is None:
        return "no price", f"The catalogue has no price for {product.name}: ask."
    if item.unit_price is not None and not _same(item, product.price):
        return "price differs", f"{product.name} costs {product.price}, not {item.unit_price}."
    return None, "As the catalogue says."


def check_line(line: int, item: Item, listed: Listed | None) -> LineCheck:
    """One line against the catalogue.

    Args:
        line: its place, from 1.
        item: the line; without ``unit_price`` its price is not compared.
        listed: its product as the catalogue has it; None when it has none.
    """
    try:
        price = _amount(item, line)
    except InvalidSale as error:
        return LineCheck(
            line, ok=False, problem="invalid", words=f"{error.message}. {error.hint}", product_id=item.product
        )
    if item.product_data is not None:
        return LineCheck(
            line,
            ok=True,
            problem=None,
            words="A one-off product: the catalogue is not asked.",
            name=item.product_data.name,
            unit_price=price,
        )
    if item.product is None:
        return LineCheck(line, ok=False, problem="invalid", words="No product is named.", unit_price=price)
    if listed is None:
        words = "The catalogue does not know this product; head office may refuse it."
        return LineCheck(line, ok=False, problem="unknown", words=words, product_id=item.product, unit_price=price)
    problem, words = _problem(item, listed)
    return LineCheck(
        line,
        ok=problem is None,
        problem=problem,
        words=words,
        product_id=item.product,
        name=listed.product.name,
        unit_price=price,
        catalogue_price=listed.product.price,
        overridden=item.price_override is not None,
    )
