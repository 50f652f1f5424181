"""Once a night, by whatever program syncs: a checked backup of the journal, which is its audit as well (G1, G11), and a
look through the catalogue."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.clock import Clock
from edge_agent.errors import StoreBroken
from edge_agent.recovery import Recovery
from edge_agent.settings import Settings
from edge_agent.storage.incidents import close_incident, close_old, incidents, raise_incident
from edge_agent.storage.journal import Journal

if TYPE_CHECKING:
    from edge_agent.storage.backup import Backup

NIGHT_BEGINS_H = 2
INCIDENT = "no backup"
OVER = (INCIDENT, "no backup before an update")
OPEN_AT_MOST_MS = 30 * 24 * 3600 * 1000
_LAST = "backed_up"
_log = logging.getLogger("edge_agent")


def _night(moment: dt.datetime) -> dt.date:
    """The date whose night a moment belongs to."""
    return (moment - dt.timedelta(hours=NIGHT_BEGINS_H)).date()


def seconds_to_night(now: dt.datetime) -> float:
    """Seconds until the next night begins.

    Args:
        now: the present moment in the store's time zone.
    """
    begins = now.replace(hour=NIGHT_BEGINS_H, minute=0, second=0, microsecond=0)
    if begins <= now:
        begins = (begins + dt.timedelta(days=1)).replace(hour=NIGHT_BEGINS_H)
    return begins.timestamp() - now.timestamp()  # the clocks may change in between


class Nightly:
    """The night's work for a home.

    Args:
        home: the device's home.
        settings: where backups go, and how many stay.
        journal: the journal.
        recovery: what to do when it turns out damaged.
        clock: the clock.
        local_now: the present moment in the store's time zone, by head office's clock.
        validated_at: when the catalogue was last looked through; None: never, or the whole
            of it has come since.
        validate: looks through the catalogue, and remembers what it found.
    """

    def __init__(
        self,
        home: Path,
        settings: Settings,
        journal: Journal,
        recovery: Recovery,
        clock: Clock,
        local_now: Callable[[], dt.datetime],
        validated_at: Callable[[], dt.datetime | None],
        validate: Callable[[], object],
    ) -> None:
        self._home = home
        self._settings = settings
        self._journal = journal
        self._recovery = recovery
        self._clock = clock
        self._local_now = local_now
        self._validated_at = validated_at
        self._validate = validate
        self._working = threading.Lock()

    def run_if_due(self) -> None:
        """Do the night's work when the night of this date has not had it. Never raises for what can wait."""
        if not self._working.acquire(blocking=False):
            return  # another thread is at it
        try:
            self._work()
        finally:
            self._working.release()

    def _work(self) -> None:
        self._validate_if_due()
        night = _night(self._local_now()).isoformat()
        if self._journal.fact(_LAST) == night or self._journal.is_empty():
            return
        self._journal.keep_fact(_LAST, night)  # first: what fails is tried again tomorrow, not every minute
        with self._journal.database.immediate() as connection:
            close_old(connection, self._clock.now_ms() - OPEN_AT_MOST_MS)
        try:
            self._back_up_what_is_sound()
        except StoreBroken as error:
            with self._journal.database.immediate() as connection:
                raise_incident(connection, INCIDENT, error.message, self._clock.now_ms())
            return
        if any(incident.kind in OVER for incident in incidents(self._journal.database.connection)):
            with self._journal.database.immediate() as connection:
                for kind in OVER:
                    close_incident(connection, kind)

    def _validate_if_due(self) -> None:
        """Look through the catalogue, on every home. It reads the catalogue, and keeps no sale waiting."""
        now = self._local_now()
        try:
            last = self._validated_at()
            if last is None or _night(last.astimezone(now.tzinfo)) != _night(now):
                self._validate()
        except StoreBroken as error:  # it can be pulled again, and looked through again
            _log.warning("the catalogue can't be looked through: %s", error.message)

    def _back_up_what_is_sound(self) -> None:
        try:
            self.back_up()
        except StoreBroken as error:
            if not error.is_damaged:
                raise
            self._recovery.check_journal(self._settings.group_access)  # a damaged journal is replaced by a fresh one
            if not self._journal.is_empty():
                self.back_up()

    def back_up(self, folder: Path | None = None) -> Backup:
        """Copy the journal while everything goes on, check the copy, and let this device's oldest backups go.

        Args:
            folder: where to; None for the setting ``backup_folder``.

        Raises:
            StoreBroken: no room, no access, or the copy is not whole. Nothing half-made stays.
        """
        from edge_agent.storage.backup import back_up, backup_folder

        return back_up(
            self._journal.database.path,
            folder or backup_folder(self._home, self._settings.backup_folder),
            self._settings.backup_keep,
            now=self._clock.now(),
            group_access=self._settings.group_access,
        )
