"""``edge-agent``: each command parses, calls one function, and prints."""

import io
import os
import sys


def main() -> None:
    """Run the command line."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that this terminal has no letters for must not end a command
            stream.reconfigure(errors="replace")
    code: int | str | None
    try:
        try:
            code = _run(sys.argv[1:])
        except SystemExit as end:  # as the parser ends a command: what was printed is still to be written
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our words has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Give a process that was started without standard streams, as a service or by pythonw, ones that lead nowhere:
    Python has None in their place, and the next file that is opened would get their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - it stays open until the end


def _run(words: list[str]) -> int:
    if words and words[0] == "status" and words[1:] in ([], ["--json"]):
        # What people type in an outage needs no parser, and is there sooner without one.
        import gc

        from edge_agent.cli.showing import show_status

        gc.disable()  # it ends before there is anything to collect; a fifth of the time
        return show_status(as_json="--json" in words)
    if words == ["run"]:  # it runs for months: what only parsing needs would stay in memory
        from edge_agent.cli.running import run_daemon

        return run_daemon()
    from edge_agent.cli.app import app

    app()
    return 0
