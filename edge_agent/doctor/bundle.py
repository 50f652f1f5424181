"""What support wants to see, in one file: what is wrong and where things stand, without secrets, sales or customers."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import platform
import stat
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from edge_agent import __version__
from edge_agent.doctor import store
from edge_agent.doctor.check import Device
from edge_agent.doctor.report import Report
from edge_agent.errors import EdgeAgentError, InvalidSettings
from edge_agent.redaction import Redactor, secrets_in
from edge_agent.status import build_status, utc_text
from edge_agent.storage import engine, look
from edge_agent.storage.incidents import incidents
from edge_agent.storage.outbox import Outbox

LOG_BYTES_MAX = 512 * 1024  # of each log, its end
LOGS_MAX = 3
ENTRIES_MAX = 500
FILES_MAX = 500
_NO_CLOCK = {"offset_ms": 0, "measured_ms": None, "samples": 0, "jumped_ms": None}
_PACKAGES: tuple[str, ...] = (
    "edge-sync-agent",
    "apscheduler",
    "filelock",
    "httpx",
    "msgspec",
    "pysqlite3",
    "sqlite-utils",
    "starlette",
)
_PACKAGES += ("tenacity", "typer", "tzdata", "uvicorn")


def refuse_to_overwrite(path: Path) -> None:
    """Whether a bundle can be put there.

    Raises:
        InvalidSettings: there is something already.
    """
    if path.exists() or path.is_symlink():
        raise InvalidSettings(
            "--bundle", f"{path} is there already", hint="Name another file; nothing is ever overwritten."
        )


def pack(path: Path, report: Report) -> None:
    """Write a bundle.

    Args:
        path: the zip file to make; only its owner can read it.
        report: what the doctor found.

    Raises:
        InvalidSettings: the file is there already, or can't be made.
    """
    assert report.device is not None, "a report is about a device"
    redact = _redactor(report.device)
    files = {name: _bytes(make, redact) for name, make in _parts(report).items()}
    files |= _logs(report.device, redact)
    manifest = {
        "schema": 1,
        "made_at": f"{report.device.clock.now():%Y-%m-%dT%H:%M:%SZ}",
        "version": __version__,
        "files": {name: len(content) for name, content in files.items()},
        "left_out": "passwords, tokens, keys, what was sold, customers",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"manifest.json": _json(manifest), **files}.items():
            archive.writestr(name, content)
    refuse_to_overwrite(path)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(packed.getvalue())
    except OSError as error:
        raise InvalidSettings(
            "--bundle", f"{path} can't be written: {error.strerror}", hint="Name a file in a folder you may write."
        ) from None


def _redactor(device: Device) -> Redactor:
    home = device.home
    return Redactor(secrets_in(lambda name: (home / name).read_bytes(), device.environment) if home else ())


def _bytes(make: Callable[[], Any], redact: Redactor) -> bytes:
    """One part; what can't be told of a broken home is said in its place."""
    try:
        value = make()
    except EdgeAgentError as error:
        value = {"not_there": error.message}
    except Exception as error:  # noqa: BLE001 - the other parts are worth sending all the same
        value = {"not_there": f"{type(error).__name__}: {error}"}
    return _json(redact.value(value))


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=1)


def _parts(report: Report) -> dict[str, Callable[[], Any]]:
    device = report.device
    assert device is not None, "a report is about a device"
    parts: dict[str, Callable[[], Any]] = {"doctor.json": report.as_json, "versions.json": _versions}
    if device.settings is not None:
        parts["settings.json"] = lambda: asdict(device.told)
    if device.home is not None:
        parts |= {
            "status.json": lambda: _status(device),
            "incidents.json": lambda: _incidents(device),
            "outbox.json": lambda: _outbox(device),
            "files.json": lambda: _files(device.folder),
        }
    return parts


def _versions() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "edge_agent": __version__,
        "python": sys.version,
        "implementation": platform.python_implementation(),
        "sqlite": engine.sqlite3.sqlite_version,
        "system": store.system(),
        "packages": packages,
    }


def _status(device: Device) -> dict[str, Any]:
    """As ``status --json``, health's summary in it; read without opening anything for writing."""
    with (
        closing(look.UnwrittenJournal(device.folder / store.JOURNAL_NAME)) as journal,
        closing(look.UnwrittenCatalog(device.folder / store.CATALOG_NAME)) as catalogue,
    ):
        offset = catalogue.all_meta().get("clock_offset_ms")
        with contextlib.suppress(TypeError, ValueError):
            offset = int(offset or 0)  # type: ignore[assignment]
        return build_status(
            journal,
            Outbox(journal),
            catalogue,
            now_ms=device.clock.now_ms(),
            clock={**_NO_CLOCK, "offset_ms": offset},
            last_contact_ms=store.last_contact_ms(device),
            last_heartbeat_ms=None,
            events=None,
            daemon_running=store.someone_syncs(device),
        )


def _incidents(device: Device) -> list[dict[str, Any]]:
    with look.reading(device.folder / store.JOURNAL_NAME) as connection:
        return [
            {**asdict(one), "first_ms": utc_text(one.first_ms), "last_ms": utc_text(one.last_ms)}
            for one in incidents(connection, only_open=False)
        ]


def _outbox(device: Device) -> list[dict[str, Any]]:
    """What is not delivered: ids, states, reasons. No amounts, no goods, no customers."""
    with closing(look.UnwrittenJournal(device.folder / store.JOURNAL_NAME)) as journal:
        lines = Outbox(journal).lines(state=None, limit=ENTRIES_MAX)
    told = ("lane", "external_id", "state", "kind", "device_seq", "attempts", "code", "reason", "held_by")
    return [{name: getattr(one, name) for name in told} | {"recorded_at": utc_text(one.recorded_ms)} for one in lines]


def _files(home: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(home.rglob("*"))[:FILES_MAX]:
        with contextlib.suppress(OSError):
            at = path.lstat()
            found.append(
                {
                    "name": path.relative_to(home).as_posix(),
                    "bytes": at.st_size,
                    "mode": stat.filemode(at.st_mode),
                    "owner": at.st_uid,
                    "changed_at": utc_text(at.st_mtime_ns // 1_000_000),
                }
            )
    return found


def _logs(device: Device, redact: Redactor) -> dict[str, bytes]:
    """The ends of the last logs, censored once more: an older version may have written them."""
    if device.home is None:
        return {}
    found = {}
    for number in range(LOGS_MAX):
        path = device.home / "logs" / ("edge-agent.log" + (f".{number}" if number else ""))
        with contextlib.suppress(OSError), path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES_MAX))
            text = file.read(LOG_BYTES_MAX).decode("utf-8", "replace")
            if size > LOG_BYTES_MAX:
                text = text.partition("\n")[2]  # half a line could be half a secret
            found[f"logs/{path.name}"] = redact(text).encode()
    return found
