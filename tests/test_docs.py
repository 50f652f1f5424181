"""The documents say what the code does: settings, commands, exit codes, links, and the tests they name."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.main import get_command

from edge_agent import EdgeAgent
from edge_agent.cli.app import app
from edge_agent.cli.exits import Exit
from edge_agent.settings import _ALIASES, _NOT_SETTINGS, _RANGES, Settings
from edge_agent.sync.report import CycleReport

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
# What a document of this project has no business to name: folders of somebody's machine.
LOCAL_PATH = re.compile(r"(?<![\w.])/(?:work|home|root|Users|tmp|mnt)/")
NOT_OURS = ("dist", "build", "node_modules")


def documents() -> list[Path]:
    def is_ours(path: Path) -> bool:
        parts = path.relative_to(ROOT).parts
        return not any(part in NOT_OURS or part.startswith(".") for part in parts)

    return sorted(filter(is_ours, ROOT.rglob("*.md")))


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def table_rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def described_settings() -> dict[str, list[str]]:
    return {row[0].strip("`"): row for row in table_rows(text_of("docs/settings.md")) if row[0].startswith("`")}


def shown(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    return f"`{msgspec.json.encode(default).decode()}`"


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_described(field: dataclasses.Field[Any]) -> None:
    """docs/settings.md names each setting with its default, its range and its name in the environment."""
    row = described_settings()[field.name]
    assert row[1] == shown(field.default)
    assert f"`EDGE_AGENT_{field.name.upper()}`" in " ".join(row)
    if field.name in _RANGES:
        low, high = _RANGES[field.name]
        assert row[2] == f"{low:.12g} to {high:.12g}"


def test_no_setting_is_described_that_is_none() -> None:
    """Whoever writes what docs/settings.md says is never told "there is no such setting"."""
    names = {field.name for field in dataclasses.fields(Settings)}
    described = {key for key in described_settings() if not key.startswith("EDGE_AGENT_")}
    assert described == names
    text = text_of("docs/settings.md")
    assert all(f"`EDGE_AGENT_{short.upper()}`" in text for short in _ALIASES)
    assert all(name in text for name in _NOT_SETTINGS - {"EDGE_AGENT_COMPLETE_JOURNEY"})


def commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below one, with its words."""
    below = getattr(command, "commands", {})
    for name, one in below.items():
        yield from commands(one, (*names, name))
    if not below:
        yield names, command


def options(command: Any) -> list[str]:
    return [option for parameter in command.params for option in parameter.opts if option.startswith("-")]


def sections(text: str) -> dict[str, str]:
    """A document's sections by heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


COMMANDS = list(commands(get_command(app)))


@pytest.mark.parametrize(("names", "command"), COMMANDS, ids=[" ".join(names) for names, _ in COMMANDS])
def test_every_command_is_described(names: tuple[str, ...], command: Any) -> None:
    """docs/cli.md has a section for each command, which names each of its options."""
    found = sections(text_of("docs/cli.md"))
    section = found[f"`edge-agent {' '.join(names)}`"]
    missing = [option for option in options(command) if f"`{option}`" not in section]
    assert not missing
    assert [name for name in re.findall(r"`(--[a-z-]+)`", section) if name not in options(command)] == []


def test_no_command_is_described_that_is_none() -> None:
    """Each section of docs/cli.md about a command is about one there is, and the common options are there."""
    found = sections(text_of("docs/cli.md"))
    described = {heading for heading in found if heading.startswith("`edge-agent ")}
    assert described == {f"`edge-agent {' '.join(names)}`" for names, _ in commands(get_command(app))}
    common = found["Options of every command"]
    assert all(f"`{option}`" in common for option in options(get_command(app)))


def test_the_stubs_options_are_described() -> None:
    """docs/head-office.md names every option of ho-stub run."""
    from ho_stub.cli import main

    group: typer.Typer = main
    run = dict(commands(get_command(group)))[("run",)]
    described = [row[0].strip("`") for row in table_rows(text_of("docs/head-office.md")) if row[0].startswith("`--")]
    assert described == [option for option in options(run) if option.startswith("--")]


def test_exit_codes_are_described() -> None:
    """docs/cli.md lists exactly the exit codes there are."""
    rows = table_rows(sections(text_of("docs/cli.md"))["Exit codes"])
    assert [int(row[0]) for row in rows if row[0].isdigit()] == [code.value for code in Exit]


def test_the_readmes_commands_are_in_the_makefile() -> None:
    """Every `make …` of the README is a target."""
    targets = re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE)
    named = re.findall(r"^make ([a-z]+)", text_of("README.md"), re.MULTILINE)
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)


def test_the_readmes_commands_are_there() -> None:
    """Every `edge-agent …` of the README is a command."""
    there = {names[0] for names, _ in commands(get_command(app))}
    named = re.findall(r"edge-agent (?:--\S+ \S+ )?([a-z]+)", text_of("README.md"))
    assert set(named) <= there


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link leads to a file that is there, and to a heading of it."""
    for target in LINK.findall(FENCE.sub("", document.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert file.is_relative_to(ROOT.resolve()), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    """The anchors a Markdown renderer gives a file's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_no_ones_machine(document: Path) -> None:
    """No document names a folder of the machine it was written on."""
    assert LOCAL_PATH.findall(document.read_text("utf-8")) == []


def test_guarantees_name_tests_that_exist() -> None:
    """Every guarantee names the tests that try to break it, and those tests are there."""
    text = text_of("docs/guarantees.md")
    for number in range(1, 12):
        section = next(part for heading, part in sections(text).items() if heading.startswith(f"G{number} "))
        named = NAMED_TEST.findall(section)
        assert named, f"G{number} names no test"
        for file, name in named:
            assert (ROOT / file).is_file(), file
            assert not name or f"def {name}(" in text_of(file), f"{file}::{name}"


def test_every_refusal_and_event_is_described() -> None:
    """docs/embedding.md names every code of InvalidSale and every event, and none that there isn't."""
    code = "".join(path.read_text("utf-8") for path in (ROOT / "edge_agent").rglob("*.py"))
    described = text_of("docs/embedding.md")
    refusals = set(re.findall(r'InvalidSale\(\s*"([A-Z_0-9]+)"', code))
    paragraph = re.search(r"^The codes of `InvalidSale`:.*?\n\n", described, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    assert set(re.findall(r"`([A-Z_0-9]+)`", paragraph[0])) == refusals
    told = re.findall(r'(?:on_event|tell)\(\s*"([a-z ]+)"(?: if \w+ else "([a-z ]+)")?', code)
    assert len(told) >= 5
    for event in filter(None, (name for names in told for name in names)):
        assert re.search(rf"^\|.*`{event}`.*\|", described, re.MULTILINE), event


def test_what_programs_read_is_described(agent: EdgeAgent) -> None:
    """docs/cli.md shows every field of the JSON of status and sync."""
    found = sections(text_of("docs/cli.md"))
    for command, value in (("status", agent.status()), ("sync", CycleReport().as_json())):
        assert [key for key in value if f'"{key}"' not in found[f"`edge-agent {command}`"]] == []
    datasets = found["`edge-agent status`"]
    assert [key for key in agent.status()["datasets"]["products"] if f'"{key}"' not in datasets] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """Decisions are numbered from 1, and each says its context, decision, reasons and consequences."""
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text("utf-8")
        assert text.startswith(f"# {file.name[:4]} ")
        assert all(f"**{part}" in text for part in ("Context", "Decision", "Why", "Consequences")), file.name


def test_code_points_at_documents_that_exist() -> None:
    """A document named in code or in an error's words is there."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.sql", "*.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in listed:
        if not (ROOT / name).is_file():
            continue
        for target in re.findall(r"docs/[a-z\-/]+(?:\.md|\d{4})", text_of(name)):
            number = re.search(r"\d{4}$", target)
            found = list((ROOT / target).parent.glob(f"{number[0]}-*.md")) if number else [ROOT / target]
            assert found, f"{name}: {target}"
            assert found[0].is_file(), f"{name}: {target}"
