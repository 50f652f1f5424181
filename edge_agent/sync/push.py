"""Offers the outbox to head office: sales in order, then usages, each settled by its own answer (G3, G7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.backoff import delay_s, is_waiting
from edge_agent.domain.baseline_sale import baseline_sale
from edge_agent.domain.outbox import Event
from edge_agent.domain.watchdog import Rung, portion, rung
from edge_agent.errors import ContractBroken, EdgeAgentError, NotSignedIn, Refused, StoreBroken, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL
from edge_agent.storage.outbox import FIRST_ENTRY, Entry, Lane, Outbox, Verdict
from edge_agent.sync.report import Progress, Pushed, no_progress

STORM_REFUSALS = 5
ENVELOPE_BYTES = 512
_FAR_FUTURE_MS = 2**62
_ACCEPTED = {"created": Event.CREATED, "duplicate": Event.DUPLICATE}


def concerns_everything(error: EdgeAgentError) -> bool:
    """Whether an error says that asking head office anything else now is pointless."""
    return isinstance(error, NotSignedIn) or (isinstance(error, Unreachable) and error.line_is_down)


class PoisonStorm(Unreachable):
    """Head office refuses everything for one reason: it is misconfigured, not the sales (contract, section 5)."""

    code = "POISON_STORM"


@dataclass(slots=True)
class Push:
    """One pass over the outbox.

    Args:
        ho: head office.
        outbox: the journal's outbox.
        clock: the clock and the dice.
        settings: batch limits.
        asked: a person asked: whatever the backoff says, everything pending is offered once.
        on_settled: told of each entry's verdict, after it is stored.
        on_seq_conflict: told when another journal has used our numbers, before the next batch is sent.
    """

    ho: HeadOffice
    outbox: Outbox
    clock: Clock
    settings: Settings
    asked: bool = False
    progress: Progress = no_progress
    on_settled: Callable[[Lane, Entry, Verdict], None] | None = None
    on_seq_conflict: Callable[[], None] = lambda: None
    sales: Pushed = field(default_factory=Pushed)
    usages: Pushed = field(default_factory=Pushed)
    heard: dict[int, int] = field(default_factory=dict)  # contiguous_seq by the number of a life
    _conflicts: bool = False

    def run(self, lane: Lane) -> bool:
        """Offer everything that is due in a lane; False when the lane waits for its next attempt.

        Raises:
            EdgeAgentError: why the lane stopped. It is noted with the time of the next attempt, unless head office
                does not answer at all: that is the circuit's business.
        """
        state = self.outbox.lane(lane)
        now = self.clock.now_ms()
        if not self.asked and is_waiting(state.next_attempt_ms, now):
            return False
        step = rung(state.head_since_ms, now)
        try:
            self._climb(step)
            self._drain(lane, portion(step, self.settings.batch_count_max))
        except StoreBroken:
            raise
        except EdgeAgentError as error:
            if not concerns_everything(error):
                self.outbox.lane_failed(lane, error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
                self._watch_progress(lane, error)
            raise
        self.outbox.lane_works(lane)
        self._watch_progress(lane, None)
        return True

    def _climb(self, step: Rung) -> None:
        """What the watchdog tries besides smaller batches, when the head of the lane has not moved for long."""
        if step >= Rung.NEW_CONNECTION:
            self.ho.reconnect()
        if step >= Rung.NEW_SIGN_IN:
            self.ho.sign_in()

    def _watch_progress(self, lane: Lane, error: EdgeAgentError | None) -> None:
        """Note what was offered in vain while head office answered; a lane that moves costs no write."""
        first = self.outbox.head(lane, sales_only=self._one_by_one(lane))
        cause = None if first is None else error.message if error is not None else first[1]
        if first is not None and cause is not None:
            self.outbox.note_head(lane, first[0], cause, self.clock.now_ms())
        else:  # nothing waits, or only what was recorded just now
            self.outbox.note_head(lane, None, None, self.clock.now_ms())

    def _one_by_one(self, lane: Lane) -> bool:
        return lane == "sales" and wire.SALES_BATCH not in self.ho.capabilities

    def _drain(self, lane: Lane, count_max: int) -> None:
        batch_mode = not self._one_by_one(lane)
        offer: Callable[[list[Entry]], None] = {
            ("sales", True): self._offer_sales,
            ("sales", False): self._offer_one_sale,
            ("usages", True): self._offer_usages,
        }[lane, batch_mode]
        done, after = 0, FIRST_ENTRY
        total = None
        while True:
            due = self.outbox.due(
                lane,
                _FAR_FUTURE_MS if self.asked else self.clock.now_ms(),
                after=after,
                count_max=count_max,
                bytes_max=self.settings.batch_bytes_max - ENVELOPE_BYTES,
                sales_only=not batch_mode,
            )
            if not due:
                return
            if total is None:
                counts = self.outbox.counts()
                total = counts.pending_sales if lane == "sales" else counts.pending_usages
            after = due[-1].entry
            self._offer_and_split(lane, due if batch_mode else [], offer)
            for entry in [] if batch_mode else due:
                self._offer_and_split(lane, [entry], offer)
                done += 1
                self.progress(lane, done, total)
            done += len(due) if batch_mode else 0
            self.progress(lane, done, max(total, done))

    def _offer_and_split(self, lane: Lane, batch: list[Entry], offer: Callable[[list[Entry]], None]) -> None:
        """Offer a batch; one refused as a whole is halved until the culprit stands alone (contract, section 5)."""
        waiting = [batch] if batch else []
        while waiting:
            part = waiting.pop()
            try:
                offer(part)
            except Refused as refusal:
                if refusal.status not in (400, 413, 422) and not (
                    len(part) == 1 and lane == "sales" and wire.SALES_BATCH not in self.ho.capabilities
                ):
                    raise Unreachable(  # 403 and the like are about this device, not about one sale: pause the lane
                        f"head office refuses uploads: {refusal.message}",
                        reason="forbidden",
                        hint=refusal.hint or "Ask head office to allow this device. Everything is kept.",
                    ) from refusal
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]  # the earlier half comes off the stack first
                    continue
                if refusal.status == 413:  # of one sale alone that is no word about it: some proxy is too narrow
                    verdict = self._again(part[0], "PAYLOAD_TOO_LARGE", refusal.message)
                else:
                    code = refusal.ho_code or f"HTTP_{refusal.status}"
                    verdict = Verdict(part[0].entry, Event.REJECTED, code=code, reason=refusal.message)
                self._settle(lane, {part[0].entry: part[0]}, [verdict])

    # ---- sales -----------------------------------------------------------------------------------------------

    def _offer_sales(self, batch: list[Entry]) -> None:
        """A batch to a native head office; an entry without a verdict stays pending (G3)."""
        answer = self.ho.push_sales([entry.body for entry in batch])
        results = {result.external_id: result for result in answer.results}
        verdicts = [self._sale_verdict(entry, results.get(entry.external_id)) for entry in batch]
        if answer.contiguous_seq is not None:
            self.heard[batch[-1].entry // ENTRIES_PER_JOURNAL] = answer.contiguous_seq
        self._settle("sales", {entry.entry: entry for entry in batch}, verdicts)
        if self._conflicts:
            self._conflicts = False
            self.on_seq_conflict()

    def _sale_verdict(self, entry: Entry, result: wire.SaleResult | None) -> Verdict:
        if result is None:
            return self._again(entry, "NO_RESULT", "head office's answer does not mention this sale")
        if result.status in _ACCEPTED:
            if result.fingerprint != entry.fingerprint:
                # Another fingerprint, or none, acknowledges nothing: head office read something else than we froze.
                return self._again(entry, "FINGERPRINT_MISMATCH", "head office acknowledged other bytes than these")
            if any("SEQ_CONFLICT" in str(warning) for warning in result.warnings or ()):
                self._conflicts = True  # another journal has used our numbers: take a new life (section 5)
            warnings = msgspec.json.encode(result.warnings).decode() if result.warnings else None
            ho_id = None if result.id is None else str(result.id)
            return Verdict(entry.entry, _ACCEPTED[result.status], ho_id=ho_id, warnings=warnings)
        if result.status == "rejected":
            if result.fingerprint not in (None, entry.fingerprint):  # no word about this very entry (G3)
                return self._again(entry, "FINGERPRINT_MISMATCH", "head office refused other bytes than these")
            return Verdict(
                entry.entry,
                Event.REJECTED,
                code=result.code or "REJECTED",
                reason=result.error or "head office gave no reason",
            )
        return self._again(entry, result.code or "RETRY", result.error or "head office asks to send it again")

    def _offer_one_sale(self, batch: list[Entry]) -> None:
        """One sale to a baseline head office; 200 and 201 both mean that it has the sale."""
        [entry] = batch
        try:
            answer = self.ho.push_sale(baseline_sale(entry.body))
        except Unreachable as error:
            if error.sent:
                self.outbox.outcome_unknown("sales", [entry], self.clock.now_ms())
            raise
        except ContractBroken:
            # A 200 that names nothing: head office may list the sale all the same.
            if not self._is_there(entry):
                self.outbox.outcome_unknown("sales", [entry], self.clock.now_ms())
                raise
            verdict = Verdict(entry.entry, Event.DUPLICATE)
        except Refused:
            # After a lost answer a refusal may only mean "I have it already": look before quarantining.
            if not (entry.unknown_outcomes and self._is_there(entry)):
                raise
            verdict = Verdict(entry.entry, Event.DUPLICATE)
        else:
            verdict = Verdict(entry.entry, Event.CREATED, ho_id=None if answer.id is None else str(answer.id))
        self._settle("sales", {entry.entry: entry}, [verdict])

    def _is_there(self, entry: Entry) -> bool:
        try:
            return self.ho.has_sale(entry.external_id)
        except (Unreachable, Refused, ContractBroken):
            return False  # this head office can't be asked; the refusal stands

    # ---- usages ----------------------------------------------------------------------------------------------

    def _offer_usages(self, batch: list[Entry]) -> None:
        """A batch of usages; those that no error names are delivered."""
        answer = self.ho.push_usages([entry.body for entry in batch])
        errors: dict[int, wire.UsageError] = {}
        named = answer.errors or []
        for error in named:
            entry = _named_by(error, [entry for entry in batch if entry.entry not in errors], batch)
            if entry is None:
                raise Refused("head office refused a usage it does not name", status=422, ho_code="UNNAMED")
            errors[entry.entry] = error
        about_others = answer.total not in (None, len(batch), len(batch) - len(named))
        if about_others or answer.created + answer.duplicates + len(named) < len(batch):
            raise ContractBroken(
                "head office's answer does not account for every usage", hint="Tell head office. They are kept."
            )
        fresh = answer.created
        verdicts = []
        for entry in batch:
            error_of_entry = errors.get(entry.entry)
            if error_of_entry is None:
                verdicts.append(Verdict(entry.entry, Event.CREATED if fresh > 0 else Event.DUPLICATE))
                fresh -= 1
            elif error_of_entry.code == "RETRY":
                verdicts.append(self._again(entry, "RETRY", str(error_of_entry.error)))
            else:
                reason = str(error_of_entry.error or "head office gave no reason")
                verdicts.append(
                    Verdict(entry.entry, Event.REJECTED, code=error_of_entry.code or "REJECTED", reason=reason)
                )
        self._settle("usages", {entry.entry: entry for entry in batch}, verdicts)

    # ---- settling --------------------------------------------------------------------------------------------

    def _again(self, entry: Entry, code: str, reason: str) -> Verdict:
        now = self.clock.now_ms()
        wait_s = delay_s(3, self.clock.dice())
        return Verdict(entry.entry, Event.RETRY, code=code, reason=reason, next_attempt_ms=now + int(wait_s * 1000))

    def _settle(self, lane: Lane, entries: dict[int, Entry], verdicts: list[Verdict]) -> None:
        """Store verdicts, count them, and notice a storm of refusals."""
        now = self.clock.now_ms()
        self.outbox.settle(lane, verdicts, now)
        pushed = self.sales if lane == "sales" else self.usages
        for verdict in verdicts:
            name = {Event.CREATED: "created", Event.DUPLICATE: "duplicate", Event.REJECTED: "rejected"}.get(
                verdict.event, "retry"
            )
            setattr(pushed, name, getattr(pushed, name) + 1)
            if self.on_settled is not None:
                self.on_settled(lane, entries[verdict.entry], verdict)
        self._watch_for_storm(lane, verdicts, now)

    def _watch_for_storm(self, lane: Lane, verdicts: Iterable[Verdict], now: int) -> None:
        refusals: list[str | None] = []
        any_accepted = False
        for verdict in verdicts:  # those behind the last accepted one: only they are a row
            if verdict.event in (Event.CREATED, Event.DUPLICATE):
                refusals, any_accepted = [], True
            elif verdict.event is Event.REJECTED:
                refusals.append(verdict.code)
        if any_accepted:
            self.outbox.count_refusals(lane, None, 0)
        if not refusals:
            return
        state = self.outbox.lane(lane)
        code = refusals[-1]
        same = all(one == code for one in refusals)
        run = len(refusals) + (state.refusals if state.refusal_code == code else 0) if same else 1
        self.outbox.count_refusals(lane, code, run)
        if run >= STORM_REFUSALS and code is not None:
            self.outbox.put_back(lane, code, run, now)
            self.outbox.count_refusals(lane, None, 0)
            raise PoisonStorm(
                f"head office refused {run} {lane} in a row with {code}: its set-up is at fault, not the sales",
                reason="storm",
                hint=f"Tell head office about {code}. Nothing is lost; all of them are offered again.",
            )


def _named_by(error: wire.UsageError, unnamed: list[Entry], batch: list[Entry]) -> Entry | None:
    """The usage an error is about: by id, by place, or by its data alone (a baseline head office).

    Args:
        error: one error of the answer.
        unnamed: the usages that no error before it named; two lines of one bill have the same data.
        batch: the usages as they were sent.
    """
    data = error.data if isinstance(error.data, dict) else {}
    external_id = error.external_id if error.external_id is not None else data.get("external_id")
    if external_id is not None:
        return next((entry for entry in unnamed if entry.external_id == external_id), None)
    if error.index is not None:
        return batch[error.index] if 0 <= error.index < len(batch) else None
    keys = ("promotion_id", "bill_id")
    if not all(key in data for key in keys):
        return None
    return next(
        (
            entry
            for entry in unnamed
            if (body := msgspec.json.decode(entry.body)) and all(body[key] == data[key] for key in keys)
        ),
        None,
    )
