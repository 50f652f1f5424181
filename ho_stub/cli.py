"""`ho-stub`: run a head office on this machine."""

import socket
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

main = typer.Typer(name="ho-stub", help="A head office to try the edge agent against.", no_args_is_help=True)


@main.callback()
def _commands() -> None:
    """Keeps `run` a command of its own while it is the only one."""


@main.command()
def run(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8700,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    db: Annotated[str, typer.Option(help="database file; it keeps sales and changes between runs")] = ":memory:",
    profile: Annotated[Literal["native", "baseline"], typer.Option(help="what head office offers")] = "native",
    data: Annotated[
        list[str] | None,
        typer.Option(help="'sample', a folder in the sample's layout, or JSON files (say it once for each)"),
    ] = None,
    today: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="head office's date; decides which promotions it sends"),
    ] = None,
    gap: Annotated[
        list[str] | None,
        typer.Option(help="a gap of the profile baseline, as NAME or NAME=VALUE (say it once for each); 'list': all"),
    ] = None,
) -> None:
    """Serve until Ctrl-C. The lines printed first can be pasted into `edge-agent init`."""
    from ho_stub import gaps

    if gap and "list" in gap:
        typer.echo(gaps.listing())
        return
    import uvicorn

    from ho_stub.app import create_app, listen
    from ho_stub.database import DatabaseError
    from ho_stub.world import World

    try:
        world = World(db if db == ":memory:" else Path(db), data or None, profile, gap or ())
        world.set_today(today.date() if today else None)
        listener = listen(host, port)
    except (ValueError, OSError, DatabaseError) as exc:
        typer.secho(f"{db}: {exc}" if isinstance(exc, DatabaseError) else str(exc), err=True, fg="red")
        raise typer.Exit(1) from exc
    port = listener.getsockname()[1]
    device = world.device
    typer.echo(f"Head office ({profile}): http://{host}:{port}  API: http://{host}:{port}/docs")
    if gap:
        typer.echo(f"Gaps: {', '.join(gap)}")
    typer.echo(f"Account: {device['username']} / {device['password']}")
    typer.echo(f"Static key: {world.accounts.static_key(device['username'])}\n")
    typer.echo(
        f"edge-agent init --url http://{host}:{port} --username {device['username']} --company {world.company_id} "
        f"--brand {device['brand_id']} --store {device['store_id']} --device {device['username']}"
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            world.bell.close()  # streams of hints would never end by themselves
            await super().shutdown(sockets)

    Server(uvicorn.Config(create_app(world), log_level="info", lifespan="off", ws="none")).run([listener])
    world.close()
