"""The checkers: one for each guarantee, over a till's journal and catalogue and over head office's books."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.domain.digest import leaves
from edge_agent.status import utc_text
from ho_stub.cursor import read_cursor
from ho_stub.errors import ContractError

from .death import plain_connection
from .office import DATASETS, Office
from .till import Look, Till

SIGN = {"sale": 1, "refund": -1, "void": -1}
STORM = 5  # refusals in a row with the same code: head office is at fault, not the sales
CLOCK_TOLERANCE_MS = 3_500


@dataclass(slots=True)
class Tally:
    """What all runs together came to; each figure but the first must be 0."""

    runs: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0


def count(tally: Tally, office: Office, tills: Sequence[Till]) -> None:
    """Add what a healed run came to."""
    taken = [sale[0] for sale in office.sales()]
    used = [use_id for use_id, _ in office.usages()]
    places = Counter(sale[2:5] for sale in office.sales())
    for till in tills:
        look = till.look()
        tally.lost += len((till.acknowledged | set(till.sales) | set(till.uses)) - {*taken, *used})
        tally.stuck += len(look.ids("pending")) + len(look.ids("quarantined"))
    tally.doubled += len(taken) - len(set(taken)) + len(used) - len(set(used))
    tally.doubled += sum(times - 1 for times in places.values())


def check_g1(till: Till, look: Look) -> None:
    """G1: when recording returned, the sale (or use) is in the journal, and stays there whatever dies."""
    lost = till.acknowledged - set(look.sales) - set(look.uses)
    assert not lost, f"till {till.number} acknowledged and lost {sorted(lost)}"
    gone = set(till.sales) - set(look.sales) | set(till.uses) - set(look.uses)
    assert not gone, f"till {till.number} had recorded and lost {sorted(gone)}"


def check_g2(till: Till, look: Look) -> None:
    """G2: id and bytes are fixed at birth and never change; ``device_seq`` counts each life from 1 without a gap."""
    for external_id, booked in till.sales.items():
        assert look.sales[external_id].booked == booked, f"sale {external_id} changed: {look.sales[external_id].booked}"
    for external_id, body in till.uses.items():
        assert look.uses[external_id][0] == body, f"use {external_id} changed"
    for external_id in look.sales.keys() - till.proved:
        booked = look.sales[external_id].booked
        assert hashlib.sha256(booked.body).hexdigest() == booked.fingerprint, f"{external_id}: fingerprint"
        till.proved.add(external_id)
    for _, journal_id, last_seq in look.lives:
        numbers = sorted(row.booked.device_seq for row in look.sales.values() if row.booked.journal_id == journal_id)
        assert numbers == list(range(1, last_seq + 1)), f"till {till.number}, {journal_id}: {numbers} up to {last_seq}"


def check_g3(till: Till, look: Look) -> None:
    """G3: an entry leaves *pending* only on head office's word about that very entry, in an answer that came whole."""
    words = till.line.words
    states = {external_id: row.state for external_id, row in look.sales.items()}
    states |= {external_id: state for external_id, (_, state) in look.uses.items()}
    for external_id, state in states.items():
        if state == "delivered":
            assert external_id in words.taken, f"{external_id} is delivered, and head office never said so"
        elif state == "quarantined":
            assert external_id in words.refused, f"{external_id} is quarantined, and head office never refused it"


def check_g4(office: Office, tills: Sequence[Till]) -> None:
    """G4: head office counts an id once, a place in a journal once, and nothing that nobody recorded."""
    sales = office.sales()
    ids = Counter(sale[0] for sale in sales)
    assert all(times == 1 for times in ids.values()), f"counted twice: {[one for one in ids if ids[one] > 1]}"
    places = Counter(sale[2:5] for sale in sales)
    assert all(times == 1 for times in places.values()), f"places twice: {[p for p in places if places[p] > 1]}"
    booked = {external_id: sale for till in tills for external_id, sale in till.sales.items()}
    for external_id, body, *_ in sales:
        assert external_id in booked, f"head office has {external_id}, which nobody recorded"
        assert bytes(body) == booked[external_id].body, f"head office has other bytes of {external_id}"
    uses = {external_id: body for till in tills for external_id, body in till.uses.items()}
    for external_id, body in office.usages():
        assert external_id in uses, f"head office has the use {external_id}, which nobody recorded"
        if body not in office.proved:
            assert json.loads(body) == json.loads(uses[external_id]), f"head office has another use {external_id}"
            office.proved.add(body)


def check_g5(office: Office, till: Till) -> None:
    """G5: a cursor stands for nothing that is not applied: rows here, and what it still brings, are head office's."""
    with_cursor = plain_connection(till.home / "catalog.db")
    try:
        for dataset in DATASETS:
            cursor, in_snapshot, held = with_cursor.execute(
                "SELECT cursor, in_snapshot, held_rows FROM datasets WHERE name = ?", (dataset,)
            ).fetchone()
            if cursor is None or in_snapshot or held:
                continue
            refused = with_cursor.execute("SELECT id FROM refused WHERE dataset = ?", (dataset,))
            _check_cursor(office, till, dataset, cursor, {row_id for (row_id,) in refused})
    finally:
        with_cursor.close()


def _check_cursor(office: Office, till: Till, dataset: str, text: str, refused: set[str]) -> None:
    world = office.world
    scope = world.device_scope(dataset)
    try:
        cursor = read_cursor(text, world.epoch, scope, lambda seq: world.feed.mark_of(scope, seq))
    except ContractError:
        return  # head office would refuse it: the next pull takes a snapshot
    page = world.feed.page(scope, cursor, 5_000)
    rows = till.catalogue(dataset)
    rows |= {row["id"]: row for row in map(json.loads, page.rows)}
    mine = {row_id: row for row_id, row in rows.items() if row_id not in {*page.deleted_ids, *refused}}
    theirs = {row["id"]: row for row in world.rows(dataset) if row["id"] not in refused}
    assert mine == theirs, f"till {till.number}: {dataset} at its cursor: {_difference(mine, theirs)}"


def check_g6(before: dict[str, Any], after: dict[str, Any]) -> None:
    """G6: a page applied twice is a page applied once: a whole snapshot over an equal catalogue changes nothing."""
    assert before == after, "a snapshot over an equal catalogue changed it"


def check_g7(till: Till, look: Look, status: dict[str, Any]) -> None:
    """G7: refused entries are set aside with their reason and block no other; a storm of refusals is told as such."""
    refused = [row.booked for row in look.sales.values() if row.state == "quarantined"]
    assert status["quarantined"] == len(look.ids("quarantined"))
    waiting = {external_id for external_id, row in look.sales.items() if row.state == "pending"}
    if len(refused) + len(waiting) < STORM and not _is_storm(status):
        assert not waiting, f"till {till.number}: {sorted(waiting)} wait behind refused sales"


def _is_storm(status: dict[str, Any]) -> bool:
    return bool(status["last_error"]) and status["last_error"]["code"] == "POISON_STORM"


def check_g8(office: Office, tills: Sequence[Till]) -> None:
    """G8: money is exact from end to end: totals for each kind are the same in the journals and at head office."""
    mine: Counter[str] = Counter()
    for till in tills:
        for sale in till.sales.values():
            mine[sale.kind] += sale.total_minor
    theirs: Counter[str] = Counter()
    for _, body, _, _, _, total in office.sales():
        theirs[json.loads(body)["kind"]] += total
    assert +mine == +theirs, f"totals differ: tills {dict(mine)}, head office {dict(theirs)}"
    signed = sum(SIGN[kind] * total for kind, total in mine.items())
    assert round(float(office.world.ledger_total()) * 100) == signed


def check_g9(till: Till, requests_before: int) -> None:
    """G9: recording and reading never touch the network."""
    asked = till.line.requests - requests_before
    assert asked == 0, f"till {till.number} made {asked} requests while it recorded"


def check_g10(office: Office, tills: Sequence[Till]) -> None:
    """G10: after faults end, and with nobody at the keyboard, the outbox is empty, head office's ledger equals the
    devices' and the catalogue's digest equals head office's."""
    for till in tills:
        for state in ("pending", "quarantined"):
            stuck = till.look().ids(state)
            assert not stuck, f"till {till.number}: still {state}: {stuck}"
    taken = {sale[0] for sale in office.sales()}
    booked = {external_id for till in tills for external_id in till.sales}
    assert taken == booked, f"head office lacks {sorted(booked - taken)}"
    used = {external_id for external_id, _ in office.usages()}
    uses_here = {external_id for till in tills for external_id in till.uses}
    assert used == uses_here, f"head office lacks the uses {sorted(uses_here - used)}"
    for till in tills:
        _check_catalogue(office, till)


def _check_catalogue(office: Office, till: Till) -> None:
    world = office.world
    for dataset in DATASETS:
        mine, theirs = till.catalogue(dataset), {row["id"]: row for row in world.rows(dataset)}
        assert mine == theirs, f"till {till.number}: {dataset}: {_difference(mine, theirs)}"
        number, digest = world.feed.digest(world.device_scope(dataset), 256)
        assert (number, digest) == (len(mine), leaves([(row["id"], row["row_version"]) for row in mine.values()]))
    figures = {row["product_id"]: row["quantity"] for row in world.rows("stock")}
    mine_too = till.stock()
    assert mine_too == figures, f"till {till.number}: stock: {_difference(mine_too, figures)}"


def check_g11(till: Till, look: Look, status: dict[str, Any], errors: Sequence[Any]) -> None:
    """G11: nothing is silent: what waits, is refused, held or has failed shows in ``status``, and has an age."""
    assert status["pending"] == len(look.ids("pending")), status
    assert status["quarantined"] == len(look.ids("quarantined")), status
    assert (status["oldest_pending_at"] is not None) == bool(status["pending"]), status
    aside = {external_id for external_id, row in look.sales.items() if row.state == "quarantined"}
    held = [body for body, state in look.uses.values() if state == "pending"]
    assert status["held"] >= sum(json.loads(body)["sale_external_id"] in aside for body in held), status
    errors = [error for error in errors if not _is_over(till, look, status, error.step)]
    if errors:
        told = [one["first_at"] for one in status["incidents"] if one["open"]]
        told += [one["since"] for one in status["stalled"]] + [(status["last_error"] or {}).get("since")]
        assert any(told), f"till {till.number} failed ({errors}), and its status does not say so"


def _is_over(till: Till, look: Look, status: dict[str, Any], step: str) -> bool:
    """Whether a step that failed was made up for later in the same cycle, which may compare and push twice."""
    if step == "receipts":
        return bool(status["receipts"]["checked_at"] == utc_text(till.clock.now_ms()))
    if step == "push sales":
        return all(row.state != "pending" for row in look.sales.values())
    return step == "push usages" and all(state != "pending" for _, state in look.uses.values())


def check_well(till: Till, status: dict[str, Any]) -> None:
    """G11, the other way round: when all is well again, the status shows nothing wrong."""
    wrong = {name: status[name] for name in ("pending", "quarantined", "held") if status[name]}
    wrong |= {name: status[name] for name in ("last_error", "stalled") if status[name]}
    wrong |= {one["kind"]: one["detail"] for one in status["incidents"] if one["open"]}
    for name, dataset in status["datasets"].items():
        wrong |= {
            f"{name}.{key}": dataset[key]
            for key in ("refused", "held_sweep", "in_snapshot", "incomplete")
            if dataset[key]
        }
    if abs(status["clock_offset_ms"]) > CLOCK_TOLERANCE_MS:
        wrong["clock_offset_ms"] = status["clock_offset_ms"]
    assert not wrong, f"till {till.number}: all is well, and its status says {wrong}"


def check_skew(till: Till, status: dict[str, Any]) -> None:
    """G11: a clock that is wrong shows, once head office has told the time."""
    off = status["clock_offset_ms"] + till.clock.jump_s * 1000
    assert abs(off) <= CLOCK_TOLERANCE_MS, (
        f"till {till.number} jumped {till.clock.jump_s} s, status says {status['clock_offset_ms']}"
    )


def _difference(mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, list[str]]:
    return {
        "missing here": sorted(set(theirs) - set(mine)),
        "too many here": sorted(set(mine) - set(theirs)),
        "differ": sorted(key for key in set(mine) & set(theirs) if mine[key] != theirs[key]),
    }
