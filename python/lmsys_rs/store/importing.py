"""What stands in the ``queries.db`` of jxnl/lmsys-query-analysis: read-only, page by page, whatever version wrote it.

Tables and columns that a version does not have are empty; nothing is changed in that file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.errors import ReaderError
from lmsys_rs.store import schema

__all__ = [
    "QueriesDatabase",
    "add_edits",
    "add_hierarchy",
    "add_notes",
    "add_summary_run",
    "has_run",
    "text_ids_by_source",
]

PAGE_ROWS = 8192

# the columns that are read of each table
COLUMNS = {
    "datasets": ("id", "name", "source", "description", "column_mapping", "created_at"),
    "queries": (
        *("id", "dataset_id", "conversation_id", "model", "query_text", "language", "timestamp", "extra_metadata"),
    ),
    "clustering_runs": ("run_id", "algorithm", "parameters", "description", "num_clusters", "created_at"),
    "query_clusters": ("id", "run_id", "query_id", "cluster_id", "confidence_score"),
    "cluster_summaries": (
        *("id", "run_id", "cluster_id", "summary_run_id", "alias", "title", "description", "summary", "num_queries"),
        *("representative_queries", "model", "parameters", "generated_at"),
    ),
    "cluster_hierarchies": (
        *("id", "run_id", "hierarchy_run_id", "cluster_id", "parent_cluster_id", "level", "children_ids", "title"),
        *("description", "created_at"),
    ),
    "cluster_edits": (
        *("id", "run_id", "cluster_id", "edit_type", "editor", "old_value", "new_value", "reason", "timestamp"),
    ),
    "cluster_metadata": (
        *("id", "run_id", "cluster_id", "coherence_score", "quality", "flags", "notes", "last_edited"),
    ),
    "orphaned_queries": ("id", "run_id", "query_id", "original_cluster_id", "orphaned_at", "reason"),
}


class QueriesDatabase:
    """An open ``queries.db``; a context manager."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        self.path = path
        self._connection = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        try:
            self._tables = {
                row["name"]: {
                    c["name"] for c in self._connection.execute("SELECT name FROM pragma_table_info(?)", (row["name"],))
                }
                for row in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            }
        except sqlite3.DatabaseError as error:
            raise ReaderError(f"{path} is no SQLite database: {error}", file=str(path)) from error
        if not {"id", "conversation_id", "query_text"} <= self._tables.get("queries", set()):
            raise ReaderError(
                f"{path} is no queries.db: it has no table queries with id, conversation_id and query_text; "
                f"its tables are {', '.join(sorted(self._tables)) or 'none'}",
                file=str(path),
            )

    def __enter__(self) -> QueriesDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def count(self, table: str) -> int:
        """Rows of a table; 0 if there is none."""
        if table not in self._tables:
            return 0
        return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        """Every row of a small table, with None where a column is missing."""
        return [row for page in self.pages(table, **where) for row in page]

    def pages(self, table: str, *, after: int = 0, **where: Any) -> Iterator[list[dict[str, Any]]]:
        """Rows of a table by rowid (after ``after``), in pages of at most 8,192."""
        if table not in self._tables:
            return
        columns = COLUMNS[table]
        present = [name for name in columns if name in self._tables[table]]
        named = [name for name in where if name in self._tables[table]]
        conditions = "".join(f" AND {name} IS ?" for name in named)
        listed = ", ".join(present)
        statement = f"SELECT rowid AS _row, {listed} FROM {table} WHERE rowid > ?{conditions} ORDER BY rowid LIMIT ?"
        while True:
            try:
                found = self._connection.execute(
                    statement, (after, *(where[name] for name in named), PAGE_ROWS)
                ).fetchall()
            except sqlite3.DatabaseError as error:
                raise ReaderError(f"{self.path}: table {table} cannot be read: {error}", file=str(self.path)) from error
            if not found:
                return
            yield [
                {name: row[name] if name in present else None for name in columns} | {"_row": row["_row"]}
                for row in found
            ]
            after = int(found[-1]["_row"])


def has_run(connection: Connection, run_id: str) -> bool:
    """Whether a run of this id is there."""
    return connection.execute(select(schema.run.c.run_id).where(schema.run.c.run_id == run_id)).first() is not None


def text_ids_by_source(connection: Connection, dataset_id: int) -> list[tuple[str, int]]:
    """(id of the conversation in its source, text_id of its first query) of a data set."""
    rows = connection.exec_driver_sql(
        "SELECT c.source_id, q.text_id FROM conversation c JOIN query q ON q.conversation_id = c.id"
        " WHERE c.dataset_id = ? AND c.source_id IS NOT NULL ORDER BY q.id",
        (dataset_id,),
    ).all()
    return [(str(source), int(text_id)) for source, text_id in rows]


def add_summary_run(connection: Connection, values: dict[str, Any], summaries: list[dict[str, Any]]) -> None:
    """Store one naming of a run, as a whole."""
    connection.execute(upsert(schema.summary_run).values(**values).on_conflict_do_nothing())
    if summaries:
        connection.execute(upsert(schema.summary).on_conflict_do_nothing(), summaries)


def add_hierarchy(connection: Connection, values: dict[str, Any], nodes: list[dict[str, Any]]) -> None:
    """Store one hierarchy of a run, as a whole."""
    connection.execute(upsert(schema.hierarchy).values(**values).on_conflict_do_nothing())
    if nodes:
        connection.execute(upsert(schema.hierarchy_node).on_conflict_do_nothing(), nodes)


def add_edits(connection: Connection, edits: list[dict[str, Any]]) -> None:
    """Store what people changed."""
    if edits:
        connection.execute(insert(schema.edit), edits)


def add_notes(connection: Connection, notes: list[dict[str, Any]]) -> None:
    """Store what people noted."""
    if notes:
        connection.execute(upsert(schema.cluster_note).on_conflict_do_nothing(), notes)
