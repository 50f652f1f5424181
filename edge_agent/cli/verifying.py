"""``verify``: whether head office has what this device sold, and this device what head office has."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, opened
from edge_agent.cli.exits import Exit, say_error, worst_exit
from edge_agent.cli.output import print_json, print_table
from edge_agent.domain.catalog import DATASETS
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent
    from edge_agent.sync.report import Drift

_UP = ("journal", "sales", "usages")
_DOWN: tuple[str, ...] = DATASETS
_DIRECTIONS = {"push": _UP, "pull": _DOWN}
_SHOWN_MAX = 50


@dataclass(slots=True)
class _Result:
    """What was found, of both directions. ``in_sync``: None where head office can't be compared with."""

    drift: list[Drift] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    repaired: int = 0
    left: bool = False  # whether something still differs
    causes: list[EdgeAgentError] = field(default_factory=list)
    in_sync: dict[str, bool | None] = field(default_factory=dict)
    fetched: int = 0

    @property
    def is_in_sync(self) -> bool | None:
        if self.left or False in self.in_sync.values():
            return False
        return None if None in self.in_sync.values() else True

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "drift": [asdict(one) for one in self.drift],
            "differences": self.differences,
            "repaired": self.repaired,
            "in_sync": self.is_in_sync,
            "datasets": self.in_sync,
            "rows_fetched": self.fetched,
            "errors": [{"code": e.code, "message": e.message, "hint": e.hint} for e in self.causes],
        }


def verify(
    repair: Annotated[
        bool, typer.Option("--repair", help="Offer again what head office lacks; fetch anew what differs here.")
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Only journal, sales, usages, categories, products or promotions; else all."),
    ] = None,
    only: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this sale, use or row.")] = None,
    direction: Annotated[
        str | None, typer.Option("--direction", help="push: what goes up. pull: what comes down. Else both.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare this device's sales and its catalogue with head office's; mends nothing without --repair.

    Example: edge-agent verify --repair --dataset products
    """
    if dataset not in (None, *_UP, *_DOWN):
        raise typer.BadParameter(f"use {', '.join(_UP + _DOWN[:-1])} or {_DOWN[-1]}", param_hint="--dataset")
    if direction not in (None, *_DIRECTIONS):
        raise typer.BadParameter("use push or pull", param_hint="--direction")
    if dataset is not None and direction is not None and dataset not in _DIRECTIONS[direction]:
        raise typer.BadParameter(f"{dataset} does not go that way; leave --direction out", param_hint="--direction")
    with opened(as_json) as agent:
        up, down = _ways(agent, dataset, direction, only)
        result = _Result()
        if up:
            _verify_up(agent, result, dataset, only, repair=repair, told=not as_json)
        if down and not result.causes:
            _verify_down(agent, result, dataset, only, repair=repair, told=not as_json)
    if as_json:
        print_json(result.as_json())
    elif result.drift and not result.repaired and not repair:
        print("Nothing was changed: edge-agent verify --repair puts it right.", file=sys.stderr)
    for error in result.causes:
        say_error(error)
    if result.causes:
        raise typer.Exit(worst_exit(result.causes))
    if result.left:
        raise typer.Exit(Exit.NEEDS_A_PERSON)


def _ways(agent: EdgeAgent, dataset: str | None, direction: str | None, only: str | None) -> tuple[bool, bool]:
    """Whether to compare what goes up, and what comes down."""
    if dataset is not None:
        return dataset in _UP, dataset in _DOWN
    if direction is not None:
        return direction == "push", direction == "pull"
    if only is not None:
        is_entry = agent.outbox_entry(only) is not None
        return is_entry, not is_entry
    return True, True


# ---- up ----------------------------------------------------------------------------------------------------------


def _verify_up(
    agent: EdgeAgent, result: _Result, dataset: str | None, only: str | None, *, repair: bool, told: bool
) -> None:
    if only is None and dataset in (None, "journal"):
        agent.check_journal()
    if dataset == "journal":
        result.in_sync["journal"] = True
        if told:
            print("The journal is whole.")
        return
    found = _compare_books(agent, result, dataset, only, repair=repair)
    if told:
        _print_books(found, repair=repair)
    if found.repaired:
        result.causes = agent.sync().causes
        if not result.causes:
            result.left = False
            after = _compare_books(agent, result, dataset, only, repair=False, listed=False)
            if told:
                _print_books(after, repair=False)


def _compare_books(
    agent: EdgeAgent, result: _Result, dataset: str | None, only: str | None, *, repair: bool, listed: bool = True
) -> _Result:
    compared = agent.verify(repair=repair, only=only)
    found = _Result()
    if compared is None:
        result.in_sync["sales"] = found.in_sync["sales"] = None
        return found
    found.drift = [one for one in compared.drift if dataset in (None, one.dataset)]
    found.differences, found.repaired = list(compared.differences), compared.offered
    found.left = bool(found.drift or found.differences)
    found.in_sync["sales"] = not found.left
    result.in_sync["sales"] = not found.left
    result.left = result.left or found.left
    result.differences = found.differences
    if listed:
        result.drift += found.drift
        result.repaired += found.repaired
    return found


def _print_books(found: _Result, *, repair: bool) -> None:
    if found.in_sync["sales"] is None:
        print("This head office gives no receipts: what it has of this device's sales can't be asked.")
    elif not found.left:
        print("Head office has all that it said it has, to the cent.")
    _print_drift(found.drift)
    for difference in found.differences:
        print(f"The books differ: {difference}.")
    if found.repaired:
        print(f"{found.repaired:,} offered again and sent.")


# ---- down --------------------------------------------------------------------------------------------------------


def _verify_down(
    agent: EdgeAgent, result: _Result, dataset: str | None, only: str | None, *, repair: bool, told: bool
) -> None:
    found = agent.verify_catalogue(repair=repair, dataset=dataset, only=only)  # type: ignore[arg-type]
    result.drift += found.drift
    result.repaired += found.repaired
    result.in_sync |= found.in_sync
    result.fetched = found.fetched
    result.left = result.left or False in found.in_sync.values()
    result.causes += [error for _, error in found.errors]
    if not told:
        return
    _print_drift(found.drift)
    for name, is_in_sync in found.in_sync.items():
        if is_in_sync:
            print(f"{name.capitalize()}: the same as head office's.")
        elif is_in_sync is None and name not in [failed for failed, _ in found.errors]:
            print(f"{name.capitalize()}: head office gives nothing to compare all of it with just now.")
        elif not any(one.dataset == name for one in found.drift) and is_in_sync is False:
            print(f"{name.capitalize()}: {agent.status()['datasets'][name]['differs']}. Tell head office.")
    if found.repaired:
        rows = "1 row" if found.repaired == 1 else f"{found.repaired:,} rows"
        print(f"{rows} put right; {found.fetched:,} came over the line for it.")


def _print_drift(drift: list[Drift]) -> None:
    if not drift:
        return
    rows = [(one.dataset, one.id, one.kind, one.recommendation) for one in drift[:_SHOWN_MAX]]
    print_table(("what", "id", "finding", "what to do"), rows, whole=("what", "id"))
    if len(drift) > _SHOWN_MAX:
        print(f"… and {len(drift) - _SHOWN_MAX:,} more; --json lists all.")
