"""Accounts, tokens and what an account may reach (contract section 2)."""

import hashlib
import secrets
import time
from dataclasses import dataclass

from ho_stub.database import Database
from ho_stub.errors import NotSignedIn

ACCESS_S = 3_600.0
REFRESH_S = 30 * 86_400.0
HASH_ROUNDS = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks. A device account has one store, an office account (None) all stores of the company.

    An account without a company reaches nothing at all.
    """

    username: str
    store_id: str | None
    has_company: bool = True


class Accounts:
    """Sign-in with opaque random tokens that expire, and with a static key that doesn't."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.access_s = ACCESS_S
        self.refresh_s = REFRESH_S

    def add(self, username: str, password: str, store_id: str | None, *, has_company: bool = True) -> None:
        """A new account, inside the caller's `db.write()`."""
        salt = secrets.token_bytes(16)
        self._db.run(
            "INSERT INTO account (username, salt, password_hash, static_key, store_id, has_company) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (username, salt, _hash(password, salt), secrets.token_hex(20), store_id, int(has_company)),
        )

    def is_right(self, username: str, password: str) -> bool:
        """Whether there is such an account with such a password; a wrong name takes as long as a wrong password."""
        found = self._db.row("SELECT salt, password_hash FROM account WHERE username = ?", (username,))
        salt, expected = (bytes(found[0]), bytes(found[1])) if found else (b"nobody", b"")
        return secrets.compare_digest(_hash(password, salt), expected)

    def sign_in(self, username: str, password: str) -> dict[str, str]:
        """New tokens. Raises NotSignedIn for a wrong name or password."""
        if not self.is_right(username, password):
            raise NotSignedIn("No active account found with these credentials.")
        return {"access": self._issue("access", username), "refresh": self._issue("refresh", username)}

    def refresh(self, token: str) -> dict[str, str]:
        """A new access token. Raises NotSignedIn for an unknown or expired refresh token."""
        return {"access": self._issue("access", self._holder(token, "refresh"))}

    def who(self, authorization: str | None) -> Account:
        """The account of an Authorization header: `Bearer <access>` or `Token <static key>`. Raises NotSignedIn."""
        scheme, _, token = (authorization or "").partition(" ")
        username: str | None = None
        if scheme == "Token":
            username = self._db.value("SELECT username FROM account WHERE static_key = ?", (token,))
        if username is None:
            if scheme not in ("Bearer", "Token") or not token:
                raise NotSignedIn("Authentication credentials were not provided.")
            username = self._holder(token, "access")
        account = self.find(username)
        if account is None:
            raise NotSignedIn("This account is gone.")
        return account

    def find(self, username: str) -> Account | None:
        """The account of this name, or None."""
        found = self._db.row("SELECT username, store_id, has_company FROM account WHERE username = ?", (username,))
        return None if found is None else Account(found[0], found[1], bool(found[2]))

    def static_key(self, username: str) -> str:
        """The account's key for the scheme `Token`."""
        return str(self._db.value("SELECT static_key FROM account WHERE username = ?", (username,)))

    def expire(self, *, refresh: bool = False) -> None:
        """All access tokens (and refresh tokens, if asked) expire now."""
        with self._db.write():
            self._db.run("UPDATE token SET expires_at = 0 WHERE kind = 'access' OR ? = 1", (int(refresh),))

    def _issue(self, kind: str, username: str) -> str:
        token = secrets.token_urlsafe(32)
        now = time.time()
        lifetime_s = self.access_s if kind == "access" else self.refresh_s
        with self._db.write():
            self._db.run("DELETE FROM token WHERE expires_at < ?", (now,))
            self._db.run("INSERT INTO token VALUES (?, ?, ?, ?)", (token, kind, username, now + lifetime_s))
        return token

    def _holder(self, token: str, kind: str) -> str:
        sql = "SELECT username FROM token WHERE token = ? AND kind = ? AND expires_at > ?"
        username: str | None = self._db.value(sql, (token, kind, time.time()))
        if username is None:
            raise NotSignedIn("Token is invalid or expired.")
        return username


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(errors="replace"), salt, HASH_ROUNDS)
