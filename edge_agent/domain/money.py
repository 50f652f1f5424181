"""Exact money and quantities (G8): whole minor units and thousandths, never floats.

Inside the agent money is an ``int`` of the currency's minor unit (cents) and a quantity an ``int`` of thousandths;
on the wire and in the frozen bytes both are decimal strings (contract, section 1).
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from edge_agent.errors import InvalidSale

MONEY_DIGITS_MAX = 12
QUANTITY_DIGITS_MAX = 7
QUANTITY_DECIMALS = 3

# ISO 4217. The exponent is the number of decimals of the minor unit; 2 unless listed otherwise.
_ZERO_DECIMALS = frozenset(
    [
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
    ]
)
_THREE_DECIMALS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
_TWO_DECIMALS = frozenset(
    [
        "AED",
        "AFN",
        "ALL",
        "AMD",
        "ANG",
        "AOA",
        "ARS",
        "AUD",
        "AWG",
        "AZN",
        "BAM",
        "BBD",
        "BDT",
        "BGN",
        "BMD",
        "BND",
        "BOB",
        "BRL",
        "BSD",
        "BTN",
        "BWP",
        "BYN",
        "BZD",
        "CAD",
        "CDF",
        "CHF",
        "CNY",
        "COP",
        "CRC",
        "CUP",
        "CVE",
        "CZK",
        "DKK",
        "DOP",
        "DZD",
        "EGP",
        "ERN",
        "ETB",
        "EUR",
        "FJD",
        "FKP",
        "GBP",
        "GEL",
        "GHS",
        "GIP",
        "GMD",
        "GTQ",
        "GYD",
        "HKD",
        "HNL",
        "HTG",
        "HUF",
        "IDR",
        "ILS",
        "INR",
        "IRR",
        "JMD",
        "KES",
        "KGS",
        "KHR",
        "KPW",
        "KYD",
        "KZT",
        "LAK",
        "LBP",
        "LKR",
        "LRD",
        "LSL",
        "MAD",
        "MDL",
        "MGA",
        "MKD",
        "MMK",
        "MNT",
        "MOP",
        "MRU",
        "MUR",
        "MVR",
        "MWK",
        "MXN",
        "MYR",
        "MZN",
        "NAD",
        "NGN",
        "NIO",
        "NOK",
        "NPR",
        "NZD",
        "PAB",
        "PEN",
        "PGK",
        "PHP",
        "PKR",
        "PLN",
        "QAR",
        "RON",
        "RSD",
        "RUB",
        "SAR",
        "SBD",
        "SCR",
        "SDG",
        "SEK",
        "SGD",
        "SHP",
        "SLE",
        "SOS",
        "SRD",
        "SSP",
        "STN",
        "SVC",
        "SYP",
        "SZL",
        "THB",
        "TJS",
        "TMT",
        "TOP",
        "TRY",
        "TTD",
        "TWD",
        "TZS",
        "UAH",
        "USD",
        "UYU",
        "UZS",
        "VED",
        "VES",
        "WST",
        "XCD",
        "XCG",
        "YER",
        "ZAR",
        "ZMW",
        "ZWG",
    ]
)
CURRENCY_EXPONENT: dict[str, int] = (
    dict.fromkeys(_TWO_DECIMALS, 2) | dict.fromkeys(_ZERO_DECIMALS, 0) | dict.fromkeys(_THREE_DECIMALS, 3)
)

_NUMBER = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


# ISO 4217's "no currency": stands in where a baseline head office, which asks for none, never tells the store's.
NO_CURRENCY = "XXX"


def currency_exponent(currency: object, field: str = "currency", *, of_store: str | None = None) -> int:
    """Decimals of a currency's minor unit.

    Args:
        currency: an ISO 4217 code, such as ``"IDR"``.
        field: the name to report.
        of_store: the store's currency; ``NO_CURRENCY`` is a currency only where the store has no other.

    Raises:
        InvalidSale: ``UNKNOWN_CURRENCY``.
    """
    exponent = CURRENCY_EXPONENT.get(currency) if isinstance(currency, str) else None
    if currency == NO_CURRENCY == of_store:
        return 2
    if exponent is None:
        raise InvalidSale(
            "UNKNOWN_CURRENCY", field, f"{currency!r} is not a currency code", "Use the three-letter code, such as USD."
        )
    return exponent


def _scaled(value: object, decimals: int, field: str, noun: str) -> int:
    """``value`` × 10^decimals as an exact int, or a refusal that names the field."""
    if type(value) is str:
        text = value
    elif type(value) is int:
        return value * int(10**decimals)  # bool is excluded by the exact type
    elif isinstance(value, Decimal) and value.is_finite():
        text = f"{value:f}"
    elif isinstance(value, float):
        raise InvalidSale(
            "FLOAT",
            field,
            f"a {noun} may not be a floating point number ({value!r})",
            f'Write it as text, such as "{"0.750" if noun == "quantity" else "2.50"}", or as a Decimal.',
        )
    elif value is None:
        raise InvalidSale("MISSING", field, f"the {noun} is missing", f'Give the {noun} as text, such as "2.50".')
    else:
        raise InvalidSale("INVALID_NUMBER", field, f"{value!r} is not a {noun}", 'Write it as text, such as "2.50".')
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > 40:
        raise InvalidSale(
            "INVALID_NUMBER",
            field,
            f"{text[:40]!r} is not a {noun}",
            'Use digits and at most one point, such as "2.50": no signs, spaces or thousands separators.',
        )
    sign, whole, fraction = match.groups()
    if fraction is None:
        scaled: int = int(whole) * int(10**decimals)
    else:
        if len(fraction) > decimals and fraction[decimals:].strip("0"):
            raise InvalidSale(
                "TOO_MANY_DECIMALS",
                field,
                f"{text} has more than {decimals} decimals",
                f"Round it to {decimals} decimals before recording; the agent never rounds what you send.",
            )
        scaled = int(whole + fraction[:decimals].ljust(decimals, "0"))
    return -scaled if sign else scaled


def parse_money(value: object, exponent: int, field: str, *, negative: bool = False) -> int:
    """A money value as minor units.

    Args:
        value: decimal text, ``Decimal`` or ``int`` in whole currency units. Floats are refused.
        exponent: decimals of the currency.
        field: the name to report, such as ``items[0].unit_price``.
        negative: whether a value below zero is allowed (cash rounding).

    Returns:
        Minor units (cents).

    Raises:
        InvalidSale: ``FLOAT``, ``INVALID_NUMBER``, ``TOO_MANY_DECIMALS``, ``NEGATIVE``, ``TOO_LARGE``.
    """
    minor = _scaled(value, exponent, field, "price or amount")
    if minor < 0 and not negative:
        raise InvalidSale("NEGATIVE", field, f"{value} is below zero", "Use kind refund or void to give money back.")
    if abs(minor) >= 10 ** (MONEY_DIGITS_MAX + exponent):
        raise InvalidSale(
            "TOO_LARGE", field, f"{value} has more than {MONEY_DIGITS_MAX} digits", "Check for a scanned number."
        )
    return minor


def parse_quantity(value: object, field: str) -> int:
    """A quantity as thousandths; must be above zero, at most three decimals (contract, section 1).

    Raises:
        InvalidSale: as :func:`parse_money`, and ``NOT_POSITIVE``.
    """
    milli = _scaled(value, QUANTITY_DECIMALS, field, "quantity")
    if milli <= 0:
        raise InvalidSale(
            "NOT_POSITIVE",
            field,
            f"a quantity of {value} sells nothing",
            "Quantities are above zero; to take goods back, record a refund.",
        )
    if milli >= 10 ** (QUANTITY_DIGITS_MAX + QUANTITY_DECIMALS):
        raise InvalidSale(
            "TOO_LARGE", field, f"{value} has more than {QUANTITY_DIGITS_MAX} digits", "Check for a scanned barcode."
        )
    return milli


@lru_cache(maxsize=4_096)
def format_money(minor: int, exponent: int) -> str:
    """Minor units as the contract's decimal text: ``240`` → ``"2.40"``."""
    if exponent == 0:
        return str(minor)
    sign = "-" if minor < 0 else ""
    digits = str(abs(minor)).rjust(exponent + 1, "0")
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]}"


@lru_cache(maxsize=1_024)
def format_quantity(milli: int) -> str:
    """Thousandths as the contract's decimal text: ``2000`` → ``"2"``, ``-500`` → ``"-0.500"``."""
    whole, rest = divmod(abs(milli), 1000)
    sign = "-" if milli < 0 else ""
    return f"{sign}{whole}.{rest:03d}" if rest else f"{sign}{whole}"


def line_amount(quantity_milli: int, unit_price_minor: int, discount_minor: int) -> int:
    """half-up(quantity × unit price − discount) in minor units (contract, section 1: rounding).

    Half-up rounds halves away from zero. The result is negative when the discount exceeds the line; callers refuse it.
    """
    exact_milli = quantity_milli * unit_price_minor - discount_minor * 1000
    return (exact_milli + 500) // 1000 if exact_milli >= 0 else -((500 - exact_milli) // 1000)


class Figures(NamedTuple):
    """A line's figures, checked: its amount in minor units, and its values as the contract's text."""

    amount: int
    quantity: str
    unit_price: str
    discount: str | None


@lru_cache(maxsize=4_096)
def usual_line(quantity: str, unit_price: str, discount: str, exponent: int) -> Figures | None:
    """A line whose figures are text, remembered: a shop's prices and quantities repeat.

    Returns:
        None when something is wrong with it, for the caller to find out what.
    """
    try:
        milli = parse_quantity(quantity, "quantity")
        price = parse_money(unit_price, exponent, "unit_price")
        off = parse_money(discount, exponent, "discount")
    except InvalidSale:
        return None
    amount = line_amount(milli, price, off)
    if amount < 0:
        return None
    discount_text = format_money(off, exponent) if off else None
    return Figures(amount, format_quantity(milli), format_money(price, exponent), discount_text)
