"""Serving: on this machine alone, on sockets that can be had, until it is told to stop."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import InvalidSettings

unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or os.name != "posix", reason="no Unix sockets here")


def ask_unix(path: Path, token: str, target: str = "/v1/status") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("any.name.at.all", timeout=20)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_it_listens_on_this_machine_alone(agent: Any, serve: Any) -> None:
    """The port is bound to 127.0.0.1."""
    api = serve(agent)
    assert [each.getsockname()[0] for each in api.server._sockets] == ["127.0.0.1"]


def test_answers_are_not_held_back(agent: Any, serve: Any, wait_until: Any) -> None:
    """Nagle's algorithm is off on what is accepted: an answer of two writes does not wait for an acknowledgement."""
    api = serve(agent)
    with api.raw() as connection:
        connection.sendall(b"x")
        connections = api.server._server.server_state.connections
        wait_until(lambda: connections)
        peer = next(iter(connections)).transport.get_extra_info("socket")
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_that_is_taken_is_told(agent: Any, serve: Any) -> None:
    """The setting is named, and what to do."""
    api = serve(agent)
    with pytest.raises(InvalidSettings, match="taken by another program") as caught:
        serve(agent, port=api.port)
    assert caught.value.key == "local_port"
    assert "local_port" in caught.value.hint


def test_a_port_is_free_again_at_once(agent: Any, serve: Any) -> None:
    """After a restart the same port can be had, with connections of before still closing."""
    api = serve(agent)
    with api.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(10)
        port = api.port
        assert api.server.stop(5)
    assert serve(agent, port=port).get("/v1/status").status == 200


@unix
@pytest.mark.parametrize(("group_access", "mode"), [(False, 0o600), (True, 0o660)])
def test_a_unix_socket_is_for_its_owner(agent: Any, serve: Any, tmp_path: Path, group_access: bool, mode: int) -> None:
    """It answers any name, asks for the token all the same, and is gone when it is stopped."""
    path = tmp_path / "agent.sock"
    api = serve(agent, socket_path=path, group_access=group_access)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert ask_unix(path, api.keys.token).status == 200
    assert ask_unix(path, "wrong").status == 401
    assert api.server.stop(5)
    assert not path.exists()


@unix
def test_a_unix_socket_alone(agent: Any, serve: Any, tmp_path: Path) -> None:
    """Without a port there is none."""
    path = tmp_path / "agent.sock"
    api = serve(agent, port=None, socket_path=path)
    assert api.port == 0
    assert ask_unix(path, api.keys.token).status == 200


@unix
def test_the_socket_of_a_killed_program_is_replaced(agent: Any, serve: Any, tmp_path: Path) -> None:
    """What kill -9 left behind keeps nobody from starting."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
        left.listen()
    assert path.exists()
    api = serve(agent, socket_path=path)
    assert ask_unix(path, api.keys.token).status == 200


@unix
def test_a_socket_that_is_served_stays(agent: Any, serve: Any, tmp_path: Path) -> None:
    """A live one is not taken away; nor is a file; nor is a port kept for nothing."""
    path = tmp_path / "agent.sock"
    api = serve(agent, socket_path=path)
    with pytest.raises(InvalidSettings, match="served by another program"):
        serve(agent, socket_path=path)
    assert ask_unix(path, api.keys.token).status == 200
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidSettings, match="no socket"):
        serve(agent, socket_path=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@unix
@pytest.mark.parametrize("name", ["x" * 200, "none/agent.sock"])
def test_a_socket_that_cant_be_made_is_told(agent: Any, serve: Any, tmp_path: Path, name: str) -> None:
    """A path that is too long, or in a folder that is not there."""
    with pytest.raises(InvalidSettings, match="can't be made") as caught:
        serve(agent, socket_path=tmp_path / name)
    assert caught.value.key == "local_socket"


def test_windows_is_told_that_it_has_none(
    agent: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Unix socket in the settings of a Windows till is refused in words."""
    monkeypatch.setattr("edge_agent.daemon.web.serve.sys.platform", "win32")
    monkeypatch.setattr("edge_agent.daemon.web.serve._port", lambda port: socket.socket())
    with pytest.raises(InvalidSettings, match="not for Windows"):
        serve(agent, socket_path=tmp_path / "agent.sock")


def test_a_sale_under_way_is_answered_before_it_stops(
    agent: Any, serve: Any, sale: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping waits for the sale that is being recorded, and its till gets its answer."""
    api = serve(agent)
    begun, answers, record = threading.Event(), [], agent.record

    def slow(draft: Any) -> Any:
        begun.set()
        threading.Event().wait(0.3)
        return record(draft)

    monkeypatch.setattr(agent, "record", slow)
    caller = threading.Thread(target=lambda: answers.append(api.post("/v1/sales", sale())))
    caller.start()
    assert begun.wait(10)
    assert api.server.stop(10)
    caller.join()
    assert answers[0].status == 201


def test_what_hangs_is_seen(
    agent: Any, serve: Any, sale: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """A sale that gets no answer, or an event loop that stands still: since when is told, so that somebody acts."""
    api = serve(agent)
    go_on, record = threading.Event(), agent.record

    def slow(draft: Any) -> Any:
        go_on.wait(10)
        return record(draft)

    monkeypatch.setattr(agent, "record", slow)
    caller = threading.Thread(target=lambda: api.post("/v1/sales", sale()))
    caller.start()
    pools, loop = api.server._app.state.pools, api.server._server.loop
    wait_until(lambda: pools.busy_since_s() is not None)
    since_s = pools.busy_since_s()
    assert api.server.busy_since_s() == since_s
    assert api.server.busy_since_s() == since_s
    go_on.set()
    caller.join()
    wait_until(lambda: pools.busy_since_s() is None)

    stands, moves = threading.Event(), threading.Event()
    loop.call_soon_threadsafe(lambda: (stands.set(), moves.wait(10)))
    assert stands.wait(10)
    since_s = api.server.busy_since_s()
    assert since_s is not None
    assert api.server.busy_since_s() == since_s
    moves.set()
    wait_until(lambda: api.server._unheard_since_s is None)


def test_a_till_that_hangs_up_has_sold(
    agent: Any, serve: Any, sale: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    """A sale whose till hangs up in the middle is finished; asked again with its id it is the same one."""
    api = serve(agent)
    begun, go_on, record = threading.Event(), threading.Event(), agent.record

    def slow(draft: Any) -> Any:
        begun.set()
        go_on.wait(10)
        return record(draft)

    monkeypatch.setattr(agent, "record", slow)
    external_id = "0191e5a2-7c3b-7def-8a01-23456789abcd"
    body = json.dumps(sale(external_id=external_id)).encode()
    with api.raw() as connection:
        connection.sendall(
            f"POST /v1/sales HTTP/1.1\r\nHost: 127.0.0.1:{api.port}\r\nAuthorization: Bearer {api.keys.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert begun.wait(10)
    go_on.set()
    wait_until(lambda: agent.sale(external_id) is not None)
    assert api.post("/v1/sales", sale(external_id=external_id)).status == 200


# ---- killed ----------------------------------------------------------------------------------------------------------

SERVE = """
import sys, threading
from edge_agent import EdgeAgent
from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.serve import LocalServer
agent = EdgeAgent.open(sys.argv[1])
keys = Keys.of_home(agent.home)
server = LocalServer(make_app(agent, keys, port=0, sync_now=lambda: None), port=0)
server.start()
print(server.port, keys.token, flush=True)
threading.Event().wait()
"""


def test_a_sale_that_was_answered_survives_a_kill(home: Path, open_agent: Any, sale: Any, evidence: Any) -> None:
    """kill -9 right after 201: the sale is there (G1), once."""
    acknowledged: list[str] = []
    trials = 4
    for trial in range(trials):
        process = subprocess.Popen([sys.executable, "-c", SERVE, str(home)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port, token = process.stdout.readline().split()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        for number in range(5):
            external_id = f"0191e5a2-7c3b-7def-8a{trial:02d}-{number:012d}"
            body = sale(external_id=external_id)
            connection.request("POST", "/v1/sales", json.dumps(body), headers)
            response = connection.getresponse()
            assert response.status == 201
            acknowledged.append(external_id)
            if number == 4:
                process.kill()  # before the whole answer is even read
            else:
                response.read()
        process.wait(20)
        process.stdout.close()
        connection.close()
    agent = open_agent(home)
    lost = sum(agent.sale(external_id) is None for external_id in acknowledged)
    doubled = agent.status()["pending"] - len(set(acknowledged))
    evidence("kill -9 after an answer of the loopback API", trials, lost=lost, doubled=doubled, stuck=0)
    assert len(set(acknowledged)) == 5 * trials
    assert (lost, doubled) == (0, 0)
