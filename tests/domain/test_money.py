"""Money and quantities are exact from end to end (G8)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain import money
from edge_agent.domain.catalog import price_text
from edge_agent.errors import InvalidSale

quantities = st.integers(1, 9_999_999_999)
cents = st.integers(0, 10**12)


@given(quantities, cents, cents)
def test_a_line_is_rounded_half_up_once(quantity: int, price: int, discount: int) -> None:
    """A line equals decimal arithmetic, rounded once, half away from zero."""
    exact = Decimal(quantity) / 1000 * price - discount
    assert money.line_amount(quantity, price, discount) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.integers(0, 10**14 - 1), st.sampled_from([0, 2, 3]))
def test_money_survives_its_text(minor: int, exponent: int) -> None:
    """Formatting and parsing money loses nothing."""
    minor %= 10 ** (12 + exponent)
    assert money.parse_money(money.format_money(minor, exponent), exponent, "x") == minor


@given(st.integers(1, 10**10 - 1))
def test_quantities_survive_their_text(milli: int) -> None:
    """Formatting and parsing a quantity loses nothing."""
    assert money.parse_quantity(money.format_quantity(milli), "x") == milli


@pytest.mark.parametrize(
    ("value", "minor"),
    [("2.5", 250), ("2", 200), (2, 200), (Decimal("2.50"), 250), ("2.500", 250), (Decimal("2E1"), 2000)],
)
def test_text_decimals_and_whole_numbers_are_money(value: Any, minor: int) -> None:
    """What is exact is accepted; zeros behind the last cent change nothing."""
    assert money.parse_money(value, 2, "x") == minor


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2.5, "FLOAT"),
        (float("nan"), "FLOAT"),
        (True, "INVALID_NUMBER"),
        (None, "MISSING"),
        ("", "INVALID_NUMBER"),
        ("1,000.00", "INVALID_NUMBER"),
        ("1e3", "INVALID_NUMBER"),
        ("+1", "INVALID_NUMBER"),
        (" 1", "INVALID_NUMBER"),
        ("1.", "INVALID_NUMBER"),
        (".5", "INVALID_NUMBER"),
        ("01", "INVALID_NUMBER"),
        ("١", "INVALID_NUMBER"),
        ("1\n", "INVALID_NUMBER"),
        (Decimal("NaN"), "INVALID_NUMBER"),
        (Decimal("Infinity"), "INVALID_NUMBER"),
        ("2.501", "TOO_MANY_DECIMALS"),
        (Decimal("0.001"), "TOO_MANY_DECIMALS"),
        ("-1.00", "NEGATIVE"),
        (-1, "NEGATIVE"),
        ("1000000000000", "TOO_LARGE"),
        (10**40, "TOO_LARGE"),
    ],
)
def test_what_is_not_exact_money_is_refused(value: Any, code: str) -> None:
    """Anything that is not plainly an amount is refused with its own code and a mend."""
    with pytest.raises(InvalidSale) as refusal:
        money.parse_money(value, 2, "items[0].unit_price")
    assert (refusal.value.code, refusal.value.field) == (code, "items[0].unit_price")
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("value", "exponent", "text"),
    [
        (None, 2, None),
        ("2.50", 2, "2.50"),
        ("2", 2, "2"),
        ("7500.0000", 2, "7500.00"),
        ("7500.00", 0, "7500"),
        (2.5, 2, "2.50"),
        (7500, 2, "7500.00"),
        (7500.0, 0, "7500"),
        (0.1 + 0.2, 2, "0.30"),
        (1234567.89, 2, "1234567.89"),
        (1e14, 2, "100000000000000.00"),
        (0, 2, "0.00"),
    ],
)
def test_a_catalogue_price_becomes_exact_text(value: Any, exponent: int, text: str | None) -> None:
    """Numbers of a baseline head office lose their binary noise, and nothing else."""
    assert price_text(value, exponent) == text


@pytest.mark.parametrize(
    "value", ["-1", -1, -0.01, "abc", "", "1,00", "2.505", 2.505, 1e300, "9" * 30, "1e5", "NaN", "0x1"]
)
def test_a_price_that_is_none_is_refused(value: Any) -> None:
    """A price that cannot be exact is refused, not rounded."""
    with pytest.raises(ValueError, match="price"):
        price_text(value, 2)


@given(st.decimals(0, 10**9, places=2))
def test_a_price_sent_as_a_number_is_the_price_that_was_meant(price: Decimal) -> None:
    """A float with two decimals comes back as those two decimals."""
    assert Decimal(price_text(float(price), 2) or "") == price
