"""Usage logs: each use of a promotion counts once (contract section 5)."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from ho_stub.database import Database
from ho_stub.errors import Rejected
from ho_stub.feed import Feed
from ho_stub.rows import utc_now
from ho_stub.sale import is_id, storable

REQUIRED_IDS = ("external_id", "promotion_id")


class Usages:
    """Each usage is judged on its own."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def taken(self) -> list[dict[str, Any]]:
        """Every usage taken, as received."""
        return [
            json.loads(body) for (body,) in self._db.rows("SELECT body FROM usage ORDER BY received_at, external_id")
        ]

    def count(self) -> int:
        """How many usages were taken."""
        return int(self._db.value("SELECT count(*) FROM usage"))

    def take(self, usages: list[object], feed: Feed, *, native: bool) -> tuple[dict[str, Any], Counter[str]]:
        """Book usage logs, each on its own. A baseline head office names an error by its data alone.

        Returns:
            The contract's answer, and how many new uses each promotion (by id) had.
        """
        created = duplicates = 0
        uses = Counter[str]()
        errors: list[dict[str, Any]] = []
        for index, usage in enumerate(usages):
            try:
                with self._db.write():
                    new = self._take(usage, feed)
            except Rejected as exc:
                external_id = usage.get("external_id") if isinstance(usage, dict) else None
                named = {"index": index, "external_id": external_id, "code": exc.code} if native else {}
                errors.append(named | {"data": usage, "error": str(exc)})
                continue
            if isinstance(usage, dict):
                uses[usage["promotion_id"]] += new
            created, duplicates = (created + 1, duplicates) if new or not native else (created, duplicates + 1)
        return {"created": created, "duplicates": duplicates, "errors": errors, "total": len(usages)}, uses

    def _take(self, usage: object, feed: Feed) -> bool:
        """True if the usage is new."""
        if not isinstance(usage, dict):
            raise Rejected("INVALID_USAGE", "a usage must be an object")
        for name in REQUIRED_IDS:
            if not is_id(usage.get(name)):
                raise Rejected("INVALID_USAGE", f"{name}: must be a UUID in lower case")
        sale_id = usage.get("sale_external_id")
        if sale_id is not None and not is_id(sale_id):
            raise Rejected("INVALID_USAGE", "sale_external_id: must be a UUID in lower case")
        amount = usage.get("discount_amount")
        if amount is not None and not _is_decimal(amount):
            raise Rejected("INVALID_USAGE", "discount_amount: must be a decimal in a string")
        if self._db.row("SELECT 1 FROM usage WHERE external_id = ?", (usage["external_id"],)):
            return False
        if not feed.known("promotions", usage["promotion_id"]):
            raise Rejected("UNKNOWN_PROMOTION", f"head office never had promotion {usage['promotion_id']}")
        if sale_id is not None and not self._db.row("SELECT 1 FROM sale WHERE external_id = ?", (sale_id,)):
            raise Rejected("RETRY", f"sale {sale_id} has not arrived yet")
        texts = [storable(usage.get(name)) for name in ("device_id", "journal_id")]
        self._db.run(
            "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)",
            (usage["external_id"], *texts, usage["promotion_id"], sale_id, json.dumps(usage).encode(), utc_now()),
        )
        return True


def _is_decimal(value: object) -> bool:
    try:
        return isinstance(value, str) and Decimal(value).is_finite()
    except ArithmeticError:
        return False
