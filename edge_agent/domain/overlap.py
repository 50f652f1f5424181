"""``updated_since`` for a baseline head office: its own time stamp, less the overlap, in its own form (contract, 1)."""

from __future__ import annotations

import datetime as dt
import re

_STAMP = re.compile(
    r"(?P<whole>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<offset>Z|[+-]\d\d:?\d\d)?", re.ASCII
)


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
