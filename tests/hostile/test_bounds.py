"""Everything is bounded: memory by a setting, time by a deadline, requests by what leads nowhere."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from edge_agent.errors import ContractBroken
from edge_agent.head_office import wire

from .lies import nested
from .stage import ANSWER_BYTES_MAX, COLA, DATASETS, DEAL, Act, Answer, Stage, open_stage
from .truths import finds_the_truth, goes_on, only_documented_errors

MIB = 1024 * 1024
PARTS_OF_THE_LIMIT = 12  # what reading an answer of the limit may take in memory, in limits; and some for the rest
REST = 24 * MIB
PAGE = b'{"products":[%s],"deleted_ids":[%s],"next_cursor":"x","has_more":false,"snapshot":false}'
REQUESTS_MAX = 400  # of a cycle that head office leads about by the nose


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with open_stage() as one:
        yield one


@pytest.fixture
def act(stage: Stage) -> Iterator[Act]:
    with stage.act() as one:
        yield one


def filled(item: bytes, size: int, shape: bytes = PAGE, place: int = 0) -> bytes:
    """A page of so many bytes, filled with one item."""
    items = (item + b",") * (size // (len(item) + 1) - 1) + item
    return shape % ((items, b"") if place == 0 else (b"", items))


BOMBS: dict[str, Callable[[int], bytes]] = {
    "zeros": lambda size: b"\0" * size,
    "blanks": lambda size: b" " * size + b"{}",
    "numbers for rows": lambda size: filled(b"0", size),
    "empty rows": lambda size: filled(b"{}", size),
    "short rows": lambda size: filled(b'{"id":"1"     }', size),
    "rows of an id": lambda size: filled(b'{"id":"%s","name":"x"}' % COLA.encode(), size),
    "ids of nothing": lambda size: filled(b'""', size, place=1),
    "ids of little": lambda size: filled(b'"%s"' % (b"x" * 16), size, place=1),
    "one endless text": lambda size: PAGE % (b'{"id":"%s","name":"%s"}' % (COLA.encode(), b"x" * size), b""),
    "a list without end": lambda size: (
        PAGE % (b'{"id":"%s","x":[%s]}' % (COLA.encode(), b"0," * (size // 2) + b"0"), b"")
    ),
    "depth without end": lambda size: PAGE % (nested(size // 2), b""),
    "an unknown field of lists": lambda size: b'{"products":[],"x":[' + b"[]," * (size // 3) + b"0]}",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("share", [0.97, pytest.param(40, marks=pytest.mark.slow)])
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(act: Act, name: str, share: float) -> None:
    """A packed answer, within the limit or forty times beyond it, costs a few limits of memory."""
    packer = zlib.compressobj(6, wbits=31)
    body = BOMBS[name](int(ANSWER_BYTES_MAX * share) - 200)
    packed = packer.compress(body) + packer.flush()
    del body
    act.line.lie = lambda route, params, honest: (
        Answer(200, {**honest.headers, "content-encoding": "gzip"}, packed) if route in DATASETS else None
    )
    tracemalloc.start()
    try:
        report = act.poll()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    only_documented_errors(report)
    assert report.errors or share < 1
    assert peak < PARTS_OF_THE_LIMIT * ANSWER_BYTES_MAX + REST, peak // MIB
    goes_on(act)
    finds_the_truth(act)


# Where the contract leaves open what stands in an answer.
ANYWHERE = {
    "version": b'{"version":1,"settings":{"timezone":%s}}',
    "sales": b'{"results":[{"external_id":"x","status":"created","warnings":%s}]}',
    "usage": b'{"created":0,"errors":[{"data":%s}]}',
}


@pytest.mark.parametrize("route", ["version", "usage", "stock", "sales", "receipts", "digest", "token", "refresh"])
def test_no_other_answer_is_a_bomb_either(stage: Stage, route: str) -> None:
    """Lists within lists where anything may stand: refused by their size before they are values."""
    lists = b"[" + b"[]," * (8 * MIB // 3) + b"0]"
    body = ANYWHERE.get(route, b'{"error":%s}') % lists
    with stage.act(answer_bytes_max=10 * MIB) as act:
        sale = act.sell()
        act.agent.record_usage(DEAL, "1.00", sale=sale)
        stage.world.expire_tokens(refresh=route == "token")
        for status in (200, 400):
            act.line.lie = lambda asked, params, honest, status=status: (
                Answer(status, honest.headers, body) if asked == route else None
            )
            tracemalloc.start()
            try:
                report = act.poll(hours=7)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            only_documented_errors(report)
            assert peak < 3 * len(body) + REST, peak // MIB
        goes_on(act)
        finds_the_truth(act)


def test_many_rows_of_nothing_are_no_page() -> None:
    """More rows than bytes could hold are told as one fault, not as a hundred thousand."""
    kind = wire.PAGE_TYPES["products"]
    with pytest.raises(ContractBroken, match="rows"):
        wire.decode(filled(b"{ }", MIB), kind)
    with pytest.raises(ContractBroken, match="values"):
        wire.decode(filled(b"{ }", 3 * MIB), kind)
    assert len(wire.decode(filled(b"7", 4_000), kind).rows) == 2_000  # so few are looked at one by one
    row = (
        b'{"id":"%s","name":"Cola 330 ml","price":"7500.00","updated_at":"2026-01-27T09:10:42.123456Z"}' % COLA.encode()
    )
    assert len(wire.decode(filled(row, 3 * MIB), kind).rows) > 20_000


def _pages(cursor_of: Callable[[int], bytes | None], row: bytes = b"") -> Callable[..., Answer | None]:
    """Pages that always have more behind them."""
    told = 0

    def lie(route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        nonlocal told
        if route != "products" or "leaves" in params:
            return None
        told += 1
        cursor = cursor_of(told)
        said = b"null" if cursor is None else b'"%s"' % cursor
        body = b'{"products":[%s],"deleted_ids":[],"next_cursor":%s,"has_more":true,"snapshot":false}' % (row, said)
        return Answer(200, honest.headers, body)

    return lie


CIRCLES: dict[str, Callable[[int], bytes | None]] = {
    "ever new cursors": lambda number: b"place %d" % number,
    "the same cursor": lambda number: b"place",
    "two cursors in turn": lambda number: b"place %d" % (number % 2),
    "seven cursors in turn": lambda number: b"place %d" % (number % 7),
    "no cursor": lambda number: None,
    "an empty cursor": lambda number: b"",
    "a cursor without end": lambda number: b"c" * 200_000,
}


@pytest.mark.parametrize("name", CIRCLES)
def test_pages_that_lead_nowhere_are_left(act: Act, name: str) -> None:
    """More and more without a row ends, is told, moves no cursor for good, and is forgotten when it is over."""
    act.line.lie = _pages(CIRCLES[name])
    for hours in (0.0, 0.5, 7.0):
        before = act.line.requests
        report = act.poll(hours=hours)
        only_documented_errors(report)
        assert act.line.requests - before < REQUESTS_MAX
        assert [error.code for error in report.errors]
        assert all(error.hint for error in report.errors)
        goes_on(act)
    finds_the_truth(act)


@pytest.mark.parametrize("cursor", ["two cursors in turn", "seven cursors in turn"])
def test_rows_in_a_circle_are_left(act: Act, cursor: str) -> None:
    """The same rows round and round are noticed by where they lead."""
    row = b'{"id":"%s","name":"Cola","row_version":1}' % COLA.encode()
    act.line.lie = _pages(CIRCLES[cursor], row)
    report = act.poll()
    assert [error.code for error in report.errors] == ["CONTRACT_BROKEN"]
    assert act.line.requests < REQUESTS_MAX
    goes_on(act)
    finds_the_truth(act)


def test_a_snapshot_that_turns_into_a_delta_half_way_sweeps_nothing(act: Act) -> None:
    """``snapshot`` that flips between pages ends no snapshot that did not come to its end."""
    kept = {dataset: act.rows(dataset) for dataset in DATASETS}
    flips = 0

    def lie(route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        nonlocal flips
        if route not in DATASETS or "leaves" in params or honest.status != 200:
            return None
        flips += 1
        snapshot, more = (b"true", b"true") if flips % 2 else (b"false", b"false")
        body = b'{"%s":[],"deleted_ids":[],"next_cursor":"p%d","has_more":%s,"snapshot":%s}'
        return Answer(200, honest.headers, body % (route.encode(), flips, more, snapshot))

    act.line.lie = lie
    only_documented_errors(act.poll())
    for dataset in DATASETS:
        assert act.rows(dataset).keys() == kept[dataset].keys()
    goes_on(act)
    finds_the_truth(act)


@pytest.mark.parametrize(
    "quantity",
    ["1e-999999999", "1e999999999", "0e999999999", "NaN", "sNaN", "-Infinity", "1_000", "٧", " 5", "9" * 5_000],
)
def test_a_quantity_is_a_number_not_a_bomb(act: Act, quantity: str) -> None:
    """Twelve bytes that stand for a gigabyte of digits are refused like any other word."""
    figure = f'{{"product_id":"{COLA}","quantity":"{quantity}"}}'.encode()
    page = b'{"stock":[%s],"deleted_ids":[],"next_cursor":"s","has_more":false,"snapshot":false,"seen":{}}' % figure
    act.line.lie = lambda route, params, honest: Answer(200, honest.headers, page) if route == "stock" else None
    tracemalloc.start()
    try:
        only_documented_errors(act.poll())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < REST
    assert COLA in act.refused("stock")
    assert act.agent.catalog.stock(COLA) is not None
    goes_on(act)


def test_what_head_office_may_not_say_of_the_store_changes_nothing(act: Act) -> None:
    """Zones, hours and times that are none leave the last good ones in force: business dates stand."""
    facts = act.agent._store.all_meta()
    day = act.agent.business_date()
    told: list[tuple[bytes, bytes]] = [
        (b'"Asia/Jakarta"', b'"Mars/Olympus"'),
        (b'"04:00"', b'"half past four"'),
        (b'"IDR"', b'"???"'),
        (b'"sync_interval_hours":6', b'"sync_interval_hours":1e308'),
        (b'"future_days":7', b'"future_days":-1'),
        (b'"auto_sync_enabled":true', b'"auto_sync_enabled":"perhaps"'),
        (b'"name":"Main"', b'"name":["Main"]'),
    ]

    def lie(route: str, params: dict[str, str], honest: Answer) -> Answer | None:
        body = honest.body
        for good, bad in told:
            assert route != "version" or honest.status == 304 or good in body.replace(b": ", b":"), good
            body = body.replace(b": ", b":").replace(good, bad)
        return Answer(honest.status, honest.headers, body)

    act.line.lie = lambda route, params, honest: lie(route, params, honest) if route == "version" else None
    for hours in (0.0, 30.0):
        assert not act.poll(hours=hours).errors
    act.agent._facts_until = -1.0
    after = act.agent._store.all_meta()
    for name in ("timezone", "day_start", "currency", "auto_sync_enabled", "sync_interval_hours", "store_name"):
        assert after.get(name) == facts.get(name), name
    assert (act.agent.business_date() - day).days in (1, 2)
    goes_on(act)
