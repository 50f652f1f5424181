"""The catalogue: products, stock, categories, promotions, and the check before payment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from edge_agent.agent import EdgeAgent
from edge_agent.catalog import ALTERNATIVES_LIMIT, SEARCH_LIMIT
from edge_agent.daemon.web.answer import answer
from edge_agent.daemon.web.asked import Asked, moment, whole_number, yes_or_no
from edge_agent.daemon.web.problem import Problem, not_here
from edge_agent.domain.catalog import Product
from edge_agent.domain.sale import Item
from edge_agent.forms import category_forms, explanation_form, line_form, other_form, product_form, stock_form
from edge_agent.records import sale_draft

LIMIT_MAX = 500
OFFSET_MAX = 10_000_000
ALTERNATIVES_MAX = 50
_KEYS = ("sku", "barcode", "q")


def _product(agent: EdgeAgent, asked: Asked) -> Product:
    product = agent.catalog.by_id(asked.path["product_id"])
    if product is None:
        raise not_here("the catalogue does not know a product of this id", "Look it up: GET /v1/products?barcode=…")
    return product


def show_product(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/products/{product_id}``."""
    asked.only()
    product = _product(agent, asked)
    return answer({**product_form(product), "stock": stock_form(agent.catalog.stock(product.id))})


def find_products(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/products``: every product of a SKU or barcode, best first; or those that words find."""
    found = asked.only(*_KEYS, "limit", "offset")
    limit, offset = _window(found)
    keys = [key for key in _KEYS if key in found]
    if len(keys) > 1:
        raise Problem(400, "TOO_MANY", f"is given beside {keys[0]}", field=keys[1], hint="Ask for one of them.")
    key = keys[0] if keys else "q"
    if key == "q":
        listed = agent.catalog.search(found.get("q", ""), limit=limit, offset=offset)
        return _products(listed.products, listed.total)
    by = agent.catalog.all_by_sku if key == "sku" else agent.catalog.all_by_barcode
    products = by(found[key])
    return _products(products[offset : offset + limit], len(products))


def _window(found: Mapping[str, str]) -> tuple[int, int]:
    limit = whole_number(found, "limit", SEARCH_LIMIT, 1, LIMIT_MAX)
    return limit, whole_number(found, "offset", 0, 0, OFFSET_MAX)


def _products(products: tuple[Product, ...], total: int) -> Response:
    return answer({"products": [product_form(product) for product in products], "total": total})


def list_alternatives(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/products/{product_id}/alternatives``."""
    limit = whole_number(asked.only("limit"), "limit", ALTERNATIVES_LIMIT, 1, ALTERNATIVES_MAX)
    product = _product(agent, asked)
    return answer({"products": [other_form(one) for one in agent.catalog.alternatives(product, limit)]})


def show_stock(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/products/{product_id}/stock`` and ``GET /v1/stock/{product_id}``."""
    asked.only()
    product_id = asked.path["product_id"]
    stock = agent.catalog.stock(product_id)
    if stock is None:
        _product(agent, asked)
    return answer({"product": product_id, **stock_form(stock)})


def list_categories(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/categories``."""
    asked.only()
    return answer({"categories": list(category_forms(agent.catalog.categories()))})


def list_promotions(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/promotions``: all on this device, or those that apply at a moment."""
    found = asked.only("active", "at", "limit", "offset")
    limit, offset = _window(found)
    at = moment(found, "at")
    active = yes_or_no(found, "active", default=at is not None)
    if at is not None and not active:
        raise Problem(400, "TOO_MANY", "a moment is given", field="active", hint="Leave active out, or say true.")
    listed = agent.catalog.promotions(active_at=at) if active else agent.catalog.all_promotions()
    shown = [promotion.fields for promotion in listed[offset : offset + limit]]
    return answer({"promotions": shown, "total": len(listed)})


def explain_promotion(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/promotions/{code}/explain``."""
    at = moment(asked.only("at"), "at")
    return answer(explanation_form(agent.catalog.explain(asked.path["code"], at=at)))


def check_items(agent: EdgeAgent, asked: Asked) -> Response:
    """``POST /v1/check``: whether each line can be sold as the catalogue says. Nothing is recorded."""
    asked.only()
    lines = agent.catalog.check(_items(agent, asked.object("items").get("items")))
    return answer({"ok": all(line.ok for line in lines), "lines": [line_form(line) for line in lines]})


def _items(agent: EdgeAgent, value: Any) -> list[Item]:
    if not isinstance(value, list) or not value:
        raise Problem(
            422, "NO_ITEMS", "is not a list of items", field="items", hint="Give lines as in a sale, or product ids."
        )
    full = [one for one in value if not _is_short(one)]
    read = iter(sale_draft({"items": full}, agent.place).items) if full else iter(())
    return [_short(one) if _is_short(one) else next(read) for one in value]


def _is_short(value: Any) -> bool:
    """Whether a line names a product and no price: then only the product is checked."""
    return isinstance(value, str) or (
        isinstance(value, dict) and isinstance(value.get("product"), str) and set(value) <= {"product"}
    )


def _short(value: Any) -> Item:
    return Item(product=value if isinstance(value, str) else value["product"])
