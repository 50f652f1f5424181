"""Recording sales and uses of promotions, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from edge_agent.agent import EdgeAgent
from edge_agent.daemon.web.answer import answer
from edge_agent.daemon.web.asked import Asked
from edge_agent.daemon.web.problem import Problem, not_here
from edge_agent.domain.ids import is_uuid
from edge_agent.forms import delivery_form, sale_form, usage_form
from edge_agent.records import sale_draft, usage_fields

KEY_HEADER = "idempotency-key"


def record_sale(agent: EdgeAgent, asked: Asked) -> Response:
    """``POST /v1/sales``. Answered when the sale survives a kill and a power cut, never before (G1)."""
    asked.only()
    value = _with_key(asked.json(), asked.header(KEY_HEADER))
    sale = agent.record(sale_draft(value, agent.place))
    return answer(sale_form(sale), 200 if sale.existing else 201)


def _with_key(value: Any, key: str | None) -> Any:
    """A sale whose ``Idempotency-Key`` stands for a missing ``external_id``."""
    if key is None or not isinstance(value, dict):
        return value
    external_id = key.strip().strip('"')
    if not is_uuid(external_id):
        raise Problem(
            400,
            "INVALID_ID",
            f"{key[:60]!r} is not an id",
            field="Idempotency-Key",
            hint="Send a UUID in lower case, new for each sale; or external_id in the sale, and no header.",
        )
    if value.get("external_id") not in (None, external_id):
        raise Problem(
            400,
            "TWO_IDS",
            "is not the sale's external_id",
            field="Idempotency-Key",
            hint="Send one of the two, or the same id in both.",
        )
    return {**value, "external_id": external_id}


def show_sale(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/sales/{external_id}``."""
    asked.only()
    external_id = asked.path["external_id"]
    recorded, sale = agent.sale_record(external_id), agent.sale(external_id)
    if recorded is None or sale is None:
        raise not_here("no sale of this id was recorded on this device", "A sale that was never answered can be sent.")
    return answer({**sale_form(sale), **delivery_form(recorded)})


def record_usage(agent: EdgeAgent, asked: Asked) -> Response:
    """``POST /v1/usages``."""
    asked.only()
    fields: Mapping[str, Any] = usage_fields(asked.json())
    rest = {key: fields[key] for key in ("line", "bill_id", "customer_id", "used_at") if fields.get(key) is not None}
    usage = agent.record_usage(
        fields["promotion_id"], fields["discount_amount"], sale=fields.get("sale_external_id"), **rest
    )
    return answer(usage_form(usage), 200 if usage.existing else 201)
