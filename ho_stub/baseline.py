"""Downloads as a baseline head office gives them: by time, with the gaps of the field (contract section 4)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import Response

from ho_stub.call import Call
from ho_stub.cursor import Scope
from ho_stub.errors import bad_request
from ho_stub.rows import baseline_row, micros, utc_now


def download(call: Call, scope: Scope, updated_since: str | None, more: dict[str, Any]) -> Response:
    """No tombstones, inactive rows just gone, promotions cut with no way to the rest."""
    feed = call.world.feed
    if updated_since is None:
        found = feed.everything(scope, active_only=True)
    else:
        since = moment(updated_since, ZoneInfo(call.world.company["timezone"]))
        found = feed.since(scope, since, active_only=True)
    available = len(found)
    if scope.dataset == "promotions":
        found = found[: int(str(call.world.settings()["max_promotions_per_sync"]))]
    rows = [baseline_row(scope.dataset, msgspec.json.decode(body, type=dict[str, Any])) for body in found]
    rest = {"deleted_ids": [], "sync_timestamp": utc_now(), "total": len(rows), "total_available": available}
    return call.answer(msgspec.json.encode({scope.dataset: rows} | rest | more))


def moment(text: str, naive_zone: ZoneInfo | None) -> int:
    """Microseconds of `updated_since`. A baseline head office reads a time without an offset in local time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise bad_request("updated_since must be an ISO 8601 time.", "INVALID_DATE_FORMAT") from exc
    if moment.tzinfo is None:
        if naive_zone is None:
            raise bad_request("updated_since needs its offset, like Z or +07:00.", "INVALID_DATE_FORMAT")
        moment = moment.replace(tzinfo=naive_zone)
    return micros(moment.isoformat())
