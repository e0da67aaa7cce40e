"""SQL over a workspace, read-only: DuckDB looks at the lazy views, so only the columns and rows it filters are read.

DuckDB is an extra (``pip install "lmsys-rs[sql]"``). It gets no access to files, no extensions and no settings: what a
query can see are the views of `views.VIEWS`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import polars as pl

from lmsys_rs.errors import InvalidInputError, LmsysError, StoreError
from lmsys_rs.session import Session
from lmsys_rs.views import VIEWS, view

__all__ = ["query"]

SETTINGS = {
    "enable_external_access": "false",  # no files, no network
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # no variables of the program
    "lock_configuration": "true",
}
FOREIGN = {"interval", "union", "bit", "bignum", "time with time zone", "geometry", "variant"}
"""Types of DuckDB that Polars has no equal of: they leave as text."""
NESTED = {"list", "array", "struct", "tuple", "map"}


def query(session: Session, sql: str, parameters: Sequence[Any] = (), *, limit: int | None = None) -> pl.DataFrame:
    """The answer to one SELECT (DuckDB's SQL) over the views of the workspace.

    Columns of the same name are told apart by a number; intervals and other types that Polars lacks become text.

    Args:
        parameters: values for the ``?`` of the query.
        limit: at most this many rows of the answer.

    Raises:
        InvalidInputError: the query is wrong, names something that is no view, or is no SELECT.
        StoreError: a file of the workspace is missing.
        LmsysError: DuckDB is not installed.
    """
    duckdb = _duckdb()
    connection = duckdb.connect(":memory:", config=SETTINGS)
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1:
            raise InvalidInputError(f"need one SELECT: got {len(statements)} statements")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise InvalidInputError(
                f"need a SELECT: this is {statements[0].type.name.split('.')[-1]}", hint="a workspace is read-only here"
            )
        for name in _mentioned(sql):
            connection.register(name, view(session, name))
        relation = connection.sql(sql, params=list(parameters) or None)
        return pl.DataFrame(_Stream(_readable(relation if limit is None else relation.limit(limit))))
    except duckdb.Error as error:
        raise _explained(error) from error
    except OSError as error:  # a data set was deleted meanwhile, or files are missing
        raise StoreError(f"{session.folder.path}: {error}", hint="lmsys verify says what is missing") from error
    finally:
        connection.close()


def _mentioned(sql: str) -> list[str]:
    """The views whose names occur anywhere in a query; one too many costs nothing, as all are lazy."""
    words = set(re.findall(r"\w+", sql.lower()))
    return list(VIEWS) if "show" in words else [name for name in VIEWS if name in words]


def _readable(relation: Any) -> Any:
    """The relation with distinct column names, and with types that Polars can read."""
    names: list[str] = []
    chosen = []
    for position, (name, kind) in enumerate(zip(relation.columns, relation.types, strict=True), 1):
        number, taken = 1, {*names, *relation.columns[position:]}
        distinct = name
        while distinct in names or (distinct != name and distinct in taken):
            distinct, number = f"{name}_{number}", number + 1
        names.append(distinct)
        quoted = distinct.replace('"', '""')
        chosen.append(f'{f"CAST(#{position} AS VARCHAR)" if _is_foreign(kind) else f"#{position}"} AS "{quoted}"')
    return relation.project(", ".join(chosen))


def _is_foreign(kind: Any) -> bool:
    if kind.id in NESTED:
        return any(_is_foreign(child) for _, child in kind.children if hasattr(child, "id"))
    return kind.id in FOREIGN


def _explained(error: Exception) -> InvalidInputError:
    """What DuckDB says, in one line."""
    unknown = re.search(r'Table with name "?(.+?)"? does not exist', str(error))
    if unknown is not None:
        name = unknown[1].rpartition(".")[2].lower()
        near = difflib.get_close_matches(name, VIEWS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else None
        return InvalidInputError(
            f"there is no view {unknown[1]!r}: the views are {', '.join(VIEWS)}",
            hint=f"without a catalog or schema: {name}" if name in VIEWS else hint,
        )
    lines = str(error).partition("\n\nLINE ")[0].split("\n")
    said = " ".join(" ".join(line.split()) for line in lines)
    return InvalidInputError(f"SQL: {said}", hint="lmsys sql --views lists names and types")


class _Stream:
    """Only the Arrow stream of a relation: given the relation itself Polars keeps hold of its type beyond its end."""

    def __init__(self, relation: Any) -> None:
        self._relation = relation

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._relation.__arrow_c_stream__(requested_schema)


def _duckdb() -> Any:
    try:
        import duckdb
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401  # DuckDB reads lazy frames through it
    except ImportError as error:
        raise LmsysError("SQL needs DuckDB, which is not installed", hint='pip install "lmsys-rs[sql]"') from error
    return duckdb
