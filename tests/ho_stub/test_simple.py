"""The simple layout: tables as people keep them become a head office; a mistake is told with its place and mend."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ho_stub.canonical import one_off_id
from ho_stub.columns import COMPANY, columns_of
from ho_stub.simple import load
from ho_stub.tables import TableError
from ho_stub.world import World

SHOP = Path(__file__).parent.parent.parent / "examples" / "shop"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the example, to be spoilt."""
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


def test_the_example_shop_becomes_a_head_office_with_all_it_names() -> None:
    world = World(data=str(SHOP))
    products = {row["sku"]: row for row in world.rows("products")}
    assert products["LOAF"]["price"] == "27500.00"
    assert products["LOAF"]["id"] == one_off_id(world.company_id, "LOAF")
    assert (products["FISH"]["is_volatile"], products["FISH"]["price"]) == (True, None)
    codes = {row["id"]: row["code"] for row in world.rows("categories")}
    assert codes[products["ROLL"]["category_id"]] == "BREAD"
    assert [row["quantity"] for row in world.rows("stock") if row["product_id"] == products["ROLL"]["id"]] == [
        "120.000"
    ]
    (deal,) = [row for row in world.rows("promotions") if row["code"] == "ROLLS12"]
    assert deal["scope"]["products"] == [products["ROLL"]["id"]]
    assert deal["rules"]["discount_percent"] == "12.5"
    assert world.device["username"] == "till-1"
    assert (world.store(world.device["store_id"]) or {})["day_start"] == "04:00"
    world.close()


def test_the_same_files_give_the_same_ids_one_by_one_or_as_a_folder() -> None:
    assert load([SHOP]) == load(sorted(path for path in SHOP.iterdir() if path.stem != "README"))


def test_json_tables_read_like_csv_ones(shop: Path) -> None:
    before = load([shop])
    (shop / "products.csv").unlink()
    rows = [
        {"sku": "ROLL", "name": "Roll", "price": 3500, "category": "BREAD", "barcode": "2000000000015"},
        {"sku": "LOAF", "name": "Loaf, dark", "price": "27500.00", "category": "BREAD"},
        {"sku": "FISH", "name": "Fish by weight", "category": "FOOD", "is_volatile": True},
    ]
    (shop / "products.json").write_text(json.dumps(rows), "utf-8")
    assert load([shop]) == before


def spoilt(name: str, old: str, new: str) -> Callable[[Path], None]:
    def spoil(shop: Path) -> None:
        text = (shop / name).read_text("utf-8")
        assert old in text
        (shop / name).write_text(text.replace(old, new, 1), "utf-8")

    return spoil


def written(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda shop: (shop / name).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoilt("products.csv", "3500", '"3,500"'), "line 2, price: '3,500' must be an amount like 25.00, with"),
        (spoilt("products.csv", "27500.00", "27500.001"), "line 3, price: .* at most 2 decimals"),
        (spoilt("products.csv", "27500.00", "-1"), "line 3, price: '-1' must be an amount"),
        (spoilt("products.csv", "ROLL,Roll", ",Roll"), "line 2, sku: is missing"),
        (spoilt("products.csv", "LOAF,", "ROLL,"), "line 3, sku: ROLL is there already; keep one of the two"),
        (spoilt("products.csv", ",BREAD", ",BRED"), "line 2, category: categories has no BRED; add it there"),
        (spoilt("products.csv", "yes", "perhaps"), "line 4, is_volatile: must be true or false"),
        (spoilt("products.csv", "barcode", "ean"), "line 2, ean: there is no such column; there are sku"),
        (spoilt("products.csv", "sku,name", "sku,sku"), "line 1: 'sku' is no name for one column alone"),
        (spoilt("products.csv", "ROLL,Roll,", "ROLL,"), "line 2: has 5 fields, but the first line names 6 columns"),
        (spoilt("products.csv", '"Loaf, dark"', '"Loaf, dark'), "products.csv, line .*: is no CSV here"),
        (spoilt("stock.csv", "120", "many"), "stock.csv, line 2, quantity: 'many' must be a quantity like 12 or 0.750"),
        (spoilt("stock.csv", "S01,ROLL", "S09,ROLL"), "line 2, store: stores has no S09"),
        (spoilt("stock.csv", "S02,LOAF", "S01,ROLL"), "line 3, sku: ROLL has a figure for store S01 already"),
        (spoilt("stores.csv", "04:00", "4 am"), "stores.csv, line 2, day_start: must be a time like"),
        (spoilt("categories.csv", "Bread,FOOD", "Bread,FUD"), "categories.csv, line 3, parent: categories has no FUD"),
        (spoilt("company.json", "Asia/Jakarta", "Jakarta"), "company, timezone: 'Jakarta' must be an IANA"),
        (spoilt("company.json", "IDR", "Rp"), "currency: 'Rp' must be a currency's three letters"),
        (spoilt("company.json", '"name"', "name"), "company.json, line 1, column 2: is no JSON here"),
        (written("products.csv", b""), "products.csv: is empty. Its first line must name the columns"),
        (written("products.csv", "sku,name\nA,Café\n".encode("latin-1")), "is not UTF-8 at byte 14. Save it as UTF-8"),
        (written("stores.csv", b"code\n"), "there is no store"),
        (written("stores.json", b"[]"), "stores: is given twice, as stores.csv and stores.json"),
        (written("promotions.csv", b"code\n"), "promotions: is given twice|promotions are no table"),
        (lambda shop: (shop / "promotions.toml").write_text("[[promotions]\n"), "promotions.toml: is no TOML:"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_column_and_mend(
    shop: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(shop)
    with pytest.raises(TableError, match=message):
        load([shop])


def test_a_promotion_that_can_not_be_compiled_keeps_the_office_from_starting(shop: Path) -> None:
    text = (shop / "promotions.toml").read_text("utf-8").replace('"ROLL"', '"RULL"')
    (shop / "promotions.toml").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"promotions\[0\] \(ROLLS12\).scope.products\[0\]: no product .*: RULL"):
        World(data=str(shop))


def test_without_a_company_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("sku,name\n", "utf-8")
    with pytest.raises(TableError, match=r"company\.json is missing"):
        load([tmp_path / "products.csv"])
    (tmp_path / "goods.csv").write_text("sku,name\n", "utf-8")
    with pytest.raises(TableError, match=r"goods\.csv: is not one of the layout's files: company, stores"):
        load([tmp_path / "goods.csv"])


def test_the_documentation_names_every_column_and_which_are_needed() -> None:
    text = (SHOP.parent.parent / "docs" / "head-office-data.md").read_text("utf-8")
    described = {}
    for name, columns in re.findall(r"^\| `([a-z]+)(?:\.json)?` \| (.*`.*) \|$", text, re.M):
        described[name] = [(column, needed == "**") for needed, column in re.findall(r"(\*\*)?`([a-z_]+)`", columns)]
    tables = {"company": COMPANY, **columns_of("IDR")}
    assert {name: described[name] for name in tables} == {
        name: [(column, one.needed) for column, one in columns.items()] for name, columns in tables.items()
    }
