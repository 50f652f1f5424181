"""`ho-stub compile`: what stores would be sent for a definition, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ho_stub.world import World


def compile_file(
    file: Annotated[Path, typer.Argument(help="definitions as JSON or TOML: one, a list, or 'promotions' with a list")],
    data: Annotated[
        list[str] | None, typer.Option(help="what they may name, as for `ho-stub run` (say it once for each file)")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="say only what is wrong")] = False,
) -> None:
    """Print a promotion as stores are sent it. What can't be compiled is told with its field.

    Example: ho-stub compile promotions.json --data shop
    """
    import msgspec

    from ho_stub.database import DatabaseError
    from ho_stub.world import World

    try:
        definitions = read_definitions(file)
        world = World(data=data or None)
    except (ValueError, OSError, DatabaseError) as exc:
        typer.secho(str(exc), err=True, fg="red")
        raise typer.Exit(1) from exc
    rows, problems = compiled(definitions, world)
    world.close()
    for problem in problems:
        typer.secho(f"{file.name}, {problem}", err=True, fg="red")
    if problems:
        raise typer.Exit(1)
    if check:
        typer.echo(f"{file.name}: {len(rows)} {'promotion' if len(rows) == 1 else 'promotions'}, nothing wrong")
        return
    text = msgspec.json.encode(rows[0] if len(rows) == 1 else rows)
    typer.echo(msgspec.json.format(text, indent=2).decode())


def read_definitions(path: Path) -> list[Mapping[str, Any]]:
    """The definitions of a file.

    Raises:
        ValueError: it can't be read, or has none.
    """
    from ho_stub.tables import TableError, read_json, read_toml

    found = read_toml(path) if path.suffix == ".toml" else read_json(path)
    if isinstance(found, dict):
        found = found.get("promotions", [found])
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise TableError(f"{path.name}: must hold a promotion, or a list of them under the name promotions.")
    return found


def compiled(definitions: list[Mapping[str, Any]], world: World) -> tuple[list[dict[str, Any]], list[str]]:
    """The compiled rows, and what is wrong in the others, in lines."""
    from ho_stub.promotions.fields import InvalidDefinition

    rows, problems, codes = list[dict[str, Any]](), list[str](), dict[str, int]()
    for number, definition in enumerate(definitions, 1):
        try:
            row = world.promotions.compiled(world.promotions.named(definition))
            if (first := codes.setdefault(row["code"], number)) != number:
                raise InvalidDefinition({"code": f"is that of promotion {first} already"})
            rows.append(row)
        except InvalidDefinition as exc:
            problems += _lines(number, definition, exc.messages)
    return rows, problems


def _lines(number: int, definition: Mapping[str, Any], messages: Mapping[str, str]) -> Iterator[str]:
    from ho_stub.promotions.values import shown

    code = definition.get("code")
    named = f"promotion {number}" + (f" ({shown(code)})" if isinstance(code, str) else "")
    for field, message in messages.items():
        yield f"{named}, {field}: {message}"
