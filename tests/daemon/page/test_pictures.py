"""Pictures of the page for its document: EDGE_PICTURES=docs/images pytest tests/daemon/page/test_pictures.py -m slow"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent import Item
from ho_stub import seed

PICTURE_BYTES_MAX = 150_000
GOODS = (
    ("Kopi Susu 250 ml", "9500.00", "60", "12"),
    ("Teh Botol 450 ml", "6500.00", "48", "12"),
    ("Mie Goreng", "3500.00", "22", "24"),
    ("Beras Pandan Wangi 5 kg", "78000.00", "14", "6"),
    ("Minyak Goreng 2 l", "36500.00", "9", "6"),
    ("Telur Ayam 10 butir", "27000.00", "7", "8"),
    ("Sabun Cuci 800 g", "21000.00", "30", "6"),
    ("Roti Tawar", "15500.00", "4", "6"),
)
OFFERS = (
    ("KOPI2", "Two coffees for 15,000", {"end_date": "2099-12-31"}),
    ("PAGI10", "Happy hour: 10 % off drinks", {"time_start": "06:00", "time_end": "23:30"}),
    ("ROTI", "Bread at half price after ten", {"time_start": "03:58"}),
)


@pytest.fixture
def grocer(make_shop: Any) -> Any:
    """A small grocer in the middle of its day."""
    tiny = seed.tiny()
    brand, store = next(iter(tiny.brands))["id"], next(iter(tiny.stores))
    category = next(iter(tiny.categories))["id"]
    ids = [f"20000000-0000-4000-8000-{number:012d}" for number in range(len(GOODS))]
    products = [
        {
            "id": product_id,
            "brand_id": brand,
            "category_id": category,
            "name": name,
            "sku": f"G-{number:03}",
            "barcode": f"899{number:010}",
            "price": price,
        }
        for number, (product_id, (name, price, _, _)) in enumerate(zip(ids, GOODS, strict=True))
    ]
    stock = [
        {"store_id": store["id"], "product_id": product_id, "quantity": quantity, "reorder_level": level}
        for product_id, (_, _, quantity, level) in zip(ids, GOODS, strict=True)
    ]
    promotions = [
        {
            "id": f"30000000-0000-4000-8000-{number:012d}",
            "brand_id": brand,
            "code": code,
            "name": name,
            "promo_type": "percent_discount",
            "apply_to": "product",
            "validity": validity,
            "rules": {"type": "percent", "discount_percent": "10"},
        }
        for number, (code, name, validity) in enumerate(OFFERS)
    ]
    stores = [{**store, "name": "Toko Melati, Bandung"}]
    shop = make_shop(products=products, stock=stock, promotions=promotions, stores=stores)
    shop.goods = ids
    return shop


def trade(shop: Any, sales: int, *, hours: int = 0, **more: Any) -> None:
    """A morning's sales, some hours ago up to now."""
    till = shop.till
    for number in range(sales):
        till.clock.shift_s = -hours * 3600 * (1 - (number + 1) / sales)
        which = [shop.goods[(number * step) % len(GOODS)] for step in (1, 3)]
        items = [Item(one, "1", GOODS[shop.goods.index(one)][1]) for one in dict.fromkeys(which)]
        till.agent.record_sale(items, receipt_number=f"S01-T02-{number + 101:06}", **more)
    till.clock.shift_s = 0.0


@pytest.mark.slow
def test_pictures(browser: Any, grocer: Any, look: Any, tmp_path: Path) -> None:
    """The four states as its document shows them."""
    folder = Path(os.environ.get("EDGE_PICTURES", tmp_path))
    till, shop = grocer.till, grocer

    def picture(name: str, words: str, **how: Any) -> None:
        screen = look(shop.link, **how)
        screen.sees("#verdict-title", words)
        screen.sees("#today", "")
        path = folder / f"status-{name}.png"
        screen.page.screenshot(path=path, full_page="EDGE_WHOLE" in os.environ)
        assert "EDGE_WHOLE" in os.environ or path.stat().st_size < PICTURE_BYTES_MAX

    trade(shop, 46, hours=8)
    shop.sync()
    picture("well", "Selling is safe")
    picture("well-dark", "Selling is safe", color_scheme="dark")
    till.office.stop()
    till.clock.rolls = 0.9
    trade(shop, 14, hours=1)
    shop.sync()
    till.clock.advance(600)
    picture("offline", "Selling goes on", color_scheme="dark")
    till.clock.shift_s = 0.0
    till.office.start()
    till.agent.record_sale([Item(till.nobody, "1", "12000.00")], receipt_number="S01-T02-000161")
    till.agent.record_sale([Item(till.nobody, "2", "12000.00")], receipt_number="S01-T02-000162")
    world = till.office.world
    world.edit("products", shop.goods[4], price=None)
    world.edit("products", shop.goods[6], barcode="8990000000001")
    shop.sync()
    till.agent.health()
    picture("refused", "please take a look")
    picture("phone", "periksa", viewport={"width": 390, "height": 844}, locale="id-ID")
    picture("small", "periksa", viewport={"width": 800, "height": 600}, locale="id-ID", color_scheme="dark")
    screen = look(shop.link)
    screen.sees("#verdict-title", "please take a look")
    shop.server.stop(2)
    screen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    screen.sees("#verdict-title", "answer")
    screen.page.screenshot(path=folder / "status-away.png")
