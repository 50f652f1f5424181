"""`ho-stub check`: try the contract against a head office and print what was found."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

PASSWORD_VARIABLE = "HO_STUB_PASSWORD"  # noqa: S105 - a name
USAGE = 64


class CheckCommand(TyperCommand):
    """Wrong usage has an exit code of its own: 2 is that of a head office that fails."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments; a mistake in them ends with that code."""
        try:
            return super().parse_args(ctx, args)
        except Exception as exc:
            vars(exc)["exit_code"] = USAGE
            raise


def check(
    url: Annotated[str, typer.Argument(help="head office's address, like https://ho.example.com")],
    company: Annotated[str, typer.Option(help="company id")],
    store: Annotated[str, typer.Option(help="store id")],
    brand: Annotated[str, typer.Option(help="brand id; without it products can't be had of many head offices")] = "",
    username: Annotated[str, typer.Option(help="a device account of that store")] = "",
    password: Annotated[
        str | None, typer.Option(envvar=PASSWORD_VARIABLE, help="or the static key; asked for if not given")
    ] = None,
    token_path: Annotated[str | None, typer.Option(help="where tokens are; default: the usual paths")] = None,
    auth_scheme: Annotated[str, typer.Option(help="Bearer, or Token for a static key")] = "Bearer",
    sales_path: Annotated[str, typer.Option(help="where a baseline head office takes sales")] = "/api/sales/",
    write: Annotated[
        bool, typer.Option("--write", help="also sell, on a device and journal of its own; some of it stays")
    ] = False,
    slow: Annotated[bool, typer.Option("--slow", help="also what takes 20 seconds")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="only checks whose id begins so, like sales. (say it once for each)")
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="write the report as JSON; -: instead of text")
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="print only what isn't well")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="seconds for one whole answer")] = 20.0,
    deadline_s: Annotated[float, typer.Option("--deadline", min=1, help="seconds for the whole check")] = 300.0,
    ca: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="certificates to trust (PEM)")] = None,
) -> None:
    """Try the contract against any head office, and tell what it offers and what is missing.

    Reads only, unless --write is given. Exit codes: 0 conforms, 1 usable with gaps, 2 fails, 3 can't be reached,
    4 nobody could sign in, 64 wrong usage.

    Example: ho-stub check https://ho.example.com --username pos-02 --company … --brand … --store …
    """
    from ho_stub.check.forms import is_id
    from ho_stub.check.inspection import inspect
    from ho_stub.check.options import Options
    from ho_stub.check.report import text

    for name, value in (("--company", company), ("--store", store), ("--brand", brand)):
        if value and not is_id(value):
            _wrong(f"{name} is {value!r}; it must be a UUID in lower case, with hyphens.")
    if not url.startswith(("http://", "https://")):
        _wrong(f"{url!r} is no address; begin it with https:// or http://.")
    if auth_scheme == "Bearer" and not username:
        _wrong("--username is missing; or give --auth-scheme Token and the static key.")
    password = password if password is not None else _ask_password(auth_scheme)
    options = Options(
        url, username, password, company, brand, store, token_path, auth_scheme, sales_path, write, slow,
        tuple(only or ()), timeout_s, deadline_s, str(ca) if ca else None,
    )  # fmt: skip
    report = inspect(options)
    if json_file == "-":
        typer.echo(_as_text(report.as_json()))
    else:
        typer.echo(text(report, brief=brief))
    if json_file not in (None, "-"):
        _save(Path(str(json_file)), _as_text(report.as_json()))
    raise typer.Exit(report.exit_code)


def _as_text(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False)


def _save(path: Path, body: str) -> None:
    try:
        path.write_text(body + "\n", "utf-8")
    except OSError as exc:
        _wrong(f"{path} can't be written: {exc.strerror}.")


def _ask_password(scheme: str) -> str:
    what = "Password" if scheme == "Bearer" else "Static key"
    if not os.isatty(0):
        _wrong(f"There is nobody to ask for the password; give it in the variable {PASSWORD_VARIABLE}.")
    found: str = typer.prompt(what, hide_input=True)
    return found


def _wrong(message: str) -> None:
    typer.secho(message, err=True, fg="red")
    raise typer.Exit(USAGE)
