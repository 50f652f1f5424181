"""The Complete Journey's files as head office's catalogue: `load("sample")`, or `load(FOLDER)` for the full set.

What the source does not say is decided here, and said so:

- Time zone: the source names none; the store is put in America/New_York. Its day starts at 04:00: a fifth of its
  baskets are paid between midnight and four, and the source's redemption dates mostly count them to the evening before.
- Barcodes: none in the source, so null. The SKU is the source's product_id.
- Price: list_price, at two decimals. None known: null, so the till asks. Fuel has none either: its list_price is a
  median per thousandth of a gallon or per visit, which is no price of anything.
- Category: a product without one belongs to its department's category.
- A coupon's worth is not in the source: `rules.value` is null, and `value_source` says where the till finds it.
- The loyalty card's prices become one promotion, LOYALTY, valid over the years in which the lines lie.
- Opening stock is derived: a year's units sold (quantity 0 counts as one), and on top a week's worth as reorder level.
  Fuel, and what the store never sold, has none.
- Campaigns keep their own dates. To have them current, set head office's date.

All ids are UUIDv5 under NAMESPACE (see `identity`), so every load of the same files gives the same catalogue.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Days = tuple[date | None, date | None]  # the first and the last

NAMESPACE = uuid.UUID("6f1d0a52-3c7e-5b1a-9a40-0c6d1f4e8b73")
SAMPLE = Path(__file__).parent / "sample"
TIMEZONE = "America/New_York"
CURRENCY = "USD"
DAY_START_HOURS = 4
LOYALTY = "LOYALTY"
WEEKS_A_YEAR = 52
NUMBER_BELOW = 10**9
# The rows' dates of birth: before the first sale, and the same at every load.
CREATED = "2016-11-01T00:00:00.000000Z"
COMPILER = "complete-journey-1"

_CENT = Decimal("0.01")
_LINES_FILE = re.compile(r"store-(\d+)-lines\.csv(?:\.gz)?")
_PRODUCT_COLUMNS = (
    "product_id", "department", "brand", "product_category", "product_type", "package_size", "list_price",
)  # fmt: skip


class BadDataset(ValueError):
    """A folder that can't be read as the Complete Journey; says which file, line and column, and what to do."""


@dataclass(frozen=True)
class Dataset:
    """What a head office starts with. Rows have all fields of the contract's section 4 except `row_version`."""

    company: Row
    brands: list[Row]
    stores: list[Row]
    categories: list[Row]
    products: list[Row]
    promotions: list[Row]
    stock: list[Row]
    accounts: list[Row]


def identity(name: str) -> str:
    """The id of a thing: UUIDv5 of `company`, `brand`, `store:<code>`, `category:<dept>`, `category:<dept>/<category>`,
    `product:<product_id>`, `promotion:<campaign>/<coupon>` or `promotion:loyalty`."""
    return str(uuid.uuid5(NAMESPACE, name))


COMPANY_ID = identity("company")
BRAND_ID = identity("brand")


def load(source: str | Path) -> Dataset:
    """Read a catalogue.

    Args:
        source: "sample" for the packaged sample, else a folder in the complete-journey layout: products, coupons,
            campaigns and one or more store-<code>-lines, each as .csv or .csv.gz.

    Returns:
        The dataset, in the files' order.

    Raises:
        BadDataset: a file or a column is missing, or a value can't be read.
    """
    folder = SAMPLE if source == "sample" else Path(source)
    if not folder.is_dir():
        raise BadDataset(f"{folder} is not a folder. Give the folder that holds products.csv.gz, or the word 'sample'.")
    table = _product_table(folder)
    codes = _store_codes(folder)
    sold, days = _units_sold(folder, codes, table)
    stores = [_store(code) for code in codes]
    return Dataset(
        company={"id": COMPANY_ID, "name": "The Complete Journey", "timezone": TIMEZONE, "currency": CURRENCY},
        brands=[{"id": BRAND_ID, "name": "The Complete Journey"}],
        stores=stores,
        categories=_categories(table.values()),
        products=[_product(row, _units_of(sku, sold)) for sku, row in table.items()],
        promotions=[_loyalty(days), *_coupons(folder)],
        stock=[row for code in codes for row in _stock(code, sold[code])],
        accounts=_accounts(stores),
    )


def is_fuel(product: Mapping[str, str]) -> bool:
    """Whether a row of products.csv is fuel. Some of it stands under MISCELLANEOUS, so the type counts too."""
    return product["department"] == "FUEL" or product["product_type"].startswith("GASOLINE")


# -- reading


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise BadDataset(f"{folder} has no {name}.gz and no {name}. Give a folder in the complete-journey layout.")


def _read(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a file with its place ("products.csv.gz, line 7") for messages."""
    path = _find(folder, name)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise BadDataset(f"{path.name} is damaged ({error}). Copy it again from its source.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise BadDataset(f"{path.name} lacks the column {missing[0]}. Its first line must name the columns.")
    for row in reader:
        place = f"{path.name}, line {reader.line_num}"
        if None in row.values() or None in row:
            raise BadDataset(f"{place}: not as many fields as the first line names. Mend or remove the line.")
        yield place, row


def _number(text: str, place: str, column: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value < NUMBER_BELOW:
        raise BadDataset(f"{place}: {column} is {text!r}. It must be a number, not negative, below a thousand million.")
    return value


def _day(text: str, place: str, column: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadDataset(f"{place}: {column} is {text!r}. It must be a date such as 2017-03-31.") from None


def _product_table(folder: Path) -> dict[str, dict[str, str]]:
    """products.csv by product_id; list_price in the contract's form, or "" where no price is known."""
    table: dict[str, dict[str, str]] = {}
    for place, row in _read(folder, "products.csv", _PRODUCT_COLUMNS):
        if row["product_id"] in table:
            raise BadDataset(f"{place}: product_id {row['product_id']!r} is there already. Keep one of the two lines.")
        if row["list_price"]:
            price = _number(row["list_price"], place, "list_price").quantize(_CENT, ROUND_HALF_UP)
            row["list_price"] = "" if is_fuel(row) else str(price)
        table[row["product_id"]] = row
    return table


def _store_codes(folder: Path) -> list[str]:
    found = {match[1] for path in folder.iterdir() if (match := _LINES_FILE.fullmatch(path.name))}
    if not found:
        raise BadDataset(f"{folder} has no store-<number>-lines.csv.gz. Without it there is no store.")
    return sorted(found, key=int)


def _units_sold(
    folder: Path, codes: list[str], table: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, dict[str, Decimal]], Days]:
    """Units of each product that each store sold, and the first and last business day of all."""
    fuel = {sku for sku, row in table.items() if is_fuel(row)}
    sold: dict[str, dict[str, Decimal]] = {}
    first, last = "", ""
    for code in codes:
        units = sold[code] = {}
        for place, row in _read(folder, f"store-{code}-lines.csv", ("product_id", "quantity", "transaction_timestamp")):
            moment, sku = row["transaction_timestamp"], row["product_id"]
            first, last = min(first or moment, moment), max(last, moment)
            if sku in table and sku not in fuel:
                units[sku] = units.get(sku, Decimal(0)) + (_number(row["quantity"], place, "quantity") or 1)
    return sold, (_business_day(first), _business_day(last))


def _units_of(sku: str, sold: Mapping[str, Mapping[str, Decimal]]) -> Decimal:
    return sum((units[sku] for units in sold.values() if sku in units), Decimal(0))


def _business_day(moment: str) -> date | None:
    if not moment:
        return None
    try:
        return (datetime.fromisoformat(moment) - timedelta(hours=DAY_START_HOURS)).date()
    except ValueError:
        raise BadDataset(
            f"transaction_timestamp is {moment!r}. It must be a time such as 2017-01-01T18:24:46."
        ) from None


# -- rows


def _store(code: str) -> Row:
    return {
        "id": identity(f"store:{code}"), "code": code, "name": f"Store {code}", "timezone": TIMEZONE,
        "day_start": f"{DAY_START_HOURS:02}:00", "currency": CURRENCY, "brand_id": BRAND_ID,
    }  # fmt: skip


def _accounts(stores: list[Row]) -> list[Row]:
    """A device account for each store and one for the office. For demonstrations: no secret is kept by these words."""
    tills = [
        {"username": f"till-{store['code']}", "password": f"till-{store['code']}-demo", "store_id": store["id"]}
        for store in stores
    ]
    return [*tills, {"username": "office", "password": "office-demo", "store_id": None}]


def _categories(products: Iterable[Mapping[str, str]]) -> list[Row]:
    """Departments in the alphabet's order, each followed by its categories."""
    found = sorted({(row["department"], name) for row in products for name in ("", row["product_category"])})
    return [_category(place, *names) for place, names in enumerate(found) if names[0]]


def _category_id(department: str, category: str) -> str | None:
    if not department:
        return None
    return identity(f"category:{department}/{category}" if category else f"category:{department}")


def _category(place: int, department: str, category: str) -> Row:
    return {
        "id": _category_id(department, category), "company_id": COMPANY_ID, "brand_id": BRAND_ID,
        "name": category or department, "code": f"{department}/{category}" if category else department,
        "parent_id": _category_id(department, "") if category else None, "is_active": True, "display_order": place,
        "image_url": None, "created_at": CREATED, "updated_at": CREATED,
    }  # fmt: skip


def _product_name(row: Mapping[str, str]) -> str:
    """The source's own words: "ICE - CRUSHED/CUBED, 22 LB (National)"."""
    what = row["product_type"] or row["product_category"] or row["department"] or f"Product {row['product_id']}"
    size = f", {row['package_size']}" if row["package_size"] else ""
    brand = f" ({row['brand']})" if row["brand"] else ""
    return what + size + brand


def _product(row: Mapping[str, str], units: Decimal) -> Row:
    return {
        "id": identity(f"product:{row['product_id']}"), "company_id": COMPANY_ID, "brand_id": BRAND_ID,
        "store_id": None, "category_id": _category_id(row["department"], row["product_category"]),
        "name": _product_name(row), "sku": row["product_id"], "barcode": None, "price": row["list_price"] or None,
        "cost": None, "is_active": True, "is_volatile": is_fuel(row), "has_modifiers": False,
        "reorder_level": f"{_week_of(units):f}" if units else None, "image_url": None, "description": None,
        "created_at": CREATED, "updated_at": CREATED,
    }  # fmt: skip


def _week_of(units_a_year: Decimal) -> Decimal:
    return (units_a_year / WEEKS_A_YEAR).to_integral_value(ROUND_CEILING)


def _stock(code: str, sold: Mapping[str, Decimal]) -> Iterator[Row]:
    for sku, units in sold.items():
        level = _week_of(units)
        yield {
            "store_id": identity(f"store:{code}"), "product_id": identity(f"product:{sku}"),
            "quantity": f"{units.to_integral_value(ROUND_CEILING) + level:f}", "reorder_level": f"{level:f}",
        }  # fmt: skip


def _promotion(name: str, code: str, title: str, products: list[str] | None, days: Days) -> Row:
    """A promotion in the compiled form; `products` None means all. Coupons are handed in, loyalty prices are not."""
    is_coupon = products is not None
    start, end = (day and day.isoformat() for day in days)
    apply_to = "products" if is_coupon else "all"
    return {
        "id": identity(f"promotion:{name}"), "code": code, "name": title, "company_id": COMPANY_ID,
        "brand_id": BRAND_ID, "promo_type": "amount_discount", "apply_to": apply_to, "execution_stage": "item_level",
        "execution_priority": 200 if is_coupon else 100, "is_active": True, "is_auto_apply": not is_coupon,
        "require_voucher": is_coupon, "member_only": True, "is_stackable": True,
        "validity": {
            "start_date": start, "end_date": end, "time_start": None, "time_end": None, "days_of_week": None,
            "exclude_holidays": False,
        },
        "scope": {
            "apply_to": apply_to, "categories": [], "products": products or [], "exclude_categories": [],
            "exclude_products": [],
        },
        "targeting": {
            "stores": [], "brands": [BRAND_ID], "member_only": True, "member_tiers": [], "customer_type": "all",
            "sales_channels": [],
        },
        "rules": {
            "type": "amount_discount", "value": None, "value_source": "coupon" if is_coupon else "price tag",
        },
        "limits": {"max_uses": None, "max_uses_per_customer": None, "max_uses_per_day": None, "current_uses": 0},
        "compiled_at": CREATED, "compiler_version": COMPILER, "updated_at": CREATED,
    }  # fmt: skip


def _loyalty(days: Days) -> Row:
    """Loyalty prices: the source tells the discount of each line, and no rule. So: everything, in whole years."""
    first, last = days
    years = (first and first.replace(month=1, day=1), last and last.replace(month=12, day=31))
    return _promotion("loyalty", LOYALTY, "Loyalty card price", None, years)


def _campaigns(folder: Path) -> dict[str, tuple[str, Days]]:
    """Campaign → (type, first and last day)."""
    columns = ("campaign_id", "campaign_type", "start_date", "end_date")
    return {
        row["campaign_id"]: (
            row["campaign_type"],
            (_day(row["start_date"], place, "start_date"), _day(row["end_date"], place, "end_date")),
        )
        for place, row in _read(folder, "campaigns.csv", columns)
    }


def _coupons(folder: Path) -> Iterator[Row]:
    """(campaign, coupon) → a promotion with its products, also those that the product table lacks (there are six)."""
    campaigns = _campaigns(folder)
    covered: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for place, row in _read(folder, "coupons.csv", ("coupon_upc", "product_id", "campaign_id")):
        if row["campaign_id"] not in campaigns:
            raise BadDataset(f"{place}: campaigns.csv has no campaign_id {row['campaign_id']!r}. Add its dates there.")
        covered[row["campaign_id"], row["coupon_upc"]][row["product_id"]] = None
    ids: dict[str, str] = {}
    for (campaign, coupon), skus in covered.items():
        kind, days = campaigns[campaign]
        products = [ids.get(sku) or ids.setdefault(sku, identity(f"product:{sku}")) for sku in skus]
        title = f"Coupon {coupon}, campaign {campaign} ({kind})"
        yield _promotion(f"{campaign}/{coupon}", f"C{campaign}-{coupon}", title, products, days)
