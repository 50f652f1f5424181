"""Rate limits per store: counted in the database, off by default."""

from __future__ import annotations

from typing import Any

import pytest

LIMITS = "/api/rate-limits/"


@pytest.fixture
def minute(office: Any) -> list[float]:
    """The limits' clock, ten seconds into a minute; a test may move it."""
    now = [60_010.0]
    office.world.rate_limits.clock = lambda: now[0]
    return now


def set_limit(clerk: Any, per_minute: int | None, store_id: str | None = None) -> Any:
    answer = clerk.post(LIMITS, json={"store_id": store_id, "per_minute": per_minute})
    assert answer.status_code == 200, answer.text
    return answer.json()["limits"]


def test_there_is_no_limit_until_somebody_sets_one(device: Any, office: Any) -> None:
    assert {device.get("version", **device.ids).status_code for _ in range(20)} == {200}
    assert office.world.db.rows("SELECT requests FROM rate_used") == []


def test_beyond_the_limit_a_store_waits_for_the_next_minute(device: Any, minute: list[float], clerk: Any) -> None:
    """429 RATE_LIMITED with the seconds that are left, and head office's own people aren't held up."""
    set_limit(clerk, 3)
    statuses = [device.get("version", **device.ids).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    answer = device.get("version", **device.ids)
    assert (answer.json()["code"], answer.headers["Retry-After"]) == ("RATE_LIMITED", "51")
    assert clerk.get("/api/sales/").status_code == 200
    minute[0] += 51
    assert device.get("version", **device.ids).status_code == 200


def test_a_store_s_own_limit_goes_before_that_of_all(device: Any, office: Any, minute: list[float], clerk: Any) -> None:
    set_limit(clerk, 1)
    assert set_limit(clerk, 2, office.store_id) == [
        {"store_id": None, "per_minute": 1},
        {"store_id": office.store_id, "per_minute": 2},
    ]
    assert [device.get("version", **device.ids).status_code for _ in range(3)] == [200, 200, 429]
    assert set_limit(clerk, None, office.store_id) == [{"store_id": None, "per_minute": 1}]
    set_limit(clerk, None)
    assert device.get("version", **device.ids).status_code == 200
    found = clerk.get("/api/audit/", params={"action": "set rate limit"}).json()["results"]
    assert [(entry["before"], entry["after"]) for entry in found] == [(1, None), (2, None), (None, 2), (None, 1)]


def test_limits_are_the_office_s_alone_and_are_whole_numbers(device: Any, clerk: Any) -> None:
    assert device.http.get(LIMITS).json()["code"] == "FORBIDDEN"
    assert device.http.post(LIMITS, json={"per_minute": 1}).status_code == 403
    for wrong in (0, -1, True, 1.5, "3", 10**9):
        assert clerk.post(LIMITS, json={"per_minute": wrong}).status_code == 400
    assert clerk.get(LIMITS).json() == {"limits": []}


def test_a_baseline_head_office_limits_too(baseline: Any) -> None:
    world = baseline.office.world
    world.rate_limits.clock = lambda: 60_010.0
    with world.db.write():
        world.rate_limits.set(1)
    assert baseline.get("version", **baseline.ids).status_code == 200
    answer = baseline.get("version", **baseline.ids)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "51")
    assert answer.json()["code"] == "RATE_LIMITED"
