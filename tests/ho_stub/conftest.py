"""A head office on a real port, and the least device that can talk to it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYNC = "/api/v1/sync"
CONTRACT = Path(__file__).parent.parent / "contract"


class Device:
    """Signs in, pulls into dicts, sells. Keeps what a device keeps: rows and cursors."""

    def __init__(self, office: HeadOffice) -> None:
        self.office = office
        self.http = httpx.Client(base_url=office.url, verify=False)
        self.journal_id = str(uuid.uuid4())
        self.rows: dict[str, dict[str, Any]] = {}
        self.cursors: dict[str, str] = {}
        self.sign_in()

    def sign_in(self) -> None:
        body = {"username": self.office.username, "password": self.office.password}
        tokens = self.http.post("/api/token/", json=body).json()
        self.refresh_token = tokens["refresh"]
        self.http.headers["Authorization"] = f"Bearer {tokens['access']}"

    @property
    def ids(self) -> dict[str, str]:
        office = self.office
        return {"company_id": office.company_id, "brand_id": office.brand_id, "store_id": office.store_id}

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(
            f"{SYNC}/{path}/", params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return self.http.post(f"{SYNC}/{path}/", json=body, **more)

    def download(self, dataset: str, **query: Any) -> dict[str, Any]:
        answer = self.get(dataset, **(self.ids | query))
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def page(self, dataset: str, **query: Any) -> dict[str, Any]:
        """Pull one page and apply it."""
        body = self.download(dataset, cursor=self.cursors.get(dataset), **query)
        mine = self.rows.setdefault(dataset, {})
        ids = [row["id"] for row in body[dataset]]
        assert not set(ids) & set(body["deleted_ids"])
        assert body["total"] == len(ids)
        for row in body[dataset]:
            mine[row["id"]] = row
        for gone in body["deleted_ids"]:
            mine.pop(gone, None)
        self.cursors[dataset] = body["next_cursor"]
        return body

    def pull(self, dataset: str, **query: Any) -> dict[str, dict[str, Any]]:
        """Pull until there is no more; the rows held then."""
        while self.page(dataset, **query)["has_more"]:
            pass
        return self.rows[dataset]

    def agrees(self, dataset: str) -> bool:
        """Whether the rows held are those that head office would send."""
        return list(self.rows[dataset].values()) == [] or sorted(
            self.rows[dataset].values(), key=lambda row: str(row["id"])
        ) == self.office.world.rows(dataset)

    def sale(self, seq: int, *lines: tuple[str, str, str], **fields: Any) -> dict[str, Any]:
        """A sale of (product, quantity, price) lines; by default one Cola."""
        world = self.office.world
        items = [
            {"line": number, "product": product, "quantity": quantity, "unit_price": price}
            for number, (product, quantity, price) in enumerate(lines or [(self.cola, "1", "7500.00")], 1)
        ]
        return {
            "external_id": str(uuid.uuid4()),
            "store_id": self.office.store_id,
            "device_id": "pos-02",
            "journal_id": self.journal_id,
            "device_seq": seq,
            "kind": "sale",
            "refers_to": None,
            "reason": None,
            "business_date": "2026-11-21",
            "client_timestamp": "2026-11-21T09:15:02.114Z",
            "currency": world.company["currency"],
            "items": items,
            "payments": [{"method": "cash", "amount": "7500.00"}],
            "total_amount": "7500.00",
            "extra": {},
        } | fields

    def upload(self, *sales: Any) -> list[dict[str, Any]]:
        """Send sales as one batch; the results."""
        answer = self.post("sales", {"device_id": "pos-02", "clock_offset_ms": 0, "sales": list(sales)})
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def receipts(self) -> dict[str, Any]:
        body: dict[str, Any] = self.get("receipts", device_id="pos-02", journal_id=self.journal_id).json()
        return body

    def stock(self, **query: Any) -> dict[str, Any]:
        query = {"store_id": self.office.store_id, "device_id": "pos-02", "journal_id": self.journal_id} | query
        answer = self.get("stock", **query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def _named(self, sku: str) -> str:
        return str(self.office.world.feed.product_by_sku(sku, None))

    @property
    def cola(self) -> str:
        return self._named("COLA-330")

    @property
    def bread(self) -> str:
        """The volatile one."""
        return self._named("BREAD-KG")


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """Reads a golden file of tests/contract."""
    return lambda name: json.loads((CONTRACT / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def office() -> Iterator[HeadOffice]:
    with HeadOffice() as office:
        yield office


@pytest.fixture
def device(office: HeadOffice) -> Iterator[Device]:
    device = Device(office)
    yield device
    device.http.close()


@pytest.fixture
def clerk(office: HeadOffice) -> Iterator[httpx.Client]:
    """Head office's own account, signed in: it reaches every store."""
    with httpx.Client(base_url=office.url, verify=False) as http:
        tokens = http.post("/api/token/", json={"username": "office", "password": "office-demo"}).json()
        http.headers["Authorization"] = f"Bearer {tokens['access']}"
        yield http


@pytest.fixture
def baseline() -> Iterator[Device]:
    """A device of a baseline head office."""
    with HeadOffice(profile="baseline") as office:
        device = Device(office)
        yield device
        device.http.close()
