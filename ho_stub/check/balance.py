"""The books after the sales of this check: they agree with the till's, and come to nothing (sections 5 and 6)."""

from decimal import Decimal

from ho_stub.check.table import Finding, Group, failed, gap, judged, passed
from ho_stub.check.till import MARK, NAME, SKU, till_of
from ho_stub.check.visit import Skip, Visit

balance = Group("The books afterwards")


@balance.check(
    "receipts.agree",
    "6",
    "The receipts count what was accepted, refused and seen",
    "Tills offer again what head office has, or believe it has what it lost.",
    "Keep a line for each sequence number seen, and sum the declared totals signed by kind.",
    needs="receipts",
    writes=True,
)
def receipts(visit: Visit) -> Finding:
    till = till_of(visit)
    _ = till.first
    found = visit.get("receipts", {"device_id": visit.device_id, "journal_id": visit.journal_id}).object()
    signed = sum(Decimal(sale["total_amount"]) * (1 if sale["kind"] == "sale" else -1) for sale in till.accepted)
    wanted = {"contiguous_seq": till.seq, "highest_seq": till.seq, "count": len(till.accepted), "missing": []}
    wanted |= {"refused": sorted(set(till.refused))}
    wrong = [f"{name} is {found.get(name)!r}, not {due!r}" for name, due in wanted.items() if found.get(name) != due]
    if Decimal(str(found.get("total_amount"))) != signed:
        wrong.append(f"total_amount is {found.get('total_amount')!r}, not {signed}")
    return judged(wrong, f"{len(till.accepted)} accepted, {len(set(till.refused))} refused")


@balance.check(
    "sales.listed",
    "5",
    "A sale can be looked up by its external_id",
    "After a lost answer nobody can ask what became of the sale.",
    "Answer GET /api/sales/?external_id= with {count, results: [{external_id, kind, total_amount, …}]}.",
    needs="sales_batch",
    writes=True,
)
def listed(visit: Visit) -> Finding:
    sale = till_of(visit).first[0][0]
    found = till_of(visit).held(sale["external_id"])
    if found is None:
        return gap(f"{visit.options.sales_path} gives no list")
    if len(found) != 1:
        return failed(f"it is there {len(found)} times") if found else gap("it is not in the list")
    one = found[0]
    wrong = [f"{name} is {one.get(name)!r}" for name in ("kind", "business_date") if one.get(name) != sale[name]]
    total_amount = one.get("total_amount")
    if not isinstance(total_amount, str) or Decimal(total_amount) != Decimal(sale["total_amount"]):
        wrong.append(f"total_amount is {total_amount!r}")
    return judged(wrong)


@balance.check(
    "sales.void",
    "5",
    "Every sale of this check can be taken back by a void, and the journal comes to nothing",
    "Mistakes at the till stay in head office's books.",
    "Take `void` and `refund`, with `refers_to`, as sales with the other sign, and subtract them.",
    needs="sales_batch",
    writes=True,
)
def void(visit: Visit) -> Finding:
    till = till_of(visit)
    sold = [sale for sale in till.accepted if sale["kind"] == "sale"] if till.sold else []
    if not sold:
        raise Skip("no sale was taken")
    voids = [till.void_of(sale) | {"total_amount": sale["total_amount"]} for sale in sold]
    found = till.send(*voids)
    wrong = [f"{one.get('status')}: {one.get('error')}" for one in found.values() if one.get("status") != "created"]
    if "receipts" in visit.announced:
        receipts = visit.get("receipts", {"device_id": visit.device_id, "journal_id": visit.journal_id}).object()
        amount = Decimal(str(receipts.get("total_amount")))
        wrong += [f"the receipts come to {amount}"] if amount else []
    behind = f"{len(voids)} sales and their voids of device {visit.device_id}, marked “{MARK}”: they come to 0."
    visit.left.sentences.append(f"{len(sold)} sales of device {visit.device_id} that count." if wrong else behind)
    visit.left.sentences.append(f"the product {SKU}, “{NAME}”, which later checks use again.")
    return judged(wrong, f"{len(voids)} sales")


@balance.check(
    "books.still-there",
    "5",
    "What was taken at the start is still there at the end",
    "Head office lost sales that it had acknowledged: a restore from a backup, or a copy that lags.",
    "After a restore start a new epoch: tills then offer again what is missing.",
    writes=True,
)
def still_there(visit: Visit) -> Finding:
    sale_id = till_of(visit).a_sale_id
    held = till_of(visit).held(sale_id)
    if held is None:
        raise Skip("sales can't be looked up")
    return passed() if held else gap(f"the sale {sale_id} is gone")
