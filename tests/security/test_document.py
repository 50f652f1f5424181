"""docs/security.md: each threat names a test, and each test it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def threats() -> list[list[str]]:
    """The rows of every table of threats: threat, what is done, what is not, test."""
    rows = [line.strip().strip("|").split("|") for line in TEXT.splitlines() if line.startswith("|")]
    return [
        cells for row in rows if len(cells := [cell.strip() for cell in row]) == 4 and cells[0] not in ("threat", "---")
    ]


def test_every_threat_names_a_test_that_is_there() -> None:
    """What is written to be done is tried by a test of that name."""
    rows = threats()
    assert len(rows) > 25
    for threat, done, _, named in rows:
        assert done, threat
        tests = NAMED.findall(named)
        assert tests, threat
        for file, name in tests:
            assert (ROOT / file).is_file(), (threat, file)
            assert not name or f"def {name}(" in (ROOT / file).read_text("utf-8"), (threat, f"{file}::{name}")


def test_every_table_has_the_same_columns() -> None:
    """No row lost a cell: what is not done stands beside what is done."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {5}
