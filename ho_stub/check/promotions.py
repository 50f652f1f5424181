"""Promotions: can a till read and apply what was compiled (sections 4 and 7)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ho_stub.check.forms import is_clock, is_day, is_list, is_object, is_whole
from ho_stub.check.rows import is_flat
from ho_stub.check.table import Finding, Group, gap, judged, not_checked, passed
from ho_stub.check.visit import Visit

TYPES = frozenset({
    "percent_discount", "amount_discount", "buy_x_get_y", "combo", "free_item", "happy_hour", "cashback",
    "payment_discount", "package", "mix_match", "upsell", "threshold_tier",
})  # fmt: skip
COMPILED = ("validity", "scope", "targeting", "rules", "limits")

promotions = Group("Promotions")


def _rows(visit: Visit) -> list[dict[str, Any]]:
    return visit.whole("promotions").rows


def _named(row: dict[str, Any]) -> str:
    return str(row.get("code") or row.get("id"))[:40]


@promotions.check(
    "promotions.readable",
    "4",
    "Each is one of the twelve types, compiled, or the older flat form",
    "A till can't apply a promotion of a form it doesn't know: customers don't get what was advertised.",
    "Send one of the twelve `promo_type`s with validity, scope, targeting, rules and limits.",
)
def readable(visit: Visit) -> Finding:
    wrong = []
    for row in _rows(visit):
        if is_flat(row):
            wrong += [f"{_named(row)}: discount_value is missing"] if "discount_value" not in row else []
        elif row.get("promo_type") not in TYPES:
            wrong.append(f"{_named(row)}: promo_type is {row.get('promo_type')!r}")
        else:
            wrong += [f"{_named(row)}: no {name}" for name in COMPILED if not is_object(row.get(name))]
    if not _rows(visit):
        return not_checked("there are no promotions")
    kinds = {str(row.get("promo_type", "flat")) for row in _rows(visit)}
    return judged(wrong, f"{len(_rows(visit))}: {', '.join(sorted(kinds))}")


@promotions.check(
    "promotions.compiled",
    "4",
    "None carries a compiler's mistake in place of its rules",
    "Tills refuse it and keep the last good one, or have none: customers don't get what was advertised.",
    "Compile when a promotion is saved, and refuse to save what can't be compiled.",
)
def compiled(visit: Visit) -> Finding:
    broken = [row for row in _rows(visit) if isinstance(row.get("rules"), dict) and "error" in row["rules"]]
    empty = [row for row in _rows(visit) if not is_flat(row) and row.get("rules") == {}]
    wrong = [f"{_named(row)}: rules.error is {str(row['rules']['error'])[:60]!r}" for row in broken]
    return judged(wrong + [f"{_named(row)}: rules are empty" for row in empty])


@promotions.check(
    "promotions.tiers",
    "4",
    "A promotion by thresholds has thresholds",
    "Tills refuse it and keep the last good one, or have none: customers don't get what was advertised.",
    "Refuse to save a threshold promotion without a tier.",
)
def tiers(visit: Visit) -> Finding:
    found = [row for row in _rows(visit) if row.get("promo_type") == "threshold_tier"]
    bare = [row for row in found if isinstance(row.get("rules"), dict) and not row["rules"].get("tiers")]
    wrong = [f"{_named(row)}: no tiers" for row in bare if "error" not in row["rules"]]
    return judged(wrong) if found else not_checked("there is no promotion by thresholds")


def _times(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What holds the dates, and what holds hours and weekdays."""
    if is_flat(row):
        inner = row.get("time_rules")
        return row, inner if isinstance(inner, dict) else {}
    validity = row.get("validity")
    validity = validity if isinstance(validity, dict) else {}
    return validity, validity


def _time_problems(row: dict[str, Any]) -> Iterator[str]:
    dates, hours = _times(row)
    starts, ends = dates.get("start_date"), dates.get("end_date")
    for name, value in (("start_date", starts), ("end_date", ends)):
        if value is not None and not is_day(str(value)[:10]):
            yield f"{name} is {value!r}"
    if isinstance(starts, str) and isinstance(ends, str) and starts[:10] > ends[:10]:
        yield f"it ends ({ends}) before it starts ({starts})"
    for name in ("time_start", "time_end"):
        if hours.get(name) is not None and not is_clock(hours[name]):
            yield f"{name} is {hours[name]!r}"
    days, low = hours.get("days_of_week"), 1 if is_flat(row) else 0
    if days is not None and not (is_list(days) and all(is_whole(one) and low <= one <= low + 6 for one in days)):
        yield f"days_of_week is {days!r}"


@promotions.check(
    "promotions.times",
    "4",
    "Dates, hours and weekdays can be read",
    "A till applies it on wrong days, or never.",
    "Dates are YYYY-MM-DD, hours HH:MM, weekdays 0 (Monday) to 6; in the flat form 1 to 7.",
)
def times(visit: Visit) -> Finding:
    return judged([f"{_named(row)}: {problem}" for row in _rows(visit) for problem in _time_problems(row)])


@promotions.check(
    "promotions.targets",
    "4",
    "Each is for this store and this brand",
    "A till applies promotions of other stores.",
    "Leave out what is not for the store that asks.",
)
def targets(visit: Visit) -> Finding:
    wrong = []
    for row in _rows(visit):
        targeting = row.get("targeting")
        targeting = targeting if isinstance(targeting, dict) else {}
        for name, own in (("stores", visit.options.store_id), ("brands", visit.options.brand_id)):
            wanted = targeting.get(name)
            if own and isinstance(wanted, list) and wanted and own not in [str(one).lower() for one in wanted]:
                wrong.append(f"{_named(row)}: for {len(wanted)} other {name}")
    return judged(wrong)


@promotions.check(
    "promotions.beside",
    "4",
    "The sync settings and the store stand beside the promotions",
    "Where the version tells neither, a till knows no currency and keeps to its own interval.",
    "Send `settings` and `store` with each answer.",
)
def beside(visit: Visit) -> Finding:
    page = visit.whole("promotions").pages[0]
    return judged([f"no {name}" for name in ("settings", "store") if not is_object(page.get(name))])


def _bounds(visit: Visit, today: date) -> tuple[str, str]:
    settings = visit.settings()
    future = settings.get("sync_strategy") == "include_future"
    ahead, behind = (settings["future_days"], settings["past_days"]) if future else (0, 0)
    return (today + timedelta(days=ahead)).isoformat(), (today - timedelta(days=behind)).isoformat()


@promotions.check(
    "promotions.window",
    "7",
    "What is sent is in the window of the sync settings, by the company's date",
    "Tills hold what is over, or not on yet; the list may be cut for it.",
    "Work the window out by the date in the company's time zone.",
)
def window(visit: Visit) -> Finding:
    settings, answer = visit.settings(), visit.whole("promotions").answers[0]
    zone = settings.get("timezone") or visit.store().get("timezone")
    if not isinstance(zone, str) or settings.get("sync_strategy") not in ("current_only", "include_future"):
        return not_checked("the settings tell of no window")
    today = (answer.date or datetime.fromtimestamp(answer.at, UTC)).astimezone(ZoneInfo(zone)).date()
    opens, closes = _bounds(visit, today)
    dated, outside = 0, []
    for row in _rows(visit):
        starts, ends = (_times(row)[0].get(name) for name in ("start_date", "end_date"))
        dated += bool(starts or ends)
        if (isinstance(starts, str) and starts[:10] > opens) or (isinstance(ends, str) and ends[:10] < closes):
            outside.append(f"{_named(row)}: {starts} to {ends}")
    if dated and len(outside) == dated:
        return not_checked(f"all lie outside: head office seems to live on another day than {today}")
    return gap(f"{len(outside)} outside {closes} to {opens}: {outside[0]}") if outside else passed(f"today is {today}")
