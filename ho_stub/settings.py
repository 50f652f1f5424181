"""The company's sync settings: their ranges, and the window of promotions they open (contract section 7)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

Settings = dict[str, object]

STRATEGIES = ("current_only", "include_future", "all_active")
SYNC_WINDOWS_MAX = 12
DEFAULTS: Settings = {
    "sync_strategy": "include_future",
    "future_days": 7,
    "past_days": 1,
    "include_inactive": False,
    "auto_sync_enabled": True,
    "sync_interval_hours": 6,
    "max_promotions_per_sync": 100,
    "enable_compression": True,
    "sync_windows": [],
}
# What brands and stores may have of their own.
STRATEGY_FIELDS = ("sync_strategy", "future_days", "past_days", "include_inactive")

_HOUR = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class InvalidSettings(ValueError):
    """Nothing was saved. `messages`: field name → what it may be."""

    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in messages.items()))
        self.messages = messages


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, if anything."""
        return None if value in self.words else f"must be one of {', '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number of a range, both ends included."""

    low: int
    high: int

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, if anything."""
        fits = isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high
        return None if fits else f"must be a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, if anything."""
        return None if isinstance(value, bool) else "must be true or false"


@dataclass(frozen=True, slots=True)
class SyncWindows:
    """Times of day in store time: [{"from": "02:00", "to": "05:00"}, …], `to` not included; one may pass midnight."""

    most: int = SYNC_WINDOWS_MAX

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, if anything."""
        form = 'must be a list like [{"from": "02:00", "to": "05:00"}], or empty for any time'
        if not isinstance(value, list):
            return form
        if not all(isinstance(one, dict) and set(one) == {"from", "to"} for one in value):
            return form
        if len(value) > self.most:
            return f"must have at most {self.most} windows"
        for one in value:
            for end in ("from", "to"):
                if not isinstance(one[end], str) or not _HOUR.fullmatch(one[end]):
                    return "each window needs two times of day from 00:00 to 23:59, like 02:00 and 05:00"
            if one["from"] == one["to"]:
                return f"a window from {one['from']} to {one['to']} is none; have no window for any time"
        return None


Rule = Choice | Whole | Flag | SyncWindows
RULES: dict[str, Rule] = {
    "sync_strategy": Choice(STRATEGIES),
    "future_days": Whole(0, 90),
    "past_days": Whole(0, 30),
    "include_inactive": Flag(),
    "auto_sync_enabled": Flag(),
    "sync_interval_hours": Whole(1, 24),
    "max_promotions_per_sync": Whole(10, 500),
    "enable_compression": Flag(),
    "sync_windows": SyncWindows(),
}


def check(fields: Mapping[str, object], known: tuple[str, ...] = tuple(RULES)) -> None:
    """Raises InvalidSettings, with a message for each wrong field."""
    messages = {}
    for name, value in fields.items():
        problem = RULES[name].problem(value) if name in known else "no such setting"
        if problem:
            messages[name] = problem
    if messages:
        raise InvalidSettings(messages)


def window_key(settings: Mapping[str, object]) -> str:
    """What of the settings decides which promotions a store is sent: part of a promotions cursor's scope."""
    return "|".join(str(settings[name]) for name in STRATEGY_FIELDS)


def strategy_of(key: str) -> Settings:
    """The fields that a window's key was made of."""
    strategy, future_days, past_days, include_inactive = key.split("|")
    return {
        "sync_strategy": strategy,
        "future_days": int(future_days),
        "past_days": int(past_days),
        "include_inactive": include_inactive == "True",
    }


def window_days(settings: Mapping[str, object], today: date) -> tuple[date, date] | None:
    """The first and the last day that the window looks at; None: the dates don't matter."""
    if settings["sync_strategy"] == "all_active":
        return None
    if settings["sync_strategy"] == "current_only":
        return today, today
    behind, ahead = int(str(settings["past_days"])), int(str(settings["future_days"]))
    return today - timedelta(days=behind), today + timedelta(days=ahead)


def in_window(settings: Mapping[str, object], today: date, starts: str | None, ends: str | None) -> bool:
    """Whether a promotion's dates (ISO, both included, None = open) lie in the window on this day."""
    days = window_days(settings, today)
    if days is None:
        return True
    first, last = days[0].isoformat(), days[1].isoformat()
    return (not starts or starts[:10] <= last) and (not ends or ends[:10] >= first)
