"""Wrong sign-ins: after a few, an address waits. Kept in the database, so that every worker counts alike."""

import time

from ho_stub.database import Database

WITHIN_S = 300.0
PER_NAME_MAX = 5  # wrong ones of an address for one name
PER_ADDRESS_MAX = 20  # for all names together
NAME_CHARS_MAX = 100


class Attempts:
    """Counts by address, so that nobody can lock another one's account from afar."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def wait_s(self, address: str, username: str) -> int:
        """Seconds until this address may try this name again; 0: now."""
        since = time.time() - WITHIN_S
        found = self._db.rows(
            "SELECT username, at FROM wrong_sign_in WHERE address = ? AND at > ? ORDER BY at DESC", (address, since)
        )
        moments = [at for _, at in found]
        of_name = [at for name, at in found if name == username[:NAME_CHARS_MAX]]
        blocking = [
            times[most - 1]  # when this one is forgotten, there is room for another
            for times, most in ((of_name, PER_NAME_MAX), (moments, PER_ADDRESS_MAX))
            if len(times) >= most
        ]
        return max((int(at - since) + 1 for at in blocking), default=0)

    def note(self, address: str, username: str) -> None:
        """One more wrong sign-in."""
        now_s = time.time()
        with self._db.write():
            self._db.run("DELETE FROM wrong_sign_in WHERE at <= ?", (now_s - WITHIN_S,))
            self._db.run(
                "INSERT INTO wrong_sign_in (address, username, at) VALUES (?, ?, ?)",
                (address, username[:NAME_CHARS_MAX], now_s),
            )

    def forget(self, address: str, username: str) -> None:
        """They knew it after all."""
        with self._db.write():
            self._db.run(
                "DELETE FROM wrong_sign_in WHERE address = ? AND username = ?", (address, username[:NAME_CHARS_MAX])
            )
