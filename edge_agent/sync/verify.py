"""Whether the catalogue is head office's: digests compared at the same cursor, and mended leaf by leaf (section 6)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from edge_agent.clock import Clock
from edge_agent.domain.catalog import Dataset, ReadRows, RefusedRow, Row
from edge_agent.domain.digest import LEAVES, MODULUS, leaf_of, scaled, version_value
from edge_agent.errors import ContractBroken, EdgeAgentError
from edge_agent.head_office import wire
from edge_agent.head_office.client import HeadOffice
from edge_agent.storage.catalog import CatalogStore, CursorMoved, PageWrite
from edge_agent.storage.leaves import Counted, Leaves
from edge_agent.sync.pull import Pull, concerns_the_line, cut_short
from edge_agent.sync.report import Drift

TRIES = 3  # how often it is pulled and compared again while head office moves on (section 6)
_ROWS_PER_REQUEST = 1_000  # the contract's usual limit, in case head office cuts here too
_ASKED_AGAIN_MAX = 32  # refused rows
_SNAPSHOT_FROM_ROWS = 20_000  # a catalogue at least so large, of which more than half the leaves differ, is pulled anew

_MISSING = "head office has it and this device does not"
_EXTRA = "this device has it and head office does not"
_STALE = "this device has another state of it than head office"


@dataclass(slots=True)
class Verified:
    """What a comparison found. ``in_sync``: None where head office could not be compared with."""

    drift: list[Drift] = field(default_factory=list)
    repaired: int = 0
    fetched: int = 0  # rows asked for to find and mend it
    in_sync: dict[str, bool | None] = field(default_factory=dict)
    errors: list[tuple[str, EdgeAgentError]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """The short form in a cycle's report."""
        return {
            "in_sync": all(self.in_sync.values()) if None not in self.in_sync.values() else None,
            "drift": len(self.drift),
            "repaired": self.repaired,
            "datasets": dict(self.in_sync),
        }


@dataclass(slots=True, kw_only=True)
class VerifyCatalogue:
    """Compares the catalogue with head office's.

    Args:
        ho: head office.
        store: the catalogue.
        clock: the clock.
        pull: how rows are read and taken over.
        catch_up: brings a dataset to where head office stands now, so that it can be compared.
        repair: put right what differs; else only list it.
        deep: look at every row here as well, so that damage shows which the kept-up digest does not know of.
        only: this row alone, by its id.
        by_rows: where digests can't be compared, fetch the whole list and compare row by row.
    """

    ho: HeadOffice
    store: CatalogStore
    clock: Clock
    pull: Pull
    catch_up: Callable[[Dataset], None]
    repair: bool
    deep: bool
    only: str | None = None
    by_rows: bool = False
    found: Verified = field(default_factory=Verified)

    def run(self, datasets: Collection[Dataset]) -> Verified:
        """Compare, and mend if asked to.

        Raises:
            EdgeAgentError: head office can't be asked, or the local store can't be used.
        """
        compare = self._baseline
        if self.pull.profile == "native":
            compare = self._native if wire.DIGEST in self.ho.capabilities else self._by_pages
        for dataset in datasets:
            try:
                self.found.in_sync[dataset] = compare(dataset)
            except EdgeAgentError as error:
                if concerns_the_line(error):
                    raise
                self.found.in_sync[dataset] = None
                self.found.errors.append((dataset, error))
        return self.found

    # ---- native ----------------------------------------------------------------------------------------------

    def _native(self, dataset: Dataset) -> bool | None:
        """Whether the dataset equals head office's, at the end; None when it would not hold still."""
        for _ in range(TRIES):
            digest = self.ho.digest(dataset)
            if not 0 < len(digest.leaves) <= LEAVES:
                raise ContractBroken(
                    f"head office's digest of {dataset} has {len(digest.leaves)} leaves", hint="Tell head office."
                )
            state = self.store.state(dataset)
            if digest.cursor == state.cursor and not state.in_snapshot and state.scope == self.pull.scope():
                try:
                    return self._compare(dataset, digest)
                except CursorMoved:
                    continue
            self.catch_up(dataset)
        # On a person's word it is compared all the same, row by row.
        return self._by_pages(dataset) if self.by_rows else None

    def _compare(self, dataset: Dataset, digest: wire.Digest) -> bool:
        wanted, damaged = self._differing(dataset, digest), set()
        if wanted or self.deep:
            # Look at the rows themselves: the sums that are kept up may be what is wrong.
            by_rows = self.store.computed_leaves(dataset)
            damaged = self._damaged(dataset)
            wanted = self._differing(dataset, digest, by_rows) | set(by_rows.differing(self.store.leaves(dataset)))
            wanted |= {leaf_of(row_id) for row_id in damaged} | self._unusable(dataset)
        if not wanted and self.only is None:
            self._mark(dataset)
            return True
        if self.only is not None:
            wanted = {leaf_of(self.only)}
        elif digest.count // len(digest.leaves) > _ROWS_PER_REQUEST and len(digest.leaves) < LEAVES:
            return self._by_pages(dataset)  # its parts are too large to be fetched one by one
        elif self.repair and len(wanted) > LEAVES // 2 and digest.count >= _SNAPSHOT_FROM_ROWS:
            before = self.store.state(dataset).changed_ms
            pulled = self.pull.dataset(dataset, snapshot=True)
            self.store.make_leaves_anew(dataset)
            self.found.fetched += pulled.upserts
            if self.store.state(dataset).changed_ms != before:
                self.found.repaired += pulled.upserts + pulled.deletes
            return self._settled(dataset, [])
        doubtful = self._mend(dataset, digest, wanted, damaged)
        drift = [one for one in self.found.drift if one.dataset == dataset]
        if doubtful:
            words = f"head office's rows of {doubtful} parts of {dataset} are not those of its own digest"
            self.found.errors.append((dataset, ContractBroken(words, hint="Tell head office.")))
            if self.repair and self.only is None:
                self.pull.dataset(dataset, snapshot=True)
                self.store.make_leaves_anew(dataset)
        if self.only is not None:
            return not doubtful and (self.repair or not drift)
        if not self.repair:
            return not drift and not self._differing(dataset, digest, self.store.computed_leaves(dataset))
        return self._settled(dataset, sorted(wanted))

    def _unusable(self, dataset: Dataset) -> set[int]:
        """The leaves of refused rows: they count in the digest, so that nothing else would ask for them again though
        head office, or this program, can do better by now."""
        found = {leaf_of(row_id) for _, row_id, _ in self.store.refused(dataset, limit=_ASKED_AGAIN_MAX)}
        return found if len(found) < _ASKED_AGAIN_MAX else set()

    def _differing(self, dataset: Dataset, digest: wire.Digest, mine: Leaves | None = None) -> set[int]:
        """The leaves, of 256, in which head office's digest is another one than ours."""
        mine = mine or self.store.leaves(dataset)
        count, values = len(digest.leaves), _values(digest)
        here = [int(text, 16) for text in scaled(mine.versions, count)]
        places = {place for place, (a, b) in enumerate(zip(here, values, strict=True)) if a != b}
        found = {leaf for leaf in range(LEAVES) if leaf * count // LEAVES in places}
        if not found and mine.count != digest.count:
            raise ContractBroken(
                f"head office counts {digest.count:,} {dataset} and its own digest says {mine.count:,}",
                hint="Tell head office.",
            )
        return found

    def _settled(self, dataset: Dataset, mended: Sequence[int]) -> bool:
        """Whether the digests are equal now; what still differs is told, and not asked for again at once (G11)."""
        digest = self.ho.digest(dataset)
        if digest.cursor != self.store.state(dataset).cursor:
            return True  # it moved on meanwhile; the next comparison sees the rest
        left = self._differing(dataset, digest)
        if left:
            same = "although their rows are the same" if set(left) <= set(mended) else ""
            self._mark(dataset, f"{len(left)} of {LEAVES} parts of the digest differ {same}".rstrip())
            return False
        self._mark(dataset)
        return True

    def _mark(self, dataset: Dataset, differs: str | None = None) -> None:
        if self.only is None:
            self.store.mark_verified(dataset, self.clock.now_ms(), differs)

    def _mend(self, dataset: Dataset, digest: wire.Digest, wanted: set[int], damaged: set[str]) -> int:
        """Compare the rows of some leaves, and mend them; how many parts of the answer can't be believed."""
        count = len(digest.leaves)
        # Only whole parts of head office's digest prove that an answer is whole.
        places = sorted({leaf * count // LEAVES for leaf in wanted})
        wanted = {leaf for leaf in range(LEAVES) if leaf * count // LEAVES in places}
        here = self.store.rows_of_leaves(dataset, wanted)
        at_once = max(1, _ROWS_PER_REQUEST // max(1, digest.count // count))
        doubtful = 0
        for start in range(0, len(places), at_once):
            part = places[start : start + at_once]
            leaves = [leaf for leaf in range(LEAVES) if leaf * count // LEAVES in part]
            doubtful += self._mend_leaves(dataset, digest, leaves, here, damaged)
        return doubtful

    def _mend_leaves(
        self,
        dataset: Dataset,
        digest: wire.Digest,
        wanted: Sequence[int],
        here: dict[str, Counted],
        damaged: set[str],
    ) -> int:
        answer = self.ho.leaves(dataset, wanted, LEAVES)
        cursor = self.store.state(dataset).cursor
        if answer.cursor != cursor:
            raise CursorMoved(f"head office's {dataset} moved on while they were compared")
        read = self.pull.reader().read(dataset, answer.rows)
        self.found.fetched += len(answer.rows)
        theirs: dict[str, Row] = {row.id: row for row in read.good}
        refused = {row.id: row for row in read.refused}
        doubtful = _contradicted(digest, wanted, [*read.good, *read.refused])
        local = {row_id: row for row_id, row in here.items() if leaf_of(row_id) in wanted}
        drift: list[Drift] = []
        wrong: set[str] = set()
        extra: list[str] = []
        for row_id in {*theirs, *refused, *local}:
            if self.only not in (None, row_id):
                continue
            if leaf_of(row_id) not in wanted:
                continue  # head office sends what was not asked for
            kind = self._kind(local.get(row_id), theirs.get(row_id), refused.get(row_id), row_id in damaged)
            # An answer that is not what the digest says, cut short perhaps, deletes nothing.
            if kind is None or (kind == "extra" and leaf_of(row_id) in doubtful):
                continue
            drift.append(_drift(dataset, row_id, kind, repaired=self.repair))
            (extra.append if kind == "extra" else wrong.add)(row_id)
        if self.repair:
            page = PageWrite(
                dataset=dataset,
                asked_cursor=cursor,
                next_cursor=cursor,
                rows=[row for row in read.good if row[0] in wrong],
                refused=[row for row in read.refused if row.id in wrong],
                deleted_ids=extra,
                synced_ms=self.clock.now_ms(),
            )
            self.store.repair(page)
            self.found.repaired += len(drift)
            self.pull.changed = self.pull.changed or bool(drift)
        self.found.drift += sorted(drift, key=lambda one: one.id)
        return len(doubtful)

    @staticmethod
    def _kind(mine: Counted | None, good: Row | None, refused: RefusedRow | None, damaged: bool) -> str | None:
        """How a row differs from head office's; None when it does not."""
        if mine is None:
            return "missing"
        if good is None:
            if refused is None:
                return "extra"
            # It can't be used; it counts with its version all the same.
            return None if mine.row_version == refused.row_version else "stale"
        if damaged or mine.body is None or mine.row_version != good.row_version:
            return "stale"
        return None if _say_the_same(mine.body, good.body) else "stale"

    def _damaged(self, dataset: Dataset) -> set[str]:
        """Rows here whose columns are not what their own bytes say."""
        reader = self.pull.reader()
        found: set[str] = set()
        for rows in self.store.every_row(dataset):
            whole = [row for row in rows if isinstance(row[-1], bytes)]
            read: ReadRows = reader.read(dataset, [msgspec.Raw(row[-1]) for row in whole])
            sound = {row[0]: row for row in read.good}
            found |= {row[0] for row in rows if sound.get(row[0]) != row}
        return found

    def _by_pages(self, dataset: Dataset) -> bool:
        """Without a digest that could be compared a snapshot is read, and compared row by row."""
        damaged, seen, drift = self._damaged(dataset), set(), []
        for page in self.pull.whole(dataset):
            theirs: dict[str, Row] = {row.id: row for row in page.good}
            refused = {row.id: row for row in page.refused}
            here = self.store.counted(dataset, [*theirs, *refused])
            self.found.fetched += len(theirs) + len(refused)
            seen |= {*theirs, *refused}
            for row_id in {*theirs, *refused}:
                kind = self._kind(here.get(row_id), theirs.get(row_id), refused.get(row_id), row_id in damaged)
                if kind is not None:
                    drift.append((row_id, kind))
        for rows in self.store.every_row(dataset):
            drift += [(row[0], "extra") for row in rows if row[0] not in seen]
        drift = sorted(one for one in drift if self.only in (None, one[0]))
        if drift and self.repair:
            self.pull.dataset(dataset, snapshot=True)
            self.found.repaired += len(drift)
        self.found.drift += [_drift(dataset, row_id, kind, repaired=self.repair) for row_id, kind in drift]
        return not drift or self.repair

    # ---- baseline --------------------------------------------------------------------------------------------

    def _baseline(self, dataset: Dataset) -> bool | None:
        """Without digests the whole list is fetched and compared row by row."""
        page = self.pull.whole_list(dataset)
        read = self.pull.reader().read(dataset, page.rows)
        self.found.fetched += len(page.rows)
        cut = cut_short(page) is not None
        damaged = self._damaged(dataset)
        theirs = {row[0]: row for row in read.good}
        refused = {row.id for row in read.refused}
        drift = []
        for row_id, body in self._bodies(dataset):
            good = theirs.pop(row_id, None)
            if good is None:
                if row_id not in refused and not cut:
                    drift.append((row_id, "extra"))
            elif row_id in damaged or not _say_the_same(body, good[-1]):
                drift.append((row_id, "stale"))
        drift += [(row_id, "missing") for row_id in theirs]
        drift = sorted(one for one in drift if self.only in (None, one[0]))
        if drift and self.repair:
            self.pull.older_too = True  # a person, or the comparison itself, says that head office's rows count
            self.pull.dataset(dataset, snapshot=True)
            self.found.repaired += len(drift)
        self.found.drift += [_drift(dataset, row_id, kind, repaired=self.repair) for row_id, kind in drift]
        if cut:
            return None
        return not drift or self.repair

    def _bodies(self, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
        for rows in self.store.every_row(dataset):
            yield from ((row[0], row[-1]) for row in rows)


def _values(digest: wire.Digest) -> list[int]:
    """The digest's leaves as numbers, however their hex digits are written.

    Raises:
        ContractBroken: they are none.
    """
    try:
        return [int(text, 16) for text in digest.leaves]
    except ValueError:
        raise ContractBroken(
            f"head office's digest of {digest.count:,} rows is not in hex digits", hint="Tell head office."
        ) from None


def _contradicted(digest: wire.Digest, wanted: Sequence[int], rows: Sequence[Row | RefusedRow]) -> set[int]:
    """The leaves of which head office sent other rows than its own digest, at the same cursor, is made of."""
    count, values = len(digest.leaves), _values(digest)
    sums: dict[int, int] = {leaf * count // LEAVES: 0 for leaf in wanted}
    for row in rows:
        place = leaf_of(row.id) * count // LEAVES
        if place in sums:
            sums[place] += version_value(row.id, row.row_version)
    wrong = {place for place, total in sums.items() if total % MODULUS != values[place]}
    return {leaf for leaf in wanted if leaf * count // LEAVES in wrong}


def _say_the_same(mine: object, theirs: bytes) -> bool:
    """Whether two rows hold the same, however their JSON is written."""
    if mine == theirs:
        return True
    if not isinstance(mine, bytes):  # damage can put anything into a column
        return False
    try:
        return bool(msgspec.json.decode(mine) == msgspec.json.decode(theirs))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def _drift(dataset: str, row_id: str, kind: str, *, repaired: bool) -> Drift:
    words = {"missing": _MISSING, "extra": _EXTRA, "stale": _STALE}[kind]
    mend = "mended" if repaired else "edge-agent verify --repair mends it"
    return Drift(dataset, row_id, kind, f"{words}: {mend}")
