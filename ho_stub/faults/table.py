"""Every fault by name, what it does in a sentence, and at which step of an exchange.

The steps, in their order: `door` (the port itself), `before` (head office is asked), `instead` (of its own answer),
`change` (the answer's headers or body), `send` (how the answer goes out). A `gap` is a gap of a baseline head office.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ho_stub import gaps

Value = int | str
Step = Literal["door", "before", "instead", "change", "send", "gap"]


class FaultError(ValueError):
    """There is no such fault, or it can't be used so; the message says what can."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault. `default`, `unit` and `form` are of its value, if it has one; `fits` says which requests it meets."""

    name: str
    step: Step
    says: str
    default: Value | None = None
    unit: str = ""
    form: str = ".*"
    fits: Literal["all", "cursor", "download", "sales", "upload"] = "all"

    def read(self, value: Value | None) -> Value | None:
        """A value from a test, a plan or the admin route. Raises FaultError."""
        if value is None or value == "":
            return self.default
        if self.default is None:
            raise FaultError(f"{self.name} takes no value.")
        form = self.form if isinstance(self.default, str) else "-?[0-9]{1,9}"
        if isinstance(value, int | str) and not isinstance(value, bool) and re.fullmatch(form, str(value)):
            return str(value) if isinstance(self.default, str) else int(value)
        raise FaultError(f"{self.name}: {value!r} is no such value; {self.default or '…'} would be one ({self.unit}).")


RETRY = "Retry-After: seconds or an HTTP date; empty: none"
GROUPS: Mapping[str, tuple[Kind, ...]] = MappingProxyType({
    "the line": (
        Kind("refuse", "door", "Connections are refused, and those that are open are cut."),
        Kind("reset", "before", "The connection is reset before head office hears of the request."),
        Kind("close", "before", "The connection is closed before head office hears of the request."),
        Kind("hang", "before", "The request is taken, and there is never an answer."),
        Kind("slow", "before", "The answer comes late.", 5, "seconds"),
        Kind("lost_answer", "send", "Head office does what was asked; the connection is reset without an answer."),
        Kind("closed_answer", "send", "The same, and the connection is closed in good order."),
        Kind("hang_after", "send", "Head office does what was asked; there is never an answer."),
        Kind("reset_mid_answer", "send", "The connection is reset in the middle of the answer's body."),
        Kind("cut_headers", "send", "The connection is closed in the middle of the answer's headers."),
        Kind("truncated", "send", "The connection is closed in the middle of the body, short of its length."),
        Kind("truncated_to_fit", "send", "The body is cut short, and its length says that this is all.",
             50, "percent of the body that arrive", "[0-9]{1,2}"),
        Kind("drip", "send", "The answer's body comes byte by byte.", 20, "bytes a second"),
        Kind("sent_twice", "before", "A proxy delivers the request twice; the second answer comes back."),
        Kind("old_upload_again", "before", "An earlier upload arrives once more, before this request.", fits="upload"),
    ),
    "somebody else answers": (
        Kind("captive_portal", "instead", "The network answers 200 with its log-in page."),
        Kind("proxy_page", "instead", "A proxy answers 502 with a page of its own."),
        Kind("redirect", "instead", "301 to another address.", "https://elsewhere.example/", "the address"),
        Kind("cached_answer", "change", "A proxy repeats the first answer of the same address, however old.",
             fits="download"),
        Kind("no_http", "send", "Something that speaks no HTTP answers."),
    ),
    "head office refuses or is busy": (
        Kind("http_400", "instead", "400 INVALID_REQUEST for whatever was asked."),
        Kind("http_401", "instead", "401: the sign-in is not accepted."),
        Kind("http_403", "instead", "403 FORBIDDEN."),
        Kind("http_404", "instead", "404: there is no such route."),
        Kind("http_413", "instead", "413 PAYLOAD_TOO_LARGE for uploads.", 0, "so many entries still pass",
             fits="upload"),
        Kind("http_422", "instead", "422 for whatever was asked."),
        Kind("http_429", "instead", "429 RATE_LIMITED.", "", RETRY),
        Kind("http_500", "instead", "500 INTERNAL_ERROR.", "", RETRY),
        Kind("http_502", "instead", "502 with an empty body.", "", RETRY),
        Kind("http_503", "instead", "503: busy.", "", RETRY),
        Kind("http_504", "instead", "504 with an empty body.", "", RETRY),
        Kind("expired_token", "before", "The request's token ends just now: head office itself answers 401."),
        Kind("expired_refresh", "before", "All tokens of the request's account end just now: it has to sign in again."),
    ),
    "answers that can't be": (
        Kind("invalid_json", "change", "The JSON of the body stops halfway; its length fits."),
        Kind("damaged", "change", "One byte in the middle of the body is another one."),
        Kind("nan", "change", "A number of the body is NaN."),
        Kind("json_list", "change", "The body is JSON of another form: a list."),
        Kind("empty_body", "change", "The body is empty."),
        Kind("wrong_type", "change", "The body is right, and its Content-Type says text/html."),
        Kind("huge_body", "send", "The body is huge.", 100, "MiB"),
        Kind("gzip_bomb", "send", "A small gzip body that unpacks to a huge one.", 300, "MiB"),
        Kind("clock_skew", "change", "Head office's clock is off: in Date and in server_time.", 3600, "seconds"),
    ),
    "the feed": (
        Kind("expired_cursor", "instead", "410 CURSOR_EXPIRED to whoever brings a cursor.", fits="cursor"),
        Kind("invalid_cursor", "instead", "400 INVALID_CURSOR to whoever brings a cursor.", fits="cursor"),
        Kind("stuck_cursor", "change", "A page promises more, and its cursor leads to the same page again.",
             fits="download"),
        Kind("new_epoch", "change", "Answers name another epoch, as if head office had been restored."),
    ),
    "results of sales that are not true": (
        Kind("missing_results", "change", "Every other result is missing.", fits="sales"),
        Kind("no_results", "change", "There are no results.", fits="sales"),
        Kind("duplicated_results", "change", "Every result comes twice.", fits="sales"),
        Kind("reordered_results", "change", "The results come in reverse.", fits="sales"),
        Kind("foreign_results", "change", "The results are of sales that nobody sent.", fits="sales"),
        Kind("wrong_fingerprint", "change", "Fingerprints are those of other bodies.", fits="sales"),
        Kind("retry_results", "instead", "Every sale is answered retry, and none is taken.", fits="sales"),
        Kind("rejected_results", "instead", "Every sale is rejected, and none is kept.", "UNKNOWN_PRODUCT", "the code",
             "[A-Z_]+", fits="sales"),
    ),
    "gaps of a baseline head office": tuple(
        Kind(gap.name, "gap", gap.says, gap.default, gap.unit, gap.form)
        for group in gaps.GROUPS.values() for gap in group if gap.name != "captive_portal"
    ),
})  # fmt: skip
KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for group in GROUPS.values() for kind in group})


def find(name: str) -> Kind:
    """The fault of this name. Raises FaultError, naming the nearest."""
    try:
        return KINDS[name]
    except KeyError:
        raise FaultError(f"There is no fault {name!r}. `ho-stub faults` lists all: {', '.join(KINDS)}.") from None


def listing() -> str:
    """All faults with their sentences, for people."""
    lines = []
    for title, group in GROUPS.items():
        lines.append(f"{title}:")
        for kind in group:
            value = "" if kind.default is None else f"={'…' if kind.default == '' else kind.default}"
            if len(value) > 8:
                value = "=…"
            unit = f" ({kind.unit})" if kind.unit else ""
            lines.append(f"  {kind.name + value:<26}{kind.says}{unit}")
    return "\n".join(lines)
