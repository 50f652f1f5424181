"""Watches over cursors: a page may move one only forward, and a place that is lost again and again is not asked for at
every cycle (G5, G11; contract, sections 4 and 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import quote

from edge_agent.clock import Clock
from edge_agent.errors import ContractBroken, CursorLost
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.storage.catalog import CatalogStore

CURSOR_LENGTH_MAX = 4_096
EMPTY_PAGES_MAX = 100  # in a row, each of which says that there is more
RESET_WAIT_S = 60.0
RESET_WAIT_MAX_S = 6 * 3600.0
FACES_MS = 24 * 3600 * 1000


def reset_wait_s(resets: int) -> float:
    """How long to leave a place alone that was lost so often in a row; the first time it is asked anew at once."""
    return 0.0 if resets < 2 else min(RESET_WAIT_S * 4.0 ** min(resets - 2, 10), RESET_WAIT_MAX_S)


def reset_wait_ms(resets: int) -> float:
    """The same in milliseconds."""
    return reset_wait_s(resets) * 1000


def another_face(facts: Mapping[str, str], now_ms: int) -> dict[str, str]:
    """Count that head office's epoch, or what it offers, is another one: the facts to remember.

    A day without a change ends the row.
    """
    quiet = not 0 <= now_ms - int(facts.get("faces_ms", "0")) < FACES_MS
    return {"faces": "1" if quiet else str(int(facts.get("faces", "0")) + 1), "faces_ms": str(now_ms)}


@dataclass(slots=True)
class Turns:
    """The pages of one download, in turn: they must lead on."""

    dataset: str
    ho: HeadOffice
    epoch: str | None
    _asked: set[int] = field(default_factory=set)
    _empty: int = 0

    def check(self, page: wire.Page | wire.StockPage, asked: str | None) -> None:
        """What must hold before a page may move the cursor (G5).

        Raises:
            ContractBroken: it must not.
        """
        dataset = self.dataset
        if self.ho.epoch != self.epoch:
            raise ContractBroken(
                "head office was restored from a backup during this sync", hint="Nothing to do: it is asked again."
            )
        if not page.next_cursor:
            raise ContractBroken(f"head office's {dataset} page has no next_cursor", hint="Tell head office.")
        if len(quote(page.next_cursor, safe="")) > CURSOR_LENGTH_MAX:
            raise ContractBroken(
                f"head office's {dataset} page has a next_cursor longer than {CURSOR_LENGTH_MAX} characters",
                hint="Tell head office.",
            )
        self._asked.add(hash(asked))
        if not page.has_more:
            return
        if hash(page.next_cursor) in self._asked:
            raise ContractBroken(
                f"head office's {dataset} page leads back to where we were", hint="Tell head office; nothing was lost."
            )
        rows = page.stock if isinstance(page, wire.StockPage) else page.rows
        self._empty = 0 if rows or page.deleted_ids else self._empty + 1
        if self._empty > EMPTY_PAGES_MAX:
            raise ContractBroken(
                f"head office sends {EMPTY_PAGES_MAX} pages of {dataset} in a row with nothing in them",
                hint="Tell head office; the catalogue stays as it is.",
            )


@dataclass(slots=True)
class Places:
    """Where downloads stand at head office.

    Args:
        ho: head office.
        store: the catalogue.
        clock: the clock.
        asked: a person asked: a lost place is asked for anew whatever the wait says, once.
    """

    ho: HeadOffice
    store: CatalogStore
    clock: Clock
    asked: bool = False
    was_lost: bool = field(init=False, default=False)
    _epoch: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._epoch = self.ho.epoch

    def turns(self, dataset: str) -> Turns:
        """A watch over the pages of one download."""
        return Turns(dataset, self.ho, self._epoch)

    def lost(self, dataset: str, scope: str, error: CursorLost) -> None:
        """Head office lost our place: begin a snapshot, now or after a while.

        Raises:
            ContractBroken: it was lost before and nothing came through since: not now.
        """
        self.was_lost = True
        before = self.store.state(dataset)
        resets = self.store.lost_place(dataset, self.clock.now_ms(), reset_wait_ms)
        self.store.begin_snapshot(dataset, scope)
        if before.cursor is None:
            raise ContractBroken(
                f"head office refuses even a first page of {dataset}: {error.message}", hint="Tell head office."
            ) from error
        if resets > 1:
            self._say(dataset, resets)

    def may_begin(self, dataset: str) -> None:
        """Whether a snapshot may begin now.

        Raises:
            ContractBroken: the last ones ended in a lost place; it is too early for the next.
        """
        state = self.store.state(dataset)
        if self.asked or state.cursor is not None:
            return
        self._may_follow(dataset, state.snapshot_ms)
        if state.resets < 2:
            return
        passed_s = (self.clock.now_ms() - (state.reset_ms or 0)) / 1000
        if 0 <= passed_s < reset_wait_s(state.resets):
            self._say(dataset, state.resets)

    def _may_follow(self, dataset: str, snapshot_ms: int | None) -> None:
        """Two head offices that answer by turns, each with its own epoch or abilities, are not followed each time."""
        faces = int(self.store.meta("faces") or "0")
        passed_ms = self.clock.now_ms() - (snapshot_ms or 0)
        if 0 <= passed_ms < reset_wait_ms(faces - 1):
            raise ContractBroken(
                f"head office has become another one {faces} times in a row (its epoch or what it offers changes); the "
                f"whole list of {dataset} is taken {round(reset_wait_s(faces - 1) / 60)} min after the last one",
                hint="Tell head office; the catalogue stays as it is.",
            )

    def _say(self, dataset: str, resets: int) -> NoReturn:
        raise ContractBroken(
            f"head office has lost our place in {dataset} {resets} times in a row; the whole list is asked for again "
            f"{round(reset_wait_s(resets) / 60)} min after the last time",
            hint="Tell head office; the catalogue stays as it is.",
        )
