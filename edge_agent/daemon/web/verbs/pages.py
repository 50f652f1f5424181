"""The status page's files, the OpenAPI file, and the session that a page gets."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from edge_agent.daemon.web.answer import answer
from edge_agent.daemon.web.asked import Asked
from edge_agent.daemon.web.guard import Failures, cookie_name, server_port
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.problem import Problem, not_here

SESSION_S = 400 * 24 * 3600  # as long as browsers keep a cookie
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})?", re.ASCII)
# Nothing but the page's own files runs in it, and nobody shows it in a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
}


@functools.lru_cache(maxsize=16)
def _file(name: str) -> bytes | None:
    """One of the files that ship with the agent."""
    try:
        return files("edge_agent.daemon").joinpath(name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None


def _served(name: str) -> Response:
    body = _file(name)
    if body is None:
        raise not_here(f"there is no {name.rpartition('/')[2]}")
    headers = {"content-type": _TYPES[name.rpartition(".")[2]], "cache-control": "no-cache"}
    if name.startswith("pages/"):
        headers["content-security-policy"] = _POLICY
    return Response(body, headers=headers)


async def index(request: Request) -> Response:
    """``GET /``: the status page."""
    return _served("pages/index.html")


async def page_file(request: Request) -> Response:
    """``GET /page.css`` and ``GET /page.js``."""
    return _served(f"pages{request.url.path}")


async def texts(request: Request) -> Response:
    """``GET /texts/{language}.json``."""
    language = request.path_params["language"]
    if not _LANGUAGE.fullmatch(language):
        raise not_here("there are no texts of this language")
    return _served(f"pages/texts/{language}.json")


async def openapi(request: Request) -> Response:
    """``GET /openapi.json``."""
    return _served("web/openapi.json")


async def open_session(keys: Keys, failures: Failures, request: Request) -> Response:
    """``POST /v1/session``: a page that was opened with the page's key gets a cookie."""
    asked = Asked(request, await request.body())
    asked.only()
    key = asked.object("key").get("key")
    if not isinstance(key, str) or not keys.is_page_key(key):
        await failures.slow_down()
        raise Problem(
            403, "WRONG_KEY", "is not this device's page key", field="key", hint="Open the page with edge-agent page."
        )
    response = answer({"session": "page"})
    response.set_cookie(
        cookie_name(server_port(request.scope)),
        keys.session(),
        max_age=SESSION_S,
        path="/",
        httponly=True,
        samesite="strict",
    )
    return response
