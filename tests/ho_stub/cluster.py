"""A PostgreSQL of one's own: made in a temporary folder, served on a free port of this machine, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

WELL_KNOWN = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql*/bin")


class NoCluster(Exception):
    """There is no PostgreSQL on this machine, or it can't be started here; the message says why."""


def programs() -> Path:
    """The folder of `initdb` and `pg_ctl`: the newest one there is. Raises NoCluster."""
    found = shutil.which("initdb")
    if found and Path(found).with_name("pg_ctl").exists():
        return Path(found).resolve().parent
    folders = [folder for pattern in WELL_KNOWN for folder in Path("/").glob(pattern)]
    folders = [folder for folder in folders if (folder / "initdb").exists()]
    if not folders:
        raise NoCluster("PostgreSQL's programs are not on this machine")
    return max(folders, key=lambda folder: [int(part) for part in str(folder).split("/") if part.isdigit()])


class Cluster:
    """Made and started at once; `close()` ends it and removes it."""

    def __init__(self) -> None:
        self._programs = programs()
        # Not below pytest's folder: that one is closed to the user whom PostgreSQL runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="ho-stub-pg-"))
        self._data = self._folder / "data"
        # It refuses to run as root.
        self._as: str | None = "nobody" if getattr(os, "geteuid", lambda: 1)() == 0 else None
        if self._as is not None:
            shutil.chown(self._folder, self._as)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"postgresql://tester@127.0.0.1:{self._port}/postgres"
        try:
            made_so = ("-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self._run("initdb", "-D", self._data, *made_so)
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def start(self) -> None:
        """Serve; after `stop()` on the same port again."""
        options = (
            f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{self._folder}' -c fsync=off "
            "-c full_page_writes=off -c autovacuum=off -c jit=off"
        )
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """End at once: connections are cut, what was not committed is gone."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def close(self) -> None:
        """The end of it."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        done = subprocess.run(  # what it starts keeps the outputs open: they are no pipes
            command, user=self._as, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise NoCluster(f"{program} ended with {done.returncode}")
