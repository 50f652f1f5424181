"""The simple layout's columns: how the values of each are read, and what is said about a wrong one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from ho_stub.promotions.values import Wrong, clock, text, whole
from ho_stub.sale import exponent, is_id
from ho_stub.tables import Place

QUANTITY_DECIMALS = 3
DIGITS_MAX = 12
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """How a column's values are read, and whether it may be empty."""

    read: Callable[[Any], Any]
    needed: bool = False


def _text(value: Any) -> str:
    """JSON files have numbers for codes of digits."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return text(str(value) if is_number else value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in FLAGS:
        raise Wrong("must be true or false")
    return FLAGS[str(value).lower()]


def _count(value: Any) -> int:
    written = str(value)
    return whole(int(written) if written.isascii() and written.isdecimal() else value, 0, 10**9)


def _identity(value: Any) -> str:
    if not is_id(value):
        raise Wrong("must be a UUID in lower case; or leave it out")
    return str(value)


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(text(value)).key
    except (ValueError, OSError, LookupError):
        raise Wrong(f"{value!r} must be an IANA time zone like Asia/Jakarta") from None


def _currency(value: Any) -> str:
    if not (isinstance(value, str) and len(value) == 3 and value.isascii() and value.isupper()):
        raise Wrong(f"{value!r} must be a currency's three letters, like IDR")
    return value


def decimal(value: Any, decimals: int, like: str, *, negative: bool = False) -> Decimal:
    """A number as text, or as JSON has it. Raises Wrong."""
    try:
        number = Decimal(str(value)) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or (number < 0 and not negative) or number.adjusted() >= DIGITS_MAX:
        raise Wrong(f"{str(value)!r} must be {like}, with a point and without thousands' marks")
    if number != round(number, decimals):
        raise Wrong(f"{str(value)!r} must have at most {decimals} decimals")
    return number


def _quantity(value: Any) -> str:
    number = decimal(value, QUANTITY_DECIMALS, "a quantity like 12 or 0.750", negative=True)
    return f"{number:f}"


def _day_start(value: Any) -> str:
    return clock(value).isoformat("minutes")


def columns_of(currency: str) -> dict[str, dict[str, Column]]:
    """Every table's columns."""
    places = exponent(currency)
    money = Column(lambda value: f"{decimal(value, places, f'an amount like {Decimal(25):.{places}f}'):.{places}f}")
    word, needed, flag, named_id = Column(_text), Column(_text, needed=True), Column(_flag), Column(_identity)
    return {
        "stores": {
            "code": needed, "name": word, "brand": word, "timezone": Column(_zone), "day_start": Column(_day_start),
            "currency": Column(_currency), "id": named_id,
        },
        "categories": {
            "code": needed, "name": word, "parent": word, "brand": word, "display_order": Column(_count),
            "is_active": flag, "image_url": word, "id": named_id,
        },
        "products": {
            "sku": needed, "name": needed, "price": money, "cost": money, "category": word, "barcode": word,
            "brand": word, "store": word, "is_active": flag, "is_volatile": flag, "has_modifiers": flag,
            "reorder_level": Column(_quantity), "description": word, "image_url": word, "id": named_id,
        },
        "stock": {
            "store": needed, "sku": needed, "quantity": Column(_quantity, needed=True),
            "reorder_level": Column(_quantity),
        },
        "accounts": {"username": needed, "password": needed, "store": word, "company": flag},
    }  # fmt: skip


COMPANY = {
    "name": Column(_text, needed=True),
    "timezone": Column(_zone, needed=True),
    "currency": Column(_currency, needed=True),
    "id": Column(_identity),
}


def checked(at: Place, row: Mapping[str, Any], columns: Mapping[str, Column]) -> Row:
    """A row with all of its columns, None for empty ones. Raises TableError."""
    for name in row:
        if name not in columns:
            raise at.wrong(str(name), f"there is no such column; there are {', '.join(columns)}")
    found: Row = {}
    for name, column in columns.items():
        value = row.get(name)
        if value is None and column.needed:
            raise at.wrong(name, "is missing")
        try:
            found[name] = None if value is None else column.read(value)
        except Wrong as exc:
            raise at.wrong(name, str(exc)) from None
    return found
