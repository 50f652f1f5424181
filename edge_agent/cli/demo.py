"""The demo: a shop's day on a real grocer's data, against the head-office stub, and whether the books agree.

The only place where the agent and the stub meet: the stub runs in this process on a loopback port, and its books are
read from its own side.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.agent import EdgeAgent
from edge_agent.cli.output import print_json, print_table, progress_bar
from edge_agent.cli.replay import Basket, ReplayError, by_code, read_baskets, store_codes
from edge_agent.clock import Clock
from edge_agent.domain.calendar import clock_time, zone
from edge_agent.domain.sale import Item, OneOff, Payment
from edge_agent.errors import InvalidSettings
from edge_agent.settings import make_settings
from edge_agent.setup import set_up
from edge_agent.status import in_words

if TYPE_CHECKING:
    from ho_stub.testing import HeadOffice

PRICES_CHANGED = 25
_DEVICE = "pos-01"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the reconciliation."""

    what: str
    source: str
    till: str
    head_office: str

    @property
    def agrees(self) -> bool:
        """Whether everyone who has a figure has the same."""
        return len({figure for figure in (self.source, self.till, self.head_office) if figure != "—"}) == 1


def run_demo(data: Path | None, *, keep: bool, as_json: bool) -> bool:
    """Play the day.

    Args:
        data: a folder in the complete-journey layout; None for the shipped sample.
        keep: leave the device's home behind.
        as_json: print the reconciliation as JSON on stdout, and nothing else there.

    Returns:
        Whether the source, the till and head office agree in everything.

    Raises:
        InvalidSettings: the stub's server is not installed, or the data can't be read.
    """
    try:
        import ho_stub
        from ho_stub.testing import HeadOffice
    except ImportError as error:
        raise InvalidSettings(
            "demo",
            f"the demo's head office is not installed ({error.name})",
            hint="pip install 'edge-sync-agent[stub]'",
        ) from None
    folder = data or Path(ho_stub.__file__).parent / "sample"
    home = Path(tempfile.mkdtemp(prefix="edge-agent-demo-"))
    say = _Narrator(quiet=as_json)
    started = time.monotonic()
    try:
        store = store_codes(folder)[0]
        say.step("Head office opens, with a real grocer's products and coupons")
        with HeadOffice(data=str(folder) if data else "sample") as office:
            office.world.set_settings(sync_strategy="all_active")  # the data is of 2017
            comparisons = _Day(office, home, folder, store, say).play()
    except (ReplayError, ValueError) as error:
        raise InvalidSettings("--data", str(error), hint="See the README for the files it needs.") from error
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)
    agree = all(line.agrees for line in comparisons)
    _print_reconciliation(comparisons, agree, as_json, time.monotonic() - started)
    if keep and not as_json:
        print(f"\nThe device's home is kept. Look around with:\n  export EDGE_AGENT_HOME={home}")
        print("  edge-agent status\n  edge-agent products search milk\n  edge-agent outbox list --state delivered")
    return agree


class _Narrator:
    """Tells the day on stdout, or nothing when a program reads it."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._number = 0

    def step(self, text: str) -> None:
        self._number += 1
        self.line(f"\n{self._number}. {text}")

    def line(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def lines(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.line(f"   {text}")


class _Day:
    """One day of one till, in the order it happens."""

    def __init__(self, office: HeadOffice, home: Path, folder: Path, store: str, say: _Narrator) -> None:
        self.office = office
        self.home = home
        self.folder = folder
        self.store = store
        self.say = say
        self.usages = 0
        self.wrong_lines = 0

    def play(self) -> list[Comparison]:
        office, say = self.office, self.say
        say.lines([f"It answers at {office.url}, as any head office would: over HTTP, to a signed-in device."])
        settings = make_settings(
            {
                "url": office.url,
                "username": office.username,
                "company_id": office.company_id,
                "store_id": office.store_id,
                "brand_id": office.brand_id,
                "device_id": _DEVICE,
            }
        )
        set_up(self.home, settings, office.password, Clock())
        with EdgeAgent.open(self.home) as agent:
            say.step("The till pulls its catalogue")
            self._sync(agent)
            self._say_catalogue(agent)
            say.step("The line fails: head office is stopped")
            office.stop()
            say.lines([f"{office.url} refuses every connection from here on."])
            say.step("The shop goes on selling")
            baskets = list(read_baskets(self.folder, self.store, clock_time(self._fact("day_start"))))
            self._sell(agent, baskets)
            say.step("A shop assistant asks: edge-agent status")
            say.lines(in_words(agent.status(), dt.datetime.now(dt.UTC)))
            say.step("Someone tries a sync all the same: edge-agent sync")
            say.lines([f"{error.message}. {error.hint}" for error in agent.sync().errors])
            say.step("The line is back")
            office.start()
            self._sync(agent)
            say.lines(in_words(agent.status(), dt.datetime.now(dt.UTC)))
            say.step("Head office changes prices and deletes a product; the till follows")
            self._edit_at_head_office(agent)
            self._sync(agent)
            say.step("Reconciliation")
            return self._reconcile(agent, baskets)

    def _fact(self, key: str) -> str | None:
        store = self.office.world.store(self.office.store_id)
        return None if store is None else store.get(key)

    def _sync(self, agent: EdgeAgent) -> None:
        begun = time.monotonic()
        with progress_bar() as progress:
            report = agent.sync(progress=progress)
        for cause in report.causes:
            raise cause
        moved = [f"{p.upserts:,} {n}" for n, p in report.pulled.items() if p.upserts]
        gone = sum(pulled.deletes for name, pulled in report.pulled.items() if name != "stock")
        parts = [f"came down: {', '.join(moved)}"] if moved else []
        parts += [f"{gone} gone"] if gone else []
        if report.pushed.created:
            parts.append(f"went up: {report.pushed.created:,} sales, {report.pushed_usages.created:,} promotion uses")
        self.say.lines([f"{'; '.join(parts) or 'nothing to do'} ({time.monotonic() - begun:.1f} s)"])

    def _say_catalogue(self, agent: EdgeAgent) -> None:
        found = agent.catalog.search("choc milk", limit=1)
        if found.products:
            product = found.products[0]
            self.say.lines([f"For “choc milk” it finds {found.total}, first {product.name} at {product.price}."])

    # ---- selling ---------------------------------------------------------------------------------------------

    def _sell(self, agent: EdgeAgent, baskets: Sequence[Basket]) -> None:
        promotions = by_code([promotion.fields for promotion in agent.catalog.all_promotions()])
        tz = zone(self._fact("timezone"))
        took: list[float] = []
        with progress_bar() as progress:
            for number, basket in enumerate(baskets, 1):
                begun = time.perf_counter()
                self._sell_one(agent, basket, promotions, tz)
                took.append(time.perf_counter() - begun)
                progress("selling offline", number, len(baskets))
        took.sort()
        lines = sum(len(basket.lines) for basket in baskets)
        half, slowest = took[len(took) // 2] * 1000, took[-1] * 1000
        self.say.lines(
            [
                f"{len(baskets):,} baskets, {lines:,} lines and {self.usages:,} promotion uses recorded, all offline.",
                f"Nothing waited for the network: half of the baskets took under {half:.1f} ms, uses included,",
                f"the slowest {slowest:.0f} ms, and each was safe on disk before the next.",
            ]
        )

    def _sell_one(self, agent: EdgeAgent, basket: Basket, promotions: dict[str, str], tz: dt.tzinfo) -> None:
        uses: dict[int, list[str]] = {}
        for use in basket.uses:
            uses.setdefault(use.line_no, []).append(promotions[use.code])
        items = []
        for line in basket.lines:
            product = agent.catalog.by_sku(line.product_id) if line.known else None
            items.append(
                Item(
                    product=product.id if product else None,
                    product_data=None if product else OneOff(line.product_id, line.name),
                    quantity=line.quantity,
                    unit_price=line.unit_price,
                    discount=line.discount,
                    promotion_ids=uses.get(line.line_no, ()),
                )
            )
        sale = agent.record_sale(
            items,
            [Payment(method, amount) for method, amount in basket.payments] or [Payment("cash", "0.00")],
            receipt_number=basket.basket_id,
            business_date=basket.business_date,
            client_timestamp=basket.timestamp.replace(tzinfo=tz),
            extra={"household": basket.household_id},
        )
        for use in basket.uses:
            agent.record_usage(promotions[use.code], use.amount, sale=sale, line=use.line_no)
        self.usages += len(basket.uses)

    # ---- comparing -------------------------------------------------------------------------------------------

    def _edit_at_head_office(self, agent: EdgeAgent) -> None:
        world = self.office.world
        priced = [product for product in agent.catalog.search("", limit=10**6).products if product.price is not None]
        for product in priced[:PRICES_CHANGED]:
            world.edit("products", product.id, price=f"{(product.price or Decimal(0)) + Decimal('0.10'):.2f}")
        deleted = priced[-1]
        world.delete("products", deleted.id)
        self.say.lines([f"{min(PRICES_CHANGED, len(priced))} prices go up by 0.10; {deleted.name} is deleted."])

    def _reconcile(self, agent: EdgeAgent, baskets: Sequence[Basket]) -> list[Comparison]:
        world = self.office.world
        books = {sale["body"]["receipt_number"]: sale for sale in world.sales() if sale["state"] == "accepted"}
        journal = {
            line.external_id: line for line in agent.outbox(state="delivered", limit=10**9) if line.lane == "sales"
        }
        till_total = sum((Decimal(line.total_amount or 0) for line in journal.values()), Decimal("0.00"))
        till_lines = sum(_line_count(agent, sale_id) for sale_id in journal)
        source_total = sum((basket.total for basket in baskets), Decimal("0.00"))
        odd = sum(
            1
            for basket in baskets
            if basket.basket_id not in books or not _same_lines(basket, books[basket.basket_id]["body"])
        )
        status = agent.status()
        result = [
            Comparison("baskets", _n(len(baskets)), _n(len(journal)), _n(world.sale_count())),
            Comparison("lines", _n(sum(len(b.lines) for b in baskets)), _n(till_lines), _n(world.line_count())),
            Comparison("total", f"{source_total:,}", f"{till_total:,}", f"{Decimal(world.ledger_total()):,}"),
            Comparison("total, as head office receipts it", "—", f"{till_total:,}", self._receipted(agent)),
            Comparison("baskets with a line that differs", "0", "—", _n(odd)),
            Comparison("promotion uses", _n(self.usages), _n(self.usages), _n(world.usage_count())),
            Comparison("waiting or refused", "—", _n(status["pending"] + status["quarantined"]), "0"),
        ]
        for dataset in ("categories", "products", "promotions"):
            mine, theirs = _till_rows(agent, dataset), {row["id"]: row for row in world.rows(dataset)}
            differ = sum(mine.get(key) != theirs.get(key) for key in mine.keys() | theirs.keys())
            result.append(Comparison(dataset, "—", _n(len(mine)), _n(len(theirs))))
            result.append(Comparison(f"{dataset} that differ", "—", _n(differ), "0"))
        return result

    def _receipted(self, agent: EdgeAgent) -> str:
        """What head office says over the wire that it holds of this till's journal."""
        client = agent.head_office()
        try:
            receipts = client.receipts(device_id=_DEVICE, journal_id=str(agent.status()["journal"]["id"]))
        finally:
            client.close()
        return f"{Decimal(receipts.total_amount):,}"


def _n(count: int) -> str:
    return f"{count:,}"


def _line_count(agent: EdgeAgent, external_id: str) -> int:
    recorded = agent.sale_record(external_id)
    fields = recorded.fields() if recorded else None
    return len(fields["items"]) if fields else 0


def _same_lines(basket: Basket, body: dict[str, Any]) -> bool:
    """Whether head office's copy of a basket has, line by line, what the shop received."""
    cent = Decimal("0.01")
    amounts = [
        (Decimal(item["quantity"]) * Decimal(item["unit_price"]) - Decimal(item.get("discount", "0"))).quantize(
            cent, "ROUND_HALF_UP"
        )
        for item in body["items"]
    ]
    return amounts == [line.amount for line in basket.lines]


def _till_rows(agent: EdgeAgent, dataset: str) -> dict[str, Any]:
    """The rows a till has of a dataset, by id."""
    catalog = agent.catalog
    if dataset == "products":
        return {product.id: product.fields for product in catalog.search("", limit=10**7).products}
    if dataset == "promotions":
        return {promotion.id: promotion.fields for promotion in catalog.all_promotions()}
    rows: dict[str, Any] = {}
    waiting = list(catalog.categories())
    while waiting:
        category = waiting.pop()
        rows[category.id] = category.fields
        waiting += category.children
    return rows


def _print_reconciliation(comparisons: Sequence[Comparison], agree: bool, as_json: bool, took_s: float) -> None:
    if as_json:
        lines = [{**asdict(line), "agrees": line.agrees} for line in comparisons]
        print_json({"schema": 1, "reconciliation": lines, "agrees": agree, "seconds": round(took_s, 1)})
        return
    print_table(
        ("", "the data", "the till", "head office", ""),
        [(c.what, c.source, c.till, c.head_office, "agrees" if c.agrees else "DIFFERS") for c in comparisons],
        numeric=("the data", "the till", "head office"),
    )
    different = [line.what for line in comparisons if not line.agrees]
    print(f"\nDifferences: {', '.join(different) if different else 'none'}. ({took_s:.1f} s)")
    if different:
        print("edge-agent: the books do not agree; this is a fault, please report it.", file=sys.stderr)
