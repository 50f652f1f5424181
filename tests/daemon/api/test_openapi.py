"""The OpenAPI file says what the API does: the same routes, the same answers, whatever is thrown at it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from edge_agent.daemon.web.app import make_app
from edge_agent.daemon.web.keys import Keys

FILE = Path(__file__).parents[3] / "edge_agent" / "daemon" / "web" / "openapi.json"
FUZZ_S = 5
FUZZ_LONG_S = 240
# Not asked: a stream has no end.
NOT_FUZZED = "/v1/events"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,unsupported_method,ignored_auth"
)


def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def test_the_file_names_the_routes_there_are(till: Any) -> None:
    """Each route stands in the file with its methods, and the file names no other."""
    app = make_app(till.agent, Keys.of_home(till.agent.home), port=8780, sync_now=lambda: None)
    served = {
        (re.sub(r":\w+}", "}", route.path), method)
        for route in app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    named = {(path, method.upper()) for path, methods in described()["paths"].items() for method in methods}
    assert named == served


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for part in value.values() for one in references(part)]
    if isinstance(value, list):
        return [one for part in value for one in references(part)]
    return []


def test_every_reference_leads_somewhere() -> None:
    """What the file refers to is in it, and nothing lies about unused."""
    file = described()
    kinds = file["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in kinds[kind]}
    assert set(references(file)) == there


def fuzz(api: Any, seconds: int, examples: int) -> str:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(FILE), "--url", f"http://127.0.0.1:{api.port}"),
        *("--header", f"Authorization: Bearer {api.keys.token}", "--checks", CHECKS, "--no-color"),
        *("--max-time", str(seconds), "--max-examples", str(examples), "--exclude-path", NOT_FUZZED),
        *("--request-timeout", "10"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90, cwd=api.agent.home)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_nothing_that_is_thrown_at_it_breaks_it(api: Any) -> None:
    """Thousands of good and bad requests made from the file get what the file says, and never a fault of ours."""
    fuzz(api, FUZZ_S, 40)


@pytest.mark.slow
def test_nothing_breaks_it_for_minutes(api: Any) -> None:
    """The same for longer."""
    fuzz(api, FUZZ_LONG_S, 1_000)
