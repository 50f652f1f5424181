"""The unit file: systemd accepts it, it locks the daemon in, and the agent works under its rules."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.packaging import confined

Make = Callable[..., Any]
FOLDER = Path(__file__).parents[2] / "packaging" / "systemd"
UNIT = (FOLDER / "edge-agent.service").read_text("utf-8")
EXPOSURE_MAX = 1.5  # of 10; systemd 252 says 1.2, and others count a little differently
COLA = "00000006-0000-4000-8000-000000000000"


def one(key: str) -> str:
    """The only value of a key."""
    [value] = confined.values(UNIT, key)
    return value


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|min)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "min": 60}[unit]


@pytest.fixture
def analyzed(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """systemd-analyze on a copy of the unit whose program is there: ``analyzed("verify", dropin=...)``."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine")

    def run(*arguments: str, dropins: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        unit = tmp_path / "edge-agent.service"
        unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT, flags=re.MULTILINE))
        beside = tmp_path / "edge-agent.service.d"
        beside.mkdir(exist_ok=True)
        for name in dropins:
            shutil.copy(FOLDER / name, beside)
        return subprocess.run(
            ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
        )

    return run


def test_systemd_accepts_the_unit(analyzed: Make) -> None:
    """systemd-analyze verify has nothing to say about it."""
    done = analyzed("verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["shared-home.conf", "password.conf", "backup-disk.conf"])
def test_systemd_accepts_each_drop_in(analyzed: Make, name: str) -> None:
    """The unit with a drop-in beside it is accepted as well."""
    done = analyzed("verify", dropins=(name,))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_its_exposure_does_not_grow(analyzed: Make) -> None:
    """systemd's own score of what the service could do if it were taken over stays low."""
    done = analyzed("security", "--offline=true")
    said = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert said is not None, done.stdout + done.stderr
    assert float(said[1]) <= EXPOSURE_MAX, done.stdout


def test_what_no_restart_mends_is_not_restarted() -> None:
    """Wrong settings (2) and a second daemon (7) do not spin; everything else is started again for ever."""
    assert one("Restart") == "always"
    assert one("RestartPreventExitStatus").split() == ["2", "7"]
    assert one("StartLimitIntervalSec") == "0"
    assert seconds(one("RestartSec")) >= 5


def test_its_times_leave_the_daemon_its_own() -> None:
    """The stop waits longer than the daemon's own deadline of 20 s, and readiness and watchdog are awaited."""
    assert (one("Type"), one("NotifyAccess")) == ("notify", "main")
    assert seconds(one("TimeoutStopSec")) > 20
    assert seconds(one("WatchdogSec")) >= 60
    assert seconds(one("TimeoutStartSec")) >= 300


def test_it_waits_neither_for_the_network_nor_for_a_right_clock() -> None:
    """A till without a line starts its daemon at boot."""
    settings = "\n".join(line for line in UNIT.splitlines() if not line.startswith("#"))
    assert "network-online.target" not in settings
    assert "time-sync.target" not in settings


def test_the_home_is_its_own() -> None:
    """The home is the state directory, closed to others unless a drop-in opens it to the group."""
    assert f"EDGE_AGENT_HOME=/var/lib/{one('StateDirectory')}" in confined.values(UNIT, "Environment")
    assert one("StateDirectoryMode") == "0700"
    shared = (FOLDER / "shared-home.conf").read_text("utf-8")
    assert confined.values(shared, "StateDirectoryMode") == ["2770"]
    assert confined.values(shared, "UMask") == ["0007"]


# ---- under the unit's system call rules ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rules() -> list[str]:
    """The start of a command that runs another one under the unit's rules."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not confined.NUMBERS.exists():
        pytest.skip("the rules are tried on Linux x86-64 with the kernel's headers")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze on this machine, which knows the groups of calls")
    start = [sys.executable, confined.__file__, str(FOLDER / "edge-agent.service")]
    done = subprocess.run([*start, sys.executable, "-c", "1"], capture_output=True, text=True, check=False)
    if "CAN'T CONFINE" in done.stderr:
        pytest.skip("this machine lets no process confine itself")
    assert done.returncode == 0, done.stderr
    return start


FORBIDDEN = """
import ctypes, mmap, os, socket
def mapped(): mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
def owned(): os.chown(".", 1, 1)
def netlink(): socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
def root(): os.setuid(1)
def mounted():
    if ctypes.CDLL(None, use_errno=True).mount(b"/", b"/", None, 4096, None): raise OSError(ctypes.get_errno(), "")
for attempt in (mapped, owned, netlink, root, mounted):
    try: attempt()
    except OSError as error: assert error.errno == 1, (attempt, error)
    else: raise SystemExit(f"{attempt.__name__} went through")
socket.socket(socket.AF_INET).close()
"""


def test_the_rules_bite(rules: list[str], tmp_path: Path) -> None:
    """What the unit forbids is forbidden in the runs below: else they would prove nothing."""
    done = subprocess.run(
        [*rules, sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_agent_works_under_the_rules(rules: list[str], make_office: Make, make_till: Make, tmp_path: Path) -> None:
    """Opening, selling, syncing, searching, backing up: nothing of it needs a call that the unit forbids."""
    till = make_till()
    home = till.agent.home
    till.agent.close()
    sale = {"items": [{"product": COLA, "quantity": "1", "unit_price": "7500.00"}]}
    (tmp_path / "sale.json").write_text(json.dumps(sale))
    for words in (
        ["sale", "record", str(tmp_path / "sale.json")],
        ["sync", "--full"],
        ["products", "search", "cola"],
        ["backup"],
        ["health"],
        ["status"],
    ):
        done = subprocess.run(
            [*rules, sys.executable, "-m", "edge_agent", "--home", str(home), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode in (0, 3), (words, done.stdout + done.stderr)
    assert len(till.office.world.sales()) == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_the_daemon_works_under_the_rules(rules: list[str], make_till: Make, wait_until: Make, tmp_path: Path) -> None:
    """It becomes ready, tells systemd how it is, delivers what another program sold, answers, and stops cleanly."""
    port = free_port()
    till = make_till(local_port=port, poll_interval_s=3600)
    home = till.agent.home
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        daemon = subprocess.Popen(
            [*rules, sys.executable, "-m", "edge_agent", "run"],
            env={
                **os.environ,
                "EDGE_AGENT_HOME": str(home),
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "2000000",
                "PYTHONPATH": str(FOLDER.parents[1]),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        heard: list[str] = []

        def hear(word: str) -> None:
            """Wait until systemd is told so."""
            while not any(word in one for one in heard):
                heard.append(systemd.recv(4096).decode())

        try:
            hear("READY=1")
            till.sell()
            wait_until(lambda: len(till.office.world.sales()) == 1)
            hear("WATCHDOG=1")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert answer.status == 200
            daemon.terminate()
            hear("STOPPING=1")
            said, _ = daemon.communicate(timeout=30)
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.communicate()
    assert daemon.returncode == 0, said
    assert "Traceback" not in said
