"""The books: each sale is taken once and for ever, or refused with its reason and kept (contract section 5)."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from ho_stub.alerts import Alerts
from ho_stub.canonical import INTEGER_MAX, NotCanonical, canonical, fingerprint, one_off_id
from ho_stub.database import Database, DatabaseError
from ho_stub.errors import Rejected
from ho_stub.feed import Feed
from ho_stub.receipts import Receipts
from ho_stub.rows import utc_now
from ho_stub.sale import SIGN, InvalidSale, Line, OneOff, Sale, exponent, read_sale, storable
from ho_stub.stock import Stock


class Catalogue(Protocol):
    """What the books need of the world around them."""

    company_id: str
    db: Database
    feed: Feed
    stock: Stock
    alerts: Alerts
    receipts: Receipts

    def store(self, store_id: str) -> dict[str, Any] | None:
        """A store of the company, or None."""

    def put(self, dataset: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """Insert or replace a catalogue row."""


@dataclass
class Outcome:
    """What becomes of one sale; `result()` is the contract's JSON for it."""

    external_id: object
    fingerprint: str | None = None
    status: str = "rejected"
    id: str | None = None
    code: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)
    products: dict[str, str] = field(default_factory=dict)

    def result(self) -> dict[str, Any]:
        """One entry of `results`."""
        return dict(vars(self))


class Books:
    """Each sale is a transaction of its own; inside a batch, a savepoint."""

    def __init__(self, world: Catalogue) -> None:
        self._world = world
        self._db = world.db

    def take(self, raw: object) -> Outcome:
        """Judge and book one sale of a batch; a failure of ours answers `retry` and leaves no trace."""
        outcome = Outcome(raw.get("external_id") if isinstance(raw, dict) else None)
        try:
            with self._db.write():
                self._judge(raw, outcome)
        except DatabaseError as exc:
            return Outcome(outcome.external_id, outcome.fingerprint, "retry", None, "INTERNAL_ERROR", str(exc))
        return outcome

    def _judge(self, raw: object, outcome: Outcome) -> None:
        body = b""
        try:
            if not isinstance(raw, dict):
                raise Rejected("INVALID_SALE", "a sale must be an object")
            body = canonical(raw)
            outcome.fingerprint = fingerprint(body)
            if self._answered_before(raw, outcome):
                return
            sale = read_sale(raw)
            self._check_place(sale)
            with self._db.write():
                self._book(sale, body, outcome)
        except (NotCanonical, InvalidSale) as exc:
            self._refuse(raw, body, outcome, "INVALID_SALE", str(exc))
        except Rejected as exc:
            self._refuse(raw, body, outcome, exc.code, str(exc))

    def _answered_before(self, raw: dict[str, Any], outcome: Outcome) -> bool:
        """The very sale we hold is a duplicate, for ever; the same id with another body is not it."""
        if not isinstance(raw.get("external_id"), str):
            return False
        held = self._db.row(
            "SELECT id, fingerprint, warnings, products FROM sale WHERE external_id = ?", (raw["external_id"],)
        )
        if held is None:
            return False
        if held[1] is None and self._adopt(raw, held[0], outcome):
            held = (held[0], outcome.fingerprint, *held[2:])
        if held[1] != outcome.fingerprint:
            raise Rejected("PAYLOAD_MISMATCH", "head office holds another sale under this id")
        outcome.status, outcome.id = "duplicate", held[0]
        outcome.warnings, outcome.products = json.loads(held[2]), json.loads(held[3])
        return True

    def _adopt(self, raw: dict[str, Any], sale_id: str, outcome: Outcome) -> bool:
        """A sale that came in the baseline form, before head office took batches, gets its fingerprint and sequence."""
        sale = read_sale(raw)
        took = self._db.row("SELECT store_id, kind, total FROM sale WHERE id = ?", (sale_id,))
        if took != (sale.store_id, sale.kind, _minor(sale.total, exponent(sale.currency))):
            return False
        self._db.run(
            "UPDATE sale SET fingerprint = ?, device_id = ?, journal_id = ?, device_seq = ?, body = ? WHERE id = ?",
            (outcome.fingerprint, sale.device_id, sale.journal_id, sale.device_seq, canonical(raw), sale_id),
        )
        self._world.receipts.mark(sale.device_id, sale.journal_id, sale.device_seq, accepted=True)
        return True

    def _check_place(self, sale: Sale) -> None:
        store = self._world.store(sale.store_id)
        if store is None:
            raise Rejected("UNKNOWN_STORE", f"no store {sale.store_id} in this company")
        if sale.currency != store["currency"]:
            raise Rejected("CURRENCY_MISMATCH", f"this store sells in {store['currency']}, not {sale.currency}")

    def _book(self, sale: Sale, body: bytes, outcome: Outcome) -> None:
        """Write an acceptable sale: lines, stock, prices, sequence number."""
        if sale.device_id and sale.journal_id and sale.device_seq and self._sequence_taken(sale):
            outcome.warnings.append("SEQ_CONFLICT")
        if sale.total != sale.declared:
            outcome.warnings.append("TOTAL_MISMATCH")
        outcome.status, outcome.id = "created", str(uuid.uuid4())
        products = [self._product_of(line, sale, outcome) for line in sale.lines]
        for line, product_id in zip(sale.lines, products, strict=True):
            self._move(line, product_id, sale)
        self._world.alerts.settle(sale.store_id, products)
        digits = exponent(sale.currency)
        self._db.run(
            "INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                outcome.id, sale.external_id, outcome.fingerprint, sale.device_id, sale.journal_id, sale.device_seq,
                sale.store_id, sale.kind, sale.business_date, sale.currency, digits, _minor(sale.total, digits),
                _minor(sale.declared, digits), json.dumps(outcome.warnings), json.dumps(outcome.products), body,
                utc_now(),
            ),
        )  # fmt: skip
        self._db.run_many(
            "INSERT INTO sale_line VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (outcome.id, line.number, product_id, _minor(line.quantity, 3), _minor(line.unit_price, digits),
                 _minor(line.discount, digits), _minor(line.amount, digits))
                for line, product_id in zip(sale.lines, products, strict=True)
            ],
        )  # fmt: skip
        self._world.receipts.mark(sale.device_id, sale.journal_id, sale.device_seq, accepted=True)

    def _sequence_taken(self, sale: Sale) -> bool:
        """Whether another sale, accepted or refused, came under the same number of the same journal."""
        for table in ("sale", "refusal"):
            sql = f"SELECT 1 FROM {table} WHERE device_id = ? AND journal_id = ? AND device_seq = ? "  # noqa: S608
            place = (sale.device_id, sale.journal_id, sale.device_seq, sale.external_id)
            if self._db.row(f"{sql} AND (external_id IS NULL OR external_id <> ?)", place):
                return True
        return False

    def _product_of(self, line: Line, sale: Sale, outcome: Outcome) -> str:
        if line.one_off is not None:
            product_id = self._match_or_make(line.one_off, sale)
            outcome.products[line.one_off.sku] = product_id
            return product_id
        assert line.product_id is not None
        if not self._world.feed.known("products", line.product_id):
            raise Rejected(
                "UNKNOWN_PRODUCT", f"items[{line.number - 1}].product: head office never had {line.product_id}"
            )
        return line.product_id

    def _match_or_make(self, one_off: OneOff, sale: Sale) -> str:
        """An existing SKU is matched, not doubled; a new one gets the id that every till gives it."""
        store = self._world.store(sale.store_id) or {}
        product_id = self._world.feed.product_by_sku(one_off.sku, store.get("brand_id"))
        if product_id is not None:
            return product_id
        product_id = one_off_id(self._world.company_id, one_off.sku)
        if not self._world.feed.known("products", product_id):
            made = {"id": product_id, "sku": one_off.sku, "name": one_off.name, "brand_id": store.get("brand_id")}
            price = {"price": _money_text(one_off.unit_price, sale.currency), "is_volatile": one_off.is_volatile}
            self._world.put("products", made | price)
        return product_id

    def _move(self, line: Line, product_id: str, sale: Sale) -> None:
        """Tracked: stock goes down, whatever is left. Volatile: the last used price becomes the product's."""
        product = self._world.feed.product(product_id)
        if product is None:  # deleted since
            return
        if not product[0]:
            self._world.stock.move(sale.store_id, product_id, -SIGN[sale.kind] * _minor(line.quantity, 3))
            return
        row = self._world.feed.get("products", product_id)
        price = _money_text(line.unit_price, sale.currency)
        if row is not None and sale.kind == "sale" and row.get("price") != price:
            self._world.put("products", row | {"price": price, "updated_at": None})

    def _refuse(self, raw: object, body: bytes, outcome: Outcome, code: str, error: str) -> None:
        """A rejection is a receipt: the body is kept, and its sequence number counts as seen."""
        outcome.status, outcome.id, outcome.code, outcome.error = "rejected", None, code, error
        outcome.warnings, outcome.products = [], {}
        body = body or json.dumps(raw).encode()
        sale = raw if isinstance(raw, dict) else {}
        external_id, device_id, journal_id = (
            storable(sale.get(name)) for name in ("external_id", "device_id", "journal_id")
        )
        seq = sale.get("device_seq")
        seq = seq if type(seq) is int and 0 < seq <= INTEGER_MAX else None
        self._db.run(
            """INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (body_sha256) DO UPDATE
            SET code = excluded.code, error = excluded.error, attempts = refusal.attempts + 1""",
            (fingerprint(body), external_id, device_id, journal_id, seq, code, error, body, utc_now()),
        )
        self._world.receipts.mark(device_id, journal_id, seq, accepted=False)

    def take_single(self, sale: Sale, raw: dict[str, Any]) -> Outcome:
        """Book a sale in the baseline form; the id alone tells a duplicate.

        Raises:
            Rejected: UNKNOWN_PRODUCT; nothing was booked.
        """
        with self._db.write():
            outcome = Outcome(sale.external_id)
            held = self._db.row("SELECT id, products FROM sale WHERE external_id = ?", (sale.external_id,))
            if held is not None:
                outcome.status, outcome.id, outcome.products = "duplicate", held[0], json.loads(held[1])
                return outcome
            self._book(sale, json.dumps(raw).encode(), outcome)
            return outcome


def _minor(amount: Decimal, digits: int) -> int:
    return int(amount.scaleb(digits))


def _money_text(amount: Decimal, currency: str) -> str:
    return f"{amount:.{exponent(currency)}f}"
