"""What head office may write is shown to people: as JSON it is whole, and no screen obeys it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.shell import Shell

from .stage import BREAD, COLA, DEAL, DRINKS, WATER, Act, Answer, open_stage

ODD = "\u0000 \u001b[2J\u001b[31m red \u202e terces \u200f 🛒 e\u0301 \\ \" ' ; -- %s {x} \u2028 \t end"
LONG = "ab " * 333


@pytest.fixture
def act() -> Iterator[Act]:
    with open_stage() as stage, stage.act() as one:
        yield one


def told(route: str, rows: list[dict[str, object]], honest: Answer) -> Answer:
    page = {route: rows, "deleted_ids": [], "next_cursor": "odd", "has_more": False, "snapshot": False}
    return Answer(200, honest.headers, json.dumps(page).encode())


def command(act: Act, *words: str) -> str:
    """What a command prints."""
    done = Shell(act.agent.home)(*words)
    return done.stdout + ("" if "--json" in words else done.stderr)


def test_odd_words_are_shown_and_not_obeyed(act: Act) -> None:
    """Names with control characters, marks that turn text round, a thousand letters: found, shown, printed."""
    rows: dict[str, list[dict[str, object]]] = {
        "products": [
            {"id": COLA, "name": ODD, "sku": ODD[:30], "barcode": "\u001b]0;x\u0007", "price": "8000.00"},
            {"id": WATER, "name": LONG, "sku": "L" * 200, "price": None, "own": {"a": [ODD]}},
            {"id": BREAD, "name": 7, "price": ODD},
        ],
        "categories": [{"id": DRINKS, "name": ODD, "code": ODD}],
        "promotions": [{"id": DEAL, "name": ODD, "code": ODD, "promo_type": ODD[:90], "rules": {"type": ODD}}],
    }
    act.line.lie = lambda route, params, honest: told(route, rows[route], honest) if route in rows else None
    assert not act.poll().errors
    assert act.refused("products").keys() == {BREAD}
    assert act.agent.catalog.by_id(COLA).fields == rows["products"][0]  # type: ignore[union-attr]
    assert act.agent.catalog.by_barcode("\u001b]0;x\u0007").id == COLA  # type: ignore[union-attr]
    assert act.agent.catalog.promotion(ODD).name == ODD  # type: ignore[union-attr]
    act.agent.close()

    shown = json.loads(command(act, "products", "show", COLA, "--json"))
    assert (shown["name"], shown["sku"], shown["price"]) == (ODD, ODD[:30], "8000.00")
    assert json.loads(command(act, "products", "search", "red", "--json"))["total"] == 1
    promotions = json.loads(command(act, "promotions", "list", "--json"))["promotions"]
    assert ODD in [one["code"] for one in promotions]
    assert json.loads(command(act, "status", "--json"))["datasets"]["products"]["refused"] == 1
    for words in (("products", "show", COLA), ("products", "search", ""), ("promotions", "list"), ("status",)):
        said = command(act, *words)
        assert said
        assert all(character.isprintable() or character == "\n" for character in said), (words, said)
