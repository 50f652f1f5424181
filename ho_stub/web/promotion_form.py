"""A definition as a form's fields, and back. What has no field of its own stands as JSON in `rules` and in `rest`."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ho_stub.web.base import Form

Definition = dict[str, Any]
FLAGS = ("is_active", "require_voucher", "is_stackable")
DATES = ("start_date", "end_date", "time_start", "time_end")
GOODS = ("products", "categories", "exclude_products", "exclude_categories")
PLACES = ("stores", "brands")
LIMITS = ("max_uses", "max_uses_per_customer", "max_uses_per_day")
# Where a form's field stands in the definition; messages are shown at the field by this path.
AT: dict[str, str] = {
    **{name: name for name in ("code", "name", "type", *FLAGS, "rules")},
    **{name: f"validity.{name}" for name in (*DATES, "days_of_week", "exclude_holidays")},
    **{name: f"scope.{name}" for name in ("apply_to", *GOODS)},
    **{name: f"targeting.{name}" for name in (*PLACES, "member_only")},
    **{name: f"limits.{name}" for name in LIMITS},
}


class NoJson(ValueError):
    """A JSON field can't be read. `messages`: field → why."""

    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__(str(messages))
        self.messages = messages


def definition_of(form: Form) -> Definition:
    """The definition in a form. Raises NoJson."""
    parts, messages = dict[str, Definition](), dict[str, str]()
    for name in ("rules", "rest"):
        try:
            parts[name] = _json(form.get(name, ""))
        except ValueError as exc:
            messages[name] = str(exc)
    if messages:
        raise NoJson(messages)
    found = parts["rest"]
    if "id" in found:
        raise NoJson({"rest": "in id: leave it out, it can't be chosen here"})
    if parts["rules"]:
        found["rules"] = parts["rules"]
    for name, path in AT.items():
        value = _value(name, form)
        if name != "rules" and value not in ("", [], None):
            _put(found, path, value)
    return found


def fields_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the form's fields for a definition."""
    rest: Definition = json.loads(json.dumps({k: v for k, v in definition.items() if k not in ("id", "rules")}))
    fields: dict[str, Any] = {"rules": _pretty(definition.get("rules") or {})}
    for name, path in AT.items():
        if name != "rules":
            fields[name] = _shown(name, _take(rest, path))
    fields["is_active"] = definition.get("is_active") is not False
    fields["apply_to"] = fields["apply_to"] or "all"
    left = {k: v for k, v in rest.items() if v not in (None, {}, [])}
    return fields | {"rest": _pretty(left) if left else ""}


def typed(form: Form) -> dict[str, Any]:
    """What stands in the form's fields after it was sent and refused."""
    fields = {name: form.get(name, "") for name in (*AT, "rest")}
    flags = {name: name in form for name in (*FLAGS, "exclude_holidays", "member_only")}
    return fields | flags | {"days_of_week": [int(day) for day in form.every("days_of_week") if day.isdecimal()]}


def at_fields(messages: Mapping[str, str]) -> dict[str, str]:
    """Messages by the form's fields; what belongs to none of them stands at `rest`."""
    found: dict[str, list[str]] = {}
    names = {path: name for name, path in AT.items()}
    for path, message in messages.items():
        at = max((one for one in names if path == one or path.startswith((f"{one}.", f"{one}["))), key=len, default="")
        inside = path.removeprefix(at).removeprefix(".")
        # An entry of a list is named by its message itself.
        words = message if not inside or inside.startswith("[") else f"in {inside}: {message}"
        found.setdefault(names.get(at, "rest"), []).append(words)
    return {name: "; ".join(lines) for name, lines in found.items()}


def _json(text: str) -> Definition:
    if not text.strip():
        return {}
    try:
        found = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as exc:
        raise ValueError(f"is no JSON in line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError('must be an object, like {"discount_percent": "10"}')
    return found


def _value(name: str, form: Form) -> Any:
    text = form.get(name, "").strip()
    if name in FLAGS:
        return name in form if name == "is_active" else (name in form or None)
    if name in ("exclude_holidays", "member_only"):
        return name in form or None
    if name == "days_of_week":
        return [int(day) if day.isdecimal() else day for day in form.every(name)]
    if name in GOODS or name in PLACES:
        return [one.strip() for one in text.replace("\n", ",").split(",") if one.strip()]
    if name in LIMITS:
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else text
    return None if (name, text) == ("apply_to", "all") else text


def _shown(name: str, value: Any) -> Any:
    if name in GOODS or name in PLACES:
        return ", ".join(map(str, value or ()))
    if name == "days_of_week":
        return value or []
    return "" if value is None else value


def _put(definition: Definition, path: str, value: Any) -> None:
    *above, name = path.split(".")
    for one in above:
        inner = definition.setdefault(one, {})
        if not isinstance(inner, dict):  # typed as JSON, and no object: that is told, not overwritten
            return
        definition = inner
    definition[name] = value


def _take(definition: Definition, path: str) -> Any:
    *above, name = path.split(".")
    for one in above:
        definition = definition.get(one) or {}
    return definition.pop(name, None)


def _pretty(value: Definition) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else "{}"
