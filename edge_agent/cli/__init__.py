"""``edge-agent``: each command parses, calls one function, and prints."""


def main() -> None:
    """Run the command line."""
    from edge_agent.cli.app import app

    app()
