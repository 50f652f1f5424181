"""Runs the fault suites and prints what they count: fault, trials, lost, doubled, stuck.

    python scripts/evidence.py [--quick] [PYTEST-ARGUMENT …]

Each suite prints its seed; a failing one can be repeated by the variable it names. `--quick` leaves the long runs out.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUITES = (
    "tests/sim",
    "tests/power",
    "tests/wire",
    "tests/test_kill.py",
    "tests/test_kill_steps.py",
    "tests/test_many_processes.py",
    "tests/test_clock_jumps.py",
    "tests/test_damage.py",
    "tests/test_replay_faults.py",
    "tests/converge",
    "tests/test_real_month.py",
)
COLUMNS = ("trials", "lost", "doubled", "stuck")


def table(counts: dict[str, dict[str, int]]) -> str:
    """The counts as a Markdown table."""
    width = max(len(fault) for fault in (*counts, "all faults"))
    total = {column: sum(row[column] for row in counts.values()) for column in COLUMNS}
    lines = [f"| {'fault':{width}} | {' | '.join(f'{column:>8}' for column in COLUMNS)} |"]
    lines.append(f"|-{'-' * width}-|{'|'.join('-' * 9 + ':' for _ in COLUMNS)}|")
    for fault, row in [*sorted(counts.items()), ("all faults", total)]:
        lines.append(f"| {fault:{width}} | {' | '.join(f'{row[column]:>8,}' for column in COLUMNS)} |")
    return "\n".join(lines)


def main() -> int:
    quick = "--quick" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    suites = [suite for suite in SUITES if (ROOT / suite).exists()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "evidence.jsonl"
        command = [sys.executable, "-m", "pytest", "-n", "auto", *(["-m", "not slow"] if quick else []), *suites]
        done = subprocess.run(  # noqa: S603 - our own tests
            [*command, *arguments], cwd=ROOT, env=os.environ | {"EVIDENCE_FILE": str(file)}, check=False
        )
        counts: dict[str, dict[str, int]] = collections.defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
        for line in file.read_text("utf-8").splitlines() if file.exists() else []:
            found = json.loads(line)
            for column in COLUMNS:
                counts[found["fault"]][column] += found[column]
    print(table(counts))
    clean = not any(row[column] for row in counts.values() for column in COLUMNS[1:])
    return done.returncode or (0 if clean and counts else 1)


if __name__ == "__main__":
    sys.exit(main())
