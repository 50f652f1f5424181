"""A raw socket that plays head office's stream of hints as a test wants it; all else goes to the real head office."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

PATIENCE_S = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"  # no length: it ends with the connection
HINT = b'event: changed\ndata: {"version": 1}\n\n'


class Actor:
    """One connection that asked for the stream.

    Args:
        line: the connection.
        head: the request as it came.
        over: set when the stage closes.
    """

    def __init__(self, line: socket.socket, head: bytes, over: threading.Event) -> None:
        self.line = line
        self.head = head
        self.over = over

    def says(self, *texts: bytes) -> None:
        """Send, piece by piece."""
        for text in texts:
            self.line.sendall(text)

    def waits(self, seconds: float = PATIENCE_S) -> bool:
        """Say nothing for a while, or until the stage closes; whether it closes."""
        return self.over.wait(seconds)

    def waits_for_the_end(self) -> None:
        """Say nothing until the device goes away."""
        with contextlib.suppress(OSError):
            while self.line.recv(65_536):
                pass


class Stage:
    """A port.

    Args:
        play: what happens on a connection that asks for the stream.
        office_port: where all other connections lead; 0: nowhere.
        tls: speak TLS.
    """

    def __init__(self, play: Callable[[Actor], None], office_port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.play = play
        self.heads: list[bytes] = []  # of the requests for the stream
        self._office_port = office_port
        self._tls = tls
        self._over = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    @property
    def asked(self) -> int:
        """How often the stream was asked for."""
        return len(self.heads)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a connection of the stage does not end"

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="stage", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, line)

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_:
            if self._tls is not None:
                line = self._tls.wrap_socket(line, server_side=True)
            open_.enter_context(line)
            self._open.add(line)
            open_.callback(self._open.discard, line)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := line.recv(65_536)):
                    return
                head += more
            if b"/sync/events/" in head.partition(b"\r\n")[0]:
                self.heads.append(head)
                self.play(Actor(line, head, self._over))
            elif self._office_port:
                self._relay(line, head)

    def _relay(self, line: socket.socket, head: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self._office_port)) as office:
            self._open.add(office)
            self._spawn(_carry, office, line)
            office.sendall(head)
            _carry(line, office)
            self._open.discard(office)


def _carry(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while text := one.recv(65_536):
            other.sendall(text)
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
