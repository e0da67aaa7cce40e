"""How the database of a workspace is opened: SQLite with its settings, its migrations, and errors that say what to do.

All SQL of the package lives in this folder: `schema` (tables), `writing` and `reading` (functions over a connection).
It knows no array files and no readers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError

from lmsys_rs.errors import StoreError
from lmsys_rs.store.schema import APPLICATION_ID, SCHEMA_VERSION

__all__ = ["BUSY_TIMEOUT_MS", "Store"]

BUSY_TIMEOUT_MS = 5000  # how long a second writer waits before it is told that the workspace is in use


class Store:
    """An open database. Several processes may read and one may write at a time."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine

    @classmethod
    def open(cls, path: Path, *, create: bool = False) -> Store:
        """Open ``lmsys.db`` and bring it to the program's schema.

        Raises:
            StoreError: missing, not a workspace, newer than the program, in use, or not writable.
        """
        if not create and not path.exists():
            raise StoreError(f"{path} does not exist")
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        store = cls(path, engine)
        try:
            store._migrate()
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database until it is left."""
        with self._explained(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: everything in it is kept, or, if it raises, nothing.

        Raises:
            StoreError: another program writes, or the disk is full or read-only.
        """
        with self._explained(), self._engine.connect() as connection:
            connection = connection.execution_options(lmsys_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every connection. The object must not be used afterwards."""
        self._engine.dispose()

    def _migrate(self) -> None:
        with self.reading() as connection:
            application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
            tables = inspect(connection).get_table_names()
            has_version = "alembic_version" in tables
            version = (
                connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if has_version else None
            )
        if version == SCHEMA_VERSION and application_id == APPLICATION_ID:
            return
        if tables and application_id != APPLICATION_ID:
            raise StoreError(f"{self._path} is a database of another program, not a workspace")
        if version is not None and version not in self._known_versions():
            raise StoreError(
                f"{self._path} was written by a newer version of lmsys_rs: its schema is {version}, "
                f"this program knows up to {SCHEMA_VERSION}",
                hint="pip install --upgrade lmsys-rs",
            )
        self._upgrade()

    def _known_versions(self) -> set[str]:
        from alembic.script import ScriptDirectory

        return {revision.revision for revision in ScriptDirectory(str(_migrations())).walk_revisions()}

    def _upgrade(self) -> None:
        # imported here: Alembic takes 0.2 s, and an up-to-date workspace does not need it
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
        with self.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, DatabaseError) else error
            raise self._explain(str(cause)) from error

    def _explain(self, reason: str) -> StoreError:
        where = self._path.parent
        lowered = reason.lower()
        if "locked" in lowered or "busy" in lowered:
            return StoreError(
                f"{where} is in use: another program writes to it", hint="wait until it has finished, then try again"
            )
        if "disk is full" in lowered:
            return StoreError(f"{where}: the disk is full", hint="free some space and run the same command again")
        if "readonly" in lowered or "unable to open" in lowered:
            return StoreError(f"{where} cannot be written: {reason}", hint="check the permissions of the folder")
        if "not a database" in lowered or "malformed" in lowered:
            return StoreError(f"{where} is damaged or not a workspace: {reason}")
        return StoreError(f"{where}: {reason}")


def _migrations() -> Path:
    return Path(__file__).resolve().parent.parent / "migrations"


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, see _begin
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("lmsys_writes", False)
    # a writer takes its lock at the start: two of them can't both read first and then deadlock
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
