"""How far this device's clock is from head office's, measured so that a wall clock that jumps changes nothing.

Head office's time is kept against *elapsed* time, which no one sets: what was heard before a jump stays right after it.
"""

from __future__ import annotations

import datetime as dt
import statistics
from dataclasses import dataclass, replace

from edge_agent.domain.calendar import OFFSET_MAX_MS

SAMPLES_MAX = 15
SAMPLE_AGE_MAX_S = 4 * 3600.0  # elapsed time itself drifts: by less than a second in that time
BURST_S = 1.0  # the pages of one download are one sample
HALF_SECOND_MS = 500  # HTTP dates are cut to whole seconds
CLOCK_DRIFT_MS = 2_000  # smaller differences are the second's rounding of HTTP dates
DRIFT_PPM = 100  # a cheap crystal that nothing disciplines
DRIFT_MAX_MS = 60_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks of this device in one moment.

    Args:
        wall_ms: milliseconds since 1970, as the device believes.
        elapsed_s: seconds that never jump and count sleep.
    """

    wall_ms: int
    elapsed_s: float

    @property
    def lead_ms(self) -> int:
        """The wall clock less elapsed time: the same at all times, unless somebody sets the wall clock."""
        return self.wall_ms - round(self.elapsed_s * 1000)


@dataclass(frozen=True, slots=True)
class Sample:
    """What one answer's ``Date`` says.

    Args:
        base_ms: head office's time less this device's elapsed time, milliseconds.
        bound_ms: how far off that may be, milliseconds.
        elapsed_s: when it was heard.
    """

    base_ms: int
    bound_ms: int
    elapsed_s: float


def sample(date: dt.datetime, sent_s: float, received_s: float) -> Sample:
    """A sample from an answer's ``Date``.

    Args:
        date: what it says, in whole seconds.
        sent_s: elapsed time when the request began, seconds.
        received_s: elapsed time when the answer's headers were here, seconds.
    """
    middle_ms = (sent_s + received_s) * 500
    told_ms = date.timestamp() * 1000 + HALF_SECOND_MS
    return Sample(round(told_ms - middle_ms), round(HALF_SECOND_MS + max(0.0, received_s - sent_s) * 500), received_s)


@dataclass(frozen=True, slots=True)
class Skew:
    """The last samples, oldest first."""

    samples: tuple[Sample, ...] = ()

    def heard(self, new: Sample) -> Skew:
        """With one sample more; those that are old are left out, and the answers of one moment are one sample."""
        kept = [one for one in self.samples if new.elapsed_s - one.elapsed_s <= SAMPLE_AGE_MAX_S]
        if kept and new.elapsed_s - kept[-1].elapsed_s < BURST_S:
            if new.bound_ms < kept[-1].bound_ms:
                kept[-1] = replace(new, elapsed_s=kept[-1].elapsed_s)
        else:
            kept.append(new)
        return Skew(tuple(kept[-SAMPLES_MAX:]))

    def base_ms(self) -> int | None:
        """Head office's time less this device's elapsed time: the median, so that one odd answer moves nothing."""
        if not self.samples:
            return None
        odd = self.samples if len(self.samples) % 2 else self.samples[:-1]  # of two that differ, the first one stands
        return int(statistics.median(one.base_ms for one in odd))


@dataclass(frozen=True, slots=True)
class Fix:
    """Head office's clock less this device's at one moment, and how to go on from there.

    Args:
        offset_ms: the difference then, milliseconds.
        at: this device's clocks then.
        holds: whether elapsed time has run on since, so that a jump can be told from time going by. After a restart
            of the machine it has not.
        since_s: where it does not hold: elapsed time when it was read, seconds.
    """

    offset_ms: int
    at: Reading
    holds: bool = True
    since_s: float = 0.0

    def offset_at(self, now: Reading) -> int:
        """Head office's clock less this device's now, milliseconds; 0 when it is less than can be measured."""
        found = self.offset_ms - jump_ms(self.at, now) if self.holds else self._without_elapsed(now)
        return found if CLOCK_DRIFT_MS < abs(found) <= OFFSET_MAX_MS else 0

    def _without_elapsed(self, now: Reading) -> int:
        """The last known difference, unless head office's time would lie before what it was already."""
        known_ms = self.at.wall_ms + self.offset_ms
        for offset_ms in (self.offset_ms, 0):  # 0: somebody set the clock right meanwhile
            if now.wall_ms + offset_ms >= known_ms - DRIFT_MAX_MS:
                return offset_ms
        # An empty battery: the clock begins in 1970 or 2000. It is at least as late as it was.
        return known_ms + round((now.elapsed_s - self.since_s) * 1000) - now.wall_ms


def jump_ms(before: Reading, now: Reading) -> int:
    """How far the wall clock was set between two moments, milliseconds; 0 when drift explains the difference."""
    moved = now.lead_ms - before.lead_ms
    age_s = abs(now.elapsed_s - before.elapsed_s)
    drift_ms = min(CLOCK_DRIFT_MS + age_s * DRIFT_PPM / 1000, DRIFT_MAX_MS)
    return moved if abs(moved) > drift_ms else 0
