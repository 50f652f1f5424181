"""Why a promotion is not on this till: refused, or what its absence may mean (contract, sections 4 and 7)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from edge_agent.domain.explain import Explanation, Refusal, Step, when_in_words

_OLD_PULL_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Window:
    """Which promotions head office sends, as far as it told (contract, section 7); None: not told."""

    strategy: str | None = None
    future_days: int | None = None
    past_days: int | None = None
    include_inactive: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Where the promotions' download stands.

    Args:
        window: which promotions head office sends.
        count: how many promotions are here.
        synced: when they last came, or were confirmed, in the store's time; None: never.
        in_snapshot: whether a snapshot is unfinished.
        incomplete: how the list was cut short; None when it was not.
        paused: whether head office has paused pulls.
    """

    window: Window
    count: int
    synced: dt.datetime | None
    in_snapshot: bool = False
    incomplete: str | None = None
    paused: bool = False


def _days(count: int) -> str:
    return f"{count} day{'' if count == 1 else 's'}"


def window_in_words(window: Window) -> str:
    """Which promotions head office sends, in a sentence."""
    if window.strategy == "all_active":
        return "Head office sends promotions of all dates."
    if window.strategy == "current_only":
        return "Head office sends only promotions whose dates include today."
    if window.strategy == "include_future" and window.future_days is not None and window.past_days is not None:
        return (
            f"Head office sends promotions that begin within {_days(window.future_days)} or ended at most "
            f"{_days(window.past_days)} ago; others are not sent."
        )
    return "Head office sends only promotions whose dates are near; one that begins later comes by itself."


def _pull_step(pulled: Pulled, now: dt.datetime) -> Step:
    if pulled.synced is None:
        return Step("pull", False, "Promotions have never come to this till: run edge-agent sync.")
    at = when_in_words(pulled.synced)
    if pulled.paused:
        return Step("pull", False, f"Head office has paused its downloads; promotions are those of {at}.")
    if pulled.in_snapshot:
        return Step("pull", False, f"A download is unfinished, last at {at}: run edge-agent sync.")
    old = (now - pulled.synced).total_seconds() > _OLD_PULL_S
    words = f"Promotions are those head office had at {at}"
    return Step(
        "pull", not old, f"{words}: run edge-agent sync." if old else f"{words}; a newer one comes with a sync."
    )


def explain_absent(
    asked: str, at: dt.datetime, now: dt.datetime, pulled: Pulled, refusal: Refusal | None
) -> Explanation:
    """Why a promotion is not on this till: refused, or what its absence may mean.

    Args:
        asked: the code or id that was asked for.
        at: the moment that was asked for, in the store's time zone.
        now: the present moment.
        pulled: where the promotions' download stands.
        refusal: why it was refused, if it came.
    """
    if refusal is not None:
        words = f"Head office sends it, but it can't be used: {refusal.reason} (since {when_in_words(refusal.since)})."
        steps = [Step("here", False, "It is not in use on this till."), Step("refused", False, words)]
        verdict = f"{asked} can't be used: {refusal.reason}. Tell head office to mend it."
        return Explanation(asked, at, None, False, verdict, tuple(steps))
    inactive = "too" if pulled.window.include_inactive else "not"
    cut = pulled.incomplete
    steps = [
        Step("here", False, f"None of the {pulled.count:,} promotions on this till has this code or id."),
        Step("window", None, window_in_words(pulled.window)),
        Step("scope", None, "Head office sends only promotions that are for this store and this brand."),
        Step("active", None, f"Promotions that are switched off are {inactive} sent."),
        Step("list", cut is None, f"Head office's list is incomplete: {cut}." if cut else "Its list came whole."),
        _pull_step(pulled, now),
    ]
    causes = [step.words for step in steps[1:] if step.ok is False]
    verdict = f"{asked} is not on this till. " + (
        causes[-1]
        if causes
        else "Look at head office: its dates, its stores and brands, and whether it is switched on."
    )
    return Explanation(asked, at, None, False, verdict, tuple(steps))
