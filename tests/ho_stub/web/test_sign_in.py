"""Signing in to head office's pages, and what protects a session."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ho_stub.testing import HeadOffice
from ho_stub.web import attempts, sessions

Make = Callable[..., Any]
# One client for single questions: each client of its own would read all certificates of the machine first.
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # no TLS here


def test_a_page_leads_to_the_sign_in_and_back(somebody: Make) -> None:
    visitor = somebody()
    away = visitor.get("/promotions/settings/", saved=1)
    assert (away.status_code, away.headers["Location"]) == (
        303,
        "/accounts/login/?next=/promotions/settings/%3Fsaved%3D1",
    )
    assert visitor.sign_in(to="/promotions/settings/?saved=1").headers["Location"] == "/promotions/settings/?saved=1"
    assert visitor.get("/promotions/settings/").status_code == 200
    assert visitor.get("/accounts/login/", next="/fleet/").headers["Location"] == "/fleet/"


ELSEWHERE = [
    "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "",
    "/a\nb", "/accounts/login/?next=/", "evil", "/\t/evil.example",
]  # fmt: skip


def test_no_way_leads_to_another_site(somebody: Make) -> None:
    visitor = somebody()
    for wanted in ELSEWHERE:
        visitor.http.cookies.clear()
        assert visitor.sign_in(to=wanted).headers["Location"] == "/", wanted


def test_the_cookie_is_for_no_script_and_no_other_site_and_the_database_has_only_its_hash(person: Any) -> None:
    cookie = person.sign_in  # a second sign-in needs a signed-out browser
    person.http.cookies.clear()
    answer = cookie()
    header = next(value for value in answer.headers.get_list("Set-Cookie") if "session" in value)
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=28800"} <= set(header.split("; "))
    token = re.match(r"ho_session_\d+=([^;]+)", header)
    assert token
    kept = str(person.office.world.db.rows("SELECT * FROM session"))
    assert token[1] not in kept


def test_a_session_ends_by_signing_out_and_by_time(person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = dict(person.http.cookies)
    assert person.get("/").status_code == 200
    assert person.send("/accounts/logout/").headers["Location"] == "/accounts/login/"
    person.http.cookies.update(token)  # whoever kept the cookie has nothing
    assert person.get("/").status_code == 303
    monkeypatch.setattr(sessions, "SESSION_S", -1.0)
    person.http.cookies.clear()
    person.sign_in()
    assert person.get("/").status_code == 303


def test_a_wrong_password_tells_nothing_and_five_make_the_address_wait(
    somebody: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = somebody()
    for name in ("office", "nobody"):
        wrong = visitor.sign_in(name, "wrong")
        assert (wrong.status_code, "The name or the password is wrong." in wrong.text) == (403, True)
    for _ in range(4):
        visitor.sign_in("office", "wrong")
    waits = visitor.sign_in()  # the right one, too late
    assert waits.status_code == 429
    assert 1 <= int(waits.headers["Retry-After"]) <= attempts.WITHIN_S + 1
    assert visitor.sign_in("pos-02", "secret").status_code == 303, "another name still may"
    monkeypatch.setattr(attempts, "WITHIN_S", 0.0)
    visitor.http.cookies.clear()
    assert visitor.sign_in().status_code == 303


def test_many_names_make_the_address_wait_too(somebody: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PER_ADDRESS_MAX", 6)
    visitor = somebody()
    assert [visitor.sign_in(f"name {n}", "wrong").status_code for n in range(7)] == [403] * 6 + [429]


def test_a_sign_in_form_of_another_site_is_refused(somebody: Make) -> None:
    visitor = somebody()
    fields = {"username": "office", "password": "office-demo"}
    assert visitor.http.post("/accounts/login/", data=fields).status_code == 403
    assert visitor.http.post("/accounts/login/", data={**fields, "mark": "x"}).status_code == 403
    mark = re.search(r'name="mark" value="([^"]+)"', visitor.get("/accounts/login/").text)
    assert mark
    fields["mark"] = mark[1]
    cross = visitor.http.post("/accounts/login/", data=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    assert visitor.get("/").status_code == 303


def test_a_form_without_the_session_s_mark_changes_nothing(person: Any, somebody: Make) -> None:
    before = person.office.world.settings()
    form = person.settings_form(future_days="30")
    theirs = somebody("office", "office-demo").csrf()
    for mark in (None, "", "x", theirs, "é"):
        answer = person.http.post("/promotions/settings/", data=form | ({} if mark is None else {"csrf": mark}))
        assert (answer.status_code, "out of date" in answer.text) == (403, True)
    ours = form | {"csrf": person.csrf()}
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert person.http.post("/promotions/settings/", data=ours, headers=headers).status_code == 403
    assert person.office.world.settings() == before


def test_every_page_forbids_frames_scripts_of_others_and_keeping(person: Any, somebody: Make) -> None:
    for answer in (person.get("/"), person.get("/promotions/settings/"), somebody().get("/accounts/login/")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "<script>" not in answer.text
        assert " style=" not in answer.text
        for script in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            assert person.get(script).status_code == 200
    assert person.get("/static/../base.py").status_code == 404
    assert person.get("/static/nothing.css").status_code == 404


def test_a_form_that_is_too_large_or_no_form_is_refused(person: Any) -> None:
    large = person.http.post("/promotions/settings/", content=b"a=" + b"x" * 300_000)
    assert large.status_code == 413
    for body in (b"a=%ff", b"\xff\xfe", "&".join(f"f{n}=1" for n in range(2_000)).encode()):
        assert person.http.post("/promotions/settings/", content=body).status_code == 400


def test_the_account_of_a_device_sees_that_it_may_not(somebody: Make) -> None:
    device = somebody("pos-02", "secret")
    assert device.get("/").status_code == 200
    for path in ("/promotions/settings/", f"/promotions/settings/overrides/store/{device.office.store_id}/"):
        answer = device.get(path)
        assert (answer.status_code, "This page is for the office" in answer.text) == (403, True)
    before = device.office.world.settings()
    assert device.send("/promotions/settings/", **device.settings_form(future_days="30")).status_code == 403
    assert device.office.world.settings() == before


def test_an_account_without_a_company_gets_a_clear_page_and_no_data(somebody: Make, office: HeadOffice) -> None:
    """It may sign in; every page says what is missing, and every route of the API refuses it."""
    with office.world.db.write():
        office.world.accounts.add("newcomer", "newcomer-demo", None, has_company=False)
    newcomer = somebody("newcomer", "newcomer-demo")
    for path in ("/", "/promotions/settings/"):
        answer = newcomer.get(path)
        assert (answer.status_code, "belongs to no company yet" in answer.text) == (403, True)
        assert "/accounts/logout/" in answer.text
    tokens = HTTP.post(f"{office.url}/api/token/", json={"username": "newcomer", "password": "newcomer-demo"}).json()
    headers = {"Authorization": f"Bearer {tokens['access']}"}
    query = {"company_id": office.company_id, "store_id": office.store_id, "brand_id": office.brand_id}
    for path in ("/api/v1/sync/version/", "/api/v1/sync/products/", "/api/sales/", "/promotions/settings/api/"):
        refused = HTTP.get(office.url + path, params=query, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN"), path


def test_seed_data_may_name_an_account_without_a_company(tmp_path: Any, somebody: Make) -> None:
    company = {"id": "00000001-0000-4000-8000-000000000000", "name": "C", "timezone": "UTC", "currency": "EUR"}
    store = {
        "id": "00000003-0000-4000-8000-000000000000",
        "code": "1",
        "name": "S",
        "timezone": "UTC",
        "currency": "EUR",
    }
    accounts = [
        {"username": "till", "password": "p", "store_id": store["id"]},
        {"username": "new", "password": "n", "company": False},
        {"username": "boss", "password": "b"},
    ]
    file = tmp_path / "data.json"
    file.write_text(__import__("json").dumps({"company": company, "stores": [store], "accounts": accounts}))
    with HeadOffice(data=str(file)) as other:
        assert other.world.office_account == {"username": "boss", "password": "b", "store_id": None, "company": True}
        assert "no company yet" in somebody("new", "n", other).get("/").text
        assert somebody("boss", "b", other).get("/promotions/settings/").status_code == 200
