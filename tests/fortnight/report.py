"""The fortnight as a page: the books, what happened and what status said, and the figures of each day."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterator

from tests.fortnight.play import Books, Fortnight, Happened, Said

STEADY_MB_MAX = 8.0  # a process of the same age may need so much more than days before
# What a database leaves behind that was replaced for damage under the running process: threads may be in the middle of
# something, so their connections to the old file stay, with what those have in memory, until the process ends.
REPLACED_MB = 12.0


def memory(play: Fortnight) -> tuple[int, float, int, float]:
    """Two days of the same daemon process as far apart as there are, and its megabytes at the end of each. Its first
    day does not count: by its end everything was loaded once."""
    days = [day for day in play.days if day.pid]
    last = days[-1]
    same = [day for day in days if day.pid == last.pid]
    first = same[1] if len(same) > 2 else same[0]
    return first.number, first.rss_mb, last.number, last.rss_mb


def may_grow_mb(play: Fortnight) -> float:
    """How much more memory a process may need between the two days of :func:`memory`."""
    first, _, last, _ = memory(play)
    damaged = [one for one in play.happened if "random bytes" in one.planned.fault.name]
    return STEADY_MB_MAX + REPLACED_MB * sum(first <= one.planned.day <= last for one in damaged)


def page(play: Fortnight, books: Books, seed: int) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(play, books, seed)) + "\n"


def _lines(play: Fortnight, books: Books, seed: int) -> Iterator[str]:
    yield from _summary(play, books, seed)
    yield from _events(play)
    yield from _days(play)
    yield from _words(play)


def _summary(play: Fortnight, books: Books, seed: int) -> Iterator[str]:
    shop = play.shop
    tills = " and ".join(f"{till.name} ({sum(one.asked['do'] == 'sell' for one in till.done)})" for till in shop.tills)
    yield "# A simulated fortnight"
    yield ""
    yield (
        f"{play.day_count} days in {play.real_s / 60:.1f} min ({shop.work.speed:,.0f} times as fast), "
        f"{len(play.happened)} faults, on {platform.system()} {platform.machine()}. Seed: FORTNIGHT_SEED={seed}. "
        "Real processes: the daemon, a till that embeds the agent, a till in JavaScript over the loopback API; a stub "
        "head office on a real port. Nobody ran any command but `edge-agent status`, and at the end "
        "`edge-agent verify`, which only reads."
    )
    yield ""
    yield "| what | figure |"
    yield "|---|---|"
    yield f"| sales recorded, by till | {books.recorded:,}: {tills} |"
    wrong = f"{books.lost}, {books.doubled}, {books.foreign}, {books.wrong_totals}"
    yield f"| lost, doubled, foreign, with another total | {wrong} |"
    yield f"| totals: tills' acknowledgements, head office's ledger | {books.total_here:,}, {books.total_there:,} |"
    yield f"| uses of promotions recorded, lost | {books.uses:,}, {books.uses_lost} |"
    yield f"| still waiting or set aside at the end | {books.stuck} |"
    yield f"| all well by itself at the end | {'yes' if play.converged else 'NO: ' + play.why_not} |"
    yield f"| `verify` at the end | in sync: {play.verified.get('in_sync')}, exit {play.verified['exit']} |"
    yield f"| daemon started; ended by itself | {shop.service.started}; {len(shop.service.ended_by_itself)} |"
    first, before, last, after = memory(play)
    yield f"| memory of one daemon process, day {first} and day {last} | {before:.1f} MB and {after:.1f} MB |"
    requests = sum(day.requests for day in play.days) / len(play.days)
    busiest = max(day.requests_hour_max for day in play.days)
    yield f"| requests to head office: a day, in the busiest hour | {requests:,.0f}, {busiest} |"
    lines = [day.log_lines for day in play.days]
    yield f"| lines in the log: a day, on the longest day | {sum(lines) / len(lines):.0f}, {max(lines)} |"
    delays = sorted(play.price_delays_s)
    if delays:
        yield (
            f"| {len(delays)} price changes seen at all tills: half within, all within | "
            f"{_span(delays[len(delays) // 2])}, {_span(delays[-1])} |"
        )
    for till in shop.tills:
        told = ", ".join(f"{what} ({count}×)" for what, count in till.refusals.most_common()) or "none"
        yield f"| {till.name} till: slowest sale, in real time | {till.slowest_real_s:.1f} s |"
        yield f"| {till.name} till: tries without an answer that proves something | {told} |"
    if shop.disk.why_not:
        yield f"| left out | disk full: {shop.disk.why_not} |"
    if len(shop.tills) < 2:
        yield "| left out | the JavaScript till: there is no node here |"
    yield ""
    yield f"`edge-agent status` at the end (exit {play.final_exit}):"
    yield ""
    yield from (f"> {line}" for line in play.final_status.splitlines())
    yield ""


def _events(play: Fortnight) -> Iterator[str]:
    yield "## What happened"
    yield ""
    yield "Times are the store's; the last column is how long after its end all was well again, by simulated time: the"
    yield "daemon up, nothing waiting from before, a contact later than that, catalogue and ledger head office's."
    yield "Damage is noticed when something reads the place."
    yield ""
    yield "| day | at | what | for | well again after |"
    yield "|---:|---|---|---:|---:|"
    for one in play.happened:
        began = dt.datetime.fromtimestamp(one.began_s, play.shop.zone)
        well = _span(one.well_s - one.ended_s) if one.well_s and one.ended_s else f"NOT: {one.not_well_because}"
        what = one.planned.fault.name + _noticed(one, play)
        yield f"| {one.planned.day} | {began:%H:%M} | {what} | {_span(_length_s(one))} | {well} |"
    yield ""


def _noticed(one: Happened, play: Fortnight) -> str:
    if not one.planned.fault.damages:
        return ""
    if one.noticed_s is None:
        return " (nothing has read them yet)"
    return f" (noticed {dt.datetime.fromtimestamp(one.noticed_s, play.shop.zone):%d %b %H:%M})"


def _length_s(one: Happened) -> float:
    return (one.ended_s or one.began_s) - one.began_s


def _days(play: Fortnight) -> Iterator[str]:
    yield "## Each day"
    yield ""
    columns = (
        "day",
        "sales recorded so far",
        "daemon MB, most",
        "its process",
        "threads",
        "files",
        "CPU s",
        "log lines",
        "requests, most an hour",
        "catalogue looked through",
        "backups",
        "prices seen within",
    )
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---:|' * len(columns)}"
    for day in play.days:
        yield (
            f"| {day.number} | {day.recorded:,} | {day.rss_mb:.1f}, {day.rss_max_mb:.1f} | {day.pid} | {day.threads} | "
            f"{day.files} | {day.cpu_s:.2f} | {day.log_lines} | {day.requests}, {day.requests_hour_max} | "
            f"{_night(play, day.validated_at)} | {day.backups} | {_span(day.price_delay_s_max)} |"
        )
    yield ""


def _night(play: Fortnight, text: str) -> str:
    return f"{dt.datetime.fromisoformat(text).astimezone(play.shop.zone):%d %b %H:%M}" if text else "not told"


def _words(play: Fortnight) -> Iterator[str]:
    yield "## What `edge-agent status` said"
    yield ""
    for one in play.happened:
        began = dt.datetime.fromtimestamp(one.began_s, play.shop.zone)
        yield f"**Day {one.planned.day}, {began:%H:%M}: {one.planned.fault.name}**"
        yield ""
        for said in one.said:
            yield from _quote(said)


def _quote(said: Said) -> Iterator[str]:
    yield f"{said.when.capitalize()} ({said.moment:%d %b %H:%M}, exit {said.exit_code}):"
    yield ""
    yield from (f"> {line}" for line in said.words.splitlines())
    yield ""


def _span(seconds: float) -> str:
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.1f} days"
