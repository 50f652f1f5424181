"""What can be wrong with a catalogue and its device, as a closed table, and how healthy a catalogue is.

A finding says what is wrong with what, how bad that is, and what people can do about it. ``error``: the till sells
wrongly or lacks something until a person acts; ``warning``: it copes, and someone should look; ``note``: good to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# What findings are about.
SUBJECTS = ("categories", "products", "promotions", "stock", "catalogue", "outbox", "device")
LISTED_MAX = 100
OTHERS_MAX = 20

STALE_INTERVALS = 2
STALE_MIN_S = 24 * 3600.0
WAITING_LONG_S = 24 * 3600.0
CLOCK_SKEW_MS = 60_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Args:
        name: a few plain words; what programs compare.
        severity: how bad it is.
        sentence: what a person reads of it.
        recommendation: what to do about it.
        of_rows: whether it is about rows of the catalogue; those that are no notes count in the health score.
    """

    name: str
    severity: Severity
    sentence: str
    recommendation: str
    of_rows: bool = True


_ALL = (
    Kind(
        "refused row",
        "error",
        "Head office sent a row that can't be used; the last good one stays in use",
        "Tell head office to mend the row; the next sync brings it.",
    ),
    Kind(
        "duplicate barcode",
        "error",
        "Several active products have this barcode; the till sells the first",
        "Give each its own barcode at head office, or switch the wrong one off.",
    ),
    Kind(
        "duplicate SKU",
        "warning",
        "Several active products have this SKU; the first one is found",
        "Give each its own SKU at head office, or switch the wrong one off.",
    ),
    Kind(
        "no price",
        "warning",
        "The product has no price; the till must ask",
        "Give it a price at head office, or switch it off.",
    ),
    Kind(
        "missing category",
        "warning",
        "The product's category is not here",
        "Give it a category that this store gets.",
    ),
    Kind(
        "orphan category",
        "warning",
        "The category above it is not here; it stands at the top",
        "Put it below a category that this store gets, or at the top.",
    ),
    Kind(
        "category in a circle",
        "warning",
        "The category is above itself; it stands at the top",
        "Put it below another category at head office.",
    ),
    Kind(
        "scope names missing",
        "warning",
        "The promotion names what is not here",
        "Take it out of the promotion, or send it to this store.",
    ),
    Kind(
        "promotion can't apply",
        "warning",
        "The promotion can never apply here",
        "Mend or end it at head office.",
    ),
    Kind(
        "promotion over",
        "note",
        "The promotion applies no more",
        "Nothing: head office takes it away.",
    ),
    Kind(
        "inactive duplicate",
        "note",
        "Inactive products share its barcode or SKU; the active one is sold",
        "Nothing, or clear the code of the inactive one.",
    ),
    Kind(
        "stale catalogue",
        "error",
        "Prices are older than they should be",
        "Look at the line to head office: edge-agent status.",
        of_rows=False,
    ),
    Kind(
        "incomplete list",
        "error",
        "Head office cut the list short; rows are missing here",
        "Have head office send more at once, or fewer rows to this store.",
        of_rows=False,
    ),
    Kind(
        "held sweep",
        "error",
        "Head office lists far less than is here; nothing was deleted",
        "If head office is right: edge-agent sync --accept-sweep.",
        of_rows=False,
    ),
    Kind(
        "quarantined",
        "error",
        "Head office refused it; it is kept here",
        "Have head office mend the cause, then edge-agent outbox retry.",
        of_rows=False,
    ),
    Kind(
        "stalled",
        "error",
        "It does not move although head office answers",
        "Tell head office the cause; edge-agent status says what is tried.",
        of_rows=False,
    ),
    Kind(
        "waiting long",
        "warning",
        "Entries wait for head office for a long time; they are safe here",
        "Look at the line and the sign-in: edge-agent status.",
        of_rows=False,
    ),
    Kind(
        "clock skew",
        "warning",
        "This device's clock differs from head office's",
        "Set the clock right. Windows: Settings, Date & time, Set time automatically, or w32tm /resync. "
        "Linux: timedatectl set-ntp true.",
        of_rows=False,
    ),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}
_PLACE = {name: place for place, name in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: one of ``KINDS``.
        dataset: whose row or entry it is, one of ``SUBJECTS``.
        id: the row's or entry's id; for duplicates that of the product that wins.
        severity: ``error``, ``warning`` or ``note``.
        recommendation: what to do about it.
        name: what the row is called.
        detail: what exactly is wrong, in plain words.
        others: for duplicates the ids of those that lose, best first, at most 20.
    """

    kind: str
    dataset: str
    id: str
    severity: Severity
    recommendation: str
    name: str | None = None
    detail: str = ""
    others: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return f"{KINDS[self.kind].sentence}{f': {self.detail}' if self.detail else ''}."


def finding(
    kind: str, dataset: str, row_id: str, *, name: str | None = None, detail: str = "", others: tuple[str, ...] = ()
) -> Finding:
    """A finding of a kind of the table.

    Raises:
        KeyError: the table has no such kind.
    """
    of_kind = KINDS[kind]
    return Finding(kind, dataset, row_id, of_kind.severity, of_kind.recommendation, name, detail, others)


def kind_named(text: str) -> str | None:
    """The kind that a person names, hyphens and capitals apart; None when there is none."""
    wanted = text.replace("-", " ").casefold()
    return next((name for name in KINDS if name.casefold() == wanted), None)


def counts_against(kind: str) -> bool:
    """Whether a row that a finding of this kind names is not valid; a kind that is not known says nothing of it."""
    of_kind = KINDS.get(kind)
    return of_kind is not None and of_kind.of_rows and of_kind.severity != "note"


def health_score(valid: int, rows: int) -> float:
    """Valid rows in percent of all rows, rounded down to two decimals; 100 for an empty catalogue.

    Args:
        valid: rows that no error and no warning is about.
        rows: all categories, products and promotions that are in use or refused, each id once.

    A row counts once, however many findings are about it. A refused row is not valid, whether or not a last good one
    of the same id is in use. Of duplicates, those that lose are not valid; the one that wins is. Notes, and findings
    about the device, don't count. Only a catalogue without a fault scores 100.
    """
    return 100.0 if rows <= 0 else valid * 10_000 // rows / 100


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity, then in the table's order, each kind's own order kept."""
    return tuple(sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), _PLACE[one.kind])))


@dataclass(frozen=True, slots=True)
class Twin:
    """One of several products with the same barcode or SKU."""

    id: str
    name: str
    price: str | None
    is_active: bool


def duplicate(column: str, value: str, twins: tuple[Twin, ...], total: int, active: int) -> Finding:
    """The finding of a barcode or SKU that several products have.

    Args:
        column: ``barcode`` or ``sku``.
        value: the barcode or SKU.
        twins: the products, best first: active, then newest, then most complete, then by id.
        total: how many there are, listed in ``twins`` or not.
        active: how many of them are active; fewer than two leave no doubt what is sold.
    """
    winner, losers = twins[0], twins[1:]
    label = "barcode" if column == "barcode" else "SKU"
    kind = f"duplicate {label}" if active > 1 else "inactive duplicate"
    named = [f"{one.name} ({one.price or 'no price'}{'' if one.is_active else ', inactive'})" for one in losers[:3]]
    more = [f"{total - 1 - len(named):,} more"] if total - 1 > len(named) else []
    detail = f"{label} {value} is {winner.name} ({winner.price or 'no price'}), not {', '.join(named + more)}"
    return finding(
        kind,
        "products",
        winner.id,
        name=winner.name,
        detail=detail,
        others=tuple(one.id for one in losers[:OTHERS_MAX]),
    )


def stale_after_s(pull_interval_s: float) -> float:
    """From what age on, seconds, a catalogue is stale: twice the interval of pulls, at least a day."""
    return max(STALE_INTERVALS * pull_interval_s, STALE_MIN_S)


def circles(parents: Mapping[str, str | None]) -> list[str]:
    """The ids of categories that are their own ancestors, in the order given."""
    walked: set[str] = set()
    found: set[str] = set()
    for start in parents:
        path: list[str] = []
        on_path: set[str] = set()
        step: str | None = start
        while step is not None and step in parents and step not in walked and step not in on_path:
            path.append(step)
            on_path.add(step)
            step = parents[step]
        if step is not None and step in on_path:
            found.update(path[path.index(step) :])
        walked.update(on_path)
    return [one for one in parents if one in found]
