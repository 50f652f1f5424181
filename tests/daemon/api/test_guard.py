"""Who may ask the API, and how much: everybody else is refused in words, and nothing of theirs is done."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.daemon.web import guard, protocol
from edge_agent.daemon.web.guard import BODY_BYTES_MAX


@pytest.fixture
def api(lone_api: Any) -> Any:
    """What is refused needs no head office."""
    return lone_api


@pytest.fixture
def recorded(api: Any) -> Callable[[], int]:
    """How many entries this test has recorded."""
    before = api.agent.status()["pending"]
    return lambda: int(api.agent.status()["pending"] - before)


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer on a bare connection."""
    file = connection.makefile("rb")
    status = int(file.readline().split()[1])
    length = 0
    while (line := file.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, file.read(length)


def head(api: Any, line: str, *more: str) -> bytes:
    """A request's head with the token."""
    own = [f"Host: 127.0.0.1:{api.port}", f"Authorization: Bearer {api.keys.token}"]
    return "\r\n".join([line, *own, *more, "", ""]).encode()


# ---- where a request comes from --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "127.0.0.1"])
def test_this_devices_own_names_are_answered(api: Any, host: str) -> None:
    """Whatever a till calls this machine."""
    assert api.get("/v1/status", headers={"Host": host.format(api.port)}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example:{}", "evil.example", "127.0.0.1:1", "127.0.0.1.evil.example:{}", "0.0.0.0:{}", "", "[::1"]
)
@pytest.mark.parametrize("path", ["/v1/status", "/", "/openapi.json"])
def test_a_foreign_name_is_refused(api: Any, host: str, path: str) -> None:
    """A site's name that was bound to 127.0.0.1 (DNS rebinding) gets nothing, with a key or without."""
    answer = api.get(path, headers={"Host": host.format(api.port)})
    assert answer.status == 421
    assert answer.is_problem


def test_a_request_without_a_name_is_refused(api: Any) -> None:
    """HTTP/1.0 needs no Host; here it does."""
    with api.raw() as connection:
        connection.sendall(f"GET /v1/status HTTP/1.0\r\nAuthorization: Bearer {api.keys.token}\r\n\r\n".encode())
        assert read_answer(connection)[0] == 421


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{}", "http://localhost:{}"]
)
def test_a_foreign_page_is_refused(api: Any, recorded: Any, sale: Any, origin: str) -> None:
    """Pages of other sites, of other ports and of files may not ask, even with the key."""
    answer = api.post("/v1/sales", sale(), headers={"Origin": origin.format(api.port)})
    assert (answer.status, answer.json["code"]) == (403, "FOREIGN_ORIGIN")
    assert answer.is_problem
    assert recorded() == 0


def test_its_own_page_may_ask(api: Any) -> None:
    """The page that this server served."""
    assert api.get("/v1/status", headers={"Origin": f"http://127.0.0.1:{api.port}"}).status == 200


@pytest.mark.parametrize("path", ["/v1/sales", "/v1/status", "/"])
def test_no_other_site_is_ever_allowed(api: Any, path: str) -> None:
    """OPTIONS, by which browsers ask for another site, is refused; no answer allows one."""
    answer = api.ask("OPTIONS", path, headers={"Access-Control-Request-Method": "POST"})
    assert answer.status == 405
    assert answer.is_problem
    for each in (answer, api.get("/v1/status"), api.get("/", token=None)):
        assert not [name for name in each.headers if name.startswith("access-control")]


# ---- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/status", "/v1/page", "/v1/events", "/metrics", "/v1/none", "/v1/products/x"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic dGlsbDp0aWxs"},
        {"Authorization": "Bearer \xe9"},
        {"Cookie": "edge_agent_page_{port}=wrong"},
        {"Cookie": ';;=;"'},
    ],
)
def test_without_a_key_nothing_is_told(api: Any, path: str, headers: dict[str, str], quick: None) -> None:
    """No key, a wrong one, another scheme: 401 with the mend, and not even whether the path exists."""
    sent = {name: value.replace("{port}", str(api.port)) for name, value in headers.items()}
    answer = api.get(path, token=None, headers=sent)
    assert (answer.status, answer.json["code"]) == (401, "NO_KEY")
    assert answer.is_problem
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong keys are answered at once."""
    monkeypatch.setattr(guard, "FAILED_WAIT_S_MAX", 0.0)


def test_wrong_keys_are_slowed_down(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever guesses waits; whoever has the key does not; too many who wait are refused at once."""
    monkeypatch.setattr(guard, "FAILED_WAIT_S_MAX", 0.3)
    for _ in range(guard.FREE_FAILURES + 4):
        api.get("/v1/status", token="wrong")
    begun = time.monotonic()
    assert api.get("/v1/status", token="wrong").status == 401
    assert time.monotonic() - begun >= 0.25
    begun = time.monotonic()
    assert api.get("/v1/status").status == 200
    assert time.monotonic() - begun < 0.25
    monkeypatch.setattr(guard, "FAILED_WAITERS_MAX", 0)
    answer = api.get("/v1/status", token="wrong")
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert answer.is_problem


def test_a_page_reads_and_retries_and_sells_nothing(api: Any, recorded: Any, sale: Any) -> None:
    """A page's session may look, ask for a sync and offer entries again; recording is refused in words."""
    cookie = api.as_page()
    page: Callable[..., Any] = lambda method, path, body=None: api.ask(method, path, body, token=None, headers=cookie)  # noqa: E731
    assert page("GET", "/v1/status").status == 200
    assert page("GET", "/v1/page").status == 200
    assert page("POST", "/v1/sync").status == 202
    assert page("POST", "/v1/outbox/retry", {"all": True}).status == 200
    use = {"promotion_id": "00000009-0000-4000-8000-000000000000", "discount_amount": "1.00", "bill_id": "7"}
    for path, body in (("/v1/sales", sale()), ("/v1/usages", use)):
        answer = page("POST", path, body)
        assert (answer.status, answer.json["code"]) == (403, "PAGE_MAY_NOT_SELL")
        assert answer.is_problem
    assert recorded() == 0


def test_a_pages_cookie_is_for_this_browser_alone(api: Any) -> None:
    """No program reads it, no other site sends it; it is neither the key nor the token."""
    answer = api.post("/v1/session", {"key": api.keys.page_key()}, token=None)
    cookie = answer.headers["set-cookie"]
    assert {"httponly", "samesite=strict", "path=/", "max-age=34560000"} <= set(cookie.lower().split("; "))
    assert api.keys.token not in cookie
    assert api.keys.page_key() not in cookie


@pytest.mark.parametrize(
    "others",
    [
        'prefs={{"theme":"dark"}}; {}',
        '{}; prefs={{"theme": "dark", "x": [1, 2]}}',
        "flag; {}",
        "a=1;; {}",
        "n[o]=1; {}",
    ],
)
def test_other_programs_cookies_lock_no_page_out(api: Any, others: str) -> None:
    """A browser sends what any program on 127.0.0.1 has set, on whatever port, however odd."""
    cookie = others.format(api.as_page()["Cookie"])
    assert api.get("/v1/page", token=None, headers={"Cookie": cookie}).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_pages_cookie_is_no_use_to_other_pages(api: Any, site: str) -> None:
    """Pages of other ports are the same site to a browser, which sends them the cookie: they are refused."""
    answer = api.get("/v1/status", token=None, headers={**api.as_page(), "Sec-Fetch-Site": site})
    assert (answer.status, answer.json["code"]) == (403, "FOREIGN_ORIGIN")


@pytest.mark.parametrize("body", [{"key": "wrong"}, {"key": 7}, {}, {"key": None}])
def test_a_wrong_page_key_opens_no_session(api: Any, body: Any, quick: None) -> None:
    """The token is none either."""
    answer = api.post("/v1/session", body, token=None)
    assert (answer.status, answer.json["code"]) == (403, "WRONG_KEY")
    assert "set-cookie" not in answer.headers
    assert api.post("/v1/session", {"key": api.keys.token}, token=None).status == 403


# ---- how much --------------------------------------------------------------------------------------------------------


def test_a_body_has_an_end(api: Any) -> None:
    """More than a mebibyte is refused, told beforehand or not."""
    large = b'{"items": "' + b"x" * BODY_BYTES_MAX + b'"}'
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        answer = api.post("/v1/sales", large, headers=headers) if not headers else _chunked(api, large)
        assert (answer[0] if isinstance(answer, tuple) else answer.status) == 413


def _chunked(api: Any, data: bytes) -> tuple[int, bytes]:
    with api.raw() as connection:
        connection.sendall(
            head(api, "POST /v1/sales HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
        )
        for at in range(0, len(data), 65_536):
            part = data[at : at + 65_536]
            connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        return read_answer(connection)


def test_a_sale_may_come_in_chunks(api: Any, sale: Any) -> None:
    """A body without a length is read like any other."""
    status, body = _chunked(api, json.dumps(sale()).encode())
    assert status == 201
    assert json.loads(body)["device_seq"] == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, "TOO_DEEP"),
        (b'{"extra":' * 40 + b"{}" + b"}" * 40, "TOO_DEEP"),
        (b"{", "INVALID_JSON"),
        (b"", "INVALID_JSON"),
        (b'{"a": 1} {"b": 2}', "INVALID_JSON"),
        (b'{"items": NaN}', "INVALID_JSON"),
        (b"\xff\xfe{\x00}\x00", "INVALID_JSON"),
        (b'{"reason": "\xff"}', "INVALID_JSON"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/sales", "/v1/usages"])
def test_what_is_no_json_is_refused(api: Any, path: str, body: bytes, code: str) -> None:
    """Broken, endless or deeply nested JSON: 400 in words."""
    answer = api.post(path, body)
    assert (answer.status, answer.json["code"]) == (400, code)
    assert answer.is_problem


@pytest.mark.parametrize("value", [[], "sale", 7, None, True])
def test_what_is_no_object_is_refused(api: Any, value: Any) -> None:
    """A list of sales is none: each is sent alone, so that each has its own answer."""
    answer = api.post("/v1/sales", json.dumps(value).encode())
    assert (answer.status, answer.json["code"]) == (422, "NOT_AN_OBJECT")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_another_type_is_refused(api: Any, sale: Any, headers: dict[str, str]) -> None:
    """Only application/json in UTF-8: a form of a foreign page can't send it unasked."""
    answer = api.post("/v1/sales", sale(), headers=headers)
    assert answer.status == 415
    assert answer.is_problem
    assert api.post("/v1/sales", sale(), headers={"Content-Type": "application/json; charset=UTF-8"}).status == 201


def test_a_slow_body_is_given_up(api: Any, recorded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that drips, or never comes, is given up; nothing is stored, and the connection ends."""
    monkeypatch.setattr(guard, "BODY_DEADLINE_S", 0.2)
    with api.raw() as connection:
        connection.sendall(
            head(api, "POST /v1/sales HTTP/1.1", "Content-Type: application/json", "Content-Length: 100") + b'{"it'
        )
        status, body = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (408, "TOO_SLOW")
        assert connection.recv(1) == b""
    assert recorded() == 0


def test_slow_headers_are_given_up(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers that drip end with the connection; so does one on which nothing was ever asked."""
    monkeypatch.setattr(protocol, "HEADER_DEADLINE_S", 0.2)
    with api.raw() as first, api.raw() as later:
        first.sendall(b"GET /v1/status HTTP/1.1\r\nX-Drip: ")
        assert first.recv(1) == b""
        later.sendall(head(api, "GET /v1/stock/x HTTP/1.1"))
        assert read_answer(later)[0] == 404
        later.sendall(b"GET /v1/status HTTP/1.1\r\nX-Drip: ")
        assert later.recv(1) == b""


def test_there_is_an_end_to_connections(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told so, and whoever is connected is still answered."""
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 1)
    with api.raw() as first:
        first.sendall(head(api, "GET /v1/stock/x HTTP/1.1"))
        assert read_answer(first)[0] == 404
        with api.raw() as second:
            status, body = read_answer(second)
            assert (status, json.loads(body)["code"]) == (503, "TOO_MANY_CONNECTIONS")
            assert second.recv(1) == b""
        first.sendall(head(api, "GET /v1/stock/x HTTP/1.1"))
        assert read_answer(first)[0] == 404


def test_a_till_that_closes_nothing_is_not_locked_out(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that opens a connection for each request and leaves it: the one that was idle longest makes room."""
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(protocol, "IDLE_S_MIN", 0.0)
    with contextlib.ExitStack() as stack:
        left = []
        for _ in range(6):
            left.append(stack.enter_context(api.raw()))
            left[-1].sendall(head(api, "GET /v1/stock/x HTTP/1.1"))
            assert read_answer(left[-1])[0] == 404
        assert left[0].recv(1) == b""
        left[-2].sendall(head(api, "GET /v1/stock/x HTTP/1.1"))
        assert read_answer(left[-2])[0] == 404


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"x\r\n\r\n"]
)
def test_what_is_no_http_is_told_so(api: Any, said: bytes) -> None:
    """TLS on a plain port, two names, anything else: a problem, and the end of the connection."""
    with api.raw() as connection:
        connection.sendall(said)
        status, body = read_answer(connection)
        assert (status, json.loads(body)["code"]) == (400, "NOT_HTTP")
        assert connection.recv(1) == b""


def test_headers_have_an_end(api: Any) -> None:
    """More than 16 KiB of them are refused."""
    answer = api.get("/v1/status", headers={"X-Long": "x" * 40_000})
    assert (answer.status, answer.json["code"]) == (431, "HEADERS_TOO_LONG")
    with api.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 40_000)
        assert json.loads(read_answer(connection)[1])["code"] == "NOT_HTTP"
    assert api.get("/v1/products?q=" + "x" * 9_000).status == 414


def test_a_body_that_is_broken_off_is_no_sale(api: Any, recorded: Any) -> None:
    """Garbage in the middle of a chunked body ends the request; the next one is answered."""
    with api.raw() as connection:
        connection.sendall(
            head(api, "POST /v1/sales HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
            + b'4\r\n{"it\r\nnot a length\r\n'
        )
        assert read_answer(connection)[0] == 400
    assert recorded() == 0
    assert api.get("/v1/status").status == 200


def test_requests_in_a_row_are_answered_in_their_order(api: Any, recorded: Any, sale: Any) -> None:
    """Pipelined requests get their answers one after the other, on one connection."""
    body = json.dumps(sale()).encode()
    record = head(api, "POST /v1/sales HTTP/1.1", "Content-Type: application/json", f"Content-Length: {len(body)}")
    with api.raw() as connection:
        connection.sendall((record + body) * 3 + head(api, "GET /v1/stock/x HTTP/1.1"))
        file = connection.makefile("rb")
        statuses = []
        for _ in range(4):
            statuses.append(int(file.readline().split()[1]))
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            file.read(length)
    assert statuses == [201, 201, 201, 404]
    assert recorded() == 3


# ---- paths and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/texts/../index.html.json",
        "/texts/..%2f..%2fweb%2fopenapi.json",
        "/texts/%2e%2e/%2e%2e/web/openapi.json",
        "/../keys.py",
        "/page.css/../../web/keys.py",
        "/web/openapi.json",
        "/texts/en.json%00.json",
        "/texts/....json",
        "//etc/passwd",
        "/favicon.ico",
    ],
)
def test_no_path_leads_out_of_the_page(api: Any, path: str) -> None:
    """Only the page's own files are served."""
    answer = api.get(path, token=None)
    assert answer.status == 404
    assert answer.is_problem


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/sales", "POST"),
        ("PUT", "/v1/sales", "POST"),
        ("DELETE", "/v1/sales/x", "GET, HEAD"),
        ("POST", "/v1/status", "GET, HEAD"),
        ("TRACE", "/", "GET, HEAD"),
        ("BREW", "/v1/sync", "POST"),
        ("POST", "/v1/events", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(api: Any, method: str, path: str, allow: str) -> None:
    """405 with Allow, as a problem."""
    answer = api.ask(method, path)
    assert (answer.status, answer.json["code"]) == (405, "WRONG_METHOD")
    assert sorted(answer.headers["allow"].split(", ")) == allow.split(", ")
    assert answer.is_problem


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/", "/v1/sales/", "/v1/status/", "/v2/status"])
def test_an_unknown_path_is_told_so(api: Any, path: str) -> None:
    """404 as a problem; never a redirect."""
    answer = api.get(path)
    assert (answer.status, answer.json["code"]) == (404, "NO_SUCH_PATH")
    assert answer.is_problem


@pytest.mark.parametrize("path", ["/v1/status", "/v1/products", "/v1/events", "/openapi.json"])
def test_head_is_get_without_a_body(api: Any, path: str) -> None:
    """As HTTP has it."""
    answer = api.ask("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_every_answer_is_dressed(api: Any) -> None:
    """Nothing is kept by a browser, guessed at, framed, or told to other sites; good and bad answers alike."""
    for answer in (api.get("/v1/status"), api.get("/v1/status", token=None), api.get("/v1/none")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["date"].endswith("GMT")
        assert "server" not in answer.headers


def test_the_page_runs_nothing_but_its_own(api: Any) -> None:
    """Its policy allows no inline script, no other site, no frame."""
    answer = api.get("/", token=None)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for path in ("/page.css", "/page.js", "/texts/en.json", "/texts/id.json", "/openapi.json"):
        assert api.get(path, token=None).status == 200, path
    assert api.get("/texts/xx.json", token=None).status == 404


def test_a_fault_of_ours_shows_a_number_and_no_more(
    api: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has no traceback; the log has it, at the same number."""

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("a secret of the code")

    monkeypatch.setattr(api.agent.catalog, "categories", fail)
    answer = api.get("/v1/categories")
    assert (answer.status, answer.json["code"]) == (500, "FAULT")
    assert answer.is_problem
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    [record] = [one for one in caplog.records if answer.json["fault"] in one.getMessage()]
    assert record.exc_info is not None
    assert api.get("/v1/status").status == 200
