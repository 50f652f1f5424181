"""The gaps of head offices in the field, each a switch of the baseline profile.

What a baseline head office always does (no tombstones, a version that covers promotions alone in whole seconds and goes
back, lists cut at `max_promotions_per_sync`) needs no switch. Everything here is off until somebody asks for it.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ho_stub.database import Database

Value = int | str
Wanted = Iterable[str] | Mapping[str, Value | None]


class GapError(ValueError):
    """There is no such gap, or its value can't be used; the message says what can."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap: what such a head office does in one sentence; `default`, `unit` and `form` of its value, if any."""

    name: str
    says: str
    default: Value | None = None
    unit: str = ""
    form: str = ".*"

    def read(self, value: Value | None) -> Value | None:
        """A value from a test or the command line. Raises GapError."""
        if value is None or value == "":
            return self.default
        if self.default is None:
            raise GapError(f"{self.name} takes no value; write {self.name} alone.")
        form = self.form if isinstance(self.default, str) else "[0-9]{1,9}"
        if re.fullmatch(form, str(value)):
            return str(value) if isinstance(self.default, str) else int(value)
        raise GapError(f"{self.name}: {value!r} is no such value; write {self.name}={self.default} ({self.unit}).")


GROUPS: Mapping[str, tuple[Gap, ...]] = MappingProxyType({
    "lists": (
        Gap("inactive_brand", "The brand was switched off: every list is answered with 200 and no rows."),
        Gap("empty_once", "The next answer of each list is empty, as if everything were gone; the one after is whole."),
        Gap("vanishing_rows", "The last rows are missing from every list, and its totals agree with what is left.",
            1, "how many rows"),
        Gap("row_left_out", "A row that can't be compiled is left out of its list, and counted all the same.",
            "", "the row's id; empty: the last promotion"),
        Gap("late_commit", "An edit is seen only so long after it was made, and then has its old updated_at.",
            60, "seconds, or until the gap is switched off"),
        Gap("lagging_replica", "Every second version comes from a copy that lags behind.", 30, "seconds it lags"),
        Gap("no_total_available", "Lists don't say how many rows there were before the cut."),
        Gap("no_sync_timestamp", "Lists don't say what to ask from the next time."),
    ),
    "times": (
        Gap("stamp_after_query", "An answer's time stamp is taken so long after its query: edits between are missed.",
            2, "seconds"),
        Gap("whole_seconds", "Time stamps are cut to whole seconds."),
        Gap("other_offset", "Time stamps come in another offset than UTC.", "+07:00", "the offset",
            "[+-][0-2][0-9]:[0-5][0-9]"),
        Gap("naive_times", "Time stamps come without an offset.", "utc", "utc, or local: the company's time zone",
            "utc|local"),
    ),
    "rows": (
        Gap("rules_error", "The compiler's mistake comes inside a promotion: rules is {\"error\": …}.",
            "", "the promotion's id; empty: all"),
        Gap("empty_tiers", "A promotion by thresholds comes without a single tier.",
            "", "the promotion's id; empty: all"),
        Gap("noisy_money", "Money comes as floats with the noise of binary arithmetic, like 7500.000000000001."),
        Gap("swapped_types", "Numbers come as text, and texts of digits as numbers."),
        Gap("numeric_flags", "The flag is_active comes as 0 or 1."),
        Gap("null_flags", "The flag is_active comes as null."),
        Gap("upper_case_ids", "Ids come in upper case."),
    ),
    "errors": (
        Gap("mistakes_are_500", "A client's mistake is answered with 500."),
        Gap("errors_without_code", "Errors carry a sentence and no code."),
        Gap("errors_in_indonesian", "Errors carry nothing but a detail in Indonesian."),
    ),
    "sign-in": (
        Gap("v1_token_only", "Signing in works at /api/v1/token/ alone."),
        Gap("token_scheme_only", "Bearer is refused; only `Token` with the static key is known."),
    ),
    "line": (
        Gap("post_only", "Downloads are answered 405 with Allow: POST; they work by POST with a JSON body."),
        Gap("odd_allow", "As post_only, with an Allow header of another form.", "post, options", "the header's text"),
        Gap("moved_to_https", "Every request is answered with a redirect to https."),
        Gap("captive_portal", "The network answers 200 with its log-in page in head office's place.",
            "", "only where the path holds this text"),
        Gap("proxy_502", "A proxy answers 502 with a page of its own in head office's place.",
            "", "only where the path holds this text"),
    ),
    "uploads": (
        Gap("stored_sale_201", "A sale that is sent again is answered 201, as if it were new."),
        Gap("stored_sale_400", "A sale that is sent again is answered 400: it is validated before it is looked up."),
        Gap("duplicate_500", "A sale sent again so soon after the first time meets it half stored: 500.",
            1, "seconds after the first time"),
        Gap("usage_always_created", "Every use of a promotion is answered created, also one that is dropped."),
    ),
    "accidents": (
        Gap("restored_untold", "Head office goes back to what it held when this was switched on, and tells nobody.",
            60, "seconds, or until the gap is switched off"),
    ),
})  # fmt: skip
GAPS: Mapping[str, Gap] = MappingProxyType({gap.name: gap for group in GROUPS.values() for gap in group})


def find(name: str) -> Gap:
    """The gap of this name. Raises GapError, naming those there are."""
    try:
        return GAPS[name]
    except KeyError:
        raise GapError(f"There is no gap {name!r}. There are: {', '.join(GAPS)}.") from None


def parse(text: str) -> tuple[str, str | None]:
    """`name` or `name=value`, as the command line takes it."""
    name, sign, value = text.partition("=")
    return name, value if sign else None


def listing() -> str:
    """All gaps with their sentences, for people."""
    lines = []
    for title, group in GROUPS.items():
        lines.append(f"{title}:")
        for gap in group:
            value = "" if gap.default is None else f"[={gap.default or '…'}]"
            unit = f" ({gap.unit})" if gap.unit else ""
            lines.append(f"  {gap.name + value:<26}{gap.says}{unit}")
    return "\n".join(lines)


class Gaps:
    """Which gaps a head office shows now. Safe to use from any thread.

    `switched(name)` is called after a gap went on or off. In a database that several workers share, `db` keeps what a
    gap has met already.
    """

    def __init__(
        self, allowed: bool, switched: Callable[[str], None] = lambda _: None, db: Database | None = None
    ) -> None:
        self._db = db if db is not None and db.shared else None
        self._allowed = allowed
        self._on: dict[str, Value | None] = {}
        self._met: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._switched = switched

    def adopt(self, wanted: Wanted) -> None:
        """Switch on what a test or a command line wants: names, `name=value`, or a mapping of both."""
        pairs = wanted.items() if isinstance(wanted, Mapping) else map(parse, wanted)
        for name, value in pairs:
            self.on(name, value)

    def on(self, name: str, value: Value | None = None) -> None:
        """Show a gap from now on. Raises GapError for an unknown one, a bad value, or a native head office."""
        gap = find(name)
        read = gap.read(value)
        if not self._allowed:
            raise GapError(f"{name} is a gap of baseline head offices; take the profile baseline.")
        with self._lock:
            self._on[name] = read
            self._met = {met for met in self._met if met[0] != name}
        if self._db is not None:
            self._db.run("DELETE FROM gap_met WHERE name = ?", (name,))
        self._switched(name)

    def off(self, *names: str) -> None:
        """Stop showing these gaps; all of them when none is named."""
        for name in names or tuple(self._on):
            find(name)
            with self._lock:
                was_on = self._on.pop(name, self) is not self
            if was_on:
                self._switched(name)

    def state(self) -> str:
        """Which gaps are on, as JSON."""
        with self._lock:
            return json.dumps(self._on)

    def follow(self, state: str) -> None:
        """Show the gaps that another worker switched: its `state()`."""
        with self._lock:
            self._on = json.loads(state)

    def is_on(self, name: str) -> bool:
        """Whether head office shows a gap now."""
        return name in self._on

    def number(self, name: str) -> int | None:
        """A gap's number; None while it is off."""
        value = self._on.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str | None:
        """A gap's text; None while it is off."""
        value = self._on.get(name)
        return value if isinstance(value, str) else None

    def first(self, name: str, what: str) -> bool:
        """Whether a gap is on and meets `what` for the first time since then."""
        with self._lock:
            if name not in self._on or (name, what) in self._met:
                return False
            if self._db is not None:
                sql = "INSERT INTO gap_met VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING name"
                return self._db.row(sql, (name, what)) is not None
            self._met.add((name, what))
            return True

    def every_second(self, name: str) -> bool:
        """Whether a gap is on and it is its turn: the second time, the fourth, …"""
        with self._lock:
            turn = (name, "turn")
            if name not in self._on:
                return False
            if self._db is not None:
                if self._db.row("DELETE FROM gap_met WHERE name = ? AND what = ? RETURNING name", turn) is not None:
                    return True
                self._db.run("INSERT INTO gap_met VALUES (?, ?) ON CONFLICT DO NOTHING", turn)
                return False
            if turn in self._met:
                self._met.discard(turn)
                return True
            self._met.add(turn)
            return False
