"""The API's description says what the stub does: true examples for every route, and answers as described."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ho_stub.openapi.record import FILE, record
from ho_stub.openapi.schemas import schema_of
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROFILES = ("native", "baseline")
FUZZ_S = 60
# A stream has no end, and tokens are what the other requests live by.
NOT_FUZZED = "/events/"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,ignored_auth"
)


@pytest.fixture(params=PROFILES)
def stub(request: pytest.FixtureRequest) -> Iterator[HeadOffice]:
    with HeadOffice(profile=request.param) as office:
        yield office


def described(office: HeadOffice) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{office.url}/openapi.json").json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_route_is_described_in_full(stub: HeadOffice) -> None:
    """A summary and words; an example of each body, answer and needed parameter; the errors that any route may have."""
    for method, path, operation in operations(described(stub)):
        at = f"{method} {path}"
        assert operation["summary"], at
        assert operation["description"], at
        assert "422" not in operation["responses"], at
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert "example" in content or content.get("examples"), f"{at} {status} {kind}"
                assert "schema" in content or "event-stream" in kind, f"{at} {status}"
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["examples"], at
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter or not parameter["required"], f"{at} {parameter['name']}"
        if path != "/health/":
            assert {"400", "401", "429", "500", "503"} <= operation["responses"].keys(), at
        assert any(status.startswith("2") for status in operation["responses"]), at


def test_the_recorded_examples_are_what_the_stub_answers(stub: HeadOffice) -> None:
    """Names and kinds of each answer are those of the examples: `python -m ho_stub.openapi.record` renews them."""
    recorded = json.loads(FILE.read_text("utf-8"))[stub.profile]
    for was, now in zip(recorded, record(stub.url, stub.profile), strict=True):
        assert (was["name"], was["status"], was["type"]) == (now["name"], now["status"], now["type"])
        assert was["headers"].keys() == now["headers"].keys(), was["name"]
        assert schema_of([was["body"]]) == schema_of([now["body"]]), f"{was['name']}: record the examples anew"


def fuzz(office: HeadOffice, folder: Path, seconds: int, examples: int, username: str, password: str) -> None:
    """Requests made from the description, good and bad; every answer must be one that it describes."""
    file = folder / "openapi.json"
    file.write_text(json.dumps(described(office)), "utf-8")
    signed_in = httpx.post(f"{office.url}/api/token/", json={"username": username, "password": password}).json()
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", office.url, "--no-color"),
        *("--header", f"Authorization: Bearer {signed_in['access']}", "--checks", CHECKS),
        *("--max-time", str(seconds), "--max-examples", str(examples), "--request-timeout", "10"),
        *("--exclude-path-regex", NOT_FUZZED),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, cwd=folder)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize(("username", "password"), [("office", "office-demo"), ("pos-02", "secret")])
def test_nothing_that_is_thrown_at_it_breaks_it(stub: HeadOffice, tmp_path: Path, username: str, password: str) -> None:
    """As the office and as a device: no 500, and no answer that is not described."""
    fuzz(stub, tmp_path, FUZZ_S, 500, username, password)
