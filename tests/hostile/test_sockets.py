"""The same lies below HTTP: status lines, headers, lengths and chunks turned over, on a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from edge_agent import Item
from edge_agent.settings import load_settings
from tests.sim.till import JumpingClock, SimulatedAgent

from .stage import COLA, DATASETS, Stage, open_stage
from .truths import only_documented_errors

COUNT = int(os.environ.get("HOSTILE_EXAMPLES", "50"))
TALK_S_MAX = 2.0
_HEAD = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Garble:
    """How an answer goes over the socket.

    Args:
        form: of its body: its length, ``chunked``, another length, nothing said.
        flips: where bytes are turned over, put in or left out, in the whole answer.
        before: bytes ahead of it, such as interim answers.
        behind: bytes that follow.
        after: so many answers of the act are honest before.
    """

    form: str
    flips: tuple[tuple[int, str, int], ...]
    before: bytes
    behind: bytes
    after: int = 0

    def said(self, status: int, headers: dict[str, str], body: bytes) -> bytes:
        """The bytes on the line."""
        lines = {name: value for name, value in headers.items() if name not in ("content-length", "transfer-encoding")}
        if self.form == "chunked":
            lines["transfer-encoding"] = "chunked"
            parts = [body[start : start + 700] for start in range(0, len(body), 700)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        elif self.form != "nothing said":
            shift = {"shorter": -7, "longer": 7, "beyond": 10**12, "negative": -(10**6)}.get(self.form, 0)
            lines["content-length"] = str(len(body) + shift)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        said = bytearray(f"HTTP/1.1 {status} OK\r\n{head}\r\n".encode("latin-1") + body)
        for place, how, byte in self.flips:
            at = place % len(said) if said else 0
            if how == "flip" and said:
                said[at] ^= 1 << byte % 8
            elif how == "insert":
                said.insert(at, byte)
            else:
                del said[at : at + 1 + byte % 40]
        return self.before + bytes(said) + self.behind


HONEST = Garble("its length", (), b"", b"")
garbles = st.builds(
    Garble,
    st.sampled_from(("its length", "its length", "chunked", "nothing said", "shorter", "longer", "beyond", "negative")),
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 400), st.integers(0, 10**5)),
            st.sampled_from(("flip", "flip", "insert", "cut")),
            st.integers(0, 255),
        ),
        max_size=4,
    ).map(tuple),
    st.sampled_from(
        (b"", b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, b"\r\n\r\n", b"\x16\x03\x01", b"HTTP/0.9\r\n")
    ),
    st.sampled_from((b"", b"", b"", b"\0", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"x" * 100_000)),
    st.integers(0, 9),
)


class Server:
    """Head office behind a socket that garbles; each connection is closed after one answer."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.garble = HONEST
        self.told = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(TALK_S_MAX)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        asked = b""
        while (head := _HEAD.match(asked)) is None:
            part = connection.recv(65_536)
            if not part:
                return
            asked += part
        headers = dict(line.split(": ", 1) for line in head[3].decode("latin-1").split("\r\n"))
        headers = {name.lower(): value for name, value in headers.items()}
        body = asked[head.end() :]
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65_536)
        request = httpx.Request(head[1].decode(), self.url + head[2].decode(), headers=headers)
        self.told += 1
        garble = self.garble if self.told > self.garble.after else HONEST
        connection.sendall(garble.said(*self._stage.wire.carry(request, body)))
        connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """No more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage() as one:
        yield one


@pytest.fixture
def server(stage: Stage) -> Iterator[Server]:
    one = Server(stage)
    yield one
    one.close()


@pytest.fixture
def agent(stage: Stage, server: Server, tmp_path: Path) -> Iterator[SimulatedAgent]:
    """A till of this head office, with little patience."""
    home = tmp_path / "home"
    shutil.copytree(stage.template, home)
    stage.world.restore(stage.pristine, new_epoch=False)
    known = replace(
        load_settings(home, environment={}), url=server.url, read_timeout_s=0.5, answer_deadline_s=2.0, page_rows=50
    )
    one = SimulatedAgent(home, known, clock=JumpingClock(stage.time), transport=None)  # type: ignore[arg-type]
    yield one
    one.close()


def test_whatever_a_socket_says_ends_in_a_documented_error(
    stage: Stage, server: Server, agent: SimulatedAgent, evidence: Any
) -> None:
    """No garbled answer crashes a cycle, holds it for long, or spoils the catalogue or the books."""
    number = int(os.environ.get("HOSTILE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"HOSTILE_SEED={number}")
    sold: list[str] = []

    @seed(number)
    @settings(
        max_examples=COUNT, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )
    @given(garbles)
    def act(garble: Garble) -> None:
        server.garble, server.told = garble, 0
        sold.append(agent.record_sale([Item(COLA, "1", "7500.00")]).external_id)
        stage.time.passed_s += 7 * 3_600
        only_documented_errors(agent._syncer.run(asked=False))
        agent.status()

    act()
    server.garble = HONEST
    for hours in (0.1, 1.0, 7.0, 25.0, 7.0, 25.0):
        stage.time.passed_s += hours * 3_600
        report = agent._syncer.run(asked=False)
        only_documented_errors(report)
    assert not agent.sync(full=True).errors
    for dataset in DATASETS:
        assert {row["id"] for row in _rows(agent, dataset)} == stage.truth[dataset].keys()
        assert all(row == stage.truth[dataset][row["id"]] for row in _rows(agent, dataset))
    theirs = [sale["external_id"] for sale in stage.world.sales() if sale["state"] == "accepted"]
    status = agent.status()
    lost, doubled = len(set(sold) - set(theirs)), len(theirs) - len(set(theirs))
    stuck = status["pending"] + status["quarantined"]
    evidence("garbled sockets", COUNT, lost=lost, doubled=doubled, stuck=stuck)
    assert lost == doubled == stuck == 0


def _rows(agent: SimulatedAgent, dataset: str) -> list[dict[str, Any]]:

    query = f"SELECT body FROM {dataset}"
    return [json.loads(body) for (body,) in agent._store.database.connection.execute(query)]
