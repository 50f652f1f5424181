"""The fleet: each device as its last heartbeat and its sales show it, what is wrong with it, and what it lacks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ho_stub.database import Database
from ho_stub.feed import Feed
from ho_stub.orders import Orders
from ho_stub.receipts import Receipts

SILENT_S = 15 * 60  # three heartbeats
STUCK_S = 3_600  # a sale that waits so long while its device says that it lives
BEHIND_S = 15 * 60  # how long a till may take to fetch a change
CLOCK_OFF_MS = 5 * 60_000
HEALTH_LOW = 50.0
ALL = "all"  # of the datasets
TEXT_MAX = 100


class Office(Protocol):
    """What the fleet's view needs of the world."""

    db: Database
    feed: Feed
    orders: Orders
    receipts: Receipts

    def store(self, store_id: str) -> dict[str, Any] | None:
        """A store of the company, or None."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a device: `sentence` for people; `is_stuck`: its sales don't arrive."""

    kind: str
    sentence: str
    is_stuck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device.

    Args:
        device_id: its name.
        store: its store's code and name; None where nobody knows.
        seen_at: when its last heartbeat came; None before the first.
        beat: what of that heartbeat is as it should be; None for the rest.
        is_current: whether it fetched our newest version; None when it did not say.
        journals: what we hold of its journals, the newest first.
        last_order: the order that it reported last, with its result.
        waiting_orders: how many it was given and has not reported.
        troubles: what is wrong.
    """

    device_id: str
    store: dict[str, Any] | None
    seen_at: str | None
    beat: dict[str, Any]
    is_current: bool | None
    journals: list[dict[str, Any]]
    last_order: dict[str, Any] | None
    waiting_orders: int
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def is_stuck(self) -> bool:
        """Whether its sales don't arrive."""
        return any(one.is_stuck for one in self.troubles)


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a device lacks or has wrongly. `dataset`: what to order to have it mended; None: the sales."""

    device_id: str
    what: str
    dataset: str | None
    examples: list[str]


class Fleet:
    """All devices of the company."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._db = office.db

    def devices(self, now: datetime | None = None) -> list[Device]:
        """Every device that sent a heartbeat or a sale, those that are stuck first.

        Args:
            now: the moment that ages are counted to; None: now.
        """
        now = now or datetime.now(UTC)
        with self._db.read():
            beats = {
                device_id: (store_id, json.loads(body), at)
                for device_id, store_id, body, at in self._db.rows(
                    "SELECT device_id, store_id, body, received_at FROM heartbeat"
                )
            }
            journals = self._journals()
            found = [self._device(one, beats.get(one), journals.get(one, []), now) for one in {*beats, *journals}]
        return sorted(found, key=lambda device: (not device.is_stuck, not device.troubles, device.device_id))

    def _journals(self) -> dict[str, list[dict[str, Any]]]:
        """By device: what is held of each journal, the one with the newest sale first."""
        sql = """SELECT device_id, journal_id, max(received_at), max(store_id) FROM sale
          WHERE device_id IS NOT NULL AND journal_id IS NOT NULL GROUP BY device_id, journal_id ORDER BY 3 DESC"""
        found: dict[str, list[dict[str, Any]]] = {}
        for device_id, journal_id, at, store_id in self._db.rows(sql):
            held = self._office.receipts.of(device_id, journal_id)
            found.setdefault(device_id, []).append(
                {"journal_id": journal_id, "last_sale_at": at, "store_id": store_id, **held}
            )
        return found

    def _device(
        self,
        device_id: str,
        told: tuple[str | None, dict[str, Any], str] | None,
        journals: list[dict[str, Any]],
        now: datetime,
    ) -> Device:
        store_id, sent, seen_at = told or (None, {}, None)
        beat = _clean(sent)
        orders = self._office.orders.last(device_id, limit=20)
        done = [one for one in orders if one["done_at"]]
        store_id = store_id or (journals[0]["store_id"] if journals else None)
        version = sent.get("data_version")
        device = Device(
            device_id=device_id,
            store=self._office.store(store_id) if store_id else None,
            seen_at=seen_at,
            beat=beat,
            is_current=None if version is None else version == self._db.current("change"),
            journals=journals,
            last_order=max(done, key=lambda one: one["done_at"]) if done else None,
            waiting_orders=len(orders) - len(done),
        )
        device.troubles.extend(self._troubles(device, now))
        return device

    def _troubles(self, device: Device, now: datetime) -> Iterator[Trouble]:
        beat = device.beat
        if device.seen_at is None:
            yield Trouble("no heartbeat", "It has sent sales and never a heartbeat.")
            yield from _gaps(device)
            return
        silent_s = _age_s(device.seen_at, now)
        pending = beat["pending"] or 0
        if silent_s > SILENT_S:
            waits = f" When it was last heard of, {_entries(pending)} waited there." if pending else ""
            yield Trouble("silent", f"Nothing was heard of it for {span(silent_s)}.{waits}", is_stuck=True)
        elif pending and (oldest := beat["oldest_pending_at"]) and _age_s(oldest, now) > STUCK_S:
            says = f"{_entries(pending)} {'waits' if pending == 1 else 'wait'} there, the oldest for "
            yield Trouble("stuck", says + f"{span(_age_s(oldest, now))}, although it reaches us.", is_stuck=True)
        if refused := beat["quarantined"]:
            yield Trouble("refused", f"{_entries(refused)} of it {'was' if refused == 1 else 'were'} refused.")
        yield from _gaps(device)
        if device.is_current is False and self._changed_s(now) > BEHIND_S:
            yield Trouble("behind", "Its catalogue is older than our last change.")
        if abs(offset_ms := beat["clock_offset_ms"] or 0) > CLOCK_OFF_MS:
            yield Trouble("clock", f"Its clock is {span(abs(offset_ms) / 1000)} {'slow' if offset_ms > 0 else 'fast'}.")
        health = beat["health_score"]
        if health is not None and health < HEALTH_LOW:
            yield Trouble("health", f"Only {health:g} % of its catalogue's rows are in order: edge-agent health there.")

    def _changed_s(self, now: datetime) -> float:
        changed = self._db.meta("changed_at")
        return _age_s(changed, now) if changed else 0.0

    def desync(self, now: datetime | None = None) -> list[Lack]:
        """Who lacks what: rows that a device said differ when it was last asked, sales that we know to exist and do
        not have, and catalogues that are behind."""
        found = []
        for device in self.devices(now):
            found += [_lack_of_sales(device.device_id, one) for one in device.journals if one["missing"]]
            result = (device.last_order or {}).get("result") or {}
            differs = {kind: result.get(kind, 0) for kind in ("missing", "extra", "stale")}
            if result.get("in_sync") is False:
                dataset = (device.last_order or {})["dataset"] or ALL
                counts = ", ".join(f"{number} {kind}" for kind, number in differs.items() if number)
                names = [self._named(one) for one in result["examples"]]
                found.append(Lack(device.device_id, f"rows that differ: {counts or 'some'}", dataset, names))
            elif any(one.kind == "behind" for one in device.troubles):
                says = f"it has version {device.beat['data_version']}, we are at {self._db.current('change')}"
                found.append(Lack(device.device_id, f"changes since then: {says}", ALL, []))
        return found

    def _named(self, example: dict[str, str]) -> str:
        """A row that differs, by the name that we know it by."""
        row = self._office.feed.get(example["dataset"], example["id"]) or {}
        return f"{example['kind']}: {row.get('name') or example['id']} ({example['dataset']})"


def _gaps(device: Device) -> Iterator[Trouble]:
    for journal in device.journals:
        if journal["missing"]:
            says = f"Sales {_ranges(journal['missing'])} of its journal {journal['journal_id'][:8]} are not here."
            yield Trouble("gaps", says, is_stuck=True)


def _lack_of_sales(device_id: str, journal: dict[str, Any]) -> Lack:
    says = f"head office lacks sales {_ranges(journal['missing'])} of journal {journal['journal_id'][:8]}"
    return Lack(device_id, says, None, [])


def _ranges(missing: list[list[int]]) -> str:
    shown = [str(first) if first == last else f"{first}–{last}" for first, last in missing[:5]]
    return ", ".join(shown) + (f" and {len(missing) - 5} more stretches" if len(missing) > 5 else "")


def _entries(number: float) -> str:
    return "1 entry" if number == 1 else f"{number:g} entries"


def _clean(beat: dict[str, Any]) -> dict[str, Any]:
    """A heartbeat's figures and texts; what a device says in another form counts as not said."""
    clean: dict[str, Any] = {
        name: value if type(value := beat.get(name)) in (int, float) else None
        for name in ("pending", "quarantined", "clock_offset_ms", "health_score")
    }
    clean |= {
        name: str(value)[:TEXT_MAX] if isinstance(value := beat.get(name), str | int | float) else None
        for name in ("agent_version", "journal_id", "data_version", "oldest_pending_at")
    }
    if _moment(clean["oldest_pending_at"]) is None:
        clean["oldest_pending_at"] = None
    return clean


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _age_s(text: str, now: datetime) -> float:
    moment = _moment(text)
    return 0.0 if moment is None else (now - moment).total_seconds()


def span(seconds: float) -> str:
    """A span of time in words."""
    for length_s, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length_s:
            number = int(seconds // length_s)
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{max(0, int(seconds))} s"
