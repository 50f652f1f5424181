"""Whole lists: are they there, complete, steady, and cut into pages as asked (section 4)."""

from collections import Counter

from ho_stub.check.forms import instant, is_flag, is_list, is_time, is_whole
from ho_stub.check.table import Finding, Group, failed, gap, judged, passed
from ho_stub.check.visit import DATASETS, Visit, Whole

CURSOR_CHARACTERS_MAX = 2_048
PAGES_TRIED = 4
LIMIT_MAX = 5_000

lists = Group("Whole lists")


def _each(visit: Visit) -> list[Whole]:
    return [visit.whole(dataset) for dataset in DATASETS]


@lists.check(
    "lists.form",
    "4",
    "Categories, products and promotions answer 200 with a list of rows and `deleted_ids`",
    "What can't be read is not taken: tills go on with what they have.",
    "Answer with the contract's object.",
)
def form(visit: Visit) -> Finding:
    wrong = []
    for whole in _each(visit):
        without = [page for page in whole.pages if not is_list(page.get("deleted_ids"))]
        wrong += [f"{whole.dataset}: no list deleted_ids"] if without else []
    return judged(wrong, ", ".join(f"{len(whole.rows)} {whole.dataset}" for whole in _each(visit)))


@lists.check(
    "lists.not-empty",
    "4",
    "There are products and categories",
    "An empty list with 200 looks like everything being deleted. Tills believe it after a day at the earliest.",
    "Refuse a brand that is switched off or unknown with 403, instead of a list without rows.",
)
def not_empty(visit: Visit) -> Finding:
    empty = [whole.dataset for whole in _each(visit) if not whole.rows and whole.dataset != "promotions"]
    return judged(empty, of="no rows, with 200")


@lists.check(
    "lists.same-twice",
    "4",
    "Asked again, a list has the same rows",
    "Rows come and go with no edit: a till deletes what it needs. The agent holds large sweeps, but not small ones.",
    "Answer lists from one consistent view of the database, and never 200 for a query that was not finished.",
)
def same_twice(visit: Visit) -> Finding:
    wrong = []
    for first in _each(visit):
        second = visit.pull(first.dataset)
        came_back = set(second.ids) - set(first.ids)
        made = {str(row.get("id")): instant(row.get("updated_at")) for row in second.rows}
        stamp = instant(first.pages[0].get("sync_timestamp"))
        # A row that is older than the first list was missing from it; a younger one is new.
        old = [one for one in came_back if stamp is None or ((at := made[one]) is not None and at < stamp)]
        if old:
            wrong.append(f"{first.dataset}: {len(first.rows)} rows, then {len(second.rows)}")
            visit.replace(second)
    return judged(wrong)


@lists.check(
    "lists.total",
    "4",
    "`total` counts the rows of its answer",
    "A list that was cut on its way can't be told from a whole one.",
    "Count what is sent.",
)
def total(visit: Visit) -> Finding:
    wrong = []
    for whole in _each(visit):
        sent = [len(answer.json[whole.dataset]) for answer in whole.answers]
        told = [page.get("total") for page in whole.pages]
        wrong += [f"{whole.dataset}: {n} rows, total {t!r}" for n, t in zip(sent, told, strict=True) if n != t]
    return judged(wrong)


@lists.check(
    "lists.total-available",
    "4",
    "`total_available` is told",
    "A list that was cut can't be told from a whole one: tills sweep nothing by a list as long as its limit.",
    "Count the rows before the cut; with cursors, those still to come.",
)
def total_available(visit: Visit) -> Finding:
    told = [(whole.dataset, whole.pages[0].get("total_available")) for whole in _each(visit)]
    return judged([f"{dataset}: {count!r}" for dataset, count in told if not is_whole(count)])


@lists.check(
    "lists.complete",
    "4",
    "A whole list has as many rows as there are",
    "A row that is counted and not sent (it could not be compiled?) is missing on tills; they sweep nothing meanwhile.",
    "Mend the row, or refuse it when it is entered. Never leave a row out of a list.",
)
def complete(visit: Visit) -> Finding:
    wrong = []
    for whole in _each(visit):
        there = whole.pages[0].get("total_available")
        if is_whole(there) and len(whole.rows) < int(str(there)) and not is_cut(visit, whole):
            wrong.append(f"{whole.dataset}: {len(whole.rows)} of {there}")
    return judged(wrong)


def is_cut(visit: Visit, whole: Whole) -> bool:
    """Whether a list of promotions ends at the settings' number."""
    return whole.dataset == "promotions" and len(whole.rows) == visit.settings().get("max_promotions_per_sync")


@lists.check(
    "lists.not-cut",
    "4",
    "All promotions can be had",
    "Promotions beyond `max_promotions_per_sync` never reach a till. It says so, and deletes nothing by that list.",
    "Raise `max_promotions_per_sync`, end promotions that are over, or send the rest by cursor.",
)
def not_cut(visit: Visit) -> Finding:
    whole = visit.whole("promotions")
    there = whole.pages[0].get("total_available")
    if is_cut(visit, whole) and (not is_whole(there) or int(str(there)) > len(whole.rows)):
        return gap(f"{len(whole.rows)} of {there if is_whole(there) else 'nobody says how many'}")
    return passed(f"{len(whole.rows)} promotions")


@lists.check(
    "lists.no-id-twice",
    "4",
    "No id comes twice in a whole list",
    "Which of the two counts is chance.",
    "Let ids be unique, and page by id instead of by offset.",
)
def no_id_twice(visit: Visit) -> Finding:
    twice = [
        f"{whole.dataset}: {one}" for whole in _each(visit) for one, count in Counter(whole.ids).items() if count > 1
    ]
    return failed("; ".join(twice[:3])) if twice else passed()


@lists.check(
    "lists.own-rows",
    "2",
    "Every row is this company's, brand's and store's",
    "A till sells what isn't its own, at prices that aren't.",
    "Filter by the company of the account, and by brand and store.",
)
def own_rows(visit: Visit) -> Finding:
    wrong = []
    own = visit.ids
    for whole in _each(visit):
        for row in whole.rows:
            names = ("company_id", "brand_id", "store_id") if whole.dataset == "products" else ("company_id",)
            for name in names:
                found = row.get(name)
                if found is not None and name in own and str(found).lower() != own[name]:
                    wrong.append(f"{whole.dataset} {row.get('id')}: {name} {found}")
    return failed("; ".join(wrong[:3])) if wrong else passed()


@lists.check(
    "lists.sync-timestamp",
    "4",
    "Lists say what to ask from the next time",
    "Without a stamp and without a cursor a till asks for the whole list each time.",
    "Send `sync_timestamp`, taken before the query.",
)
def sync_timestamp(visit: Visit) -> Finding:
    told = [(whole.dataset, page.get("sync_timestamp")) for whole in _each(visit) for page in whole.pages]
    return judged([f"{dataset}: {stamp!r}" for dataset, stamp in told if not is_time(stamp)])


@lists.check(
    "lists.count",
    "3",
    "The version counts as many rows as the list has",
    "Tills find the difference at each look and pull whole lists again and again.",
    "Count for the version what the list would send.",
    needs="native",
)
def count(visit: Visit) -> Finding:
    told = visit.ask_version().object()["datasets"]
    counts = [(whole.dataset, len(whole.rows), told[whole.dataset]["count"]) for whole in _each(visit)]
    return judged([f"{dataset}: {n} rows, the version says {due}" for dataset, n, due in counts if n != due])


@lists.check(
    "lists.pages",
    "4",
    "Pages: `limit` is kept, rows come in id order, `total_available` counts down, the pages make the whole list",
    "A till that asks for small pages, for a poor line or little memory, misses rows, or gets more than it can hold.",
    "Page by id: rows with `id > last`, `limit` of them; count what is still to come.",
    needs="cursor",
)
def pages(visit: Visit) -> Finding:
    wrong = []
    for whole in _each(visit):
        limit = min(LIMIT_MAX, max(1, -(-len(whole.rows) // PAGES_TRIED)))
        if len(whole.rows) < 2:
            continue
        paged = visit.pull(whole.dataset, limit=str(limit))
        wrong += [f"{whole.dataset}: {problem}" for problem in _page_problems(paged, limit)]
        if paged.ids != whole.ids:
            wrong.append(f"{whole.dataset}: {len(paged.rows)} rows by pages of {limit}, {len(whole.rows)} at once")
    return judged(wrong)


def _page_problems(paged: Whole, limit: int) -> list[str]:
    sizes = [len(answer.json[paged.dataset]) for answer in paged.answers]
    problems = [f"an answer of {size} rows for limit={limit}" for size in sizes if size > limit]
    if paged.ids != sorted(paged.ids):
        problems.append("rows are not in id order")
    to_come = len(paged.rows)
    for page, size in zip(paged.pages, sizes, strict=True):
        if page.get("total_available") != to_come:
            problems.append(f"total_available is {page.get('total_available')} with {to_come} rows to come")
        if page.get("snapshot") is not True:
            problems.append("snapshot is not true in a snapshot")
        to_come -= size
    return problems[:3]


@lists.check(
    "lists.cursor-form",
    "4",
    "Every answer has `next_cursor`, `has_more` and `snapshot`",
    "A till that can't go on where it was starts again with a whole list.",
    "Send all three with every answer, the last one too; a cursor is text of at most 2,048 characters.",
    needs="cursor",
)
def cursor_form(visit: Visit) -> Finding:
    wrong = []
    for whole in _each(visit):
        for page in whole.pages:
            cursor = page.get("next_cursor")
            if not isinstance(cursor, str) or not 0 < len(cursor) <= CURSOR_CHARACTERS_MAX or not cursor.isascii():
                wrong.append(f"{whole.dataset}: next_cursor is {str(cursor)[:40]!r}")
            wrong += [f"{whole.dataset}: no {name}" for name in ("has_more", "snapshot") if not is_flag(page.get(name))]
    return judged(wrong)
