"""An edge-side, offline-first sync agent: selling never waits for head office, and no sale is lost or counted twice.

The floors, each importing only from those below it:

    cli/           edge-agent: parse, call one function, print
    daemon/        edge-agent run: one agent, a timetable, a log; web/ is the loopback API, pages/ the status page
    doctor/        what is wrong with a device, each thing with its mend
    today.py  forms.py  records.py  redaction.py    what screens and programs read and write, for cli/ and daemon/
    agent.py       EdgeAgent, what a POS embeds: the only place that builds and wires parts
    background.py  loop.py  listener.py  watch.py  syncer.py  news.py       running cycles: when, under which lock
    catalog.py  health.py  recorded.py  status.py  setup.py  portable.py    what the agent offers, one noun a file
    nightly.py  recovery.py  restore.py                                     backups, and damaged journals
    sync/          the use cases: push, pull, verify, receipts, heartbeat, and the cycle that runs them
    storage/       the only folder that speaks SQL: journal.db (precious), catalog.db (can be pulled again)
    head_office/   the only folder that speaks HTTP to head office
    timekeeper.py  settings.py  clock.py    head office's time, the device's settings, its clocks and dice
    domain/        pure values and rules
    errors.py      every error, by what to do about it

Nothing happens on import; heavy parts load when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing's own takes as long to load as Python itself
if TYPE_CHECKING:
    from typing import Any

    from edge_agent.agent import EdgeAgent
    from edge_agent.domain.checkout import LineCheck
    from edge_agent.domain.explain import Explanation, Step
    from edge_agent.domain.findings import Finding
    from edge_agent.domain.health import Health
    from edge_agent.domain.sale import Item, OneOff, Payment, PriceOverride
    from edge_agent.errors import (
        AlreadyRunning,
        ContractBroken,
        EdgeAgentError,
        InvalidSale,
        InvalidSettings,
        NotSignedIn,
        Refused,
        StoreBroken,
        Unreachable,
    )
    from edge_agent.news import Event
    from edge_agent.recorded import Sale, Usage

_HOMES = {
    "agent": ("EdgeAgent",),
    "news": ("Event",),
    "recorded": ("Sale", "Usage"),
    "domain.checkout": ("LineCheck",),
    "domain.explain": ("Explanation", "Step"),
    "domain.findings": ("Finding",),
    "domain.health": ("Health",),
    "domain.sale": ("Item", "OneOff", "Payment", "PriceOverride"),
    "errors": (
        "AlreadyRunning",
        "ContractBroken",
        "EdgeAgentError",
        "InvalidSale",
        "InvalidSettings",
        "NotSignedIn",
        "Refused",
        "StoreBroken",
        "Unreachable",
    ),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AlreadyRunning",
    "ContractBroken",
    "EdgeAgent",
    "EdgeAgentError",
    "Event",
    "Explanation",
    "Finding",
    "Health",
    "InvalidSale",
    "InvalidSettings",
    "Item",
    "LineCheck",
    "NotSignedIn",
    "OneOff",
    "Payment",
    "PriceOverride",
    "Refused",
    "Sale",
    "Step",
    "StoreBroken",
    "Unreachable",
    "Usage",
    "__version__",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'edge_agent' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"edge_agent.{module}"), name)
