"""What every command needs: the opened agent, and the options that many share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.exits import Exit, errors_in_words
from edge_agent.cli.output import print_json

if TYPE_CHECKING:
    from edge_agent.agent import EdgeAgent

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Show at most so many.")]


def group(help_text: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(no_args_is_help=True, help=help_text, rich_markup_mode=None)


@contextmanager
def opened(as_json: bool) -> Iterator[EdgeAgent]:
    """This device's agent, with its errors told in words."""
    from edge_agent.agent import EdgeAgent

    with errors_in_words(as_json), EdgeAgent.open() as agent:
        yield agent


def not_here(message: str, as_json: bool) -> None:
    """Say that what was asked for is not on this device, and exit."""
    print(f"edge-agent: {message}", file=sys.stderr)
    if as_json:
        print_json({"schema": 1, "error": {"code": "NOT_FOUND", "message": message, "hint": "Check the id."}})
    raise typer.Exit(Exit.FAILED)
