"""Definitions and their compiled rows: one transaction, the same rows in both profiles, uses counted, recompiled."""

from __future__ import annotations

from typing import Any

import pytest

from ho_stub.promotions import InvalidDefinition, kept
from ho_stub.testing import HeadOffice
from ho_stub.world import World

DEAL = "00000009-0000-4000-8000-000000000000"
COLA10: dict[str, Any] = {
    "code": "COLA-NEW",
    "name": "Cola 5 % off",
    "type": "percent_discount",
    "scope": {"apply_to": "products", "products": ["COLA-330"]},
    "rules": {"discount_percent": "5"},
}


@pytest.fixture
def world() -> Any:
    world = World()
    yield world
    world.close()


def test_a_saved_definition_is_what_stores_are_sent(world: World) -> None:
    row = world.promotions.save(COLA10, "ann")
    assert world.get("promotions", row["id"]) == row
    assert row in world.rows("promotions")
    assert world.promotions.get(row["id"]) == COLA10 | {"id": row["id"]}
    (listed,) = world.promotions.list()
    assert (listed["code"], listed["updated_by"]) == ("COLA-NEW", "ann")


def test_a_change_is_one_row_change_and_keeps_what_was_used(world: World) -> None:
    row = world.promotions.save(COLA10, "ann")
    with world.db.write():
        world.promotions.count_uses({row["id"]: 3})
    changed = world.promotions.save(COLA10 | {"id": row["id"], "rules": {"discount_percent": "7"}}, "bob")
    assert changed["rules"]["discount_percent"] == "7"
    assert changed["limits"]["current_uses"] == 3
    assert changed["row_version"] == row["row_version"] + 2
    assert world.audit is not None
    newest = world.db.row("SELECT actor, action, subject FROM audit ORDER BY number DESC LIMIT 1")
    assert newest == ("bob", "save promotion", row["id"])


def test_a_refused_change_leaves_definition_and_row_as_they_were(world: World) -> None:
    row = world.promotions.save(COLA10, "ann")
    with pytest.raises(InvalidDefinition):
        world.promotions.save(COLA10 | {"id": row["id"], "rules": {"discount_percent": "700"}}, "bob")
    assert world.get("promotions", row["id"]) == row
    assert world.promotions.list()[0]["updated_by"] == "ann"


def test_a_code_names_one_promotion(world: World) -> None:
    world.promotions.save(COLA10, "ann")
    with pytest.raises(InvalidDefinition) as refused:
        world.promotions.save(COLA10 | {"name": "Another"}, "ann")
    assert "another promotion" in refused.value.messages["code"]


def test_switched_off_it_leaves_the_stores_and_deleted_it_is_gone(world: World) -> None:
    row = world.promotions.save(COLA10, "ann")
    for row_id in (row["id"], DEAL):  # with a definition, and without one
        assert world.promotions.deactivate(row_id, "ann")["is_active"] is False
    assert world.live_ids("promotions") == []
    kept_one = world.promotions.get(row["id"])
    assert kept_one is not None
    assert kept_one["is_active"] is False
    for row_id in (row["id"], DEAL):
        world.promotions.delete(row_id, "ann")
        with pytest.raises(KeyError):
            world.promotions.delete(row_id, "ann")
    assert world.promotions.list() == []


def test_both_profiles_serve_the_same_compiled_rows() -> None:
    rows = []
    for profile in ("native", "baseline"):
        office = HeadOffice(profile=profile)  # type: ignore[arg-type]
        office.world.promotions.save(COLA10 | {"id": "00000077-0000-4000-8000-000000000000"}, "ann")
        row = next(row for row in office.world.rows("promotions") if row["code"] == "COLA-NEW")
        rows.append({k: v for k, v in row.items() if k not in ("row_version", "compiled_at", "updated_at")})
        office.close()
    assert rows[0] == rows[1]


def test_uses_are_one_change_a_promotion_and_show_when_all_are_used(world: World) -> None:
    row = world.promotions.save(COLA10 | {"limits": {"max_uses": 2}}, "ann")
    before = world.db.current("change")
    with world.db.write():
        world.promotions.count_uses({row["id"]: 2, DEAL: 1, "00000099-0000-4000-8000-000000000000": 5})
    assert world.db.current("change") == before + 2
    used = world.get("promotions", row["id"])
    assert used["limits"] == row["limits"] | {"current_uses": 2}
    assert used["updated_at"] > row["updated_at"]
    assert world.get("promotions", DEAL)["limits"]["current_uses"] == 1
    assert row["id"] in world.live_ids("promotions")


def test_a_new_compiler_compiles_everything_anew_and_says_what_it_can_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.promotions.save(COLA10, "ann")
    lost = world.promotions.save(
        COLA10 | {"code": "WATER", "scope": {"apply_to": "products", "products": ["WATER-600"]}}, "ann"
    )
    water = lost["scope"]["products"][0]
    world.delete("products", water)
    monkeypatch.setattr(kept, "COMPILER_VERSION", "9.9.9")
    monkeypatch.setattr("ho_stub.promotions.compile.COMPILER_VERSION", "9.9.9")
    world.promotions.settle_compiler()
    assert world.get("promotions", row["id"])["compiler_version"] == "9.9.9"
    assert world.get("promotions", lost["id"]) == lost  # the last good one stays with the stores
    assert "WATER-600" in world.promotions.refused()[lost["id"]]["scope.products[0]"]
    before = world.db.current("change")
    world.promotions.settle_compiler()
    assert world.promotions.recompile_all().keys() == {lost["id"]}
    assert world.db.current("change") == before  # nothing changed, so nothing is sent again
    world.promotions.delete(lost["id"], "ann")
    assert world.promotions.refused() == {}


def test_recompiling_forgets_a_definition_whose_row_was_deleted_as_a_row(world: World) -> None:
    row = world.promotions.save(COLA10, "ann")
    world.delete("promotions", row["id"])
    world.promotions.recompile_all()
    assert world.promotions.list() == []
    assert row["id"] not in world.live_ids("promotions")
