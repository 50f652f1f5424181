"""``outbox``: what waits for head office, and what it refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, Limit, group, not_here, opened
from edge_agent.cli.exits import Exit
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.portable import Imported

outbox_app = group("What waits for head office.\n\nExample: edge-agent outbox list")


@outbox_app.command("list")
def outbox_list(
    state: Annotated[
        str | None, typer.Option(help="Only pending, quarantined or delivered; else what is not delivered.")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List what waits for head office or was refused, oldest first.

    Example: edge-agent outbox list --state quarantined
    """
    from edge_agent.forms import entry_form

    if state not in (None, "pending", "quarantined", "delivered"):
        raise typer.BadParameter("use pending, quarantined or delivered", param_hint="--state")
    with opened(as_json) as agent:
        lines = agent.outbox(state=state, limit=limit)
        status = agent.status()
        names = ("pending", "quarantined") if state is None else (state,)
        total = sum(status[name] for name in names)
        if as_json:
            print_json({"schema": 1, "entries": [entry_form(line) for line in lines], "total": total})
            return
        if not lines:
            print("Nothing waits, and nothing was refused.")
            return
        print_table(
            ("number", "what", "id", "total", "since", "state", "why"),
            [
                (
                    line.device_seq,
                    line.kind,
                    line.external_id,
                    line.total_amount,
                    _local_time(line.recorded_ms, status),
                    line.state,
                    _held(line.held_by) if line.held_by else line.reason,
                )
                for line in lines
            ],
            numeric=("number", "total"),
            whole=("id", "since", "state"),
        )
        if total > len(lines):
            print(f"{total - len(lines):,} more: give --limit.")


def _held(by: str) -> str:
    return by if " " in by else "its sale goes up first"


def _local_time(ms: int, status: dict[str, Any]) -> str:
    """A moment in the store's time."""
    import datetime as dt

    from edge_agent.domain.calendar import zone

    moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC).astimezone(zone(status["store"]["timezone"]))
    return moment.strftime("%d %b %H:%M")


@outbox_app.command("show")
def outbox_show(
    external_id: Annotated[str, typer.Argument(metavar="ID", help="The entry's external_id.")], as_json: Json = False
) -> None:
    """Show one entry: its state, head office's words, and the bytes that are sent.

    Example: edge-agent outbox show 01a1fc9b-fcb7-7dd4-b8fd-07d5bdb91fdc
    """
    import msgspec

    from edge_agent.forms import entry_form

    with opened(as_json) as agent:
        found = agent.outbox_entry(external_id)
        if found is None:
            not_here(f"no entry {external_id} in this device's outbox", as_json)
            return
        line, body = found
        if as_json:
            print_json({"schema": 1, **entry_form(line), "body": None if body is None else msgspec.json.decode(body)})
            return
        for key, value in entry_form(line).items():
            if value is not None:
                print(f"{key.removesuffix('_at').replace('_', ' '):15} {value}")
        if body is not None:
            print(msgspec.json.format(body, indent=2).decode())


@outbox_app.command("retry")
def outbox_retry(
    external_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Which entries.")] = None,
    all_entries: Annotated[bool, typer.Option("--all", help="Every refused entry.")] = False,
    as_json: Json = False,
) -> None:
    """Offer refused entries to head office again, with the next sync.

    Example: edge-agent outbox retry --all
    """
    if not external_ids and not all_entries:
        raise typer.BadParameter("name the entries, or say --all", param_hint="ID")
    with opened(as_json) as agent:
        moved = agent.retry(None if all_entries else external_ids)
        if not moved and not all_entries:
            not_here("none of these entries is refused or waiting", as_json)
        elif as_json:
            print_json({"schema": 1, "retried": moved})
        else:
            print(f"{moved} {'entry is' if moved == 1 else 'entries are'} offered again with the next sync.")


_BASELINE = (
    "This head office is a baseline one: that a sale which two devices send counts once depends on its own check of "
    "external_id."
)


@outbox_app.command("export")
def outbox_export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file to make; - for standard output.")],
    external_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]…", help="Only these entries; a sale takes its uses along.")
    ] = None,
    all_entries: Annotated[bool, typer.Option("--all", help="Also what head office has.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of this name.")] = False,
    as_json: Json = False,
) -> None:
    """Write what head office has not taken into a file that another device or head office can import.

    Example: edge-agent outbox export waiting.edge
    """
    if file == "-" and as_json:
        raise typer.BadParameter("standard output takes the file or the JSON, not both", param_hint="--json")
    with opened(as_json) as agent:
        target = sys.stdout.buffer if file == "-" else Path(file)
        done = agent.export_outbox(target, external_ids=external_ids or None, delivered=all_entries, force=force)
        sys.stdout.flush()
        _say(f"{_entries(done.sales, done.usages)} written to {'standard output' if file == '-' else done.file}.")
        if done.damaged:
            _say(f"{len(done.damaged)} left out, for their bytes are damaged: {', '.join(done.damaged[:20])}")
        if agent.status()["head_office"]["profile"] == "baseline":
            _say(_BASELINE)
        if as_json:
            print_json(
                {
                    "schema": 1,
                    "file": done.file,
                    "sales": done.sales,
                    "usages": done.usages,
                    "key_id": done.key_id,
                    "damaged": done.damaged,
                }
            )
        if done.damaged:
            raise typer.Exit(Exit.NEEDS_A_PERSON)


@outbox_app.command("import")
def outbox_import(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file of outbox export; - for standard input.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="A copy of the other device's device.key, to prove the origin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take over what another device exported; head office counts it once, as that device's.

    Example: edge-agent outbox import waiting.edge
    """
    with opened(as_json) as agent:
        done = agent.import_outbox(sys.stdin.buffer if file == "-" else Path(file), key=key)
        _say_imported(done)
        if agent.status()["head_office"]["profile"] == "baseline":
            _say(_BASELINE)
        if as_json:
            print_json(
                {
                    "schema": 1,
                    "sales": done.sales,
                    "usages": done.usages,
                    "existing": done.existing,
                    "conflicts": list(done.conflicts),
                    "proved": done.proved,
                }
            )
        if done.conflicts:
            raise typer.Exit(Exit.NEEDS_A_PERSON)


def _say_imported(done: Imported) -> None:
    _say(f"{_entries(done.sales, done.usages)} of {done.device_id} taken over; they go up with the next sync.")
    if done.existing:
        _say(f"{done.existing:,} of the file {'was' if done.existing == 1 else 'were'} here already.")
    if not done.proved:
        _say(
            f"The origin is not proved: the key that sealed the file ({done.key_id}, of {done.device_id}) is not here. "
            "To prove it, import again with --key and a copy of that device's device.key."
        )
    if done.rewound:
        _say("This journal is an older copy of itself: it counts its sales from 1 again, under a new journal_id.")
    if done.conflicts:
        _say(
            f"{len(done.conflicts)} left out, for the same id is another sale here; compare with edge-agent outbox "
            f"show: {', '.join(done.conflicts[:20])}"
        )


def _entries(sales: int, usages: int) -> str:
    return f"{sales:,} {'sale' if sales == 1 else 'sales'} and {usages:,} {'use' if usages == 1 else 'uses'}"


def _say(words: str) -> None:
    """People's words; stdout is for the file and for JSON."""
    print(words, file=sys.stderr)
