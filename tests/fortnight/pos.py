"""A till that embeds the agent and only records: baskets come as JSON lines, what was recorded goes back as such."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from edge_agent import EdgeAgent, EdgeAgentError
from edge_agent.records import sale_draft, usage_fields


def digest(rows: Mapping[str, Any]) -> str:
    """A fingerprint of a catalogue's rows by id, for comparing."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def sell() -> None:
    """Serve until the input ends."""
    with EdgeAgent.open() as agent:
        for line in sys.stdin:
            print(json.dumps(_answer(agent, json.loads(line))), flush=True)


def _answer(agent: EdgeAgent, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        return _done(agent, asked)
    except EdgeAgentError as error:
        return {"error": f"{error.code}: {error.message}"}


def _done(agent: EdgeAgent, asked: dict[str, Any]) -> dict[str, Any]:
    match asked["do"]:
        case "sell":
            sale = agent.record(sale_draft(asked["sale"], agent.place))
            return {"external_id": sale.external_id, "total": sale.total_amount, "existing": sale.existing}
        case "use":
            use = usage_fields(asked["usage"])
            usage = agent.record_usage(
                use["promotion_id"], use["discount_amount"], sale=use["sale_external_id"], line=use["line"]
            )
            return {"external_id": usage.external_id}
        case "price":
            product = agent.catalog.by_id(asked["product"])
            return {"price": None if product is None or product.price is None else f"{product.price:.2f}"}
        case "status":
            return {"status": agent.status()}
        case "catalogue":
            products = {row.id: row.fields for row in agent.catalog.search("", limit=10**6).products}
            promotions = {row.id: row.fields for row in agent.catalog.all_promotions()}
            return {"products": digest(products), "promotions": digest(promotions)}
        case other:
            return {"error": f"no such thing to do: {other}"}
