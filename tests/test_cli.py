"""The command line as staff and programs meet it: a real home, the stub on a real port.

`shell` runs commands in this process, by the function that a process would call; `processes` starts real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ho_stub.testing import HeadOffice
from tests.shell import Processes, Shell

UNKNOWN = "4c7e2571-fb31-5c87-bdc7-bcfc1b6c01b1"


def init_words(office: HeadOffice, **other: str) -> list[str]:
    options = {
        "url": office.url,
        "username": office.username,
        "company": office.company_id,
        "store": office.store_id,
        "brand": office.brand_id,
        "device": "pos-02",
    } | other
    return ["init", "--password-stdin", *(word for key, value in options.items() for word in (f"--{key}", value))]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path / "home")


@pytest.fixture
def office():
    with HeadOffice() as office:
        yield office


@pytest.fixture
def till(shell: Shell, office: HeadOffice) -> Shell:
    shell(*init_words(office), stdin=office.password + "\n")
    return shell


def cola(till: Shell) -> dict[str, Any]:
    return till.json("products", "search", "cola")["products"][0]


def a_sale(product: str, **other: Any) -> str:
    return json.dumps(
        {
            "items": [{"product": product, "quantity": "2", "unit_price": "7500.00"}],
            "payments": [{"method": "cash", "amount": "20000.00"}],
        }
        | other
    )


def test_init_signs_in_and_pulls(processes: Processes, office: HeadOffice) -> None:
    """One command sets a device up, prices included."""
    report = processes.json(*init_words(office), stdin=office.password + "\n")
    assert report["pulled"]["products"]["snapshot"] is True
    assert processes.json("status")["datasets"]["products"]["count"] == len(office.world.live_ids("products"))


@pytest.mark.parametrize(
    ("other", "password", "says", "code"),
    [
        ({}, "wrong", "password", 5),
        ({"company": UNKNOWN}, None, "company", 1),
        ({"store": UNKNOWN}, None, "store", 1),
        ({"brand": UNKNOWN}, None, "brand", 1),
        ({"url": "http://ho.example.com"}, None, "https", 2),
        ({"store": "7"}, None, "store_id", 2),
    ],
)
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_init_says_which_setting_is_wrong_and_keeps_nothing(
    shell: Shell, profile: str, other: dict[str, str], password: str | None, says: str, code: int
) -> None:
    """A wrong password, company, store or brand is named, whichever kind of head office answers."""
    with HeadOffice(profile=profile) as office:
        done = shell(*init_words(office, **other), stdin=(password or office.password) + "\n", exit_code=code)
    assert says in done.stderr
    assert not (shell.home / "settings.toml").exists()


def test_init_with_head_office_away_keeps_the_settings(shell: Shell, office: HeadOffice) -> None:
    """A device can be set up before the line is there; the first sync brings the rest."""
    office.stop()
    done = shell(*init_words(office), stdin=office.password + "\n", exit_code=4)
    assert "come with the first edge-agent sync" in done.stderr
    assert "Selling works" in shell("status").stdout
    office.start()
    assert shell.json("sync")["pulled"]["products"]["upserts"] > 0


def test_a_home_belongs_to_one_device(till: Shell, office: HeadOffice) -> None:
    """Setting up another device over a home would send its sales under a foreign name."""
    done = till(*init_words(office, device="pos-03"), stdin=office.password + "\n", exit_code=2)
    assert "already belongs to pos-02" in done.stderr


def test_an_outage_reads_calmly(till: Shell, processes: Processes, office: HeadOffice) -> None:
    """During an outage status says first that selling works, then what waits; sync exits 4 and loses nothing."""
    product = cola(till)["id"]
    office.stop()
    recorded = processes.json("sale", "record", "-", stdin=a_sale(product))
    assert recorded["state"] == "pending"
    assert recorded["total_amount"] == "15000.00"
    assert processes.json("sync", exit_code=4)["errors"][0]["code"] == "UNREACHABLE"
    words = processes("status").stdout.splitlines()
    assert words[0] == "Selling works."
    assert words[1].startswith("1 sale waiting for head office")
    assert "Head office unreachable since" in words[2]
    state = processes.json("status")
    assert (state["pending"], state["head_office"]["reachable"]) == (1, False)
    office.start()
    assert processes.json("sync")["pushed"]["created"] == 1
    assert till.json("sale", "show", recorded["external_id"])["state"] == "delivered"
    assert office.world.ledger_total() == "15000.00"


BAD = [
    ({"items": []}, "NO_ITEMS", "items"),
    ({"items": [{"product": "P", "quantity": "0", "unit_price": "1.00"}]}, "NOT_POSITIVE", "items[0].quantity"),
    ({"items": [{"product": "P", "quantity": "-1", "unit_price": "1.00"}]}, "NOT_POSITIVE", "items[0].quantity"),
    ({"items": [{"product": "P", "quantity": "1", "unit_price": "1.005"}]}, "TOO_MANY_DECIMALS", "items[0].unit_price"),
    ({"items": [{"product": "P", "quantity": 1.5, "unit_price": "1.00"}]}, "FLOAT", "items[0].quantity"),
    ({"items": [{"product": "P", "quantity": "1"}]}, "MISSING", "items[0].unit_price"),
    ({"currency": "ZZZ"}, "UNKNOWN_CURRENCY", "currency"),
    ({"currency": "USD"}, "CURRENCY_MISMATCH", "currency"),
    ({"payments": [{"method": "cash", "amount": "1.00"}]}, "UNDERPAID", "payments"),
    ({"kind": "refund"}, "NOTHING_REFERRED_TO", "refers_to"),
    ({"external_id": "42"}, "INVALID_ID", "external_id"),
    ({"store_id": UNKNOWN}, "FOREIGN_ID", "store_id"),
    ({"device_id": "pos-99"}, "FOREIGN_ID", "device_id"),
    ({"device_seq": 7}, "SET_BY_JOURNAL", "device_seq"),
    ({"total_amount": "1.00"}, "TOTAL_MISMATCH", "total_amount"),
    ({"extra": {"note": "4111 1111 1111 1111"}}, "CARD_NUMBER", "extra.note"),
    ({"itmes": []}, "UNKNOWN_FIELD", "itmes"),
]


def test_bad_lines_are_refused_by_name_and_the_others_recorded(till: Shell, tmp_path: Path) -> None:
    """Each bad line is refused with code, field, message and hint; nothing of it is stored; good lines are."""
    product = cola(till)["id"]
    lines = [a_sale(product)]
    for change, _, _ in BAD:
        lines.append(a_sale(product, **change).replace('"P"', json.dumps(product)))
    lines.insert(16, '{"items": [')  # line 17
    lines.append(a_sale(product))
    path = tmp_path / "sales.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    done = till("sale", "record", str(path), "--json", exit_code=1)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["line"] for result in results] == list(range(1, len(lines) + 1))
    assert results[16]["error"]["code"] == "INVALID_JSON"
    assert results[16]["error"]["field"] == "line 17"
    refused = [result["error"] for result in results if "error" in result and result["line"] != 17]
    assert [(error["code"], error["field"]) for error in refused] == [(code, field) for _, code, field in BAD]
    assert all(error["message"] and error["hint"] for error in refused)
    assert [result["device_seq"] for result in results if "device_seq" in result] == [1, 2]
    assert till.json("status")["pending"] == 2


def test_the_same_id_again_is_the_same_sale(till: Shell) -> None:
    """A POS that is unsure retries with its id, and gets the sale of then; another sale under it is refused."""
    product = cola(till)["id"]
    external_id = "0191e5a2-7c3b-7def-8a01-23456789abcd"
    first = till.json("sale", "record", "-", stdin=a_sale(product, external_id=external_id))
    again = till.json("sale", "record", "-", stdin=a_sale(product, external_id=external_id))
    assert "existing" not in first
    assert again["existing"] is True
    assert again["device_seq"] == first["device_seq"]
    other = a_sale(product, external_id=external_id, kind="refund", reason="broken")
    assert till.json("sale", "record", "-", stdin=other, exit_code=1)["error"]["code"] == "ID_REUSED"


def test_an_unknown_product_is_sold_with_a_warning(till: Shell) -> None:
    """The shop has sold it: the sale is recorded, and says what the catalogue does not know."""
    recorded = till.json("sale", "record", "-", stdin=a_sale(UNKNOWN))
    assert recorded["state"] == "pending"
    assert UNKNOWN in recorded["warnings"][0]


def test_a_refused_sale_is_set_aside_shown_and_retried(till: Shell, office: HeadOffice) -> None:
    """Head office's refusal shows in status and outbox with its words, and a person can offer it again."""
    recorded = till.json("sale", "record", "-", stdin=a_sale(UNKNOWN))
    assert till.json("sync", exit_code=3)["pushed"]["rejected"] == 1
    assert "outbox list" in till("status", exit_code=3).stdout
    [entry] = till.json("outbox", "list")["entries"]
    assert (entry["external_id"], entry["state"], entry["code"]) == (
        recorded["external_id"],
        "quarantined",
        "UNKNOWN_PRODUCT",
    )
    assert till.json("outbox", "show", recorded["external_id"])["body"]["external_id"] == recorded["external_id"]
    product = office.world.get("products", cola(till)["id"])
    office.world.upsert("products", product | {"id": UNKNOWN, "sku": "NEW", "barcode": None})
    assert till.json("outbox", "retry", recorded["external_id"])["retried"] == 1
    assert till.json("sync")["pushed"]["created"] == 1


def test_a_use_is_recorded_once(till: Shell, office: HeadOffice) -> None:
    """The same use of a promotion is one use, however often it is recorded."""
    sale = till.json("sale", "record", "-", stdin=a_sale(cola(till)["id"]))
    [promotion] = till.json("promotions", "list", "--active")["promotions"]
    use = json.dumps(
        {"promotion_id": promotion["id"], "discount_amount": "500", "sale_external_id": sale["external_id"]}
    )
    first = till.json("usage", "record", "-", stdin=use)
    assert till.json("usage", "record", "-", stdin=use)["existing"] is True
    till("sync")
    assert [usage["external_id"] for usage in office.world.usages()] == [first["external_id"]]


def test_products_are_found_by_id_sku_and_barcode(till: Shell) -> None:
    """What is scanned or typed finds the product, with its stock less what was just sold."""
    product = cola(till)
    till("sale", "record", "-", stdin=a_sale(product["id"]))
    for key in (product["id"], product["sku"], product["barcode"]):
        shown = till.json("products", "show", key)
        assert shown["name"] == product["name"]
        assert float(shown["stock"]["available"]) == float(shown["stock"]["quantity"]) - 2


def test_settings_can_be_shown_to_anyone(till: Shell, office: HeadOffice) -> None:
    """Settings can be shown to anyone: neither password nor token is in them."""
    shown = till("settings", "--json").stdout
    assert json.loads(shown)["settings"]["device_id"] == "pos-02"
    secrets = [office.password, json.loads((till.home / "tokens.json").read_text())["access"]]
    assert not any(secret in shown for secret in secrets)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_files_are_private(till: Shell) -> None:
    """Databases and secrets can be read by their owner alone."""
    for path in till.home.iterdir():
        if path.suffix in (".db", ".json"):
            assert path.stat().st_mode & 0o077 == 0, path.name


def test_two_homes_are_an_error_that_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A POS and a daemon that resolve different homes would sell into a journal nobody uploads."""
    from edge_agent import settings

    homes = [tmp_path / "site", tmp_path / "user"]
    for home in homes:
        home.mkdir()
        (home / "settings.toml").write_text("")
    monkeypatch.delenv("EDGE_AGENT_HOME", raising=False)
    monkeypatch.setattr(settings, "candidate_homes", lambda: homes)
    with pytest.raises(settings.InvalidSettings) as caught:
        settings.find_home()
    assert all(str(home) in caught.value.message for home in homes)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('urll = "http://127.0.0.1"', "urll"),
        ("page_rows = 0", "page_rows"),
        ('page_rows = "many"', "page_rows"),
        ("poll_interval_s = true", "poll_interval_s"),
        ('auth_scheme = "Basic"', "auth_scheme"),
        ("page_rows = ", "settings.toml"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(till: Shell, line: str, key: str) -> None:
    """A mistake in settings.toml is told by its key, without a traceback, and nothing is changed."""
    path = till.home / "settings.toml"
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    error = till.json("status", exit_code=2)["error"]
    assert error["field"] == key
    assert error["hint"]


def test_verify_lists_and_mends_the_catalogue(till: Shell, office: HeadOffice, tmp_path: Path) -> None:
    """Rows that differ from head office's are listed by id; ``--repair`` puts them right and says what came over."""
    import sqlite3

    till("sync")
    product = cola(till)["id"]
    catalogue = sqlite3.connect(Path(till.json("settings")["home"]) / "catalog.db")
    with catalogue:
        catalogue.execute("UPDATE products SET price = '0.01' WHERE id = ?", (product,))
        catalogue.execute("DELETE FROM categories WHERE id = (SELECT min(id) FROM categories)")
    catalogue.close()
    found = till.json("verify", exit_code=3)
    assert {(line["dataset"], line["kind"]) for line in found["drift"]} == {
        ("products", "stale"),
        ("categories", "missing"),
    }
    assert found["in_sync"] is False
    assert found["repaired"] == 0
    alone = till.json("verify", "--dataset", "products", "--id", product, exit_code=3)
    assert [line["id"] for line in alone["drift"]] == [product]
    assert "Nothing was changed" in till("verify", "--direction", "pull", exit_code=3).stderr
    mended = till("verify", "--repair", "--direction", "pull")
    assert "2 rows put right" in mended.stdout
    assert till.json("verify")["in_sync"] is True
    assert till.json("verify", "--dataset", "promotions")["datasets"] == {"promotions": True}
    assert "--direction" in till("verify", "--dataset", "sales", "--direction", "pull", exit_code=2).stderr


def test_no_home_says_what_to_do(tmp_path: Path) -> None:
    """A device that is not set up says so, and how to set it up."""
    done = Shell(tmp_path / "nowhere")("status", exit_code=2)
    assert "edge-agent init" in done.stderr


def test_verify_finds_what_head_office_lost_and_mends_it(till: Shell, office: HeadOffice) -> None:
    """``verify`` lists what is missing and changes nothing; ``--repair`` sends it and says so (G10)."""
    backup = office.world.snapshot()
    product = cola(till)["id"]
    sold = [till.json("sale", "record", "-", stdin=a_sale(product))["external_id"] for _ in range(3)]
    till("sync")
    assert till.json("verify")["in_sync"] is True
    office.world.restore(backup, new_epoch=False)
    drift = till.json("verify", exit_code=3)["drift"]
    assert {line["id"] for line in drift} == set(sold)
    assert {line["kind"] for line in drift} == {"missing at head office"}
    assert till.json("status")["pending"] == 0, "nothing was changed"
    assert [line["id"] for line in till.json("verify", "--id", sold[1], exit_code=3)["drift"]] == [sold[1]]
    assert "Nothing was changed" in till("verify", exit_code=3).stderr
    mended = till("verify", "--repair")
    assert "3 offered again and sent." in mended.stdout
    assert "Head office has all that it said it has, to the cent.\n" in mended.stdout
    assert {sale["external_id"] for sale in office.world.sales()} == set(sold)


def test_verify_of_the_journal_alone_asks_nobody(till: Shell, office: HeadOffice) -> None:
    """``verify --dataset journal`` works without a line."""
    till("sale", "record", "-", stdin=a_sale(cola(till)["id"]))
    office.stop()
    assert till("verify", "--dataset", "journal").stdout == "The journal is whole.\n"
    till("verify", exit_code=4)
    till("verify", "--dataset", "prices", exit_code=2)


def test_health_lists_what_is_wrong_and_what_to_do(till: Shell, office: HeadOffice) -> None:
    """A sound catalogue exits 0; an error makes it 3; refused rows are listed with their reasons; filters narrow it."""
    assert "Nothing was found." in till("health").stdout
    office.world.upsert("products", {"id": UNKNOWN, "brand_id": office.brand_id, "name": "Tea", "sku": "TEA"})
    till("sync")
    found = till.json("health")
    assert (found["schema"], found["total"], found["health_score"]) == (1, 1, 85.71)
    assert found["findings"][0].items() >= {"kind": "no price", "dataset": "products", "id": UNKNOWN}.items()
    office.world.edit("products", cola(till)["id"], price="-1.00")
    till("sync")
    words = till("health", exit_code=3).stdout
    assert words.startswith("71.42 % of 7 rows of the catalogue are in order.")
    assert all(part in words for part in ("error", "the price is negative", "Cola 330 ml", "Tea", "warning"))
    assert [one["kind"] for one in till.json("health", "--kind", "no-price")["findings"]] == ["no price"]
    assert [one["kind"] for one in till.json("health", "--kind", "refused row", exit_code=3)["findings"]] == [
        "refused row"
    ]
    assert till.json("health", "--dataset", "outbox")["total"] == 0
    assert "duplicate barcode" in till("health", "--kind", "bad", exit_code=2).stderr
    till("health", "--dataset", "bad", exit_code=2)
    assert till.json("status")["health"]["score"] == 71.42
    assert "edge-agent health" in till("status").stdout


def test_a_sale_is_checked_before_payment(till: Shell) -> None:
    """A sale as the catalogue says exits 0, one that is not exits 3 and names alternatives; nothing is recorded."""
    product = cola(till)["id"]
    fine = till.json("products", "check", "-", stdin=a_sale(product))
    assert (fine["ok"], fine["lines"][0]["problem"], fine["lines"][0]["catalogue_price"]) == (True, None, "7500.00")
    other = a_sale(product, items=[{"product": product, "quantity": "1", "unit_price": "1.00"}])
    wrong = till.json("products", "check", "-", stdin=other, exit_code=3)
    assert (wrong["ok"], wrong["lines"][0]["problem"]) == (False, "price differs")
    assert "costs 7500.00, not 1.00" in till("products", "check", "-", stdin=other, exit_code=3).stdout
    assert till.json("products", "check", "-", stdin="{}")["lines"] == []
    assert till.json("products", "check", "-", stdin="", exit_code=1)["error"]["code"] == "NOT_AN_OBJECT"
    assert till.json("products", "check", "-", stdin="{", exit_code=1)["error"]["code"] == "INVALID_JSON"
    assert till.json("status")["pending"] == 0


def test_a_promotion_is_explained(till: Shell, office: HeadOffice) -> None:
    """Why it applies, or does not, or is not here; always exit 0: an explanation is what was asked for."""
    why = till.json("promotions", "explain", "COLA10")
    assert (why["applies"], why["promotion"]["code"]) == (True, "COLA10")
    assert {"step", "ok", "words"} == set(why["steps"][0])
    [promotion] = till.json("promotions", "list")["promotions"]
    office.world.edit("promotions", promotion["id"], validity={"time_start": "17:00", "time_end": "18:00"})
    till("sync")
    assert till.json("promotions", "explain", "COLA10", "--at", "2026-11-21T17:30")["applies"] is True
    words = till("promotions", "explain", "COLA10", "--at", "2026-11-21T18:00").stdout
    assert words.startswith("Cola 10 % off does not apply at 2026-11-21 18:00. It applies from 17:00 to 18:00")
    assert "is not on this till" in till("promotions", "explain", "NOTHING").stdout
    till("promotions", "explain", "COLA10", "--at", "noon", exit_code=2)


def test_a_reader_that_has_read_enough_ends_a_command_quietly(till: Shell) -> None:
    """`edge-agent status | head -0` shows no traceback: the pipe's end is nobody's mistake."""
    for words in (["status"], ["status", "--json"], ["settings", "--json"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent", *words],
            stdout=write,
            stderr=subprocess.PIPE,
            env=till.environment,
            timeout=60,
            check=False,
        )
        os.close(write)
        assert done.stderr == b"", words


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a POSIX shell does")
@pytest.mark.parametrize(
    ("words", "code", "closed"),
    [
        ("status", 0, "<&- >&- 2>&-"),
        ("settings", 0, ">&-"),
        ("sale show x", 1, "2>&-"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                ("status", 0, ">&-"),
                ("status", 0, "2>&-"),
                ("status --json", 0, ">&-"),
                ("status --json", 0, "2>&-"),
                ("status --json", 0, "<&- >&- 2>&-"),
                ("settings", 0, "2>&-"),
                ("settings", 0, "<&- >&- 2>&-"),
                ("sale show x", 1, ">&-"),
                ("sale show x", 1, "<&- >&- 2>&-"),
            )
        ),
    ],
)
def test_a_program_without_streams_ends_as_with_them(till: Shell, words: str, code: int, closed: str) -> None:
    """Started with standard streams closed, as some services do, a command does its work and exits as ever."""
    command = f'exec "$0" -m edge_agent {words} {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable], env=till.environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == code
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a POSIX shell does")
def test_a_daemon_without_streams_ends_cleanly(till: Shell) -> None:
    """`edge-agent run >&-` serves, and SIGTERM ends it with 0."""
    with (till.home / "settings.toml").open("a") as file:
        file.write("local_port = 0\n")
    command = 'exec "$0" -m edge_agent run <&- >&- 2>&-'
    with subprocess.Popen(["/bin/sh", "-c", command, sys.executable], env=till.environment) as daemon:
        pause = threading.Event()
        for _ in range(1_000):
            if (till.home / "daemon.json").exists() or daemon.poll() is not None:
                break
            pause.wait(0.02)
        daemon.terminate()
        assert daemon.wait(30) == 0
    assert "edge-agent" in (till.home / "logs" / "edge-agent.log").read_text("utf-8")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_the_letters_ends_no_command(
    shell: Shell, processes: Processes, office: HeadOffice, encoding: str
) -> None:
    """A name that a terminal can't write is shown with question marks, and JSON is UTF-8 all the same."""
    cola = next(iter(office.world.rows("products")))
    office.world.edit("products", cola["id"], name="コーラ")
    shell(*init_words(office), stdin=f"{office.password}\n")
    processes.environment |= {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    assert "???" in processes("products", "show", cola["sku"]).stdout
    assert processes.json("products", "show", cola["sku"])["name"] == "コーラ"
