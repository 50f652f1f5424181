"""Rows alone, by the thousand: what the reader takes keeps the contract, and what keeps the contract it takes."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_agent.domain.catalog import Dataset, RefusedRow, RowReader
from edge_agent.domain.promotion import read_promotion

from . import contract
from .document import Change, change, plant, write
from .lies import changes, rows
from .stage import COLA, DATASETS

COUNT = int(os.environ.get("HOSTILE_EXAMPLES", "80"))
quick = settings(
    max_examples=COUNT, deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
)


@st.composite
def spoilt_pages(draw: Any) -> tuple[Dataset, list[bytes]]:
    """A few rows of one dataset, most of them spoilt."""
    dataset: Dataset = draw(st.sampled_from(DATASETS))
    page = []
    for row in draw(st.lists(rows(dataset), min_size=1, max_size=6)):
        tree = plant(row)
        change(tree, draw(st.one_of(st.just([]), changes(dataset, most=3))))
        page.append(write(tree))
    return dataset, page


def as_raw(page: list[bytes]) -> list[msgspec.Raw]:
    """Rows as a page's decoder hands them over; what is no JSON never gets so far."""
    return [msgspec.Raw(row) for row in page if _is_skipped_over(row)]


def _is_skipped_over(row: bytes) -> bool:
    try:
        msgspec.json.decode(b"[" + row + b"]", type=list[msgspec.Raw])
    except (ValueError, RecursionError):
        return False
    return True


@quick
@given(spoilt_pages())
@example(("products", [write(plant({"id": COLA, "name": "x", "price": b"-0.0"}))]))
def test_what_is_taken_keeps_the_contract(page: tuple[Dataset, list[bytes]]) -> None:
    """Every row is taken or refused with a reason; ids are said once; what is taken can be read to its last byte."""
    dataset, raws = page[0], as_raw(page[1])
    read = RowReader().read(dataset, raws)
    ids = [row.id for row in read.good] + [row.id for row in read.refused]
    assert len(ids) == len(set(ids))
    for row in read.good:
        said = contract.check(dataset, row.body)
        assert (row.id, row.name) == (said["id"], said["name"])
        if dataset == "promotions":
            assert read_promotion(row.body).id == row.id
        elif dataset == "products" and row.price is not None:
            assert contract.is_money(row.price)
    for refused in read.refused:
        assert isinstance(refused, RefusedRow)
        assert 0 < len(refused.reason) < 400
        assert refused.reason.isprintable()


@quick
@given(spoilt_pages(), st.booleans())
def test_what_keeps_the_contract_is_taken(page: tuple[Dataset, list[bytes]], by_time: bool) -> None:
    """A row that keeps the contract to the letter is never refused, whatever stands beside it."""
    dataset = page[0]
    for raw in as_raw(page[1]):
        if contract.must_be_taken(dataset, bytes(raw)):
            read = RowReader(ordered_by_time=by_time).read(dataset, [raw])
            assert [row.body for row in read.good] == [bytes(raw)], read.refused


@quick
@given(st.lists(st.tuples(st.sampled_from((1, 2, 3)), st.booleans(), st.integers(0, 3)), max_size=8), st.booleans())
def test_of_rows_with_one_id_one_is_left(said: list[tuple[int, bool, int]], by_time: bool) -> None:
    """The order of the feed decides; against a baseline head office the newest one does, and of equals the later."""
    page, expected = [], {}
    for place, (number, is_good, hour) in enumerate(said):
        row_id = f"{number:08x}-0000-4000-8000-000000000000"
        name: Any = f"place {place}" if is_good else place
        page.append(msgspec.json.encode({"id": row_id, "name": name, "updated_at": f"2026-01-01T0{hour}:00:00Z"}))
        if row_id not in expected or not by_time or expected[row_id][0] <= hour:
            expected[row_id] = hour, page[-1]
    read = RowReader(ordered_by_time=by_time).read("products", as_raw(page))
    assert {row.id: row.body for row in (*read.good, *read.refused)} == {i: body for i, (_, body) in expected.items()}
    assert len(read.good) + len(read.refused) == len(expected)


def test_the_second_reading_of_the_contract_is_awake() -> None:
    """The judge itself refuses what it should: a test that refuses nothing would pass for ever."""
    good = {"id": COLA, "name": "Cola", "price": "7500.00"}
    assert contract.must_be_taken("products", write(plant(good)))
    for field, text in (("price", b'"-1"'), ("id", b"7"), ("name", b"null"), ("x", b"1e400"), ("x", b'"\xff"')):
        tree = plant(good)
        change(tree, [Change("put", field, 0, text)])
        try:
            contract.check("products", write(tree))
        except contract.Broken:
            continue
        raise AssertionError(field)
