"""Times of day in which head office wants the catalogue to be fetched (an addition to the contract's section 7)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence

import msgspec

WINDOWS_MAX = 48
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)

Windows = Sequence[tuple[str, str]]


def read_windows(told: object) -> list[tuple[str, str]] | None:
    """Head office's ``[{"from": "02:00", "to": "05:00"}]``.

    Args:
        told: what it said, whatever that is.

    Returns:
        The windows in the store's time, the end not included; none: any time. None when it is no such list: then what
        was told before stays.
    """
    if not isinstance(told, list) or len(told) > WINDOWS_MAX:
        return None
    found = []
    for one in told:
        ends = (one.get("from"), one.get("to")) if isinstance(one, dict) else (None, None)
        if not all(isinstance(end, str) and _TIME.fullmatch(end) for end in ends) or ends[0] == ends[1]:
            return None
        found.append((str(ends[0]), str(ends[1])))
    return found


def windows_of(facts: Mapping[str, str]) -> Windows:
    """The remembered times of day in which the catalogue is fetched; none: any time."""
    try:
        return msgspec.json.decode(facts.get("sync_windows", "[]"), type=list[tuple[str, str]])
    except msgspec.MsgspecError:
        return []


def is_open(windows: Windows, local: dt.datetime) -> bool:
    """Whether a moment in the store's time lies in a window; one whose end is before its beginning passes midnight."""
    if not windows:
        return True
    now = f"{local:%H:%M}"
    return any(begin <= now < end if begin < end else now >= begin or now < end for begin, end in windows)
