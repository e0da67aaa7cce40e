"""What is asked of a workspace's database: selections, texts, runs, clusters, members; always in a stated order.

Every function takes a connection inside `Store.reading` and returns records, arrays or Polars frames. Paging is by key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, literal_column, select

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import (
    ClusterRecord,
    DatasetRecord,
    EmbeddingRecord,
    Filters,
    RunRecord,
)
from lmsys_rs.store import schema

__all__ = [
    "clusters",
    "counts",
    "datasets",
    "embeddings",
    "export_rows",
    "find_graph",
    "find_projection",
    "find_run",
    "get_run",
    "members",
    "n_texts",
    "query_page",
    "run_frame",
    "runs",
    "selection",
    "text_page",
    "text_range",
    "text_sources",
    "texts_of",
]

FETCH_ROWS = 50_000  # rows that are Python objects at a time

QUERY_SCHEMA = pl.Schema(
    {
        "query_id": pl.Int64(),
        "text_id": pl.UInt32(),
        "conversation_id": pl.String(),
        "dataset": pl.String(),
        "model": pl.String(),
        "language": pl.String(),
        "timestamp": pl.Datetime("us", "UTC"),
        "text": pl.String(),
        "cluster_id": pl.Int32(),
    }
)


def counts(connection: Connection) -> dict[str, int]:
    """Rows of the main tables."""
    tables = {
        "n_datasets": schema.dataset,
        "n_conversations": schema.conversation,
        "n_turns": schema.turn,
        "n_queries": schema.query,
        "n_runs": schema.run,
    }
    found = {
        name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for name, table in tables.items()
    }
    return found | {"n_texts": n_texts(connection)}


def n_texts(connection: Connection) -> int:
    """Number of distinct texts; their ids are 0 to n_texts - 1."""
    highest = connection.execute(select(func.max(schema.text.c.text_id))).scalar()
    return 0 if highest is None else int(highest) + 1


def datasets(connection: Connection) -> list[DatasetRecord]:
    """Every data set, oldest first."""
    rows = connection.execute(select(schema.dataset).order_by(schema.dataset.c.id)).mappings()
    names = DatasetRecord.__dataclass_fields__
    return [DatasetRecord(**{name: row[name] for name in names}) for row in rows]


def dataset_state(connection: Connection, name: str) -> tuple[str, bool, int] | None:
    """(fingerprint, finished, position) of a data set, or None."""
    table = schema.dataset
    row = connection.execute(
        select(table.c.fingerprint, table.c.finished, table.c.position).where(table.c.name == name)
    ).one_or_none()
    return None if row is None else (str(row[0]), bool(row[1]), int(row[2]))


def embeddings(connection: Connection) -> list[EmbeddingRecord]:
    """Every embedding, oldest first."""
    table = schema.embedding
    rows = connection.execute(select(table).order_by(table.c.created_at, table.c.embedder_id)).mappings()
    names = EmbeddingRecord.__dataclass_fields__
    return [EmbeddingRecord(**{name: row[name] for name in names}) for row in rows]


def text_range(connection: Connection, start: int, stop: int) -> pl.Series:
    """Texts ``start`` to ``stop - 1``, in order."""
    table = schema.text
    statement = select(table.c.text).where(table.c.text_id >= start, table.c.text_id < stop).order_by(table.c.text_id)
    return _frame(connection, statement, {"text": pl.String()})["text"]


def texts_of(connection: Connection, text_ids: npt.NDArray[np.uint32]) -> pl.Series:
    """The texts of the given ids, in their order."""
    if (
        len(text_ids)
        and len(text_ids) == int(text_ids[-1]) - int(text_ids[0]) + 1
        and bool(np.all(np.diff(text_ids.astype(np.int64)) == 1))
    ):
        return text_range(connection, int(text_ids[0]), int(text_ids[-1]) + 1)
    _fill_ids(connection, text_ids)
    statement = "SELECT t.text FROM selected s JOIN text t ON t.text_id = s.text_id ORDER BY s.i"
    return _driver_frame(connection, statement, {"text": pl.String()})["text"]


def selection(connection: Connection, filters: Filters) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]]:
    """(text_ids ascending, how many queries each has) of the queries that pass the filters."""
    statement = (
        select(schema.query.c.text_id, func.count())
        .select_from(_queries())
        .where(*_conditions(filters))
        .group_by(schema.query.c.text_id)
        .order_by(schema.query.c.text_id)
        .limit(filters.limit)
    )
    frame = _frame(connection, statement, {"text_id": pl.UInt32(), "n": pl.Float32()})
    return frame["text_id"].to_numpy(), frame["n"].to_numpy()


def text_sources(connection: Connection, text_ids: npt.NDArray[np.uint32], filters: Filters) -> pl.DataFrame:
    """For each text the first query that passes the filters, in the order of ``text_ids``.

    Columns query_id, text_id, conversation_id, dataset, model, language, timestamp, text, n_queries.
    """
    _fill_ids(connection, text_ids)
    selected = _selected()
    q, c, d, t = schema.query.c, schema.conversation.c, schema.dataset.c, schema.text.c
    # SQLite: beside min(), bare columns come from the row that has the minimum
    statement = (
        select(func.min(q.id), q.text_id, c.source_id, d.name, c.model, c.language, c.timestamp, t.text, func.count())
        .select_from(
            selected.join(schema.query, q.text_id == selected.c.text_id)
            .join(schema.text)
            .join(schema.conversation)
            .join(schema.dataset)
        )
        .where(*_conditions(filters))
        .group_by(selected.c.i)
        .order_by(selected.c.i)
    )
    columns = {name: dtype for name, dtype in QUERY_SCHEMA.items() if name != "cluster_id"}
    return _frame(connection, statement, columns | {"n_queries": pl.Int64()})


def query_page(
    connection: Connection,
    *,
    filters: Filters,
    run_id: str | None = None,
    cluster_id: int | None = None,
    after: int = 0,
    limit: int | None = 50,
) -> pl.DataFrame:
    """Queries with id above ``after``, by id, in `QUERY_SCHEMA`; ``cluster_id`` is null without a run."""
    q, c, d, t, m = (
        schema.query.c,
        schema.conversation.c,
        schema.dataset.c,
        schema.text.c,
        schema.membership.c,
    )
    joined: Any = _queries().join(schema.text, t.text_id == q.text_id)
    conditions = [q.id > after, *_conditions(filters)]
    label: Any = func.nullif(1, 1)
    if run_id is not None:
        joined = joined.join(schema.membership, and_(m.text_id == q.text_id, m.run_id == run_id))
        label = m.cluster_id
        if cluster_id is not None:  # 0 is a cluster
            conditions.append(m.cluster_id == cluster_id)
    statement = (
        select(q.id, q.text_id, c.source_id, d.name, c.model, c.language, c.timestamp, t.text, label)
        .select_from(joined)
        .where(*conditions)
        .order_by(q.id)
        .limit(limit)
    )
    return _frame(connection, statement, dict(QUERY_SCHEMA))


def text_page(connection: Connection, *, after: int = -1, limit: int | None = None) -> pl.DataFrame:
    """Distinct texts with id above ``after``: text_id, text, n_chars, n_queries."""
    t, q = schema.text.c, schema.query.c
    n_queries = select(func.count()).where(q.text_id == t.text_id).scalar_subquery()
    statement = (
        select(t.text_id, t.text, t.n_chars, n_queries).where(t.text_id > after).order_by(t.text_id).limit(limit)
    )
    return _frame(
        connection,
        statement,
        {"text_id": pl.UInt32(), "text": pl.String(), "n_chars": pl.Int64(), "n_queries": pl.Int64()},
    )


def runs(connection: Connection) -> list[RunRecord]:
    """Every run, newest first."""
    table = schema.run
    rows = connection.execute(select(table).order_by(literal_column("rowid").desc())).all()
    return [_run(row) for row in rows]


def get_run(connection: Connection, run_id: str) -> RunRecord:
    """A run by its id, or ``latest``.

    Raises:
        InvalidInputError: there is no such run.
    """
    found = runs(connection)
    if run_id == "latest" and found:
        return found[0]
    for record in found:
        if record.run_id == run_id:
            return record
    if not found:
        raise InvalidInputError("this workspace has no runs yet", hint="run: lmsys cluster kmeans")
    raise InvalidInputError(
        f"there is no run {run_id!r}", hint=f"the newest is {found[0].run_id}; lmsys runs lists all"
    )


def find_run(
    connection: Connection, *, algorithm: str, parameters: dict[str, Any], embedder_id: str, selection_hash: str
) -> RunRecord | None:
    """The newest run that was made in exactly this way, if there is one."""
    table = schema.run
    row = connection.execute(
        select(table)
        .where(
            table.c.algorithm == algorithm,
            table.c.parameters == json.dumps(parameters, sort_keys=True),
            table.c.embedder_id == embedder_id,
            table.c.selection_hash == selection_hash,
        )
        .order_by(literal_column("rowid").desc())
    ).first()
    return None if row is None else _run(row)


def clusters(connection: Connection, run_id: str) -> list[ClusterRecord]:
    """The clusters of a run by id; noise, if there is any, comes first as -1."""
    table = schema.cluster
    rows = connection.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.cluster_id)).all()
    return [
        ClusterRecord(
            run_id=row.run_id,
            cluster_id=row.cluster_id,
            size=row.size,
            n_queries=row.n_queries,
            title=row.title,
            description=row.description,
            terms=tuple((str(term), float(weight)) for term, weight in json.loads(row.terms)),
            representatives=tuple(json.loads(row.representatives)),
            medoid=row.medoid,
        )
        for row in rows
    ]


def members(connection: Connection, run_id: str, cluster_id: int | None = None) -> pl.DataFrame:
    """text_id, cluster_id, probability of a run (or one cluster), by text_id."""
    m = schema.membership.c
    conditions: list[ColumnElement[bool]] = [m.run_id == run_id]
    if cluster_id is not None:
        conditions.append(m.cluster_id == cluster_id)
    statement = select(m.text_id, m.cluster_id, m.probability).where(*conditions).order_by(m.text_id)
    return _frame(
        connection, statement, {"text_id": pl.UInt32(), "cluster_id": pl.Int32(), "probability": pl.Float32()}
    )


def run_frame(connection: Connection) -> pl.DataFrame:
    """Every run as a row, newest first."""
    rows = [
        {
            "run_id": r.run_id,
            "algorithm": r.algorithm,
            "n_clusters": r.n_clusters,
            "n_texts": r.n_texts,
            "n_queries": r.n_queries,
            "n_noise": r.n_noise,
            "created_at": r.created_at,
            "seconds": r.seconds,
        }
        for r in runs(connection)
    ]
    return pl.DataFrame(
        rows,
        schema={
            "run_id": pl.String,
            "algorithm": pl.String,
            "n_clusters": pl.Int64,
            "n_texts": pl.Int64,
            "n_queries": pl.Int64,
            "n_noise": pl.Int64,
            "created_at": pl.String,
            "seconds": pl.Float64,
        },
    )


def export_rows(connection: Connection, run: RunRecord, *, after: int, limit: int) -> pl.DataFrame:
    """A page of a run's queries with their cluster's title: the columns of `lmsys export`, by query_id."""
    q, c, t, m, k = (
        schema.query.c,
        schema.conversation.c,
        schema.text.c,
        schema.membership.c,
        schema.cluster.c,
    )
    joined = (
        _queries()
        .join(schema.text, t.text_id == q.text_id)
        .join(schema.membership, and_(m.text_id == q.text_id, m.run_id == run.run_id))
        .outerjoin(schema.cluster, and_(k.run_id == m.run_id, k.cluster_id == m.cluster_id))
    )
    statement = (
        select(q.id, m.cluster_id, t.text, c.model, c.language, k.title, k.description)
        .select_from(joined)
        .where(q.id > after, *_conditions(Filters(**{**run.filters, "limit": None})))
        .order_by(q.id)
        .limit(limit)
    )
    return _frame(
        connection,
        statement,
        {
            "query_id": pl.Int64(),
            "cluster_id": pl.Int32(),
            "query_text": pl.String(),
            "model": pl.String(),
            "language": pl.String(),
            "cluster_title": pl.String(),
            "cluster_description": pl.String(),
        },
    )


def find_graph(connection: Connection, *, embedder_id: str, selection_hash: str, min_k: int) -> tuple[str, int] | None:
    """(graph_id, k) of the smallest stored graph with at least ``min_k`` neighbours."""
    table = schema.graph
    row = connection.execute(
        select(table.c.graph_id, table.c.k)
        .where(table.c.embedder_id == embedder_id, table.c.selection_hash == selection_hash, table.c.k >= min_k)
        .order_by(table.c.k)
    ).first()
    return None if row is None else (str(row[0]), int(row[1]))


def find_projection(
    connection: Connection, *, embedder_id: str, selection_hash: str, n_components: int, parameters: str
) -> str | None:
    """Id of the stored projection made in exactly this way."""
    table = schema.projection
    return connection.execute(
        select(table.c.projection_id).where(
            table.c.embedder_id == embedder_id,
            table.c.selection_hash == selection_hash,
            table.c.n_components == n_components,
            table.c.parameters == parameters,
        )
    ).scalar()


def _run(row: Row[Any]) -> RunRecord:
    values = {name: getattr(row, name) for name in RunRecord.__dataclass_fields__}
    return RunRecord(**{**values, "parameters": json.loads(row.parameters), "filters": json.loads(row.filters)})


def _queries() -> Any:
    return schema.query.join(schema.conversation).join(schema.dataset)


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    columns = {
        "dataset": schema.dataset.c.name,
        "model": schema.conversation.c.model,
        "language": schema.conversation.c.language,
    }
    return [columns[name] == value for name, value in filters.to_dict().items() if name in columns]


def _selected() -> Any:
    from sqlalchemy import column, table

    return table("selected", column("i"), column("text_id"))


def _fill_ids(connection: Connection, text_ids: npt.NDArray[np.uint32] | Sequence[int]) -> None:
    connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS selected (i INTEGER PRIMARY KEY, text_id INTEGER)")
    connection.exec_driver_sql("DELETE FROM selected")
    rows = list(enumerate(np.asarray(text_ids).tolist()))
    if rows:
        connection.exec_driver_sql("INSERT INTO selected (i, text_id) VALUES (?, ?)", rows)


def _frame(connection: Connection, statement: Select[Any], schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    return _collect(connection.execution_options(yield_per=FETCH_ROWS).execute(statement), schema_)


def _driver_frame(connection: Connection, statement: str, schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    return _collect(connection.exec_driver_sql(statement), schema_)


def _collect(result: Any, schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    timed = [name for name, dtype in schema_.items() if isinstance(dtype, pl.Datetime)]
    stored = {name: pl.String() if name in timed else dtype for name, dtype in schema_.items()}
    parts = [
        pl.DataFrame([tuple(row) for row in rows], schema=stored, orient="row")
        for rows in iter(lambda: result.fetchmany(FETCH_ROWS), [])
    ]
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=stored)
    return frame.with_columns(
        pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC") for name in timed
    )
