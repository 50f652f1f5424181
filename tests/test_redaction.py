"""A secret put anywhere never comes out; what people need to read survives."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge_agent.domain.cards import looks_like_card
from edge_agent.redaction import CARD_MASK, MASK, Redactor, secrets_in

WORDS = st.text(max_size=60)
SECRETS = st.text(min_size=4, max_size=40).filter(lambda secret: secret.strip("* \t\n") and len(secret.strip()) >= 4)
PLAIN = st.text(st.sampled_from("abcdefghijkmnopqrstuvwxyzABCDEFGH0123456789_-.~+/"), min_size=8, max_size=40)


def luhn_completed(stem: str) -> str:
    """The digits with a check digit behind them."""
    return next(stem + digit for digit in "0123456789" if _passes(stem + digit))


def _passes(digits: str) -> bool:
    doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


CARDS = st.one_of(
    st.from_regex(r"4[0-9]{14}", fullmatch=True),
    st.from_regex(r"5[1-5][0-9]{13}", fullmatch=True),
    st.from_regex(r"3[47][0-9]{12}", fullmatch=True),
).map(luhn_completed)


@given(WORDS, SECRETS, WORDS)
@example("aab", "ab**", "b")
@example("", "****a", "")
def test_a_known_secret_never_comes_out(before: str, secret: str, after: str) -> None:
    """Wherever one of this device's own secrets stands, as it is or as JSON or in an address, it is gone."""
    redact = Redactor([secret])
    forms = [secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    forms += [quote(secret, safe="")] if secret.isprintable() else []
    for form in forms:
        assume(form.strip("*"))
        assert form not in redact(before + form + after)


@given(SECRETS, st.recursive(WORDS, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_a_known_secret_in_a_value_never_comes_out(secret: str, other: Any) -> None:
    """However deep in a value it stands, and as a name too."""
    value = Redactor([secret]).value({"a": [other, {"b": f"x{secret}y", f"k{secret}": 1}]})
    assert secret not in str(value["a"][1].get("b"))
    assert all(secret not in key for key in value["a"][1])


ENVELOPES = [
    "Authorization: Bearer {}",
    "authorization: Token {} and more",
    "{{'Authorization': 'Basic {}'}}",
    "(b'Cookie', b'sessionid={}')",
    "Set-Cookie: sid={}; Path=/",
    "GET https://pos-02:{}@ho.example.com/api/ failed",
    'said {{"password": "{}"}}',
    'said {{"access": "{}", "refresh": "x"}}',
    '{{"body": "{{\\"refresh\\": \\"{}\\"}}"}}',
    "password={} and so on",
    "EDGE_AGENT_PASSWORD={}",
    "?access_token={}&x=1",
    "api_key: {}",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("envelope", ENVELOPES)
@given(PLAIN.filter(lambda secret: any(c.isdigit() for c in secret) and "/" not in secret), WORDS)
def test_what_looks_like_a_secret_never_comes_out(envelope: str, secret: str, around: str) -> None:
    """Nobody has to know a secret for it to be censored where secrets stand."""
    text = around.replace("\\", "") + "\n" + envelope.format(secret) + "\n" + around
    assume(secret not in around)
    assume(secret not in envelope)
    assert secret not in Redactor()(text)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), st.integers(), max_size=3), WORDS)
def test_a_json_web_token_never_comes_out(claims: dict[str, int], around: str) -> None:
    """A token is known by its form."""

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'HS256', **claims})}.{part(claims)}.c2lnbmF0dXJl"
    assert token.split(".")[1] + "." not in Redactor()(f"{around} {token} {around}")
    assert "c2lnbmF0dXJl" not in Redactor()(f"{around} {token} {around}")


@given(
    CARDS,
    st.sampled_from([[16], [4, 4, 4, 4], [4, 6, 6], [8, 8]]),
    st.sampled_from([" ", "-", "\u00a0"]),
    st.text(st.characters(exclude_categories=["N"], exclude_characters="-. \u00a0\u2009\u202f"), max_size=30),
)
def test_a_card_number_never_comes_out(card: str, groups: list[int], gap: str, around: str) -> None:
    """Sixteen digits with an issuer's prefix and a check digit, however they are grouped, next to whatever letters."""
    assume(not any(c.isdigit() for c in around))
    parts, rest = [], card
    for size in groups:
        parts.append(rest[:size])
        rest = rest[size:]
    text = Redactor()(around + gap.join(part for part in parts if part) + around)
    assert CARD_MASK in text
    assert not any(c.isdigit() for c in text)
    assert Redactor().value({"n": int(card)}) == {"n": CARD_MASK}


def test_a_card_number_printed_with_points_or_a_date_never_comes_out() -> None:
    """Other digits beside it do not hide it."""
    redact = Redactor()
    assert redact("4111.1111.1111.1111") == CARD_MASK
    assert redact("card 4111 1111 1111 1111 12/27 ok") == f"card {CARD_MASK} 12/27 ok"
    assert redact("7 4111111111111111") == f"7 {CARD_MASK}"


@given(
    st.uuids(),
    st.decimals(0, 10**9, places=2),
    st.datetimes(),
    st.integers(1, 10**11),
    st.integers(1_500_000_000_000, 2_500_000_000_000),
)
def test_what_people_need_survives(number: uuid.UUID, amount: Any, moment: Any, seq: int, ms: int) -> None:
    """Ids, amounts, times and sequence numbers are no secrets and no cards."""
    assume(not looks_like_card(str(ms)))
    for text in (
        f"sale {number} of {amount} at {moment.isoformat()}Z",
        f"device_seq={seq} journal {number}",
        f"journal.db.damaged-{ms}",
        f'{{"external_id":"{number}","total_amount":"{amount}","device_seq":{seq}}}',
    ):
        assert Redactor(["correct horse"])(text) == text


def test_sentences_survive() -> None:
    """What the agent says of itself stays readable."""
    redact = Redactor(["hunter2hunter2"])
    for text in (
        "head office refuses the user name 'pos-02' or its password",
        "GET https://ho.example.com/api/v1/sync/version/?company_id=00000001-0000-4000-8000-000000000000",
        'Check url, and token_path in settings.toml: some head offices use token_path = "/api/v1/token/".',
        "barcode 5000112546415 is Cola",
        "fingerprint 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "2026-11-21 05:17:44 and 20261121T071802Z",
    ):
        assert redact(text) == text


def test_a_homes_secrets_are_found() -> None:
    """The password, the tokens, the loopback token and the key, also as hexadecimal and base64."""
    files = {
        "credentials.json": b'{"password": "pass word"}',
        "tokens.json": b'{"access": "opaque-access", "refresh": "opaque-refresh"}',
        "local-api.token": b"loop-token\n",
        "device.key": bytes(range(32)),
    }

    def read(name: str) -> bytes:
        return files[name]

    found = secrets_in(read, {"EDGE_AGENT_PASSWORD": "from-env", "HOME": "/x"})
    assert {"pass word", "opaque-access", "opaque-refresh", "loop-token", "from-env", bytes(range(32)).hex()} < found
    redact = Redactor(found)
    assert redact("it said pass word here") == f"it said {MASK} here"
    assert "000102" not in redact(f"key {bytes(range(32)).hex()}")


def test_a_home_without_secrets_or_with_damaged_ones_is_no_trouble() -> None:
    """A damaged file is kept back whole; one that is not there is not missed."""

    def read(name: str) -> bytes:
        if name == "credentials.json":
            return b'{"password": "half'
        raise FileNotFoundError

    assert secrets_in(read, {}) == {'{"password": "half'}


def test_a_short_secret_does_not_spoil_sentences() -> None:
    """A secret of three letters is censored where it stands alone."""
    assert Redactor(["cat"])("the cat sees a catalogue") == f"the {MASK} sees a catalogue"


def test_a_very_long_text_is_cut() -> None:
    """A text of many megabytes costs no minutes."""
    assert len(Redactor()("x" * 3_000_000)) < 1_100_000
