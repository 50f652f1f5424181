"""JSON schemas worked out from examples: the same names in each, kinds as seen, null where it may be. Pure."""

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]

# Fields that may be null though the examples have a value, or that hold text though they have none.
NULLABLE = frozenset({
    "acknowledged_at", "acknowledged_by", "barcode", "brand_id", "category_id", "closed_at", "code", "cost",
    "description", "end_date", "fingerprint", "first_day", "future_days", "image_url", "include_inactive", "last_day",
    "last_updated", "max_uses", "next", "parent_id", "past_days", "previous", "price", "product_id", "product_name",
    "promo_type", "quantity", "received_at", "reorder_level", "sku", "start_date", "store_id", "sync_strategy",
    "time_end", "time_start", "updated_at", "updated_by", "window_from", "window_to",
})  # fmt: skip
# Fields that hold whatever was sent, or names that are data.
ANYTHING = frozenset({"after", "before", "data", "days_of_week", "extra", "rules", "value"})
BY_NAME = ("products", "messages")  # ids by SKU, messages by field
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def schema_of(bodies: Sequence[Any]) -> Schema:
    """A schema that fits all of the examples: one of several where they have different names."""
    kinds: dict[frozenset[str], list[Any]] = {}
    for body in bodies:
        kinds.setdefault(frozenset(body) if isinstance(body, dict) else frozenset(), []).append(body)
    schemas = [_fitting("", alike) for alike in kinds.values()]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def taking(bodies: Sequence[Any]) -> Schema:
    """A schema of what a route takes: the names and kinds of the examples, none of them required."""
    found: Schema = _lenient(_fitting("", bodies))
    return found


def _lenient(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _lenient(inner) for name, inner in schema.items() if name != "required"}
    return schema


def _fitting(name: str, values: Sequence[Any]) -> Schema:
    if name in ANYTHING or not values:
        return {}
    objects = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    kinds = {KINDS[type(value)] for value in values if not isinstance(value, dict | list)}
    if kinds & {"integer", "number"} and "number" in kinds:
        kinds.discard("integer")
    if name in NULLABLE:
        kinds |= {"null"} if kinds != {"null"} or objects or lists else {"string"}
    schema: Schema = {}
    if objects:
        kinds.add("object")
        schema |= _object(name, objects)
    if lists:
        kinds.add("array")
        schema["items"] = _fitting("", [one for value in lists for one in value])
    if kinds == {"null"}:
        return {}  # nobody knows what else it may be
    return {"type": min(kinds) if len(kinds) == 1 else sorted(kinds)} | schema


def _object(name: str, objects: Sequence[dict[str, Any]]) -> Schema:
    if name in BY_NAME and all(isinstance(value, str) for one in objects for value in one.values()):
        return {"additionalProperties": {"type": "string"}}
    names = list(dict.fromkeys(inner for one in objects for inner in one))
    echoed = {"external_id"} if {"fingerprint", "index"} & set(names) else set()  # what was sent, whatever it was
    inner = {inner: _fitting(inner, [one[inner] for one in objects if inner in one]) for inner in names}
    inner |= {name: {} for name in echoed}
    return {"properties": inner, "required": [one for one in names if all(one in each for each in objects)]}
