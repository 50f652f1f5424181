"""What the agent knows as JSON objects: the same on the command line with ``--json`` and over the loopback API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from edge_agent.status import utc_text

if TYPE_CHECKING:
    from edge_agent.domain.catalog import Category, Product, Stock
    from edge_agent.domain.checkout import LineCheck
    from edge_agent.domain.explain import Explanation
    from edge_agent.domain.health import Health
    from edge_agent.recorded import OutboxLine, RecordedSale, Sale, Usage


def sale_form(sale: Sale) -> dict[str, Any]:
    """A recorded sale."""
    form: dict[str, Any] = {
        "external_id": sale.external_id,
        "device_seq": sale.device_seq,
        "journal_id": sale.journal_id,
        "kind": sale.kind,
        "total_amount": sale.total_amount,
        "currency": sale.currency,
        "business_date": sale.business_date,
        "fingerprint": sale.fingerprint,
        "state": sale.state,
        "warnings": list(sale.warnings),
    }
    if sale.existing:
        form["existing"] = True
    return form


def delivery_form(recorded: RecordedSale) -> dict[str, Any]:
    """Where a sale's delivery stands, and what is sent."""
    said = msgspec.json.decode(recorded.warnings) if recorded.warnings else []
    return {
        "code": recorded.code,
        "reason": recorded.reason,
        "attempts": recorded.attempts,
        "head_office_id": recorded.ho_id,
        "head_office_warnings": [str(warning) for warning in said],
        "sale": recorded.fields(),
    }


def usage_form(usage: Usage) -> dict[str, Any]:
    """A recorded use of a promotion."""
    form = asdict(usage)
    if not usage.existing:
        del form["existing"]
    return form


def product_form(product: Product) -> dict[str, Any]:
    """A product: head office's fields, its price exact."""
    return {**product.fields, "price": product.price}


def stock_form(stock: Stock | None) -> dict[str, Any]:
    """What is there of a product; all null: not known."""
    if stock is None:
        return {"quantity": None, "available": None, "reorder_level": None, "as_of": None}
    return asdict(stock)


def category_forms(tree: tuple[Category, ...]) -> Iterator[dict[str, Any]]:
    """Categories in display order, each before those below it; a list of any depth can be read by every language."""
    waiting = [(category, 0) for category in reversed(tree)]
    while waiting:
        category, depth = waiting.pop()
        yield {**category.fields, "depth": depth}
        waiting += [(child, depth + 1) for child in reversed(category.children)]


def line_form(line: LineCheck) -> dict[str, Any]:
    """What the catalogue says of one line."""
    return {
        "line": line.line,
        "ok": line.ok,
        "problem": line.problem,
        "words": line.words,
        "product": line.product_id,
        "name": line.name,
        "unit_price": line.unit_price,
        "catalogue_price": line.catalogue_price,
        "overridden": line.overridden,
        "alternatives": [other_form(product) for product in line.alternatives],
    }


def other_form(product: Product) -> dict[str, Any]:
    """What could be sold instead."""
    return {"id": product.id, "name": product.name, "sku": product.sku, "price": product.price}


def explanation_form(why: Explanation) -> dict[str, Any]:
    """Why a promotion applies, or does not."""
    found = why.promotion
    return {
        "asked": why.asked,
        "at": why.at.isoformat(timespec="seconds"),
        "applies": why.applies,
        "verdict": why.verdict,
        "promotion": found and {"id": found.id, "code": found.code, "name": found.name},
        "steps": [{"step": step.step, "ok": step.ok, "words": step.words} for step in why.steps],
    }


def entry_form(line: OutboxLine) -> dict[str, Any]:
    """An entry of the outbox, its times as ISO 8601 in UTC."""
    form = asdict(line)
    for key in [key for key in form if key.endswith("_ms")]:
        form[f"{key.removesuffix('_ms')}_at"] = utc_text(form.pop(key))
    return form


def health_form(found: Health) -> dict[str, Any]:
    """What a look through the catalogue found."""
    return {
        "findings": [{**asdict(one), "sentence": one.sentence} for one in found.findings],
        "total": sum(found.totals.values()),
        "counts": found.counts,
        "health_score": found.health_score,
        "rows": found.rows,
        "valid": found.valid,
        "validated_at": utc_text(int(found.validated_at.timestamp() * 1000)),
    }
