"""The books' pages: a day's sales, alerts that somebody acknowledges, limits, and who changed what."""

from __future__ import annotations

from typing import Any

from ho_stub.testing import HeadOffice

DAY = "2026-11-21"


def test_a_day_s_sales_of_each_store_are_shown(person: Any, chain: HeadOffice, device: Any) -> None:
    device.upload(
        device.sale(1, (device.cola, "2", "7500.00")),
        device.sale(2, kind="refund", reason="warm"),
        device.sale(3, business_date="2026-11-20"),
    )
    shown = person.get("/books/", day=DAY)
    assert shown.status_code == 200
    assert ">7500.00 IDR<" in shown.text
    assert shown.text.count("IDR</td>") == 1
    assert "No store's sales of that day" in person.get("/books/", day="2026-01-01").text.replace("&#39;", "'")
    assert person.get("/books/", day="yesterday").status_code == 400


def test_an_alert_is_acknowledged_by_its_button_once(person: Any, office: HeadOffice, device: Any) -> None:
    assert "No product is below" in person.get("/books/").text
    office.world.set_stock(device.cola, "1")
    (alert,) = device.http.get("/api/alerts/low-stock/").json()["results"]
    assert "Cola 330 ml" in person.get("/books/").text
    path = f"/books/alerts/{alert['id']}/acknowledge/"
    assert person.http.post(path).status_code == 403  # no mark of this session
    assert person.send(path).status_code == person.send(path).status_code == 303
    assert "seen by office" in person.get("/books/").text
    assert person.send("/books/alerts/nothing/acknowledge/").status_code == 404
    seen = person.get("/books/audit/", action="acknowledge alert").text
    assert seen.count(alert["id"]) == 1


def test_a_rate_limit_is_set_and_taken_away(person: Any, office: HeadOffice) -> None:
    path = "/books/rate-limits/"
    assert person.send(path, store_id=office.store_id, per_minute="60").status_code == 303
    assert office.world.rate_limits.all() == {office.store_id: 60}
    assert person.send(path, store_id=office.store_id, per_minute="").status_code == 303
    assert office.world.rate_limits.all() == {}
    for wrong in ("0", "-1", "many", "1" * 20):
        assert person.send(path, store_id="", per_minute=wrong).status_code == 400
    assert person.send(path, store_id="x", per_minute="1").status_code == 404
    entries = person.get("/books/audit/", action="set rate limit").text
    assert ("60 → gone" in entries, entries.count("set rate limit</td>")) == (True, 2)


def test_the_audit_list_goes_on_with_older_entries_and_shows_text_as_text(person: Any, office: HeadOffice) -> None:
    with office.world.db.write():
        for number in range(60):
            office.world.audit.note("anna", "edit product", f"<b>{number}</b>", {"a": 1, "b": 1}, {"a": 1, "b": 2})
    first = person.get("/books/audit/", actor="anna").text
    assert ("&lt;b&gt;59&lt;/b&gt;" in first, "<b>" in first, "&lt;b&gt;9&lt;" in first) == (True, False, False)
    assert "{&#34;b&#34;: 1} → {&#34;b&#34;: 2}" in first
    older = person.get("/books/audit/", actor="anna", skip="50").text
    assert ("&lt;b&gt;9&lt;" in older, "Older entries" in older) == (True, False)
    assert "skip=50" in first


def test_the_books_are_the_office_s(somebody: Any) -> None:
    till = somebody("pos-02", "secret")
    for path in ("/books/", "/books/audit/"):
        assert till.get(path).status_code == 403
    assert somebody().get("/books/").status_code == 303
