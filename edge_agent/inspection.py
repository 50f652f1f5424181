"""Looking through the catalogue's rows for what is wrong with them; whole datasets in SQL, promotions one by one."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping

from edge_agent.domain.applicability import Here, is_over, never_applies
from edge_agent.domain.findings import Finding, circles, counts_against, duplicate, finding
from edge_agent.domain.health import Tally
from edge_agent.domain.promotion import Promotion, read_promotion
from edge_agent.domain.scope import Shelf, reaches_nothing, read_scope
from edge_agent.storage.findings import Refused, Row, RowFindings

_NAMED_MAX = 3


class Inspection:
    """One look through a catalogue.

    Args:
        rows: the catalogue's rows.
        tally: where findings are counted and listed.
        here: the store.
        now: the present moment in the store's time zone.
        whole: whether all of a dataset has come. What is not here may otherwise just not be here yet.
    """

    def __init__(
        self, rows: RowFindings, tally: Tally, here: Here, now: dt.datetime, whole: Mapping[str, bool]
    ) -> None:
        self._rows = rows
        self._tally = tally
        self._here = here
        self._now = now
        self._whole = whole

    def run(self) -> tuple[int, int]:
        """Find what is wrong; returns how many rows are valid, and how many there are."""
        rows, with_homeless = self._rows, self._whole["categories"]
        self._refused()
        self._duplicates()
        self._products()
        categories = self._categories() if with_homeless else rows.refused_ids("categories")
        promotions = self._promotions() | rows.refused_ids("promotions")
        faulty = rows.faulty_products(with_homeless=with_homeless) + len(categories) + len(promotions)
        total = rows.rows()
        return total - faulty, total

    def _refused(self) -> None:
        for dataset, total in self._rows.refused_counts().items():
            listed = [
                finding("refused row", dataset, row.id, name=row.name, detail=_refusal(row))
                for row in self._rows.refused(dataset, self._tally.listed_max)
            ]
            self._tally.many("refused row", dataset, total, listed)

    def _duplicates(self) -> None:
        for column in ("barcode", "sku"):
            doubted, quiet, listed = self._rows.twins(column, self._tally.listed_max)
            found = [
                duplicate(column, value, self._rows.twins_of(column, value), total, active)
                for value, total, active in listed
            ]
            kind = "duplicate barcode" if column == "barcode" else "duplicate SKU"
            self._tally.many(kind, "products", doubted, [one for one in found if one.kind == kind])
            self._tally.many("inactive duplicate", "products", quiet, [one for one in found if one.kind != kind])

    def _products(self) -> None:
        self._some("no price", "products", *self._rows.unpriced(self._tally.listed_max))
        if self._whole["categories"]:
            self._some("missing category", "products", *self._rows.homeless(self._tally.listed_max))

    def _some(self, kind: str, dataset: str, total: int, listed: list[Row]) -> None:
        found = [finding(kind, dataset, row.id, name=row.name, detail=_lacking(row)) for row in listed]
        self._tally.many(kind, dataset, total, found)

    def _categories(self) -> set[str]:
        """Find what is wrong with categories; returns the ids of faulty ones."""
        self._some("orphan category", "categories", *self._rows.orphans(self._tally.listed_max))
        parents = self._rows.parents()
        turning = circles({row_id: parent for row_id, (parent, _) in parents.items()})
        for row_id in turning:
            self._tally.one(finding("category in a circle", "categories", row_id, name=parents[row_id][1]))
        return self._rows.faulty_categories() | set(turning)

    def _promotions(self) -> set[str]:
        """Find what is wrong with promotions, one by one; returns the ids of faulty ones."""
        shelf = self._rows.shelf()
        faulty = set()
        for body in self._rows.promotions():
            found = None
            with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError, RecursionError):
                # One that damage spoilt comes anew with the next comparison; msgspec's errors are ValueErrors.
                found = self._promotion(read_promotion(body), shelf)
            if found is not None:
                self._tally.one(found)
                if counts_against(found.kind):
                    faulty.add(found.id)
        return faulty

    def _promotion(self, promotion: Promotion, shelf: Shelf) -> Finding | None:
        """The gravest thing that is wrong with a promotion; one that is switched off is meant to do nothing."""
        if not promotion.is_active:
            return None

        def found(kind: str, detail: str) -> Finding:
            return finding(kind, "promotions", promotion.id, name=promotion.name, detail=detail)

        over = is_over(promotion, self._now, self._here)
        if over is not None:
            return found("promotion over", over)
        never = never_applies(promotion, self._here)
        if never is not None:
            return found("promotion can't apply", never)
        if not (self._whole["products"] and self._whole["categories"]):
            return None  # what it names may still be on its way
        scope = read_scope(promotion.fields)
        if scope.is_empty:
            return None  # its rules name what it is for
        here = self._rows.products_of(scope.products)
        sold = {row_id: category for row_id, (category, is_active) in here.items() if is_active}
        if reaches_nothing(scope, sold, shelf):
            return found("promotion can't apply", "nothing that it is for can be sold here")
        if scope.everything:
            return None
        lost = [f"product {one}" for one in scope.products if one not in here]
        lost += [f"category {one}" for one in scope.categories if one not in shelf.parents]
        if not lost:
            return None
        more = f" and {len(lost) - _NAMED_MAX:,} more" if len(lost) > _NAMED_MAX else ""
        return found("scope names missing", f"{', '.join(lost[:_NAMED_MAX])}{more}")


def _refusal(row: Refused) -> str:
    return row.reason if row.in_use else f"{row.reason}; there is no good one of it yet"


def _lacking(row: Row) -> str:
    return "" if row.missing is None else f"there is no category {row.missing}"
