"""Carries bytes between two ports without understanding them: cuts, damages or withholds what TLS would say."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

PATIENCE_S = 10.0
PLAIN_ANSWER = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class Relay:
    """A port that leads to another one.

    Args:
        to_port: where it leads.
    """

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.port = 0
        self.cut_after: int | None = None  # bytes towards the device, then the end
        self.damage_at: int | None = None  # which byte towards the device is changed
        self.silent = False  # accepts, and never says a word
        self.plain = False  # answers as a server does that speaks no TLS
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def start(self) -> Self:
        """Open the port."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._spawn(self._accept, self._listener)
        return self

    def stop(self) -> None:
        """Close it and every connection."""
        assert self._listener is not None
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a connection of the relay does not end"

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="relay", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                device, _ = listener.accept()
            except OSError:
                return
            self._open.add(device)
            self._spawn(self._serve, device)

    def _serve(self, device: socket.socket) -> None:
        with device, contextlib.suppress(OSError):
            if self.silent or self.plain:
                device.recv(65_536)
                if self.plain:
                    device.sendall(PLAIN_ANSWER)
                while device.recv(65_536):
                    pass
                return
            with socket.create_connection(("127.0.0.1", self.to_port)) as office:
                self._open.add(office)
                self._spawn(self._upwards, device, office)
                self._downwards(device, office)
                with contextlib.suppress(OSError):
                    device.shutdown(socket.SHUT_RDWR)
                self._open.discard(office)
        self._open.discard(device)

    def _upwards(self, device: socket.socket, office: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := device.recv(65_536):
                office.sendall(data)
            office.shutdown(socket.SHUT_WR)

    def _downwards(self, device: socket.socket, office: socket.socket) -> None:
        passed = 0
        while data := office.recv(65_536):
            if self.cut_after is not None and passed + len(data) >= self.cut_after:
                device.sendall(data[: self.cut_after - passed])
                return
            if self.damage_at is not None and passed <= self.damage_at < passed + len(data):
                place = self.damage_at - passed
                data = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
            passed += len(data)
            device.sendall(data)
