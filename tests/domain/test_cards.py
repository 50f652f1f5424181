"""Digits that look like a payment card's number are refused, wherever they stand; other digits are not."""

from __future__ import annotations

import pytest

from edge_agent.domain.cards import looks_like_card


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500005555555559",
        "2221000000000009",
        "378282246310005",
        "3782 822463 10005",
        "30569309025904",
        "6011111111111117",
        "3530111333300000",
        "6200000000000005",
        "4222222222222",
        "paid by 4111 1111 1111 1111, thank you",
        "4111 1111 1111 1111 12/27",
        "4111111111111111 123",
        "4111 1111 1111 1111 1227",
        "12 4111 1111 1111 1111",
        "2026-11-21 4111 1111 1111 1111",
        "card4111111111111111x",
    ],
)
def test_a_card_is_seen(text: str) -> None:
    """A card's number is seen as terminals print it, with what stands before and behind it."""
    assert looks_like_card(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4111",
        "4111111111111112",
        "5000112546415",
        "8991234567890",
        "S01-T02-000042",
        "0191e5a2-7c3b-7def-8a01-23456789abcd",
        "00000006-0000-4000-8000-000000000000",
        "2026-11-21T09:15:02.114Z",
        "+62 812 3456 7890",
        "1234567890123456789012345678901234567890",
        "99999999999999",
    ],
)
def test_other_digits_are_not_cards(text: str) -> None:
    """Barcodes, receipts, telephone numbers and ids pass."""
    assert not looks_like_card(text)


def test_no_digits_are_read_for_ever() -> None:
    """Looking for cards takes a long text in stride."""
    assert not looks_like_card("1 " * 50_000)
