"""Reads frozen bytes back: what a journal must know of a sale or a use that comes from elsewhere (G2)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from edge_agent.domain import canonical
from edge_agent.domain.ids import require_uuid
from edge_agent.domain.money import NO_CURRENCY, currency_exponent, parse_money
from edge_agent.domain.sale import SIGN, moves_of
from edge_agent.errors import InvalidSale

SEQ_MAX = 2**40 - 1


class FrozenSale(msgspec.Struct, frozen=True):
    """A sale's bytes, and what stands in them that a journal keeps beside them."""

    body: bytes
    fingerprint: str
    external_id: str
    journal_id: str
    device_id: str
    device_seq: int
    store_id: str
    kind: str
    refers_to: str | None
    business_date: str
    currency: str
    exponent: int
    total_minor: int


class FrozenUsage(msgspec.Struct, frozen=True):
    """A use's bytes, and what stands in them that a journal keeps beside them."""

    body: bytes
    fingerprint: str
    external_id: str
    journal_id: str
    device_id: str
    promotion_id: str
    bill_id: str
    sale_external_id: str | None


def read_sale(body: bytes) -> FrozenSale:
    """A sale from its frozen bytes (contract, section 5).

    Raises:
        InvalidSale: ``DAMAGED``: these are not the bytes of a sale as a journal froze it.
    """
    fields = _fields(body)
    try:
        currency = str(fields["currency"])
        exponent = currency_exponent(currency, of_store=NO_CURRENCY if currency == NO_CURRENCY else None)
        if not isinstance(fields["kind"], str) or fields["kind"] not in SIGN:
            raise _damaged("kind")
        if type(fields["device_seq"]) is not int or not 0 < fields["device_seq"] <= SEQ_MAX:
            raise _damaged("device_seq")
        dt.date.fromisoformat(_text(fields, "business_date"))
        moves_of(body, fields["kind"])
        refers_to = fields["refers_to"]
        return FrozenSale(
            body=body,
            fingerprint=canonical.fingerprint(body),
            external_id=require_uuid(fields["external_id"], "external_id"),
            journal_id=require_uuid(fields["journal_id"], "journal_id"),
            device_id=_text(fields, "device_id"),
            device_seq=fields["device_seq"],
            store_id=require_uuid(fields["store_id"], "store_id"),
            kind=fields["kind"],
            refers_to=None if refers_to is None else require_uuid(refers_to, "refers_to"),
            business_date=_text(fields, "business_date"),
            currency=currency,
            exponent=exponent,
            total_minor=parse_money(fields["total_amount"], exponent, "total_amount"),
        )
    except KeyError as error:
        raise _damaged(str(error.args[0])) from None
    except (TypeError, ValueError, AttributeError):
        raise _damaged("the bytes") from None


def read_usage(body: bytes) -> FrozenUsage:
    """A promotion's use from its frozen bytes (contract, section 5).

    Raises:
        InvalidSale: ``DAMAGED``: these are not the bytes of a use as a journal froze it.
    """
    fields = _fields(body)
    try:
        sale_id = fields["sale_external_id"]
        return FrozenUsage(
            body=body,
            fingerprint=canonical.fingerprint(body),
            external_id=require_uuid(fields["external_id"], "external_id"),
            journal_id=require_uuid(fields["journal_id"], "journal_id"),
            device_id=_text(fields, "device_id"),
            promotion_id=require_uuid(fields["promotion_id"], "promotion_id"),
            bill_id=_text(fields, "bill_id"),
            sale_external_id=None if sale_id is None else require_uuid(sale_id, "sale_external_id"),
        )
    except KeyError as error:
        raise _damaged(str(error.args[0])) from None


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
        whole = canonical.canonical_bytes(fields) == body
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _damaged("the bytes") from None
    if not whole:
        raise _damaged("the bytes")
    return fields


def _text(fields: dict[str, Any], key: str) -> str:
    if not isinstance(fields[key], str) or not fields[key]:
        raise _damaged(key)
    return str(fields[key])


def _damaged(what: str) -> InvalidSale:
    return InvalidSale("DAMAGED", what, "is not as a journal froze it", "Export it again where it was recorded.")
