"""The database: opened, migrated, refused, shared."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from lmsys_rs.errors import StoreError
from lmsys_rs.store import Store, schema


def test_new_database_is_at_the_newest_version(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "lmsys.db", create=True)
    with store.reading() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        assert version == schema.SCHEMA_VERSION
        assert connection.exec_driver_sql("PRAGMA application_id").scalar_one() == schema.APPLICATION_ID
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    store.close()


def test_migrations_make_exactly_the_declared_schema(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "lmsys.db", create=True)
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    store.close()


def test_missing_database_is_not_made_when_not_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        Store.open(tmp_path / "lmsys.db")


def test_newer_workspace_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lmsys.db"
    Store.open(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    with pytest.raises(
        StoreError, match=r"newer version of lmsys_rs: its schema is 0999.*\nhint: pip install --upgrade"
    ):
        Store.open(path)


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lmsys.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE queries (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="database of another program"):
        Store.open(path)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lmsys.db"
    path.write_bytes(b"certainly not SQLite" * 100)
    with pytest.raises(StoreError, match="damaged or not a workspace"):
        Store.open(path)


def test_second_writer_is_told_that_the_workspace_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmsys_rs.store.BUSY_TIMEOUT_MS", 50)
    first = Store.open(tmp_path / "lmsys.db", create=True)
    second = Store.open(tmp_path / "lmsys.db")
    with first.writing(), pytest.raises(StoreError, match="in use"), second.writing():
        pytest.fail("two writers at once")
    with second.writing() as connection:
        connection.exec_driver_sql("SELECT 1")
    first.close()
    second.close()


def test_readers_are_not_held_up_by_a_writer(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "lmsys.db", create=True)
    with store.writing() as writer:
        writer.exec_driver_sql("INSERT INTO text (text_id, hash, text, n_chars) VALUES (0, x'00', 'a', 1)")
        with store.reading() as reader:
            assert reader.exec_driver_sql("SELECT count(*) FROM text").scalar_one() == 0
    with store.reading() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM text").scalar_one() == 1
    store.close()


def test_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "lmsys.db", create=True)

    def fail() -> None:
        with store.writing() as connection:
            connection.exec_driver_sql("INSERT INTO text (text_id, hash, text, n_chars) VALUES (0, x'00', 'a', 1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM text").scalar_one() == 0
    store.close()


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("database or disk is full", "the disk is full"),
        ("attempt to write a readonly database", "cannot be written"),
        ("database disk image is malformed", "damaged"),
    ],
)
def test_sqlite_complaints_become_clear_words(tmp_path: Path, reason: str, message: str) -> None:
    store = Store.open(tmp_path / "lmsys.db", create=True)
    with pytest.raises(StoreError, match=message), store.writing():
        raise sqlite3.OperationalError(reason)
    store.close()
