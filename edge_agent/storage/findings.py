"""What is wrong with the catalogue's rows, asked of its file: set-based, streaming, in one read transaction.

Works on a catalogue whose indexes are not made yet, only slower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from edge_agent.domain.findings import OTHERS_MAX, Twin
from edge_agent.domain.scope import Shelf
from edge_agent.storage.catalog import CatalogStore
from edge_agent.storage.database import in_own_words

_IDS_PER_QUERY = 500
# The order of CatalogStore.products_where: which one of several a look-up gives. A test holds the two together.
BEST_FIRST = "is_active DESC, updated_us DESC, row_version DESC, price IS NULL, sku IS NULL, length(body) DESC, id"
_UNPRICED = "price IS NULL AND is_active AND NOT is_volatile"  # a volatile product's price is asked at each sale
_HOMELESS = "is_active AND category_id IS NOT NULL AND category_id NOT IN (SELECT id FROM categories)"
_ORPHANED = "is_active AND parent_id IS NOT NULL AND parent_id NOT IN (SELECT id FROM categories)"


def _losers(column: str) -> str:
    """Numbers of active products whose barcode or SKU another active one has, and a look-up gives that one."""
    return (
        f"SELECT number FROM (SELECT number, row_number() OVER (PARTITION BY {column} ORDER BY {BEST_FIRST}) AS place "
        f"FROM products WHERE is_active AND {column} IN (SELECT {column} FROM products "
        f"WHERE {column} > '' GROUP BY {column} HAVING count(*) > 1)) WHERE place > 1"
    )


class Row(NamedTuple):
    """A row that something is wrong with, and the id of what it lacks, if anything."""

    id: str
    name: str
    missing: str | None


class Refused(NamedTuple):
    """A refused row, and whether a last good one of its id is in use."""

    dataset: str
    id: str
    reason: str
    name: str | None
    in_use: bool


@in_own_words
class RowFindings:
    """What is wrong with the rows of a catalogue.

    Args:
        store: the catalogue.
    """

    def __init__(self, store: CatalogStore) -> None:
        self.database = store.database

    @contextmanager
    def reading(self) -> Iterator[None]:
        """One read transaction, so that all figures are of one moment. It never holds up a sale, and a pull only on an
        engine without WAL."""
        connection = self.database.connection
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")

    def _count(self, query: str, *values: object) -> int:
        return int(self.database.connection.execute(query, values).fetchone()[0])

    def _some(self, table: str, missing: str, wanted: str, limit: int) -> tuple[int, list[Row]]:
        """How many rows of a table are so, and the first of them by name."""
        total = self._count(f"SELECT count(*) FROM {table} WHERE {wanted}")
        if not total:
            return 0, []
        query = f"SELECT id, name, {missing} FROM {table} WHERE {wanted} ORDER BY name, id LIMIT ?"
        return total, [Row(*row) for row in self.database.connection.execute(query, (limit,))]

    def unpriced(self, limit: int) -> tuple[int, list[Row]]:
        """Active products without a price."""
        return self._some("products", "NULL", _UNPRICED, limit)

    def homeless(self, limit: int) -> tuple[int, list[Row]]:
        """Active products whose category is not here."""
        return self._some("products", "category_id", _HOMELESS, limit)

    def orphans(self, limit: int) -> tuple[int, list[Row]]:
        """Active categories whose parent is not here."""
        return self._some("categories", "parent_id", _ORPHANED, limit)

    def twins(self, column: str, limit: int) -> tuple[int, int, list[tuple[str, int, int]]]:
        """Barcodes or SKUs that several products have.

        Args:
            column: ``barcode`` or ``sku``.
            limit: at most so many of each sort are returned.

        Returns:
            How many values several active products have, how many only inactive ones share with at most one active,
            and the values with how many products have them and how many of those are active.
        """
        if column not in ("barcode", "sku"):
            raise ValueError(column)
        query = (
            f"WITH shared AS MATERIALIZED (SELECT {column} AS value FROM products WHERE {column} > '' "
            f"GROUP BY {column} HAVING count(*) > 1) "
            f"SELECT value, count(*), sum(is_active) FROM shared CROSS JOIN products ON {column} = value "
            "GROUP BY value ORDER BY value"
        )
        doubted = quiet = 0
        listed: list[tuple[str, int, int]] = []
        for value, total, active in self.database.connection.execute(query):
            if active > 1:
                doubted += 1
                wanted = doubted <= limit
            else:
                quiet += 1
                wanted = quiet <= limit
            if wanted:
                listed.append((value, total, active))
        return doubted, quiet, listed

    def twins_of(self, column: str, value: str) -> tuple[Twin, ...]:
        """The first products of a barcode or SKU, best first."""
        query = (
            f"SELECT id, name, price, is_active FROM products WHERE {column} = ? ORDER BY {BEST_FIRST} "
            f"LIMIT {OTHERS_MAX + 1}"
        )
        rows = self.database.connection.execute(query, (value,))
        return tuple(Twin(row_id, name, price, bool(is_active)) for row_id, name, price, is_active in rows)

    def refused_counts(self) -> dict[str, int]:
        """How many rows of each dataset are refused."""
        return dict(self.database.connection.execute("SELECT dataset, count(*) FROM refused GROUP BY dataset"))

    def refused(self, dataset: str, limit: int) -> list[Refused]:
        """Refused rows of a dataset, the longest known first; the name is that of the last good one."""
        if dataset not in ("categories", "products", "promotions", "stock"):
            raise ValueError(dataset)
        joined = (
            "NULL, EXISTS (SELECT 1 FROM stock t WHERE t.product_id = r.id) FROM refused r"
            if dataset == "stock"
            else f"t.name, t.id IS NOT NULL FROM refused r LEFT JOIN {dataset} t ON t.id = r.id"
        )
        query = f"SELECT r.dataset, r.id, r.reason, {joined} WHERE r.dataset = ? ORDER BY r.first_ms, r.id LIMIT ?"
        rows = self.database.connection.execute(query, (dataset, limit))
        return [Refused(name, row_id, reason, known, bool(there)) for name, row_id, reason, known, there in rows]

    def refused_ids(self, dataset: str) -> set[str]:
        """The ids of refused rows of a small dataset."""
        query = "SELECT id FROM refused WHERE dataset = ?"
        return {row_id for (row_id,) in self.database.connection.execute(query, (dataset,))}

    def parents(self) -> dict[str, tuple[str | None, str]]:
        """Every category's parent and name."""
        query = "SELECT id, parent_id, name FROM categories ORDER BY name, id"
        return {row_id: (parent, name) for row_id, parent, name in self.database.connection.execute(query)}

    def shelf(self) -> Shelf:
        """What can be sold, by category."""
        found = {category for (category,) in self.database.connection.execute(_STOCKED)}
        parents = {row_id: parent for row_id, (parent, _) in self.parents().items()}
        return Shelf(parents, frozenset(category for category in found if category is not None), None in found)

    def promotions(self) -> Iterator[bytes]:
        """Every promotion's JSON, one by one; inside :meth:`reading`."""
        connection = self.database.connection
        # Sorted without their bodies, which may be large.
        for (number,) in connection.execute("SELECT number FROM promotions ORDER BY name, id").fetchall():
            (body,) = connection.execute("SELECT body FROM promotions WHERE number = ?", (number,)).fetchone()
            yield body

    def products_of(self, ids: Sequence[str]) -> dict[str, tuple[str | None, bool]]:
        """Category and activity of those of these products that are here."""
        found: dict[str, tuple[str | None, bool]] = {}
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = ids[start : start + _IDS_PER_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT id, category_id, is_active FROM products WHERE id IN ({marks})"
            for row_id, category, is_active in self.database.connection.execute(query, part):
                found[row_id] = (category, bool(is_active))
        return found

    def rows(self) -> int:
        """Categories, products and promotions that are in use or refused, each id once."""
        total = 0
        for table in ("categories", "products", "promotions"):
            total += self._count(f"SELECT count(*) FROM {table}")
            total += self._count(
                f"SELECT count(*) FROM refused WHERE dataset = '{table}' AND id NOT IN (SELECT id FROM {table})"
            )
        return total

    def faulty_products(self, *, with_homeless: bool) -> int:
        """Products that an error or warning is about: refused ones, and in use ones that are unpriced, homeless or lose
        their barcode or SKU to another; each id once.

        Args:
            with_homeless: whether a category that is not here counts.
        """
        refused = "SELECT id FROM refused WHERE dataset = 'products'"
        flaws = [_UNPRICED, f"number IN ({_losers('barcode')})", f"number IN ({_losers('sku')})", f"id IN ({refused})"]
        flaws += [_HOMELESS] if with_homeless else []
        in_use = self._count(f"SELECT count(*) FROM products WHERE ({') OR ('.join(flaws)})")
        return in_use + self._count(f"SELECT count(*) FROM ({refused} EXCEPT SELECT id FROM products)")

    def faulty_categories(self) -> set[str]:
        """Orphaned and refused categories, by id."""
        query = f"SELECT id FROM categories WHERE {_ORPHANED}"
        return {row_id for (row_id,) in self.database.connection.execute(query)} | self.refused_ids("categories")


_STOCKED = "SELECT DISTINCT category_id FROM products WHERE is_active"
