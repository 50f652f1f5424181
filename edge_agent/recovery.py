"""What to do when a database turns out damaged, cloned or rewound: go on selling with a sound one (G1, G4)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge_agent.clock import Clock
from edge_agent.errors import StoreBroken
from edge_agent.machine import machine_identity
from edge_agent.storage.aside import damaged_files, recovery_lock, set_aside
from edge_agent.storage.database import Database
from edge_agent.storage.incidents import close_incident, raise_incident
from edge_agent.storage.journal import Journal
from edge_agent.storage.shadow import Shadow

if TYPE_CHECKING:
    from edge_agent.storage.salvage import Salvage

DAY_MS = 24 * 3600 * 1000
LIVES_A_DAY_MAX = 5
INCIDENT = "journal damaged"  # as storage/salvage.py tells it
_MACHINE = "machine"
_FILE = "file"
_log = logging.getLogger("edge_agent")

T = TypeVar("T")


class Recovery:
    """Looks after the journal's identity and health.

    Args:
        journal: the journal.
        store_id: this device's store.
        clock: the clock.
        begin_life: gives the journal a new identity, with a reason.
    """

    def __init__(self, journal: Journal, store_id: str, clock: Clock, begin_life: Callable[[str], None]) -> None:
        self._journal = journal
        self._clock = clock
        self._begin_life = begin_life
        self.shadow = Shadow(journal.database)
        self._store_id = store_id
        self._lock = threading.Lock()

    def look_around(self) -> None:
        """At each open: whether this is the machine and the journal it was. If not, a new life begins before the next
        sale is recorded (contract, section 5)."""
        self._journal.look_at_the_end()
        self._announce()
        self._notice_a_copy()
        mark = self.shadow.mark()
        behind = self.shadow.behind()
        life = self._journal.life()
        if behind is not None and mark is not None and life is not None and mark.journal_id == life.journal_id:
            self._begin_life(behind)

    def _salvage(self) -> Salvage:
        from edge_agent.storage.salvage import Salvage  # loads what only damage needs

        return Salvage(self._journal, self.shadow, self._store_id)

    def _announce(self) -> None:
        if damaged_files(self._journal.database.path):
            self._salvage().announce(self._clock.now_ms())

    def _notice_a_copy(self) -> None:
        """Whether this is another machine, or the file is a copy of the one that was here: both go on with the same
        numbers otherwise, and head office could not tell their sales apart."""
        machine, file = machine_identity(), self._journal.database.file_number()
        for key, now, reason in (
            (_MACHINE, machine, "this journal was on another machine before: it was cloned or moved"),
            (_FILE, file, "this journal's file is a copy: it was restored or cloned"),
        ):
            known = self._journal.fact(key)
            if now is None or now == known:
                continue
            if known is not None and self._may_begin_life(reason):
                self._begin_life(reason)
            self._journal.keep_fact(key, now)

    def _may_begin_life(self, reason: str) -> bool:
        """A life without sales need not end; and where files have no lasting identity, not each start begins one."""
        life = self._journal.life()
        if life is None or life.last_seq == 0:
            return False
        return self._journal.lives_begun(reason, self._clock.now_ms() - DAY_MS) < LIVES_A_DAY_MAX

    def replace_damaged_journal(self, error: StoreBroken) -> bool:
        """Move the damaged journal aside and go on with a fresh one; whether that could be done.

        What can be read of it comes back with the next sync, behind the selling.

        Args:
            error: how the damage showed.
        """
        database = self._journal.database
        with self._lock:
            try:
                if not moved_aside(database, self._clock):
                    return True  # another program has done it meanwhile
                if self._journal.life() is None:
                    self._begin_life(f"the journal before this one was damaged ({error.message})")
                self._announce()
                return True
            except (OSError, StoreBroken):
                _log.exception("the damaged journal can't be replaced")
                return False

    def tell_if_gone(self) -> None:
        """Tell of a fresh journal in the place of one that nobody set aside: somebody moved or deleted it (G11)."""
        path = self._journal.database.path
        if damaged_files(path):
            return  # that is told already
        _log.error("%s was gone; a fresh one takes its place", path.name)
        detail = f"{path.name} was gone, and a fresh one took its place; what the second copy holds comes back"
        with self._journal.database.immediate() as connection:
            raise_incident(connection, INCIDENT, detail, self._clock.now_ms())
            close_incident(connection, INCIDENT)  # nobody can do more about it than read it

    def check_journal(self, group_access: bool) -> None:
        """Check the whole file on a copy; a damaged journal is replaced.

        Raises:
            StoreBroken: there is no room for the copy, or the damaged journal can't be replaced.
        """
        from edge_agent.storage.backup import audit

        path = self._journal.database.path
        try:
            audit(path, group_access=group_access)
        except StoreBroken as error:
            if not error.is_damaged:
                raise
            try:
                audit(path, group_access=group_access)  # twice: once may be the copy's disk
            except StoreBroken as again:
                if not again.is_damaged or not self.replace_damaged_journal(again):
                    raise

    def explains(self, error: Exception, group_access: bool) -> bool:
        """Whether an unexpected error came from a damaged journal, which is then replaced."""
        database = self._journal.database
        openings = database.openings
        try:
            self.check_journal(group_access)
        except StoreBroken:
            return False
        if database.openings == openings:
            return False
        _log.error("%s was damaged: %r", database.path.name, error)
        return True

    def bring_back(self) -> list[str]:
        """Bring back what damaged journals and the shadow hold, as far as it was not yet; what happened, in sentences.

        Raises:
            StoreBroken: the journal can't be written.
        """
        if not damaged_files(self._journal.database.path) and self.shadow.behind() is None:
            return []
        told = self._salvage().run(self._clock.now_ms())
        for words in told:
            _log.warning("%s", words)
        return told


def moved_aside(database: Database, clock: Clock) -> bool:
    """Move a damaged database aside and open a fresh one; False when another program has done so already.

    Raises:
        OSError: the file can't be moved.
        StoreBroken: a fresh one can't be opened.
    """
    with recovery_lock(database.path, database.file_mode):
        if database.was_replaced():
            database.reopen()
            return False
        database.let_go()
        _tell(database.path, set_aside(database.path, clock.now_ms()))
    database.reopen()
    return True


def open_sound(path: Path, open_it: Callable[[], T], clock: Clock, mode: int) -> T:
    """Open a database; one that can't be opened for damage is moved aside first.

    Args:
        path: its file.
        open_it: opens it.
        clock: the clock.
        mode: file mode of the lock.

    Raises:
        StoreBroken: it can't be opened for another reason.
    """
    try:
        return open_it()
    except StoreBroken as error:
        if not error.is_damaged:
            raise
    with recovery_lock(path, mode):
        try:
            return open_it()  # another program was quicker
        except StoreBroken as error:
            if not error.is_damaged:
                raise
        _tell(path, set_aside(path, clock.now_ms()))
        return open_it()


def _tell(path: Path, aside: Path) -> None:
    _log.error("%s is damaged; it is kept as %s, and a fresh one takes its place", path.name, aside.name)
