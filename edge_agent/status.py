"""What the status page and ``edge-agent status`` show: the queue's state in figures, and in plain words (G11)."""

from __future__ import annotations

import contextlib
import datetime as dt

from edge_agent import __version__

# The words alone are wanted by ``edge-agent status`` where a daemon told it the figures: it is to be there at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from edge_agent.storage.catalog import CatalogStore
    from edge_agent.storage.circuit import CircuitState
    from edge_agent.storage.journal import Journal
    from edge_agent.storage.ledger import Life
    from edge_agent.storage.outbox import LaneState, Outbox

LANE_NAMES = ("pull", "sales", "usages")
CLOCK_WRONG_MS = 60_000
NOT_HEAD_OFFICE = "something other than head office answered"  # as head_office/ says of a portal or proxy
SHOWN_MS = 24 * 3600 * 1000  # an incident that is over is still told of for a day
CATALOGUE_DAMAGED = "catalogue damaged"


def utc_text(ms: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    if ms is None:
        return None
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def build_status(
    journal: Journal,
    outbox: Outbox,
    store: CatalogStore,
    *,
    now_ms: int,
    clock: dict[str, Any],
    last_contact_ms: int | None,
    daemon_running: bool,
    last_heartbeat_ms: int | None = None,
    events: str | None = None,
) -> dict[str, Any]:
    """The status as ``status --json`` prints it; times are ISO 8601 in UTC.

    Args:
        journal: the journal.
        outbox: its outbox.
        store: the catalogue.
        now_ms: milliseconds since 1970.
        clock: what :meth:`~edge_agent.timekeeper.Timekeeper.told` tells.
        last_contact_ms: when head office last answered a cycle, milliseconds since 1970.
        daemon_running: whether some process holds the sync lock.
        last_heartbeat_ms: when head office last took a heartbeat, milliseconds since 1970.
        events: how this process's stream of hints is; None when another process listens.
    """
    from edge_agent.domain.hours import windows_of
    from edge_agent.domain.watchdog import rung
    from edge_agent.storage.circuit import Circuit
    from edge_agent.storage.ledger import Ledger

    facts = {**journal.place(), **store.all_meta()}  # a catalogue that begins anew knows no place yet
    datasets = _datasets(store, facts)
    counts = outbox.counts(sales_only=facts.get("profile") == "baseline")
    lanes = [outbox.lane(name) for name in LANE_NAMES]
    circuit = Circuit(journal).state()
    failing = [lane for lane in lanes if lane.failures]
    life = journal.life()
    rests = circuit.next_attempt_ms or circuit.resume_ms
    next_attempts = [rests] if rests else [lane.next_attempt_ms for lane in failing if lane.next_attempt_ms is not None]
    ledger = Ledger(journal)
    return {
        "schema": 1,
        "agent_version": __version__,
        "at": utc_text(now_ms),
        "pending": counts.pending,
        "pending_sales": counts.pending_sales,
        "pending_usages": counts.pending_usages,
        "quarantined": counts.quarantined,
        "held": counts.held,
        "delivered": counts.delivered,
        "oldest_pending_at": utc_text(counts.oldest_pending_ms),
        "last_success_at": utc_text(last_contact_ms),
        "last_error": _last_error(circuit, failing),
        "next_attempt_at": utc_text(min(next_attempts, default=None)),
        "head_office": {
            "reachable": _is_reachable(circuit, failing, last_contact_ms),
            "epoch": facts.get("epoch"),
            "profile": facts.get("profile"),
            "events": events,
            "heartbeat_at": utc_text(last_heartbeat_ms),
        },
        "store": {"name": facts.get("store_name"), "timezone": facts.get("timezone")},
        "stalled": [_stalled(lane, now_ms) for lane in lanes if rung(lane.head_since_ms, now_ms)],
        "remarked": outbox.remarked(),
        "receipts": _receipts(ledger.lives()),
        "incidents": [*_incidents(journal, now_ms), *_damaged_catalogue(store, datasets, now_ms)],
        "paused": facts.get("auto_sync_enabled") == "false",
        "sync_windows": [{"from": begin, "to": end} for begin, end in windows_of(facts)],
        "datasets": datasets,
        "health": _health(facts),
        "journal": {
            "id": life.journal_id if life else None,
            "device_seq": life.last_seq if life else 0,
            "mode": journal.database.mode,
            "bytes": _bytes_of(journal.database.path),
        },
        "disk_free_bytes": _free_bytes(journal.database.path.parent),
        "clock_offset_ms": clock["offset_ms"],
        "clock": {
            "offset_ms": clock["offset_ms"],
            "measured_at": utc_text(clock["measured_ms"]),
            "samples": clock["samples"],
            "jumped_at": utc_text(clock["jumped_ms"]),
        },
        "daemon_running": daemon_running,
    }


def _bytes_of(path: Path) -> int:
    """A database's size on disk, with what was not yet copied into its main file."""
    size = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            size += path.with_name(path.name + suffix).stat().st_size
    return size


def _free_bytes(home: Path) -> int | None:
    import shutil

    with contextlib.suppress(OSError):
        return shutil.disk_usage(home).free
    return None


def _is_reachable(circuit: CircuitState, failing: list[LaneState], last_contact_ms: int | None) -> bool | None:
    if last_contact_ms is None and not failing and not circuit.failures:
        return None
    portal = any((lane.reason or "").startswith(NOT_HEAD_OFFICE) for lane in failing)
    return not portal and not (circuit.failures and circuit.code == "UNREACHABLE")


def _last_error(circuit: CircuitState, failing: list[LaneState]) -> dict[str, Any] | None:
    if circuit.failures:
        return {
            "lane": "all",
            "code": circuit.code,
            "message": circuit.reason,
            "since": utc_text(circuit.since_ms),
            "attempts": circuit.failures,
        }
    if not failing:
        return None
    worst = max(failing, key=lambda lane: lane.failing_since_ms or 0)
    return {
        "lane": worst.name,
        "code": worst.code,
        "message": worst.reason,
        "since": utc_text(min(lane.failing_since_ms or 0 for lane in failing)),
        "attempts": worst.failures,
    }


def _stalled(lane: LaneState, now_ms: int) -> dict[str, Any]:
    """What has not moved for long although head office answers, why, and what the watchdog tries."""
    from edge_agent.domain.watchdog import rung

    return {
        "lane": lane.name,
        "head": lane.head,
        "since": utc_text(lane.head_since_ms),
        "cause": lane.head_cause,
        "trying": rung(lane.head_since_ms, now_ms).name.lower().replace("_", " "),
    }


def _receipts(lives: list[Life]) -> dict[str, Any]:
    """When the ledger was last compared with head office's receipts, and what could not be mended."""
    checked = [life.checked_ms for life in lives if life.checked_ms]  # 0: due now
    differences = [life.difference for life in lives if life.difference is not None]
    return {"checked_at": utc_text(max(checked, default=None)), "differences": differences}


def _incidents(journal: Journal, now_ms: int) -> list[dict[str, Any]]:
    from edge_agent.storage.incidents import incidents

    return [
        {
            "kind": incident.kind,
            "detail": incident.detail,
            "first_at": utc_text(incident.first_ms),
            "last_at": utc_text(incident.last_ms),
            "times": incident.times,
            "open": incident.is_open,
        }
        for incident in incidents(journal.database.connection, only_open=False)
        if incident.is_open or now_ms - incident.last_ms < SHOWN_MS
    ]


def _damaged_catalogue(store: CatalogStore, datasets: dict[str, Any], now_ms: int) -> list[dict[str, Any]]:
    """The last catalogue that was moved aside: its name says when, and what came since whether it is made up for."""
    from edge_agent.storage.aside import DAMAGED, damaged_files

    found = damaged_files(store.database.path)
    at_ms = int(found[-1].name.rpartition(DAMAGED)[2]) if found else 0
    is_open = any(datasets[name]["snapshot_at"] is None for name in ("products", "promotions"))
    if not found or not (is_open or now_ms - at_ms < SHOWN_MS):
        return []
    at, come = utc_text(at_ms), "come" if is_open else "came"
    return [
        {
            "kind": CATALOGUE_DAMAGED,
            "detail": f"it is kept as {found[-1].name}; prices and promotions {come} anew from head office",
            "first_at": at,
            "last_at": at,
            "times": 1,
            "open": is_open,
        }
    ]


def _datasets(store: CatalogStore, facts: dict[str, str]) -> dict[str, Any]:
    import msgspec

    label = msgspec.json.decode(facts["version"]) if "version" in facts else [None, None, {}]
    result = {}
    for name in ("categories", "products", "promotions", "stock"):
        state = store.state(name)
        result[name] = {
            "count": store.count(name),
            "refused": store.refused_count(name),
            "version": label[2].get(name, {}).get("version", label[0]) if name != "stock" else None,
            "synced_at": utc_text(state.synced_ms),
            "incomplete": state.incomplete,
            "incomplete_since": utc_text(state.incomplete_since_ms),
            "held_sweep": state.held_rows,
            "held_since": utc_text(state.held_since_ms),
            "in_snapshot": state.in_snapshot,
            "snapshot_at": utc_text(state.snapshot_ms),
            "verified_at": utc_text(state.verified_ms),
            "differs": state.differs,
            "resets": state.resets,
        }
    return result


def _health(facts: dict[str, str]) -> dict[str, Any]:
    """What the last validation found, as the catalogue remembers it."""
    from edge_agent.domain.findings import counts_against
    from edge_agent.domain.health import SUMMARY_FACT, read_summary

    last = read_summary(facts.get(SUMMARY_FACT))
    if last is None:
        return {"score": None, "validated_at": None, "findings": {}, "wrong": {}}
    at = utc_text(round(last.validated_at.timestamp() * 1000))
    wrong = {kind: count for kind, count in last.counts.items() if counts_against(kind)}
    return {"score": last.health_score, "validated_at": at, "findings": last.counts, "wrong": wrong}


def age_text(seconds: float) -> str:
    """A span of time as people say it."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} days"


def _age(text: str, now: dt.datetime) -> str:
    return age_text((now - dt.datetime.fromisoformat(text)).total_seconds())


def _local(text: str, status: dict[str, Any], now: dt.datetime) -> str:
    from edge_agent.domain.calendar import zone

    tz = zone(status["store"]["timezone"])
    moment = dt.datetime.fromisoformat(text).astimezone(tz)
    same_day = moment.date() == now.astimezone(tz).date()
    return moment.strftime("%H:%M" if same_day else "%d %b %H:%M")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def in_words(status: dict[str, Any], now: dt.datetime) -> list[str]:
    """The status in sentences for a shop's staff, the calming one first."""
    words = ["Selling works."]
    pending, held = status["pending"], status["held"]
    if pending == 0:
        complete = status["delivered"] and not status["quarantined"]
        words.append("Everything is with head office; nothing is waiting." if complete else "Nothing is waiting.")
    else:
        parts = [
            _plural(status[f"pending_{noun}s"], label)
            for noun, label in (("sale", "sale"), ("usage", "promotion use"))
            if status[f"pending_{noun}s"]
        ]
        age = _age(status["oldest_pending_at"], now)
        words.append(f"{' and '.join(parts)} waiting for head office, oldest {age}. They are safe on this device.")
    if held:
        words.append(f"{held:,} of them are held back for a reason: see edge-agent outbox list.")
    words.append(_line_in_words(status, now))
    if status["quarantined"]:
        words.append(
            f"{_plural(status['quarantined'], 'entry').replace('entrys', 'entries')} refused by head office and set "
            "aside: see edge-agent outbox list."
        )
    words += _trouble_in_words(status, now)
    words += _catalogue_in_words(status, now)
    words += _health_in_words(status, now)
    offset = status["clock_offset_ms"]
    if abs(offset) > CLOCK_WRONG_MS:
        slow = "slow" if offset > 0 else "fast"
        words.append(f"This device's clock is {age_text(abs(offset) / 1000)} {slow}: set it right.")
    return words


_TRYING = {
    "new connection": "with a new connection",
    "new sign in": "with a new sign-in",
    "smaller batches": "with smaller batches",
    "one by one": "one by one",
}
_FIRST = {"sales": "The oldest waiting sale", "usages": "The oldest waiting promotion use", "pull": "The catalogue"}


def _trouble_in_words(status: dict[str, Any], now: dt.datetime) -> list[str]:
    """Stalls, differences and incidents, each with its age (G11)."""
    words = [sentence for stalled in status["stalled"] if (sentence := _stall_in_words(stalled, status, now))]
    words += [f"The books differ: {difference}. Tell head office." for difference in status["receipts"]["differences"]]
    for incident in status["incidents"]:
        words.append(
            f"{_sentence(incident['kind'])[:-1]} at {_local(incident['last_at'], status, now)}: "
            f"{incident['detail'].rstrip('.')}." + ("" if incident["open"] else " That is over.")
        )
    return words


def _stall_in_words(stalled: dict[str, Any], status: dict[str, Any], now: dt.datetime) -> str:
    """What does not move, and why; nothing where the sentence about the line has just told all of it."""
    error = status["last_error"]
    is_told = error is not None and stalled["cause"] == error["message"]
    if status["head_office"]["reachable"] is False or (is_told and error["lane"] == "all"):
        return ""
    cause = "" if is_told else f" ({stalled['cause']})"
    return (
        f"{_FIRST[stalled['lane']]} has not moved for {_age(stalled['since'], now)} although head office answers"
        f"{cause}. The agent tries {_TRYING[stalled['trying']]}."
    )


def _line_in_words(status: dict[str, Any], now: dt.datetime) -> str:
    error = status["last_error"]
    if error is None and status["next_attempt_at"]:
        wait_s = (dt.datetime.fromisoformat(status["next_attempt_at"]) - now).total_seconds()
        if wait_s > 0:
            return f"Head office is back; this device sends in {age_text(wait_s)}, so that not all do it at once."
    if error is None:
        if status["last_success_at"] is None:
            return "Head office has not been asked yet."
        return f"Head office was last reached {_age(status['last_success_at'], now)} ago."
    if status["next_attempt_at"] and status["daemon_running"]:
        wait_s = (dt.datetime.fromisoformat(status["next_attempt_at"]) - now).total_seconds()
        next_text = f"; next try in {age_text(wait_s)}" if wait_s > 0 else "; trying now"
    else:
        next_text = "; the next sync tries again"
    since = _local(error["since"], status, now)
    if status["head_office"]["reachable"] is False:
        return f"Head office unreachable since {since}{next_text}. ({_sentence(error['message'])})"
    if error["code"] == "NOT_SIGNED_IN":
        return f"Head office refuses this device's sign-in since {since}: run edge-agent init again{next_text}."
    return f"Head office answers, but not as it should, since {since}: {error['message']}{next_text}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _catalogue_in_words(status: dict[str, Any], now: dt.datetime) -> list[str]:
    datasets = status["datasets"]
    products = datasets["products"]
    paused = ["Head office has paused the syncing of prices and promotions."] if status["paused"] else []
    if products["synced_at"] is None:
        lost = any(one["kind"] == CATALOGUE_DAMAGED and one["open"] for one in status["incidents"])
        none = "No prices just now: the next sync brings" if lost else "No prices yet: the first sync brings"
        return paused or [f"{none} them."]
    pulled = [datasets[name]["synced_at"] for name in ("products", "promotions") if datasets[name]["synced_at"]]
    # A cycle that found nothing changed confirms what is here without writing a word.
    confirms = not status["paused"] and not status["sync_windows"]
    oldest = max(min(pulled), (status["last_success_at"] or "") if confirms else "")
    goods = f"{_plural(products['count'], 'product')} and {_plural(datasets['promotions']['count'], 'promotion')}"
    words = [f"{goods}, as head office had them at {_local(oldest, status, now)}.", *paused]
    if status["sync_windows"]:
        hours = " and ".join(f"{one['from']} to {one['to']}" for one in status["sync_windows"])
        words.append(f"Head office wants prices and promotions fetched from {hours}; edge-agent sync fetches them now.")
    for name, dataset in datasets.items():
        if dataset["refused"]:
            bad = _plural(dataset["refused"], "row")
            words.append(f"{bad} of {name} from head office can't be used; the last good ones stay in use.")
        if dataset["incomplete"]:
            since = _age(dataset["incomplete_since"], now)
            words.append(f"For {since} the list of {name} from head office is incomplete: {dataset['incomplete']}.")
        if dataset["held_sweep"]:
            words.append(
                f"For {_age(dataset['held_since'], now)} head office's list of {name} lacks {dataset['held_sweep']:,} "
                "rows we have. They stay until it has said so three times over a day, or someone says edge-agent sync "
                "--accept-sweep."
            )
        if dataset["differs"]:
            words.append(f"The catalogue's {name} are not proved to be head office's: {dataset['differs']}.")
    return words


def _health_in_words(status: dict[str, Any], now: dt.datetime) -> list[str]:
    """What the last validation found wrong with rows; the device's own troubles are told as they stand now."""
    health = status["health"]
    wrong = health["wrong"]
    if not wrong:
        return []
    named = ", ".join(f"{kind} ({count:,})" for kind, count in wrong.items())
    at = _local(health["validated_at"], status, now)
    return [f"{health['score']:g} % of the catalogue is in order, as of {at}. Wrong: {named}. See edge-agent health."]


__all__ = ["age_text", "build_status", "in_words", "utc_text"]
