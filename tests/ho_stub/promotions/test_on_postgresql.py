"""Definitions on a real PostgreSQL: two workers see one another's, and no use is lost when both count."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")

from ho_stub import assortment
from ho_stub.own_schema import OwnSchema
from ho_stub.world import World
from tests.ho_stub.cluster import Cluster, NoCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

USES_A_THREAD = 20


@pytest.fixture
def workers() -> Iterator[tuple[World, World]]:
    """Two worlds of one database, as two workers have them."""
    try:
        cluster = Cluster()
    except NoCluster as why:
        pytest.skip(str(why))
    schema = OwnSchema(cluster.url)
    pair = World(schema.url, data="generate:60"), World(schema.url, joins=True)
    yield pair
    for world in pair:
        world.close()
    schema.drop()
    cluster.close()


@pytest.mark.slow
def test_two_workers_keep_one_set_of_promotions(workers: tuple[World, World]) -> None:
    one, other = workers
    definition = one.promotions.list()[0]
    row_id = definition["id"]
    shown = {name: value for name, value in definition.items() if not name.startswith("updated_")}
    one.promotions.save(shown | {"name": "Changed"}, "ann")
    assert other.get("promotions", row_id)["name"] == "Changed"

    def use(world: World) -> None:
        for _ in range(USES_A_THREAD):
            with world.db.write():
                world.promotions.count_uses({row_id: 1})

    threads = [threading.Thread(target=use, args=(world,)) for world in (one, other, one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.get("promotions", row_id)["limits"]["current_uses"] == len(threads) * USES_A_THREAD
    product = assortment.find(one, "P0000001", 1)[0][0]
    assortment.save(one, product["id"], {name: product.get(name) for name in assortment.FIELDS} | {"price": "1"}, "ann")
    assert other.get("products", product["id"])["price"] == "1.00"
    other.promotions.delete(row_id, "bob")
    assert one.promotions.get(row_id) is None
    assert one.promotions.recompile_all() == {}
