"""Sorts answers that are not a success by what to do about them: by status and route, never by their words."""

from __future__ import annotations

import datetime as dt
import email.utils
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec

from edge_agent.errors import ContractBroken, CursorLost, EdgeAgentError, NotSignedIn, Refused, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.lean import httpx

YEAR_MIN, YEAR_MAX = 2020, 2120  # what a head office's clock may say
_SAID_BYTES_MAX = 65_536
_WRONG_PLACE_HINT = "Check url, company_id, brand_id and store_id in settings.toml with head office."


def retry_after_s(headers: Mapping[str, str], now: dt.datetime) -> float | None:
    """``Retry-After`` in seconds, from either of its forms (contract, section 1); None when absent or unreadable.

    A date is taken relative to head office's own ``Date``, so that a wrong device clock does not matter.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(min(int(text), 86_400))
    moment = _http_date(text)
    if moment is None:
        return None
    base = _http_date(headers.get("date", "")) or now
    return min(max(0.0, (moment - base).total_seconds()), 86_400.0)


def _http_date(text: str) -> dt.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def date_of_head_office(status: int, headers: Mapping[str, str], body: bytes) -> dt.datetime | None:
    """The ``Date`` of an answer that can only be head office's own; None when it tells nothing.

    A portal's page, a proxy's error and an answer out of a proxy's memory have a ``Date`` as well.
    """
    is_ours = status in (204, 304) or (200 <= status < 300 and body.lstrip()[:1] == b"{")
    if not is_ours or headers.get("age", "0").strip() not in ("", "0"):
        return None
    moment = _http_date(headers.get("date", ""))
    return moment if moment is not None and YEAR_MIN <= moment.year <= YEAR_MAX else None


def _words(value: Any) -> str:
    return value[:500] if isinstance(value, str) else ""


def _said(body: bytes) -> wire.ErrorBody | None:
    """What an error's body says; None when it is no JSON, so that something else than head office may have answered."""
    if len(body) > _SAID_BYTES_MAX:
        return None
    try:
        return msgspec.json.decode(body, type=wire.ErrorBody)
    except msgspec.ValidationError:  # a baseline head office may give a bare list of sentences
        return wire.ErrorBody()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def as_error(status: int, headers: Mapping[str, str], body: bytes, now: dt.datetime) -> EdgeAgentError:
    """The error an answer other than 2xx and 304 stands for."""
    said = _said(body)
    code = _words(said.code) if said else ""
    words = (_words(said.error) or _words(said.detail)) if said else ""
    if 300 <= status < 400:
        return Unreachable(
            f"head office's address has moved to {headers.get('location', 'somewhere it does not name')[:200]}",
            reason="redirect",
            hint="Set url in settings.toml to the new address; the sign-in is never sent along by itself.",
        )
    if status == 401 and headers.get("www-authenticate", "").lower().startswith("token"):
        return NotSignedIn(
            "head office signs devices in by a static key alone",
            hint='Ask head office for the key, set auth_scheme = "Token", run edge-agent init again. Selling goes on.',
        )
    if status == 401:
        return NotSignedIn(
            "head office does not accept this device's sign-in",
            hint="Run edge-agent init again with the device's user name and password. Selling goes on.",
        )
    if status == 429 or status >= 500:
        busy = status in (429, 503)
        return Unreachable(
            f"head office is {'busy' if busy else 'out of order'} (HTTP {status}{': ' + words if words else ''})",
            reason="busy" if busy else "server",
            retry_after_s=retry_after_s(headers, now),
            may_be_one=not busy,
        )
    if status == 410:
        return CursorLost(words or "head office no longer knows our place", status=status, ho_code="CURSOR_EXPIRED")
    if said is None and status != 413:  # a proxy's word about the size is as good as head office's
        return Unreachable(
            f"something other than head office answered (HTTP {status})",
            reason="not_contract" if status != 404 else "route",
            hint="Check url in settings.toml, and whether the network wants a log-in. Everything is kept meanwhile.",
        )
    sentence = words or f"head office refused (HTTP {status})"
    if code == "INVALID_CURSOR":
        return CursorLost(sentence, status=status, ho_code=code)
    if status == 404 and code in ("", "NOT_FOUND"):
        return Unreachable(
            f"head office does not know this address (HTTP 404{': ' + words if words else ''})",
            reason="route",
            hint=_WRONG_PLACE_HINT,
            may_be_one=said is not None,
        )
    hint = _WRONG_PLACE_HINT if status in (403, 404) else ""
    return Refused(sentence, status=status, ho_code=code, hint=hint)


def as_unreachable(error: httpx.HTTPError) -> Unreachable:
    """The error a failed exchange stands for; a bad certificate is told apart from a line that is down."""
    sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    fault = _tls_fault(error)
    about_us = _about_our_certificate(fault)
    if about_us is not None:  # with TLS 1.3 it comes after the handshake, and before anything was heard
        return Unreachable(about_us, reason="tls", hint=_OUR_CERTIFICATE_HINT, sent=False)
    if fault is not None and not sent:
        message, hint = _tls_words(fault)
        return Unreachable(message, reason="tls", hint=hint, sent=False)
    if isinstance(error, httpx.TimeoutException):
        return Unreachable("head office did not answer in time", reason="timeout", sent=sent)
    return Unreachable("head office can't be reached", reason="network", sent=sent)


def _tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    """What a handshake failed of; None when the line merely broke in its middle."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return None if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) else error
        error = error.__cause__ or error.__context__
    return None


_CLOCK = "Check the date and time of this device"
_TRUST_HINT = "A private authority's file goes into ca_file. A network that wants a log-in answers like this too."
_CERTIFICATE: dict[int, tuple[str, str]] = {  # by OpenSSL's X509_V_ERR numbers
    9: ("is not valid yet: check the date and time of this device", f"{_CLOCK}."),
    10: ("has expired: check the date and time of this device, then tell head office", f"{_CLOCK}; tell head office."),
    **dict.fromkeys((18, 19, 20, 21), ("comes from an authority this device does not know", _TRUST_HINT)),
    **dict.fromkeys((62, 64), ("is for another address: check url in settings.toml", "Check url in settings.toml.")),
}


_OUR_CERTIFICATE_HINT = (
    "Ask head office for this device's certificate and its key, and set client_cert_file and client_key_file. "
    "Check this device's date and time. Selling goes on."
)
_OUR_CERTIFICATE: dict[str, str] = {  # what a server says about the certificate it was shown: TLS alerts
    "CERTIFICATE_REQUIRED": "head office wants a certificate of this device (client_cert_file)",
    "UNKNOWN_CA": "head office does not know who issued this device's certificate",
    "CERTIFICATE_EXPIRED": "head office says that this device's certificate has expired",
    "CERTIFICATE_REVOKED": "head office has revoked this device's certificate",
    "BAD_CERTIFICATE": "head office does not accept this device's certificate",
    "CERTIFICATE_UNKNOWN": "head office does not accept this device's certificate",
    "UNSUPPORTED_CERTIFICATE": "head office can't use this kind of certificate for this device",
    "ACCESS_DENIED": "head office does not let this device's certificate in",
}


def _about_our_certificate(fault: ssl.SSLError | None) -> str | None:
    """What head office says about this device's own certificate; None when the fault is none of that."""
    if fault is None or "alert" not in str(fault).lower():
        return None
    said = str(fault).upper().replace(" ", "_")
    return next((words for alert, words in _OUR_CERTIFICATE.items() if f"ALERT_{alert}" in said), None)


def _tls_words(fault: ssl.SSLError) -> tuple[str, str]:
    """What is said about a handshake that failed, and the hint."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        found = _CERTIFICATE.get(fault.verify_code)
        if found is not None:
            return f"head office's certificate {found[0]}", found[1]
        return f"head office's certificate is not accepted: {fault.verify_message}", _TRUST_HINT
    words = (fault.reason or "the handshake failed").lower().replace("_", " ")
    return (
        f"no safe connection to head office: {words}",
        "Check url in settings.toml, and whether the network wants a log-in. Everything is kept meanwhile.",
    )


def no_sign_in_here(path: str) -> Unreachable:
    """The error of a head office that signs devices in at another address."""
    return Unreachable(
        f"head office does not sign devices in at {path} (HTTP 404)",
        reason="route",
        hint='Check url, and token_path in settings.toml: some head offices use token_path = "/api/v1/token/".',
    )


def broken(message: str) -> ContractBroken:
    """Head office answered something the contract excludes."""
    return ContractBroken(message, hint="Tell head office; selling goes on, and the next sync tries again.")
