"""Head offices whose answers are changed on their way out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ho_stub.testing import HeadOffice


# (method, path, query, status, headers, body) → status and body; headers are changed in place.
@pytest.fixture(scope="session")
def twist() -> Any:
    """Changes the answers of an office that has not started yet."""
    return twist_answers


def twist_answers(
    office: HeadOffice, change: Callable[[str, str, str, int, dict[str, str], Any], tuple[int, Any]]
) -> None:
    """Let `change` have every JSON answer of an office that has not started yet."""
    inner: Any = office._app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages: list[Any] = []

        async def keep(message: Any) -> None:
            messages.append(message)

        if "/events/" in scope["path"]:
            await inner(scope, receive, send)
            return
        asked = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        await inner({**scope, "headers": asked}, receive, keep)
        raw = b"".join(message.get("body", b"") for message in messages[1:])
        body = json.loads(raw) if raw.startswith((b"{", b"[")) else None
        headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        query = scope["query_string"].decode()
        status, changed = change(scope["method"], scope["path"], query, messages[0]["status"], headers, body)
        if body is not None:
            raw = json.dumps(changed).encode()
            headers["content-length"] = str(len(raw))
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": raw})

    office._app = app  # type: ignore[assignment]
