"""FastAPI's description of the API, completed: true examples, schemas, and each error that there can be."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from ho_stub.openapi.asked import VARIABLES, Asked, asked_of
from ho_stub.openapi.schemas import schema_of, taking
from ho_stub.rows import EMPTY, baseline_row

Json = dict[str, Any]

FILE = Path(__file__).with_name("answers.json")
PLAIN, PROBLEM = "application/json", "application/problem+json"
# What stands in the examples for what an earlier answer gave.
GIVEN = {
    "access": "a-token", "office_access": "a-token", "refresh": "a-token", "cursor": "echo-this-byte-for-byte",
    "stamp": "2026-11-21T09:15:02.114000Z", "alert": "5c1d7a52-3f0e-4b7a-9a58-6f2f0d6f8e11",
    "single": VARIABLES["sale"],
    "$guid": "0b7e6f5a-8c1d-4d5e-9f00-1a2b3c4d5e6f",
}  # fmt: skip
REQUIRED = {
    "/api/v1/sync/version/": ("company_id", "store_id"),
    "/api/v1/sync/categories/": ("company_id",),
    "/api/v1/sync/products/": ("company_id", "brand_id"),
    "/api/v1/sync/promotions/": ("company_id", "store_id"),
    "/api/v1/sync/digest/": ("company_id", "dataset"),
    "/api/v1/sync/stock/": ("store_id",),
    "/api/v1/sync/receipts/": ("device_id", "journal_id"),
    "/api/v1/sync/events/": ("store_id",),
    "/promotions/settings/preview-query/": ("store_id",),
}
# Errors that any route may answer, and those of routes that take something.
ERRORS: dict[int, tuple[str, str]] = {
    400: ("INVALID_REQUEST", "The request is malformed."),
    403: ("FORBIDDEN", "This account has no access to it."),
    404: ("NOT_FOUND", "There is nothing here."),
    410: ("CURSOR_EXPIRED", "This cursor can't be continued: head office doesn't know this place. Take a snapshot."),
    413: ("PAYLOAD_TOO_LARGE", "The body is larger than 1048576 bytes."),
    429: ("RATE_LIMITED", "This store's devices may ask 60 times a minute."),
    500: ("INTERNAL_ERROR", "Head office made a mistake."),
    503: ("INTERNAL_ERROR", "Head office's database is busy or away. Nothing was changed; try again."),
}
NO_FAULT_OF_OURS = "Not one of the contract: a mistake of head office's."
DETAIL = {"detail": "Authentication credentials were not provided."}
FILLED = ("id", "company_id", "created_at", "updated_at", "compiled_at", "name")


def describe(app: FastAPI, profile: str) -> None:
    """Let the application describe itself completely."""
    generated: Callable[[], Json] = app.openapi

    @cache
    def complete() -> Json:
        return completed(generated(), profile)

    app.openapi = complete  # type: ignore[method-assign]


def completed(document: Json, profile: str) -> Json:
    """The description with examples, schemas and errors."""
    known = list(_known(profile))
    for path, operations in document["paths"].items():
        at = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        for method, operation in operations.items():
            mine = [(one, answer) for one, answer in known
                    if one.method == method.upper() and at.fullmatch(_text(one.path))]  # fmt: skip
            _complete(path, operation, mine, profile)
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _known(profile: str) -> Iterator[tuple[Asked, Json]]:
    answers = json.loads(FILE.read_text("utf-8"))[profile]
    return zip(asked_of(profile), answers, strict=True)


def _text(value: str) -> str:
    return re.sub(r"\{\{([$\w]+)\}\}", lambda found: (dict(VARIABLES) | GIVEN)[found[1]], value)


def _deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _deep(inner) for name, inner in value.items()}
    return (
        [_deep(one) for one in value] if isinstance(value, list) else _text(value) if isinstance(value, str) else value
    )


def _complete(path: str, operation: Json, known: list[tuple[Asked, Json]], profile: str) -> None:
    answers: Json = operation["responses"]
    answers.pop("422", None)
    for status in sorted({one.status for one, _ in known}):
        answers[str(status)] = _answered(status, [pair for pair in known if pair[0].status == status], profile)
    is_open = "security" not in operation
    takes_body = "requestBody" in operation
    for status in _errors(path, takes_body, bool(operation.get("parameters")), profile):
        if not (is_open and status in (403, 410, 404)):
            answers.setdefault(str(status), _error(status, profile))
    answers.setdefault("401", {"description": "Unauthorized", "content": {PLAIN: _shown([DETAIL], {"": DETAIL})}})
    if path == "/health/":
        for status_text in ("401", "400", "413"):
            answers.pop(status_text, None)
    if path.endswith("/sync/version/") and profile == "native":
        answers["304"] = {"description": "Nothing has changed since the version of If-None-Match."}
    for status_text, answer in answers.items():
        for kind, content in answer.get("content", {}).items():
            if "example" in content and kind == PLAIN:  # a route's own
                content.setdefault("schema", schema_of([content["example"]]))
        _headers(path, status_text, answer, profile)
    _asked(path, operation, [one for one, _ in known])


def _errors(path: str, takes_body: bool, takes_parameters: bool, profile: str) -> Iterator[int]:
    yield from (400, 403, 429, 500, 503)
    if takes_body:
        yield 413
    if profile == "baseline" or "{" in path:
        yield 404
    if takes_parameters and profile == "native" and path.startswith("/api/v1/sync/"):
        yield 410


def _answered(status: int, known: list[tuple[Asked, Json]], profile: str) -> Json:
    kind = known[0][1]["type"]
    described: Json = {"description": HTTPStatus(status).phrase}
    if kind:
        bodies = [answer["body"] for _, answer in known]
        shown = {one.name: answer["body"] for one, answer in known}
        bodies += [_error_body(status, profile)] if status in ERRORS else []
        described["content"] = {kind: _shown(bodies, shown)}
    return described


def _shown(bodies: list[Any], examples: Json) -> Json:
    named = {name or "example": {"summary": name.replace("_", " ").capitalize() or "Example", "value": body}
             for name, body in examples.items()}  # fmt: skip
    return {"schema": schema_of([_with_nulls(body) for body in bodies]), "examples": named}


def _with_nulls(body: Any) -> Any:
    """The body with an empty row beside the others: which fields may be null."""
    if not isinstance(body, dict):
        return body
    for dataset, empty in EMPTY.items():
        rows = body.get(dataset)
        if isinstance(rows, list) and rows and isinstance(rows[0], dict) and "id" in rows[0]:
            nulls = {name: value for name, value in empty.items() if name not in FILLED}
            nulls = nulls if "row_version" in rows[0] else baseline_row(dataset, dict(nulls))
            body = body | {dataset: [*rows, rows[0] | nulls]}
    return body


def _error_body(status: int, profile: str) -> Json:
    code, sentence = ERRORS[status]
    body: Json = {"error": sentence, "code": code}
    if profile == "native":
        title = HTTPStatus(status).phrase
        body |= {"type": "about:blank", "title": title, "status": status, "detail": sentence}
    return body


def _error(status: int, profile: str) -> Json:
    body = _error_body(status, profile)
    words = NO_FAULT_OF_OURS if status == 500 else HTTPStatus(status).phrase
    kind = PROBLEM if profile == "native" else PLAIN
    return {"description": words, "content": {kind: _shown([body], {body["code"].lower(): body})}}


def _headers(path: str, status: str, answer: Json, profile: str) -> None:
    text, seconds = {"schema": {"type": "string"}}, {"schema": {"type": "integer"}}
    headers: Json = {}
    if profile == "native":
        headers["X-HO-Epoch"] = {"description": "names one life of head office's database"} | text
    if status in ("429", "503"):
        headers["Retry-After"] = {"description": "when to come back, in seconds"} | seconds
    if status in ("200", "304") and path.endswith("/sync/version/") and profile == "native":
        headers["ETag"] = {"description": "covers everything but server_time"} | text
    if headers:
        answer["headers"] = answer.get("headers", {}) | headers


def _asked(path: str, operation: Json, known: list[Asked]) -> None:
    """Examples of parameters and bodies; which parameters must be there."""
    good = [one for one in known if one.status < 300]
    for parameter in operation.get("parameters", []):
        name = parameter["name"]
        if name in REQUIRED.get(path, ()):
            parameter["required"] = True
        values = [_text(one.query[name]) for one in good if name in one.query]
        if parameter["in"] == "path":
            at = path.split("/").index("{" + name + "}")
            values = [_text(one.path).split("/")[at] for one in good]
        values = values or [VARIABLES[name.removesuffix("_id")] for _ in "1" if parameter["required"]]
        if values:
            parameter["example"] = values[0]
    bodies = {one.name: {"summary": one.title, "value": _deep(one.body)} for one in good if one.body is not None}
    if bodies:
        operation["requestBody"] = {
            "required": True,
            "content": {PLAIN: {"schema": taking([one["value"] for one in bodies.values()]), "examples": bodies}},
        }
