"""Several worker processes that serve one head office, on one port and one PostgreSQL database."""

import contextlib
import multiprocessing
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import uvicorn

from ho_stub.app import create_app, listen
from ho_stub.database import is_url
from ho_stub.world import Profile, World

SHORT_LIFE_S = 5.0  # a worker that ends sooner would end again
LOOK_EVERY_S = 0.5
END_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Office:
    """What a worker serves: the head office that is in this database."""

    db: str
    profile: Profile


class Server(uvicorn.Server):
    """uvicorn, but streams of hints end with it: by themselves they never would."""

    def __init__(self, config: uvicorn.Config, world: World) -> None:
        super().__init__(config)
        self._world = world

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._world.bell.close()
        await super().shutdown(sockets)


def check(count: int, db: str, *, bench: bool) -> None:
    """Raises ValueError, with the mend, where several workers can't be."""
    if count > 1 and not is_url(db):
        raise ValueError(
            "--workers needs a database that several processes may write into: --db postgresql://user@host/name. "
            "A file is served by one."
        )
    if count > 1 and bench:
        raise ValueError("--faults and --bench keep their switches in one process: leave out --workers.")


def serve(world: World, listener: socket.socket) -> None:
    """Serve until a signal; then the world is closed."""
    Server(uvicorn.Config(create_app(world), log_level="info", lifespan="off", ws="none"), world).run([listener])
    world.close()


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """A listening socket for each worker, all on one port. Linux spreads connections over them; elsewhere it is one
    socket that all listen on."""
    if count == 1 or sys.platform != "linux":
        return [listen(host, port)] * count
    first = listen(host, port, spread=True)
    return [first, *(listen(host, first.getsockname()[1], spread=True) for _ in range(count - 1))]


def serve_all(office: Office, sockets: list[socket.socket]) -> bool:
    """One worker for each socket, until SIGINT or SIGTERM; one that ends is started again.

    Returns:
        False if a worker could not live: all are ended then.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    workers = [Worker(office, one) for one in sockets]
    try:
        while not stop.is_set():
            wait([worker.process.sentinel for worker in workers], LOOK_EVERY_S)
            for worker in workers:
                if not stop.is_set() and not worker.lives():
                    return False
        return True
    finally:
        for worker in workers:
            worker.end()


class Worker:
    """One process, and its socket: connections that wait there outlive it."""

    def __init__(self, office: Office, listener: socket.socket) -> None:
        self._office = office
        self._listener = listener
        self._start()

    def _start(self) -> None:
        self._since = time.monotonic()
        context = multiprocessing.get_context("spawn")
        self.process: BaseProcess = context.Process(target=_work, args=(self._office, self._listener))
        self.process.start()

    def lives(self) -> bool:
        """False if it ended right after its start; ended later, it is started again."""
        if self.process.is_alive():
            return True
        if time.monotonic() - self._since < SHORT_LIFE_S:
            return False
        self._start()
        return True

    def end(self) -> None:
        """Ask it to end, and wait."""
        self.process.terminate()
        self.process.join(END_S_MAX)
        if self.process.is_alive():
            self.process.kill()


def _work(office: Office, listener: socket.socket) -> None:
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the whole group; uvicorn has ended by then
        serve(World(office.db, profile=office.profile, joins=True), listener)
