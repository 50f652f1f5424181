"""The fleet's pages: which store is stuck, who lacks what, and orders that a real device carries out."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ho_stub.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

JOURNAL = "0191a2b3-c4d5-4e6f-8a1b-2c3d4e5f6a7b"
BEAT = {
    "device_id": "pos-02",
    "journal_id": JOURNAL,
    "agent_version": "0.1.0",
    "pending": 0,
    "oldest_pending_at": None,
    "quarantined": 0,
    "data_version": None,
    "clock_offset_ms": 12,
    "health_score": 99.5,
}


class Person:
    """Somebody of the office at a browser."""

    def __init__(self, office: Any, username: str = "office", password: str = "office-demo") -> None:
        self.http = httpx.Client(base_url=office.url, follow_redirects=True)
        self.send("/accounts/login/", username=username, password=password)

    def see(self, path: str, **more: Any) -> str:
        answer = self.http.get(path, **more)
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, path: str, at: str | None = None, **fields: str) -> httpx.Response:
        """Fill a form of a page and send it."""
        hidden = dict(re.findall(r'type="hidden" name="(csrf|mark)" value="([^"]*)"', self.http.get(at or path).text))
        return self.http.post(path, data={**hidden, **fields})


@pytest.fixture(name="person")
def person_fixture(office: Any) -> Iterator[Person]:
    person = Person(office)
    yield person
    person.http.close()


def later(minutes: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)


def troubles(office: Any, minutes: float = 0) -> dict[str, bool]:
    """What is wrong with the only device: kind and whether its sales are stuck."""
    [device] = Fleet(office.world).devices(later(minutes))
    return {one.kind: one.is_stuck for one in device.troubles}


def test_a_device_that_is_well_has_no_trouble(office: Any, device: Any) -> None:
    """It was heard of just now, nothing waits, it has our version."""
    version = office.world.db.current("change")
    device.post("heartbeat", BEAT | {"data_version": version})
    assert troubles(office) == {}
    [found] = Fleet(office.world).devices()
    assert (found.is_current, found.store["code"]) == (True, office.world.store(office.store_id)["code"])


@pytest.mark.parametrize(
    ("said", "minutes", "kind", "stuck"),
    [
        ({}, 16, "silent", True),
        ({"pending": 3, "oldest_pending_at": "2026-01-01T00:00:00Z"}, 0, "stuck", True),
        ({"quarantined": 1}, 0, "refused", False),
        ({"clock_offset_ms": -3_600_000}, 0, "clock", False),
        ({"health_score": 12.5}, 0, "health", False),
        ({"data_version": 1}, 16, "behind", False),
    ],
)
def test_each_trouble_shows(
    office: Any, device: Any, said: dict[str, Any], minutes: float, kind: str, stuck: bool
) -> None:
    """Silence, sales that wait too long, refusals, a wrong clock, a poor catalogue, an old one."""
    device.post("heartbeat", BEAT | said)
    assert troubles(office, minutes)[kind] is stuck


def test_numbers_that_are_missing_are_named(office: Any, device: Any, person: Person) -> None:
    """Sale 2 never came: the store is stuck, and the page says which sale."""
    results = device.upload(device.sale(1), device.sale(3))
    assert [one["status"] for one in results] == ["created", "created"]
    assert troubles(office) == {"no heartbeat": False, "gaps": True}
    assert "Sales 2 of its journal" in person.see("/fleet/")
    assert "head office lacks sales 2" in person.see("/fleet/desync/")


def test_nonsense_in_a_heartbeat_breaks_no_page(office: Any, device: Any, person: Person) -> None:
    """A device may say anything; the page shows what makes sense, and markup as text."""
    device.post(
        "heartbeat", {"device_id": "<b>x</b>", "pending": [], "oldest_pending_at": "soon", "clock_offset_ms": "a"}
    )
    device.post("heartbeat", {"device_id": "y", "health_score": True, "quarantined": None, "agent_version": {"a": 1}})
    order = office.world.orders.give("y")
    device.post(
        "heartbeat", {"device_id": "y", "orders_done": [{"id": order, "in_sync": False, "missing": "a", "examples": 5}]}
    )
    assert "<b>x</b>" not in person.see("/fleet/")
    assert "differs" in person.see("/fleet/desync/")


def test_a_dry_run_comes_before_a_repair(office: Any, device: Any, person: Person) -> None:
    """A repair that nobody looked at is not ordered; after the device's answer it is, and the audit log has both."""
    device.post("heartbeat", BEAT)
    refused = person.send("/fleet/orders/", "/fleet/desync/", device_id="pos-02", dataset="products", repair="1")
    assert refused.status_code == 409
    assert office.world.orders.last() == []
    person.send("/fleet/orders/", "/fleet/desync/", device_id="pos-02", dataset="all", repair="0")
    [asked] = device.post("heartbeat", BEAT).json()["orders"]
    assert (asked["what"], asked["dataset"], asked["repair"]) == ("verify", None, False)
    told = {"id": asked["id"], "in_sync": False, "missing": 2, "extra": 0, "stale": 1, "repaired": 0, "examples": []}
    assert device.post("heartbeat", BEAT | {"orders_done": [told]}).status_code == 204
    assert "2 missing, 0 extra, 1 stale" in person.see("/fleet/desync/")
    person.send("/fleet/orders/", "/fleet/desync/", device_id="pos-02", dataset="products", repair="1")
    [asked] = device.post("heartbeat", BEAT).json()["orders"]
    assert (asked["dataset"], asked["repair"]) == ("products", True)
    person.send(f"/fleet/orders/{asked['id']}/cancel/", "/fleet/desync/")
    assert device.post("heartbeat", BEAT).status_code == 204
    _, noted = office.world.audit.page(_every(), 10, 0)
    assert [one["action"] for one in noted if "order" in one["action"]] == ["cancel order", "order", "order"]


def _every() -> Any:
    from ho_stub.audit import AuditQuery

    return AuditQuery()


def test_a_device_can_report_only_its_own_orders(office: Any, device: Any) -> None:
    """Another device's word on them is not taken."""
    order = office.world.orders.give("pos-02")
    device.post("heartbeat", {"device_id": "pos-03", "orders_done": [{"id": order, "in_sync": True}]})
    assert [one["id"] for one in office.world.orders.waiting("pos-02")] == [order]


def test_the_pages_are_for_the_office(office: Any) -> None:
    """A device's account sees no fleet; nobody sees it without signing in."""
    till = Person(office, office.username, office.password)
    with contextlib.closing(till.http):
        assert till.http.get("/fleet/").status_code == 403
        assert till.send("/fleet/orders/", device_id="pos-02").status_code == 403
    with httpx.Client(base_url=office.url) as nobody:
        assert nobody.get("/fleet/").headers["location"].startswith("/accounts/login/")


def test_programs_get_json(office: Any, device: Any, person: Person) -> None:
    """The same figures, by `Accept`."""
    device.post("heartbeat", BEAT)
    accept = {"Accept": "application/json"}
    [found] = person.http.get("/fleet/", headers=accept).json()["devices"]
    assert (found["device_id"], found["is_stuck"], found["beat"]["health_score"]) == ("pos-02", False, 99.5)
    assert person.http.get("/fleet/desync/", headers=accept).json() == {"lacks": [], "orders": []}
