"""What a request asks: its parameters and its JSON, each mistake named with its field and mend."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from edge_agent.daemon.web.problem import Problem

JSON_DEPTH_MAX = 32
YEARS = range(1971, 2201)
_TRUE, _FALSE = ("true", "1"), ("false", "0")


class Asked:
    """A request with its body already read: what a verb needs, in a thread of its own.

    Args:
        request: the request.
        body: its body.
    """

    def __init__(self, request: Request, body: bytes = b"") -> None:
        self._request = request
        self._body = body

    @property
    def path(self) -> Mapping[str, str]:
        """The path's parameters."""
        return self._request.path_params

    def header(self, name: str) -> str | None:
        """A header."""
        return self._request.headers.get(name)

    def only(self, *known: str) -> Mapping[str, str]:
        """The query's parameters.

        Raises:
            Problem: one is unknown, or given twice.
        """
        found: dict[str, str] = {}
        for name, value in self._request.query_params.multi_items():
            if name not in known:
                raise _wrong("UNKNOWN_PARAMETER", name[:100], "there is no such parameter", f"Use {_listed(known)}.")
            if name in found:
                raise _wrong("GIVEN_TWICE", name, "is given twice", "Give it once.")
            found[name] = value
        return found

    def json(self) -> Any:
        """The body's JSON.

        Raises:
            Problem: it is none, or nested too deeply.
        """
        try:
            value = msgspec.json.decode(self._body)
            # A usual sale has fewer brackets than levels are allowed: nothing is walked.
            if self._body.count(b"[") + self._body.count(b"{") > JSON_DEPTH_MAX and _is_deep(value):
                raise RecursionError
        except RecursionError:
            raise Problem(
                400,
                "TOO_DEEP",
                f"the body is nested more than {JSON_DEPTH_MAX} levels deep",
                hint="Flatten it.",
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            why = str(error).removeprefix("JSON is malformed: ")
            raise Problem(
                400, "INVALID_JSON", f"the body is not JSON: {why}", hint="Send one whole JSON object."
            ) from None
        return value

    def object(self, *known: str) -> Mapping[str, Any]:
        """The body's JSON object; ``{}`` for no body.

        Raises:
            Problem: it is none, or has an unknown field.
        """
        value = self.json() if self._body else {}
        if not isinstance(value, dict):
            raise Problem(422, "NOT_AN_OBJECT", "the body is not a JSON object", hint="Write it in braces: {…}.")
        for key in value:
            if key not in known:
                hint = f"Use {_listed(known)}." if known else "Send {}, or nothing."
                raise Problem(422, "UNKNOWN_FIELD", "there is no such field", field=key[:100], hint=hint)
        return value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "none"


def _wrong(code: str, field: str, message: str, hint: str) -> Problem:
    return Problem(400, code, message, field=field, hint=hint)


def _is_deep(value: object) -> bool:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > JSON_DEPTH_MAX:
            return True
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [one for values in inner for one in values if isinstance(one, (dict, list))]
    return False


def whole_number(found: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A parameter that is a whole number.

    Raises:
        Problem: it is none, or out of range.
    """
    text = found.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high:
        return int(text)
    raise _wrong("INVALID_NUMBER", name, f"{text[:50]!r} is out of range", f"Use {low:,} to {high:,}.")


def yes_or_no(found: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A parameter that is true or false.

    Raises:
        Problem: it is neither.
    """
    text = found.get(name)
    if text is None:
        return default
    if text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    raise _wrong("INVALID_FLAG", name, f"{text[:50]!r} is neither true nor false", "Use true or false.")


def one_of(found: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    """A parameter that is one of some words.

    Raises:
        Problem: it is none of them.
    """
    text = found.get(name)
    if text is None or text in allowed:
        return text
    raise _wrong("INVALID_WORD", name, f"{text[:50]!r} is unknown", f"Use {_listed(allowed)}.")


def moment(found: Mapping[str, str], name: str) -> dt.datetime | None:
    """A parameter that is a time; without an offset it is the store's.

    Raises:
        Problem: it is none.
    """
    text = found.get(name)
    if text is None:
        return None
    try:
        # An offset's plus that was not written as %2B has become a space.
        at = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        if at.year in YEARS:
            return at
    except ValueError:
        pass
    raise _wrong(
        "INVALID_TIME", name, f"{text[:50]!r} is no time", "Write it as 2026-11-21T18:30, or with an offset: …+07:00."
    )
