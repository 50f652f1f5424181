"""Reads a definition field by field and collects what is wrong, each at its field: people mend all of it at once."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any, TypeVar

from ho_stub.promotions import values
from ho_stub.promotions.catalogue import Catalogue
from ho_stub.promotions.values import Wrong
from ho_stub.sale import EXPONENTS, is_id

WHOLE_MAX = 1_000_000_000
PERCENT_MAX = Decimal(100)
PERCENT_DECIMALS = 2
QUANTITY_DECIMALS = 3
MONEY_DECIMALS = 2
UNKNOWN = {
    "product": "no product has this SKU or id",
    "category": "no category has this code or id",
    "store": "no store has this code or id",
    "brand": "no brand has this name or id",
}

T = TypeVar("T")


class InvalidDefinition(ValueError):
    """The promotion can't be compiled. `messages`: field (like `rules.tiers[0].from`) → what is wrong and the mend."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in messages.items()))
        self.messages = dict(messages)


class Fields:
    """One object of a definition. A wrong field reads as empty, and its message is kept in `problems`."""

    def __init__(
        self, given: Mapping[str, Any], catalogue: Catalogue, problems: dict[str, str] | None = None, at: str = ""
    ) -> None:
        self._given = given
        self._at = at
        self._read: set[str] = set()
        self.catalogue = catalogue
        self.problems = {} if problems is None else problems

    def problem(self, name: str, message: str) -> None:
        """Say what is wrong with a field; the first message about one stays."""
        self.problems.setdefault(self._path(name), message)

    def _path(self, name: str) -> str:
        return f"{self._at}.{name}" if self._at else name

    def given(self, name: str) -> Any:
        """A field as it was given; None for an empty one."""
        self._read.add(name)
        value = self._given.get(name)
        return None if value in ("", [], {}) else value

    def _value(self, name: str, read: Callable[[Any], T], needed: bool = False) -> T | None:
        value = self.given(name)
        if value is None:
            if needed:
                self.problem(name, "is missing")
            return None
        return self._judged(name, read, value)

    def _judged(self, name: str, read: Callable[[Any], T], value: Any) -> T | None:
        try:
            return read(value)
        except Wrong as exc:
            self.problem(name, str(exc))
            return None

    def close(self) -> None:
        """Nothing else may stand here: a field that nobody reads would be dropped without a word."""
        for name in self._given:
            if name not in self._read:
                self.problem(values.shown(name), f"there is no such field; there are {', '.join(sorted(self._read))}")

    # -- plain values

    def text(self, name: str, *, needed: bool = False) -> str | None:
        """A line of text."""
        return self._value(name, values.text, needed)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self._value(name, values.flag)
        return default if value is None else value

    def whole(self, name: str, low: int = 1, high: int = WHOLE_MAX) -> int | None:
        """A whole number in a range."""
        return self._value(name, lambda value: values.whole(value, low, high))

    def choice(self, name: str, among: Sequence[str], default: str | None = None) -> str | None:
        """One of some words; without a default it has to be given."""
        return self._value(name, lambda value: values.choice(value, among), default is None) or default

    def words(self, name: str, *, needed: bool = False) -> list[str]:
        """A list of words, each once."""
        found = self._value(name, values.entries, needed) or []
        read = [self._judged(f"{name}[{number}]", values.text, word) for number, word in enumerate(found)]
        return list(dict.fromkeys(word for word in read if word is not None))

    def date(self, name: str) -> date | None:
        """A date."""
        return self._value(name, values.day)

    def time(self, name: str) -> time | None:
        """A time of day."""
        return self._value(name, values.clock)

    def identity(self, name: str) -> str | None:
        """The promotion's own id."""

        def read(value: Any) -> str:
            if not is_id(value):
                raise Wrong("must be a UUID in lower case; leave it out for a new promotion")
            return str(value)

        return self._value(name, read)

    # -- amounts: decimals as text

    def percent(self, name: str, *, needed: bool = False) -> str | None:
        """A percentage above 0, at most 100."""
        like = 'a percentage like "12.5"'
        return self._value(name, lambda value: values.amount(value, PERCENT_DECIMALS, like, PERCENT_MAX), needed)

    def money(self, name: str, *, needed: bool = False) -> str | None:
        """An amount above 0 in the company's currency, with all of its decimals."""
        decimals = EXPONENTS.get(self.catalogue.currency, MONEY_DECIMALS)
        like = f'an amount like "{Decimal(5000):.{decimals}f}"'
        found = self._value(name, lambda value: values.amount(value, decimals, like), needed)
        return None if found is None else f"{Decimal(found):.{decimals}f}"

    def quantity(self, name: str, *, needed: bool = False) -> str | None:
        """A quantity above 0."""
        like = 'a quantity like "2" or "0.5"'
        return self._value(name, lambda value: values.amount(value, QUANTITY_DECIMALS, like), needed)

    # -- parts, and things of the catalogue

    def part(self, name: str) -> "Fields":
        """An object inside this one; an empty one when it isn't given."""
        given = self._value(name, values.mapping) or {}
        return Fields(given, self.catalogue, self.problems, self._path(name))

    def parts(self, name: str, *, least: int = 1) -> list["Fields"]:
        """A list of objects, which needs at least so many."""
        given = self._value(name, values.entries) or []
        found = [self._judged(f"{name}[{number}]", values.mapping, one) for number, one in enumerate(given)]
        if len(found) < least:
            self.problem(name, f"needs at least {least} {'entry' if least == 1 else 'entries'}")
        return [
            Fields(one, self.catalogue, self.problems, f"{self._path(name)}[{number}]")
            for number, one in enumerate(found)
            if one is not None
        ]

    def found(self, name: str, kind: str) -> str | None:
        """The id of the one product, category, store or brand that a field names."""
        return self._value(name, lambda value: self._find(kind, values.text(value)), needed=True)

    def all_found(self, name: str, kind: str, *, needed: bool = False) -> list[str]:
        """The ids of those that a list names, each once."""
        named = self._value(name, values.entries, needed) or []
        ids = [
            self._judged(f"{name}[{number}]", lambda value: self._find(kind, values.text(value)), one)
            for number, one in enumerate(named)
        ]
        return list(dict.fromkeys(one for one in ids if one is not None))

    def _find(self, kind: str, named: str) -> str:
        row_id: str | None = getattr(self.catalogue, kind)(named)
        if row_id is None:
            raise Wrong(f"{UNKNOWN[kind]}: {named}")
        return row_id
