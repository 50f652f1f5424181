"""All that a shop's status page shows, in one value: the agent's status, the day's sales, promotions, low stock,
findings, and what was refused. It reads databases alone, and never touches the network (G9)."""

from __future__ import annotations

import datetime as dt
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge_agent.agent import EdgeAgent
from edge_agent.catalog import LOW_STOCK_LIMIT
from edge_agent.domain.calendar import business_date, clock_time
from edge_agent.domain.findings import Finding
from edge_agent.domain.promotion import Promotion, has_begun, has_not_ended, is_active_at, is_on_weekday
from edge_agent.domain.today import LowStock, Sum, Today
from edge_agent.status import utc_text
from edge_agent.storage.outbox import OutboxLine

T = TypeVar("T")
LISTED_MAX = 50
# A figure that took long to find is shown for longer: looking at the page never costs more than a twentieth of a core.
KEPT_PER_COST = 20
LOW_STOCK_KEPT_S = 10.0
PROMOTIONS_KEPT_S = 5.0


@dataclass(slots=True)
class _Shelf:
    """Figures of one agent, with until when each is fresh enough, by a monotonic clock."""

    figures: dict[str, tuple[float, object, Any]] = field(default_factory=dict)

    def figure(self, name: str, fresh_s: float, key: object, find: Callable[[], T]) -> T:
        """A figure, found anew when it is too old or ``key`` is another one."""
        begun = time.monotonic()
        kept = self.figures.get(name)
        if kept is not None and begun < kept[0] and kept[1] == key:
            return kept[2]  # type: ignore[no-any-return]
        found = find()
        ended = time.monotonic()
        self.figures[name] = (ended + max(fresh_s, KEPT_PER_COST * (ended - begun)), key, found)
        return found


_SHELVES: weakref.WeakKeyDictionary[EdgeAgent, _Shelf] = weakref.WeakKeyDictionary()


def shop_view(agent: EdgeAgent) -> dict[str, Any]:
    """What ``GET /v1/page`` answers, ready for JSON. Money and quantities are exact decimal text.

    Args:
        agent: the device's agent. What is dear is remembered beside it for some seconds.

    Raises:
        StoreBroken: a database can't be read.
    """
    shelf = _SHELVES.setdefault(agent, _Shelf())
    status = agent.status()
    now = agent.now()
    today = shelf.figure("today", 0, (agent.business_date(), status["journal"]), agent.today)
    low = shelf.figure(
        "low stock",
        LOW_STOCK_KEPT_S,
        (status["datasets"]["stock"]["synced_at"], status["datasets"]["products"]["synced_at"]),
        agent.catalog.low_stock,
    )
    local, day_start = agent.catalog.local_time()
    promotions = shelf.figure(
        "promotions",
        PROMOTIONS_KEPT_S,
        (status["datasets"]["promotions"]["synced_at"], local.replace(second=0, microsecond=0)),
        lambda: _promotions(agent.catalog.all_promotions(), local, day_start),
    )
    return {
        "schema": 1,
        "server_time": _text(now),
        "device_time": _text(now - dt.timedelta(milliseconds=status["clock_offset_ms"])),
        "device": agent.settings.device_id,
        "store": {"name": status["store"]["name"], "timezone": status["store"]["timezone"]},
        "status": status,
        "today": _today(today),
        "promotions": promotions,
        "low_stock": _low_stock(low),
        "findings": {
            "listed": [_finding(one) for one in agent.kept_findings()],
            "counts": status["health"]["findings"],
            "score": status["health"]["score"],
            "validated_at": status["health"]["validated_at"],
        },
        "quarantined": _quarantined(agent, status["quarantined"]),
    }


def _text(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sum(one: Sum) -> dict[str, Any]:
    return {"count": one.count, "total": f"{one.total:f}"}


def _today(today: Today) -> dict[str, Any]:
    return {
        "business_date": today.business_date.isoformat(),
        "currency": today.currency,
        "sales": {state: _sum(one) for state, one in today.sales.items()},
        "refunds": _sum(today.refunds),
        "voids": _sum(today.voids),
        "net": f"{today.net:f}",
        "hours": [{"hour": hour, **_sum(one)} for hour, one in today.hours.items()],
        "other_currencies": {currency: f"{total:f}" for currency, total in today.others.items()},
    }


def _low_stock(low: LowStock) -> dict[str, Any]:
    return {
        "total": low.total,
        "as_of": low.as_of,
        "is_whole": low.is_whole,
        "listed": [
            {
                "product_id": one.id,
                "name": one.name,
                "available": f"{one.available:f}",
                "reorder_level": f"{one.reorder_level:f}",
            }
            for one in low.products[:LOW_STOCK_LIMIT]
        ],
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "dataset": one.dataset,
        "id": one.id,
        "name": one.name,
        "severity": one.severity,
        "sentence": one.sentence,
        "detail": one.detail,
        "recommendation": one.recommendation,
    }


# ---- promotions --------------------------------------------------------------------------------------------------


def _promotions(promotions: Sequence[Promotion], local: dt.datetime, day_start: dt.time) -> dict[str, Any]:
    """Those that run, and those whose hours begin later on this business day."""
    running = [one for one in promotions if is_active_at(one, local, day_start)]
    later = [one for one in promotions if _begins_later(one, local, day_start)]
    day = business_date(local, day_start)
    running.sort(key=lambda one: (not _stops_on(one, day), one.name))
    later.sort(key=lambda one: (_since(one.validity.time_start or day_start, day_start), one.name))
    return {
        "running": [_promotion(one, day) for one in running[:LISTED_MAX]],
        "running_total": len(running),
        "later": [_promotion(one, day) for one in later[:LISTED_MAX]],
        "later_total": len(later),
    }


def _promotion(one: Promotion, day: dt.date) -> dict[str, Any]:
    validity = one.validity
    return {
        "id": one.id,
        "code": one.code,
        "name": one.name,
        "until_date": validity.end_date and validity.end_date.isoformat(),
        "from_time": validity.time_start and validity.time_start.isoformat("minutes"),
        "until_time": validity.time_end and validity.time_end.isoformat("minutes"),
        "stops_today": _stops_on(one, day),
    }


def _stops_on(one: Promotion, day: dt.date) -> bool:
    return one.validity.end_date == day or clock_time("23:59") > (one.validity.time_end or dt.time(0)) > dt.time(0)


def _begins_later(one: Promotion, local: dt.datetime, day_start: dt.time) -> bool:
    validity, day = one.validity, business_date(local, day_start)
    if not one.is_active or validity.time_start is None or is_active_at(one, local, day_start):
        return False
    to_come = _since(validity.time_start, day_start) > _since(local.time(), day_start)
    return to_come and is_on_weekday(validity, day) and has_begun(validity, day) and has_not_ended(validity, day)


def _since(time_of_day: dt.time, day_start: dt.time) -> int:
    """Seconds from the beginning of the business day."""
    return (_seconds(time_of_day) - _seconds(day_start)) % 86_400


def _seconds(time_of_day: dt.time) -> int:
    return time_of_day.hour * 3600 + time_of_day.minute * 60 + time_of_day.second


# ---- what was refused --------------------------------------------------------------------------------------------


def _quarantined(agent: EdgeAgent, total: int) -> dict[str, Any]:
    lines = agent.outbox(state="quarantined", limit=LISTED_MAX) if total else []
    return {"total": total, "listed": [_entry(agent, line) for line in lines]}


def _entry(agent: EdgeAgent, line: OutboxLine) -> dict[str, Any]:
    recorded = agent.sale_record(line.external_id) if line.lane == "sales" else None
    fields = (recorded and recorded.fields()) or {}
    return {
        "external_id": line.external_id,
        "kind": line.kind,
        "device_seq": line.device_seq,
        "receipt_number": fields.get("receipt_number"),
        "total_amount": line.total_amount,
        "currency": recorded and recorded.currency,
        "code": line.code,
        "reason": line.reason,
        "attempts": line.attempts,
        "recorded_at": utc_text(line.recorded_ms),
        "since": utc_text(line.first_failed_ms or line.last_attempt_ms or line.recorded_ms),
    }
