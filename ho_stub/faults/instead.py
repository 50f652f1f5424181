"""Answers that others give in head office's place, or that head office gives without looking. None: it is asked."""

from collections.abc import Callable, Mapping
from typing import Any

from ho_stub.canonical import NotCanonical, canonical, fingerprint
from ho_stub.faults.exchange import Answer, Request
from ho_stub.faults.table import Value
from ho_stub.front import PORTAL, PROXY

Instead = Callable[[Request, Value | None], Answer | None]


def _fixed(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> Instead:
    return lambda _request, _value: Answer.of(status, body, **headers)


def _error(status: int, code: str, sentence: str) -> Instead:
    return _fixed(status, {"error": sentence, "code": code, "status": status, "detail": sentence})


def _busy(status: int, body: bytes | dict[str, Any]) -> Instead:
    """With the Retry-After that the value names."""

    def busy(_: Request, value: Value | None) -> Answer:
        return Answer.of(status, body, **({"retry_after": str(value)} if value not in (None, "") else {}))

    return busy


def _redirect(_: Request, value: Value | None) -> Answer:
    return Answer.of(301, location=str(value))


def _too_large(request: Request, value: Value | None) -> Answer | None:
    content = request.content()
    entries = max((len(found) for found in content.values() if isinstance(found, list)), default=0)
    if value and entries <= int(value):
        return None
    return Answer.of(413, {"error": "The body is too large.", "code": "PAYLOAD_TOO_LARGE"})


def _results(status: str) -> Instead:
    """A result for every sale, though none was looked at."""

    def results(request: Request, value: Value | None) -> Answer:
        sent = request.content().get("sales")
        sales = [sale for sale in sent if isinstance(sale, dict)] if isinstance(sent, list) else []
        told: list[dict[str, Any]] = [
            {
                "external_id": sale.get("external_id"), "fingerprint": _fingerprint(sale), "status": status, "id": None,
                "code": value or "INTERNAL_ERROR", "error": "not now", "warnings": [], "products": {},
            }
            for sale in sales
        ]  # fmt: skip
        return Answer.of(200, {"results": told, "contiguous_seq": 0})

    return results


def _fingerprint(sale: dict[str, Any]) -> str | None:
    try:
        return fingerprint(canonical(sale))
    except NotCanonical:
        return None


INSTEAD: Mapping[str, Instead] = {
    "captive_portal": _fixed(200, PORTAL),
    "proxy_page": _fixed(502, PROXY),
    "redirect": _redirect,
    "http_400": _error(400, "INVALID_REQUEST", "The request is malformed."),
    "http_401": _fixed(401, {"detail": "Authentication credentials were not accepted."}, www_authenticate="Bearer"),
    "http_403": _error(403, "FORBIDDEN", "This account may not do that."),
    "http_404": _error(404, "NOT_FOUND", "Not Found"),
    "http_413": _too_large,
    "http_422": _error(422, "INVALID_REQUEST", "The request can't be processed."),
    "http_429": _busy(429, {"error": "Too many requests.", "code": "RATE_LIMITED"}),
    "http_500": _busy(500, {"error": "Head office made a mistake.", "code": "INTERNAL_ERROR"}),
    "http_502": _busy(502, b""),
    "http_503": _busy(503, {"error": "Head office is busy.", "code": "INTERNAL_ERROR"}),
    "http_504": _busy(504, b""),
    "expired_cursor": _error(410, "CURSOR_EXPIRED", "This cursor can't be continued. Take a snapshot."),
    "invalid_cursor": _error(400, "INVALID_CURSOR", "This is no cursor of ours."),
    "retry_results": _results("retry"),
    "rejected_results": _results("rejected"),
}
