"""Exit codes, and errors in words for the person at the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum

from edge_agent.cli.output import plain, print_json
from edge_agent.errors import (
    AlreadyRunning,
    EdgeAgentError,
    InvalidSale,
    InvalidSettings,
    NotSignedIn,
    StoreBroken,
    Unreachable,
)


class Exit(IntEnum):
    """What a command's exit code means; ``docs/cli.md`` lists them."""

    FINE = 0
    FAILED = 1
    WRONG_USAGE = 2
    NEEDS_A_PERSON = 3
    UNREACHABLE = 4
    NOT_SIGNED_IN = 5
    STORE_PROBLEM = 6
    LOCKED = 7


_OF_ERROR: tuple[tuple[type[EdgeAgentError], Exit], ...] = (
    (InvalidSettings, Exit.WRONG_USAGE),
    (NotSignedIn, Exit.NOT_SIGNED_IN),
    (StoreBroken, Exit.STORE_PROBLEM),
    (AlreadyRunning, Exit.LOCKED),
)


def exit_of(error: EdgeAgentError) -> Exit:
    """The exit code of an error."""
    if error.code == "POISON_STORM":
        return Exit.NEEDS_A_PERSON
    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), Exit.FAILED)


def worst_exit(errors: Iterable[EdgeAgentError]) -> Exit:
    """The exit code of several errors: what stops most comes first."""
    order = (
        Exit.STORE_PROBLEM,
        Exit.NOT_SIGNED_IN,
        Exit.UNREACHABLE,
        Exit.FAILED,
        Exit.NEEDS_A_PERSON,
    )
    codes = {exit_of(error) for error in errors}
    return next((code for code in order if code in codes), Exit.FINE)


def say_error(error: EdgeAgentError) -> None:
    """An error as two lines on stderr: what is wrong, and what to do."""
    text = str(error) if isinstance(error, InvalidSale) else error.message
    print(f"edge-agent: {plain(text)}", file=sys.stderr)
    if error.hint and not isinstance(error, InvalidSale):
        print(f"  {plain(error.hint)}", file=sys.stderr)


def error_json(error: EdgeAgentError) -> dict[str, object]:
    """An error as ``--json`` prints it."""
    if isinstance(error, InvalidSale):
        fields: dict[str, str] = error.as_dict()
    else:
        fields = {"code": error.code, "message": error.message, "hint": error.hint}
        if isinstance(error, InvalidSettings):
            fields["field"] = error.key
    return {"schema": 1, "error": fields}


def told(error: EdgeAgentError, as_json: bool) -> Exit:
    """Tell an error on stderr, and on stdout for programs; returns its exit code."""
    say_error(error)
    if as_json:
        print_json(error_json(error))
    return exit_of(error)


@contextmanager
def errors_in_words(as_json: bool) -> Iterator[None]:
    """Turns the agent's errors into words and exit codes; anything else is a bug and shows itself."""
    import typer

    try:
        yield
    except EdgeAgentError as error:
        raise typer.Exit(told(error, as_json)) from None
    except BrokenPipeError:
        raise typer.Exit(Exit.FINE) from None
