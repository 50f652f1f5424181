"""``outbox``: what waits for head office, and what it refused."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_agent.cli.door import Json, Limit, group, not_here, opened
from edge_agent.cli.output import print_json, print_table

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
    from dataclasses import asdict

    from edge_agent.status import utc_text

    with opened(as_json) as agent:
        lines = agent.outbox(state=state, limit=limit)
        if as_json:
            print_json({"schema": 1, "entries": [asdict(line) for line in lines], "total": len(lines)})
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
                    utc_text(line.recorded_ms),
                    f"held: {_held(line.held_by)}" if line.held_by else line.state,
                    line.reason,
                )
                for line in lines
            ],
            numeric=("number", "total"),
        )


def _held(by: str) -> str:
    return by if " " in by else f"its sale {by} comes first"


@outbox_app.command("show")
def outbox_show(
    external_id: Annotated[str, typer.Argument(metavar="ID", help="The entry's external_id.")], as_json: Json = False
) -> None:
    """Show one entry: its state, head office's words, and the bytes that are sent."""
    from dataclasses import asdict

    import msgspec

    from edge_agent.status import utc_text

    with opened(as_json) as agent:
        found = agent.outbox_entry(external_id)
        if found is None:
            not_here(f"no entry {external_id} in this device's outbox", as_json)
            return
        line, body = found
        if as_json:
            print_json({"schema": 1, **asdict(line), "body": None if body is None else msgspec.json.decode(body)})
            return
        times = {"recorded_ms", "first_failed_ms", "last_attempt_ms", "next_attempt_ms"}
        for key, value in asdict(line).items():
            if value is not None:
                shown = utc_text(value) if key in times else value
                print(f"{key.removesuffix('_ms').replace('_', ' '):15} {shown}")
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
        if as_json:
            print_json({"schema": 1, "retried": moved})
        else:
            print(f"{moved} entries are offered again with the next sync.")
        if not moved and not all_entries:
            not_here("none of these entries is refused or waiting", as_json=False)
