"""`ho-stub faults`, and `ho-stub run` with a bench."""

import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ho_stub.world import World


def list_faults() -> None:
    """List every fault that `run --faults`, the bench's route and tests can switch on.

    Example: ho-stub faults
    """
    from ho_stub.faults.table import listing

    typer.echo(listing())


class BenchRun:
    """A head office whose faults can be switched, on a listener. Its chances are those of the plan's seed.

    Raises:
        FaultError, GapError, OSError: the plan can't be read or used.
    """

    def __init__(self, world: "World", plan: Path | None) -> None:
        from ho_stub.faults.plan import Plan, read_plan
        from ho_stub.faults.switched import Faults

        found = read_plan(plan) if plan else Plan()
        self._world = world
        self._faults = Faults(world.gaps, found.seed)
        self._key = secrets.token_hex(16)
        self._planned = len(found.faults)
        found.begin(self._faults)

    def lines(self, url: str) -> list[str]:
        """What is printed at the start."""
        planned = [f"Faults: {self._planned} by the plan, seed {self._faults.seed}"] if self._planned else []
        return [*planned, f"Bench: {url}/_bench/faults/  X-Bench-Key: {self._key}"]

    def run(self, listener: socket.socket) -> None:
        """Serve until Ctrl-C."""
        import uvicorn

        from ho_stub.app import create_app
        from ho_stub.faults.route import Bench
        from ho_stub.faults.server import Server
        from ho_stub.faults.wire import Wire

        world = self._world

        class UntilTheBell(Server):
            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                world.bell.close()  # streams of hints would never end by themselves
                await super().shutdown(sockets)

        app = Bench(world, self._faults, self._key).before(create_app(world))
        wire = Wire(app, world, self._faults)
        config = uvicorn.Config(
            wire,
            log_level="info",
            lifespan="off",
            http="h11",
            ws="none",
            date_header=False,  # the wire adds it
        )
        wire.line = UntilTheBell(config, self._faults)
        wire.line.run([listener])
