"""The contract's words on rows, written down a second time: what a till must refuse, and what it must take.

It shares nothing with the agent. Between what must be refused and what must be taken, a till may do either.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable
from typing import Any

ROW_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
DECIMALS = 2  # of the store's currency
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_MONEY = re.compile(r"[0-9]+(\.[0-9]+)?\Z", re.ASCII)
_OBJECTS = ("validity", "scope", "targeting", "rules", "limits", "time_rules")


class Broken(ValueError):
    """How a row breaks the contract."""


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Broken("a number beyond all bounds")
    return value


def _no_number(text: str) -> float:
    raise Broken(f"{text} is no JSON")


def decoded(body: bytes) -> Any:
    """A row's bytes as a value.

    Raises:
        Broken: they are no JSON that every reader takes.
    """
    if len(body) > ROW_BYTES_MAX:
        raise Broken("too large")
    try:
        value = json.loads(body.decode("utf-8"), parse_float=_number, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Broken(str(error)) from None
    if _depth(value) > DEPTH_MAX:
        raise Broken("nested too deeply")
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, (dict, list))]:
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
        depth += 1
    return depth


def check(dataset: str, body: bytes, *, numbers: bool = True) -> dict[str, Any]:
    """A row in use, as a till may use it.

    Args:
        dataset: which.
        body: the row's bytes.
        numbers: whether money may be a JSON number, as from a baseline head office; a native one's is read as well.

    Raises:
        Broken: it must be refused.
    """
    row = decoded(body)
    if not isinstance(row, dict):
        raise Broken("no object")
    _require(_is_id(row.get("id")), "id")
    _require(isinstance(row.get("name"), str) and len(row["name"]) <= 1_000, "name")
    for flag in ("is_active", "is_volatile") if dataset == "products" else ("is_active",):
        _require(row.get(flag) in (None, True, False), flag)
    version = 0 if row.get("row_version") is None else row["row_version"]
    _require(type(version) is int and -(2**63) <= version < 2**63, "row_version")
    {"categories": _category, "products": _product, "promotions": _promotion}[dataset](row, numbers)
    return row


def is_money(text: str) -> bool:
    """Whether a text is an amount that is not negative."""
    return bool(_MONEY.match(text))


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise Broken(field)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.match(value))


def _category(row: dict[str, Any], numbers: bool) -> None:
    _require(row.get("parent_id") is None or _is_id(row["parent_id"]), "parent_id")


def _product(row: dict[str, Any], numbers: bool) -> None:
    _require(row.get("category_id") is None or _is_id(row["category_id"]), "category_id")
    for code in ("sku", "barcode"):
        value = row.get(code)
        _require(value is None or (type(value) in (str, int) and len(str(value)) <= 200), code)
    price = row.get("price")
    if isinstance(price, str):
        _require(bool(_MONEY.match(price)) and not price.partition(".")[2][DECIMALS:].strip("0"), "price")
    elif price is not None:
        _require(numbers and type(price) in (int, float) and price >= 0, "price")
        _require(abs(round(price, DECIMALS) - price) < 0.000002 or price > 10**9, "price")


def _promotion(row: dict[str, Any], numbers: bool) -> None:
    for part in _OBJECTS:
        if part in ("validity", "time_rules") and not row.get(part):
            continue
        if part == "time_rules" and row.get("validity"):
            continue
        if part == "time_rules" and "discount_type" not in row:
            continue
        _require(row.get(part) is None or isinstance(row[part], dict), part)
    rules = row.get("rules") or {}
    _require(not rules.get("error") and rules.get("tiers") != [], "rules")
    _require(row.get("promo_type") is None or isinstance(row["promo_type"], str), "promo_type")
    code = row.get("code")
    _require(code is None or (isinstance(code, str) and len(code) <= 200), "code")
    flat = not row.get("validity") and "discount_type" in row
    dates = row if flat else (row.get("validity") or {})
    hours = (row.get("time_rules") or {}) if flat else dates
    days = [_date(dates.get(name)) for name in ("start_date", "end_date")]
    _require(None in days or days[0] <= days[1], "end_date")  # type: ignore[operator]
    for name in ("time_start", "time_end"):
        _time(hours.get(name))
    first = 1 if flat else 0
    weekdays = hours.get("days_of_week")
    if weekdays not in (None, "", []):
        _require(isinstance(weekdays, list) and len(weekdays) < 1_000, "days_of_week")
        _require(all(type(day) is int and first <= day <= first + 6 for day in weekdays), "days_of_week")


def _date(value: Any) -> dt.date | None:
    if value in (None, ""):
        return None
    _require(isinstance(value, str) and len(value) < 100, "date")
    try:
        return dt.date.fromisoformat(value[:10])
    except ValueError:
        raise Broken("date") from None


def _time(value: Any) -> None:
    if value in (None, "", "24:00", "24:00:00"):
        return
    _require(isinstance(value, str) and len(value) < 100, "time")
    try:
        dt.time.fromisoformat(value)
    except ValueError:
        raise Broken("time") from None


# ---- what must be taken: exactly the contract's types ---------------------------------------------------------------

_TEXT: Callable[[Any], bool] = lambda value: value is None or isinstance(value, str)  # noqa: E731
_BOOL: Callable[[Any], bool] = lambda value: isinstance(value, bool)  # noqa: E731
_STRICT: dict[str, dict[str, Callable[[Any], bool]]] = {
    "categories": {"code": _TEXT, "is_active": _BOOL, "display_order": lambda value: type(value) is int},
    "products": {
        "sku": lambda value: _TEXT(value) and len(value or "") <= 200,
        "barcode": lambda value: _TEXT(value) and len(value or "") <= 200,
        "price": lambda value: value is None or bool(re.match(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?\Z", str(value))),
        "is_active": _BOOL,
        "is_volatile": _BOOL,
    },
    "promotions": {
        "promo_type": lambda value: isinstance(value, str) and 0 < len(value) <= 50,
        "is_active": _BOOL,
        "discount_type": lambda value: isinstance(value, str) and 0 < len(value) <= 50,
        "rules": lambda value: isinstance(value, dict) and value.get("tiers") != [] and not value.get("error"),
    },
}


def must_be_taken(dataset: str, body: bytes) -> bool:
    """Whether a row keeps the contract to the letter, so that refusing it would be the till's fault."""
    try:
        row = check(dataset, body, numbers=False)
    except Broken:
        return False
    if _says_a_name_twice(body):
        return False
    for field in ("updated_at", "created_at"):
        if field in row and not (isinstance(row[field], str) and re.match(r"20\d\d-\d\d-\d\dT", row[field])):
            return False
    if dataset == "promotions" and not _plain_validity(row):
        return False
    return all(holds(row[field]) for field, holds in _STRICT[dataset].items() if field in row)


def _says_a_name_twice(body: bytes) -> bool:
    repeated: list[bool] = []
    json.loads(body, object_pairs_hook=lambda pairs: repeated.append(len(dict(pairs)) < len(pairs)))
    return any(repeated)


def _plain_validity(row: dict[str, Any]) -> bool:
    if not all(row.get(part) is None or isinstance(row[part], dict) for part in ("validity", "time_rules")):
        return False
    hours = {**(row.get("validity") or {}), **(row.get("time_rules") or {}), **row}
    for name, form in (("start_date", r"\d{4}-\d\d-\d\d\Z"), ("time_start", r"\d\d:\d\d\Z")):
        for field in (name, name.replace("start", "end")):
            value = hours.get(field)
            if value is not None and not (isinstance(value, str) and re.match(form, value)):
                return False
    return len(hours.get("days_of_week") or []) <= 7
