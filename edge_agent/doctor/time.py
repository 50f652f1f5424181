"""Checks of this device's clock: promotions begin by it, sales are dated by it, certificates are judged by it."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.doctor.check import Check, Device
from edge_agent.doctor.line import Line
from edge_agent.errors import StoreBroken
from edge_agent.status import CLOCK_WRONG_MS, age_text
from edge_agent.storage import look

YEAR_MIN, YEAR_MAX = 2024, 2100
_SET_IT = (
    "Set this device's date and time right, and let it set them by itself over the network. A flat battery on the "
)
_SET_IT += "main board makes it forget them."


def year(device: Device) -> Check:
    """Whether the date can be true at all."""
    now = device.clock.now()
    if not YEAR_MIN <= now.year <= YEAR_MAX:
        return Check("date", "bad", f"This device believes it is {now:%d %b %Y}.", _SET_IT)
    return Check("date", "fine", f"This device believes it is {now.astimezone():%d %b %Y %H:%M}.")


def zone(device: Device) -> Check:
    """Whether the store's time zone is known: days and happy hours begin by it."""
    name = _told_zone(device) or (device.settings.timezone if device.settings else "")
    if not name:
        return Check(
            "time zone",
            "warn",
            "The store's time zone is not known yet; this device's own is used.",
            "The first sync brings it from head office. Or set timezone in settings.toml, such as Asia/Jakarta.",
        )
    try:
        local = device.clock.now().astimezone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return Check(
            "time zone",
            "bad",
            f"This device does not know the time zone {name}.",
            "Write timezone in settings.toml as in Asia/Jakarta, or update the package tzdata.",
        )
    return Check("time zone", "fine", f"In the store ({name}) it is {local:%H:%M}.")


def _told_zone(device: Device) -> str | None:
    try:
        with closing(look.UnwrittenCatalog(device.folder / "catalog.db")) as store:
            return store.all_meta().get("timezone")
    except (StoreBroken, AssertionError):
        return None


def clock(line: Line) -> Check:
    """This device's clock beside head office's."""
    heard = line.probe.heard if line.probe else None
    if heard is None or heard.date is None:
        return Check("clock", "skipped", "Not asked: head office does not tell the time.")
    # A Date is cut to whole seconds.
    offset = heard.date + dt.timedelta(milliseconds=500) - heard.between
    off_s = abs(offset.total_seconds())
    if off_s * 1000 <= CLOCK_WRONG_MS:
        return Check("clock", "fine", "This device's clock agrees with head office's.")
    way = "slow" if offset.total_seconds() > 0 else "fast"
    return Check("clock", "bad", f"This device's clock is {age_text(off_s)} {way}.", _SET_IT)
