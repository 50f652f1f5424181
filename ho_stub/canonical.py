"""Canonical JSON (RFC 8785, for strings, integers, booleans, null, arrays and objects) and the ids made from names.

Contract section 5: head office canonicalises the sale it received, and answers the SHA-256 of that.
"""

import hashlib
import json
import uuid

INTEGER_MAX = 2**53 - 1


class NotCanonical(ValueError):
    """The value has no canonical form in this contract: a float, an integer beyond 2^53 - 1, a lone surrogate."""


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value, as UTF-8 bytes.

    Raises:
        NotCanonical: for floats, too large integers and text that is no Unicode.
    """
    try:
        text = json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except UnicodeEncodeError as exc:
        raise NotCanonical("text holds half of a surrogate pair") from exc
    except RecursionError as exc:
        raise NotCanonical("nested too deeply") from exc


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        # RFC 8785 sorts names by UTF-16 code units, which is not the order of code points above U+FFFF.
        return {key: _ordered(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, float):
        raise NotCanonical("a JSON float; money and quantities are decimal strings")
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise NotCanonical("an integer beyond 2^53 - 1")
    return value


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def fingerprint(canonical_bytes: bytes) -> str:
    """SHA-256 of the canonical bytes, 64 hex digits."""
    return hashlib.sha256(canonical_bytes).hexdigest()


def one_off_id(company_id: str, sku: str) -> str:
    """The id of a one-off product: the same on every till (section 5)."""
    return str(uuid.uuid5(uuid.UUID(company_id), f"product:{sku}"))


def usage_id(namespace: str, promotion_id: str, line: int, bill_id: str | None = None) -> str:
    """A usage's id (section 5). `namespace`: the sale's external_id, or with a `bill_id` the store's id."""
    middle = f"{bill_id}:{promotion_id}" if bill_id is not None else promotion_id
    return str(uuid.uuid5(uuid.UUID(namespace), f"usage:{middle}:{line}"))
