"""The status in figures for Prometheus: one source, so that a graph and ``edge-agent status`` never disagree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from edge_agent.agent import EdgeAgent

Status = Mapping[str, Any]
Samples = Iterator[tuple[Mapping[str, str], float | None]]
LANES = ("sales", "usages", "pull")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Args:
        name: its name for Prometheus.
        value: how much, in the unit its name ends with.
        labels: what it is about, where there are several.
    """

    name: str
    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of figure.

    Args:
        name: its name for Prometheus.
        help: what it is, in words.
        field: where the same figure stands in ``status --json``.
        read: takes it from the status, with labels; a value of None is left out.
    """

    name: str
    help: str
    field: str
    read: Callable[[Status], Samples]


def _at(status: Status, path: str) -> Any:
    found: Any = status
    for name in path.split("."):
        found = found[name]
    return found


def _one(path: str, factor: float = 1.0) -> Callable[[Status], Samples]:
    """A figure or a yes-or-no of the status."""

    def read(status: Status) -> Samples:
        found = _at(status, path)
        yield {}, None if found is None else float(found) * factor

    return read


def _seconds_since(status: Status, moment: str | None) -> float | None:
    """Seconds since a moment, both by this device's clock: an age stays right where that clock is wrong."""
    if moment is None:
        return None
    age = dt.datetime.fromisoformat(status["at"]) - dt.datetime.fromisoformat(moment)
    return max(0.0, age.total_seconds())


def _age(path: str, otherwise: float | None = None) -> Callable[[Status], Samples]:
    def read(status: Status) -> Samples:
        age = _seconds_since(status, _at(status, path))
        yield {}, otherwise if age is None else age

    return read


def _each_dataset(name: str) -> Callable[[Status], Samples]:
    def read(status: Status) -> Samples:
        for dataset, state in status["datasets"].items():
            found = state[name]
            yield {"dataset": dataset}, 0.0 if found is None else float(bool(found) if name == "incomplete" else found)

    return read


def _dataset_ages(status: Status) -> Samples:
    for dataset, state in status["datasets"].items():
        yield {"dataset": dataset}, _seconds_since(status, state["synced_at"])


def _stalled(status: Status) -> Samples:
    since = {stalled["lane"]: stalled["since"] for stalled in status["stalled"]}
    for lane in LANES:
        yield {"lane": lane}, _seconds_since(status, since.get(lane)) or 0.0


def _incidents(status: Status) -> Samples:
    for incident in status["incidents"]:
        yield {"kind": incident["kind"]}, float(incident["open"])


def _findings(status: Status) -> Samples:
    for kind, count in status["health"]["findings"].items():
        yield {"kind": kind}, float(count)


def _attempts(status: Status) -> Samples:
    yield {}, float(status["last_error"]["attempts"] if status["last_error"] else 0)


def _events(status: Status) -> Samples:
    state = status["head_office"]["events"]
    yield {}, None if state is None else float(state == "connected")


def _differences(status: Status) -> Samples:
    yield {}, float(len(status["receipts"]["differences"]))


def _build(status: Status) -> Samples:
    yield {"version": status["agent_version"], "journal_mode": status["journal"]["mode"]}, 1.0


_SINCE = "by this device's clock"
KINDS: tuple[Kind, ...] = tuple(
    Kind(f"edge_agent_{name}", words, field, read)
    for name, words, field, read in (
        ("build_info", "The program's version and the journal's mode; always 1.", "agent_version", _build),
        ("pending_sales", "Sales that wait for head office.", "pending_sales", _one("pending_sales")),
        ("pending_usages", "Promotion uses that wait for head office.", "pending_usages", _one("pending_usages")),
        ("held", "Waiting entries that are held back for a reason.", "held", _one("held")),
        ("quarantined", "Entries that head office refused.", "quarantined", _one("quarantined")),
        ("delivered", "Entries that head office has; fewer after it lost some.", "delivered", _one("delivered")),
        (
            "oldest_pending_seconds",
            f"How long the oldest waiting entry has waited, {_SINCE}; 0 when nothing waits.",
            "oldest_pending_at",
            _age("oldest_pending_at", 0.0),
        ),
        (
            "last_contact_seconds",
            f"Since head office last answered a whole cycle, {_SINCE}; absent before the first.",
            "last_success_at",
            _age("last_success_at"),
        ),
        (
            "last_heartbeat_seconds",
            f"Since head office last took a heartbeat, {_SINCE}; absent before the first.",
            "head_office.heartbeat_at",
            _age("head_office.heartbeat_at"),
        ),
        (
            "head_office_up",
            "Whether head office can be reached; absent before the first contact.",
            "head_office.reachable",
            _one("head_office.reachable"),
        ),
        ("failed_attempts", "Failures in a row of what fails now; 0 when all is well.", "last_error", _attempts),
        (
            "events_connected",
            "Whether head office's hints come in; absent where another process listens.",
            "head_office.events",
            _events,
        ),
        ("stalled_seconds", "How long a lane has not moved though head office answers.", "stalled", _stalled),
        ("paused", "Whether head office has paused pulls.", "paused", _one("paused")),
        ("dataset_rows", "Rows in use.", "datasets", _each_dataset("count")),
        ("refused_rows", "Rows of head office that can't be used.", "datasets", _each_dataset("refused")),
        (
            "dataset_age_seconds",
            f"Since rows last came, {_SINCE}; absent before the first.",
            "datasets",
            _dataset_ages,
        ),
        ("dataset_incomplete", "Whether head office's list was cut off.", "datasets", _each_dataset("incomplete")),
        (
            "held_sweep_rows",
            "Rows that head office no longer lists and nobody has agreed to delete.",
            "datasets",
            _each_dataset("held_sweep"),
        ),
        ("remarked", "Sales that head office took with a remark.", "remarked", _one("remarked")),
        ("receipt_differences", "Differences of the books that are for people.", "receipts", _differences),
        ("incidents", "Incidents of the last day: 1 while one is open, 0 when it is over.", "incidents", _incidents),
        (
            "health_score",
            "Percent of the catalogue's rows in order, as of the last look; absent before the first.",
            "health.score",
            _one("health.score"),
        ),
        ("findings", "What the last look through the catalogue found.", "health.findings", _findings),
        (
            "clock_offset_seconds",
            "Head office's clock less this device's; 0 below 2 s.",
            "clock.offset_ms",
            _one("clock.offset_ms", 0.001),
        ),
        ("journal_bytes", "The journal's size on disk.", "journal.bytes", _one("journal.bytes")),
        (
            "disk_free_bytes",
            "Free room where this device's home is; absent where the system does not tell.",
            "disk_free_bytes",
            _one("disk_free_bytes"),
        ),
    )
)


def figures(agent: EdgeAgent) -> list[Figure]:
    """Every figure of the agent's status.

    Raises:
        StoreBroken: a database can't be read.
    """
    return [Figure(kind.name, value, labels) for kind, samples in _read(agent) for labels, value in samples]


def _read(agent: EdgeAgent) -> Iterator[tuple[Kind, list[tuple[Mapping[str, str], float]]]]:
    status = agent.status()
    for kind in KINDS:
        yield kind, [(labels, value) for labels, value in kind.read(status) if value is not None]


class _Collector:
    """What prometheus-client asks for metrics."""

    def __init__(self, agent: EdgeAgent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import GaugeMetricFamily

        for kind, samples in _read(self._agent):
            family = GaugeMetricFamily(kind.name, kind.help, labels=list(samples[0][0]) if samples else [])
            for labels, value in samples:
                family.add_metric(list(labels.values()), value)
            yield family


def render(agent: EdgeAgent) -> tuple[bytes, str]:
    """The figures as Prometheus reads them, with those of this process (memory, CPU time, open files).

    Returns:
        The text, and its media type.

    Raises:
        ImportError: the package prometheus-client is not there; says how to get it.
        StoreBroken: a database can't be read.
    """
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
    except ImportError as error:
        raise ImportError(
            "figures for Prometheus need the package prometheus-client: pip install 'edge-sync-agent[metrics]'"
        ) from error
    registry = CollectorRegistry(auto_describe=False)  # nothing of it is shared with the program around us
    registry.register(_Collector(agent))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
