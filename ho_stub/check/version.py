"""The version answer: equality, epoch, ETag, what it tells of settings and store (sections 3, 7 and 8)."""

from itertools import pairwise

from ho_stub.check.forms import instant, is_clock, is_flag, is_id, is_text, is_time, is_whole, is_zone
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.visit import DATASETS, Visit

TIMES_ASKED = 5
RANGES = {"future_days": (0, 90), "past_days": (0, 30), "sync_interval_hours": (1, 24)} | {
    "max_promotions_per_sync": (10, 500)
}
STRATEGIES = ("current_only", "include_future", "all_active")
FLAGS = ("include_inactive", "auto_sync_enabled", "enable_compression")

version = Group("Version")


@version.check(
    "version.form",
    "3",
    "The version answers 200 with `version`, `last_updated` and `force_update`",
    "A till can't tell whether anything changed: it pulls on its own schedule alone.",
    "Answer GET version/ with the three fields.",
)
def form(visit: Visit) -> Finding:
    body = visit.version
    wrong = [name for name in ("version", "last_updated", "force_update") if name not in body]
    if "version" in wrong or isinstance(body.get("version"), bool | dict | list | None):
        return failed(f"version is {body.get('version')!r}")
    if body.get("last_updated") is not None and not is_time(body["last_updated"]):
        wrong.append(f"last_updated is {body['last_updated']!r}")
    if not is_whole(body["version"]):
        wrong.append(f"version is {body['version']!r}, no whole number")
    return judged(wrong, f"version {body['version']}")


@version.check(
    "version.force-update",
    "3",
    "`force_update` is true or false",
    "Tills take a whole snapshot when nobody asked for it, or don't when you do.",
    "Send a JSON boolean.",
)
def force_update(visit: Visit) -> Finding:
    found = visit.version.get("force_update")
    if not is_flag(found):
        return gap(f"it is {found!r}")
    return passed("it is true now: each till takes one snapshot for this version" if found else "")


@version.check(
    "version.steady",
    "3",
    "Asked again, the version is the same, and never goes back and forth",
    "A version from a copy that lags looks like head office going back: tills pull all the time, whole lists among it.",
    "Answer the version from the main database, or from one copy that a till stays with.",
)
def steady(visit: Visit) -> Finding:
    found = [visit.version["version"]] + [visit.ask_version().object()["version"] for _ in range(TIMES_ASKED)]
    back = [f"{one} after {before}" for before, one in pairwise(found) if one < before]
    return gap(f"it went back: {'; '.join(back)}") if back else passed(f"{TIMES_ASKED + 1} times")


@version.check(
    "version.epoch",
    "8",
    "An epoch is told",
    "Restored from a backup, head office lacks sales that tills think delivered, and nobody notices by itself.",
    "Keep a UUID with the database, make a new one with each restore, and tell it with the version.",
)
def epoch(visit: Visit) -> Finding:
    found = visit.version.get("epoch")
    if not is_id(found):
        return gap("there is none" if found is None else f"it is {found!r}")
    return passed()


@version.check(
    "version.etag",
    "3",
    "The version has an ETag; `If-None-Match` is answered 304, and another tag 200",
    "Each poll carries the whole answer.",
    "Send an ETag over everything in the body but `server_time`, and compare it.",
)
def etag(visit: Visit) -> Finding:
    tag = visit.version_answer.headers.get("etag")
    if tag is None:
        return gap("there is none")
    answer = visit.ask_version()
    moved = answer.object().get("version") != visit.version["version"]
    if answer.headers.get("etag") != tag and not moved:
        return gap("two answers with the same version have two tags: is server_time in it?")
    tag = answer.headers.get("etag", tag)
    same = visit.ask_version(headers={"If-None-Match": tag}).status
    other = visit.ask_version(headers={"If-None-Match": '"another"'}).status
    wrong = [f"its own tag is answered {same}"] if same != 304 else []
    return judged(wrong + ([f"another tag is answered {other}"] if other != 200 else []))


@version.check(
    "version.datasets",
    "3",
    "Each dataset has a version and a count of its own",
    "Any change, be it one promotion, makes every till ask for all three lists; a list that lacks rows goes unnoticed.",
    "Send `datasets` with `version` and `count` for categories, products and promotions.",
)
def datasets(visit: Visit) -> Finding:
    found = visit.version.get("datasets")
    if not isinstance(found, dict):
        return gap("there are none")
    wrong = []
    for dataset in DATASETS:
        one = found.get(dataset)
        if not isinstance(one, dict) or "version" not in one or not is_whole(one.get("count")):
            wrong.append(f"{dataset}: {one!r}")
    return judged(wrong)


@version.check(
    "version.settings",
    "7",
    "The sync settings are told, each within its range",
    "Tills keep to their own interval; what is set at head office reaches none of them.",
    "Send `settings` with the version, and refuse values out of range when they are set.",
)
def settings(visit: Visit) -> Finding:
    found = visit.version.get("settings")
    if not isinstance(found, dict):
        return gap("there are none")
    wrong = [f"{name} is {found.get(name)!r}" for name in FLAGS if not is_flag(found.get(name))]
    for name, (low, high) in RANGES.items():
        value = found.get(name)
        if not is_whole(value) or not low <= int(str(value)) <= high:
            wrong.append(f"{name} is {value!r}")
    if found.get("sync_strategy") not in STRATEGIES:
        wrong.append(f"sync_strategy is {found.get('sync_strategy')!r}")
    if not is_zone(found.get("timezone")):
        wrong.append(f"timezone is {found.get('timezone')!r}")
    return judged(wrong, f"{found.get('sync_strategy')}, every {found.get('sync_interval_hours')} h")


@version.check(
    "version.store",
    "3",
    "The store is told: id, code, name, time zone, start of day, currency",
    "Tills put sales under business dates of a zone somebody typed in, and know no currency till a promotion tells it.",
    "Send `store` with the version.",
)
def store(visit: Visit) -> Finding:
    found = visit.version.get("store")
    if not isinstance(found, dict):
        return gap("there is none")
    wrong = [f"{name} is {found.get(name)!r}" for name in ("code", "name") if not is_text(found.get(name))]
    if found.get("id") != visit.options.store_id:
        wrong.append(f"id is {found.get('id')!r}, not the store we asked for")
    if not is_zone(found.get("timezone")):
        wrong.append(f"timezone is {found.get('timezone')!r}")
    if not is_clock(found.get("day_start")):
        wrong.append(f"day_start is {found.get('day_start')!r}")
    currency = found.get("currency")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isupper():
        wrong.append(f"currency is {currency!r}")
    return judged(wrong, f"{found.get('code')}, {found.get('timezone')}, {currency}")


@version.check(
    "version.server-time",
    "3",
    "`server_time` agrees with Date",
    "The better of a till's two ways to measure its clock is missing or wrong.",
    "Send the time at which the answer is made.",
    needs="native",
)
def server_time(visit: Visit) -> Finding:
    told, date = instant(visit.version.get("server_time")), visit.version_answer.date
    if told is None:
        return gap(f"it is {visit.version.get('server_time')!r}")
    if date is None:
        return not_checked("there is no Date")
    off_s = (told - date).total_seconds()
    return passed() if abs(off_s) < 5 else gap(f"they are {off_s:+.1f} s apart")


@version.check(
    "version.each-store",
    "3",
    "The version needs its company and its store",
    "A till with a setting left out is told a version that is not its own.",
    "Answer 400 to a version without `company_id` or without `store_id`.",
    needs="native",
)
def each_store(visit: Visit) -> Finding:
    wrong = []
    for missing in ("company_id", "store_id"):
        answer = visit.get("version", {k: v for k, v in visit.ids.items() if k != missing})
        if answer.status != 400:
            wrong.append(f"without {missing}: {answer.status}")
    return judged(wrong)
