"""What a hostile head office says: the contract's schema with nonsense in it, and bytes turned over."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from .document import Change, Obj, Text, change, parse, plant, write
from .stage import BREAD, COLA, DATASETS, DEAL, DRINKS, WATER, Answer, Lie, an_id

ROUTES = (*DATASETS, "version", "stock", "sales", "receipts", "digest", "leaves", "token")
NEW, ELSE = an_id(0xBEEF), an_id(0xBEE5)
IDS = (
    COLA,
    WATER,
    BREAD,
    DRINKS,
    DEAL,
    an_id(0x101),
    an_id(0x102),
    an_id(0x201),
    an_id(0x300),
    an_id(0x301),
    NEW,
    ELSE,
)


def nested(levels: int) -> bytes:
    """Lists within lists."""
    return b"[" * levels + b"]" * levels


def said(text: str) -> bytes:
    """A JSON text of these characters, most of them as they are."""
    return ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"').encode("utf-8", "surrogatepass")


_NUMBERS = (
    *(b"0", b"1", b"-1", b"2", b"7.50", b"-0.0", b"0.30000000000000004", b"7500.000000001", b"1e400", b"-1e400"),
    *(b"1e-400", b"1E2", b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"0x10", b"1_000", b"9" * 5_000),
    *(b"1" + b"0" * 400, *(str(n).encode() for n in (2**31, 2**53, 2**63 - 1, 2**63, 2**64, 2**200, -(2**63) - 1))),
)
_WORDS = (
    *(b'""', b'" "', b'"x"', b'"\\u0000"', b'"a\\u0000b"', b'"\\ud800"', b'"\\udc00x"', b'"\xff\xfe"', b'"\xc0\x80"'),
    *(b'"\xed\xa0\x80"', b'"\x01"', b'"\\x"', b'"\\u12"', b'"half', said("\u202eright to left\u200f"), said("🛒🥤")),
    *(
        said("e\u0301" * 60),
        said("x" * 201),
        said("x" * 1_001),
        said("x" * 900_000),
        said("\x1b[2J\x1b[31m"),
        said("%s{}"),
    ),
    *(
        said("7500.00"),
        said("-1.00"),
        said("1.005"),
        said("1e5"),
        said("1,000.00"),
        said("NaN"),
        said("٧"),
        said("1_0"),
    ),
    *(
        said("1e-999999999"),
        said("9" * 400),
        said("0" * 1_000),
        said("12.3400"),
        said("-0"),
        said("true"),
        said("null"),
    ),
)
_MOMENTS = tuple(
    said(text)
    for text in (
        *("2026-01-01", "2026-02-30", "0000-00-00", "9999-12-31", "10000-01-01", "20260101", "2026-W01-1", "soon"),
        *(
            "2026-01-01T00:00:00Z",
            "2026-01-01" + " " * 5_000 + "!",
            "0001-01-01",
            "24:00",
            "25:00",
            "22:00",
            "7",
            "00:00",
        ),
        *("22:00:00.12345678901234567890", "22:00+25:00", "((((a+)+)+)+)+" * 20, "9999-12-31T23:59:59.999999Z"),
        *(
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",
            "2026-01-27T09:11:00",
            "2026-01-27T09:11:00." + "1" * 5_000,
        ),
    )
)
_NAMES = tuple(
    said(text)
    for text in (
        *IDS,
        *(
            COLA.upper(),
            f" {COLA}",
            "../../etc/passwd",
            "Asia",
            "Mars/Olympus",
            "Asia/Tokyo",
            "UTC",
            "\x00",
            "IDR",
            "XXX",
        ),
        *(
            "cursor",
            "digest",
            "created",
            "duplicate",
            "rejected",
            "retry",
            "percentage",
            "INVALID_SALE",
            "RETRY",
            "idr",
        ),
    )
)
_SHAPES = (
    *(b"null", b"true", b"false", b"[]", b"{}", b"[[]]", b"[null]", b"[1]", b'[""]', b'{"":0}', b'{"a":1,"a":2}'),
    *(b'{"error":"\x7f"}', b'{"error":"does not compile"}', b'{"tiers":[]}', b'{"type":7}', b"[0,1,2,3,4,5,6]", b"[7]"),
    *(b"[" + b",".join([b"0"] * 300_000) + b"]", b"[" + b",".join([b'"Monday"'] * 1_000) + b"]", b"[[1,2],[3]]"),
    *(
        b"[[0,0]]",
        b"[[5,3]]",
        b"[[1,1099511627776]]",
        b"[" + b",".join([b"[7,7]"] * 20_000) + b"]",
        b"[true]",
        b"[1.0]",
    ),
    *(nested(20), nested(63), nested(70), nested(500), nested(10_000), b'{"a":' * 70 + b"1" + b"}" * 70),
    *(b'{"start_date":"2026-05-05","end_date":"2026-05-04"}', b'{"time_start":"25:00"}', b'{"days_of_week":"Mon"}'),
    b"[" + b",".join(said(one) for one in IDS) + b"]",
)
_INVENTED = st.one_of(
    st.integers().map(lambda number: str(number).encode()),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: repr(number).encode()),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(said),
)
texts = st.one_of(st.sampled_from(_SHAPES), st.sampled_from(_NUMBERS), st.sampled_from(_WORDS),
                  st.sampled_from(_MOMENTS), st.sampled_from(_NAMES), _INVENTED)  # fmt: skip

CATEGORY = ("id", "company_id", "brand_id", "name", "code", "parent_id", "is_active", "display_order", "image_url")
PRODUCT = (
    *("id", "store_id", "category_id", "name", "sku", "barcode", "price", "cost", "is_active", "is_volatile"),
    *(
        "has_modifiers",
        "reorder_level",
        "description",
        "created_at",
        "updated_at",
        "row_version",
        "allergens",
        "labels",
    ),
)
PROMOTION = (
    *("id", "code", "name", "promo_type", "is_active", "validity", "start_date", "end_date", "time_start", "time_end"),
    *("days_of_week", "scope", "targeting", "rules", "limits", "type", "discount_type", "discount_value", "time_rules"),
    *("products", "compiled_at", "tiers", "row_version", "updated_at"),
)
PAGE = ("deleted_ids", "next_cursor", "has_more", "snapshot", "sync_timestamp", "total", "total_available")
VERSION = (
    *("version", "last_updated", "force_update", "epoch", "capabilities", "datasets", "settings", "store", "count"),
    *(
        "timezone",
        "day_start",
        "currency",
        "sync_interval_hours",
        "auto_sync_enabled",
        "include_inactive",
        "future_days",
    ),
    *("sync_strategy", "past_days", "max_promotions_per_sync", "name", "code", "categories", "products", "promotions"),
)
FIELDS: dict[str, tuple[str, ...]] = {
    "categories": (*CATEGORY, "row_version", "updated_at", *PAGE, "categories"),
    "products": (*PRODUCT, *PAGE, "products"),
    "promotions": (*PROMOTION, *PAGE, "promotions", "store", "settings", "timezone", "currency", "sync_interval_hours"),
    "version": VERSION,
    "stock": ("product_id", "quantity", "reorder_level", *PAGE, "stock", "seen", "contiguous_seq", "beyond"),
    "sales": (
        *("results", "external_id", "fingerprint", "status", "id", "code", "error", "warnings", "products"),
        "contiguous_seq",
    ),
    "receipts": ("contiguous_seq", "highest_seq", "count", "missing", "refused", "total_amount", "usages", "epoch"),
    "digest": ("dataset", "cursor", "count", "leaves"),
    "leaves": (*PRODUCT, "cursor", *DATASETS),
    "token": ("access", "refresh"),
}


def changes(route: str, most: int = 4) -> st.SearchStrategy[list[Change]]:
    """A few changes of an answer of a route."""
    names = st.one_of(st.sampled_from(FIELDS[route]), st.none())
    how = st.sampled_from(("put", "put", "put", "put", "drop", "add", "again", "repeat", "reverse"))
    return st.lists(st.builds(Change, how, names, st.integers(0, 200), texts), min_size=1, max_size=most)


# ---- pages of head office's own making ------------------------------------------------------------------------------

_GOOD: dict[str, st.SearchStrategy[Any]] = {
    "id": st.sampled_from(IDS),
    "name": st.sampled_from(
        ("Tea", "Cola 330 ml", 'Café "Luwak"', "\u0000 NUL", "\u202emirrored", "🛒" * 50, "x" * 1_000)
    ),
    "sku": st.sampled_from((None, "TEA-1", "SKU\u0000", "\u200f", "9" * 200)),
    "barcode": st.sampled_from((None, "5000112546415", "\u0000", "🥤")),
    "price": st.sampled_from((None, "0", "7500.00", "0.01", "999999999999.99")),
    "category_id": st.sampled_from((None, DRINKS, NEW)),
    "parent_id": st.sampled_from((None, DRINKS, NEW, an_id(0x201))),
    "is_active": st.booleans(),
    "is_volatile": st.booleans(),
    "display_order": st.integers(-5, 5),
    "row_version": st.integers(1, 300),
    "updated_at": st.sampled_from(("2026-01-27T09:10:42.123456Z", "2026-11-20T00:00:00Z")),
    "code": st.sampled_from((None, "COLA10", "NEW")),
    "promo_type": st.sampled_from(("percent_discount", "happy_hour", "threshold_tier")),
    "rules": st.sampled_from(({"type": "percent", "discount_percent": "5"}, {"tiers": [{"min": "1", "pct": "5"}]})),
    "validity": st.fixed_dictionaries(
        {
            "start_date": st.sampled_from((None, "2026-01-01")),
            "end_date": st.sampled_from((None, "2026-12-31")),
            "time_start": st.sampled_from((None, "22:00")),
            "time_end": st.sampled_from((None, "02:00", "23:59")),
            "days_of_week": st.lists(st.integers(0, 6), max_size=3),
        }
    ),
    "allergens": st.sampled_from(([], ["nuts"], [["deep", {"er": [1, 2]}]])),
}
_OWN: dict[str, tuple[str, ...]] = {
    "categories": ("id", "name", "parent_id", "is_active", "display_order", "row_version", "updated_at"),
    "products": (
        *("id", "name", "sku", "barcode", "price", "category_id", "is_active", "is_volatile", "row_version"),
        *("updated_at", "allergens"),
    ),
    "promotions": ("id", "code", "name", "promo_type", "is_active", "rules", "validity", "row_version", "updated_at"),
}
_FLAT = st.fixed_dictionaries(
    {
        "discount_type": st.sampled_from(("percentage", "fixed", "points")),
        "discount_value": st.just("5"),
        "start_date": st.sampled_from((None, "2026-01-01")),
        "end_date": st.sampled_from((None, "2026-12-31")),
        "time_rules": st.fixed_dictionaries({"days_of_week": st.lists(st.integers(1, 7), max_size=3)}),
    }
)


def rows(dataset: str) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that keep the contract, of ids that are known, unknown or another's."""
    compiled = st.fixed_dictionaries({field: _GOOD[field] for field in _OWN[dataset]})
    if dataset != "promotions":
        return compiled
    flat = st.fixed_dictionaries({field: _GOOD[field] for field in ("id", "code", "name", "is_active", "row_version")})
    return st.one_of(compiled, st.builds(lambda one, more: one | more, flat, _FLAT))


NEXT, ASKED, ANOTHER = b'"@next"', b'"@asked"', b'"@another"'
_cursors = st.sampled_from(
    (
        *(NEXT, NEXT, NEXT, NEXT, ASKED, ANOTHER, b"null", b'""', b'"garbage"', b'"\\u0000\\n"', said("ü🛒"), b"7"),
        *(said("c" * 3_900), said("{ü🛒}" * 900), said("c" * 5_000), said("c" * 100_000), said("c" * 900_000)),
    )
)


def pages(dataset: str) -> st.SearchStrategy[bytes]:
    """Whole pages: rows from the schema, some spoilt, in an envelope that may be spoilt as well."""
    deleted = st.lists(
        st.one_of(st.sampled_from(IDS), st.sampled_from(("", "x", "\u0000", "%", COLA.upper()))), max_size=4
    )
    envelope = st.fixed_dictionaries(
        {
            dataset: st.lists(rows(dataset), max_size=5),
            "deleted_ids": deleted,
            "next_cursor": _cursors,
            "has_more": st.booleans(),
            "snapshot": st.booleans(),
            "sync_timestamp": st.just("2026-11-21T02:00:00.000001Z"),
            "total": st.integers(-1, 9),
            "total_available": st.sampled_from((0, 3, -7, 2**62)),
        }
    )

    def spoilt(page: dict[str, Any], by: Sequence[Change]) -> bytes:
        tree = plant(page)
        change(tree, by)
        return write(tree)

    return st.builds(spoilt, envelope, st.one_of(st.just([]), changes(dataset)))


# ---- lies -----------------------------------------------------------------------------------------------------------


@dataclass
class Spoil:
    """Changes in head office's own answer."""

    changes: list[Change]

    def __call__(self, route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        if not honest.body.startswith(b"{"):
            return None
        tree = parse(honest.body)
        change(tree, self.changes)
        return Answer(honest.status, honest.headers, write(tree))


@dataclass
class Own:
    """Another page in its place; ``@next`` stands for head office's cursor, ``@asked`` for the till's."""

    page: bytes
    told: int = 0

    def __call__(self, route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        self.told += 1
        cursor = b'"lost"'
        if honest.status == 200 and honest.body.startswith(b"{"):
            found = dict(parse(honest.body).members).get(b'"next_cursor"', Text(cursor))
            cursor = write(found)
        body = self.page.replace(NEXT, cursor).replace(ASKED, said(params.get("cursor", "first")))
        body = body.replace(ANOTHER, said(f"place {self.told}"))
        return Answer(200, honest.headers, body)


@dataclass
class Flip:
    """Bytes turned over, put in or left out; packed first, or packed afterwards."""

    places: list[tuple[int, str, int]]
    packed: str

    def __call__(self, route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        body = gzip.compress(honest.body, 1, mtime=0) if self.packed == "flipped when packed" else honest.body
        spoilt = bytearray(body or b" ")
        for place, how, byte in self.places:
            at = place % (len(spoilt) or 1)
            if how == "flip" and spoilt:
                spoilt[at] ^= 1 << byte % 8
            elif how == "insert":
                spoilt.insert(at, byte)
            elif how == "cut":
                del spoilt[at : at + 1 + byte % 40]
            elif how == "end":
                del spoilt[at:]
        if self.packed == "packed when flipped":
            spoilt = bytearray(gzip.compress(bytes(spoilt), 1, mtime=0))
        headers = honest.headers if self.packed == "plain" else {**honest.headers, "content-encoding": "gzip"}
        return Answer(honest.status, headers, bytes(spoilt))


@dataclass
class LeaveOut:
    """A page without its first row: what a comparison finds later."""

    dataset: str

    def __call__(self, route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        if not honest.body.startswith(b"{"):
            return None
        tree = parse(honest.body)
        for name, value in tree.members:
            if name == json.dumps(self.dataset).encode() and isinstance(value, list):
                del value[:1]
        return Answer(honest.status, honest.headers, write(tree))


@dataclass
class Wrap:
    """Another status, another body, other headers."""

    status: int | None
    headers: dict[str, str]
    body: bytes | None

    def __call__(self, route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        status = honest.status if self.status is None else self.status
        return Answer(status, {**honest.headers, **self.headers}, honest.body if self.body is None else self.body)


_bodies = st.sampled_from(
    (
        *(
            None,
            b"",
            b"{}",
            b"[]",
            b"null",
            b"{",
            b"<html>Welcome</html>",
            b'{"detail": [1, {"a": null}]}',
            b"\xef\xbb\xbf{}",
        ),
        *(b'{"error": ' + nested(500) + b"}", b'{"code": ' + b"9" * 5_000 + b"}", b'{"error": "\xff", "code": "\x00"}'),
        *(
            b'{"error": "no", "code": "INVALID_CURSOR"}',
            b'{"error": "no", "code": "CURSOR_EXPIRED"}',
            b'{"code": {"a": 1}}',
        ),
        *(said("x" * 900_000), b'{"error": ' + said("\x1b[2J" * 1_000) + b"}", b'{"products": 7, "version": 3}'),
    )
)
_headers = st.dictionaries(
    st.sampled_from(
        ("etag", "date", "x-ho-epoch", "retry-after", "allow", "location", "content-encoding", "content-type")
    ),
    st.sampled_from(
        (
            *(
                "",
                "x",
                '"a"',
                "W/",
                "\xe4\xff",
                "9" * 4_000,
                "e" * 9_000,
                "e" * 60_000,
                "-1",
                "1e9",
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            *(
                "Fri, 31 Dec 9999 23:59:59 GMT",
                "Sat, 30 Feb 2026 99:99:99 +9999",
                "0",
                "gzip",
                "GZIP",
                "identity",
                "br",
                "POST",
            ),
        )
    ),
    max_size=2,
)
_flips = st.builds(
    Flip,
    st.lists(
        st.tuples(
            st.integers(0, 10**6), st.sampled_from(("flip", "flip", "insert", "cut", "end")), st.integers(0, 255)
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(("plain", "plain", "packed when flipped", "flipped when packed")),
)
_statuses = st.sampled_from(
    (None, None, None, 200, 204, 206, 304, 400, 401, 403, 404, 405, 410, 413, 418, 422, 429, 500, 503)
)
_wraps = st.builds(Wrap, _statuses, _headers, _bodies)


def lies_about(route: str) -> st.SearchStrategy[Callable[..., Answer | None]]:
    """What may be said in place of an answer of a route."""
    kinds: list[st.SearchStrategy[Any]] = [st.builds(Spoil, changes(route)), _flips, _wraps]
    if route in DATASETS:
        kinds += [st.builds(Own, pages(route)), st.builds(Own, pages(route)), st.builds(Spoil, changes(route))]
    return st.one_of(kinds)


@dataclass
class Told:
    """One lie, told to some of the requests of a route."""

    route: str
    times: int
    says: Callable[..., Answer | None]


def _told(routes: Sequence[str]) -> st.SearchStrategy[Told]:
    return st.sampled_from(routes).flatmap(
        lambda route: st.builds(Told, st.just(route), st.sampled_from((1, 1, 2, 5)), lies_about(route))
    )


def lies(routes: Sequence[str] = ROUTES, most: int = 3) -> st.SearchStrategy[list[Told]]:
    """A few lies for one act."""
    return st.lists(_told(routes), min_size=1, max_size=most).map(_with_what_leads_there)


def _with_what_leads_there(told: list[Told]) -> list[Told]:
    """Leaves are asked for only where digests differ: by a row that was left out before."""
    if any(one.route == "leaves" for one in told):
        return [Told("products", 1, LeaveOut("products")), *told]
    return told


def telling(told: Sequence[Told]) -> Lie:
    """The line's lie: each of these as often as it is told, then the truth."""
    left = [one.times for one in told]

    def lie(route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        kind = "leaves" if "leaves" in params and route in DATASETS else "token" if route == "refresh" else route
        for number, one in enumerate(told):
            if one.route == kind and left[number]:
                left[number] -= 1
                return one.says(route, params, honest)
        return None

    return lie


__all__ = ["Obj", "Told", "lies", "pages", "rows", "telling", "texts"]
