"""Tables as people keep them, CSV or JSON: rows with their place, so that a mistake is told with file, line and column.

A CSV file is UTF-8 with commas, and its first line names the columns. A JSON file holds a list of objects, or an object
with one list in it under the table's name. JSON numbers are read as the decimals they are written as.
"""

import csv
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


class TableError(ValueError):
    """A file can't be read; the message names the file, the line, the column and the mend."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: `products.csv, line 7`, or `products.json, entry 3`."""

    file: str
    what: str

    def wrong(self, column: str, message: str) -> TableError:
        """The error for one of the row's columns; the message goes on from the column's name."""
        return TableError(f"{self.file}, {self.what}, {column}: {message}.")


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        TableError: there is no such file, or it isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise TableError(f"{path}: can't be read ({exc.strerror}).") from exc
    except UnicodeDecodeError as exc:
        raise TableError(f"{path}: is not UTF-8 at byte {exc.start}. Save it as UTF-8.") from exc


def read_json(path: Path) -> Any:
    """A JSON file, its numbers exact.

    Raises:
        TableError: it is none; line and column are named.
    """
    try:
        return json.loads(read_text(path), parse_float=Decimal)
    except json.JSONDecodeError as exc:
        raise TableError(f"{path.name}, line {exc.lineno}, column {exc.colno}: is no JSON here ({exc.msg}).") from exc
    except RecursionError as exc:
        raise TableError(f"{path.name}: is nested too deep.") from exc


def read_toml(path: Path) -> Any:
    """A TOML file, its numbers exact. Raises TableError."""
    try:
        return tomllib.loads(read_text(path), parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        raise TableError(f"{path.name}: is no TOML: {exc}.") from exc


def read_rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Each row of a table with its place; empty CSV fields are left out of their rows.

    Raises:
        TableError: it is no table.
    """
    if path.suffix == ".csv":
        return _csv_rows(path)
    return _json_rows(path, read_toml(path) if path.suffix == ".toml" else read_json(path))


def _csv_rows(path: Path) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    names: list[str] = []
    try:
        for values in reader:
            at = Place(path.name, f"line {reader.line_num}")
            if not names:
                names = [name.strip() for name in values]
                doubled = {name for name in names if names.count(name) > 1 or not name}
                if doubled:
                    raise TableError(f"{path.name}, line 1: {sorted(doubled)[0]!r} is no name for one column alone.")
            elif values and len(values) != len(names):
                raise TableError(
                    f"{at.file}, {at.what}: has {len(values)} fields, but the first line names {len(names)} columns."
                )
            elif values:
                row = {name: value.strip() for name, value in zip(names, values, strict=True)}
                yield at, {name: value for name, value in row.items() if value}
    except csv.Error as exc:
        raise TableError(f"{path.name}, line {reader.line_num}: is no CSV here ({exc}).") from exc
    if not names:
        raise TableError(f"{path.name}: is empty. Its first line must name the columns.")


def _json_rows(path: Path, found: Any) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    if isinstance(found, dict):
        found = found.get(path.stem, found)
    if not isinstance(found, list):
        raise TableError(f"{path.name}: must be a list of objects, or have one under the name {path.stem}.")
    for number, row in enumerate(found, 1):
        at = Place(path.name, f"entry {number}")
        if not isinstance(row, dict):
            raise TableError(f"{at.file}, {at.what}: must be an object.")
        yield at, {name: value for name, value in row.items() if value is not None}
