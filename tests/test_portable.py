"""An outbox in a file: carried to another device or to head office it counts once, and damaged it counts not at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import stat
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from edge_agent import EdgeAgent, Item
from edge_agent.cli.app import app
from edge_agent.domain.canonical import canonical_bytes, fingerprint
from edge_agent.domain.portable import LINE_BYTES_MAX, Header, Reader, Writer, key_id, line_of
from edge_agent.errors import InvalidSale, InvalidSettings
from edge_agent.key import KEY_NAME, device_key
from ho_stub.testing import HeadOffice

Make = Callable[..., Any]
GOLDEN = json.loads((Path(__file__).parent / "contract/portable.json").read_text("utf-8"))
GOLDEN_KEY = bytes.fromhex(GOLDEN["key"])
GOLDEN_FILE = "".join(line + "\n" for line in GOLDEN["lines"]).encode()
COMPANY = json.loads(GOLDEN["lines"][0])["company_id"]
MEMORY_BYTES_MAX = 2_000_000


@pytest.fixture
def second(till: Any, make_till: Make) -> Any:
    """Another device of the same store."""
    return make_till(till.office, name="second", device_id="pos-03")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox.jsonl"


def identities(office: HeadOffice) -> list[tuple[Any, ...]]:
    """What head office counts, by the place in the origin's sequence."""
    return sorted((sale["device_id"], sale["journal_id"], sale["device_seq"]) for sale in office.world.sales())


def own_identities(till: Any) -> list[tuple[Any, ...]]:
    return till.ledger_rows(
        "SELECT j.device_id, j.journal_id, s.device_seq FROM sales s JOIN journals j ON j.number = s.journal_number "
        "ORDER BY s.entry"
    )


def stored(agent: EdgeAgent) -> tuple[int, int, int]:
    """How many sales, uses and lives a journal holds."""
    count = agent._journal.database.connection.execute
    return tuple(count(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("sales", "usages", "journals"))  # type: ignore[return-value]


def audit(till: Any) -> list[tuple[Any, ...]]:
    return till.ledger_rows("SELECT event, subject, detail FROM audit ORDER BY id")


def entries_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()[1:-1]]


def posted_by_head_office(office: HeadOffice, file: Path) -> list[str]:
    """Head office's own import: the bodies, as they are, to its own door. Returns its word on each."""
    with httpx.Client(base_url=office.url, trust_env=False) as client:
        answer = client.post("/api/token/", json={"username": office.username, "password": office.password})
        client.headers["Authorization"] = f"Bearer {answer.json()['access']}"
        bodies: dict[str, list[bytes]] = {"sales": [], "usages": []}
        for entry in entries_of(file):
            assert hashlib.sha256(entry["body"].encode()).hexdigest() == entry["fingerprint"]
            bodies[entry["lane"]].append(entry["body"].encode())
        content = b'{"device_id":"import","clock_offset_ms":0,"sales":[' + b",".join(bodies["sales"]) + b"]}"
        json_type = {"content-type": "application/json"}
        taken = client.post("/api/v1/sync/sales/", content=content, headers=json_type)
        assert taken.status_code == 200, taken.text
        if bodies["usages"]:
            content = b'{"usages":[' + b",".join(bodies["usages"]) + b"]}"
            assert client.post("/api/v1/sync/usage/", content=content, headers=json_type).status_code == 200
    return [result["status"] for result in taken.json()["results"]]


def run(till: Any, *words: str, stdin: bytes = b"", exit_code: int = 0) -> Result:
    """One command in this process, on the till's home."""
    result = CliRunner().invoke(app, ["--home", str(till.agent.home), *words], input=stdin)
    assert result.exit_code == exit_code, (result.exit_code, result.output, result.exception)
    return result


def sealed(lines: list[bytes], key: bytes = b"not the device's key, but somebody") -> bytes:
    """A file whose counts and SHA-256 fit its lines, sealed by some key."""
    body = b"".join(line + b"\n" for line in lines)
    lanes = [json.loads(line).get("lane") for line in lines]
    footer = {
        "sales": lanes.count("sales"),
        "usages": lanes.count("usages"),
        "sha256": hashlib.sha256(body).hexdigest(),
        "hmac": hmac.new(key, body, "sha256").hexdigest(),
    }
    return body + json.dumps(footer, separators=(",", ":")).encode() + b"\n"


def edited(file: Path, **fields: Any) -> bytes:
    """The file with its first sale changed by someone who knows the form, but not the key."""
    lines = file.read_bytes().splitlines()[:-1]
    entry = json.loads(lines[1])
    body = canonical_bytes(json.loads(entry["body"]) | fields)
    entry |= {"body": body.decode(), "fingerprint": fingerprint(body)}
    lines[1] = json.dumps(entry).encode()
    return sealed(lines)


# ---- counted once ----------------------------------------------------------------------------------------------


def test_two_devices_send_the_same_sales_and_they_count_once(till: Any, second: Any, file: Path) -> None:
    """Exported, imported elsewhere, sent by both: counted once, under the identity of the device that sold (G4)."""
    sale = till.sell(quantity="2")
    till.sell(kind="refund", refers_to=sale.external_id, quantity="2")
    till.agent.record_usage(till.deal, "500", sale=sale)
    mine = second.sell()
    till.agent.export_outbox(file)
    done = second.agent.import_outbox(file)
    assert (done.sales, done.usages, done.existing, done.conflicts) == (2, 1, 0, ())
    first, then = second.agent.sync(), till.agent.sync()
    assert (first.pushed.created, first.pushed_usages.created) == (3, 1)
    assert (then.pushed.duplicate, then.pushed_usages.duplicate) == (2, 1)
    assert identities(till.office) == sorted(own_identities(till) + own_identities(second)[-1:])
    assert len(identities(till.office)) == 3
    assert till.office.world.usage_count() == 1
    assert second.books_agree()
    assert second.agent.sale(mine.external_id).device_seq == 1
    assert second.sell().device_seq == 2
    assert till.agent.status()["pending"] == 0


def test_head_office_imports_the_file_itself(till: Any, file: Path) -> None:
    """Head office takes the bodies from the file; the device is told "duplicate" when its line is back (G4)."""
    sale = till.sell()
    till.sell(till.bread, "0.750", "42000")
    till.agent.record_usage(till.deal, "500", sale=sale)
    till.agent.export_outbox(file)
    assert posted_by_head_office(till.office, file) == ["created", "created"]
    assert identities(till.office) == own_identities(till)
    report = till.agent.sync()
    assert (report.pushed.created, report.pushed.duplicate, report.pushed_usages.duplicate) == (0, 2, 1)
    assert till.books_agree()
    assert posted_by_head_office(till.office, file) == ["duplicate", "duplicate"]
    assert till.office.world.usage_count() == 1


def test_an_import_again_changes_nothing(till: Any, second: Any, file: Path) -> None:
    """Imported twice, after delivery once more, and at its origin: nothing doubled, and delivered stays delivered."""
    till.agent.record_usage(till.deal, "500", sale=till.sell())
    till.agent.export_outbox(file)
    before = stored(till.agent)
    assert till.agent.import_outbox(file).existing == 2
    assert stored(till.agent) == before
    second.agent.import_outbox(file)
    assert second.agent.import_outbox(file).existing == 2
    second.agent.sync()
    assert second.agent.import_outbox(file).existing == 2
    assert second.agent.status()["pending"] == 0
    assert stored(second.agent)[:2] == (1, 1)
    assert second.books_agree()


@pytest.mark.parametrize("trials", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_whoever_sends_first(
    trials: int, make_till: Make, tmp_path: Path, poll: Make, evidence: Make, clock: Any
) -> None:
    """Origin, importer and head office's own import deliver the same file in any order, answers lost: counted once."""
    seed = int(os.environ.get("PORTABLE_SEED", random.SystemRandom().randrange(10**6)))
    print(f"PORTABLE_SEED={seed}")
    dice = random.Random(seed)
    origin = make_till(name="origin", batch_count_max=3)
    office = origin.office
    importer = make_till(office, name="importer", device_id="pos-03", batch_count_max=3)
    recorded = set()
    for trial in range(trials):
        file = tmp_path / f"{trial}.jsonl"
        for _ in range(dice.randrange(1, 8)):
            sale = origin.sell(dice.choice([origin.cola, origin.water]), dice.choice(["1", "3"]))
            recorded.add(sale.external_id)
            if dice.random() < 0.3:
                origin.agent.record_usage(origin.deal, "100", sale=sale)
        recorded.add(importer.sell().external_id)
        origin.agent.export_outbox(file, delivered=dice.random() < 0.5)
        deliveries: list[Callable[[], Any]] = [
            lambda: poll(origin.agent),
            lambda file=file: importer.agent.import_outbox(file),  # type: ignore[misc]
            lambda: poll(importer.agent),
            lambda file=file: posted_by_head_office(office, file),  # type: ignore[misc]
        ]
        by_hand = deliveries[3]
        dice.shuffle(deliveries)
        for deliver in deliveries[: dice.randrange(1, 5)]:
            office.drop_after_commit = 0 if deliver is by_hand else dice.choice([0, 0, 1])
            deliver()
            clock.advance(hours=1)
        office.drop_after_commit = 0
    for _ in range(10):
        clock.advance(hours=1)
        poll(origin.agent)
        poll(importer.agent)
    places = identities(office)
    counted = [sale["external_id"] for sale in office.world.sales() if sale["state"] == "accepted"]
    pending = origin.agent.status()["pending"] + importer.agent.status()["pending"]
    lost, doubled = len(recorded - set(counted)), len(counted) - len(set(counted)) + len(places) - len(set(places))
    evidence("outbox carried to another device", trials, lost=lost, doubled=doubled, stuck=pending)
    assert (lost, doubled, pending) == (0, 0, 0)
    assert set(counted) == recorded


# ---- what an adopted entry is here -------------------------------------------------------------------------------


def test_a_refused_sale_goes_along_with_its_use_and_is_judged_anew(till: Any, second: Any, file: Path) -> None:
    """A quarantined sale comes in pending, with head office's words; its use waits for it, then both go up."""
    till.office.world.set_stock(till.cola, "48")
    bad = till.sell(till.nobody)
    till.agent.record_usage(till.deal, "500", sale=bad)
    till.agent.sync()
    assert till.agent.sale(bad.external_id).state == "quarantined"
    till.agent.export_outbox(file)
    assert [entry["state"] for entry in entries_of(file)] == ["quarantined", "pending"]
    second.agent.import_outbox(file)
    [sale, use] = second.agent.outbox()
    assert (sale.state, sale.device_seq, sale.code) == ("pending", 1, "UNKNOWN_PRODUCT")
    assert "never had" in sale.reason
    assert use.held_by == bad.external_id
    recorded = second.agent.sale_record(bad.external_id)
    assert recorded.recorded_ms == till.agent.sale_record(bad.external_id).recorded_ms
    second.agent.sync()
    assert [line.state for line in second.agent.outbox()] == ["quarantined", "pending"]
    world = till.office.world
    world.upsert("products", world.get("products", till.cola) | {"id": till.nobody, "sku": "NEW", "barcode": None})
    assert second.agent.retry([bad.external_id]) == 1
    second.agent.sync()
    assert second.agent.outbox() == []
    assert second.agent.status()["delivered"] == 2
    assert identities(till.office) == own_identities(till)
    assert world.usage_count() == 1


def test_stock_knows_what_was_imported(till: Any, second: Any, file: Path) -> None:
    """Goods of an imported sale are gone from this store's shelf, before head office counts them and after."""
    till.office.world.set_stock(till.cola, "48")
    second.agent.sync()
    till.sell(quantity="5")
    second.sell(quantity="2")
    till.agent.export_outbox(file)
    second.agent.import_outbox(file)
    assert second.agent.catalog.stock(till.cola).available == 41
    second.agent.sync()
    assert second.agent.catalog.stock(till.cola).available == 41
    till.agent.sync()
    second.agent.sync(full=True)
    assert second.agent.catalog.stock(till.cola).available == 41
    assert till.agent.catalog.stock(till.cola).available == 41


def test_another_stores_goods_do_not_count_here(
    till: Any, tiny_with: Make, make_office: Make, make_till: Make, write_home: Make, open_agent: Make, file: Path
) -> None:
    """A sale of another store of the company keeps its store, and leaves this store's shelf alone."""
    [store] = tiny_with().stores
    other = store | {"id": "0000aaaa-0000-4000-8000-000000000000", "name": "Other store"}
    office = make_office(data=tiny_with(stores=[store, other]))
    office.world.set_stock(till.cola, "48")
    here = make_till(office, name="here")
    settings = {"store_id": other["id"], "device_id": "pos-09", "currency": "IDR", "timezone": "Asia/Jakarta"}
    origin = open_agent(write_home(office, name="origin", **settings))
    origin.record_sale([Item(till.cola, "5", "7500.00")])
    origin.export_outbox(file)
    here.agent.import_outbox(file)
    assert here.agent.catalog.stock(here.cola).available == 48
    here.agent.sync()
    [sale] = office.world.sales()
    assert (sale["body"]["store_id"], sale["device_id"]) == (other["id"], "pos-09")
    assert here.agent.catalog.stock(here.cola).available == 48


def test_an_older_copy_of_the_journal_takes_a_new_identity_first(
    till: Any, open_agent: Make, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with later sales of this very journal shows that it was restored: no number is given out twice (G2)."""
    import shutil

    monkeypatch.setattr("edge_agent.storage.database.Database.file_number", lambda self: "a whole disk was copied")
    till.agent._journal.keep_fact("file", "a whole disk was copied")
    till.sell()
    home = till.agent.home
    device_key(home)
    old = open_agent(shutil.copytree(home, tmp_path / "old"))
    late = [till.sell(), till.sell()]
    till.agent.export_outbox(file)
    journal_id = late[0].journal_id
    done = old.import_outbox(file)
    assert (done.sales, done.existing, done.rewound, done.proved) == (2, 1, True, True)
    new = old.record_sale([Item(till.cola, "1", "7500")])
    assert (new.device_seq, new.journal_id != journal_id) == (1, True)
    assert old.import_outbox(file).rewound is False
    assert not old.sync().errors
    assert {seq for _, journal, seq in identities(till.office) if journal == journal_id} == {1, 2, 3}
    assert till.office.world.sale_count() == 4
    assert till.agent.sync().pushed.duplicate == 3
    assert not [sale for sale in till.office.world.sales() if sale["warnings"]]


def test_the_same_id_for_another_sale_is_left_out_and_told(till: Any, second: Any, file: Path) -> None:
    """What is here stays; the other one is named, and the rest is taken (G2, G7)."""
    mine = second.sell(external_id="0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b37")
    till.sell(quantity="3", external_id=mine.external_id)
    till.sell()
    till.agent.export_outbox(file)
    result = run(second, "outbox", "import", str(file), "--json", exit_code=3)
    assert json.loads(result.stdout) == {
        "schema": 1,
        "sales": 1,
        "usages": 0,
        "existing": 0,
        "conflicts": [mine.external_id],
        "proved": False,
    }
    assert "left out" in result.stderr
    assert second.agent.sale(mine.external_id).fingerprint == mine.fingerprint


# ---- the export --------------------------------------------------------------------------------------------------


def test_an_export_changes_nothing_in_the_outbox(till: Any, file: Path) -> None:
    """Pending and quarantined entries go out as frozen bytes; the journal only notes that they did."""
    delivered = till.sell()
    till.agent.sync()
    till.sell(till.nobody)
    till.agent.sync()
    pending = till.sell()
    before = till.ledger_rows("SELECT * FROM sales")
    done = till.agent.export_outbox(file)
    assert till.ledger_rows("SELECT * FROM sales") == before
    assert (done.sales, done.usages, done.damaged) == (2, 0, [])
    bodies = dict(till.ledger_rows("SELECT external_id, body FROM sales JOIN sale_bodies USING (entry)"))
    assert {entry["external_id"]: entry["body"].encode() for entry in entries_of(file)} == {
        key: body for key, body in bodies.items() if key != delivered.external_id
    }
    event, subject, detail = audit(till)[-1]
    assert (event, subject) == ("outbox exported", str(file))
    assert detail.startswith("2 sales, 0 uses")
    assert till.agent.export_outbox(file, delivered=True, force=True).sales == 3
    assert till.agent.export_outbox(file, external_ids=[pending.external_id], force=True).sales == 1
    assert till.agent.export_outbox(file, external_ids=[delivered.external_id], force=True).sales == 1


def test_a_named_sale_takes_its_uses_along(till: Any, file: Path) -> None:
    """IDs select; an id that is not here is told, and no file appears."""
    sale = till.sell()
    till.sell()
    till.agent.record_usage(till.deal, "500", sale=sale)
    till.agent.export_outbox(file, external_ids=[sale.external_id])
    assert [entry["lane"] for entry in entries_of(file)] == ["sales", "usages"]
    other = file.with_name("other.jsonl")
    with pytest.raises(InvalidSale, match="not in this device's outbox") as caught:
        till.agent.export_outbox(other, external_ids=[sale.external_id, till.nobody])
    assert (caught.value.code, caught.value.field) == ("NOT_HERE", till.nobody)
    assert not list(file.parent.glob("other*"))


def test_the_file_is_private_whole_and_never_overwritten(till: Any, file: Path) -> None:
    """0600, under its name only once it is whole, and a file that is there stays unless told otherwise."""
    till.sell()
    done = till.agent.export_outbox(file)
    key = till.agent.home / KEY_NAME
    assert len(key.read_bytes()) == 32
    assert done.key_id == key_id(key.read_bytes())
    if os.name == "posix":
        assert [stat.S_IMODE(path.stat().st_mode) for path in (file, key)] == [0o600, 0o600]
    before = file.read_bytes()
    till.sell()
    with pytest.raises(InvalidSettings, match="there already"):
        till.agent.export_outbox(file)
    assert file.read_bytes() == before
    assert till.agent.export_outbox(file, force=True).key_id == done.key_id
    assert len(entries_of(file)) == 2
    with pytest.raises(InvalidSettings, match="is no file"):
        till.agent.export_outbox(file.parent, force=True)
    assert not list(file.parent.glob("*.part"))


def test_programs_that_need_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    """Of several makers of the key the first one's stays."""
    start = threading.Barrier(8)
    keys = []

    def make() -> None:
        start.wait()
        keys.append(device_key(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def test_a_damaged_sale_does_not_spoil_the_file(till: Any, second: Any, file: Path) -> None:
    """Bytes that are not those that were recorded stay out, by name; the others go (G7)."""
    bad, good = till.sell(), till.sell()
    connection = till.agent._journal.database.connection
    connection.execute("DROP TRIGGER bodies_are_frozen")
    connection.execute(
        "UPDATE sale_bodies SET body = CAST(replace(body, '7500.00', '9500.00') AS BLOB) "
        "WHERE entry = (SELECT entry FROM sales WHERE external_id = ?)",
        (bad.external_id,),
    )
    result = run(till, "outbox", "export", str(file), "--json", exit_code=3)
    assert json.loads(result.stdout)["damaged"] == [bad.external_id]
    assert second.agent.import_outbox(file).sales == 1
    assert second.agent.sale(good.external_id).state == "pending"


@pytest.mark.parametrize("sales", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_ten_thousand_sales_take_no_more_memory_than_two(sales: int, till: Any, second: Any, file: Path) -> None:
    """Export and import stream: what they hold in memory does not grow with the outbox."""
    for device in (till, second):
        device.agent._journal.database.connection.execute("PRAGMA synchronous = OFF")
    for _ in range(sales):
        till.agent.record_sale([Item(till.cola, "1", "7500.00")])
    till.agent.export_outbox(file, external_ids=[])  # what loads once is loaded
    second.agent.import_outbox(file)
    peaks = {}
    for work in (lambda: till.agent.export_outbox(file, force=True), lambda: second.agent.import_outbox(file)):
        tracemalloc.start()
        done = work()
        peaks[type(done).__name__] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert done.sales == sales
    print(peaks, file.stat().st_size)
    assert max(peaks.values()) < MEMORY_BYTES_MAX


# ---- trust and damage ----------------------------------------------------------------------------------------------


def test_the_form_is_the_golden_one() -> None:
    """The form does not drift: what is written today is what was agreed, and reads back as what it was."""
    lines = GOLDEN["lines"]
    reader = Reader(iter(GOLDEN_FILE.splitlines(keepends=True)), company_id=COMPANY, key=GOLDEN_KEY)
    entries = list(reader.entries())
    writer = Writer(Header(**json.loads(lines[0])), GOLDEN_KEY)
    written = [writer.header()]
    for entry, text in zip(entries, lines[1:-1], strict=True):
        lane = json.loads(text)["lane"]
        again = line_of(
            lane,
            entry.frozen.body,
            external_id=entry.frozen.external_id,
            fingerprint=entry.frozen.fingerprint,
            state=entry.state,  # type: ignore[arg-type]
            code=entry.code,
            reason=entry.reason,
            recorded_ms=entry.recorded_ms,
        )
        written.append(writer.line(again))
    assert b"".join([*written, writer.footer()]) == GOLDEN_FILE
    assert [entry.recorded_ms for entry in entries] == [GOLDEN["recorded_ms"]] * 2
    assert reader.proved


def read_all(content: bytes, key: bytes | None) -> None:
    for _ in Reader(iter(content.splitlines(keepends=True)), company_id=COMPANY, key=key).entries():
        pass


@given(st.integers(0, len(GOLDEN_FILE) * 8 - 1), st.booleans())
def test_a_flipped_bit_is_found(bit: int, with_key: bool) -> None:
    """One bit anywhere refuses the file; but for those that name the key, and only where nobody has it."""
    content = bytearray(GOLDEN_FILE)
    content[bit // 8] ^= 1 << bit % 8
    hmac_starts = GOLDEN_FILE.rindex(b'"hmac":"') + 8
    if not with_key and hmac_starts <= bit // 8 < hmac_starts + 64:
        return
    with pytest.raises(InvalidSale) as caught:
        read_all(bytes(content), GOLDEN_KEY if with_key else None)
    assert caught.value.hint


def test_a_file_cut_anywhere_is_refused() -> None:
    """Every beginning of a file that is not all of it is refused, key or no key."""
    for length in range(len(GOLDEN_FILE)):
        for key in (GOLDEN_KEY, None):
            with pytest.raises(InvalidSale):
                read_all(GOLDEN_FILE[:length], key)
    for more in (b"\n", b"x", GOLDEN_FILE):
        with pytest.raises(InvalidSale, match="behind its end"):
            read_all(GOLDEN_FILE + more, None)


@pytest.fixture
def exported(till: Any, file: Path) -> Path:
    """A file of three sales and a use."""
    till.agent.record_usage(till.deal, "500", sale=till.sell())
    till.sell(till.water)
    till.sell(quantity="3")
    till.agent.export_outbox(file)
    return file


def test_a_damaged_file_stores_nothing(till: Any, second: Any, exported: Path) -> None:
    """Cut, lines swapped, doubled or left out, other line ends, no text: refused as a whole, with the line."""
    whole = exported.read_bytes()
    lines = whole.splitlines(keepends=True)
    damaged = {
        **{f"cut after {n}": b"".join(lines[:n]) for n in range(len(lines))},
        **{f"without {n}": b"".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines))},
        **{f"{n} twice": b"".join(lines[: n + 1] + lines[n:]) for n in range(len(lines))},
        **{
            f"{n} swapped": b"".join([*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]])
            for n in range(1, len(lines))
        },
        "use first": sealed([line.rstrip() for line in (lines[0], lines[4], *lines[1:4])]),
        "line ends": whole.replace(b"\n", b"\r\n"),
        "byte order mark": b"\xef\xbb\xbf" + whole,
        "edited amount": whole.replace(b"7500.00", b"9500.00"),
        "one endless line": lines[0] + b"x" * (LINE_BYTES_MAX + 2),
        "no text": random.Random(1).randbytes(5000),
    }
    before = stored(second.agent)
    for name, content in damaged.items():
        exported.write_bytes(content)
        print(name)
        with pytest.raises(InvalidSale) as caught:
            second.agent.import_outbox(exported)
        assert caught.value.code in ("DAMAGED", "NOT_AN_EXPORT"), name
        assert caught.value.field.startswith("line "), name
        assert caught.value.hint
        assert stored(second.agent) == before, name
    exported.write_bytes(whole)
    assert second.agent.import_outbox(exported).sales == 3


def test_a_change_on_purpose_is_found_where_the_key_is(till: Any, second: Any, exported: Path) -> None:
    """An amount edited, all sums mended: the key tells. Without it a file is taken, its origin called unproved."""
    genuine = exported.read_bytes()
    exported.write_bytes(edited(exported, total_amount="1.00"))
    key = till.agent.home / KEY_NAME
    for device, its_key in ((till, None), (second, key)):
        before = stored(device.agent)
        with pytest.raises(InvalidSale, match="did not seal") as caught:
            device.agent.import_outbox(exported, key=its_key)
        assert caught.value.code == "NOT_PROVED"
        assert stored(device.agent) == before
    exported.write_bytes(genuine)
    assert second.agent.import_outbox(exported, key=key).proved
    assert audit(second)[-1][2].endswith("origin proved by its key")
    result = run(second, "outbox", "import", str(exported))
    assert "The origin is not proved" in result.stderr
    assert audit(second)[-1][2].endswith("origin not proved")
    other = device_key(second.agent.home)
    copy = exported.with_name("copy.key")
    copy.write_bytes(other)
    with pytest.raises(InvalidSale, match="another key sealed this file"):
        second.agent.import_outbox(exported, key=copy)
    copy.write_bytes(other + b"\n")
    with pytest.raises(InvalidSettings, match="no device's key"):
        second.agent.import_outbox(exported, key=copy)


FOREIGN = [
    ({"company_id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8"}, "FOREIGN_ID", "another company"),
    ({"version": 2}, "NEWER_FORMAT", "Update edge-agent"),
    ({"format": "shopping list"}, "NOT_AN_EXPORT", "this is no outbox"),
    ({"key_id": "7F"}, "DAMAGED", "key_id"),
    ({"device_id": "\x1b[2J"}, "DAMAGED", "device_id"),
]


def test_a_file_that_does_not_belong_here_is_refused(second: Any, exported: Path) -> None:
    """Another company's, a newer program's, or no outbox at all: said in words, and nothing is stored."""
    genuine = exported.read_bytes().splitlines()[:-1]
    before = stored(second.agent)
    for fields, code, words in FOREIGN:
        exported.write_bytes(sealed([json.dumps(json.loads(genuine[0]) | fields).encode(), *genuine[1:]]))
        with pytest.raises(InvalidSale, match=words) as caught:
            second.agent.import_outbox(exported)
        assert caught.value.code == code, fields
        assert stored(second.agent) == before, fields


NEVER_FROZEN: list[dict[str, Any]] = [
    {"kind": ["sale"]},
    {"kind": "gift"},
    {"items": None},
    {"items": [{"line": 1}]},
    {"items": [{"product": "x", "quantity": "-1"}]},
    {"items": [{"product_data": "x", "quantity": "1"}]},
    {"refers_to": ["x"]},
    {"business_date": "today"},
    {"device_seq": 0},
    {"device_seq": 2**40},
    {"device_seq": True},
    {"device_id": 7},
    {"currency": "gold"},
    {"total_amount": "-1.00"},
    {"total_amount": None},
    {"external_id": "0191f3c2-7d6a-7b3e-9c41-5a1e8f0d2b37"},
]


def test_what_no_journal_froze_is_refused(second: Any, exported: Path) -> None:
    """Bytes that fit their fingerprint and are no sale are refused by their line, before anything is stored."""
    genuine = exported.read_bytes()
    before = stored(second.agent)
    for fields in NEVER_FROZEN:
        exported.write_bytes(genuine)
        exported.write_bytes(edited(exported, **fields))
        with pytest.raises(InvalidSale, match="line 2") as caught:
            second.agent.import_outbox(exported)
        assert caught.value.code == "DAMAGED", fields
        assert stored(second.agent) == before, fields


# ---- the commands ------------------------------------------------------------------------------------------------


def test_the_commands_carry_a_file_from_one_device_to_another(till: Any, second: Any, file: Path) -> None:
    """Export and import by command: JSON for programs, words for people, and a list that shows what came."""
    sale = till.sell()
    done = json.loads(run(till, "outbox", "export", str(file), "--json").stdout)
    assert {**done, "key_id": ""} == {
        "schema": 1,
        "file": str(file),
        "sales": 1,
        "usages": 0,
        "key_id": "",
        "damaged": [],
    }
    assert "there already" in run(till, "outbox", "export", str(file), exit_code=2).stderr
    run(till, "outbox", "export", str(file), sale.external_id, "--all", "--force")
    key = str(till.agent.home / KEY_NAME)
    assert json.loads(run(second, "outbox", "import", str(file), "--key", key, "--json").stdout) == {
        "schema": 1,
        "sales": 1,
        "usages": 0,
        "existing": 0,
        "conflicts": [],
        "proved": True,
    }
    [entry] = json.loads(run(second, "outbox", "list", "--json").stdout)["entries"]
    assert (entry["external_id"], entry["device_seq"], entry["state"]) == (sale.external_id, 1, "pending")
    shown = json.loads(run(second, "outbox", "show", sale.external_id, "--json").stdout)
    assert shown["body"]["device_id"] == "pos-02"
    assert "can't be read" in run(second, "outbox", "import", "nowhere.jsonl", exit_code=1).stderr
    assert "DAMAGED" in run(second, "outbox", "import", "-", "--json", stdin=file.read_bytes()[:-5], exit_code=1).stdout
    run(till, "outbox", "export", "-", "--json", exit_code=2)


def test_a_pipe_carries_it_too(till: Any, second: Any) -> None:
    """Standard output is the file and nothing else; standard input is read to its end before anything is stored."""
    till.sell()
    content = run(till, "outbox", "export", "-").stdout_bytes
    assert content.count(b"\n") == 3
    assert "1 sale and 0 uses" in run(second, "outbox", "import", "-", stdin=content).stderr
    assert second.agent.status()["pending"] == 1


def test_a_baseline_head_office_is_spoken_of(baseline_till: Any, make_till: Make, file: Path) -> None:
    """Where counting once hangs on head office's own check, both commands say so; the stub's check holds."""
    till = baseline_till
    second = make_till(
        till.office, name="second", device_id="pos-03", currency="IDR", timezone="Asia/Jakarta", day_start="04:00"
    )
    till.sell()
    assert "its own check of external_id" in run(till, "outbox", "export", str(file)).stderr
    assert "its own check of external_id" in run(second, "outbox", "import", str(file)).stderr
    second.agent.sync()
    till.agent.sync()
    assert till.office.world.sale_count() == 1
