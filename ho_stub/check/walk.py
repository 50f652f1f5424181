"""Does the checks, one by one. Whatever head office answers, each check ends with a finding."""

from collections.abc import Iterable
from dataclasses import dataclass

from ho_stub.check.line import NoAnswer, NotTheContract
from ho_stub.check.table import Check, Finding, Group, failed, not_checked
from ho_stub.check.visit import SignInRefused, Skip, Visit

BROKEN_IN_A_ROW_MAX = 3
NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Result:
    """A check, the title of its group, and what it found."""

    group: str
    check: Check
    finding: Finding


class Walk:
    """Goes through the table. `stopped`: why the rest was not checked; the two flags: how it ended then."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._broken = 0
        self.stopped = ""
        self.unreachable = False
        self.sign_in_refused = False

    def through(self, groups: Iterable[Group]) -> list[Result]:
        """A result for each check."""
        return [Result(group.title, check, self._find(check)) for group in groups for check in group.checks]

    def _find(self, check: Check) -> Finding:
        visit, only = self._visit, self._visit.options.only
        if self.stopped:
            return not_checked(self.stopped)
        is_first = check.id.startswith(("line.answers", "signin.works"))
        if only and not is_first and not any(check.id.startswith(wanted) for wanted in only):
            return not_checked("not asked for (--only)")
        if check.writes and not visit.options.write:
            return not_checked("needs --write")
        try:
            if check.needs == NATIVE and not visit.native:
                return not_checked("head office announces no capabilities")
            if check.needs and check.needs != NATIVE and check.needs not in visit.announced:
                return not_checked(f"head office doesn't offer {check.needs}")
            finding = check.look(visit)
        except SignInRefused as exc:
            self.stopped, self.sign_in_refused = "nobody is signed in", True
            return failed(str(exc))
        except NoAnswer as exc:
            return self._no_answer(exc, check)
        except NotTheContract as exc:
            return failed(str(exc))
        except Skip as exc:
            return not_checked(str(exc))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
            return failed(f"the answer has another form than the contract's ({type(exc).__name__}: {exc})")
        self._broken = 0
        return finding

    def _is_there(self) -> bool:
        """Whether head office answers anything: then a route of it is broken, and not the line."""
        try:
            self._visit.line.ask("GET", "/health/", signed_in=False)
        except NoAnswer:
            return False
        self._broken = 0
        return True

    def _no_answer(self, exc: NoAnswer, check: Check) -> Finding:
        self._broken += 1
        if exc.kind == "no time left":
            self.stopped = str(exc)
            return not_checked(str(exc))
        if check.id == "line.answers" or (self._broken >= BROKEN_IN_A_ROW_MAX and not self._is_there()):
            self.unreachable = True
            self.stopped = "head office doesn't answer" if exc.kind == "timeout" else "head office can't be reached"
        return failed(str(exc))
