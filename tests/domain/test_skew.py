"""Head office's time, estimated from its answers while this device's wall clock is set at will."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.skew import (
    CLOCK_DRIFT_MS,
    SAMPLE_AGE_MAX_S,
    SAMPLES_MAX,
    Fix,
    Reading,
    Skew,
    jump_ms,
    sample,
)

EPOCH = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)
YEARS_26_S = 26 * 365 * 86_400
jumps = st.one_of(st.just(0.0), st.sampled_from([-3600.0, 21_600.0, YEARS_26_S, -YEARS_26_S]), st.floats(-1e6, 1e6))
answers = st.lists(
    st.tuples(
        st.floats(0.0, 2 * 3600.0),  # how long after the last one
        st.floats(0.0, 20.0),  # its round trip, seconds
        st.floats(0.0, 1.0),  # in which part of it head office looked at its clock
        jumps,  # how the wall clock is set after it
    ),
    min_size=1,
    max_size=40,
)


def date_at(elapsed_s: float, base_s: float) -> dt.datetime:
    """Head office's ``Date`` at a moment: cut to whole seconds."""
    return (EPOCH + dt.timedelta(seconds=elapsed_s + base_s)).replace(microsecond=0)


@given(answers, st.floats(-1e8, 1e8), st.floats(0.0, 1e6))
def test_no_jump_of_the_wall_clock_moves_what_head_offices_time_is(
    heard: list[tuple[float, float, float, float]], base_s: float, began_s: float
) -> None:
    """Whatever the wall clock does between answers, head office's time is known to a second and half the round trip."""
    skew, elapsed_s, wall_off_s, longest_s = Skew(), began_s, 0.0, 0.0
    for pause_s, trip_s, part, jump_s in heard:
        sent_s = elapsed_s + pause_s
        elapsed_s = sent_s + trip_s
        skew = skew.heard(sample(date_at(sent_s + part * trip_s, base_s), sent_s, elapsed_s))
        longest_s = max(longest_s, trip_s)
        base_ms = skew.base_ms()
        assert base_ms is not None
        now = Reading(round((EPOCH.timestamp() + elapsed_s + wall_off_s) * 1000), elapsed_s)
        wall_off_s += jump_s
        later = Reading(round((EPOCH.timestamp() + elapsed_s + 60 + wall_off_s) * 1000), elapsed_s + 60)
        offset_ms = Fix(base_ms - now.lead_ms, now).offset_at(later)
        told_ms, true_ms = later.wall_ms + offset_ms, (EPOCH.timestamp() + elapsed_s + 60 + base_s) * 1000
        # A jump or a difference that can't be measured reads as none.
        assert abs(told_ms - true_ms) <= 1000 + longest_s * 500 + 2 * CLOCK_DRIFT_MS + 10
        assert abs(base_ms - (EPOCH.timestamp() + base_s) * 1000) <= 1000 + longest_s * 500
    assert len(skew.samples) <= SAMPLES_MAX


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.floats(-1e9, 1e9))
def test_answers_that_are_not_head_offices_move_nothing_as_long_as_they_are_few(
    odd: list[bool], wrong_s: float
) -> None:
    """With fewer than half of the answers wrong, the median is a right one."""
    skew, elapsed_s = Skew(), 0.0
    right: list[bool] = []
    for is_odd in [False, *odd]:
        elapsed_s += 60
        right.append(not is_odd)
        off_s = wrong_s if is_odd else 0.0
        skew = skew.heard(sample(date_at(elapsed_s, off_s), elapsed_s, elapsed_s))
        kept = right[-SAMPLES_MAX:]
        counted = kept if len(kept) % 2 else kept[:-1]
        if counted.count(True) > counted.count(False):
            assert abs((skew.base_ms() or 0) - EPOCH.timestamp() * 1000) <= 1000


def test_of_two_answers_that_differ_the_first_one_stands() -> None:
    """One odd answer right after the first moves nothing; a third one decides."""
    skew = Skew().heard(sample(EPOCH, 0, 0))
    first = skew.base_ms()
    skew = skew.heard(sample(EPOCH + dt.timedelta(hours=10), 60, 60))
    assert skew.base_ms() == first
    skew = skew.heard(sample(EPOCH + dt.timedelta(hours=10, seconds=60), 120, 120))
    assert (skew.base_ms() or 0) - (first or 0) == 10 * 3_600_000 - 60_000


def test_the_answers_of_one_moment_are_one_sample_and_old_ones_go() -> None:
    """A download of many pages does not drive out what was heard over an hour; the quickest answer of it is kept."""
    skew = Skew().heard(sample(EPOCH, 0, 0.9))
    for _ in range(50):
        skew = skew.heard(sample(EPOCH, 0.95, 1.0))
    assert len(skew.samples) == 1
    assert skew.samples[0].bound_ms == 525
    later_s = SAMPLE_AGE_MAX_S + 60
    assert len(skew.heard(sample(EPOCH, later_s, later_s)).samples) == 1


def test_a_difference_too_small_to_measure_is_none() -> None:
    """HTTP dates are whole seconds: up to two seconds read 0."""
    now = Reading(1_000_000, 50.0)
    assert Fix(CLOCK_DRIFT_MS, now).offset_at(now) == 0
    assert Fix(-CLOCK_DRIFT_MS - 1, now).offset_at(now) == -CLOCK_DRIFT_MS - 1


def test_drift_is_no_jump() -> None:
    """A crystal that runs 80 millionths off for a month is not a clock that somebody set."""
    month_s = 30 * 86_400.0
    before = Reading(0, 0.0)
    for elapsed_s in (3600.0, 86_400.0, 5 * 86_400.0):
        assert jump_ms(before, Reading(round(elapsed_s * 1000 * 1.00008), elapsed_s)) == 0
    assert jump_ms(before, Reading(round((month_s + 3600) * 1000), month_s)) == 3_600_000
