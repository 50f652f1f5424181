"""After any lie the catalogue is sound, the cursor right, the till goes on, and finds the truth again."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from edge_agent import EdgeAgentError
from edge_agent.status import in_words

from . import contract
from .stage import DATASETS, Act, Heard

HEALING = (0.05, 0.2, 1.0, 7.0, 7.0, 25.0, 7.0, 25.0)  # hours between the polls after the last lie
REASON_LENGTH_MAX = 400


class Before:
    """The catalogue as it was before the lie."""

    def __init__(self, act: Act) -> None:
        self.rows = {dataset: act.rows(dataset) for dataset in DATASETS}
        self.cursors = {dataset: act.cursor(dataset) for dataset in DATASETS}


def goes_on(act: Act) -> None:
    """Selling, status and every look-up work right after the lie, and say something."""
    sale = act.sell()
    assert act.agent.sale(sale.external_id)
    status = act.agent.status()
    json.loads(msgspec.json.encode(status))
    assert all(words.strip() for words in in_words(status, act.agent.now()))
    look_everything_up(act)


def look_everything_up(act: Act) -> None:
    """Whatever is in use can be read back, in every way a till asks for it, and be printed as JSON."""
    catalog = act.agent.catalog
    for row in act.columns("products"):
        product = catalog.by_id(row["id"])
        assert product is not None
        assert product.name == row["name"]
        assert product.price is None or str(product.price) == row["price"]
        if product.sku is not None:
            assert any(one.id == product.id for one in catalog.all_by_sku(product.sku))
        if product.barcode is not None:
            assert any(one.id == product.id for one in catalog.all_by_barcode(product.barcode))
        if product.category_id is not None:
            assert any(one.id == product.id for one in catalog.in_category(product.category_id))
        catalog.stock(product.id)
        json.loads(msgspec.json.encode(product.fields).decode())
        catalog.search(product.name[:40])
    assert catalog.search("", limit=1_000).total == len(act.rows("products"))
    count = len(act.rows("promotions"))
    promotions = catalog.all_promotions()
    assert len(promotions) == count
    for promotion in promotions:
        msgspec.json.encode(promotion.fields)
        assert promotion.promo_type is None or isinstance(promotion.promo_type, str)
        if promotion.code:
            assert catalog.promotion(promotion.code) is not None
    for moment in (None, dt.datetime(2026, 11, 21, 23, 30), dt.datetime(2026, 1, 1, 0, 0)):  # noqa: DTZ001
        catalog.promotions(moment)
    assert sum(1 for _ in _all_of(catalog.categories())) == len(act.rows("categories"))


def _all_of(categories: Any) -> Iterator[Any]:
    waiting = list(categories)
    while waiting:
        one = waiting.pop()
        msgspec.json.encode(one.fields)
        waiting += one.children
        yield one


def no_row_breaks_the_contract(act: Act) -> None:
    """What is in use keeps the contract, by a second reading of its words, and its columns say what its bytes say."""
    for dataset in DATASETS:
        for row in act.columns(dataset):
            said = contract.check(dataset, bytes(row["body"]))
            assert row["id"] == said["id"]
            assert row["name"] == said["name"]
            assert row["row_version"] == (said.get("row_version") or 0)
            assert bool(row["is_active"]) is (said.get("is_active") not in (False, 0))
            for field in ("sku", "barcode", "code", "category_id", "parent_id"):
                if field in row:
                    assert row[field] == (None if said.get(field) is None else str(said[field]))


def untouched_rows_are_as_they_were(act: Act, before: Before) -> None:
    """A row that no answer named is there to the byte, unless a whole list came to its end without it."""
    for dataset in DATASETS:
        heard = [one for one in act.line.heard if one.route == dataset]
        spoken = b"".join(map(_unpacked, heard))
        swept = any(map(_is_whole_list, heard)) or any(one.lied for one in act.line.heard if one.route == "version")
        after = act.rows(dataset)
        for row_id, body in before.rows[dataset].items():
            if row_id.encode() in spoken or b"\\" in spoken:
                continue
            assert after.get(row_id, body if swept else None) == body, (dataset, row_id)


def _is_whole_list(heard: Heard) -> bool:
    """Whether it is all that there is, so that what it lacks is gone: a snapshot, or all rows of some leaves."""
    if "leaves" in heard.params:
        return True
    moves_on = "cursor" in heard.params or "updated_since" in heard.params
    return not moves_on or bool(_page(heard).get("snapshot"))


def cursors_stand_behind_what_was_applied(act: Act, before: Before) -> None:
    """A cursor is the old one, none, or the next one of a page of which every row was taken or refused (G5)."""
    for dataset in DATASETS:
        cursor = act.cursor(dataset)
        if cursor in (before.cursors[dataset], None):
            continue
        led = [
            one
            for one in act.line.heard
            if one.route == dataset and "leaves" not in one.params and _next(one) == cursor
        ]
        stamps = [one for one in act.line.heard if one.route == dataset and cursor in _unpacked(one).decode("latin-1")]
        assert led or stamps, (dataset, cursor)
        if led:
            _every_row_is_accounted_for(act, dataset, led[-1])


def _page(heard: Heard) -> dict[str, Any]:
    try:
        page = json.loads(_unpacked(heard).decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return {}
    return page if isinstance(page, dict) else {}


def _unpacked(heard: Heard) -> bytes:
    if heard.answer.headers.get("content-encoding", "").lower() == "gzip":
        try:
            return gzip.decompress(heard.answer.body)
        except (OSError, EOFError, zlib.error):
            return b""
    return heard.answer.body


def _next(heard: Heard) -> object:
    return _page(heard).get("next_cursor")


def _every_row_is_accounted_for(act: Act, dataset: str, heard: Heard) -> None:
    page = _page(heard)
    mine, refused = act.rows(dataset), act.refused(dataset)
    last = {_id(row): row for row in page.get(dataset) or ()}
    later = act.line.heard[act.line.heard.index(heard) + 1 :]
    if any(one.route == dataset and "leaves" in one.params for one in later):
        return  # what was wrong is mended already
    named_later = b"".join(one.answer.body for one in later if one.route == dataset)
    for row_id, row in last.items():
        if row_id.encode("utf-8", "replace") in named_later or row_id in (page.get("deleted_ids") or ()):
            continue
        taken = row_id in mine and json.loads(mine[row_id]) == row
        reason, _ = refused.get(row_id) or refused.get(row_id.lower()) or ("", b"")
        assert taken or reason or _nameless(refused, row_id), (dataset, row_id, row)
        if contract.must_be_taken(dataset, json.dumps(row).encode()):
            assert taken, (dataset, row_id, reason)


def _id(row: object) -> str:
    row_id = row.get("id") if isinstance(row, dict) else None
    return row_id if isinstance(row_id, str) else ""


def _nameless(refused: dict[str, tuple[str, bytes]], row_id: str) -> bool:
    """A row whose id can't be listed is listed by a sum of its bytes."""
    is_listable = 0 < len(row_id) <= 100 and not any("\ud800" <= character <= "\udfff" for character in row_id)
    return not is_listable and any(name.startswith("sha256:") for name in refused)


def refusals_have_reasons(act: Act) -> None:
    """Every refused row says why, in a line that can be read."""
    for dataset in (*DATASETS, "stock"):
        for row_id, (reason, body) in act.refused(dataset).items():
            assert row_id
            assert 0 < len(reason) <= REASON_LENGTH_MAX
            assert reason.isprintable()
            assert len(body) <= 64 * 1024
            assert len(row_id) <= 100


def only_documented_errors(report: Any) -> None:
    """What went wrong is told by the tree of errors, in words that fit a screen."""
    for error in report.causes:
        assert isinstance(error, EdgeAgentError)
        assert error.message
        assert len(error.message) < 2_000, error.message[:300]


def finds_the_truth(act: Act) -> None:
    """When head office is honest again, nobody has to do anything: the till's catalogue becomes head office's (G10).

    A digest sums up versions. A row that was told in another state under its right version is found by a full sync; a
    baseline head office sends whole lists in any case.
    """
    act.line.lie = None
    for hours in HEALING:
        only_documented_errors(act.poll(hours=hours))
    sums_up = act.stage.profile == "native"
    left = [one for one in act.differences() if not (sums_up and one.endswith(" other"))]
    assert not left, (left[:5], [error.message for error in act.poll().causes], _state(act))
    facts = act.agent._store.all_meta()
    told = {name: facts.get(name) for name in act.stage.facts}
    assert told == act.stage.facts
    for dataset in DATASETS:
        assert not act.refused(dataset), (dataset, act.refused(dataset))
    report = act.agent.sync(full=True)
    assert not report.errors, report.errors
    assert not act.differences()
    status = act.agent.status()
    assert status["pending"] == status["quarantined"] == 0, status


def _state(act: Act) -> list[Any]:
    return [act.agent._store.state(dataset) for dataset in DATASETS]


def books(act: Act) -> tuple[int, int]:
    """Sales that head office lacks, and that it counts twice."""
    theirs = [sale["external_id"] for sale in act.stage.world.sales() if sale["state"] == "accepted"]
    return len(set(act.sold) - set(theirs)), len(theirs) - len(set(theirs))
