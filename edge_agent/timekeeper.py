"""Head office's time on this device: heard from its answers, kept over a jump of the wall clock, told to everyone."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.calendar import plausible_offset_ms
from edge_agent.domain.skew import CLOCK_DRIFT_MS, Fix, Reading, Skew, jump_ms, sample

OFFSET_FACT = "clock_offset_ms"
FIX_FACT = "clock_fix"
ONE_MOMENT_S = 0.05
READ_AGAIN_MAX = 5
_log = logging.getLogger("edge_agent")


class Kept(msgspec.Struct, frozen=True):
    """What the catalogue remembers of a measurement, beside the offset itself: for other processes of this boot.

    Args:
        boot: which boot elapsed time belongs to; empty where the system does not tell.
        wall_ms: this device's clock then, milliseconds since 1970.
        elapsed_s: its elapsed time then, seconds.
        samples: of how many answers the offset is the median.
        jumped_ms: when the wall clock was last seen jumping, by head office's clock, milliseconds since 1970.
    """

    boot: str
    wall_ms: int
    elapsed_s: float
    samples: int = 0
    jumped_ms: int | None = None


class Timekeeper:
    """Head office's time as this process knows it. For several threads at once.

    Args:
        clock: this device's clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._skew = Skew()
        self._fix: Fix | None = None
        self._recalled: tuple[str | None, str | None] = (None, None)
        self._looked = self._reading()
        self._began_s = self._looked.elapsed_s
        self._samples = 0
        self._measured_ms: int | None = None
        self._jumped_ms: int | None = None

    def _reading(self) -> Reading:
        """Both clocks in one moment: a process that is held up between them must not look like a jump."""
        before_s = self._clock.elapsed_s()
        for _ in range(READ_AGAIN_MAX):
            wall_ms, after_s = self._clock.now_ms(), self._clock.elapsed_s()
            if after_s - before_s < ONE_MOMENT_S:
                break
            before_s = after_s
        return Reading(wall_ms, after_s)

    # ---- learning --------------------------------------------------------------------------------------------

    def hears(self, date: dt.datetime, sent_s: float, received_s: float) -> None:
        """Learn from one answer of head office.

        Args:
            date: its ``Date``.
            sent_s: elapsed time when the request began, seconds.
            received_s: elapsed time when the answer's headers were here, seconds.
        """
        now = self._look()
        with self._lock:
            self._skew = self._skew.heard(sample(date, sent_s, received_s))
            base_ms = self._skew.base_ms() or 0
            self._fix = Fix(plausible_offset_ms(base_ms - now.lead_ms), now)
            self._samples = len(self._skew.samples)
            self._measured_ms = base_ms + round(now.elapsed_s * 1000)

    def recall(self, facts: Mapping[str, str]) -> None:
        """Go by what the catalogue remembers, as soon as that is another measurement than the last time."""
        remembered = facts.get(OFFSET_FACT), facts.get(FIX_FACT)
        if remembered == self._recalled:
            return
        now, kept = self._reading(), _read(remembered[1])
        with self._lock:
            since_s = self._began_s if self._recalled == (None, None) else now.elapsed_s
            self._recalled = remembered
            if remembered[0] is None:
                return
            offset_ms = plausible_offset_ms(remembered[0])
            if kept is None:  # of an older version: no more than a number
                self._fix = Fix(offset_ms, Reading(-offset_ms, now.elapsed_s), holds=False)
                return
            at = Reading(kept.wall_ms, kept.elapsed_s)
            self._fix = Fix(offset_ms, at, _is_of_this_boot(kept, at, now, self._clock.boot_id()), since_s)
            self._samples, self._measured_ms = kept.samples, kept.wall_ms + offset_ms
            self._jumped_ms = max(filter(None, (self._jumped_ms, kept.jumped_ms)), default=None)

    def to_remember(self, facts: Mapping[str, str]) -> dict[str, str]:
        """What the catalogue is to remember; nothing while what it holds still tells the same."""
        if not self._skew.samples or self._fix is None:
            return {}
        now, kept = self._look(), _read(facts.get(FIX_FACT))
        offset_ms = self._fix.offset_at(now)
        if kept is not None and abs(offset_ms - plausible_offset_ms(facts.get(OFFSET_FACT))) <= CLOCK_DRIFT_MS:
            at = Reading(kept.wall_ms, kept.elapsed_s)
            same_boot = kept.boot == self._clock.boot_id() and kept.elapsed_s <= now.elapsed_s
            if same_boot and not jump_ms(at, now):
                return {}
        new = Kept(self._clock.boot_id(), now.wall_ms, now.elapsed_s, len(self._skew.samples), self._jumped_ms)
        return {OFFSET_FACT: str(offset_ms), FIX_FACT: msgspec.json.encode(new).decode()}

    # ---- telling ---------------------------------------------------------------------------------------------

    def _look(self) -> Reading:
        """Both clocks now; says so when the wall clock was set since the last look."""
        with self._lock:
            now, before = self._reading(), self._looked
            self._looked = now
            jumped = jump_ms(before, now)
            if jumped:
                self._jumped_ms = now.wall_ms + (self._fix.offset_at(now) if self._fix else 0)
        if jumped:
            _log.warning("this device's clock jumped by %+.0f s", jumped / 1000)
        return now

    def offset_ms(self) -> int:
        """Head office's clock less this device's now, milliseconds; 0 when unknown or less than can be measured."""
        now = self._look()
        return self._fix.offset_at(now) if self._fix else 0

    def now(self) -> dt.datetime:
        """The present moment by head office's clock (UTC), as far as it is known."""
        return self._clock.now() + dt.timedelta(milliseconds=self.offset_ms())

    def told(self) -> dict[str, Any]:
        """For ``status``: the offset, when it was measured and the clock last jumped (milliseconds since 1970, by head
        office's clock), and of how many answers it is the median."""
        return {
            "offset_ms": self.offset_ms(),
            "measured_ms": self._measured_ms,
            "samples": self._samples,
            "jumped_ms": self._jumped_ms,
        }


def _read(text: str | None) -> Kept | None:
    try:
        return msgspec.json.decode(text or "", type=Kept)
    except (msgspec.MsgspecError, ValueError):
        return None


def _is_of_this_boot(kept: Kept, at: Reading, now: Reading, boot: str) -> bool:
    """Whether elapsed time has run on since; where the system tells no boot, clocks that still agree show it."""
    if kept.elapsed_s > now.elapsed_s:
        return False
    return kept.boot == boot if kept.boot and boot else not jump_ms(at, now)
