"""The stub's database: one text of SQL for SQLite and PostgreSQL, and transactions that keep all or nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from ho_stub import schema
from ho_stub.cli import main
from ho_stub.database import Database, DatabaseError, Unavailable, connect, without_password

# ruff: noqa: PT012 - a transaction's failure is told by the `with` that holds several statements

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = connect(tmp_path / "office.db")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = %s AND c = %s"),
        ("WHERE a = :a AND b = :b_2 OR c = :a", "WHERE a = %(a)s AND b = %(b_2)s OR c = %(a)s"),
        ("WHERE a LIKE '%' || :a || '%'", "WHERE a LIKE '%%' || %(a)s || '%%'"),
        ("SELECT 'why? it''s 12:30', a % 7", "SELECT 'why? it''s 12:30', a %% 7"),
        ("SELECT a::text FROM t WHERE b=?", "SELECT a::text FROM t WHERE b=%s"),
    ],
)
def test_parameters_are_translated_and_texts_are_not(sql: str, translated: str) -> None:
    pytest.importorskip("psycopg")
    from ho_stub import driver

    assert driver.translated(sql) == translated


def test_the_schema_has_a_form_for_postgresql() -> None:
    """No word of SQLite's is left, and each table is made only where it is missing."""
    ours, theirs = schema.statements(), schema.statements(postgresql=True)
    assert len(ours) == len(theirs) > 30
    for statement in theirs:
        assert not re.search(r"\b(BLOB|INTEGER|REAL|ROWID)\b", statement)
        assert re.match(
            r"CREATE (TABLE|(UNIQUE )?INDEX) IF NOT EXISTS |INSERT INTO .* ON CONFLICT DO NOTHING$", statement
        )
    assert 'id TEXT COLLATE "C" PRIMARY KEY' in " ".join(theirs)


def test_a_database_of_an_earlier_release_gets_the_tables_that_are_new(tmp_path: Path) -> None:
    first = connect(tmp_path / "office.db")
    first.run("DROP TABLE heartbeat")
    first.set_meta("kept", "1")
    first.close()
    again = connect(tmp_path / "office.db")
    assert (again.value("SELECT count(*) FROM heartbeat"), again.meta("kept")) == (0, "1")
    again.close()


def test_a_savepoint_is_undone_alone(db: Database) -> None:
    with db.write():
        db.set_meta("kept", "1")
        with pytest.raises(DatabaseError), db.write():
            db.set_meta("undone", "1")
            db.run("INSERT INTO meta VALUES ('kept', 'twice')")
        db.set_meta("later", "1")
    assert [db.meta(key) for key in ("kept", "undone", "later")] == ["1", None, "1"]


def test_a_number_of_an_undone_transaction_is_given_out_again(db: Database) -> None:
    told: list[str] = []
    db.on_commit = lambda moved: told.extend(sorted(moved))
    with pytest.raises(KeyError), db.write():
        assert db.next("change") == 1
        raise KeyError
    with db.write():
        assert (db.next("change"), db.next("change"), db.next("stock")) == (1, 2, 1)
        assert db.mark("change", 2) == db.mark("change", 1) != db.mark("stock", 1)
    assert told == ["change", "stock"], "only what was committed is told"


def test_nothing_is_written_while_reading(db: Database) -> None:
    with pytest.raises(RuntimeError, match="inside read"), db.read(), db.write():
        pass
    with db.write(), db.read(), db.write():
        db.set_meta("fine", "1")
    assert db.meta("fine") == "1"


def test_a_commit_that_fails_leaves_no_transaction_behind(db: Database) -> None:
    with db.write():
        db.run("CREATE TABLE parent (id TEXT PRIMARY KEY)")
        db.run("CREATE TABLE child (id TEXT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    db.run("PRAGMA foreign_keys = ON")
    with pytest.raises(DatabaseError, match="FOREIGN KEY"), db.write():
        db.set_meta("half", "1")
        db.run("INSERT INTO child VALUES ('nobody')")
    with db.write():
        db.set_meta("next", "1")
    assert (db.meta("half"), db.meta("next")) == (None, "1")


def test_a_file_that_another_program_writes_is_unavailable(db: Database, tmp_path: Path) -> None:
    """Said after a while, as something that passes."""
    db.run("PRAGMA busy_timeout = 10")
    other = connect(tmp_path / "office.db")
    with other.write(), pytest.raises(Unavailable), db.write():
        pass
    with db.write():
        db.set_meta("now", "1")
    other.close()


def test_a_password_is_not_shown() -> None:
    assert without_password("postgresql://me:s3cret@host/name") == "postgresql://me:***@host/name"
    assert without_password("postgresql://me@host/name") == "postgresql://me@host/name"
    assert without_password("office.db") == "office.db"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "2"], "--workers needs a database that several processes may write into"),
        (["--db", "mysql://host/name"], "a database is a file, ':memory:' or postgresql://"),
        (["--db", "postgresql://u:s3cret@127.0.0.1:1/x"], "postgresql://u:***@127.0.0.1:1/x: connection failed"),
        (["--db", "postgresql://127.0.0.1/x", "--workers", "2", "--bench"], "leave out --workers"),
    ],
)
def test_a_database_that_can_t_be_is_told_in_a_sentence(arguments: list[str], said: str) -> None:
    pytest.importorskip("psycopg")
    done = CliRunner().invoke(main, ["run", "--port", "0", *arguments])
    assert done.exit_code == 1
    assert said in done.output
    assert "s3cret" not in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_driver_that_is_missing_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    for module in ("ho_stub.postgresql", "ho_stub.driver"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ValueError, match=re.escape("pip install 'edge-sync-agent[stub,postgres]'")):
        connect("postgresql://127.0.0.1/x")
