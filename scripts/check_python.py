"""Says plainly when the Python at hand is too old."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - it runs before anything is installed
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 …")
