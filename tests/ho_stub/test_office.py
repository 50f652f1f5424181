"""The handle for tests: ports, lost answers, canned answers, data files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ho_stub.seed import SeedError, read_files, tiny
from ho_stub.testing import HeadOffice, head_office

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["head_office"]


def test_a_stopped_office_refuses_connections_and_comes_back_as_it_was(device: Any, office: Any) -> None:
    device.upload(device.sale(1))
    port = office.port
    began = time.monotonic()
    office.stop()
    assert time.monotonic() - began < 0.3
    with pytest.raises(httpx.TransportError):  # the kept-alive connection is broken too
        device.get("version", **device.ids)
    with pytest.raises(httpx.ConnectError):
        device.get("version", **device.ids)
    office.start()
    assert office.port == port
    assert device.receipts()["count"] == 1


def test_a_lost_answer_was_committed(device: Any, office: Any) -> None:
    sale = device.sale(1)
    office.drop_after_commit = 1
    with pytest.raises(httpx.RemoteProtocolError):
        device.upload(sale)
    assert office.requests[-1] == ("POST", "/api/v1/sync/sales/", 0)
    assert office.world.sale_count() == 1
    assert device.upload(sale)[0]["status"] == "duplicate"


def test_an_intercept_answers_in_head_office_s_place(device: Any, office: Any) -> None:
    office.clear_requests()
    office.intercept = lambda method, path: (503, {"Retry-After": "7"}, "") if path.endswith("/sales/") else None
    answer = device.post("sales", {"device_id": "pos-02", "sales": [device.sale(1)]})
    assert (answer.status_code, answer.headers["Retry-After"], office.world.sale_count()) == (503, "7", 0)
    assert device.get("version", **device.ids).status_code == 200
    office.intercept = None
    assert device.upload(device.sale(1))[0]["status"] == "created"
    assert [status for _, _, status in office.requests] == [503, 200, 200]


def test_the_fixture_is_a_running_office(head_office: HeadOffice) -> None:
    assert httpx.get(f"{head_office.url}/health/").json() == {"status": "ok"}


def test_a_database_file_keeps_the_books_between_runs(tmp_path: Path) -> None:
    path = tmp_path / "ho.db"
    with HeadOffice(db=path) as first:
        epoch, cola = first.world.epoch, first.world.live_ids("products")[0]
        backup = first.world.snapshot()
        first.world.edit("products", cola, price="0.50")
        first.world.restore(backup, new_epoch=False)
        first.world.edit("products", cola, price="1.00")
    with HeadOffice(db=path) as second:
        assert (second.world.epoch, second.world.get("products", cola)["price"]) == (epoch, "1.00")


def test_a_data_file_is_read_or_refused_by_name_and_field(tmp_path: Path) -> None:
    good = json.loads(json.dumps(vars(tiny()), default=list))
    path = tmp_path / "data.json"
    path.write_text(json.dumps(good), encoding="utf-8")
    with HeadOffice(data=path) as office:
        assert len(office.world.rows("products")) == 3
    broken = [
        ({"stores": []}, "stores is empty"),
        ({"company": {"id": "x"}}, "missing required field `name` - at `company`"),
        ({"stores": [good["stores"][0] | {"timezone": "Mars"}]}, r"stores\[0\].timezone is 'Mars'"),
        ({"products": [good["products"][0] | {"price": 2.5}]}, r"products\[0\].price is 2.5; write money as text"),
        ({"categories": [{"name": "no id"}]}, r"categories\[0\].id is None"),
    ]
    for change, message in broken:
        path.write_text(json.dumps(good | change), encoding="utf-8")
        with pytest.raises(SeedError, match=message):
            read_files([path])
    with pytest.raises(SeedError, match="can't be read"):
        read_files([tmp_path / "none.json"])


def test_the_command_prints_what_init_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ho_stub", "run", "--port", "0", "--db", str(tmp_path / "ho.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        init = next(line for line in lines if line.startswith("edge-agent init"))
        words = init.split()
        named = dict(zip(words[2::2], words[3::2], strict=True))
        assert named.keys() == {"--url", "--username", "--company", "--brand", "--store", "--device"}
        assert httpx.get(f"{named['--url']}/health/").status_code == 200
        process.terminate()
    missing = subprocess.run(
        [sys.executable, "-m", "ho_stub", "run", "--data", "no.json"], capture_output=True, text=True, check=False
    )
    assert (missing.returncode, "no.json" in missing.stderr, "Traceback" in missing.stderr) == (1, True, False)


def test_a_mistake_of_head_office_is_500_with_its_code(device: Any, office: Any) -> None:
    office.world.db.run("DROP TABLE heartbeat")
    answer = device.post("heartbeat", {"device_id": "pos-02"})
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_ERROR")
    assert answer.headers["X-HO-Epoch"] == office.world.epoch


def test_many_threads_may_pull_sell_and_edit_at_once(device: Any, office: Any) -> None:
    def sell(first: int) -> None:
        for seq in range(first, first + 10):
            assert device.upload(device.sale(seq))[0]["status"] == "created"

    def edit(_: int) -> None:
        for number in range(20):
            office.world.edit("products", device.cola, name=f"Cola {number}")
            device.get("version", **device.ids)

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(sell, first) for first in (1, 11, 21)] + [pool.submit(edit, 0) for _ in range(3)]
        for job in jobs:
            job.result()
    device.pull("products", limit=1)
    assert device.agrees("products")
    assert (device.receipts()["contiguous_seq"], device.receipts()["count"]) == (30, 30)
    assert device.stock()["stock"][0]["quantity"] == "18.000"


def test_several_files_are_one_world(tmp_path: Path) -> None:
    """A company may keep its products in a file of their own; the company itself is given once."""
    world = tiny()
    names = ("company", "stores", "brands", "categories", "accounts")
    base = {name: getattr(world, name) for name in names}
    (tmp_path / "base.json").write_text(json.dumps(base), "utf-8")
    (tmp_path / "products.json").write_text(json.dumps({"products": world.products}), "utf-8")
    read = read_files([tmp_path / "base.json", tmp_path / "products.json"])
    assert [row["id"] for row in read.products] == [row["id"] for row in world.products]
    with pytest.raises(SeedError, match="company is given 2 times"):
        read_files([tmp_path / "base.json", tmp_path / "base.json"])


def test_the_api_page_needs_no_internet() -> None:
    """The page that head-office teams read takes its scripts from the stub itself."""
    with HeadOffice() as office:
        page = httpx.get(f"{office.url}/docs").text
    assert "https://" not in page.replace("https://fastapi.tiangolo.com/img/favicon.png", "")
