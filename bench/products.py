"""Made-up products in the contract's form, in id order, the same in every run."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

PAGE_ROWS = 2_000
COMPANY = "0191e5a2-0000-7000-8000-000000000001"
STORE = "0191e5a2-0000-7000-8000-000000000002"
BRAND = "0191e5a2-0000-7000-8000-000000000003"
_WORDS = ("Fresh", "Organic", "Whole", "Crispy", "Golden", "Daily", "Farm", "Sweet", "Salted", "Dark", "Light", "Mini")
_THINGS = (
    "bread",
    "milk",
    "apples",
    "noodles",
    "coffee",
    "biscuits",
    "rice",
    "yoghurt",
    "soap",
    "juice",
    "tea",
    "eggs",
)


def product_id(number: int) -> str:
    """The id of a product; ids grow with the number."""
    return str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15_9E3779 & (2**64 - 1)) | (number << 96) | 7 << 76 | 2 << 62))


def product(number: int, *, version: int = 1) -> dict[str, object]:
    """A product as a native head office sends it; a later version has another price."""
    return {
        "id": product_id(number),
        "company_id": COMPANY,
        "brand_id": BRAND,
        "store_id": None,
        "category_id": str(uuid.UUID(int=number % 303 | 7 << 76 | 2 << 62)),
        "name": f"{_WORDS[number % 12]} {_THINGS[number // 12 % 12]} {_WORDS[number // 144 % 12]} {number % 997} g",
        # Distinct, and in another order than the ids: nobody's codes are sorted by a random id.
        "sku": f"SKU-{number * 7_368_787 % 10_000_019:08d}",
        "barcode": f"{2_000_000_000_000 + number * 6_700_417_123 % 999_999_999_989}",
        "price": f"{(number * 37 + version * 11) % 9_000 + 99}.{number % 100:02d}",
        "cost": f"{number % 5_000 + 50}.00",
        "is_active": True,
        "is_volatile": False,
        "has_modifiers": False,
        "reorder_level": "10",
        "image_url": f"https://images.example.com/products/{number}.webp",
        "description": "Keep in a cool and dry place. Best before: see the packaging.",
        "created_at": "2026-01-05T08:00:00.000000Z",
        "updated_at": f"2026-01-{version + 5:02d}T09:10:42.{number % 1_000_000:06d}Z",
        "row_version": version * 1_000_000 + number,
    }


def pages(count: int, *, version: int = 1, page_rows: int = PAGE_ROWS) -> Iterator[bytes]:
    """A snapshot (version 1) or a delta of every product (later versions) as the pages of a native head office."""
    encode = msgspec.json.encode
    for start in range(0, count, page_rows):
        rows = [product(number, version=version) for number in range(start, min(start + page_rows, count))]
        end = start + len(rows)
        yield encode(
            {
                "products": rows,
                "deleted_ids": [],
                "sync_timestamp": "2026-01-27T09:10:42.123456Z",
                "total": len(rows),
                "total_available": count - start,
                "next_cursor": f"v{version}-{end}" if end < count else f"v{version + 1}-0",
                "has_more": end < count,
                "snapshot": version == 1,
            }
        )


def write_pages(folder: Path, count: int, *, version: int = 1) -> None:
    """Pages as gzip files for the sink, one a cursor: ``start.gz`` is the page without a cursor."""
    for number, page in enumerate(pages(count, version=version)):
        place = f"v{version}-{number * PAGE_ROWS}" if number or version > 1 else "start"
        (folder / f"{place}.gz").write_bytes(gzip.compress(page, 1, mtime=0))
