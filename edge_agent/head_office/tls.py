"""Whom this device trusts, and what it shows of itself: what the settings say about TLS, as httpx wants it."""

from __future__ import annotations

import ssl
from typing import NoReturn

from edge_agent.errors import InvalidSettings
from edge_agent.head_office.lean import httpx
from edge_agent.settings import Settings

_CERTIFICATE_HINT = "Give this device's certificate as a PEM file, as head office issued it, or leave it out."


def verification(settings: Settings) -> ssl.SSLContext | bool:
    """What proves head office to this device, and this device to head office.

    Python's default context asks for TLS 1.2 at least, checks names, and accepts no certificate without its authority;
    nothing here loosens that.

    Args:
        settings: ``url``, ``ca_file``, ``client_cert_file`` and ``client_key_file``.

    Returns:
        False for plain http (reading certificates takes 20 ms), True for the usual authorities, else a context.

    Raises:
        InvalidSettings: a file is missing, is no PEM, wants a passphrase, or a key does not fit its certificate.
    """
    if settings.client_key_file and not settings.client_cert_file:
        raise InvalidSettings(
            "client_key_file",
            "client_key_file: a key alone proves nothing",
            hint="Set client_cert_file as well, to the certificate that belongs to it.",
        )
    if not settings.url.startswith("https"):
        return False
    if not (settings.ca_file or settings.client_cert_file):
        return True
    context = _of_private_authority(settings.ca_file) if settings.ca_file else httpx.create_ssl_context()
    if settings.client_cert_file:
        _show_certificate(context, settings)
    return context


def _of_private_authority(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings(
            "ca_file",
            f"ca_file: {ca_file} can't be used: {error}",
            hint="Give the PEM file of head office's certificate authority as ca_file, or leave it out.",
        ) from error


def _show_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    for key in ("client_cert_file", "client_key_file"):
        path = getattr(settings, key)
        try:
            if path:
                open(path, "rb").close()  # noqa: PTH123 - only whether it can be read; OpenSSL does not say which can't
        except OSError as error:
            raise InvalidSettings(
                key,
                f"{key}: {path} can't be read: {error.strerror}",
                hint="Check the path, and that the user this program runs as may read the file.",
            ) from error
    asked = False

    def passphrase() -> bytes:  # without this OpenSSL asks the terminal, and a daemon would wait for ever
        nonlocal asked
        asked = True
        return b""

    try:
        context.load_cert_chain(settings.client_cert_file, settings.client_key_file or None, password=passphrase)
    except (ssl.SSLError, ValueError) as error:
        _refuse(settings, error, has_passphrase=asked)


def _refuse(settings: Settings, error: Exception, *, has_passphrase: bool) -> NoReturn:
    cert, key = settings.client_cert_file, settings.client_key_file or settings.client_cert_file
    if has_passphrase:
        raise InvalidSettings(
            "client_key_file",
            f"client_key_file: the key in {key} wants a passphrase, and nobody is there to type it",
            hint="Keep it without one, in a file that only this program's user can read (mode 0600).",
        ) from error
    if "KEY_VALUES_MISMATCH" in str(error):
        raise InvalidSettings(
            "client_key_file",
            f"client_key_file: the key in {key} does not belong to the certificate in {cert}",
            hint="Give the key the certificate was issued for; in one file, the device's own certificate comes first.",
        ) from error
    if _holds_certificate(cert):
        raise InvalidSettings(
            "client_key_file",
            f"client_key_file: {key} holds no key as a PEM file does",
            hint="A PEM key begins with a line such as -----BEGIN PRIVATE KEY-----. Convert it, or ask head office.",
        ) from error
    raise InvalidSettings(
        "client_cert_file",
        f"client_cert_file: {cert} holds no certificate as a PEM file does",
        hint=_CERTIFICATE_HINT,
    ) from error


def _holds_certificate(path: str) -> bool:
    """Whether OpenSSL reads a certificate there."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError):
        return False
    return True
