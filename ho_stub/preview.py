"""What a store would be sent of the promotions, with settings that nobody has saved yet (contract section 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import msgspec

from ho_stub.feed import Feed
from ho_stub.policy import Override, Policy
from ho_stub.settings import STRATEGY_FIELDS, Settings, window_days

SAMPLES = 5


class Office(Protocol):
    """What a preview looks at."""

    company_id: str
    feed: Feed
    policy: Policy

    @property
    def native(self) -> bool:
        """Whether head office sends promotions in pages."""

    def today(self) -> date:
        """The date in the company's zone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the promotions, in words."""

    id: str
    code: str | None
    name: str
    promo_type: str | None
    start_date: str | None
    end_date: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Preview:
    """`count`: what the store would be sent. `total_available`: what there is before a baseline head office's cut.
    `own`: settings in which the store or its brand goes its own way, whatever the company's are."""

    count: int
    total_available: int
    truncated: bool
    answers: int
    first_day: date | None
    last_day: date | None
    description: str
    samples: list[Sample]
    own: list[str]
    settings: Settings


def preview(
    office: Office,
    store: Mapping[str, Any],
    brand_id: str | None = None,
    company: Mapping[str, object] | None = None,
    instead: Override | None = None,
) -> Preview:
    """Count what a whole download would bring this store; nothing is saved, and no gap is counted.

    Args:
        store: the store that would ask.
        brand_id: the brand that it would ask for; None: its own.
        company: unsaved, valid values of the company's settings.
        instead: an unsaved, valid override of the store or of its brand.
    """
    settings, today = office.policy.effective(store, company, instead), office.today()
    found = office.feed.promotions_for(store["id"], brand_id or store["brand_id"] or "", settings, today)
    at_most = int(str(settings["max_promotions_per_sync"]))
    count = len(found) if office.native else min(len(found), at_most)
    answers = max(1, -(-len(found) // at_most)) if office.native else 1
    first, last = window_days(settings, today) or (None, None)
    words = [_who(settings, first, last, today)]
    if len(found) > count:
        words.append(
            f"{len(found)} match, but this head office sends {at_most} at most, and has no way to the other "
            f"{len(found) - count}: raise the limit."
        )
    elif answers > 1:
        words.append(f"They come in {answers} answers of {at_most} at most.")
    samples = [_sample(msgspec.json.decode(body, type=dict[str, Any]), today) for body in found[: min(count, SAMPLES)]]
    layers = office.policy.layers(store, instead)
    own = [name for name in STRATEGY_FIELDS if any(name in one.values for one in layers)]
    text = " ".join(words)
    return Preview(count, len(found), len(found) > count, answers, first, last, text, samples, own, settings)


def _who(settings: Settings, first: date | None, last: date | None, today: date) -> str:
    which = "Active and inactive" if settings["include_inactive"] else "Active"
    if first is None or last is None:
        return f"{which} promotions of any date."
    if first == last == today:
        return f"{which} promotions that are valid today, {_day(today)}."
    return f"{which} promotions that are valid on some day from {_day(first)} to {_day(last)}."


def _sample(row: Mapping[str, Any], today: date) -> Sample:
    validity = row.get("validity") or row
    starts, ends = validity.get("start_date"), validity.get("end_date")
    state = "running"
    if not row.get("is_active", True):
        state = "inactive"
    elif starts and starts[:10] > today.isoformat():
        state = "to come"
    elif ends and ends[:10] < today.isoformat():
        state = "over"
    name = str(row.get("name") or row["id"])
    return Sample(row["id"], row.get("code"), name, row.get("promo_type"), starts, ends, state)


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%B %Y}"
