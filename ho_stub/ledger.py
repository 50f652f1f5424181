"""The ledger: what was taken and refused, read back in exact sums."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ho_stub.database import Database

LISTED = (
    "id", "external_id", "kind", "business_date", "currency", "store_id", "device_id", "journal_id", "device_seq",
    "received_at",
)  # fmt: skip
SIGNED = (
    "SELECT exponent, sum(CASE kind WHEN 'sale' THEN {column} ELSE -{column} END) FROM sale {where} GROUP BY exponent"
)


ARRIVED = "ORDER BY received_at, device_id, journal_id, device_seq, id"


class Ledger:
    """Reads only. Totals are head office's own (the lines' sums), unless said otherwise."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def total(self) -> str:
        """The sum of all sales, refunds and voids subtracted."""
        return self._sum(SIGNED.format(column="total", where=""))

    def journal_total(self, device_id: str, journal_id: str) -> str:
        """The sum of a journal's declared totals, refunds and voids subtracted."""
        where = "WHERE device_id = ? AND journal_id = ?"
        return self._sum(SIGNED.format(column="declared", where=where), device_id, journal_id)

    def _sum(self, sql: str, *bound: str) -> str:
        parts = self._db.rows(sql, bound)
        digits = max((digits for digits, _ in parts), default=2)
        total = sum((Decimal(units).scaleb(-exponent) for exponent, units in parts), Decimal(0))
        return f"{total:.{digits}f}"

    def sale_count(self) -> int:
        """How many sales were accepted."""
        return int(self._db.value("SELECT count(*) FROM sale"))

    def line_count(self) -> int:
        """How many lines the accepted sales have."""
        return int(self._db.value("SELECT count(*) FROM sale_line"))

    def page(self, where: str, bound: list[object], limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """How many sales there are, and some of them by business date, oldest first. `where` is built of constants."""
        count = self._db.value(f"SELECT count(*) FROM sale {where}", bound)  # noqa: S608
        sql = f"SELECT {', '.join(LISTED)}, exponent, total FROM sale {where} "  # noqa: S608
        found = self._db.rows(
            f"{sql} ORDER BY business_date, received_at, id LIMIT ? OFFSET ?", [*bound, limit, offset]
        )
        return count, [
            dict(zip(LISTED, listed, strict=True)) | {"total_amount": _money(total, digits)}
            for *listed, digits, total in found
        ]

    def sales(self) -> list[dict[str, Any]]:
        """Every sale taken, then every one refused and not taken since: `state`, and the body as received."""
        return [*self._accepted(), *self._refused()]

    def _accepted(self) -> Iterator[dict[str, Any]]:
        sql = f"SELECT {', '.join(LISTED)}, exponent, total, declared, warnings, products, body FROM sale {ARRIVED}"  # noqa: S608
        for *listed, digits, total, declared, warnings, products, body in self._db.rows(sql):
            yield {
                "state": "accepted",
                **dict(zip(LISTED, listed, strict=True)),
                "total": _money(total, digits),
                "declared_total": _money(declared, digits),
                "warnings": json.loads(warnings),
                "products": json.loads(products),
                "body": json.loads(body),
            }

    def _refused(self) -> Iterator[dict[str, Any]]:
        sql = """SELECT external_id, device_id, journal_id, device_seq, code, error, attempts, body FROM refusal
          WHERE code = 'PAYLOAD_MISMATCH' OR external_id IS NULL OR external_id NOT IN (SELECT external_id FROM sale)
          ORDER BY received_at, device_seq, body_sha256"""
        names = ("external_id", "device_id", "journal_id", "device_seq", "code", "error", "attempts")
        for *values, raw in self._db.rows(sql):
            body = json.loads(raw)
            sale = body if isinstance(body, dict) else {}
            said = {"kind": sale.get("kind"), "total": sale.get("total_amount"), "body": body}
            yield {"state": "refused", **dict(zip(names, values, strict=True)), **said}


def _money(units: int, digits: int) -> str:
    return f"{Decimal(units).scaleb(-digits):.{digits}f}"
