"""A device's home for measuring: settings that point at a sink, and a catalogue that did not come by a network."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.products import BRAND, COMPANY, STORE, pages, product_id
from edge_agent.agent import EdgeAgent
from edge_agent.clock import Clock
from edge_agent.domain.catalog import RowReader
from edge_agent.domain.sale import Item, Payment
from edge_agent.head_office import wire
from edge_agent.settings import CREDENTIALS_NAME, make_settings, save_settings
from edge_agent.storage.catalog import PageWrite

NOWHERE = "http://127.0.0.1:9"
LINES = 8


def make_home(home: Path, url: str = NOWHERE) -> Path:
    """A home that needs no sign-in: it has a static key."""
    home.mkdir(parents=True, exist_ok=True)
    settings = make_settings(
        {
            "url": url,
            "company_id": COMPANY,
            "store_id": STORE,
            "brand_id": BRAND,
            "device_id": "pos-02",
            "auth_scheme": "Token",
            "currency": "USD",
            "timezone": "Asia/Jakarta",
        }
    )
    save_settings(home, settings)
    (home / CREDENTIALS_NAME).write_bytes(msgspec.json.encode({"password": "key"}))
    return home


def open_agent(home: Path) -> EdgeAgent:
    """The agent of a home, with what building it left behind collected."""
    agent = EdgeAgent.open(home)
    gc.collect()
    return agent


def fill_catalogue(agent: EdgeAgent, count: int) -> None:
    """Put products into the agent's catalogue as a pull does, without a network."""
    store = agent._store
    reader = RowReader(exponent=2)
    store.begin_snapshot("products", "bench")
    for body in pages(count):
        page = wire.decode(body, wire.PAGE_TYPES["products"])
        rows = reader.read("products", page.rows)
        store.apply(
            PageWrite(
                dataset="products",
                asked_cursor=store.state("products").cursor,
                next_cursor=page.next_cursor,
                rows=rows.good,
                completes_snapshot=not page.has_more,
                synced_ms=Clock().now_ms(),
            )
        )


def basket(number: int, products: int) -> tuple[list[Item], list[Payment]]:
    """A sale of eight lines spread over the catalogue."""
    items = [
        Item(
            product=product_id((number * 7_919 + line * 104_729) % products),
            quantity="2" if line % 3 else "0.750",
            unit_price=f"{number % 90 + line}.{line}9",
            discount="0.10" if line == 4 else "0",
        )
        for line in range(LINES)
    ]
    return items, [Payment("cash", "2000.00")]


def record(agent: EdgeAgent, baskets: Sequence[tuple[list[Item], list[Payment]]]) -> None:
    """Record baskets one after the other."""
    for items, payments in baskets:
        agent.record_sale(items, payments)
