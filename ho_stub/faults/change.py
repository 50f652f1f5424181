"""What may be done to an answer's headers and body before it goes out."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from ho_stub.faults.exchange import Answer, Exchange
from ho_stub.faults.table import Value

Change = Callable[[Exchange, Answer, Value | None], Answer]

_NUMBER = re.compile(rb"(?<=[:\[,])\s*-?[0-9]+(\.[0-9]+)?(?=[,}\]])")


def _cached(exchange: Exchange, answer: Answer, _: Value | None) -> Answer:
    target = f"{exchange.request.path}?{exchange.request.scope['query_string'].decode('latin-1')}"
    kept: Answer = exchange.memory.setdefault(target, answer)
    return kept


def _invalid_json(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    return answer.with_body(answer.body[: max(1, len(answer.body) // 2)] if answer.body else b"{")


def _damaged(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    body = bytearray(answer.body or b"{}")
    body[len(body) // 2] ^= 0x5A
    return answer.with_body(bytes(body))


def _nan(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    body, changed = _NUMBER.subn(b"NaN", answer.body, count=1)
    return answer.with_body(body if changed else b'{"version": NaN}')


def _json_list(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    return answer.saying([{"login": "please"}])


def _empty_body(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    return answer.with_body(b"")


def _wrong_type(_: Exchange, answer: Answer, __: Value | None) -> Answer:
    return answer.with_header(b"content-type", b"text/html; charset=utf-8")


def _clock_skew(_: Exchange, answer: Answer, value: Value | None) -> Answer:
    there = datetime.now(UTC) + timedelta(seconds=int(value or 0))
    content = answer.content()
    if "server_time" in content:
        answer = answer.saying(content | {"server_time": there.isoformat().replace("+00:00", "Z")})
    return answer.with_header(b"date", format_datetime(there, usegmt=True).encode())


def _stuck_cursor(exchange: Exchange, answer: Answer, _: Value | None) -> Answer:
    content = answer.content()
    if "next_cursor" not in content:
        return answer
    cursor = exchange.request.parameter("cursor") or exchange.memory.setdefault("first", content["next_cursor"])
    return answer.saying(content | {"next_cursor": cursor, "has_more": True})


def _new_epoch(exchange: Exchange, answer: Answer, _: Value | None) -> Answer:
    epoch = exchange.memory.setdefault("epoch", str(uuid.uuid4()))
    content = answer.content()
    if "epoch" in content:
        answer = answer.saying(content | {"epoch": epoch})
    known = answer.header(b"x-ho-epoch") is not None
    return answer.with_header(b"x-ho-epoch", epoch.encode()) if known else answer


Results = list[dict[str, Any]]


def _results(change: Callable[[Results], Results]) -> Change:
    """Changes the results of a batch of sales; an answer without results passes."""

    def changed(_: Exchange, answer: Answer, __: Value | None) -> Answer:
        content = answer.content()
        found = content.get("results")
        return answer.saying(content | {"results": change(found)}) if isinstance(found, list) else answer

    return changed


def _of_others(results: Results) -> Results:
    return [result | {"external_id": str(uuid.uuid4())} for result in results]


def _next_ones_fingerprint(results: Results) -> Results:
    prints = [result["fingerprint"] for result in results]
    turned = prints[1:] + prints[:1]
    return [
        result | {"fingerprint": other if other != result["fingerprint"] else "0" * 64}
        for result, other in zip(results, turned, strict=True)
    ]


CHANGES: Mapping[str, Change] = {
    "cached_answer": _cached,
    "invalid_json": _invalid_json,
    "damaged": _damaged,
    "nan": _nan,
    "json_list": _json_list,
    "empty_body": _empty_body,
    "wrong_type": _wrong_type,
    "clock_skew": _clock_skew,
    "stuck_cursor": _stuck_cursor,
    "new_epoch": _new_epoch,
    "missing_results": _results(lambda results: results[1::2]),
    "no_results": _results(lambda _: []),
    "duplicated_results": _results(lambda results: results + results),
    "reordered_results": _results(lambda results: results[::-1]),
    "foreign_results": _results(_of_others),
    "wrong_fingerprint": _results(_next_ones_fingerprint),
}
