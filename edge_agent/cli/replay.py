"""A real grocer's year as baskets for the demo: the Complete Journey's lines, read into what a till records.

What a till must cope with here, and how it is met:

- Quantity 0 (a coupon alone, or a correction) sells one of the thing at what was received: mostly 0.00, once 0.77.
- Fuel is counted in thousandths of a gallon above 100, and as one visit when the quantity is 1.
- The shelf price is (received + loyalty discount + the shop's coupon match) / quantity, rounded up to the cent, and the
  discount closes the gap, so that half-up(quantity × unit price − discount) is what was received, to the cent (G8).
  The discount is therefore a few cents above the source's where the shelf price has no whole cents.
- A manufacturer's coupon is money that the manufacturer pays for the customer: a payment, not a discount.

What the source does not tell: which promotion a discount came from. Two kinds of use are derived and no more: each
loyalty discount is a use of LOYALTY, and a coupon's amount is a use of that coupon where the household redeemed, on
that business day, a coupon that covers the product. Of 100 coupon amounts 94 have no such redemption on record. A
redemption names no line: where a coupon covers several lines with coupon amounts, each of them is a use of it.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path

LOYALTY_CODE = "LOYALTY"
FUEL_MILLI_ABOVE = 100  # a fuel quantity above this counts thousandths
DAY_START = dt.time(4)

_CENT = Decimal("0.01")
_MILLI = Decimal("0.001")
_NUMBER_BELOW = 10**9
_ZERO = Decimal("0.00")
_LINES_FILE = re.compile(r"store-(\d+)-lines\.csv(?:\.gz)?")
_LINE_COLUMNS = (
    "household_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc", "coupon_disc",
    "coupon_match_disc", "transaction_timestamp",
)  # fmt: skip
_PRODUCT_COLUMNS = ("product_id", "department", "brand", "product_category", "product_type", "package_size")

Coupon = tuple[str, str]  # (campaign_id, coupon_upc)


class ReplayError(ValueError):
    """A folder that can't be replayed; says which file, line and column, and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a basket.

    Args:
        line_no: from 1, the number the sale's item gets.
        product_id: the source's id, the catalogue's SKU.
        name: the product's name, or "Item <id>" when the product table lacks it.
        known: whether the product table has it; if not, sell it as a one-off product.
        quantity: the contract's form: "2", "12.486".
        unit_price: shelf price, two decimals.
        discount: for the whole line, two decimals.
        amount: the source's sales_value = half-up(quantity × unit_price − discount).
        retail_disc: loyalty discount.
        coupon_disc: what the manufacturer's coupon paid.
        coupon_match_disc: what the shop gave to match it.
    """

    line_no: int
    product_id: str
    name: str
    known: bool
    quantity: str
    unit_price: str
    discount: str
    amount: Decimal
    retail_disc: Decimal
    coupon_disc: Decimal
    coupon_match_disc: Decimal


@dataclass(frozen=True, slots=True)
class Use:
    """A line's use of a promotion. For the loyalty price both ids are empty."""

    campaign_id: str
    coupon_upc: str
    line_no: int
    amount: Decimal

    @property
    def code(self) -> str:
        """The promotion's code in the catalogue."""
        return coupon_code(self.campaign_id, self.coupon_upc) if self.coupon_upc else LOYALTY_CODE


@dataclass(frozen=True, slots=True)
class Basket:
    """One visit to the till; `timestamp` is the store's own time, without a zone."""

    basket_id: str
    household_id: str
    timestamp: dt.datetime
    business_date: dt.date
    lines: tuple[Line, ...]
    uses: tuple[Use, ...]
    total: Decimal

    @property
    def payments(self) -> tuple[tuple[str, Decimal], ...]:
        """(method, amount), together exactly the total; none when there is nothing to pay.

        The coupons pay at most the total (single lines of the source have more coupon than price), cash the rest.
        """
        coupon = min(sum((line.coupon_disc for line in self.lines), _ZERO), self.total)
        both = (("coupon", coupon), ("cash", self.total - coupon))
        return tuple((method, amount) for method, amount in both if amount)


def coupon_code(campaign_id: str, coupon_upc: str) -> str:
    """The code of a coupon's promotion in the catalogue: "C26-51380041013"."""
    return f"C{campaign_id}-{coupon_upc}"


def by_code(promotions: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Promotion code → id, from rows of the pulled catalogue (contract, section 4)."""
    return {str(row["code"]): str(row["id"]) for row in promotions if row.get("code")}


def is_fuel(product: Mapping[str, str]) -> bool:
    """Whether a row of products.csv is fuel. Some of it stands under MISCELLANEOUS, so the type counts too."""
    return product["department"] == "FUEL" or product["product_type"].startswith("GASOLINE")


def store_codes(source_dir: Path) -> tuple[str, ...]:
    """The stores whose lines a folder holds, such as ("367",).

    Raises:
        ReplayError: it is no folder, or holds none.
    """
    if not source_dir.is_dir():
        raise ReplayError(f"{source_dir} is not a folder. Give the folder that holds products.csv.gz.")
    found = {match[1] for path in source_dir.iterdir() if (match := _LINES_FILE.fullmatch(path.name))}
    if not found:
        raise ReplayError(f"{source_dir} has no store-<number>-lines.csv.gz. Without it there is nothing to sell.")
    return tuple(sorted(found, key=int))


def read_baskets(source_dir: Path, store: str | None = None, day_start: dt.time = DAY_START) -> Iterator[Basket]:
    """The baskets of a store, in the order of their payment.

    Args:
        source_dir: a folder in the complete-journey layout; each file .csv or .csv.gz.
        store: the store's number; None for the first there is.
        day_start: when the store's business day begins, for business dates and redemptions.

    Raises:
        ReplayError: before the first basket, if anything in the files can't be read.
    """
    store = store or store_codes(source_dir)[0]
    products = {row["product_id"]: row for _, row in _read(source_dir, "products.csv", _PRODUCT_COLUMNS)}
    redemptions = _Redemptions(source_dir)
    rows: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for place, row in _read(source_dir, f"store-{store}-lines.csv", _LINE_COLUMNS):
        rows[row["basket_id"]].append((place, row))
    baskets = [_basket(found, products, redemptions, day_start) for found in rows.values()]
    baskets.sort(key=lambda basket: (basket.timestamp, basket.basket_id))
    return iter(baskets)


# -- reading


def _read(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row of a file, with its place for messages."""
    path = next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)
    if path is None:
        raise ReplayError(f"{folder} has no {name}.gz and no {name}. Give a folder in the complete-journey layout.")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile) as error:
        raise ReplayError(f"{path.name} is damaged ({error}). Copy it again from its source.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise ReplayError(f"{path.name} lacks the column {missing[0]}. Its first line must name the columns.")
    for row in reader:
        place = f"{path.name}, line {reader.line_num}"
        if None in row.values() or None in row:
            raise ReplayError(f"{place}: not as many fields as the first line names. Mend or remove the line.")
        yield place, row


class _Redemptions:
    """Which coupon a household may have used for a product on a day."""

    def __init__(self, source_dir: Path) -> None:
        self._covered: dict[Coupon, set[str]] = defaultdict(set)
        for _, row in _read(source_dir, "coupons.csv", ("coupon_upc", "product_id", "campaign_id")):
            self._covered[row["campaign_id"], row["coupon_upc"]].add(row["product_id"])
        self._redeemed: dict[tuple[str, str], list[Coupon]] = defaultdict(list)
        columns = ("household_id", "coupon_upc", "campaign_id", "redemption_date")
        for _, row in _read(source_dir, "coupon-redemptions.csv", columns):
            coupon = (row["campaign_id"], row["coupon_upc"])
            self._redeemed[row["household_id"], row["redemption_date"]].append(coupon)

    def coupon(self, household_id: str, day: dt.date, product_id: str) -> Coupon | None:
        """The redeemed coupon that covers the product; of several, the one that covers the fewest products."""
        redeemed = self._redeemed.get((household_id, day.isoformat()), [])
        fitting = [coupon for coupon in redeemed if product_id in self._covered[coupon]]
        return min(fitting, key=lambda coupon: (len(self._covered[coupon]), coupon), default=None)


# -- lines


def _number(row: Mapping[str, str], column: str, place: str, decimals: int = 2) -> Decimal:
    text = row[column]
    try:
        value = Decimal(text)
        value = value if value.is_finite() else Decimal(-1)
    except InvalidOperation:
        value = Decimal(-1)
    if not (0 <= value < _NUMBER_BELOW) or value % Decimal(1).scaleb(-decimals):
        raise ReplayError(
            f"{place}: {column} is {text!r}. It must be a number, not negative, below a thousand million, "
            f"with at most {decimals} decimals."
        )
    return value


def _quantity(row: Mapping[str, str], fuel: bool, place: str) -> Decimal:
    counted = _number(row, "quantity", place, 3)
    if fuel and counted > FUEL_MILLI_ABOVE:
        return (counted * _MILLI).quantize(_MILLI)
    return counted or Decimal(1)


def _line(line_no: int, row: Mapping[str, str], product: Mapping[str, str] | None, place: str) -> Line:
    quantity = _quantity(row, product is not None and is_fuel(product), place)
    received, loyalty, coupon, match = (
        _number(row, column, place) for column in ("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc")
    )
    unit_price = ((received + loyalty + match) / quantity).quantize(_CENT, ROUND_CEILING)
    # A discount of whole cents moves the half-up rounding of the line by just itself.
    discount = (quantity * unit_price).quantize(_CENT, ROUND_HALF_UP) - received
    return Line(
        line_no=line_no,
        product_id=row["product_id"],
        name=f"Item {row['product_id']}" if product is None else _name(product),
        known=product is not None,
        quantity=f"{quantity:.0f}" if quantity == quantity.to_integral_value() else f"{quantity:.3f}",
        unit_price=f"{unit_price:.2f}",
        discount=f"{discount:.2f}",
        amount=received,
        retail_disc=loyalty,
        coupon_disc=coupon,
        coupon_match_disc=match,
    )


def _name(row: Mapping[str, str]) -> str:
    what = row["product_type"] or row["product_category"] or row["department"] or f"Product {row['product_id']}"
    size = f", {row['package_size']}" if row["package_size"] else ""
    brand = f" ({row['brand']})" if row["brand"] else ""
    return what + size + brand


def _basket(
    rows: list[tuple[str, dict[str, str]]],
    products: Mapping[str, Mapping[str, str]],
    redemptions: _Redemptions,
    day_start: dt.time,
) -> Basket:
    place, first = rows[0]
    try:
        timestamp = dt.datetime.fromisoformat(first["transaction_timestamp"]).replace(tzinfo=None)
    except ValueError:
        raise ReplayError(
            f"{place}: transaction_timestamp is {first['transaction_timestamp']!r}. "
            "It must be a time such as 2017-01-01T18:24:46."
        ) from None
    day = timestamp.date() - dt.timedelta(days=timestamp.time() < day_start)
    lines = tuple(
        _line(line_no, row, products.get(row["product_id"]), place) for line_no, (place, row) in enumerate(rows, 1)
    )
    uses = tuple(use for line in lines for use in _uses(line, first["household_id"], day, redemptions))
    total = sum((line.amount for line in lines), _ZERO)
    return Basket(first["basket_id"], first["household_id"], timestamp, day, lines, uses, total)


def _uses(line: Line, household_id: str, day: dt.date, redemptions: _Redemptions) -> Iterator[Use]:
    if line.retail_disc:
        yield Use("", "", line.line_no, line.retail_disc)
    amount = line.coupon_disc + line.coupon_match_disc
    coupon = redemptions.coupon(household_id, day, line.product_id) if amount else None
    if coupon:
        yield Use(*coupon, line.line_no, amount)
