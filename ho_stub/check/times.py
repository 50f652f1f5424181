"""Times, and what changed since one (sections 1 and 4): what a till without cursors lives by."""

import threading
from collections.abc import Iterator
from datetime import timedelta, timezone
from typing import Any

from ho_stub.check.forms import instant, is_time, moment
from ho_stub.check.lists import is_cut
from ho_stub.check.rows import TIMES, each_row
from ho_stub.check.table import Finding, Group, gap, judged, not_checked, passed
from ho_stub.check.visit import DATASETS, Visit

AHEAD_S_MAX = 1.3  # a Date is cut to its second
TICK_S, TICKS = 0.15, 9
STAMPS_MIN = 3
LONG_AGO = timedelta(days=1)

times = Group("Times")
deltas = Group("What changed since a time")


def _stamps(visit: Visit) -> list[Any]:
    """Every sync_timestamp so far, with its answer."""
    for dataset in DATASETS:
        visit.whole(dataset)
    lists = [one for one in visit.line.answers if one.status == 200 and one.path.split("/")[-2] in DATASETS]
    found = [(one, one.json.get("sync_timestamp")) for one in lists if isinstance(one.json, dict)]
    return [(one, stamp) for one, stamp in found if is_time(stamp)]


def _told(visit: Visit) -> Iterator[tuple[str, str]]:
    """Every time that head office tells, and where."""
    yield from (("sync_timestamp", stamp) for _, stamp in _stamps(visit))
    for dataset, row in each_row(visit):
        yield from ((f"{dataset}: {name}", row[name]) for name in TIMES[dataset] if is_time(row.get(name)))
    if is_time(visit.version.get("last_updated")):
        yield "last_updated", visit.version["last_updated"]


@times.check(
    "times.offset",
    "1",
    "Times have an offset",
    "A time without one means another moment in each zone: edits are missed, or come again and again.",
    "Send UTC with a Z.",
)
def offset(visit: Visit) -> Finding:
    naive = {f"{at} {text}": None for at, text in _told(visit) if getattr(moment(text), "tzinfo", None) is None}
    return judged(list(naive))


@times.check(
    "times.utc",
    "1",
    "Times are UTC, written with Z",
    "Texts of times can't be compared as texts; the agent compares moments.",
    "Send UTC with a Z.",
)
def utc(visit: Visit) -> Finding:
    local = {
        f"{at} {text}": None
        for at, text in _told(visit)
        if not text.endswith("Z") and getattr(moment(text), "tzinfo", None) is not None
    }
    return judged(list(local))


@times.check(
    "times.precision",
    "4",
    "The stamp of a list has its fraction of a second",
    "Two edits within a second look like one; what comes in the second half of it is missed, or comes twice.",
    "Keep microseconds from the database to the wire.",
)
def precision(visit: Visit) -> Finding:
    stamps = [stamp for _, stamp in _stamps(visit)]
    if len(stamps) < STAMPS_MIN:
        return not_checked("there are too few stamps")
    whole = [stamp for stamp in stamps if not getattr(moment(stamp), "microsecond", 1)]
    return gap(f"{whole[0]}; all {len(stamps)} alike") if len(whole) == len(stamps) else passed()


@times.check(
    "times.stamp",
    "4",
    "The stamp of a list is taken before its query",
    "An edit between query and stamp is missed, till the overlap or the next whole list brings it.",
    "Take `sync_timestamp` first, from the database's clock, and only then the rows.",
)
def stamp(visit: Visit) -> Finding:
    ahead = _ahead(visit)
    if not ahead:
        return not_checked("there is no stamp with an offset, or no Date")
    for _ in range(TICKS):
        if min(ahead) <= AHEAD_S_MAX:
            return passed()
        threading.Event().wait(TICK_S)  # servers make a Date once a second: the next one is fresher
        whole = visit.whole("categories")
        visit.get("categories", visit.ids_of("categories") | {"updated_since": str(whole.pages[0]["sync_timestamp"])})
        ahead = _ahead(visit)
    return gap(f"it lies {min(ahead):.1f} s after the answer")


def _ahead(visit: Visit) -> list[float]:
    """Seconds by which stamps lie after the Date of their answers."""
    found = []
    for answer, text in _stamps(visit):
        at, is_naive = instant(text), getattr(moment(text), "tzinfo", None) is None
        if answer.date is not None and at is not None and not is_naive:
            found.append((at - answer.date).total_seconds())
    return found


@times.check(
    "times.rows",
    "4",
    "No row was edited after its list was made",
    "Such a row comes with each delta until its time has come, and no later edit of it counts till then.",
    "Set `updated_at` by the database's clock, never by an editor's.",
)
def not_ahead(visit: Visit) -> Finding:
    wrong = []
    for dataset in DATASETS:
        whole = visit.whole(dataset)
        made = instant(whole.pages[-1].get("sync_timestamp"))
        for row in whole.rows:
            edited = instant(row.get("updated_at"))
            if made is not None and edited is not None and edited > made + timedelta(seconds=AHEAD_S_MAX):
                wrong.append(f"{dataset} {row.get('id')}: {row['updated_at']}")
    return judged(wrong)


def _ask(visit: Visit, dataset: str, since: str) -> dict[str, Any]:
    return visit.get(dataset, visit.ids_of(dataset) | {"updated_since": since}).object()


def _newest(visit: Visit, dataset: str) -> dict[str, Any] | None:
    dated = [(at, row) for row in visit.whole(dataset).rows if (at := instant(row.get("updated_at")))]
    return max(dated, key=lambda pair: pair[0])[1] if dated else None


@deltas.check(
    "deltas.stamp",
    "4",
    "The stamp of a list is taken back as it is, and brings what changed since",
    "Each pull is a whole list.",
    "Read `updated_since` with all its digits and its offset, and send rows with `updated_at` from then on.",
)
def by_stamp(visit: Visit) -> Finding:
    wrong, asked = [], 0
    for dataset in DATASETS:
        whole = visit.whole(dataset)
        since = whole.pages[0].get("sync_timestamp")
        if not is_time(since):
            continue
        asked += 1
        body = _ask(visit, dataset, str(since))
        if len(whole.rows) > 1 and len(body[dataset]) >= len(whole.rows):
            wrong.append(f"{dataset}: all {len(whole.rows)} rows again")
    return judged(wrong) if asked else not_checked("there is no stamp")


@deltas.check(
    "deltas.inclusive",
    "4",
    "`updated_since` includes the moment that it names",
    "A row that was committed in the very moment of the last stamp never comes.",
    "Ask `updated_at >= value`, not `>`.",
)
def inclusive(visit: Visit) -> Finding:
    wrong, asked = [], 0
    for dataset in DATASETS:
        newest = _newest(visit, dataset)
        if newest is None:
            continue
        asked += 1
        ids = [row.get("id") for row in _ask(visit, dataset, str(newest["updated_at"]))[dataset]]
        if newest["id"] not in ids:
            wrong.append(f"{dataset}: {newest['id']} is not among {len(ids)} since {newest['updated_at']}")
    return judged(wrong) if asked else not_checked("no row has a time")


@deltas.check(
    "deltas.all",
    "4",
    "What changed since before the first edit is the whole list",
    "Lists and deltas are not made from the same rows: a till ends up with what one of them holds.",
    "Use one query for both, with one more condition for deltas.",
)
def since_ever(visit: Visit) -> Finding:
    wrong, asked = [], 0
    for dataset in DATASETS:
        whole = visit.whole(dataset)
        edited = [at for row in whole.rows if (at := instant(row.get("updated_at")))]
        if not edited or len(edited) < len(whole.rows) or is_cut(visit, whole):
            continue
        asked += 1
        since = (min(edited) - LONG_AGO).isoformat().replace("+00:00", "Z")
        ids = set(visit.pull(dataset, updated_since=since).ids)
        lists, more = set(whole.ids) - ids, ids - set(whole.ids)
        if lists or more:
            wrong.append(f"{dataset}: {len(lists)} rows are in the list alone, {len(more)} in the delta alone")
    return judged(wrong) if asked else not_checked("rows have no times, or lists are cut")


@deltas.check(
    "deltas.offset",
    "4",
    "The same moment in another offset brings the same rows",
    "Edits are missed, or whole lists come, by as many hours as the offset has.",
    "Compare moments, not texts.",
)
def other_offset(visit: Visit) -> Finding:
    newest = _newest(visit, "products") or _newest(visit, "categories")
    dataset = "products" if visit.whole("products").rows else "categories"
    at = instant((newest or {}).get("updated_at"))
    if at is None:
        return not_checked("no row has a time")
    asked = [at.isoformat().replace("+00:00", "Z"), at.astimezone(timezone(timedelta(hours=7))).isoformat()]
    first, second = ({row.get("id") for row in _ask(visit, dataset, text)[dataset]} for text in asked)
    return passed() if first == second else gap(f"{len(first)} rows with Z, {len(second)} with +07:00")


@deltas.check(
    "deltas.naive",
    "4",
    "`updated_since` without an offset is refused",
    "It is read in some zone: a client that forgets the offset misses hours of edits, and nobody notices.",
    "Answer 400 INVALID_DATE_FORMAT.",
)
def naive(visit: Visit) -> Finding:
    answer = visit.get("products", visit.ids_of("products") | {"updated_since": "2026-01-01T00:00:00"})
    return passed() if 400 <= answer.status < 500 else gap(f"it is answered {answer.status}")
