"""Runs the checks in order, skips what an earlier failure makes pointless, and mends where that is asked for."""

from __future__ import annotations

import os
import time as _time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_agent.clock import Clock
from edge_agent.doctor import line, place, store, time
from edge_agent.doctor.check import Check, Device, Kind
from edge_agent.errors import EdgeAgentError
from edge_agent.redaction import Redactor, secrets_in

# What a check is about, where that is not simply for a person to mend.
KINDS: Mapping[str, Kind] = {
    "home": "settings",
    "settings": "settings",
    "engine": "store",
    "journal": "store",
    "journal mode": "store",
    "disk": "store",
    "password": "sign-in",
    "sign-in": "sign-in",
    "name": "line",
    "connection": "line",
    "certificate": "line",
    "answer": "line",
}
_WHY = {
    "home": "this device's folder can't be read",
    "settings": "the settings can't be used",
    "engine": "SQLite is too old",
    "journal": "the journal can't be read",
    "password": "there is no password",
    "name": "the name can't be found",
    "connection": "no connection can be made",
    "certificate": "head office has not proved who it is",
    "answer": "no head office answers",
    "sign-in": "head office does not let this device in",
    "ids": "company, store or brand is wrong",
}


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found. ``fixed`` says what ``--fix`` did, ``unfixed`` what it tried in vain."""

    checks: tuple[Check, ...]
    fixed: tuple[str, ...] = ()
    unfixed: tuple[str, ...] = ()
    device: Device | None = field(default=None, repr=False, compare=False)

    @property
    def wrong(self) -> list[Check]:
        """What somebody has to do something about, then what is good to know."""
        found = [check for check in self.checks if check.state == "bad"]
        return found + [check for check in self.checks if check.state == "warn"]

    @property
    def kinds(self) -> set[Kind]:
        """What the bad ones are about."""
        found = {KINDS.get(check.name, "person") for check in self.checks if check.state == "bad"}
        if any(check.name == "home" and check.state == "bad" for check in self.checks) and self._has_home:
            found |= {"store"}  # it is there, and can't be written
        return found

    @property
    def _has_home(self) -> bool:
        return self.device is not None and self.device.home is not None

    def as_json(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {
            "schema": 1,
            "checks": [
                {
                    "name": check.name,
                    "state": check.state,
                    "message": check.words,
                    "mend": check.mend,
                    "took_ms": round(check.took_ms, 1),
                }
                for check in self.checks
            ],
            "fixed": list(self.fixed),
            "not_fixed": list(self.unfixed),
        }


def examine(
    home: Path | None = None,
    *,
    offline: bool = False,
    fix: bool = False,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    free_bytes: Callable[[Path], int] = store.free_bytes,
    lookup: line.Lookup | None = None,
    deadline_s: float = line.DEADLINE_S,
) -> Report:
    """Look at everything.

    Args:
        home: the device's home; None for the one this process would use.
        offline: ask nobody over the network.
        fix: do the mends that are safe, then look again at what was mended.
        clock: the clock.
        environment: the process's environment; None for the real one.
        free_bytes: the room on a folder's disk.
        lookup: finds a name's addresses; None for the system's way.
        deadline_s: for each check that asks head office, seconds.
    """
    variables = os.environ if environment is None else environment

    def device(at: Path | None) -> Device:
        return Device(at, None, variables, clock or Clock(), free_bytes)

    def look_at_all() -> Report:
        found, first = place.find(home)
        run = _Run(device(found), first)
        run.go(offline=offline, lookup=lookup, deadline_s=deadline_s)
        return Report(tuple(run.censored()), device=run.device)

    report = look_at_all()
    if not fix:
        return report
    fixed, unfixed = _mend(report)
    return replace(look_at_all() if fixed else report, fixed=tuple(fixed), unfixed=tuple(unfixed))


def _mend(report: Report) -> tuple[list[str], list[str]]:
    fixed, unfixed = [], []
    for check in report.checks:
        if check.fix is not None and check.state in ("warn", "bad"):
            try:
                fixed.append(check.fix())
            except OSError as error:
                unfixed.append(f"{check.name}: {error.strerror or error}")
    return fixed, unfixed


class _Run:
    """One go through all checks."""

    def __init__(self, device: Device, first: Check) -> None:
        self.device = device
        self.checks: list[Check] = [first]

    def go(self, *, offline: bool, lookup: line.Lookup | None, deadline_s: float) -> None:
        self.ask("settings", self._settings, ("home",))
        of_place: tuple[tuple[str, Callable[[Device], Check], tuple[str, ...]], ...] = (
            ("user", place.user, ("home",)),
            ("permissions", place.modes, ("home",)),
            ("password", place.credentials, ("home",)),
            ("disk", place.disk, ("home",)),
            ("reserve", place.ballast, ("settings",)),
            ("leftovers", place.leftovers, ("home",)),
            ("backup", place.backup, ("settings",)),
        )
        of_time: tuple[tuple[str, Callable[[Device], Check], tuple[str, ...]], ...] = (
            ("date", time.year, ()),
            ("time zone", time.zone, ("home",)),
        )
        for name, check, after in (*of_place, *store.CHECKS, *of_time):
            self.ask(name, lambda check=check: check(self.device), after)  # type: ignore[misc]
        self._line(offline=offline, lookup=lookup, deadline_s=deadline_s)

    def _settings(self) -> Check:
        settings, check = place.settings(self.device)
        self.device = replace(self.device, settings=settings)
        return check

    def _line(self, *, offline: bool, lookup: line.Lookup | None, deadline_s: float) -> None:
        steps = [*line.STEPS, ("clock", time.clock, ("answer",))]
        why = "Not asked: --offline was said." if offline else None
        if not self.device.settings:
            why = self._reason("settings")
        if why is not None:
            self.checks += [Check(name, "skipped", why) for name, _, _ in steps]
            return
        more = {} if lookup is None else {"lookup": lookup}
        present = line.Line(self.device, deadline_s=deadline_s, **more)
        try:
            for name, step, after in steps:
                self.ask(name, lambda step=step: step(present), after)  # type: ignore[misc]
        finally:
            present.close()

    def ask(self, name: str, check: Callable[[], Check], after: tuple[str, ...] = ()) -> None:
        """Run a check, unless something it stands on failed."""
        failed = next((one for one in after if self._has_failed(one)), None)
        if failed is not None:
            self.checks.append(Check(name, "skipped", self._reason(failed)))
            return
        began = _time.perf_counter()
        try:
            found = check()
        except EdgeAgentError as error:
            found = Check(name, "bad", f"{error.message[:1].upper()}{error.message[1:]}.", error.hint)
        except Exception as error:  # noqa: BLE001 - a doctor that falls ill at one thing still looks at the others
            words = f"This could not be looked at: {type(error).__name__}: {error}."
            found = Check(
                name, "warn", words, "Tell whoever supports this device; edge-agent doctor --bundle helps them."
            )
        self.checks.append(replace(found, took_ms=(_time.perf_counter() - began) * 1000))

    def _reason(self, failed: str) -> str:
        """Why a check that stands on another is not made: the first cause, not what followed from it."""
        earlier = next(check for check in self.checks if check.name == failed)
        return earlier.words if earlier.state == "skipped" else f"Not asked: {_WHY.get(failed, failed)}."

    def _has_failed(self, name: str) -> bool:
        if name == "home":  # what can't be written can still be looked at
            return self.device.home is None
        known = {check.name: check for check in self.checks}
        state = known[name].state if name in known else "fine"
        # A certificate that plain http does not have holds nothing up.
        return state == "bad" or (state == "skipped" and name != "certificate")

    def censored(self) -> Iterator[Check]:
        """The checks without secrets: head office's words, names and paths come from anywhere."""
        home, variables = self.device.home, self.device.environment
        secrets = secrets_in(lambda name: (home / name).read_bytes(), variables) if home else set()
        redact = Redactor(secrets)
        for check in self.checks:
            yield replace(check, words=redact(check.words), mend=redact(check.mend))
