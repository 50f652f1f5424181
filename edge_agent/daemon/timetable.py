"""The daemon's timed work beside the sync loop: jobs of APScheduler that run once and plan their next run themselves.

An interval job of a wall-clock scheduler stops for an hour when the clock is set back by one, and computes a run for
each missed interval when it jumps years ahead. So a job is planned for one moment, by a clock that does not jump and
counts sleep; when the wall clock jumps, everything is planned anew.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError

EARLY_S = 1.0  # a job that fires sooner than this before its time fired because the wall clock jumped
PAUSE_MIN_S = 1.0
LATE_S = 30.0  # the scheduler's own wait was for nothing
_log = logging.getLogger("edge_agent")


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of work.

    Args:
        name: what it is called in the log.
        work: does it, in a thread of the timetable.
        due_in_s: seconds until it is due, asked when the timetable starts and after each run.
        by_the_clock: it is due at a time of day: asked again when the clock jumps.
    """

    name: str
    work: Callable[[], object]
    due_in_s: Callable[[], float]
    by_the_clock: bool = False


class Timetable:
    """Runs jobs, one at a time, each when it is due.

    Args:
        jobs: what there is to do.
        clock: the clock.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._clock = clock
        self._due_s: dict[str, float] = {}
        self._changing = threading.Lock()
        self._stopped = False
        self._running: tuple[str, float] | None = None  # which, and since when, monotonic
        self._scheduler = BackgroundScheduler(
            # One thread: its database connections are what costs memory.
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=dt.UTC,  # asks nobody what the machine's zone is
        )

    def start(self) -> None:
        """Plan every job, and begin."""
        self._scheduler.start()
        for job in self._jobs.values():
            self._plan(job, self._due_in_s(job))

    def stop(self) -> None:
        """Begin nothing more, without waiting for what runs."""
        with self._changing:
            self._stopped = True
        self._scheduler.shutdown(wait=False)

    def next_s(self) -> dict[str, float]:
        """Seconds until each job is due."""
        now_s = self._clock.elapsed_s()
        return {name: max(0.0, due_s - now_s) for name, due_s in self._due_s.items()}

    def busy_since_s(self) -> float | None:
        """Since when the present job runs, by the monotonic clock; None between two."""
        running = self._running
        return None if running is None else running[1]

    def plan_anew(self) -> None:
        """The wall clock jumped: what is due after so long stays due after so long, what is due at a time of day is
        worked out again. What runs plans its next run itself."""
        now_s, running = self._clock.elapsed_s(), self._running
        for name, job in self._jobs.items():
            if running is None or running[0] != name:
                left_s = self._due_s[name] - now_s
                self._plan(job, self._due_in_s(job) if job.by_the_clock and left_s > 0 else left_s)

    def catch_up(self) -> None:
        """Plan anew what should have begun: a scheduler waits by a clock that stands still while the device sleeps, and
        forgets a job that it had no thread for."""
        late_s = max((self._clock.elapsed_s() - due_s for due_s in self._due_s.values()), default=0.0)
        if late_s > LATE_S and self._running is None:
            self.plan_anew()

    def _due_in_s(self, job: Job) -> float:
        try:
            return job.due_in_s()
        except Exception as error:  # noqa: BLE001 - whatever it is: a job that is not planned is never done again (G11)
            why = error.message if isinstance(error, EdgeAgentError) else repr(error)
            _log.warning("%s can't be planned (%s); tried again in an hour", job.name, why)
            return 3600.0

    def _plan(self, job: Job, in_s: float) -> None:
        in_s = max(in_s, PAUSE_MIN_S)
        self._due_s[job.name] = self._clock.elapsed_s() + in_s
        with self._changing:
            if not self._stopped:
                self._scheduler.add_job(
                    self._run,
                    DateTrigger(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=in_s)),
                    args=(job,),
                    id=job.name,
                    replace_existing=True,
                )

    def _run(self, job: Job) -> None:
        early_s = self._due_s[job.name] - self._clock.elapsed_s()
        if early_s > EARLY_S:
            self._plan(job, early_s)
            return
        self._running = job.name, self._clock.monotonic_s()
        try:
            job.work()
        except EdgeAgentError as error:
            _log.warning("%s: %s (%s)", job.name, error.message, error.hint)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the others' work in silence (G11)
            _log.exception("%s failed", job.name)
        finally:
            self._plan(job, self._due_in_s(job))
            self._running = None
