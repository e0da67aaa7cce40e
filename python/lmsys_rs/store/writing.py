"""What is written into a workspace's database, in which transaction: batches of conversations, embeddings, runs.

Every function takes a connection inside `Store.writing`; bulk rows go in as tuples through executemany.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from lmsys_rs.records import ClusterRecord, ConversationBatch, EmbeddingRecord, RunRecord
from lmsys_rs.store import schema

__all__ = [
    "BatchCounts",
    "add_batch",
    "add_graph",
    "add_projection",
    "add_run",
    "begin_dataset",
    "finish_dataset",
    "now",
    "put_embedding",
    "set_clusters",
    "set_embedded_rows",
]

ISO_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What one batch brought."""

    n_new: int
    n_queries: int
    n_new_texts: int


def now() -> str:
    """The time as the database writes it: ISO 8601, UTC, seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin_dataset(
    connection: Connection,
    name: str,
    *,
    source: str,
    format: str,
    description: str | None,
    column_mapping: dict[str, Any],
    fingerprint: str,
    restart: bool,
) -> tuple[int, int]:
    """(id, position) of the data set ``name``; a new file (or ``restart``) is read from its start."""
    values: dict[str, Any] = {
        "source": source,
        "format": format,
        "column_mapping": json.dumps(column_mapping, sort_keys=True),
        "fingerprint": fingerprint,
    }
    if description is not None:
        values["description"] = description
    known = connection.execute(select(schema.dataset).where(schema.dataset.c.name == name)).one_or_none()
    if known is None:
        fresh: dict[str, Any] = {"name": name, "created_at": now(), "finished": False, "position": 0}
        counts = {"n_conversations": 0, "n_queries": 0, "n_problems": 0}
        statement = insert(schema.dataset).values(**values, **fresh, **counts).returning(schema.dataset.c.id)
        return int(connection.execute(statement).scalar_one()), 0
    if restart or known.fingerprint != fingerprint:
        values |= {"position": 0, "finished": False, "n_problems": 0}
    connection.execute(update(schema.dataset).where(schema.dataset.c.id == known.id).values(**values))
    return int(known.id), int(values.get("position", known.position))


def finish_dataset(connection: Connection, dataset_id: int) -> None:
    """Mark the source as read to its end."""
    connection.execute(update(schema.dataset).where(schema.dataset.c.id == dataset_id).values(finished=True))


def add_batch(connection: Connection, dataset_id: int, batch: ConversationBatch, *, id_is_unique: bool) -> BatchCounts:
    """Store the conversations of a batch that are not there yet, with turns, queries and texts, and the position.

    Args:
        id_is_unique: the source's ids name conversations; otherwise (a table of texts) id and text together do.
    """
    keyed = batch.conversations.with_columns(_conversation_keys(batch.conversations, id_is_unique).alias("key"))
    fresh = _unknown(connection, keyed, dataset_id)
    first_id = _next(connection, schema.conversation.c.id, first=1)
    fresh = fresh.with_columns(pl.int_range(first_id, first_id + fresh.height, dtype=pl.Int64).alias("id"))
    _insert(
        connection,
        "INSERT INTO conversation (id, dataset_id, key, source_id, model, language, timestamp, extra, line)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        fresh.select(
            "id",
            pl.lit(dataset_id),
            "key",
            "conversation_id",
            "model",
            "language",
            pl.col("timestamp").dt.strftime(ISO_TIME),
            "extra",
            "line",
        ),
    )
    turns = _turns(fresh)
    _insert(connection, "INSERT INTO turn (conversation_id, position, role, content) VALUES (?, ?, ?, ?)", turns)
    queries, n_new_texts = _add_texts(connection, turns)
    _insert(connection, "INSERT INTO query (conversation_id, position, text_id) VALUES (?, ?, ?)", queries)
    table = schema.dataset
    connection.execute(
        update(table)
        .where(table.c.id == dataset_id)
        .values(
            position=batch.position,
            n_conversations=table.c.n_conversations + fresh.height,
            n_queries=table.c.n_queries + queries.height,
            n_problems=table.c.n_problems + len(batch.problems),
        )
    )
    return BatchCounts(fresh.height, queries.height, n_new_texts)


def put_embedding(connection: Connection, record: EmbeddingRecord, *, file: str, restart: bool = False) -> None:
    """Register a vector file, if it is not known yet; ``restart`` declares none of its rows valid."""
    values = {name: getattr(record, name) for name in record.__dataclass_fields__} | {"file": file}
    statement = upsert(schema.embedding).values(**values)
    if restart:
        statement = statement.on_conflict_do_update(index_elements=["embedder_id"], set_={"n_rows": 0, "file": file})
    else:
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement)


def set_embedded_rows(connection: Connection, embedder_id: str, n_rows: int) -> None:
    """Declare the first ``n_rows`` rows of a vector file valid: they are on disk."""
    table = schema.embedding
    connection.execute(update(table).where(table.c.embedder_id == embedder_id).values(n_rows=n_rows))


def add_graph(
    connection: Connection, graph_id: str, *, embedder_id: str, selection_hash: str, k: int, n_points: int
) -> None:
    """Record a graph whose files are in place."""
    values = {"graph_id": graph_id, "embedder_id": embedder_id, "selection_hash": selection_hash, "k": k}
    connection.execute(
        upsert(schema.graph).values(**values, n_points=n_points, created_at=now()).on_conflict_do_nothing()
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
) -> None:
    """Store a finished run: members, clusters, and last of all the row that makes it exist."""
    members = pl.DataFrame(
        {
            "text_id": text_ids,
            "cluster_id": labels,
            "probability": pl.Series(
                probabilities if probabilities is not None else [None] * len(labels), dtype=pl.Float64
            ),
        }
    ).select(pl.lit(record.run_id), "text_id", "cluster_id", "probability")
    _insert(
        connection, "INSERT INTO membership (run_id, text_id, cluster_id, probability) VALUES (?, ?, ?, ?)", members
    )
    _insert_clusters(connection, clusters)
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    values["parameters"] = json.dumps(record.parameters, sort_keys=True)
    values["filters"] = json.dumps(record.filters, sort_keys=True)
    connection.execute(insert(schema.run).values(**values))


def set_clusters(connection: Connection, run_id: str, clusters: Sequence[ClusterRecord]) -> None:
    """Replace titles, descriptions, terms and representatives of a run."""
    connection.execute(delete(schema.cluster).where(schema.cluster.c.run_id == run_id))
    _insert_clusters(connection, clusters)
    connection.execute(update(schema.run).where(schema.run.c.run_id == run_id).values(labeled=True))


def _insert_clusters(connection: Connection, clusters: Sequence[ClusterRecord]) -> None:
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
        }
        for c in clusters
    ]
    if rows:
        connection.execute(insert(schema.cluster), rows)


def _conversation_keys(conversations: pl.DataFrame, id_is_unique: bool) -> pl.Series:
    """16 bytes that stay the same when the same source is read again, whatever else is in the data set."""
    from lmsys_rs import _core

    by_id = pl.concat_str(pl.lit("i\x1f"), pl.col("conversation_id"))
    if id_is_unique and not conversations["conversation_id"].null_count():
        texts = conversations.select(by_id).to_series()
    else:
        turn = pl.element().struct
        content = pl.col("turns").list.eval(
            pl.concat_str(turn.field("role").fill_null(""), pl.lit("\x1e"), turn.field("content").fill_null(""))
        )
        joined = content.list.join("\x1f")
        with_id = by_id if id_is_unique else pl.concat_str(by_id, pl.lit("\x1f"), joined)
        # rows without an id: the line tells two equal ones apart, so both are counted and a reload finds them again
        without_id = pl.concat_str(pl.lit("c\x1f"), pl.col("line").cast(pl.String), pl.lit("\x1f"), joined)
        texts = conversations.select(pl.coalesce(with_id, without_id)).to_series()
    return _series(_core.text_hashes(texts))


def _unknown(connection: Connection, keyed: pl.DataFrame, dataset_id: int) -> pl.DataFrame:
    """The rows whose key is neither earlier in the batch nor in the data set."""
    keyed = keyed.filter(pl.col("key").is_first_distinct())
    if not keyed.height:
        return keyed
    _fill_keys(connection, keyed["key"])
    known = connection.exec_driver_sql(
        "SELECT k.i FROM batch_key k JOIN conversation c ON c.dataset_id = ? AND c.key = k.key", (dataset_id,)
    ).scalars()
    rows = np.ones(keyed.height, dtype=bool)
    rows[list(known)] = False
    return keyed.filter(pl.Series(rows))


def _turns(conversations: pl.DataFrame) -> pl.DataFrame:
    """One row per turn: conversation_id, position, role, content."""
    return (
        conversations.select(
            pl.col("id").alias("conversation_id"), pl.int_ranges(pl.col("turns").list.len()).alias("position"), "turns"
        )
        .filter(pl.col("turns").list.len() > 0)
        .explode("position", "turns")
        .select(
            "conversation_id",
            "position",
            pl.col("turns").struct.field("role").fill_null("unknown"),
            pl.col("turns").struct.field("content").fill_null(""),
        )
    )


def _add_texts(connection: Connection, turns: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The queries of new conversations (first user turn that has text), and how many texts were new."""
    from lmsys_rs import _core

    user = turns.filter(pl.col("role") == "user")
    user = user.with_columns(_series(_core.normalize_texts(user["content"])).alias("text"))
    first = user.filter(pl.col("text").str.len_bytes() > 0).unique("conversation_id", keep="first", maintain_order=True)
    first = first.with_columns(_series(_core.text_hashes(first["text"])).alias("key"))
    distinct = first.select("key", "text").unique("key", keep="first", maintain_order=True)
    if not distinct.height:
        return pl.DataFrame(schema={"conversation_id": pl.Int64, "position": pl.Int64, "text_id": pl.Int64}), 0
    _fill_keys(connection, distinct["key"])
    known = connection.exec_driver_sql("SELECT k.i, t.text_id FROM batch_key k JOIN text t ON t.hash = k.key").all()
    text_ids = np.full(distinct.height, -1, dtype=np.int64)
    if known:
        rows, ids = np.array(known, dtype=np.int64).T
        text_ids[rows] = ids
    is_new = text_ids < 0
    n_new = int(is_new.sum())
    next_id = _next(connection, schema.text.c.text_id, first=0)
    text_ids[is_new] = np.arange(next_id, next_id + n_new)
    distinct = distinct.with_columns(pl.Series("text_id", text_ids))
    _insert(
        connection,
        "INSERT INTO text (text_id, hash, text, n_chars) VALUES (?, ?, ?, ?)",
        distinct.filter(pl.Series(is_new)).select(
            "text_id", "key", "text", pl.col("text").str.len_chars().alias("n_chars")
        ),
    )
    queries = first.join(distinct.select("key", "text_id"), on="key", how="left", maintain_order="left")
    return queries.select("conversation_id", "position", "text_id"), n_new


def _fill_keys(connection: Connection, keys: pl.Series) -> None:
    connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS batch_key (i INTEGER PRIMARY KEY, key BLOB NOT NULL)")
    connection.exec_driver_sql("DELETE FROM batch_key")
    _insert(connection, "INSERT INTO batch_key (i, key) VALUES (?, ?)", enumerate(keys))


def _insert(connection: Connection, statement: str, rows: pl.DataFrame | Iterable[tuple[Any, ...]]) -> None:
    tuples = rows.rows() if isinstance(rows, pl.DataFrame) else list(rows)
    if tuples:
        connection.exec_driver_sql(statement, tuples)


def _next(connection: Connection, column: Any, *, first: int) -> int:
    highest = connection.execute(select(func.max(column))).scalar()
    return first if highest is None else int(highest) + 1


def _series(array: Any) -> pl.Series:
    """An Arrow array of the Rust core as a Polars series (no copy)."""
    return pl.Series(array)
