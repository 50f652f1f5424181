"""Cursors, tombstones, scopes and the window of promotions (contract sections 3, 4 and 6)."""

from __future__ import annotations

import random
import uuid
from datetime import date, timedelta
from typing import Any

import pytest

OTHER = "00000099-0000-4000-8000-000000000000"


def product(office: Any, number: int, **fields: Any) -> dict[str, Any]:
    row = {"id": f"{number:08x}-1111-4000-8000-000000000000", "brand_id": office.brand_id, "name": f"P{number}"}
    return row | {"price": "1.00"} | fields


def test_a_snapshot_is_all_live_rows_in_id_order_in_pages(device: Any, office: Any) -> None:
    for number in range(7):
        office.world.upsert("products", product(office, number))
    seen, left = [], 10
    while True:
        body = device.page("products", limit=4)
        assert body["snapshot"] is True
        assert body["total_available"] == left
        left -= body["total"]
        seen += [row["id"] for row in body["products"]]
        if not body["has_more"]:
            break
    assert seen == sorted(seen) == office.world.live_ids("products")


def test_what_is_committed_during_a_snapshot_follows_it_as_a_delta(device: Any, office: Any) -> None:
    for number in range(6):
        office.world.upsert("products", product(office, number))
    first = device.page("products", limit=3)["products"]
    office.world.edit("products", first[0]["id"], price="9.99")  # sent already
    office.world.delete("products", first[1]["id"])  # sent already
    office.world.upsert("products", product(office, 0xF0000000))
    device.pull("products", limit=3)
    assert device.page("products")["snapshot"] is False
    assert device.agrees("products")


def test_a_delta_is_in_commit_order_and_never_skips(device: Any, office: Any) -> None:
    device.pull("products")
    ids = [office.world.upsert("products", product(office, number))["id"] for number in (5, 3, 9, 1, 7)]
    office.world.edit("products", ids[0], name="last")
    sent, more = [], True
    while more:
        body = device.page("products", limit=2)
        sent += [row["id"] for row in body["products"]]
        more = body["has_more"]
    assert sent == [*ids[1:], ids[0]]
    versions = [device.rows["products"][row_id]["row_version"] for row_id in sent]
    assert versions == sorted(versions)
    assert device.page("products")["products"] == []


def test_deleted_moved_and_restored_rows(device: Any, office: Any) -> None:
    world = office.world
    one, two, three = (world.upsert("products", product(office, n))["id"] for n in (1, 2, 3))
    device.pull("products")
    world.delete("products", one)
    world.edit("products", two, store_id=OTHER)  # to another store
    world.edit("products", three, brand_id=OTHER)  # to another brand
    body = device.page("products")
    assert (sorted(body["deleted_ids"]), body["products"]) == ([one, two, three], [])
    world.edit("products", two, store_id=office.store_id)  # and back
    world.upsert("products", product(office, 1, name="again"))
    assert set(device.pull("products")) >= {one, two}
    assert device.agrees("products")


def test_a_row_that_another_scope_has_leaves_no_tombstone_here(device: Any, office: Any) -> None:
    device.pull("products")
    there = office.world.upsert("products", product(office, 1, store_id=OTHER))["id"]
    office.world.delete("products", there)
    body = device.page("products")
    assert (body["products"], body["deleted_ids"]) == ([], [])


def test_deactivated_rows_stay_rows_but_deactivated_promotions_go(device: Any, office: Any) -> None:
    for dataset in ("categories", "products", "promotions"):
        row_id = next(iter(device.pull(dataset)))
        office.world.edit(dataset, row_id, is_active=False)
        body = device.page(dataset)
        if dataset == "promotions":
            assert body["deleted_ids"] == [row_id]
        else:
            assert [row["is_active"] for row in body[dataset]] == [False]


def test_promotions_enter_and_leave_the_window_because_days_pass(device: Any, office: Any) -> None:
    world = office.world
    today = date(2026, 3, 10)
    world.set_today(today)
    device.pull("promotions")
    validity = {"start_date": str(today + timedelta(8)), "end_date": str(today + timedelta(9))}
    version = device.get("version", **device.ids).json()["version"]
    coming = world.upsert("promotions", {"id": str(uuid.uuid4()), "name": "soon", "validity": validity})
    assert device.page("promotions")["promotions"] == []
    world.set_today(today + timedelta(1))  # 7 days ahead
    assert device.get("version", **device.ids).json()["version"] != version
    entered = device.page("promotions")["promotions"]
    assert [row["row_version"] for row in entered] == [coming["row_version"]]
    world.set_today(today + timedelta(10))  # its end was yesterday
    assert device.page("promotions")["deleted_ids"] == []
    world.set_today(today + timedelta(11))
    assert device.page("promotions")["deleted_ids"] == [coming["id"]]
    world.set_today(today + timedelta(10))  # a clock put right
    assert device.page("promotions")["promotions"] == entered
    assert device.agrees("promotions")


def test_the_flat_form_has_a_window_too(device: Any, office: Any) -> None:
    office.world.set_today(date(2026, 3, 10))
    flat = {"id": str(uuid.uuid4()), "discount_type": "amount", "discount_value": "1.00", "is_active": True}
    office.world.upsert("promotions", flat | {"start_date": "2026-01-01", "end_date": "2026-03-09"})
    assert flat["id"] in device.pull("promotions")
    office.world.set_today(date(2026, 3, 11))
    assert flat["id"] not in device.pull("promotions")


def test_promotions_are_for_the_stores_and_brands_they_target(device: Any, office: Any) -> None:
    for targeting, sent in (
        ({"stores": [], "brands": []}, True),
        ({"stores": [OTHER], "brands": []}, False),
        ({"stores": [OTHER, office.store_id], "brands": []}, True),
        ({"stores": [], "brands": [OTHER]}, False),
    ):
        row_id = str(uuid.uuid4())
        office.world.upsert("promotions", {"id": row_id, "targeting": targeting})
        assert (row_id in device.pull("promotions")) is sent, targeting
        assert (row_id in [p["id"] for p in device.download("promotions", brand_id=None)["promotions"]]) is sent


def test_max_promotions_per_sync_is_the_page_size(device: Any, office: Any) -> None:
    for _ in range(15):
        office.world.upsert("promotions", {"id": str(uuid.uuid4())})
    office.world.set_settings(max_promotions_per_sync=10)
    first = device.page("promotions")
    assert (first["total"], first["total_available"], first["has_more"]) == (10, 16, True)
    assert len(device.pull("promotions")) == 16


@pytest.mark.parametrize("change", [{"store_id": None}, {"dataset": "categories"}])
def test_a_cursor_of_another_scope_has_expired(device: Any, office: Any, change: dict[str, Any]) -> None:
    office.world.db.run("UPDATE account SET store_id = NULL")  # a company account reaches the whole brand
    device.pull("products")
    query = device.ids | {"cursor": device.cursors["products"]} | change
    answer = device.get(query.pop("dataset", "products"), **query)
    assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")


def test_changed_window_settings_expire_promotion_cursors(device: Any, office: Any) -> None:
    device.pull("promotions")
    office.world.set_settings(future_days=30)
    answer = device.get("promotions", **device.ids, cursor=device.cursors["promotions"])
    assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")
    with pytest.raises(ValueError, match="future_days: must be a whole number from 0 to 90"):
        office.world.set_settings(future_days=91, past_days=0)
    assert office.world.settings()["past_days"] == 1


def test_garbage_is_an_invalid_cursor(device: Any) -> None:
    device.pull("products")
    real = device.cursors["products"]
    for cursor in ("x", "????", real[:-1], real + "A", real.swapcase(), "é", "A" * 5000):
        answer = device.get("products", **device.ids, cursor=cursor)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR"), cursor


@pytest.mark.parametrize("new_epoch", [True, False])
def test_a_cursor_from_before_a_restore_has_expired(device: Any, office: Any, new_epoch: bool) -> None:
    backup = office.world.snapshot()
    office.world.upsert("products", product(office, 1))
    device.pull("products")
    epoch = office.world.epoch
    office.world.restore(backup, new_epoch=new_epoch)
    answer = device.get("products", **device.ids, cursor=device.cursors["products"])
    assert (answer.status_code, answer.json()["code"]) == (410, "CURSOR_EXPIRED")
    assert (answer.headers["X-HO-Epoch"] != epoch) is new_epoch


def test_a_restored_head_office_that_went_on_still_refuses_lost_cursors(device: Any, office: Any) -> None:
    backup = office.world.snapshot()
    office.world.upsert("products", product(office, 1))
    device.pull("products")
    office.world.restore(backup, new_epoch=False)
    for number in (2, 3):  # the change sequence passes the cursor's number again
        office.world.upsert("products", product(office, number))
    assert device.get("products", **device.ids, cursor=device.cursors["products"]).status_code == 410


def test_an_unchanged_version_is_304_and_any_change_ends_that(device: Any, office: Any) -> None:
    first = device.get("version", **device.ids)
    tag = {"If-None-Match": first.headers["ETag"]}
    again = device.http.get("/api/v1/sync/version/", params=device.ids, headers=tag)
    assert (again.status_code, again.content, again.headers["X-HO-Epoch"]) == (304, b"", office.world.epoch)
    world = office.world
    changes = [
        lambda: world.edit("products", device.cola, price="1.00"),
        lambda: world.set_settings(sync_interval_hours=2),
        lambda: world.set_force_update(),
        lambda: world.delete("categories", world.live_ids("categories")[0]),
    ]
    for change in changes:
        change()
        answer = device.http.get("/api/v1/sync/version/", params=device.ids, headers=tag)
        assert answer.status_code == 200
        tag = {"If-None-Match": answer.headers["ETag"]}
    world.set_stock(device.cola, "5")  # stock has a feed of its own
    assert device.http.get("/api/v1/sync/version/", params=device.ids, headers=tag).status_code == 304


def test_version_counts_what_the_store_is_sent(device: Any, office: Any) -> None:
    office.world.upsert("products", product(office, 1, store_id=OTHER))
    office.world.upsert("promotions", {"id": str(uuid.uuid4()), "is_active": False})
    datasets = device.get("version", **device.ids).json()["datasets"]
    assert {name: state["count"] for name, state in datasets.items()} == {
        name: len(office.world.rows(name)) for name in datasets
    }


def test_a_full_pull_ends_at_the_digest_s_cursor(device: Any, office: Any) -> None:
    for dataset in ("categories", "products", "promotions"):
        device.pull(dataset)
        digest = device.get("digest", **device.ids, dataset=dataset, leaves=16).json()
        assert (digest["cursor"], digest["count"]) == (device.cursors[dataset], len(device.rows[dataset]))
    office.world.edit("products", device.cola, price="1.00")
    office.world.upsert("products", product(office, 1, store_id=OTHER))
    device.pull("products")
    assert device.get("digest", **device.ids, dataset="products").json()["cursor"] == device.cursors["products"]


def test_leaves_bring_their_rows_whole(device: Any) -> None:
    every = device.download("products", leaves=",".join(map(str, range(16))), leaves_of=16)
    assert every.keys() == {"products", "cursor"}
    assert [row["id"] for row in every["products"]] == sorted(device.pull("products"))
    assert every["cursor"] == device.cursors["products"]
    for leaves in ("16", "", "a", "-1", "1,,2"):
        assert device.get("products", **device.ids, leaves=leaves, leaves_of=16).status_code == 400


def test_unknown_fields_and_broken_rows_are_sent_as_they_are(device: Any, office: Any) -> None:
    office.world.edit("products", device.cola, allergens=["none"], price="-1")
    row = device.pull("products")[device.cola]
    assert (row["allergens"], row["price"]) == (["none"], "-1")


def test_updated_since_works_without_a_cursor_and_leads_to_one(device: Any, office: Any) -> None:
    before = device.download("products")["sync_timestamp"]
    office.world.edit("products", device.cola, name="again")
    office.world.delete("products", device.bread)
    held = device.pull("products")
    body = device.download("products", updated_since=before)
    assert ([row["name"] for row in body["products"]], len(body["deleted_ids"])) == (["again"], 1)
    assert body["deleted_ids"][0] not in held
    assert body["next_cursor"] == device.cursors["products"]
    assert (
        device.get("products", **device.ids, updated_since=before.rstrip("Z")).json()["code"] == "INVALID_DATE_FORMAT"
    )


def test_any_history_ends_in_the_same_rows(device: Any, office: Any) -> None:
    dice, world = random.Random(7), office.world
    world.set_today(date(2026, 3, 10))
    for step in range(300):
        dataset = dice.choice(["categories", "products", "promotions"])
        row_id = f"{dice.randrange(12):08x}-2222-4000-8000-000000000000"
        place = {"brand_id": dice.choice([None, office.brand_id, OTHER]), "is_active": dice.random() < 0.8}
        day = date(2026, 3, 1) + timedelta(dice.randrange(30))
        more = {
            "products": {"store_id": dice.choice([None, office.store_id, OTHER]), "price": str(step)},
            "promotions": {
                "validity": {"start_date": str(day), "end_date": str(day + timedelta(3))},
                "targeting": {"stores": dice.choice([[], [OTHER], [office.store_id]]), "brands": []},
            },
        }.get(dataset, {})
        if dice.random() < 0.2 and world.feed.get(dataset, row_id):
            world.delete(dataset, row_id)
        else:
            world.upsert(dataset, {"id": row_id} | place | more)
        if dice.random() < 0.1:
            world.set_today(date(2026, 3, 1) + timedelta(dice.randrange(30)))
        if dice.random() < 0.3:
            device.page(dice.choice(["categories", "products", "promotions"]), limit=dice.randrange(1, 4))
    for dataset in ("categories", "products", "promotions"):
        device.pull(dataset, limit=2)
        assert device.agrees(dataset), dataset
        digest = device.get("digest", **device.ids, dataset=dataset).json()
        assert (digest["count"], digest["cursor"]) == (len(device.rows[dataset]), device.cursors[dataset])
