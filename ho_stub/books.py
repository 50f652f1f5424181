"""The books: sales taken once and for ever, refusals kept as receipts, usage logs (contract sections 5 and 6)."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from ho_stub.canonical import NotCanonical, canonical, fingerprint, one_off_id
from ho_stub.database import Database, DatabaseError
from ho_stub.feed import Feed
from ho_stub.rows import utc_now
from ho_stub.sale import SIGN, InvalidSale, Line, OneOff, Sale, exponent, is_id, read_sale
from ho_stub.stock import Stock

USAGE_FIELDS = ("external_id", "promotion_id")


class Rejected(Exception):
    """The sale is refused with one of the contract's codes."""

    def __init__(self, code: str, error: str) -> None:
        super().__init__(error)
        self.code = code


class Catalogue(Protocol):
    """What the books need of the world around them."""

    company_id: str
    db: Database
    feed: Feed
    stock: Stock

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
    """Every method that writes is a transaction of its own."""

    def __init__(self, world: Catalogue) -> None:
        self._world = world
        self._db = world.db

    # -- sales

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
        except NotCanonical as exc:
            self._refuse(raw, body, outcome, "INVALID_SALE", str(exc))
        except InvalidSale as exc:
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
        if held[1] != outcome.fingerprint:
            raise Rejected("PAYLOAD_MISMATCH", "head office holds another sale under this id")
        outcome.status, outcome.id = "duplicate", held[0]
        outcome.warnings, outcome.products = json.loads(held[2]), json.loads(held[3])
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
        self._mark_seen(sale.device_id, sale.journal_id, sale.device_seq, accepted=True)

    def _sequence_taken(self, sale: Sale) -> bool:
        """Whether another sale, accepted or refused, came under the same number of the same journal."""
        for table in ("sale", "refusal"):
            sql = f"SELECT 1 FROM {table} WHERE device_id = ? AND journal_id = ? AND device_seq = ? AND external_id IS NOT ?"  # noqa: S608
            if self._db.row(sql, (sale.device_id, sale.journal_id, sale.device_seq, sale.external_id)):
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
        outcome.status, outcome.id, outcome.code, outcome.error = "rejected", None, code, error
        outcome.warnings, outcome.products = [], {}
        body = body or json.dumps(raw).encode()
        sale = raw if isinstance(raw, dict) else {}
        texts = [
            sale[name] if isinstance(sale.get(name), str) else None
            for name in ("external_id", "device_id", "journal_id")
        ]
        seq = sale.get("device_seq")
        seq = seq if type(seq) is int and 0 < seq < 2**53 else None
        self._db.run(
            """INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (body_sha256) DO UPDATE
            SET code = excluded.code, error = excluded.error, attempts = attempts + 1""",
            (fingerprint(body), *(_storable(text) for text in texts), seq, code, error, body, utc_now()),
        )
        self._mark_seen(_storable(texts[1]), _storable(texts[2]), seq, accepted=False)

    # -- receipts

    def _mark_seen(self, device_id: str | None, journal_id: str | None, seq: int | None, *, accepted: bool) -> None:
        if device_id is None or journal_id is None or seq is None:
            return
        # A number stays accepted. Its stock change moves on, so that no snapshot begun earlier claims to contain it.
        self._db.run(
            """INSERT INTO seen VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET accepted = max(accepted, excluded.accepted),
            stock_seq = CASE WHEN excluded.accepted THEN excluded.stock_seq ELSE stock_seq END""",
            (device_id, journal_id, seq, accepted, self._world.stock.head()),
        )
        contiguous = self.contiguous_seq(device_id, journal_id)
        reached = contiguous
        while self._db.row(
            "SELECT 1 FROM seen WHERE device_id = ? AND journal_id = ? AND device_seq = ?",
            (device_id, journal_id, reached + 1),
        ):
            reached += 1
        if reached != contiguous:
            self._db.run("INSERT OR REPLACE INTO journal VALUES (?, ?, ?)", (device_id, journal_id, reached))

    def contiguous_seq(self, device_id: str, journal_id: str) -> int:
        """The last number up to which all of the journal's sales have been seen."""
        found = self._db.value(
            "SELECT contiguous_seq FROM journal WHERE device_id = ? AND journal_id = ?", (device_id, journal_id)
        )
        return int(found or 0)

    def seen_as_of(self, device_id: str, journal_id: str, stock_seq: int) -> dict[str, Any]:
        """The journal's sales that the stock figures contain up to a stock change (or that were refused)."""
        journal = (device_id, journal_id)
        later = {
            seq
            for (seq,) in self._db.rows(
                "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND stock_seq > ?",
                (*journal, stock_seq),
            )
        }
        contiguous = min([self.contiguous_seq(*journal), *(seq - 1 for seq in later)])
        beyond = [
            seq
            for (seq,) in self._db.rows(
                "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND device_seq > ? ORDER BY device_seq",
                (*journal, contiguous),
            )
            if seq not in later
        ]
        return {"contiguous_seq": contiguous, "beyond": ranges(beyond)}

    def receipts(self, device_id: str, journal_id: str) -> dict[str, Any]:
        """Section 6: what of a journal head office holds, has refused and lacks."""
        journal = (device_id, journal_id)
        contiguous = self.contiguous_seq(*journal)
        seen = self._db.rows(
            "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND device_seq > ? ORDER BY device_seq",
            (*journal, contiguous),
        )
        refused = self._db.rows(
            "SELECT device_seq FROM seen WHERE device_id = ? AND journal_id = ? AND NOT accepted ORDER BY device_seq",
            journal,
        )
        missing, expected = [], contiguous + 1
        for first, last in ranges(seq for (seq,) in seen):
            if first > expected:
                missing.append([expected, first - 1])
            expected = last + 1
        count = self._db.value("SELECT count(*) FROM sale WHERE device_id = ? AND journal_id = ?", journal)
        usages = self._db.value("SELECT count(*) FROM usage WHERE device_id = ? AND journal_id = ?", journal)
        return {
            "contiguous_seq": contiguous,
            "highest_seq": seen[-1][0] if seen else contiguous,
            "count": count,
            "missing": missing,
            "refused": [seq for (seq,) in refused],
            "total_amount": self.signed_total("declared", "WHERE device_id = ? AND journal_id = ?", journal),
            "usages": usages,
        }

    def signed_total(self, column: str, where: str = "", bound: tuple[object, ...] = ()) -> str:
        """An exact sum, refunds and voids subtracted, with the decimals of the currency."""
        sql = f"""SELECT exponent, sum(CASE kind WHEN 'sale' THEN {column} ELSE -{column} END) FROM sale {where}
          GROUP BY exponent"""  # noqa: S608 - constants of ours
        parts = self._db.rows(sql, bound)
        digits = max((digits for digits, _ in parts), default=2)
        total = sum((Decimal(units).scaleb(-exp) for exp, units in parts), Decimal(0))
        return f"{total:.{digits}f}"

    # -- single sales (baseline)

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

    # -- usage logs

    def take_usages(self, usages: list[object], *, native: bool) -> dict[str, Any]:
        """Book usage logs, each on its own. A baseline head office names an error by its data alone."""
        created = duplicates = 0
        errors: list[dict[str, Any]] = []
        for index, usage in enumerate(usages):
            try:
                with self._db.write():
                    new = self._take_usage(usage)
            except Rejected as exc:
                external_id = usage.get("external_id") if isinstance(usage, dict) else None
                named = {"index": index, "external_id": external_id, "code": exc.code} if native else {}
                errors.append(named | {"data": usage, "error": str(exc)})
                continue
            created, duplicates = (created + 1, duplicates) if new or not native else (created, duplicates + 1)
        return {"created": created, "duplicates": duplicates, "errors": errors, "total": len(usages)}

    def _take_usage(self, usage: object) -> bool:
        """True if the usage is new."""
        if not isinstance(usage, dict):
            raise Rejected("INVALID_USAGE", "a usage must be an object")
        for name in USAGE_FIELDS:
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
        if not self._world.feed.known("promotions", usage["promotion_id"]):
            raise Rejected("UNKNOWN_PROMOTION", f"head office never had promotion {usage['promotion_id']}")
        if sale_id is not None and not self._db.row("SELECT 1 FROM sale WHERE external_id = ?", (sale_id,)):
            raise Rejected("RETRY", f"sale {sale_id} has not arrived yet")
        texts = [_storable(usage.get(name)) for name in ("device_id", "journal_id")]
        self._db.run(
            "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)",
            (usage["external_id"], *texts, usage["promotion_id"], sale_id, json.dumps(usage).encode(), utc_now()),
        )
        return True

    # -- reading

    def list_sales(self, where: str, bound: list[object], limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """Sales by business date, newest last, and how many there are."""
        count = self._db.value(f"SELECT count(*) FROM sale {where}", bound)  # noqa: S608 - built from constants
        names = (
            "id",
            "external_id",
            "kind",
            "business_date",
            "currency",
            "store_id",
            "device_id",
            "journal_id",
            "device_seq",
            "received_at",
        )
        sql = f"SELECT {', '.join(names)}, exponent, total FROM sale {where} ORDER BY business_date, received_at, id LIMIT ? OFFSET ?"  # noqa: S608
        found = self._db.rows(sql, [*bound, limit, offset])
        return count, [
            dict(zip(names, row, strict=False)) | {"total_amount": f"{Decimal(row[-1]).scaleb(-row[-2]):.{row[-2]}f}"}
            for row in found
        ]

    def heartbeat(self, device_id: str, body: bytes) -> None:
        """Keep a device's last sign of life."""
        with self._db.write():
            self._db.run("INSERT OR REPLACE INTO heartbeat VALUES (?, ?, ?)", (device_id, body, utc_now()))


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] ranges."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def business_day(text: str) -> str:
    """A date, checked.

    Raises:
        ValueError: if it is none.
    """
    return date.fromisoformat(text).isoformat()


def _minor(amount: Decimal, digits: int) -> int:
    return int(amount.scaleb(digits))


def _money_text(amount: Decimal, currency: str) -> str:
    return f"{amount:.{exponent(currency)}f}"


def _is_decimal(value: object) -> bool:
    try:
        return isinstance(value, str) and Decimal(value).is_finite()
    except ArithmeticError:
        return False


def _storable(text: object) -> str | None:
    """Text that SQLite can keep: no half of a surrogate pair."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else None
