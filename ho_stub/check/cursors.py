"""Cursors: a place in the feed that can be gone on from, and no other (section 4)."""

from typing import Any

from ho_stub.check.table import Finding, Group, failed, gap, judged, passed
from ho_stub.check.visit import DATASETS, Visit

OPEN_END_ROWS_MAX = 1_000
VARYING = ("sync_timestamp",)

cursors = Group("Cursors")


def _after(visit: Visit, dataset: str, cursor: str, **more: str) -> dict[str, Any]:
    return visit.get(dataset, visit.ids_of(dataset) | {"cursor": cursor} | more).object()


def _end(visit: Visit, dataset: str) -> str:
    cursor = visit.whole(dataset).cursor
    if cursor is None:
        raise LookupError(f"{dataset} end without next_cursor")
    return cursor


@cursors.check(
    "cursor.goes-on",
    "4",
    "The end of a snapshot goes on as a delta, with what changed since it began and no more",
    "A till takes whole lists for ever, or misses what was edited while it took one.",
    "Let the last page's cursor stand at the change number at which the snapshot began.",
    needs="cursor",
)
def goes_on(visit: Visit) -> Finding:
    wrong = []
    for dataset in DATASETS:
        body = _after(visit, dataset, _end(visit, dataset))
        rows = len(body[dataset])
        if body.get("snapshot") is not False:
            wrong.append(f"{dataset}: snapshot is {body.get('snapshot')!r}")
        if rows and rows >= len(visit.whole(dataset).rows) > 2:
            wrong.append(f"{dataset}: all {rows} rows again")
    return judged(wrong)


@cursors.check(
    "cursor.apart",
    "4",
    "In one answer no id is both a row and deleted, and every deleted id is an id",
    "Whether the row stays is chance.",
    "Leave out the tombstone of what is back.",
    needs="cursor",
)
def apart(visit: Visit) -> Finding:
    both = []
    for dataset in DATASETS:
        visit.whole(dataset)
        for answer in visit.line.answers:
            if answer.status == 200 and answer.path.endswith(f"/{dataset}/") and "deleted_ids" in answer.json:
                rows = {row.get("id") for row in answer.json[dataset]}
                both += [f"{dataset}: {one}" for one in answer.json["deleted_ids"] if one in rows]
    return failed("; ".join(both[:3])) if both else passed()


@cursors.check(
    "cursor.same-place",
    "4",
    "The same cursor brings the same answer, as often as it is asked",
    "An answer that was lost on its way is lost for good.",
    "Keep nothing about who asked before: the cursor says it all.",
    needs="cursor",
)
def same_place(visit: Visit) -> Finding:
    wrong = []
    for dataset in DATASETS:
        first = visit.get(dataset, visit.ids_of(dataset) | {"limit": "1"}).object()
        cursor = first.get("next_cursor")
        once, again = (_after(visit, dataset, str(cursor), limit="1") for _ in range(2))
        differ = [name for name in once if name not in VARYING and once[name] != again.get(name)]
        wrong += [f"{dataset}: {name}" for name in differ]
    return judged(wrong, of="differ")


@cursors.check(
    "cursor.unknown",
    "4",
    "A cursor that head office doesn't know is 400 INVALID_CURSOR or 410 CURSOR_EXPIRED",
    "A till goes on from a place that isn't its own, and misses what lies between.",
    "Sign cursors, or keep enough in them to know your own.",
    needs="cursor",
)
def unknown(visit: Visit) -> Finding:
    end = _end(visit, "products")
    changed = "A" if end[-1] != "A" else "B"
    middle = len(end) // 2
    altered = (end[:-1], f"{end}A", f"{end[:middle]}{'x' if end[middle] != 'x' else 'y'}{end[middle + 1 :]}")
    wrong, taken = [], []
    for text in (*altered, f"{changed}{end[1:]}", "0", "null"):
        answer = visit.get("products", visit.ids_of("products") | {"cursor": text})
        if answer.status == 200:
            taken.append(text[:24])
        elif answer.status not in (400, 410):
            wrong.append(f"{text[:24]}: {answer.status}")
    return failed(f"taken: {'; '.join(taken)}") if taken else judged(wrong)


@cursors.check(
    "cursor.own-scope",
    "4",
    "A cursor of another dataset, store or brand is 410",
    "After a till moved to another store it keeps rows of the old one, and misses some of the new one.",
    "Put the scope into the cursor, and answer 410 CURSOR_EXPIRED when it is another one.",
    needs="cursor",
)
def own_scope(visit: Visit) -> Finding:
    end = _end(visit, "categories")
    asked = {"a cursor of categories for products": ("products", visit.ids_of("products"))}
    if visit.options.brand_id:
        without = {name: value for name, value in visit.ids_of("categories").items() if name != "brand_id"}
        asked["the same cursor without the brand"] = ("categories", without)
    taken, odd = [], []
    for what, (dataset, params) in asked.items():
        answer = visit.get(dataset, params | {"cursor": end})
        if answer.status == 200:
            taken.append(what)
        elif answer.status != 410:
            odd.append(f"{what}: {answer.status}")
    return gap(f"taken: {'; '.join(taken)}") if taken else judged(odd)
