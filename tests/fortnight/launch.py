"""Starts a program of the shop in simulated time: ``python -m tests.fortnight.launch run|status|pos …``."""

from __future__ import annotations

import sys

from tests.fortnight.clockwork import move_the_agent, of_environment


def main() -> None:
    """Run ``edge-agent`` with these words, or the embedded till."""
    move_the_agent(of_environment())
    if sys.argv[1] == "pos":
        from tests.fortnight.pos import sell

        sell()
        return
    from edge_agent.cli import main as edge_agent

    edge_agent()


if __name__ == "__main__":
    main()
