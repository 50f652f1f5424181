"""What head office announces beyond the baseline (section 3), and what its absence means."""

from ho_stub.check.table import Finding, Group, gap, judged, not_checked, passed
from ho_stub.check.visit import ADDITIONS, CAPABILITIES, Visit

abilities = Group("What it offers")


def _offered(capability: str, consequence: str, remedy: str) -> None:
    """Puts an ability into the table."""

    @abilities.check(f"offers.{capability}", "3", f"`{capability}` is announced", consequence, remedy)
    def offered(visit: Visit) -> Finding:
        return passed() if capability in visit.announced else gap("it is not announced")


_offered(
    "cursor",
    "Deleted, deactivated and moved rows never reach tills by deltas: a daily snapshot is needed, and till then they "
    "sell what is gone. Promotions that enter their window because a day passed come with a snapshot too.",
    "Give each change a number in commit order, keep tombstones, and page by cursor.",
)
_offered(
    "sales_batch",
    "Sales go up one by one, at net prices, without their sequence numbers; refunds and voids are never posted and "
    "stay held on the till.",
    "Take POST sales/ with a result for each sale.",
)
_offered(
    "receipts",
    "Nobody finds out by itself what head office lost, or never got: after a restore from a backup the sales that "
    "went up since are gone from its books until somebody asks tills to send them again.",
    "Answer GET receipts/ from the sequence numbers seen.",
)
_offered(
    "stock",
    "Stock at the till is unknown, not zero.",
    "Serve a feed of stock figures, with the sales they contain.",
)
_offered(
    "digest",
    "A till can't verify what it holds: a row that was lost or damaged comes back with the next whole list.",
    "Sum up hashes of ids and row versions by leaves.",
)
_offered(
    "heartbeat",
    "Head office doesn't see its fleet: a till that is off, or stuck, is noticed by its missing sales.",
    "Take POST heartbeat/ and show the devices.",
)
_offered(
    "events",
    "A change reaches tills at their next poll, not within a second.",
    "Serve a stream of hints at events/.",
)
_offered(
    "gzip_requests",
    "A backlog of sales goes up uncompressed: some ten times the bytes on a store's line.",
    "Unpack gzip request bodies, to 1 MiB at most.",
)


@abilities.check(
    "offers.known",
    "3",
    "No ability is misspelt",
    "The agent ignores what it doesn't know: a misspelt ability is as good as none.",
    "Write abilities as the contract does.",
)
def known(visit: Visit) -> Finding:
    if not visit.native:
        return not_checked("head office announces no capabilities")
    unknown, lacking = sorted(visit.announced - {*CAPABILITIES, *ADDITIONS}), set(CAPABILITIES) - visit.announced
    return judged(unknown if lacking else [], ", ".join(unknown))
