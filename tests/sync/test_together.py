"""Small changes of all datasets in one transaction: a price and its promotion change together (G6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.storage.catalog import CatalogStore

Make = Callable[..., Any]


def deal_price(till: Any) -> tuple[str, str]:
    """What a till sees of the product and the promotion that go together."""
    product = till.agent.catalog.by_id(till.cola)
    promotion = next(p for p in till.agent.catalog.all_promotions() if p.id == till.deal)
    return str(product.price), promotion.name


def reprice(till: Any, number: int) -> None:
    """Head office changes both in one commit."""
    world = till.office.world
    with world.db.write():
        world.edit("products", till.cola, price=f"{number}.00")
        world.edit("promotions", till.deal, name=f"Deal {number}")


def only_pull(till: Any) -> list[str]:
    return [path for path in till.paths() if path not in ("GET stock", "GET digest")]


def test_a_price_and_its_promotion_change_in_one_transaction(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit of the catalogue shows either both old or both new."""
    seen: list[tuple[str, str]] = []
    apply = CatalogStore.apply_together

    def looked_at(self: CatalogStore, pages: Any) -> Any:
        done = apply(self, pages)
        seen.append(deal_price(till))
        return done

    before = deal_price(till)
    monkeypatch.setattr(CatalogStore, "apply_together", looked_at)
    reprice(till, 42)
    till.agent.sync()
    assert seen
    assert set(seen) <= {before, ("42.00", "Deal 42")}
    assert deal_price(till) == ("42.00", "Deal 42")


def test_a_commit_between_two_requests_is_read_along(till: Any) -> None:
    """Products are read, then head office changes both, then promotions are read: still both change together."""
    reprice(till, 1)
    count = 0

    def between(method: str, path: str) -> Any:
        nonlocal count
        if "/promotions/" in path:
            count += 1
            if count <= 2:
                reprice(till, 10 + count)
        return None

    till.office.intercept = between
    till.agent.sync()
    assert deal_price(till) == ("12.00", "Deal 12")
    assert till.catalogue_agrees()
    till.office.intercept = None
    till.office.clear_requests()
    till.poll()
    assert till.paths()[:1] == ["GET version"]


def test_one_price_costs_few_requests(till: Any) -> None:
    """Of the datasets only the changed one is asked for: its version differs."""
    till.office.world.edit("products", till.cola, price="8.00")
    till.poll()
    assert only_pull(till) == ["GET version", "GET products", "GET version"]
    assert till.catalogue_agrees()
    till.office.clear_requests()
    till.poll()
    assert till.paths() == ["GET version"]


def no_promotions(_: str, path: str) -> Any:
    return (500, {}, {"error": "no"}) if "/promotions/" in path else None


def test_a_stumble_parts_no_price_from_its_promotion(till: Any) -> None:
    """Both changed and promotions answer 500: the price waits for its promotion, which comes a moment later."""
    till.office.intercept = no_promotions
    before = deal_price(till)
    reprice(till, 77)
    assert [error.step for error in till.poll().errors] == ["promotions"]
    assert deal_price(till) == before
    till.office.intercept = None
    till.clock.advance(120)
    till.poll()
    assert deal_price(till) == ("77.00", "Deal 77")


def test_a_broken_route_keeps_what_did_not_change_with_it_not_away(till: Any) -> None:
    """Promotions answer 500 and only a price changed: it is there at once, and when a person asks in any case."""
    till.office.intercept = no_promotions
    till.office.world.edit("products", till.cola, price="66.00")
    till.poll()
    assert deal_price(till)[0] == "66.00"
    reprice(till, 67)
    assert [error.step for error in till.agent.sync().errors] == ["promotions"]
    assert deal_price(till)[0] == "67.00"


def test_a_failing_route_keeps_no_other_one_away_for_long(till: Any) -> None:
    """Promotions answer 500 for ever: prices come all the same after a while, and the failure is told."""
    till.office.intercept = no_promotions
    reprice(till, 77)
    for _ in range(20):
        till.clock.advance(60)
        till.poll()
    assert deal_price(till)[0] == "77.00"
    assert till.agent.status()["last_error"]["lane"] == "pull"
    till.office.intercept = None
    till.clock.advance(hours=1)
    till.poll()
    assert deal_price(till) == ("77.00", "Deal 77")
    assert till.catalogue_agrees()


def test_a_first_load_with_a_broken_route_brings_the_rest(make_till: Make) -> None:
    """Products answer 502 for ever: categories and promotions come."""
    till = make_till(synced=False)
    till.office.intercept = lambda _, path: (502, {}, "<html>bad gateway</html>") if "/products/" in path else None
    till.agent.sync()
    assert till.catalogue_agrees("categories", "promotions")
    till.office.intercept = None
    till.clock.advance(hours=1)
    till.poll()
    assert till.catalogue_agrees()


def test_many_changes_go_page_by_page(make_till: Make, make_office: Make, tiny_with: Make) -> None:
    """Above the limit pages are applied as they come, in any size, and nothing is missed."""
    till = make_till(make_office(data=tiny_with(200)), small_delta_rows=20, page_rows=7)
    for number in range(60):
        till.office.world.edit("products", f"10000000-0000-4000-8000-{number:012d}", price=f"{number}.50")
    reprice(till, 5)
    report = till.agent.sync()
    assert report.pulled["products"].pages > 5
    assert till.catalogue_agrees()
    till.office.world.edit("products", till.cola, price="6.00")
    till.office.world.delete("products", till.water)
    till.agent.sync()
    assert till.catalogue_agrees()


def test_nothing_of_a_broken_transaction_is_seen(till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction fails in its last part: neither the price nor the promotion is there, and both come later."""
    from edge_agent.errors import StoreBroken
    from edge_agent.storage import pages

    before = deal_price(till)
    write_rows = pages.write_rows

    def fails(connection: Any, page: Any, *more: Any) -> None:
        if page.dataset == "promotions":
            raise StoreBroken("the disk is full")
        write_rows(connection, page, *more)

    reprice(till, 9)
    monkeypatch.setattr(pages, "write_rows", fails)
    with pytest.raises(StoreBroken):
        till.agent.sync()
    assert deal_price(till) == before
    monkeypatch.undo()
    till.agent.sync()
    assert deal_price(till) == ("9.00", "Deal 9")


def test_what_changes_while_others_are_read_is_read_along(till: Any) -> None:
    """Only a price had changed when it was asked; then both change: the promotion is asked for as well."""
    till.office.world.edit("products", till.cola, price="1.00")
    done = []

    def before_the_second_version(method: str, path: str) -> Any:
        if "/version/" in path:
            done.append(path)
            if len(done) == 2:
                reprice(till, 5)
        return None

    till.office.intercept = before_the_second_version
    till.poll()
    assert deal_price(till) == ("5.00", "Deal 5")
    assert till.catalogue_agrees()


def test_a_version_that_runs_ahead_is_not_taken_for_seen(till: Any) -> None:
    """Head office changes at each request: what was not read is asked for at the next poll, not hours later."""
    number = [0]

    def changes(method: str, path: str) -> Any:
        if "/version/" in path:
            number[0] += 1
            reprice(till, number[0])
        return None

    till.office.intercept = changes
    till.office.world.edit("products", till.cola, price="1.00")
    till.poll()
    till.office.intercept = None
    till.poll()
    assert till.catalogue_agrees()
