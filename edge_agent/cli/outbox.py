"""``outbox``: what waits for head office, and what it refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, Limit, group, not_here, opened
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.recorded import OutboxLine

outbox_app = group("What waits for head office.")


@outbox_app.command("list")
def outbox_list(
    state: Annotated[
        str | None, typer.Option(help="Only pending, quarantined or delivered; else what is not delivered.")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List what waits for head office or was refused, oldest first."""
    if state not in (None, "pending", "quarantined", "delivered"):
        raise typer.BadParameter("use pending, quarantined or delivered", param_hint="--state")
    with opened(as_json) as agent:
        lines = agent.outbox(state=state, limit=limit)
        status = agent.status()
        names = ("pending", "quarantined") if state is None else (state,)
        total = sum(status[name] for name in names)
        if as_json:
            print_json({"schema": 1, "entries": [_line_json(line) for line in lines], "total": total})
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


def _line_json(line: OutboxLine) -> dict[str, Any]:
    """An entry with its times as ISO 8601 in UTC."""
    from dataclasses import asdict

    from edge_agent.status import utc_text

    fields = asdict(line)
    for key in [key for key in fields if key.endswith("_ms")]:
        fields[key.removesuffix("_ms") + "_at"] = utc_text(fields.pop(key))
    return fields


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
    """Show one entry: its state, head office's words, and the bytes that are sent."""
    import msgspec

    with opened(as_json) as agent:
        found = agent.outbox_entry(external_id)
        if found is None:
            not_here(f"no entry {external_id} in this device's outbox", as_json)
            return
        line, body = found
        if as_json:
            print_json({"schema": 1, **_line_json(line), "body": None if body is None else msgspec.json.decode(body)})
            return
        for key, value in _line_json(line).items():
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
    """Offer refused entries to head office again, with the next sync."""
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
