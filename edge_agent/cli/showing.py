"""``status``, in a module of its own that loads no command-line library: it must be quick on a slow till."""

from __future__ import annotations

import datetime as dt
import os
import sys
import time
from collections.abc import Callable

from edge_agent.cli.asking import ask_daemon
from edge_agent.cli.exits import Exit, told
from edge_agent.cli.output import plain, print_json, print_line
from edge_agent.errors import EdgeAgentError

TYPE_CHECKING = False  # typing's own takes as long to load as Python itself
if TYPE_CHECKING:
    from typing import Any

_FOR_PEOPLE = ("journal damaged", "can't be offered again", "disk full", "disk nearly full", "no backup")

WATCH_EVERY_S = 2.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def show_status(as_json: bool) -> Exit:
    """Print the status, as the daemon tells it or, where none can be asked, by looking; returns the exit code."""
    answer = ask_daemon()
    if answer is None:
        return _look_and_show(as_json)
    body, state = answer
    if as_json:
        print_line(body)
    else:
        print("\n".join(_words(state)))
    return exit_of_status(state)


def _look_and_show(as_json: bool) -> Exit:
    from edge_agent.lean import without

    with without("typing_extensions"):  # msgspec copes, as it does where that is missing; a tenth of the time
        import msgspec  # noqa: F401
    from edge_agent.agent import EdgeAgent

    try:
        with EdgeAgent.open() as agent:
            state = agent.status()
    except EdgeAgentError as error:
        return told(error, as_json)
    if as_json:
        print_json(state)
    else:
        print("\n".join(_words(state)))
    return exit_of_status(state)


def _words(state: dict[str, Any]) -> list[str]:
    from edge_agent.status import in_words

    return [plain(line) for line in in_words(state, dt.datetime.now(dt.UTC))]


def watch_status(as_json: bool, pause: Callable[[float], None] = time.sleep) -> Exit:
    """Show the status again and again, until Ctrl-C: a terminal shows the present one, a file or a program gets one
    after the other.

    Args:
        as_json: a JSON value a line.
        pause: waits so many seconds.

    Returns:
        The exit code of the last one.
    """
    from edge_agent.agent import EdgeAgent
    from edge_agent.domain.calendar import zone

    live = sys.stdout.isatty() and not as_json and os.environ.get("TERM") != "dumb"
    code = Exit.FINE
    try:
        with EdgeAgent.open() as agent:
            while True:
                state = agent.status()
                code = exit_of_status(state)
                if as_json:
                    print_json(state)
                else:
                    now = dt.datetime.now(zone(state["store"]["timezone"]))
                    lines = [f"{now:%H:%M:%S}", *_words(state)]
                    print((_CLEAR if live else "") + "\n".join(lines) + ("" if live else "\n"), flush=True)
                pause(WATCH_EVERY_S)
    except EdgeAgentError as error:
        return told(error, as_json)
    except (KeyboardInterrupt, BrokenPipeError):
        return code


def exit_of_status(state: dict[str, Any]) -> Exit:
    """The exit code that a status stands for."""
    error_code = (state["last_error"] or {}).get("code")
    needs = needs_a_person(state) or error_code in ("NOT_SIGNED_IN", "POISON_STORM")
    return Exit.NEEDS_A_PERSON if needs else Exit.FINE


def needs_a_person(state: dict[str, Any]) -> bool:
    """Whether something stands in a status that does not mend itself."""
    held = any(dataset["held_sweep"] for dataset in state["datasets"].values())
    told = any(incident["open"] and incident["kind"] in _FOR_PEOPLE for incident in state["incidents"])
    return bool(state["quarantined"] or held or told or state["receipts"]["differences"])
