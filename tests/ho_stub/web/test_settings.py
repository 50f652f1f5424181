"""The page of the sync settings and its JSON: what may stand in a field, what is kept, and who changed it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ho_stub.testing import HeadOffice

Make = Callable[..., Any]
PAGE = "/promotions/settings/"
# One client for single questions: each client of its own would read all certificates of the machine first.
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # no TLS here
API = "/promotions/settings/api/"
WRONG = [
    ("sync_strategy", "sometimes", "Must be one of current_only, include_future, all_active"),
    ("future_days", "91", "Must be a whole number from 0 to 90"),
    ("future_days", "-1", "Must be a whole number from 0 to 90"),
    ("future_days", "", "Must be a whole number from 0 to 90"),
    ("past_days", "1.5", "Must be a whole number from 0 to 30"),
    ("past_days", "31", "Must be a whole number from 0 to 30"),
    ("sync_interval_hours", "0", "Must be a whole number from 1 to 24"),
    ("sync_interval_hours", "25", "Must be a whole number from 1 to 24"),
    ("max_promotions_per_sync", "9", "Must be a whole number from 10 to 500"),
    ("max_promotions_per_sync", "<b>", "Must be a whole number from 10 to 500"),
    ("window_to", ["24:00"], "Each window needs two times of day from 00:00 to 23:59, like 02:00 and 05:00"),
    ("window_to", [""], "Each window needs two times of day from 00:00 to 23:59, like 02:00 and 05:00"),
    ("window_to", ["02:00"], "A window from 02:00 to 02:00 is none; have no window for any time"),
]


@pytest.fixture
def token(office: HeadOffice) -> dict[str, str]:
    """A header of the office account, as programs send it."""
    return {"Authorization": f"Token {office.world.accounts.static_key('office')}"}


def test_the_form_saves_every_field(person: Any) -> None:
    wanted = {
        "sync_strategy": "all_active", "future_days": 90, "past_days": 0, "include_inactive": True,
        "auto_sync_enabled": False, "sync_interval_hours": 24, "max_promotions_per_sync": 10,
        "enable_compression": False,
        "sync_windows": [{"from": "02:00", "to": "05:00"}, {"from": "22:30", "to": "00:15"}],
    }  # fmt: skip
    form = {name: str(value) for name, value in wanted.items() if isinstance(value, int | str)}
    form |= {"include_inactive": "on", "auto_sync_enabled": None, "enable_compression": None}
    windows = {"window_from": ["02:00", "22:30", ""], "window_to": ["05:00", "00:15", ""]}
    answer = person.send(PAGE, whole="1", **form, **windows)
    assert answer.headers["Location"] == f"{PAGE}?saved=1"
    saved = person.office.world.settings()
    assert {name: saved[name] for name in wanted} == wanted
    assert saved["updated_by"] == "office"
    page = person.get(PAGE).text
    assert 'name="future_days" min="0" max="90" step="1" value="90"' in page
    assert 'name="sync_interval_hours" min="1" max="24"' in page
    assert 'name="past_days" min="0" max="30"' in page
    assert 'name="max_promotions_per_sync" min="10" max="500"' in page
    assert 'value="22:30"' in page


def test_a_wrong_field_is_told_at_the_field_and_nothing_is_saved(person: Any) -> None:
    """What was typed stays, in all fields; no other field is blamed."""
    before, csrf = person.office.world.settings(), person.csrf()
    for name, typed, message in WRONG:
        changed = {"sync_interval_hours": "5", "window_from": ["02:00"], "window_to": ["05:00"], name: typed}
        answer = person.http.post(PAGE, data=person.settings_form(**changed) | {"csrf": csrf})
        assert answer.status_code == 400
        field = "sync_windows" if name.startswith("window") else name
        assert re.findall(r'id="(\w+)-problem">([^<]*)<', answer.text) == [(field, html.escape(message))]
        assert f'aria-invalid="true" aria-describedby="{field}-problem"' in answer.text
        if name != "sync_interval_hours":
            assert re.search(r'name="sync_interval_hours"[^>]* value="5"', answer.text)
        if isinstance(typed, str) and name != "sync_strategy":
            assert re.search(rf'name="{name}"[^>]* value="{re.escape(html.escape(typed))}"', answer.text)
    assert person.office.world.settings() == before
    assert person.office.world.policy.history(10)[0] == 0


def test_the_history_says_who_changed_what_when(person: Any, somebody: Make) -> None:
    """Only what is another now; saving the same again is no change, and makes no other version."""
    world = person.office.world
    person.send(PAGE, **person.settings_form(future_days="30"))
    with world.db.write():
        world.accounts.add("maria", "m", None)
    maria = somebody("maria", "m")
    maria.send(PAGE, **maria.settings_form(include_inactive="on", past_days="2"))
    version = world.db.current("change")
    assert maria.send(PAGE, **maria.settings_form()).headers["Location"] == PAGE
    assert world.db.current("change") == version
    count, (last, first) = world.policy.history(10)
    assert count == 2
    assert (first["actor"], first["subject"]) == ("office", "company")
    assert (first["before"], first["after"]) == ({"future_days": 7}, {"future_days": 30})
    assert last["actor"] == "maria"
    assert last["after"] == {"past_days": 2, "include_inactive": True}
    page = maria.get(PAGE).text
    assert "Last changed by <strong>maria</strong>" in page
    assert re.search(r"<code>future_days</code> 7 → <strong>30</strong>", page)


def test_two_people_at_once_do_not_overwrite_each_other_unasked(person: Any, somebody: Make) -> None:
    """Who saves second is told, keeps what they typed, and may save it all the same."""
    other = somebody("office", "office-demo")
    mine, theirs = person.settings_form(future_days="30"), other.settings_form(past_days="5")
    assert person.send(PAGE, **mine).status_code == 303
    late = other.send(PAGE, **theirs)
    assert late.status_code == 409
    assert "office changed the settings while this page was open" in late.text
    assert re.search(r'name="past_days"[^>]* value="5"', late.text)
    assert person.office.world.settings()["past_days"] == 1
    seen = re.search(r'name="seen" value="([^"]+)"', late.text)
    assert seen
    assert other.send(PAGE, **theirs | {"seen": seen[1]}).status_code == 303


def test_the_json_is_the_same_settings(person: Any, token: dict[str, str]) -> None:
    """By a token or the page's session, at …/api/ or by Accept; a change by PUT or POST, fields left out stay."""
    url = person.office.url
    first = HTTP.get(url + API, headers=token).json()
    assert first["settings"] == person.office.world.settings()
    assert first["overrides"] == []
    assert HTTP.get(url + PAGE, headers=token | {"Accept": "application/json"}).json() == first
    assert person.http.get(API).json() == first
    changed = HTTP.put(url + API, headers=token, json={"future_days": 14, "enable_compression": True}).json()
    assert (changed["changed"], changed["settings"]["future_days"]) == (["future_days"], 14)
    assert changed["settings"]["updated_by"] == "office"
    back = HTTP.post(url + API, headers=token, json=first["settings"]).json()  # what was read may be sent back
    assert back["settings"]["future_days"] == 7


def test_a_wrong_value_in_json_is_told_by_its_field(office: HeadOffice, token: dict[str, str]) -> None:
    before = office.world.settings()
    body = {"future_days": True, "past_days": "3", "sync_windows": [{"from": "2:00", "to": "05:00"}], "colour": 1}
    refused = HTTP.put(office.url + API, headers=token, json=body | {"sync_interval_hours": 3})
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_SETTINGS")
    assert refused.json()["messages"] == {
        "future_days": "must be a whole number from 0 to 90",
        "past_days": "must be a whole number from 0 to 30",
        "sync_windows": "each window needs two times of day from 00:00 to 23:59, like 02:00 and 05:00",
        "colour": "no such setting",
    }
    assert office.world.settings() == before
    for odd in ('{"\\ud800": 1}', '{"sync_strategy": "\\ud800"}', '{"future_days": 1e999}', "[]", '{"past_days": {}}'):
        answer = HTTP.put(office.url + API, headers=token, content=odd)
        assert answer.status_code == 400, odd


MALFORMED: list[Any] = [
    "02:00-05:00", [["02:00", "05:00"]], [{"from": "02:00"}], [{"from": 2, "to": 5}], None, {},
    [{"from": "02:00", "to": "05:00", "why": 1}], [{"from": "1:00", "to": "5:00"}], [{"from": "01:00", "to": "05:60"}],
    [{"from": "01:00", "to": "02:00"}] * 13, [{"from": "٠٢:00", "to": "05:00"}],
]  # fmt: skip


def test_malformed_windows_are_refused(office: HeadOffice, token: dict[str, str]) -> None:
    with httpx.Client(verify=False, base_url=office.url, headers=token) as http:
        for windows in MALFORMED:
            refused = http.put(API, json={"sync_windows": windows})
            assert refused.status_code == 400, refused.text
            assert "sync_windows" in refused.json()["messages"]


def test_who_may_not_is_told_so_in_json(office: HeadOffice, somebody: Make) -> None:
    """401 without a sign-in; 403 for a device, and for a script that has the cookie but not the session's mark."""
    assert HTTP.get(office.url + API).status_code == 401
    device = {"Authorization": f"Token {office.static_key}"}
    for ask in (HTTP.get(office.url + API, headers=device), HTTP.put(office.url + API, headers=device, json={})):
        assert (ask.status_code, ask.json()["code"]) == (403, "FORBIDDEN")
    person = somebody("office", "office-demo")
    assert person.http.put(API, json={"future_days": 1}).status_code == 403
    assert person.http.put(API, json={"future_days": 1}, headers={"X-CSRF-Token": "x"}).status_code == 403
    mark = {"X-CSRF-Token": person.csrf()}
    assert person.http.put(API, json={"future_days": 1}, headers=mark).status_code == 200
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert person.http.put(API, json={"future_days": 2}, headers=mark | cross).status_code == 403
    assert office.world.settings()["future_days"] == 1


def test_settings_work_in_every_answer(device: Any, office: HeadOffice) -> None:
    """The version and promotions show them; page size and compression follow; inactive ones come when asked for."""
    world = office.world
    for number in range(25):
        world.upsert("promotions", {"id": f"00000000-0000-4000-8000-{number:012}", "is_active": number % 2 == 0})
    office.world.policy.save(
        {"max_promotions_per_sync": 10, "auto_sync_enabled": False, "sync_interval_hours": 12, "past_days": 3,
         "sync_windows": [{"from": "02:00", "to": "05:00"}]},
        by="office",
    )  # fmt: skip
    shown = world.settings() | {"timezone": "Asia/Jakarta"}
    assert device.get("version", **device.ids).json()["settings"] == shown
    assert shown["sync_windows"] == [{"from": "02:00", "to": "05:00"}]
    first = device.page("promotions", limit=5_000)
    assert first["settings"] == shown
    assert (first["total"], first["total_available"], first["has_more"]) == (10, 14, True)
    assert len(device.pull("promotions")) == 14
    office.world.policy.save({"include_inactive": True, "enable_compression": False}, by="office")
    answer = device.get("promotions", **device.ids)
    assert answer.json()["total_available"] == 26
    assert "Content-Encoding" not in answer.headers


def test_settings_work_in_every_answer_of_a_baseline_head_office(baseline: Any) -> None:
    """The list is cut, and says so; inactive promotions come when asked for, inactive products never do."""
    world = baseline.office.world
    for number in range(15):
        world.upsert("promotions", {"id": f"00000000-0000-4000-8000-{number:012}", "is_active": number % 3 > 0})
    world.edit("products", baseline.cola, is_active=False)
    world.set_settings(max_promotions_per_sync=10)
    found = baseline.download("promotions")
    assert (found["total"], found["total_available"]) == (10, 11)
    assert found["settings"]["max_promotions_per_sync"] == 10
    world.set_settings(include_inactive=True)
    assert baseline.download("promotions")["total_available"] == 16
    assert baseline.cola not in [row["id"] for row in baseline.download("products")["products"]]


def test_devices_are_told_of_changed_settings(device: Any, office: HeadOffice) -> None:
    """`event: settings` comes with `changed`, and for other changes it doesn't."""
    params = {"store_id": office.store_id}
    with device.http.stream("GET", "/api/v1/sync/events/", params=params, timeout=10) as answer:
        chunks = answer.iter_text()
        heard = next(chunks)
        office.world.edit("products", device.cola, price="1.00")
        while "event: changed" not in heard:
            heard += next(chunks)
        assert "event: settings" not in heard
        office.world.policy.save({"future_days": 30}, by="office")
        while "event: settings" not in heard:
            heard += next(chunks)
        assert heard.count("event: settings") == 1
        at = office.world.policy.noticed_at()
        assert f'event: settings\ndata: {{"updated_at":"{at}"}}\n\n' in heard
