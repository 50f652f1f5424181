"""``backup`` and ``restore``: the journal's copies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.door import Json, opened
from edge_agent.cli.exits import Exit, errors_in_words
from edge_agent.cli.output import print_json, print_table

if TYPE_CHECKING:
    from edge_agent.restore import Backup, Restored


def backup(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Where to; else the setting backup_folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy this device's sales to a file and check it; selling goes on meanwhile.

    Example: edge-agent backup
    """
    with opened(as_json) as agent:
        made = agent.backup(to)
    if as_json:
        print_json({"schema": 1, **_backup_json(made)})
        return
    print(f"{_entries(made.sales, made.usages)} copied to {made.path} and checked.")


def restore(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A file that backup made.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the backups there are; restores nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in place of this device's sales; what was recorded after it is kept as well.

    Example: edge-agent restore --list
    """
    if (file is None) is not list_them:
        raise typer.BadParameter("name a backup, or say --list", param_hint="FILE")
    from edge_agent.clock import Clock
    from edge_agent.restore import backups_of
    from edge_agent.restore import restore as put_back
    from edge_agent.settings import find_home, load_settings

    with errors_in_words(as_json):
        home = find_home()
        settings = load_settings(home)
        if file is None:
            _list(backups_of(home, settings), as_json)
            return
        done = put_back(home, settings, file, Clock())
        if as_json:
            print_json(_restored_json(done))
        else:
            for line in _in_words(done):
                print(line)
        if done.taken_over.unreadable or done.taken_over.conflicts:
            raise typer.Exit(Exit.NEEDS_A_PERSON)


def _list(found: list[Backup], as_json: bool) -> None:
    if as_json:
        print_json({"schema": 1, "backups": [_backup_json(one) for one in found]})
    elif not found:
        print("There is no backup of this device yet. Make one with edge-agent backup.")
    else:
        rows = [
            (f"{one.taken_at.astimezone():%Y-%m-%d %H:%M:%S}", f"{one.sales:,}", one.last_number, one.path)
            for one in found
        ]
        print_table(("when", "sales", "last number", "file"), rows, numeric=("sales", "last number"), whole=("when",))


def _backup_json(one: Backup) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "taken_at": f"{one.taken_at:%Y-%m-%dT%H:%M:%SZ}",
        "device_id": one.device_id,
        "sales": one.sales,
        "usages": one.usages,
        "last_number": one.last_number,
        "bytes": one.bytes,
    }


def _restored_json(done: Restored) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": 1,
        "file": str(done.file),
        "journal_id": done.journal_id,
        "sales": done.sales,
        "usages": done.usages,
        "last_number": done.last_number,
        "replaced": None if done.replaced is None else str(done.replaced),
        "taken_over": asdict(done.taken_over),
    }


def _entries(sales: int, usages: int) -> str:
    return f"{sales:,} {'sale' if sales == 1 else 'sales'} and {usages:,} promotion {'use' if usages == 1 else 'uses'}"


def _in_words(done: Restored) -> list[str]:
    """What a restore did, in a few sentences."""
    taken = done.taken_over
    words = [f"{_entries(done.sales, done.usages)} are back from {done.file}."]
    if taken.sales or taken.usages:
        words.append(f"{_entries(taken.sales, taken.usages)} recorded after that backup were taken over as well.")
    if done.replaced is not None:
        words.append(f"The journal that was there before is kept as {done.replaced}.")
    words.append("New sales are counted from 1 again, under a new journal id. Send what waits with edge-agent sync.")
    if taken.without_bytes:
        words.append(
            f"{taken.without_bytes:,} older entries that head office has confirmed are only in the replaced journal."
        )
    if taken.unreadable:
        words.append(
            f"{taken.unreadable:,} places of the replaced journal could not be read. Keep that file and call support."
        )
    if taken.conflicts:
        words.append(f"{len(taken.conflicts):,} ids stand for other sales there: {', '.join(taken.conflicts[:5])}.")
    return words
