"""What stands before a baseline head office: its network, proxies, and a router that knows fewer routes and methods.

All gaps on the wire are here; the routes behind know nothing of them.
"""

import json
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ho_stub.gaps import Gaps

DOWNLOADS = tuple(f"/api/v1/sync/{name}/" for name in ("version", "categories", "products", "promotions"))
PORTAL = "<!doctype html><title>Free Wi-Fi</title><form action=/accept><button>Accept and go online</button></form>"
PROXY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"


class Front:
    """Answers in head office's place, or changes the request before it gets there."""

    def __init__(self, app: ASGIApp, gaps: Gaps) -> None:
        self._app = app
        self._gaps = gaps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._in_its_place(scope)
        if answer is not None:
            await _body(receive)
            await answer(scope, receive, send)
            return
        if self._takes_post_alone() and scope["method"] == "POST" and scope["path"] in DOWNLOADS:
            scope, receive = _as_get(scope, await _body(receive)), _nothing
        await self._app(scope, receive, send)

    def _takes_post_alone(self) -> bool:
        return self._gaps.is_on("post_only") or self._gaps.is_on("odd_allow")

    def _in_its_place(self, scope: Scope) -> Response | None:
        """What answers instead of head office, the outermost first."""
        gaps, path = self._gaps, scope["path"]
        portal, proxy = gaps.text("captive_portal"), gaps.text("proxy_502")
        headers = dict(scope["headers"])
        if portal is not None and portal in path:
            return HTMLResponse(PORTAL)
        if proxy is not None and proxy in path:
            return HTMLResponse(PROXY, 502)
        if gaps.is_on("moved_to_https"):
            return RedirectResponse(f"https://{headers.get(b'host', b'').decode()}{path}", 301)
        if self._takes_post_alone() and scope["method"] == "GET" and path in DOWNLOADS:
            allow = gaps.text("odd_allow") or "POST"
            return JSONResponse({"detail": 'Method "GET" not allowed.'}, 405, {"Allow": allow})
        if gaps.is_on("v1_token_only") and path.startswith("/api/token/"):
            return JSONResponse({"detail": "Not found."}, 404)
        if gaps.is_on("token_scheme_only") and headers.get(b"authorization", b"").startswith(b"Bearer "):
            body = {"detail": "Authentication credentials were not provided."}
            return JSONResponse(body, 401, {"WWW-Authenticate": "Token"})
        return None


def _as_get(scope: Scope, body: bytes) -> Scope:
    """The same request as the routes know it: parameters in the query instead of the body."""
    try:
        parameters = json.loads(body or b"{}")
    except ValueError:
        parameters = {}
    query = urlencode(parameters if isinstance(parameters, dict) else {}).encode()
    return {**scope, "method": "GET", "query_string": query}


async def _body(receive: Receive) -> bytes:
    """The whole body of a request: an answer given before it is read could be lost with the connection."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
