"""Each fault of the wire by itself: nothing lost, nothing doubled, said in words, no storm of requests."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.faults import BOMB_BYTES, FAMILIES, FAULTS, RETRY_AFTER_S, SLOW
from tests.wire.middleman import Exchange
from tests.wire.shop import HEALING_PAUSE_S, IMPATIENT, LIMITS, Count, Shop

Make = Callable[..., Any]
PAUSE_S = 400.0  # beyond every backoff
TRIES_MAX = 3  # of one request inside a call: the first and two quick ones
ASKED_MAX = 24  # requests of one cycle for eight entries and a changed product, each answered badly
ALONE_S_MAX = 4.0  # a cycle against a line that is slow: one time limit and some work

NO_LINE = ("can't be reached",)
LATE = ("did not answer in time", "took longer than")
DAMAGED = ("is damaged", "is not JSON", "something behind its end", "cut short")
OTHERS = ("something other than head office answered",)
FORM = ("not as agreed", "is about something else")
SAYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(FAMILIES["connection lost"], NO_LINE),
    **dict.fromkeys(FAMILIES["answer cut short"], NO_LINE),
    "cut_gzip_of_fitting_length": DAMAGED,
    "gzip_without_its_end_mark": DAMAGED,
    "garbage_inside_the_length": DAMAGED,
    "damaged_gzip": DAMAGED,
    "damaged_json": DAMAGED,
    "no_http_at_all": NO_LINE,
    "gzip_bomb": ("is larger than",),
    **dict.fromkeys(SLOW, LATE),
    "json_nan": DAMAGED,
    "captive_portal": OTHERS,
    "empty_200": OTHERS,
    "no_content_204": OTHERS,
    "moved_301": ("moved to https://elsewhere.example/",),
    "moved_307": ("moved to /elsewhere/",),
    "json_of_another_form": OTHERS,
    "json_object_of_another_form": FORM,
    "proxy_502": ("HTTP 502",),
    "proxy_404": ("HTTP 404", "does not know this address"),
    "proxy_403": OTHERS,
    "sign_in_refused_401": ("refuses this device's sign-in",),
    "token_expired": ("refuses this device's sign-in",),
    "forbidden_403": ("refuses uploads", "FORBIDDEN", "trouble"),
    "out_of_order_500": ("out of order (HTTP 500",),
    "busy_503": ("busy (HTTP 503",),
    **dict.fromkeys((name for name in FAULTS if name.startswith("busy_429")), ("busy (HTTP 429",)),
    "busy_until_a_date": ("busy (HTTP 429",),
}  # what is not here is no reason to alarm anybody: it mends itself

# Answers that acknowledge nothing: what they are about stays pending (G3).
NO_WORD = frozenset(FAMILIES["results that are not true"]) - {"results_in_other_order", "results_twice"}


def suffer(shop: Shop, name: str, price: int) -> Count:
    """A cycle or two of a shop in which this happens to every exchange, then the end of the fault."""
    held_before = shop.till.agent.status()["quarantined"]
    sales = [shop.sell(quantity=str(number + 1)) for number in range(6)]
    shop.use(sale=sales[0])
    shop.use(bill_id=f"B-{name}")
    shop.till.office.world.edit("products", shop.till.cola, price=f"{price}.00")
    shop.fail(FAULTS[name])
    for _ in range(1 if name in SLOW else 2):
        shop.line.clear()
        began = time.monotonic()
        shop.poll(PAUSE_S)
        if name in SLOW:
            assert time.monotonic() - began < ALONE_S_MAX, f"{name}: a slow answer outlasts its time limit"
        # A stale receipt makes the agent offer all it has delivered, once in a comparison.
        asked_max = ASKED_MAX + (len(shop.recorded) if name == "cached_answer" else 0)
        assert shop.line.asked() <= asked_max, f"{name}: a storm of requests: {shop.line.seen}"
        assert not shop.delivered_early(), f"{name}: acknowledged before head office had it"
    words, left = shop.words(), shop.waiting()
    if name in NO_WORD and shop.is_native:
        assert left, f"{name}: acknowledged without head office's word"
    if name in SAYS:
        assert left, f"{name}: nothing could have gone up"
        assert any(part.lower() in words.lower() for part in SAYS[name]), f"{name}: {words}"
    assert not left or "safe on this device" in words, f"{name}: {words}"
    shop.heal()
    assert shop.till.agent.status()["last_error"] is None, name
    assert shop.till.agent.status()["quarantined"] == held_before, name
    return shop.count()


OF_ITS_OWN = ("connection lost", "requests and answers repeated or out of order")  # where single sales go other ways
SUITES = [
    pytest.param(
        family, profile, marks=[pytest.mark.slow] if profile == "baseline" and family not in OF_ITS_OWN else []
    )
    for family in FAMILIES
    for profile in ("native", "baseline")
]


@pytest.mark.parametrize(("family", "profile"), SUITES)
def test_a_fault_of_the_line_costs_nothing(open_shop: Make, evidence: Make, family: str, profile: str) -> None:
    """Whatever happens to every exchange for a while: it is said, it ends, and the books are exact after it."""
    with open_shop(profile, limits=IMPATIENT if family == "slow answer" else {}) as shop:
        for number, name in enumerate(FAMILIES[family]):
            count = suffer(shop, name, 8_000 + number)
            evidence(f"wire: {family}", 1, lost=count.lost, doubled=count.doubled, stuck=count.stuck)
            assert count.is_clean, f"{name}: {count}"
            assert shop.money_agrees(), name
            assert shop.till.catalogue_agrees(), name


def test_a_dead_line_is_asked_once_a_cycle(open_shop: Make) -> None:
    """Refused connections, resets: one request with its quick retries, whatever waits and in however many lanes."""
    with open_shop() as shop:
        sale = shop.sell()
        shop.use(sale=sale)
        shop.use(bill_id="B-1")
        shop.fail(FAULTS["reset_before_commit"])
        for _ in range(5):
            shop.line.clear()
            shop.poll(PAUSE_S)
            assert len({route for route, _ in shop.line.seen}) == 1
            assert shop.line.asked() <= TRIES_MAX


def test_a_refused_connection_costs_nothing(open_shop: Make, evidence: Make) -> None:
    """A port that nobody listens on: said at once, no request, and everything goes up when it opens again."""
    with open_shop() as shop:
        shop.sell()
        shop.use(bill_id="B-1")
        known = shop.till.agent.status()["last_success_at"]
        shop.line.stop()
        for _ in range(3):
            shop.poll(PAUSE_S)
            shop.sell()
        status = shop.till.agent.status()
        assert (status["head_office"]["reachable"], status["last_success_at"]) == (False, known)
        assert "can't be reached" in shop.words()
        shop.line.start()
        shop.heal()
        count = shop.count()
        evidence("wire: connection lost", 1, lost=count.lost, doubled=count.doubled, stuck=count.stuck)
        assert count.is_clean
        assert shop.money_agrees()


@pytest.mark.parametrize("name", ["reset_before_commit", "hang", "captive_portal"])
def test_a_failed_cycle_is_no_contact(open_shop: Make, name: str) -> None:
    """What status calls the last contact is the last cycle that worked, and no later one (G11)."""
    with open_shop(limits=IMPATIENT) as shop:
        shop.sell()
        known = shop.till.agent.status()["last_success_at"]
        shop.fail(FAULTS[name])
        shop.poll(PAUSE_S)
        shop.poll(0)  # within the backoff: asks nobody
        assert shop.till.agent.status()["last_success_at"] == known


def test_a_bomb_stays_packed(open_shop: Make) -> None:
    """An answer that unpacks to far more than the limit costs memory of the limit's size, not of its own."""
    with open_shop() as shop:
        shop.sell()
        shop.fail(FAULTS["gzip_bomb"])
        shop.poll(PAUSE_S)
        tracemalloc.start()
        try:
            shop.poll(PAUSE_S)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 * LIMITS["answer_bytes_max"] < BOMB_BYTES / 10


@pytest.mark.parametrize("name", ["busy_429_for_seconds", "busy_until_a_date"])
@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_a_busy_head_office_is_left_alone_until_its_time(open_shop: Make, name: str, profile: str) -> None:
    """A storm of 429: nothing is asked before the moment head office named, in seconds or as a date."""
    with open_shop(profile) as shop:
        shop.sell()
        shop.fail(FAULTS[name])
        shop.poll(0)
        for _ in range(4):
            shop.line.clear()
            shop.poll(RETRY_AFTER_S / 6)
            shop.sell()
            assert not shop.line.asked()
        shop.restart()
        shop.fail(None)
        shop.poll(RETRY_AFTER_S / 6)
        assert not shop.line.asked()
        shop.poll(RETRY_AFTER_S / 3 + 5)
        assert shop.waiting() == 0


def test_a_wrong_hint_of_the_time_storms_nobody(open_shop: Make) -> None:
    """A Retry-After that is no time, or none at all, is answered by the agent's own growing waits."""
    with open_shop() as shop:
        shop.till.clock.rolls = 0.0
        shop.sell()
        shop.fail(FAULTS["busy_429_garbage"])
        shop.poll(0)
        shop.line.clear()
        shop.poll(0)
        assert not shop.line.asked()


def test_no_token_travels_to_another_address(open_shop: Make) -> None:
    """A redirect is told, not followed, whatever method it answers."""
    with open_shop() as shop:
        shop.sell()
        for name in ("moved_301", "moved_307"):
            shop.fail(FAULTS[name])
            shop.line.clear()
            shop.poll(PAUSE_S)
            assert not shop.line.asked("GET elsewhere", "POST elsewhere")
            assert "moved" in shop.words()


def test_what_follows_an_answer_is_nobodys_answer(open_shop: Make) -> None:
    """Bytes behind an answer never acknowledge the next request, even where they are an answer word for word (G3)."""
    with open_shop() as shop:
        shop.use(bill_id="B-1")
        shop.poll(0)
        [old] = shop.line.answers["POST usage"]

        def slips_one_in(exchange: Exchange) -> None:
            exchange.say(exchange.deliver().raw() + old.raw())

        def loses_uses(exchange: Exchange) -> None:
            if exchange.request.route == "POST usage":
                exchange.reset()
            slips_one_in(exchange)

        for _ in range(4):
            shop.sell()
        shop.use(bill_id="B-2")
        shop.fail(loses_uses)
        shop.poll(PAUSE_S)
        assert not shop.delivered_early()
        shop.heal()
        assert shop.count().is_clean


@pytest.mark.parametrize("profile", ["native", "baseline"])
def test_a_page_that_was_stale_is_asked_for_again(open_shop: Make, profile: str) -> None:
    """A version ahead of its pages (a proxy, a copy that lags) is caught up with on schedule, unasked (G5, G10)."""
    with open_shop(profile) as shop:
        world, cola = shop.till.office.world, shop.till.cola
        world.edit("products", cola, price="8000.00")
        shop.poll(HEALING_PAUSE_S)
        assert shop.till.catalogue_agrees()
        world.edit("products", cola, price="9000.00")
        shop.fail(FAULTS["answer_to_another_page"])
        shop.line.answers = {"GET products": shop.line.answers["GET products"]}
        shop.poll(PAUSE_S)
        assert not shop.till.catalogue_agrees(), "nothing was stale"
        shop.heal()
        assert shop.till.catalogue_agrees()
