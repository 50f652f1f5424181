"""Taking sales and uses up to a native head office: nothing lost, nothing twice, one bad one in nobody's way."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent import Item, OneOff, Payment
from edge_agent.sync.push import STORM_REFUSALS

Make = Callable[..., Any]
SALES, USAGE = "/api/v1/sync/sales/", "/api/v1/sync/usage/"


def answering(till: Any, part: str, *answers: Any) -> list[str]:
    """Answers the first requests to a path in head office's place; None lets one through. The last one is repeated."""
    asked: list[str] = []

    def intercept(method: str, path: str) -> Any:
        if part not in path or method != "POST":
            return None
        asked.append(path)
        return answers[min(len(asked), len(answers)) - 1]

    till.office.intercept = intercept
    return asked


def states(till: Any) -> list[str]:
    return [state for (state,) in till.ledger_rows("SELECT state FROM sales ORDER BY entry")]


def test_sales_arrive_as_they_were_frozen(till: Any) -> None:
    """Head office holds the very bytes that were stored when the sale was recorded, each sale once (G2, G4)."""
    till.agent.record_sale(
        [
            Item(till.cola, "2", "7500.00", discount="1500", promotion_ids=[till.deal]),
            Item(till.bread, "0.750", "42000"),
        ],
        [Payment("cash", "45000")],
        extra={"table": 7},
    )
    sale = till.sell()
    till.sell(kind="refund", refers_to=sale.external_id)
    till.agent.record_sale([Item(product_data=OneOff("SNACK", "Snack 🍪"), quantity="1", unit_price="1.50")])
    report = till.agent.sync()
    assert (report.pushed.created, report.pushed.duplicate) == (4, 0)
    assert states(till) == ["delivered"] * 4
    assert till.books_agree()
    from edge_agent.domain.canonical import canonical_bytes

    held = {sale["external_id"]: canonical_bytes(sale["body"]) for sale in till.office.world.sales()}
    assert held == dict(till.ledger_rows("SELECT external_id, body FROM sales JOIN sale_bodies USING (entry)"))
    assert till.agent.sale(sale.external_id).state == "delivered"


def test_batches_keep_their_order_and_size(make_till: Make) -> None:
    """Sales go up in the order of their numbers, in batches by count."""
    till = make_till(batch_count_max=10)
    for _ in range(25):
        till.sell()
    assert till.agent.sync().pushed.created == 25
    assert till.paths().count("POST sales") == 3
    assert [sale["device_seq"] for sale in till.office.world.sales()] == list(range(1, 26))


def test_batches_keep_below_a_number_of_bytes(make_till: Make) -> None:
    """A batch never exceeds its bytes, and a sale that is larger than a batch still goes, alone."""
    till = make_till(batch_bytes_max=4_096)
    for _ in range(10):
        till.sell(extra={"note": "x" * 1_000})
    till.sell(extra={"note": "x" * 20_000})
    assert till.agent.sync().pushed.created == 11
    assert till.paths().count("POST sales") == 6
    assert till.books_agree()


@pytest.mark.parametrize("drops", [1, 2, 3, 5])
def test_a_lost_answer_counts_once(till: Any, drops: int) -> None:
    """Head office took it and the answer was lost: asked again, it says duplicate (G4)."""
    sale = till.sell()
    till.agent.record_usage(till.deal, "1.00", sale=sale)
    till.office.drop_after_commit = drops
    for _ in range(drops):
        till.agent.sync()
    till.agent.sync()
    assert states(till) == ["delivered"]
    assert till.books_agree()
    assert till.office.world.usage_count() == 1
    assert till.agent.status()["pending"] == 0


def test_a_rejected_sale_blocks_nobody(till: Any) -> None:
    """A refused sale is set aside with its reason; its neighbours go up; a person can retry it (G7)."""
    till.sell()
    bad = till.sell(till.nobody)
    till.sell()
    report = till.agent.sync()
    assert (report.pushed.created, report.pushed.rejected) == (2, 1)
    assert states(till) == ["delivered", "quarantined", "delivered"]
    sale = till.agent.sale(bad.external_id)
    assert (sale.state, sale.code) == ("quarantined", "UNKNOWN_PRODUCT")
    assert till.nobody in sale.reason
    assert till.agent.sync().pushed.rejected == 0
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    assert till.agent.retry([bad.external_id]) == 1
    assert till.agent.sync().pushed.created == 1
    assert till.books_agree()


def test_a_sale_without_a_result_stays_pending(till: Any) -> None:
    """Only head office's word about that very sale moves it (G3)."""
    sales = [till.sell() for _ in range(3)]
    mentioned = {"external_id": sales[1].external_id, "fingerprint": sales[1].fingerprint, "status": "created"}
    foreign = {"external_id": till.nobody, "fingerprint": "x", "status": "created"}
    answering(till, SALES, (200, {}, {"results": [mentioned, foreign]}))
    till.agent.sync()
    assert states(till) == ["pending", "delivered", "pending"]
    assert {line.code for line in till.agent.outbox()} == {"NO_RESULT"}


@pytest.mark.parametrize("status", ["created", "duplicate"])
def test_another_fingerprint_acknowledges_nothing(till: Any, status: str) -> None:
    """An answer about other bytes than ours leaves the sale pending, visibly (G3)."""
    sale = till.sell()
    answer = {"results": [{"external_id": sale.external_id, "fingerprint": "0" * 64, "status": status}]}
    answering(till, SALES, (200, {}, answer))
    till.agent.sync()
    [line] = till.agent.outbox()
    assert (line.state, line.code, line.attempts) == ("pending", "FINGERPRINT_MISMATCH", 1)
    till.office.intercept = None
    till.agent.sync()
    assert till.books_agree()


@pytest.mark.parametrize("status", ["created", "duplicate"])
def test_an_answer_without_a_fingerprint_acknowledges_nothing(till: Any, status: str) -> None:
    """A native head office must say which bytes it took; without that the sale stays pending (G3)."""
    sale = till.sell()
    answering(till, SALES, (200, {}, {"results": [{"external_id": sale.external_id, "status": status}]}))
    till.agent.sync()
    assert states(till) == ["pending"]


def test_a_retry_waits_in_the_database(till: Any, clock: Any) -> None:
    """``retry`` keeps the sale pending with a later attempt, which a restart does not forget."""
    sale = till.sell()
    clock.rolls = 0.5
    result = {"external_id": sale.external_id, "status": "retry", "code": "INTERNAL_ERROR", "error": "later"}
    answering(till, SALES, (200, {}, {"results": [result]}))
    till.agent.sync()
    [line] = till.agent.outbox()
    assert (line.state, line.code, line.reason) == ("pending", "INTERNAL_ERROR", "later")
    assert line.next_attempt_ms > clock.now_ms()


@pytest.mark.parametrize("status", ["unknown", ""])
def test_a_status_nobody_knows_keeps_the_sale(till: Any, status: str) -> None:
    """A word the contract does not have settles nothing."""
    sale = till.sell()
    result = {"external_id": sale.external_id, "fingerprint": sale.fingerprint, "status": status}
    answering(till, SALES, (200, {}, {"results": [result]}))
    till.agent.sync()
    assert states(till) == ["pending"]


HTML_TOO_LARGE = (413, {"Content-Type": "text/html"}, b"<html>413 Request Entity Too Large</html>")


@pytest.mark.parametrize("answer", [(413, {}, {"error": "large", "code": "PAYLOAD_TOO_LARGE"}), HTML_TOO_LARGE])
def test_a_batch_that_is_too_large_is_halved(till: Any, answer: Any) -> None:
    """413, from head office or from a proxy before it, halves the batch until it fits."""
    for _ in range(8):
        till.sell()
    asked = answering(till, SALES, answer, answer, None)
    assert till.agent.sync().pushed.created == 8
    assert len(asked) == 5  # 8, 4, 2, 2, 4
    assert states(till) == ["delivered"] * 8
    assert [sale["device_seq"] for sale in till.office.world.sales()] == list(range(1, 9))


@pytest.mark.parametrize("status", [400, 422])
def test_a_batch_refused_as_a_whole_is_split_until_the_culprit_is_alone(till: Any, status: int) -> None:
    """One sale that makes head office refuse the batch is found and set aside; the others go up (G7)."""
    bad = ""
    real_push = till.office.world.books.take

    def take(raw: Any) -> Any:
        from ho_stub.errors import ContractError

        if raw["external_id"] == bad:
            raise ContractError(status, "INVALID_REQUEST", "this request is wrong")
        return real_push(raw)

    for _ in range(9):
        till.sell()
    bad = till.sell().external_id
    for _ in range(9):
        till.sell()
    till.office.world.books.take = take
    report = till.agent.sync()
    assert (report.pushed.created, report.pushed.rejected) == (18, 1)
    assert (till.agent.sale(bad).state, till.agent.sale(bad).code) == ("quarantined", "INVALID_REQUEST")
    assert till.agent.status()["pending"] == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((500, {}, {"error": "oops", "code": "INTERNAL_ERROR"}), "UNREACHABLE"),
        ((502, {}, b"<html>bad gateway</html>"), "UNREACHABLE"),
        ((403, {}, {"error": "no", "code": "FORBIDDEN"}), "UNREACHABLE"),
        ((403, {}, b"<html>blocked</html>"), "UNREACHABLE"),
        ((404, {}, b"<html>not found</html>"), "UNREACHABLE"),
        ((404, {}, {"error": "no", "code": "NOT_FOUND"}), "UNREACHABLE"),
        ((405, {}, {"error": "no"}), "UNREACHABLE"),
        ((400, {}, b"<html>bad request</html>"), "UNREACHABLE"),
        ((200, {}, b"<html>please log in</html>"), "UNREACHABLE"),
        ((200, {}, {"login": "please"}), "CONTRACT_BROKEN"),
        ((200, {}, {"results": "yes"}), "CONTRACT_BROKEN"),
        ((200, {}, b""), "UNREACHABLE"),
        ((204, {}, b""), "UNREACHABLE"),
        ((301, {"Location": "https://elsewhere.example/"}, b""), "UNREACHABLE"),
        ((307, {"Location": "/api/v1/sync/elsewhere/"}, b""), "UNREACHABLE"),
    ],
)
def test_an_answer_that_is_no_word_about_sales_keeps_them_all(till: Any, answer: Any, code: str) -> None:
    """A fault of the line, the route or the set-up pauses the lane; every sale stays pending (G3)."""
    for _ in range(3):
        till.sell()
    asked = answering(till, SALES, answer)
    report = till.agent.sync()
    assert [error.code for error in report.errors] == [code]
    assert states(till) == ["pending"] * 3
    assert len(asked) <= 3
    lane = till.agent._outbox.lane("sales")
    assert (lane.failures, bool(lane.reason)) == (1, True)
    assert lane.next_attempt_ms is not None
    assert till.agent.status()["last_error"]["message"]
    assert not any("elsewhere" in path for _, path, _ in till.office.requests)
    till.office.intercept = None
    till.agent.sync()
    assert till.books_agree()
    assert till.agent._outbox.lane("sales").failures == 0


def test_a_stuck_sales_lane_does_not_hold_uses_without_a_sale(till: Any) -> None:
    """Two lanes: the one's trouble is not the other's."""
    sale = till.sell()
    till.agent.record_usage(till.deal, "1.00", sale=sale)
    free = till.agent.record_usage(till.deal, "1.00", bill_id="B-1")
    answering(till, SALES, (500, {}, {"error": "oops"}))
    till.agent.sync()
    assert [usage["external_id"] for usage in till.office.world.usages()] == [free.external_id]


def test_a_use_waits_for_its_sale_alone(till: Any) -> None:
    """A use goes up after its sale; the use of a refused sale is held with it, and with nobody else."""
    bad, good = till.sell(till.nobody), till.sell()
    held = till.agent.record_usage(till.deal, "1.00", sale=bad)
    till.agent.record_usage(till.deal, "1.00", sale=good)
    till.agent.sync()
    assert till.office.world.usage_count() == 1
    status = till.agent.status()
    assert (status["pending"], status["held"], status["quarantined"]) == (1, 1, 1)
    assert [line.external_id for line in till.agent.outbox() if line.held_by == bad.external_id] == [held.external_id]
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    till.agent.retry()
    till.agent.sync()
    assert till.office.world.usage_count() == 2
    assert till.agent.status()["pending"] == 0


def test_a_refused_use_blocks_nobody(till: Any) -> None:
    """A use of a promotion that never was is set aside; the others are taken (G7)."""
    sale = till.sell()
    till.agent.record_usage(till.nobody, "1.00", sale=sale)
    till.agent.record_usage(till.deal, "1.00", sale=sale)
    report = till.agent.sync()
    assert (report.pushed_usages.created, report.pushed_usages.rejected) == (1, 1)
    assert [(line.state, line.code) for line in till.agent.outbox()] == [("quarantined", "UNKNOWN_PROMOTION")]


def test_an_answer_that_counts_too_few_uses_keeps_them(till: Any) -> None:
    """Uses that head office does not account for stay pending (G3)."""
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    till.agent.record_usage(till.deal, "1.00", bill_id="2")
    answering(till, USAGE, (200, {}, {"created": 1, "duplicates": 0, "errors": [], "total": 2}))
    till.agent.sync()
    assert till.agent.status()["pending_usages"] == 2
    answering(till, USAGE, (200, {}, {"ok": True}))
    till.agent.sync()
    assert till.agent.status()["pending_usages"] == 2


def test_two_uses_refused_by_their_data_alone_are_both_refused(till: Any) -> None:
    """A head office that names errors by promotion and bill alone names two lines of one bill (G3)."""
    sale = till.sell()
    for line in (1, 2):
        till.agent.record_usage(till.deal, "1.00", sale=sale, line=line)
    data = {"promotion_id": till.deal, "bill_id": sale.external_id}
    errors = [{"data": data, "error": "no"}, {"data": data, "error": "no"}]
    answering(till, USAGE, (200, {}, {"created": 0, "duplicates": 0, "errors": errors, "total": 2}))
    till.agent.sync()
    assert till.agent.status()["pending_usages"] == 0
    assert till.agent.status()["quarantined"] == 2


def test_a_refused_use_is_found_by_the_id_in_its_data(till: Any) -> None:
    """Where the data holds the use's own id, that very use is refused."""
    sale = till.sell()
    uses = [till.agent.record_usage(till.deal, "1.00", sale=sale, line=line) for line in (1, 2)]
    data = {"promotion_id": till.deal, "bill_id": sale.external_id, "external_id": uses[1].external_id}
    errors = [{"data": data, "error": "no"}]
    answering(till, USAGE, (200, {}, {"created": 1, "duplicates": 0, "errors": errors, "total": 2}))
    till.agent.sync()
    assert [line.external_id for line in till.agent.outbox(state="quarantined")] == [uses[1].external_id]


def test_an_expired_token_is_renewed_once(till: Any) -> None:
    """401: refresh, else sign in anew, and carry on; nobody at the keyboard."""
    till.sell()
    till.office.world.expire_tokens()
    assert till.agent.sync().pushed.created == 1
    assert till.paths()[:3] == ["POST sales", "POST refresh", "POST sales"]
    till.sell()
    till.office.world.expire_tokens(refresh=True)
    till.office.clear_requests()
    assert till.agent.sync().pushed.created == 1
    assert till.paths()[:4] == ["POST sales", "POST refresh", "POST token", "POST sales"]


def test_a_sign_in_that_is_refused_stops_the_asking(till: Any) -> None:
    """A wrong password is asked once and shown; sales stay, selling goes on."""
    from edge_agent.settings import CREDENTIALS_NAME

    till.sell()
    till.office.world.expire_tokens(refresh=True)
    (till.agent.home / CREDENTIALS_NAME).write_text('{"password": "wrong"}')
    report = till.agent.sync()
    assert [error.code for error in report.errors] == ["NOT_SIGNED_IN"]
    assert till.paths().count("POST token") == 1
    assert states(till) == ["pending"]
    assert till.sell().state == "pending"


def test_a_rotated_refresh_token_is_kept(till: Any) -> None:
    """A new refresh token is on disk before the access token is used."""
    kept: list[Any] = []

    def intercept(method: str, path: str) -> Any:
        if "refresh" in path:
            return 200, {}, {"access": "stale", "refresh": "rotated"}
        kept.append(json.loads((till.agent.home / "tokens.json").read_text()))
        return None

    till.office.intercept = intercept
    till.office.world.expire_tokens()
    till.sell()
    till.agent.sync()
    assert {"access": "stale", "refresh": "rotated"} in kept


def test_a_refreshed_token_that_is_refused_all_the_same(till: Any) -> None:
    """Head office that refreshes and then does not know its own token: the password signs in, in the same cycle."""
    answering(till, "/api/token/refresh/", (200, {}, {"access": "stale"}))
    till.office.world.expire_tokens()
    till.sell()
    assert till.agent.sync().pushed.created == 1


def test_a_token_that_can_not_be_sent_is_not_kept(till: Any, open_agent: Make) -> None:
    """One answer with nonsense for a token does not lock the device out, not over a restart either."""
    till.office.world.expire_tokens(refresh=True)
    till.sell()
    answering(till, "/api/token/", (200, {}, {"access": "t\u00f6k\nen", "refresh": "x"}))
    assert till.agent.sync().errors
    till.office.intercept = None
    till.agent.close()
    (till.agent.home / "tokens.json").write_text('{"access": "t\\u00f6k\\nen"}')
    agent = open_agent(till.agent.home)
    assert agent.sync().pushed.created == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept_over_a_restart(till: Any, clock: Any, open_agent: Make, form: str) -> None:
    """When head office names a time, nothing is asked before it, not even by the program's next life."""
    date = email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=600), usegmt=True)
    answer = (
        429,
        {"Retry-After": "600" if form == "seconds" else date},
        {"error": "slow down", "code": "RATE_LIMITED"},
    )
    till.sell()
    asked = answering(till, SALES, answer)
    till.agent._syncer.run(asked=False)
    assert len(asked) == 1
    till.agent.close()
    agent = open_agent(till.agent.home)
    clock.advance(595)
    agent._syncer.run(asked=False)
    assert len(asked) == 1
    till.office.intercept = None
    clock.advance(10)
    agent._syncer.run(asked=False)
    assert agent.status()["pending"] == 0


def test_a_busy_head_office_is_not_asked_by_the_other_lane_either(till: Any) -> None:
    """429 is about the device: the rest of the cycle does not go on asking."""
    sale = till.sell()
    till.agent.record_usage(till.deal, "1.00", bill_id=sale.external_id)
    till.office.intercept = lambda method, path: (429, {"Retry-After": "600"}, {"error": "slow down"})
    till.agent._syncer.run(asked=False)
    assert len(till.office.requests) <= 3


def test_a_person_who_asks_waits_for_retry_after_too(till: Any, clock: Any) -> None:
    """``sync`` asks at once whatever the backoff says, but not before head office's own word; it says so."""
    till.sell()
    asked = answering(till, SALES, (503, {"Retry-After": "600"}, {"error": "busy"}), None)
    till.agent.sync()
    report = till.agent.sync()
    assert len(asked) == 1
    assert "600" in report.errors[0].message or "599" in report.errors[0].message
    clock.advance(595)
    assert not till.agent.sync().errors
    assert till.agent.status()["pending"] == 0


def test_backoff_grows_and_is_kept(till: Any, clock: Any) -> None:
    """Failure after failure the waits grow, with jitter, and stand in the database."""
    clock.rolls = 0.1
    till.sell()
    till.office.stop()
    waits = []
    for _ in range(6):
        till.agent._syncer.run(asked=False)
        circuit = till.agent._syncer._circuit.state()
        waits.append(circuit.next_attempt_ms - clock.now_ms())
        till.agent._syncer.run(asked=False)
        assert till.failures() == circuit.failures
        clock.advance(waits[-1] / 1000 + 0.1)
    assert waits == sorted(waits)
    assert waits[-1] > 8 * waits[0]
    till.office.start()
    till.agent._syncer.run(asked=False)
    assert till.books_agree()


@pytest.mark.parametrize("answer", [(500, {}, {"error": "oops"}), (429, {"Retry-After": "3000"}, {"error": "busy"})])
def test_a_clock_set_back_stalls_nothing(till: Any, clock: Any, answer: Any) -> None:
    """A wait that was stored before the clock went back by years is nobody's wait: sales go up (G11)."""
    clock.advance(days=1000)
    till.sell()
    asked = answering(till, SALES, answer)
    till.poll()
    assert asked
    till.office.intercept = None
    clock.advance(days=-1000)
    till.poll()
    assert till.agent.status()["pending"] == 0


def test_a_sale_whose_retry_lies_years_ahead_is_offered(till: Any, clock: Any) -> None:
    """So does a single sale that was to be retried by a clock that ran ahead."""
    clock.advance(days=1000)
    sale = till.sell()
    answering(till, SALES, (200, {}, {"results": [{"external_id": sale.external_id, "status": "retry"}]}))
    till.poll()
    till.office.intercept = None
    clock.advance(days=-1000)
    till.poll()
    assert till.agent.status()["pending"] == 0


def test_a_poison_storm_is_no_fault_of_the_sales(till: Any) -> None:
    """Five refusals in a row with one code and nothing accepted between: back to pending, lane paused, said."""
    bad = [till.sell(till.nobody) for _ in range(STORM_REFUSALS)]
    report = till.agent.sync()
    assert [error.code for error in report.errors] == ["POISON_STORM"]
    assert "UNKNOWN_PRODUCT" in report.errors[0].message
    assert states(till) == ["pending"] * STORM_REFUSALS
    assert till.agent._outbox.lane("sales").next_attempt_ms is not None
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    till.agent.sync()
    assert till.books_agree()
    assert {till.agent.sale(sale.external_id).code for sale in bad} == {None}


def test_a_storm_is_counted_over_cycles(till: Any) -> None:
    """Refusals that come one by one make a storm too; one that is accepted between ends the row."""
    for _ in range(STORM_REFUSALS - 1):
        till.sell(till.nobody)
        till.agent.sync()
    assert states(till) == ["quarantined"] * (STORM_REFUSALS - 1)
    till.sell()
    till.agent.sync()
    till.sell(till.nobody)
    assert not till.agent.sync().errors
    assert states(till).count("quarantined") == STORM_REFUSALS
    for _ in range(STORM_REFUSALS - 1):
        till.sell(till.nobody)
    assert [error.code for error in till.agent.sync().errors] == ["POISON_STORM"]
    assert states(till).count("quarantined") == STORM_REFUSALS - 1


def test_refusals_for_different_reasons_are_no_storm(till: Any) -> None:
    """Different codes are different faults: each sale is set aside."""
    for number in range(6):
        sale = till.sell(till.nobody)
        result = {"external_id": sale.external_id, "status": "rejected", "code": f"CODE_{number}", "error": "no"}
        answering(till, SALES, (200, {}, {"results": [result]}))
        assert not till.agent.sync().errors
    assert states(till) == ["quarantined"] * 6


def test_sales_that_were_delivered_are_not_sent_again(till: Any) -> None:
    """What head office acknowledged is not offered again."""
    till.sell()
    till.agent.sync()
    till.office.clear_requests()
    till.agent.sync()
    assert "POST sales" not in till.paths()


def test_a_shop_that_was_offline_for_long_comes_back(till: Any) -> None:
    """Hundreds of sales sold while the line was down go up in order, to the cent (G10)."""
    till.office.stop()
    for number in range(120):
        till.sell(quantity="1.250", price=f"{number}.99")
    assert till.agent.sync().errors
    status = till.agent.status()
    assert (status["pending_sales"], status["head_office"]["reachable"]) == (120, False)
    till.office.start()
    assert till.agent.sync().pushed.created == 120
    assert till.books_agree()


def test_an_old_sale_is_sent_as_it_was(till: Any, open_agent: Make) -> None:
    """A sale keeps its identity and bytes whatever the settings say when it is sent (G2)."""
    till.office.stop()
    sale = till.sell()
    till.office.start()
    agent = open_agent(till.agent.home, device_id="pos-99")
    agent.sync()
    [held] = till.office.world.sales()
    assert (held["external_id"], held["device_id"]) == (sale.external_id, "pos-02")


def test_listeners_hear_of_every_verdict(till: Any, wait_until: Make) -> None:
    """A POS that asks to be told is told of each sale, off the selling thread; one that fails disturbs no other."""
    heard: list[tuple[str, str]] = []

    def fails(event: Any) -> None:
        raise RuntimeError

    till.agent.subscribe(fails)
    end = till.agent.subscribe(lambda event: heard.append((event.name, event.details.get("external_id", ""))))
    good, bad = till.sell(), till.sell(till.nobody)
    till.agent.sync()
    wait_until(lambda: len(heard) >= 2)
    assert ("sale created", good.external_id) in heard
    assert ("sale rejected", bad.external_id) in heard
    end()


def _refusing(till: Any, *bad: str, status: int = 500) -> None:
    """Head office that fails as a whole whenever one of these sales is in the batch."""
    real = till.office.world.books.take

    def take(raw: Any) -> Any:
        from ho_stub.errors import ContractError

        if raw["external_id"] in bad:
            raise ContractError(status, "INTERNAL_ERROR", "this sale breaks me")
        return real(raw)

    till.office.world.books.take = take


def test_a_sale_that_breaks_head_office_blocks_nobody(till: Any, clock: Any) -> None:
    """Where one sale makes every batch fail with 500, it is found and offered by itself from then on (G7)."""
    bad = till.sell().external_id
    good = [till.sell() for _ in range(9)]
    _refusing(till, bad)
    for _ in range(6):
        till.poll()
        clock.advance(180)
    assert [till.agent.sale(sale.external_id).state for sale in good] == ["delivered"] * 9
    assert till.agent.sale(bad).state == "pending", "500 is never the sale's fault"
    later = till.sell()
    till.poll()
    assert till.agent.sale(later.external_id).state == "delivered", "nor does it hold up what comes after it"
    del till.office.world.books.take
    for _ in range(3):
        clock.advance(600)
        till.poll()
    assert till.books_agree()


def test_a_route_that_breaks_for_all_is_not_asked_for_each(till: Any, clock: Any) -> None:
    """Looking for a culprit costs a few requests, not one for each sale."""
    for _ in range(64):
        till.sell()
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if SALES in path else None
    for _ in range(20):
        till.office.clear_requests()
        till.poll()
        assert till.paths().count("POST sales") <= 40
        clock.advance(600)
    assert till.agent.status()["pending"] == 64
    till.office.intercept = None
    for _ in range(3):
        till.poll()
        clock.advance(600)
    assert till.books_agree()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("error", {"items": ["is wrong"]}),
        ("code", 17),
        ("warnings", "TOTAL_MISMATCH"),
        ("id", 3.5),
        ("fingerprint", "UPPER"),
        ("status", "CREATED"),
        ("contiguous_seq", "1"),
    ],
)
def test_odd_types_in_a_result_spoil_nothing(till: Any, field: str, value: Any) -> None:
    """Head office's clear word about a sale counts, whatever types the rest of its answer has."""
    sale = till.sell()
    result = {"external_id": sale.external_id, "fingerprint": sale.fingerprint, "status": "created"}
    answer: dict[str, Any] = {"results": [result, "not a result", {"status": 1}]}
    if field == "contiguous_seq":
        answer[field] = value
    else:
        result[field] = sale.fingerprint.upper() if value == "UPPER" else value
    answering(till, SALES, (200, {}, answer))
    till.agent.sync()
    assert states(till) == ["delivered"]


def test_two_words_about_one_sale_are_none(till: Any) -> None:
    """An answer that says created and rejected of the same sale settles nothing (G3)."""
    sale = till.sell()
    result = {"external_id": sale.external_id, "fingerprint": sale.fingerprint}
    both = [{**result, "status": "created"}, {**result, "status": "rejected", "code": "X", "error": "no"}]
    answering(till, SALES, (200, {}, {"results": both}))
    till.agent.sync()
    assert states(till) == ["pending"]


@pytest.mark.parametrize("order", ["XXXXXXY", "YXXXXXX", "XXXXXYY"])
def test_a_storm_is_seen_beside_another_refusal(till: Any, order: str) -> None:
    """Six in a row with one code are a storm, whatever stands before or behind them."""
    sales = [till.sell() for _ in order]
    results = [
        {"external_id": sale.external_id, "status": "rejected", "code": f"CODE_{code}", "error": "no"}
        for sale, code in zip(sales, order, strict=True)
    ]
    answering(till, SALES, (200, {}, {"results": results}), None)
    till.agent.sync()
    kept = {till.agent.sale(sale.external_id).state for sale, code in zip(sales, order, strict=True) if code == "X"}
    assert kept == {"pending"}


def test_five_really_bad_sales_at_the_head_block_nobody(make_till: Make, clock: Any) -> None:
    """After a storm another sale is tried first: if head office takes it, the refused ones were judged one by one."""
    till = make_till(batch_count_max=4)
    bad = [till.sell(till.nobody) for _ in range(STORM_REFUSALS + 1)]
    good = [till.sell() for _ in range(8)]
    for _ in range(4):
        till.poll()
        clock.advance(600)
    assert {till.agent.sale(sale.external_id).state for sale in good} == {"delivered"}
    assert {till.agent.sale(sale.external_id).state for sale in bad} == {"quarantined"}


def test_sales_go_up_while_the_version_can_not_be_asked(till: Any, clock: Any) -> None:
    """A broken version route after an outage holds no sale, and is told as what it is."""
    till.office.stop()
    till.sell()
    till.poll()
    till.office.start()
    till.office.intercept = lambda method, path: (500, {}, {"error": "oops"}) if "version" in path else None
    clock.advance(600)
    till.poll()
    assert states(till) == ["delivered"]
    error = till.agent.status()["last_error"]
    assert (error["lane"], "out of order" in error["message"]) == ("pull", True)


def test_a_refused_sale_is_judged_anew_by_itself(till: Any, clock: Any) -> None:
    """A day later head office may have been mended: a refused sale is offered again, three times, with nobody there."""
    bad = till.sell(till.nobody)
    till.poll()
    for _ in range(10):
        clock.advance(hours=13)
        till.poll()
    assert till.agent.sale_record(bad.external_id).attempts == 4
    assert till.agent.sale(bad.external_id).state == "quarantined"
    other = till.sell(till.nobody)
    till.poll()
    assert till.agent.sale(other.external_id).state == "quarantined"
    till.office.world.upsert("products", {"id": till.nobody, "name": "Found", "brand_id": till.office.brand_id})
    clock.advance(hours=25)
    till.poll()
    assert till.agent.sale(other.external_id).state == "delivered"


def test_refused_sales_that_are_judged_anew_are_no_storm(till: Any, clock: Any) -> None:
    """What head office refused one by one and refuses again is no sign that everything is refused."""
    for _ in range(STORM_REFUSALS + 1):
        till.sell(till.nobody)
        till.poll()
        till.sell()
        till.poll()
    assert states(till).count("quarantined") == STORM_REFUSALS + 1
    clock.advance(hours=25)
    assert not till.poll().errors
    assert states(till).count("quarantined") == STORM_REFUSALS + 1
    till.agent.retry()
    assert not till.poll().errors
    assert states(till).count("quarantined") == STORM_REFUSALS + 1


@pytest.mark.parametrize("asked", ["0", "Wed, 01 Jan 2020 00:00:00 GMT"])
def test_a_retry_after_of_nothing_is_no_leave_to_storm(till: Any, clock: Any, asked: str) -> None:
    """A ``Retry-After`` of no time at all still backs off, longer and longer."""
    clock.rolls = 0.05
    till.sell()
    till.office.intercept = lambda method, path: (503, {"Retry-After": asked}, {"error": "busy"})
    waits = []
    for _ in range(7):
        till.poll()
        waits.append(till.agent._outbox.lane("sales").next_attempt_ms - clock.now_ms())
        clock.advance(waits[-1] / 1000 + 0.1)
    assert waits[-1] > 10 * waits[0]


@pytest.mark.parametrize("hours", [-1, -5, -23])
def test_a_clock_set_back_by_hours_stalls_nothing(till: Any, clock: Any, hours: int) -> None:
    """An own wait is at most five minutes: one that now lies hours ahead was stored before the clock was set back."""
    clock.rolls = 0.05
    till.sell()
    till.office.stop()
    for _ in range(4):
        till.poll()
        clock.advance(290)
    clock.advance(hours=hours)
    till.office.start()
    till.poll()
    assert till.agent.status()["pending"] == 0


def test_one_sale_that_is_always_to_be_sent_again_slows_nobody(till: Any, clock: Any) -> None:
    """``retry`` for ever of one sale is told, and the others still go up together."""
    stuck = till.sell().external_id
    real = till.office.world.books.take

    def take(raw: Any) -> Any:
        from ho_stub.books import Outcome

        if raw["external_id"] == stuck:
            return Outcome(stuck, None, "retry", None, "INTERNAL_ERROR", "later")
        return real(raw)

    till.office.world.books.take = take
    for _ in range(10):
        till.sell()
        till.poll()
        clock.advance(1200)
    for _ in range(60):
        till.sell()
    till.office.clear_requests()
    till.poll()
    assert till.paths().count("POST sales") <= 3
    assert till.agent.status()["pending"] == 1
    assert till.agent.status()["stalled"][0]["head"] == stuck


def test_sales_that_are_all_to_be_sent_again_cost_few_requests(till: Any, clock: Any) -> None:
    """When nothing is taken, the ladder's small batches end after some tries."""
    for _ in range(100):
        till.sell()
    sent: list[str] = []

    def intercept(method: str, path: str) -> Any:
        if SALES in path:
            sent.append(path)
            return 200, {}, {"results": []}
        return None

    till.office.intercept = intercept
    for _ in range(10):
        sent.clear()
        till.poll()
        assert len(sent) <= 25
        clock.advance(1200)


def test_a_route_that_drops_while_the_version_works_is_not_hammered(till: Any, clock: Any) -> None:
    """The breaker counts on until a whole cycle went well."""
    from edge_agent.errors import Unreachable

    clock.rolls = 0.05
    till.sell()
    till.agent.record_usage(till.deal, "1.00", bill_id="1")
    kind = type(till.agent._syncer.connect(None))
    real, asked = kind._exchange, []

    def dropping(self: Any, method: str, path: str, **more: Any) -> Any:
        asked.append(path)
        if method == "POST" and "token" not in path:
            raise Unreachable("head office can't be reached", reason="network")
        return real(self, method, path, **more)

    kind._exchange = dropping
    try:
        for _ in range(60):
            till.poll()
            clock.advance(2)
    finally:
        kind._exchange = real
    assert len(asked) < 200


def test_damaged_tokens_cost_a_sign_in(till: Any, open_agent: Make) -> None:
    """Bytes that are no text in the token file: the password signs in."""
    till.agent.close()
    (till.agent.home / "tokens.json").write_bytes(b'{"access": "\xff\xfe", "refresh": "x"}')
    till.agent = open_agent(till.agent.home)
    till.sell()
    assert till.agent.sync().pushed.created == 1
    assert till.books_agree()
