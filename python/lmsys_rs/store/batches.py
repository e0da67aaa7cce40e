"""How a batch of conversations gets into the tables: what is new in it, its ids, its queries and its texts.

Every function takes a connection inside `Store.writing`; bulk rows go in as tuples through executemany. The turns go
into a file that the caller writes meanwhile; the batch counts only once that file is in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, func, select, update

from lmsys_rs import _core
from lmsys_rs.records import Problem
from lmsys_rs.store import schema

__all__ = [
    "SIGNAL_COLUMNS",
    "AddedBatch",
    "PreparedBatch",
    "Seen",
    "add_batch",
    "insert_rows",
    "set_signals",
    "unknown_keys",
]

SIGNAL_COLUMNS = (
    *("n_chars", "n_words", "language", "language_confidence", "quality", "quality_length", "quality_letters"),
    *("quality_repetition", "quality_variety", "quality_wording", "personal", "template"),
)
TEXT_COLUMNS = ("text_id", "hash", "text", *SIGNAL_COLUMNS)
INSERT_TEXT = f"INSERT INTO text ({', '.join(TEXT_COLUMNS)}) VALUES ({', '.join('?' * len(TEXT_COLUMNS))})"

# (file relative to the workspace, bytes, checksum)
Written = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch with everything computed that needs no database.

    Attributes:
        conversations: frame in `CONVERSATION_SCHEMA` with column ``key`` (16 bytes), in source order.
        queries: row (of ``conversations``), position, hash; ordered by row and position.
        texts: each distinct text of the queries once: hash, text and the signals.
        signatures: (len(texts), width) MinHash signatures of these texts.
        n_filtered: conversations of the source that were left out because they do not pass the filters.
        n_redacted: conversations in which something was replaced.
    """

    conversations: pl.DataFrame
    queries: pl.DataFrame
    texts: pl.DataFrame
    signatures: npt.NDArray[np.uint16]
    problems: tuple[Problem, ...]
    position: int
    done: int
    n_read: int
    n_filtered: int = 0
    n_redacted: int = 0


@dataclass(frozen=True, slots=True)
class AddedBatch:
    """What a batch brought: counts, and the new rows as `columns` keeps them.

    Attributes:
        queries: query_id, conversation_id, position, text_id, dataset_id, model, language, timestamp, n_turns.
        texts: text_id and the signals.
        signatures: of these texts.
    """

    n_new: int
    n_queries: int
    n_new_texts: int
    n_without_query: int
    queries: pl.DataFrame
    texts: pl.DataFrame
    signatures: npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Seen:
    """Hashes of conversations (of one data set) and of texts that this writer knows to be in the tables.

    What they have not seen is new, and need not be looked up. Made while nothing is in the tables: later there may be
    rows that they do not know.
    """

    keys: _core.SeenHashes
    texts: _core.SeenHashes

    @classmethod
    def of_empty(cls, connection: Connection, dataset_id: int) -> Seen | None:
        """For a data set without conversations in a workspace without texts; None where there are some."""
        highest = connection.execute(select(func.max(schema.text.c.text_id))).scalar()
        of_set = connection.exec_driver_sql("SELECT 1 FROM conversation WHERE dataset_id = ? LIMIT 1", (dataset_id,))
        if highest is not None or of_set.first() is not None:
            return None
        return cls(_core.SeenHashes(), _core.SeenHashes())


def unknown_keys(
    connection: Connection, keys: pl.Series, dataset_id: int, seen: Seen | None = None
) -> npt.NDArray[np.bool_]:
    """Which keys are neither earlier in the series nor in the data set. Works on a reading connection too."""
    unknown: npt.NDArray[np.bool_] = keys.is_first_distinct().to_numpy().copy()
    _fill_keys(connection, keys, None if seen is None else seen.keys)
    known = connection.exec_driver_sql(
        "SELECT k.i FROM batch_key k CROSS JOIN conversation c WHERE c.dataset_id = ? AND c.key = k.key", (dataset_id,)
    )
    unknown[[row[0] for row in known]] = False
    return unknown


def add_batch(
    connection: Connection,
    dataset_id: int,
    source_id: int,
    batch: PreparedBatch,
    *,
    write_segment: Callable[[pl.DataFrame], Callable[[], Written]],
    seen: Seen | None = None,
) -> AddedBatch:
    """Store the conversations of a batch that are not there yet, with queries and texts, and the position.

    Args:
        write_segment: begins to write the new conversations (`CONVERSATION_SCHEMA` with column ``id``) to a file and
            returns a function that waits until it is on disk.
        seen: what is known to be in the tables, to save looking up what is not.
    """
    unknown = unknown_keys(connection, batch.conversations["key"], dataset_id, seen)
    fresh = batch.conversations.filter(pl.Series(unknown))
    first_id = _next(connection, schema.conversation.c.id, "last_conversation_id")
    ids = np.full(len(unknown), -1, dtype=np.int64)
    ids[unknown] = np.arange(first_id, first_id + fresh.height)
    fresh = fresh.with_columns(pl.Series("id", ids[unknown]))
    written = write_segment(fresh.drop("key")) if fresh.height else None
    insert_rows(
        connection,
        "INSERT INTO conversation (id, dataset_id, key, source_id, model, language, timestamp, n_turns, line)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        fresh.select(
            "id",
            pl.lit(dataset_id),
            "key",
            *("conversation_id", "model", "language"),
            pl.col("timestamp").to_physical(),
            pl.col("turns").list.len(),
            "line",
        ),
    )
    queries = batch.queries.with_columns(pl.Series("conversation_id", ids[batch.queries["row"].to_numpy()])).filter(
        pl.col("conversation_id") >= 0
    )
    asked = batch.texts.with_row_index("row").join(queries, on="hash", how="semi", maintain_order="left")
    text_ids, new_texts = _add_texts(connection, asked, seen)
    first_query = _next(connection, schema.query.c.id, "last_query_id")
    queries = queries.join(text_ids, on="hash", how="left", maintain_order="left").with_columns(
        pl.int_range(first_query, first_query + pl.len(), dtype=pl.Int64).alias("query_id")
    )
    insert_rows(
        connection,
        "INSERT INTO query (id, conversation_id, position, text_id) VALUES (?, ?, ?, ?)",
        queries.select("query_id", "conversation_id", "position", "text_id"),
    )
    if written is not None:
        file, n_bytes, checksum = written()
        connection.exec_driver_sql(
            "INSERT INTO segment (first_id, last_id, source_id, file, n_bytes, checksum) VALUES (?, ?, ?, ?, ?, ?)",
            (first_id, first_id + fresh.height - 1, source_id, file, n_bytes, checksum),
        )
    _count(connection, dataset_id, source_id, batch, fresh, queries.height)
    metadata = fresh.select(
        pl.col("id").alias("conversation_id"),
        pl.lit(dataset_id).alias("dataset_id"),
        *("model", "language", "timestamp"),
        pl.col("turns").list.len().alias("n_turns"),
    )
    return AddedBatch(
        n_new=fresh.height,
        n_queries=queries.height,
        n_new_texts=new_texts.height,
        n_without_query=fresh.height - queries["conversation_id"].n_unique(),
        queries=queries.select("query_id", "conversation_id", "position", "text_id").join(
            metadata, on="conversation_id", how="left", maintain_order="left"
        ),
        texts=new_texts.select("text_id", *SIGNAL_COLUMNS),
        signatures=batch.signatures[new_texts["row"].to_numpy()],
    )


def set_signals(connection: Connection, signals: pl.DataFrame) -> None:
    """Write the signals of texts that are stored: text_id and `SIGNAL_COLUMNS`."""
    assignments = ", ".join(f"{name} = ?" for name in SIGNAL_COLUMNS)
    insert_rows(
        connection, f"UPDATE text SET {assignments} WHERE text_id = ?", signals.select(*SIGNAL_COLUMNS, "text_id")
    )


def insert_rows(connection: Connection, statement: str, rows: pl.DataFrame | Iterable[Sequence[Any]]) -> None:
    """Run a statement for every row; none is fine too."""
    tuples = rows.rows() if isinstance(rows, pl.DataFrame) else list(rows)
    if tuples:
        connection.exec_driver_sql(statement, tuples)


def _count(
    connection: Connection, dataset_id: int, source_id: int, batch: PreparedBatch, fresh: pl.DataFrame, n_queries: int
) -> None:
    d, s = schema.dataset, schema.source
    n_turns = int(fresh["turns"].list.len().sum())
    connection.execute(
        update(d)
        .where(d.c.id == dataset_id)
        .values(
            n_conversations=d.c.n_conversations + fresh.height,
            n_turns=d.c.n_turns + n_turns,
            n_queries=d.c.n_queries + n_queries,
            n_problems=d.c.n_problems + len(batch.problems),
        )
    )
    connection.execute(
        update(s)
        .where(s.c.id == source_id)
        .values(
            position=batch.position,
            n_conversations=s.c.n_conversations + fresh.height,
            n_problems=s.c.n_problems + len(batch.problems),
        )
    )


def _add_texts(connection: Connection, texts: pl.DataFrame, seen: Seen | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(hash, text_id) of every text, and the rows that were new, with their text_id."""
    text_ids = np.full(texts.height, -1, dtype=np.int64)
    if texts.height:
        _fill_keys(connection, texts["hash"], None if seen is None else seen.texts)
        known = connection.exec_driver_sql(
            "SELECT k.i, t.text_id FROM batch_key k CROSS JOIN text t WHERE t.hash = k.key"
        ).all()
        if known:
            rows, ids = np.array(known, dtype=np.int64).T
            text_ids[rows] = ids
    is_new = text_ids < 0
    first = _next(connection, schema.text.c.text_id, None)
    text_ids[is_new] = np.arange(first, first + int(is_new.sum()))
    texts = texts.with_columns(pl.Series("text_id", text_ids))
    new = texts.filter(pl.Series(is_new))
    insert_rows(connection, INSERT_TEXT, new.select(TEXT_COLUMNS))
    return texts.select("hash", "text_id"), new


def _fill_keys(connection: Connection, keys: pl.Series, seen: _core.SeenHashes | None = None) -> None:
    """Put the keys that may be in the tables, with their place in the series, where a statement can join them."""
    connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS batch_key (i INTEGER PRIMARY KEY, key BLOB NOT NULL)")
    connection.exec_driver_sql("DELETE FROM batch_key")
    numbered = enumerate(keys)
    rows = list(numbered) if seen is None else list(compress(numbered, seen.insert(b"".join(keys))))
    insert_rows(connection, "INSERT INTO batch_key (i, key) VALUES (?, ?)", rows)


def _next(connection: Connection, column: Any, kept: str | None) -> int:
    """The next free id: above every row, and above rows that were deleted (their highest id is kept)."""
    highest = connection.execute(select(func.max(column))).scalar()
    if kept is None:
        return 0 if highest is None else int(highest) + 1
    value = connection.execute(
        select(schema.workspace_value.c.value).where(schema.workspace_value.c.name == kept)
    ).scalar()
    return max(int(highest or 0), int(value or 0)) + 1
