"""A schema of one's own in a PostgreSQL database: what `:memory:` is to SQLite, for tests."""

import secrets

from sqlalchemy import create_engine, make_url

from ho_stub.postgresql import PostgreSQL


class OwnSchema:
    """Made now, dropped by `drop()`.

    Args:
        server: `postgresql://user@host/name`.
    """

    def __init__(self, server: str) -> None:
        self._server = make_url(server).set(drivername="postgresql+psycopg")
        self.name = f"ho_stub_{secrets.token_hex(8)}"
        self._run(f'CREATE SCHEMA "{self.name}"')

    @property
    def url(self) -> str:
        """The database as `HeadOffice(db=…)` and `ho-stub run --db` take it."""
        url = self._server.update_query_dict({"options": f"-csearch_path={self.name}"})
        return url.render_as_string(hide_password=False)

    def drop(self) -> None:
        """Drop it with all that is in it."""
        self._run(f'DROP SCHEMA "{self.name}" CASCADE')

    def _run(self, sql: str) -> None:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT", use_native_hstore=False)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(sql)
        finally:
            engine.dispose()


def in_own_schema(server: str) -> PostgreSQL:
    """A database that is gone when it is closed."""
    schema = OwnSchema(server)
    try:
        return PostgreSQL(schema.url, closed=schema.drop)
    except BaseException:
        schema.drop()
        raise
