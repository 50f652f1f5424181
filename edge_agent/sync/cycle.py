"""One cycle: push, ask the version, pull. A failure of one step never hides the result of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.backoff import RETRY_AFTER_MAX_S
from edge_agent.domain.calendar import plausible_offset_ms
from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.catalog import DATASETS
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
from edge_agent.sync.pull import Pull
from edge_agent.sync.push import Push, concerns_everything
from edge_agent.sync.receipts import OVER_WHEN_EQUAL, CompareReceipts
from edge_agent.sync.report import CycleReport, Progress, no_progress

RETRY_AFTER_WAITED_S = 10.0
LONG_OUTAGE_MS = 600_000  # after a longer one the devices of a chain come back one after another
OFFERED_AGAIN_ROUNDS = 2
COMPARED_LATELY_MS = 60_000
HELD_ASKED_AGAIN_MS = 600_000
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
        version, etag = self.ho.version(None if self.full else self._facts.get("etag"))
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
                self.store.begin_snapshot(dataset, self.store.state(dataset).scope)
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
            self._pull_all(portion(step, self.settings.page_rows))
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
        version = self._version
        if not self.asked and self._facts.get("auto_sync_enabled") == "false":
            # The company has paused pulls (section 7). Only the version tells when it no longer does.
            self.report.unchanged = True
            return
        pull = Pull(
            self.ho,
            self.store,
            self.clock,
            replace(self.settings, page_rows=page_rows),
            self._facts.get("profile", "baseline"),
            self._facts.get("currency"),
            accept_sweep=self.accept_sweep,
            progress=self.progress,
        )
        if self._catalogue_is_due(version, pull):
            self._pull_catalogue(version, pull)
            if pull.lost_place:
                self._compare_soon()
        else:
            self.report.unchanged = True
        if self._stock_is_due(pull):
            self._step("stock", pull)

    def _catalogue_is_due(self, version: wire.Version | None, pull: Pull) -> bool:
        states = [self.store.state(dataset) for dataset in DATASETS]
        # A list that head office cuts short is never finished: it is asked for on schedule, like the others.
        unfinished = any(
            s.scope != pull.scope() or ((s.cursor is None or s.in_snapshot) and not s.incomplete) for s in states
        )
        if self.full or self.accept_sweep or unfinished:
            return True
        if version is not None and self._label(version) != self._facts.get("version"):
            return True
        if pull.profile == "native":
            # A sweep that is held waits for head office's digest, which perhaps could not be had then.
            if any(s.held_rows and self._is_older(s.synced_ms, HELD_ASKED_AGAIN_MS) for s in states):
                return True
        elif self.asked:
            return True
        # A baseline version covers promotions alone, and a page may lag behind the version that was asked before it:
        # pull on schedule whatever the version says (section 3, G10).
        oldest = min((s.synced_ms or 0) for s in states)
        return self._is_older(oldest, int(self.pull_interval_s() * 1000))

    def _is_older(self, moment_ms: int | None, span_ms: int) -> bool:
        """Whether a moment lies further back than a span, or in the future, as after a clock that was set back."""
        return not 0 <= self.clock.now_ms() - (moment_ms or 0) < span_ms

    def pull_interval_s(self) -> float:
        """How often to pull although nothing seems to have changed: settings first, then head office's word."""
        if self.settings.sync_interval_s:
            return self.settings.sync_interval_s
        return float(self._facts.get("sync_interval_hours", "6")) * 3600

    @staticmethod
    def _label(version: wire.Version) -> str:
        """What equality of versions is decided by (contract, section 3)."""
        return msgspec.json.encode([version.version, version.last_updated, version.datasets or {}]).decode()

    def _pull_catalogue(self, version: wire.Version | None, pull: Pull) -> None:
        snapshot = self.full or self._snapshot_is_asked_for(version)
        done = True
        # A baseline head office tells the store's currency, which prices hang on, with the promotions.
        promotions_first = pull.profile == "baseline" and pull.currency is None
        for dataset in ("promotions", "categories", "products") if promotions_first else DATASETS:
            if self.accept_sweep:
                self.store.accept_sweep(dataset)
            done = self._step(dataset, pull, snapshot=snapshot) and done
            self._learn_from(pull)
        if version is None or not done:
            return
        # The version counts as seen only when everything it stands for is applied (G5).
        forced = str(version.version) if version.force_update else self._facts.get("forced_version")
        self.store.remember(
            version=self._label(version),
            forced_version=forced,
            version_number=str(version.version),
            etag=self._pending_facts.get("etag"),
        )
        if any(p.upserts or p.deletes for name, p in self.report.pulled.items() if name != "stock"):
            self.on_event("catalogue changed", {"version": str(version.version)})

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
        try:
            went_back = float(version.version or 0) < float(self._facts.get("version_number", "-inf"))
        except ValueError:
            return False
        if went_back:
            self.on_event("version went back", {"version": str(version.version)})
            self._compare_soon()
            detail = f"from {self._facts.get('version_number')} to {version.version}; a snapshot answers it"
            self.ledger.tell("head office's version went back", detail, self.clock.now_ms())
        return went_back

    def _step(self, dataset: str, pull: Pull, *, snapshot: bool = False) -> bool:
        """Pull one dataset; False when it did not finish."""
        self._at = dataset
        try:
            if dataset == "stock":
                self.report.pulled["stock"] = pull.stock(self.journal_id, snapshot=self.full)
            else:
                self.report.pulled[dataset] = pull.dataset(dataset, snapshot=snapshot)  # type: ignore[arg-type]
        except (Unreachable, NotSignedIn, StoreBroken):
            raise
        except EdgeAgentError as error:
            self.report.failed(dataset, error)
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
    }
    return {key: value for key, value in facts.items() if value is not None}


def _known_currency(code: str | None) -> str | None:
    """A currency the till can count in; an unknown code must not stop a store that has another in its settings."""
    upper = (code or "").strip().upper()
    return upper if upper in CURRENCY_EXPONENT else None
