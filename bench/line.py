"""A connection that is kept, and HTTP/1.1 by hand: as little work as a device can make itself."""

from __future__ import annotations

import asyncio
import json
import zlib


class Line:
    """A connection that is kept, and HTTP/1.1 on it as far as the stub speaks it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.token = ""

    async def ask(self, method: str, path: str, body: object = None, etag: str = "") -> tuple[int, str, bytes]:
        """Status, ETag and body of the answer; a connection that the server closed meanwhile is made anew."""
        sent = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", "Accept-Encoding: gzip"]
        lines += [f"Content-Length: {len(sent)}", "Content-Type: application/json"] if sent else []
        lines += [f"Authorization: Bearer {self.token}"] if self.token else []
        lines += [f"If-None-Match: {etag}"] if etag else []
        request = "\r\n".join([*lines, "", ""]).encode() + sent
        try:
            return await self._exchange(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._streams = None
            return await self._exchange(request)

    async def _exchange(self, request: bytes) -> tuple[int, str, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, 31)
        return int(head[0].split()[1]), headers.get("etag", ""), body

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
