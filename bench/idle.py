"""The daemon while nothing happens: its memory and its share of a core, as a whole process.

python -m bench.idle [--quick]

2,000 products, a head office in a process of its own, every interval at its default: a poll a minute, a heartbeat every
five, the stream of hints held open. As in a shop, the home was set up and filled by another process before. ``--quick``
looks for seconds instead of minutes, which says little of the share.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from bench.device import make_home
from bench.figure import Figure
from bench.products import BRAND, COMPANY, STORE, product
from edge_agent.presence import FILE_NAME as PRESENCE_NAME
from edge_agent.settings import CREDENTIALS_NAME
from edge_agent.syncer import CONTACT_NAME

PRODUCTS = 2_000
MIB = 1024 * 1024
START_S_MAX = 60.0
_ZONE = {"timezone": "Asia/Jakarta", "currency": "USD"}


def write_seed(path: Path) -> Path:
    """What the head office starts with."""
    seed = {
        "company": {"id": COMPANY, "name": "Bench", **_ZONE},
        "brands": [{"id": BRAND, "name": "Bench"}],
        "stores": [{"id": STORE, "code": "1", "name": "Main", "day_start": "04:00", "brand_id": BRAND, **_ZONE}],
        "products": [
            {key: value for key, value in product(number).items() if key != "row_version"} for number in range(PRODUCTS)
        ],
        "accounts": [{"username": "pos-02", "password": "secret", "store_id": STORE}],
    }
    path.write_bytes(msgspec.json.encode(seed))
    return path


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment_of(home: Path | None) -> dict[str, str]:
    """A shop's environment: its programs were compiled when they were installed, or when they first ran."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return environment | ({"EDGE_AGENT_HOME": str(home)} if home else {})


@contextmanager
def running(*words: str, home: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A module of Python as a process, ended afterwards."""
    environment = environment_of(home)
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def head_office(seed: Path) -> Iterator[tuple[str, str]]:
    """A head office in a process of its own; gives its address and the static key of its device."""
    with running("ho_stub", "run", "--port", "0", "--data", str(seed)) as process:
        assert process.stdout is not None
        url = key = ""
        for line in process.stdout:
            url = url or line.partition(": ")[2].partition(" ")[0]
            if line.startswith("Static key: "):
                key = line.partition(": ")[2].strip()
                break
        # What it logs of each request must not fill the pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield url, key


def _fill(home: Path) -> None:
    """Have another process pull the catalogue, as ``edge-agent init`` does."""
    command = [sys.executable, "-m", "edge_agent", "sync"]
    subprocess.run(command, check=True, capture_output=True, env=environment_of(home))


def wait_until_it_serves(home: Path, daemon: subprocess.Popen[str], pause: threading.Event) -> None:
    """Until the daemon has announced itself and its first cycle is over."""
    contact, end_s = home / CONTACT_NAME, time.monotonic() + START_S_MAX
    before_ns = contact.stat().st_mtime_ns
    while time.monotonic() < end_s:
        if daemon.poll() is not None:
            raise RuntimeError(f"the daemon ended with {daemon.returncode}: see {home / 'logs'}")
        if (home / PRESENCE_NAME).exists() and contact.stat().st_mtime_ns > before_ns:
            return
        pause.wait(0.5)
    raise RuntimeError(f"the daemon did not sync within {START_S_MAX:.0f} s")


def run(*, quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Memory and processor time of a daemon that has nothing to do."""
    settle_s, watch_s = (10.0, 20.0) if quick else (60.0, 300.0)
    pause = threading.Event()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with head_office(write_seed(folder / "seed.json")) as (url, key):
            home = make_home(folder / "home", url)
            (home / CREDENTIALS_NAME).write_bytes(msgspec.json.encode({"password": key}))
            with (home / "settings.toml").open("a", encoding="utf-8") as file:
                file.write(f"local_port = {free_port()}\n")
            _fill(home)
            with running("edge_agent", "run", home=home) as daemon:
                process = psutil.Process(daemon.pid)
                say("idle: the daemon, its first cycle")
                wait_until_it_serves(home, daemon, pause)
                say(f"idle: {settle_s:.0f} s to settle, {watch_s:.0f} s to watch")
                pause.wait(settle_s)
                rss = process.memory_info().rss / MIB
                before, began_s = process.cpu_times(), time.monotonic()
                pause.wait(watch_s)
                after, spent_s = process.cpu_times(), time.monotonic() - began_s
                later = process.memory_info().rss / MIB
    cpu_s = after.user + after.system - before.user - before.system
    return [
        Figure(
            f"the daemon idle with {PRODUCTS:,} products: memory",
            rss,
            45,
            stretch=38,
            unit="MB",
            note=f"{settle_s:.0f} s after its first cycle; {later:.1f} MB {watch_s:.0f} s later",
        ),
        Figure(
            "the daemon idle: share of one core",
            100 * cpu_s / spent_s,
            0.05,
            unit="%",
            note=f"{cpu_s * 1e3:.0f} ms in {spent_s:.0f} s, polls of head office and the stream of hints included",
        ),
    ]


if __name__ == "__main__":
    for figure in run(quick="--quick" in sys.argv, say=print):
        print(f"{figure.what}: {figure.value_text} [{figure.bar_text}] {figure.verdict} {figure.note}")
