"""The definitions that head office keeps: saved with their compiled row in one transaction, so neither lacks the other.

A row put into the feed as it is (`world.put("promotions", row)`) has no definition and lives on beside them.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ho_stub.promotions.catalogue import OfWorld
from ho_stub.promotions.compile import COMPILER_VERSION, compile_promotion
from ho_stub.promotions.definition import is_definition
from ho_stub.promotions.fields import InvalidDefinition
from ho_stub.promotions.values import shown
from ho_stub.rows import utc_now

if TYPE_CHECKING:
    from ho_stub.world import World

SAVE = """
INSERT INTO promotion_definition (id, code, definition, updated_at, updated_by) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET code = excluded.code, definition = excluded.definition,
  updated_at = excluded.updated_at, updated_by = excluded.updated_by"""
# In the table meta: the version that compiled the rows, and what it could not compile any more.
COMPILED_BY, REFUSED = "promotion compiler", "promotions refused"


class Promotions:
    """`world.promotions`. Each method that changes something is one commit."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def save(self, definition: Mapping[str, Any], actor: str) -> dict[str, Any]:
        """Keep a new or changed definition and send its compiled row.

        Args:
            definition: see docs/promotions.md; without `id` it is a new promotion.
            actor: who does it, for the audit.

        Returns:
            The compiled row as stored.

        Raises:
            InvalidDefinition: it can't be compiled; nothing was saved.
        """
        world = self._world
        definition = dict(definition) | {"id": definition.get("id") or str(uuid.uuid4())}
        with world.db.write():
            row = self.compiled(definition)
            before = self.get(row["id"])
            self._keep(row, definition, actor)
            self._mended(row["id"])
            stored = world.put("promotions", row)
            world.audit.note(actor, "save promotion", row["id"], before, self.get(row["id"]))
            return stored

    def load(self, rows: Iterable[Mapping[str, Any]], actor: str) -> None:
        """What head office starts with: rows in the compiled form as they are, definitions compiled.

        Call it inside `db.write()`, after everything that definitions may name.

        Raises:
            InvalidDefinition: some can't be compiled; a message for each field of each.
        """
        world, definitions, messages = self._world, list[tuple[int, Mapping[str, Any]]](), dict[str, str]()

        def others() -> Iterator[Mapping[str, Any]]:
            for number, row in enumerate(rows):
                if not is_definition(row):
                    yield row
                else:
                    definitions.append((number, row))

        world.feed.load("promotions", others(), world.today())
        for number, given in definitions:
            definition = self.named(given)
            try:
                row = self.compiled(definition)
                self._keep(row, definition, actor)
            except InvalidDefinition as exc:
                at = f"promotions[{number}] ({shown(given.get('code'))})"
                messages |= {f"{at}.{field}": message for field, message in exc.messages.items()}
            else:
                world.feed.put("promotions", row, world.today())
        if messages:
            raise InvalidDefinition(messages)
        world.db.set_meta(COMPILED_BY, COMPILER_VERSION)

    def named(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """A definition of a file with its id: its own, else one made from the code, the same at every load."""
        made = str(uuid.uuid5(uuid.UUID(self._world.company_id), f"promotion:{definition.get('code')}"))
        return dict(definition) | {"id": definition.get("id") or made}

    def _keep(self, row: Mapping[str, Any], definition: Mapping[str, Any], actor: str) -> None:
        db, row_id, code = self._world.db, row["id"], row["code"]
        namesake = db.value("SELECT id FROM promotion_definition WHERE code = ? AND id <> ?", (code, row_id))
        if namesake is not None:
            raise InvalidDefinition({"code": f"is that of another promotion already ({namesake})"})
        text = msgspec.json.encode(definition).decode()  # decimals become text
        db.run(SAVE, (row_id, code, text, utc_now(), actor))

    def compiled(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """What a definition compiles to; nothing is kept. Raises InvalidDefinition."""
        world = self._world
        row_id = definition.get("id")
        known = world.feed.get("promotions", row_id) if isinstance(row_id, str) else None
        catalogue = OfWorld(world.db, world.feed, world.company)
        return compile_promotion(definition, catalogue, utc_now(), _uses(known))

    def get(self, row_id: str) -> dict[str, Any] | None:
        """A definition as it was saved; None for a promotion that has none."""
        text = self._world.db.value("SELECT definition FROM promotion_definition WHERE id = ?", (row_id,))
        return None if text is None else json.loads(text)

    def list(self) -> list[dict[str, Any]]:
        """All definitions, by code, each with `updated_at` and `updated_by`."""
        sql = "SELECT definition, updated_at, updated_by FROM promotion_definition ORDER BY code, id"
        return [
            json.loads(text) | {"updated_at": at, "updated_by": actor} for text, at, actor in self._world.db.rows(sql)
        ]

    def deactivate(self, row_id: str, actor: str) -> dict[str, Any]:
        """Switch a promotion off, with or without a definition; it may name what is gone. Raises KeyError."""
        world = self._world
        with world.db.write():
            stored = world.edit("promotions", row_id, is_active=False)
            definition = self.get(row_id)
            if definition is not None:
                self._keep(stored, definition | {"is_active": False}, actor)
            world.audit.note(actor, "deactivate promotion", row_id, {"is_active": True}, {"is_active": False})
            return stored

    def delete(self, row_id: str, actor: str) -> None:
        """Delete a promotion for good, with or without a definition. Raises KeyError."""
        world = self._world
        with world.db.write():
            before = self.get(row_id) or world.get("promotions", row_id)
            world.delete("promotions", row_id)
            world.db.run("DELETE FROM promotion_definition WHERE id = ?", (row_id,))
            self._mended(row_id)
            world.audit.note(actor, "delete promotion", row_id, before, None)

    def recompile_all(self) -> dict[str, dict[str, str]]:
        """Compile every definition anew.

        Returns:
            The ids of those that can't be compiled any more (what they name is gone) with their messages. Their rows
            stay as they were.
        """
        world, refused = self._world, {}
        with world.db.write():
            for (text,) in world.db.rows("SELECT definition FROM promotion_definition ORDER BY id"):
                definition = json.loads(text)
                try:
                    row = self.compiled(definition)
                except InvalidDefinition as exc:
                    refused[definition["id"]] = exc.messages
                    continue
                known = world.feed.get("promotions", row["id"])
                if known is None:  # its row was deleted as a row
                    world.db.run("DELETE FROM promotion_definition WHERE id = ?", (row["id"],))
                elif _content(known) != _content(row):
                    world.put("promotions", row)
            world.db.set_meta(COMPILED_BY, COMPILER_VERSION)
            world.db.set_meta(REFUSED, json.dumps(refused))
        return refused

    def refused(self) -> dict[str, dict[str, str]]:
        """What the last `recompile_all` could not compile and nobody has mended or deleted since: id → messages."""
        found: dict[str, dict[str, str]] = json.loads(self._world.db.meta(REFUSED) or "{}")
        return found

    def _mended(self, row_id: str) -> None:
        left = self.refused()
        if left.pop(row_id, None):
            self._world.db.set_meta(REFUSED, json.dumps(left))

    def settle_compiler(self) -> None:
        """Recompile everything if another version of the compiler made the rows."""
        if self._world.db.meta(COMPILED_BY) != COMPILER_VERSION:
            self.recompile_all()

    def count_uses(self, uses: Mapping[str, int]) -> None:
        """Add to `limits.current_uses`, inside the caller's `db.write()`: one change of each row, whoever made it.

        A promotion that is gone is passed over. One whose `max_uses` is reached stays, and shows it.
        """
        world = self._world
        for row_id, times in sorted(uses.items()):
            row = world.feed.get("promotions", row_id)
            if row is not None and times:
                limits = (row.get("limits") or {}) | {"current_uses": _uses(row) + times}
                world.commit("promotions", row | {"limits": limits, "updated_at": None})


def _uses(row: Mapping[str, Any] | None) -> int:
    uses = ((row or {}).get("limits") or {}).get("current_uses")
    return uses if isinstance(uses, int) else 0


def _content(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what changes at every compilation."""
    return {k: v for k, v in row.items() if k not in ("compiled_at", "updated_at", "row_version")}
