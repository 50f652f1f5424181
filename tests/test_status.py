"""The status in words: what a shop's staff reads at each event, without contradictions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.recovery import moved_aside
from edge_agent.status import in_words

Make = Callable[..., Any]
PORTAL = (200, {"content-type": "text/html"}, "<h1>Free Wi-Fi</h1>")
BUSY = (429, {"retry-after": "1800"}, {"code": "BUSY"})
OUT_OF_ORDER: Any = (500, {}, {"detail": "oops"})


def lines(till: Any) -> list[str]:
    return in_words(till.agent.status(), dt.datetime.fromtimestamp(till.clock.now_ms() / 1000, dt.UTC))


@pytest.mark.parametrize(("answer", "says"), [(PORTAL, "something other"), (BUSY, "busy"), (OUT_OF_ORDER, "order")])
def test_an_outage_is_told_once(till: Any, answer: Any, says: str) -> None:
    """Why nothing moves is told by the sentence about head office, and by no other one; and where that says that head
    office is away, no other one says that it answers. In JSON the stall stands all the same."""
    till.sell()
    till.office.intercept = lambda method, path: answer
    for _ in range(4):
        till.clock.advance(hours=1)
        till.poll()
    assert till.agent.status()["stalled"]
    told = [line for line in lines(till) if says in line.lower()]
    assert len(told) == 1
    away = "unreachable" in told[0]
    assert not (away and any("although head office answers" in line for line in lines(till)))


def test_a_stall_of_its_own_is_told_beside_the_line(till: Any) -> None:
    """A lane that is stuck for another reason than the line has a sentence of its own, with that reason (G11)."""
    for _ in range(3):
        till.sell()
    till.office.intercept = lambda method, path: OUT_OF_ORDER if "/sales/" in path else None
    till.poll()
    till.clock.advance(7 * 60)
    till.poll()
    state = till.agent.status()
    stall = "The oldest waiting sale has not moved for 7 min although head office answers"
    assert any(line.startswith(f"{stall}. The agent") for line in lines(till)), lines(till)
    state["last_error"] |= {"message": "something else"}
    [told] = [line for line in in_words(state, till.clock.now()) if line.startswith(stall)]
    assert "oops" in told


def test_a_damaged_catalogue_is_told_in_the_stores_time(till: Any) -> None:
    """A catalogue that was moved aside is told of, with its age, until its rows came anew and for a day after; the
    store's time zone is not lost with it (G11)."""
    zone = till.agent.status()["store"]
    assert zone["timezone"]
    assert moved_aside(till.agent._store.database, till.clock)
    state = till.agent.status()
    assert state["store"] == zone
    [incident] = state["incidents"]
    assert (incident["kind"], incident["open"]) == ("catalogue damaged", True)
    words = " ".join(lines(till))
    assert "Catalogue damaged at" in words
    assert "No prices just now: the next sync brings them." in words
    assert "first sync" not in words

    till.poll()
    [incident] = till.agent.status()["incidents"]
    assert not incident["open"]
    words = " ".join(lines(till))
    assert "came anew from head office. That is over." in words
    assert "No prices" not in words
    till.clock.advance(days=1.1)
    assert not till.agent.status()["incidents"]


def test_what_is_over_says_so(till: Any) -> None:
    """An incident is told for a day after its end, and then nobody is asked to do anything any more."""
    ledger = till.agent._syncer._ledger
    ledger.tell("disk nearly full", "1 MiB is free; free some space", till.clock.now_ms())
    assert any("disk nearly full" in line.lower() and "over" not in line for line in lines(till))
    ledger.over("disk nearly full")
    assert any("disk nearly full" in line.lower() and line.endswith(" That is over.") for line in lines(till))


def test_a_catalogue_that_begins_anew_takes_no_place_away(till: Any) -> None:
    """What head office told of the store stays in the journal while a fresh catalogue knows only a part of it."""
    before = till.agent._journal.place()
    till.agent._journal.keep_place({"profile": "native"})
    assert till.agent._journal.place() == before
    assert before["currency"]
