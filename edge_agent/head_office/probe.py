"""Asks head office a few things for a person who wants to know what is wrong; keeps no token, repeats nothing."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from edge_agent.clock import Clock
from edge_agent.errors import NotSignedIn, Unreachable
from edge_agent.head_office import answers
from edge_agent.head_office.auth import SecretFiles, Secrets
from edge_agent.head_office.client import SYNC, HttpHeadOffice
from edge_agent.head_office.lean import httpx
from edge_agent.head_office.tls import verification
from edge_agent.settings import CREDENTIALS_NAME, Settings

_JSON_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer says beside its body. ``between``: this device's time in the middle of the exchange."""

    status: int
    date: dt.datetime | None
    between: dt.datetime


class Probe(HttpHeadOffice):
    """Head office, asked once: no retries, no token kept, nothing written.

    Args:
        settings: addresses and identity.
        secrets: what the device signs in with; ``access`` and ``refresh`` are left alone.
        clock: the device's clock.
        deadline_s: for each answer, seconds.
    """

    def __init__(self, settings: Settings, secrets: Secrets, clock: Clock, *, deadline_s: float) -> None:
        hurried = replace(
            settings,
            connect_timeout_s=min(settings.connect_timeout_s, deadline_s),
            read_timeout_s=min(settings.read_timeout_s, deadline_s),
            answer_deadline_s=max(1.0, min(settings.answer_deadline_s, deadline_s)),
            answer_bytes_max=min(settings.answer_bytes_max, 4 * 1024 * 1024),
        )
        # A refresh token that changes with each use belongs to whoever syncs: asking with it here would spoil it.
        own = SecretFiles(None, CREDENTIALS_NAME, Secrets(password=secrets.password))
        super().__init__(hurried, own, clock, quick_retries=0)
        self.heard: Heard | None = None
        self._is_signed_in = False

    def _exchange(
        self, method: str, path: str, *, params: dict[str, str] | None, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, httpx.Headers, bytes]:
        began = self._clock.now()
        answer = super()._exchange(method, path, params=params, content=content, headers=headers)
        if _is_json_object(answer[2]):
            between = began + (self._clock.now() - began) / 2
            self.heard = Heard(answer[0], _date(answer[1]), between)
        return answer

    def hello(self) -> None:
        """Ask without a sign-in, only to see whether a head office answers at all.

        Raises:
            Unreachable: nobody does, or something else than a head office.
            NotSignedIn: never; being asked to sign in is an answer.
        """
        status, headers, body = self._exchange(
            "GET", SYNC + "version/", params=dict(self._scope), content=None, headers={}
        )
        # Being asked to sign in, or told what is missing, is how a head office answers a stranger.
        error = None if status < 300 else answers.as_error(status, headers, body, self._clock.now())
        if isinstance(error, Unreachable) and not (status == 404 and _is_json_object(body) and error.reason != "route"):
            raise error
        if not _is_json_object(body) and status not in (204, 304):
            raise Unreachable(
                f"something other than head office answered (HTTP {status})", reason="not_contract", sent=True
            )

    def sign_in(self) -> None:
        """Sign in once; a second time there is nothing to learn."""
        if self._is_signed_in:
            if self._secrets.secrets.access is None:
                raise NotSignedIn("head office does not accept this device's sign-in")
            return
        super().sign_in()
        self._is_signed_in = True


def _is_json_object(body: bytes) -> bool:
    if len(body) > _JSON_BYTES_MAX:
        return body.lstrip()[:1] == b"{"
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _date(headers: Mapping[str, str]) -> dt.datetime | None:
    moment = answers._http_date(headers.get("date", ""))
    if moment is None or headers.get("age", "0").strip() not in ("", "0"):
        return None
    return moment if answers.YEAR_MIN <= moment.year <= answers.YEAR_MAX else None


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the client checks head office's certificate with; None for plain http.

    Raises:
        InvalidSettings: a certificate file can't be used.
    """
    found = verification(settings)
    if isinstance(found, ssl.SSLContext):
        return found
    return httpx.create_ssl_context() if found else None


def certificate_words(fault: ssl.SSLError) -> tuple[str, str]:
    """What is wrong with head office's certificate, and the mend."""
    return answers._tls_words(fault)
