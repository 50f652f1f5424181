"""``sync`` and ``status``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json
from edge_agent.cli.exits import Exit, errors_in_words, say_error, worst_exit
from edge_agent.cli.output import print_json, progress_bar
from edge_agent.cli.showing import needs_a_person, show_status, watch_status

if TYPE_CHECKING:
    from edge_agent.sync.report import CycleReport


def sync(
    full: Annotated[bool, typer.Option("--full", help="Take the whole catalogue again.")] = False,
    accept_sweep: Annotated[
        bool, typer.Option("--accept-sweep", help="Let head office's list delete more than half of ours.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Sync now: send what waits, fetch what changed.

    Example: edge-agent sync --full
    """
    with errors_in_words(as_json):
        run_sync(as_json, full=full, accept_sweep=accept_sweep)


def run_sync(as_json: bool, *, full: bool, accept_sweep: bool, more: dict[str, Any] | None = None) -> None:
    from edge_agent.agent import EdgeAgent
    from edge_agent.cli.priority import let_tills_go_first

    let_tills_go_first()
    with EdgeAgent.open() as agent:
        with progress_bar(wanted=not as_json) as progress:
            report = agent.sync(full=full, accept_sweep=accept_sweep, progress=progress)
        status = agent.status()
    if as_json:
        print_json({**(more or {}), **report.as_json()})
    else:
        for line in _report_in_words(report):
            print(line)
    for error in report.causes:
        say_error(error)
    code = worst_exit(report.causes)
    if code is Exit.FINE and needs_a_person(status):
        code = Exit.NEEDS_A_PERSON
        print("Something needs a person: see edge-agent status.", file=sys.stderr)
    raise typer.Exit(code)


def _report_in_words(report: CycleReport) -> list[str]:
    """What a sync did, in a few sentences."""
    words = []
    for noun, pushed in (("sales", report.pushed), ("promotion uses", report.pushed_usages)):
        taken = pushed.created + pushed.duplicate
        if taken or pushed.rejected or pushed.retry:
            parts = [f"{taken:,} {noun if taken != 1 else noun[:-1]} went up"]
            parts += [f"{pushed.duplicate:,} of them already there"] if pushed.duplicate else []
            parts += [f"{pushed.rejected:,} refused"] if pushed.rejected else []
            parts += [f"{pushed.retry:,} to be sent again later"] if pushed.retry else []
            words.append(", ".join(parts) + ".")
    for name, pulled in report.pulled.items():
        if pulled.upserts or pulled.deletes or pulled.refused or pulled.held:
            parts = [f"{name}: {pulled.upserts:,} new or changed, {pulled.deletes:,} gone"]
            parts += [f"{pulled.refused:,} unusable and set aside"] if pulled.refused else []
            parts += [f"{pulled.held:,} missing at head office, kept until --accept-sweep"] if pulled.held else []
            words.append(", ".join(parts) + ".")
    if not words and not report.errors:
        words.append("Nothing to do: everything is up to date.")
    return words


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Say whether selling is safe, what waits, and how old the prices are; needs no line and no daemon.

    Example: edge-agent status --watch
    """
    raise typer.Exit(watch_status(as_json) if watch else show_status(as_json))
