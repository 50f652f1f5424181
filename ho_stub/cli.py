"""`ho-stub`: run a head office on this machine."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from ho_stub.check.command import CheckCommand, check
from ho_stub.compile_command import compile_file
from ho_stub.faults.command import BenchRun, list_faults
from ho_stub.requests_command import requests

main = typer.Typer(name="ho-stub", help="A head office to try the edge agent against.", no_args_is_help=True)


@main.callback()
def _commands() -> None:
    """Keeps `run` a command of its own while it is the only one."""


@main.command()
def run(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8700,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    db: Annotated[str, typer.Option(help="database file, or postgresql://user@host/name; keeps all between runs")] = (
        ":memory:"
    ),
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes that serve; needs PostgreSQL")] = 1,
    profile: Annotated[Literal["native", "baseline"], typer.Option(help="what head office offers")] = "native",
    data: Annotated[
        list[str] | None,
        typer.Option(help="'sample', 'generate:N', a folder, or files (say it once for each)"),
    ] = None,
    today: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="head office's date; decides which promotions it sends"),
    ] = None,
    gap: Annotated[
        list[str] | None,
        typer.Option(help="a gap of the profile baseline, as NAME or NAME=VALUE (say it once for each); 'list': all"),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option(help="a plan of faults, a TOML file (docs/faults.md); `ho-stub faults` lists them")
    ] = None,
    bench: Annotated[bool, typer.Option("--bench", help="let faults be switched at /_bench/faults/")] = False,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="requests a minute for each store's devices")
    ] = None,
) -> None:
    """Serve until Ctrl-C. The lines printed first can be pasted into `edge-agent init`."""
    from ho_stub import gaps

    if gap and "list" in gap:
        typer.echo(gaps.listing())
        return
    from ho_stub import workers as processes
    from ho_stub.database import DatabaseError, without_password
    from ho_stub.world import World

    try:
        processes.check(workers, db, bench=bench or faults is not None)
        world = World(db, data or None, profile, gap or ())
        world.set_today(today.date() if today else None)
        if rate_limit is not None:
            with world.db.write():
                world.rate_limits.set(rate_limit)
        benched = BenchRun(world, faults) if bench or faults else None
        sockets = processes.listeners(host, port, workers)
    except (ValueError, OSError, DatabaseError) as exc:
        where = f"{without_password(db)}: " if isinstance(exc, DatabaseError) else ""
        typer.secho(f"{where}{exc}", err=True, fg="red")
        raise typer.Exit(1) from exc
    port = sockets[0].getsockname()[1]
    device = world.device
    typer.echo(f"Head office ({profile}): http://{host}:{port}  API: http://{host}:{port}/docs")
    if gap:
        typer.echo(f"Gaps: {', '.join(gap)}")
    typer.echo(f"Account: {device['username']} / {device['password']}")
    typer.echo(f"Static key: {world.accounts.static_key(device['username'])}")
    if office := world.office_account:
        typer.echo(f"Office: http://{host}:{port}/  {office['username']} / {office['password']}")
    for line in benched.lines(f"http://{host}:{port}") if benched else []:
        typer.echo(line)
    typer.echo("")
    typer.echo(
        f"edge-agent init --url http://{host}:{port} --username {device['username']} --company {world.company_id} "
        f"--brand {device['brand_id']} --store {device['store_id']} --device {device['username']}"
    )
    if benched:
        benched.run(sockets[0])
        world.close()
    elif workers == 1:
        processes.serve(world, sockets[0])
    else:
        world.close()
        if not processes.serve_all(processes.Office(db, profile), sockets):
            typer.secho("A worker ended as soon as it began; what it said stands above.", err=True, fg="red")
            raise typer.Exit(1)


main.command("compile")(compile_file)
main.command("faults")(list_faults)
main.command("check", cls=CheckCommand)(check)
main.command("requests")(requests)
