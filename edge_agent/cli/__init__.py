"""``edge-agent``: each command parses, calls one function, and prints."""

import sys


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    if words and words[0] == "status" and words[1:] in ([], ["--json"]):
        # What people type in an outage needs no parser, and is there three times sooner without one.
        from edge_agent.cli.showing import show_status

        sys.exit(show_status(as_json="--json" in words))
    if words == ["run"]:  # it runs for months: what only parsing needs would stay in memory
        from edge_agent.cli.running import run_daemon

        sys.exit(run_daemon())
    from edge_agent.cli.app import app

    app()
