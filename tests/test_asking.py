"""`edge-agent status` beside a daemon: the daemon is asked, and the same is said as by who looks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from edge_agent import __version__
from edge_agent.cli import asking
from edge_agent.cli.exits import Exit
from edge_agent.cli.showing import show_status
from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys
from edge_agent.daemon.web.serve import LocalServer
from edge_agent.presence import Presence, announce, one_daemon, withdraw
from edge_agent.settings import find_home

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere no daemon is asked")

Serve = Callable[[Any], contextlib.AbstractContextManager[int]]


@pytest.fixture(autouse=True)
def no_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in the environment keep status from asking."""
    monkeypatch.delenv("EDGE_AGENT_COMPLETE_JOURNEY", raising=False)


def make_older(path: Path) -> None:
    """As if it was written before the daemon began."""
    os.utime(path, ns=(0, 0))


@contextlib.contextmanager
def announced(home: Path, port: int, *, version: str = __version__, pid: int | None = None) -> Iterator[None]:
    """A daemon of this home, as far as its files tell."""
    make_older(home / "settings.toml")
    with one_daemon(home):
        announce(home, Presence(os.getpid() if pid is None else pid, port, "", version, "2026-11-21T00:00:00+00:00"))
        yield
        withdraw(home)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves an agent as the daemon does."""

    @contextlib.contextmanager
    def serving(agent: Any) -> Iterator[int]:
        monkeypatch.setenv("EDGE_AGENT_HOME", str(agent.home))
        app = make_app(agent, Keys.of_home(agent.home), port=0, sync_now=lambda: None)
        server = LocalServer(app, port=0)
        server.start()
        try:
            with announced(agent.home, server.port):
                yield server.port
        finally:
            server.stop(5)

    return serving


def fresh(till: Any) -> None:
    """Nothing has happened yet."""


def offline(till: Any) -> None:
    """Two sales wait, and head office is away."""
    till.sell()
    till.sell()
    till.office.stop()
    assert till.agent.sync().errors


def delivered(till: Any) -> None:
    """Everything is with head office."""
    till.sell()
    till.agent.sync()


def quarantined(till: Any) -> None:
    """Head office refuses a sale, whose use is held."""
    sale = till.sell(till.nobody)
    till.agent.record_usage(till.deal, "100.00", sale=sale)
    till.agent.sync()


def restored(till: Any) -> None:
    """Head office was restored from a backup."""
    backup = till.office.world.snapshot()
    till.sell()
    till.agent.sync()
    till.office.world.restore(backup, new_epoch=True)
    till.agent.sync()


def held_sweep(till: Any) -> None:
    """Head office's list lacks most of what is here."""
    for row in till.office.world.rows("products"):
        till.office.world.delete("products", row["id"])
    till.agent.sync(full=True)


def damaged(till: Any) -> None:
    """The journal is damaged under everybody's hands."""
    till.sell()
    database = till.agent._journal.database
    database.checkpoint()
    with database.path.open("r+b") as file:
        file.write(b"no database at all" * 100)
        file.truncate(8192)


def looked_through(till: Any) -> None:
    """The night's look found something wrong."""
    till.office.world.edit("products", till.cola, price="-1.00")
    till.agent.sync()
    till.agent.health()


STATES = (fresh, offline, delivered, quarantined, restored, held_sweep, damaged, looked_through)
MOMENTS = ("at", "disk_free_bytes")
OWN = ("measured_at", "samples")  # of the clock: what a process has measured since it last told others


def told(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> tuple[Exit, Any]:
    """What status says, without what the moment makes of it."""
    code = show_status(as_json)
    out = capsys.readouterr().out
    if not as_json:
        return code, re.sub(r"\d+ s\b", "a moment", out)
    state = json.loads(out)
    for name in MOMENTS:
        del state[name]
    del state["journal"]["bytes"]
    for name in OWN:
        del state["clock"][name]
    return code, state


@pytest.mark.parametrize("reach", STATES)
def test_the_daemon_says_what_a_look_says(
    till: Any,
    serve: Serve,
    reach: Callable[[Any], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Words, JSON and exit code are the same in every state, whoever answers."""
    reach(till)
    with serve(till.agent):
        assert asking.ask_daemon() is not None
        by_daemon = [told(capsys, as_json=as_json) for as_json in (False, True)]
    assert asking.ask_daemon() is None
    by_looking = [told(capsys, as_json=as_json) for as_json in (False, True)]
    assert by_daemon == by_looking


def test_a_sale_shows_at_once(till: Any, serve: Serve) -> None:
    """What another program has just recorded is in the daemon's answer."""
    with serve(till.agent):
        before, after = asking.ask_daemon(), till.sell() and asking.ask_daemon()
    assert before is not None
    assert after is not None
    assert (before[1]["pending"], after[1]["pending"]) == (0, 1)


def test_whoever_would_answer_otherwise_is_not_asked(
    till: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings that changed since, settings of the environment, another version: status looks for itself."""
    home = till.agent.home
    with serve(till.agent) as port:
        there = Presence(os.getpid(), port, "", __version__, "2026-11-21T00:00:00+00:00")
        monkeypatch.setenv("EDGE_AGENT_POLL_INTERVAL_S", "often")
        assert asking.ask_daemon() is None
        assert show_status(as_json=False) is Exit.WRONG_USAGE
        monkeypatch.delenv("EDGE_AGENT_POLL_INTERVAL_S")
        assert asking.ask_daemon() is not None
        announce(home, Presence(there.pid, port, "", "0.0.1", there.started_at))
        assert asking.ask_daemon() is None
        announce(home, there)
        assert asking.ask_daemon() is not None
        with (home / "settings.toml").open("a") as file:
            file.write('urll = "wrong"\n')
        assert asking.ask_daemon() is None
        assert show_status(as_json=False) is Exit.WRONG_USAGE
    assert "urll" in capsys.readouterr().err


class Impostor:
    """A server that is none of ours: answers with given bytes, or not at all, and remembers what it was sent."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._end = threading.Event()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.heard.append(connection.recv(4096))
                    if self._answer is None:
                        self._end.wait(10)
                    else:
                        connection.sendall(self._answer)

    def close(self) -> None:
        self._end.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def impostor() -> Iterator[Callable[[bytes | None], Impostor]]:
    made: list[Impostor] = []

    def make(answer: bytes | None) -> Impostor:
        made.append(Impostor(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 Fault\r\nContent-Length: 2\r\n\r\n{}",
        OK % (200, b'{"pending":'),  # cut short
        OK % (200, b'{"pending": 0}'),  # cut short where it looks whole
        OK % (9, b"[1, 2, 3]"),
        OK % (2, b"{}"),
        OK % (3, b"\xff\xfe\xfd"),
    ],
)
def test_a_daemon_that_does_not_answer_keeps_nobody_waiting(
    home: Path,
    impostor: Callable[[bytes | None], Impostor],
    answer: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that hangs, fails or breaks off in the middle is left alone after a moment, and status looks for itself."""
    monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
    monkeypatch.setattr(asking, "ANSWER_S_MAX", 0.2)
    Keys.of_home(home)
    server = impostor(answer)
    with announced(home, server.port):
        assert show_status(as_json=False) is Exit.FINE
    assert len(server.heard) == 1
    assert capsys.readouterr().out.startswith("Selling works.")


def test_a_killed_daemons_port_hears_no_key(
    home: Path, impostor: Callable[[bytes | None], Impostor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed daemon announced may be another program's port by now: nothing is sent there."""
    monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
    Keys.of_home(home)
    server = impostor(b"")
    make_older(home / "settings.toml")
    with one_daemon(home):
        pass  # its lock is left behind, free
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    for pid in (gone, os.getpid()):  # gone, or the number is another program's by now
        announce(home, Presence(pid, server.port, "", __version__, "2026-11-21T00:00:00+00:00"))
        assert asking.ask_daemon() is None
    assert server.heard == []


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b"{}", b'{"port": 1}', b'{"port":"x","pid":"y","version":"z"}'])
def test_a_broken_announcement_is_none(home: Path, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a crash left of the announcement, status works."""
    monkeypatch.setenv("EDGE_AGENT_HOME", str(home))
    make_older(home / "settings.toml")
    (home / "daemon.json").write_bytes(said)
    assert asking.ask_daemon() is None


def test_the_home_is_the_one_that_every_program_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by the environment, or the one of the site's and the user's folder that holds settings; two are none."""
    site, user = tmp_path / "site", tmp_path / "user"
    monkeypatch.setattr(platformdirs, "site_data_dir", lambda *_, **__: str(site))
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda *_, **__: str(user))
    monkeypatch.delenv("EDGE_AGENT_HOME", raising=False)
    assert asking._home() is None
    user.mkdir()
    (user / "settings.toml").write_text("")
    assert asking._home() == str(user) == str(find_home())
    site.mkdir()
    (site / "settings.toml").write_text("")
    assert asking._home() is None
    monkeypatch.setenv("EDGE_AGENT_HOME", str(site))
    assert asking._home() == str(site) == str(find_home())
