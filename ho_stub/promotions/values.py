"""Single values of a definition, as people write them. Each reader returns the value or raises Wrong with the mend."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

TEXT_LENGTH_MAX = 200
ENTRIES_MAX = 10_000
DIGITS_MAX = 12

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", re.ASCII)


class Wrong(ValueError):
    """What is wrong with a value, and the mend, as a part of a sentence that begins with the field's name."""


def text(value: Any) -> str:
    """A line of text."""
    is_line = isinstance(value, str) and value.strip() and value.isprintable()
    if not is_line or len(value) > TEXT_LENGTH_MAX:
        raise Wrong(f"must be a line of text of at most {TEXT_LENGTH_MAX} characters")
    return str(value).strip()


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def whole(value: Any, low: int, high: int) -> int:
    """A whole number in a range."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Wrong(f"must be a whole number from {low} to {high}")
    return value


def choice(value: Any, among: Sequence[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in among:
        raise Wrong(f"must be one of {', '.join(among)}")
    return value


def entries(value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list) or len(value) > ENTRIES_MAX:
        raise Wrong(f"must be a list of at most {ENTRIES_MAX} entries")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, Mapping):
        raise Wrong("must be an object")
    return value


def day(value: Any) -> date:
    """A date; TOML has dates of its own."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value if _DATE.fullmatch(value) else "")
    except (TypeError, ValueError):
        raise Wrong("must be a date like 2026-11-30") from None


def clock(value: Any) -> time:
    """A time of day; TOML has times of its own."""
    if isinstance(value, time):
        return value.replace(microsecond=0, tzinfo=None)
    try:
        return time.fromisoformat(value if _TIME.fullmatch(value) else "")
    except (TypeError, ValueError):
        raise Wrong("must be a time like 18:30; the end of the day is 23:59") from None


def shown(name: object) -> str:
    """A name that somebody else made up, fit for a message."""
    written = str(name)
    return written if written.isprintable() and len(written) <= TEXT_LENGTH_MAX else ascii(written[:TEXT_LENGTH_MAX])


def amount(value: Any, decimals: int, like: str, most: Decimal | None = None) -> str:
    """A decimal above 0 as text, without needless zeros: nothing is rounded on the way."""
    if isinstance(value, Decimal) and not (value.is_finite() and abs(value.adjusted()) <= DIGITS_MAX):
        raise Wrong(f"must be {like}, written as text")  # 1e999999999 would be a very long text
    written = f"{value:f}" if isinstance(value, Decimal) else str(value).strip()
    is_number = isinstance(value, (str, int, Decimal)) and not isinstance(value, bool)
    if not is_number or not _DECIMAL.fullmatch(written) or len(written.partition(".")[0]) > DIGITS_MAX:
        raise Wrong(f"must be {like}, written as text")
    number = Decimal(written)
    if number <= 0:
        raise Wrong("must be above 0")
    if most is not None and number > most:
        raise Wrong(f"must be at most {most}")
    front, _, fraction = written.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals:
        raise Wrong(f"must have at most {decimals} decimals" if decimals else "must be a whole number")
    return f"{front}.{fraction}" if fraction else front
