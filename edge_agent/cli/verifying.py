"""``verify``: whether head office has what this device sold."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, opened
from edge_agent.cli.exits import Exit, say_error, worst_exit
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent
    from edge_agent.sync.report import Drift

_DATASETS = ("journal", "sales", "usages")


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Offer again what head office lacks, and send it.")] = False,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Only the journal's file, sales or usages; else all three.")
    ] = None,
    only: Annotated[str | None, typer.Option("--id", metavar="ID", help="Only this entry.")] = None,
    as_json: Json = False,
) -> None:
    """Check this device's sales, and compare them with what head office has; changes nothing without --repair.

    Example: edge-agent verify --repair
    """
    if dataset not in (None, *_DATASETS):
        raise typer.BadParameter("use journal, sales or usages", param_hint="--dataset")
    with opened(as_json) as agent:
        if only is None and dataset in (None, "journal"):
            agent.check_journal()
        result: dict[str, Any] = {"drift": [], "differences": [], "repaired": 0, "in_sync": True}
        if dataset != "journal":
            result = _compare(agent, dataset, only, repair=repair)
        causes = agent.sync().causes if result["repaired"] else []
        left = _compare(agent, dataset, only, repair=False) if result["repaired"] and not causes else result
    drift: list[Drift] = result["drift"]
    if as_json:
        found = {
            "drift": [asdict(one) for one in drift],
            "in_sync": left["in_sync"],
            "differences": left["differences"],
        }
        print_json({"schema": 1, **result, **found})
    else:
        _print(result, dataset)
        if left is not result:
            _print(left | {"repaired": 0}, dataset)
    for error in causes:
        say_error(error)
    if causes:
        raise typer.Exit(worst_exit(causes))
    if left["differences"] or left["drift"]:
        raise typer.Exit(Exit.NEEDS_A_PERSON)


def _compare(agent: EdgeAgent, dataset: str | None, only: str | None, *, repair: bool) -> dict[str, Any]:
    compared = agent.verify(repair=repair, only=only)
    if compared is None:
        return {"drift": [], "differences": [], "repaired": 0, "in_sync": None}
    drift = [one for one in compared.drift if dataset in (None, one.dataset)]
    return {
        "drift": drift,
        "differences": compared.differences,
        "repaired": compared.offered,
        "in_sync": not drift and not compared.differences,
    }


def _print(result: dict[str, Any], dataset: str | None) -> None:
    drift: list[Drift] = result["drift"]
    if dataset == "journal":
        print("The journal is whole.")
    elif result["in_sync"] is None:
        print("This head office gives no receipts: what it has of this device's sales can't be asked.")
    elif result["in_sync"]:
        print("Head office has all that it said it has, to the cent.")
    if drift:
        rows = [(one.dataset, one.id, one.kind, one.recommendation) for one in drift]
        print_table(("what", "id", "finding", "what to do"), rows, whole=("what", "id"))
    for difference in result["differences"]:
        print(f"The books differ: {difference}.")
    if result["repaired"]:
        print(f"{result['repaired']:,} offered again and sent.")
    elif drift:
        print("Nothing was changed: edge-agent verify --repair offers them again.", file=sys.stderr)
