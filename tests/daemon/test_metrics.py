"""The figures for Prometheus are those of ``status --json``, and the text is one that Prometheus reads."""

from __future__ import annotations

import builtins
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from edge_agent import __version__
from edge_agent.daemon.metrics import KINDS, figures, render

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "metrics.md"


@pytest.fixture
def busy_till(till: Any, clock: Any) -> Any:
    """A device with something of everything: waiting, refused, an incident, a wrong row, an unreachable head office."""
    till.office.world.edit("products", till.cola, price="not a price")
    till.sell(till.nobody)
    till.agent.sync()
    till.agent.health()
    assert till.agent.heartbeat()
    till.office.stop()
    sale = till.sell()
    till.agent.record_usage(till.deal, "500.00", sale=sale)
    till.poll()
    clock.advance(100)
    return till


def read(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus would read: values by name and labels."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value_of(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((f"edge_agent_{name}", frozenset(labels.items())))


def test_prometheus_reads_every_figure(busy_till: Any) -> None:
    """The text has each figure once, with its value; and this process's memory and CPU time."""
    body, media_type = render(busy_till.agent)
    assert media_type.startswith("text/plain")
    found = read(body)
    changing = {"edge_agent_disk_free_bytes"}
    for figure in figures(busy_till.agent):
        if figure.name in changing or figure.name.endswith("_seconds"):
            assert (figure.name, frozenset(figure.labels.items())) in found
        else:
            assert found[figure.name, frozenset(figure.labels.items())] == figure.value, figure
    assert any(name == "process_resident_memory_bytes" for name, _ in found) or not Path("/proc/self/stat").exists()


def test_each_figure_is_the_one_of_status(busy_till: Any) -> None:
    """Whoever looks at the graph and whoever looks at ``status --json`` see the same."""
    found = {(one.name, frozenset(one.labels.items())): one.value for one in figures(busy_till.agent)}
    status = busy_till.agent.status()
    assert value_of(found, "pending_sales") == status["pending_sales"] == 1
    assert value_of(found, "pending_usages") == status["pending_usages"] == 1
    assert value_of(found, "quarantined") == status["quarantined"] == 1
    for name in ("held", "delivered", "remarked", "paused"):
        assert value_of(found, name) == float(status[name])
    assert value_of(found, "head_office_up") == float(status["head_office"]["reachable"]) == 0
    assert value_of(found, "failed_attempts") == status["last_error"]["attempts"] > 0
    assert value_of(found, "clock_offset_seconds") == status["clock_offset_ms"] / 1000
    assert value_of(found, "health_score") == status["health"]["score"]
    assert value_of(found, "journal_bytes") == status["journal"]["bytes"] > 0
    assert value_of(found, "disk_free_bytes") == pytest.approx(status["disk_free_bytes"], rel=0.1)
    assert value_of(found, "receipt_differences") == len(status["receipts"]["differences"])
    assert value_of(found, "events_connected") == 0
    assert value_of(found, "build_info", version=__version__, journal_mode=status["journal"]["mode"]) == 1
    at = dt.datetime.fromisoformat(status["at"])
    for name, moment in {
        "oldest_pending_seconds": status["oldest_pending_at"],
        "last_contact_seconds": status["last_success_at"],
        "last_heartbeat_seconds": status["head_office"]["heartbeat_at"],
    }.items():
        age = (at - dt.datetime.fromisoformat(moment)).total_seconds()
        assert value_of(found, name) == pytest.approx(age, abs=2)
        assert age >= 99
    for dataset, state in status["datasets"].items():
        assert value_of(found, "dataset_rows", dataset=dataset) == state["count"]
        assert value_of(found, "refused_rows", dataset=dataset) == state["refused"]
        assert value_of(found, "dataset_incomplete", dataset=dataset) == bool(state["incomplete"])
        assert value_of(found, "held_sweep_rows", dataset=dataset) == (state["held_sweep"] or 0)
        age = (at - dt.datetime.fromisoformat(state["synced_at"])).total_seconds()
        assert value_of(found, "dataset_age_seconds", dataset=dataset) == pytest.approx(age, abs=2)
    assert value_of(found, "refused_rows", dataset="products") == 1
    for kind, count in status["health"]["findings"].items():
        assert value_of(found, "findings", kind=kind) == count
    for incident in status["incidents"]:
        assert value_of(found, "incidents", kind=incident["kind"]) == incident["open"]
    for lane in ("sales", "usages", "pull"):
        assert value_of(found, "stalled_seconds", lane=lane) == 0


def test_a_stall_and_an_incident_show(till: Any, clock: Any) -> None:
    """What does not move though head office answers has an age."""
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if "sales" in path else None
    till.sell()
    for _ in range(4):
        till.poll()
        clock.advance(400)
    found = {(one.name, frozenset(one.labels.items())): one.value for one in figures(till.agent)}
    [stalled] = till.agent.status()["stalled"]
    assert stalled["lane"] == "sales"
    assert (value_of(found, "stalled_seconds", lane="sales") or 0) >= 1_000
    with till.agent._journal.database.immediate() as connection:
        from edge_agent.storage.incidents import raise_incident

        raise_incident(connection, "disk nearly full", "1 MiB are free", clock.now_ms())
    found = {(one.name, frozenset(one.labels.items())): one.value for one in figures(till.agent)}
    assert value_of(found, "incidents", kind="disk nearly full") == 1


def test_what_is_not_known_is_left_out(agent: Any) -> None:
    """Before the first contact there is no age and no yes or no, rather than a nought that looks well."""
    names = {figure.name for figure in figures(agent)}
    for name in ("last_contact_seconds", "head_office_up", "health_score", "dataset_age_seconds"):
        assert f"edge_agent_{name}" not in names
    assert "edge_agent_pending_sales" in names
    assert read(render(agent)[0])


def test_a_clock_years_ahead_makes_nothing_old(till: Any, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set back gives no negative ages."""
    monkeypatch.setattr(clock, "now_ms", lambda: 0)
    assert all(figure.value >= 0 for figure in figures(till.agent) if figure.name.endswith("contact_seconds"))


def test_without_the_package_the_words_say_how_to_get_it(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional part; the rest works without it."""
    real = builtins.__import__

    def without(name: str, *more: Any, **also: Any) -> Any:
        if name.split(".")[0] == "prometheus_client":
            raise ImportError(name)
        return real(name, *more, **also)

    monkeypatch.setattr(builtins, "__import__", without)
    assert figures(till.agent)
    with pytest.raises(ImportError, match=r"pip install 'edge-sync-agent\[metrics\]'"):
        render(till.agent)


def test_nothing_is_shared_with_the_program_around(till: Any) -> None:
    """Two agents in one process, and a program with metrics of its own, are not in each other's way."""
    from prometheus_client import REGISTRY

    before = {metric.name for metric in REGISTRY.collect()}
    assert render(till.agent)[0]
    assert render(till.agent)[0]
    assert {metric.name for metric in REGISTRY.collect()} == before


def test_every_figure_is_documented_and_every_documented_one_exists(till: Any) -> None:
    """docs/metrics.md names each figure, and where status has the same; names follow Prometheus' rules."""
    rows = re.findall(r"^\| `(edge_agent_\w+)(?:\{[^}]*\})?` \|.*\| `([\w.]+)` \|$", DOCUMENT.read_text("utf-8"), re.M)
    assert rows == [(kind.name, kind.field) for kind in KINDS]
    alerts = set(re.findall(r"edge_agent_\w+", DOCUMENT.read_text("utf-8")))
    assert alerts == {kind.name for kind in KINDS}
    status = till.agent.status()
    for kind in KINDS:
        found = status
        for part in kind.field.split("."):
            assert part in found, kind.field
            found = found[part]
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", kind.name)
        assert not kind.name.endswith(("_total", "_count", "_sum", "_ms"))
