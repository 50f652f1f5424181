"""Answers of the loopback API."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from starlette.responses import Response

SCHEMA = 1


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(type(value))


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def answer(value: dict[str, Any], status: int = 200) -> Response:
    """An answer of JSON; decimals become text."""
    return Response(_encode({"schema": SCHEMA, **value}), status, media_type="application/json")
