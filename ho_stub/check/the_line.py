"""The line: does head office itself answer here, over what, when by its clock, and by which methods (section 1)."""

import ipaddress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ho_stub.check.line import NoAnswer, NotTheContract
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.visit import DATASETS, SYNC, Visit

SKEW_S_MAX = 120
SMALL_BYTES = 1_000

line = Group("The line")
methods = Group("Methods, sizes and compression")


@line.check(
    "line.answers",
    "1",
    "Something answers at this address, without sending us elsewhere",
    "Tills sell and keep everything; nothing goes up or comes down.",
    "Give the address that answers by itself: the agent follows no redirect, since it would hand over its token.",
)
def answers(visit: Visit) -> Finding:
    answer = visit.line.ask("GET", "/health/", signed_in=False)
    visit.notes["health"] = answer
    if 300 <= answer.status < 400:
        where = answer.headers.get("location", "nowhere")
        raise NoAnswer("elsewhere", f"{answer.named} answered {answer.status}: head office has moved to {where}")
    if answer.is_html and answer.status < 400:
        page = "with a page for people: a captive portal, or another server"
        raise NoAnswer("elsewhere", f"{answer.named} answered {answer.status} {page}")
    if answer.is_html and answer.status in (502, 503, 504):
        raise NoAnswer("elsewhere", f"a proxy answered {answer.status} with a page of its own")
    return passed(f"{answer.status} after {answer.took_s * 1000:.0f} ms")


@line.check(
    "line.tls",
    "1",
    "The line is encrypted, and the certificate is trusted",
    "Anybody on the way reads passwords, prices and sales, and can change them.",
    "Serve https with a certificate that tills trust; their setting `ca_file` names one of your own.",
)
def tls(visit: Visit) -> Finding:
    parts = urlsplit(visit.line.url)
    if parts.scheme == "https":
        return passed("https, certificate trusted")
    try:
        is_here = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_here = parts.hostname == "localhost"
    return not_checked("this machine's own address") if is_here else gap("plain http")


@line.check(
    "line.health",
    "6",
    "`/health/` answers 200 without a sign-in",
    "A till's doctor can't tell head office being down from a password that is wrong.",
    'Answer GET /health/ with 200 {"status": "ok"}.',
)
def health(visit: Visit) -> Finding:
    answer = visit.notes["health"]
    if answer.status == 200 and not answer.is_html and answer.object().get("status") == "ok":
        return passed()
    return gap(f"it answered {answer.status}")


@line.check(
    "line.date",
    "1",
    "Answers carry the header Date",
    "Tills can't measure how far their clocks are off: sales may stand under the wrong day.",
    "Let the server, or the proxy before it, send Date.",
)
def date_header(visit: Visit) -> Finding:
    answer = visit.notes["health"]
    if answer.date is None:
        return gap(f"Date is {answer.headers.get('date')!r}" if "date" in answer.headers else "there is none")
    return passed()


@line.check(
    "line.clock",
    "1",
    f"Head office's clock and this machine's agree within {SKEW_S_MAX} s",
    "Tills measure their clocks against head office's; a wrong one there puts sales under wrong days everywhere.",
    "Keep both clocks by NTP. Look first which of the two is wrong.",
)
def clock(visit: Visit) -> Finding:
    answer = visit.notes["health"]
    if answer.date is None:
        return not_checked("there is no Date")
    off_s = (answer.date - datetime.fromtimestamp(answer.at, UTC)).total_seconds()
    return passed(f"{off_s:+.0f} s") if abs(off_s) <= SKEW_S_MAX else gap(f"head office is {off_s:+.0f} s off")


@methods.check(
    "line.get",
    "1",
    "Downloads go by GET",
    "Every pull costs one request more until the till has found out; nothing between can keep an answer.",
    "Answer GET with the parameters in the query.",
)
def get(visit: Visit) -> Finding:
    _ = visit.version_answer
    if visit.refused is None:
        return passed()
    return gap(f"{visit.refused.named} answered 405; the same by POST is taken")


@methods.check(
    "line.allow",
    "1",
    "A 405 names the method that is taken in Allow, in capitals",
    "Clients that read the header by the letter don't find the way; the agent reads it in any form.",
    "Send `Allow: POST`.",
)
def allow(visit: Visit) -> Finding:
    if visit.refused is None:
        return not_checked("no download was answered with 405")
    found = visit.refused.headers.get("allow", "")
    names = [name.strip() for name in found.split(",")]
    return passed(found) if all(name.isupper() and name.isalpha() for name in names) else gap(f"Allow: {found}")


@methods.check(
    "line.nowhere",
    "1",
    "A route that isn't there is 404, with JSON",
    "Tills take what answers everything for a captive portal, or an ability for present that is missing.",
    "Answer unknown paths with 404 and the contract's error.",
)
def nowhere(visit: Visit) -> Finding:
    answer = visit.line.ask("GET", f"{SYNC}no-such-route/")
    if answer.status < 400:
        return failed(f"{answer.named} answered {answer.status}")
    if answer.status != 404:
        return gap(f"{answer.named} answered {answer.status}")
    try:
        answer.object(404)
    except NotTheContract as exc:
        return gap(str(exc))
    return passed()


@methods.check(
    "line.gzip",
    "1",
    "Large answers are compressed when the client takes gzip",
    "A whole list costs several times the bytes on a store's line.",
    "Switch gzip on for JSON, in the server or in the proxy before it.",
)
def gzip(visit: Visit) -> Finding:
    if visit.settings().get("enable_compression") is False:
        return not_checked("the company's settings switch compression off")
    large = [answer for answer in visit.line.answers if answer.status == 200 and len(answer.body) >= SMALL_BYTES]
    if not large:
        return not_checked("no answer was large enough")
    plain = [answer.named for answer in large if not answer.headers.get("content-encoding")]
    size, packed = sum(len(answer.body) for answer in large), sum(answer.wire_bytes for answer in large)
    return judged(sorted(set(plain)), f"{size:,} bytes came as {packed:,}", of="sent plain")


@methods.check(
    "line.no-gzip",
    "1",
    "A client that takes no gzip gets none",
    "Clients and proxies without gzip can't read the answer.",
    "Compress only for `Accept-Encoding: gzip`, and send `Vary: Accept-Encoding`.",
)
def no_gzip(visit: Visit) -> Finding:
    answer = visit.get("categories", visit.ids_of("categories"), headers={"Accept-Encoding": "identity"})
    packed = answer.headers.get("content-encoding", "")
    return gap(f"{answer.named} came as {packed}") if packed else passed()


@methods.check(
    "line.type",
    "1",
    "JSON is called JSON in Content-Type",
    "Proxies and clients that go by the header take the answer for a page, and drop it.",
    "Send application/json, and application/problem+json with errors.",
)
def content_type(visit: Visit) -> Finding:
    for dataset in DATASETS:
        visit.whole(dataset)
    named = [(one, one.headers.get("content-type", "")) for one in visit.line.answers if one.body[:1] in (b"{", b"[")]
    return judged(sorted({f"{one.named}: {kind or 'none'}" for one, kind in named if "json" not in kind.lower()}))


@methods.check(
    "line.epoch",
    "8",
    "Every answer carries the epoch as `X-HO-Epoch`",
    "A restore in the middle of a pull goes unnoticed: rows of two lives of the database are mixed.",
    "Send the header with every answer, errors too.",
    needs="native",
)
def epoch(visit: Visit) -> Finding:
    found = visit.version.get("epoch")
    for dataset in DATASETS:
        visit.whole(dataset)
    bare = [answer.named for answer in visit.line.answers if answer.headers.get("x-ho-epoch") != found]
    return judged(sorted(set(bare)), f"{len(visit.line.answers)} answers", of="without it, or with another")


@methods.check(
    "line.retry-after",
    "1",
    "429 and 503 say when to come back, in seconds or as a date",
    "Tills wait as long as they think right: too short for you, or too long for them.",
    "Send Retry-After with both.",
)
def retry_after(visit: Visit) -> Finding:
    asked_to_wait = [answer for answer in visit.line.answers if answer.status in (429, 503)]
    if not asked_to_wait:
        return not_checked("head office never asked us to wait")
    bare = [f"{answer.named}: {answer.status}" for answer in asked_to_wait if "retry-after" not in answer.headers]
    return judged(bare, f"{len(asked_to_wait)} times", of="without Retry-After")
