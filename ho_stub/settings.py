"""The company's sync settings and the window of promotions they open (contract section 7)."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

Settings = dict[str, object]

STRATEGIES = ("current_only", "include_future", "all_active")
DEFAULTS: Settings = {
    "sync_strategy": "include_future",
    "future_days": 7,
    "past_days": 1,
    "include_inactive": False,
    "auto_sync_enabled": True,
    "sync_interval_hours": 6,
    "max_promotions_per_sync": 100,
    "enable_compression": True,
}


class InvalidSettings(ValueError):
    """Nothing was saved. `messages`: field name → what it may be."""

    def __init__(self, messages: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in messages.items()))
        self.messages = messages


def _whole(low: int, high: int) -> tuple[Callable[[object], bool], str]:
    def fits(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return fits, f"a whole number from {low} to {high}"


_FLAG: tuple[Callable[[object], bool], str] = (lambda value: isinstance(value, bool), "true or false")
RULES: dict[str, tuple[Callable[[object], bool], str]] = {
    "sync_strategy": (lambda value: value in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
    "future_days": _whole(0, 90),
    "past_days": _whole(0, 30),
    "include_inactive": _FLAG,
    "auto_sync_enabled": _FLAG,
    "sync_interval_hours": _whole(1, 24),
    "max_promotions_per_sync": _whole(10, 500),
    "enable_compression": _FLAG,
}


def check(fields: Mapping[str, object]) -> None:
    """Raises InvalidSettings, with a message for each wrong field."""
    messages = {}
    for name, value in fields.items():
        if name not in RULES:
            messages[name] = "no such setting"
        elif not RULES[name][0](value):
            messages[name] = f"must be {RULES[name][1]}"
    if messages:
        raise InvalidSettings(messages)


def window_key(settings: Settings) -> str:
    """What of the settings decides which promotions a store is sent: part of a promotions cursor's scope."""
    return "|".join(str(settings[name]) for name in ("sync_strategy", "future_days", "past_days", "include_inactive"))


def in_window(settings: Settings, today: date, starts: str | None, ends: str | None) -> bool:
    """Whether a promotion's dates (ISO, both included, None = open) lie in the window on this day."""
    if settings["sync_strategy"] == "all_active":
        return True
    ahead = behind = 0
    if settings["sync_strategy"] == "include_future":
        ahead, behind = int(str(settings["future_days"])), int(str(settings["past_days"]))
    opens = (today + timedelta(days=ahead)).isoformat()
    closes = (today - timedelta(days=behind)).isoformat()
    return (not starts or starts[:10] <= opens) and (not ends or ends[:10] >= closes)
