"""Offers the outbox to head office: sales in order, then usages, each settled by its own answer (G3, G7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_agent.clock import Clock
from edge_agent.domain.backoff import delay_s
from edge_agent.domain.baseline_sale import baseline_sale
from edge_agent.domain.outbox import Event
from edge_agent.domain.watchdog import Rung, portion, rung
from edge_agent.errors import ContractBroken, EdgeAgentError, NotSignedIn, Refused, StoreBroken, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.moves import ENTRIES_PER_JOURNAL
from edge_agent.storage.outbox import FIRST_ENTRY, Entry, Lane, Outbox, Verdict
from edge_agent.sync import verdicts
from edge_agent.sync.report import Progress, Pushed, no_progress

STORM_REFUSALS = 5
STORM_IN_FORCE = -1  # stands for a count of refusals: they were put back, and one other entry is tried first
LOOK_UPS_GIVEN_UP = 10
DOUBTS_MAX = 3  # so many entries that fail one after the other are no fault of theirs
_TRIES = {Rung.SMALLER_BATCHES: 20, Rung.ONE_BY_ONE: 20}  # offers in vain, before a run of small ones ends
DOUBTED = "FAILS_ALONE"  # offered by itself from then on, so that it holds nobody else back
ENVELOPE_BYTES = 512
_FAR_FUTURE_MS = 2**62
_WAIT_AGAIN = 3  # waits as after so many failures
_ACCEPTED = (Event.CREATED, Event.DUPLICATE)
_ABOUT_THE_DEVICE = ("", "FORBIDDEN", "NOT_FOUND", "COMPANY_NOT_FOUND", "BRAND_NOT_FOUND", "STORE_NOT_FOUND")

Offer = Callable[[list[Entry]], None]


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
    _isolates: bool = False  # the lane has stood for long: a batch that fails is split, and its culprit set apart
    _storms_count: bool = True  # head office has shown in this run that it takes entries
    _moved: bool = False  # head office took something in this run
    _in_vain: int = 0  # offers since it last took something
    _failures: int = 0  # of this lane in a row, before this run
    _doubts: int = 0
    _others_go: bool = False  # head office has taken others since the head of the lane first failed

    def run(self, lane: Lane) -> bool:
        """Offer everything that is due in a lane; False when the lane waits for its next attempt.

        Raises:
            EdgeAgentError: why the lane stopped. It is noted with the time of the next attempt, unless head office
                does not answer at all: that is the circuit's business.
        """
        state = self.outbox.lane(lane)
        now = self.clock.now_ms()
        if not self.asked and state.waits(now):
            return False
        step = rung(state.stands_since_ms, now)
        self._isolates = rung(state.head_since_ms, now) >= Rung.NEW_CONNECTION
        self._failures = state.failures
        self._others_go = state.head_since_ms is not None and (state.moved_ms or 0) >= state.head_since_ms
        self._storms_count, self._moved, self._doubts, self._in_vain = True, False, 0, 0
        try:
            self._climb(step)
            if state.refusals == STORM_IN_FORCE:
                self._try_another(lane)
            self._drain(lane, portion(step, self.settings.batch_count_max), tries=_TRIES.get(step))
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
            self.outbox.note_head(lane, first[0], cause, self.clock.now_ms(), moved=self._moved)
        else:  # nothing waits, or only what was recorded just now
            self.outbox.note_head(lane, None, None, self.clock.now_ms())

    def _one_by_one(self, lane: Lane) -> bool:
        return lane == "sales" and wire.SALES_BATCH not in self.ho.capabilities

    def _offer(self, lane: Lane) -> Offer:
        if lane == "usages":
            return self._offer_usages
        return self._offer_one_sale if self._one_by_one(lane) else self._offer_sales

    def _drain(self, lane: Lane, count_max: int, *, tries: int | None) -> None:
        one_by_one = self._one_by_one(lane)
        done, after = 0, FIRST_ENTRY
        total = None
        while True:
            due = self.outbox.due(
                lane,
                _FAR_FUTURE_MS if self.asked else self.clock.now_ms(),
                after=after,
                count_max=count_max,
                bytes_max=self.settings.batch_bytes_max - ENVELOPE_BYTES,
                sales_only=one_by_one,
            )
            if not due:
                return
            if total is None:
                counts = self.outbox.counts()
                total = counts.pending_sales if lane == "sales" else counts.pending_usages
            after = due[-1].entry
            for part in _parts(due, one_by_one=one_by_one):
                if tries is not None and self._in_vain >= tries:
                    return  # so many offers that nothing came of: the rest waits for the next attempt
                self._in_vain += 1
                self._offer_and_split(lane, part)
                done += len(part)
                self.progress(lane, done, max(total, done))

    def _offer_and_split(self, lane: Lane, batch: list[Entry]) -> None:
        """Offer a batch; one refused as a whole is halved until the culprit stands alone (contract, section 5)."""
        waiting, offer = [batch], self._offer(lane)
        while waiting:
            part = waiting.pop()
            try:
                offer(part)
                self._doubts = 0
            except (Refused, Unreachable, ContractBroken) as error:
                if self._is_to_be_split(lane, error, part):
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]  # the earlier half comes off the stack first
                elif isinstance(error, Refused):
                    self._settle_refused(lane, part[0], error)
                else:
                    self._doubt(lane, part, error)

    def _is_to_be_split(self, lane: Lane, error: EdgeAgentError, part: Sequence[Entry]) -> bool:
        """Whether a part that failed as a whole is offered again in halves.

        Raises:
            Unreachable: the refusal is about this device, not about its sales: pause the lane.
        """
        if not isinstance(error, Refused):
            return len(part) > 1 and self._isolates and _may_be_one(error)
        about_one = len(part) == 1 and self._one_by_one(lane) and error.status in (403, 404, 409)
        if error.status in (400, 413, 422) or about_one:
            return len(part) > 1
        raise Unreachable(
            f"head office refuses uploads: {error.message}",
            reason="forbidden",
            hint=error.hint or "Ask head office to allow this device. Everything is kept.",
        ) from error

    def _settle_refused(self, lane: Lane, entry: Entry, refusal: Refused) -> None:
        if refusal.ho_code == verdicts.UNNAMED:
            verdict = self._again(entry, verdicts.UNNAMED, refusal.message)
        elif refusal.status == 413:  # of one sale alone that is no word about it: some proxy is too narrow
            verdict = self._again(entry, "PAYLOAD_TOO_LARGE", refusal.message)
        else:
            code = refusal.ho_code or f"HTTP_{refusal.status}"
            verdict = Verdict(entry.entry, Event.REJECTED, code=code, reason=refusal.message)
        self._settle(lane, [entry], [verdict])

    def _doubt(self, lane: Lane, part: Sequence[Entry], error: Unreachable | ContractBroken) -> None:
        """One entry fails where head office spoke: set it apart for a while, so that it holds nobody back (G7).

        Raises:
            EdgeAgentError: the fault is not one entry's.
        """
        [entry, *others] = part
        not_found = self._one_by_one(lane) and isinstance(error, Unreachable) and error.reason in ("route", "forbidden")
        apart = self._isolates or entry.code == DOUBTED or not_found
        others_go = self._moved or self._others_go
        self._doubts += not (not_found and others_go)
        if others or not apart or not _may_be_one(error) or self._doubts >= DOUBTS_MAX:
            raise error
        if not_found and others_go and entry.code == DOUBTED:
            # Not found again, while others were taken: with such a head office that is its word about this sale.
            refused = Verdict(entry.entry, Event.REJECTED, code="NOT_FOUND", reason=error.message)
            self._settle(lane, [entry], [refused])
            return
        self._settle(lane, [entry], [self._again(entry, DOUBTED, error.message, after=_WAIT_AGAIN + entry.attempts)])

    # ---- sales -----------------------------------------------------------------------------------------------

    def _offer_sales(self, batch: list[Entry]) -> None:
        """A batch to a native head office; an entry without a verdict stays pending (G3)."""
        answer = self.ho.push_sales([entry.body for entry in batch])
        found = verdicts.of_sales(batch, answer, self._again)
        if answer.contiguous_seq is not None:
            self.heard[batch[-1].entry // ENTRIES_PER_JOURNAL] = answer.contiguous_seq
        self._settle("sales", batch, found)
        if any("SEQ_CONFLICT" in (verdict.warnings or "") for verdict in found):
            self.on_seq_conflict()  # another journal has used our numbers: take a new life (section 5)

    def _offer_one_sale(self, batch: list[Entry]) -> None:
        """One sale to a baseline head office; 200 and 201 both mean that it has the sale."""
        [entry] = batch
        if entry.unknown_outcomes and self._is_there(entry):  # such a head office may count it twice (G4)
            self._settle("sales", [entry], [Verdict(entry.entry, Event.DUPLICATE)])
            return
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
        except Refused as refusal:
            # A refusal may only mean "I have it already", also where this device was killed before it could note a
            # lost answer: look before quarantining.
            if not self._is_there(entry):
                if refusal.status in (403, 404) and refusal.ho_code in _ABOUT_THE_DEVICE:
                    raise Unreachable(refusal.message, reason="forbidden", may_be_one=True) from refusal
                raise
            verdict = Verdict(entry.entry, Event.DUPLICATE)
        else:
            verdict = Verdict(entry.entry, Event.CREATED, ho_id=None if answer.id is None else str(answer.id))
        self._settle("sales", [entry], [verdict])

    def _is_there(self, entry: Entry) -> bool:
        """Whether head office lists a sale; False where it can't be asked that.

        Raises:
            Unreachable, NotSignedIn: it could not be asked now; the sale stays as it is.
        """
        try:
            return self.ho.has_sale(entry.external_id)
        except Unreachable as error:
            if error.reason in ("route", "forbidden", "redirect"):
                return False
            if self._failures >= LOOK_UPS_GIVEN_UP and not error.line_is_down:
                return False  # this route of head office is broken: it must not hold the sales for ever
            raise
        except (Refused, ContractBroken):
            return False

    # ---- usages ----------------------------------------------------------------------------------------------

    def _offer_usages(self, batch: list[Entry]) -> None:
        """A batch of usages; those that no error names are delivered."""
        answer = self.ho.push_usages([entry.body for entry in batch])
        self._settle("usages", batch, verdicts.of_usages(batch, answer, self._again))

    # ---- settling --------------------------------------------------------------------------------------------

    def _again(self, entry: Entry, code: str, reason: str, *, after: int = _WAIT_AGAIN) -> Verdict:
        wait_ms = int(delay_s(after, self.clock.dice()) * 1000)
        next_attempt_ms = self.clock.now_ms() + wait_ms
        return Verdict(entry.entry, Event.RETRY, code=code, reason=reason, next_attempt_ms=next_attempt_ms)

    def _settle(self, lane: Lane, batch: Sequence[Entry], found: list[Verdict]) -> None:
        """Store verdicts, count them, and notice a storm of refusals."""
        entries = {entry.entry: entry for entry in batch}
        now = self.clock.now_ms()
        self.outbox.settle(lane, found, now)
        if any(verdict.event in _ACCEPTED for verdict in found):
            self._moved, self._in_vain = True, 0
        pushed = self.sales if lane == "sales" else self.usages
        for verdict in found:
            name = {Event.CREATED: "created", Event.DUPLICATE: "duplicate", Event.REJECTED: "rejected"}.get(
                verdict.event, "retry"
            )
            setattr(pushed, name, getattr(pushed, name) + 1)
            if self.on_settled is not None:
                self.on_settled(lane, entries[verdict.entry], verdict)
        self._watch_for_storm(lane, [(verdict, entries[verdict.entry]) for verdict in found], now)

    def _watch_for_storm(self, lane: Lane, found: Sequence[tuple[Verdict, Entry]], now: int) -> None:
        """Five refusals in a row with one code and nothing accepted between: put them back (contract, section 5)."""
        state = self.outbox.lane(lane)
        in_force = state.refusals == STORM_IN_FORCE
        code, run = state.refusal_code, STORM_REFUSALS - 1 if in_force else state.refusals
        set_aside = 0 if in_force else run  # how many of them stand in quarantine
        storm: tuple[str, int] | None = None
        for verdict, entry in found:
            if verdict.event in _ACCEPTED:
                code, run, set_aside, storm, in_force = None, 0, 0, None, False
            elif (
                verdict.event is Event.REJECTED
                and verdict.code is not None
                and (in_force or not _is_judged_alone(entry))
            ):
                goes_on = verdict.code == code
                run, set_aside, code = run * goes_on + 1, set_aside * goes_on + 1, verdict.code
                if run >= STORM_REFUSALS and self._storms_count:
                    storm = (code, set_aside)
        if storm is None:
            self.outbox.count_refusals(lane, code, STORM_IN_FORCE if in_force and run == STORM_REFUSALS - 1 else run)
            return
        code, set_aside = storm
        self.outbox.put_back(lane, code, set_aside, now)
        self.outbox.count_refusals(lane, code, STORM_IN_FORCE)
        raise PoisonStorm(
            f"head office refused {max(set_aside, STORM_REFUSALS)} {lane} in a row with {code}: its set-up is at "
            "fault, not the sales",
            reason="storm",
            hint=f"Tell head office about {code}. Nothing is lost; all of them are offered again.",
        )

    def _try_another(self, lane: Lane) -> None:
        """After a storm: whether head office takes the entry recorded last. If so, it judged the others, one by one;
        else the storm goes on."""
        newest = self.outbox.newest(lane, sales_only=self._one_by_one(lane))
        if newest:
            self._offer_and_split(lane, newest)
        self._storms_count = self.outbox.lane(lane).refusals == STORM_IN_FORCE


def _is_judged_alone(entry: Entry) -> bool:
    """Whether a refusal of this entry says nothing of head office as a whole."""
    return entry.was_refused or entry.code == DOUBTED


def _may_be_one(error: EdgeAgentError) -> bool:
    """Whether head office itself spoke, so that one entry of what was offered may be at fault."""
    return isinstance(error, ContractBroken) or (isinstance(error, Unreachable) and error.may_be_one)


def _parts(due: list[Entry], *, one_by_one: bool) -> list[list[Entry]]:
    """How entries are offered: together, and each that fails alone behind the others, by itself."""
    apart = [[entry] for entry in due if entry.code == DOUBTED]
    others = [entry for entry in due if entry.code != DOUBTED]
    if one_by_one:
        return [[entry] for entry in others] + apart
    return [others, *apart] if others else apart
