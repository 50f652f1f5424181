"""Signing in: tokens and the device account's password, in files only their owner can read (contract, section 2).

A till must come back by itself after weeks without a line, when every token has expired. So the password of the
device's account is kept beside the tokens (docs/decisions/0003).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from edge_agent.errors import StoreBroken

TOKENS_NAME = "tokens.json"
PRIVATE = 0o600
SERVICE_CREDENTIAL = "edge-agent.password"  # as LoadCredential= names it in packaging/systemd/password.conf


class Secrets(msgspec.Struct, frozen=True):
    """What the device signs in with; any part may be missing."""

    access: str | None = None
    refresh: str | None = None
    password: str | None = None


def service_password() -> str | None:
    """The password that systemd hands a service as a credential; None where it hands none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        lines = (Path(folder) / SERVICE_CREDENTIAL).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return lines[0] if lines else None


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step by one that only its owner can read, from its first byte on."""
    fresh = path.with_suffix(".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    try:
        handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StoreBroken(f"{path} can't be written: {error.strerror}", hint="Check the disk and the folder.") from None


class SecretFiles:
    """The device's secrets in its home.

    Args:
        home: the device's home; None keeps them in memory (``init`` before anything is stored).
        credentials_name: the file that holds the password.
        secrets: what to start with; read from the home when None.
    """

    def __init__(self, home: Path | None, credentials_name: str, secrets: Secrets | None = None) -> None:
        self._home = home
        self._credentials_name = credentials_name
        self.secrets = self._read() if secrets is None else secrets

    def _read(self) -> Secrets:
        values: dict[str, str] = {}
        for name in (self._credentials_name, TOKENS_NAME):
            if self._home is None:
                break
            try:
                values |= msgspec.json.decode((self._home / name).read_bytes(), type=dict[str, str])
            except FileNotFoundError:
                continue
            except (OSError, ValueError, msgspec.MsgspecError):
                # A damaged token file costs a new sign-in; a damaged password shows as "not signed in".
                continue
        password = os.environ.get("EDGE_AGENT_PASSWORD") or service_password() or values.get("password")
        return Secrets(values.get("access"), values.get("refresh"), password)

    def keep_tokens(self, access: str | None, refresh: str | None) -> None:
        """Keep tokens, before the access token is first used: a rotated refresh token must not be lost."""
        self.secrets = msgspec.structs.replace(self.secrets, access=access, refresh=refresh)
        if self._home is not None:
            tokens = {key: value for key, value in (("access", access), ("refresh", refresh)) if value}
            write_private(self._home / TOKENS_NAME, msgspec.json.encode(tokens))

    def moved_to(self, home: Path) -> SecretFiles:
        """The same secrets, kept in a home from now on."""
        files = SecretFiles(home, self._credentials_name, self.secrets)
        if self.secrets.password is not None:
            write_private(home / self._credentials_name, msgspec.json.encode({"password": self.secrets.password}))
        files.keep_tokens(self.secrets.access, self.secrets.refresh)
        return files
