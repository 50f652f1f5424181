"""The simple layout: a head office's data as tables that people keep (docs/head-office-data.md).

Things are named as people name them: products by SKU, categories and stores by code, brands by name. Ids may be left
out; then they are made from these names, the same at every load. A product's is that which a till would make for a
one-off product of the same SKU (contract, section 5).
"""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ho_stub.columns import COMPANY, Column, Row, checked, columns_of
from ho_stub.seed import Dataset
from ho_stub.tables import Place, TableError, read_json, read_rows

NAMESPACE = uuid.UUID("0b9d6a0e-51c8-5f4a-8f0e-7f3f0f6b2a11")
SUFFIXES = (".csv", ".json", ".toml")

Rows = list[tuple[Place, Row]]


def is_simple(paths: Sequence[Path]) -> bool:
    """Whether files or a folder are of this layout: it alone has tables, or a company that stands in a file alone."""
    if len(paths) == 1 and paths[0].is_dir():
        return (paths[0] / "company.json").is_file()
    tables = any(path.suffix in (".csv", ".toml") for path in paths)
    return tables or any(path.name == "company.json" and "company" not in read_json(path) for path in paths)


def load(paths: Sequence[Path]) -> Dataset:
    """Read a folder of this layout, or its files one by one.

    Raises:
        TableError: a mistake, with its file, line, column and mend.
    """
    files = _files(paths)
    company = _company(files)
    tables = {name: _read(files.get(name), columns) for name, columns in columns_of(company["currency"]).items()}
    if not tables["stores"]:
        raise TableError("stores: there is no store. Give a stores.csv with at least one.")
    return _Builder(company, tables).dataset([dict(row) for _, row in _promotions(files.get("promotions"))])


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    """Table → its file."""
    known = ("company", *columns_of("USD"), "promotions")
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(path for path in paths[0].iterdir() if path.suffix in SUFFIXES and path.stem in known)
    files: dict[str, Path] = {}
    for path in paths:
        if path.stem not in known or path.suffix not in SUFFIXES:
            raise TableError(f"{path}: is not one of the layout's files: {', '.join(known)}, each as .csv or .json.")
        if path.stem in files:
            raise TableError(f"{path.stem}: is given twice, as {files[path.stem].name} and {path.name}. Keep one.")
        files[path.stem] = path
    if "company" not in files:
        raise TableError("company.json is missing: it holds name, timezone and currency.")
    return files


def _company(files: Mapping[str, Path]) -> Row:
    path = files["company"]
    at = Place(path.name, "the company")
    found = read_json(path)
    if not isinstance(found, dict):
        raise TableError(f"{path.name}: must be an object with name, timezone and currency.")
    company = checked(at, found, COMPANY)
    return company | {"id": company["id"] or str(uuid.uuid5(NAMESPACE, f"company:{company['name']}"))}


def _promotions(path: Path | None) -> Sequence[tuple[Place, Mapping[str, Any]]]:
    """Definitions are checked when they are compiled, by what they name."""
    if path is not None and path.suffix == ".csv":
        raise TableError(f"{path.name}: promotions are no table. Give promotions.json or promotions.toml.")
    return () if path is None else list(read_rows(path))


def _read(path: Path | None, columns: Mapping[str, Column]) -> Rows:
    return [] if path is None else [(at, checked(at, row, columns)) for at, row in read_rows(path)]


class _Builder:
    """Rows of the contract from checked tables: names become ids."""

    def __init__(self, company: Row, tables: Mapping[str, Rows]) -> None:
        self._company = company
        self._tables = tables
        self._namespace = uuid.UUID(company["id"])
        named = [row["brand"] for table in ("stores", "categories", "products") for _, row in tables[table]]
        self._brands = {name: self._made(f"brand:{name}") for name in dict.fromkeys(filter(None, named))}
        if not self._brands:
            self._brands = {company["name"]: self._made(f"brand:{company['name']}")}
        self._stores = self._ids("stores", "code", "store")
        self._categories = self._ids("categories", "code", "category")
        self._products = self._ids("products", "sku", "product")

    def _made(self, name: str) -> str:
        return str(uuid.uuid5(self._namespace, name))

    def _ids(self, table: str, key: str, noun: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for at, row in self._tables[table]:
            if row[key] in found:
                raise at.wrong(key, f"{row[key]} is there already; keep one of the two")
            found[row[key]] = row["id"] or self._made(f"{noun}:{row[key]}")
        return found

    def _brand(self, name: str | None) -> str | None:
        """The brand named; where none is, the only one there is."""
        if name is None:
            return next(iter(self._brands.values())) if len(self._brands) == 1 else None
        return self._brands[name]

    @staticmethod
    def _named(ids: Mapping[str, str], at: Place, row: Row, column: str, table: str) -> str | None:
        if row[column] is None:
            return None
        if row[column] not in ids:
            raise at.wrong(column, f"{table} has no {row[column]}; add it there or mend it here")
        return ids[row[column]]

    def dataset(self, promotions: list[Row]) -> Dataset:
        """Everything, for a new head office."""
        company, tables = self._company, self._tables
        return Dataset(
            company=company,
            brands=[{"id": brand_id, "name": name} for name, brand_id in self._brands.items()],
            stores=[self._store(row) for _, row in tables["stores"]],
            categories=[self._category(at, row, place) for place, (at, row) in enumerate(tables["categories"])],
            products=[self._product(at, row) for at, row in tables["products"]],
            promotions=promotions,
            stock=self._stock(),
            accounts=[self._account(at, row) for at, row in tables["accounts"]],
        )

    def _store(self, row: Row) -> Row:
        return {
            "id": self._stores[row["code"]],
            "code": row["code"],
            "name": row["name"] or f"Store {row['code']}",
            "timezone": row["timezone"] or self._company["timezone"],
            "day_start": row["day_start"] or "00:00",
            "currency": row["currency"] or self._company["currency"],
            "brand_id": self._brand(row["brand"]),
        }

    def _category(self, at: Place, row: Row, place: int) -> Row:
        order = row["display_order"]
        return {
            "id": self._categories[row["code"]],
            "brand_id": self._brand(row["brand"]),
            "name": row["name"] or row["code"],
            "code": row["code"],
            "parent_id": self._named(self._categories, at, row, "parent", "categories"),
            "display_order": place if order is None else order,
            "image_url": row["image_url"],
            "is_active": row["is_active"] is not False,
        }

    def _product(self, at: Place, row: Row) -> Row:
        plain = ("sku", "name", "barcode", "price", "cost", "reorder_level", "description", "image_url")
        return {name: row[name] for name in plain} | {
            "id": self._products[row["sku"]],
            "brand_id": self._brand(row["brand"]),
            "store_id": self._named(self._stores, at, row, "store", "stores"),
            "category_id": self._named(self._categories, at, row, "category", "categories"),
            "is_active": row["is_active"] is not False,
            "is_volatile": bool(row["is_volatile"]),
            "has_modifiers": bool(row["has_modifiers"]),
        }

    def _stock(self) -> list[Row]:
        figures: dict[tuple[str | None, str | None], Row] = {}
        for at, row in self._tables["stock"]:
            store = self._named(self._stores, at, row, "store", "stores")
            product = self._named(self._products, at, row, "sku", "products")
            if (store, product) in figures:
                raise at.wrong(
                    "sku", f"{row['sku']} has a figure for store {row['store']} already; keep one of the two"
                )
            figures[store, product] = {
                "store_id": store,
                "product_id": product,
                "quantity": row["quantity"],
                "reorder_level": row["reorder_level"],
            }
        return list(figures.values())

    def _account(self, at: Place, row: Row) -> Row:
        return {
            "username": row["username"],
            "password": row["password"],
            "store_id": self._named(self._stores, at, row, "store", "stores"),
            "company": row["company"] is not False,
        }
