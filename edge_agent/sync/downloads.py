"""What comes down in a cycle: the version, what of the catalogue is due, and whether it is head office's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.canonical import fingerprint
from edge_agent.domain.catalog import DATASETS, Dataset
from edge_agent.domain.watchdog import Rung, portion, rung
from edge_agent.errors import EdgeAgentError, StoreBroken
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.settings import Settings
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.ledger import Ledger
from edge_agent.storage.outbox import Outbox
from edge_agent.sync.due import POSTPONED_MAX, Due
from edge_agent.sync.facts import facts_told, number
from edge_agent.sync.places import another_face
from edge_agent.sync.pull import Pull, concerns_the_line
from edge_agent.sync.push import concerns_everything
from edge_agent.sync.report import CycleReport, Progress, no_progress
from edge_agent.sync.stock import PullStock
from edge_agent.sync.verify import Verified, VerifyCatalogue

WENT_BACK_MS = 3_600_000
SIGNED_IN_MS = 3_600_000
KEPT_TOGETHER_MS = 600_000  # how long changed datasets wait for one of them that can't be had
PULLED_AT_LEAST = 50  # rows a page, however long nothing has moved
NEVER_STANDS = "head office's digest never stands where this device does; whole lists are taken instead"
VERIFIED_AGAIN_MS = 600_000  # after a comparison that came to no end


@dataclass(slots=True, kw_only=True)
class Downloads:
    """The part of a cycle that brings the catalogue.

    Args:
        ho: head office.
        outbox: what goes up, and when each lane may ask again.
        store: what comes down.
        clock: the clock and the dice.
        settings: the device's settings.
        ledger: the journal as a ledger.
        journal_id: whose sales the stock figures are asked for.
        asked: a person asked: whatever the backoff says, ask now.
        full: take whole snapshots.
        accept_sweep: allow a snapshot to delete more than half of a dataset, and take held sweeps.
        progress: told how far each step is.
        on_event: told what happened, by name and details.
    """

    ho: HeadOffice
    outbox: Outbox
    store: CatalogStore
    clock: Clock
    settings: Settings
    ledger: Ledger
    journal_id: str
    asked: bool = False
    full: bool = False
    accept_sweep: bool = False
    progress: Progress = no_progress
    on_event: Callable[[str, dict[str, str]], None] = lambda _name, _details: None
    report: CycleReport = field(default_factory=CycleReport)
    _facts: dict[str, str] = field(default_factory=dict)
    _at: str = "version"
    _pending_facts: dict[str, str | None] = field(default_factory=dict)
    _version: wire.Version | None = None
    _version_asked: bool = False
    _compare_all: bool = False  # a sign that head office lost something: a new epoch, a lost cursor, a count that fell

    def _compare_soon(self) -> None:
        """A sign that head office lost something: compare in this cycle, or in the next one if this one does not come
        to it."""
        self._compare_all = True
        self.ledger.compare_soon()

    def _recall(self) -> None:
        """What the last cycles learned of head office."""
        capabilities = self._facts.get("capabilities")
        if capabilities is not None:
            self.ho.capabilities = frozenset(msgspec.json.decode(capabilities, type=list[str]))
        self.ho.download_method = self._facts.get("download_method", "GET")
        self.ho.epoch = self._facts.get("epoch")
        self.ho.timekeeper.recall(self._facts)

    def _ask_version(self) -> None:
        """The version answer, None when nothing changed; asked once a cycle. What it says is remembered."""
        if self._version_asked:
            return
        self._at = "version"
        version, etag = self.ho.version(self._known_etag())
        if version is None and self.ho.epoch not in (None, self._facts.get("epoch")):
            version, etag = self.ho.version(None)  # a new epoch may come with a version that is the same again
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
            **(facts_told(version.store, version.settings) if version.profile == "native" else {}),
        }
        if known_epoch is not None and epoch is not None and epoch != known_epoch:
            # Head office was restored: cursors are void, rows are kept until a snapshot has come (section 8).
            self.on_event("head office was restored", {"epoch": epoch})
            self._compare_soon()
            self.ledger.tell("head office was restored", "from a backup; what it lost is offered again", now)
            for dataset in (*DATASETS, "stock"):
                self.store.begin_snapshot(dataset, self.store.state(dataset).scope)
            facts["verify_due_ms"] = "0"
        if "verify_due_ms" in facts or self._facts.get("profile", version.profile) != version.profile:
            # One that changes again and again, as between two head offices, is no reason to pull at each cycle.
            facts |= another_face(self._facts, now)
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
            if step >= Rung.NEW_SIGN_IN and self._may_sign_in():
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

    def _may_sign_in(self) -> bool:
        """A stalled pull is no reason to sign in anew at every cycle: once an hour."""
        now = self.clock.now_ms()
        if 0 <= now - int(self._facts.get("signed_in_ms", "0")) < SIGNED_IN_MS:
            return False
        self.store.remember(signed_in_ms=str(now))
        return True

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
        may_fetch = self._may_fetch_now(due)
        if not may_fetch:
            self.report.unchanged = True
        elif self._catalogue_is_due(due):
            self._pull_catalogue(pull, due)
            if pull.places.was_lost:
                self._compare_soon()
        else:
            self.report.unchanged = True
            if self._version is not None and self._pending_facts.get("etag") is not None:
                self._remember_etag()  # the same under another ETag, or asked for in full
        if self._stock_is_due(pull):
            self._step("stock", lambda: self._stock(pull))
        if may_fetch and due.verify(self.ho.capabilities) and not self.report.errors:
            self._verify(pull, due)

    def _may_fetch_now(self, due: Due) -> bool:
        """Whether head office wants the catalogue fetched at this time of day: it can let it wait, and never a person,
        its own order for a snapshot, or a device that has nothing yet."""
        forced = self._version is not None and self._is_forced(self._version)
        return self.asked or self.full or forced or due.is_open()

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
        if self._version is not None and (
            self._label(self._version) != self._facts.get("version") or self._is_forced(self._version)
        ):
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
        if self._snapshot_is_asked_for(self._version):
            self._begin_snapshots(pull)
        pull.older_too = "older_too" in self._facts  # what head office says now counts
        snapshots = set(DATASETS) if self.full else due.snapshots()
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
            self.store.remember(pulled_day=due.day(), older_too=None)
        if pull.changed:
            self.on_event("catalogue changed", {"version": str(self._version.version if self._version else "")})
        if self._version is None or not done or pull.outrun:
            return
        # The version counts as seen only when everything it stands for is applied (G5).
        version = self._version
        self.store.remember(version=self._label(version), version_number=str(version.version))
        self._remember_etag()

    def _begin_snapshots(self, pull: Pull) -> None:
        """Begin them all, and remember that: over a poor line they go on from cycle to cycle, not anew in each."""
        for dataset in DATASETS:
            self.store.begin_snapshot(dataset, pull.scope())
        version = self._version
        forced = str(version.version) if version is not None and version.force_update else None
        self.store.remember(older_too="1", forced_version=forced or self._facts.get("forced_version"))
        self._facts = self.store.all_meta()

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
        found = self._comparison(pull, repair=repair, deep=True, only=only, by_rows=True).run(datasets)
        self._tell_what_was_mended(found)
        if pull.changed:
            self.on_event("catalogue changed", {"version": self._facts.get("version_number", "")})
        return found

    def _comparison(
        self, pull: Pull, *, repair: bool, deep: bool, only: str | None = None, by_rows: bool = False
    ) -> VerifyCatalogue:
        return VerifyCatalogue(
            ho=self.ho,
            store=self.store,
            clock=self.clock,
            pull=pull,
            catch_up=partial(self._catch_up, pull),
            repair=repair,
            deep=deep,
            only=only,
            by_rows=by_rows,
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
        interval_ms = self.settings.verify_interval_s * 1000
        times = due.postponed() + 1 if postponed else 0
        wait_ms = min(VERIFIED_AGAIN_MS * 2 ** min(times - 1, 20), interval_ms) if postponed else interval_ms
        disagrees = int(self._facts.get("verify_disagrees", "0")) + 1 if False in found.in_sync.values() else 0
        if disagrees > 1:  # what did not help is tried again later and later
            wait_ms = interval_ms * 2 ** min(disagrees - 1, 2)
        facts: dict[str, str | None] = {
            "verify_due_ms": due.later(int(wait_ms)),
            "verify_postponed": str(times) if times else None,
            "verify_disagrees": str(disagrees) if disagrees else None,
        }
        if times >= POSTPONED_MAX:
            for dataset in (name for name, in_sync in found.in_sync.items() if in_sync is None):
                self.store.mark_verified(dataset, 0, NEVER_STANDS)
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
            self.store.remember(**facts_told(pull.store_told, pull.settings_told))
            self._facts = self.store.all_meta()
            pull.currency = self._facts.get("currency")

    def _snapshot_is_asked_for(self, version: wire.Version | None) -> bool:
        if version is None:
            return False
        if self._is_forced(version):
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

    def _is_forced(self, version: wire.Version) -> bool:
        """Whether head office asks for a snapshot that it has not had begun yet: once per distinct version."""
        return version.force_update and self._facts.get("forced_version") != str(version.version)

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


def _datasets_of(version: wire.Version) -> dict[str, object]:
    return dict(msgspec.to_builtins(version.datasets or {}))


def _that_differ(told: Mapping[str, object], known: Mapping[str, object]) -> list[Dataset]:
    """The datasets whose version is another one; all that are not told of both times."""
    return [dataset for dataset in DATASETS if told.get(dataset) is None or told.get(dataset) != known.get(dataset)]
