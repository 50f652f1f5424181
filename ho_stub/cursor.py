"""The cursor: where a client stands in a feed. Opaque to clients, echoed byte for byte (contract section 4).

It names head office's epoch, the scope it was given for, the sequence number that everything before it has been
delivered, and while a snapshot is under way the last id sent. Two clients that stand at the same place hold the same
bytes: digests are compared by it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from ho_stub.errors import bad_request, cursor_expired

CHECK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows of which dataset. An empty `brand_id` or `store_id` doesn't filter; `window`: of promotions."""

    dataset: str
    company_id: str
    brand_id: str = ""
    store_id: str = ""
    window: str = ""

    @property
    def key(self) -> str:
        """The scope in twelve hex digits."""
        parts = (self.dataset, self.company_id, self.brand_id, self.store_id, self.window)
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Cursor:
    """`mark`: of the transaction that gave out `seq`. `after`: in a snapshot the last id sent, in a delta None."""

    epoch: str
    scope_key: str
    seq: int
    mark: int
    after: str | None = None

    def text(self) -> str:
        """The cursor as clients see it: URL-safe."""
        inner = json.dumps(
            [self.epoch, self.scope_key, self.seq, self.mark, self.after], separators=(",", ":")
        ).encode()
        return base64.urlsafe_b64encode(_check(inner) + inner).decode().rstrip("=")


def read_cursor(text: str, epoch: str, scope: Scope, mark_of: Callable[[int], int | None]) -> Cursor:
    """The cursor that `text` spells, if it may be continued here.

    Raises:
        ContractError: 400 INVALID_CURSOR for garbage; 410 CURSOR_EXPIRED for another epoch, another scope, or a place
            that this database doesn't know (it was restored from a backup).
            `mark_of` tells the mark of a number, None for one not reached.
    """
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        check, inner = raw[:CHECK_BYTES], raw[CHECK_BYTES:]
        fields = json.loads(inner)
    except (ValueError, binascii.Error) as exc:
        raise bad_request("This cursor is not one of ours.", "INVALID_CURSOR") from exc
    if check != _check(inner):
        raise bad_request("This cursor was altered.", "INVALID_CURSOR")
    cursor = Cursor(*fields)
    if cursor.text() != text:  # base64 has more than one spelling
        raise bad_request("This cursor was altered.", "INVALID_CURSOR")
    if cursor.epoch != epoch[:8]:
        raise cursor_expired("head office's database is another one now")
    if cursor.scope_key != scope.key:
        raise cursor_expired("it belongs to another store, brand, dataset or window")
    if cursor.mark != mark_of(cursor.seq):
        raise cursor_expired("head office doesn't know this place")
    return cursor


def _check(inner: bytes) -> bytes:
    return hashlib.sha256(b"ho-cursor" + inner).digest()[:CHECK_BYTES]
