"""SQL over a workspace, read-only: DuckDB looks at the lazy views, so only the columns and rows a query needs are read.

DuckDB is an extra (``pip install "lmsys-rs[sql]"``). It gets no access to files, no extensions and no settings: what a
query can see are the views of `views.VIEWS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import polars as pl

from lmsys_rs.errors import InvalidInputError, LmsysError
from lmsys_rs.session import Session
from lmsys_rs.views import VIEWS, view

__all__ = ["query"]


def query(session: Session, sql: str, parameters: Sequence[Any] = (), *, limit: int | None = None) -> pl.DataFrame:
    """The answer to one SELECT (DuckDB's SQL) over the views of the workspace.

    Args:
        parameters: values for the ``?`` of the query.
        limit: at most this many rows of the answer.

    Raises:
        InvalidInputError: the query is wrong, names something that is no view, or is no SELECT.
        LmsysError: DuckDB is not installed.
    """
    duckdb = _duckdb()
    settings = {
        "enable_external_access": "false",  # no files, no network
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "lock_configuration": "true",
    }
    connection = duckdb.connect(":memory:", config=settings)
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1:
            raise InvalidInputError(f"need one SELECT: got {len(statements)} statements")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise InvalidInputError(
                f"need a SELECT: this is {statements[0].type.name.split('.')[-1]}", hint="a workspace is read-only here"
            )
        for name in sorted(connection.get_table_names(sql)):
            if name not in VIEWS:
                near = difflib.get_close_matches(name, VIEWS, n=2)
                raise InvalidInputError(
                    f"there is no view {name!r}: the views are {', '.join(VIEWS)}",
                    hint=f"did you mean {' or '.join(near)}?" if near else None,
                )
            connection.register(name, view(session, name))
        relation = connection.sql(sql, params=list(parameters) or None)
        return pl.DataFrame(_Stream(relation if limit is None else relation.limit(limit)))
    except duckdb.Error as error:
        raise InvalidInputError(f"SQL: {str(error).strip()}", hint="lmsys sql --views lists names and types") from error
    finally:
        connection.close()


class _Stream:
    """Only the Arrow stream of a relation: given the relation itself Polars keeps hold of its type beyond its end."""

    def __init__(self, relation: Any) -> None:
        self._relation = relation

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._relation.__arrow_c_stream__(requested_schema)


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise LmsysError("SQL needs DuckDB, which is not installed", hint='pip install "lmsys-rs[sql]"') from error
    return duckdb
