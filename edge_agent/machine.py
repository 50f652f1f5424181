"""Which machine this is, so that a journal that was cloned or moved to another one is noticed (contract, section 5)."""

from __future__ import annotations

_PURPOSE = "edge-agent journal"


def machine_identity() -> str | None:
    """A digest of the operating system's own id of this machine; None where it has none.

    It stays the same over restarts and updates. A container that is made anew counts as another machine.
    """
    import machineid

    try:
        return str(machineid.hashed_id(_PURPOSE))
    except machineid.MachineIdNotFound:
        return None
