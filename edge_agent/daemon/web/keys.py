"""The keys of the loopback API: the token of tills, and what the status page gets instead."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from edge_agent.errors import StoreBroken

TOKEN_NAME = "local-api.token"  # noqa: S105 - a file's name
TOKEN_BYTES = 32
TOKEN_FILE_BYTES_MAX = 1024
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43,512}")
_FOREIGN_BITS = stat.S_IRWXG | stat.S_IRWXO
# Neither through a link, nor waiting at a pipe, that somebody planted in a shared home.
_READING = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_NEW_ONE = "Stop edge-agent run, delete it, and start it: a new one is made. Tills and pages must then read it again."


class Keys:
    """What opens the loopback API: the token everything, the page's session all that sells nothing.

    The page's keys are derived from the token, so that a page never holds it, and so that a new token ends them all.

    Args:
        token: the token of tills.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self._token = token.encode()
        self._page_key = self._derived("status page key")
        self._session = self._derived("status page session")

    @classmethod
    def of_home(cls, home: Path) -> Keys:
        """The keys of a home; its token is made when there is none yet.

        Args:
            home: the device's home.

        Raises:
            StoreBroken: the token can't be made or read, is damaged, or others may read it.
        """
        path = home / TOKEN_NAME
        try:
            return cls(_read(path))
        except FileNotFoundError:
            _make(path, secrets.token_urlsafe(TOKEN_BYTES).encode())
        return cls(_read(path))

    def keep(self, home: Path) -> bool:
        """Write the token again when its file is gone: tills read it, and nobody is at the keyboard.

        Args:
            home: the device's home.

        Returns:
            Whether it was gone. A file that holds something else stays.

        Raises:
            StoreBroken: it can't be written.
        """
        path = home / TOKEN_NAME
        if os.path.lexists(path) or not home.is_dir():
            return False
        _make(path, self._token)
        return True

    def _derived(self, purpose: str) -> str:
        digest = hmac.digest(self._token, f"edge-agent {purpose}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def page_key(self) -> str:
        """What the status page is opened with; it is no token."""
        return self._page_key

    def session(self) -> str:
        """What the page's cookie holds."""
        return self._session

    def is_token(self, said: str) -> bool:
        """Whether this is the token of tills; takes as long whatever was said."""
        return hmac.compare_digest(said.encode(errors="replace"), self._token)

    def is_page_key(self, said: str) -> bool:
        """Whether this is the key that the page is opened with."""
        return hmac.compare_digest(said.encode(errors="replace"), self._page_key.encode())

    def is_session(self, said: str) -> bool:
        """Whether this is a page's cookie."""
        return hmac.compare_digest(said.encode(errors="replace"), self._session.encode())


def _make(path: Path, token: bytes) -> None:
    """A token's file, whole from the first moment anybody can see it; of two programs the first one's stays."""
    try:
        handle, name = tempfile.mkstemp(prefix=f"{TOKEN_NAME}.", dir=path.parent)  # made exclusively, 0600
        fresh = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(token + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        except OSError:
            fresh.replace(path)  # a file system without hard links
        fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StoreBroken(
            f"{path} can't be written: {error.strerror}", hint="Check that this user may write the folder."
        ) from None


def _read(path: Path) -> str:
    try:
        handle = os.open(path, _READING)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(TOKEN_FILE_BYTES_MAX).strip() if stat.S_ISREG(found.st_mode) else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreBroken(
            f"{path} can't be read: {error.strerror}", hint="Run this as the user that edge-agent run runs as."
        ) from None
    if os.name == "posix" and found.st_mode & _FOREIGN_BITS:  # Windows: the folder's own rights
        raise StoreBroken(
            f"{path} can be read by other users: whoever reads it can record sales",
            hint=f"{_NEW_ONE} If nobody read it: chmod 600 {path}",
        )
    if not _TOKEN.fullmatch(data):
        raise StoreBroken(f"{path} holds no token", hint=_NEW_ONE)
    return data.decode()
