"""Brands and stores with a strategy of their own: what counts where, and that whoever follows deltas misses nothing."""

from __future__ import annotations

import os
import random
import re
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from ho_stub.testing import HeadOffice

Make = Callable[..., Any]
TODAY = date(2026, 11, 21)
# One client for single questions: each client of its own would read all certificates of the machine first.
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # no TLS here
STORE_2 = "00000003-0000-4000-8000-0000000000b2"
STORE_3 = "00000003-0000-4000-8000-0000000000b3"
BRAND_2 = "00000002-0000-4000-8000-0000000000b2"
API = "/promotions/settings/api/"
STEPS, STEPS_MANY = 35, 500


class Follower:
    """A device that keeps promotions by cursor, as the contract says."""

    def __init__(self, http: httpx.Client, office: HeadOffice, store_id: str, brand_id: str | None) -> None:
        self.http = http
        self.ids = {"company_id": office.company_id, "store_id": store_id} | (
            {"brand_id": brand_id} if brand_id else {}
        )
        self.rows: dict[str, Any] = {}
        self.cursor: str | None = None
        self.fresh: set[str] = set()  # of the snapshot under way
        self.told = 0
        self.gone = 0

    def page(self, limit: int) -> bool:
        """One answer, applied; whether to go on."""
        query = self.ids | {"limit": str(limit)} | ({"cursor": self.cursor} if self.cursor else {})
        answer = self.http.get("/api/v1/sync/promotions/", params=query)
        if answer.status_code == 410:
            self.gone += 1
            self.cursor, self.fresh = None, set()
            return True
        body = answer.json()
        ids = {row["id"] for row in body["promotions"]}
        assert not ids & set(body["deleted_ids"])
        assert body["total"] == len(body["promotions"])
        for row in body["promotions"]:
            self.rows[row["id"]] = row
        for row_id in body["deleted_ids"]:
            self.rows.pop(row_id, None)
        self.told += len(ids) + len(body["deleted_ids"])
        if body["snapshot"]:
            self.fresh |= ids
            if not body["has_more"]:
                self.rows = {row_id: row for row_id, row in self.rows.items() if row_id in self.fresh}
                self.fresh = set()
        elif not body["has_more"]:
            assert body["total_available"] == len(ids)
        self.cursor = body["next_cursor"]
        return bool(body["has_more"] or body["snapshot"])  # a snapshot goes on as a delta from its beginning

    def pull(self, limit: int) -> None:
        while self.page(limit):
            pass

    def agrees(self, settings: dict[str, Any]) -> None:
        """What is held is what a fresh device would get; count, digest and settings of the answers say the same."""
        fresh = Follower(self.http, self.office_like(), self.ids["store_id"], self.ids.get("brand_id"))
        fresh.ids = self.ids
        fresh.pull(10)
        assert self.rows == fresh.rows
        digest = self.http.get("/api/v1/sync/digest/", params=self.ids | {"dataset": "promotions"}).json()
        assert digest["count"] == len(self.rows)
        assert digest["cursor"] == self.cursor == fresh.cursor
        ids = {name: self.ids[name] for name in ("company_id", "store_id")}
        version = self.http.get("/api/v1/sync/version/", params=ids).json()
        shown = {name: version["settings"][name] for name in settings}
        assert shown == settings
        if "brand_id" not in self.ids:
            assert version["datasets"]["promotions"]["count"] == len(self.rows)

    def office_like(self) -> Any:
        """What a constructor needs, taken from this one."""
        return type("Ids", (), {"company_id": self.ids["company_id"]})()


def expected(world: Any, store_id: str) -> dict[str, Any]:
    """The rule, said once more: the store's own value, else its brand's, else the company's."""
    found = {name: world.settings()[name] for name in ("sync_strategy", "future_days", "past_days", "include_inactive")}
    for one in sorted(world.policy.overrides(), key=lambda one: str(one.level)):  # brand before store
        if one.id in (store_id, world.store(store_id)["brand_id"]):
            found |= one.values
    return found


def random_promotion(dice: random.Random, row_id: str | None = None) -> dict[str, Any]:
    """Dates around today; sometimes for one brand or some stores."""

    def day() -> str | None:
        return dice.choice([None, (TODAY + timedelta(days=dice.randint(-12, 20))).isoformat()])

    return {
        "id": row_id or str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "is_active": dice.random() < 0.8,
        "name": str(dice.random()),
        "validity": {"start_date": day(), "end_date": day()},
        "targeting": {
            "brands": [BRAND_2] if dice.random() < 0.15 else [],
            "stores": dice.choice([[], [], [STORE_2], [STORE_2, STORE_3]]),
        },
    }


def random_step(dice: random.Random, world: Any, stores: list[str]) -> None:
    """One change at head office: an edit, a deletion, another day, other settings or overrides, a store that moves."""
    ids = [row_id for (row_id,) in world.db.rows("SELECT id FROM feed WHERE dataset = 'promotions' ORDER BY id")]
    own: dict[str, Any] = {}
    for name, values in (
        ("sync_strategy", ["current_only", "include_future", "all_active"]),
        ("future_days", [0, 3, 7]), ("past_days", [0, 1, 5]), ("include_inactive", [True, False]),
    ):  # fmt: skip
        if dice.random() < 0.4:
            own[name] = dice.choice(values)
    what = dice.random()
    if what < 0.30:
        world.upsert("promotions", random_promotion(dice))
    elif what < 0.50:
        world.upsert("promotions", random_promotion(dice, dice.choice(ids)))
    elif what < 0.58:
        world.delete("promotions", dice.choice(ids))
    elif what < 0.75:
        world.set_today(TODAY + timedelta(days=dice.randint(-3, 9)))
    elif what < 0.88:
        world.policy.save_override("store", dice.choice(stores), own, by="office")
    elif what < 0.94:
        world.policy.save_override("brand", world.store(dice.choice(stores))["brand_id"], own, by="office")
    elif what < 0.98:
        world.policy.save(own, by="office")
    else:
        world.move_store(STORE_3, dice.choice([BRAND_2, world.device["brand_id"]]))


@pytest.mark.parametrize("steps", [STEPS, pytest.param(STEPS_MANY, marks=pytest.mark.slow)])
def test_whoever_follows_deltas_has_what_a_fresh_device_gets(chain: HeadOffice, steps: int) -> None:
    """Through edits, days that pass, settings and overrides that change in mid-pull: never a row too few."""
    seed = int(os.environ.get("FOLLOW_SEED") or random.randrange(10**9))
    print(f"FOLLOW_SEED={seed}")
    dice, world = random.Random(seed), chain.world
    world.set_today(TODAY)
    for _ in range(40):
        world.upsert("promotions", random_promotion(dice))
    world.policy.save({"max_promotions_per_sync": 10}, by="office")
    stores = [chain.store_id, STORE_2, STORE_3]
    with httpx.Client(verify=False, base_url=chain.url) as http:
        http.headers["Authorization"] = f"Token {world.accounts.static_key('office')}"
        followers = [Follower(http, chain, store_id, None) for store_id in stores]
        followers.append(Follower(http, chain, STORE_2, BRAND_2))
        for _ in range(steps):
            random_step(dice, world, stores)
            one = dice.choice(followers)
            for _ in range(dice.choice([0, 1, 2])):  # perhaps the next change comes in the middle of its pull
                one.page(dice.randint(1, 6))
            if dice.random() < 0.3:
                one.pull(dice.randint(1, 10))
                one.agrees(expected(world, one.ids["store_id"]))
        for one in followers:
            one.pull(3)
            one.agrees(expected(world, one.ids["store_id"]))
        assert sum(one.gone for one in followers) < steps
        if steps == STEPS_MANY:
            assert all(one.told > 100 and one.gone for one in followers), "the trials are worth their name"


def test_a_store_s_own_value_counts_before_its_brand_s_and_the_company_s(chain: HeadOffice) -> None:
    policy, world = chain.world.policy, chain.world
    policy.save_override("brand", chain.brand_id, {"future_days": 20, "sync_strategy": "all_active"}, by="ann")
    policy.save_override("store", STORE_2, {"future_days": 0}, by="bob")
    found = {store_id: policy.effective(world.store(store_id)) for store_id in (chain.store_id, STORE_2, STORE_3)}
    assert [one["future_days"] for one in found.values()] == [20, 0, 7]
    assert [one["sync_strategy"] for one in found.values()] == ["all_active", "all_active", "include_future"]
    assert [one["updated_by"] for one in found.values()] == ["ann", "bob", None]
    policy.save({"future_days": 9}, by="cleo")
    assert [policy.effective(world.store(one))["future_days"] for one in found] == [20, 0, 9]
    policy.save_override("store", STORE_2, {}, by="bob")  # inherits again
    assert policy.effective(world.store(STORE_2))["future_days"] == 20
    assert [one.id for one in policy.overrides()] == [chain.brand_id]
    actions = [(one["actor"], one["subject"].split()[0]) for one in policy.history(9)[1]]
    assert actions == [("bob", "store"), ("cleo", "company"), ("bob", "store"), ("ann", "brand")]


def test_only_the_cursors_of_the_stores_concerned_end(chain: HeadOffice, device: Any) -> None:
    """Another window: 410. Other settings, or another store's: the cursor goes on. The version moves for all."""
    policy = chain.world.policy
    device.pull("promotions")
    before = device.get("version", **device.ids).json()["datasets"]["promotions"]["version"]
    policy.save_override("store", STORE_2, {"future_days": 30}, by="ann")
    policy.save({"sync_interval_hours": 3, "max_promotions_per_sync": 50}, by="ann")
    assert device.page("promotions")["snapshot"] is False
    assert device.get("version", **device.ids).json()["datasets"]["promotions"]["version"] > before
    policy.save_override("store", chain.store_id, {"past_days": 30}, by="ann")
    answer = device.get("promotions", **device.ids, cursor=device.cursors["promotions"])
    assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")


def test_a_window_that_was_closed_and_comes_back_knows_no_old_cursors(chain: HeadOffice, device: Any) -> None:
    """What happened while nobody kept its list would be missed: 410, and a snapshot."""
    world, policy = chain.world, chain.world.policy
    world.set_today(TODAY)
    policy.save_override("store", chain.store_id, {"future_days": 30}, by="ann")
    device.pull("promotions")
    old = device.cursors["promotions"]
    policy.save_override("store", chain.store_id, {}, by="ann")
    assert len(world.feed.listings.keys()) == 2, "kept for a while: a request may be under way"
    world.set_today(TODAY + timedelta(days=1))
    assert len(world.feed.listings.keys()) == 1
    world.delete("promotions", world.live_ids("promotions")[0])
    policy.save_override("store", chain.store_id, {"future_days": 30}, by="ann")
    assert device.get("promotions", **device.ids, cursor=old).status_code == 410
    del device.cursors["promotions"]
    assert device.page("promotions")["promotions"] == []


def test_the_json_of_an_override(chain: HeadOffice) -> None:
    headers = {"Authorization": f"Token {chain.world.accounts.static_key('office')}"}
    with httpx.Client(verify=False, base_url=chain.url, headers=headers) as http:
        path = f"{API}overrides/store/{STORE_2}/"
        empty = http.get(path).json()
        assert {empty[name] for name in ("sync_strategy", "future_days", "past_days", "include_inactive")} == {None}
        assert empty["effective"]["future_days"] == 7
        body = {"sync_strategy": "current_only", "future_days": None}
        saved = http.put(path, json=body).json()
        assert saved["changed"] == ["sync_strategy"]
        assert saved["effective"]["sync_strategy"] == "current_only"
        assert http.get(path).json() == {name: value for name, value in saved.items() if name != "changed"}
        assert http.post(path, json=saved | {"future_days": 3}).status_code == 400  # `changed` is no setting
        assert [one["id"] for one in http.get(API).json()["overrides"]] == [STORE_2]
        refused = http.put(path, json={"future_days": 91, "sync_interval_hours": 3})
        assert refused.json()["messages"] == {
            "future_days": "must be a whole number from 0 to 90", "sync_interval_hours": "no such setting",
        }  # fmt: skip
        for wrong in ("store/x", f"brand/{STORE_2}", f"galaxy/{STORE_2}"):
            assert http.get(f"{API}overrides/{wrong}/").status_code == 404
            assert http.put(f"{API}overrides/{wrong}/", json={}).status_code == 404


def test_the_page_of_an_override(chain: HeadOffice, somebody: Make) -> None:
    """Empty fields are inherited and show what from; a wrong one is told at its field; the preview is the store's."""
    person = somebody("office", "office-demo")
    path = f"/promotions/settings/overrides/store/{STORE_2}/"
    assert path in person.get("/promotions/settings/").text
    assert 'placeholder="inherited: 7"' in person.get(path).text
    wrong = person.send(path, future_days="91", past_days="", sync_strategy="", include_inactive="true")
    assert wrong.status_code == 400
    assert re.findall(r'id="(\w+)-problem">', wrong.text) == ["future_days"]
    assert re.search(r'name="future_days"[^>]* value="91"', wrong.text)
    assert chain.world.policy.overrides() == []
    shown = person.send(path, future_days="60", action="preview", level="store", id=STORE_2)
    assert (shown.status_code, chain.world.policy.overrides()) == (200, [])
    right = person.send(path, future_days="60", past_days="", sync_strategy="", include_inactive="false")
    assert right.headers["Location"] == f"{path}?saved=1"
    assert chain.world.policy.override("store", STORE_2).values == {"future_days": 60, "include_inactive": False}
    page = person.get(f"/promotions/settings/overrides/brand/{BRAND_2}/")
    assert "S03 More" in page.text
    assert "S02 More" not in page.text
    assert "2 of its own" in person.get("/promotions/settings/").text
    for missing in (f"store/{BRAND_2}", "galaxy/x"):
        assert person.get(f"/promotions/settings/overrides/{missing}/").status_code == 404


@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_an_override_works_in_every_answer(profile: Any) -> None:
    with HeadOffice(profile=profile) as office:
        world = office.world
        world.set_today(TODAY)
        world.upsert("promotions", {"id": str(uuid.uuid4()), "validity": {"start_date": "2026-12-31"}})
        world.policy.save_override("store", office.store_id, {"future_days": 60}, by="ann")
        query = {"company_id": office.company_id, "store_id": office.store_id}
        headers = {"Authorization": f"Token {office.static_key}"}
        found = HTTP.get(f"{office.url}/api/v1/sync/promotions/", params=query, headers=headers).json()
        assert (found["total"], found["settings"]["future_days"]) == (2, 60)
        assert len(world.rows("promotions")) == 2


def test_a_database_of_an_earlier_release_goes_on(tmp_path: Any) -> None:
    """Its tables get what they lack; old cursors of promotions end, and a snapshot has what it had."""
    path = tmp_path / "office.db"
    with HeadOffice(db=path) as office:
        held = office.world.rows("promotions")
        db = office.world.db
        for table in ("promotion_window", "listing", "sync_override", "session"):
            db.run(f"DROP TABLE {table}")
        for table, column in (("account", "has_company"), ("departure", "window_key")):
            db.run(f"ALTER TABLE {table} DROP COLUMN {column}")
        db.run("ALTER TABLE feed ADD COLUMN listed INTEGER NOT NULL DEFAULT 1")
    with HeadOffice(db=path) as office:
        world = office.world
        assert world.rows("promotions") == held
        world.upsert("promotions", {"id": str(uuid.uuid4())})
        assert len(world.rows("promotions")) == 2
        world.delete("promotions", held[0]["id"])
        headers = {"Authorization": f"Token {world.accounts.static_key('office')}"}
        assert HTTP.get(office.url + API, headers=headers).status_code == 200
