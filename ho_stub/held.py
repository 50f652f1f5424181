"""What happens later than it should: edits that commit late, and a restore from backup that nobody is told of."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ho_stub.database import Backup
from ho_stub.gaps import Gaps
from ho_stub.rows import filled, utc_now


class Office(Protocol):
    """What can happen late to the world."""

    company_id: str

    def snapshot(self) -> Backup:
        """A backup of everything."""

    def restore(self, backup: Backup, new_epoch: bool = True) -> None:
        """Go back to it."""

    def commit(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Insert or replace a row."""


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit that is not committed yet; its stamp is from when it was made."""

    made_s: float
    dataset: str
    row: dict[str, Any]


class Held:
    """Keeps edits and a backup until their time has come, or their gap is switched off."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._edits: list[Edit] = []
        self._backup: tuple[float, Backup] | None = None

    def keep(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """An edit that commits later; returns the row as it will be stored."""
        stored = filled(dataset, row, self._office.company_id, utc_now())
        self._edits.append(Edit(time.monotonic(), dataset, stored))
        return stored

    @property
    def waits(self) -> bool:
        """Whether there is anything to settle."""
        return bool(self._edits) or self._backup is not None

    def switched(self, name: str, gaps: Gaps) -> None:
        """A gap went on or off."""
        if name == "restored_untold" and gaps.is_on(name):
            self._backup = (time.monotonic(), self._office.snapshot())
        self.settle(gaps)

    def settle(self, gaps: Gaps) -> None:
        """Let happen what is due; called before head office answers anything."""
        if self._backup is not None and _is_due(self._backup[0], gaps.number("restored_untold")):
            backup, self._backup = self._backup[1], None
            self._edits.clear()
            self._office.restore(backup, new_epoch=False)
        due = [edit for edit in self._edits if _is_due(edit.made_s, gaps.number("late_commit"))]
        for edit in due:
            self._edits.remove(edit)
            self._office.commit(edit.dataset, edit.row)


def _is_due(since_s: float, wait_s: int | None) -> bool:
    return wait_s is None or time.monotonic() - since_s >= wait_s
