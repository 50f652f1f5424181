"""Asks whether a locked dependency has a known vulnerability: what `make check` runs.

    python scripts/audit.py [FILE ...]    requirements/runtime.txt and requirements/dev.txt unless named

Ends 0 when every package was looked up and nothing is known, 1 when something is known, or a file is not locked with
hashes. When no advisory service can be reached, or one knows nothing of our packages (a mirror), nothing was proved:
that is said loudly, and it ends 0 on a developer's machine, but 3 with AUDIT_MUST=1, which CI sets before a release.

AUDIT_OSV_URL names a mirror of OSV's query interface; AUDIT_SERVICES which services are asked, "pypi,osv" unless set.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILES = ("requirements/runtime.txt", "requirements/dev.txt")
TIMEOUT_S = 15
DEADLINE_S = 300
FINE, FOUND, NOT_PROVED = 0, 1, 3
# pip-audit has no exit code of its own for a line that is down: these are how requests and urllib3 name one.
_NO_LINE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|Could not connect|NameResolutionError|ProxyError|SSLError|ServiceError"
)


@dataclass(frozen=True)
class Audit:
    """What asking about one file gave.

    Args:
        asked: how many packages were looked up.
        unknown: packages the service knows nothing of.
        found: a line for each known vulnerability.
        failure: why nothing could be asked at all; empty when it could.
        unreachable: whether that is the line's fault rather than the file's.
    """

    asked: int = 0
    unknown: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    failure: str = ""
    unreachable: bool = False


def judge(report: dict[str, Any]) -> Audit:
    """What pip-audit's report says. A package it skipped was not looked up, whatever its summary claims."""
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {known['id']}"
        + (f", mended in {', '.join(known['fix_versions'])}" if known.get("fix_versions") else "")
        for package in packages
        for known in package.get("vulns", ())
    ]
    unknown = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Audit(len(packages) - len(unknown), unknown, tuple(found))


def ask(file: Path, service: str) -> Audit:
    """Have pip-audit ask one service about a file. Nothing is installed or resolved: the file is all there is."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(file), "--require-hashes", "--disable-pip"),
        *("--vulnerability-service", service, "--timeout", str(TIMEOUT_S)),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    mirror = os.environ.get("AUDIT_OSV_URL")
    if service == "osv" and mirror:
        command += ["--osv-url", mirror]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Audit(failure=f"no answer within {DEADLINE_S} s", unreachable=True)
    try:
        return judge(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return Audit(failure=lines[-1][:300], unreachable=_NO_LINE.search(done.stderr) is not None)


def audit(file: Path, services: list[str]) -> int:
    """Ask the services in turn until one knows our packages; says what came out, and gives the exit code."""
    print(f"{file.name}:")
    for service in services:
        result = ask(file, service)
        if result.failure and not result.unreachable:
            print(f"  FAILED: {result.failure}")
            return FOUND
        for line in result.found:
            print(f"  VULNERABLE: {line}")
        if result.found:
            return FOUND
        if result.asked and not result.unknown:
            print(f"  {result.asked} packages looked up at {service}, nothing known.")
            return FINE
        why = result.failure or f"it knows nothing of {len(result.unknown)} packages, {_some(result.unknown)}"
        print(f"  {service}: {result.asked} packages looked up; {why}")
    return NOT_PROVED


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def main(arguments: list[str]) -> int:
    """Audit every file."""
    services = os.environ.get("AUDIT_SERVICES", "pypi,osv").split(",")
    files = [Path(name) for name in arguments] or [ROOT / name for name in FILES]
    codes = [audit(file, services) for file in files]
    if FOUND in codes:
        return FOUND
    if NOT_PROVED in codes:
        print("!" * 100)
        print("! NOT AUDITED: no advisory service could tell about every package. Nothing is known either way.")
        print("! Run this where pypi.org or osv.dev can be reached before a release (AUDIT_MUST=1 makes it fail).")
        print("!" * 100)
        return NOT_PROVED if os.environ.get("AUDIT_MUST") == "1" else FINE
    return FINE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
