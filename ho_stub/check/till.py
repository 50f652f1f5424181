"""A made-up till: sales of a marked product, sent as a till sends them (section 5)."""

import json
import uuid
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from ho_stub.check.line import Answer
from ho_stub.check.visit import Visit, Whole

SKU = "CONFORMANCE-CHECK"
NAME = "Conformance check (not for sale)"
MARK = "conformance check"
NO_CENTS = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "ISK",
    "JPY",
    "KMF",
    "KRW",
    "PYG",
    "RWF",
    "UGX",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
MILS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")


def canonical(value: object) -> bytes:
    """Canonical JSON (RFC 8785) of what a sale holds: names in the order of their UTF-16 code units."""
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value, key=lambda name: str(name).encode("utf-16-be"))}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def fingerprint(sale: dict[str, Any]) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return sha256(canonical(sale)).hexdigest()


class Till:
    """Its own device and journal. `accepted`: sales that head office has taken and that are to be balanced."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.seq = 0
        self.accepted: list[dict[str, Any]] = []
        self.refused: list[int] = []

    @cached_property
    def currency(self) -> str:
        """The store's currency."""
        return str(self._visit.store().get("currency") or "IDR")

    @property
    def step(self) -> Decimal:
        """The smallest amount of money there is."""
        return Decimal(1).scaleb(-(0 if self.currency in NO_CENTS else 3 if self.currency in MILS else 2))

    @cached_property
    def before(self) -> tuple[Answer, Whole]:
        """The version and the products as they were before the first sale."""
        return self._visit.ask_version(), self._visit.pull("products")

    @cached_property
    def marked_product(self) -> dict[str, Any] | None:
        """The marked product, if an earlier check left it there."""
        return next((row for row in self.before[1].rows if row.get("sku") == SKU), None)

    @cached_property
    def price(self) -> str:
        """Another price than the marked product has: selling it at this one is an edit."""
        try:
            now = round(Decimal(str((self.marked_product or {}).get("price"))), 3)
        except ArithmeticError:
            now = Decimal(0)
        return "2" if now == 1 else "1"

    def item(self, quantity: str = "1", price: str | None = None, product: str | None = None) -> dict[str, Any]:
        """One line: of the marked product, or of another one."""
        price = price or self.price
        line: dict[str, Any] = {"line": 1, "quantity": quantity, "unit_price": price}
        if product is not None:
            return line | {"product": product}
        made_up = {"id": self.one_off_id, "sku": SKU, "name": NAME, "unit_price": price, "is_volatile": True}
        return line | {"product_data": made_up}

    @property
    def one_off_id(self) -> str:
        """The id that every till gives the marked product."""
        return str(uuid.uuid5(uuid.UUID(self._visit.company_id), f"product:{SKU}"))

    def sale(self, item: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """The next sale of the journal."""
        self.seq += 1
        item = item or self.item()
        amount = Decimal(item["quantity"]) * Decimal(item["unit_price"])
        total = str(amount.quantize(self.step, ROUND_HALF_UP))
        return {
            "external_id": str(uuid.uuid4()),
            "store_id": self._visit.options.store_id,
            "device_id": self._visit.device_id,
            "journal_id": self._visit.journal_id,
            "device_seq": self.seq,
            "kind": "sale",
            "refers_to": None,
            "reason": None,
            "receipt_number": f"CHECK-{self.seq:06}",
            "business_date": self.business_date,
            "client_timestamp": _now(),
            "cashier_id": None,
            "customer_id": None,
            "currency": self.currency,
            "items": [item],
            "payments": [{"method": "cash", "amount": total, "rounding": "0", "reference": MARK}],
            "total_amount": total,
            "extra": {"note": MARK, "\ufb33": 1, "\U0001f600": 2},  # two names whose order is that of UTF-16
        } | fields

    @property
    def sale_time(self) -> str:
        """This moment, as sales carry it."""
        return _now()

    @property
    def business_date(self) -> str:
        """Today in the store, by this machine's clock."""
        zone = self._visit.store().get("timezone")
        return datetime.now(ZoneInfo(zone) if isinstance(zone, str) else UTC).date().isoformat()

    def void_of(self, sale: dict[str, Any]) -> dict[str, Any]:
        """What takes a sale back."""
        return self.sale(sale["items"][0], kind="void", refers_to=sale["external_id"], reason=MARK)

    def send(self, *sales: Any, **how: Any) -> dict[str, dict[str, Any]]:
        """Send sales as one batch; results by external_id. Notes what was accepted. Raises NotTheContract."""
        body = self.envelope(*sales)
        answer = self._visit.post("sales", body, **how)
        self._visit.notes["last batch"] = answer.object()
        results = {str(result["external_id"]): result for result in answer.object()["results"]}
        for sale in sales:
            result = results.get(sale["external_id"], {})
            if result.get("status") == "created":
                self.accepted.append(sale)
            elif result.get("status") == "rejected" and result.get("code") != "PAYLOAD_MISMATCH":
                self.refused.append(sale["device_seq"])
        return results

    def envelope(self, *sales: Any) -> dict[str, Any]:
        """The body of a batch."""
        return {"device_id": self._visit.device_id, "clock_offset_ms": 0, "sales": list(sales)}

    @cached_property
    def first(self) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]], dict[str, Any]]:
        """The first batch: a good sale, one of an unknown product, a good one. The sales, results and whole answer."""
        _ = self.before
        product = str(uuid.uuid4())
        sales = [self.sale(), self.sale(self.item(product=product)), self.sale()]
        results = self.send(*sales)
        return sales, results, self._visit.notes["last batch"]

    # -- the baseline's one sale at a time

    def single(self, **fields: Any) -> dict[str, Any]:
        """A sale in the baseline's form."""
        item = self.item()
        return {
            "items": [{name: value for name, value in item.items() if name != "line"}],
            "external_id": str(uuid.uuid4()),
            "source_device": self._visit.device_id,
            "client_timestamp": _now(),
            "business_date": self.business_date,
        } | fields

    def post_single(self, sale: dict[str, Any]) -> Answer:
        """Send it."""
        return self._visit.ask("POST", self._visit.options.sales_path, body=sale)

    @cached_property
    def first_single(self) -> tuple[dict[str, Any], Answer, Answer]:
        """A sale, its answer, and the answer to the same again at once."""
        _ = self.before
        sale = self.single()
        return sale, self.post_single(sale), self.post_single(sale)

    def held(self, external_id: str) -> list[dict[str, Any]] | None:
        """What head office lists under an id; None where it can't be asked."""
        answer = self._visit.ask("GET", self._visit.options.sales_path, params={"external_id": external_id})
        listed = answer.json.get("results") if answer.status == 200 and isinstance(answer.json, dict) else None
        if not isinstance(listed, list):
            return None
        return [one for one in listed if one.get("external_id") == external_id]

    @property
    def sold(self) -> bool:
        """Whether head office took the first sale; it is sent by then."""
        if "sales_batch" in self._visit.announced:
            sales, results, _ = self.first
            return results.get(sales[0]["external_id"], {}).get("status") == "created"
        return self.first_single[1].status in (200, 201)

    @property
    def a_sale_id(self) -> str:
        """The id of a sale that head office has taken."""
        if "sales_batch" in self._visit.announced:
            return str(self.first[0][0]["external_id"])
        return str(self.first_single[0]["external_id"])


def till_of(visit: Visit) -> Till:
    """The visit's one till."""
    till: Till = visit.notes.setdefault("till", Till(visit))
    return till


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
