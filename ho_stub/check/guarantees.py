"""Which of the agent's guarantees hold how far with this head office (docs/guarantees.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ho_stub.check.table import Verdict


@dataclass(frozen=True, slots=True)
class Promise:
    """A guarantee, the checks that it rests on (how their ids begin), and what is left of it where they find gaps."""

    name: str
    title: str
    rests_on: tuple[str, ...]
    else_: str


@dataclass(frozen=True, slots=True)
class Holds:
    """`how`: 'in full', 'in part', 'not', or 'not checked'; `because`: the ids of the checks that found something."""

    promise: Promise
    how: str
    because: tuple[str, ...]


PROMISES = (
    Promise("G1", "A recorded sale is safe", (), ""),
    Promise(
        "G2", "Frozen, in order, without a gap", ("offers.receipts", "receipts.", "sales.fingerprint", "sales.seq"),
        "Sales are kept and sent in order. A journal that was set back isn't noticed by head office's receipts.",
    ),
    Promise(
        "G3", "Delivered only on head office's word",
        ("sales.results", "sales.fingerprint", "single.created", "single.again", "books."),
        "Its word is a 201, or a 200 that names the sale. It carries no fingerprint of what was received.",
    ),
    Promise(
        "G4", "Counted once", ("offers.sales_batch", "sales.again", "sales.mismatch", "single.soon", "single.again",
         "single.once", "single.content", "usage.again"),
        "As good as head office's own check of `external_id`: a sale that is sent again may be looked up first.",
    ),
    Promise(
        "G5", "A place in the feed moves with its rows",
        ("offers.cursor", "cursor.", "deltas.", "times.", "change.delta", "lists.sync-timestamp"),
        "By time, with an overlap for what is committed late; whole lists mend the rest.",
    ),
    Promise("G6", "A page twice is a page once", ("cursor.same-place", "lists.no-id-twice"), "Row by row."),
    Promise(
        "G7", "One bad record blocks nothing", ("sales.one-bad", "sales.codes", "mistakes.status", "single.mistakes"),
        "A 500 for a mistake is tried again for long before the sale is set apart.",
    ),
    Promise(
        "G8", "Exact money", ("rows.money", "rows.noise", "sales.rounding", "sales.total", "single.total"),
        "The agent reads floats as the decimals that were meant, and sends none.",
    ),
    Promise("G9", "Recording and reading never wait", (), ""),
    Promise(
        "G10", "Everything agrees in the end",
        ("offers.cursor", "offers.digest", "offers.receipts", "offers.sales_batch", "lists.", "digest.", "change."),
        "New and edited rows come; what is gone goes with the daily whole list. Refunds and voids stay on the till. "
        "What is left out of a list is not there, and said to be.",
    ),
    Promise("G11", "Nothing is silent", (), ""),
)  # fmt: skip


def weigh(verdicts: Mapping[str, Verdict]) -> Sequence[Holds]:
    """How far each guarantee holds, by the verdicts of all checks."""
    return [_holds(promise, verdicts) for promise in PROMISES]


def _holds(promise: Promise, verdicts: Mapping[str, Verdict]) -> Holds:
    looked_at = {name: verdict for name, verdict in verdicts.items() if name.startswith(promise.rests_on)}
    because = tuple(name for name, verdict in looked_at.items() if verdict in ("gap", "fail"))
    if not promise.rests_on:
        return Holds(promise, "in full", ())
    if "fail" in looked_at.values():
        return Holds(promise, "not", because)
    if because:
        return Holds(promise, "in part", because)
    return Holds(promise, "in full" if "pass" in looked_at.values() else "not checked", ())
