"""What a check is: an id, the contract's section, what it looks at, and in plain words what a gap means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ho_stub.check.visit import Visit

Verdict = Literal["pass", "gap", "fail", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `seen` says what was on the wire, or why nothing was looked at."""

    verdict: Verdict
    seen: str = ""


Look = Callable[["Visit"], Finding]


@dataclass(frozen=True, slots=True)
class Check:
    """`needs`: the capability (or 'native') without which there is nothing to check. `writes`: only with --write."""

    id: str
    section: str
    what: str
    consequence: str
    remedy: str
    look: Look
    needs: str = ""
    writes: bool = False


class Group:
    """Checks of one part of the contract, in the order in which they are done."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.checks: list[Check] = []

    def check(
        self,
        check_id: str,
        section: str,
        what: str,
        consequence: str,
        remedy: str,
        *,
        needs: str = "",
        writes: bool = False,
    ) -> Callable[[Look], Look]:
        """Puts a function into the table."""

        def put(look: Look) -> Look:
            self.checks.append(Check(check_id, section, what, consequence, remedy, look, needs, writes))
            return look

        return put


def passed(seen: str = "") -> Finding:
    """It is as the contract says."""
    return Finding("pass", seen)


def gap(seen: str) -> Finding:
    """Less than the contract; stores can live with it, at a price."""
    return Finding("gap", seen)


def failed(seen: str) -> Finding:
    """Stores can't work safely with this."""
    return Finding("fail", seen)


def not_checked(why: str) -> Finding:
    """Nothing was looked at."""
    return Finding("not checked", why)


def judged(problems: Sequence[str], seen: str = "", *, of: str = "") -> Finding:
    """A gap with the first few problems, or a pass."""
    return gap(some(problems, of)) if problems else passed(seen)


def some(things: Sequence[str], of: str = "") -> str:
    """The first three, and how many there are."""
    told = "; ".join(things[:3])
    more = f"; and {len(things) - 3} more" if len(things) > 3 else ""
    return f"{told}{more}{' (' + of + ')' if of else ''}"
