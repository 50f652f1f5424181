"""Every refusal and fault as ``application/problem+json`` (RFC 9457), in the agent's own words; never a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from edge_agent.errors import (
    AlreadyRunning,
    EdgeAgentError,
    InvalidSale,
    InvalidSettings,
    NotSignedIn,
    StoreBroken,
    Unreachable,
)

MEDIA_TYPE = "application/problem+json"
# Of the caller's mistakes those that are about what is stored, about the form, and about the content.
_STATUS_OF_CODE = {"ID_REUSED": 409, "NOT_HERE": 404, "INVALID_JSON": 400, "TOO_DEEP": 400}
_STATUS_OF_ERROR: tuple[tuple[type[EdgeAgentError], int], ...] = (
    (InvalidSale, 422),
    (InvalidSettings, 422),
    (AlreadyRunning, 409),
    (StoreBroken, 503),
    (Unreachable, 503),
    (NotSignedIn, 503),
)


class Problem(EdgeAgentError):
    """A refusal that is about the request itself.

    Args:
        status: the HTTP status.
        code: a stable word for programs.
        message: what is wrong.
        hint: the mend.
        field: where, when it is about one field.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.field = field
        self.headers = dict(headers or {})


def not_here(message: str, hint: str = "") -> Problem:
    """What was asked for is not on this device."""
    return Problem(404, "NOT_HERE", message, hint=hint)


def status_of(error: EdgeAgentError) -> int:
    """The HTTP status of one of the agent's errors."""
    if isinstance(error, Problem):
        return error.status
    if isinstance(error, InvalidSale) and error.code in _STATUS_OF_CODE:
        return _STATUS_OF_CODE[error.code]
    return next((status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind)), 500)


def problem_response(error: EdgeAgentError, **more: str) -> Response:
    """An error as the answer to a request.

    Args:
        error: what happened.
        more: further members.
    """
    status = status_of(error)
    field = getattr(error, "field", None) or getattr(error, "key", None)
    members = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": error.code,
        "detail": error.message,
        "field": field,
        "hint": error.hint or None,
        # An error is no proof of "not stored": whoever asks again with this id gets the same sale (G1, G4).
        "external_id": getattr(error, "external_id", None),
        **more,
    }
    told = {key: value for key, value in members.items() if value is not None}
    headers = error.headers if isinstance(error, Problem) else None
    return Response(msgspec.json.encode(told), status, headers=headers, media_type=MEDIA_TYPE)
