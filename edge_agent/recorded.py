"""What recording returns: a sale or a use of a promotion, and where its delivery stands."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from edge_agent.storage.journal import RecordedSale, RecordedUsage
from edge_agent.storage.outbox import OutboxLine

__all__ = ["OutboxLine", "RecordedSale", "RecordedUsage", "Sale", "Usage", "as_sale"]


@dataclass(frozen=True, slots=True)
class Sale:
    """A recorded sale and where its delivery stands.

    Args:
        total: unsigned, exact; the kind gives the sign.
        state: ``pending``, ``delivered`` or ``quarantined`` (``code`` and ``reason`` say why).
        existing: True when this ``external_id`` had been recorded before.
        warnings: what staff may want to know; nothing of it stopped the sale.
    """

    external_id: str
    device_seq: int
    journal_id: str
    kind: str
    total: Decimal
    currency: str
    business_date: str
    fingerprint: str
    state: str
    existing: bool = False
    warnings: tuple[str, ...] = ()
    code: str | None = None
    reason: str | None = None

    @property
    def total_amount(self) -> str:
        """The total as the contract's decimal text."""
        return str(self.total)


@dataclass(frozen=True, slots=True)
class Usage:
    """A recorded use of a promotion. ``existing``: the same use had been recorded before."""

    external_id: str
    promotion_id: str
    sale_external_id: str | None
    state: str
    existing: bool


def as_sale(recorded: RecordedSale, *, existing: bool, warnings: tuple[str, ...] = ()) -> Sale:
    """A journal's sale as the caller sees it."""
    return Sale(
        external_id=recorded.external_id,
        device_seq=recorded.device_seq,
        journal_id=recorded.journal_id,
        kind=recorded.kind,
        total=Decimal(recorded.total_amount),
        currency=recorded.currency,
        business_date=recorded.business_date,
        fingerprint=recorded.fingerprint,
        state=str(recorded.state),
        existing=existing,
        warnings=warnings,
        code=recorded.code,
        reason=recorded.reason,
    )
