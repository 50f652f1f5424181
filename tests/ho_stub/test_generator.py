"""Made-up data: the same for the same number, plain names, valid barcodes, promotions of all twelve types."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal

import pytest

from ho_stub.generator import ean13, generate
from ho_stub.promotions.compilers import COMPILERS
from ho_stub.seed import SeedError
from ho_stub.world import World

TABLES = ("company", "brands", "stores", "categories", "products", "promotions", "stock", "accounts")


def text_of(number: str) -> str:
    data = generate(number)
    return json.dumps({name: _plain(getattr(data, name)) for name in TABLES})


def _plain(part: object) -> object:
    return dict(part) if hasattr(part, "keys") else [dict(row) for row in part]  # type: ignore[call-overload, attr-defined]


def test_the_same_number_gives_the_same_data_and_another_other_data() -> None:
    assert text_of("120") == text_of("120")
    assert text_of("120") != text_of("121")


def test_products_have_names_prices_and_barcodes_of_their_own() -> None:
    products = [dict(row) for row in generate("3000").products]
    for column in ("id", "sku", "barcode", "name"):
        assert len({row[column] for row in products}) == 3000, column
    for row in products:
        assert ean13(row["barcode"][:12]) == row["barcode"]
        assert Decimal(row["price"]) > Decimal(row["cost"]) > 0
        assert row["name"].isascii()


def test_the_check_digit_is_that_of_the_standard() -> None:
    assert [ean13(one) for one in ("400638133393", "501234567890")] == ["4006381333931", "5012345678900"]


def test_a_generated_office_has_promotions_of_all_types_in_its_window() -> None:
    world = World(data="generate:200")
    kinds = Counter(row["promo_type"] for row in world.rows("promotions"))
    assert set(kinds) == set(COMPILERS)
    assert all(2 <= many <= 3 for many in kinds.values()), kinds
    assert len(world.rows("products")) == 200
    assert len(world.rows("categories")) == 33
    assert world.device["username"] == "till-M01"
    world.close()


@pytest.mark.parametrize("number", ["", "0", "49", "1000001", "many", "-5", "1e3"])
def test_a_number_out_of_range_is_refused_with_the_range(number: str) -> None:
    with pytest.raises(SeedError, match="from 50 to 1000000"):
        generate(number)
