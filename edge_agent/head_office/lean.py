"""httpx without its command line: that one alone would bring rich and pygments into every till, 6 MB and 45 ms."""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_COMMAND_LINE = "httpx._main"
if "httpx" not in sys.modules:
    _modules[_COMMAND_LINE] = None  # "not installed": httpx does without, as it does where rich is missing
    try:
        import httpx
    finally:
        del _modules[_COMMAND_LINE]
else:
    import httpx

__all__ = ["httpx"]
