"""The envelopes of the wire contract as values: the only file that knows their JSON keys.

The keys of rows stand in ``domain/catalog.py`` and ``domain/promotion.py``, those of frozen bodies in
``domain/sale.py`` and ``domain/usage.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from edge_agent.errors import ContractBroken, Unreachable

CURSOR = "cursor"
SALES_BATCH = "sales_batch"
RECEIPTS = "receipts"
STOCK = "stock"
DIGEST = "digest"
GZIP_REQUESTS = "gzip_requests"


Seq = Annotated[int, msgspec.Meta(ge=0, lt=2**40)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class DatasetVersion(msgspec.Struct, frozen=True):
    """A dataset's version and live rows (contract, section 3)."""

    version: int | str | None = None
    count: int | None = None


class SyncSettings(msgspec.Struct, frozen=True):
    """The part of head office's settings the agent follows (contract, section 7)."""

    auto_sync_enabled: bool | None = None
    sync_interval_hours: float | None = None
    sync_strategy: str | None = None
    future_days: int | None = None
    past_days: int | None = None
    include_inactive: bool | None = None
    timezone: str | None = None


class Store(msgspec.Struct, frozen=True):
    """The store as head office knows it."""

    id: str | None = None
    code: str | None = None
    name: str | None = None
    timezone: str | None = None
    day_start: str | None = None
    currency: str | None = None


class Version(msgspec.Struct, frozen=True):
    """The version answer (contract, section 3). A baseline head office gives the first three alone.

    ``version`` must be there: some other JSON that answers with 200 is not taken for a baseline head office.
    """

    version: int | float | str | None
    last_updated: str | None = None
    force_update: bool = False
    epoch: str | None = None
    capabilities: frozenset[str] | None = None
    datasets: dict[str, DatasetVersion] | None = None
    settings: SyncSettings | None = None
    store: Store | None = None

    @property
    def profile(self) -> str:
        """``native`` when head office announces commit-ordered cursors, else ``baseline``; never guessed otherwise."""
        return "native" if CURSOR in (self.capabilities or ()) else "baseline"


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a download (contract, section 4), its rows still undecoded."""

    rows: list[msgspec.Raw]
    deleted_ids: list[str] | None = None
    next_cursor: str | None = None
    has_more: bool = False
    snapshot: bool = False
    sync_timestamp: str | None = None
    total: int | None = None
    total_available: int | None = None
    store: Store | None = None  # promotions alone give it, and the settings
    settings: SyncSettings | None = None


class Seen(msgspec.Struct, frozen=True):
    """Which sales of this journal the stock figures contain (contract, section 4: stock)."""

    contiguous_seq: Seq = 0
    beyond: list[tuple[Seq, Seq]] = []


class StockRow(msgspec.Struct, frozen=True):
    """Head office's figure of one product."""

    product_id: str
    quantity: str | int | float
    reorder_level: str | int | float | None = None


class StockPage(msgspec.Struct, frozen=True):
    """One page of the stock feed."""

    stock: list[msgspec.Raw]
    deleted_ids: list[str] | None = None
    next_cursor: str | None = None
    has_more: bool = False
    snapshot: bool = False
    seen: Seen | None = None


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
        with contextlib.suppress(msgspec.MsgspecError):
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
    """Words as text, whatever JSON they came as."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _whole(value: Any) -> int | None:
    """A whole number from a number or its digits; None for anything else."""
    try:
        return msgspec.convert(value, int, strict=False)
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
    total_amount: str
    missing: list[tuple[Seq, Seq]] = []
    refused: list[Seq] = []
    usages: Count = 0
    epoch: str | None = None


class Digest(msgspec.Struct, frozen=True):
    """Head office's digest of a dataset at a cursor (contract, section 6)."""

    cursor: str
    count: int
    leaves: list[str]


class Tokens(msgspec.Struct, frozen=True):
    """A sign-in's tokens (contract, section 2); opaque."""

    access: str
    refresh: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """An error's body; a baseline head office may give any part of it, or none."""

    error: Any = None
    code: Any = None
    detail: Any = None


T = TypeVar("T")
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
    try:
        value: T = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise ContractBroken(
            f"head office's answer is not as agreed: {error}", hint="Tell head office; selling goes on."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(f"head office's answer is not JSON: {error}", reason="not_contract") from None
    return value


class _CategoriesPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="categories")


class _ProductsPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="products")


class _PromotionsPage(Page, frozen=True, kw_only=True):
    rows: list[msgspec.Raw] = msgspec.field(name="promotions")


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
