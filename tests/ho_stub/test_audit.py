"""The audit log: entries commit with their change, are listed newest first, and belong to the office alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

AUDIT = "/api/audit/"


def test_entries_are_listed_newest_first_in_pages_with_what_was_and_is(office: Any, clerk: Any) -> None:
    with office.world.db.write():
        for number in range(3):
            office.world.audit.note("anna", "edit product", f"p{number}", {"price": "1.00"}, {"price": "2.00"})
    first = clerk.get(AUDIT, params={"actor": "anna", "page_size": 2}).json()
    assert [entry["subject"] for entry in first["results"]] == ["p2", "p1"]
    assert (first["count"], first["results"][0]["before"]) == (3, {"price": "1.00"})
    second = clerk.get(first["next"]).json()
    assert [entry["subject"] for entry in second["results"]] == ["p0"]


def test_entries_are_found_by_who_what_and_when(office: Any, clerk: Any) -> None:
    audit = office.world.audit
    with office.world.db.write():
        audit.note("anna", "edit product", "p1")
        audit.note("ben", "delete product", "p1")
        office.world.db.run("UPDATE audit SET at = '2026-01-31T23:59:59.999999Z' WHERE actor = 'ben'")

    def found(**query: str) -> list[str]:
        return [entry["actor"] for entry in clerk.get(AUDIT, params=query).json()["results"]]

    assert found(action="edit product") == ["anna"]
    assert found(subject="p1") == ["ben", "anna"]
    assert found(start_date="2026-01-01", end_date="2026-01-31") == ["ben"]
    assert found(start_date="2026-02-01", subject="p1") == ["anna"]
    assert found(actor="' OR 1=1 --") == []
    assert clerk.get(AUDIT, params={"start_date": "yesterday"}).json()["code"] == "INVALID_DATE_FORMAT"
    assert clerk.get(AUDIT, params={"start_date": "2026-02-02", "end_date": "2026-02-01"}).status_code == 400


def test_an_entry_goes_with_the_change_that_fails(office: Any) -> None:
    before = office.world.db.value("SELECT count(*) FROM audit")

    def fail() -> None:
        with office.world.db.write():
            office.world.audit.note("anna", "edit product", "p1")
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError):
        fail()
    assert office.world.db.value("SELECT count(*) FROM audit") == before


def test_a_device_s_account_may_not_read_it(device: Any) -> None:
    answer = device.http.get(AUDIT)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_an_account_of_no_company_reaches_no_books(office: Any) -> None:
    with office.world.db.write():
        office.world.accounts.add("nobody", "secret", None, has_company=False)
    with httpx.Client(base_url=office.url, verify=False) as http:
        tokens = http.post("/api/token/", json={"username": "nobody", "password": "secret"}).json()
        http.headers["Authorization"] = f"Bearer {tokens['access']}"
        for path in (AUDIT, "/api/sales/", "/api/sales/analytics/", "/api/alerts/low-stock/", "/api/rate-limits/"):
            assert http.get(path).status_code == 403, path
