"""Keeps the daemon small: it stays for months on a machine that sells."""

from __future__ import annotations

import ctypes
import sys

from edge_agent.lean import without

_M_ARENA_MAX = -8  # of glibc's malloc.h


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


def begin_small() -> None:
    """Have all threads share one heap, and load the web server without its command line; before either is used.

    glibc gives each of our threads a heap of its own, for a speed in parallel that a sync every minute has no use for.
    Other systems have no such heaps.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, 1)
    with without("uvicorn.main", Server=None, main=None, run=None):
        import uvicorn.server

    uvicorn.Server = uvicorn.server.Server  # type: ignore[misc]


def give_back() -> None:
    """Return what a long sync left unused to the system; glibc keeps it otherwise."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
