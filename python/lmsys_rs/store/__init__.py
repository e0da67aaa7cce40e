"""How the database of a workspace is opened: SQLite with its settings, its migrations, and errors that say what to do.

All SQL of the package lives in this folder: `schema` (tables), `batches` and `writing`, `reading` (functions over a
connection), `migrating`, `checking`, `importing`. It knows no array files and no readers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool

from lmsys_rs.errors import StoreError
from lmsys_rs.store import migrating
from lmsys_rs.store.schema import APPLICATION_ID, SCHEMA_VERSION

__all__ = ["BUSY_TIMEOUT_MS", "Store"]

BUSY_TIMEOUT_MS = 5000  # how long a second writer waits before it is told that the workspace is in use
# The log may grow to 128 MiB before it is folded into the database: hashes fall on random pages of their indexes, and
# each fold writes every page once. Loading 1M conversations: 35 s with SQLite's 4 MiB, 23 s with this.
WAL_PAGES = 32_768
CACHE_KIB = 131_072


class Store:
    """An open database. Several processes may read and one may write at a time."""

    def __init__(self, path: Path, engine: Engine, *, read_only: bool = False) -> None:
        self._path = path
        self._engine = engine
        self.read_only = read_only

    @classmethod
    def open(cls, path: Path, *, create: bool = False, read_only: bool = False, migrate: bool = True) -> Store:
        """Open ``lmsys.db`` and bring it to the program's schema, after a backup.

        Args:
            read_only: nothing is written, not even beside the file: for disks that cannot be written.
            migrate: False opens an older schema as it is, for `migrate_to`.

        Raises:
            StoreError: missing, not a workspace, newer than the program, in use, or not writable.
        """
        if not create and not path.exists():
            raise StoreError(f"{path} does not exist")
        if read_only:
            engine = _read_only_engine(path)
        else:
            engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
            event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        store = cls(path, engine, read_only=read_only)
        try:
            store._bring_up_to_date(migrate=migrate)
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

    @property
    def version(self) -> str | None:
        """The schema version of the file, None before there is one."""
        with self.reading() as connection:
            return migrating.schema_version(connection)[0]

    @property
    def newest_version(self) -> str:
        """The schema version that this program works with."""
        return SCHEMA_VERSION

    def differences(self) -> list[str]:
        """In what the tables differ from what this program declares."""
        with self.reading() as connection:
            return migrating.differences(connection)

    def backup(self, target: Path | None = None) -> Path:
        """A consistent copy of the database, while others may use it; see `migrating.backup`."""
        with self._explained():
            return migrating.backup(self._path, version=self.version, target=target)

    def migrate_to(self, version: str) -> Path | None:
        """Change the schema to ``version``, forward or back, after a backup; returns where that lies.

        Raises:
            StoreError: there is no such version.
        """
        known = migrating.known_versions()
        if version == "head":
            version = known[-1]
        if version not in known:
            raise StoreError(f"there is no schema {version!r}: this program knows {', '.join(known)}")
        if self.version == version:
            return None
        saved = self.backup()
        with self._explained():
            migrating.migrate(self._engine, self._path, version)
        return saved

    def fold_log(self) -> None:
        """Take the write-ahead log into the database and empty it, as far as readers allow."""
        with self._explained(), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            if driver is not None:
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _bring_up_to_date(self, *, migrate: bool) -> None:
        with self.reading() as connection:
            version, has_tables, application_id = migrating.schema_version(connection)
        if version == SCHEMA_VERSION and application_id == APPLICATION_ID:
            return
        migrating.refuse_stranger(self._path, version, has_tables, application_id)
        if not migrate:
            return
        if self.read_only:
            raise StoreError(
                f"{self._path} has schema {version}, this program needs {SCHEMA_VERSION}, and the disk is read-only",
                hint="copy the workspace to a disk that can be written, and open it there once",
            )
        if version is not None:
            migrating.backup(self._path, version=version)
        with self._explained():
            migrating.migrate(self._engine, self._path, SCHEMA_VERSION)

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
            return StoreError(
                f"{where} is damaged or not a workspace: {reason}",
                hint="lmsys verify says what is damaged; backups/ may hold an older copy of the database",
            )
        return StoreError(f"{where}: {reason}")


def _read_only_engine(path: Path) -> Engine:
    # a database in WAL mode needs files beside it; one that nobody can write needs none
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{path.parent} cannot be opened on a read-only disk: its log {log.name} is not folded in yet",
            hint="open it once where it can be written, or copy it when no program uses it",
        )
    address = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)

    return create_engine("sqlite://", creator=connect, poolclass=QueuePool)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, see _begin
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        f"cache_size = -{CACHE_KIB}",
        f"wal_autocheckpoint = {WAL_PAGES}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("lmsys_writes", False)
    # a writer takes its lock at the start: two of them can't both read first and then deadlock
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
