"""The demo's baskets: every line's amount is the source's, to the cent."""

from __future__ import annotations

import ast
import datetime as dt
import os
import shutil
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from edge_agent.cli import replay
from edge_agent.cli.replay import Basket, Line, ReplayError, Use, read_baskets

REPO = Path(__file__).resolve().parent.parent
SAMPLE = REPO / "ho_stub" / "sample"

PRODUCTS = (
    "product_id,manufacturer_id,department,brand,product_category,product_type,package_size,list_price\n"
    '1,1,GROCERY,National,SOUP,"NOODLES, ""RAMEN""",3 OZ,0.17\n'
    "2,1,MISCELLANEOUS,Private,COUPON/MISC ITEMS,GASOLINE-REG UNLEADED,,0.0\n"
)
COUPONS = "coupon_upc,product_id,campaign_id\n55,1,7\n55,2,7\n66,1,8\n"
REDEMPTIONS = "household_id,coupon_upc,campaign_id,redemption_date\n9,55,7,2017-03-01\n9,66,8,2017-03-01\n"
LINES_HEAD = (
    "household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,"
    "transaction_timestamp\n"
)


@pytest.fixture(scope="module")
def sample() -> list[Basket]:
    return list(read_baskets(SAMPLE))


@pytest.fixture(scope="module")
def full() -> list[Basket]:
    folder = Path(os.environ.get("EDGE_AGENT_COMPLETE_JOURNEY") or REPO.parent / "shared/data/complete-journey")
    if not folder.is_dir():
        pytest.skip("the full complete-journey files are not here; name their folder in EDGE_AGENT_COMPLETE_JOURNEY")
    return list(read_baskets(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text(PRODUCTS, encoding="utf-8")
    (tmp_path / "coupons.csv").write_text(COUPONS, encoding="utf-8")
    (tmp_path / "coupon-redemptions.csv").write_text(REDEMPTIONS, encoding="utf-8")
    return tmp_path


def basket_of(folder: Path, *rows: str, at: str = "2017-03-01T18:00:00") -> Basket:
    """A basket of household 9 with `product,quantity,sales_value,retail,coupon,match` as its rows."""
    text = LINES_HEAD + "".join(f"9,367,100,{row},{at}\n" for row in rows)
    (folder / "store-367-lines.csv").write_text(text, encoding="utf-8")
    (basket,) = read_baskets(folder)
    return basket


def under_the_rule(line: Line) -> Decimal:
    """The contract's rule, written a second time: half-up(quantity × unit price − discount)."""
    exact = Decimal(line.quantity) * Decimal(line.unit_price) - Decimal(line.discount)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def assert_exact(baskets: list[Basket]) -> None:
    for basket in baskets:
        for line in basket.lines:
            assert under_the_rule(line) == line.amount, line
            assert Decimal(line.quantity) > 0, line
            assert Decimal(line.unit_price) >= 0, line
            assert Decimal(line.discount) >= line.retail_disc + line.coupon_match_disc, line
            assert f"{Decimal(line.unit_price):.2f}" == line.unit_price
            assert f"{Decimal(line.discount):.2f}" == line.discount
        assert basket.total == sum(line.amount for line in basket.lines)
        assert sum((amount for _, amount in basket.payments), Decimal(0)) == basket.total
        assert all(amount > 0 for _, amount in basket.payments)


def test_every_line_of_the_sample_is_worth_its_sales_value(sample: list[Basket]) -> None:
    assert_exact(sample)


def test_the_sample_adds_up(sample: list[Basket]) -> None:
    """The sample has 300 baskets, 2,541 lines and 10,932.88 dollars."""
    assert len(sample) == 300
    assert sum(len(basket.lines) for basket in sample) == 2_541
    assert sum(basket.total for basket in sample) == Decimal("10932.88")


def test_the_sample_shows_every_oddity(sample: list[Basket]) -> None:
    """What makes the source odd is in the sample, so that the demo meets it."""
    lines = [line for basket in sample for line in basket.lines]
    assert any(not line.known for line in lines)
    assert any("." in line.quantity for line in lines)
    assert any(line.unit_price == line.discount == "0.00" for line in lines)
    assert any(line.coupon_disc > line.amount for line in lines)
    assert any(line.coupon_match_disc for line in lines)
    assert any(line.product_id == "12187390" and line.amount == Decimal("0.77") for line in lines)
    assert any(not basket.payments for basket in sample)
    assert any(basket.timestamp.date() != basket.business_date for basket in sample)
    assert max(len(basket.lines) for basket in sample) == 91
    assert {basket.business_date.year for basket in sample} == {2017}


def test_every_line_of_the_full_set_is_worth_its_sales_value(full: list[Basket]) -> None:
    """The full set has 4,194 baskets, 41,334 lines and 148,169.67 dollars, exact line by line."""
    assert_exact(full)
    assert len(full) == 4_194
    assert sum(len(basket.lines) for basket in full) == 41_334
    assert sum(basket.total for basket in full) == Decimal("148169.67")


def test_the_full_sets_uses_are_its_loyalty_discounts_and_known_redemptions(full: list[Basket]) -> None:
    """18,245 lines have a loyalty discount; 40 coupon amounts have a redemption on record."""
    uses = [use for basket in full for use in basket.uses]
    assert sum(use.code == "LOYALTY" for use in uses) == 18_245
    assert sum(use.code != "LOYALTY" for use in uses) == 40
    retail = sum(line.retail_disc for basket in full for line in basket.lines)
    assert sum(use.amount for use in uses if use.code == "LOYALTY") == retail


def test_a_use_is_named_once_for_each_line_and_promotion(sample: list[Basket]) -> None:
    """The id of a use is made of sale, promotion and line, so these never come twice."""
    named = [(basket.basket_id, use.code, use.line_no) for basket in sample for use in basket.uses]
    assert len(named) == len(set(named))
    assert all(use.amount > 0 for basket in sample for use in basket.uses)


def test_baskets_come_in_the_order_of_their_payment(sample: list[Basket]) -> None:
    assert [basket.timestamp for basket in sample] == sorted(basket.timestamp for basket in sample)
    assert all(basket.timestamp.tzinfo is None for basket in sample)


def test_the_discount_closes_the_gap_of_a_price_that_has_no_whole_cents(folder: Path) -> None:
    (line,) = basket_of(folder, "1,3,1.00,0.00,0.00,0.00").lines
    assert (line.quantity, line.unit_price, line.discount) == ("3", "0.34", "0.02")


def test_fuel_above_a_hundred_counts_thousandths(folder: Path) -> None:
    (line,) = basket_of(folder, "2,12486,27.08,1.25,0.00,0.00").lines
    assert (line.quantity, line.unit_price, line.discount) == ("12.486", "2.27", "1.26")


def test_fuel_for_a_round_sum_is_one_visit(folder: Path) -> None:
    (line,) = basket_of(folder, "2,1,20.00,0.00,0.00,0.00").lines
    assert (line.quantity, line.unit_price, line.discount) == ("1", "20.00", "0.00")


def test_many_of_a_thing_that_is_no_fuel_stay_many(folder: Path) -> None:
    (line,) = basket_of(folder, "1,240,24.00,0.00,0.00,0.00").lines
    assert (line.quantity, line.unit_price) == ("240", "0.10")


def test_quantity_zero_sells_one_at_what_was_received(folder: Path) -> None:
    (line,) = basket_of(folder, "1,0,0.77,0.00,0.00,0.00").lines
    assert (line.quantity, line.unit_price, line.discount, line.amount) == ("1", "0.77", "0.00", Decimal("0.77"))


def test_a_product_that_the_table_lacks_is_sold_all_the_same(folder: Path) -> None:
    (line,) = basket_of(folder, "5978656,0,0.00,0.00,1.00,0.00").lines
    assert (line.known, line.name) == (False, "Item 5978656")


def test_names_keep_their_commas_and_quotes(folder: Path) -> None:
    (line,) = basket_of(folder, "1,1,0.17,0.00,0.00,0.00").lines
    assert (line.known, line.name) == (True, 'NOODLES, "RAMEN", 3 OZ (National)')


def test_a_manufacturers_coupon_pays_and_cash_pays_the_rest(folder: Path) -> None:
    basket = basket_of(folder, "1,1,2.00,0.50,0.75,0.25", "2,1,5.00,0.00,0.00,0.00")
    assert basket.payments == (("coupon", Decimal("0.75")), ("cash", Decimal("6.25")))


def test_coupons_pay_no_more_than_the_total(folder: Path) -> None:
    basket = basket_of(folder, "1,1,0.69,0.20,1.00,0.00")
    assert basket.payments == (("coupon", Decimal("0.69")),)


def test_nothing_to_pay_has_no_payment(folder: Path) -> None:
    assert basket_of(folder, "1,0,0.00,0.00,0.00,0.00").payments == ()


def test_of_two_redeemed_coupons_the_narrower_is_used(folder: Path) -> None:
    """Coupon 66 covers product 1 alone, coupon 55 also fuel."""
    basket = basket_of(folder, "1,1,2.00,0.50,0.75,0.25", "2,1,5.00,0.00,1.00,0.00")
    assert basket.uses == (
        Use("", "", 1, Decimal("0.50")),
        Use("8", "66", 1, Decimal("1.00")),
        Use("7", "55", 2, Decimal("1.00")),
    )
    assert [use.code for use in basket.uses] == ["LOYALTY", "C8-66", "C7-55"]


def test_after_midnight_a_redemption_of_the_evening_before_counts(folder: Path) -> None:
    basket = basket_of(folder, "2,1,5.00,0.00,1.00,0.00", at="2017-03-02T01:30:00")
    assert basket.business_date == dt.date(2017, 3, 1)
    assert [use.code for use in basket.uses] == ["C7-55"]


def test_a_coupon_without_a_redemption_is_no_use(folder: Path) -> None:
    assert basket_of(folder, "2,1,5.00,0.00,1.00,0.00", at="2017-03-05T12:00:00").uses == ()


def test_promotions_are_found_by_their_code() -> None:
    rows: list[dict[str, object]] = [
        {"code": "C7-55", "id": "a"},
        {"code": None, "id": "b"},
        {"code": "LOYALTY", "id": "c"},
    ]
    assert replay.by_code(rows) == {"C7-55": "a", "LOYALTY": "c"}
    assert replay.coupon_code("7", "55") == "C7-55"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("1,x,1.00,0.00,0.00,0.00", "store-367-lines.csv, line 2: quantity is 'x'"),
        ("1,1,-1.00,0.00,0.00,0.00", "line 2: sales_value is '-1.00'"),
        ("1,1,1.005,0.00,0.00,0.00", "line 2: sales_value is '1.005'"),
        ("1,1,1.00,NaN,0.00,0.00", "line 2: retail_disc is 'NaN'"),
        ("1,1,1.00,1e40,0.00,0.00", "line 2: retail_disc is '1e40'"),
        ("1,1,1.00,0.00,0.00", "line 2: not as many fields"),
        ("1,1,1.00,0.00,0.00,0.00,7", "line 2: not as many fields"),
    ],
)
def test_a_bad_line_is_named(folder: Path, row: str, says: str) -> None:
    with pytest.raises(ReplayError, match=says):
        basket_of(folder, row)


def test_a_bad_time_is_named(folder: Path) -> None:
    with pytest.raises(ReplayError, match="line 2: transaction_timestamp is 'noon'"):
        basket_of(folder, "1,1,1.00,0.00,0.00,0.00", at="noon")


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="not a folder"):
        next(read_baskets(tmp_path / "none"))
    with pytest.raises(ReplayError, match="has no store-"):
        next(read_baskets(tmp_path))
    (tmp_path / "store-367-lines.csv").write_text(LINES_HEAD, encoding="utf-8")
    with pytest.raises(ReplayError, match=r"has no products\.csv\.gz"):
        next(read_baskets(tmp_path))
    (tmp_path / "products.csv").write_text("product_id\n", encoding="utf-8")
    with pytest.raises(ReplayError, match=r"products\.csv lacks the column department"):
        next(read_baskets(tmp_path))


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    lines = tmp_path / "store-367-lines.csv.gz"
    lines.write_bytes(lines.read_bytes()[:5_000])
    with pytest.raises(ReplayError, match=r"store-367-lines\.csv\.gz is damaged"):
        next(read_baskets(tmp_path))


def test_a_folder_of_another_store_is_read_too(folder: Path) -> None:
    (folder / "store-12-lines.csv").write_text(
        LINES_HEAD + "9,12,1,1,1,0.17,0.00,0.00,0.00,2017-03-01T18:00:00\n", encoding="utf-8"
    )
    assert replay.store_codes(folder) == ("12",)
    assert [basket.total for basket in read_baskets(folder)] == [Decimal("0.17")]


def test_the_demos_side_does_not_import_head_offices() -> None:
    """Nor anything else outside the standard library."""
    tree = ast.parse(Path(replay.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.split(".")[0] in {"ho_stub", "edge_agent", "httpx", "sqlite_utils"}]
