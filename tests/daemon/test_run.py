"""``edge-agent run`` as a service starts it: a process of its own, at a real head office, ended by signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edge_agent import EdgeAgent, Item
from edge_agent.daemon.logs import configure
from edge_agent.daemon.run import Daemon as DaemonItself
from edge_agent.settings import load_settings

Make = Callable[..., Any]
COLA = "00000006-0000-4000-8000-000000000000"
END_S_MAX = 30
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Daemon:
    """A running daemon."""

    def __init__(self, home: Path, port: int, before: Make | None = None, **environment: str) -> None:
        self.home, self.port = home, port
        command = [sys.executable, "-m", "edge_agent", "run"]
        variables = {"EDGE_AGENT_HOME": str(home), "EDGE_AGENT_LOCAL_PORT": str(port), **environment}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,
        )

    def presence(self) -> dict[str, Any] | None:
        try:
            there: dict[str, Any] = json.loads((self.home / "daemon.json").read_text())
        except (OSError, ValueError):
            return None
        return there if there["pid"] == self.process.pid else None

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return (self.presence() or {}).get("port") == self.port

    def ends(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=END_S_MAX)
        return self.process.returncode

    def log(self) -> str:
        return (self.home / "logs" / "edge-agent.log").read_text("utf-8")


@pytest.fixture
def daemon(wait_until: Make) -> Iterator[Make]:
    """Starts daemons, and sees to their end."""
    running: list[Daemon] = []

    def start(home: Path, *, port: int | None = None, up: bool = True, **more: Any) -> Daemon:
        running.append(Daemon(home, free_port() if port is None else port, **more))
        if up:
            wait_until(running[-1].is_up)
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


@pytest.fixture
def home_of(make_till: Make) -> Make:
    """A device's home and its head office; nothing of it is open in this process."""

    def make(**settings: Any) -> tuple[Path, Any]:
        till = make_till(ballast_mib=0, **settings)
        till.agent.close()
        return till.agent.home, till.office

    return make


def test_it_sends_what_other_programs_record(daemon: Make, home_of: Make, wait_until: Make) -> None:
    """A POS that only records: its sale is at head office in a second or so, long before the next poll."""
    home, office = home_of(poll_interval_s=3600)
    daemon(home)
    with EdgeAgent.open(home) as pos:
        for number in range(1, 4):
            pos.record_sale([Item(COLA, "1", "7500.00")])
            wait_until(lambda number=number: office.world.sale_count() == number)


def test_it_ends_cleanly_and_can_be_started_again(daemon: Make, home_of: Make) -> None:
    """SIGTERM and Ctrl-C: exit 0, nothing announced any more, the next one starts."""
    home, _ = home_of()
    for number in (signal.SIGTERM, signal.SIGINT):
        one = daemon(home)
        assert one.ends(number) == 0
        assert not (home / "daemon.json").exists()
    assert "stopping" in one.log()


def test_there_is_one_a_home_and_kill_9_frees_it(daemon: Make, home_of: Make) -> None:
    """A second daemon says who is there and exits 7; after kill -9 a new one starts at once."""
    home, _ = home_of()
    first = daemon(home)
    second = daemon(home, up=False)
    words = second.process.communicate(timeout=END_S_MAX)[1]
    assert second.process.returncode == 7
    assert str(first.process.pid) in words
    first.process.kill()
    first.process.wait()
    daemon(home)


def test_it_ends_in_time_though_head_office_hangs(daemon: Make, home_of: Make, wait_until: Make) -> None:
    """A request that nobody answers keeps no till from being switched off; the sale is still there."""
    home, office = home_of(read_timeout_s=600, answer_deadline_s=600)
    hangs, reached = threading.Event(), threading.Event()

    def hang(method: str, path: str) -> None:
        if method == "POST" and "sales" in path:
            reached.set()
            hangs.wait(END_S_MAX)

    office.intercept = hang
    try:
        one = daemon(home)
        with EdgeAgent.open(home) as pos:
            sale = pos.record_sale([Item(COLA, "1", "7500.00")])
            wait_until(reached.is_set)
            assert one.ends() == 0
            assert pos.sale(sale.external_id).state == "pending"
    finally:
        hangs.set()
        office.intercept = None


def test_the_service_manager_is_told(daemon: Make, home_of: Make, tmp_path: Path) -> None:
    """systemd hears READY=1, signs of life, a status in words, and STOPPING=1."""
    home, _ = home_of()
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        one = daemon(home, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="300000")
        heard = [manager.recv(4096).decode() for _ in range(4)]
        assert heard[0] == "READY=1"
        assert "WATCHDOG=1" in heard
        assert any(text.startswith("STATUS=Selling works.") for text in heard)
        assert one.ends() == 0
        manager.setblocking(False)
        while (text := manager.recv(4096).decode()) != "STOPPING=1":
            assert text == "WATCHDOG=1"


def test_a_port_that_is_taken_ends_no_syncing(daemon: Make, home_of: Make, wait_until: Make) -> None:
    """It is told in the log, with the mend; sales go up all the same."""
    home, office = home_of()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        one = daemon(home, port=port, up=False)
        wait_until(lambda: one.presence() is not None)
        with EdgeAgent.open(home) as pos:
            pos.record_sale([Item(COLA, "1", "7500.00")])
        wait_until(lambda: office.world.sale_count() == 1)
        assert one.presence()["port"] == 0
        assert "local_port" in one.log()


def test_its_api_serves_a_till(daemon: Make, home_of: Make, wait_until: Make) -> None:
    """A sale over the loopback API is at head office by itself; "sync now" brings a new price."""
    home, office = home_of(poll_interval_s=3600)
    one = daemon(home)
    token = (home / "local-api.token").read_text().strip()
    with httpx.Client(base_url=f"http://127.0.0.1:{one.port}", headers={"Authorization": f"Bearer {token}"}) as till:
        sale = {"items": [{"product": COLA, "quantity": "1", "unit_price": "7500.00"}]}
        answer = till.post("/v1/sales", json=sale)
        assert answer.status_code == 201
        wait_until(lambda: office.world.sale_count() == 1)
        office.world.edit("products", COLA, price="1.00")
        assert till.post("/v1/sync").status_code == 202
        wait_until(lambda: till.get(f"/v1/products/{COLA}").json()["price"].startswith("1"))


def test_an_api_that_ended_is_opened_again(home_of: Make, wait_until: Make) -> None:
    """A fault of the server, or a token file that somebody cleaned away: tills go on, with the token they have."""
    home, _ = home_of()
    settings = load_settings(home, {"EDGE_AGENT_LOCAL_PORT": str(free_port())})
    stop = threading.Event()
    with contextlib.closing(configure(home, settings)) as logs, EdgeAgent(home, settings) as agent:
        one = DaemonItself(home, settings, stop, logs, 5.0)
        one._serve(agent)
        token, first = (home / "local-api.token").read_text(), one._server
        try:
            assert first is not None
            first._server.end()  # as after a fault
            wait_until(lambda: not first.is_alive())
            (home / "local-api.token").unlink()
            one._serve(agent)
            assert one._server is not first
            one._serve(agent)
            assert (home / "local-api.token").read_text() == token
            headers = {"Authorization": f"Bearer {token.strip()}"}
            assert httpx.get(f"http://127.0.0.1:{settings.local_port}/v1/status", headers=headers).status_code == 200
        finally:
            one._stop_serving()


def test_nohup_is_respected(daemon: Make, home_of: Make) -> None:
    """A daemon started for a terminal that is then closed goes on; SIGTERM still ends it."""
    home, _ = home_of()
    one = daemon(home, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    one.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        one.process.wait(0.5)
    assert one.ends() == 0


def test_settings_that_are_wrong_are_told_in_words(daemon: Make, home_of: Make) -> None:
    """Exit 2, the key and the mend, no traceback."""
    home, _ = home_of()
    (home / "settings.toml").write_text('url = "nonsense"\n')
    one = daemon(home, up=False)
    words = one.process.communicate(timeout=END_S_MAX)[1]
    assert one.process.returncode == 2
    assert "Traceback" not in words
    assert "company_id" in words or "url" in words
