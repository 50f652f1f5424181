"""Refuses digits that look like a payment card's number: the agent has no field for card data, and keeps none."""

from __future__ import annotations

import re
from collections.abc import Iterator

DIGITS_MIN, DIGITS_MAX = 13, 19
# Groups of digits with single spaces or hyphens between them, as cards print them.
_DIGIT_GROUPS = re.compile(r"[0-9]+(?:[ -][0-9]+)*", re.ASCII)
_SEPARATOR = re.compile(r"[ -]")
_ISSUER = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}"  # Visa: 13, 16 or 19
    r"|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12,15}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:50|5[6-9]|6[0-9])[0-9]{11,17}",  # Maestro
    re.ASCII,
)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def _is_ean13(digits: str) -> bool:
    """One EAN-13 in ten also passes a card's check; a barcode in a free field is no card."""
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits[:12]))
    return len(digits) == 13 and (10 - weighted % 10) % 10 == int(digits[12])


def _could_be(groups: list[str]) -> Iterator[str]:
    """Neighbouring groups joined, where together they are as long as a card's number.

    Other digits may stand beside it ("4111 1111 1111 1111 12/27"), so every group may be the first.
    """
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > DIGITS_MAX:
                break
            if len(digits) >= DIGITS_MIN:
                yield digits


def looks_like_card(text: str) -> bool:
    """Whether a text holds digits with a card issuer's prefix, length and check digit."""
    if len(text) < DIGITS_MIN:
        return False
    for run in _DIGIT_GROUPS.finditer(text):
        if run.end() - run.start() < DIGITS_MIN:
            continue
        for digits in _could_be(_SEPARATOR.split(run.group())):
            if _ISSUER.fullmatch(digits) and _luhn(digits) and not _is_ean13(digits):
                return True
    return False
