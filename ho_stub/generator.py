"""A company made up, of any size: `ho-stub run --data generate:100000`. The same number gives the same data.

Products and stock are made while they are read, so that a million of them need no memory.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ho_stub.seed import OFFICE, Dataset, SeedError

PRODUCTS_MIN, PRODUCTS_MAX = 50, 1_000_000
PROMOTIONS_A_TYPE = 3
CURRENCY = "IDR"
STORES = (("M01", "Market one", "Market"), ("M02", "Market two", "Market"), ("C01", "Cafe", "Cafe"))
PRICE_STEP = 500
VOLATILE_EVERY, INACTIVE_EVERY, ELSEWHERE_EVERY = 200, 97, 10
IN_STORE_PREFIX = "20"  # EAN-13 numbers that begin so are a shop's own: no maker has them
CREATED = "2026-01-01T00:00:00.000000Z"
NAMESPACE = uuid.UUID("5c1f0d0e-9f0b-5d0a-8b33-2f0f4a7f61c4")
COMPANY = uuid.uuid5(NAMESPACE, "company")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A category: what lies there, in which sizes, at which prices (lowest and highest, in thousands)."""

    department: str
    name: str
    goods: tuple[str, ...]
    sizes: tuple[str, ...]
    prices: tuple[int, int]


SHELVES = (
    Shelf("Drinks", "Water", ("still water", "sparkling water"), ("330 ml", "600 ml", "1.5 l"), (3, 12)),
    Shelf("Drinks", "Soft drinks", ("cola", "lemonade", "ginger beer", "tonic"), ("330 ml", "1 l"), (6, 20)),
    Shelf("Drinks", "Juice", ("orange juice", "apple juice", "mango juice"), ("250 ml", "1 l"), (8, 35)),
    Shelf("Drinks", "Tea and coffee", ("green tea", "black tea", "ground coffee"), ("100 g", "250 g"), (15, 90)),
    Shelf("Bakery", "Bread", ("white bread", "rye bread", "rolls"), ("400 g", "750 g"), (12, 40)),
    Shelf("Bakery", "Cakes", ("sponge cake", "cheese cake", "muffins"), ("2 pieces", "6 pieces"), (18, 120)),
    Shelf("Dairy", "Milk", ("whole milk", "skimmed milk", "oat drink"), ("250 ml", "1 l"), (7, 32)),
    Shelf("Dairy", "Cheese", ("hard cheese", "soft cheese", "cream cheese"), ("150 g", "400 g"), (25, 110)),
    Shelf("Dairy", "Yoghurt", ("plain yoghurt", "berry yoghurt"), ("125 g", "500 g"), (6, 38)),
    Shelf("Pantry", "Rice", ("jasmine rice", "brown rice", "sticky rice"), ("1 kg", "5 kg"), (15, 110)),
    Shelf("Pantry", "Noodles", ("egg noodles", "rice noodles", "spaghetti"), ("80 g", "500 g"), (3, 30)),
    Shelf("Pantry", "Oil", ("palm oil", "sunflower oil", "olive oil"), ("500 ml", "1 l"), (18, 160)),
    Shelf("Pantry", "Spices", ("pepper", "turmeric", "cinnamon", "chilli powder"), ("50 g", "100 g"), (5, 45)),
    Shelf("Snacks", "Crisps", ("potato crisps", "corn chips", "prawn crackers"), ("75 g", "200 g"), (8, 30)),
    Shelf("Snacks", "Sweets", ("milk chocolate", "dark chocolate", "toffees"), ("100 g", "250 g"), (10, 60)),
    Shelf("Snacks", "Nuts", ("peanuts", "cashews", "almonds"), ("100 g", "500 g"), (12, 140)),
    Shelf("Frozen", "Ice cream", ("vanilla ice cream", "coconut ice cream"), ("90 ml", "1 l"), (7, 85)),
    Shelf("Frozen", "Vegetables", ("frozen peas", "frozen spinach"), ("300 g", "1 kg"), (14, 55)),
    Shelf("Household", "Cleaning", ("dish soap", "floor cleaner", "bleach"), ("500 ml", "1 l"), (9, 48)),
    Shelf("Household", "Paper", ("kitchen paper", "tissues", "napkins"), ("1 pack", "4 packs"), (8, 60)),
    Shelf("Care", "Hair", ("shampoo", "conditioner"), ("180 ml", "400 ml"), (18, 75)),
    Shelf("Care", "Teeth", ("toothpaste", "toothbrush", "mouthwash"), ("1 piece", "3 pieces"), (9, 65)),
    Shelf("Stationery", "Paper goods", ("notebook", "envelopes", "sticky notes"), ("1 piece", "5 pieces"), (5, 70)),
    Shelf("Stationery", "Pens", ("ball pen", "pencil", "marker"), ("1 piece", "10 pieces"), (3, 80)),
)
MAKERS = (
    *("River", "Hill", "Harbour", "Garden", "North", "Valley", "Sunrise", "Village", "Lake", "Forest"),
    *("Island", "Meadow", "Bridge", "Tower", "Market", "Corner", "Silver", "Golden", "Spring", "Autumn"),
)
BOTH_BRANDS = ("Drinks", "Bakery")


def generate(number: str) -> Dataset:
    """A company with so many products, with categories, stock, accounts and promotions of each type.

    Raises:
        SeedError: `number` is no number from 50 to a million.
    """
    count = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0
    if not PRODUCTS_MIN <= count <= PRODUCTS_MAX:
        raise SeedError(f"generate:{number}: say how many products, from {PRODUCTS_MIN} to {PRODUCTS_MAX}.")
    return Dataset(
        company={"id": str(COMPANY), "name": "Example Market", "timezone": "Asia/Jakarta", "currency": CURRENCY},
        brands=[{"id": identity(f"brand:{name}"), "name": name} for name in ("Market", "Cafe")],
        stores=[_store(*store) for store in STORES],
        categories=_categories(),
        products=_Again(_products, count),
        promotions=_promotions(count),
        stock=_Again(_stock, count),
        accounts=[
            *({"username": f"till-{code}", "password": f"till-{code}-demo", "store_id": identity(f"store:{code}")}
              for code, _, _ in STORES),
            dict(OFFICE),
        ],
    )  # fmt: skip


def identity(name: str) -> str:
    """The id of `brand:<name>`, `store:<code>`, `category:<code>` or `product:<sku>`."""
    return str(uuid.uuid5(COMPANY, name))


def ean13(first_twelve: str) -> str:
    """Twelve digits and their check digit."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(first_twelve))
    return f"{first_twelve}{-total % 10}"


def sku(index: int) -> str:
    """The SKU of a product, counted from 0."""
    return f"P{index + 1:07}"


class _Again:
    """Rows that are made anew each time they are read."""

    def __init__(self, make: Callable[[int], Iterator[Row]], count: int) -> None:
        self._make = make
        self._count = count

    def __iter__(self) -> Iterator[Row]:
        return self._make(self._count)


def _store(code: str, name: str, brand: str) -> Row:
    return {
        "id": identity(f"store:{code}"), "code": code, "name": name, "timezone": "Asia/Jakarta", "day_start": "04:00",
        "currency": CURRENCY, "brand_id": identity(f"brand:{brand}"),
    }  # fmt: skip


def code_of(*names: str) -> str:
    """A category's code."""
    return "/".join(name.upper().replace(" ", "-") for name in names)


def _brand_of(department: str) -> str | None:
    return None if department in BOTH_BRANDS else identity("brand:Market")


def _categories() -> list[Row]:
    rows: dict[str, Row] = {}
    for shelf in SHELVES:
        above, own = code_of(shelf.department), code_of(shelf.department, shelf.name)
        for code, name, parent in ((above, shelf.department, None), (own, shelf.name, identity(f"category:{above}"))):
            row = {
                "id": identity(f"category:{code}"), "brand_id": _brand_of(shelf.department), "name": name,
                "code": code, "parent_id": parent, "display_order": len(rows), "created_at": CREATED,
                "updated_at": CREATED,
            }  # fmt: skip
            rows.setdefault(code, row)
    return list(rows.values())


def _name(shelf: Shelf, turn: int) -> str:
    """What a shelf's product is called: its goods, then other makers, other sizes, and then by number."""
    turn, good = divmod(turn, len(shelf.goods))
    turn, maker = divmod(turn, len(MAKERS))
    turn, size = divmod(turn, len(shelf.sizes))
    return f"{MAKERS[maker]} {shelf.goods[good]} {shelf.sizes[size]}" + (f" no. {turn + 1}" if turn else "")


def is_volatile(index: int) -> bool:
    """Whether a product has no price of its own and no stock."""
    return index % VOLATILE_EVERY == VOLATILE_EVERY - 1


def _products(count: int) -> Iterator[Row]:
    dice = random.Random(f"products {count}")  # noqa: S311 - the same data each time is the purpose
    places = [
        (one, _brand_of(one.department), identity(f"category:{code_of(one.department, one.name)}")) for one in SHELVES
    ]
    for index in range(count):
        shelf, brand_id, category_id = places[index % len(places)]
        low, high = (thousand * 1_000 // PRICE_STEP for thousand in shelf.prices)
        price = dice.randint(low, high) * PRICE_STEP
        yield {
            "id": identity(f"product:{sku(index)}"), "brand_id": brand_id, "category_id": category_id,
            "name": _name(shelf, index // len(SHELVES)), "sku": sku(index),
            "barcode": ean13(f"{IN_STORE_PREFIX}{index + 1:010}"), "price": f"{price}.00",
            "cost": f"{price * dice.randint(55, 80) // 100}.00", "is_volatile": is_volatile(index),
            "is_active": index % INACTIVE_EVERY != INACTIVE_EVERY - 1,
            "reorder_level": None if is_volatile(index) else "6.000", "created_at": CREATED, "updated_at": CREATED,
        }  # fmt: skip


def _stock(count: int) -> Iterator[Row]:
    """Every product in the first store; each tenth in the others."""
    dice = random.Random(f"stock {count}")  # noqa: S311 - the same data each time is the purpose
    stores = [identity(f"store:{code}") for code, _, _ in STORES]
    for index in range(count):
        having = stores if index % ELSEWHERE_EVERY == 0 else stores[:1]
        for store_id in () if is_volatile(index) else having:
            yield {
                "store_id": store_id, "product_id": identity(f"product:{sku(index)}"),
                "quantity": str(dice.randint(0, 240)), "reorder_level": "6",
            }  # fmt: skip


def _promotions(count: int) -> list[Row]:
    """Definitions: some of each type, over goods that the dice choose."""
    from ho_stub.generator_promotions import TYPES

    dice = random.Random(f"promotions {count}")  # noqa: S311 - the same data each time is the purpose
    return [
        {"code": f"{kind.upper().replace('_', '-')}-{number}", "type": kind} | make(dice, count, number)
        for kind, make in TYPES.items()
        for number in range(1, PROMOTIONS_A_TYPE + 1)
    ]
