"""One cycle: push, ask the version, pull. A failure of one step never hides the result of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.backoff import RETRY_AFTER_MAX_S
from edge_agent.domain.calendar import plausible_offset_ms
from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.catalog import DATASETS, Dataset
from edge_agent.domain.money import CURRENCY_EXPONENT
from edge_agent.domain.watchdog import Rung, portion, rung
from edge_agent.errors import EdgeAgentError, NotSignedIn, StoreBroken, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.circuit import Circuit
from edge_agent.storage.ledger import Ledger
from edge_agent.storage.outbox import LANES, Outbox
from edge_agent.sync.due import Due
from edge_agent.sync.places import reset_wait_ms
from edge_agent.sync.pull import Pull, concerns_the_line
from edge_agent.sync.push import Push, concerns_everything
from edge_agent.sync.receipts import OVER_WHEN_EQUAL, CompareReceipts
from edge_agent.sync.report import CycleReport, Progress, no_progress
from edge_agent.sync.stock import PullStock
from edge_agent.sync.verify import Verified, VerifyCatalogue

RETRY_AFTER_WAITED_S = 10.0
LONG_OUTAGE_MS = 600_000  # after a longer one the devices of a chain come back one after another
OFFERED_AGAIN_ROUNDS = 2
COMPARED_LATELY_MS = 60_000
WENT_BACK_MS = 3_600_000
KEPT_TOGETHER_MS = 600_000  # how long changed datasets wait for one of them that can't be had
PULLED_AT_LEAST = 50  # rows a page, however long nothing has moved
VERIFIED_AGAIN_MS = 600_000  # after a comparison that came to no end
LANE_NAMES = ("pull", *LANES)
CLOCK_DRIFT_MS = 2_000  # smaller differences are the second's rounding of HTTP dates


@dataclass(slots=True, kw_only=True)
class Cycle:
    """One round of syncing.

    Args:
        ho: head office.
        outbox: what goes up.
        store: what comes down.
        clock: the clock and the dice.
        settings: the device's settings.
        ledger: the journal as a ledger, for receipts.
        circuit: whether head office can be asked at all.
        begin_life: gives the journal a new identity, with a reason.
        journal_id: whose sales the stock figures are asked for.
        asked: a person asked: whatever the backoff says, ask now.
        full: take whole snapshots.
        accept_sweep: allow a snapshot to delete more than half of a dataset, and take held sweeps.
        push_only: leave the downloads out.
        progress: told how far each step is.
        on_event: told what happened, by name and details.
    """

    ho: HeadOffice
    outbox: Outbox
    store: CatalogStore
    clock: Clock
    settings: Settings
    ledger: Ledger
    circuit: Circuit
    begin_life: Callable[[str], None]
    journal_id: str
    asked: bool = False
    full: bool = False
    accept_sweep: bool = False
    push_only: bool = False
    progress: Progress = no_progress
    on_event: Callable[[str, dict[str, str]], None] = lambda _name, _details: None
    report: CycleReport = field(default_factory=CycleReport)
    _facts: dict[str, str] = field(default_factory=dict)
    _at: str = "version"
    _pending_facts: dict[str, str | None] = field(default_factory=dict)
    _version: wire.Version | None = None
    _version_asked: bool = False
    _receipts_failed: bool = False
    _version_fails: bool = False
    _compare_all: bool = False  # a sign that head office lost something: a new epoch, a lost cursor, a count that fell

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

    def _recall(self) -> None:
        """What the last cycles learned of head office."""
        capabilities = self._facts.get("capabilities")
        if capabilities is not None:
            self.ho.capabilities = frozenset(msgspec.json.decode(capabilities, type=list[str]))
        self.ho.download_method = self._facts.get("download_method", "GET")
        self.ho.epoch = self._facts.get("epoch")
        if "clock_offset_ms" in self._facts:
            self.ho.clock_offset_ms = plausible_offset_ms(self._facts["clock_offset_ms"])

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

    def _compare_soon(self) -> None:
        """A sign that head office lost something: compare in this cycle, or in the next one if this one does not come
        to it."""
        self._compare_all = True
        self.ledger.compare_soon()

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

    # ---- down ------------------------------------------------------------------------------------------------

    def _ask_version(self) -> None:
        """The version answer, None when nothing changed; asked once a cycle. What it says is remembered."""
        if self._version_asked:
            return
        self._at = "version"
        version, etag = self.ho.version(self._known_etag())
        self._version_asked, self._version = True, version
        self.report.in_touch = True
        if version is not None:
            self._facts_of(version)
            self._pending_facts["etag"] = etag

    def _facts_of(self, version: wire.Version) -> None:
        known_epoch, now = self._facts.get("epoch"), self.clock.now_ms()
        epoch = version.epoch or self.ho.epoch
        facts = {
            "capabilities": msgspec.json.encode(sorted(version.capabilities or ())).decode(),
            "profile": version.profile,
            **(_facts_told(version.store, version.settings) if version.profile == "native" else {}),
        }
        if known_epoch is not None and epoch is not None and epoch != known_epoch:
            # Head office was restored: cursors are void, rows are kept until a snapshot has come (section 8).
            self.on_event("head office was restored", {"epoch": epoch})
            self._compare_soon()
            self.ledger.tell("head office was restored", "from a backup; what it lost is offered again", now)
            for dataset in (*DATASETS, "stock"):
                # One that changes again and again, as between two head offices, is no reason to pull at each cycle.
                self.store.lost_place(dataset, now, reset_wait_ms)
                self.store.begin_snapshot(dataset, self.store.state(dataset).scope)
            facts["verify_due_ms"] = "0"
        self.store.remember(**facts)
        self.store.remember(epoch=epoch)
        self._facts = self.store.all_meta()

    def _pull_waits(self) -> bool:
        return not self.asked and self.outbox.lane("pull").waits(self.clock.now_ms())

    def _pull(self) -> None:
        """Bring the catalogue up to date, and note when it does not move though head office answers (G11)."""
        if self._pull_waits():
            return
        step = rung(self.outbox.lane("pull").head_since_ms, self.clock.now_ms())
        before = len(self.report.causes)
        try:
            if step >= Rung.NEW_CONNECTION:
                self.ho.reconnect()
            if step >= Rung.NEW_SIGN_IN:
                self.ho.sign_in()
            rows = self.settings.page_rows
            # A till that was off over night has stood long too: never a page for each row.
            self._pull_all(min(rows, max(portion(step, rows), PULLED_AT_LEAST)))
        except EdgeAgentError as error:
            if not isinstance(error, StoreBroken) and not concerns_everything(error):
                self._stands(error.message)
            raise
        failed = self.report.causes[before:]
        if failed:
            self.outbox.lane_failed("pull", failed[0], dice=self.clock.dice(), now_ms=self.clock.now_ms())
        else:
            self.outbox.lane_works("pull")
        self._stands(failed[0].message if failed else None)

    def _stands(self, cause: str | None) -> None:
        cursors = [self.store.state(dataset).cursor or "" for dataset in DATASETS]
        head = None if cause is None else fingerprint("\n".join(cursors).encode())[:16]
        self.outbox.note_head("pull", head, cause, self.clock.now_ms())

    def _pull_all(self, page_rows: int) -> None:
        self._ask_version()
        pull = self._a_pull(page_rows)
        due = Due(self.store, self.settings, self._facts, self.clock.now_ms(), pull)
        if not self.asked and self._facts.get("auto_sync_enabled") == "false":
            self._ask_whether_paused(pull, due)
            self.report.unchanged = True
            return
        if self._catalogue_is_due(due):
            self._pull_catalogue(pull, due)
            if pull.places.was_lost:
                self._compare_soon()
        else:
            self.report.unchanged = True
            if self._version is not None:  # the same under another ETag, or asked for in full
                self._remember_etag()
        if self._stock_is_due(pull):
            self._step("stock", lambda: self._stock(pull))
        if due.verify(self.ho.capabilities) and not self.report.errors:
            self._verify(pull, due)

    def _ask_whether_paused(self, pull: Pull, due: Due) -> None:
        """The company has paused pulls (section 7). A native head office's version tells when it no longer does; a
        baseline one tells its settings beside the promotions alone."""
        if pull.profile == "native" or not due.is_older(self._facts.get("paused_asked_ms"), self.pull_interval_s()):
            return
        self._at = "promotions"
        pull.whole_list("promotions")
        self.store.remember(paused_asked_ms=due.later(0))
        self._learn_from(pull)

    def _remember_etag(self) -> None:
        self.store.remember(etag=self._pending_facts.get("etag"), etag_ms=str(self.clock.now_ms()))

    def _known_etag(self) -> str | None:
        """The version's ETag, for some hours: an answer that was spoilt once must not be confirmed for ever."""
        passed_ms = self.clock.now_ms() - int(self._facts.get("etag_ms", "0"))
        fresh = 0 <= passed_ms < self.settings.verify_interval_s * 1000
        return self._facts.get("etag") if fresh and not self.full else None

    def _a_pull(self, page_rows: int) -> Pull:
        return Pull(
            self.ho,
            self.store,
            self.clock,
            replace(self.settings, page_rows=page_rows),
            self._facts.get("profile", "baseline"),
            self._facts.get("currency"),
            accept_sweep=self.accept_sweep,
            asked=self.asked,
            progress=self.progress,
        )

    def _catalogue_is_due(self, due: Due) -> bool:
        if self.full or self.accept_sweep or due.is_unfinished():
            return True
        if self._version is not None and self._label(self._version) != self._facts.get("version"):
            return True
        if due.held() or due.snapshots():
            return True
        if due.pull.profile != "native" and self.asked:
            return True
        # A baseline version covers promotions alone, and a page may lag behind the version that was asked before it:
        # pull on schedule whatever the version says (section 3, G10).
        return due.pull_anyway(self.pull_interval_s()) or due.day_is_new()

    def pull_interval_s(self) -> float:
        """How often to pull although nothing seems to have changed: settings first, then head office's word."""
        if self.settings.sync_interval_s:
            return self.settings.sync_interval_s
        hours = number(self._facts.get("sync_interval_hours"))
        return (6.0 if hours is None else min(max(hours, 1.0), 24.0)) * 3600

    @staticmethod
    def _label(version: wire.Version) -> str:
        """What equality of versions is decided by (contract, section 3)."""
        return msgspec.json.encode([version.version, version.last_updated, version.datasets or {}]).decode()

    def _pull_catalogue(self, pull: Pull, due: Due) -> None:
        pull.older_too = self._snapshot_is_asked_for(self._version)  # what head office says now counts
        everything = self.full or pull.older_too
        snapshots = set(DATASETS) if everything else due.snapshots()
        # A baseline head office tells the store's currency, which prices hang on, with the promotions.
        promotions_first = pull.profile == "baseline" and pull.currency is None
        datasets: Sequence[Dataset] = ("promotions", "categories", "products") if promotions_first else DATASETS
        if self.accept_sweep:
            for dataset in datasets:
                self.store.accept_sweep(dataset)
        if not snapshots and pull.go_on_from_cursors(datasets):
            done = self._pull_together(pull, due)
        else:
            done = True
            for dataset in datasets:
                wanted = dataset in snapshots
                done = self._step(dataset, partial(self._dataset, pull, dataset, snapshot=wanted)) and done
                self._learn_from(pull)
        if done:
            self.store.remember(pulled_day=due.day())
        if pull.changed:
            self.on_event("catalogue changed", {"version": str(self._version.version if self._version else "")})
        if self._version is None or not done or pull.outrun:
            return
        # The version counts as seen only when everything it stands for is applied (G5).
        version = self._version
        forced = str(version.version) if version.force_update else self._facts.get("forced_version")
        self.store.remember(
            version=self._label(version),
            forced_version=forced,
            version_number=str(version.version),
        )
        self._remember_etag()

    def _dataset(self, pull: Pull, dataset: Dataset, *, snapshot: bool) -> None:
        self.report.pulled[dataset] = pull.dataset(dataset, snapshot=snapshot)

    def _stock(self, pull: Pull) -> None:
        stock = PullStock(self.ho, self.store, self.clock, pull.settings, pull.places, pull.scope())
        self.report.pulled["stock"] = stock.run(self.journal_id, snapshot=self.full)

    def _pull_together(self, pull: Pull, due: Due) -> bool:
        """Small changes of all datasets in one transaction (G6); False when one of them did not finish."""
        self._at = "catalogue"
        datasets = self._those_that_changed(due)
        pulled, failed = pull.together(datasets, self._moved_on, self._inseparable(due))
        self.report.pulled |= {str(dataset): brought for dataset, brought in pulled.items()}
        for dataset, error in failed.items():
            self.report.failed(dataset, error)
        return not failed

    def _those_that_changed(self, due: Due) -> Sequence[Dataset]:
        """Head office tells each dataset's version; all of them when it does not, or when the schedule asks."""
        if self.asked or due.pull_anyway(self.pull_interval_s()) or due.day_is_new() or self._version is None:
            return DATASETS
        told = _datasets_of(self._version)
        return _that_differ(told, due.known_datasets()) or DATASETS

    def _inseparable(self, due: Due) -> Collection[Dataset]:
        """The datasets that changed together: while one of them stumbles the others wait for it, so that no price is
        there without its promotion (G6); but not for long, and not when a person asks."""
        since = self.outbox.lane("pull").failing_since_ms
        stands_long = since is not None and not 0 <= self.clock.now_ms() - since < KEPT_TOGETHER_MS
        if self.asked or stands_long or self._version is None:
            return ()
        return _that_differ(_datasets_of(self._version), due.known_datasets())

    def _moved_on(self) -> Collection[Dataset]:
        """Which datasets changed at head office while they were read: asked once more, so that what was changed
        together there is applied together here (G6)."""
        before = self._version
        known = self._pending_facts.get("etag") if before is not None else self._facts.get("etag")
        try:
            version, etag = self.ho.version(known)
        except StoreBroken:
            raise
        except EdgeAgentError:
            return ()  # what was read is sound; the next cycle brings the rest
        if version is None:
            return ()
        told = self._label(before) if before is not None else self._facts.get("version")
        self._version = version
        self._facts_of(version)
        self._pending_facts["etag"] = etag
        if self._label(version) == told:
            return ()
        # Unless head office tells which, all are asked.
        return _that_differ(_datasets_of(version), {} if before is None else _datasets_of(before)) or DATASETS

    # ---- whether the catalogue is head office's ------------------------------------------------------------------

    def compare_catalogue(self, datasets: Collection[Dataset], *, repair: bool, only: str | None) -> Verified:
        """Compare the catalogue with head office's now, every row here included.

        Args:
            datasets: which.
            repair: put right what differs; else only list it.
            only: this row alone, by its id.

        Raises:
            EdgeAgentError: head office can't be asked, or the local store can't be used.
        """
        self._facts = self.store.all_meta()
        self._recall()
        self.full = True  # the version answer itself is wanted, not that it is the same
        self._ask_version()
        pull = self._a_pull(self.settings.page_rows)
        found = self._comparison(pull, repair=repair, deep=True, only=only).run(datasets)
        self._tell_what_was_mended(found)
        if pull.changed:
            self.on_event("catalogue changed", {"version": self._facts.get("version_number", "")})
        return found

    def _comparison(self, pull: Pull, *, repair: bool, deep: bool, only: str | None = None) -> VerifyCatalogue:
        return VerifyCatalogue(
            ho=self.ho,
            store=self.store,
            clock=self.clock,
            pull=pull,
            catch_up=partial(self._catch_up, pull),
            repair=repair,
            deep=deep,
            only=only,
        )

    def _catch_up(self, pull: Pull, dataset: Dataset) -> None:
        """Bring a dataset to where head office stands, and with it what changed together with it (G6)."""
        if not pull.go_on_from_cursors(DATASETS):
            pull.dataset(dataset)
            return
        _, failed = pull.together(DATASETS, self._moved_on)
        if dataset in failed:
            raise failed[dataset]

    def _verify(self, pull: Pull, due: Due) -> None:
        """Compare digests, and mend leaf by leaf what differs (contract, section 6)."""
        self._at = "verify"
        deep = due.look_at_every_row()
        try:
            found = self._comparison(pull, repair=True, deep=deep).run(DATASETS)
        except EdgeAgentError as error:
            if concerns_the_line(error):
                raise
            self.report.failed("verify", error)
            self.store.remember(verify_due_ms=due.later(VERIFIED_AGAIN_MS))
            return
        self.report.verified = found.as_json()
        for dataset, cause in found.errors:
            self.report.failed(f"verify {dataset}", cause)
        postponed = None in found.in_sync.values()
        wait_ms = VERIFIED_AGAIN_MS if postponed else self.settings.verify_interval_s * 1000
        facts: dict[str, str | None] = {"verify_due_ms": due.later(wait_ms)}
        if not postponed and (deep or "every_row_ms" not in self._facts):
            facts["every_row_ms"] = due.later(0)
        self.store.remember(**facts)
        self._tell_what_was_mended(found)

    def _tell_what_was_mended(self, found: Verified) -> None:
        if found.repaired:
            rows = "1 row" if found.repaired == 1 else f"{found.repaired:,} rows"
            detail = f"{rows} differed from head office's and came anew"
            self.ledger.tell("catalogue mended", detail, self.clock.now_ms())
            self.on_event("catalogue mended", {"rows": str(found.repaired)})

    def _learn_from(self, pull: Pull) -> None:
        """What a baseline head office tells of the store and its settings beside the promotions."""
        if pull.store_told is not None or pull.settings_told is not None:
            self.store.remember(**_facts_told(pull.store_told, pull.settings_told))
            self._facts = self.store.all_meta()
            pull.currency = self._facts.get("currency")

    def _snapshot_is_asked_for(self, version: wire.Version | None) -> bool:
        if version is None:
            return False
        if version.force_update and self._facts.get("forced_version") != str(version.version):
            return True
        told, known = number(version.version or 0), number(self._facts.get("version_number"))
        if told is None or known is None or told >= known:
            return False
        # One that goes back again and again, as behind a copy that lags, is answered once an hour.
        now = self.clock.now_ms()
        if 0 <= now - int(self._facts.get("went_back_ms", "0")) < WENT_BACK_MS:
            return False
        self.store.remember(went_back_ms=str(now))
        self.on_event("version went back", {"version": str(version.version)})
        self._compare_soon()
        detail = f"from {self._facts.get('version_number')} to {version.version}; a snapshot answers it"
        self.ledger.tell("head office's version went back", detail, now)
        return True

    def _step(self, name: str, work: Callable[[], None]) -> bool:
        """Do one step of a pull; False when it did not finish. A broken route keeps no other one away."""
        self._at = name
        try:
            work()
        except EdgeAgentError as error:
            if concerns_the_line(error):
                raise
            self.report.failed(name, error)
            return False
        return True

    def _stock_is_due(self, pull: Pull) -> bool:
        if wire.STOCK not in self.ho.capabilities:
            return False
        state = self.store.state("stock")
        if self.full or state.cursor is None or state.in_snapshot or not self.report.unchanged:
            return True
        if self.report.pushed.created or self.report.pushed.duplicate or self.report.pushed.rejected:
            return True
        if state.scope != f"{pull.scope()}#{self.journal_id}":
            return True
        age_ms = self.clock.now_ms() - (state.synced_ms or 0)
        return not 0 <= age_ms < self.settings.stock_interval_s * 1000

    # ---- afterwards ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Remember what this cycle learned; an unchanged cycle writes nothing."""
        facts: dict[str, str | None] = {}
        if self.ho.download_method != self._facts.get("download_method", "GET"):
            facts["download_method"] = self.ho.download_method
        offset = self.ho.clock_offset_ms
        known = plausible_offset_ms(self._facts.get("clock_offset_ms"))
        if offset is not None and abs(offset - known) > CLOCK_DRIFT_MS:
            facts["clock_offset_ms"] = str(offset if abs(offset) > CLOCK_DRIFT_MS else 0)
        if facts:
            self.store.remember(**facts)
        if self.report.did_something:
            self.store.keep_run(self.report.as_json(), self.clock.now_ms())


def _facts_told(store: wire.Store | None, settings: wire.SyncSettings | None) -> dict[str, str]:
    """What head office tells of the store and of syncing, as facts to remember."""
    store, settings = store or wire.Store(), settings or wire.SyncSettings()
    facts = {
        "store_name": store.name,
        "store_code": store.code,
        "timezone": store.timezone or settings.timezone,
        "day_start": store.day_start,
        "currency": _known_currency(store.currency),
        "auto_sync_enabled": "false" if settings.auto_sync_enabled is False else "true",
        "sync_interval_hours": f"{settings.sync_interval_hours or 6:g}",
        # What decides which promotions head office sends, for those who ask why one is not here.
        "sync_strategy": settings.sync_strategy,
        "future_days": _text(settings.future_days),
        "past_days": _text(settings.past_days),
        "include_inactive": _text(settings.include_inactive),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _text(value: bool | int | None) -> str | None:
    return None if value is None else str(value).lower()


def number(value: object) -> float | None:
    """A number from what head office said, or from what is remembered of it; None when it is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _datasets_of(version: wire.Version) -> dict[str, object]:
    return dict(msgspec.to_builtins(version.datasets or {}))


def _that_differ(told: Mapping[str, object], known: Mapping[str, object]) -> list[Dataset]:
    """The datasets whose version is another one; all that are not told of both times."""
    return [dataset for dataset in DATASETS if told.get(dataset) is None or told.get(dataset) != known.get(dataset)]


def _known_currency(code: str | None) -> str | None:
    """A currency the till can count in; an unknown code must not stop a store that has another in its settings."""
    upper = (code or "").strip().upper()
    return upper if upper in CURRENCY_EXPONENT else None
