"""What head office's answers say of the entries that were offered: a verdict each, on its own word alone (G3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from edge_agent.domain.outbox import Event
from edge_agent.errors import ContractBroken, Refused
from edge_agent.head_office import wire
from edge_agent.storage.outbox import Entry, Verdict

UNNAMED = "UNNAMED"  # an error that is about none of what was sent
_ACCEPTED = {"created": Event.CREATED, "duplicate": Event.DUPLICATE}

Again = Callable[[Entry, str, str], Verdict]
"""Makes the verdict "offer it again later" of an entry, a code and a reason."""


def of_sales(batch: Sequence[Entry], answer: wire.SalesAnswer, again: Again) -> list[Verdict]:
    """Verdicts on a batch of sales (contract, section 5: sales, native).

    Args:
        batch: as it was sent.
        answer: head office's answer; results are matched by id, whatever their order.
        again: for a sale without a clear word.
    """
    results: dict[str, list[wire.SaleResult]] = {}
    for result in answer.results:
        results.setdefault(result.external_id, []).append(result)
    return [_of_sale(entry, results.get(entry.external_id, []), again) for entry in batch]


def _of_sale(entry: Entry, results: list[wire.SaleResult], again: Again) -> Verdict:
    if not results:
        return again(entry, "NO_RESULT", "head office's answer does not mention this sale")
    result = results[0]
    if any(other.status != result.status for other in results):
        return again(entry, "CONTRADICTION", "head office's answer says two things of this sale")
    status, fingerprint = result.status.lower(), (result.fingerprint or "").strip().lower()
    if status in _ACCEPTED:
        if fingerprint != entry.fingerprint:
            # Another fingerprint, or none, acknowledges nothing: head office read something else than we froze.
            return again(entry, "FINGERPRINT_MISMATCH", "head office acknowledged other bytes than these")
        warnings = msgspec.json.encode(result.warnings).decode() if result.warnings else None
        return Verdict(entry.entry, _ACCEPTED[status], ho_id=result.id, warnings=warnings)
    if status == "rejected":
        if fingerprint not in ("", entry.fingerprint):  # no word about this very entry
            return again(entry, "FINGERPRINT_MISMATCH", "head office refused other bytes than these")
        reason = result.error or "head office gave no reason"
        return Verdict(entry.entry, Event.REJECTED, code=result.code or "REJECTED", reason=reason)
    return again(entry, result.code or "RETRY", result.error or "head office asks to send it again")


def of_usages(batch: Sequence[Entry], answer: wire.UsagesAnswer, again: Again) -> list[Verdict]:
    """Verdicts on a batch of uses: those that no error names are taken, if the numbers account for all of them.

    Raises:
        Refused: an error names none of them: the batch is to be split.
        ContractBroken: the numbers do not add up.
    """
    errors: dict[int, wire.UsageError] = {}
    for error in answer.errors or []:
        entry = _named_by(error, [entry for entry in batch if entry.entry not in errors], batch)
        if entry is None:
            raise Refused("head office refused a usage it does not name", status=422, ho_code=UNNAMED)
        errors[entry.entry] = error
    _check_numbers(batch, answer, len(errors))
    fresh = answer.created or 0
    verdicts = []
    for entry in batch:
        error_of_entry = errors.get(entry.entry)
        if error_of_entry is None:
            verdicts.append(Verdict(entry.entry, Event.CREATED if fresh > 0 else Event.DUPLICATE))
            fresh -= 1
        elif error_of_entry.code == "RETRY":
            verdicts.append(again(entry, "RETRY", error_of_entry.error or "head office asks to send it again"))
        else:
            reason = error_of_entry.error or "head office gave no reason"
            verdicts.append(Verdict(entry.entry, Event.REJECTED, code=error_of_entry.code or "REJECTED", reason=reason))
    return verdicts


def _check_numbers(batch: Sequence[Entry], answer: wire.UsagesAnswer, refused: int) -> None:
    total, created, duplicates = answer.total, answer.created, answer.duplicates
    about_others = total not in (None, len(batch), len(batch) - refused)
    # Some head offices count only what was new: then the total, given beside the errors, must say all of them.
    counts_new_alone = duplicates is None and answer.errors is not None and total == len(batch)
    if about_others or not (counts_new_alone or (created or 0) + (duplicates or 0) + refused >= len(batch)):
        raise ContractBroken(
            "head office's answer does not account for every usage", hint="Tell head office. They are kept."
        )


def _named_by(error: wire.UsageError, unnamed: Sequence[Entry], batch: Sequence[Entry]) -> Entry | None:
    """The usage an error is about: by id, by place, or by its data alone (a baseline head office).

    Args:
        error: one error of the answer.
        unnamed: the usages that no error before it named; two lines of one bill have the same data.
        batch: the usages as they were sent.
    """
    data = error.data if isinstance(error.data, dict) else {}
    external_id = error.external_id if error.external_id is not None else data.get("external_id")
    if external_id is not None:
        return next((entry for entry in unnamed if entry.external_id == external_id), None)
    if error.index is not None:
        return batch[error.index] if 0 <= error.index < len(batch) else None
    keys = ("promotion_id", "bill_id")
    if not all(key in data for key in keys):
        return None
    return next(
        (
            entry
            for entry in unnamed
            if (body := msgspec.json.decode(entry.body)) and all(body[key] == data[key] for key in keys)
        ),
        None,
    )
