"""What is written into a workspace's database beside conversations: sources, files, embeddings, runs, clusters.

Every function takes a connection inside `Store.writing`. Batches of conversations go in through `batches`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.records import ArrayFileRecord, ClusterRecord, EmbeddingRecord, RunRecord, SourceRecord
from lmsys_rs.store import reading, schema
from lmsys_rs.store.batches import SIGNAL_COLUMNS, insert_rows

__all__ = [
    "add_array_files",
    "add_graph",
    "add_members",
    "add_projection",
    "add_run",
    "add_vector_block",
    "begin_source",
    "delete_dataset",
    "delete_run",
    "finish_source",
    "forget_answers",
    "insert_clusters",
    "next_generation",
    "now",
    "put_embedding",
    "remove_array_files",
    "set_clusters",
    "set_value",
]

INSERT_MEMBER = (
    "INSERT INTO membership (run_id, text_id, cluster_id, probability, assigned, nearest_id) VALUES (?, ?, ?, ?, ?, ?)"
)


def now() -> str:
    """The time as the database writes it: ISO 8601, UTC, seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin_source(
    connection: Connection,
    dataset: str,
    *,
    description: str | None,
    unit: str,
    path: str,
    format: str,
    column_mapping: dict[str, Any],
    filters: dict[str, Any],
    redacted: bool,
    fingerprint: str,
    restart: bool,
) -> SourceRecord:
    """The file of a data set that is about to be read, made where it is new; a changed one is read from its start.

    Args:
        unit: of the data set, if it is new.
        restart: read the file from its start even if its content is known.
    """
    d, s = schema.dataset, schema.source
    dataset_id = connection.execute(select(d.c.id).where(d.c.name == dataset)).scalar()
    if dataset_id is None:
        counts = {"n_conversations": 0, "n_turns": 0, "n_queries": 0, "n_problems": 0}
        statement = insert(d).values(name=dataset, unit=unit, created_at=now(), **counts).returning(d.c.id)
        dataset_id = int(connection.execute(statement).scalar_one())
    if description is not None:
        connection.execute(update(d).where(d.c.id == dataset_id).values(description=description))
    values = {
        "path": path,
        "format": format,
        "column_mapping": json.dumps(column_mapping, sort_keys=True),
        "filters": json.dumps(filters, sort_keys=True),
        "redacted": redacted,
        "fingerprint": fingerprint,
    }
    of_set = s.c.dataset_id == dataset_id
    known = connection.execute(select(s).where(of_set, s.c.fingerprint == fingerprint)).one_or_none()
    if known is None:
        # the same file with other content: it grew, or was written anew
        known = connection.execute(select(s).where(of_set, s.c.path == path).order_by(s.c.id.desc())).first()
        restart = True
    if known is None:
        fresh = {"created_at": now(), "finished": False, "position": 0, "n_conversations": 0, "n_problems": 0}
        statement = insert(s).values(dataset_id=dataset_id, **values, **fresh).returning(s.c.id)
        source_id = int(connection.execute(statement).scalar_one())
    else:
        source_id = int(known.id)
        if restart:
            values |= {"position": 0, "finished": False, "n_problems": 0}
            connection.execute(
                update(d).where(d.c.id == dataset_id).values(n_problems=d.c.n_problems - known.n_problems)
            )
        connection.execute(update(s).where(s.c.id == source_id).values(**values))
    return next(record for record in reading.sources(connection, int(dataset_id)) if record.id == source_id)


def finish_source(connection: Connection, source_id: int, *, position: int | None = None) -> None:
    """Mark a file as read to its end, at line ``position`` where that is not known yet."""
    values: dict[str, Any] = {"finished": True} if position is None else {"finished": True, "position": position}
    connection.execute(update(schema.source).where(schema.source.c.id == source_id).values(**values))


def set_value(connection: Connection, name: str, value: str) -> None:
    """Set a single value of the workspace."""
    statement = upsert(schema.workspace_value).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def next_generation(connection: Connection) -> None:
    """Say that rows were deleted or changed: what was derived from them before does not count any more."""
    set_value(connection, "generation", str(int(reading.value(connection, "generation") or 0) + 1))


def delete_dataset(connection: Connection, dataset_id: int) -> list[str]:
    """Delete a data set with its conversations and queries; returns the files that no table names any more.

    A text that no query asks any more keeps its number, which is the row of every vector file, and loses its content
    and its signals. Ids of conversations and queries are not given again.
    """
    # what is deleted is overwritten in the database, not only unlinked
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    files = [segment.file for segment in reading.segments(connection, dataset_id)]
    for name, table in (("last_conversation_id", schema.conversation), ("last_query_id", schema.query)):
        highest = connection.execute(select(func.max(table.c.id))).scalar() or 0
        set_value(connection, name, str(max(int(highest), int(reading.value(connection, name) or 0))))
    of_set = "(SELECT id FROM conversation WHERE dataset_id = ?)"
    for statement in (
        "CREATE TEMP TABLE IF NOT EXISTS gone (text_id INTEGER PRIMARY KEY)",
        "DELETE FROM gone",
    ):
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        f"INSERT OR IGNORE INTO gone SELECT text_id FROM query WHERE conversation_id IN {of_set}", (dataset_id,)
    )
    connection.exec_driver_sql(f"DELETE FROM query WHERE conversation_id IN {of_set}", (dataset_id,))
    connection.exec_driver_sql("DELETE FROM conversation WHERE dataset_id = ?", (dataset_id,))
    connection.exec_driver_sql(
        "DELETE FROM segment WHERE source_id IN (SELECT id FROM source WHERE dataset_id = ?)", (dataset_id,)
    )
    connection.exec_driver_sql("DELETE FROM source WHERE dataset_id = ?", (dataset_id,))
    connection.exec_driver_sql("DELETE FROM dataset WHERE id = ?", (dataset_id,))
    connection.exec_driver_sql("DELETE FROM gone WHERE EXISTS (SELECT 1 FROM query q WHERE q.text_id = gone.text_id)")
    cleared = ", ".join(f"{name} = NULL" for name in SIGNAL_COLUMNS if name != "n_chars")
    connection.exec_driver_sql(
        # no text has this hash: texts are hashed to 16 bytes
        f"UPDATE text SET text = '', n_chars = 0, hash = CAST('gone ' || text_id AS BLOB), {cleared}"
        " WHERE text_id IN (SELECT text_id FROM gone)"
    )
    connection.exec_driver_sql("DELETE FROM reviewed_label WHERE text_id IN (SELECT text_id FROM gone)")
    next_generation(connection)
    return files


def delete_run(connection: Connection, run_id: str) -> None:
    """Delete a run with its clusters and members, and all that was said of them. Paid answers stay."""
    for part, whole, key, refers in (
        (schema.summary, schema.summary_run, "summary_run_id", "summary_run_id"),
        (schema.hierarchy_node, schema.hierarchy, "hierarchy_id", "hierarchy_id"),
        (schema.edit_move, schema.edit, "id", "edit_id"),
    ):
        theirs = select(whole.c[key]).where(whole.c.run_id == run_id)
        connection.execute(delete(part).where(part.c[refers].in_(theirs)))
    connection.execute(update(schema.rule).where(schema.rule.c.run_id == run_id).values(run_id=None, cluster_id=None))
    entry = schema.llm_entry
    connection.execute(update(entry).where(entry.c.run_id == run_id).values(run_id=None))
    for table in (
        *(schema.summary_run, schema.hierarchy, schema.edit, schema.cluster_note),
        *(schema.membership, schema.cluster, schema.run),
    ):
        connection.execute(delete(table).where(table.c.run_id == run_id))


def forget_answers(connection: Connection, run_ids: Sequence[str] | None) -> None:
    """Delete what language models answered about the texts of these runs, of all with None: it may quote them.

    Answers of which no run is known (any more) go too.
    """
    e = schema.llm_entry
    if run_ids is None:
        connection.execute(delete(e))
        return
    connection.execute(delete(e).where(e.c.run_id.is_(None)))
    for run_id in run_ids:
        connection.execute(delete(e).where(e.c.run_id == run_id))


def add_array_files(connection: Connection, files: Sequence[ArrayFileRecord]) -> None:
    """Record files that are in place; one with the same name is replaced."""
    for file in files:
        values = {"kind": file.kind, "n_bytes": file.n_bytes, "checksum": file.checksum, "created_at": now()}
        statement = upsert(schema.array_file).values(file=file.file, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["file"], set_=values))


def remove_array_files(connection: Connection, files: Sequence[str]) -> None:
    """Let files not count any more; the caller removes them after the transaction."""
    for file in files:
        connection.execute(delete(schema.array_file).where(schema.array_file.c.file == file))


def put_embedding(connection: Connection, record: EmbeddingRecord, *, file: str, restart: bool = False) -> None:
    """Register a vector file, if it is not known yet; ``restart`` declares none of its rows valid."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__} | {"file": file}
    statement = upsert(schema.embedding).values(**values)
    if restart:
        anew = {"n_rows": 0, "file": file, "dtype": record.dtype}
        statement = statement.on_conflict_do_update(index_elements=["embedder_id"], set_=anew)
        connection.execute(delete(schema.vector_block).where(schema.vector_block.c.embedder_id == record.embedder_id))
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement)


def add_vector_block(connection: Connection, embedder_id: str, *, start: int, stop: int, checksum: str) -> None:
    """Declare rows ``start`` to ``stop - 1`` of a vector file valid, and with them all before: they are on disk."""
    b, e = schema.vector_block, schema.embedding
    values = {"stop": stop, "checksum": checksum}
    statement = upsert(b).values(embedder_id=embedder_id, start=start, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["embedder_id", "start"], set_=values))
    connection.execute(update(e).where(e.c.embedder_id == embedder_id, e.c.n_rows < stop).values(n_rows=stop))


def add_graph(
    connection: Connection,
    graph_id: str,
    *,
    embedder_id: str,
    selection_hash: str,
    k: int,
    n_points: int,
    recall: float | None,
) -> None:
    """Record a graph whose files are in place."""
    values = {"graph_id": graph_id, "embedder_id": embedder_id, "selection_hash": selection_hash, "k": k}
    connection.execute(
        upsert(schema.graph)
        .values(**values, n_points=n_points, recall=recall, created_at=now())
        .on_conflict_do_nothing()
    )


def add_projection(
    connection: Connection,
    projection_id: str,
    *,
    embedder_id: str,
    selection_hash: str,
    n_components: int,
    parameters: str,
    n_points: int,
) -> None:
    """Record a projection whose file is in place. ``parameters`` is canonical JSON."""
    statement = upsert(schema.projection).values(
        projection_id=projection_id,
        embedder_id=embedder_id,
        selection_hash=selection_hash,
        n_components=n_components,
        parameters=parameters,
        n_points=n_points,
        created_at=now(),
    )
    connection.execute(statement.on_conflict_do_nothing())


def add_run(
    connection: Connection,
    record: RunRecord,
    clusters: Sequence[ClusterRecord],
    *,
    text_ids: npt.NDArray[np.uint32],
    labels: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32] | None,
    nearest: npt.NDArray[np.int32] | None = None,
) -> None:
    """Store a finished run: members, clusters, and last of all the row that makes it exist."""
    members = pl.DataFrame(
        {
            "text_id": text_ids,
            "cluster_id": labels,
            "probability": pl.Series(
                probabilities if probabilities is not None else [None] * len(labels), dtype=pl.Float64
            ),
            "nearest_id": pl.Series(nearest if nearest is not None else [None] * len(labels), dtype=pl.Int64),
        }
    ).select(
        pl.lit(record.run_id).alias("run_id"),
        "text_id",
        "cluster_id",
        "probability",
        pl.lit(0).alias("assigned"),
        "nearest_id",
    )
    insert_rows(connection, INSERT_MEMBER, members)
    insert_clusters(connection, clusters)
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    values["next_cluster_id"] = max(record.next_cluster_id, record.n_clusters)
    values["parameters"] = json.dumps(record.parameters, sort_keys=True)
    values["filters"] = json.dumps(record.filters, sort_keys=True)
    connection.execute(insert(schema.run).values(**values))


def add_members(
    connection: Connection,
    run_id: str,
    *,
    text_ids: npt.NDArray[np.uint32],
    labels: npt.NDArray[np.int32],
    weights: npt.NDArray[np.float32],
) -> None:
    """Place texts into a finished run; sizes and counts follow. Texts that are in it already stay where they are."""
    rows = pl.DataFrame({"text_id": text_ids, "cluster_id": labels}).select(
        pl.lit(run_id).alias("run_id"),
        "text_id",
        "cluster_id",
        pl.lit(None).alias("probability"),
        pl.lit(1).alias("assigned"),
        pl.lit(None).alias("nearest_id"),
    )
    insert_rows(connection, INSERT_MEMBER, rows)
    found, n_texts = np.unique(labels, return_counts=True)
    n_queries = [int(weights[labels == label].sum()) for label in found]
    # a run may have had no noise before
    unclustered = {"size": 0, "n_queries": 0, "title": "Unclustered", "description": "", "terms": "[]"}
    for label in found.tolist():
        row = {"run_id": run_id, "cluster_id": label, **unclustered, "representatives": "[]"}
        connection.execute(upsert(schema.cluster).values(**row).on_conflict_do_nothing())
    insert_rows(
        connection,
        "UPDATE cluster SET size = size + ?, n_queries = n_queries + ? WHERE run_id = ? AND cluster_id = ?",
        [(int(n), q, run_id, int(label)) for label, n, q in zip(found, n_texts, n_queries, strict=True)],
    )
    r = schema.run
    connection.execute(
        update(r)
        .where(r.c.run_id == run_id)
        .values(
            n_assigned=r.c.n_assigned + len(text_ids),
            n_queries=r.c.n_queries + int(weights.sum()),
            n_noise=r.c.n_noise + int((labels == -1).sum()),
        )
    )


def set_clusters(connection: Connection, run_id: str, clusters: Sequence[ClusterRecord]) -> None:
    """Replace titles, descriptions, terms and representatives of a run; it is not called by a naming any more."""
    connection.execute(delete(schema.cluster).where(schema.cluster.c.run_id == run_id))
    insert_clusters(connection, clusters)
    values = {"labeled": True, "summary_run_id": None}
    connection.execute(update(schema.run).where(schema.run.c.run_id == run_id).values(**values))


def insert_clusters(connection: Connection, clusters: Sequence[ClusterRecord]) -> None:
    """Store clusters that are not there yet."""
    rows = [
        {
            "run_id": c.run_id,
            "cluster_id": c.cluster_id,
            "size": c.size,
            "n_queries": c.n_queries,
            "title": c.title,
            "description": c.description,
            "terms": json.dumps(c.terms, ensure_ascii=False),
            "representatives": json.dumps(c.representatives),
            "medoid": c.medoid,
            "title_source": c.title_source,
            "title_rank": c.title_rank,
        }
        for c in clusters
    ]
    if rows:
        connection.execute(insert(schema.cluster), rows)
