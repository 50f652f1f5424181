"""The products' and promotions' pages: what people change there is what tills get; mistakes stay beside their field."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ho_stub.testing import HeadOffice

COLA = "00000006-0000-4000-8000-000000000000"
DEAL = "00000009-0000-4000-8000-000000000000"
COLA_FORM = {
    "name": "Cola 330 ml",
    "sku": "COLA-330",
    "barcode": "5000112546415",
    "price": "8000",
    "category_id": "00000004-0000-4000-8000-000000000000",
    "brand_id": "00000002-0000-4000-8000-000000000000",
    "is_active": "on",
}
TEA_TIME: dict[str, Any] = {
    "type": "happy_hour",
    "code": "TEA-TIME",
    "name": "Tea time",
    "is_active": "on",
    "time_start": "15:00",
    "time_end": "17:00",
    "days_of_week": ["4", "5"],
    "apply_to": "products",
    "products": "COLA-330,\nWATER-600",
    "stores": "S01",
    "max_uses": "500",
    "rules": '{"discount_percent": 12.5}',
    "rest": '{"priority": 100, "targeting": {"sales_channels": ["store"]}}',
}


def problems(answer: Any) -> dict[str, str]:
    """Field → what the page says is wrong with it."""
    return dict(re.findall(r'class="problem" id="([a-z_]+)-problem">([^<]*)<', unescape(answer.text)))


def entries(office: HeadOffice) -> list[tuple[Any, ...]]:
    return office.world.db.rows("SELECT actor, action, subject FROM audit WHERE actor = 'office' ORDER BY number")


def test_a_price_changed_on_the_page_is_what_a_till_gets(office: HeadOffice, device: Any, person: Any) -> None:
    device.pull("products")
    assert "COLA-330" in person.get("/products/", q="5000112546415").text
    assert "WATER-600" not in person.get("/products/", q="cola").text
    page = person.get(f"/products/{COLA}/edit/")
    assert 'value="7500.00"' in page.text
    assert person.send(f"/products/{COLA}/edit/", **COLA_FORM).headers["location"] == "/products/?done=saved"
    assert device.pull("products")[COLA]["price"] == "8000.00"
    assert device.rows["products"][COLA]["cost"] == "5000.00"  # what the form doesn't show stays
    assert entries(office) == [("office", "edit product", COLA)]
    assert "Saved." in person.get("/products/", done="saved").text


def test_a_product_is_added_and_deleted_and_tills_follow(office: HeadOffice, device: Any, person: Any) -> None:
    device.pull("products")
    fields = COLA_FORM | {"name": "Tea <b>&</b> milk", "sku": "TEA-1", "barcode": "", "price": ""}
    assert person.send("/products/new/", **fields).status_code == 303
    (tea,) = [row for row in device.pull("products").values() if row["sku"] == "TEA-1"]
    assert (tea["price"], tea["barcode"], tea["is_active"]) == (None, None, True)
    assert "Tea &lt;b&gt;&amp;&lt;/b&gt; milk" in person.get("/products/", q="tea-1").text
    assert person.send(f"/products/{tea['id']}/delete/").status_code == 303
    assert tea["id"] not in device.pull("products")
    assert person.get(f"/products/{tea['id']}/edit/").status_code == 404
    assert person.send("/products/new/", **fields).status_code == 303
    assert device.pull("products")[tea["id"]]["sku"] == "TEA-1"  # the id that a till would make for this SKU
    assert person.send(f"/products/{tea['id']}/edit/", **fields | {"sku": "TEA-2"}).status_code == 303
    assert person.send("/products/new/", **fields).status_code == 303
    assert {"TEA-1", "TEA-2"} <= {row["sku"] for row in device.pull("products").values()}
    assert [action for _, action, _ in entries(office)][:2] == ["add product", "delete product"]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"price": "8,000"}, "price", "with a point"),
        ({"price": "-1"}, "price", "an amount like"),
        ({"price": "1.234"}, "price", "2 decimals"),
        ({"name": " "}, "name", "Is missing"),
        ({"sku": "WATER-600"}, "sku", "another product"),
        ({"category_id": "gone"}, "category_id", "choose another"),
        ({"brand_id": "gone"}, "brand_id", "choose another"),
    ],
)
def test_a_wrong_field_of_a_product_is_named_and_what_was_typed_stays(
    office: HeadOffice, person: Any, changes: dict[str, str], field: str, words: str
) -> None:
    before = office.world.get("products", COLA)
    answer = person.send(f"/products/{COLA}/edit/", **COLA_FORM | {"barcode": "typed"} | changes)
    assert answer.status_code == 400
    assert words in problems(answer)[field]
    assert 'value="typed"' in answer.text
    assert office.world.get("products", COLA) == before
    assert entries(office) == []


def test_what_somebody_else_changed_meanwhile_is_not_overwritten_unseen(office: HeadOffice, person: Any) -> None:
    seen = str(office.world.get("products", COLA)["row_version"])
    office.world.edit("products", COLA, price="9999.00")
    answer = person.send(f"/products/{COLA}/edit/", **COLA_FORM, seen=seen)
    assert answer.status_code == 409
    assert office.world.get("products", COLA)["price"] == "9999.00"
    newest = re.search(r'name="seen" value="([0-9]+)"', answer.text)
    assert newest is not None
    assert person.send(f"/products/{COLA}/edit/", **COLA_FORM, seen=newest[1]).status_code == 303


def test_a_promotion_defined_on_the_page_is_compiled_and_can_be_edited(office: HeadOffice, person: Any) -> None:
    world = office.world
    assert person.send("/promotions/new/", **TEA_TIME).headers["location"] == "/promotions/?done=saved"
    (definition,) = world.promotions.list()
    assert definition["validity"] == {"time_start": "15:00", "time_end": "17:00", "days_of_week": [4, 5]}
    assert definition["targeting"] == {"sales_channels": ["store"], "stores": ["S01"]}
    row = world.get("promotions", definition["id"])
    assert row["rules"]["discount_percent"] == "12.5"
    assert (row["execution_priority"], row["limits"]["max_uses"]) == (100, 500)
    assert row["targeting"]["sales_channels"] == ["store"]
    page = unescape(person.get(f"/promotions/{row['id']}/edit/").text)
    assert 'value="COLA-330, WATER-600"' in page
    assert '"sales_channels"' in page
    again = TEA_TIME | {"max_uses": "", "name": "Tea time, longer", "time_end": "18:00"}
    assert person.send(f"/promotions/{row['id']}/edit/", **again).status_code == 303
    changed = world.get("promotions", row["id"])
    assert (changed["limits"]["max_uses"], changed["validity"]["time_end"]) == (None, "18:00")
    assert [action for _, action, _ in entries(office)] == ["save promotion", "save promotion"]


def test_what_is_wrong_with_a_promotion_stands_at_its_fields_and_nothing_is_saved(
    office: HeadOffice, person: Any
) -> None:
    wrong = {
        "code": "TEA TIME",
        "time_end": "",
        "products": "COLA-330, NONE",
        "max_uses": "none",
        "rules": '{"discount_percent": 120}',
        "rest": '{"priority": -1}',
    }
    answer = person.send("/promotions/new/", **TEA_TIME | wrong)
    assert answer.status_code == 400
    found = problems(answer)
    assert found.keys() == {"code", "time_end", "products", "max_uses", "rules", "rest"}
    assert found["products"] == "No product has this SKU or id: NONE"
    assert found["rules"] == "In discount_percent: must be at most 100"
    assert 'value="TEA TIME"' in answer.text
    for name, text in (("rules", '{"discount_percent": }'), ("rules", "[1]"), ("rest", "{")):
        said = problems(person.send("/promotions/new/", **TEA_TIME | {name: text}))[name]
        assert "no JSON in line 1, column" in said or "an object" in said
    assert "In id" in problems(person.send("/promotions/new/", **TEA_TIME | {"rest": f'{{"id": "{DEAL}"}}'}))["rest"]
    assert "object" in problems(person.send("/promotions/new/", **TEA_TIME | {"rest": '{"validity": 5}'}))["rest"]
    assert person.send("/promotions/new/", **TEA_TIME | {"rules": '{"\\ud800": 1}'}).status_code == 400
    assert office.world.promotions.list() == []
    assert entries(office) == []


def test_what_stores_would_be_sent_can_be_looked_at_without_saving(office: HeadOffice, person: Any) -> None:
    answer = person.send("/promotions/new/", **TEA_TIME, action="compile")
    shown = re.search(r"<pre[^>]*>(.*?)</pre>", unescape(answer.text), re.S)
    assert shown is not None
    assert json.loads(shown[1])["promo_type"] == "happy_hour"
    assert office.world.promotions.list() == []


@pytest.mark.parametrize("kind", ["combo", "threshold_tier", "nonsense"])
def test_a_new_promotion_begins_with_an_example_of_its_rules(person: Any, kind: str) -> None:
    page = unescape(person.get("/promotions/new/", type=kind).text)
    rules = re.search(r'<textarea name="rules"[^>]*>(.*?)</textarea>', page, re.S)
    assert rules is not None
    assert json.loads(rules[1])


def test_a_promotion_is_switched_off_and_deleted_with_or_without_a_definition(
    office: HeadOffice, device: Any, person: Any
) -> None:
    assert DEAL in device.pull("promotions")
    assert "no definition" in person.get("/promotions/").text
    assert "finished row" in person.get(f"/promotions/{DEAL}/edit/").text
    assert person.send(f"/promotions/{DEAL}/deactivate/").headers["location"] == "/promotions/?done=off"
    assert DEAL not in device.pull("promotions")
    assert person.send(f"/promotions/{DEAL}/delete/").headers["location"] == "/promotions/?done=deleted"
    assert person.get(f"/promotions/{DEAL}/edit/").status_code == 404
    assert "There is no promotion" in person.get("/promotions/").text


@pytest.mark.parametrize(
    "path", ["/products/", "/products/new/", f"/products/{COLA}/edit/", "/promotions/", "/promotions/new/"]
)
def test_the_pages_are_for_the_office_alone(somebody: Callable[..., Any], path: str) -> None:
    assert somebody().get(path).headers["location"].startswith("/accounts/login/?next=")
    answer = somebody("pos-02", "secret").get(path)
    assert (answer.status_code, "office" in answer.text) == (403, True)


def test_a_form_without_the_session_s_mark_changes_nothing(office: HeadOffice, person: Any) -> None:
    before = office.world.db.current("change")
    for path in (
        f"/products/{COLA}/edit/",
        f"/products/{COLA}/delete/",
        "/promotions/new/",
        f"/promotions/{DEAL}/delete/",
    ):
        assert person.send(path, **COLA_FORM | TEA_TIME, csrf="forged").status_code == 403
    assert office.world.db.current("change") == before


def test_a_promotion_added_on_the_page_is_explained_by_a_till(
    office: HeadOffice, person: Any, make_till: Callable[..., Any]
) -> None:
    """The whole way: a form at head office, a real agent's sync, and why it applies or not."""
    till = make_till(office)
    person.send("/promotions/new/", **TEA_TIME)
    till.agent.sync()
    (row,) = [one.fields for one in till.agent.catalog.all_promotions() if one.code == "TEA-TIME"]
    assert row == office.world.get("promotions", row["id"])
    friday = dt.datetime.fromisoformat("2026-11-20T15:00")
    assert till.agent.catalog.explain("TEA-TIME", at=friday).applies
    for other in ("2026-11-20T17:00", "2026-11-19T15:00"):  # the end is outside, and Thursday is none of its days
        assert not till.agent.catalog.explain("TEA-TIME", at=dt.datetime.fromisoformat(other)).applies
    words = [sys.executable, "-m", "edge_agent", "promotions", "explain", "TEA-TIME", "--at", "2026-11-20T16:59"]
    home = {"EDGE_AGENT_HOME": str(till.agent.home)}
    told = subprocess.run(words, env=dict(os.environ) | home, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Tea time applies at 2026-11-20 16:59")
    person.send(f"/promotions/{row['id']}/deactivate/")
    till.agent.sync()
    assert till.agent.catalog.explain("TEA-TIME", at=friday).promotion is None
