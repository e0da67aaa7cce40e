"""How a database gets from one schema version to another: forward when it is opened, back when asked, after a backup.

It knows Alembic and the database file; which tables there are stands in `schema`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect

from lmsys_rs.errors import StoreError
from lmsys_rs.store.schema import APPLICATION_ID, SCHEMA_VERSION, metadata

__all__ = ["BACKUPS", "backup", "differences", "known_versions", "migrate", "schema_version"]

BACKUPS = "backups"  # folder beside the database


def schema_version(connection: Connection) -> tuple[str | None, bool, int]:
    """(version, whether there are tables, application id) of an open database."""
    application_id = int(connection.exec_driver_sql("PRAGMA application_id").scalar_one())
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        return None, bool(tables), application_id
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version, bool(tables), application_id


def known_versions() -> list[str]:
    """Every schema version this program can make, oldest first."""
    from alembic.script import ScriptDirectory

    revisions = [revision.revision for revision in ScriptDirectory(str(_scripts())).walk_revisions()]
    return revisions[::-1]


def migrate(engine: Engine, path: Path, version: str) -> None:
    """Bring the database to ``version`` (one of `known_versions`) in one transaction: all of it or nothing.

    Raises:
        StoreError: the result would have rows that refer to nothing.
    """
    # imported here: Alembic takes 0.2 s, and an up-to-date workspace does not need it
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    with engine.connect() as connection:
        # SQLite's own way to change a table others refer to (lang_altertable, section 7): checked off, and looked at
        # before the end. The switch does nothing inside a transaction.
        _driver(connection).execute("PRAGMA foreign_keys = OFF")
        connection = connection.execution_options(lmsys_writes=True)
        try:
            with connection.begin():
                current = schema_version(connection)[0]
                if current == version:  # another process was quicker
                    return
                config.attributes["connection"] = connection
                going_back = current is not None and version < current
                (command.downgrade if going_back else command.upgrade)(config, version)
                connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                lost = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                if lost:
                    raise StoreError(
                        f"{path}: cannot go from schema {current} to {version}: {len(lost):,} rows of table "
                        f"{lost[0][0]} refer to rows that are not there",
                        hint="lmsys verify tells more; nothing was changed",
                    )
        finally:
            _driver(connection).execute("PRAGMA foreign_keys = ON")


def backup(path: Path, *, version: str | None, target: Path | None = None) -> Path:
    """A consistent copy of the database, also while others use it; returns where it lies.

    Args:
        target: the file to write; None takes ``backups/lmsys-<version>-<time>.db`` beside the database.

    Raises:
        StoreError: the target exists, or the copy cannot be written.
    """
    if target is None:
        folder = path.parent / BACKUPS
        folder.mkdir(exist_ok=True)
        name = f"{path.stem}-{version or 'empty'}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
        target = next(
            free for i in range(1, 1000) if not (free := folder / f"{name}{f'-{i}' if i > 1 else ''}.db").exists()
        )
    if target.exists():
        raise StoreError(f"{target} exists already", hint="name another file")
    aside = target.with_name(f".{target.name}.part")
    try:
        with closing(sqlite3.connect(path)) as origin, closing(sqlite3.connect(aside)) as copy:
            origin.backup(copy)
        aside.replace(target)
    except sqlite3.Error as error:
        raise StoreError(f"{target}: the backup cannot be written: {error}", hint="is the disk full?") from error
    finally:
        aside.unlink(missing_ok=True)
    return target


def differences(connection: Connection) -> list[str]:
    """In what the tables differ from what this program declares; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found: list[Any] = compare_metadata(context, metadata)
    return [str(difference) for difference in found]


def refuse_stranger(path: Path, version: str | None, has_tables: bool, application_id: int) -> None:
    """Let only workspaces of this version or an older one pass.

    Raises:
        StoreError: the file is another program's, or of a newer version of this one.
    """
    if has_tables and application_id != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program, not a workspace")
    if version is not None and version not in known_versions():
        raise StoreError(
            f"{path} was written by a newer version of lmsys_rs: its schema is {version}, "
            f"this program knows up to {SCHEMA_VERSION}",
            hint="pip install --upgrade lmsys-rs",
        )


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _scripts() -> Path:
    return Path(__file__).resolve().parent.parent / "migrations"
