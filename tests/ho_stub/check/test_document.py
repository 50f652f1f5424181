"""docs/conformance.md says what the check does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from ho_stub.check.command import USAGE
from ho_stub.check.inspection import every_check, inspect
from ho_stub.check.options import Options
from ho_stub.check.report import SAID, SCHEMA
from ho_stub.cli import main
from ho_stub.gaps import GAPS
from ho_stub.testing import HeadOffice

TEXT = (Path(__file__).parents[3] / "docs/conformance.md").read_text("utf-8")


def first_cells() -> list[str]:
    return [line.split("|")[1].strip() for line in TEXT.splitlines() if line.startswith("| ")]


def test_every_option_and_exit_code_is_described() -> None:
    """No more than there are, and no less."""
    command: Any = get_command(main)
    there = [option for one in command.commands["check"].params for option in one.opts if option.startswith("--")]
    described = [name for cell in first_cells() for name in re.findall(r"`(--[a-z-]+)`", cell)]
    assert sorted(described) == sorted(set(there) - {"--help"})
    assert [int(cell) for cell in first_cells() if cell.isdigit()] == [*SAID, USAGE]
    assert f"| `schema` | {SCHEMA} |" in TEXT


def test_every_field_of_the_json_is_described() -> None:
    """Top level, capabilities, checks, guarantees and costs."""
    with HeadOffice(profile="baseline") as office:
        given = (office.username, office.password, office.company_id, office.brand_id, office.store_id)
        body = inspect(Options(office.url, *given)).as_json()
    names = list(body) + [name for part in ("capabilities", "checks", "guarantees", "costs") for name in body[part][0]]
    assert [name for name in names if f"`{name}`" not in TEXT] == []


def test_every_gap_is_told_with_its_check() -> None:
    """The table has each switch of the stub once, and names checks there are."""
    table = re.findall(r"^\| `(\w+)` \| `([a-z0-9.-]+)`", TEXT, re.MULTILINE)
    assert [gap for gap, _ in table if gap in GAPS] == list(GAPS)
    ids = {check.id for check in every_check()}
    assert {check for gap, check in table if gap in GAPS} <= ids


def test_the_examples_are_of_this_check() -> None:
    """Each finding of the example reports is worded as the check words it."""
    told = re.findall(r"^  (?:GAP |FAIL)  (\S+) +(.+)$", TEXT, re.MULTILINE)
    assert len(told) == 20
    words = {check.id: check.what for check in every_check()}
    assert all(words[check_id] == what for check_id, what in told)
