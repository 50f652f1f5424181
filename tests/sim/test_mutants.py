"""The simulator bites: an agent broken on purpose is found out within some runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from edge_agent import EdgeAgent
from edge_agent.domain.outbox import Event
from edge_agent.errors import EdgeAgentError, Unreachable
from edge_agent.head_office import wire
from edge_agent.head_office.client import HttpHeadOffice
from edge_agent.storage.catalog import CatalogStore, PageWrite
from edge_agent.storage.journal import Journal
from edge_agent.storage.outbox import Outbox, Verdict
from edge_agent.sync import verdicts
from edge_agent.sync.downloads import Downloads
from edge_agent.sync.push import Push

from .checks import Tally

RUNS = 150  # each is found within 50; which run it is changes with the agent
SEED = 20261121

Mutate = Callable[[pytest.MonkeyPatch], None]


def believes_a_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes an upload without an answer for delivered."""
    offer = Push._offer_sales

    def hopeful(self: Push, batch: Any) -> None:
        try:
            offer(self, batch)
        except Unreachable:
            self._settle("sales", batch, [Verdict(entry.entry, Event.CREATED) for entry in batch])

    monkeypatch.setattr(Push, "_offer_sales", hopeful)


def believes_any_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes an answer about other bytes for an answer about this sale."""
    of_sale = verdicts._of_sale

    def careless(entry: Any, results: list[wire.SaleResult], again: Any) -> Verdict:
        return of_sale(replace(entry, fingerprint=results[0].fingerprint) if results else entry, results, again)

    monkeypatch.setattr(verdicts, "_of_sale", careless)


def leaves_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws a number for a sale that is there already."""
    same = Journal._same_sale

    def wasteful(self: Journal, sale: Any) -> Any:
        with self.database.immediate() as connection:
            connection.execute(
                "UPDATE journals SET last_seq = last_seq + 1 WHERE number = (SELECT max(number) FROM journals)"
            )
        return same(self, sale)

    monkeypatch.setattr(Journal, "_same_sale", wasteful)


def asks_while_it_sells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks a product up at head office while it records."""
    record = EdgeAgent.record

    def curious(self: EdgeAgent, draft: Any) -> Any:
        with contextlib.suppress(EdgeAgentError):
            self.head_office().version(None)
        return record(self, draft)

    monkeypatch.setattr(EdgeAgent, "record", curious)


def keeps_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes no failure of a lane."""
    monkeypatch.setattr(Outbox, "lane_failed", lambda *_, **__: None)


def moves_the_cursor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applies a page's rows in a transaction of their own, after that of the cursor."""
    together = CatalogStore.apply_together
    monkeypatch.setattr(Downloads, "_verify", lambda *_: None)  # digests would mend it before anybody looks

    def in_two(self: CatalogStore, page: PageWrite) -> Any:
        if page.dataset == "stock" or not page.rows:
            return together(self, [page])[0]
        together(self, [replace(page, rows=(), refused=(), deleted_ids=())])
        return together(self, [replace(page, asked_cursor=page.next_cursor, completes_snapshot=False)])[0]

    monkeypatch.setattr(CatalogStore, "apply", in_two)
    monkeypatch.setattr(CatalogStore, "apply_together", lambda self, pages: [in_two(self, page) for page in pages])


def gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets a sale aside that head office did not refuse, after its second failure."""
    settle = Outbox.settle

    def impatient(self: Outbox, lane: Any, found: Sequence[Verdict], now_ms: int) -> None:
        bad = [replace(v, event=Event.REJECTED) if v.code == "NO_RESULT" else v for v in found]
        settle(self, lane, bad, now_ms)

    monkeypatch.setattr(Outbox, "settle", impatient)


def forgets_a_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the last use of a batch out: it counts as delivered and is never sent."""
    push = HttpHeadOffice.push_usages

    def short(self: HttpHeadOffice, bodies: Sequence[bytes]) -> wire.UsagesAnswer:
        if len(bodies) == 1:
            return push(self, bodies)
        answer = push(self, bodies[:-1])
        return msgspec.structs.replace(answer, created=(answer.created or 0) + 1, total=len(bodies))

    monkeypatch.setattr(HttpHeadOffice, "push_usages", short)


def never_compares_receipts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusts head office to keep what it has acknowledged."""
    from edge_agent.sync.cycle import Cycle

    monkeypatch.setattr(Cycle, "_compare_receipts", lambda _self: 0)


@pytest.mark.parametrize(
    ("mutate", "guarantee"),
    [
        (believes_a_lost_answer, "head office never said so"),
        pytest.param(believes_any_fingerprint, "head office never said so", marks=pytest.mark.slow),
        pytest.param(leaves_a_gap, "up to", marks=pytest.mark.slow),
        (asks_while_it_sells, "while it recorded"),
        pytest.param(keeps_quiet, "does not say so", marks=pytest.mark.slow),
        pytest.param(moves_the_cursor_alone, "at its cursor", marks=pytest.mark.slow),
        pytest.param(gives_up, "head office never refused it", marks=pytest.mark.slow),
        pytest.param(forgets_a_use, "head office never said so|head office lacks", marks=pytest.mark.slow),
        pytest.param(never_compares_receipts, "head office lacks", marks=pytest.mark.slow),
    ],
)
def test_a_broken_agent_is_found_out(
    simulate: Callable[..., None], monkeypatch: pytest.MonkeyPatch, mutate: Mutate, guarantee: str
) -> None:
    """A fault put into the agent makes a run fail, and the checker that fails is the one of its guarantee."""
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match=guarantee):
        simulate(SEED, RUNS, Tally(), shrink=False)
