"""``products`` and ``promotions``: looking things up in the local catalogue."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, Limit, group, not_here, opened
from edge_agent.cli.exits import Exit
from edge_agent.cli.output import plain, print_json, print_table

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent
    from edge_agent.domain.checkout import LineCheck

products_app = group("Look products up.\n\nExample: edge-agent products search cola")
promotions_app = group("Look promotions up.\n\nExample: edge-agent promotions list --active")


def _stock_json(agent: EdgeAgent, product_id: str) -> dict[str, Any]:
    stock = agent.catalog.stock(product_id)
    if stock is None:
        return {"quantity": None, "available": None, "as_of": None}
    return {"quantity": stock.quantity, "available": stock.available, "as_of": stock.as_of}


@products_app.command("search")
def products_search(
    text: Annotated[str, typer.Argument(help="Words, or beginnings of words, of the name or SKU.")],
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Search products by name and SKU.

    Example: edge-agent products search "choc milk"
    """
    with opened(as_json) as agent:
        found = agent.catalog.search(text, limit=limit)
        if as_json:
            products = [{**product.fields, "price": product.price} for product in found.products]
            print_json({"schema": 1, "products": products, "total": found.total})
            return
        if not found.products:
            print(f"No product has words that begin with “{text}”.")
            return
        print_table(
            ("SKU", "name", "price", "barcode", ""),
            [
                (p.sku, p.name, "ask" if p.price is None else p.price, p.barcode, "" if p.is_active else "inactive")
                for p in found.products
            ],
            numeric=("price",),
        )
        if found.total > len(found.products):
            print(f"{found.total - len(found.products):,} more: give more words, or --limit.")


@products_app.command("show")
def products_show(
    key: Annotated[str, typer.Argument(metavar="ID|SKU|BARCODE", help="The product's id, SKU or barcode.")],
    as_json: Json = False,
) -> None:
    """Show one product with its price and what is there of it.

    Example: edge-agent products show 5000112546415
    """
    with opened(as_json) as agent:
        catalog = agent.catalog
        product = catalog.by_id(key) or catalog.by_sku(key) or catalog.by_barcode(key)
        if product is None:
            not_here(f"no product has the id, SKU or barcode {key}", as_json)
            return
        stock = _stock_json(agent, product.id)
        if as_json:
            print_json({"schema": 1, **product.fields, "price": product.price, "stock": stock})
            return
        print(plain(product.name) + ("" if product.is_active else " (inactive)"))
        print(f"Price     {'not set: ask' if product.price is None else product.price}")
        print(plain(f"SKU       {product.sku or '—'}    Barcode   {product.barcode or '—'}"))
        available = stock["available"]
        print(f"In stock  {'not known' if available is None else f'{available.normalize():f}'}")
        print(f"Id        {product.id}")


@promotions_app.command("list")
def promotions_list(
    active: Annotated[bool, typer.Option("--active", help="Only those that apply now.")] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="Only those that apply at a time: 2026-11-21T18:30 (store time).")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List promotions: all on this device, or those that apply at a moment.

    Example: edge-agent promotions list --active
    """
    moment = _moment(at)
    with opened(as_json) as agent:
        catalog = agent.catalog
        found = catalog.promotions(active_at=moment) if active or moment else catalog.all_promotions()
        if as_json:
            print_json({"schema": 1, "promotions": [p.fields for p in found[:limit]], "total": len(found)})
            return
        if not found:
            print("No promotion applies." if active or moment else "No promotions on this device.")
            return
        print_table(
            ("code", "name", "kind", "from", "to"),
            [(p.code, p.name, p.promo_type, p.validity.start_date, p.validity.end_date) for p in found[:limit]],
        )
        if len(found) > limit:
            print(f"{len(found) - limit:,} more: give --limit.")


def _moment(text: str | None) -> dt.datetime | None:
    """A time that a person gave."""
    if text is None:
        return None
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write it as 2026-11-21T18:30", param_hint="--at") from None


_OK = {True: "yes", False: "NO", None: "–"}


@promotions_app.command("explain")
def promotions_explain(
    code: Annotated[str, typer.Argument(metavar="CODE|ID", help="The promotion's code or id.")],
    at: Annotated[str | None, typer.Option("--at", help="At a time: 2026-11-21T18:30 (store time); else now.")] = None,
    as_json: Json = False,
) -> None:
    """Say why a promotion applies on this till at a moment, or does not, or is not here.

    Example: edge-agent promotions explain COLA10 --at 2026-11-21T18:30
    """
    from edge_agent.forms import explanation_form

    moment = _moment(at)
    with opened(as_json) as agent:
        why = agent.catalog.explain(code, at=moment)
        if as_json:
            print_json({"schema": 1, **explanation_form(why)})
            return
        print(plain(why.verdict))
        print()
        print_table(("", "ok", ""), [(step.step, _OK[step.ok], step.words) for step in why.steps], whole=("ok",))


@products_app.command("check")
def products_check(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="A sale as `sale record` takes it; - for stdin.")],
    as_json: Json = False,
) -> None:
    """Check a sale's lines against the catalogue before payment, and name alternatives. Nothing is recorded.

    Example: edge-agent products check sale.json
    """
    from edge_agent.forms import line_form
    from edge_agent.records import read_sale, read_text

    with opened(as_json) as agent:
        lines = agent.catalog.check(read_sale(read_text(file), agent.place).items)
        if as_json:
            print_json(
                {"schema": 1, "ok": all(line.ok for line in lines), "lines": [line_form(line) for line in lines]}
            )
        else:
            for line in lines:
                _print_line(line)
    if not all(line.ok for line in lines):
        raise typer.Exit(Exit.NEEDS_A_PERSON)


def _print_line(line: LineCheck) -> None:
    name = line.name or line.product_id or "—"
    words = line.words if name in line.words else f"{name}: {line.words}"
    print(plain(f"{line.line:>3}  {'ok' if line.ok else 'NO'}  {words}"))
    for one in line.alternatives:
        print(plain(f"         instead: {one.name}, {one.price} ({one.sku or one.id})"))
