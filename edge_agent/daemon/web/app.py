"""The application: which verb answers what, and in which threads."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edge_agent.agent import EdgeAgent
from edge_agent.daemon.web.asked import Asked
from edge_agent.daemon.web.guard import Failures, Guard
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.pool import Pools
from edge_agent.daemon.web.problem import Problem, problem_response
from edge_agent.daemon.web.stream import Stream
from edge_agent.daemon.web.verbs import browsing, delivering, pages, selling, showing
from edge_agent.errors import EdgeAgentError

_Endpoint = Callable[[Request], Awaitable[Response]]
_InThread = Callable[[Callable[[], Response]], Awaitable[Response]]
_log = logging.getLogger("edge_agent")


class Events:
    """``GET /v1/events`` as an ASGI application: a stream is no response."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Asked(Request(scope)).only()
        await self._stream.serve(scope, receive, send)


def make_app(agent: EdgeAgent, keys: Keys, *, port: int, sync_now: Callable[[], None]) -> Starlette:
    """The loopback API of an agent.

    ``app.state.stream`` tells those who listen; ``app.state.pools`` holds the threads.
    :class:`~edge_agent.daemon.web.serve.LocalServer` closes both.

    Args:
        agent: the agent; the caller closes it, after the server.
        keys: what opens the door.
        port: where it is served, as its OpenAPI file and its words name it.
        sync_now: asks for a sync at once, and does not wait for it.
    """
    pools, stream, failures = Pools(), Stream(agent), Failures()
    routes = _routes(agent, keys, pools, stream, failures, sync_now)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, keys=keys, failures=failures)],
        exception_handlers={EdgeAgentError: _refused, HTTPException: _no_such_route},
    )
    app.router.redirect_slashes = False  # a redirect would name whatever host was asked for
    app.state.pools, app.state.stream, app.state.port = pools, stream, port
    return app


def _routes(
    agent: EdgeAgent,
    keys: Keys,
    pools: Pools,
    stream: Stream,
    failures: Failures,
    sync_now: Callable[[], None],
) -> list[Route]:
    def verb(function: Callable[[EdgeAgent, Asked], Response], threads: _InThread = pools.read) -> _Endpoint:
        return _in_thread(functools.partial(function, agent), threads)

    stock = verb(browsing.show_stock)
    session = functools.partial(pages.open_session, keys, failures)
    return [
        Route("/v1/sales", verb(selling.record_sale, pools.record), methods=["POST"]),
        Route("/v1/sales/{external_id}", verb(selling.show_sale)),
        Route("/v1/usages", verb(selling.record_usage, pools.record), methods=["POST"]),
        Route("/v1/products", verb(browsing.find_products)),
        Route("/v1/products/{product_id}", verb(browsing.show_product)),
        Route("/v1/products/{product_id}/alternatives", verb(browsing.list_alternatives)),
        Route("/v1/products/{product_id}/stock", stock),
        Route("/v1/stock/{product_id}", stock),
        Route("/v1/categories", verb(browsing.list_categories)),
        Route("/v1/promotions", verb(browsing.list_promotions)),
        Route("/v1/promotions/{code:path}/explain", verb(browsing.explain_promotion)),
        Route("/v1/check", verb(browsing.check_items), methods=["POST"]),
        Route("/v1/outbox", verb(delivering.list_outbox)),
        Route("/v1/outbox/retry", verb(delivering.retry), methods=["POST"]),
        Route("/v1/sync", _in_thread(functools.partial(delivering.sync, sync_now), pools.read), methods=["POST"]),
        Route("/v1/status", verb(showing.show_status)),
        Route("/v1/health", verb(showing.show_health, pools.read_long)),
        Route("/v1/page", verb(showing.show_page)),
        Route("/v1/events", Events(stream), methods=["GET"]),
        Route("/v1/session", session, methods=["POST"]),
        Route("/metrics", verb(showing.show_metrics)),
        Route("/openapi.json", pages.openapi),
        Route("/", pages.index),
        Route("/page.css", pages.page_file),
        Route("/page.js", pages.page_file),
        Route("/texts/{language}.json", pages.texts),
    ]


def _in_thread(function: Callable[[Asked], Response], threads: _InThread) -> _Endpoint:
    """A verb that asks the databases: never on the event's loop."""

    async def endpoint(request: Request) -> Response:
        asked = Asked(request, await request.body() if request.method == "POST" else b"")
        return await threads(functools.partial(function, asked))

    return endpoint


async def _refused(request: Request, error: Exception) -> Response:
    """One of the agent's errors as an answer."""
    assert isinstance(error, EdgeAgentError)
    response = problem_response(error)
    if response.status_code >= 500:
        _log.warning("%s %s: %s", request.method, request.url.path, error.message)
    return response


async def _no_such_route(request: Request, error: Exception) -> Response:
    """A path or method that there is not."""
    assert isinstance(error, HTTPException)
    see = "GET /openapi.json lists what there is."
    if error.status_code == 405:
        words = f"{request.method[:20]} is not for this path"
        return problem_response(Problem(405, "WRONG_METHOD", words, hint=see, headers=error.headers))
    if error.status_code == 404:
        return problem_response(Problem(404, "NO_SUCH_PATH", "there is no such path", hint=see))
    return problem_response(Problem(error.status_code, "REFUSED", str(error.detail), hint=see))
