"""The audit of dependencies: what is known fails it, and a service out of reach is never taken for a clean bill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKED = f"certifi==2020.1.1 --hash=sha256:{'a' * 64}\nidna==3.4 --hash=sha256:{'b' * 64}\n"
KNOWN = {
    "id": "PYSEC-0000-1",
    "affected": [
        {
            "package": {"name": "certifi", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2022.12.7"}]}],
        }
    ],
}


@pytest.fixture
def advisories() -> Iterator[Any]:
    """An advisory service on this machine; ``known`` holds what it knows by package."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            vulns = self.server.known.get(asked["package"]["name"], [])  # type: ignore[attr-defined]
            body = json.dumps({"vulns": vulns} if vulns else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.known = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def audited(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Audits a file against a service of this machine: ``audited(text, port, AUDIT_MUST="1")``."""

    def run(text: str, port: int, **more: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "locked.txt"
        file.write_text(text)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "AUDIT_SERVICES": "osv",
            "AUDIT_OSV_URL": f"http://127.0.0.1:{port}/v1/query",
            "PIP_AUDIT_CACHE_DIR": str(tmp_path),
            **more,
        }
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "audit.py"), str(file)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_nothing_known_is_fine(audited: Any, advisories: Any) -> None:
    """Every package was looked up and nothing is known: 0, without any cry."""
    done = audited(LOCKED, advisories.server_port)
    assert (done.returncode, "NOT AUDITED" in done.stdout) == (0, False), done.stdout + done.stderr
    assert "2 packages looked up" in done.stdout


def test_a_known_vulnerability_fails(audited: Any, advisories: Any) -> None:
    """It names package, version, advisory and where it is mended."""
    advisories.known["certifi"] = [KNOWN]
    done = audited(LOCKED, advisories.server_port)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "certifi 2020.1.1: PYSEC-0000-1, mended in 2022.12.7" in done.stdout


def test_a_service_out_of_reach_is_said_loudly(audited: Any) -> None:
    """On a developer's machine it goes on; where AUDIT_MUST is set it does not."""
    for must, code in (("0", 0), ("1", 3)):
        done = audited(LOCKED, 9, AUDIT_MUST=must)
        assert done.returncode == code, done.stdout + done.stderr
        assert "NOT AUDITED" in done.stdout


def test_a_file_without_hashes_fails(audited: Any, advisories: Any) -> None:
    """What is not locked is no matter of the line: it fails everywhere."""
    done = audited("certifi==2020.1.1\n", advisories.server_port)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT AUDITED" not in done.stdout


def test_what_was_skipped_was_not_looked_up() -> None:
    """A mirror that knows none of the packages is no clean bill, though pip-audit itself ends with 0 then."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["audit"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["audit"]
    skipped = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}
    result = module.judge({"dependencies": [skipped, {"name": "certifi", "version": "1", "vulns": []}]})
    assert (result.asked, result.unknown, result.found) == (1, ("idna",), ())


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_everything_is_locked_by_hash(name: str) -> None:
    """Each package of the lock files has one version and at least one SHA-256, and no address of its own."""
    text = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ")
    for line in filter(None, (line.strip() for line in text.splitlines())):
        assert re.fullmatch(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+( ;.*?)?( +--hash=sha256:[0-9a-f]{64})+", line), line[:80]
