"""Faults: each does what its sentence says, to the requests it is meant for, and to no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ho_stub.app import create_app
from ho_stub.faults.change import CHANGES
from ho_stub.faults.exchange import Catcher, Request
from ho_stub.faults.instead import INSTEAD
from ho_stub.faults.plan import plan_of, read_plan
from ho_stub.faults.sending import BEFORE, SENDING
from ho_stub.faults.switched import Asked, Faults, Scope
from ho_stub.faults.table import GROUPS, KINDS, FaultError, listing
from ho_stub.gaps import GAPS, GapError, Gaps
from ho_stub.testing import HeadOffice
from ho_stub.world import World

REPO = Path(__file__).resolve().parents[2]
BENCH = "/_bench/faults/"


@pytest.fixture
def faults(office: HeadOffice) -> Iterator[Faults]:
    """The office's faults; none outlives a test."""
    yield office.faults
    office.faults.clear()


def ask(device: Any, **headers: str) -> httpx.Response:
    """A version poll on a connection of its own."""
    with httpx.Client(base_url=device.office.url, timeout=5, verify=False) as http:
        sent = {"Authorization": device.http.headers["Authorization"]} | headers
        return http.get("/api/v1/sync/version/", params=device.ids, headers=sent)


def asked(office: HeadOffice) -> list[tuple[str, str, int]]:
    return [entry for entry in office.requests if "/token/" not in entry[1]]


# -- the table


def test_every_fault_is_done_at_its_step_and_told_in_a_line() -> None:
    steps = {"before": set(BEFORE), "instead": set(INSTEAD), "change": set(CHANGES), "send": set(SENDING)}
    for step, names in steps.items():
        assert {kind.name for kind in KINDS.values() if kind.step == step} == names
    assert sum(map(len, GROUPS.values())) == len(KINDS)
    lines = listing().splitlines()
    for kind in KINDS.values():
        (line,) = [line for line in lines if line.startswith(f"  {kind.name}") and kind.says in line]
        assert kind.says.endswith("."), line
    assert set(GAPS) - set(KINDS) == set()


def test_the_document_names_every_fault() -> None:
    text = (REPO / "docs/faults.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        if kind.step != "gap":
            assert f"`{kind.name}`" in text, kind.name


# -- the line


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("reset", httpx.ReadError),
        ("close", httpx.RemoteProtocolError),
        ("lost_answer", httpx.ReadError),
        ("closed_answer", httpx.RemoteProtocolError),
        ("reset_mid_answer", httpx.ReadError),
        ("cut_headers", httpx.RemoteProtocolError),
        ("truncated", httpx.RemoteProtocolError),
        ("no_http", httpx.RemoteProtocolError),
    ],
)
def test_a_broken_line_breaks_one_exchange(
    device: Any, office: HeadOffice, faults: Faults, name: str, error: type[Exception]
) -> None:
    """The answer never arrives whole; the next request is served as if nothing had been."""
    fault = faults.add(name, times=1)
    office.clear_requests()
    with pytest.raises(error):
        ask(device)
    assert ask(device).status_code == 200
    assert fault.hits == 1
    assert [status for *_, status in asked(office)] == [0, 200]


@pytest.mark.parametrize(("name", "taken"), [("reset", 0), ("close", 0), ("lost_answer", 1), ("truncated", 1)])
def test_a_sale_is_taken_or_not_as_the_fault_says(
    device: Any, office: HeadOffice, faults: Faults, name: str, taken: int
) -> None:
    faults.add(name, route="sales", times=1)
    sale = device.sale(1)
    with pytest.raises(httpx.TransportError):
        device.upload(sale)
    assert office.world.sale_count() == taken
    assert device.upload(sale)[0]["status"] == ("duplicate" if taken else "created")


@pytest.mark.parametrize("name", ["hang", "hang_after"])
def test_an_answer_that_never_comes(device: Any, faults: Faults, name: str) -> None:
    faults.add(name, times=1)
    with pytest.raises(httpx.ReadTimeout):
        device.http.get("/health/", timeout=0.2)
    assert ask(device).status_code == 200


def test_slow_and_dripping_answers_are_right_in_the_end(device: Any, faults: Faults) -> None:
    whole = ask(device).json()
    with faults.during("slow", 1), pytest.raises(httpx.ReadTimeout):
        device.http.get("/health/", timeout=0.2)
    with faults.during("drip", 1_000_000):
        assert ask(device).json()["version"] == whole["version"]
    with faults.during("drip", 5), device.http.stream("GET", "/health/") as answer:
        assert next(answer.iter_raw()) == b"{"


def test_a_refused_port_is_open_again_afterwards(device: Any, office: HeadOffice, faults: Faults) -> None:
    """Connections that were open are cut; nobody can make another one until then."""
    assert device.http.get("/health/").status_code == 200
    fault = faults.add("refuse")
    with pytest.raises(httpx.TransportError):
        device.http.get("/health/")
    with pytest.raises(httpx.ConnectError):
        device.http.get("/health/")
    assert faults.remove(fault)
    assert ask(device).status_code == 200
    faults.add("refuse", for_s=1)
    with pytest.raises(httpx.ConnectError):
        device.http.get("/health/")
    assert _answers_again(device)
    office.stop()
    office.start()
    assert ask(device).status_code == 200


def test_the_bench_answers_before_its_own_door_closes(office: HeadOffice, clerk: Any, faults: Faults) -> None:
    made = clerk.post(BENCH, json={"name": "refuse", "for_s": 0.1})
    assert (made.status_code, made.json()["at_s"]) == (201, 0.25)
    assert clerk.post(BENCH, json={"name": "refuse"}).status_code == 400


def _answers_again(device: Any) -> bool:
    for _ in range(1_000):
        with contextlib.suppress(httpx.TransportError):
            return device.http.get("/health/").status_code == 200
        threading.Event().wait(0.01)
    return False


def test_a_request_that_is_delivered_twice_counts_once(device: Any, office: HeadOffice, faults: Faults) -> None:
    first, second = device.sale(1), device.sale(2)
    with faults.during("sent_twice", route="sales"):
        assert device.upload(first)[0]["status"] == "duplicate"
    with faults.during("old_upload_again"):
        device.upload(second)
        device.upload(device.sale(3))
    assert office.world.sale_count() == 3


# -- answers


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 502, 503, 504])
def test_refusals_come_with_their_status_and_never_reach_head_office(
    device: Any, office: HeadOffice, faults: Faults, status: int
) -> None:
    with faults.during(f"http_{status}", route="sales"):
        answer = device.post("sales", {"sales": [device.sale(1)]})
        assert device.get("version", **device.ids).status_code == 200
    assert (answer.status_code, "Retry-After" in answer.headers) == (status, False)
    assert office.world.sale_count() == 0
    if status in (429, 503):
        with faults.during(f"http_{status}", "Wed, 21 Oct 2026 07:28:00 GMT"):
            assert ask(device).headers["Retry-After"] == "Wed, 21 Oct 2026 07:28:00 GMT"


def test_too_large_lets_small_uploads_pass(device: Any, faults: Faults) -> None:
    with faults.during("http_413", 1):
        body = {"sales": [device.sale(1), device.sale(2)]}
        assert device.post("sales", body).json()["code"] == "PAYLOAD_TOO_LARGE"
        assert device.upload(device.sale(1))[0]["status"] == "created"
        assert ask(device).status_code == 200


def test_others_answer_in_head_office_s_place(device: Any, faults: Faults) -> None:
    with faults.during("captive_portal"):
        assert (ask(device).status_code, ask(device).headers["content-type"][:9]) == (200, "text/html")
    with faults.during("proxy_page"):
        assert (ask(device).status_code, ask(device).text[:6]) == (502, "<html>")
    with faults.during("redirect", "https://new.example/"):
        assert (ask(device).status_code, ask(device).headers["location"]) == (301, "https://new.example/")


def test_a_proxy_s_cache_answers_with_what_was(device: Any, office: HeadOffice, faults: Faults) -> None:
    with faults.during("cached_answer"):
        first = device.download("products")
        office.world.edit("products", device.cola, price="1.00")
        assert device.download("products") == first
    assert device.download("products") != first


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def test_bodies_that_can_t_be(device: Any, faults: Faults) -> None:
    whole = ask(device)
    bad: dict[str, bytes] = {}
    for name in ("invalid_json", "damaged", "nan", "json_list", "empty_body", "truncated_to_fit"):
        with faults.during(name):
            bad[name] = ask(device, **{"Accept-Encoding": "identity"}).content
    for name in ("invalid_json", "empty_body", "truncated_to_fit"):
        assert not _is_json(bad[name])
    assert bad["nan"].count(b"NaN") == 1
    assert isinstance(json.loads(bad["json_list"]), list)
    assert 0 < len(bad["truncated_to_fit"]) < len(whole.content)
    assert bad["damaged"] != whole.content
    with faults.during("wrong_type"):
        answer = ask(device)
        assert (answer.headers["content-type"][:9], answer.json()["version"]) == ("text/html", whole.json()["version"])


def test_huge_bodies_are_as_huge_as_told(device: Any, faults: Faults) -> None:
    with faults.during("huge_body", 3):
        assert len(ask(device).content) == 3 * 1024 * 1024
    with faults.during("gzip_bomb", 4):
        answer = ask(device)
        assert (len(answer.content), int(answer.headers["content-length"]) < 100_000) == (4 * 1024 * 1024, True)


def test_a_clock_that_is_off_shows_in_date_and_server_time(device: Any, faults: Faults) -> None:
    with faults.during("clock_skew", -7200):
        answer = ask(device)
    for there in (parsedate_to_datetime(answer.headers["date"]), datetime.fromisoformat(answer.json()["server_time"])):
        assert 7_100 < (datetime.now(UTC) - there).total_seconds() < 7_300
    assert len(ask(device).headers.get_list("date")) == 1


def test_tokens_end_and_are_taken_up_again(device: Any, faults: Faults, clerk: Any) -> None:
    with faults.during("expired_token", route="version", times=1):
        assert ask(device).status_code == 401
        refreshed = device.http.post("/api/token/refresh/", json={"refresh": device.refresh_token})
        device.http.headers["Authorization"] = f"Bearer {refreshed.json()['access']}"
        assert ask(device).status_code == 200
    with faults.during("expired_refresh", route="version", times=1):
        assert ask(device).status_code == 401
    assert device.http.post("/api/token/refresh/", json={"refresh": device.refresh_token}).status_code == 401
    assert clerk.get("/api/sales/").status_code == 200  # of others, none ended


# -- the feed and the results


def test_cursors_that_are_refused_or_lead_nowhere(device: Any, faults: Faults) -> None:
    device.pull("products")
    cursor = device.cursors["products"]
    with faults.during("expired_cursor") as fault:
        assert device.get("products", **device.ids, cursor=cursor).json()["code"] == "CURSOR_EXPIRED"
        assert device.get("products", **device.ids).status_code == 200
        assert fault.hits == 1
    with faults.during("invalid_cursor"):
        assert device.get("products", **device.ids, cursor=cursor).status_code == 400
    with faults.during("stuck_cursor"):
        page = device.download("products", cursor=cursor)
        assert (page["next_cursor"], page["has_more"]) == (cursor, True)
    with faults.during("new_epoch"):
        answers = [ask(device) for _ in range(2)]
    epochs = {answer.json()["epoch"] for answer in answers} | {answer.headers["x-ho-epoch"] for answer in answers}
    assert len(epochs) == 1
    assert epochs != {device.office.world.epoch}


def test_results_that_are_not_true(device: Any, office: HeadOffice, faults: Faults) -> None:
    def told(name: str, seq: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        sales = [device.sale(seq + place) for place in range(2)]
        with faults.during(name):
            results = device.upload(*sales)
        return sales, results

    sales, results = told("missing_results", 1)
    assert [one["external_id"] for one in results] == [sales[1]["external_id"]]
    assert told("no_results", 3)[1] == []
    assert len(told("duplicated_results", 5)[1]) == 4
    sales, results = told("reordered_results", 7)
    assert [one["external_id"] for one in results] == [sales[1]["external_id"], sales[0]["external_id"]]
    sales, results = told("foreign_results", 9)
    assert not {one["external_id"] for one in results} & {sale["external_id"] for sale in sales}
    sales, results = told("wrong_fingerprint", 11)
    honest = device.upload(*sales)
    assert [one["fingerprint"] for one in results] == [one["fingerprint"] for one in reversed(honest)]
    assert office.world.sale_count() == 12
    for name, status in (("retry_results", "retry"), ("rejected_results", "rejected")):
        sales, results = told(name, 13)
        assert [(one["status"], one["external_id"]) for one in results] == [
            (status, sale["external_id"]) for sale in sales
        ]
    assert office.world.sale_count() == 12


# -- for whom, how often, how long


def test_a_scope_names_route_method_device_and_how_often(device: Any, office: HeadOffice, faults: Faults) -> None:
    faults.add("http_503", route="version", device="pos-0*", after=1, times=2)
    statuses = [
        ask(device, **{"X-Device-Id": name}).status_code for name in ("pos-02", "till", "pos-03", "pos-02", "pos-02")
    ]
    assert statuses == [200, 200, 503, 503, 200]
    faults.clear()
    faults.add("http_503", method="POST", route="/api/*/sync/*")
    assert ask(device).status_code == 200
    assert device.post("heartbeat", {"device_id": "x"}).status_code == 503
    assert device.http.get("/docs").status_code == 200


def test_several_faults_meet_one_request(device: Any, faults: Faults) -> None:
    """One answer in head office's place is enough; the other waits for its turn."""
    first, second = faults.add("http_503", times=1), faults.add("http_500", times=1)
    faults.add("clock_skew", 60)
    assert [ask(device).status_code for _ in range(3)] == [503, 500, 200]
    assert (first.hits, second.hits) == (1, 1)


def test_a_chance_is_the_same_again_by_its_seed() -> None:
    def met(seed: int) -> list[bool]:
        faults = Faults(Gaps(allowed=True), seed)
        faults.add("reset", chance=0.3)
        return [bool(faults.meeting(Asked("GET", "/api/v1/sync/version/"))) for _ in range(200)]

    assert met(7) == met(7) != met(8)
    assert 30 < sum(met(7)) < 90


def test_a_fault_has_its_time() -> None:
    """at_s, for_s and every_s, by a clock that the test moves."""
    now = [100.0]
    gaps = Gaps(allowed=True)
    faults = Faults(gaps, 1, lambda: now[0])
    faults.add("http_503", at_s=10, for_s=5, every_s=60)
    faults.add("no_total_available", at_s=20, for_s=1)
    faults.add("refuse", at_s=30, for_s=2, every_s=10)

    def at(second: float) -> tuple[bool, bool, tuple[bool, float | None]]:
        now[0] = 100 + second
        met = bool(faults.meeting(Asked("GET", "/api/v1/sync/version/")))
        return met, gaps.is_on("no_total_available"), faults.refuses()

    assert at(0) == (False, False, (False, 30))
    assert at(12) == (True, False, (False, 18))
    assert at(20.5)[:2] == (False, True)
    assert at(31) == (False, False, (True, 1))
    assert at(33) == (False, False, (False, 7))
    assert at(41)[2] == (True, 1)
    assert at(71)[0] is True
    assert at(76)[0] is False


@pytest.mark.parametrize(
    ("name", "value", "scope", "says"),
    [
        ("flood", None, {}, "There is no fault 'flood'"),
        ("slow", "soon", {}, "slow: 'soon' is no such value"),
        ("reset", 3, {}, "reset takes no value"),
        ("reset", None, {"times": 0}, "times must be a number from 1"),
        ("reset", None, {"times": 1.5}, "times must be a whole number"),
        ("reset", None, {"chance": 2}, "chance must be a number from 0 to 1"),
        ("reset", None, {"route": 3}, "route must be text"),
        ("reset", None, {"store": "x"}, "there is no store"),
        ("reset", None, {"every_s": 5}, "every_s needs a for_s"),
        ("refuse", None, {"route": "sales"}, "refuse is for all requests alike"),
    ],
)
def test_what_can_t_be_switched_on_is_told_with_the_mend(
    name: str, value: Any, scope: dict[str, Any], says: str
) -> None:
    faults = Faults(Gaps(allowed=True), 1)
    with pytest.raises(FaultError, match=says):
        faults.add(name, value, **scope)
    assert faults.all() == []


def test_gaps_are_faults_of_a_baseline_head_office(baseline: Any, office: HeadOffice) -> None:
    office_with_gaps = baseline.office
    with office_with_gaps.faults.during("no_total_available"):
        assert "total_available" not in baseline.download("products")
    assert "total_available" in baseline.download("products")
    with pytest.raises(GapError, match="take the profile baseline"):
        office.faults.add("no_total_available")
    assert office.faults.all() == []


# -- switched over HTTP, and by a plan


def test_the_bench_s_route_switches_and_lists_faults(device: Any, office: HeadOffice, clerk: Any) -> None:
    made = clerk.post(BENCH, json={"name": "http_503", "value": "9", "route": "version", "times": 1})
    assert (made.status_code, made.json()["route"], made.json()["times"]) == (201, "version", 1)
    listed = clerk.get(BENCH).json()
    assert ([one["name"] for one in listed["faults"]], listed["seed"]) == (["http_503"], office.faults.seed)
    assert ask(device).headers["Retry-After"] == "9"
    assert clerk.delete(f"{BENCH}{made.json()['id']}/").status_code == 204
    assert clerk.delete(f"{BENCH}{made.json()['id']}/").status_code == 404
    key = {"X-Bench-Key": office.bench_key}
    for _ in range(2):
        assert httpx.post(f"{office.url}{BENCH}", json={"name": "reset"}, headers=key).status_code == 201
    assert httpx.delete(f"{office.url}{BENCH}", headers=key).status_code == 204
    assert (office.faults.all(), ask(device).status_code) == ([], 200)
    actions = [entry["action"] for entry in clerk.get("/api/audit/").json()["results"]]
    assert actions == ["remove fault", "add fault", "add fault", "remove fault", "add fault"]


def test_the_bench_is_for_the_office_alone(device: Any, office: HeadOffice, clerk: Any) -> None:
    assert device.http.get(BENCH).status_code == 403
    assert httpx.get(f"{office.url}{BENCH}").status_code == 401
    assert httpx.get(f"{office.url}{BENCH}", headers={"X-Bench-Key": "guess"}).status_code == 401
    for body in ({"name": "flood"}, {"name": "refuse"}, {"name": 3}, {"name": "reset", "times": "x"}, []):
        answer = clerk.post(BENCH, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), body
    assert clerk.post(BENCH, content=b"{").status_code == 400


def test_a_plan_is_read_with_its_seed(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('seed = 7\n[[fault]]\nname = "http_503"\nvalue = "30"\nroute = "sales"\ntimes = 3\n', "utf-8")
    plan = read_plan(path)
    faults = Faults(Gaps(allowed=True), plan.seed)
    plan.begin(faults)
    (one,) = faults.all()
    assert (one.kind.name, one.value, one.scope, faults.seed) == ("http_503", "30", Scope(route="sales", times=3), 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[fault]]\nname = 'flood'", "fault 1: There is no fault 'flood'"),
        ("[[fault]]\nname = 'reset'\ntimes = 'x'", "fault 1: reset: times must be a number"),
        ("fault = 3", "written as"),
        ("speed = 3", "there is no 'speed' in a plan"),
        ("seed = 'x'", "seed must be a whole number"),
        ("[[fault", "is no TOML"),
    ],
)
def test_a_plan_that_can_t_be_used_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(FaultError, match=says) as told:
        read_plan(path)
    assert str(path) in str(told.value)
    assert plan_of({}).faults == []


def test_the_command_runs_a_plan_and_prints_its_seed_and_key(tmp_path: Path) -> None:
    """`ho-stub run --faults`: the faults of the file, the bench's route with the key that was printed."""
    path = tmp_path / "plan.toml"
    path.write_text('[[fault]]\nname = "http_503"\nroute = "health"\ntimes = 1\n', "utf-8")
    command = [sys.executable, "-m", "ho_stub", "run", "--port", "0", "--faults", str(path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as stub:
        assert stub.stdout is not None
        try:
            words, line = dict[str, str](), ""
            while "edge-agent init" not in line:
                line = stub.stdout.readline()
                assert line, "the stub ended"
                words[line.partition(": ")[0]] = line.strip()
            url = words["Head office (native)"].split()[3]
            assert words["Faults"].startswith("Faults: 1 by the plan, seed ")
            assert httpx.get(f"{url}/health/").status_code == 503
            assert httpx.get(f"{url}/health/").status_code == 200
            key = words["Bench"].split()[-1]
            listed = httpx.get(f"{url}{BENCH}", headers={"X-Bench-Key": key}).json()
            assert listed["faults"][0]["hits"] == 1
        finally:
            stub.terminate()


def test_without_a_bench_there_is_no_such_route() -> None:
    """The application itself has none: it is put before it where somebody asked for one."""
    world = World()
    headers = [(b"x-bench-key", b"")]
    scope = {
        "type": "http", "method": "GET", "path": BENCH, "raw_path": BENCH.encode(), "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": "",
    }  # fmt: skip
    catcher = Catcher(Request(scope, b""))
    asyncio.run(create_app(world)(scope, catcher.receive, catcher.send))
    world.close()
    assert catcher.answer.status == 404
