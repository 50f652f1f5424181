"""Places that head office loses: one snapshot answers it, a loop of them is noticed, slowed and told (G11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]

POLLS = 60  # of a minute; one that pulls at each of them asks for products more often than that
GONE = (410, {}, {"error": "gone", "code": "CURSOR_EXPIRED"})


@pytest.fixture
def till(make_till: Make) -> Any:
    """A till that pulls a page a row, so that a snapshot has a middle."""
    return make_till(page_rows=1)


def loses_every_second(till: Any) -> None:
    """Each snapshot's first page is given, and its second one is lost."""
    asked = [0]

    def intercept(method: str, path: str) -> Any:
        if "/products/" in path:
            asked[0] += 1
            return GONE if asked[0] % 2 == 0 else None
        return None

    till.office.intercept = intercept


@pytest.mark.parametrize("hours", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_reset_loop_is_slowed_and_told(till: Any, hours: int) -> None:
    """Every snapshot ends in the same 410: hours of polls ask for a handful of them, and status says why."""
    loses_every_second(till)
    till.office.world.set_force_update()
    for _ in range(hours * 60):
        till.clock.advance(60)
        till.poll()
    asked = till.paths().count("GET products")
    assert asked < 40, "thousands of requests a day"
    status = till.agent.status()
    assert status["datasets"]["products"]["resets"] > 2
    stalled = [one for one in status["stalled"] if one["lane"] == "pull"]
    assert stalled
    assert "lost our place in products" in stalled[0]["cause"]


def test_the_others_are_pulled_meanwhile_and_it_heals_by_itself(till: Any) -> None:
    """A loop in products keeps promotions not away; when head office is mended, nobody has to do anything."""
    loses_every_second(till)
    till.office.world.set_force_update()
    for _ in range(30):
        till.clock.advance(60)
        till.poll()
    till.office.world.edit("promotions", till.deal, name="Other")
    for _ in range(30):
        till.clock.advance(60)
        till.poll()
    assert till.catalogue_agrees("categories", "promotions")
    till.office.intercept = None
    for _ in range(8):
        till.clock.advance(hours=1)
        till.poll()
    assert till.catalogue_agrees()
    till.office.world.edit("products", till.cola, price="3.00")
    till.clock.advance(60)
    till.poll()
    assert till.agent.status()["datasets"]["products"]["resets"] == 0


def test_an_epoch_that_changes_at_every_poll_is_no_reason_to_pull_at_every_poll(till: Any) -> None:
    """Two databases behind one address, each with its own epoch: not two snapshots a minute."""
    world = till.office.world
    epochs = [world.epoch, "ffffffff-0000-4000-8000-00000000000f"]
    for poll in range(POLLS):
        world.epoch = epochs[poll % 2]
        world.feed._epoch = world.epoch[:8]
        till.clock.advance(60)
        till.poll()
    assert till.paths().count("GET products") < POLLS / 2
    assert "become another one" in till.agent.status()["last_error"]["message"]
    for _ in range(30):
        till.clock.advance(hours=1)
        till.poll()
    assert till.catalogue_agrees()


def test_abilities_that_come_and_go_are_no_reason_to_pull_at_every_poll(till: Any, monkeypatch: Any) -> None:
    """Two head offices behind one address, one of them without cursors: not a whole list every other minute."""
    from ho_stub import version

    everything = version.CAPABILITIES
    for poll in range(POLLS):
        monkeypatch.setattr(version, "CAPABILITIES", everything if poll % 2 else ())
        till.clock.advance(60)
        till.poll()
    assert till.paths().count("GET products") < POLLS / 2
    monkeypatch.setattr(version, "CAPABILITIES", everything)
    for _ in range(30):
        till.clock.advance(hours=1)
        till.poll()
    assert till.catalogue_agrees()


def test_a_forced_snapshot_goes_on_over_a_poor_line(till: Any) -> None:
    """The line breaks after two pages of each cycle: the snapshot that head office asked for ends all the same."""
    for number in range(8):
        till.office.world.upsert(
            "products", {"id": f"1000000{number}-0000-4000-8000-000000000000", "name": "More", "price": "1.00"}
        )
    till.agent.sync()
    till.office.world.set_force_update()
    till.office.clear_requests()
    asked = [0]

    def breaks(method: str, path: str) -> Any:
        if "/products/" in path:
            asked[0] += 1
            return (503, {}, {"error": "busy"}) if asked[0] % 3 == 0 else None
        return None

    till.office.intercept = breaks
    for _ in range(60):
        till.clock.advance(60)
        till.poll()
    assert not till.agent._store.state("products").in_snapshot
    assert till.paths().count("GET products") < 40
    assert till.paths().count("GET categories") < 6


def test_a_snapshot_is_asked_for_though_the_version_is_the_same(till: Any) -> None:
    """`force_update` at an unchanged version number is heard, once."""
    asking = till.agent.head_office()
    version, _ = asking.version(None)
    asking.close()
    body = {"version": version.version, "last_updated": version.last_updated, "force_update": True}
    native = {"capabilities": sorted(version.capabilities), "epoch": version.epoch}
    till.office.intercept = lambda _, path: (200, {}, body | native) if "/version/" in path else None
    for _ in range(5):
        till.clock.advance(60)
        till.poll()
    assert till.paths().count("GET categories") in (1, 2, 3)
    assert till.agent._store.state("products").generation == 2


def test_a_person_who_asks_is_answered_at_once(till: Any) -> None:
    """`edge-agent sync` tries a lost place whatever the wait says."""
    loses_every_second(till)
    till.office.world.set_force_update()
    for _ in range(5):
        till.clock.advance(60)
        till.poll()
    till.office.intercept = None
    report = till.agent.sync()
    assert not report.errors
    assert till.catalogue_agrees()


@pytest.mark.parametrize("body", [{"next_cursor": "A"}, {"next_cursor": ""}, {"next_cursor": "x" * 5_000}, {}])
def test_a_page_that_leads_nowhere_moves_no_cursor(till: Any, body: dict[str, Any]) -> None:
    """A next_cursor that is missing, empty, endless, or that was asked before stops the download (G5)."""
    before = till.agent._store.state("products").cursor
    page = {"products": [], "deleted_ids": [], "has_more": True, "snapshot": False, "total": 0, **body}
    till.office.intercept = lambda _, path: (200, {}, page) if "/products/" in path else None
    till.office.world.edit("products", till.cola, price="1.00")
    report = till.agent.sync()
    assert report.errors
    assert till.agent._store.state("products").cursor in (before, "A")
    assert len(till.office.requests) < 20


def test_pages_without_rows_that_promise_more_come_to_an_end(till: Any) -> None:
    """A feed of ever new cursors and no rows is given up, not followed for ever."""
    count = [0]

    def endless(method: str, path: str) -> Any:
        if "/products/" not in path:
            return None
        count[0] += 1
        return 200, {}, {"products": [], "has_more": True, "snapshot": False, "next_cursor": f"c{count[0]}"}

    till.office.intercept = endless
    till.office.world.edit("products", till.cola, price="1.00")
    report = till.agent.sync()
    assert any("nothing in them" in error.message for error in report.errors)
    assert count[0] < 250
