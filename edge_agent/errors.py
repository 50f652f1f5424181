"""Every error the agent raises, sorted by what to do about it.

    EdgeAgentError
    ├── Unreachable      wait, keep everything, try again later
    ├── NotSignedIn      stop asking, show it: a person must sign the device in
    ├── Refused          head office understood and said no: set this one aside, carry on
    │   └── CursorLost   the cursor is no longer known: take a snapshot
    ├── ContractBroken   stop this cycle, keep the cursor, show it
    ├── StoreBroken      the local store can't be used: say so at once, never pretend
    ├── AlreadyRunning   another process is syncing this home
    ├── InvalidSale      the caller's mistake: nothing was stored
    └── InvalidSettings  the caller's mistake: nothing was changed

Each carries ``hint``: one sentence for the person in the shop, saying what to do.
"""

from __future__ import annotations


class EdgeAgentError(Exception):
    """The root of the tree.

    Args:
        message: what happened, in plain words.
        hint: what the person in the shop can do about it.
    """

    code = "ERROR"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class Unreachable(EdgeAgentError):
    """Head office could not be asked, or did not answer as a head office. Nothing is lost; try again later.

    Args:
        reason: a short word for the cause: ``network``, ``tls``, ``timeout``, ``server``, ``busy``, ``redirect``,
            ``not_contract``, ``incomplete``, ``too_large``, ``route``, ``forbidden``.
        retry_after_s: seconds head office asked us to wait, if it did (contract, section 1).
        sent: whether the request may have reached head office, so that its outcome is unknown.
        may_be_one: whether head office itself spoke, so that one entry of the request may be at fault.
    """

    code = "UNREACHABLE"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "network",
        retry_after_s: float | None = None,
        sent: bool = True,
        may_be_one: bool = False,
        hint: str = "Selling goes on. Everything is kept and goes up by itself when the line is back.",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.sent = sent
        self.may_be_one = may_be_one

    @property
    def line_is_down(self) -> bool:
        """True when no head office answered at all, so that asking it anything else now is pointless."""
        return self.reason in ("network", "tls", "timeout")


class NotSignedIn(EdgeAgentError):
    """Head office does not accept this device's sign-in (contract, section 2)."""

    code = "NOT_SIGNED_IN"


class Refused(EdgeAgentError):
    """Head office understood the request and refused it (contract, sections 1 and 5).

    Args:
        status: the HTTP status, 0 when the refusal is about one sale inside an accepted batch.
        ho_code: head office's error code, empty when it gave none.
    """

    code = "REFUSED"

    def __init__(self, message: str, *, status: int = 0, ho_code: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.ho_code = ho_code


class CursorLost(Refused):
    """``410 CURSOR_EXPIRED`` or ``400 INVALID_CURSOR``: take a snapshot and sweep (contract, section 4)."""


class ContractBroken(EdgeAgentError):
    """Head office answered, but not as the contract says. The cursor stays where it is (G5)."""

    code = "CONTRACT_BROKEN"


class StoreBroken(EdgeAgentError):
    """The local store can't be opened, read or written: full disk, damage, or a file of a newer program.

    Args:
        external_id: set when a sale was being recorded: asking again with it returns the sale if it was stored.
        is_damaged: the file itself is damaged: it is moved aside, and a fresh one takes its place.
        file: the name of the database, where one is at fault.
    """

    code = "STORE_BROKEN"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        external_id: str | None = None,
        is_damaged: bool = False,
        file: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.external_id = external_id
        self.is_damaged = is_damaged
        self.file = file


class AlreadyRunning(EdgeAgentError):
    """Another process holds the sync lock of this home: one syncer at a time."""

    code = "ALREADY_RUNNING"


class InvalidSale(EdgeAgentError):
    """A sale or usage the journal refuses to take. Nothing of it was stored.

    Args:
        code: a stable word for programs, such as ``FLOAT`` or ``TOO_MANY_DECIMALS``.
        field: where the mistake is, such as ``items[0].quantity``.
        message: what is wrong.
        hint: the mend.
    """

    def __init__(self, code: str, field: str, message: str, hint: str, *, external_id: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.field = field
        self.external_id = external_id

    def __str__(self) -> str:
        return f"{self.field}: {self.message} ({self.hint})"

    def as_dict(self) -> dict[str, str]:
        """The error as ``--json`` prints it."""
        return {"code": self.code, "field": self.field, "message": self.message, "hint": self.hint}


class InvalidSettings(EdgeAgentError):
    """A setting that is missing, unknown or out of range. Names the key and the mend.

    Args:
        key: the setting's name as it stands in ``settings.toml``.
    """

    code = "INVALID_SETTINGS"

    def __init__(self, key: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key
