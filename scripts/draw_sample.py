"""Draw the packaged sample (ho_stub/sample) from the full complete-journey files.

    python scripts/draw_sample.py SOURCE_DIR [OUTPUT_DIR]

The same source gives the same sample: every choice is by rule or by the hash of an id, none by chance. Baskets that
show one of the source's oddities are taken first, so that the demo meets what a real till meets.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

Row = dict[str, str]
Basket = list[Row]
Coupon = tuple[str, str]  # (campaign_id, coupon_upc)

BASKETS = 300
PRODUCTS = 2_000
PRODUCTS_SOLD_MAX = 1_800  # leaves room for products that nobody bought
PROMOTIONS = 200
FREE_PRODUCTS = 3
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "ho_stub" / "sample"


def by_hash(key: str) -> bytes:
    """A sort key that scatters ids, the same on every machine."""
    return hashlib.sha256(key.encode()).digest()


def read(path: Path) -> list[Row]:
    """All rows of a CSV file, gzip or plain."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(text.decode("utf-8"), newline="")))


def write(path: Path, rows: list[Row]) -> None:
    """A CSV file; gzip without a time stamp or a name, so that the same rows give the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode("utf-8")
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0) if path.suffix == ".gz" else data)
    print(f"{path.name}: {len(rows):,} rows, {path.stat().st_size:,} bytes")


class Source:
    """The full files, with the look-ups that the choices need."""

    def __init__(self, folder: Path) -> None:
        self.products = {row["product_id"]: row for row in read(folder / "products.csv.gz")}
        self.lines = read(folder / "store-367-lines.csv.gz")
        self.coupons = read(folder / "coupons.csv.gz")
        self.campaigns = read(folder / "campaigns.csv")
        self.redemptions = read(folder / "coupon-redemptions.csv")
        self.baskets: dict[str, Basket] = defaultdict(list)
        for line in self.lines:
            self.baskets[line["basket_id"]].append(line)
        self.covered: dict[Coupon, set[str]] = defaultdict(set)
        for row in self.coupons:
            self.covered[row["campaign_id"], row["coupon_upc"]].add(row["product_id"])
        self.redeemed: dict[tuple[str, str], list[Coupon]] = defaultdict(list)
        for row in self.redemptions:
            key = (row["household_id"], row["redemption_date"])
            self.redeemed[key].append((row["campaign_id"], row["coupon_upc"]))

    def product(self, line: Row, field: str) -> str | None:
        """A field of the line's product; None when the table lacks the product."""
        product = self.products.get(line["product_id"])
        return None if product is None else product[field]

    def redeemed_by(self, line: Row) -> list[Coupon]:
        """Coupons for this line's product that the household redeemed on the business day (it begins at 04:00)."""
        if money(line, "coupon_disc") + money(line, "coupon_match_disc") == 0:
            return []
        day = (datetime.fromisoformat(line["transaction_timestamp"]) - timedelta(hours=4)).date().isoformat()
        found = self.redeemed.get((line["household_id"], day), [])
        return [coupon for coupon in found if line["product_id"] in self.covered[coupon]]


def money(line: Row, field: str) -> Decimal:
    return Decimal(line[field])


def oddities(source: Source) -> dict[str, tuple[int, Callable[[Basket], bool]]]:
    """What the sample must show: how many baskets of it (at most), and how to know one."""

    def any_line(test: Callable[[Row], bool]) -> Callable[[Basket], bool]:
        return lambda basket: any(test(line) for line in basket)

    def is_fuel(line: Row) -> bool:
        return (source.product(line, "product_type") or "").startswith("GASOLINE")

    def price(line: Row) -> str | None:
        return source.product(line, "list_price")

    def is_free(line: Row) -> bool:
        # Fuel looks free: its price is a median per thousandth of a gallon.
        return not is_fuel(line) and (price(line) or "1").strip("0.") == ""

    def hour(basket: Basket) -> int:
        return int(basket[0]["transaction_timestamp"][11:13])

    return {
        "money for quantity 0": (9, any_line(lambda line: line["quantity"] == "0" and money(line, "sales_value") > 0)),
        "quantity 0": (12, any_line(lambda line: line["quantity"] == "0")),
        "fuel in thousandths": (20, any_line(lambda line: is_fuel(line) and int(line["quantity"]) > 100)),
        "less than a gallon": (2, any_line(lambda line: is_fuel(line) and 100 < int(line["quantity"]) < 1000)),
        "fuel for a round sum": (6, any_line(lambda line: is_fuel(line) and line["quantity"] == "1")),
        "product not in the table": (10, any_line(lambda line: line["product_id"] not in source.products)),
        "product without price": (8, any_line(lambda line: price(line) == "")),
        "free product": (3, any_line(is_free)),
        "product without category": (5, any_line(lambda line: source.product(line, "product_category") == "")),
        "redemption known": (50, any_line(lambda line: bool(source.redeemed_by(line)))),
        "coupon above the line": (8, any_line(lambda line: money(line, "coupon_disc") > money(line, "sales_value"))),
        "coupon matched": (8, any_line(lambda line: money(line, "coupon_match_disc") > 0)),
        "by the dozen": (3, any_line(lambda line: 20 <= int(line["quantity"]) <= 100)),
        "nothing to pay": (3, lambda basket: sum(money(line, "sales_value") for line in basket) == 0),
        "after midnight": (30, lambda basket: hour(basket) < 4),
        "in the small hours": (4, lambda basket: 4 <= hour(basket) < 10),
    }


def choose_baskets(source: Source) -> set[str]:
    """The sample's baskets: the extremes, each oddity, then a scattered fill."""

    def value(key: str) -> Decimal:
        return sum((money(line, "sales_value") for line in source.baskets[key]), Decimal(0))

    in_time = list(source.baskets)
    chosen = {in_time[0], in_time[-1], max(in_time, key=lambda key: len(source.baskets[key])), max(in_time, key=value)}
    scattered = sorted(in_time, key=by_hash)
    for name, (wanted, is_odd) in oddities(source).items():
        found = [key for key in scattered if is_odd(source.baskets[key])]
        # Those already chosen count: oddities come together.
        found.sort(key=lambda key: key not in chosen)
        chosen.update(found[:wanted])
        print(f"{name}: {min(len(found), wanted)} of {len(found)} baskets")
    sold = {line["product_id"] for key in chosen for line in source.baskets[key]}
    for key in scattered:
        if len(chosen) >= BASKETS:
            break
        grown = sold | {line["product_id"] for line in source.baskets[key]}
        if len(grown) <= PRODUCTS_SOLD_MAX:
            chosen.add(key)
            sold = grown
    return chosen


def choose_products(source: Source, sold: set[str]) -> set[str]:
    """The products sold, some that cost nothing, then a scattered fill."""
    chosen = sold & source.products.keys()
    scattered = sorted(source.products, key=by_hash)
    free = (key for key in scattered if (source.products[key]["list_price"] or "1") == "0.0" and key not in chosen)
    chosen.update(key for key, _ in zip(free, range(FREE_PRODUCTS), strict=False))
    for key in scattered:
        if len(chosen) >= PRODUCTS:
            break
        chosen.add(key)
    return chosen


def choose_coupons(source: Source, products: set[str], lines: Iterable[Row]) -> set[Coupon]:
    """The coupons redeemed in the sample, one that names a product the table lacks, then a scattered fill."""
    chosen = {coupon for line in lines for coupon in source.redeemed_by(line)}
    scattered = sorted(source.covered, key=lambda coupon: by_hash("/".join(coupon)))
    useful = [coupon for coupon in scattered if source.covered[coupon] & products]
    dangling = [coupon for coupon in useful if source.covered[coupon] - source.products.keys()]
    chosen.update(dangling[:1])
    for coupon in useful:
        if len(chosen) >= PROMOTIONS:
            break
        chosen.add(coupon)
    return chosen


def draw(source: Source, output: Path) -> None:
    """Choose, and write the five files."""
    baskets = choose_baskets(source)
    lines = [line for line in source.lines if line["basket_id"] in baskets]
    products = choose_products(source, {line["product_id"] for line in lines})
    coupons = choose_coupons(source, products, lines)
    households = {line["household_id"] for line in lines}
    print(
        f"{len(baskets)} baskets, {len(products):,} products, {len(coupons)} promotions, {len(households)} households"
    )

    def keeps(row: Row) -> bool:
        # A product that no table has stays in its coupon, as in the source.
        known = row["product_id"] in products or row["product_id"] not in source.products
        return known and (row["campaign_id"], row["coupon_upc"]) in coupons

    output.mkdir(parents=True, exist_ok=True)
    write(output / "products.csv.gz", [row for key, row in source.products.items() if key in products])
    write(output / "store-367-lines.csv.gz", lines)
    write(output / "coupons.csv.gz", [row for row in source.coupons if keeps(row)])
    write(output / "campaigns.csv", source.campaigns)
    write(
        output / "coupon-redemptions.csv",
        [
            row
            for row in source.redemptions
            if row["household_id"] in households and (row["campaign_id"], row["coupon_upc"]) in coupons
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the packaged sample from the full complete-journey files.")
    parser.add_argument("source", type=Path, help="folder of the full files")
    parser.add_argument("output", type=Path, nargs="?", default=DEFAULT_OUTPUT, help="default: ho_stub/sample")
    arguments = parser.parse_args()
    draw(Source(arguments.source), arguments.output)


if __name__ == "__main__":
    main()
