"""What of the catalogue is due: the schedule behind what head office's version says (contract, sections 3 and 4)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from edge_agent.domain.calendar import business_date, clock_time, zone
from edge_agent.domain.catalog import DATASETS, Dataset
from edge_agent.domain.hours import is_open, windows_of
from edge_agent.head_office import wire
from edge_agent.settings import Settings
from edge_agent.storage.catalog import HELD_MS, HELD_SNAPSHOTS, CatalogStore, DatasetState
from edge_agent.sync.pull import Pull

HELD_ASKED_AGAIN_MS = 600_000
HELD_SNAPSHOT_MS = HELD_MS // (HELD_SNAPSHOTS - 1)  # so that three of them span a day
POSTPONED_MAX = 3  # comparisons in a row that came to no end
EVERY_ROW_MS = 24 * 3600 * 1000  # how often every row here is looked at for damage


@dataclass(slots=True)
class Due:
    """What is due now.

    Args:
        store: the catalogue.
        settings: intervals.
        facts: what is remembered of head office.
        now_ms: milliseconds since 1970.
        pull: the downloads of this cycle.
    """

    store: CatalogStore
    settings: Settings
    facts: Mapping[str, str]
    now_ms: int
    pull: Pull

    def _states(self) -> list[DatasetState]:
        return [self.store.state(dataset) for dataset in DATASETS]

    def _is_older(self, moment_ms: int | None, span_ms: float) -> bool:
        """Whether a moment lies further back than a span, or in the future, as after a clock that was set back."""
        return not 0 <= self.now_ms - (moment_ms or 0) < span_ms

    def is_older(self, remembered_ms: str | None, span_s: float) -> bool:
        """Whether a moment that is remembered as a fact, or never was, lies further back than a span."""
        return self._is_older(int(remembered_ms or "0"), span_s * 1000)

    def later(self, span_ms: int) -> str:
        """A moment from now, as a fact to remember."""
        return str(self.now_ms + span_ms)

    def is_unfinished(self) -> bool:
        """Whether a download began and did not end, or stands elsewhere."""
        # A list that head office cuts short is never finished: it is asked for on schedule, like the others.
        scope = self.pull.scope()
        return any(
            s.scope != scope or ((s.cursor is None or s.in_snapshot) and not s.incomplete) for s in self._states()
        )

    def held(self) -> bool:
        """Whether a held sweep may be decided now: head office's digest, which perhaps could not be had then."""
        return wire.DIGEST in self.pull.ho.capabilities and any(
            s.held_rows and self._is_older(s.synced_ms, HELD_ASKED_AGAIN_MS) for s in self._states()
        )

    def snapshots(self) -> set[Dataset]:
        """The datasets whose whole list is due: what vanished there is seen by nothing else."""
        native = self.pull.profile == "native"
        found: set[Dataset] = set()
        for dataset, state in zip(DATASETS, self._states(), strict=True):
            if state.incomplete or state.in_snapshot:
                continue
            if native and self.has_digest():
                continue
            span_ms: float = self.settings.snapshot_interval_s * 1000
            if state.held_rows:
                span_ms = min(span_ms, HELD_SNAPSHOT_MS)
            if self._is_older(state.snapshot_ms, span_ms):
                found.add(dataset)
        if not native and self.day_is_new() and not self.store.state("promotions").incomplete:
            # A promotion enters its window because a day begins, though nobody edited it: no delta brings it.
            found.add("promotions")
        return found

    def postponed(self) -> int:
        """How often in a row digests could not be compared, because head office never stood at our cursor."""
        return int(self.facts.get("verify_postponed", "0"))

    def has_digest(self) -> bool:
        """Whether head office can prove what it has; if not, whole lists are taken as from a baseline one."""
        return wire.DIGEST in self.pull.ho.capabilities and self.postponed() < POSTPONED_MAX

    def pull_anyway(self, interval_s: float) -> bool:
        """Whether the schedule asks for a pull, whatever the version says."""
        oldest = min((s.synced_ms or 0) for s in self._states())
        return self._is_older(oldest, interval_s * 1000)

    def _local(self) -> dt.datetime:
        """Now by head office's clock, in the store's zone."""
        name = self.facts.get("timezone") or self.settings.timezone
        return self.pull.ho.timekeeper.now().astimezone(zone(name) if name else None)

    def is_open(self) -> bool:
        """Whether the catalogue may be fetched by itself at this time of day; a device without one need not wait."""
        return is_open(windows_of(self.facts), self._local()) or any(s.synced_ms is None for s in self._states())

    def day(self) -> str:
        """The day as windows see it: the date in the store's zone, and its business date."""
        local = self._local()
        day_start = clock_time(self.facts.get("day_start") or self.settings.day_start)
        return f"{local.date().isoformat()} {business_date(local, day_start).isoformat()}"

    def day_is_new(self) -> bool:
        """Whether a day began since everything was last pulled."""
        return self.facts.get("pulled_day") != self.day()

    def known_datasets(self) -> dict[str, object]:
        """Each dataset's version when it was last pulled."""
        try:
            return dict(msgspec.json.decode(self.facts.get("version", "[]"))[2])
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
            return {}

    def verify(self, capabilities: Collection[str]) -> bool:
        """Whether digests are to be compared."""
        if self.pull.profile != "native" or wire.DIGEST not in capabilities:
            return False
        due_ms = int(self.facts.get("verify_due_ms", "0"))
        return not self.now_ms < due_ms <= self.now_ms + 4 * self.settings.verify_interval_s * 1000

    def look_at_every_row(self) -> bool:
        """Whether each row here is to be looked at as well: damage changes no version."""
        return "every_row_ms" in self.facts and self._is_older(int(self.facts["every_row_ms"]), EVERY_ROW_MS)
