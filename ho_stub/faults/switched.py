"""Faults that are switched on: for which requests, how often, how long. Safe to use from any thread."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ho_stub.faults.table import FaultError, Kind, Value, find
from ho_stub.gaps import Gaps

SCOPED = ("/api/", "/health/")  # what devices ask for: pages and the bench itself have no faults


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests a fault meets, and when.

    Args:
        route: a part of the path ("sales" is /api/v1/sync/sales/ and /api/sales/), or a pattern of the whole path
            ("/api/*/sales/"); "" = every request of a device.
        method: "GET", "POST"; "" = any.
        device: the X-Device-Id, or a pattern ("pos-*"); "" = any.
        times: how many requests it meets; None = no limit.
        after: how many requests pass before.
        chance: how likely it meets a request, 0 to 1; drawn by the seed.
        at_s: when it begins, in seconds after it was switched on.
        for_s: how long it lasts; None = until it is taken off.
        every_s: it begins again so long after each beginning; None = once.
    """

    route: str = ""
    method: str = ""
    device: str = ""
    times: int | None = None
    after: int = 0
    chance: float = 1.0
    at_s: float = 0.0
    for_s: float | None = None
    every_s: float | None = None

    def names(self) -> dict[str, Any]:
        """What of it is not the default."""
        return {name: getattr(self, name) for name in FIELDS if getattr(self, name) != getattr(DEFAULT, name)}


DEFAULT = Scope()
FIELDS = tuple(Scope.__dataclass_fields__)
SPANS = ("at_s", "for_s", "every_s")


@dataclass
class Fault:
    """A fault that is switched on. `hits` counts the requests it met."""

    number: int
    kind: Kind
    value: Value | None
    scope: Scope
    since: float
    dice: random.Random
    hits: int = 0
    passed: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    def is_on(self, now: float) -> bool:
        """Whether its time has come and is not over."""
        scope, at = self.scope, now - self.since - self.scope.at_s
        if at < 0 or (scope.times is not None and self.hits >= scope.times):
            return False
        if scope.every_s is not None:
            at %= scope.every_s
        return scope.for_s is None or at < scope.for_s

    def next_change(self, now: float) -> float | None:
        """Seconds until it goes on or off; None if it stays as it is."""
        scope, at = self.scope, now - self.since - self.scope.at_s
        if at < 0:
            return -at
        if scope.every_s is not None:
            at %= scope.every_s
            return (scope.for_s or 0) - at if self.is_on(now) else scope.every_s - at
        return scope.for_s - at if scope.for_s is not None and at < scope.for_s else None

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"id": self.number, "name": self.kind.name, "value": self.value, **self.scope.names(), "hits": self.hits}


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides which faults meet it."""

    method: str
    path: str
    device: str = ""
    has_cursor: bool = False


class Faults:
    """All faults of a head office. `seed` makes chances repeatable; `clock` gives seconds.

    `moved` is called after a fault was switched on or off, for what is more than an exchange: the port itself.
    """

    def __init__(self, gaps: Gaps, seed: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
        self.clock = clock
        self.moved: Callable[[], None] = lambda: None
        self._gaps = gaps
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._on: list[Fault] = []
        self._shown: set[str] = set()  # gaps that are on because of us

    def add(self, name: str, value: Value | None = None, **scope: Any) -> Fault:
        """Switch a fault on.

        Args:
            name: one of `ho-stub faults`.
            value: what `ho-stub faults` says; None = its default.
            scope: see Scope.

        Raises:
            FaultError: there is no such fault, or not so.
        """
        kind = find(name)
        where = read_scope(kind, scope)
        with self._lock:
            number = next(self._numbers)
            dice = random.Random(f"{self.seed}/{number}")  # noqa: S311 - repeatable on purpose
            fault = Fault(number, kind, kind.read(value), where, self.clock(), dice)
            self._on.append(fault)
            try:
                self.settle()
            except ValueError:
                self._on.remove(fault)
                raise
        self.moved()
        return fault

    def remove(self, fault: Fault | int) -> bool:
        """Take a fault off, by itself or its number; False if it was off."""
        number = fault if isinstance(fault, int) else fault.number
        with self._lock:
            found = [one for one in self._on if one.number == number]
            self._on = [one for one in self._on if one.number != number]
            self.settle()
        self.moved()
        return bool(found)

    def clear(self) -> None:
        """Take all faults off."""
        with self._lock:
            self._on.clear()
            self.settle()
        self.moved()

    @contextmanager
    def during(self, name: str, value: Value | None = None, **scope: Any) -> Iterator[Fault]:
        """A fault for the time of a `with` block."""
        fault = self.add(name, value, **scope)
        try:
            yield fault
        finally:
            self.remove(fault)

    def all(self) -> list[Fault]:
        """Those that are switched on, whether or not their time has come."""
        with self._lock:
            return list(self._on)

    def settle(self) -> None:
        """Gaps go on and off with the faults that are named after them. Raises GapError in the native profile."""
        with self._lock:
            now = self.clock()
            wanted = {one.kind.name: one.value for one in self._on if one.kind.step == "gap" and one.is_on(now)}
            for name in self._shown - set(wanted):
                self._gaps.off(name)
                self._shown.discard(name)
            for name in set(wanted) - self._shown:
                self._gaps.on(name, wanted[name])
                self._shown.add(name)

    def refuses(self) -> tuple[bool, float | None]:
        """Whether the port is to be closed now, and in how many seconds that may change."""
        with self._lock:
            now = self.clock()
            doors = [one for one in self._on if one.kind.step == "door"]
            changes = [change for one in doors if (change := one.next_change(now)) is not None]
            return any(one.is_on(now) for one in doors), min(changes, default=None)

    def meeting(self, asked: Asked) -> list[Fault]:
        """The faults that meet a request, in the order in which they were switched on; each is counted."""
        with self._lock:
            self.settle()
            if not self._on or not asked.path.startswith(SCOPED):
                return []
            now = self.clock()
            met: list[Fault] = []
            answered = False  # one answer in head office's place is enough: the others wait for their turn
            for fault in self._on:
                if fault.kind.step in ("door", "gap") or not fault.is_on(now) or not _fits(fault, asked):
                    continue
                if fault.kind.step == "instead" and answered:
                    continue
                fault.passed += 1
                if fault.passed > fault.scope.after and fault.dice.random() < fault.scope.chance:
                    fault.hits += 1
                    answered = answered or fault.kind.step == "instead"
                    met.append(fault)
            return met


def once(name: str) -> Fault:
    """A fault for a single request, whatever is switched on."""
    return Fault(0, find(name), None, DEFAULT, 0.0, random.Random(0))  # noqa: S311 - it throws no dice


def read_scope(kind: Kind, given: dict[str, Any]) -> Scope:
    """A scope from a test, a plan or the admin route. Raises FaultError, naming the field and the mend."""
    for name, value in given.items():
        if name not in FIELDS:
            raise FaultError(f"{kind.name}: there is no {name}; there are {', '.join(FIELDS)}.")
        if value is None and name in ("times", "for_s", "every_s"):
            continue
        _check_field(kind, name, value)
        if kind.step in ("door", "gap") and name not in SPANS and value != getattr(DEFAULT, name):
            raise FaultError(f"{kind.name} is for all requests alike: it takes {', '.join(SPANS)} and no {name}.")
    scope = Scope(**given)
    if scope.every_s is not None and (scope.for_s is None or scope.for_s >= scope.every_s):
        raise FaultError(f"{kind.name}: every_s needs a for_s that is shorter.")
    return scope


def _check_field(kind: Kind, name: str, value: object) -> None:
    if isinstance(getattr(DEFAULT, name), str):
        if not isinstance(value, str):
            raise FaultError(f"{kind.name}: {name} must be text.")
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    whole = name in ("times", "after")
    least = 1 if name == "times" else 0
    most = 1 if name == "chance" else 1_000_000_000
    if not is_number or not isinstance(value, int | float) or not least <= value <= most:
        raise FaultError(f"{kind.name}: {name} must be a number from {least} to {most}.")
    if whole and not isinstance(value, int):
        raise FaultError(f"{kind.name}: {name} must be a whole number.")
    if name == "every_s" and value <= 0:
        raise FaultError(f"{kind.name}: every_s must be more than 0.")


def _fits(fault: Fault, asked: Asked) -> bool:
    scope = fault.scope
    if scope.method and scope.method.upper() != asked.method:
        return False
    if scope.device and not fnmatchcase(asked.device, scope.device):
        return False
    if scope.route and not _on_route(scope.route, asked.path):
        return False
    parts = asked.path.strip("/").split("/")
    is_sync = parts[:3] == ["api", "v1", "sync"]
    return {
        "all": True,
        "cursor": asked.has_cursor,
        "download": asked.method == "GET" and is_sync,
        "sales": asked.method == "POST" and is_sync and parts[-1] == "sales",
        "upload": asked.method == "POST" and parts[-1] in ("sales", "usage"),
    }[fault.kind.fits]


def _on_route(route: str, path: str) -> bool:
    if "/" in route or "*" in route:
        return fnmatchcase(path, route)
    return route in path.strip("/").split("/")
