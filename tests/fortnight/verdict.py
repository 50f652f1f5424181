"""What is not as it must be after the days were played."""

from __future__ import annotations

import datetime as dt

from tests.fortnight.play import Books, Fortnight
from tests.fortnight.report import may_grow_mb, memory

REQUESTS_AN_HOUR_MAX = 300
LOG_LINES_A_DAY_MAX = 250
NIGHT_EARLY_S = 600.0  # clocks are as exact as a request's way is long, and here that counts a thousandfold


def complaints(play: Fortnight, books: Books) -> list[str]:
    """One line for each thing that is wrong; none: all is well."""
    found = []
    if not books.exact:
        found.append(f"the ledgers differ: {books}")
    if not play.converged:
        found.append(f"not well by itself: {play.why_not}")
    found += [
        f"never well again after: {one.planned.fault.name} ({one.not_well_because})"
        for one in play.happened
        if one.well_s is None or one.ended_s is None
    ]
    found += [wrong for till in play.shop.tills for wrong in till.wrong]
    if not play.verified.get("in_sync"):
        found.append(f"verify: {play.verified}")
    if play.final_exit != (3 if must_be_looked_at(play) else 0):
        found.append(f"status ends with {play.final_exit}: {play.final_status}")
    if ended := play.shop.service.ended_by_itself:
        found.append(f"the daemon ended by itself: {ended}; last words: {play.shop.last_words()}")
    return found + _figures(play)


def must_be_looked_at(play: Fortnight) -> bool:
    """Whether status goes on telling of the damaged journal: the one thing that a person should see to."""
    return any(one["kind"] == "journal damaged" and one["open"] for one in play.final_state.get("incidents", ()))


def _figures(play: Fortnight) -> list[str]:
    found = []
    first, before, last, after = memory(play)
    if after - before > may_grow_mb(play):
        found.append(f"the daemon grew from {before:.1f} MB on day {first} to {after:.1f} MB on day {last}")
    for day in play.days:
        if day.requests_hour_max > REQUESTS_AN_HOUR_MAX:
            found.append(f"day {day.number}: {day.requests_hour_max} requests in an hour")
        if day.log_lines > LOG_LINES_A_DAY_MAX:
            found.append(f"day {day.number}: {day.log_lines} lines in the log")
        done_s = dt.datetime.fromisoformat(day.validated_at).timestamp() if day.validated_at else 0.0
        if done_s < day.night_due_s - NIGHT_EARLY_S:
            found.append(
                f"the night after day {day.number}: catalogue last looked through at {day.validated_at or '?'}"
            )
    return found
