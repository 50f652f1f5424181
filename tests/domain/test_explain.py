"""Why a promotion applies or not: each rule is a step, the first one that fails is the verdict."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.absence import Pulled, Window, explain_absent
from edge_agent.domain.applicability import Here
from edge_agent.domain.explain import Explanation, Refusal, explain_present
from edge_agent.domain.promotion import Promotion, is_active_at, read_promotion

ID = "00000009-0000-4000-8000-000000000000"
HERE = Here("store-1", "brand-1", dt.time(4))
NOON = dt.datetime.fromisoformat("2026-11-20T12:00+07:00")  # a Friday
PULLED = Pulled(window=Window(), count=3, synced=NOON)


def promotion(**fields: Any) -> Promotion:
    return read_promotion(json.dumps({"id": ID, "name": "Deal", **fields}).encode())


def why(at: dt.datetime = NOON, reaches: bool | None = True, **fields: Any) -> Explanation:
    return explain_present("DEAL", promotion(**fields), at, HERE, reaches=reaches)


def step(explanation: Explanation, name: str) -> Any:
    [found] = [one for one in explanation.steps if one.step == name]
    return found


def test_one_that_applies_says_so_with_every_rule() -> None:
    """All steps are there in order, none says no, and what the POS judges is left to it."""
    found = why(
        updated_at="2026-11-01T00:00:00Z",
        row_version=7,
        compiler_version="1.2",
        member_only=True,
        validity={"days_of_week": [4], "time_start": "09:00", "time_end": "17:00", "exclude_holidays": True},
    )
    assert found.applies
    assert found.verdict == "Deal applies at 2026-11-20 12:00, if the customer fits its conditions."
    names = [
        "here",
        "active",
        "store",
        "brand",
        "scope",
        "dates",
        "weekday",
        "hours",
        "limits",
        "conditions",
        "version",
    ]
    assert [one.step for one in found.steps] == names
    assert step(found, "conditions").words == "The till program judges these itself: members only, not on holidays."
    assert step(found, "weekday").words == "It applies on Friday; 2026-11-20 is a Friday."
    assert step(found, "hours").words == "It applies from 09:00 to 17:00; it is 12:00 here."
    changed = "Head office last changed it at 2026-11-01T00:00:00Z, row version 7, compiled by 1.2."
    assert step(found, "version").words == changed


NOT: dict[str, tuple[dict[str, Any], str, str]] = {
    "switched off": ({"is_active": False}, "active", "switched off at head office"),
    "another store": ({"targeting": {"stores": ["store-2", "store-3"]}}, "store", "other stores"),
    "another brand": ({"targeting": {"brands": ["brand-2"]}}, "brand", "another brand"),
    "not yet": ({"validity": {"start_date": "2026-11-21"}}, "dates", "It begins on 2026-11-21"),
    "no more": ({"validity": {"end_date": "2026-11-19"}}, "dates", "ended on 2026-11-19"),
    "another day": ({"validity": {"days_of_week": [5, 6]}}, "weekday", "on Saturday and Sunday"),
    "another hour": ({"validity": {"time_start": "13:00"}}, "hours", "from 13:00 on; it is 12:00 here"),
    "hours over midnight": ({"validity": {"time_start": "22:00", "time_end": "02:00"}}, "hours", "from 22:00 to 02:00"),
    "used up": ({"limits": {"max_uses": 5, "current_uses": 5}}, "limits", "used 5 times of 5"),
    "no use": ({"limits": {"max_uses": 0}}, "limits", "0 times in all"),
}


@pytest.mark.parametrize("name", NOT)
def test_one_that_does_not_apply_names_the_rule(name: str) -> None:
    """The step says no, and the verdict says which."""
    fields, failing, words = NOT[name]
    found = why(**fields)
    assert not found.applies
    assert [one.step for one in found.steps if one.ok is False] == [failing]
    assert words in found.verdict


def test_a_scope_without_anything_to_sell_is_named() -> None:
    """A promotion for products that nobody can buy here does not apply."""
    found = why(reaches=False, scope={"apply_to": "products", "products": ["a", "b"], "categories": ["c"]})
    assert not found.applies
    assert step(found, "scope").words == "It is for 2 products and 1 category, and nothing of it can be sold here."


def test_the_small_hours_are_explained() -> None:
    """Before the store's day begins it is still the day before, and the words say so."""
    night = dt.datetime.fromisoformat("2026-11-21T01:00+07:00")
    found = why(
        night, validity={"days_of_week": [4], "end_date": "2026-11-20", "time_start": "22:00", "time_end": "02:00"}
    )
    assert found.applies
    assert "(the business day is still 2026-11-20)" in step(found, "dates").words
    assert "2026-11-20 is a Friday" in step(found, "weekday").words


def test_a_newer_version_that_can_not_be_used_is_told() -> None:
    """The last good version stays in use, and people learn that it is not the newest."""
    refusal = Refusal("end_date is before start_date", NOON)
    found = explain_present("DEAL", promotion(), NOON, HERE, reaches=True, refusal=refusal, alike=2)
    assert found.applies
    assert "end_date is before start_date" in step(found, "refused").words
    assert "2 have this code" in step(found, "here").words


fields = st.fixed_dictionaries(
    {
        "is_active": st.booleans(),
        "validity": st.fixed_dictionaries(
            {
                "start_date": st.sampled_from([None, "2026-11-19", "2026-11-20", "2026-11-21"]),
                "end_date": st.sampled_from([None, "2026-11-21", "2026-11-22"]),
                "days_of_week": st.lists(st.integers(0, 6), unique=True),
                "time_start": st.sampled_from([None, "00:00", "09:00", "22:00"]),
                "time_end": st.sampled_from([None, "00:00", "02:00", "12:00", "23:59"]),
            }
        ),
    }
)


MOMENTS = st.integers(0, 6 * 24 * 60).map(lambda minutes: NOON + dt.timedelta(days=-2, minutes=minutes))


@given(fields, MOMENTS)
def test_an_explanation_never_contradicts_the_till(row: dict[str, Any], at: dt.datetime) -> None:
    """Where only dates, weekdays, hours and activity are at stake, the explanation says what the till does."""
    deal = promotion(**row)
    assert explain_present("DEAL", deal, at, HERE, reaches=True).applies is is_active_at(deal, at, HERE.day_start)


# ---- not on this till ----------------------------------------------------------------------------------------------


def absent(pulled: Pulled, refusal: Refusal | None = None) -> Explanation:
    return explain_absent("DEAL", NOON, NOON, pulled, refusal)


def test_one_that_was_refused_says_why() -> None:
    """Head office sent it, and it can't be used: that is the answer."""
    found = absent(PULLED, Refusal("head office could not compile it: no product", NOON))
    assert found.promotion is None
    assert not found.applies
    assert found.verdict.startswith("DEAL can't be used: head office could not compile it: no product.")


def test_one_that_is_not_here_says_what_that_may_mean() -> None:
    """Without a fault of this till the answer lies at head office: window, scope, switched off."""
    window = Window("include_future", 7, 1, False)
    found = absent(Pulled(window=window, count=3, synced=NOON))
    assert [one.step for one in found.steps] == ["here", "window", "scope", "active", "list", "pull"]
    assert "begin within 7 days or ended at most 1 day ago" in step(found, "window").words
    assert "not sent" in step(found, "active").words
    assert "Look at head office" in found.verdict


ABSENT: dict[str, tuple[dict[str, Any], str]] = {
    "never pulled": ({"synced": None}, "never come"),
    "an old pull": ({"synced": NOON - dt.timedelta(days=2)}, "run edge-agent sync"),
    "half a pull": ({"in_snapshot": True}, "unfinished"),
    "a list cut short": ({"incomplete": "100 of 230 rows"}, "incomplete: 100 of 230 rows"),
    "paused": ({"paused": True}, "paused"),
}


@pytest.mark.parametrize("name", ABSENT)
def test_a_download_that_is_not_whole_is_named_first(name: str) -> None:
    """What this till lacks explains more than what head office may have decided."""
    parts, words = ABSENT[name]
    found = absent(Pulled(**{"window": Window(), "count": 3, "synced": NOON, **parts}))
    assert words in found.verdict


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (Window("all_active"), "all dates"),
        (Window("current_only"), "include today"),
        (Window("include_future"), "dates are near"),
        (Window(include_inactive=True), "too sent"),
    ],
)
def test_the_window_is_told_as_far_as_it_is_known(window: Window, words: str) -> None:
    """Head office's settings in words; without them in general words."""
    found = absent(Pulled(window=window, count=0, synced=NOON))
    assert any(words in one.words for one in found.steps)
