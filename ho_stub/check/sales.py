"""Sales in batches: counted once, judged one by one, never lost (section 5). All of it writes."""

import gzip
import json
import uuid
from typing import Any

from ho_stub.check.table import Finding, Group, failed, gap, judged, passed
from ho_stub.check.till import fingerprint, till_of
from ho_stub.check.visit import Visit

STATUSES = ("created", "duplicate", "rejected", "retry")
BATCH_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
TOO_MUCH = "Answer 413 PAYLOAD_TOO_LARGE beyond 500 sales, and beyond 1 MiB before compression."

sales = Group("Sales in batches")


@sales.check(
    "sales.results",
    "5",
    "A batch is answered 200 with one result for each sale",
    "A sale without a result stays pending on its till, and is sent again and again.",
    "Answer each sale with its external_id, status, id, fingerprint, warnings and products.",
    needs="sales_batch",
    writes=True,
)
def results(visit: Visit) -> Finding:
    sent, found, answer = till_of(visit).first
    wrong = [] if len(answer["results"]) == len(sent) else [f"{len(answer['results'])} results for {len(sent)} sales"]
    wrong += [f"no result for sale {sale['device_seq']}" for sale in sent if sale["external_id"] not in found]
    for result in found.values():
        if result.get("status") not in STATUSES:
            wrong.append(f"status is {result.get('status')!r}")
        if not isinstance(result.get("warnings"), list) or not isinstance(result.get("products"), dict):
            wrong.append("a result without warnings or products")
    return judged(wrong)


@sales.check(
    "sales.one-bad",
    "5",
    "One bad sale is refused, and its neighbours are taken",
    "One bad sale holds up all others of its till.",
    "Make each sale a transaction of its own.",
    needs="sales_batch",
    writes=True,
)
def one_bad(visit: Visit) -> Finding:
    sent, found, _ = till_of(visit).first
    told = [(found[sale["external_id"]].get("status"), found[sale["external_id"]].get("code")) for sale in sent]
    wanted = [("created", None), ("rejected", "UNKNOWN_PRODUCT"), ("created", None)]
    if told == wanted:
        return passed()
    return failed(f"{told}") if told[1][0] == "created" else gap(f"{told}")


@sales.check(
    "sales.fingerprint",
    "5",
    "Each result has the fingerprint of what was received",
    "A sale that was changed on its way is taken for delivered; the agent keeps such a sale pending.",
    "Answer the SHA-256 of the canonical JSON (RFC 8785) of the sale; tests/contract/sale.json and canonical.json.",
    needs="sales_batch",
    writes=True,
)
def fingerprints(visit: Visit) -> Finding:
    sent, found, _ = till_of(visit).first
    wrong = [
        f"sale {sale['device_seq']}: {found[sale['external_id']].get('fingerprint')}"
        for sale in sent
        if found[sale["external_id"]].get("fingerprint") != fingerprint(sale)
    ]
    return judged(wrong)


@sales.check(
    "sales.contiguous",
    "5",
    "`contiguous_seq` counts refused sales too",
    "Tills think that sales are missing at head office, and offer them again.",
    "Count a sequence number as seen when its sale was judged, whatever became of it.",
    needs="sales_batch",
    writes=True,
)
def contiguous(visit: Visit) -> Finding:
    sent, _, answer = till_of(visit).first
    found = answer.get("contiguous_seq")
    return passed() if found == len(sent) else gap(f"it is {found!r} after {len(sent)} sales")


@sales.check(
    "sales.one-off",
    "5",
    "A one-off product is matched by its SKU, and made once",
    "The same goods stand in the catalogue twice, or as often as they are sold.",
    "Look the SKU up first; make a new one with the id UUIDv5(company id, `product:<sku>`).",
    needs="sales_batch",
    writes=True,
)
def one_off(visit: Visit) -> Finding:
    till = till_of(visit)
    sent, found, _ = till.first
    ids = {one for sale in (sent[0], sent[2]) for one in found[sale["external_id"]]["products"].values()}
    known = till.marked_product
    wanted = str(known["id"]) if known else till.one_off_id
    if len(ids) > 1:
        return failed(f"two sales made two products: {', '.join(sorted(ids))}")
    return passed("it was there" if known else "it was made") if ids == {wanted} else gap(f"{ids}, not {wanted}")


@sales.check(
    "sales.again",
    "5",
    "The same sale again is a duplicate, with the same id",
    "A sale whose answer was lost is counted twice.",
    "Keep the external_id of every sale for ever, and answer what was answered first.",
    needs="sales_batch",
    writes=True,
)
def again(visit: Visit) -> Finding:
    sent, found, _ = till_of(visit).first
    sale = sent[0]
    first, second = found[sale["external_id"]], till_of(visit).send(sale, sale)[sale["external_id"]]
    if second.get("status") == "created" or second.get("id") != first.get("id"):
        return failed(f"{second.get('status')}, id {second.get('id')} after {first.get('id')}")
    same = all(second.get(name) == first.get(name) for name in ("fingerprint", "warnings", "products"))
    return passed() if second.get("status") == "duplicate" and same else gap(f"it is {second}")


@sales.check(
    "sales.mismatch",
    "5",
    "The same id with other content is rejected as PAYLOAD_MISMATCH",
    "One of two different sales is silently lost.",
    "Compare fingerprints, not ids alone.",
    needs="sales_batch",
    writes=True,
)
def mismatch(visit: Visit) -> Finding:
    sale = till_of(visit).first[0][0]
    result = till_of(visit).send(sale | {"receipt_number": "CHECK-OTHER"})[sale["external_id"]]
    if (told := (result.get("status"), result.get("code")))[0] in ("created", "duplicate"):
        return failed(f"it is {told[0]}")
    return passed() if told == ("rejected", "PAYLOAD_MISMATCH") else gap(f"it is {told}")


@sales.check(
    "sales.judged-anew",
    "5",
    "A refused sale that is sent again is judged anew",
    "Sales that were refused by a mistake of head office's stay refused when it is mended.",
    "Keep the refusal as a receipt, not as an answer for ever.",
    needs="sales_batch",
    writes=True,
)
def judged_anew(visit: Visit) -> Finding:
    result = till_of(visit).send(bad := till_of(visit).first[0][1])[bad["external_id"]]
    told = (result.get("status"), result.get("code"))
    return passed() if told == ("rejected", "UNKNOWN_PRODUCT") else gap(f"it is {told}")


@sales.check(
    "sales.seq-conflict",
    "5",
    "Another sale under a sequence number that is taken is created, with the warning SEQ_CONFLICT",
    "A cloned till isn't noticed, or its sales are lost.",
    "Take the sale, and warn.",
    needs="sales_batch",
    writes=True,
)
def seq_conflict(visit: Visit) -> Finding:
    till = till_of(visit)
    taken = till.first[0][0]["device_seq"]
    sale = till.sale() | {"device_seq": taken}
    till.seq -= 1
    result = till.send(sale)[sale["external_id"]]
    if result.get("status") != "created":
        return failed(f"it is {result.get('status')}: {result.get('code')}")
    return passed() if "SEQ_CONFLICT" in result["warnings"] else gap("there is no warning")


@sales.check(
    "sales.total",
    "5",
    "A total that isn't the sum of the lines is taken, with the warning TOTAL_MISMATCH",
    "The sale is lost to the books for a cent, or a wrong total goes unnoticed.",
    "Work the total out, keep the declared one, and warn.",
    needs="sales_batch",
    writes=True,
)
def total(visit: Visit) -> Finding:
    till = till_of(visit)
    sale = till.sale(total_amount="3")
    result = till.send(sale)[sale["external_id"]]
    if result.get("status") != "created":
        return gap(f"it is {result.get('status')}: {result.get('code')}")
    return passed() if "TOTAL_MISMATCH" in result["warnings"] else gap("there is no warning")


@sales.check(
    "sales.rounding",
    "1",
    "Half a cent is rounded up",
    "Head office's totals differ from those on the receipts, a cent here and there.",
    "Round each line half-up at the currency's exponent, then add; tests/contract/line_totals.json.",
    needs="sales_batch",
    writes=True,
)
def rounding(visit: Visit) -> Finding:
    till = till_of(visit)
    step = f"{till.step:f}"
    sale = till.sale(till.item("0.5", step), total_amount=step)
    result = till.send(sale)[sale["external_id"]]
    if result.get("status") != "created":
        return gap(f"half of {step} is {result.get('status')}: {result.get('error')}")
    return gap(f"0.5 × {step} is not taken for {step}") if result["warnings"] else passed(f"0.5 × {step} = {step}")


@sales.check(
    "sales.codes",
    "5",
    "What can't be booked is rejected, with the code that tells why",
    "A till can't tell a bad sale from a wrong setting: it sets sales aside that could go later.",
    "Reject with INVALID_SALE, UNKNOWN_STORE, CURRENCY_MISMATCH or UNKNOWN_PRODUCT.",
    needs="sales_batch",
    writes=True,
)
def codes(visit: Visit) -> Finding:
    till = till_of(visit)
    other = "USD" if till.currency != "USD" else "EUR"
    bad: dict[str, tuple[str, dict[str, Any]]] = {
        "another store": ("UNKNOWN_STORE", till.sale(store_id=str(uuid.uuid4()))),
        "another currency": ("CURRENCY_MISMATCH", till.sale(currency=other)),
        "a quantity of 0": ("INVALID_SALE", till.sale(till.item("0"))),
        "a quantity below 0": ("INVALID_SALE", till.sale(till.item("-1"))),
        "no lines": ("INVALID_SALE", till.sale() | {"items": []}),
        "money as a float": ("INVALID_SALE", till.sale() | {"total_amount": 1.5}),
        "an unknown kind": ("INVALID_SALE", till.sale() | {"kind": "gift"}),
        "a kind that is no text": ("INVALID_SALE", till.sale() | {"kind": {}}),
        "a void of nothing": ("INVALID_SALE", till.sale() | {"kind": "void"}),
    }
    found = till.send(*(sale for _, sale in bad.values()))
    taken, odd = [], []
    for what, (code, sale) in bad.items():
        result = found.get(sale["external_id"], {})
        if result.get("status") in ("created", "duplicate"):
            taken.append(what)
        elif (result.get("status"), result.get("code")) != ("rejected", code):
            odd.append(f"{what}: {result.get('status')} {result.get('code')}, not {code}")
    return gap(f"taken: {', '.join(taken)}") if taken else judged(odd)


@sales.check("sales.too-many", "5", "501 sales are 413", "One batch ties up head office for all.", TOO_MUCH,
             needs="sales_batch", writes=True)  # fmt: skip
def too_many(visit: Visit) -> Finding:
    answer = visit.post("sales", till_of(visit).envelope(*[{}] * (BATCH_MAX + 1)))
    return passed() if answer.status == 413 else gap(f"it is answered {answer.status}")


@sales.check("sales.too-large", "5", "A body of more than 1 MiB is 413", "One batch ties up head office for all.",
             TOO_MUCH, needs="sales_batch", writes=True)  # fmt: skip
def too_large(visit: Visit) -> Finding:
    answer = visit.post("sales", till_of(visit).envelope() | {"padding": "x" * (BATCH_BYTES_MAX + 1)})
    return passed() if answer.status == 413 else gap(f"it is answered {answer.status}")


@sales.check(
    "sales.malformed",
    "1",
    "A body that is no batch is 400",
    "A till takes 500 for a fault of head office, and sends the same again for ever.",
    "Answer 400 INVALID_REQUEST to what is no JSON object with a list of sales.",
    needs="sales_batch",
    writes=True,
)
def malformed(visit: Visit) -> Finding:
    kind = {"Content-Type": "application/json"}
    bodies = {"no JSON": b"{", "a list": b"[]", "no sales": b"{}", "sales that are no list": b'{"sales": 1}'}
    told = {what: visit.post("sales", content=body, headers=kind).status for what, body in bodies.items()}
    return judged([f"{what}: {status}" for what, status in told.items() if status != 400])


@sales.check(
    "sales.gzip",
    "1",
    "A batch may come as gzip",
    "Head office announces `gzip_requests` and can't read them: no sale goes up.",
    "Unpack `Content-Encoding: gzip`, or announce nothing.",
    needs="gzip_requests",
    writes=True,
)
def gzip_request(visit: Visit) -> Finding:
    sale = till_of(visit).first[0][0]
    packed = gzip.compress(json.dumps(till_of(visit).envelope(sale)).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = visit.post("sales", content=packed, headers=headers)
    if answer.status != 200:
        return failed(f"it is answered {answer.status}")
    return passed() if answer.object()["results"][0].get("status") == "duplicate" else gap("it is no duplicate")
