"""Makes the example requests of a running stub: variables filled in, answers remembered."""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ho_stub.openapi.asked import VARIABLES, Asked

_VARIABLE = re.compile(r"\{\{(\$?\w+)\}\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


@dataclass
class Asking:
    """Fills variables in, and takes new ones from answers."""

    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))

    def filled(self, value: Any) -> Any:
        """The value with its variables filled in, at whatever depth. Raises KeyError for an unknown one."""
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: self._of(found[1]), value)
        if isinstance(value, Mapping):
            return {name: self.filled(inner) for name, inner in value.items()}
        return [self.filled(one) for one in value] if isinstance(value, list | tuple) else value

    def _of(self, name: str) -> str:
        return str(uuid.uuid4()) if name == "$guid" else self.variables[name]

    def ask(self, client: httpx.Client, one: Asked) -> httpx.Response:
        """Make a request, and remember what its answer gave."""
        headers = dict(one.headers)
        if one.who:
            headers["Authorization"] = f"Bearer {self.variables[one.who]}"
        body = None if one.body is None else json.dumps(self.filled(one.body)).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        url, query = self.variables["url"] + self.filled(one.path), self.filled(one.query)
        answer = client.request(one.method, url, params=query or None, content=body, headers=headers)
        for name, path in one.gave.items():
            self.variables[name] = str(taken(answer.json(), path))
        return answer


def taken(body: Any, path: str) -> Any:
    """What stands at a JSON path like `$.results[0].id`. Raises LookupError."""
    for name, index in _STEP.findall(path):
        body = body[name] if name else body[int(index)]
    return body
