"""Reads an answer's body completely or not at all: bounded in time and size, gzip checked to its end mark.

httpx alone accepts a gzip body that was cut short, lets bytes drip past every timeout, and inflates without a bound.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

import httpx

from edge_agent.errors import Unreachable

_GZIP = 31  # zlib's window bits for "gzip, with its header and trailer"


def read_body(
    response: httpx.Response, *, bytes_max: int, deadline_s: float, monotonic: Callable[[], float] = time.monotonic
) -> bytes:
    """The whole decoded body of a streamed response.

    Args:
        response: opened with ``client.stream``.
        bytes_max: limit of the decoded body, bytes.
        deadline_s: limit for the whole body, seconds.
        monotonic: seconds that never jump.

    Raises:
        Unreachable: ``timeout``, ``too_large`` or ``incomplete``: keep everything and ask again later.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Unreachable(f"head office answered in an encoding nobody asked for: {encoding}", reason="not_contract")
    inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    end = monotonic() + deadline_s
    parts: list[bytes] = []
    size = 0
    began = False
    try:
        for chunk in response.iter_raw():
            if monotonic() > end:
                raise Unreachable(f"head office's answer took longer than {deadline_s:g} s", reason="timeout")
            began = began or bool(chunk)
            if inflate is not None:
                # One byte beyond the limit is enough to know; a bomb is never inflated whole.
                chunk = inflate.decompress(chunk, bytes_max - size + 1)
                if inflate.unused_data:
                    raise Unreachable("head office's answer has something behind its end", reason="incomplete")
            size += len(chunk)
            if size > bytes_max:
                raise Unreachable(f"head office's answer is larger than {bytes_max} bytes", reason="too_large")
            parts.append(chunk)
    except zlib.error as error:
        raise Unreachable(f"head office's answer is damaged: {error}", reason="incomplete") from error
    if inflate is not None and began and not inflate.eof:
        raise Unreachable("head office's answer was cut short", reason="incomplete")
    return b"".join(parts)
