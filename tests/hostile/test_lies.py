"""A hostile head office can stop a cycle. It can't crash the agent, spoil a good row or move a cursor wrongly."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .document import Change
from .lies import ROUTES, Spoil, Told, lies, telling
from .stage import DATASETS, Answer, Stage, open_stage
from .truths import (
    Before,
    books,
    cursors_stand_behind_what_was_applied,
    finds_the_truth,
    goes_on,
    no_row_breaks_the_contract,
    only_documented_errors,
    refusals_have_reasons,
    untouched_rows_are_as_they_were,
)

QUICK, QUICK_BASELINE = 14, 8
MANY, MANY_BASELINE = 1_200, 600
BASELINE_ROUTES = (*DATASETS, "version", "sales", "token")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage() as one:
        yield one


@pytest.fixture(scope="module")
def baseline_stage() -> Iterator[Stage]:
    with open_stage("baseline") as one:
        yield one


def play(stage: Stage, told: list[Told]) -> tuple[int, int]:
    """One act: the lies, what must hold right after them, and the way back to the truth."""
    with stage.act() as act:
        act.sell()
        act.line.lie = telling(told)
        if any(one.route == "token" for one in told):
            stage.world.expire_tokens(refresh=True)
        for hours in (0.0, 7.0):  # the second time whole lists, receipts and digests are due as well
            before = Before(act)
            act.line.heard.clear()
            only_documented_errors(act.poll(hours=hours))
            cursors_stand_behind_what_was_applied(act, before)
            untouched_rows_are_as_they_were(act, before)
            goes_on(act)
            no_row_breaks_the_contract(act)
            refusals_have_reasons(act)
        finds_the_truth(act)
        no_row_breaks_the_contract(act)
        goes_on(act)
        act.poll(hours=1)
        return books(act)


def trials(
    stage: Stage, strategy: st.SearchStrategy[list[Told]], count: int, evidence: Callable[..., None], name: str
) -> None:
    """So many acts from a seed that is printed; HOSTILE_EXAMPLES makes them more, HOSTILE_SEED the same again."""
    number = int(os.environ.get("HOSTILE_SEED", random.SystemRandom().randrange(10**6)))
    count = int(os.environ.get("HOSTILE_EXAMPLES", count))
    print(f"HOSTILE_SEED={number}")
    tally = {"trials": 0, "lost": 0, "doubled": 0}

    @seed(number)
    @settings(
        max_examples=count, deadline=None, database=None, print_blob=True, derandomize=False,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(strategy)
    def act(told: list[Told]) -> None:
        lost, doubled = play(stage, told)
        tally["trials"] += 1
        tally["lost"] += lost
        tally["doubled"] += doubled

    act()
    evidence(name, tally["trials"], lost=tally["lost"], doubled=tally["doubled"], stuck=0)
    assert tally["lost"] == tally["doubled"] == 0


def test_lies_about_the_catalogue(stage: Stage, evidence: Any) -> None:
    """Rows, pages and their envelopes, spoilt in every way: what is in use stays sound, and the truth comes back."""
    trials(stage, lies(DATASETS), QUICK, evidence, "hostile pages")


def test_lies_about_everything_else(stage: Stage, evidence: Any) -> None:
    """Versions, stock, results of sales, receipts, digests, tokens and errors, spoilt in every way."""
    trials(stage, lies(ROUTES), QUICK, evidence, "hostile answers of every route")


def test_lies_of_a_baseline_head_office(baseline_stage: Stage, evidence: Any) -> None:
    """Whole lists and time stamps, spoilt in every way: the next honest whole list puts everything right."""
    trials(baseline_stage, lies(BASELINE_ROUTES), QUICK_BASELINE, evidence, "hostile baseline head office")


@pytest.mark.slow
def test_many_lies(stage: Stage, evidence: Any) -> None:
    """The same, at length."""
    trials(stage, lies(ROUTES, most=4), MANY, evidence, "hostile head office, at length")


@pytest.mark.slow
def test_many_lies_of_a_baseline_head_office(baseline_stage: Stage, evidence: Any) -> None:
    """The same of a baseline one."""
    trials(baseline_stage, lies(BASELINE_ROUTES, most=4), MANY_BASELINE, evidence, "hostile baseline, at length")


def test_a_version_that_was_spoilt_once_is_not_believed_for_ever(stage: Stage) -> None:
    """A false answer under head office's own ETag is followed by 304s: all the same it is asked for again in a day."""
    lie = Told("version", 2, Spoil([Change("put", "capabilities", 0, b'["sales_batch"]')]))
    with stage.act() as act:
        act.line.lie = telling([lie])
        act.poll()
        assert act.agent.status()["head_office"]["profile"] == "baseline"
        finds_the_truth(act)


def test_a_row_that_was_spoilt_once_is_asked_for_again(stage: Stage) -> None:
    """A refused row counts in the digest. A good one that head office sends under the old version comes too."""
    lie = Told("products", 9, Spoil([Change("put", "name", 0, b"7")]))
    with stage.act() as act:
        act.line.lie = telling([lie])
        act.poll()
        assert act.refused("products")
        finds_the_truth(act)


@pytest.mark.parametrize(
    "headers",
    [{"etag": "e" * 60_000}, {"etag": "\xe4"}, {"x-ho-epoch": "e" * 60_000}, {"x-ho-epoch": ""}, {"date": "yesterday"}],
)
def test_no_header_of_head_office_sticks(stage: Stage, headers: dict[str, str]) -> None:
    """What can't be sent back, or is no moment, is not kept: servers would refuse every request from then on."""
    with stage.act() as act:
        act.line.lie = lambda route, params, honest: Answer(honest.status, {**honest.headers, **headers}, honest.body)
        only_documented_errors(act.poll())
        goes_on(act)
        finds_the_truth(act)


@pytest.mark.parametrize("tokens", [b'"%s"' % (b"t" * 9_000), b'"\\u0000"', b'""', b"7", b"[]", b'"\xc3\xa4"'])
def test_a_token_that_can_not_be_sent_is_not_kept(stage: Stage, tokens: bytes) -> None:
    """A sign-in that gives nonsense is no sign-in; the next one is."""
    with stage.act() as act:
        stage.world.expire_tokens(refresh=True)
        said = b'{"access":%s,"refresh":%s}' % (tokens, tokens)
        act.line.lie = lambda route, params, honest: (
            Answer(200, honest.headers, said) if route in ("token", "refresh") else None
        )
        report = act.poll()
        only_documented_errors(report)
        assert report.errors
        goes_on(act)
        finds_the_truth(act)
