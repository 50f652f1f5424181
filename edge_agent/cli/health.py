"""``health``: what is wrong on this device, in a list people can act on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.door import Json, Limit, opened
from edge_agent.cli.exits import Exit
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.domain.findings import Finding
    from edge_agent.domain.health import Health


def health(
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Only findings about this: products, promotions, outbox ….")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only findings of this kind, such as duplicate-barcode.")
    ] = None,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with the catalogue, the deliveries and the clock, and say what to do about it.

    Example: edge-agent health --kind duplicate-barcode
    """
    wanted = _kind(kind)
    _check_dataset(dataset)
    with opened(as_json) as agent:
        found = agent.health(listed_max=limit)
    shown = [one for one in found.findings if _is_wanted(one.kind, one.dataset, wanted, dataset)]
    total = sum(count for (name, of), count in found.totals.items() if _is_wanted(name, of, wanted, dataset))
    if as_json:
        print_json(
            {
                "schema": 1,
                "findings": [{**asdict(one), "sentence": one.sentence} for one in shown],
                "total": total,
                "counts": found.counts,
                "health_score": found.health_score,
                "rows": found.rows,
                "valid": found.valid,
                "validated_at": f"{found.validated_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
    else:
        _print(found, shown, total)
    if any(one.severity == "error" for one in shown):
        raise typer.Exit(Exit.NEEDS_A_PERSON)


def _kind(text: str | None) -> str | None:
    """The kind that a person named."""
    from edge_agent.domain.findings import KINDS, kind_named

    if text is None:
        return None
    found = kind_named(text)
    if found is None:
        raise typer.BadParameter(f"use one of: {', '.join(KINDS)}", param_hint="--kind")
    return found


def _check_dataset(text: str | None) -> None:
    from edge_agent.domain.findings import SUBJECTS

    if text not in (None, *SUBJECTS):
        raise typer.BadParameter(f"use one of: {', '.join(SUBJECTS)}", param_hint="--dataset")


def _is_wanted(kind: str, of: str, wanted: str | None, dataset: str | None) -> bool:
    return wanted in (None, kind) and dataset in (None, of)


def _print(found: Health, shown: list[Finding], total: int) -> None:
    print(f"{found.health_score:g} % of {found.rows:,} rows of the catalogue are in order.")
    if not found.has_come:
        print("The catalogue has not come as a whole yet: some faults can't be seen before that.", file=sys.stderr)
    if not shown:
        print("Nothing was found." if not total else f"{total:,} findings.")
        return
    print()
    rows = [(one.severity, one.sentence, _who(one), one.recommendation) for one in shown]
    print_table(("how bad", "what", "where", "what to do"), rows, whole=("how bad",))
    if total > len(shown):
        print(f"\n{total:,} findings in all; of each kind the first are listed: give --limit, or --kind.")


def _who(one: Finding) -> str:
    """What a finding is about, for people: its name and id."""
    row = one.id if one.name is None else f"{one.name}\n{one.id}"
    return row if one.id == one.dataset else f"{one.dataset}: {row}"
