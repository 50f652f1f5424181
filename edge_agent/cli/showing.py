"""``status``, in a module of its own that loads no command-line library: it must be quick on a slow till."""

from __future__ import annotations

import datetime as dt
from typing import Any

from edge_agent.cli.exits import Exit, told
from edge_agent.cli.output import plain, print_json
from edge_agent.errors import EdgeAgentError

_FOR_PEOPLE = ("journal damaged", "can't be offered again", "disk full", "disk nearly full", "no backup")


def show_status(as_json: bool) -> Exit:
    """Print the status; returns the exit code."""
    from edge_agent.agent import EdgeAgent
    from edge_agent.status import in_words

    try:
        with EdgeAgent.open() as agent:
            state = agent.status()
    except EdgeAgentError as error:
        return told(error, as_json)
    if as_json:
        print_json(state)
    else:
        for line in in_words(state, dt.datetime.now(dt.UTC)):
            print(plain(line))
    error_code = (state["last_error"] or {}).get("code")
    needs = needs_a_person(state) or error_code in ("NOT_SIGNED_IN", "POISON_STORM")
    return Exit.NEEDS_A_PERSON if needs else Exit.FINE


def needs_a_person(state: dict[str, Any]) -> bool:
    """Whether something stands in a status that does not mend itself."""
    held = any(dataset["held_sweep"] for dataset in state["datasets"].values())
    told = any(incident["open"] and incident["kind"] in _FOR_PEOPLE for incident in state["incidents"])
    return bool(state["quarantined"] or held or told or state["receipts"]["differences"])
