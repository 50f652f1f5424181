"""The commands of ``edge-agent``. Heavy parts load inside the commands that need them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge_agent import __version__
from edge_agent.cli.browsing import products_app, promotions_app
from edge_agent.cli.doctor import doctor
from edge_agent.cli.door import Json
from edge_agent.cli.exits import Exit, errors_in_words
from edge_agent.cli.health import health
from edge_agent.cli.keeping import backup, restore
from edge_agent.cli.outbox import outbox_app
from edge_agent.cli.output import print_json, print_table
from edge_agent.cli.page import page
from edge_agent.cli.selling import sale_app, usage_app
from edge_agent.cli.syncing import run_sync, status, sync
from edge_agent.cli.verifying import verify

app = typer.Typer(
    name="edge-agent",
    help="Sells on when the line to head office fails, and brings everything there when it is back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"edge-agent {__version__}")
        raise typer.Exit


@app.callback()
def common(
    home: Annotated[
        Path | None, typer.Option("--home", help="This device's home; else EDGE_AGENT_HOME.", show_default=False)
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options for every command."""
    if home is not None:
        os.environ["EDGE_AGENT_HOME"] = str(home)


@app.command()
def init(
    url: Annotated[str | None, typer.Option(envvar="EDGE_AGENT_URL", help="Head office's address.")] = None,
    username: Annotated[
        str | None, typer.Option(envvar="EDGE_AGENT_USERNAME", help="The device account's user name.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    company: Annotated[
        str | None, typer.Option(envvar=["EDGE_AGENT_COMPANY", "EDGE_AGENT_COMPANY_ID"], help="The company's id.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(envvar=["EDGE_AGENT_STORE", "EDGE_AGENT_STORE_ID"], help="The store's id.")
    ] = None,
    brand: Annotated[
        str | None, typer.Option(envvar=["EDGE_AGENT_BRAND", "EDGE_AGENT_BRAND_ID"], help="The brand's id.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(envvar=["EDGE_AGENT_DEVICE", "EDGE_AGENT_DEVICE_ID"], help="This device's name, such as pos-02."),
    ] = None,
    token_path: Annotated[
        str | None, typer.Option(envvar="EDGE_AGENT_TOKEN_PATH", help="Where head office signs in: /api/token/.")
    ] = None,
    auth_scheme: Annotated[
        str | None, typer.Option(envvar="EDGE_AGENT_AUTH_SCHEME", help="Bearer, or Token with a static key.")
    ] = None,
    sales_path: Annotated[
        str | None,
        typer.Option(envvar="EDGE_AGENT_SALES_PATH", help="Where a baseline head office takes sales: /api/sales/."),
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option(envvar="EDGE_AGENT_CA_FILE", help="A private certificate authority (PEM).")
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option(envvar="EDGE_AGENT_CURRENCY", help="The store's currency, to sell before the first contact: IDR."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Set this device up: settings, sign-in, first pull.

    Example: edge-agent init --url https://ho.example.com --username pos-02 --company … --store … --brand … --device
    pos-02
    """
    from edge_agent.clock import Clock
    from edge_agent.settings import make_settings, stored_values
    from edge_agent.setup import choose_home, set_up

    with errors_in_words(as_json):
        given = {
            "url": url or _ask("Head office's address"),
            "username": username or ("" if auth_scheme == "Token" else _ask("User name")),
            "company_id": company or _ask("Company id"),
            "store_id": store or _ask("Store id"),
            "brand_id": brand or _ask("Brand id"),
            "device_id": device or _ask("This device's name"),
            "token_path": token_path,
            "auth_scheme": auth_scheme,
            "sales_path": sales_path,
            "ca_file": ca_file,
            "currency": currency,
        }
        _refuse_missing(given)
        home = choose_home()
        # Set up again (a new password, say): what init does not ask for stays as it was.
        settings = make_settings(stored_values(home) | {key: value for key, value in given.items() if value})
        done = set_up(home, settings, _password(password_stdin), Clock())
        os.environ["EDGE_AGENT_HOME"] = str(done.home)
        if done.later is not None:
            print(f"Settings are kept in {done.home}.", file=sys.stderr)
            print(
                f"Head office can't be asked now ({done.later}): the sign-in and the first prices come with the first "
                "edge-agent sync. "
                + (
                    "Selling works already."
                    if settings.currency
                    else "To sell before that, tell the store's currency: edge-agent init again with --currency."
                ),
                file=sys.stderr,
            )
            if as_json:
                print_json({"schema": 1, "home": str(done.home), "head_office": "unreachable", "pulled": {}})
            raise typer.Exit(Exit.UNREACHABLE)
        print(f"Signed in. Settings are kept in {done.home}.", file=sys.stderr)
        run_sync(as_json, full=False, accept_sweep=False, more={"home": str(done.home)})


def _refuse_missing(given: dict[str, str | None]) -> None:
    from edge_agent.errors import InvalidSettings

    for key in ("url", "company_id", "store_id", "brand_id", "device_id"):
        if not given[key]:
            option = f"--{key.removesuffix('_id')}"
            raise InvalidSettings(key, f"{option} is missing", hint=f"Head office tells it; give it with {option}.")


def _ask(question: str) -> str:
    """Ask the person at the terminal; without one the option is missing, and init names it."""
    return str(typer.prompt(question, err=True)) if sys.stdin.isatty() else ""


def _password(from_stdin: bool) -> str:
    from edge_agent.errors import InvalidSettings

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif "EDGE_AGENT_PASSWORD" in os.environ:
        password = os.environ["EDGE_AGENT_PASSWORD"]
    else:
        password = str(typer.prompt("Password", hide_input=True, err=True)) if sys.stdin.isatty() else ""
    if not password:
        raise InvalidSettings(
            "password", "password: is missing", hint="Give it on standard input with --password-stdin."
        )
    return password


@app.command()
def settings(as_json: Json = False) -> None:
    """Show this device's settings, without secrets.

    Example: edge-agent settings --json
    """
    from dataclasses import asdict

    from edge_agent.settings import find_home, load_settings

    with errors_in_words(as_json):
        home = find_home()
        values = asdict(load_settings(home))
        if as_json:
            print_json({"schema": 1, "home": str(home), "settings": values})
            return
        print(f"Home: {home}")
        print_table(("setting", "value"), list(values.items()))


@app.command()
def run() -> None:
    """Keep this device in sync until it is stopped, and serve the loopback API and the status page.

    Example: edge-agent run
    """
    from edge_agent.cli.running import run_daemon

    raise typer.Exit(run_daemon())


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option("--data", help="A folder with the full complete-journey files.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the home behind, to look around.")] = False,
    as_json: Json = False,
) -> None:
    """Play a shop's day on a real grocer's data: lose the line, go on selling, come back, compare the books.

    Example: edge-agent demo --keep
    """
    from edge_agent.cli.demo import run_demo

    with errors_in_words(as_json):
        raise typer.Exit(Exit.FINE if run_demo(data, keep=keep, as_json=as_json) else Exit.FAILED)


app.command()(sync)
app.command()(verify)
app.command()(status)
app.command()(health)
app.command()(page)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.add_typer(sale_app, name="sale")
app.add_typer(usage_app, name="usage")
app.add_typer(outbox_app, name="outbox")
app.add_typer(products_app, name="products")
app.add_typer(promotions_app, name="promotions")
