"""Plays a fortnight of a shop in some twelve minutes, and writes what happened.

    python scripts/fortnight.py REPORT.md [DAYS [SECONDS-A-DAY]]

Needs the development tools, POSIX signals, and for the full disk root on Linux; for the JavaScript till, node. Repeat a
run by the seed that it prints: FORTNIGHT_SEED=… python scripts/fortnight.py REPORT.md
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fortnight.report import page
from tests.fortnight.stage import whole
from tests.fortnight.verdict import complaints


def main() -> int:
    """Play, write the report, and say what is wrong; the exit code."""
    if not 2 <= len(sys.argv) <= 4:
        print(__doc__)
        return 2
    seed = int(os.environ.get("FORTNIGHT_SEED", random.SystemRandom().randrange(10**6)))
    print(f"FORTNIGHT_SEED={seed}", flush=True)
    days = int(sys.argv[2]) if len(sys.argv) > 2 else 14
    day_real_s = float(sys.argv[3]) if len(sys.argv) > 3 else 45.0
    with whole(seed, lambda text: print(text, flush=True), days=days, day_real_s=day_real_s) as (play, books):
        Path(sys.argv[1]).write_text(page(play, books, seed), encoding="utf-8")
        wrong = complaints(play, books)
    print("\n".join(wrong) or "all well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
