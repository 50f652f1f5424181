"""Lets tills go first: a program that only syncs takes the processor when nobody sells (G9)."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

NICENESS = 10


def let_tills_go_first() -> None:
    """Lower this process's priority for good.

    Only for programs of our own that do nothing but sync. In a POS's process a slow thread of ours could keep
    Python's lock from the selling one while another program has the processor.
    """
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            below_normal_priority_class = 0x4000
            kernel: Any = ctypes.WinDLL("kernel32")
            kernel.SetPriorityClass(kernel.GetCurrentProcess(), below_normal_priority_class)
        else:
            present = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, present))
