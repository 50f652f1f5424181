"""`ho-stub requests`: each request of the files gets the status that it documents, from a running stub."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from ho_stub.cli import main
from ho_stub.openapi.ask import taken
from ho_stub.openapi.asked import asked_of
from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("native", "baseline")
VARIABLE = re.compile(r"\{\{([^{}]+)\}\}")


class Client:
    """The least editor: knows variables, and the answers of named requests."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.variables: dict[str, str] = {}
        self.answers: dict[str, Any] = {}

    def filled(self, text: str) -> str:
        return VARIABLE.sub(lambda found: self.filled(self.value(found[1])), text)

    def value(self, name: str) -> str:
        if name == "$guid":
            return str(uuid.uuid4())
        if ".response.body." in name:
            request, _, path = name.partition(".response.body.")
            return str(taken(self.answers[request], path))
        return self.variables[name]

    def send(self, method: str, url: str, headers: dict[str, str], body: str) -> httpx.Response:
        content = self.filled(body).encode() if body else None
        sent = {name: self.filled(value) for name, value in headers.items()}
        return self.http.request(method, self.filled(url), headers=sent, content=content)


def printed(*arguments: str) -> str:
    told = CliRunner().invoke(main, ["requests", *arguments])
    assert told.exit_code == 0, told.output
    return told.stdout


@pytest.mark.parametrize("profile", PROFILES)
def test_an_http_file_gets_what_it_documents(profile: Any) -> None:
    """Each request, twice from top to bottom: the file can be used again."""
    with HeadOffice(profile=profile) as office, httpx.Client() as http:
        text = printed("--profile", profile, "--url", office.url)
        client, blocks = Client(http), text.split("\n### ")
        for line in blocks[0].splitlines():
            if line.startswith("@"):
                name, _, value = line[1:].partition(" = ")
                client.variables[name] = value
        for _ in range(2):
            for block in blocks[1:]:
                play(client, block)
        assert len(blocks) - 1 == len(asked_of(profile))


def play(client: Client, block: str) -> None:
    head, _, body = block.partition("\n\n")
    title, named, request, *headers = head.splitlines()
    method, _, url = request.partition(" ")
    pairs = dict(header.split(": ", 1) for header in headers)
    answer = client.send(method, url, pairs, body.strip())
    assert answer.status_code == int(title.rsplit(": ", 1)[1]), f"{title}: {answer.text}"
    client.answers[named.removeprefix("# @name ")] = answer.json() if answer.content else None


@pytest.mark.parametrize("profile", PROFILES)
def test_a_postman_collection_gets_what_it_documents(profile: Any, tmp_path: Path) -> None:
    """Each request passes its own test, and keeps what later ones need."""
    with HeadOffice(profile=profile) as office, httpx.Client() as http:
        file = tmp_path / "head-office.json"
        printed("--format", "postman", "--profile", profile, "--url", office.url, "--output", str(file))
        collection = json.loads(file.read_text("utf-8"))
        client = Client(http)
        client.variables = {one["key"]: one["value"] for one in collection["variable"]}
        for item in collection["item"]:
            request = item["request"]
            headers = {one["key"]: one["value"] for one in request["header"]}
            body = request.get("body", {}).get("raw", "")
            answer = client.send(request["method"], request["url"]["raw"], headers, body)
            script = "\n".join(item["event"][0]["script"]["exec"])
            documented = re.search(r"to\.have\.status\((\d+)\)", script)
            assert documented, item["name"]
            assert answer.status_code == int(documented[1]), f"{item['name']}: {answer.text}"
            for name, path in re.findall(r'set\("(\w+)", pm\.response\.json\(\)(.*)\);', script):
                client.variables[name] = str(taken(answer.json(), path))


def test_a_file_that_cant_be_written_is_told(tmp_path: Path) -> None:
    """In words, with the path."""
    told = CliRunner().invoke(main, ["requests", "--output", str(tmp_path / "nowhere" / "file.http")])
    assert told.exit_code == 1
    assert "can't be written" in told.output
    assert "Traceback" not in told.output
