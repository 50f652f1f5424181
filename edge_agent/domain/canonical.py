"""Canonical JSON (RFC 8785, without floats) and fingerprints (contract, section 5): a sale's bytes for ever (G2)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
INTEGER_MAX = 2**53 - 1


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")


def sort_keys(value: Any) -> Any:
    """The same value with every object's keys in RFC 8785 order (by UTF-16 code units).

    Raises:
        ValueError: a float, an integer beyond ±(2^53 − 1), a lone surrogate, or a type JSON has not.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("an object's keys must be text")
        return {key: sort_keys(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, (list, tuple)):
        return [sort_keys(element) for element in value]
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8 form, and raises a ValueError
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError("an integer is beyond ±(2^53 − 1); write it as text")
        return value
    if isinstance(value, float):
        raise ValueError("a floating point number; write it as text")
    raise ValueError(f"a {type(value).__name__} is not a JSON value")


def encode_sorted(value: Any) -> bytes:
    """Canonical bytes of a value whose keys already stand in order."""
    return _encode(value)


def canonical_bytes(value: Any) -> bytes:
    """Canonical JSON bytes of any value of strings, integers, booleans, null, arrays and objects.

    Raises:
        ValueError: see :func:`sort_keys`.
    """
    return _encode(sort_keys(value))


def fingerprint(body: bytes) -> str:
    """SHA-256 of canonical bytes, in hex."""
    return hashlib.sha256(body).hexdigest()
