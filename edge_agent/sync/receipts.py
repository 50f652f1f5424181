"""Compares the ledger with head office's receipts, and offers what it lost again (contract, section 6; G10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from edge_agent.clock import Clock
from edge_agent.domain.outbox import Event
from edge_agent.domain.receipts import Held, is_due
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.storage.incidents import counted
from edge_agent.storage.ledger import Delivered, Ledger, Life, Line
from edge_agent.sync.report import Drift

FINISHED_LIFE_INTERVAL_MS = 7 * 24 * 3600 * 1000
OFFERED_AGAIN_AFTER_MS = 24 * 3600 * 1000
LISTED_MAX = 1_000
OVER_WHEN_EQUAL = ("head office lost entries", "head office was restored", "head office's version went back")
_MORE_THERE = ": another device has sold under this journal's numbers"  # nothing of ours is missing
_OFFER = "It is offered again with the next sync."
_GONE = "Its bytes were removed after delivery; tell head office to keep backups younger than retention_days."


@dataclass(slots=True)
class Compared:
    """What comparing found, and what was offered again."""

    lives: int = 0
    sales: int = 0
    uses: int = 0
    drift: list[Drift] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def offered(self) -> int:
        """How many entries went back to pending."""
        return self.sales + self.uses


@dataclass(slots=True, kw_only=True)
class CompareReceipts:
    """One comparison of every life of the journal.

    Args:
        ho: head office; it must announce receipts.
        ledger: the journal's ledger.
        clock: the device's clock.
        begin_life: gives the journal a new identity, with a reason, before the next sale is recorded or sent.
        epoch: head office's epoch, as far as it is known.
        on_event: told what happened, by name and details.
        repair: offer again what is missing; else only list it.
        only: this entry alone, by its id.
    """

    ho: HeadOffice
    ledger: Ledger
    clock: Clock
    begin_life: Callable[[str], None]
    epoch: str | None
    on_event: Callable[[str, dict[str, str]], None]
    repair: bool = True
    only: str | None = None
    acknowledged_lost: bool = False

    def due(self) -> list[Life]:
        """The lives whose six hours are over, or that were last compared with another life of head office."""
        return [life for life in self.ledger.lives() if self._is_due(life)]

    def _is_due(self, life: Life) -> bool:
        if life.checked_epoch is not None and self.epoch is not None and life.checked_epoch != self.epoch:
            return True
        now = self.clock.now_ms()
        finished = not life.is_present and life.is_whole and life.confirmed_seq >= life.last_seq
        if finished and life.difference is None and life.checked_ms is not None:
            return not 0 <= now - life.checked_ms < FINISHED_LIFE_INTERVAL_MS
        return is_due(life.checked_ms, life.created_ms, now)

    def run(self, lives: list[Life] | None = None) -> Compared:
        """Compare.

        Args:
            lives: which; None for all.

        Raises:
            EdgeAgentError: head office can't be asked; what was compared before stays.
        """
        compared = Compared()
        for life in self.ledger.lives() if lives is None else lives:
            self._compare(life, compared)
            compared.lives += 1
        return compared

    def _compare(self, life: Life, compared: Compared) -> None:
        answer = self.ho.receipts(device_id=life.device_id, journal_id=life.journal_id)
        held = Held(answer.contiguous_seq, answer.highest_seq, answer.missing, frozenset(answer.refused))
        if life.is_present and self.repair and held.highest_seq > life.last_seq:
            # The journal is older than what head office has seen of it: it was restored or rewound (section 5).
            self.begin_life(f"head office has seen number {held.highest_seq} of a journal that ends at {life.last_seq}")
        lost = self.ledger.delivered_in(life, held.not_held())
        after_all = [line for line in self.ledger.quarantined(life) if held.accepted(line.device_seq or 0)]
        self.acknowledged_lost = self.acknowledged_lost or bool(lost)
        difference = None
        if not lost and not after_all:
            difference = self._difference(life, held, answer)
        uses = self._lost_uses(life, answer)
        if difference is not None and not difference.endswith(_MORE_THERE) and not self._was_offered(life):
            lost = self.ledger.delivered_in(life, [(1, life.last_seq)])
        if uses:
            words = f"head office holds {answer.usages} of {len(uses)} promotion uses of this journal"
            difference = words if difference is None else f"{difference}; {words}"
            uses = [] if self._was_offered(life) else uses
        if self.only is not None:
            lost, after_all, uses = (
                [line for line in lines if line.external_id == self.only] for lines in (lost, after_all, uses)
            )
        self._list(compared, lost, after_all, uses, difference)
        if self.repair:
            self._repair(life, answer, lost, after_all, uses, difference, compared)

    def _was_offered(self, life: Life) -> bool:
        """Whether everything was offered again for a difference that is still there, today: people must look now."""
        known = life.checked_epoch == self.epoch and life.difference is not None
        offered_ms = self.ledger.offered_ms(life)
        return known and offered_ms is not None and 0 <= self.clock.now_ms() - offered_ms < OFFERED_AGAIN_AFTER_MS

    def _difference(self, life: Life, held: Held, answer: wire.Receipts) -> str | None:
        """How count or sum differ although no number is missing: head office holds other sales under our numbers."""
        if not life.is_whole or self.ledger.pending_among(life, held.not_held()):
            return None
        mine = self.ledger.delivered(life)
        sum_here = _sum(mine)
        sum_there = _decimal(answer.total_amount)
        if sum_here is None or (mine.sales == answer.count and sum_here == sum_there):
            return None
        there, here = f"{answer.count} sales of {answer.total_amount}", f"{mine.sales} of {sum_here}"
        words = f"head office counts {there}, this device {here}"
        return words + _MORE_THERE if answer.count > mine.sales else words

    def _lost_uses(self, life: Life, answer: wire.Receipts) -> list[Line]:
        """All uses of the journal, when head office holds fewer than it took: it can't say which are gone."""
        uses = self.ledger.delivered_uses(life)
        return uses if answer.usages < len(uses) else []

    def _list(
        self, compared: Compared, lost: list[Line], after_all: list[Line], uses: list[Line], difference: str | None
    ) -> None:
        for dataset, lines, kind in (
            ("sales", lost, "missing at head office"),
            ("sales", after_all, "counted by head office after all"),
            ("usages", uses, "perhaps missing at head office"),
        ):
            for line in lines[: LISTED_MAX - len(compared.drift)]:
                compared.drift.append(Drift(dataset, line.external_id, kind, _OFFER if line.has_body else _GONE))
        if difference is not None:
            compared.differences.append(difference)

    def _repair(
        self,
        life: Life,
        answer: wire.Receipts,
        lost: list[Line],
        after_all: list[Line],
        uses: list[Line],
        difference: str | None,
        compared: Compared,
    ) -> None:
        now = self.clock.now_ms()
        # What is put back is on disk before the comparison counts as made: a crash between costs a comparison.
        sales = self.ledger.offer_again("sales", lost, Event.LOST_BY_HEAD_OFFICE, now)
        again = self.ledger.offer_again("usages", uses, Event.LOST_BY_HEAD_OFFICE, now)
        compared.sales += sales + self.ledger.offer_again("sales", after_all, Event.COUNTED_AFTER_ALL, now)
        compared.uses += again
        if self.only is not None:
            return  # the rest is still to be compared
        first_lost = min((line.device_seq or 0 for line in lost), default=answer.contiguous_seq + 1)
        gone = sum(not line.has_body for line in (*lost, *uses))
        self.ledger.checked(
            life,
            confirmed_seq=min(answer.contiguous_seq, first_lost - 1),
            epoch=answer.epoch or self.epoch,
            difference=difference,
            now_ms=now,
        )
        if sales or again:
            self.ledger.note_offered(life, now)
            detail = f"{counted(sales, again)} missing there; offered again"
            self.ledger.tell("head office lost entries", detail, now)
            self.on_event("head office lost entries", {"sales": str(sales), "uses": str(again)})
        if not (sales or again or difference):
            self.ledger.over(*OVER_WHEN_EQUAL)
        if gone:
            self.ledger.tell("can't be offered again", f"{gone} entries that head office lost. {_GONE}", now)


def _sum(mine: Delivered) -> Decimal | None:
    """The sum in the one currency of the journal; None when it has several."""
    if len(mine.totals) > 1:
        return None
    [((_, exponent), minor)] = mine.totals.items() or [(("", 2), 0)]
    return Decimal(minor).scaleb(-exponent)


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
