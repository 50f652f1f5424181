"""Tombstones that head office purged, and stores that it moves to another brand, on a real port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Make = Callable[..., Any]
OTHER_BRAND = "000000b2-0000-4000-8000-000000000000"


def test_a_till_that_missed_purged_tombstones_takes_a_snapshot(till: Any) -> None:
    """A cursor from before purged tombstones answers 410, and the snapshot sweeps what they would have named."""
    world = till.office.world
    world.delete("products", till.water)
    world.edit("products", till.cola, price="7600.00")
    world.purge()
    report = till.poll()
    assert not report.errors
    assert [name for name, pulled in report.pulled.items() if pulled.snapshot] == ["products"]
    assert ("GET", "/api/v1/sync/products/", 410) in till.office.requests
    assert till.catalogue_agrees()


def test_a_till_that_saw_the_tombstones_goes_on_after_they_are_purged(till: Any) -> None:
    """Purging costs nothing to a till that has passed what was purged."""
    world = till.office.world
    world.delete("products", till.water)
    till.poll()
    world.purge()
    world.edit("products", till.cola, price="7600.00")
    report = till.poll()
    assert not any(pulled.snapshot for pulled in report.pulled.values())
    assert till.catalogue_agrees()


def test_a_sale_of_a_product_whose_tombstone_was_purged_is_taken(till: Any) -> None:
    """What was deleted long ago did exist: its late sales are no mistake (contract, section 5)."""
    till.sell(till.water)
    till.office.world.delete("products", till.water)
    till.office.world.purge()
    assert till.agent.sync().pushed.created == 1


def test_a_store_that_moves_to_another_brand_gets_that_brands_rows(
    make_till: Make, make_office: Make, tiny_with: Make, open_agent: Make
) -> None:
    """Until the till is told, it keeps what it has and says why; then it holds the new brand's rows alone."""
    tiny = tiny_with()
    brands = [*tiny.brands, {"id": OTHER_BRAND, "name": "Other"}]
    till = make_till(make_office(data=tiny_with(brands=brands)))
    world = till.office.world
    world.upsert("products", {"id": till.nobody, "name": "Theirs", "price": "1.00", "brand_id": OTHER_BRAND})
    world.move_store(till.office.store_id, OTHER_BRAND)
    assert till.poll().errors
    assert till.agent.catalog.by_id(till.cola) is not None
    till.agent.close()
    till.agent = open_agent(till.agent.home, brand_id=OTHER_BRAND)
    assert not till.agent.sync().errors
    assert till.catalogue_agrees()
    assert [product.name for product in till.agent.catalog.search("").products] == ["Theirs"]
