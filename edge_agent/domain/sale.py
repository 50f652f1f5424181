"""A sale: what a POS hands over, the rules it must pass, and the bytes it is frozen into (G2, G8).

``check`` turns a caller's :class:`Draft` into a :class:`Checked` sale, whose ``seal`` gives the frozen bytes once the
journal has drawn its sequence number. Both are pure. The JSON keys here are those of the contract's section 5.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import msgspec

from edge_agent.domain import canonical, money
from edge_agent.domain.cards import looks_like_card
from edge_agent.domain.ids import is_uuid, one_off_product_id, require_uuid
from edge_agent.errors import InvalidSale

Kind = Literal["sale", "refund", "void"]
Number = str | int | Decimal

LINES_MAX = 1_000
PAYMENTS_MAX = 50
TEXT_LENGTH_MAX = 500
EXTRA_DEPTH_MAX = 8
BODY_BYTES_MAX = 256 * 1024
SIGN = {"sale": 1, "refund": -1, "void": -1}


@dataclass(frozen=True, slots=True)
class OneOff:
    """A product the catalogue does not have, sold all the same (contract, section 5: ``product_data``).

    Args:
        sku: the shop's own code; every till makes the same product of the same SKU.
        name: what the receipt says.
        is_volatile: True when the product keeps no stock and its price is whatever was last asked.
    """

    sku: str
    name: str
    is_volatile: bool = True


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Why a line's price is not the catalogue's, and who allowed it."""

    reason: str
    approved_by: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a sale.

    Args:
        product: the catalogue's product id, or None with ``product_data``.
        quantity: above zero, at most 3 decimals; text, ``Decimal`` or ``int``.
        unit_price: in the sale's currency; text, ``Decimal`` or ``int``.
        discount: taken off the whole line, in the sale's currency.
        tax: the tax contained in the line's amount; it does not change the total.
        promotion_ids: the promotions that gave the discount.
        price_override: set when staff changed the price.
        product_data: a one-off product, instead of ``product``.
    """

    product: str | None = None
    quantity: Number = "1"
    unit_price: Number | None = None
    discount: Number = "0"
    tax: Number | None = None
    promotion_ids: Sequence[str] = ()
    price_override: PriceOverride | None = None
    product_data: OneOff | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment of a sale, refund or void.

    Args:
        method: such as ``cash`` or ``card``.
        amount: what was handed over; change is not a payment.
        rounding: what cash rounding added to the amount due (negative: took off it).
        reference: the terminal's reference; never a card number.
    """

    method: str
    amount: Number
    rounding: Number = "0"
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where sales are made: the parts of a sale's identity and rules that the device gives."""

    company_id: str
    store_id: str
    device_id: str
    currency: str | None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a caller may say of a sale. ``None`` means: the agent fills it in."""

    items: Sequence[Item]
    payments: Sequence[Payment] | None = None
    kind: str = "sale"
    refers_to: str | None = None
    reason: str | None = None
    external_id: str | None = None
    receipt_number: str | None = None
    business_date: str | dt.date | None = None
    client_timestamp: str | dt.datetime | None = None
    cashier_id: str | None = None
    customer_id: str | None = None
    currency: str | None = None
    total_amount: Number | None = None  # only compared with the lines' sum
    extra: Mapping[str, Any] = {}


class Checked(msgspec.Struct, frozen=True):
    """A sale that passed every rule and waits for its place in the journal.

    ``total_minor`` is unsigned.
    """

    external_id: str
    kind: str
    refers_to: str | None
    business_date: str
    client_timestamp: str
    currency: str
    exponent: int
    total_minor: int
    fields: dict[str, Any]

    def seal(self, journal_id: str, device_seq: int) -> bytes:
        """The frozen bytes of this sale at its place in the journal (G2)."""
        fields = self.fields
        # Insertion order is canonical order: the keys below are in RFC 8785 order, so no sorting is needed here.
        body = canonical.encode_sorted(
            {
                "business_date": self.business_date,
                "cashier_id": fields["cashier_id"],
                "client_timestamp": self.client_timestamp,
                "currency": self.currency,
                "customer_id": fields["customer_id"],
                "device_id": fields["device_id"],
                "device_seq": device_seq,
                "external_id": self.external_id,
                "extra": fields["extra"],
                "items": fields["items"],
                "journal_id": journal_id,
                "kind": self.kind,
                "payments": fields["payments"],
                "reason": fields["reason"],
                "receipt_number": fields["receipt_number"],
                "refers_to": self.refers_to,
                "store_id": fields["store_id"],
                "total_amount": fields["total_amount"],
            }
        )
        return self._bounded(body)

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > BODY_BYTES_MAX:
            raise InvalidSale(
                "TOO_LARGE",
                "extra",
                f"the sale has {len(body)} bytes, more than {BODY_BYTES_MAX}",
                "Keep extra small: ids, not documents.",
                external_id=self.external_id,
            )
        return body

    def says_the_same_as(self, recorded: Mapping[str, Any]) -> bool:
        """Whether a recorded body holds what the caller says now; what the agent filled in then is not compared."""
        said = dict(self.fields["said"])
        return all(recorded.get(key) == value for key, value in said.items())


def checked_text(value: object, field_name: str, *, required: bool = False) -> str | None:
    """A free text of a person or a POS: bounded, printable as UTF-8, and no card number."""
    if value is None and not required:
        return None
    if not isinstance(value, str) or (required and not value.strip()):
        raise InvalidSale("INVALID_TEXT", field_name, "a text is missing or is not text", "Give it as plain text.")
    if len(value) > TEXT_LENGTH_MAX:
        raise InvalidSale(
            "TOO_LONG", field_name, f"longer than {TEXT_LENGTH_MAX} characters", "Shorten it, or leave it out."
        )
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidSale("INVALID_TEXT", field_name, "holds half a character", "Send whole UTF-8.") from None
    if len(value) >= 13 and looks_like_card(value):
        raise _card(field_name)
    return value


def _card(field_name: str) -> InvalidSale:
    return InvalidSale(
        "CARD_NUMBER",
        field_name,
        "holds digits that look like a payment card's number",
        "Leave card numbers out: store the terminal's reference instead.",
    )


def _check_extra(value: object, field_name: str, depth: int = 0) -> None:
    """Free JSON of the POS: bounded in depth, no floats, no card numbers in values or keys."""
    if depth > EXTRA_DEPTH_MAX:
        raise InvalidSale("TOO_DEEP", field_name, f"deeper than {EXTRA_DEPTH_MAX} levels", "Flatten it.")
    if isinstance(value, Mapping):
        for key, element in value.items():
            if not isinstance(key, str):
                raise InvalidSale("INVALID_EXTRA", field_name, f"the key {key!r} is not text", "Use text keys.")
            if looks_like_card(key):
                raise _card(field_name)
            _check_extra(element, f"{field_name}.{key[:40]}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for place, element in enumerate(value):
            _check_extra(element, f"{field_name}[{place}]", depth + 1)
    elif isinstance(value, float):
        raise InvalidSale("FLOAT", field_name, f"a floating point number ({value!r})", 'Write it as text: "2.50".')
    elif isinstance(value, str):
        if looks_like_card(value):
            raise _card(field_name)
    elif isinstance(value, int) and not isinstance(value, bool) and looks_like_card(str(value)):
        raise _card(field_name)


def _canonical_extra(extra: object) -> Any:
    if not isinstance(extra, Mapping):
        raise InvalidSale("INVALID_EXTRA", "extra", "is not an object", 'Give it as an object: {"table": "7"}.')
    _check_extra(extra, "extra")
    try:
        return canonical.sort_keys(dict(extra))
    except ValueError as error:
        raise InvalidSale("INVALID_EXTRA", "extra", str(error), "Use text, whole numbers, lists and objects.") from None


def _one_off(data: OneOff, unit_price: str, company_id: str, name: str) -> dict[str, Any]:
    sku = checked_text(data.sku, f"{name}.sku", required=True) or ""
    if not isinstance(data.is_volatile, bool):
        raise InvalidSale("INVALID_FLAG", f"{name}.is_volatile", "is neither true nor false", "Use true or false.")
    return {
        "id": one_off_product_id(company_id, sku),
        "is_volatile": data.is_volatile,
        "name": checked_text(data.name, f"{name}.name", required=True),
        "sku": sku,
        "unit_price": unit_price,
    }


def _usual_item(item: object, place: int, exponent: int) -> tuple[dict[str, Any], int] | None:
    """The line most sales consist of: a product by its id, with its figures as text. None for any other line."""
    if not isinstance(item, Item):
        return None
    product, quantity, price, discount = item.product, item.quantity, item.unit_price, item.discount
    if not (type(product) is type(quantity) is type(price) is type(discount) is str) or not is_uuid(product):
        return None
    if item.product_data or item.price_override or item.promotion_ids or item.tax is not None:
        return None
    figures = money.usual_line(quantity, price, discount, exponent)
    if figures is None:
        return None
    rest = {"line": place + 1, "product": product, "quantity": figures.quantity, "unit_price": figures.unit_price}
    return ({"discount": figures.discount, **rest} if figures.discount else rest), figures.amount  # RFC 8785 order


def _check_item(item: Item, place: int, exponent: int, company_id: str) -> tuple[dict[str, Any], int]:
    """One line: its canonical object and its amount in minor units."""
    name = f"items[{place}]"
    if not isinstance(item, Item):
        raise InvalidSale("INVALID_ITEM", name, "is not an Item", "Build it with edge_agent.Item(...).")
    quantity = money.parse_quantity(item.quantity, f"{name}.quantity")
    price = money.parse_money(item.unit_price, exponent, f"{name}.unit_price")
    discount = 0 if item.discount in ("0", None) else money.parse_money(item.discount, exponent, f"{name}.discount")
    amount = money.line_amount(quantity, price, discount)
    if amount < 0:
        raise InvalidSale(
            "DISCOUNT_TOO_LARGE",
            f"{name}.discount",
            f"the discount of {item.discount} is more than the line costs",
            "A line's discount is at most its quantity × unit price.",
        )
    price_text = money.format_money(price, exponent)
    body: dict[str, Any] = {}  # filled in RFC 8785 order
    if discount:
        body["discount"] = money.format_money(discount, exponent)
    body["line"] = place + 1
    if item.price_override is not None:
        body["price_override"] = {
            "approved_by": checked_text(item.price_override.approved_by, f"{name}.price_override.approved_by"),
            "reason": checked_text(item.price_override.reason, f"{name}.price_override.reason", required=True),
        }
    product = item.product
    if item.product_data is not None:
        if product is not None:
            raise InvalidSale("AMBIGUOUS", f"{name}.product", "product and product_data are both given", "Give one.")
        body["product_data"] = _one_off(item.product_data, price_text, company_id, f"{name}.product_data")
    elif isinstance(product, str) and is_uuid(product):
        body["product"] = product
    elif product is None:
        raise InvalidSale("MISSING", f"{name}.product", "no product is named", "Give its id, or product_data.")
    else:
        require_uuid(product, f"{name}.product")
    if item.promotion_ids:
        if isinstance(item.promotion_ids, str):
            raise InvalidSale("INVALID_LIST", f"{name}.promotion_ids", "is not a list", "Give a list of ids.")
        body["promotion_ids"] = [require_uuid(one, f"{name}.promotion_ids") for one in item.promotion_ids]
    body["quantity"] = money.format_quantity(quantity)
    if item.tax is not None:
        body["tax"] = money.format_money(money.parse_money(item.tax, exponent, f"{name}.tax"), exponent)
    body["unit_price"] = price_text
    return body, amount


def _check_payments(
    payments: Sequence[Payment] | None, total_minor: int, exponent: int, kind: str
) -> list[dict[str, Any]]:
    """The payments' canonical objects; together they must cover the total, give or take the stated cash rounding."""
    if payments is None:
        return []  # the POS keeps payments elsewhere
    if not isinstance(payments, (list, tuple)) or len(payments) > PAYMENTS_MAX:
        raise InvalidSale("INVALID_LIST", "payments", f"is not a list of at most {PAYMENTS_MAX}", "Give a list.")
    bodies = []
    paid = rounding_sum = 0
    for place, payment in enumerate(payments):
        name = f"payments[{place}]"
        if not isinstance(payment, Payment):
            raise InvalidSale("INVALID_PAYMENT", name, "is not a Payment", "Build it with edge_agent.Payment(...).")
        amount = money.parse_money(payment.amount, exponent, f"{name}.amount")
        rounding = money.parse_money(payment.rounding, exponent, f"{name}.rounding", negative=True)
        paid += amount
        rounding_sum += rounding
        bodies.append(
            {
                "amount": money.format_money(amount, exponent),
                "method": checked_text(payment.method, f"{name}.method", required=True),
                "reference": checked_text(payment.reference, f"{name}.reference"),
                "rounding": money.format_money(rounding, exponent),
            }
        )
    # Which sign a POS gives its rounding differs in the field; a sale the shop made is not refused for that.
    if paid + abs(rounding_sum) < total_minor:
        raise InvalidSale(
            "UNDERPAID",
            "payments",
            f"the payments sum to {money.format_money(paid, exponent)}, "
            f"below the {kind}'s total of {money.format_money(total_minor, exponent)}",
            "Record every payment, vouchers and store credit included; cash rounding goes into rounding.",
        )
    return bodies


def _check_kind(draft: Draft) -> None:
    if draft.kind not in SIGN:
        raise InvalidSale("INVALID_KIND", "kind", f"{draft.kind!r} is no kind of sale", "Use sale, refund or void.")
    if draft.refers_to is not None:
        require_uuid(draft.refers_to, "refers_to")
        if draft.refers_to == draft.external_id:
            raise InvalidSale("INVALID_ID", "refers_to", "names the sale itself", "Name the sale that is taken back.")
    if draft.kind == "sale" and draft.refers_to is not None:
        raise InvalidSale("INVALID_KIND", "refers_to", "a sale refers to nothing", "Use kind refund or void.")
    if draft.kind != "sale" and draft.refers_to is None and not (draft.reason and str(draft.reason).strip()):
        raise InvalidSale(
            "NOTHING_REFERRED_TO",
            "refers_to",
            f"a {draft.kind} of nothing: it names neither a sale nor a reason",
            "Name the sale's external_id in refers_to, or give the reason (return without receipt).",
        )


def _business_date(value: str | dt.date | None, default: str) -> str:
    if value is None:
        return default
    if isinstance(value, dt.datetime):
        value = value.date()
    if isinstance(value, dt.date):
        return value.isoformat()
    try:
        if len(value) != 10:
            raise ValueError
        return dt.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise InvalidSale(
            "INVALID_DATE", "business_date", f"{value!r} is not a date", "Write it as 2026-11-21."
        ) from None


def timestamp_text(moment: dt.datetime) -> str:
    """A moment as the contract's UTC text with milliseconds: ``2026-11-21T09:15:02.114Z``."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(value: str | dt.datetime, field_name: str) -> dt.datetime:
    """A moment with its offset.

    Raises:
        InvalidSale: ``INVALID_TIME`` when it is malformed or lacks an offset.
    """
    try:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(dt.UTC)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InvalidSale(
            "INVALID_TIME",
            field_name,
            f"{value!r} is not a time with an offset",
            "Write it as 2026-11-21T09:15:02Z or 2026-11-21T16:15:02+07:00.",
        ) from None


def check(draft: Draft, place: Place, *, new_id: str, client_timestamp: dt.datetime, business_date: str) -> Checked:
    """Check a caller's sale against every rule of the contract's section 5.

    Args:
        draft: what the caller said.
        place: the device's identity.
        new_id: the ``external_id`` to use when the caller gave none (a UUIDv7).
        client_timestamp: the time to use when the caller gave none.
        business_date: the business date to use when the caller gave none (``YYYY-MM-DD``).

    Raises:
        InvalidSale: names the field and the mend. Nothing was stored.
    """
    _check_kind(draft)
    currency = draft.currency if draft.currency is not None else place.currency
    if currency is None:
        raise InvalidSale(
            "UNKNOWN_CURRENCY",
            "currency",
            "the store's currency is not known before the first sync",
            "Give currency with the sale, or set currency in settings.toml.",
        )
    exponent = money.currency_exponent(currency, of_store=place.currency)
    if place.currency not in (None, money.NO_CURRENCY, currency):
        raise InvalidSale(
            "CURRENCY_MISMATCH", "currency", f"this store sells in {place.currency}, not {currency}", "Convert it."
        )
    if not isinstance(draft.items, (list, tuple)) or not draft.items:
        raise InvalidSale("NO_ITEMS", "items", f"a {draft.kind} needs at least one item", "Give a list of items.")
    if len(draft.items) > LINES_MAX:
        raise InvalidSale("TOO_MANY_ITEMS", "items", f"more than {LINES_MAX} lines", "Split it into several sales.")
    lines = [
        _usual_item(item, number, exponent) or _check_item(item, number, exponent, place.company_id)
        for number, item in enumerate(draft.items)
    ]
    total = sum(line[1] for line in lines)
    if draft.total_amount is not None and money.parse_money(draft.total_amount, exponent, "total_amount") != total:
        raise InvalidSale(
            "TOTAL_MISMATCH",
            "total_amount",
            f"{draft.total_amount} is not the sum of the lines, {money.format_money(total, exponent)}",
            "Check prices, quantities and discounts; or leave total_amount out.",
        )
    external_id = new_id if draft.external_id is None else require_uuid(draft.external_id, "external_id")
    said = {
        "currency": currency,
        "items": [line[0] for line in lines],
        "kind": draft.kind,
        "payments": _check_payments(draft.payments, total, exponent, draft.kind),
        "refers_to": draft.refers_to,
        "reason": checked_text(draft.reason, "reason"),
        "total_amount": money.format_money(total, exponent),
        "cashier_id": checked_text(draft.cashier_id, "cashier_id"),
        "customer_id": checked_text(draft.customer_id, "customer_id"),
        "receipt_number": checked_text(draft.receipt_number, "receipt_number"),
        "extra": _canonical_extra(draft.extra) if draft.extra else {},
    }
    stamp = (
        client_timestamp
        if draft.client_timestamp is None
        else parse_timestamp(draft.client_timestamp, "client_timestamp")
    )
    return Checked(
        external_id=external_id,
        kind=draft.kind,
        refers_to=draft.refers_to,
        business_date=_business_date(draft.business_date, business_date),
        client_timestamp=timestamp_text(stamp),
        currency=currency,
        exponent=exponent,
        total_minor=total,
        fields={**said, "said": said, "device_id": place.device_id, "store_id": place.store_id},
    )


class _MovedItem(msgspec.Struct):
    quantity: str
    product: str | None = None
    product_data: dict[str, Any] | None = None


class _Moved(msgspec.Struct):
    items: list[_MovedItem]


_decode_moved = msgspec.json.Decoder(_Moved).decode


def moves_of(body: bytes, kind: str) -> list[tuple[str, int]]:
    """What a frozen sale moved, line by line: (product id, thousandths that left the shop), signed by kind."""
    sign = SIGN[kind]
    return [
        (
            item.product or str((item.product_data or {}).get("id")),
            sign * money.parse_quantity(item.quantity, "quantity"),
        )
        for item in _decode_moved(body).items
    ]
