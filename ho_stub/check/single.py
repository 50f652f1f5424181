"""Sales one at a time, as a baseline head office takes them (section 5). All of it writes, and stays behind."""

import threading
import uuid
from decimal import Decimal

from ho_stub.check.line import Answer
from ho_stub.check.table import Finding, Group, failed, gap, judged, not_checked, passed
from ho_stub.check.till import MARK, NAME, SKU, Till, till_of
from ho_stub.check.visit import Skip, Visit

TRIES = 4
BETWEEN_S = 0.4
SAME_AGAIN = "A sale whose answer was lost is sent again"

single = Group("Sales one at a time")


def _till(visit: Visit) -> Till:
    if "sales_batch" in visit.announced:
        raise Skip("head office takes batches")
    till = till_of(visit)
    _ = till.first_single
    return till


@single.check(
    "single.created",
    "5",
    "A new sale is 201, with an id",
    "A till can't tell that its sale was taken.",
    "Answer 201 with the sale's external_id and id.",
    writes=True,
)
def created(visit: Visit) -> Finding:
    till = _till(visit)
    sale, answer, _ = till.first_single
    if answer.status not in (200, 201):
        return failed(f"it is answered {answer.status}: {answer.body[:80].decode(errors='replace')}")
    amount = Decimal(sale["items"][0]["quantity"]) * Decimal(till.price)
    visit.left.sentences += [
        f"a sale of {amount} from device {visit.device_id} ({MARK}), external_id {sale['external_id']}: it counts.",
        f"the product {SKU}, “{NAME}”, which later checks use again.",
    ]
    if not answer.object(200, 201).get("id"):
        return gap("there is no id")
    return passed() if answer.status == 201 else gap(f"it is answered {answer.status}")


@single.check(
    "single.soon",
    "5",
    "The same sale again at once is no fault of head office's",
    f"{SAME_AGAIN}, soon: 500 makes the till wait, and try later.",
    "Look the external_id up inside the transaction, and answer 200 when another one was first.",
    writes=True,
)
def soon(visit: Visit) -> Finding:
    answer = _till(visit).first_single[2]
    return gap(f"it is answered {answer.status}") if answer.status >= 500 else passed(str(answer.status))


def _again(visit: Visit) -> Answer:
    """The answer to the first sale sent again, once head office has had its time."""
    if "again" not in visit.notes:
        till = _till(visit)
        sale, _, answer = till.first_single
        for _ in range(TRIES):
            if answer.status < 500:
                break
            threading.Event().wait(BETWEEN_S)
            answer = till.post_single(sale)
        visit.notes["again"] = answer
    found: Answer = visit.notes["again"]
    return found


@single.check(
    "single.again",
    "5",
    "The same sale again is 200, with the same id",
    f"{SAME_AGAIN}: 201 looks like a second one; after a 400 it has to be looked up before anybody believes it lost.",
    "Look the external_id up before anything is validated, and answer 200 with the sale that is there.",
    writes=True,
)
def again(visit: Visit) -> Finding:
    answer = _again(visit)
    if answer.status != 200:
        return gap(f"it is answered {answer.status}")
    first = till_of(visit).first_single[1]
    same = answer.object().get("id") == first.object(200, 201).get("id")
    return passed() if same else failed("it has another id")


@single.check(
    "single.once",
    "5",
    "It is in the books once, and can be looked up by external_id",
    "A sale that is there twice is counted twice. One that can't be looked up: after a lost answer nobody can ask.",
    "Keep external_id unique, and answer GET with `?external_id=`.",
    writes=True,
)
def once(visit: Visit) -> Finding:
    till = _till(visit)
    _ = _again(visit)
    held = till.held(till.first_single[0]["external_id"])
    if held is None:
        return gap("sales can't be looked up")
    return passed() if len(held) == 1 else failed(f"it is there {len(held)} times")


@single.check(
    "single.content",
    "5",
    "The same id with other content is refused",
    "One of two different sales is silently lost: the id alone decides.",
    "Compare what came with what is there, and answer 400 or 409.",
    writes=True,
)
def content(visit: Visit) -> Finding:
    till = _till(visit)
    sale = till.first_single[0]
    answer = till.post_single(sale | {"items": [sale["items"][0] | {"quantity": "2"}]})
    return passed(str(answer.status)) if 400 <= answer.status < 500 else gap(f"it is answered {answer.status}")


@single.check(
    "single.mistakes",
    "5",
    "A sale that can't be booked is 400, 403 or 404",
    "A till takes 500 for a fault of head office: it is sent again for ever, instead of being set apart and told.",
    "Answer 400 to an invalid sale, 404 or 403 to a product that is not the company's.",
    writes=True,
)
def mistakes(visit: Visit) -> Finding:
    till = _till(visit)
    unknown = {"product": str(uuid.uuid4()), "quantity": "1", "unit_price": till.price}
    bad = {
        "an unknown product": till.single(items=[unknown]),
        "no lines": till.single(items=[]),
        "a quantity below 0": till.single(items=[unknown | {"quantity": "-1"}]),
    }
    told = {what: till.post_single(sale).status for what, sale in bad.items()}
    taken = [f"{what}: {status}" for what, status in told.items() if status < 400]
    return failed("; ".join(taken)) if taken else judged([f"{what}: {s}" for what, s in told.items() if s >= 500])


@single.check(
    "single.total",
    "1",
    "Totals are decimals in strings",
    "Sums of binary floats are off by a cent here and there.",
    'Send "25000.00", not 25000.0.',
    writes=True,
)
def total(visit: Visit) -> Finding:
    found = _till(visit).first_single[1].object(200, 201).get("total_amount")
    if found is None:
        return not_checked("the answer has no total_amount")
    return passed() if isinstance(found, str) else gap("total_amount is a number")
