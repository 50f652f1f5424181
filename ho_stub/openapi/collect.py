"""The example requests as a file for other tools: an HTTP file (editors' REST clients) or a Postman collection."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from ho_stub.openapi.asked import VARIABLES, Asked, asked_of

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_VARIABLE = re.compile(r"\{\{(\w+)\}\}")


def http_file(profile: str, variables: dict[str, str]) -> str:
    """An HTTP file, as editors' REST clients read it: variables first, then each request with the status it gets."""
    lines = [f"# Requests to a head office of the profile {profile}, in the order in which they can be made.", ""]
    lines += [f"@{name} = {value}" for name, value in variables.items()]
    given: dict[str, str] = {}
    for one in asked_of(profile):
        lines += ["", f"### {one.title}: {one.status}", f"# @name {one.name}", *_http(one, given)]
        given |= {name: f"{one.name}.response.body.{path}" for name, path in one.gave.items()}
    return "\n".join(lines) + "\n"


def _http(one: Asked, given: dict[str, str]) -> Iterator[str]:
    def named(text: str) -> str:
        return _VARIABLE.sub(lambda found: "{{" + given.get(found[1], found[1]) + "}}", text)

    yield named(f"{one.method} {{{{url}}}}{one.path}{_query(one)}")
    if one.who:
        yield named(f"Authorization: Bearer {{{{{one.who}}}}}")
    for name, value in one.headers.items():
        yield f"{name}: {value}"
    if one.body is not None:
        yield "Content-Type: application/json"
        yield ""
        yield named(json.dumps(one.body, indent=2, ensure_ascii=False))


def _query(one: Asked) -> str:
    told = "&".join(f"{name}={quote(value, safe='{}$,:')}" for name, value in one.query.items())
    return f"?{told}" if told else ""


def postman(profile: str, variables: dict[str, str]) -> dict[str, Any]:
    """A Postman collection: each request tests its status and keeps what later ones need."""
    return {
        "info": {
            "name": f"Head office ({profile})",
            "description": "Run it from top to bottom: later requests need what earlier ones gave.",
            "schema": SCHEMA,
        },
        "variable": [{"key": name, "value": value} for name, value in variables.items()],
        "item": [_item(one) for one in asked_of(profile)],
    }


def _item(one: Asked) -> dict[str, Any]:
    path = one.path.strip("/").split("/")
    headers = [{"key": name, "value": value} for name, value in one.headers.items()]
    if one.who:
        headers.append({"key": "Authorization", "value": f"Bearer {{{{{one.who}}}}}"})
    request: dict[str, Any] = {
        "method": one.method,
        "header": headers,
        "url": {
            "raw": f"{{{{url}}}}{one.path}{_query(one)}",
            "host": ["{{url}}"],
            "path": [*path, ""],
            "query": [{"key": name, "value": value} for name, value in one.query.items()],
        },
    }
    if one.body is not None:
        headers.append({"key": "Content-Type", "value": "application/json"})
        request["body"] = {"mode": "raw", "raw": json.dumps(one.body, indent=2, ensure_ascii=False)}
    script = [f'pm.test("{one.title}: {one.status}", () => pm.response.to.have.status({one.status}));']
    script += [
        f'pm.collectionVariables.set("{name}", pm.response.json(){path[1:]});' for name, path in one.gave.items()
    ]
    test = {"listen": "test", "script": {"type": "text/javascript", "exec": script}}
    return {"name": one.title, "request": request, "event": [test]}


def collection(form: str, profile: str, url: str) -> str:
    """The file in one of its forms, 'http' or 'postman', for a stub at an address."""
    variables = dict(VARIABLES) | {"url": url.rstrip("/")}
    if form == "http":
        return http_file(profile, variables)
    return json.dumps(postman(profile, variables), indent=1, ensure_ascii=False) + "\n"
