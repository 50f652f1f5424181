"""`python -m ho_stub.openapi.record`: asks a stub of each profile and writes answers.json anew."""

import json
from pathlib import Path
from typing import Any

import httpx

from ho_stub.openapi.ask import Asking
from ho_stub.openapi.asked import VARIABLES, asked_of

FILE = Path(__file__).with_name("answers.json")
SECRET = ("access", "refresh")
KEPT_HEADERS = ("etag", "retry-after", "www-authenticate", "x-ho-epoch")


def record(url: str, profile: str) -> list[dict[str, Any]]:
    """What a stub of a profile answers to each example request. Raises RuntimeError at an unexpected status."""
    asking, answers = Asking(), []
    asking.variables["url"] = url
    with httpx.Client() as client:
        for one in asked_of(profile):
            answer = asking.ask(client, one)
            if answer.status_code != one.status:
                raise RuntimeError(f"{one.name}: {answer.status_code} instead of {one.status}: {answer.text}")
            body = json.loads(answer.text.replace(url, VARIABLES["url"])) if answer.content else None
            if isinstance(body, dict):
                body |= {name: "a-token" for name in SECRET if name in body}
            answers.append(
                {
                    "name": one.name,
                    "status": one.status,
                    "type": answer.headers.get("content-type", "").split(";")[0],
                    "headers": {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers},
                    "body": body,
                }
            )
    return answers


def main() -> None:
    """Write the file."""
    from ho_stub.testing import HeadOffice

    found = {}
    for profile in ("native", "baseline"):
        with HeadOffice(profile=profile) as office:
            found[profile] = record(office.url, profile)
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
