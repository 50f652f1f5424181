"""PostgreSQL's driver: pooled connections, values as SQLite would give them, SQL and errors in this package's form."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, LiteralString, NoReturn

from sqlalchemy import Engine, create_engine, event, exc, make_url
from sqlalchemy.engine import URL

from ho_stub.database import DatabaseError, Row, Unavailable

try:
    import psycopg
    from psycopg.adapt import Dumper, Loader
    from psycopg.pq import TransactionStatus
    from psycopg.types.string import StrDumperUnknown
except ImportError as missing:
    raise ValueError(
        "PostgreSQL needs a driver that is not installed: pip install 'edge-sync-agent[stub,postgres]'"
    ) from missing

__all__ = ["Connection", "TransactionStatus", "engine", "psycopg", "told", "translated"]

CONNECTIONS_MAX = 20  # of one process; PostgreSQL takes 100 in all unless told otherwise
WAIT_S = 10  # for a free connection
DEFAULTS = {"connect_timeout": "5", "application_name": "ho-stub"}
SETTINGS = "-c lock_timeout=20s -c idle_in_transaction_session_timeout=60s"
TOKENS = re.compile(r"'(?:[^']|'')*'|\?|(?<!:):([A-Za-z_]\w*)|%")

Connection = psycopg.Connection[Row]


class _Flag(Dumper):
    """True and False as 1 and 0: flags are whole numbers, as in SQLite."""

    oid = psycopg.adapters.types["int4"].oid

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class _Text(StrDumperUnknown):
    """Text without zero bytes, which PostgreSQL can't keep."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


class _Sum(Loader):
    """Sums of whole numbers are whole numbers."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return int(text) if text.isdigit() or text[1:].isdigit() else float(text)


def engine(where: str) -> Engine:
    url = make_url(where.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
    arguments: dict[str, Any] = {name: value for name, value in DEFAULTS.items() if name not in url.query}
    arguments["autocommit"] = True  # transactions are begun in words
    arguments["options"] = f"{SETTINGS} {_single(url, 'options')}".strip()  # the URL's count
    made = create_engine(
        url,
        connect_args=arguments,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,  # what overflows is closed again, and its prepared statements with it
        pool_timeout=WAIT_S,
        pool_reset_on_return=None,  # nobody gives one back with a transaction under way
        use_native_hstore=False,
    )

    @event.listens_for(made, "connect")
    def adapt(connection: Any, _record: object) -> None:
        connection.adapters.register_dumper(bool, _Flag)
        connection.adapters.register_dumper(str, _Text)
        connection.adapters.register_loader("numeric", _Sum)

    return made


def _single(url: URL, name: str) -> str:
    value = url.query.get(name, "")
    return value if isinstance(value, str) else " ".join(value)


@lru_cache(maxsize=1_000)
def translated(sql: str) -> LiteralString:
    """SQL with `?` and `:name` as psycopg wants it: `%s` and `%(name)s`."""

    def token(found: re.Match[str]) -> str:
        text = found[0]
        if text == "?":
            return "%s"
        return f"%({found[1]})s" if found[1] else text.replace("%", "%%")

    return TOKENS.sub(token, sql)


@contextmanager
def told() -> Iterator[None]:
    """SQLAlchemy's and the driver's errors as this package's own."""
    try:
        yield
    except (exc.SQLAlchemyError, psycopg.Error) as error:
        _failed(error)


def _failed(error: Exception) -> NoReturn:
    cause = getattr(error, "orig", None) or error
    # Connections lost or refused, locks waited for in vain, conflicts, a server that stops or is full.
    passing = (psycopg.OperationalError, psycopg.InterfaceError, exc.TimeoutError)
    text = str(cause).strip().partition("\n")[0]
    raise (Unavailable if isinstance(cause, passing) else DatabaseError)(text) from error
