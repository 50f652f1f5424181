"""``doctor``: what is wrong with this device, and the mend for each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from edge_agent.cli.door import Json
from edge_agent.cli.exits import Exit, errors_in_words
from edge_agent.cli.output import plain, print_json

if TYPE_CHECKING:
    from edge_agent.doctor.check import Check
    from edge_agent.doctor.report import Report

# The worst first: what stops most.
_EXITS = (
    ("store", Exit.STORE_PROBLEM),
    ("settings", Exit.WRONG_USAGE),
    ("sign-in", Exit.NOT_SIGNED_IN),
    ("line", Exit.UNREACHABLE),
    ("person", Exit.NEEDS_A_PERSON),
)
_MARKS = {"fine": "✓", "warn": "!", "bad": "✗", "skipped": "-"}
_PLAIN_MARKS = {"fine": "+", "warn": "!", "bad": "x", "skipped": "-"}
_LABELS = {"fine": "fine", "warn": "note", "bad": "WRONG", "skipped": "not asked"}
_COLOURS = {"fine": "32", "warn": "33", "bad": "31;1", "skipped": "2"}


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Do the mends that are safe, and list them.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody over the network.")] = False,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Pack what support wants to see, without secrets.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look for what is wrong with this device and its line to head office, and say how to mend it.

    Example: edge-agent doctor --bundle support.zip
    """
    from edge_agent.doctor.report import examine

    with errors_in_words(as_json):
        if bundle is not None:
            from edge_agent.doctor.bundle import refuse_to_overwrite

            refuse_to_overwrite(bundle)
        report = examine(fix=fix, offline=offline)
        if as_json:
            print_json(report.as_json())
        else:
            _print(report, sys.stdout)
        if bundle is not None:
            from edge_agent.doctor.bundle import pack

            pack(bundle, report)
            print(f"{bundle} is packed: no passwords, no sales, no card numbers are in it.", file=sys.stderr)
    raise typer.Exit(exit_of(report))


def exit_of(report: Report) -> Exit:
    """The exit code of what was found: notes cost nothing, of what is wrong the worst counts."""
    return next((code for kind, code in _EXITS if kind in report.kinds), Exit.FINE)


def _print(report: Report, stream: TextIO) -> None:
    """What is wrong with its mend, what is good to know, what is fine, what was not asked."""
    bad = [check for check in report.checks if check.state == "bad"]
    for done in report.fixed:
        _say(stream, f"Mended: {done}")
    for failed in report.unfixed:
        _say(stream, f"Could not be mended: {failed}")
    if report.fixed or report.unfixed:
        _say(stream, "")
    if bad:
        _say(stream, f"{len(bad)} {'thing needs' if len(bad) == 1 else 'things need'} somebody.\n")
    else:
        _say(stream, "Nothing is wrong.\n")
    for check in report.wrong:
        _say(stream, _line(check, stream))
        if check.mend:
            _say(stream, f"    What to do: {check.mend}")
    if report.wrong:
        _say(stream, "")
    for check in report.checks:
        if check.state == "fine":
            _say(stream, _line(check, stream))
    skipped: dict[str, list[str]] = {}
    for check in report.checks:
        if check.state == "skipped":
            skipped.setdefault(check.words, []).append(check.name)
    for words, names in skipped.items():
        _say(stream, f"{_label('skipped', stream)}  {', '.join(names)}: {plain(words.removeprefix('Not asked: '))}")


def _line(check: Check, stream: TextIO) -> str:
    return f"{_label(check.state, stream)}  {check.name}: {plain(check.words)}"


def _label(state: str, stream: TextIO) -> str:
    """A mark and a word: colours and letters alone do not reach everybody."""
    marks = _MARKS if _can_show(stream, "✓✗") else _PLAIN_MARKS
    label = f"{marks[state]} {_LABELS[state]}"
    return f"\033[{_COLOURS[state]}m{label}\033[0m" if _is_coloured(stream) else label


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_coloured(stream: TextIO) -> bool:
    """Whether colours help: at a terminal that has them, unless somebody does not want them."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and os.name == "posix"


def _say(stream: TextIO, text: str) -> None:
    """Print; a console that lacks a letter shows a question mark in its place."""
    encoding = stream.encoding or "ascii"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
