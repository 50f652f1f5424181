"""PostgreSQL: a pool of connections, one for each thread inside `write()` or `read()`.

Writers of all processes take one lock before anything else, and keep it until their commit is visible: so numbers are
in commit order, and nobody sees n + 1 before n. Readers wait for nobody and see one state.
"""

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, cast

from sqlalchemy.pool import PoolProxiedConnection

from ho_stub import schema
from ho_stub.database import Backup, Database, DatabaseError, Parameters, Row, Transaction, Unavailable
from ho_stub.driver import Connection, TransactionStatus, engine, psycopg, told, translated

LOCK = 0x480  # "HO"; the second half of the writers' lock is the schema's
AT_ONCE = 1_000


class PostgreSQLBackup(Backup):
    """A copy in memory: each table as PostgreSQL's own binary format."""

    def __init__(self) -> None:
        self.tables: dict[str, bytes] = {}


class Session(Transaction):
    """What one thread has under way: its connection, and what it knows already of the one state that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled: PoolProxiedConnection | None = None
        self.depth = 0
        self.to_release = ""
        self.known: dict[Any, list[Row]] = {}

    @property
    def driver(self) -> Connection:
        """The connection under way."""
        assert self.pooled is not None
        return cast(Connection, self.pooled.driver_connection)

    def control(self, sql: str) -> None:
        """Statements without parameters: several of them are one round trip."""
        self.driver.execute(cast(Any, sql), prepare=False)


class _Sessions(threading.local):
    def __init__(self) -> None:
        self.session = Session()


class PostgreSQL(Database):
    """`url` is `postgresql://user:password@host:port/name`; its tables are in the connection's first schema.

    SQLAlchemy keeps the connections; statements go straight to the driver's, in a third of the time.
    """

    shared = True

    def __init__(self, url: str, closed: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._closed = closed
        self._sessions = _Sessions()
        self._engine = engine(url)
        self._begin_writing = "BEGIN"
        try:
            namespace = self.value("SELECT current_schema()")
            if namespace is None:
                raise DatabaseError("the URL's search_path names no schema that exists")
            # Each statement of READ COMMITTED sees what was committed before it, so all after this one see the work of
            # whoever had the lock before.
            number = zlib.crc32(namespace.encode()) - 2**31
            self._begin_writing = (
                f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock({LOCK}, {number})"
            )
            self._make_tables()
        except BaseException:
            self._engine.dispose()
            raise

    def _make_tables(self) -> None:
        digest = hashlib.sha256(schema.text().encode()).hexdigest()
        if self.value("SELECT to_regclass('meta')") is not None and self.meta("schema") == digest:
            return
        with self.write():  # another worker may be doing the same
            self._sessions.session.control(";".join(schema.statements(postgresql=True)))
            self.set_meta("schema", digest)

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """All rows of a query."""
        session, bound = self._sessions.session, _bound(parameters)
        if not session.reading or session.writing:
            with self._driver() as driver:
                return driver.execute(translated(sql), bound).fetchall()
        # In one state the same question has the same answer.
        key = (sql, tuple(bound.items()) if isinstance(bound, dict) else bound)
        if key not in session.known:
            with self._driver() as driver:
                session.known[key] = driver.execute(translated(sql), bound).fetchall()
        return list(session.known[key])

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def run(self, sql: str, parameters: Parameters = ()) -> None:
        """One statement; inside `write()` part of that transaction."""
        with self._driver() as driver:
            driver.execute(translated(sql), _bound(parameters))

    def run_many(self, sql: str, parameters: Iterable[Sequence[object]]) -> None:
        """One statement for each row of parameters."""
        with self._driver() as driver, driver.cursor() as cursor:
            remaining = iter(parameters)
            while some := list(islice(remaining, AT_ONCE)):
                cursor.executemany(translated(sql), some)

    @contextmanager
    def _driver(self) -> Iterator[Connection]:
        """The connection under way, else one for a single statement; its errors as this package's own."""
        session = self._sessions.session
        if session.pooled is not None:
            with told():
                yield session.driver
            return
        self._take(session)
        try:
            with told():
                yield session.driver
        finally:
            self._give_back(session)

    def _take(self, session: Session) -> None:
        with told():
            session.pooled = self._engine.raw_connection()

    def _give_back(self, session: Session) -> None:
        """One that is lost is no more of use, and those that wait in the pool are probably lost too."""
        pooled, session.pooled = session.pooled, None
        assert pooled is not None
        if cast(Connection, pooled.driver_connection).closed:
            pooled.invalidate()
            self._engine.dispose()
        else:
            pooled.close()

    @contextmanager
    def read(self) -> Iterator[None]:
        """Several queries that see one state, whatever others commit meanwhile."""
        session = self._sessions.session
        if session.pooled is not None:
            session.reading += 1
            try:
                yield
            finally:
                session.reading -= 1
            return
        self._take(session)
        session.reading += 1
        try:
            with told():
                session.control("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
        finally:
            session.reading -= 1
            session.known.clear()
            with suppress(psycopg.Error):
                session.control("ROLLBACK")
            self._give_back(session)

    def copy(self) -> Backup:
        """A backup in memory."""
        backup = PostgreSQLBackup()
        with self.read(), told():
            for table in self._tables():
                with self._sessions.session.driver.cursor().copy(f'COPY "{table}" TO STDOUT (FORMAT binary)') as parts:
                    backup.tables[table] = b"".join(parts)
        return backup

    def replace_by(self, backup: Backup, then: Callable[[], None] = lambda: None) -> None:
        """Restore a backup over everything there is; `then` may write before anybody sees it."""
        assert isinstance(backup, PostgreSQLBackup)
        with self.write(), told():
            for table in self._tables():
                self.run(f'DELETE FROM "{table}"')  # noqa: S608 - not TRUNCATE: readers go on to see what they saw
                if table in backup.tables:
                    with self._sessions.session.driver.cursor().copy(
                        f'COPY "{table}" FROM STDIN (FORMAT binary)'
                    ) as copy:
                        copy.write(backup.tables[table])
            then()

    def _tables(self) -> list[str]:
        sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
        return [name for (name,) in self.rows(sql)]

    def close(self) -> None:
        """Close all connections. Nothing may be under way."""
        self._engine.dispose()
        self._closed()

    @property
    def _transaction(self) -> Session:
        return self._sessions.session

    def _begin(self) -> None:
        session = self._sessions.session
        if session.pooled is not None:
            with told():
                session.control(f"{session.to_release} SAVEPOINT level_{session.depth}")
        else:
            self._take(session)
            try:
                with told():
                    session.control(self._begin_writing)
            except BaseException:
                self._end(session)
                raise
        session.to_release = ""
        session.depth += 1

    def _commit(self) -> None:
        session = self._sessions.session
        # PostgreSQL answers COMMIT with ROLLBACK, and no error, when a statement failed before.
        if session.driver.info.transaction_status != TransactionStatus.INTRANS:
            is_lost = session.driver.closed
            raise (Unavailable if is_lost else DatabaseError)("a statement of this transaction failed")
        if session.depth > 1:
            session.depth -= 1
            session.to_release = f"RELEASE level_{session.depth};"  # it goes with the next one, or with the commit
            return
        with told():
            session.control("COMMIT")
        self._end(session)

    def _roll_back(self) -> None:
        session = self._sessions.session
        session.depth -= 1
        session.to_release = ""
        if session.depth == 0:
            self._end(session)
        else:
            with told():
                session.control(f"ROLLBACK TO level_{session.depth}")
                session.to_release = f"RELEASE level_{session.depth};"

    def _end(self, session: Session) -> None:
        session.depth, session.to_release = 0, ""
        if session.driver.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                session.control("ROLLBACK")
        self._give_back(session)


def _bound(parameters: Parameters) -> tuple[object, ...] | dict[str, object]:
    return dict(parameters) if isinstance(parameters, Mapping) else tuple(parameters)
