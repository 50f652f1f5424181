"""How this device is: status, health, the status page's data, figures for Prometheus."""

from __future__ import annotations

from starlette.responses import Response

from edge_agent.agent import EdgeAgent
from edge_agent.daemon.web.answer import answer
from edge_agent.daemon.web.asked import Asked, whole_number, yes_or_no
from edge_agent.daemon.web.problem import Problem
from edge_agent.domain.findings import LISTED_MAX
from edge_agent.forms import health_form

FINDINGS_MAX = 1_000


def show_status(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/status``."""
    asked.only()
    return answer(agent.status())


def show_health(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/health``: looks through the catalogue now; or the figures of the last time."""
    found = asked.only("fresh", "limit")
    listed_max = whole_number(found, "limit", LISTED_MAX, 0, FINDINGS_MAX)
    return answer(health_form(agent.health(fresh=yes_or_no(found, "fresh", default=True), listed_max=listed_max)))


def show_page(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/page``: all that the status page shows."""
    from edge_agent.today import shop_view

    asked.only()
    return answer(shop_view(agent))


def show_metrics(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /metrics``."""
    asked.only()
    try:
        from edge_agent.daemon.metrics import render

        body, media_type = render(agent)
    except ImportError:
        raise Problem(
            501,
            "NOT_INSTALLED",
            "figures for Prometheus need the package prometheus-client",
            hint="Install edge-sync-agent[metrics], and restart edge-agent run.",
        ) from None
    return Response(body, headers={"content-type": media_type})
