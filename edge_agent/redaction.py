"""Censors secrets and card-like digits in any text, before it reaches a log, a screen or a support bundle.

Two nets, one behind the other: this device's own secrets wherever they stand, and what looks like a secret of anybody
(tokens, passwords in addresses, in JSON, as ``key=value``, headers, private keys, card numbers).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from edge_agent.domain.cards import DIGITS_MAX, DIGITS_MIN, looks_like_card

MASK = "***"
CARD_MASK = "[card number]"
SECRET_FILES = ("credentials.json", "tokens.json", "local-api.token", "device.key")
TEXT_LENGTH_MAX = 1_000_000  # a longer text is cut before it is looked through
_ANYWHERE_FROM = 4  # a shorter secret is censored only where it stands alone: else half of each sentence would go
_DEPTH_MAX = 20
_PASSES_MAX = 5

_KEY = (
    r"(?<![\w.-])[\w.-]*?(?:passw(?:or)?d|pwd|passphrase|passcode|secret|token|api[_-]?key|private[_-]?key|access[_-]?key"
    r"|credentials?|cvv2?|cvc2?|card[_-]?(?:number|no)|pan)"
)
_QUOTED = r"""b?"(?:[^"\\\n]|\\.)*"?|b?'(?:[^'\\\n]|\\.)*'?|\\"(?:(?!\\").)*(?:\\")?"""
_AFTER_KEY = r"""\\?["']?\s*[:=]\s*"""
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        MASK,
    ),
    (  # Authorization: Bearer …, 'Cookie': '…', (b'authorization', b'…')
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)"
            rf"""(\\?["']?\s*[:=,]\s*)(?:{_QUOTED}|[^\r\n]*)"""
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)*"), MASK),  # JSON Web Tokens
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"',;]+"), rf"\1{MASK}"),
    (re.compile(r"(?i)\b((?:token|basic|digest)\s+)(?=[^\s\"',;]*\d)[\w.~+/=-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"(://)[^\s/?#\"'<>]*@"), rf"\1{MASK}@"),  # https://name:password@host
    (
        re.compile(rf"""(?i)({_KEY})({_AFTER_KEY})(?:{_QUOTED}|[^\s&,;}}\])"']+)"""),
        rf"\1\2{MASK}",
    ),
    (  # what a sign-in answers with; the bare words stand in sentences too
        re.compile(
            rf"""(?i)(\\?["'](?:access|refresh|auth|session(?:id)?|sid|jwt|pin)\\?["']\s*[:=]\s*)(?:{_QUOTED})"""
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(r"(?i)\b((?:access|refresh|auth|session(?:id)?|sid|jwt|pin|sig|signature|key)=)[^\s&,;}\])\"']+"),
        rf"\1{MASK}",
    ),
)
_SECRET_KEY = re.compile(
    rf"(?i){_KEY}|access|refresh|auth|session(?:id)?|sid|jwt|pin|(?:proxy-)?authorization|(?:set-)?cookie"
)
_UUID_OR_DIGEST = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[0-9]*[a-f])[0-9a-f]{32,})(?![0-9A-Za-z])"
)
_GAP = r"(?:[ \u00a0\u2009\u202f-]|[.](?=[0-9]{4}(?![0-9])))"  # as cards are printed; points only before groups of four
_GROUPS = re.compile(rf"[0-9]+(?:{_GAP}[0-9]+)*", re.ASCII)
_GROUP = re.compile(r"[0-9]+", re.ASCII)


class Redactor:
    """Censors text.

    Args:
        secrets: this device's own secrets, as they are; empty ones are left out.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        self._known = _any_of(forms)

    def __call__(self, text: str) -> str:
        """The text without secrets and card numbers; one that is longer than a million characters is cut."""
        if len(text) > TEXT_LENGTH_MAX:
            text = text[:TEXT_LENGTH_MAX] + "…"
        text = self._without_known(text)
        for pattern, censored in _PATTERNS:
            text = pattern.sub(censored, text)
        return self._without_known(_without_cards(text))

    def value(self, value: Any, *, depth: int = _DEPTH_MAX) -> Any:
        """A JSON-like value with each text in it censored, and whatever stands under a secret's name.

        Args:
            value: texts, numbers, lists and mappings in each other; anything else becomes text.
            depth: how deep is looked; what lies deeper is left out.
        """
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, int):
            return CARD_MASK if looks_like_card(str(abs(value))) else value
        if depth == 0:
            return MASK
        if isinstance(value, Mapping):
            return {
                self(str(key)): MASK if one and names_a_secret(str(key)) else self.value(one, depth=depth - 1)
                for key, one in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(one, depth=depth - 1) for one in value]
        return self(str(value))

    def _without_known(self, text: str) -> str:
        if self._known is None:
            return text
        for _ in range(_PASSES_MAX):
            censored = self._known.sub(MASK, text)
            if censored == text:
                return text
            text = censored  # what stood around a secret may be one now
        return text if self._known.search(text) is None else MASK


def names_a_secret(key: str) -> bool:
    """Whether what stands under this name is a secret, whatever it looks like."""
    return _SECRET_KEY.fullmatch(key) is not None


def secrets_in(read: Callable[[str], bytes], environment: Mapping[str, str]) -> set[str]:
    """A device's own secrets.

    Args:
        read: gives the bytes of a file of the home by its name; raises OSError when it can't.
        environment: the process's environment.
    """
    found = {value for name, value in environment.items() if value and name == "EDGE_AGENT_PASSWORD"}
    for name in SECRET_FILES:
        try:
            content = read(name)
        except OSError:
            continue
        found |= set(_secrets_of(name, content))
    return {secret for secret in found if secret}


def _secrets_of(name: str, content: bytes) -> Iterator[str]:
    if name == "device.key":
        yield content.hex()
        yield base64.b64encode(content).decode().rstrip("=")
        yield base64.urlsafe_b64encode(content).decode().rstrip("=")
        return
    text = content.decode("utf-8", "replace")
    if not name.endswith(".json"):
        yield text.strip()
        return
    try:
        values = json.loads(text)
    except ValueError:
        yield text.strip()  # damaged: all of it is kept back
        return
    if isinstance(values, dict):
        yield from (value for value in values.values() if isinstance(value, str))


def _forms(secret: str) -> Iterator[str]:
    """How a secret may stand in a text: as it is, in JSON, in an address, in Python's own writing, in base64."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    if secret.isprintable():
        yield quote(secret, safe="")
        yield quote_plus(secret)
    if len(secret) >= _ANYWHERE_FROM:
        yield base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _any_of(forms: set[str]) -> re.Pattern[str] | None:
    if not forms:
        return None
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile(
        "|".join(
            re.escape(form) if len(form) >= _ANYWHERE_FROM else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in longest_first
            if form.strip("*")
        )
        or r"(?!)"
    )


def _without_cards(text: str) -> str:
    if not any(run.end() - run.start() >= DIGITS_MIN for run in _GROUPS.finditer(text)):
        return text
    kept = [match.span() for match in _UUID_OR_DIGEST.finditer(text)]
    spans: list[tuple[int, int]] = []
    for run in _GROUPS.finditer(text):
        if run.end() - run.start() >= DIGITS_MIN:
            spans += _cards_in(text, run.start(), run.end(), kept)
    for start, end in reversed(spans):
        text = text[:start] + CARD_MASK + text[end:]
    return text


def _cards_in(text: str, start: int, end: int, kept: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where card numbers stand in a run of groups of digits; the longest from the left."""
    groups = [
        match.span()
        for match in _GROUP.finditer(text, start, end)
        if not any(low <= match.start() and match.end() <= high for low, high in kept)
    ]
    first = 0
    while first < len(groups):
        last = _last_of_card(text, groups, first)
        if last is not None:
            yield groups[first][0], groups[last][1]
            first = last
        first += 1


def _last_of_card(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits, found = "", None
    for number in range(first, len(groups)):
        digits += text[slice(*groups[number])]
        if len(digits) > DIGITS_MAX:
            break
        if len(digits) >= DIGITS_MIN and looks_like_card(digits):
            found = number
    return found
