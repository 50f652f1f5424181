"""What a line, a proxy or a sick head office can do to one exchange, by family."""

from __future__ import annotations

import datetime as dt
import email.utils
import functools
import json
import random
import uuid
import zlib
from collections.abc import Callable
from typing import Any

from tests.wire.middleman import Answer, Exchange, Fault

DRIP_S = 0.05
BOMB_BYTES = 64 * 1024 * 1024
RETRY_AFTER_S = 600
PAGE = b"<!doctype html><title>Guest network</title><form>Please log in</form>"
HTML = {"content-type": "text/html"}


def _fixed(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Fault:
    """Answers this, whatever was asked; head office never hears of it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(exchange: Exchange) -> None:
        exchange.answer(Answer(status, named, content))

    return fault


# ---- the connection ------------------------------------------------------------------------------------------


def reset_before_commit(exchange: Exchange) -> None:
    exchange.reset()


def close_before_commit(exchange: Exchange) -> None:
    exchange.close()


def reset_after_commit(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.reset()


def close_after_commit(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.close()


# ---- answers cut short ---------------------------------------------------------------------------------------


def cut_in_the_status_line(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.say(b"HTTP/1.1 2")
    exchange.close()


def cut_in_the_headers(exchange: Exchange) -> None:
    head = exchange.deliver().head()
    exchange.say(head[: len(head) // 2])
    exchange.close()


def cut_in_the_body(exchange: Exchange) -> None:
    answer = exchange.deliver()
    exchange.say(answer.head(len(answer.body) + 1) + answer.body)
    exchange.close()


def cut_in_a_chunk(exchange: Exchange) -> None:
    answer = exchange.deliver()
    chunk = b"%x\r\n%s\r\n" % (len(answer.body), answer.body) if answer.body else b""
    exchange.say(answer.head(transfer_encoding="chunked") + chunk)
    exchange.close()


def cut_gzip_of_fitting_length(exchange: Exchange) -> None:
    answer = exchange.deliver().as_gzip()
    half = answer.body[: len(answer.body) // 2]
    exchange.say(answer.head(len(half)) + half)


def gzip_without_its_end_mark(exchange: Exchange) -> None:
    answer = exchange.deliver().as_gzip()
    exchange.say(answer.head(len(answer.body) - 8) + answer.body[:-8])


# ---- answers with wrong bytes --------------------------------------------------------------------------------


def garbage_behind_the_answer(exchange: Exchange) -> None:
    exchange.say(exchange.deliver().raw() + b"\x00garbage\r\n\r\n")


def another_answer_behind_the_answer(exchange: Exchange) -> None:
    """A proxy that lost count: what follows is taken for the answer to the next request, if nobody looks."""
    answer = exchange.deliver()
    exchange.say(answer.raw() + answer.raw())


def garbage_inside_the_length(exchange: Exchange) -> None:
    answer = exchange.deliver()
    exchange.say(answer.head(len(answer.body) + 20) + answer.body + b"\x00" * 20)


def damaged_gzip(exchange: Exchange) -> None:
    answer = exchange.deliver().as_gzip()
    middle = len(answer.body) // 2
    damaged = answer.body[:middle] + bytes([answer.body[middle] ^ 0x5A]) + answer.body[middle + 1 :]
    exchange.say(answer.head() + damaged)


def damaged_json(exchange: Exchange) -> None:
    answer = exchange.deliver()
    content = answer if answer.packed or not answer.body else answer.saying(answer.content())
    middle = len(content.body) // 2
    exchange.say(content.head() + content.body[:middle] + b"\x00" + content.body[middle + 1 :])


def no_http_at_all(exchange: Exchange) -> None:
    exchange.say(b"220 mail.example.com ESMTP\r\n")
    exchange.close()


@functools.cache
def _bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    block = b" " * 1024 * 1024
    return b"".join([packer.compress(block) for _ in range(BOMB_BYTES // len(block))] + [packer.flush()])


def gzip_bomb(exchange: Exchange) -> None:
    exchange.answer(Answer(200, {"content-encoding": "gzip", "content-type": "application/json"}, _bomb()))


# ---- slow answers --------------------------------------------------------------------------------------------


def hang(exchange: Exchange) -> None:
    exchange.hang()


def hang_after_commit(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.hang()


def _bytes_of(text: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in text]


def drip_of_the_body(exchange: Exchange) -> None:
    answer = exchange.deliver()
    exchange.say(answer.head(max(len(answer.body), 1) + 10_000))
    exchange.drip(_bytes_of(answer.body.ljust(10_000)), DRIP_S)


def drip_of_the_headers(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.say(b"HTTP/1.1 200 OK\r\nX-Pad: ")
    exchange.drip(_bytes_of(b"x" * 50), DRIP_S)


def continue_without_end(exchange: Exchange) -> None:
    exchange.deliver()
    exchange.drip([b"HTTP/1.1 100 Continue\r\n\r\n"] * 50, DRIP_S)


# ---- answers of others ---------------------------------------------------------------------------------------


def json_nan(exchange: Exchange) -> None:
    exchange.answer(Answer(200, {}, b'{"version": NaN, "created": NaN, "results": NaN, "products": NaN}'))


# ---- refusals ------------------------------------------------------------------------------------------------


def token_expired(exchange: Exchange) -> None:
    """The token ends just now: head office itself answers 401."""
    expired = dict(exchange.request.headers) | {"authorization": "Bearer expired"}
    exchange.answer(exchange.deliver(_with(exchange, headers=expired)))


def too_large_for_many(exchange: Exchange) -> None:
    """413 to every upload of more than one entry."""
    request = exchange.request
    content = request.content() if request.is_upload else {}
    if max(len(content.get("sales", ())), len(content.get("usages", ()))) > 1:
        exchange.answer(Answer(413, HTML, b"<html>Request Entity Too Large</html>"))
    else:
        exchange.answer(exchange.deliver())


def busy_until_a_date(exchange: Exchange) -> None:
    now = dt.datetime.now(dt.UTC)
    later = email.utils.format_datetime(now + dt.timedelta(seconds=RETRY_AFTER_S), usegmt=True)
    headers = {"retry-after": later, "date": email.utils.format_datetime(now, usegmt=True)}
    exchange.answer(Answer(429, headers, b'{"error": "slow down", "code": "RATE_LIMITED"}'))


# ---- repeats -------------------------------------------------------------------------------------------------


def delivered_twice(exchange: Exchange) -> None:
    """The second answer is the one that comes back."""
    exchange.deliver()
    exchange.answer(exchange.deliver())


def delivered_again_after_the_answer(exchange: Exchange) -> None:
    exchange.answer(exchange.deliver())
    if exchange.request.is_upload:
        exchange.deliver(_with(exchange))


def old_upload_delivered_again(exchange: Exchange) -> None:
    """An upload of long ago arrives once more, before this request."""
    if exchange.line.uploads:
        old = exchange.line.uploads[0]
        exchange.deliver(_with(exchange, request=old, headers=old.headers | _signed(exchange)))
    exchange.answer(exchange.deliver())


def uploads_in_reverse(exchange: Exchange) -> None:
    """All uploads so far arrive once more, the newest first."""
    for old in reversed(exchange.line.uploads[-10:]):
        exchange.deliver(_with(exchange, request=old, headers=old.headers | _signed(exchange)))
    exchange.answer(exchange.deliver())


def old_answer_to_a_new_upload(exchange: Exchange) -> None:
    """Head office takes the upload; what the device reads is the answer to an earlier one."""
    old = exchange.line.answers.get(exchange.request.route, [])
    earlier = old[-1] if old and exchange.request.is_upload else None
    answer = exchange.deliver()
    exchange.answer(earlier or answer)


def old_answer_instead_of_delivery(exchange: Exchange) -> None:
    """Sales never reach head office; what the device reads is the answer to earlier ones."""
    old = exchange.line.answers.get(exchange.request.route, [])
    exchange.answer(old[-1] if old and exchange.request.route == "POST sales" else exchange.deliver())


def cached_answer(exchange: Exchange) -> None:
    """A proxy answers downloads from what it remembers of this very address, however old."""
    old = exchange.line.answers.get(exchange.request.target, [])
    exchange.answer(old[0] if old and exchange.request.method == "GET" else exchange.deliver())


def answer_to_another_page(exchange: Exchange) -> None:
    """Downloads are answered with what the same route gave last, whatever page was asked for."""
    old = exchange.line.answers.get(exchange.request.route, [])
    exchange.answer(old[-1] if old and exchange.request.method == "GET" else exchange.deliver())


def _signed(exchange: Exchange) -> dict[str, str]:
    """The sign-in of the present request."""
    return {name: text for name, text in exchange.request.headers.items() if name == "authorization"}


def _with(exchange: Exchange, *, request: Any = None, headers: dict[str, str] | None = None) -> Any:
    import dataclasses

    request = request or exchange.request
    return dataclasses.replace(request, headers=headers or dict(request.headers))


# ---- results that are not true -------------------------------------------------------------------------------


def _results(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Fault:
    """Changes the results of a batch of sales; anything else passes."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.deliver()
        if exchange.request.route == "POST sales" and answer.status == 200 and b"results" in _plain(answer):
            content = answer.content()
            answer = answer.saying(content | {"results": change(content["results"])})
        exchange.answer(answer)

    return fault


def _plain(answer: Answer) -> bytes:
    return json.dumps(answer.content()).encode()


def _of_others(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [result | {"external_id": str(uuid.uuid4())} for result in results]


def _every_other(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return results[1::2]


def _shuffled(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return random.Random(len(results)).sample(results, len(results))


def _next_ones_fingerprint(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    prints = [result["fingerprint"] for result in results]
    return [
        result | {"fingerprint": other if other != result["fingerprint"] else "0" * 64}
        for result, other in zip(results, prints[1:] + prints[:1], strict=True)
    ]


def _named(faults: dict[str, Fault]) -> dict[str, Fault]:
    for name, fault in faults.items():
        fault.__name__ = name
    return faults


def _by_name(*faults: Fault) -> dict[str, Fault]:
    return {fault.__name__: fault for fault in faults}


FAMILIES: dict[str, dict[str, Fault]] = {
    "connection lost": _by_name(reset_before_commit, close_before_commit, reset_after_commit, close_after_commit),
    "answer cut short": _by_name(
        cut_in_the_status_line,
        cut_in_the_headers,
        cut_in_the_body,
        cut_in_a_chunk,
        cut_gzip_of_fitting_length,
        gzip_without_its_end_mark,
    ),
    "answer padded, damaged or blown up": _by_name(
        garbage_behind_the_answer,
        another_answer_behind_the_answer,
        garbage_inside_the_length,
        damaged_gzip,
        damaged_json,
        no_http_at_all,
        gzip_bomb,
    ),
    "slow answer": _by_name(hang, hang_after_commit, drip_of_the_body, drip_of_the_headers, continue_without_end),
    "somebody else answers": _by_name(json_nan)
    | _named(
        {
            "captive_portal": _fixed(200, PAGE, content_type="text/html"),
            "empty_200": _fixed(200),
            "no_content_204": _fixed(204),
            "moved_301": _fixed(301, location="https://elsewhere.example/"),
            "moved_307": _fixed(307, location="/elsewhere/"),
            "json_of_another_form": _fixed(200, b'[{"login": "please"}]'),
            "json_object_of_another_form": _fixed(200, {"login": "please"}),
            "proxy_502": _fixed(502, b"<html>Bad Gateway</html>", content_type="text/html"),
            "proxy_404": _fixed(404, b"<html>Not Found</html>", content_type="text/html"),
            "proxy_403": _fixed(403, b"<html>Blocked</html>", content_type="text/html"),
        }
    ),
    "head office refuses or is busy": _by_name(token_expired, too_large_for_many, busy_until_a_date)
    | _named(
        {
            "sign_in_refused_401": _fixed(401, {"detail": "no"}),
            "forbidden_403": _fixed(403, {"error": "no", "code": "FORBIDDEN"}),
            "out_of_order_500": _fixed(500, {"error": "oops", "code": "INTERNAL_ERROR"}),
            "busy_503": _fixed(503, {"error": "busy"}),
            "busy_429_for_seconds": _fixed(429, {"error": "slow down"}, retry_after=str(RETRY_AFTER_S)),
            "busy_429_garbage": _fixed(429, {"error": "slow down"}, retry_after="soon, perhaps"),
            "busy_429_no_word": _fixed(429, {"error": "slow down"}),
        }
    ),
    "requests and answers repeated or out of order": _by_name(
        delivered_twice,
        delivered_again_after_the_answer,
        old_upload_delivered_again,
        uploads_in_reverse,
        old_answer_to_a_new_upload,
        old_answer_instead_of_delivery,
        cached_answer,
        answer_to_another_page,
    ),
    "results that are not true": _named(
        {
            "results_of_other_sales": _results(_of_others),
            "results_in_other_order": _results(_shuffled),
            "results_twice": _results(lambda results: results + results),
            "every_other_result_missing": _results(_every_other),
            "no_results": _results(lambda results: []),
            "wrong_fingerprints": _results(_next_ones_fingerprint),
            "no_fingerprints": _results(lambda results: [result | {"fingerprint": None} for result in results]),
        }
    ),
}
SLOW = frozenset(FAMILIES["slow answer"])  # each costs a time limit
FAULTS = {name: fault for family in FAMILIES.values() for name, fault in family.items()}
