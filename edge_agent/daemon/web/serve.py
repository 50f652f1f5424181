"""Serving the loopback API: on 127.0.0.1 alone, perhaps on a Unix socket, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
import sys
import threading
import time
from pathlib import Path

from starlette.applications import Starlette
from uvicorn.config import Config
from uvicorn.server import Server

from edge_agent.daemon.web.protocol import HEADER_BYTES_MAX, KEEP_ALIVE_S, Protocol
from edge_agent.errors import EdgeAgentError, InvalidSettings

ADDRESS = "127.0.0.1"
BACKLOG = 128
START_DEADLINE_S = 30.0
_log = logging.getLogger("edge_agent")


class _Server(Server):
    """Uvicorn's server without its clock: it would wake up ten times a second for a date that the guard tells."""

    def __init__(self, config: Config, up: threading.Event) -> None:
        super().__init__(config)
        self._up = up
        self._end = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._up.set()
        await self._end.wait()

    def end(self) -> None:
        """Stop serving; for any thread."""
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self.loop.call_soon_threadsafe(self._end.set)


class LocalServer:
    """The loopback API on its sockets.

    Args:
        app: what :func:`~edge_agent.daemon.web.app.make_app` made.
        port: the port on 127.0.0.1; 0 takes any free one, None serves the Unix socket alone.
        socket_path: a Unix socket as well.
        group_access: the socket is for the file's group too (0660 instead of 0600).
    """

    def __init__(
        self, app: Starlette, *, port: int | None, socket_path: Path | None = None, group_access: bool = False
    ) -> None:
        self._app = app
        self._asked_port = port
        self._socket_path = socket_path
        self._mode = 0o660 if group_access else 0o600
        self._sockets: list[socket.socket] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None
        self._unheard_since_s: float | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; 0 when it serves the Unix socket alone."""
        return 0 if self._asked_port is None else int(self._sockets[0].getsockname()[1])

    def start(self) -> None:
        """Listen, and serve in a thread.

        Raises:
            InvalidSettings: the port or the Unix socket is taken or can't be had.
        """
        self._sockets = self._listen()
        config = Config(
            self._app,
            http=Protocol,
            ws="none",
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # whoever sends what is no HTTP must not fill the log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            backlog=BACKLOG,
        )
        up = threading.Event()
        self._server = _Server(config, up)
        self._thread = threading.Thread(target=self._run, args=(up,), name="edge-agent-api", daemon=True)
        self._thread.start()
        up.wait(START_DEADLINE_S)
        if self._fault is not None or self._server.loop is None:
            self.stop(START_DEADLINE_S)  # else the port stays taken: by ourselves
            raise EdgeAgentError("the loopback API can't start", hint="Restart edge-agent run.") from self._fault

    def _listen(self) -> list[socket.socket]:
        listeners = [] if self._asked_port is None else [_port(self._asked_port)]
        try:
            return listeners if self._socket_path is None else [*listeners, _unix(self._socket_path, self._mode)]
        except BaseException as error:
            for listener in listeners:
                listener.close()
            if isinstance(error, OSError):
                raise _unusable(self._socket_path, error) from None
            raise

    def _run(self, up: threading.Event) -> None:
        assert self._server is not None
        try:
            with asyncio.Runner() as runner:
                runner.run(self._server.serve(sockets=self._sockets))
        except BaseException as error:  # noqa: BLE001 - told to whoever starts it, else to the log
            self._fault = error
            _log.error("the loopback API ended", exc_info=error)
        finally:
            up.set()

    def is_alive(self) -> bool:
        """Whether it serves."""
        return self._thread is not None and self._thread.is_alive()

    def busy_since_s(self) -> float | None:
        """Since when somebody waits for what does not come, by the monotonic clock: a till for its answer, or this for
        a sign of life from the event loop. None: nobody does."""
        loop = None if self._server is None else self._server.loop
        if loop is not None and self._unheard_since_s is None:
            self._unheard_since_s = time.monotonic()
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._hear)
        since_s = self._unheard_since_s, self._app.state.pools.busy_since_s()
        return min((one for one in since_s if one is not None), default=None)

    def _hear(self) -> None:
        self._unheard_since_s = None

    def stop(self, deadline_s: float = 5.0) -> bool:
        """Take no more requests, answer those at hand, end the streams.

        Args:
            deadline_s: how long to wait, seconds.

        Returns:
            Whether it ended in time. A sale that was not answered may be stored: the till asks again with its id.
        """
        end_s = time.monotonic() + deadline_s
        self._app.state.stream.close()
        if self._server is not None:
            # What has not ended by then is cut off, so that the loop itself ends within the deadline.
            self._server.config.timeout_graceful_shutdown = max(1, int(deadline_s * 0.6))
            self._server.end()
        if self._thread is not None:
            self._thread.join(max(0.0, end_s - time.monotonic()))
        for each in self._sockets:
            each.close()
        if self._socket_path is not None:
            with contextlib.suppress(OSError):
                self._socket_path.unlink()
        return self._app.state.pools.close(max(0.0, end_s - time.monotonic())) and not self.is_alive()


def _unusable(path: Path | None, error: OSError) -> InvalidSettings:
    return InvalidSettings(
        "local_socket",
        f"local_socket: {path} can't be made: {error.strerror or error}",
        hint="Use a short path in a folder that this user may write, such as the home.",
    )


def _port(port: int) -> socket.socket:
    # With its protocol named the loop switches Nagle's algorithm off on what it accepts: an answer of two small
    # writes would else wait for the other side's delayed acknowledgement, 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif sys.platform == "win32":  # there, reuse would let another program take the port as well
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind((ADDRESS, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            why = "is taken by another program" if error.errno == errno.EADDRINUSE else "may not be used by this user"
            raise InvalidSettings(
                "local_port",
                f"local_port: {ADDRESS}:{port} {why}",
                hint="Set another local_port in settings.toml, or end the other program; 0 serves no API.",
            ) from None
        raise InvalidSettings(
            "local_port", f"local_port: {ADDRESS}:{port} can't be used: {error.strerror}", hint="Set another one."
        ) from None
    return listener


def _unix(path: Path, mode: int) -> socket.socket:
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise InvalidSettings(
            "local_socket",
            "local_socket: Unix sockets are not for Windows",
            hint="Leave local_socket empty: tills use the port.",
        )
    _make_way(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # nobody else may connect, not even for the moment before its mode is set
    try:
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(path, error) from None
    finally:
        os.umask(mask)
    return listener


def _make_way(path: Path) -> None:
    """Take away the socket of a program that was killed; one that somebody serves stays."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return  # there is none; what else is wrong shows when it is made
    if is_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(2.0)
            try:
                caller.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
                return
            except OSError:
                pass
    what = "is served by another program" if is_socket else "is a file, and no socket"
    raise InvalidSettings(
        "local_socket",
        f"local_socket: {path} {what}",
        hint="End the other program, or name another path.",
    )
