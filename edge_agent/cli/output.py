"""Printing: JSON on stdout for programs, tables for people, progress bars on stderr when someone looks."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TYPE_CHECKING = False  # typing's own takes as long to load as Python itself, and status is to be there at once
if TYPE_CHECKING:
    from typing import Any, Literal

    from edge_agent.sync.report import Progress

_LINE_WIDTH = 120
_STEP_WORDS = {
    "sales": "sending sales",
    "usages": "sending promotion uses",
    "categories": "fetching categories",
    "products": "fetching products",
    "promotions": "fetching promotions",
    "stock": "fetching stock",
}


def print_json(value: Any) -> None:
    """One JSON value on a line of stdout; decimals become text."""
    import msgspec

    print_line(msgspec.json.encode(value, enc_hook=_plain))


def print_line(text: bytes) -> None:
    """A line of UTF-8 on stdout, whatever the terminal speaks."""
    line = text + b"\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(line)
    else:
        sys.stdout.write(line.decode())
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    from decimal import Decimal

    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(type(value))


def plain(text: str) -> str:
    """Text as a terminal may show it: what head office or a till says must not steer it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numeric: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """A table for people; ``numeric`` columns stand to the right, ``whole`` ones are never broken over lines."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "right" if column in numeric else "left"
        table.add_column(column, justify=side, overflow="fold", no_wrap=column in (*whole, *numeric))
    for row in rows:
        table.add_row(*("" if cell is None else plain(str(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else _LINE_WIDTH, markup=False, highlight=False)
    console.print(table)


@contextmanager
def progress_bar(*, wanted: bool = True) -> Iterator[Progress]:
    """A progress bar for each step on stderr; nothing without a terminal."""
    if not wanted or not sys.stderr.isatty():
        from edge_agent.sync.report import no_progress

        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def show(step: str, done: int, total: int | None) -> None:
        if step not in tasks:
            tasks[step] = bars.add_task(_STEP_WORDS.get(step, step), total=total)
        bars.update(tasks[step], completed=done, total=total)

    with bars:
        yield show
