"""``run``, in a module that loads no command-line library: the daemon's memory is for months."""

from __future__ import annotations

from edge_agent.cli.exits import Exit, told
from edge_agent.errors import EdgeAgentError


def run_daemon() -> Exit:
    """Run the daemon until a signal ends it; returns the exit code."""
    from edge_agent.daemon.run import run
    from edge_agent.settings import find_home

    try:
        run(find_home())
    except EdgeAgentError as error:
        return told(error, as_json=False)
    return Exit.FINE
