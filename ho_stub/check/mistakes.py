"""What head office answers to a client's mistakes: 400 with a code, never 500 (section 1)."""

from collections.abc import Iterator
from dataclasses import dataclass

from ho_stub.check.line import Answer
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.visit import Visit

CODES = frozenset({
    "MISSING_STORE_ID", "MISSING_COMPANY_ID", "MISSING_BRAND_ID", "INVALID_ID", "STORE_NOT_FOUND", "COMPANY_NOT_FOUND",
    "BRAND_NOT_FOUND", "INVALID_DATE_FORMAT", "INVALID_REQUEST", "INVALID_CURSOR", "CURSOR_EXPIRED",
    "PAYLOAD_TOO_LARGE", "RATE_LIMITED", "FORBIDDEN", "INTERNAL_ERROR",
})  # fmt: skip
PROBLEM = ("type", "title", "status", "detail")

mistakes = Group("Mistakes of a client")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A route, the parameters that differ from good ones (None: left out), and the code it should get."""

    route: str
    parameters: dict[str, str | None]
    code: str
    needs: str = ""

    @property
    def named(self) -> str:
        """The mistake, for people."""
        told = " ".join(
            f"without {name}" if value is None else f"{name}={value[:24]}" for name, value in self.parameters.items()
        )
        return f"{self.route} {told}"


MISTAKES = (
    Mistake("categories", {"company_id": None}, "MISSING_COMPANY_ID"),
    Mistake("products", {"company_id": None}, "MISSING_COMPANY_ID"),
    Mistake("products", {"brand_id": None}, "MISSING_BRAND_ID"),
    Mistake("promotions", {"store_id": None}, "MISSING_STORE_ID"),
    Mistake("categories", {"company_id": "x"}, "INVALID_ID"),
    Mistake("products", {"brand_id": "12"}, "INVALID_ID"),
    Mistake("promotions", {"store_id": "x" * 300}, "INVALID_ID"),
    Mistake("promotions", {"store_id": "' OR 1=1 --"}, "INVALID_ID"),
    Mistake("products", {"updated_since": "yesterday"}, "INVALID_DATE_FORMAT"),
    Mistake("categories", {"updated_since": "2026-13-45T00:00:00Z"}, "INVALID_DATE_FORMAT"),
    Mistake("products", {"limit": "0"}, "INVALID_REQUEST", "cursor"),
    Mistake("products", {"limit": "-1"}, "INVALID_REQUEST", "cursor"),
    Mistake("products", {"limit": "many"}, "INVALID_REQUEST", "cursor"),
    Mistake("products", {"limit": "5001"}, "INVALID_REQUEST", "cursor"),
    Mistake("products", {"limit": "9" * 40}, "INVALID_REQUEST", "cursor"),
    Mistake("products", {"cursor": "no-cursor"}, "INVALID_CURSOR", "cursor"),
    Mistake("categories", {"cursor": "\u20ac" * 5}, "INVALID_CURSOR", "cursor"),
    Mistake("digest", {"dataset": "customers"}, "INVALID_REQUEST", "digest"),
    Mistake("digest", {"dataset": "products", "leaves": "0"}, "INVALID_REQUEST", "digest"),
    Mistake("digest", {"dataset": "products", "leaves": "257"}, "INVALID_REQUEST", "digest"),
    Mistake("products", {"leaves": "3,300", "leaves_of": "256"}, "INVALID_REQUEST", "digest"),
    Mistake("receipts", {"device_id": "check", "journal_id": "x"}, "INVALID_ID", "receipts"),
    Mistake("receipts", {"device_id": None, "journal_id": None}, "INVALID_REQUEST", "receipts"),
    Mistake("stock", {"store_id": None}, "MISSING_STORE_ID", "stock"),
    Mistake("stock", {"cursor": "no-cursor"}, "INVALID_CURSOR", "stock"),
)


def _made(visit: Visit) -> list[tuple[Mistake, Answer]]:
    """Every mistake with its answer; made once."""
    if "mistakes" not in visit.notes:
        visit.notes["mistakes"] = list(_make(visit))
    found: list[tuple[Mistake, Answer]] = visit.notes["mistakes"]
    return found


def _make(visit: Visit) -> Iterator[tuple[Mistake, Answer]]:
    for one in MISTAKES:
        if one.needs and one.needs not in visit.announced:
            continue
        good = visit.ids
        lacking = [name for name, value in one.parameters.items() if value is None and name not in good]
        if lacking and one.route != "receipts":
            continue  # what we don't have can't be left out
        params = {name: value for name, value in (good | one.parameters).items() if value is not None}
        yield one, visit.get(one.route, params)


@mistakes.check(
    "mistakes.status",
    "1",
    "A malformed request is 400, never 500",
    "A till takes 500 for a fault of head office and tries again for ever; one such request can hold up a lane.",
    "Check parameters before they are used, and answer 400 with a code.",
)
def status(visit: Visit) -> Finding:
    wrong = [f"{one.named}: {answer.status}" for one, answer in _made(visit) if answer.status >= 500]
    return judged(wrong, f"{len(_made(visit))} mistakes")


@mistakes.check(
    "mistakes.noticed",
    "1",
    "A malformed request is refused, not guessed at",
    "A till with a wrong setting gets rows that are not meant for it, or none, and believes it is up to date.",
    "Refuse what is missing or malformed.",
)
def noticed(visit: Visit) -> Finding:
    wrong = [f"{one.named}: {answer.status}" for one, answer in _made(visit) if answer.status < 400]
    odd = [
        f"{one.named}: {answer.status}"
        for one, answer in _made(visit)
        if 400 <= answer.status < 500 and answer.status != 400
    ]
    return judged(wrong + odd)


def _refusals(visit: Visit) -> list[tuple[Mistake, Answer]]:
    return [(one, answer) for one, answer in _made(visit) if answer.status >= 400]


@mistakes.check(
    "mistakes.body",
    "1",
    "Errors are JSON with a sentence in `error`",
    "A till's status can't say what head office objects to.",
    'Answer {"error": "<sentence>", "code": "<CODE>"}.',
)
def body(visit: Visit) -> Finding:
    wrong = []
    for one, answer in _refusals(visit):
        if answer.is_html:
            wrong.append(f"{one.named}: a page for people")
        elif not isinstance(answer.object(answer.status).get("error"), str):
            wrong.append(f"{one.named}: {answer.body[:60].decode(errors='replace')}")
    return judged(wrong, f"{len(_refusals(visit))} errors") if _refusals(visit) else not_checked("nothing was refused")


@mistakes.check(
    "mistakes.codes",
    "1",
    "Errors carry the contract's code",
    "A till goes by status and route alone: it can't tell a wrong store from a wrong date.",
    "Send `code` with each error.",
)
def codes(visit: Visit) -> Finding:
    refusals = [(one, answer) for one, answer in _refusals(visit) if not answer.is_html]
    bare, other = [], []
    for one, answer in refusals:
        code = answer.object(answer.status).get("code")
        if code is None:
            bare.append(f"{one.named}: none")
        elif code != one.code and answer.status < 500:
            other.append(f"{one.named}: {code}, not {one.code}")
    if not refusals:
        return not_checked("nothing was refused with JSON")
    return judged(bare + other, f"{len(refusals)} codes")


@mistakes.check(
    "mistakes.problem",
    "1",
    "Errors are application/problem+json too",
    "Tools that know the standard's form show nothing of the error.",
    "Send type, title, status and detail beside `error` and `code`.",
    needs="native",
)
def problem(visit: Visit) -> Finding:
    wrong = []
    for one, answer in _refusals(visit):
        members = answer.object(answer.status)
        lacking = [name for name in PROBLEM if name not in members]
        if lacking or members["status"] != answer.status:
            wrong.append(f"{one.named}: no {', '.join(lacking) or 'status of its own'}")
        elif "problem+json" not in answer.headers.get("content-type", ""):
            wrong.append(f"{one.named}: {answer.headers.get('content-type')}")
    return judged(wrong)


@mistakes.check(
    "mistakes.method",
    "1",
    "A method that a route doesn't take is 405 with Allow",
    "A till can't find out that downloads go by POST.",
    "Answer 405, with the methods that are taken in Allow.",
)
def method(visit: Visit) -> Finding:
    answer = visit.line.ask("DELETE", "/api/v1/sync/version/")
    if answer.status < 400:
        return failed(f"DELETE is answered {answer.status}")
    if answer.status != 405:
        return gap(f"DELETE is answered {answer.status}")
    return passed() if answer.headers.get("allow") else gap("there is no Allow")
