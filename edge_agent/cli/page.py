"""``page``: opens the status page of this device in a browser."""

from __future__ import annotations

import sys
import webbrowser
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edge_agent.cli.door import Json
from edge_agent.cli.exits import Exit, errors_in_words
from edge_agent.cli.output import print_json

LOOK_S = 2.0
MARK = b"<title>edge-agent</title>"
MARK_WITHIN_BYTES = 4_096


def page(
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the address, and open nothing. Whoever has it can look at the page.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open this device's status page in the browser. The daemon serves it: edge-agent run.

    Example: edge-agent page
    """
    from edge_agent.daemon.web.keys import Keys
    from edge_agent.settings import find_home, load_settings

    with errors_in_words(as_json):
        home = find_home()
        port = _port(home, load_settings(home).local_port)
        if port is None:
            _not_there(as_json)
        address = f"http://127.0.0.1:{port}/#key={Keys.of_home(home).page_key()}"
    if as_json:
        print_json({"schema": 1, "url": address, "port": port})
    elif print_only:
        print(address)
    else:
        _open(address)


def _port(home: Path, local_port: int) -> int | None:
    """Where the daemon serves the page now: what it announced, else what the settings say; None when it does not. The
    port of one that was killed may be another program's by now."""
    from edge_agent.presence import find, lives

    if not lives(home):
        return None
    there = find(home)
    port = there.port if there is not None else local_port
    return port if port and _serves_the_page(port) else None


def _serves_the_page(port: int) -> bool:
    """Whether it is the page that answers there: a key is for nobody else."""
    connection = HTTPConnection("127.0.0.1", port, timeout=LOOK_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status == 200 and MARK in answer.read(MARK_WITHIN_BYTES)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _not_there(as_json: bool) -> NoReturn:
    message = "the page is not there: edge-agent run does not run on this device, or serves no page"
    hint = (
        "Start it with edge-agent run; if it runs, edge-agent doctor tells whether it has its port (local port). "
        "Selling works without the page; edge-agent status tells the same in words."
    )
    print(f"edge-agent: {message}", file=sys.stderr)
    print(f"  {hint}", file=sys.stderr)
    if as_json:
        print_json({"schema": 1, "error": {"code": "NOT_RUNNING", "message": message, "hint": hint}})
    raise typer.Exit(Exit.FAILED)


def _open(address: str) -> None:
    """Show it in the browser; where there is none, say where it is."""
    if webbrowser.open(address):
        print("The status page is open in the browser.")
        return
    print("No browser could be opened. Open this address on this device:", file=sys.stderr)
    print(address)
