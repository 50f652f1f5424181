"""A damaged file is moved aside durably, and stays: it may hold the only copy of sales (G1)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.storage.shadow import NAME as SHADOW_NAME

if TYPE_CHECKING:
    from filelock import FileLock

DAMAGED = ".damaged-"
SHADOW_SUFFIX = f".{SHADOW_NAME}"
_BESIDE = ("-wal", "-journal", "-shm")
_LOCK_WAIT_S = 60


def recovery_lock(path: Path, mode: int) -> FileLock:
    """The lock under which a damaged file is replaced: one program does it, the others find a sound one."""
    from filelock import FileLock

    return FileLock(path.with_suffix(".recovery.lock"), timeout=_LOCK_WAIT_S, mode=mode)


def set_aside(path: Path, now_ms: int) -> Path:
    """Move a damaged database aside with what belongs to it. The caller holds :func:`recovery_lock`.

    Args:
        path: the file.
        now_ms: milliseconds since 1970, for the name.

    Returns:
        Where it is now.

    Raises:
        OSError: it can't be moved; on Windows also while a program has it open.
    """
    aside = path.with_name(f"{path.name}{DAMAGED}{now_ms}")
    while aside.exists():
        now_ms += 1
        aside = path.with_name(f"{path.name}{DAMAGED}{now_ms}")
    path.replace(aside)
    for beside in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + beside).replace(aside.with_name(aside.name + beside))
    shadow = path.with_name(SHADOW_NAME)
    if shadow.exists() and SHADOW_NAME.startswith(path.stem):
        shadow.replace(aside.with_name(aside.name + SHADOW_SUFFIX))
    from edge_agent.storage import durable

    durable.sync_folder(path.parent)
    return aside


def damaged_files(journal: Path) -> list[Path]:
    """The damaged journals that were set aside, oldest first."""
    found = journal.parent.glob(f"{journal.name}{DAMAGED}*")
    return sorted(path for path in found if not path.name.endswith((*_BESIDE, SHADOW_SUFFIX)))
