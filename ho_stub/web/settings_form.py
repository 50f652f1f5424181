"""Sync settings as a form's fields say them. What was typed stays as it is where it is no number."""

import re
from collections.abc import Mapping

from ho_stub.settings import RULES, STRATEGY_FIELDS, Flag, InvalidSettings, SyncWindows, Whole, check
from ho_stub.web.base import Form

_NUMBER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_YES = ("on", "true", "1", "yes")


def company_values(form: Form) -> dict[str, object]:
    """The settings in a form. A field that isn't there is left out, but in a whole form (`whole`) an empty check mark
    says no, and no window says any time."""
    whole, found = "whole" in form, dict[str, object]()
    for name, rule in RULES.items():
        if isinstance(rule, SyncWindows):
            if whole or "window_from" in form:
                found[name] = _windows(form)
        elif name in form or (whole and isinstance(rule, Flag)):
            found[name] = _value(name, form.get(name, ""))
    return found


def override_values(form: Form) -> dict[str, object]:
    """What a brand or store has of its own by this form: an empty field is inherited."""
    return {name: _value(name, form[name]) for name in STRATEGY_FIELDS if form.get(name, "").strip()}


def problems(values: Mapping[str, object]) -> dict[str, str]:
    """A message for each wrong field."""
    try:
        check(values)
    except InvalidSettings as exc:
        return exc.messages
    return {}


def _value(name: str, text: str) -> object:
    rule, text = RULES[name], text.strip()
    if isinstance(rule, Whole):
        return int(text) if _NUMBER.fullmatch(text) else text
    return text.lower() in _YES if isinstance(rule, Flag) else text


def _windows(form: Form) -> list[dict[str, str]]:
    pairs = zip(form.every("window_from"), form.every("window_to"), strict=False)
    return [{"from": begin.strip(), "to": end.strip()} for begin, end in pairs if begin.strip() or end.strip()]
