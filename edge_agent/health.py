"""How healthy this device's catalogue and deliveries are: every finding, counted and listed, and a score (G11)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import msgspec

from edge_agent.domain.applicability import Here
from edge_agent.domain.catalog import DATASETS
from edge_agent.domain.findings import (
    CLOCK_SKEW_MS,
    LISTED_MAX,
    WAITING_LONG_S,
    finding,
    health_score,
    stale_after_s,
    worst_first,
)
from edge_agent.domain.health import FINDINGS_FACT, KEPT_OF_A_KIND, SUMMARY_FACT, Health, Tally
from edge_agent.domain.hours import windows_of
from edge_agent.domain.watchdog import rung
from edge_agent.inspection import Inspection
from edge_agent.storage.catalog import CatalogStore, DatasetState
from edge_agent.storage.findings import RowFindings
from edge_agent.storage.outbox import LANES, Outbox, OutboxLine

_ENTRY = {"sales": "sale", "usages": "promotion use"}
_LANES = {
    "pull": "the catalogue",
    "sales": "the oldest waiting sale",
    "usages": "the oldest waiting promotion use",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a validation must know of the device.

    Args:
        here: its store and brand.
        now: the present moment by head office's clock, in the store's time zone.
        own_now_ms: the present moment by this device's own clock, milliseconds since 1970.
        pull_interval_s: how often the catalogue is pulled, seconds.
        last_contact_ms: when head office last answered a cycle, milliseconds since 1970; None: never.
        clock_offset_ms: head office's clock less this device's.
    """

    here: Here
    now: dt.datetime
    own_now_ms: int
    pull_interval_s: float
    last_contact_ms: int | None = None
    clock_offset_ms: int = 0


def validate(store: CatalogStore, outbox: Outbox, device: Device, *, listed_max: int = LISTED_MAX) -> Health:
    """Look for everything that is wrong; changes nothing. Never touches the network (G9).

    Args:
        store: the catalogue.
        outbox: what waits for head office.
        device: the device.
        listed_max: of each kind and dataset list at most so many; all are counted.

    Raises:
        StoreBroken: a database can't be read.
    """
    tally = Tally(max(listed_max, KEPT_OF_A_KIND))
    rows = RowFindings(store)
    with rows.reading():  # one moment for all figures
        states = [store.state(name) for name in DATASETS]
        # What is not here may just not be here yet, or be cut off.
        whole = {state.name: _has_come(state) and not state.incomplete for state in states}
        valid, total = Inspection(rows, tally, device.here, device.now, whole).run()
        _downloads(store, tally, device)
    _deliveries(outbox, tally, device, sales_only=store.meta("profile") == "baseline")
    return Health(
        worst_first(tally.findings),
        tally.totals,
        health_score(valid, total),
        total,
        valid,
        device.now.astimezone(dt.UTC),
        all(map(_has_come, states)),
    )


def has_come(store: CatalogStore) -> bool:
    """Whether all datasets have come as a whole, at least once."""
    return all(_has_come(store.state(name)) for name in DATASETS)


def _has_come(state: DatasetState) -> bool:
    return state.synced_ms is not None and not state.in_snapshot


# ---- where downloads and deliveries stand ------------------------------------------------------------------------


def _downloads(store: CatalogStore, tally: Tally, device: Device) -> None:
    """Find downloads that are old, cut short or held."""
    facts = store.all_meta()
    # A cycle that found nothing changed confirms what is here; a baseline version covers promotions alone (section 3).
    paused = facts.get("auto_sync_enabled") == "false" or windows_of(facts)
    confirms = facts.get("profile") == "native" and not paused
    confirmed_ms = (device.last_contact_ms or 0) if confirms else 0
    for state in map(store.state, DATASETS):
        if state.held_rows:
            detail = f"{state.held_rows:,} rows are not in head office's list"
            tally.one(finding("held sweep", state.name, state.name, detail=detail))
        if state.incomplete:
            tally.one(finding("incomplete list", state.name, state.name, detail=state.incomplete))
        age = _age(state.synced_ms, max(state.synced_ms or 0, confirmed_ms), device)
        if age is not None:
            tally.one(finding("stale catalogue", state.name, state.name, detail=age))


def _age(synced_ms: int | None, confirmed_ms: int, device: Device) -> str | None:
    """How old a download is, if too old."""
    if synced_ms is None:
        return "they have never come"
    age_s = (device.own_now_ms - confirmed_ms) / 1000
    if age_s <= stale_after_s(device.pull_interval_s):
        return None
    return f"they are {age_s / 3600:,.0f} hours old"


def _deliveries(outbox: Outbox, tally: Tally, device: Device, *, sales_only: bool) -> None:
    """Find what head office refused, what waits for long, lanes that stand, and a wrong clock."""
    counts = outbox.counts(sales_only=sales_only)
    refused = [
        finding("quarantined", "outbox", line.external_id, name=_ENTRY[line.lane], detail=_said(line))
        for line in outbox.lines(state="quarantined", limit=tally.listed_max)
    ]
    tally.many("quarantined", "outbox", counts.quarantined, refused)
    waits_s = (device.own_now_ms - (counts.oldest_pending_ms or device.own_now_ms)) / 1000
    if waits_s > WAITING_LONG_S:
        [oldest] = outbox.lines(state="pending", limit=1)
        held = f"; {counts.held:,} of them are held back for a reason" if counts.held else ""
        detail = f"{counts.pending:,}, the oldest for {waits_s / 3600:,.0f} hours{held}"
        tally.one(finding("waiting long", "outbox", oldest.external_id, name=_ENTRY[oldest.lane], detail=detail))
    for name in ("pull", *LANES):
        lane = outbox.lane(name)
        if rung(lane.head_since_ms, device.own_now_ms):
            detail = f"{_LANES[name]}, because {lane.head_cause}"
            tally.one(finding("stalled", "catalogue" if name == "pull" else "outbox", name, detail=detail))
    offset_s = device.clock_offset_ms / 1000
    if abs(device.clock_offset_ms) > CLOCK_SKEW_MS:
        detail = f"it is {abs(offset_s):,.0f} s {'slow' if offset_s > 0 else 'fast'}"
        tally.one(finding("clock skew", "device", "clock", detail=detail))


def _said(line: OutboxLine) -> str:
    """Why head office refused an entry."""
    return f"{line.reason} ({line.code})" if line.reason and line.code else line.reason or line.code or ""


def remember(store: CatalogStore, health: Health) -> None:
    """Keep a validation's figures and its worst findings with the catalogue they are about: one small write."""
    summary, findings = msgspec.json.encode(health.summary()), msgspec.json.encode(health.kept_findings())
    store.remember(**{SUMMARY_FACT: summary.decode(), FINDINGS_FACT: findings.decode()})
