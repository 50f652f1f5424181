"""People who use head office's pages: a client that signs in and sends forms as a browser would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ho_stub.testing import HeadOffice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = "/promotions/settings/"
STORE_2 = "00000003-0000-4000-8000-0000000000b2"
STORE_3 = "00000003-0000-4000-8000-0000000000b3"
BRAND_2 = "00000002-0000-4000-8000-0000000000b2"


class Person:
    """Somebody before a browser without JavaScript."""

    def __init__(self, office: HeadOffice) -> None:
        self.office = office
        self.http = httpx.Client(base_url=office.url, verify=False, headers={"Accept": "text/html"})

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.http.get(path, params=query or None)

    def sign_in(self, username: str = "office", password: str = "office-demo", to: str = "/") -> httpx.Response:
        mark = hidden(self.get("/accounts/login/"), "mark")
        fields = {"username": username, "password": password, "next": to, "mark": mark}
        return self.http.post("/accounts/login/", data=fields)

    def csrf(self) -> str:
        return hidden(self.get("/"), "csrf")

    def send(self, path: str, **fields: Any) -> httpx.Response:
        """A form with this session's mark. Lists give a name more than once; None leaves it out."""
        whole = {"csrf": self.csrf()} | fields
        return self.http.post(path, data={name: value for name, value in whole.items() if value is not None})

    def settings_form(self, **changed: Any) -> dict[str, Any]:
        """What the settings page's form would send, with some fields changed."""
        saved = self.office.world.settings()
        fields: dict[str, Any] = {"whole": "1", "seen": saved["updated_at"]}
        for name, value in saved.items():
            if value is True:
                fields[name] = "on"
            elif isinstance(value, int | str) and value is not False and not name.startswith("updated"):
                fields[name] = str(value)
        return fields | changed


def hidden(answer: httpx.Response, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found, answer.text[:2000]
    return found[1]


@pytest.fixture
def somebody(office: HeadOffice) -> Iterator[Callable[..., Person]]:
    """Makes people; they are signed in when a name is given."""
    made = []

    def make(username: str | None = None, password: str = "", at: HeadOffice = office) -> Person:
        made.append(person := Person(at))
        if username:
            assert person.sign_in(username, password).status_code == 303
        return person

    yield make
    for person in made:
        person.http.close()


@pytest.fixture
def person(somebody: Callable[..., Person]) -> Person:
    """Somebody of the office, signed in."""
    return somebody("office", "office-demo")


@pytest.fixture
def chain(office: HeadOffice) -> HeadOffice:
    """The tiny world with two more stores: one of the same brand, one of another."""
    world = office.world
    with world.db.write():
        world.db.run("INSERT INTO brand (id, name) VALUES (?, 'Other')", (BRAND_2,))
        for store_id, code, brand_id in ((STORE_2, "S02", office.brand_id), (STORE_3, "S03", BRAND_2)):
            world.db.run(
                "INSERT INTO store (id, code, name, timezone, day_start, currency, brand_id) "
                "VALUES (?, ?, 'More', 'Asia/Jakarta', '04:00', 'IDR', ?)",
                (store_id, code, brand_id),
            )
    return office
