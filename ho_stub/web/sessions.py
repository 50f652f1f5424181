"""Who is signed in to the pages: one row for each session, so that every worker knows it."""

import hashlib
import secrets
import time
from dataclasses import dataclass

from ho_stub.accounts import Account, Accounts
from ho_stub.database import Database

SESSION_S = 8 * 3_600.0


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person. `csrf` stands in every form that they send."""

    account: Account
    csrf: str

    @property
    def name(self) -> str:
        """What the audit log calls them."""
        return self.account.username

    @property
    def may_edit(self) -> bool:
        """An office account may; a device's may not, and one without a company has nothing to edit."""
        return self.account.has_company and self.account.store_id is None


class Sessions:
    """Opens, finds and ends sessions. The database holds the hash of a token, never the token."""

    def __init__(self, db: Database, accounts: Accounts) -> None:
        self._db = db
        self._accounts = accounts

    def open(self, username: str) -> str:
        """A new session's token, for the cookie. It ends after `SESSION_S`."""
        token, now_s = secrets.token_urlsafe(32), time.time()
        with self._db.write():
            self._db.run("DELETE FROM session WHERE expires_at < ?", (now_s,))
            self._db.run(
                "INSERT INTO session (token_hash, username, csrf, expires_at) VALUES (?, ?, ?, ?)",
                (_hashed(token), username, secrets.token_urlsafe(24), now_s + SESSION_S),
            )
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Whose session a token is; None for one that is unknown, over, or whose account is gone."""
        sql = "SELECT username, csrf FROM session WHERE token_hash = ? AND expires_at > ?"
        found = self._db.row(sql, (_hashed(token), time.time()))
        account = self._accounts.find(found[0]) if found else None
        return Visitor(account, found[1]) if found and account else None

    def end(self, token: str) -> None:
        """Sign out."""
        with self._db.write():
            self._db.run("DELETE FROM session WHERE token_hash = ?", (_hashed(token),))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
