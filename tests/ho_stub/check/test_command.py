"""`ho-stub check` as it is called: exit codes, the report as text and as JSON, wrong usage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from ho_stub.check.command import PASSWORD_VARIABLE, USAGE
from ho_stub.check.report import CONFORMS, GAPS, SIGN_IN
from ho_stub.cli import main
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from pathlib import Path


def run(office: HeadOffice, *more: str, password: str | None = None) -> Any:
    where = ["--company", office.company_id, "--brand", office.brand_id, "--store", office.store_id]
    secret = {PASSWORD_VARIABLE: office.password if password is None else password}
    arguments = ["check", office.url, "--username", office.username, *where, *more]
    return CliRunner().invoke(main, arguments, env=secret)


def test_the_report_is_text_or_json(tmp_path: Path) -> None:
    """The same verdicts in both; `--json -` in place of the text; `--brief` leaves out what is well."""
    with HeadOffice(profile="baseline") as office:
        file = tmp_path / "report.json"
        told = run(office, "--only", "rows.", "--json", str(file))
        assert told.exit_code == GAPS
        assert "GAP   rows.money" in told.stdout
        assert "pass  rows.parents" in told.stdout
        written = json.loads(file.read_text("utf-8"))
        alone = run(office, "--only", "rows.", "--json", "-", "--brief")
        assert alone.exit_code == GAPS
        verdicts = [
            {one["id"]: one["verdict"] for one in body["checks"]} for body in (written, json.loads(alone.stdout))
        ]
        assert verdicts[0] == verdicts[1]
        assert verdicts[0]["rows.money"] == "gap"
        brief = run(office, "--only", "rows.", "--brief")
        assert "rows.parents" not in brief.stdout
        assert "rows.money" in brief.stdout


def test_exit_codes_tell_how_it_ended() -> None:
    """0 conforms, 4 nobody could sign in; the rest is tested with what causes it."""
    with HeadOffice() as office:
        assert run(office, "--only", "version.").exit_code == CONFORMS
        wrong = run(office, password="wrong")
        assert wrong.exit_code == SIGN_IN
        assert "user name or the password is wrong" in wrong.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--store", "12"], "--store is '12'; it must be a UUID"),
        (["--auth-scheme", "Bearer", "--username", ""], "--username is missing"),
        (["--nonsense"], "No such option"),
        (["--timeout", "soon"], "--timeout"),
        (["--json", "/nowhere/report.json", "--only", "line."], "can't be written"),
    ],
)
def test_wrong_usage_has_an_exit_code_of_its_own(change: list[str], said: str) -> None:
    """64, with words and no traceback."""
    with HeadOffice() as office:
        told = run(office, *change)
    assert told.exit_code == USAGE
    assert said in " ".join(told.output.split())
    assert "Traceback" not in told.output


def test_nobody_is_asked_where_nobody_is() -> None:
    """Without a password and without a terminal the variable is named."""
    told = CliRunner().invoke(
        main,
        ["check", "ftp://x", "--username", "x", "--company", "1" * 8 + "-1111-1111-1111-" + "1" * 12, "--store", "2"],
    )
    assert told.exit_code == USAGE
    with HeadOffice() as office:
        where = ["--company", office.company_id, "--store", office.store_id]
        told = CliRunner().invoke(main, ["check", office.url, "--username", "x", *where], env={PASSWORD_VARIABLE: None})
        assert told.exit_code == USAGE
        assert PASSWORD_VARIABLE in told.output
