"""Catalogue rows: what the agent reads of them, and which ones it refuses (contract, section 4: rows).

A row's JSON is kept as head office sent it, unknown fields included. Beside it stand the few values that look-ups
need. A row that breaks the contract becomes a :class:`RefusedRow`; the last good one stays in use.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable
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
NAME_LENGTH_MAX = 1_000
_PRICE = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?", re.ASCII)
_FLOAT_NOISE = Decimal("0.000001")

_Name = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH_MAX)]
_Code = Annotated[str, msgspec.Meta(max_length=200)]
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what SQLite keeps


class _CategoryFields(msgspec.Struct):
    id: str
    name: _Name
    parent_id: str | None = None
    is_active: bool | None = None
    display_order: _Int | None = None
    row_version: _Int = 0
    updated_at: str | None = None


class _ProductFields(msgspec.Struct):
    id: str
    name: _Name
    category_id: str | None = None
    sku: _Code | int | None = None
    barcode: _Code | int | None = None
    price: str | int | float | None = None
    is_active: bool | None = None
    is_volatile: bool | None = None
    row_version: _Int = 0
    updated_at: str | None = None


class _PromotionFields(msgspec.Struct):
    id: str
    name: _Name
    code: _Code | None = None
    is_active: bool | None = None
    row_version: _Int = 0
    updated_at: str | None = None


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
    rounded = number.quantize(Decimal(1).scaleb(-exponent))
    if abs(rounded - number) > _FLOAT_NOISE:
        raise ValueError(f"the price has more than {exponent} decimals")
    return f"{rounded:f}"


# A shop's prices and categories repeat: most rows are spared the regular expressions.
_price_text = lru_cache(maxsize=4_096)(price_text)
_is_known_id = lru_cache(maxsize=1_024)(is_uuid)


def _require_ids(row_id: str, other: str | None, other_name: str) -> None:
    if not is_uuid(row_id):
        raise ValueError("id is not a UUID in lower case")
    if other is not None and not _is_known_id(other):
        raise ValueError(f"{other_name} is not a UUID in lower case")


def microseconds(timestamp: str | None) -> int:
    """A time stamp as microseconds since 1970, so that two of different precision compare; 0 when there is none."""
    if not timestamp:
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
        self._time: Callable[[str | None], int] = microseconds if ordered_by_time else lambda _: 0
        self._category = msgspec.json.Decoder(_CategoryFields).decode
        self._product = msgspec.json.Decoder(_ProductFields).decode
        self._promotion = msgspec.json.Decoder(_PromotionFields).decode

    def read(self, dataset: Dataset, rows: Iterable[msgspec.Raw]) -> ReadRows:
        """Sort a page's rows into good and refused; never raises for a bad row (G7)."""
        result = ReadRows()
        good, read_one = result.good, getattr(self, f"_read_{dataset}")
        for raw in rows:
            body = bytes(raw)
            try:
                if len(body) > ROW_BYTES_MAX:
                    raise ValueError(f"the row is larger than {ROW_BYTES_MAX} bytes")
                good.append(read_one(body))
            except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                result.refused.append(refuse_row(body, str(error)))
        return result

    def _read_categories(self, body: bytes) -> CategoryRow:
        row = self._category(body)
        _require_ids(row.id, row.parent_id, "parent_id")
        return CategoryRow(
            row.id,
            row.parent_id,
            row.name,
            row.is_active is not False,
            row.display_order or 0,
            row.row_version,
            self._time(row.updated_at),
            body,
        )

    def _read_products(self, body: bytes) -> ProductRow:
        row = self._product(body)
        _require_ids(row.id, row.category_id, "category_id")
        price = row.price
        return ProductRow(
            row.id,
            row.category_id,
            row.name,
            None if row.sku is None else str(row.sku),
            None if row.barcode is None else str(row.barcode),
            _price_text(price, self._exponent) if type(price) is str else price_text(price, self._exponent),
            row.is_active is not False,
            row.is_volatile is True,
            row.row_version,
            self._time(row.updated_at),
            body,
        )

    def _read_promotions(self, body: bytes) -> PromotionRow:
        row = self._promotion(body)
        _require_ids(row.id, None, "")
        try:
            index = index_of(body)
        except PromotionError as error:
            raise ValueError(str(error)) from None
        return PromotionRow(
            row.id,
            row.code,
            row.name,
            row.is_active is not False,
            index.start_date,
            index.end_date,
            row.row_version,
            self._time(row.updated_at),
            body,
        )


def refuse_row(body: bytes, reason: str, *, key: str = "id") -> RefusedRow:
    """A row that breaks the contract, with what can still be told of it.

    Args:
        body: the row's JSON as it came.
        reason: what is wrong with it, in plain words.
        key: the field that holds its id.
    """
    try:
        row = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        row = None
    fields = row if isinstance(row, dict) else {}
    row_id, version = fields.get(key), fields.get("row_version")
    if not (isinstance(row_id, str) and 0 < len(row_id) <= 100):
        row_id = "sha256:" + hashlib.sha256(body).hexdigest()[:16]
    if type(version) is not int or abs(version) >= 2**63:
        version = 0
    return RefusedRow(row_id, version, reason, body[:ROW_BYTES_MAX])


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
