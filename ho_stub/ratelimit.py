"""Rate limits: how many requests a minute the devices of a store may make. Off until somebody sets one.

The minutes are those of the clock, and counted in the database, so that several workers agree. An account of the whole
company has no limit.
"""

import time
from collections.abc import Callable

from ho_stub.database import Database
from ho_stub.errors import ContractError

LIMIT_MAX = 1_000_000
KNOWN_S = 1.0  # another worker's change of a limit counts here after so long
COUNT = """
INSERT INTO rate_used (store_id, minute, requests) VALUES (:store, :minute, 1) ON CONFLICT (store_id) DO UPDATE SET
  requests = CASE WHEN rate_used.minute = excluded.minute THEN rate_used.requests + 1 ELSE 1 END,
  minute = excluded.minute"""


class RateLimits:
    """`clock` gives seconds since 1970."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.time) -> None:
        self._db = db
        self.clock = clock
        self._known: dict[str, int] = {}
        self._known_until = 0.0

    def all(self) -> dict[str, int]:
        """Store id → requests a minute; '' stands for every store that has none of its own."""
        return dict(self._db.rows("SELECT store_id, per_minute FROM rate_limit ORDER BY store_id"))

    def set(self, per_minute: int | None, store_id: str = "") -> None:
        """Set a limit (None: none), inside the caller's `db.write()`; for all stores, or for one."""
        if per_minute is None:
            self._db.run("DELETE FROM rate_limit WHERE store_id = ?", (store_id,))
        else:
            self._db.run(
                "INSERT INTO rate_limit (store_id, per_minute) VALUES (?, ?) "
                "ON CONFLICT (store_id) DO UPDATE SET per_minute = excluded.per_minute",
                (store_id, per_minute),
            )
        self._known_until = 0.0

    def count(self, store_id: str) -> None:
        """A store's device asks for something. Raises ContractError 429 beyond the limit."""
        if time.monotonic() >= self._known_until:
            self._known, self._known_until = self.all(), time.monotonic() + KNOWN_S
        limit = self._known.get(store_id, self._known.get(""))
        if limit is None:
            return
        now = self.clock()
        minute = int(now // 60)
        with self._db.write():
            self._db.run(COUNT, {"store": store_id, "minute": minute})
            used = int(self._db.value("SELECT requests FROM rate_used WHERE store_id = ?", (store_id,)))
        if used > limit:
            raise too_many(limit, int(60 - now % 60) + 1)


def too_many(limit: int, wait_s: int) -> ContractError:
    """429 with the seconds until the next minute begins."""
    sentence = f"This store may make {limit} requests a minute. Try again in {wait_s} s."
    return ContractError(429, "RATE_LIMITED", sentence, {"Retry-After": str(wait_s)})
