"""A sale as received: checked field by field, its amounts worked out in exact decimals (contract section 5). Pure."""

import re
import uuid
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NoReturn

# ISO 4217 currencies whose minor unit is not the hundredth.
EXPONENTS = dict.fromkeys(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ),
    0,
)
EXPONENTS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3) | dict.fromkeys(("CLF", "UYW"), 4)
QUANTITY_DECIMALS = 3
MONEY_DIGITS_MAX = 12
QUANTITY_DIGITS_MAX = 9
# What the books can hold in minor units, whatever the currency.
AMOUNT_MAX = Decimal(10) ** 14
SIGN = {"sale": 1, "refund": -1, "void": -1}

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


class InvalidSale(ValueError):
    """The sale breaks the contract at `field`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class OneOff:
    """A product that the till made up: matched by SKU, or created."""

    sku: str
    name: str
    unit_price: Decimal
    is_volatile: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One item. Either `product_id` or `one_off` is set; `amount` is rounded at the currency's exponent."""

    number: int
    product_id: str | None
    one_off: OneOff | None
    quantity: Decimal
    unit_price: Decimal
    discount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale that keeps the contract. `total` is ours (the lines' sum), `declared` the till's."""

    external_id: str
    store_id: str
    device_id: str | None
    journal_id: str | None
    device_seq: int | None
    kind: str
    business_date: str
    currency: str
    lines: tuple[Line, ...]
    declared: Decimal

    @property
    def total(self) -> Decimal:
        """The sum of the lines."""
        return sum((line.amount for line in self.lines), Decimal(0))


def exponent(currency: str) -> int:
    """How many decimals money of this currency has."""
    return EXPONENTS.get(currency, 2)


def line_amount(quantity: Decimal, unit_price: Decimal, discount: Decimal, currency: str) -> Decimal:
    """half-up(quantity × unit price − discount) at the currency's exponent."""
    return (quantity * unit_price - discount).quantize(Decimal(1).scaleb(-exponent(currency)), ROUND_HALF_UP)


def iso_day(text: str) -> str:
    """A date as the contract writes it. Raises ValueError for anything else."""
    if date.fromisoformat(text).isoformat() != text:
        raise ValueError(f"{text} is not a date like 2026-11-21")
    return text


def is_id(value: object) -> bool:
    """Whether it is a UUID as the contract writes it: lower case, with hyphens."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def read_sale(raw: dict[str, Any]) -> Sale:
    """A native sale.

    Raises:
        InvalidSale: for the first field that breaks the contract.
    """
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in SIGN:
        _fail("kind", "must be sale, refund or void")
    currency = _currency(raw.get("currency"))
    if raw.get("refers_to") is not None:
        _id(raw["refers_to"], "refers_to")
    elif kind != "sale" and not _text(raw.get("reason"), "reason", optional=True):
        _fail("refers_to", f"a {kind} names another sale, or gives a reason")
    _moment(raw.get("client_timestamp"))
    for name in ("receipt_number", "cashier_id", "customer_id"):
        _text(raw.get(name), name, optional=True)
    if not isinstance(raw.get("extra", {}), dict):
        _fail("extra", "must be an object")
    _check_payments(raw.get("payments", []), currency)
    return Sale(
        external_id=_id(raw.get("external_id"), "external_id"),
        store_id=_id(raw.get("store_id"), "store_id"),
        device_id=_text(raw.get("device_id"), "device_id"),
        journal_id=_id(raw.get("journal_id"), "journal_id"),
        device_seq=_sequence(raw.get("device_seq")),
        kind=kind,
        business_date=_day(raw.get("business_date")),
        currency=currency,
        lines=_lines(raw.get("items"), currency),
        declared=_money(raw.get("total_amount"), "total_amount", currency),
    )


def read_single(raw: dict[str, Any], store_id: str, currency: str, today: date) -> Sale:
    """A sale in the baseline form: no kind, currency, sequence or total. JSON numbers are accepted here.

    Raises:
        InvalidSale: for the first field that breaks the contract.
    """
    external_id = raw.get("external_id")
    items = raw.get("items")
    if isinstance(items, list):
        items = [_without_floats(item) for item in items]
    lines = _lines(items, currency)
    return Sale(
        external_id=str(uuid.uuid4()) if external_id is None else _id(external_id, "external_id"),
        store_id=store_id,
        device_id=_text(raw.get("source_device"), "source_device", optional=True),
        journal_id=None,
        device_seq=None,
        kind="sale",
        business_date=_day(raw.get("business_date") or today.isoformat()),
        currency=currency,
        lines=lines,
        declared=sum((line.amount for line in lines), Decimal(0)),
    )


def _lines(items: object, currency: str) -> tuple[Line, ...]:
    if not isinstance(items, list) or not items:
        _fail("items", "must be a list of at least one item")
    lines = tuple(_line(index, item, currency) for index, item in enumerate(items))
    if sum(abs(line.amount) for line in lines) >= AMOUNT_MAX:
        _fail("items", "come to more than any shop takes")
    return lines


def _line(index: int, item: object, currency: str) -> Line:
    at = f"items[{index}]"
    if not isinstance(item, dict):
        _fail(at, "must be an object")
    product, made_up = item.get("product"), item.get("product_data")
    if (product is None) == (made_up is None):
        _fail(at, "has either product or product_data")
    quantity = _decimal(item.get("quantity"), f"{at}.quantity", QUANTITY_DECIMALS, QUANTITY_DIGITS_MAX)
    if quantity <= 0:
        _fail(f"{at}.quantity", "must be more than zero; the sale's kind gives the sign")
    price = _money(item.get("unit_price"), f"{at}.unit_price", currency)
    discount = item.get("discount")
    discount = Decimal(0) if discount is None else _money(discount, f"{at}.discount", currency)
    if price < 0 or discount < 0:
        _fail(at, "unit_price and discount can't be negative")
    promotions = item.get("promotion_ids") or []
    if not isinstance(promotions, list) or not all(isinstance(one, str) for one in promotions):
        _fail(f"{at}.promotion_ids", "must be a list of ids")
    return Line(
        number=index + 1,
        product_id=None if product is None else _id(product, f"{at}.product"),
        one_off=None if made_up is None else _one_off(made_up, f"{at}.product_data", currency),
        quantity=quantity,
        unit_price=price,
        discount=discount,
        amount=line_amount(quantity, price, discount, currency),
    )


def _one_off(made_up: object, at: str, currency: str) -> OneOff:
    if not isinstance(made_up, dict):
        _fail(at, "must be an object")
    sku = _text(made_up.get("sku"), f"{at}.sku")
    return OneOff(
        sku=sku,
        name=_text(made_up.get("name"), f"{at}.name", optional=True) or sku,
        unit_price=_money(made_up.get("unit_price", "0"), f"{at}.unit_price", currency),
        is_volatile=made_up.get("is_volatile", True) is not False,
    )


def _check_payments(payments: object, currency: str) -> None:
    if not isinstance(payments, list):
        _fail("payments", "must be a list")
    for index, payment in enumerate(payments):
        at = f"payments[{index}]"
        if not isinstance(payment, dict):
            _fail(at, "must be an object")
        _text(payment.get("method"), f"{at}.method")
        _money(payment.get("amount"), f"{at}.amount", currency)
        if payment.get("rounding") is not None:
            _money(payment["rounding"], f"{at}.rounding", currency)


def _without_floats(item: object) -> object:
    if isinstance(item, dict):
        return {name: _without_floats(value) for name, value in item.items()}
    return str(item) if type(item) in (int, float) else item


def _fail(field: str, message: str) -> NoReturn:
    raise InvalidSale(field, message)


def _id(value: object, field: str) -> str:
    if not is_id(value):
        _fail(field, "must be a UUID in lower case")
    return str(value)


def _text(value: object, field: str, *, optional: bool = False) -> str:
    if value is None and optional:
        return ""
    if not isinstance(value, str) or (not value and not optional):
        _fail(field, "must be text")
    if storable(value) != value:
        _fail(field, "holds characters that no text has")
    return value


def _sequence(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _fail("device_seq", "must be a whole number from 1")
    return value


def _day(value: object) -> str:
    try:
        return iso_day(_text(value, "business_date"))
    except ValueError:
        _fail("business_date", "must be a date like 2026-11-21")


def _moment(value: object) -> None:
    try:
        offset = datetime.fromisoformat(_text(value, "client_timestamp")).utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        _fail("client_timestamp", "must be an ISO 8601 time with its offset")


def _currency(value: object) -> str:
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        _fail("currency", "must be three capital letters")
    return value


def _money(value: object, field: str, currency: str) -> Decimal:
    return _decimal(value, field, exponent(currency), MONEY_DIGITS_MAX)


def _decimal(value: object, field: str, decimals: int, digits: int) -> Decimal:
    found = _DECIMAL.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        _fail(field, "must be a decimal in a string")
    if len(found[2]) > digits or len(found[3] or "") > decimals:
        _fail(field, f"has at most {decimals} decimals and {digits} digits before them")
    return Decimal(found[0])


def storable(text: object) -> str | None:
    """Text that any database can keep: no half of a surrogate pair, no zero byte."""
    return text.encode(errors="replace").decode().replace("\0", "?") if isinstance(text, str) else None
