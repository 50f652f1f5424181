"""Sign-in, reach, errors by code, compression (contract sections 1 and 2)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

OTHER = "00000099-0000-4000-8000-000000000000"


def test_tokens_open_the_door_until_they_expire(device: Any, office: Any) -> None:
    assert device.get("version", **device.ids).status_code == 200
    office.world.expire_tokens()
    refused = device.get("version", **device.ids)
    assert (refused.status_code, refused.json().keys()) == (401, {"detail"})
    access = device.http.post("/api/token/refresh/", json={"refresh": device.refresh_token}).json()["access"]
    device.http.headers["Authorization"] = f"Bearer {access}"
    assert device.get("version", **device.ids).status_code == 200
    office.world.expire_tokens(refresh=True)
    assert device.http.post("/api/token/refresh/", json={"refresh": device.refresh_token}).status_code == 401


def test_a_wrong_password_is_401_at_either_path(device: Any, office: Any) -> None:
    for path in ("/api/token/", "/api/v1/token/"):
        wrong = device.http.post(path, json={"username": office.username, "password": "no"})
        assert (wrong.status_code, wrong.json().keys()) == (401, {"detail"})
        right = device.http.post(path, json={"username": office.username, "password": office.password})
        assert right.json().keys() == {"access", "refresh"}


def test_a_static_key_signs_in_with_the_scheme_token(device: Any, office: Any) -> None:
    for header, status in ((f"Token {office.static_key}", 200), (f"Bearer {office.static_key}", 401), ("Token x", 401)):
        device.http.headers["Authorization"] = header
        assert device.get("version", **device.ids).status_code == status


def test_401_comes_before_any_other_fault(device: Any) -> None:
    del device.http.headers["Authorization"]
    for path in ("version", "products", "stock", "digest", "receipts"):
        assert device.get(path).status_code == 401, path
    for path in ("sales", "usage", "heartbeat"):
        assert device.http.post(f"/api/v1/sync/{path}/", content=b"{").status_code == 401, path
    assert device.http.get("/health/").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("path", "change", "status", "code"),
    [
        ("version", {"company_id": None}, 400, "MISSING_COMPANY_ID"),
        ("version", {"store_id": None}, 400, "MISSING_STORE_ID"),
        ("products", {"brand_id": None}, 400, "MISSING_BRAND_ID"),
        ("promotions", {"store_id": None}, 400, "MISSING_STORE_ID"),
        ("stock", {"store_id": ""}, 400, "MISSING_STORE_ID"),
        ("version", {"store_id": "7"}, 400, "INVALID_ID"),
        ("version", {"company_id": OTHER}, 403, "FORBIDDEN"),
        ("version", {"store_id": OTHER}, 403, "FORBIDDEN"),
        ("products", {"brand_id": OTHER}, 403, "FORBIDDEN"),
        ("categories", {"store_id": OTHER}, 403, "FORBIDDEN"),
        ("products", {"limit": "0"}, 400, "INVALID_REQUEST"),
        ("products", {"limit": "5001"}, 400, "INVALID_REQUEST"),
        ("products", {"limit": "many"}, 400, "INVALID_REQUEST"),
        ("products", {"updated_since": "yesterday"}, 400, "INVALID_DATE_FORMAT"),
        ("digest", {"dataset": "sales"}, 400, "INVALID_REQUEST"),
        ("digest", {"dataset": "products", "leaves": "257"}, 400, "INVALID_REQUEST"),
        ("receipts", {"device_id": "pos-02", "journal_id": "x"}, 400, "INVALID_ID"),
        ("nowhere", {}, 404, "NOT_FOUND"),
    ],
)
def test_a_fault_has_its_status_and_code(
    device: Any, path: str, change: dict[str, Any], status: int, code: str
) -> None:
    answer = device.get(path, **(device.ids | change))
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert body["status"] == status
    assert body.keys() == {"error", "code", "type", "title", "status", "detail"}
    assert "X-HO-Epoch" in answer.headers


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"sales": 1}', b'{"sales": [NaN]}', b"\xff", b"[" * 100_000])
def test_a_malformed_body_is_400_never_500(device: Any, body: bytes) -> None:
    for path in ("/api/v1/sync/sales/", "/api/v1/sync/usage/", "/api/sales/", "/api/token/"):
        answer = device.http.post(path, content=body)
        assert answer.status_code == 400, (path, answer.text)


def test_a_body_too_large_is_413_before_and_after_compression(device: Any) -> None:
    body = json.dumps({"device_id": "d", "sales": ["x" * 1024 * 1024]}).encode()
    packed = {"Content-Encoding": "gzip"}
    for answer in (
        device.http.post("/api/v1/sync/sales/", content=body),
        device.http.post("/api/v1/sync/sales/", content=gzip.compress(body), headers=packed),
        device.post("sales", {"device_id": "d", "sales": [1] * 501}),
        device.post("usage", {"usages": [1] * 501}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_bodies_may_be_gzip_in_both_directions(device: Any, office: Any) -> None:
    body = gzip.compress(json.dumps({"device_id": "pos-02", "sales": [device.sale(1)]}).encode())
    packed = {"Content-Encoding": "gzip"}
    answer = device.http.post("/api/v1/sync/sales/", content=body, headers=packed)
    assert answer.json()["results"][0]["status"] == "created"
    assert device.http.post("/api/v1/sync/sales/", content=body[:-4], headers=packed).status_code == 400
    assert device.http.post("/api/v1/sync/sales/", content=b"{}", headers=packed).status_code == 400
    assert device.get("products", **device.ids).headers["Content-Encoding"] == "gzip"
    device.http.headers["Accept-Encoding"] = "identity"
    assert "Content-Encoding" not in device.get("products", **device.ids).headers
    device.http.headers["Accept-Encoding"] = "gzip"
    office.world.set_settings(enable_compression=False)
    assert "Content-Encoding" not in device.get("products", **device.ids).headers


def test_a_company_account_reaches_every_store(device: Any, office: Any) -> None:
    store = {**office.world.store(office.store_id), "id": OTHER, "code": "S02"}
    world = office.world
    world.db.run("INSERT INTO store VALUES (:id, :code, :name, :timezone, :day_start, :currency, :brand_id)", store)
    assert device.get("promotions", **(device.ids | {"store_id": OTHER})).status_code == 403
    world.db.run("UPDATE account SET store_id = NULL")
    assert device.get("promotions", **(device.ids | {"store_id": OTHER})).status_code == 200


def test_the_openapi_page_is_served(office: Any) -> None:
    paths = httpx.get(f"{office.url}/openapi.json").json()["paths"]
    assert {"/api/v1/sync/products/", "/api/v1/sync/sales/", "/api/token/", "/health/"} <= paths.keys()
    assert all(operation["summary"] for routes in paths.values() for operation in routes.values())
