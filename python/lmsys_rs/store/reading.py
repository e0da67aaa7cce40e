"""What is asked of a workspace's database: texts, queries by id, runs, clusters, members; always in a stated order.

Every function takes a connection inside `Store.reading` and returns records, arrays or Polars frames. Which queries
pass a filter is decided in `selection`; here they are fetched by id. Paging is by key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
)

from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import (
    ArrayFileRecord,
    ClusterRecord,
    DatasetRecord,
    EmbeddingRecord,
    RunRecord,
    SegmentRecord,
    SourceRecord,
)
from lmsys_rs.store import schema

__all__ = [
    "ColumnsState",
    "array_files",
    "clusters",
    "columns_state",
    "conversation_id_of",
    "counts",
    "datasets",
    "embeddings",
    "export_rows",
    "find_graph",
    "find_projection",
    "find_run",
    "find_source",
    "get_run",
    "graph_ids",
    "graphs_of",
    "members",
    "n_chars",
    "n_texts",
    "projections",
    "queries_by_id",
    "query_columns",
    "run_frame",
    "runs",
    "segment_of",
    "segments",
    "sources",
    "text_columns",
    "text_page",
    "text_range",
    "texts_of",
    "value",
    "vector_blocks",
]

HASHES_AT_ONCE = 500  # bound values of one statement
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

MEMBER_SCHEMA: dict[str, pl.DataType] = {
    "text_id": pl.UInt32(),
    "cluster_id": pl.Int32(),  # -1 is noise
    "probability": pl.Float32(),
    "assigned": pl.Boolean(),  # placed into the finished run, not clustered
    "nearest_id": pl.Int32(),  # cluster_id, and for noise the nearest cluster; null where the algorithm does not tell
}


@dataclass(frozen=True, slots=True)
class ColumnsState:
    """What `columns` needs to know of one state of the database: how far it goes, and which files there are."""

    generation: int  # how often rows were deleted or changed
    last_query_id: int
    last_text_id: int
    datasets: dict[int, str]
    files: tuple[ArrayFileRecord, ...]


def counts(connection: Connection) -> dict[str, int]:
    """How many there are of each main thing, as the data sets say."""
    found = datasets(connection)
    n_runs = connection.execute(select(func.count()).select_from(schema.run)).scalar_one()
    return {
        "n_datasets": len(found),
        "n_conversations": sum(d.n_conversations for d in found),
        "n_turns": sum(d.n_turns for d in found),
        "n_queries": sum(d.n_queries for d in found),
        "n_runs": int(n_runs),
        "n_texts": n_texts(connection),
    }


def value(connection: Connection, name: str) -> str | None:
    """A single value of the workspace, None if it was never set."""
    table = schema.workspace_value
    return connection.execute(select(table.c.value).where(table.c.name == name)).scalar()


def array_files(connection: Connection, kind: str | None = None) -> list[ArrayFileRecord]:
    """The array files that count, oldest first: of one kind, or all."""
    table = schema.array_file
    statement = select(table.c.file, table.c.kind, table.c.n_bytes, table.c.checksum).order_by(literal_column("rowid"))
    if kind is not None:
        statement = statement.where(table.c.kind == kind)
    return [ArrayFileRecord(file=f, kind=k, n_bytes=n, checksum=c) for f, k, n, c in connection.execute(statement)]


def columns_state(connection: Connection) -> ColumnsState:
    """How far queries and texts go, and the column files there are."""
    last_query = connection.execute(select(func.max(schema.query.c.id))).scalar()
    d = schema.dataset.c
    return ColumnsState(
        generation=int(value(connection, "generation") or 0),
        last_query_id=-1 if last_query is None else int(last_query),
        last_text_id=n_texts(connection) - 1,
        datasets={int(id_): str(name) for id_, name in connection.execute(select(d.id, d.name).order_by(d.id))},
        files=tuple(array_files(connection, "columns")),
    )


def query_columns(connection: Connection, *, after: int, until: int | None = None) -> pl.DataFrame:
    """The columns of queries with ids above ``after`` and below ``until``, by id."""
    q, c = schema.query.c, schema.conversation.c
    statement = (
        select(
            q.id, q.conversation_id, q.position, q.text_id, c.dataset_id, c.model, c.language, c.timestamp, c.n_turns
        )
        .select_from(schema.query.join(schema.conversation))
        .where(q.id > after)
        .order_by(q.id)
    )
    if until is not None:
        statement = statement.where(q.id < until)
    types = {
        "query_id": pl.Int64(),
        "conversation_id": pl.Int64(),
        "position": pl.Int32(),
        "text_id": pl.UInt32(),
        "dataset_id": pl.Int32(),
        "model": pl.String(),
        "language": pl.String(),
        "timestamp": pl.Datetime("us", "UTC"),
        "n_turns": pl.UInt32(),
    }
    return _frame(connection, statement, types)


def text_columns(connection: Connection, *, after: int, until: int | None = None) -> pl.DataFrame:
    """The columns (signals) of texts with ids above ``after`` and below ``until``, by id."""
    t = schema.text.c
    types: dict[str, pl.DataType] = {
        "text_id": pl.UInt32(),
        "n_chars": pl.UInt32(),
        "n_words": pl.UInt32(),
        "language": pl.String(),
        "language_confidence": pl.Float32(),
        "quality": pl.Float32(),
        "quality_length": pl.Float32(),
        "quality_letters": pl.Float32(),
        "quality_repetition": pl.Float32(),
        "quality_variety": pl.Float32(),
        "quality_wording": pl.Float32(),
        "personal": pl.UInt32(),
        "template": pl.Int64(),
    }
    statement = select(*(t[name] for name in types)).where(t.text_id > after).order_by(t.text_id)
    if until is not None:
        statement = statement.where(t.text_id < until)
    return _frame(connection, statement, types)


def n_texts(connection: Connection) -> int:
    """Number of distinct texts; their ids are 0 to n_texts - 1."""
    highest = connection.execute(select(func.max(schema.text.c.text_id))).scalar()
    return 0 if highest is None else int(highest) + 1


def n_chars(connection: Connection, start: int) -> int:
    """Characters of the texts from number ``start`` on, together."""
    t = schema.text.c
    return int(connection.execute(select(func.coalesce(func.sum(t.n_chars), 0)).where(t.text_id >= start)).scalar_one())


def estimated_tokens(
    connection: Connection, start: int, bytes_per_token: int, max_length: int, stop: int | None = None
) -> int:
    """About how many tokens the texts from number ``start`` on (before ``stop``) have, as the core estimates them."""
    t = schema.text.c
    one = func.length(cast(t.text, LargeBinary)) // bytes_per_token + 2
    tokens = func.min(one, max_length) if max_length else one
    statement = select(func.coalesce(func.sum(tokens), 0)).where(t.text_id >= start)
    if stop is not None:
        statement = statement.where(t.text_id < stop)
    return int(connection.execute(statement).scalar_one())


def datasets(connection: Connection) -> list[DatasetRecord]:
    """Every data set, oldest first."""
    d = schema.dataset
    files: dict[int, list[SourceRecord]] = {}
    for record in sources(connection):
        files.setdefault(record.dataset_id, []).append(record)
    found = []
    for row in connection.execute(select(d).order_by(d.c.id)):
        of_set = files.get(row.id, [])
        found.append(
            DatasetRecord(
                **row._mapping,
                source=of_set[-1].path if of_set else "",
                format=of_set[-1].format if of_set else "",
                finished=all(source.finished for source in of_set),
                n_files=len(of_set),
            )
        )
    return found


def sources(connection: Connection, dataset_id: int | None = None) -> list[SourceRecord]:
    """Every loaded file (of one data set), oldest first."""
    table = schema.source
    statement = select(table).order_by(table.c.id)
    if dataset_id is not None:
        statement = statement.where(table.c.dataset_id == dataset_id)
    return [_source(row) for row in connection.execute(statement)]


def find_source(connection: Connection, dataset: str, fingerprint: str) -> SourceRecord | None:
    """The file of a data set with this content, if it was loaded (in part)."""
    s, d = schema.source, schema.dataset
    row = connection.execute(
        select(s).join(d, s.c.dataset_id == d.c.id).where(d.c.name == dataset, s.c.fingerprint == fingerprint)
    ).one_or_none()
    return None if row is None else _source(row)


def segments(connection: Connection, dataset_id: int | None = None) -> list[SegmentRecord]:
    """The files with whole conversations (of one data set), by id."""
    table = schema.segment
    statement = select(table).order_by(table.c.first_id)
    if dataset_id is not None:
        statement = statement.join(schema.source).where(schema.source.c.dataset_id == dataset_id)
    return [SegmentRecord(**row._mapping) for row in connection.execute(statement)]


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


def text_hashes(connection: Connection, start: int, stop: int) -> pl.Series:
    """Hashes of the texts ``start`` to ``stop - 1``, in order."""
    table = schema.text
    statement = select(table.c.hash).where(table.c.text_id >= start, table.c.text_id < stop).order_by(table.c.text_id)
    return _frame(connection, statement, {"hash": pl.Binary()})["hash"]


def text_ids_of(connection: Connection, hashes: pl.Series) -> pl.DataFrame:
    """(position, text_id) of those of ``hashes`` that are texts here, by position."""
    table = schema.text
    found = []
    for part in hashes.rename("hash").to_frame().iter_slices(HASHES_AT_ONCE):
        statement = select(table.c.hash, table.c.text_id).where(table.c.hash.in_(part["hash"].to_list()))
        found.append(_frame(connection, statement, {"hash": pl.Binary(), "text_id": pl.UInt32()}))
    wanted = hashes.rename("hash").to_frame().with_row_index("position")
    return wanted.join(pl.concat(found), on="hash", how="inner", maintain_order="left").select("position", "text_id")


def texts_of(connection: Connection, text_ids: npt.NDArray[np.uint32]) -> pl.Series:
    """The texts of the given ids, in their order."""
    if (
        len(text_ids)
        and len(text_ids) == int(text_ids[-1]) - int(text_ids[0]) + 1
        and bool(np.all(np.diff(text_ids.astype(np.int64)) == 1))
    ):
        return text_range(connection, int(text_ids[0]), int(text_ids[-1]) + 1)
    _fill_ids(connection, text_ids)
    statement = "SELECT t.text FROM selected s CROSS JOIN text t WHERE t.text_id = s.id ORDER BY s.i"
    return _driver_frame(connection, statement, {"text": pl.String()})["text"]


def conversation_id_of(connection: Connection, query_id: int) -> int | None:
    """Number of the conversation that a query was taken from, None if there is no such query."""
    q = schema.query.c
    return connection.execute(select(q.conversation_id).where(q.id == query_id)).scalar()


def segment_of(connection: Connection, conversation_id: int) -> SegmentRecord:
    """The file with a conversation that exists."""
    table = schema.segment
    statement = select(table).where(table.c.first_id <= conversation_id).order_by(table.c.first_id.desc()).limit(1)
    return SegmentRecord(**connection.execute(statement).one()._mapping)


def queries_by_id(
    connection: Connection, query_ids: npt.NDArray[np.int64], *, run_id: str | None = None
) -> pl.DataFrame:
    """The queries with these ids, in the given order, in `QUERY_SCHEMA`; ``cluster_id`` is null without a run."""
    _fill_ids(connection, query_ids)
    q, c, d, t, m = (
        schema.query.c,
        schema.conversation.c,
        schema.dataset.c,
        schema.text.c,
        schema.membership.c,
    )
    selected = _selected()
    joined: Any = (
        selected.join(schema.query, q.id == selected.c.id)
        .join(schema.text, t.text_id == q.text_id)
        .join(schema.conversation, c.id == q.conversation_id)
        .join(schema.dataset, d.id == c.dataset_id)
    )
    label: Any = func.nullif(1, 1)
    if run_id is not None:
        joined = joined.outerjoin(schema.membership, and_(m.text_id == q.text_id, m.run_id == run_id))
        label = m.cluster_id
    language = _effective_language()
    statement = (
        select(q.id, q.text_id, c.source_id, d.name, c.model, language, c.timestamp, t.text, label)
        .select_from(joined)
        .order_by(selected.c.i)
    )
    return _frame(connection, statement, dict(QUERY_SCHEMA))


def text_page(connection: Connection, *, after: int = -1, limit: int | None = None) -> pl.DataFrame:
    """Distinct texts with id above ``after``, by id: text_id, text."""
    t = schema.text.c
    statement = select(t.text_id, t.text).where(t.text_id > after).order_by(t.text_id).limit(limit)
    return _frame(connection, statement, {"text_id": pl.UInt32(), "text": pl.String()})


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
            title_source=row.title_source,
            title_rank=row.title_rank,
        )
        for row in rows
    ]


def members(
    connection: Connection, run_id: str, cluster_id: int | None = None, *, after: int = -1, limit: int | None = None
) -> pl.DataFrame:
    """Members of a run (or one cluster) with text ids above ``after``, by text_id, in `MEMBER_SCHEMA`."""
    m = schema.membership.c
    conditions: list[ColumnElement[bool]] = [m.run_id == run_id]
    if cluster_id is not None:  # 0 is a cluster
        conditions.append(m.cluster_id == cluster_id)
    if after >= 0:
        conditions.append(m.text_id > after)
    columns = (m.text_id, m.cluster_id, m.probability, m.assigned, m.nearest_id)
    return _frame(connection, select(*columns).where(*conditions).order_by(m.text_id).limit(limit), MEMBER_SCHEMA)


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


def export_rows(connection: Connection, run_id: str, query_ids: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Queries of a run with their cluster's title: the columns of `lmsys export`, in the given order."""
    _fill_ids(connection, query_ids)
    q, c, t, m, k = (
        schema.query.c,
        schema.conversation.c,
        schema.text.c,
        schema.membership.c,
        schema.cluster.c,
    )
    selected = _selected()
    joined = (
        selected.join(schema.query, q.id == selected.c.id)
        .join(schema.text, t.text_id == q.text_id)
        .join(schema.conversation, c.id == q.conversation_id)
        .join(schema.membership, and_(m.text_id == q.text_id, m.run_id == run_id))
        .outerjoin(schema.cluster, and_(k.run_id == m.run_id, k.cluster_id == m.cluster_id))
    )
    language = _effective_language()
    statement = (
        select(q.id, m.cluster_id, t.text, c.model, language, k.title, k.description)
        .select_from(joined)
        .order_by(selected.c.i)
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


def find_graph(
    connection: Connection, *, embedder_id: str, selection_hash: str, min_k: int
) -> tuple[str, int, float | None] | None:
    """(graph_id, k, recall) of the smallest stored graph with at least ``min_k`` neighbours."""
    table = schema.graph
    row = connection.execute(
        select(table.c.graph_id, table.c.k, table.c.recall)
        .where(table.c.embedder_id == embedder_id, table.c.selection_hash == selection_hash, table.c.k >= min_k)
        .order_by(table.c.k)
    ).first()
    return None if row is None else (str(row[0]), int(row[1]), row[2])


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


def graphs_of(connection: Connection, embedder_id: str) -> list[tuple[str, str, int, int, float | None]]:
    """(graph_id, selection_hash, k, n_points, recall) of the graphs of an embedding, largest first."""
    g = schema.graph.c
    statement = select(g.graph_id, g.selection_hash, g.k, g.n_points, g.recall).where(g.embedder_id == embedder_id)
    return [
        (str(i), str(h), int(k), int(n), recall)
        for i, h, k, n, recall in connection.execute(statement.order_by(g.n_points.desc(), g.k.desc(), g.graph_id))
    ]


def graph_ids(connection: Connection) -> list[str]:
    """The ids of all stored graphs."""
    g = schema.graph.c
    return [str(id_) for id_ in connection.execute(select(g.graph_id).order_by(g.graph_id)).scalars()]


def projections(connection: Connection) -> list[str]:
    """The ids of all stored projections."""
    p = schema.projection.c
    return [str(id_) for id_ in connection.execute(select(p.projection_id).order_by(p.projection_id)).scalars()]


def vector_blocks(connection: Connection, embedder_id: str) -> list[tuple[int, int, str]]:
    """(start, stop, checksum) of the blocks of a vector file, by row."""
    b = schema.vector_block.c
    statement = select(b.start, b.stop, b.checksum).where(b.embedder_id == embedder_id).order_by(b.start)
    return [(int(start), int(stop), str(checksum)) for start, stop, checksum in connection.execute(statement)]


def _run(row: Row[Any]) -> RunRecord:
    values = {name: getattr(row, name) for name in RunRecord.__dataclass_fields__}
    return RunRecord(**{**values, "parameters": json.loads(row.parameters), "filters": json.loads(row.filters)})


def _source(row: Row[Any]) -> SourceRecord:
    values = dict(row._mapping)
    decoded = {name: json.loads(values[name]) for name in ("column_mapping", "filters")}
    return SourceRecord(**{**values, **decoded})


def _effective_language() -> Any:
    """The language of the source, or, where that says nothing, the detected one: as `conditions.effective_language`."""
    said = schema.conversation.c.language
    return func.coalesce(case((func.lower(said).in_(["", "unknown"]), None), else_=said), schema.text.c.language)


def _selected() -> Any:
    from sqlalchemy import column, table

    return table("selected", column("i"), column("id"))


def _fill_ids(connection: Connection, ids: npt.NDArray[Any] | Sequence[int]) -> None:
    connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS selected (i INTEGER PRIMARY KEY, id INTEGER)")
    connection.exec_driver_sql("DELETE FROM selected")
    rows = list(enumerate(np.asarray(ids).tolist()))
    if rows:
        connection.exec_driver_sql("INSERT INTO selected (i, id) VALUES (?, ?)", rows)


def _frame(connection: Connection, statement: Select[Any], schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    return _collect(connection.execution_options(yield_per=FETCH_ROWS).execute(statement), schema_)


def _driver_frame(connection: Connection, statement: str, schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    return _collect(connection.exec_driver_sql(statement), schema_)


def _collect(result: Any, schema_: dict[str, pl.DataType]) -> pl.DataFrame:
    # times are stored as microseconds since 1970
    stored = {name: pl.Int64() if isinstance(dtype, pl.Datetime) else dtype for name, dtype in schema_.items()}
    parts = [
        pl.DataFrame([tuple(row) for row in rows], schema=stored, orient="row")
        for rows in iter(lambda: result.fetchmany(FETCH_ROWS), [])
    ]
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=stored)
    return frame.cast(dict(schema_))  # type: ignore[arg-type]  # names to dtypes
