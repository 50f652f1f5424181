"""`ho-stub compile`: prints what stores would be sent, or what is wrong with its file and field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ho_stub.cli import main
from ho_stub.world import World

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "examples" / "shop"
COLA: dict[str, Any] = {
    "code": "COLA5",
    "name": "Cola 5 % off",
    "type": "percent_discount",
    "scope": {"apply_to": "products", "products": ["COLA-330"]},
    "rules": {"discount_percent": 5},
}


def compile_(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["compile", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_one_definition_prints_one_row_and_several_a_list(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(COLA))
    code, out, _ = compile_(str(path))
    row = json.loads(out)
    assert (code, row["code"], row["rules"]["discount_percent"]) == (0, "COLA5", "5")
    path.write_text(json.dumps({"promotions": [COLA, COLA | {"code": "COLA6"}]}))
    assert [row["code"] for row in json.loads(compile_(str(path))[1])] == ["COLA5", "COLA6"]
    assert json.loads(compile_(str(path))[1])[0]["id"] == row["id"]  # the same each time


def test_toml_and_data_of_one_s_own() -> None:
    code, out, _ = compile_(str(SHOP / "promotions.toml"), "--data", str(SHOP))
    assert (code, json.loads(out)[0]["code"]) == (0, "ROLLS12")
    assert compile_(str(SHOP / "promotions.toml"), "--data", str(SHOP), "--check") == (
        0,
        "promotions.toml: 2 promotions, nothing wrong\n",
        "",
    )


def test_what_is_wrong_is_told_with_file_and_field_and_nothing_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "deals.json"
    path.write_text(
        json.dumps([COLA, COLA | {"rules": {"discount_percent": 500}}, COLA | {"code": "C", "name": ""}, COLA])
    )
    code, out, err = compile_(str(path))
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "deals.json, promotion 2 (COLA5), rules.discount_percent: must be at most 100",
        "deals.json, promotion 3 (C), name: is missing",
        "deals.json, promotion 4 (COLA5), code: is that of promotion 1 already",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"code": ', "line 1, column 10: is no JSON here"),
        ("[]", "must hold a promotion"),
        ('{"promotions": 5}', "must hold a promotion"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_file_that_holds_no_promotion_says_so(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "deals.json"
    path.write_text(content)
    code, _, err = compile_(str(path))
    assert (code, words in err) == (1, True), err
    assert compile_(str(tmp_path / "none.json"))[0] == 1


def test_the_examples_of_the_documentation_compile_to_what_it_says() -> None:
    text = (ROOT / "docs" / "promotions.md").read_text("utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.S)]
    golden = json.loads((ROOT / "tests" / "contract" / "compiled_promotions.json").read_text("utf-8"))
    by_code = {case["definition"]["code"]: case for case in golden["cases"]}
    world = World()
    assert world.promotions.save(blocks[0], "test")["code"] == "EXAMPLE"  # all fields there are
    world.close()
    types = set()
    for definition, rules in zip(blocks[1::2], blocks[2::2], strict=True):
        case = by_code[definition["code"]]
        assert definition == {name: value for name, value in case["definition"].items() if name != "id"}
        assert rules == case["compiled"]["rules"]
        types.add(definition["type"])
    assert len(types) == 12
