"""Uses of promotions count once (section 5), and signs of life are taken (section 6). All of it writes."""

import uuid
from typing import Any

from ho_stub.check.table import Finding, Group, gap, judged, passed
from ho_stub.check.till import till_of
from ho_stub.check.visit import Skip, Visit

USAGES_MAX = 500

usages = Group("Uses of promotions, and signs of life")


def _usage(visit: Visit, promotion_id: str, sale_id: str) -> dict[str, Any]:
    return {
        "external_id": str(uuid.uuid5(uuid.UUID(sale_id), f"usage:{promotion_id}:0")),
        "device_id": visit.device_id,
        "journal_id": visit.journal_id,
        "promotion_id": promotion_id,
        "bill_id": "CHECK-1",
        "sale_external_id": sale_id,
        "discount_amount": "0",
        "used_at": till_of(visit).sale_time,
        "store_id": visit.options.store_id,
        "customer_id": None,
    }


def _good(visit: Visit) -> dict[str, Any]:
    rows = visit.whole("promotions").rows
    if not rows:
        raise Skip("there are no promotions")
    return _usage(visit, str(rows[0]["id"]).lower(), till_of(visit).a_sale_id)


def _send(visit: Visit, *sent: dict[str, Any]) -> dict[str, Any]:
    return visit.post("usage", {"usages": list(sent)}).object(200, 201)


@usages.check(
    "usage.created",
    "5",
    "A use is taken",
    "Limits of promotions don't count: customers get more than was meant.",
    "Answer POST usage/ with {created, duplicates, errors, total}.",
    writes=True,
)
def created(visit: Visit) -> Finding:
    good = _good(visit)
    answer = visit.notes["usage"] = _send(visit, good)
    wrong = [f"{name} is {answer.get(name)!r}" for name, due in (("created", 1), ("errors", []), ("total", 1))
             if answer.get(name) != due]  # fmt: skip
    if not wrong:
        visit.left.sentences.append(f"one use of promotion {good['promotion_id']}, of amount 0.")
    return judged(wrong)


@usages.check(
    "usage.again",
    "5",
    "The same use again is a duplicate",
    "A use whose answer was lost counts twice, if head office goes by its own count.",
    "Keep the external_id of every use, and count duplicates apart.",
    writes=True,
)
def again(visit: Visit) -> Finding:
    answer = _send(visit, _good(visit))
    told = (answer.get("created"), answer.get("duplicates"))
    return passed() if told == (0, 1) else gap(f"created {told[0]}, duplicates {told[1]}")


def _judged(visit: Visit) -> list[dict[str, Any]]:
    """The errors to a use of an unknown promotion, and to one that is none."""
    if "bad usages" not in visit.notes:
        unknown = _usage(visit, str(uuid.uuid4()), till_of(visit).a_sale_id)
        visit.notes["bad usages"] = _send(visit, unknown, unknown | {"external_id": "x"}).get("errors")
    found: list[dict[str, Any]] = visit.notes["bad usages"]
    return found


@usages.check(
    "usage.judged",
    "5",
    "A use that can't be counted is an error",
    "Every use is answered “created”, also one that is dropped: nobody can rely on the counts.",
    "Check promotion and ids, and name what was refused in `errors`.",
    writes=True,
)
def is_judged(visit: Visit) -> Finding:
    errors = _judged(visit)
    return passed() if len(errors) == 2 else gap(f"{len(errors)} errors for two that can't be counted")


@usages.check(
    "usage.named",
    "5",
    "An error names its use by index, external_id and code",
    "A till has to guess which of its uses was refused, and why.",
    "Send {index, external_id, data, error, code}.",
    writes=True,
)
def is_named(visit: Visit) -> Finding:
    errors = _judged(visit)
    if not errors:
        raise Skip("there are no errors")
    lacking = [name for name in ("index", "external_id", "code", "error") if name not in errors[0]]
    told = [error.get("code") for error in errors]
    wrong = [f"codes are {told}"] if not lacking and told != ["UNKNOWN_PROMOTION", "INVALID_USAGE"] else []
    return judged([f"no {name}" for name in lacking] + wrong)


@usages.check(
    "usage.early",
    "5",
    "A use that comes before its sale is RETRY",
    "The use is lost, or counts for a sale that never comes.",
    "Answer the error code RETRY till the sale is there.",
    needs="native",
    writes=True,
)
def early(visit: Visit) -> Finding:
    early = _usage(visit, _good(visit)["promotion_id"], str(uuid.uuid4()))
    told = [error.get("code") for error in _send(visit, early)["errors"]]
    return passed() if told == ["RETRY"] else gap(f"codes are {told}")


@usages.check(
    "usage.too-many",
    "5",
    "501 uses are 413",
    "One batch ties up head office for all.",
    "Answer 413 PAYLOAD_TOO_LARGE beyond 500.",
    writes=True,
)
def too_many(visit: Visit) -> Finding:
    answer = visit.post("usage", {"usages": [{}] * (USAGES_MAX + 1)})
    return passed() if answer.status == 413 else gap(f"it is answered {answer.status}")


@usages.check(
    "heartbeat.taken",
    "6",
    "A sign of life is 204, and one without a device 400",
    "Head office doesn't see its fleet, though it says it does.",
    "Keep each device's last one.",
    needs="heartbeat",
    writes=True,
)
def heartbeat(visit: Visit) -> Finding:
    sign = {
        "device_id": visit.device_id, "journal_id": visit.journal_id, "agent_version": "conformance-check",
        "pending": 0, "oldest_pending_at": None, "quarantined": 0, "data_version": None, "clock_offset_ms": 0,
        "health_score": None,
    }  # fmt: skip
    answer = visit.post("heartbeat", sign)
    told = answer.status, visit.post("heartbeat", {"pending": 0}).status
    visit.left.sentences.append(f"the device {visit.device_id} in the fleet.")
    if "orders" in visit.announced and told == (200, 400):  # orders ride on heartbeats
        return passed() if isinstance(answer.object().get("orders"), list) else gap("200 without orders")
    return passed() if told == (204, 400) else gap(f"they are answered {told[0]} and {told[1]}")
