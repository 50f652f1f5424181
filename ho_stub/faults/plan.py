"""A plan of faults, from a TOML file.

seed = 7                  # left out: a random one, which is printed

[[fault]]
name = "http_503"
value = "30"              # left out: the fault's default
route = "sales"           # and method, device, times, after, chance, at_s, for_s, every_s: see Scope

[[fault]]
name = "reset"
chance = 0.05
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ho_stub.faults.switched import Faults, read_scope
from ho_stub.faults.table import FaultError, Value, find


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a plan."""

    name: str
    value: Value | None
    scope: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults to switch on, and the seed of their chances (None: any)."""

    faults: list[Planned] = field(default_factory=list)
    seed: int | None = None

    def begin(self, faults: Faults) -> None:
        """Switch all of them on. Raises FaultError."""
        for one in self.faults:
            faults.add(one.name, one.value, **one.scope)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        FaultError: naming the file, the fault and the mend.
        OSError: the file can't be read.
    """
    try:
        return plan_of(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise FaultError(f"{path} is no TOML: {exc}.") from exc
    except FaultError as exc:
        raise FaultError(f"{path}: {exc}") from exc


FaultsWanted = str | Path | Iterable[str | Mapping[str, Any]]


def plan_from(wanted: FaultsWanted) -> Plan:
    """A plan as a test names it: a file, or faults as `name`, `name=value` or tables. Raises FaultError."""
    if isinstance(wanted, Path) or (isinstance(wanted, str) and wanted.endswith(".toml")):
        return read_plan(Path(wanted))
    tables = [
        _table(one) if isinstance(one, str) else dict(one) for one in ([wanted] if isinstance(wanted, str) else wanted)
    ]
    return plan_of({"fault": tables})


def _table(text: str) -> dict[str, Any]:
    name, sign, value = text.partition("=")
    return {"name": name, "value": value} if sign else {"name": name}


def plan_of(content: dict[str, Any]) -> Plan:
    """A plan from its content. Raises FaultError."""
    unknown = set(content) - {"seed", "fault"}
    if unknown:
        raise FaultError(f"there is no {sorted(unknown)[0]!r} in a plan; it has seed and [[fault]].")
    seed, tables = content.get("seed"), content.get("fault", [])
    if seed is not None and type(seed) is not int:
        raise FaultError("seed must be a whole number.")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FaultError("faults are written as [[fault]] tables.")
    return Plan([_planned(number, table) for number, table in enumerate(tables, 1)], seed)


def _planned(number: int, table: dict[str, Any]) -> Planned:
    scope = {name: value for name, value in table.items() if name not in ("name", "value")}
    try:
        kind = find(str(table.get("name", "")))
        read_scope(kind, scope)
        return Planned(kind.name, kind.read(table.get("value")), scope)
    except FaultError as exc:
        raise FaultError(f"fault {number}: {exc}") from exc
