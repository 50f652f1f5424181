"""The whole check, from the first request to the report."""

from collections.abc import Sequence

from ho_stub.check import report
from ho_stub.check.abilities import abilities
from ho_stub.check.balance import balance
from ho_stub.check.changes import changes
from ho_stub.check.cursors import cursors
from ho_stub.check.digests import verify
from ho_stub.check.line import Line
from ho_stub.check.lists import lists
from ho_stub.check.mistakes import mistakes
from ho_stub.check.options import Options
from ho_stub.check.promotions import promotions
from ho_stub.check.rows import rows
from ho_stub.check.sales import sales
from ho_stub.check.signing_in import reach, signing_in
from ho_stub.check.single import single
from ho_stub.check.table import Check, Group
from ho_stub.check.the_line import line, methods
from ho_stub.check.times import deltas, times
from ho_stub.check.usages import usages
from ho_stub.check.version import version
from ho_stub.check.visit import Visit
from ho_stub.check.walk import Walk

# In the order in which they are done. Selling comes last, and its first sale is the edit that `changes` looks for.
GROUPS: Sequence[Group] = (
    line, signing_in, abilities, version, lists, rows, promotions, deltas, cursors, times, verify, reach, mistakes,
    methods, changes, sales, single, usages, balance,
)  # fmt: skip


def every_check() -> list[Check]:
    """The whole table."""
    return [check for group in GROUPS for check in group.checks]


def inspect(options: Options) -> report.Report:
    """Check one head office. Ends within `options.deadline_s`, whatever it answers."""
    connection = Line(options.url, options.timeout_s, options.deadline_s, options.ca)
    try:
        visit = Visit(options, connection)
        walk = Walk(visit)
        return report.make(visit, walk, walk.through(GROUPS))
    finally:
        connection.close()
