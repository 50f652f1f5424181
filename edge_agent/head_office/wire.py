"""The envelopes of the wire contract as values: the only file that knows their JSON keys.

The keys of rows stand in ``domain/catalog.py`` and ``domain/promotion.py``, those of frozen bodies in
``domain/sale.py`` and ``domain/usage.py``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from edge_agent.domain.calendar import zone
from edge_agent.domain.catalog import DATASETS
from edge_agent.domain.hours import read_windows
from edge_agent.errors import ContractBroken, Unreachable

CURSOR = "cursor"
SALES_BATCH = "sales_batch"
RECEIPTS = "receipts"
STOCK = "stock"
DIGEST = "digest"
HEARTBEAT = "heartbeat"
EVENTS = "events"
GZIP_REQUESTS = "gzip_requests"


T = TypeVar("T")

# What head office may send. A page's limit is the setting answer_bytes_max; those of rows stand in domain/catalog.py.
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # an answer that is no download
TOKEN_LENGTH_MAX = 8_000  # it goes into a header
TEXT_LENGTH_MAX = 200  # an epoch, a version, a store's name
SAID_LENGTH_MAX = 500  # of a sentence or code about one entry
NAMES_MAX = 200  # of capabilities, or of datasets
BEYOND_MAX = 10_000  # stretches of sales that stock figures contain out of order
_DENSE_FROM_BYTES = 2 * 1024 * 1024
_DENSE_BYTES = 16  # a larger answer has more bytes to a comma, on average; nonsense has two
_ROW_BYTES_MIN, _FIGURE_BYTES_MIN, _ID_BYTES_MIN = 100, 60, 30  # of a row, a stock figure and an id, on average
_ROWS_ANYWAY = 5_000  # so many are looked at one by one, whatever they are

Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)]
Token = Annotated[str, msgspec.Meta(max_length=TOKEN_LENGTH_MAX)]
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class DatasetVersion(msgspec.Struct, frozen=True):
    """A dataset's version and live rows (contract, section 3)."""

    version: Number | Text | None = None
    count: Number | None = None


class SyncSettings(msgspec.Struct, frozen=True):
    """The part of head office's settings the agent follows (contract, section 7).

    What is none of the contract's values counts as not told: the last good one stays, and nothing else is lost by it.
    """

    auto_sync_enabled: Any = None  # bool
    sync_interval_hours: Any = None  # float, 1 to 24
    sync_strategy: Any = None  # str
    future_days: Any = None  # int, 0 to 90
    past_days: Any = None  # int, 0 to 30
    include_inactive: Any = None  # bool
    max_promotions_per_sync: Any = None  # int, 10 to 500
    timezone: Any = None  # str, of a zone this device knows
    sync_windows: Any = None  # list of times of day, see domain/hours.py

    def __post_init__(self) -> None:
        _keep_what_is_good(self, _SETTINGS)


class Store(msgspec.Struct, frozen=True):
    """The store as head office knows it; what can't be read of it counts as not told."""

    id: Any = None  # str, like the others
    code: Any = None
    name: Any = None
    timezone: Any = None  # of a zone this device knows
    day_start: Any = None  # HH:MM
    currency: Any = None

    def __post_init__(self) -> None:
        _keep_what_is_good(self, _STORE)


def _keep_what_is_good(told: msgspec.Struct, readers: Mapping[str, Callable[[Any], Any]]) -> None:
    for name, read in readers.items():
        value = getattr(told, name)
        if value is not None:
            msgspec.structs.force_setattr(told, name, read(value))


def _flag(value: Any) -> bool | None:
    return bool(value) if value in (True, False) else None


def _within(low: float, high: float, kind: type[int] | type[float]) -> Callable[[Any], float | None]:
    """A reader of numbers, from a number or its digits."""

    def read(value: Any) -> float | None:
        if isinstance(value, bool):
            return None
        try:
            number: float = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            return None
        return number if low <= number <= high else None

    return read


def _name(value: Any) -> str | None:
    """Text that fits on a line."""
    fits = isinstance(value, str) and len(value) <= TEXT_LENGTH_MAX and value.isprintable()
    return value if fits else None


def _zone_name(value: Any) -> str | None:
    name = _name(value)
    return name if name and zone(name) is not dt.UTC else None


def _time_of_day(value: Any) -> str | None:
    with contextlib.suppress(ValueError, TypeError):
        dt.time.fromisoformat(value)
        return _name(value)
    return None


_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "auto_sync_enabled": _flag,
    "sync_interval_hours": _within(1, 24, float),
    "sync_strategy": _name,
    "future_days": _within(0, 90, int),
    "past_days": _within(0, 30, int),
    "include_inactive": _flag,
    "max_promotions_per_sync": _within(10, 500, int),
    "timezone": _zone_name,
    "sync_windows": read_windows,
}
_STORE: dict[str, Callable[[Any], Any]] = {
    "id": _name,
    "code": _name,
    "name": _name,
    "timezone": _zone_name,
    "day_start": _time_of_day,
    "currency": _name,
}


def _short(value: Any) -> str | None:
    """A number or text as text; None for anything else."""
    is_told = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value)[:TEXT_LENGTH_MAX] if is_told else None


def _count(value: Any) -> int | None:
    return None if isinstance(value, bool) else _whole(value)


def _words(value: Any) -> frozenset[str] | None:
    if not isinstance(value, list):
        return None
    return frozenset(one for one in value[:NAMES_MAX] if isinstance(one, str) and len(one) <= TEXT_LENGTH_MAX)


def _versions(value: Any) -> dict[str, DatasetVersion] | None:
    """The versions of the datasets we know; another one, of whatever form, is a later head office's business."""
    if not isinstance(value, dict):
        return None
    found: dict[str, DatasetVersion] = {}
    for name in DATASETS:
        told = value.get(name)
        if isinstance(told, dict):
            found[name] = DatasetVersion(_short(told.get("version")), _count(told.get("count")))
        elif _short(told) is not None:
            found[name] = DatasetVersion(_short(told))
    return found


def _one_version(value: Any) -> str | int | float | None:
    """A number as it is; a text, or a number that is longer than any, cut."""
    return value if isinstance(value, (int, float)) and abs(value) < 2**63 else _short(value)


def _cursor_text(value: Any) -> str:
    """A cursor is opaque: a number is one as well."""
    if isinstance(value, str) or type(value) is int:
        return str(value)
    raise ValueError("next_cursor is no text")


def _clear_flag(value: Any) -> bool:
    if value in (True, False):
        return bool(value)
    raise ValueError("has_more or snapshot is neither true nor false")


def _told(kind: type[T]) -> Callable[[Any], T | None]:
    """A reader of an object; what is none counts as not told."""

    def read(value: Any) -> T | None:
        return msgspec.convert(value, kind) if isinstance(value, dict) else None

    return read


_VERSION: dict[str, Callable[[Any], Any]] = {
    "version": _one_version,
    "last_updated": _short,
    "force_update": lambda value: value is True or value == 1,
    "epoch": _short,
    "capabilities": _words,
    "datasets": _versions,
    "settings": _told(SyncSettings),
    "store": _told(Store),
}
_TURN: dict[str, Callable[[Any], Any]] = {
    "next_cursor": _cursor_text,
    "has_more": _clear_flag,
    "snapshot": _clear_flag,
}
_PAGE: dict[str, Callable[[Any], Any]] = _TURN | {
    "sync_timestamp": lambda value: value if isinstance(value, str) and len(value) <= TEXT_LENGTH_MAX else None,
    "total": _count,
    "total_available": _count,
    "settings": _told(SyncSettings),
    "store": _told(Store),
}


class Version(msgspec.Struct, frozen=True):
    """The version answer (contract, section 3). A baseline head office gives the first three alone.

    ``version`` must be there: some other JSON that answers with 200 is not taken for a baseline head office.
    """

    version: Any  # a number or a text: equality decides
    last_updated: Any = None  # str
    force_update: Any = False  # bool
    epoch: Any = None  # str
    capabilities: Any = None  # frozenset[str]
    datasets: Any = None  # dict[str, DatasetVersion]
    settings: Any = None  # SyncSettings
    store: Any = None  # Store

    def __post_init__(self) -> None:
        if isinstance(self.version, (bool, list, dict)):
            raise ValueError("version is neither a number nor text")
        _keep_what_is_good(self, _VERSION)

    @property
    def profile(self) -> str:
        """``native`` when head office announces commit-ordered cursors, else ``baseline``; never guessed otherwise."""
        return "native" if CURSOR in (self.capabilities or ()) else "baseline"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a download (contract, section 4), its rows still undecoded."""

    rows: list[msgspec.Raw]
    deleted_ids: list[str] | None = None
    next_cursor: Any = None  # str
    has_more: Any = False  # bool
    snapshot: Any = None  # bool; None: not said
    sync_timestamp: Any = None  # str
    total: Any = None  # int
    total_available: Any = None  # int
    store: Any = None  # Store; promotions alone give it, and the settings
    settings: Any = None  # SyncSettings

    def __post_init__(self) -> None:
        _keep_what_is_good(self, _PAGE)
        msgspec.structs.force_setattr(self, "has_more", bool(self.has_more))


class Seen(msgspec.Struct, frozen=True):
    """Which sales of this journal the stock figures contain (contract, section 4: stock)."""

    contiguous_seq: Seq = 0
    beyond: Annotated[list[tuple[Seq, Seq]], msgspec.Meta(max_length=BEYOND_MAX)] = []


class StockRow(msgspec.Struct, frozen=True):
    """Head office's figure of one product."""

    product_id: str
    quantity: str | int | float
    reorder_level: str | int | float | None = None


class StockPage(msgspec.Struct, frozen=True):
    """One page of the stock feed."""

    stock: list[msgspec.Raw]
    deleted_ids: list[str] | None = None
    next_cursor: Any = None  # str
    has_more: Any = False  # bool
    snapshot: Any = None  # bool; None: not said
    seen: Seen | None = None

    def __post_init__(self) -> None:
        _keep_what_is_good(self, _TURN)
        msgspec.structs.force_setattr(self, "has_more", bool(self.has_more))


class SaleResult(msgspec.Struct, frozen=True):
    """Head office's word about one sale (contract, section 5)."""

    external_id: str
    status: str
    fingerprint: str | None = None
    id: str | None = None
    code: str | None = None
    error: str | None = None
    warnings: list[Any] = []


class SalesAnswer(msgspec.Struct, frozen=True):
    """The answer to a batch of sales."""

    results: list[SaleResult]
    contiguous_seq: int | None = None


class _Result(msgspec.Struct):
    external_id: str
    status: str
    fingerprint: Any = None
    id: Any = None
    code: Any = None
    error: Any = None
    warnings: Any = None


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]
    contiguous_seq: Any = None


class UsageError(msgspec.Struct, frozen=True):
    """Head office's refusal of one usage. A baseline head office names it by ``data`` alone."""

    index: int | None = None
    external_id: str | None = None
    data: Any = None
    error: str | None = None
    code: str | None = None


class UsagesAnswer(msgspec.Struct, frozen=True):
    """The answer to a batch of usages; None where it gives no number."""

    created: int | None = None
    duplicates: int | None = None
    errors: list[UsageError] | None = None
    total: int | None = None


class _UsageError(msgspec.Struct):
    index: Any = None
    external_id: Any = None
    data: Any = None
    error: Any = None
    code: Any = None


class _Usages(msgspec.Struct):
    created: Any = None
    duplicates: Any = None
    errors: list[_UsageError] | None = None
    total: Any = None


def sales_answer(body: bytes) -> SalesAnswer:
    """The answer to a batch of sales. Each result is read by itself: one that is malformed spoils no other (G7)."""
    envelope = decode(body, _Results)
    results = []
    for raw in envelope.results:
        with contextlib.suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
            said = msgspec.json.decode(raw, type=_Result)
            warnings = said.warnings if isinstance(said.warnings, list) else [said.warnings]
            results.append(
                SaleResult(
                    said.external_id,
                    said.status,
                    fingerprint=_text(said.fingerprint),
                    id=_text(said.id),
                    code=_text(said.code),
                    error=_text(said.error),
                    warnings=[warning for warning in warnings if warning is not None],
                )
            )
    return SalesAnswer(results, _whole(envelope.contiguous_seq))


def usages_answer(body: bytes) -> UsagesAnswer:
    """The answer to a batch of usages, in whatever types its numbers and words come."""
    said = decode(body, _Usages)
    errors = None
    if said.errors is not None:
        errors = [
            UsageError(_whole(one.index), _text(one.external_id), one.data, _text(one.error), _text(one.code))
            for one in said.errors
        ]
    return UsagesAnswer(_whole(said.created), _whole(said.duplicates), errors, _whole(said.total))


def _text(value: Any) -> str | None:
    """Words as text, whatever JSON they came as, and no more of them than anyone reads."""
    if value is None:
        return None
    try:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except RecursionError:
        text = "nested too deeply to be shown"
    return text[:SAID_LENGTH_MAX]


def _whole(value: Any) -> int | None:
    """A whole number from a number or its digits; None for anything else."""
    try:
        return msgspec.convert(value, Number, strict=False)
    except msgspec.ValidationError:
        return None


class SingleSale(msgspec.Struct, frozen=True):
    """A baseline head office's answer to one sale; the rest of it varies."""

    id: str | int | None = None
    external_id: str | None = None


class SalesFound(msgspec.Struct, frozen=True):
    """Head office's list of sales, as far as looking one up needs it."""

    results: list[dict[str, Any]]


class Receipts(msgspec.Struct, frozen=True):
    """What head office holds of a journal (contract, section 6)."""

    contiguous_seq: Seq
    highest_seq: Seq
    count: Count
    total_amount: Text
    missing: list[tuple[Seq, Seq]] = []
    refused: list[Seq] = []
    usages: Count = 0
    epoch: Text | None = None


class Digest(msgspec.Struct, frozen=True):
    """Head office's digest of a dataset at a cursor (contract, section 6)."""

    cursor: str
    count: Count
    leaves: list[Text]


class Leaves(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of some leaves, still undecoded, and where head office stands (contract, section 6)."""

    rows: list[msgspec.Raw]
    cursor: str


class Tokens(msgspec.Struct, frozen=True):
    """A sign-in's tokens (contract, section 2); opaque."""

    access: Token
    refresh: Token | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """An error's body; a baseline head office may give any part of it, or none."""

    error: Any = None
    code: Any = None
    detail: Any = None


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes, kind: type[T]) -> T:
    """An answer's body as a value.

    Raises:
        Unreachable: ``not_contract``: not JSON, or not an object: a captive portal or a proxy answered.
        ContractBroken: JSON of another form than the contract's.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    if body.lstrip()[:1] != b"{":
        raise Unreachable(
            "something other than head office answered (a log-in page of the network, or a proxy)",
            reason="not_contract",
            hint="Open a web page on this device: the network may want a log-in. Everything is kept meanwhile.",
        )
    is_download = issubclass(kind, (Page, StockPage, Leaves))
    if len(body) > ANSWER_BYTES_MAX and not is_download:
        raise _broken(f"is larger than {ANSWER_BYTES_MAX} bytes")
    if len(body) > _DENSE_FROM_BYTES and body.count(b",") * _DENSE_BYTES > len(body):
        raise _broken("holds more values than any list of rows of its size")
    try:
        value: T = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _broken(f"is not as agreed: {error}") from None
    except RecursionError:
        raise _broken("is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"head office's answer is not JSON: {error}", reason="not_contract") from None
    if isinstance(value, StockPage):
        _require_plausible(len(value.stock), _FIGURE_BYTES_MIN, len(body))
    elif isinstance(value, (Page, Leaves)):
        _require_plausible(len(value.rows), _ROW_BYTES_MIN, len(body))
    if isinstance(value, (StockPage, Page)):
        _require_plausible(len(value.deleted_ids or ()), _ID_BYTES_MIN, len(body))
    return value


def _require_plausible(rows: int, row_bytes_min: int, size: int) -> None:
    if rows > _ROWS_ANYWAY and rows * row_bytes_min > size:
        raise _broken(f"has {rows:,} rows or ids in {size:,} bytes")


def _broken(how: str) -> ContractBroken:
    return ContractBroken(f"head office's answer {how}", hint="Tell head office; selling goes on.")


class _CategoriesPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="categories")


class _ProductsPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="products")


class _PromotionsPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="promotions")


class _CategoriesLeaves(Leaves, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="categories")


class _ProductsLeaves(Leaves, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="products")


class _PromotionsLeaves(Leaves, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="promotions")


LEAVES_TYPES: dict[str, type[Leaves]] = {
    "categories": _CategoriesLeaves,
    "products": _ProductsLeaves,
    "promotions": _PromotionsLeaves,
}
PAGE_TYPES: dict[str, type[Page]] = {
    "categories": _CategoriesPage,
    "products": _ProductsPage,
    "promotions": _PromotionsPage,
}


def sales_request(device_id: str, clock_offset_ms: int, bodies: Sequence[bytes]) -> bytes:
    """A batch of sales: the frozen bytes joined, never encoded again (G2)."""
    head = msgspec.json.encode({"device_id": device_id, "clock_offset_ms": clock_offset_ms})
    return head[:-1] + b',"sales":[' + b",".join(bodies) + b"]}"


def usages_request(bodies: Sequence[bytes]) -> bytes:
    """A batch of usages: the frozen bytes joined."""
    return b'{"usages":[' + b",".join(bodies) + b"]}"
