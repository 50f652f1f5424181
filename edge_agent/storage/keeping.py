"""The journal's housekeeping for idle moments: room held back, people warned, old bytes let go. Hourly at most."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from edge_agent.errors import StoreBroken
from edge_agent.storage.ballast import INCIDENT, MIB, Ballast, low_disk
from edge_agent.storage.incidents import close_incident, incidents, raise_incident
from edge_agent.storage.journal import Journal
from edge_agent.storage.retention import Retention

EVERY_S = 3600.0
LOW = "disk nearly full"


class Keeping:
    """Housekeeping of a home.

    Args:
        home: the device's home.
        journal: its journal.
        ballast: its ballast.
        disk_warn_mib: below this much free room an incident is raised.
        retention_days: how long bytes stay.
    """

    def __init__(
        self, home: Path, journal: Journal, ballast: Ballast, *, disk_warn_mib: int, retention_days: int
    ) -> None:
        self._home = home
        self._journal = journal
        self._ballast = ballast
        self._disk_warn_mib = disk_warn_mib
        self._retention_days = retention_days
        self._next_s = float("-inf")

    def run(
        self,
        go_on: Callable[[], bool],
        *,
        monotonic_s: float,
        now_ms: int,
        clock_offset_ms: int,
        stock_watermark: Mapping[str, int],
    ) -> None:
        """Do what is due. Never raises: what can't be done now is done next time.

        Args:
            go_on: asked before each short transaction.
            monotonic_s: seconds that never jump.
            now_ms: milliseconds since 1970, by this device's clock.
            clock_offset_ms: head office's clock less this device's.
            stock_watermark: see :class:`~edge_agent.storage.retention.Retention`.
        """
        if monotonic_s < self._next_s or not go_on():
            return
        self._next_s = monotonic_s + EVERY_S
        with contextlib.suppress(StoreBroken):
            self._watch_the_disk(now_ms)
            Retention(self._journal).run(
                now_ms, self._retention_days, stock_watermark, go_on, clock_offset_ms=clock_offset_ms
            )

    def _watch_the_disk(self, now_ms: int) -> None:
        """Hold room back again, and raise or close the incidents; writes only when something changed."""
        low = low_disk(self._home, self._disk_warn_mib)
        held = self._ballast.ensure()
        opened = {incident.kind for incident in incidents(self._journal.database.connection)}
        if low is not None and LOW not in opened:
            with self._journal.database.immediate() as connection:
                detail = f"{low // MIB} MiB are free; free some space before sales can't be saved"
                raise_incident(connection, LOW, detail, now_ms)
        over = {LOW} if low is None else set()
        over |= {INCIDENT} if held and low is None else set()
        if over & opened:
            with self._journal.database.immediate() as connection:
                for kind in over & opened:
                    close_incident(connection, kind)
