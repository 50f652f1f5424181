"""Lists in pages, and the numbers and days that a query names (contract section 5, `GET /api/sales/`)."""

from typing import Any
from urllib.parse import urlencode

from ho_stub.call import Call
from ho_stub.errors import bad_request
from ho_stub.sale import iso_day

PAGE_MAX = 1_000_000
PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 500


class Pages:
    """Which page of a list is wanted. Raises ContractError 400 for numbers that are none."""

    def __init__(self, call: Call, page: str, page_size: str) -> None:
        self._call = call
        self._number = counting("page", page, PAGE_MAX)
        self.size = counting("page_size", page_size, PAGE_SIZE_MAX)
        self.offset = (self._number - 1) * self.size

    def body(self, count: int, results: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer: `count`, `next` and `previous` (addresses or null), `results`."""
        has_next = self._number * self.size < count
        return {
            "count": count,
            "next": self._link(self._number + 1) if has_next else None,
            "previous": self._link(self._number - 1) if self._number > 1 else None,
            "results": results,
        }

    def _link(self, page: int) -> str:
        query = dict(self._call.request.query_params) | {"page": str(page)}
        return str(self._call.request.url.replace(query=urlencode(query)))


def counting(name: str, text: str, most: int) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise bad_request(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def days(start_date: str | None, end_date: str | None) -> tuple[str, str]:
    """The first and the last day asked for; '' where none is named."""
    start, end = (_day(text) for text in (start_date, end_date))
    if start and end and start > end:
        raise bad_request("end_date is before start_date.", "INVALID_DATE_FORMAT")
    return start, end


def one_of(name: str, text: str, words: tuple[str, ...]) -> str:
    """One of some words."""
    if text not in words:
        raise bad_request(f"{name} must be one of {', '.join(words)}.")
    return text


def _day(text: str | None) -> str:
    try:
        return iso_day(text) if text else ""
    except ValueError as exc:
        raise bad_request("Dates look like 2026-11-21.", "INVALID_DATE_FORMAT") from exc
