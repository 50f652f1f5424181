"""What waits for head office, offering it again, and asking for a sync."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from edge_agent.agent import EdgeAgent
from edge_agent.daemon.web.answer import answer
from edge_agent.daemon.web.asked import Asked, one_of, whole_number
from edge_agent.daemon.web.problem import Problem, not_here
from edge_agent.forms import entry_form

STATES = ("pending", "quarantined", "delivered")
ENTRIES_LIMIT = 100
ENTRIES_MAX = 1_000


def list_outbox(agent: EdgeAgent, asked: Asked) -> Response:
    """``GET /v1/outbox``: what is pending or quarantined, oldest first; or what is in one state."""
    found = asked.only("state", "limit")
    state = one_of(found, "state", STATES)
    lines = agent.outbox(state=state, limit=whole_number(found, "limit", ENTRIES_LIMIT, 1, ENTRIES_MAX))
    status = agent.status()
    total = sum(status[name] for name in (STATES[:2] if state is None else (state,)))
    return answer({"entries": [entry_form(line) for line in lines], "total": total})


def retry(agent: EdgeAgent, asked: Asked) -> Response:
    """``POST /v1/outbox/retry``."""
    asked.only()
    said = asked.object("ids", "all")
    ids, every = said.get("ids"), said.get("all")
    if every is True and ids is None:
        return answer({"retried": agent.retry()})
    if every not in (None, False) or not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise Problem(
            422, "INVALID_LIST", "names no entries", field="ids", hint='Send {"ids": ["…"]}, or {"all": true}.'
        )
    if not 0 < len(ids) <= ENTRIES_MAX:
        raise Problem(422, "INVALID_LIST", f"holds {len(ids)} ids", field="ids", hint=f"Give 1 to {ENTRIES_MAX:,}.")
    retried = agent.retry(ids)
    if not retried:
        raise not_here("none of these entries is refused or waiting", "See GET /v1/outbox for those that are.")
    return answer({"retried": retried})


def sync(sync_now: Callable[[], None], asked: Asked) -> Response:
    """``POST /v1/sync``: asks for a sync, and does not wait for it."""
    asked.only()
    asked.object()
    sync_now()
    return answer({"accepted": True}, 202)
