"""What the page says of a shop, in a real browser: the states that staff may meet, and what they can do about them."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def needs_a_browser(browser: Any) -> None:
    """Skips first, before a shop is made."""


def test_all_is_well(shop: Any, look: Any) -> None:
    """Everything is with head office: green by colour, word and symbol; the key leaves the address."""
    shop.till.sell(quantity="3")
    shop.sync()
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling is safe")
    assert (screen.level, screen.text("#verdict-symbol")) == ("good", "✓")
    screen.sees("#facts", "22,500")
    screen.sees("#today", "With head office")
    screen.sees("#promotions", "Cola 10 % off")
    assert screen.page.url == shop.address
    assert screen.page.evaluate("history.length") <= 2
    screen.page.reload()
    screen.sees("#verdict-title", "Selling is safe")
    assert screen.complaints == []
    assert {re.match(r"https?://[^/]+/", url)[0] for url in screen.requests} == {shop.address}  # type: ignore[index]


def test_the_line_is_down(shop: Any, look: Any) -> None:
    """Without head office the page calms: sales wait safely here, since when, and when it is tried again."""
    shop.sync()
    shop.till.office.stop()
    shop.till.clock.rolls = 0.9
    shop.till.sell()
    shop.sync()
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling goes on without head office")
    assert (screen.level, screen.text("#verdict-symbol")) == ("look", "!")
    screen.sees("#verdict-words", "kept on this till")
    screen.sees("#facts", "the oldest for")
    screen.sees("#facts", "next try in")
    assert screen.complaints == []


def test_refused_sales_can_be_tried_again(shop: Any, look: Any) -> None:
    """A refused sale shows its reason; once head office is mended, one press sends it up."""
    till = shop.till
    till.sell(till.nobody, receipt_number="S01-T02-000042")
    shop.sync()
    screen = look(shop.link)
    screen.sees("#quarantined", "Sale S01-T02-000042")
    screen.sees("#quarantined", "doesn’t know a product")
    assert screen.level == "look"
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    screen.page.get_by_role("button", name="Try again: Sale S01-T02-000042").click()
    screen.sees("#step", "1 entry goes up again")
    shop.sync()
    screen.sees("#verdict-title", "Selling is safe")
    assert not screen.page.locator("#quarantined").is_visible()
    assert till.books_agree()
    assert screen.complaints == []


def test_findings_say_what_to_do(shop: Any, look: Any) -> None:
    """What the last look through the catalogue found is there, with the mend, without looking again."""
    shop.till.office.world.edit("products", shop.till.water, price=None)
    shop.sync()
    shop.till.agent.health()
    screen = look(shop.link)
    screen.sees("#findings", "Water 600 ml")
    screen.sees("#findings", "the till must ask")
    screen.sees("#findings", "Give it a price at head office")
    assert screen.complaints == []


def test_low_stock_counts_own_sales(shop: Any, look: Any) -> None:
    """What this till sold since head office's figures makes a product low at once."""
    shop.till.sell(quantity="45")
    screen = look(shop.link)
    screen.sees("#stock", "Cola 330 ml")
    screen.sees("#stock", "3 left")
    screen.sees("#stock", "reorder at 6")


def test_the_daemon_is_gone(shop: Any, look: Any) -> None:
    """When nobody answers, the page says so calmly, keeps what it knew with its age, and comes back by itself."""
    shop.till.sell()
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling is safe")
    shop.server.stop(2)
    screen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    screen.sees("#verdict-title", "doesn’t answer")
    screen.sees("#verdict-words", "The till still sells")
    assert (screen.level, screen.page.is_disabled("#sync")) == ("unknown", True)
    screen.sees("#today", "7,500")
    shop.serve_again()
    screen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    screen.sees("#verdict-title", "Selling is safe")
    assert screen.page.is_enabled("#sync")


def test_sync_now_shows_how_far_it_is(shop: Any, look: Any) -> None:
    """One press asks for a sync; each step shows, and how it ended."""
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling")
    screen.page.click("#sync")
    screen.sees("#sync", "Syncing")
    tell = shop.till.agent._news.tell
    tell("sync began", {})
    tell("sync progress", {"step": "products", "done": "40", "total": "160"})
    screen.sees("#step", "Fetching products: 40 of 160")
    assert screen.page.evaluate("document.getElementById('progress').position") == 0.25
    tell("sync ended", {})
    screen.sees("#step", "Everything is up to date")
    assert screen.page.is_enabled("#sync")
    assert shop.asked == ["sync"]
    assert screen.text("#told") == "Synced. Everything is up to date."
    assert screen.complaints == []


def test_a_sync_that_fails_says_why(shop: Any, look: Any) -> None:
    """The end of a sync that could not finish is told in the page's own words."""
    screen = look(shop.link)
    screen.page.click("#sync")
    screen.sees("#sync", "Syncing")
    shop.till.agent._news.tell("sync ended", {"code": "UNREACHABLE", "message": "connection refused"})
    screen.sees("#step", "head office can’t be reached")


def test_news_shows_without_waiting(shop: Any, look: Any) -> None:
    """What the agent tells is on the screen at once, not at the next look."""
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling is safe")
    screen.page.wait_for_function(
        "performance.getEntriesByType('resource').some((one) => one.name.endsWith('/v1/page'))"
    )
    shop.till.sell()
    shop.sync()
    screen.sees("#today", "7,500")


def test_without_a_key(shop: Any, look: Any) -> None:
    """Whoever comes without a session is told how to get one, and sees nothing of the shop."""
    screen = look(shop.address)
    screen.sees("#verdict-title", "Open this page from the till")
    screen.sees("#verdict-words", "edge-agent page")
    assert not screen.page.locator("#shop").is_visible()
    stale = look(f"{shop.address}#key=old")
    stale.sees("#verdict-words", "That link is old")
    assert stale.page.url == shop.address


def test_a_full_disk_is_red(shop: Any, look: Any) -> None:
    """What puts selling at risk comes first, in red, with the mend."""
    from edge_agent.storage.incidents import raise_incident

    with shop.till.agent._journal.database.immediate() as connection:
        raise_incident(connection, "disk full", "found when recording a sale", shop.till.clock.now_ms())
    screen = look(shop.link)
    screen.sees("#verdict-title", "Selling is at risk")
    assert (screen.level, screen.text("#verdict-symbol")) == ("bad", "✕")
    screen.sees("#verdict-words", "Free some space now")


def test_what_others_write_is_only_text(make_shop: Any, look: Any) -> None:
    """Names with markup, scripts and right-to-left marks show as they are, and do nothing."""
    hostile = "<img src=x onerror=alert(1)>\u202etxet\u202c</script><b>"
    shop = make_shop()
    world, till = shop.till.office.world, shop.till
    world.edit("promotions", till.deal, name=hostile, code="<i>")
    world.edit("products", till.water, name=hostile, price=None)
    world.edit("products", till.cola, name=hostile)
    shop.sync()
    till.sell(quantity="45")
    till.sell(till.nobody, receipt_number="<svg onload=alert(2)>")
    shop.sync()
    till.agent.health()
    screen = look(shop.link)
    for part in ("#promotions", "#findings", "#stock"):
        screen.sees(part, "<img src=x onerror=alert(1)>")
    screen.sees("#quarantined", "<svg onload=alert(2)>")
    assert screen.page.locator("img, svg, b, i").count() == 0
    assert screen.complaints == []
    assert {re.match(r"https?://[^/]+/", url)[0] for url in screen.requests} == {shop.address}  # type: ignore[index]
