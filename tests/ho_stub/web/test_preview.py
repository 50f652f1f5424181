"""The preview counts exactly what a store would be sent: by the page's own route, and by what is sent then."""

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
PAGE = "/promotions/settings/"
# One client for single questions: each client of its own would read all certificates of the machine first.
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # no TLS here
QUERY = "/promotions/settings/preview-query/"
TODAY = date(2026, 11, 21)
TRIALS, TRIALS_MANY = 20, 200


def random_promotion(dice: random.Random, brands: list[str], stores: list[str]) -> dict[str, Any]:
    """One with dates around today, in either form, for anybody."""

    def day() -> str | None:
        return dice.choice([None, (TODAY + timedelta(days=dice.randint(-40, 100))).isoformat()])

    row: dict[str, Any] = {"id": str(uuid.UUID(int=dice.getrandbits(128), version=4)), "is_active": dice.random() < 0.8}
    dates = {"start_date": day(), "end_date": day()}
    if dice.random() < 0.2:
        row |= {"discount_type": "percent", "discount_value": "5", "name": "flat", **dates}
    else:
        row |= {"name": "nested", "validity": dates}
        row["targeting"] = {
            "brands": dice.sample(brands, dice.randint(0, len(brands))) if dice.random() < 0.4 else [],
            "stores": dice.sample(stores, dice.randint(1, len(stores))) if dice.random() < 0.4 else [],
        }
    row["brand_id"] = dice.choice([None, *brands])
    return row


def random_settings(dice: random.Random) -> dict[str, Any]:
    """Any valid values, often at the ends of their ranges."""
    return {
        "sync_strategy": dice.choice(["current_only", "include_future", "all_active"]),
        "future_days": dice.choice([0, 1, 7, 90, dice.randint(0, 90)]),
        "past_days": dice.choice([0, 1, 30, dice.randint(0, 30)]),
        "include_inactive": dice.random() < 0.4,
        "max_promotions_per_sync": dice.choice([10, 11, 20, 500]),
    }


def download(http: httpx.Client, office: HeadOffice, store_id: str, brand_id: str | None) -> tuple[int, int]:
    """What a device of the store gets by a whole download: rows, and how many head office says there are."""
    query = {"company_id": office.company_id, "store_id": store_id}
    query |= {"brand_id": brand_id} if brand_id else {}
    ids: set[str] = set()
    available, cursor = None, None
    while True:
        page = http.get("/api/v1/sync/promotions/", params=query | ({"cursor": cursor} if cursor else {})).json()
        ids |= {row["id"] for row in page["promotions"]}
        available = page["total_available"] if available is None else available
        cursor = page.get("next_cursor")
        if not page.get("has_more"):
            return len(ids), available


@pytest.mark.parametrize("trials", [TRIALS, pytest.param(TRIALS_MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_the_count_is_what_the_store_is_sent(profile: Any, trials: int) -> None:
    """Over random promotions, settings and overrides: the count before saving is that of a whole download after it."""
    seed = int(os.environ.get("PREVIEW_SEED") or random.randrange(10**9))
    print(f"PREVIEW_SEED={seed}")
    dice = random.Random(seed)
    with HeadOffice(profile=profile) as office:
        world = office.world
        world.set_today(TODAY)
        other = str(uuid.uuid4())
        stores = [office.store_id, str(uuid.uuid4()), str(uuid.uuid4())]
        with world.db.write():
            world.db.run("INSERT INTO brand (id, name) VALUES (?, 'Other')", (other,))
            for number, store_id in enumerate(stores[1:]):
                world.db.run(
                    "INSERT INTO store (id, code, name, timezone, day_start, currency, brand_id) "
                    "VALUES (?, ?, 'More', 'Asia/Jakarta', '04:00', 'IDR', ?)",
                    (store_id, f"S{number}", (office.brand_id, other)[number]),
                )
        brands = [office.brand_id, other]
        for _ in range(60):
            world.upsert("promotions", random_promotion(dice, brands, stores))
        http = httpx.Client(verify=False, base_url=office.url)
        http.headers["Authorization"] = f"Token {world.accounts.static_key('office')}"
        seen = set()
        for _ in range(trials):
            store_id, brand_id = dice.choice(stores), dice.choice([None, None, *brands])
            values, query = random_settings(dice), {"store_id": store_id}
            level = dice.choice(["company", "company", "brand", "store"])
            if level == "company":
                query |= {name: str(value).lower() for name, value in values.items()}
            else:
                values = {n: v for n, v in values.items() if dice.random() < 0.6 and n != "max_promotions_per_sync"}
                own_id = store_id if level == "store" else str(world.store(store_id)["brand_id"])  # type: ignore[index]
                query |= {name: str(value).lower() for name, value in values.items()} | {"level": level, "id": own_id}
            query |= {"brand_id": brand_id} if brand_id else {}
            told = http.get(QUERY, params=query).json()
            if level == "company":
                world.policy.save(values, by="office")
            else:
                world.policy.save_override("brand" if level == "brand" else "store", own_id, values, by="office")
            sent, available = download(http, office, store_id, brand_id)
            assert (told["count"], told["total_available"]) == (sent, available), (query, world.policy.overrides())
            assert told["truncated"] is (sent < available)
            assert len(told["samples"]) == min(5, sent)
            seen.add((sent, available))
        http.close()
        assert len(seen) > 6, "the trials differ"


def test_the_description_says_which_days_and_what_is_cut(person: Any, baseline: Any) -> None:
    office, headers = person.office, {"Accept": "application/json"}
    office.world.set_today(TODAY)

    def told(**query: Any) -> Any:
        return person.http.get(QUERY, params={"store_id": office.store_id, **query}, headers=headers).json()

    assert told()["description"] == (
        "Active promotions that are valid on some day from Fri 20 November 2026 to Sat 28 November 2026."
    )
    assert told(sync_strategy="current_only")["description"].endswith("valid today, Sat 21 November 2026.")
    assert told(sync_strategy="all_active", include_inactive="true")["description"] == (
        "Active and inactive promotions of any date."
    )
    for number in range(13):
        for world in (office.world, baseline.office.world):
            world.upsert("promotions", {"id": f"00000000-0000-4000-8000-{number:012}", "name": f"Deal {number}"})
    assert told(max_promotions_per_sync="10")["description"].endswith("They come in 2 answers of 10 at most.")
    world = baseline.office.world
    world.policy.save({"max_promotions_per_sync": 10}, by="office")
    key = {"Authorization": f"Token {world.accounts.static_key('office')}"}
    cut = HTTP.get(baseline.office.url + QUERY, params={"store_id": baseline.office.store_id}, headers=key).json()
    assert (cut["count"], cut["total_available"], cut["truncated"]) == (10, 14, True)
    assert cut["description"].endswith(
        "14 match, but this head office sends 10 at most, and has no way to the other 4: raise the limit."
    )


def test_samples_are_five_of_the_rows_with_their_state(person: Any) -> None:
    world = person.office.world
    world.set_today(TODAY)
    world.delete("promotions", world.live_ids("promotions")[0])
    days = {"over": ("2026-11-01", "2026-11-20"), "running": ("2026-11-21", None), "to come": ("2026-11-22", None)}
    for number, (start, end) in enumerate(days.values()):
        validity = {"start_date": start, "end_date": end}
        row = {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "code": f"C{number}",
            "name": "<b>&",
            "validity": validity,
        }
        world.upsert("promotions", row)
    world.upsert("promotions", {"id": str(uuid.UUID(int=2**127)), "is_active": False, "name": "off"})
    query = {"store_id": person.office.store_id, "include_inactive": "true"}
    told = person.http.get(QUERY, params=query, headers={"Accept": "application/json"}).json()
    assert [(one["code"], one["state"]) for one in told["samples"]] == [
        ("C0", "over"), ("C1", "running"), ("C2", "to come"), (None, "inactive"),
    ]  # fmt: skip
    piece = person.get(QUERY, **query).text
    assert "&lt;b&gt;&amp;" in piece
    assert "<b>&" not in piece


def test_without_javascript_a_button_counts_and_nothing_is_saved(person: Any) -> None:
    world = person.office.world
    world.set_today(TODAY)
    world.upsert("promotions", {"id": str(uuid.uuid4()), "validity": {"start_date": "2026-12-31"}})
    before = world.settings()
    assert "<strong>1</strong> promotion</p>" in person.get(PAGE).text
    form = person.settings_form(future_days="60", action="preview", store_id=person.office.store_id)
    answer = person.send(PAGE, **form)
    assert (answer.status_code, "<strong>2</strong> promotions" in answer.text) == (200, True)
    assert re.search(r'name="future_days"[^>]* value="60"', answer.text), "what was typed stays"
    assert world.settings() == before
    wrong = person.send(PAGE, **form | {"future_days": "99"})
    assert "Nothing can be counted: days ahead must be a whole number from 0 to 90" in " ".join(wrong.text.split())


def test_the_preview_refuses_what_is_wrong(person: Any, somebody: Make) -> None:
    """A wrong value or store is told; a device's account and strangers get nothing."""
    headers, query = {"Accept": "application/json"}, {"store_id": person.office.store_id}
    refused = person.http.get(QUERY, params=query | {"future_days": "99"}, headers=headers)
    assert (refused.status_code, refused.json()["messages"]) == (
        400, {"future_days": "must be a whole number from 0 to 90"},
    )  # fmt: skip
    for wrong in (
        {"store_id": str(uuid.uuid4())},
        {"store_id": "\0"},
        query | {"brand_id": "\0"},
        {},
        query | {"brand_id": str(uuid.uuid4())},
    ):
        assert person.http.get(QUERY, params=wrong, headers=headers).status_code == 400
    wrong = query | {"level": "store", "id": "x"}
    assert person.http.get(QUERY, params=wrong, headers=headers).status_code == 404
    assert somebody("pos-02", "secret").get(QUERY, **query).status_code == 403
    assert somebody().http.get(QUERY, params=query, headers=headers).status_code == 401
    assert somebody().get(QUERY, **query).status_code == 303
