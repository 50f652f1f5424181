"""The forms of the contract's values: ids, times, money, quantities (section 1). Pure."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?", re.ASCII)


def is_id(value: object) -> bool:
    """A UUID in lower case, with hyphens."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_id_of_other_form(value: object) -> bool:
    """A UUID, but not as the contract writes it."""
    return isinstance(value, str) and not is_id(value) and is_id(_plain(value))


def _plain(value: str) -> str:
    digits = value.strip("{}").removeprefix("urn:uuid:").replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def is_text(value: object) -> bool:
    """A string."""
    return isinstance(value, str)


def is_flag(value: object) -> bool:
    """True or false."""
    return isinstance(value, bool)


def is_whole(value: object) -> bool:
    """A whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_decimal_text(value: object, decimals: int = 20) -> bool:
    """A decimal in a string, with at most so many decimals."""
    return isinstance(value, str) and bool(_DECIMAL.fullmatch(value)) and len(value.partition(".")[2]) <= decimals


def is_number(value: object) -> bool:
    """A JSON number."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_object(value: object) -> bool:
    """An object."""
    return isinstance(value, dict)


def is_list(value: object) -> bool:
    """A list."""
    return isinstance(value, list)


def is_clock(value: object) -> bool:
    """A time of day: HH:MM or HH:MM:SS."""
    return isinstance(value, str) and _CLOCK.fullmatch(value) is not None


def is_day(value: object) -> bool:
    """A date: YYYY-MM-DD."""
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def moment(value: object) -> datetime | None:
    """An ISO 8601 time; one without an offset has no tzinfo. None for anything else."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) and "T" in value.replace(" ", "T") else None
    except ValueError:
        return None


def instant(value: object) -> datetime | None:
    """The same in UTC; a time without an offset is taken as UTC."""
    found = moment(value)
    return None if found is None else found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


def is_time(value: object) -> bool:
    """An ISO 8601 time of any kind."""
    return moment(value) is not None


def is_zone(value: object) -> bool:
    """An IANA time zone."""
    try:
        return isinstance(value, str) and bool(ZoneInfo(value))
    except (ValueError, OSError, LookupError):
        return False


def or_null(form: Callable[[object], bool]) -> Callable[[object], bool]:
    """The form, or null."""
    return lambda value: value is None or form(value)
