"""``updated_since`` for a baseline head office: its own time stamp, less the overlap, in its own form (contract, 1)."""

from __future__ import annotations

import datetime as dt
import re

_STAMP = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,12})?(?P<offset>Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_AHEAD_MAX_S = 14 * 3600
_TOLERATED = dt.timedelta(minutes=2)  # between two readings of the same clock


def less_overlap(sync_timestamp: str, overlap_s: int) -> str:
    """Head office's time stamp moved back.

    Args:
        sync_timestamp: as head office gave it; one without an offset is taken as UTC.
        overlap_s: whole seconds.

    Returns:
        The same form and precision, always with an offset; unchanged when it can't be read.
    """
    match = _STAMP.fullmatch(sync_timestamp)
    if match is None:
        return sync_timestamp
    # The fraction is left alone as text, so that no digit of it is lost.
    try:
        moment = dt.datetime.fromisoformat(match["whole"]) - dt.timedelta(seconds=overlap_s)
    except (ValueError, OverflowError):  # 30 February, or before the year 1
        return sync_timestamp
    whole = moment.isoformat(sep=match["whole"][10])
    return f"{whole}{match['fraction'] or ''}{match['offset'] or 'Z'}"


def is_stamp(sync_timestamp: str) -> bool:
    """Whether a text is a time stamp that ``updated_since`` can be made of."""
    match = _STAMP.fullmatch(sync_timestamp)
    if match is None:
        return False
    try:
        dt.datetime.fromisoformat(match["whole"])
    except ValueError:
        return False
    return True


def ahead_s(sync_timestamp: str, now: dt.datetime) -> int:
    """How much further to go back for a stamp without an offset that was written in head office's local time.

    Args:
        sync_timestamp: as head office gave it.
        now: the moment by head office's clock.

    Returns:
        Seconds: 14 hours, the most that any zone is ahead, when the stamp read as UTC lies in the future; else 0.
    """
    match = _STAMP.fullmatch(sync_timestamp)
    if match is None or match["offset"]:
        return 0
    try:
        moment = dt.datetime.fromisoformat(match["whole"]).replace(tzinfo=dt.UTC)
    except ValueError:
        return 0
    return _AHEAD_MAX_S if moment > now + _TOLERATED else 0
