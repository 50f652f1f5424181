"""Starts a program of the shop in simulated time: ``python -m tests.fortnight.launch run|status|pos …``."""

from __future__ import annotations

import os
import sys
import threading
import time

from tests.fortnight.clockwork import move_the_agent, of_environment

PARENT_EVERY_S = 2.0


def _end_with_parent() -> None:
    """A play that is killed leaves no daemon behind."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    os._exit(1)


def main() -> None:
    """Run ``edge-agent`` with these words, or the embedded till."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    move_the_agent(of_environment(), sys.argv[1])
    if sys.argv[1] == "pos":
        from tests.fortnight.pos import sell

        sell()
        return
    from edge_agent.cli import main as edge_agent

    edge_agent()


if __name__ == "__main__":
    main()
