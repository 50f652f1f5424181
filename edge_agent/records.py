"""Reads sales and usages from files: one JSON object, a list of them, or JSON Lines.

Every mistake names its line and field; the other lines are recorded all the same (G7).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.domain.ids import one_off_product_id
from edge_agent.domain.sale import Draft, Item, OneOff, Payment, Place, PriceOverride
from edge_agent.errors import InvalidSale

_OWN_IDS = ("store_id", "device_id")
_SET_BY_JOURNAL = ("journal_id", "device_seq")
_DRAFT_KEYS = frozenset(Draft.__struct_fields__) - {"items", "payments"}
_SALE_KEYS = _DRAFT_KEYS | {"items", "payments", *_OWN_IDS, *_SET_BY_JOURNAL}
_ITEM_KEYS = frozenset(Item.__dataclass_fields__) | {"line"}
_ONE_OFF_KEYS = frozenset(OneOff.__dataclass_fields__) | {"id", "unit_price"}
_USAGE_KEYS = frozenset(
    {"promotion_id", "discount_amount", "sale_external_id", "line", "bill_id", "customer_id", "used_at"}
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: its line, and its JSON object or why there is none."""

    line: int
    value: Any = None
    error: InvalidSale | None = None


def read_text(source: str) -> str:
    """The text of a file, or of standard input for ``-``.

    Raises:
        InvalidSale: it can't be read, or is not UTF-8.
    """
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InvalidSale("NO_FILE", "FILE", f"{source} can't be read: {error.strerror}", "Check the path.") from None
    except UnicodeDecodeError:
        raise InvalidSale("NOT_UTF8", "FILE", f"{source} is not UTF-8 text", "Save it as UTF-8.") from None


def read_records(text: str) -> Iterator[Record]:
    """The records of a text, each with its line number (or its place in a list)."""
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError:
        whole = None
    if isinstance(whole, list):
        for place, value in enumerate(whole, 1):
            yield Record(place, value)
        return
    if isinstance(whole, dict):
        yield Record(1, whole)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield Record(number, msgspec.json.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            why = str(error).removeprefix("JSON is malformed: ")
            yield Record(
                number,
                error=InvalidSale(
                    "INVALID_JSON",
                    f"line {number}",
                    f"not JSON: {why}",
                    "Write one whole JSON object on each line.",
                ),
            )


def _object(value: Any, field: str, known: frozenset[str] | set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidSale("NOT_AN_OBJECT", field, "is not a JSON object", 'Write it in braces: {"items": …}.')
    for key in value:
        if key not in known:
            where = key if field == "sale" else f"{field}.{key}"
            raise InvalidSale(
                "UNKNOWN_FIELD", where, "there is no such field", "Check its spelling; a POS's own data goes in extra."
            )
    return value


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidSale("INVALID_LIST", field, "is not a list", "Write it in brackets: […].")
    return value


def _required(value: Mapping[str, Any], key: str, field: str) -> Any:
    if value.get(key) is None:
        raise InvalidSale("MISSING", f"{field}.{key}", "is missing", f"Give {key}.")
    return value[key]


def _item(value: Any, place: int, company_id: str) -> Item:
    field = f"items[{place}]"
    line = _object(value, field, _ITEM_KEYS)
    if line.get("line", place + 1) != place + 1:
        raise InvalidSale("INVALID_LINE", f"{field}.line", "is not its place in the list", "Number lines from 1.")
    one_off = None
    price = line.get("unit_price")
    if line.get("product_data") is not None:
        data = _object(line["product_data"], f"{field}.product_data", _ONE_OFF_KEYS)
        one_off = OneOff(data.get("sku", ""), data.get("name", ""), data.get("is_volatile", True))
        price = data.get("unit_price") if price is None else price
        if "id" in data and isinstance(one_off.sku, str) and data["id"] != one_off_product_id(company_id, one_off.sku):
            raise InvalidSale(
                "FOREIGN_ID", f"{field}.product_data.id", "is not the id of this SKU", "Leave it out: it is computed."
            )
    if price is None:
        raise InvalidSale("MISSING", f"{field}.unit_price", "is missing", "Give the price the customer was asked.")
    override = line.get("price_override")
    if override is not None:
        fields = _object(override, f"{field}.price_override", frozenset(PriceOverride.__dataclass_fields__))
        override = PriceOverride(fields.get("reason", ""), fields.get("approved_by"))
    return Item(
        product=line.get("product"),
        quantity=_required(line, "quantity", field),
        unit_price=price,
        discount="0" if line.get("discount") is None else line["discount"],
        tax=line.get("tax"),
        promotion_ids=_list(line.get("promotion_ids") or [], f"{field}.promotion_ids"),
        price_override=override,
        product_data=one_off,
    )


def _payment(value: Any, place: int) -> Payment:
    field = f"payments[{place}]"
    fields = _object(value, field, frozenset(Payment.__dataclass_fields__))
    return Payment(
        method=_required(fields, "method", field),
        amount=_required(fields, "amount", field),
        rounding="0" if fields.get("rounding") is None else fields["rounding"],
        reference=fields.get("reference"),
    )


def sale_draft(value: Any, place: Place) -> Draft:
    """A sale of a file as a draft.

    Args:
        value: the JSON object, in the contract's form (section 5); what the agent sets may be left out.
        place: this device: a foreign store's or device's sale is refused.

    Raises:
        InvalidSale: names the field and the mend.
    """
    sale = _object(value, "sale", _SALE_KEYS)
    for key in _OWN_IDS:
        if sale.get(key) not in (None, getattr(place, key)):
            raise InvalidSale(
                "FOREIGN_ID", key, f"{sale[key]!r} is not this device's", "Record it on the device it belongs to."
            )
    for key in _SET_BY_JOURNAL:
        if sale.get(key) is not None:
            raise InvalidSale("SET_BY_JOURNAL", key, "is given by the journal", "Leave it out.")
    items = [_item(item, number, place.company_id) for number, item in enumerate(_list(sale.get("items", []), "items"))]
    payments = sale.get("payments")
    if payments is not None:
        payments = [_payment(payment, number) for number, payment in enumerate(_list(payments, "payments"))]
    rest = {key: sale[key] for key in _DRAFT_KEYS if sale.get(key) is not None}
    return Draft(items=items, payments=payments, **rest)


def read_sale(text: str, place: Place) -> Draft:
    """The one sale of a text as a draft; see :func:`sale_draft`.

    Raises:
        InvalidSale: there is none, there are several, or it can't be read.
    """
    records = list(read_records(text))
    if len(records) != 1:
        raise InvalidSale("NOT_AN_OBJECT", "FILE", f"holds {len(records)} sales, not one", "Give one sale at a time.")
    [record] = records
    if record.error is not None:
        raise record.error
    return sale_draft(record.value, place)


def usage_fields(value: Any) -> Mapping[str, Any]:
    """A usage of a file, its keys checked.

    Raises:
        InvalidSale: names the field and the mend.
    """
    usage = _object(value, "usage", _USAGE_KEYS)
    for key in ("promotion_id", "discount_amount"):
        if usage.get(key) is None:
            raise InvalidSale("MISSING", key, "is missing", f"Give {key}.")
    return usage
