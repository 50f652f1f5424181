"""The products as the office edits them: found by text, checked field by field, changed with an entry in the audit."""

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ho_stub.canonical import one_off_id
from ho_stub.columns import decimal
from ho_stub.promotions.catalogue import OfWorld
from ho_stub.promotions.fields import MONEY_DECIMALS
from ho_stub.promotions.values import Wrong, flag, text
from ho_stub.sale import EXPONENTS, is_id

if TYPE_CHECKING:
    from ho_stub.world import World

CHUNK = 5_000
FOUND_MAX = 500
FIELDS = ("name", "sku", "barcode", "price", "category_id", "brand_id", "is_active", "is_volatile")


class InvalidProduct(ValueError):
    """Nothing was saved. `messages`: field → what is wrong and the mend."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in messages.items()))
        self.messages = dict(messages)


class Outdated(ValueError):
    """Nothing was saved: somebody changed the product in between."""


def find(world: "World", asked: str, most: int) -> tuple[list[dict[str, Any]], int]:
    """Products whose name, SKU or barcode holds a text, by name; and how many there are (counted up to FOUND_MAX)."""
    asked, found = asked.strip().lower(), list[dict[str, Any]]()
    is_plain = asked.isascii() and asked.isprintable() and not set(asked) & set('"\\')  # stands in JSON as it is
    for row in rows(world, "products", holding=asked.encode() if is_plain else b""):
        held = (row.get("name"), row.get("sku"), row.get("barcode"))
        if any(asked in str(one).lower() for one in held if one):
            found.append(row)
            if len(found) == FOUND_MAX:
                break
    found.sort(key=lambda row: (_distance(row, asked), str(row.get("name")).lower(), row["id"]))
    return found[:most], len(found)


def _distance(row: Mapping[str, Any], asked: str) -> int:
    """0 for the very SKU or barcode, 1 where a word of the name begins so, 2 where it stands anywhere."""
    if asked in (str(row.get("sku")).lower(), row.get("barcode")):
        return 0
    return 1 if any(word.startswith(asked) for word in str(row.get("name")).lower().split()) else 2


def rows(world: "World", dataset: str, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """All rows of a dataset, whoever they are for, by id; `holding`: those whose JSON has this somewhere, in any case.

    They are read some thousand at a time.
    """
    after = ""
    while True:
        sql = "SELECT id, body FROM feed WHERE dataset = ? AND id > ? ORDER BY id LIMIT ?"
        found = world.db.rows(sql, (dataset, after, CHUNK))
        for after, body in found:  # noqa: B007 - the last one is where to go on
            if holding in bytes(body).lower():
                yield msgspec.json.decode(body, type=dict[str, Any])
        if len(found) < CHUNK:
            return


def save(world: "World", row_id: str | None, given: Mapping[str, Any], actor: str, seen: str = "") -> dict[str, Any]:
    """Change a product, or add one.

    Args:
        world: head office.
        row_id: which; None for a new one, whose id is that which a till would make for its SKU.
        given: the fields FIELDS; empty texts are nulls.
        actor: who does it.
        seen: the `row_version` that they saw; empty: whatever it is.

    Raises:
        InvalidProduct: a message for each wrong field.
        Outdated: the product is another one by now.
        KeyError: there is no such product.
    """
    with world.db.write():
        before = world.get("products", row_id) if row_id else None
        if before is not None and seen not in ("", str(before["row_version"])):
            raise Outdated
        fields, messages = _checked(world, row_id, given)
        if messages:
            raise InvalidProduct(messages)
        if before is None:
            stored = world.upsert("products", fields | {"id": _new_id(world, fields["sku"])})
        elif all(before.get(name) == value for name, value in fields.items()):
            return before
        else:
            stored = world.edit("products", str(row_id), **fields)
        verb = "edit product" if before else "add product"
        world.audit.note(actor, verb, stored["id"], before and _told(before), _told(stored))
        return stored


def _new_id(world: "World", sku: str) -> str:
    """That which a till would make for the SKU, unless a product that had this SKU before has it."""
    made = one_off_id(world.company_id, sku)
    return made if world.feed.product(made) is None else str(uuid.uuid4())


def remove(world: "World", row_id: str, actor: str) -> None:
    """Delete a product for good. Raises KeyError."""
    with world.db.write():
        before = world.get("products", row_id)
        world.delete("products", row_id)
        world.audit.note(actor, "delete product", row_id, _told(before), None)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in FIELDS}


def _checked(world: "World", row_id: str | None, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    decimals = EXPONENTS.get(world.company["currency"], MONEY_DECIMALS)
    catalogue = OfWorld(world.db, world.feed, world.company)

    def price(value: Any) -> str:
        return f"{decimal(value, decimals, f'an amount like {2500:.{decimals}f}'):.{decimals}f}"

    def sku(value: Any) -> str:
        other = world.feed.product_by_sku(text(value), None)
        if other not in (None, row_id):
            raise Wrong("is that of another product already")
        return text(value)

    def category(value: Any) -> str:
        if catalogue.category(str(value)) is None:
            raise Wrong("is gone; choose another one")
        return str(catalogue.category(str(value)))

    def brand(value: Any) -> str:
        if not is_id(value) or not world.has_brand(value):
            raise Wrong("is gone; choose another one")
        return str(value)

    readers = (text, sku, text, price, category, brand, flag, flag)
    fields: dict[str, Any] = {}
    messages: dict[str, str] = {}
    for name, read in zip(FIELDS, readers, strict=True):
        value = given.get(name)
        fields[name] = None
        try:
            if value not in (None, ""):
                fields[name] = read(value)
            elif name in ("name", "sku"):
                raise Wrong("is missing")
        except Wrong as exc:
            messages[name] = str(exc)
    fields |= {"is_active": bool(fields["is_active"]), "is_volatile": bool(fields["is_volatile"])}
    return fields, messages
