"""A head office that costs next to nothing: ready-made pages from a folder, proper results for sales, nothing stored.

``python -m bench.sink FOLDER`` prints its port. The folder holds ``version.json`` and pages as ``<cursor>.gz``.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

EMPTY_PAGE = (
    b'{"%s":[],"deleted_ids":[],"sync_timestamp":"2026-01-27T09:10:42Z","total":0,"total_available":0,'
    b'"next_cursor":"end","has_more":false,"snapshot":true}'
)
GZIP = 31


class _Sale(msgspec.Struct):
    external_id: str


class _Batch(msgspec.Struct):
    sales: list[msgspec.Raw]


class _Result(msgspec.Struct):
    external_id: str
    fingerprint: str
    status: str = "created"
    id: str = "7d0c5ae0-0000-4000-8000-000000000000"
    code: str | None = None
    error: str | None = None
    warnings: tuple[()] = ()


_batch = msgspec.json.Decoder(_Batch).decode
_sale = msgspec.json.Decoder(_Sale).decode


def accept(body: bytes) -> bytes:
    """Proper results for a batch: each sale created, with the fingerprint of the bytes that came."""
    results = [_Result(_sale(raw).external_id, hashlib.sha256(raw).hexdigest()) for raw in _batch(body).sales]
    return msgspec.json.encode({"results": results, "contiguous_seq": len(results)})


class _Sink:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests = 0

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[str, bytes, str]:
        """Status, body and further header lines."""
        address = urlsplit(target)
        name = address.path.rstrip("/").rpartition("/")[2]
        if name == "count":
            return "200 OK", b"%d" % self.requests, ""
        self.requests += 1
        if method == "POST":
            if headers.get("content-encoding") == "gzip":
                body = zlib.decompress(body, GZIP)
            return "200 OK", accept(body), ""
        if name == "version":
            content = (self.folder / "version.json").read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            if headers.get("if-none-match") == etag:
                return "304 Not Modified", b"", f"ETag: {etag}\r\n"
            return "200 OK", content, f"ETag: {etag}\r\n"
        if name == "products":
            cursor = parse_qs(address.query).get("cursor", ["start"])[0]
            return "200 OK", (self.folder / f"{cursor}.gz").read_bytes(), "Content-Encoding: gzip\r\n"
        return "200 OK", EMPTY_PAGE % name.encode(), ""

    def serve(self, connection: socket.socket) -> None:
        """One connection until the other side closes it."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _ = line.decode().split(" ")
                headers = {}
                while (line := stream.readline().strip()) != b"":
                    key, _, value = line.decode().partition(":")
                    headers[key.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                status, content, more = self.answer(method, target, headers, body)
                more += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
                connection.sendall(f"HTTP/1.1 {status}\r\n{more}\r\n".encode() + content)


def main() -> None:
    """Serve on a free port until the standard input closes."""
    sink = _Sink(Path(sys.argv[1]))
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)

    def take() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=sink.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    sys.stdin.read()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A sink in a process of its own; gives its address."""
    command = [sys.executable, "-m", "bench.sink", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.communicate()


def requests_so_far(url: str) -> int:
    """How many requests a sink has answered."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/count")
    count = int(connection.getresponse().read())
    connection.close()
    return count


def write_version(folder: Path, version: int) -> None:
    """The version answer of a native head office that has neither stock nor digests."""
    answer = {
        "version": version,
        "last_updated": f"2026-01-27T09:10:{version:02d}Z",
        "epoch": "0191e5a2-0000-7000-8000-00000000000e",
        "capabilities": ["cursor", "sales_batch", "gzip_requests"],
        "datasets": {name: {"version": version, "count": 0} for name in ("categories", "products", "promotions")},
        "store": {"name": "Main", "timezone": "Asia/Jakarta", "day_start": "04:00", "currency": "USD"},
    }
    (folder / "version.json").write_bytes(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
