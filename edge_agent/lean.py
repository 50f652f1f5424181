"""Libraries without the parts that no till needs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def without(module: str, **stand_ins: object) -> Iterator[None]:
    """Have libraries load as if one of their modules were not installed, or held nothing but stand-ins.

    What is loaded already stays as it is, and afterwards the module can be loaded by whoever wants it.

    Args:
        module: its full name.
        stand_ins: what is imported from it by name, where its absence is not coped with.
    """
    modules: dict[str, Any] = sys.modules
    if module in modules:
        yield
        return
    modules[module] = None
    if stand_ins:
        modules[module] = ModuleType(module)
        modules[module].__dict__.update(stand_ins)
    try:
        yield
    finally:
        del modules[module]
