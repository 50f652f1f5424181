"""The device's key: it proves that a file was exported by this device (docs/portable-file.md)."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from edge_agent.domain.portable import KEY_BYTES
from edge_agent.errors import InvalidSettings, StoreBroken
from edge_agent.storage.durable import sync_folder

KEY_NAME = "device.key"


def device_key(home: Path) -> bytes:
    """This device's key, made when there is none yet.

    Raises:
        StoreBroken: it can't be made or read.
    """
    path = home / KEY_NAME
    key = own_key(home)
    if key is not None:
        return key
    try:
        handle, name = tempfile.mkstemp(prefix=f"{KEY_NAME}.", dir=home)  # 0600 from its first byte on
        fresh = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # of two processes the first one's key stays
        except FileExistsError:
            pass
        except OSError:
            fresh.replace(path)  # a file system without hard links
        fresh.unlink(missing_ok=True)
        sync_folder(home)
        return path.read_bytes()
    except OSError as error:
        raise StoreBroken(
            f"{path} can't be written: {error.strerror}", hint="Check the folder, and its free space."
        ) from None


def own_key(home: Path) -> bytes | None:
    """This device's key, or None when it has none yet.

    Raises:
        StoreBroken: it can't be read, or is damaged.
    """
    path = home / KEY_NAME
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreBroken(
            f"{path} can't be read: {error.strerror}", hint="Run this as the user the agent runs as."
        ) from None
    if len(key) != KEY_BYTES:
        raise StoreBroken(f"{path} is damaged", hint="Move it aside: the next export makes a new key.")
    return key


def read_key(path: Path) -> bytes:
    """Another device's key, from a copy of its ``device.key``.

    Raises:
        InvalidSettings: there is none.
    """
    try:
        with path.open("rb") as file:
            key = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise InvalidSettings("--key", f"{path} can't be read: {error.strerror}", hint="Check the path.") from None
    if len(key) != KEY_BYTES:
        raise InvalidSettings("--key", f"{path} is no device's key", hint="Give the other device's device.key.")
    return key
