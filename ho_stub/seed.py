"""What a head office starts with: a tiny world of its own, or a JSON file of this layout.

    {"company":    {"id": uuid, "name": text, "timezone": "Asia/Jakarta", "currency": "IDR"},
     "brands":     [{"id": uuid, "name": text}],
     "stores":     [{"id": uuid, "code": text, "name": text, "timezone": text, "day_start": "04:00",
                     "currency": "IDR", "brand_id": uuid or null}],
     "categories": [rows], "products": [rows], "promotions": [rows],
     "stock":      [{"store_id": uuid, "product_id": uuid, "quantity": "12", "reorder_level": "3" or null}],
     "accounts":   [{"username": text, "password": text, "store_id": uuid or null, "company": true}]}

Rows are those of the contract (head-office-api.md, section 4) without `row_version`; fields left out get empty values.
A promotion may also stand there as people define it (docs/promotions.md).
Money and quantities are decimals in strings. `brands`, the datasets, `stock` and `accounts` may be left out: then there
are two accounts: pos-02 / secret for the first store, office / office-demo for the pages. An account with
`"company": false` may sign in, and sees nothing.

Several files are read as one: the company stands in exactly one of them, every list may stand in any.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from ho_stub.promotions.definition import is_definition
from ho_stub.sale import is_id

Rows = Iterable[Mapping[str, Any]]


class Seed(Protocol):
    """Anything that holds a company's data; `Dataset` here and in the loader both do."""

    @property
    def company(self) -> Mapping[str, Any]: ...
    @property
    def brands(self) -> Rows: ...
    @property
    def stores(self) -> Rows: ...
    @property
    def categories(self) -> Rows: ...
    @property
    def products(self) -> Rows: ...
    @property
    def promotions(self) -> Rows: ...
    @property
    def stock(self) -> Rows: ...
    @property
    def accounts(self) -> Rows: ...


@dataclass(frozen=True)
class Dataset:
    """A company's data, each row a dict of the layout above."""

    company: Mapping[str, Any]
    stores: Rows
    brands: Rows = ()
    categories: Rows = ()
    products: Rows = ()
    promotions: Rows = ()
    stock: Rows = ()
    accounts: Rows = ()


class SeedError(ValueError):
    """The data can't be used; the message names the file, the field and the mend."""


class _Company(msgspec.Struct):
    id: str
    name: str
    timezone: str
    currency: str


class _Brand(msgspec.Struct):
    id: str
    name: str


class _Store(msgspec.Struct):
    id: str
    code: str
    name: str
    timezone: str
    currency: str
    day_start: str = "00:00"
    brand_id: str | None = None


class _Figure(msgspec.Struct):
    store_id: str
    product_id: str
    quantity: str
    reorder_level: str | None = None


class _Account(msgspec.Struct):
    username: str
    password: str
    store_id: str | None = None
    company: bool = True  # false: an account that nobody has given a company yet


class _File(msgspec.Struct):
    company: _Company | None = None
    stores: list[_Store] = []
    brands: list[_Brand] = []
    categories: list[dict[str, Any]] = []
    products: list[dict[str, Any]] = []
    promotions: list[dict[str, Any]] = []
    stock: list[_Figure] = []
    accounts: list[_Account] = []


def read_files(paths: Sequence[Path]) -> Dataset:
    """JSON files of the layout above, read as one.

    Raises:
        SeedError: if a file is missing, is no JSON or breaks the layout; the message names the file and the field.
    """
    files = [_read(path) for path in paths]
    names = ", ".join(map(str, paths))
    companies = [file.company for file in files if file.company is not None]
    if len(companies) != 1:
        raise SeedError(f"{names}: company is given {len(companies)} times; give it once. See ho_stub/seed.py.")
    lists = {
        name: [msgspec.to_builtins(row) for file in files for row in getattr(file, name)]
        for name in _File.__struct_fields__
        if name != "company"
    }
    if not lists["stores"]:
        raise SeedError(f"{names}: stores is empty; a head office has at least one store.")
    return Dataset(company=msgspec.to_builtins(companies[0]), **lists)


def _read(path: Path) -> _File:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as exc:
        raise SeedError(f"{path}: can't be read ({exc.strerror}). Give a JSON file, or 'sample'.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise SeedError(f"{path}: {str(exc).replace('$.', '')}. The layout is described in ho_stub/seed.py.") from exc
    for problem in _problems(file):
        raise SeedError(f"{path}: {problem}.")
    return file


def _problems(file: _File) -> Iterable[str]:
    yield from _zone_problems(file)
    named: list[tuple[str, object]] = [(f"stores[{i}]", store.id) for i, store in enumerate(file.stores)]
    named += [("company", file.company.id)] if file.company else []
    named += [(f"brands[{i}]", brand.id) for i, brand in enumerate(file.brands)]
    for dataset in ("categories", "products", "promotions"):
        rows: list[dict[str, Any]] = getattr(file, dataset)
        is_bare = {i for i, row in enumerate(rows) if is_definition(row) and row.get("id") is None}
        named += [(f"{dataset}[{i}]", row.get("id")) for i, row in enumerate(rows) if i not in is_bare]
    for at, value in named:
        if not is_id(value):
            yield f"{at}.id is {value!r}; it must be a UUID in lower case"
    for i, row in enumerate(file.products):
        price = row.get("price")
        if price is not None and not _is_decimal(price):
            yield f'products[{i}].price is {price!r}; write money as text, like "2.50"'
    for i, figure in enumerate(file.stock):
        if not _is_decimal(figure.quantity):
            yield f'stock[{i}].quantity is {figure.quantity!r}; write it as text, like "12"'


def _zone_problems(file: _File) -> Iterable[str]:
    for at, name in [
        *([("company", file.company.timezone)] if file.company else []),
        *((f"stores[{i}]", s.timezone) for i, s in enumerate(file.stores)),
    ]:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            yield f"{at}.timezone is {name!r}; it must be an IANA zone like Asia/Jakarta"


def _is_decimal(value: object) -> bool:
    try:
        return isinstance(value, str) and Decimal(value).is_finite()
    except InvalidOperation:
        return False


OFFICE: Mapping[str, Any] = MappingProxyType({"username": "office", "password": "office-demo", "store_id": None})


def tiny() -> Dataset:
    """One company, one brand, one store, a handful of rows: enough to try the contract by hand."""
    company, brand, store = (f"0000000{n}-0000-4000-8000-000000000000" for n in (1, 2, 3))
    drinks, bakery, cola, water, bread, deal = (f"0000000{n}-0000-4000-8000-000000000000" for n in "456789")
    return Dataset(
        company={"id": company, "name": "Example Retail", "timezone": "Asia/Jakarta", "currency": "IDR"},
        brands=[{"id": brand, "name": "Example"}],
        stores=[
            {"id": store, "code": "S01", "name": "Main", "timezone": "Asia/Jakarta", "day_start": "04:00",
             "currency": "IDR", "brand_id": brand}
        ],
        categories=[
            {"id": drinks, "brand_id": brand, "name": "Drinks", "code": "DRINKS", "display_order": 1},
            {"id": bakery, "brand_id": brand, "name": "Bakery", "code": "BAKERY", "display_order": 2},
        ],
        products=[
            {"id": cola, "brand_id": brand, "category_id": drinks, "name": "Cola 330 ml", "sku": "COLA-330",
             "barcode": "5000112546415", "price": "7500.00", "cost": "5000.00", "reorder_level": "6.000"},
            {"id": water, "brand_id": brand, "category_id": drinks, "name": "Water 600 ml", "sku": "WATER-600",
             "barcode": "8991234567890", "price": "3500.00", "cost": "2000.00"},
            {"id": bread, "brand_id": brand, "category_id": bakery, "name": "Bread by weight", "sku": "BREAD-KG",
             "price": "42000.00", "is_volatile": True},
        ],
        promotions=[
            {"id": deal, "brand_id": brand, "code": "COLA10", "name": "Cola 10 % off",
             "promo_type": "percent_discount", "apply_to": "product",
             "scope": {"apply_to": "product", "categories": [], "products": [cola], "exclude_categories": [],
                       "exclude_products": []},
             "rules": {"type": "percent", "discount_percent": "10"}}
        ],
        stock=[
            {"store_id": store, "product_id": cola, "quantity": "48", "reorder_level": "6"},
            {"store_id": store, "product_id": water, "quantity": "120", "reorder_level": "12"},
        ],
        accounts=[{"username": "pos-02", "password": "secret", "store_id": store}, dict(OFFICE)],
    )  # fmt: skip


Source = str | Path | Seed | Sequence[str | Path] | None


def find(source: Source) -> Seed:
    """The data that `source` names.

    None: the tiny world. 'sample', or a folder in the sample's layout: the loader's. 'generate:N': N made-up products.
    A folder with a company.json, or tables: the simple layout. Other files: JSON of the layout above.

    Raises:
        ValueError: naming what is wrong and the mend.
    """
    if source is None:
        return tiny()
    names = [source] if isinstance(source, (str, Path)) else source
    if not isinstance(names, Sequence):
        return names
    if len(names) == 1 and str(names[0]).startswith("generate:"):
        from ho_stub.generator import generate

        return generate(str(names[0]).removeprefix("generate:"))
    from ho_stub import simple

    paths = [Path(name) for name in names]
    if all(path.exists() for path in paths) and simple.is_simple(paths):
        return simple.load(paths)
    if len(names) == 1 and (names[0] == "sample" or paths[0].is_dir()):
        from ho_stub.loader import load  # gzip and CSV: only when asked

        return load(names[0])
    for name, path in zip(names, paths, strict=True):
        if name == "sample" or str(name).startswith("generate:") or path.is_dir():
            raise SeedError(f"{name}: can't be mixed with other data; give it alone, or files.")
    return read_files(paths)
