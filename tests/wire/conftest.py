"""A shop behind a line that breaks on demand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tests.wire.middleman import Line
from tests.wire.relay import Relay
from tests.wire.shop import LIMITS, Shop

Make = Callable[..., Any]


@pytest.fixture
def open_line() -> Iterator[Make]:
    """Opens lines to a head office, and closes them: ``open_line(office, tls=None)``."""
    lines: list[Line] = []

    def open_one(office: Any, tls: Any = None) -> Line:
        lines.append(Line(office.port, tls).start())
        return lines[-1]

    yield open_one
    for line in lines:
        line.stop()


@pytest.fixture
def open_relay() -> Iterator[Make]:
    """Opens relays to a port, and closes them."""
    relays: list[Relay] = []

    def open_one(port: int) -> Relay:
        relays.append(Relay(port).start())
        return relays[-1]

    yield open_one
    for relay in relays:
        relay.stop()


@pytest.fixture
def open_shop(
    make_till: Make, make_office: Make, open_line: Make, open_relay: Make, open_agent: Make, tiny_with: Make
) -> Make:
    """Opens shops behind a line: ``open_shop(profile="native", name="till", synced=True, **settings)``.

    With ``tls``, the line speaks TLS, and a relay stands between it and the device. ``limits`` are settings that come
    into force only after the first sync.
    """

    @contextlib.contextmanager
    def open_one(
        profile: str = "native",
        name: str = "till",
        *,
        synced: bool = True,
        tls: Any = None,
        limits: Mapping[str, Any] = MappingProxyType({}),
        **settings: Any,
    ) -> Iterator[Shop]:
        office = make_office(profile=profile, data=tiny_with(9))
        line = open_line(office, tls)
        relay = open_relay(line.port) if tls else None
        url = f"https://127.0.0.1:{relay.port}" if relay else line.url
        till = make_till(office, name=name, synced=synced, **{**LIMITS, "url": url, **settings})
        shop = Shop(till, line, lambda home, **more: open_agent(home, **{**limits, **more}), relay)
        if limits:
            shop.restart()
        line.clear()
        try:
            yield shop
        finally:
            shop.till.agent.close()
            line.stop()
            office.stop()

    return open_one
