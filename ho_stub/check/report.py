"""The report: what was found, as JSON for machines and as text for people."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from textwrap import fill
from typing import Any

from ho_stub.check.costs import Cost, costs
from ho_stub.check.guarantees import Holds, weigh
from ho_stub.check.visit import CAPABILITIES, Visit
from ho_stub.check.walk import Result, Walk

SCHEMA = 1
WIDTH = 110

CONFORMS, GAPS, FAILS, UNREACHABLE, SIGN_IN = range(5)
SAID = {
    CONFORMS: "It conforms: the native contract, with no gap in what was checked.",
    GAPS: "It can be used, with gaps: the agent lives with each of them, at the price named above.",
    FAILS: "It fails: stores can't work safely with it. Mend what failed first.",
    UNREACHABLE: "It can't be reached at this address.",
    SIGN_IN: "Nobody could sign in.",
}
MARKS = {"pass": "pass", "gap": "GAP ", "fail": "FAIL", "not checked": "  - "}
# By which checks a capability shows that it works.
SHOWN_BY = {
    "cursor": ("lists.pages", "lists.cursor-form", "cursor."), "sales_batch": ("sales.",),
    "receipts": ("receipts.", "sales.void"), "stock": ("stock.", "change.stock"), "digest": ("digest.",),
    "heartbeat": ("heartbeat.",), "events": ("events.", "change.event"), "gzip_requests": ("sales.gzip",),
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """Everything that was found. `exit_code`: 0 conforms, 1 gaps, 2 fails, 3 unreachable, 4 sign-in refused."""

    url: str
    at: str
    wrote: bool
    native: bool
    results: list[Result]
    abilities: dict[str, tuple[bool, str]]
    guarantees: list[Holds]
    costs: list[Cost]
    left: list[str]
    exit_code: int
    stopped: str

    @property
    def counts(self) -> Mapping[str, int]:
        """How many checks ended how."""
        return Counter(result.finding.verdict for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """The report for machines; docs/conformance.md describes it."""
        return {
            "schema": SCHEMA,
            "url": self.url,
            "at": self.at,
            "wrote": self.wrote,
            "layer": "native" if self.native else "baseline",
            "exit_code": self.exit_code,
            "summary": SAID[self.exit_code],
            "stopped": self.stopped or None,
            "counts": {verdict: self.counts.get(verdict, 0) for verdict in MARKS},
            "capabilities": [
                {"name": name, "announced": announced, "works": works}
                for name, (announced, works) in self.abilities.items()
            ],
            "checks": [_check_json(result) for result in self.results],
            "guarantees": [
                {"name": one.promise.name, "title": one.promise.title, "holds": one.how, "because": list(one.because)}
                for one in self.guarantees
            ],
            "costs": [asdict(cost) for cost in self.costs],
            "left_behind": self.left,
        }


def _check_json(result: Result) -> dict[str, Any]:
    check, finding = result.check, result.finding
    return {
        "id": check.id,
        "group": result.group,
        "section": check.section,
        "what": check.what,
        "verdict": finding.verdict,
        "seen": finding.seen,
        "consequence": check.consequence,
        "remedy": check.remedy,
    }


def make(visit: Visit, walk: Walk, results: list[Result]) -> Report:
    """The report of a visit."""
    announced = visit.announced_so_far
    verdicts = {result.check.id: result.finding.verdict for result in results}
    return Report(
        url=visit.line.url,
        at=datetime.fromtimestamp(visit.began, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        wrote=visit.options.write,
        native=bool(announced),
        results=results,
        abilities={name: (name in announced, _works(name, name in announced, results)) for name in CAPABILITIES},
        guarantees=[] if walk.stopped or visit.options.only else list(weigh(verdicts)),
        costs=costs(visit),
        left=visit.left.sentences,
        exit_code=_exit_code(walk, set(verdicts.values())),
        stopped=walk.stopped,
    )


def _works(name: str, announced: bool, results: list[Result]) -> str:
    """Whether an ability was seen working: 'yes', 'no', 'in part' or 'not checked'."""
    found = [result.finding.verdict for result in results if result.check.id.startswith(SHOWN_BY[name])]
    looked_at = [verdict for verdict in found if verdict != "not checked"]
    if not announced or not looked_at:
        return "not checked" if announced else "no"
    return "no" if "fail" in looked_at else "in part" if "gap" in looked_at else "yes"


def _exit_code(walk: Walk, verdicts: set[str]) -> int:
    if walk.unreachable:
        return UNREACHABLE
    if walk.sign_in_refused:
        return SIGN_IN
    return FAILS if "fail" in verdicts or walk.stopped else GAPS if "gap" in verdicts else CONFORMS


def text(report: Report, *, brief: bool = False) -> str:
    """The report for people; brief: only what isn't well."""
    lines = list(_head(report))
    for title in dict.fromkeys(result.group for result in report.results):
        group = [result for result in report.results if result.group == title]
        wanted = [one for one in group if one.finding.verdict in ("gap", "fail") or not brief]
        if wanted:
            lines += ["", title, *_group(wanted)]
    return "\n".join([*lines, *_tail(report)])


def _group(group: list[Result]) -> Iterator[str]:
    for result in group:
        if result.finding.verdict != "not checked":
            yield from _lines(result)
    left_out: dict[str, list[str]] = {}
    for result in group:
        if result.finding.verdict == "not checked":
            left_out.setdefault(result.finding.seen, []).append(result.check.id)
    for why, ids in left_out.items():
        yield f"  {MARKS['not checked']}  {why}:"
        yield _wrapped(", ".join(ids))


def _head(report: Report) -> Iterator[str]:
    how = "with --write: it sold, and took back what it could" if report.wrote else "read-only"
    yield f"Head office {report.url}, checked {report.at}, {how}"
    yield ""
    yield "What it announces"
    for name, (announced, works) in report.abilities.items():
        state = f"announced; works: {works}" if announced else "not announced"
        yield f"  {name:<14} {state}"


def _lines(result: Result) -> Iterator[str]:
    check, finding = result.check, result.finding
    yield f"  {MARKS[finding.verdict]}  {check.id:<22} {check.what}"
    if finding.verdict in ("gap", "fail"):
        for what, words in (("seen", finding.seen), ("stores", check.consequence), ("remedy", check.remedy)):
            yield _wrapped(f"{what + ':':<8}{words}")
    elif finding.seen:
        yield _wrapped(f"({finding.seen})")


def _wrapped(words: str) -> str:
    return fill(
        words,
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * (16 if words[:8].rstrip().endswith(":") else 8),
        break_on_hyphens=False,
    )


def _tail(report: Report) -> Iterator[str]:
    if report.guarantees:
        yield from ("", "The agent's guarantees with this head office")
        for one in report.guarantees:
            yield f"  {one.promise.name:<4} {one.promise.title:<42} {one.how}"
            if one.how in ("in part", "not"):
                yield _wrapped(one.promise.else_)
                yield _wrapped(f"because of {', '.join(one.because)}")
    if report.costs:
        yield from ("", "What it costs")
        for cost in report.costs:
            yield f"  {cost.what:<36} {cost.bytes:>12,} bytes  {cost.p50_ms:>8,.1f} ms  {cost.requests} requests"
        if report.costs[-1].what == "a till's whole pull":
            much = report.costs[-1].bytes * 30 / 1_000_000
            yield f"  A whole list a day costs a till {much:,.1f} MB a month."
    if report.left:
        yield from ("", "What this check left behind", *(f"  {one}" for one in report.left))
    yield ""
    counts = report.counts
    told = ", ".join(f"{counts.get(verdict, 0)} {word}" for verdict, word in
                     (("pass", "pass"), ("gap", "gaps"), ("fail", "fail"), ("not checked", "not checked")))  # fmt: skip
    yield f"{len(report.results)} checks: {told}."
    if report.stopped:
        yield f"It ended early: {report.stopped}."
    yield f"{SAID[report.exit_code]} (exit code {report.exit_code})"
