"""Catalogue rows: what the agent reads of them, and which ones it refuses (contract, section 4: rows).

A row's JSON is kept as head office sent it, unknown fields included. Beside it stand the few values that look-ups
need. A row that breaks the contract becomes a :class:`RefusedRow`; the last good one stays in use.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from edge_agent.domain.ids import is_uuid
from edge_agent.domain.promotion import PromotionError, index_of

Dataset = Literal["categories", "products", "promotions"]
DATASETS: tuple[Dataset, ...] = ("categories", "products", "promotions")

ROW_BYTES_MAX = 1024 * 1024
ROW_DEPTH_MAX = 64  # objects and lists within each other
REFUSED_BYTES_MAX = 16 * 1024  # of a refused row, kept to look at
NAME_LENGTH_MAX = 1_000
CODE_LENGTH_MAX = 200  # of a SKU, barcode or promotion code
REASON_LENGTH_MAX = 300
ID_LENGTH = 36
_PRICE = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?", re.ASCII)
_QUANTITY = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_FLOAT_NOISE = Decimal("0.000001")

_Name = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)]
_Code = Annotated[str, msgspec.Meta(max_length=CODE_LENGTH_MAX)]
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what SQLite keeps
_Scalar = str | int | float | bool | None
_Flag = bool | Annotated[int, msgspec.Meta(ge=0, le=1)] | None  # some head offices write 1 and 0


class _CategoryFields(msgspec.Struct):
    id: str
    name: _Name
    parent_id: str | None = None
    is_active: _Flag = None
    display_order: _Scalar = None
    row_version: _Int | None = 0
    updated_at: str | int | float | None = None


class _ProductFields(msgspec.Struct):
    id: str
    name: _Name
    category_id: str | None = None
    sku: _Code | int | None = None
    barcode: _Code | int | None = None
    price: str | int | float | None = None
    is_active: _Flag = None
    is_volatile: _Flag = None
    row_version: _Int | None = 0
    updated_at: str | int | float | None = None


class _PromotionFields(msgspec.Struct):
    id: str
    name: _Name
    code: _Code | None = None
    is_active: _Flag = None
    row_version: _Int | None = 0
    updated_at: str | int | float | None = None


class _PlainCategory(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The contract's fields alone, none of them nested: what is read as this was read to its last byte."""

    id: str
    company_id: _Scalar = None
    brand_id: _Scalar = None
    name: _Name
    code: _Scalar = None
    parent_id: str | None = None
    is_active: _Flag = None
    display_order: _Scalar = None
    image_url: _Scalar = None
    created_at: _Scalar = None
    updated_at: str | int | float | None = None
    row_version: _Int | None = 0


class _PlainProduct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """As :class:`_PlainCategory`."""

    id: str
    company_id: _Scalar = None
    brand_id: _Scalar = None
    store_id: _Scalar = None
    category_id: str | None = None
    name: _Name
    sku: _Code | int | None = None
    barcode: _Code | int | None = None
    price: str | int | float | None = None
    cost: _Scalar = None
    is_active: _Flag = None
    is_volatile: _Flag = None
    has_modifiers: _Scalar = None
    reorder_level: _Scalar = None
    image_url: _Scalar = None
    description: _Scalar = None
    created_at: _Scalar = None
    updated_at: str | int | float | None = None
    row_version: _Int | None = 0


class CategoryRow(NamedTuple):
    """A good category as the store keeps it; ``body`` is its JSON as it came."""

    id: str
    parent_id: str | None
    name: str
    is_active: bool
    display_order: int
    row_version: int
    updated_us: int
    body: bytes


class ProductRow(NamedTuple):
    """A good product as the store keeps it. ``price`` is exact decimal text, or None when head office gave none."""

    id: str
    category_id: str | None
    name: str
    sku: str | None
    barcode: str | None
    price: str | None
    is_active: bool
    is_volatile: bool
    row_version: int
    updated_us: int
    body: bytes


class PromotionRow(NamedTuple):
    """A good promotion as the store keeps it; dates are ISO text or None for open ends."""

    id: str
    code: str | None
    name: str
    is_active: bool
    start_date: str | None
    end_date: str | None
    row_version: int
    updated_us: int
    body: bytes


Row = CategoryRow | ProductRow | PromotionRow


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that breaks the contract, kept with its reason beside the last good one.

    ``id`` is head office's when it is usable, else ``sha256:…`` of the row, so that it can be listed.
    """

    id: str
    row_version: int
    reason: str
    body: bytes


@dataclass(slots=True)
class ReadRows:
    """A page's rows, sorted into good and refused."""

    good: list[Any] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)


def price_text(value: str | float | None, exponent: int) -> str | None:
    """A product's price as exact decimal text.

    Args:
        value: text from a native head office, perhaps a JSON number from a baseline one (contract, section 1).
        exponent: decimals of the store's currency.

    Raises:
        ValueError: with the reason, in plain words.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if not _PRICE.fullmatch(value):
            raise ValueError("the price is negative" if value.startswith("-") else "the price is not a decimal number")
        _, _, fraction = value.partition(".")
        if len(fraction) <= exponent:
            return value
        if fraction[exponent:].strip("0"):
            raise ValueError(f"the price has more than {exponent} decimals")
        return value[: len(value) - len(fraction) + exponent].rstrip(".")
    number = Decimal(repr(value))
    if not number.is_finite() or number < 0 or number >= Decimal("1e15"):
        raise ValueError("the price is negative" if number < 0 else "the price is not a decimal number")
    rounded = abs(number.quantize(Decimal(1).scaleb(-exponent)))  # -0.0 is no price
    if abs(rounded - number) > _FLOAT_NOISE:
        raise ValueError(f"the price has more than {exponent} decimals")
    return f"{rounded:f}"


def quantity_text(value: str | float) -> str:
    """A stock figure or reorder level as exact decimal text; it may be negative.

    Args:
        value: text, or a JSON number with at most 6 decimals that count (the rest is a float's noise).

    Raises:
        ValueError: with the reason, in plain words.
    """
    if not isinstance(value, str):
        number = Decimal(repr(value))
        if not number.is_finite() or abs(number) >= Decimal("1e15"):
            raise ValueError("the quantity is not a decimal number")
        value = f"{number.quantize(_FLOAT_NOISE) + 0:f}".rstrip("0").rstrip(".")  # -0.0 is 0
    if not _QUANTITY.fullmatch(value):
        raise ValueError("the quantity is not a decimal number")
    return value


# A shop's prices and categories repeat: most rows are spared the regular expressions.
_price_text = lru_cache(maxsize=4_096)(price_text)
_is_known_id = lru_cache(maxsize=1_024)(is_uuid)


def _require_ids(row_id: str, other: str | None, other_name: str) -> None:
    if not is_uuid(row_id):
        raise ValueError("id is not a UUID in lower case")
    # The length comes first: what is remembered must be small.
    if other is not None and not (len(other) == ID_LENGTH and _is_known_id(other)):
        raise ValueError(f"{other_name} is not a UUID in lower case")


def is_on(flag: object) -> bool:
    """Whether a row's ``is_active`` says yes: only a no is a no."""
    return flag not in (False, 0)


def _order(place: float | str | None) -> int:
    """Where a category stands among others; it only sorts, so what can't be read is 0."""
    try:
        order = int(place or 0)
    except (ValueError, OverflowError):
        return 0
    return order if -(2**63) <= order < 2**63 else 0


def _digits(number: int) -> str:
    """A SKU or barcode that came as a number."""
    text = str(number)
    if len(text) > CODE_LENGTH_MAX:
        raise ValueError(f"a SKU or barcode has more than {CODE_LENGTH_MAX} digits")
    return text


_plain_category = msgspec.json.Decoder(_PlainCategory).decode
_plain_product = msgspec.json.Decoder(_PlainProduct).decode
_category = msgspec.json.Decoder(_CategoryFields).decode
_product = msgspec.json.Decoder(_ProductFields).decode
_promotion = msgspec.json.Decoder(_PromotionFields).decode
_shallow = msgspec.json.Decoder(dict[str, _Scalar | list[_Scalar] | dict[str, _Scalar]]).decode


def _require_readable(body: bytes) -> None:
    """What is kept must be readable to its last byte, whoever asks for it later; a reader skips what it does not know.

    Raises:
        ValueError: text that is none, a number beyond all bounds, or a row nested too deeply.
    """
    try:
        _shallow(body)
    except msgspec.ValidationError:
        row = msgspec.json.decode(body)
        if body.count(b"[") + body.count(b"{") > ROW_DEPTH_MAX:
            _require_shallow(row)


def _require_shallow(row: object) -> None:
    level, depth = [row], 0
    while level:
        depth += 1
        if depth > ROW_DEPTH_MAX:
            raise ValueError(f"the row is nested more than {ROW_DEPTH_MAX} levels deep")
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]


def _whole_category(body: bytes) -> _CategoryFields:
    _require_readable(body)
    return _category(body)


def _whole_product(body: bytes) -> _ProductFields:
    _require_readable(body)
    return _product(body)


def microseconds(timestamp: str | float | None) -> int:
    """A time stamp as microseconds since 1970, so that two of different precision compare; 0 when there is none."""
    if not timestamp or not isinstance(timestamp, str):
        return 0
    try:
        moment = dt.datetime.fromisoformat(timestamp)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    delta = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


class RowReader:
    """Reads the rows of downloads. One reader serves one pull.

    Args:
        exponent: decimals of the store's currency, for prices.
        ordered_by_time: True against a baseline head office, whose rows are ordered by ``updated_at``.
    """

    def __init__(self, *, exponent: int = 2, ordered_by_time: bool = False) -> None:
        self._exponent = exponent
        self._time: Callable[[str | float | None], int] = microseconds if ordered_by_time else lambda _: 0
        self._category: Callable[[bytes], _PlainCategory | _CategoryFields] = _plain_category
        self._product: Callable[[bytes], _PlainProduct | _ProductFields] = _plain_product

    def read(self, dataset: Dataset, rows: Sequence[msgspec.Raw]) -> ReadRows:
        """Sort a page's rows into good and refused; never raises for a bad row (G7).

        Of rows with the same id one is left: the last, or against a baseline head office the newest.
        """
        result = ReadRows()
        good, read_one = result.good, getattr(self, f"_read_{dataset}")
        places: list[int] = []  # how many good rows came before each refused one
        for raw in rows:
            body = bytes(raw)
            try:
                if len(body) > ROW_BYTES_MAX:
                    raise ValueError(f"the row is larger than {ROW_BYTES_MAX} bytes")
                good.append(read_one(body))
            except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                result.refused.append(refuse_row(body, str(error)))
                places.append(len(good))
        ids = {row[0] for row in good}
        ids.update([row.id for row in result.refused])
        return result if len(ids) == len(rows) else self._one_of_each(result, places)

    def _one_of_each(self, read: ReadRows, places: Sequence[int]) -> ReadRows:
        """A page's rows without repeated ids."""
        in_order: list[Row | RefusedRow] = []
        start = 0
        for refused, place in zip(read.refused, places, strict=True):
            in_order += [*read.good[start:place], refused]
            start = place
        in_order += read.good[start:]
        chosen: dict[str, tuple[int, Row | RefusedRow]] = {}
        for row in in_order:
            moment = self._time(_updated_at(row.body)) if isinstance(row, RefusedRow) else row.updated_us
            if row.id not in chosen or chosen[row.id][0] <= moment:
                chosen.pop(row.id, None)
                chosen[row.id] = moment, row
        result = ReadRows()
        for _, row in chosen.values():
            if isinstance(row, RefusedRow):
                result.refused.append(row)
            else:
                result.good.append(row)
        return result

    def _read_categories(self, body: bytes) -> CategoryRow:
        try:
            row = self._category(body)
        except msgspec.ValidationError:
            row = _whole_category(body)
            self._category = _whole_category
        _require_ids(row.id, row.parent_id, "parent_id")
        return CategoryRow(
            row.id,
            row.parent_id,
            row.name,
            row.is_active != 0,  # only a no is a no
            _order(row.display_order),
            row.row_version or 0,
            self._time(row.updated_at),
            body,
        )

    def _read_products(self, body: bytes) -> ProductRow:
        try:
            row = self._product(body)
        except msgspec.ValidationError:
            row = _whole_product(body)
            self._product = _whole_product  # head office has fields of its own: the next row will have them as well
        _require_ids(row.id, row.category_id, "category_id")
        sku, barcode, price = row.sku, row.barcode, row.price
        return ProductRow(
            row.id,
            row.category_id,
            row.name,
            _digits(sku) if isinstance(sku, int) else sku,
            _digits(barcode) if isinstance(barcode, int) else barcode,
            _price_text(price, self._exponent) if type(price) is str else price_text(price, self._exponent),
            row.is_active != 0,  # only a no is a no
            row.is_volatile == 1,
            row.row_version or 0,
            self._time(row.updated_at),
            body,
        )

    def _read_promotions(self, body: bytes) -> PromotionRow:
        _require_readable(body)
        row = _promotion(body)
        _require_ids(row.id, None, "")
        try:
            index = index_of(body)
        except PromotionError as error:
            raise ValueError(str(error)) from None
        return PromotionRow(
            row.id,
            row.code,
            row.name,
            row.is_active != 0,  # only a no is a no
            index.start_date,
            index.end_date,
            row.row_version or 0,
            self._time(row.updated_at),
            body,
        )


class _Named(msgspec.Struct):
    """What can be told of a row however bad the rest of it is."""

    id: Any = None
    product_id: Any = None


class _Identity(_Named):
    """As far as that can be read as well."""

    row_version: Any = None
    updated_at: Any = None


_identity = msgspec.json.Decoder(_Identity).decode
_named = msgspec.json.Decoder(_Named).decode


def _identity_of(body: bytes) -> _Identity:
    with contextlib.suppress(ValueError, RecursionError):
        return _identity(body)
    with contextlib.suppress(ValueError, RecursionError):
        named = _named(body)
        return _Identity(named.id, named.product_id)
    return _Identity()


def _updated_at(body: bytes) -> str | None:
    """When a row that is refused says it was edited."""
    moment = _identity_of(body).updated_at
    return moment if isinstance(moment, str) else None


def _in_print(reason: str) -> str:
    """A reason that may quote head office, made fit for a line on a screen."""
    shown = "".join(character if character.isprintable() else " " for character in reason[:REASON_LENGTH_MAX])
    return shown + " …" if len(reason) > REASON_LENGTH_MAX else shown


def refuse_row(body: bytes, reason: str, *, key: str = "id") -> RefusedRow:
    """A row that breaks the contract, with what can still be told of it.

    Args:
        body: the row's JSON as it came; its beginning is kept.
        reason: what is wrong with it, in plain words.
        key: the field that holds its id.
    """
    said = _identity_of(body)
    row_id, version = said.product_id if key == "product_id" else said.id, said.row_version
    if not (isinstance(row_id, str) and 0 < len(row_id) <= 100):
        row_id = "sha256:" + hashlib.sha256(body).hexdigest()[:16]
    elif is_uuid(row_id.lower()):
        row_id = row_id.lower()  # in capitals it is still the row whose last good state is in use
    if type(version) is not int or abs(version) >= 2**63:
        version = 0
    return RefusedRow(row_id, version, _in_print(reason), body[:REFUSED_BYTES_MAX])


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the catalogue.

    ``price`` is exact, in the store's currency, or None when head office gave none: the till must ask.
    ``fields`` is the row as head office sent it, unknown fields included.
    """

    id: str
    name: str
    sku: str | None
    barcode: str | None
    price: Decimal | None
    category_id: str | None
    is_active: bool
    is_volatile: bool
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Category:
    """A category with those below it, in display order."""

    id: str
    name: str
    parent_id: str | None
    is_active: bool
    children: tuple[Category, ...]
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stock:
    """What is there of a product.

    Args:
        quantity: head office's figure.
        available: that less this journal's sales head office has not counted yet (contract, section 4: stock).
        reorder_level: below it head office opens an alert, if set.
        as_of: when the figures were pulled (UTC, ISO 8601).
    """

    quantity: Decimal
    available: Decimal
    reorder_level: Decimal | None
    as_of: str | None


def category_tree(categories: Iterable[Category]) -> tuple[Category, ...]:
    """Categories as a tree. One whose parent is missing, or that is its own ancestor, stands at the top."""
    by_id = {category.id: category for category in categories}
    in_circles = _own_ancestors(by_id)
    children: dict[str | None, list[Category]] = {}
    for category in by_id.values():
        parent = category.parent_id if category.parent_id in by_id and category.id not in in_circles else None
        children.setdefault(parent, []).append(category)
    top = children.get(None, [])
    order = list(top)
    for category in order:  # grows as it is read: parents before their children, however deep they are nested
        order += children.get(category.id, ())
    grown: dict[str, Category] = {}
    for category in reversed(order):
        below = tuple(grown[child.id] for child in children.get(category.id, ()))
        grown[category.id] = replace(category, children=below)
    return tuple(grown[category.id] for category in top)


def _own_ancestors(by_id: dict[str, Category]) -> set[str]:
    """The ids of categories whose parents lead back to themselves."""
    walked: set[str] = set()
    found: set[str] = set()
    for start in by_id:
        path: dict[str, int] = {}
        step: str | None = start
        while step in by_id and step not in walked and step not in path:
            path[step] = len(path)
            step = by_id[step].parent_id
        if step in path:
            found.update(list(path)[path[step] :])
        walked.update(path)
    return found
