"""A line whose certificate is not right: the sales are kept, the cause is named, and it mends itself."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.wire.shop import IMPATIENT

Make = Callable[..., Any]
HERE = "127.0.0.1"
DAY = dt.timedelta(days=1)
IN_THE_HANDSHAKE = (3, 400)
CLOCK_WORDS = "check the date and time of this device"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def context_of(authority: trustme.CA, *names: str, **times: dt.datetime) -> ssl.SSLContext:
    """What a server presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or (HERE,)), **times).configure_cert(context)
    return context


def contexts(authority: trustme.CA) -> dict[str, ssl.SSLContext]:
    now = dt.datetime.now(dt.UTC)
    return {
        "another authority": context_of(trustme.CA(), HERE),
        "expired": context_of(authority, not_before=now - 20 * DAY, not_after=now - DAY),
        "not yet valid": context_of(authority, not_before=now + DAY, not_after=now + 20 * DAY),
        "another address": context_of(authority, "elsewhere.example"),
    }


SAYS = {
    "another authority": "comes from an authority this device does not know",
    "expired": CLOCK_WORDS,
    "not yet valid": f"is not valid yet: {CLOCK_WORDS}",
    "another address": "is for another address",
}


@pytest.fixture
def open_safe_shop(open_shop: Make, authority: trustme.CA, ca_file: str) -> Make:
    """Opens shops whose line speaks TLS with a certificate of a private authority."""
    return lambda *arguments, **more: open_shop(*arguments, tls=context_of(authority), ca_file=ca_file, **more)


def test_a_private_authority_is_trusted_by_its_file(open_safe_shop: Make) -> None:
    """With ca_file everything goes up and comes down over TLS, on one connection a cycle."""
    with open_safe_shop() as shop:
        sale = shop.sell()
        shop.use(sale=sale)
        shop.poll(0)
        assert shop.line.opened == 1
        assert shop.count().is_clean
        assert shop.till.catalogue_agrees()


@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_a_wrong_certificate_costs_nothing_and_is_named(
    open_safe_shop: Make, evidence: Make, authority: trustme.CA, profile: str
) -> None:
    """No byte of a sale or a token goes to a stranger; status names the cause; afterwards all goes up."""
    with open_safe_shop(profile) as shop:
        good = shop.line.tls
        for name, bad in contexts(authority).items():
            shop.sell()
            shop.line.tls = bad
            known = shop.till.agent.status()["last_success_at"]
            for _ in range(3):
                shop.line.clear()
                shop.poll(400)
                assert not shop.line.seen, f"{name}: something was asked"
                assert shop.line.opened <= 3, name
            status = shop.till.agent.status()
            assert SAYS[name] in status["last_error"]["message"], name
            assert SAYS[name] in shop.words(), name
            assert "safe on this device" in shop.words(), name
            assert (status["head_office"]["reachable"], status["last_success_at"]) == (False, known), name
            shop.line.tls = good
            shop.heal()
            count = shop.count()
            evidence("wire: certificate not right", 1, lost=count.lost, doubled=count.doubled, stuck=count.stuck)
            assert count.is_clean, name
            assert shop.money_agrees(), name


@pytest.mark.parametrize("after", [0, 90, 700])
def test_a_handshake_cut_short_costs_nothing(open_safe_shop: Make, evidence: Make, after: int) -> None:
    """A line that breaks inside the handshake is a line that is down: no talk of certificates."""
    with open_safe_shop() as shop:
        shop.sell()
        shop.relay.cut_after = after
        for _ in range(2):
            shop.line.clear()
            shop.poll(400)
            assert not shop.line.seen
            assert shop.line.opened <= 3
        assert "can't be reached" in shop.words()
        shop.relay.cut_after = None
        shop.heal()
        count = shop.count()
        evidence("wire: handshake cut", 1, lost=count.lost, doubled=count.doubled, stuck=count.stuck)
        assert count.is_clean


@pytest.mark.parametrize("place", [*IN_THE_HANDSHAKE, 1_800, 4_500])
def test_bytes_damaged_under_tls_acknowledge_nothing(open_safe_shop: Make, evidence: Make, place: int) -> None:
    """A byte changed in the handshake or in an answer ends the exchange; the sales go up again, once."""
    with open_safe_shop() as shop:
        for _ in range(4):
            shop.sell()
        shop.relay.damage_at = place
        shop.poll(400)
        assert not shop.delivered_early()
        if place in IN_THE_HANDSHAKE:
            assert shop.till.agent.status()["pending"] == 4
        shop.relay.damage_at = None
        shop.heal()
        count = shop.count()
        evidence("wire: handshake cut", 1, lost=count.lost, doubled=count.doubled, stuck=count.stuck)
        assert count.is_clean
        assert shop.money_agrees()


def test_a_plain_server_at_a_safe_address_is_named(open_safe_shop: Make) -> None:
    """A port that speaks no TLS is told as such, and nothing is said to it."""
    with open_safe_shop() as shop:
        shop.sell()
        shop.relay.plain = True
        shop.poll(400)
        assert "no safe connection to head office" in shop.words().lower()
        shop.relay.plain = False
        shop.heal()
        assert shop.count().is_clean


def test_a_handshake_that_hangs_ends(open_safe_shop: Make) -> None:
    """A server that accepts and never speaks costs the connect limit, once a cycle."""
    with open_safe_shop(limits=IMPATIENT) as shop:
        shop.sell()
        shop.relay.silent = True
        shop.poll(400)
        assert "did not answer in time" in shop.words()
        shop.relay.silent = False
        shop.heal()
        assert shop.count().is_clean


def test_a_device_without_its_authoritys_file_keeps_its_sales(open_safe_shop: Make) -> None:
    """Until ca_file is there, nothing goes to a server nobody vouches for."""
    with open_safe_shop() as shop:
        shop.till.agent.close()
        shop.till.agent = shop.reopen(shop.till.agent.home, ca_file="")
        shop.sell()
        shop.poll(400)
        assert SAYS["another authority"] in shop.words()
        assert not shop.line.seen
        shop.restart()
        shop.heal()
        assert shop.count().is_clean
