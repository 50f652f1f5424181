"""`ho-stub requests`: the API's example requests for an editor's REST client, or for Postman."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def requests(
    form: Annotated[
        Literal["http", "postman"], typer.Option("--format", help="an HTTP file, or a collection")
    ] = "http",
    profile: Annotated[Literal["native", "baseline"], typer.Option(help="for a stub of this profile")] = "native",
    url: Annotated[str, typer.Option(help="where the stub is")] = "http://127.0.0.1:8700",
    output: Annotated[Path | None, typer.Option(help="write into this file instead of printing")] = None,
) -> None:
    """Print every example request of the API, ready to be made against `ho-stub run`.

    Example: ho-stub requests --format postman --output head-office.json
    """
    from ho_stub.openapi.collect import collection

    text = collection(form, profile, url)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as exc:
        typer.secho(f"{output} can't be written: {exc.strerror}.", err=True, fg="red")
        raise typer.Exit(1) from exc
