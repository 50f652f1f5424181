"""One cycle: push, ask the version, pull. A failure of one step never hides the result of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.domain.backoff import RETRY_AFTER_MAX_S
from edge_agent.domain.catalog import DATASETS
from edge_agent.errors import EdgeAgentError, NotSignedIn, StoreBroken, Unreachable
from edge_agent.head_office import wire
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.outbox import LANES
from edge_agent.sync.downloads import Downloads
from edge_agent.sync.push import Push, concerns_everything
from edge_agent.sync.receipts import OVER_WHEN_EQUAL, CompareReceipts
from edge_agent.sync.report import CycleReport

RETRY_AFTER_WAITED_S = 10.0
LONG_OUTAGE_MS = 600_000  # after a longer one the devices of a chain come back one after another
OFFERED_AGAIN_ROUNDS = 2
COMPARED_LATELY_MS = 60_000
LANE_NAMES = ("pull", *LANES)


@dataclass(slots=True, kw_only=True)
class Cycle(Downloads):
    """One round of syncing. What comes down is :class:`~edge_agent.sync.downloads.Downloads`.

    Args:
        circuit: whether head office can be asked at all.
        begin_life: gives the journal a new identity, with a reason.
        push_only: leave the downloads out.

    The other arguments are those of ``Downloads``.
    """

    circuit: Circuit
    begin_life: Callable[[str], None]
    push_only: bool = False
    _receipts_failed: bool = False
    _version_fails: bool = False

    def run(self) -> CycleReport:
        """Run the cycle. Errors of head office are in the report; only a broken local store raises."""
        self._facts = self.store.all_meta()
        self._recall()
        if self.asked and (told := self._told_to_wait()) is not None:
            self.report.failed("sync", told)
            return self.report
        is_first_contact = "capabilities" not in self._facts
        if self._rests() or (is_first_contact and self._pull_waits()):
            return self.report  # what wakes a loop, such as a sale, is no reason to ask a dead line again
        try:
            if self._comes_back():
                # The first contact tells what head office can do; before it nothing is pushed.
                if is_first_contact:
                    self._ask_version()
                if self._compare_receipts():
                    self._compare_all = True  # and once more when it has gone up
                self._push()
                if not self.push_only and not self._version_fails:
                    self._pull()
                elif self.ho.epoch != self._facts.get("epoch"):
                    self._ask_version()
                self._offer_again()
                self.circuit.works()
        except StoreBroken:
            raise
        except EdgeAgentError as error:
            self.report.failed(self._at, error)
            if concerns_everything(error):
                self.circuit.failed(error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
            else:
                self.outbox.lane_failed("pull", error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
        self._keep()
        return self.report

    # ---- whether head office can be asked ----------------------------------------------------------------------

    def _rests(self) -> bool:
        """Whether the next probe of a dead head office, or this device's turn after an outage, is still to come."""
        if self.asked:
            return False
        return self.circuit.state().waits(self.clock.now_ms())

    def _comes_back(self) -> bool:
        """After failures: one small request shows whether head office is back. False when it is others' turn first."""
        state = self.circuit.state()
        if not state.failures:
            return True
        try:
            self._ask_version()
        except StoreBroken:
            raise
        except EdgeAgentError as error:
            if concerns_everything(error) or "capabilities" not in self._facts:
                raise
            # It answers again, only not this question: what goes up must not wait for that.
            self.report.failed(self._at, error)
            self.outbox.lane_failed("pull", error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
            self._version_fails = True
        spread_ms = int(self.clock.dice() * self.settings.return_spread_s * 1000)
        outage_ms = self.clock.now_ms() - (state.since_ms or 0)
        if self.asked or outage_ms < LONG_OUTAGE_MS or not spread_ms:
            return True  # half open: it counts as working when this whole cycle went well
        self.circuit.works(resume_ms=self.clock.now_ms() + spread_ms)
        return False

    def _told_to_wait(self) -> Unreachable | None:
        """A ``Retry-After`` in force: waited for when short, else told. A person's "now" does not override it."""
        now = self.clock.now_ms()
        told = [self.circuit.state().retry_after_ms, *(self.outbox.lane(name).retry_after_ms for name in LANE_NAMES)]
        until = max(ms or 0 for ms in told)
        wait_s = (until - now) / 1000
        if not 0 < wait_s <= RETRY_AFTER_MAX_S:  # a longer one is a clock that was set back, not a wish
            return None
        if wait_s <= RETRY_AFTER_WAITED_S:
            self.clock.sleep(wait_s)
            return None
        return Unreachable(
            f"head office asked not to be asked again for {round(wait_s)} s",
            reason="busy",
            hint="Everything is kept and goes up by itself after that.",
        )

    # ---- up --------------------------------------------------------------------------------------------------

    def _push(self) -> None:
        self.outbox.judge_anew(self.clock.now_ms())
        push = Push(
            self.ho,
            self.outbox,
            self.clock,
            self.settings,
            asked=self.asked,
            progress=self.progress,
            on_settled=lambda lane, entry, verdict: self.on_event(
                f"{lane[:-1]} {verdict.event}", {"external_id": entry.external_id, "code": verdict.code or ""}
            ),
            on_seq_conflict=lambda: self.begin_life("head office holds other sales under this journal's numbers"),
            sales=self.report.pushed,
            usages=self.report.pushed_usages,
        )
        for lane in LANES:
            self._at = f"push {lane}"
            try:
                if push.run(lane):
                    self.report.went_well_after_all(self._at)
            except StoreBroken:
                raise
            except EdgeAgentError as error:
                if concerns_everything(error) and not self._answered_before(error):
                    raise  # a dead head office gets one probe, not one request a lane
                self.report.failed(f"push {lane}", error)
                if concerns_everything(error):
                    self.outbox.lane_failed(lane, error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
        for number, contiguous in push.heard.items():
            # Head office counts up to a lower number than it has acknowledged: it lost some (contract, section 8).
            if contiguous < self.ledger.settled_up_to(number) and not self._compared_lately(number):
                self._compare_soon()

    def _compared_lately(self, number: int) -> bool:
        lives = [life for life in self.ledger.lives() if number in life.numbers]
        now = self.clock.now_ms()
        return any(0 <= now - (life.checked_ms or 0) < COMPARED_LATELY_MS for life in lives)

    def _answered_before(self, error: EdgeAgentError) -> bool:
        """Whether head office answered since the last failure: then the fault may be this request's alone."""
        answered, self.ho.answered = self.ho.answered, False
        return answered and not isinstance(error, NotSignedIn)

    def _compare_receipts(self) -> int:
        """Compare the ledger with receipts where that is due; how many entries are offered again."""
        if wire.RECEIPTS not in self.ho.capabilities or self._receipts_failed:
            return 0
        if not self.asked and self.ledger.comparing_waits(self.clock.now_ms()):
            return 0
        comparing = CompareReceipts(
            ho=self.ho,
            ledger=self.ledger,
            clock=self.clock,
            begin_life=self.begin_life,
            epoch=self.ho.epoch,
            on_event=self.on_event,
        )
        lives = self.ledger.lives() if self._compare_all else comparing.due()
        if not lives:
            if not self.ledger.lives():  # this device has sold nothing yet: nothing can be missing
                self.ledger.over(*OVER_WHEN_EQUAL)
            return 0
        self._at = "receipts"
        try:
            offered = comparing.run(lives).offered
        except EdgeAgentError as error:
            if isinstance(error, StoreBroken) or concerns_everything(error):
                raise
            self.report.failed("receipts", error)
            self.ledger.comparing_failed(error, dice=self.clock.dice(), now_ms=self.clock.now_ms())
            self._receipts_failed = True
            return 0
        self.ledger.comparing_works()
        self._compare_all = False
        self.report.offered_again += offered
        if comparing.acknowledged_lost:
            # Acknowledged numbers are gone: so may be what our cursors stand for (contract, section 8).
            for dataset in (*DATASETS, "stock"):
                self.store.begin_snapshot(dataset, self.store.state(dataset).scope)
        return offered

    def _offer_again(self) -> None:
        """Compare once more when there was a sign, and send what head office lost, until nothing is missing."""
        for _ in range(OFFERED_AGAIN_ROUNDS):
            if not self._compare_receipts():
                return
            self._push()
            self._compare_all = True

    # ---- afterwards ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Remember what this cycle learned; an unchanged cycle writes nothing."""
        facts: dict[str, str | None] = {}
        if self.ho.download_method != self._facts.get("download_method", "GET"):
            facts["download_method"] = self.ho.download_method
        facts.update(self.ho.timekeeper.to_remember(self._facts))
        if facts:
            self.store.remember(**facts)
        if self.report.did_something:
            self.store.keep_run(self.report.as_json(), self.clock.now_ms())
