"""The outbox as a table: every state of an entry, every move between them, and whose word makes it (G3).

pending ──created, duplicate──▶ delivered
   ▲  └──rejected─────────────▶ quarantined
   └─ a person's retry, or a day ───┘        delivered ──head office lost it──▶ pending

"In flight" is no state: head office takes an id once however often it is sent (G4), so a crash while sending leaves
the entry pending. "Held" is none either: it is computed from what an entry waits for.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an entry stands. The database has a CHECK of the same words."""

    PENDING = "pending"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"


class Event(StrEnum):
    """What can happen to an entry."""

    CREATED = "created"  # head office: stored now
    DUPLICATE = "duplicate"  # head office: stored before, the very same bytes
    REJECTED = "rejected"  # head office: refused this very entry
    RETRY = "retry"  # head office: not now
    RETRIED_BY_PERSON = "retried by a person"
    PUT_BACK = "put back after a storm"  # head office refused everything: its fault, not the sales'
    LOST_BY_HEAD_OFFICE = "lost by head office"
    JUDGED_ANEW = "offered again after a day"  # head office may have been mended
    COUNTED_AFTER_ALL = "counted by head office after all"  # it refused it, and took it when it came another way


MOVES: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.CREATED): State.DELIVERED,
    (State.PENDING, Event.DUPLICATE): State.DELIVERED,
    (State.PENDING, Event.REJECTED): State.QUARANTINED,
    (State.PENDING, Event.RETRY): State.PENDING,
    (State.QUARANTINED, Event.RETRIED_BY_PERSON): State.PENDING,
    (State.QUARANTINED, Event.PUT_BACK): State.PENDING,
    (State.QUARANTINED, Event.JUDGED_ANEW): State.PENDING,
    (State.QUARANTINED, Event.COUNTED_AFTER_ALL): State.PENDING,
    (State.DELIVERED, Event.LOST_BY_HEAD_OFFICE): State.PENDING,
}


class IllegalMove(ValueError):
    """A move the table does not have. Nothing was changed."""


def move(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        IllegalMove: the table has no such move.
    """
    try:
        return MOVES[state, event]
    except KeyError:
        raise IllegalMove(f"a {state} entry can't be {event}") from None
