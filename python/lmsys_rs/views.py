"""The tables of a workspace as lazy Polars frames: read in pieces when they are collected, only the columns asked for.

A view shows the state at the time it was made. Nothing can be written through it; SQL over the views is in `sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from lmsys_rs import columns
from lmsys_rs.conditions import effective_language
from lmsys_rs.duplicates import near_duplicate_groups, near_duplicates_by_meaning
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.records import Filters, OnEvent, RunRecord, ignore_events
from lmsys_rs.segments import read_conversation, scan_conversations, scan_turns
from lmsys_rs.selection import passing, select
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["VIEWS", "clusters", "conversations", "datasets", "memberships", "queries", "runs", "texts", "turns", "view"]

# Rows that are in memory at a time, some 80 ms of reading: a collect that has enough rows leaves the thread that reads
# the next page alone, and Python aborts a program that ends in the middle of it.
PAGE_ROWS = 20_000
QUERY_VIEW: dict[str, pl.DataType] = {
    "query_id": pl.Int64(),
    "text_id": pl.UInt32(),
    "conversation_id": pl.Int64(),
    "dataset": pl.String(),
    "model": pl.String(),
    "language": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "n_turns": pl.UInt32(),
    "position": pl.Int64(),
    "text": pl.String(),
}
SIGNALS = {name: kind for name, kind in columns.TEXTS.items() if name not in ("text_id", "detected_language")}
TEXT_VIEW: dict[str, pl.DataType] = {
    "text_id": pl.UInt32(),
    "text": pl.String(),
    "n_queries": pl.Int64(),
    "language": pl.String(),
    **SIGNALS,
    "near_duplicate": pl.UInt32(),
}
CLUSTER_VIEW: dict[str, pl.DataType] = {
    "run_id": pl.String(),
    "cluster_id": pl.Int32(),
    "size": pl.Int64(),
    "n_queries": pl.Int64(),
    "title": pl.String(),
    "description": pl.String(),
    "terms": pl.List(pl.String()),
}


def queries(session: Session, filters: Filters | None = None) -> pl.LazyFrame:
    """The queries that pass, by id, with the metadata of their conversation; ``text`` is read only if asked for."""
    frames = columns.frames(session)
    rows = frames.queries
    if filters is not None and (not filters.is_open or filters.limit is not None):
        rows = rows.join(passing(session, filters, ("query_id",)), on="query_id", how="semi", maintain_order="left")
    names = pl.DataFrame(
        {"dataset_id": list(frames.datasets), "dataset": list(frames.datasets.values())},
        schema={"dataset_id": pl.Int32, "dataset": pl.String},
    )

    def pages(wanted: int) -> Iterator[pl.DataFrame]:
        for start in range(0, wanted, PAGE_ROWS):
            page = rows.slice(start, min(PAGE_ROWS, wanted - start))
            page = page.join(names, on="dataset_id", how="left", maintain_order="left")
            page = page.with_columns(frames.texts["detected_language"].gather(page["text_id"]))
            page = page.with_columns(effective_language(), pl.col("position").cast(pl.Int64))
            yield page.with_columns(pl.col("model", "language").cast(pl.String))

    return _paged(QUERY_VIEW, pages, rows.height, texts_of=session)


def texts(session: Session) -> pl.LazyFrame:
    """Every distinct text by id: text_id, text, n_queries, near_duplicate and the signals; ``text`` only if asked."""
    frames = columns.frames(session)
    n_texts = frames.texts.height
    groups = near_duplicate_groups(session, n_texts)

    def pages(wanted: int) -> Iterator[pl.DataFrame]:
        counts = np.bincount(frames.queries["text_id"].to_numpy(), minlength=n_texts)
        for start in range(0, wanted, PAGE_ROWS):
            stop = min(start + PAGE_ROWS, wanted)
            yield frames.texts[start:stop].with_columns(
                pl.Series("n_queries", counts[start:stop], dtype=pl.Int64),
                pl.col("detected_language").cast(pl.String).alias("language"),
                pl.Series("near_duplicate", groups[start:stop]),
            )

    return _paged(TEXT_VIEW, pages, n_texts, texts_of=session)


def near_duplicates(
    session: Session,
    by: Literal["text", "meaning"] = "text",
    filters: Filters | None = None,
    *,
    on_event: OnEvent = ignore_events,
) -> pl.DataFrame:
    """Texts that have a near-duplicate among those that pass: text_id, near_duplicate (their group), n_queries, text.

    Raises:
        InvalidInputError: ``by`` is neither ``text`` nor ``meaning``.
        StoreError: by meaning, and nothing is embedded.
    """
    if by not in ("text", "meaning"):
        raise InvalidInputError(f"by must be text or meaning: {by!r}")
    selected = select(session, filters)
    if by == "meaning":
        groups = near_duplicates_by_meaning(session, selected, on_event=on_event)
    else:
        groups = near_duplicate_groups(session, columns.frames(session).texts.height)[selected.text_ids]
    found = pl.DataFrame({"text_id": selected.text_ids, "near_duplicate": groups, "n_queries": selected.weights})
    found = found.cast({"n_queries": pl.Int64}).filter(pl.len().over("near_duplicate") > 1)
    found = found.sort("near_duplicate", "text_id")
    with session.store.reading() as connection:
        return found.with_columns(reading.texts_of(connection, found["text_id"].to_numpy()).alias("text"))


def conversations(session: Session, dataset: str | None = None) -> pl.LazyFrame:
    """Whole conversations (of one data set) by id: `segments.SEGMENT_SCHEMA`, with turns and every other field."""
    with session.store.reading() as connection:
        return scan_conversations(session.folder, reading.segments(connection, _dataset_id(connection, dataset)))


def conversation_of(session: Session, query_id: int) -> pl.DataFrame:
    """The whole conversation of a query, one row: `segments.SEGMENT_SCHEMA`, ``extra`` as JSON.

    Raises:
        InvalidInputError: there is no such query.
        StoreError: the file it lies in is missing or damaged.
    """
    with session.store.reading() as connection:
        conversation_id = reading.conversation_id_of(connection, query_id)
        if conversation_id is None:
            raise InvalidInputError(f"there is no query {query_id}", hint="lmsys list shows queries and their numbers")
        segment = reading.segment_of(connection, conversation_id)
    return read_conversation(session.folder, segment, conversation_id)


def turns(session: Session, dataset: str | None = None) -> pl.LazyFrame:
    """Every turn: conversation_id, position (from 0), role, content."""
    with session.store.reading() as connection:
        return scan_turns(session.folder, reading.segments(connection, _dataset_id(connection, dataset)))


def memberships(session: Session, run_id: str = "latest") -> pl.LazyFrame:
    """text_id, cluster_id (-1 = noise), probability and assigned of every text of a run, by text_id."""
    with session.store.reading() as connection:
        run = reading.get_run(connection, run_id)

    def pages(wanted: int) -> Iterator[pl.DataFrame]:
        after = -1
        while wanted > 0:
            with session.store.reading() as connection:
                page = reading.members(connection, run.run_id, after=after, limit=min(PAGE_ROWS, wanted))
            if not page.height:
                return
            yield page
            wanted -= page.height
            after = int(page["text_id"][-1])

    return _paged(reading.MEMBER_SCHEMA, pages, run.n_texts + run.n_assigned)


def runs(session: Session) -> pl.LazyFrame:
    """Every run as a row, newest first."""
    with session.store.reading() as connection:
        return reading.run_frame(connection).lazy()


def clusters(session: Session, run_id: str = "latest") -> pl.LazyFrame:
    """Every cluster of a run by id: run_id, cluster_id, size, n_queries, title, description, terms."""
    with session.store.reading() as connection:
        run: RunRecord = reading.get_run(connection, run_id)
        found = reading.clusters(connection, run.run_id)
    return pl.LazyFrame(
        [
            (c.run_id, c.cluster_id, c.size, c.n_queries, c.title, c.description, [term for term, _ in c.terms])
            for c in found
        ],
        schema=CLUSTER_VIEW,
        orient="row",
    )


def datasets(session: Session) -> pl.LazyFrame:
    """Every data set as a row: name, format, unit, source, n_files, n_conversations, ..., finished."""
    with session.store.reading() as connection:
        found = reading.datasets(connection)
    kinds = {
        **dict.fromkeys(("name", "format", "unit", "source"), pl.String),
        **dict.fromkeys(("n_files", "n_conversations", "n_turns", "n_queries", "n_problems"), pl.Int64),
        "finished": pl.Boolean,
    }
    return pl.LazyFrame({name: [getattr(record, name) for record in found] for name in kinds}, schema=kinds)


VIEWS: dict[str, Callable[[Session], pl.LazyFrame]] = {
    "datasets": datasets,
    "conversations": conversations,
    "turns": turns,
    "queries": queries,
    "texts": texts,
    "runs": runs,
    "clusters": clusters,
    "memberships": memberships,
}
"""Every view by name; ``clusters`` and ``memberships`` are of the newest run."""


def view(session: Session, name: str) -> pl.LazyFrame:
    """A view by its name; one of a run that does not exist yet is empty."""
    if name in ("clusters", "memberships"):
        with session.store.reading() as connection:
            has_run = bool(reading.runs(connection))
        if not has_run:
            return pl.LazyFrame(schema=reading.MEMBER_SCHEMA if name == "memberships" else CLUSTER_VIEW)
    return VIEWS[name](session)


def _paged(
    schema: dict[str, pl.DataType],
    pages: Callable[[int], Iterator[pl.DataFrame]],
    n_rows: int,
    *,
    texts_of: Session | None = None,
) -> pl.LazyFrame:
    """A lazy frame whose rows are read page by page; Polars says which columns and how many rows it needs.

    Args:
        pages: gives pages of the columns, that many rows together.
        texts_of: where column ``text`` comes from, by ``text_id``: only if it is asked for, and as late as possible.
    """

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_wanted: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        wanted = list(schema) if with_columns is None else with_columns
        is_text_tested = predicate is not None and "text" in predicate.meta.root_names()
        # a limit that comes with a predicate stands before it: head(3).filter(...)
        for page in pages(n_rows if n_wanted is None else min(n_wanted, n_rows)):
            if texts_of is not None and is_text_tested:
                page = _with_text(texts_of, page)
            if predicate is not None:
                page = page.filter(predicate)
            if texts_of is not None and "text" in wanted and not is_text_tested:
                page = _with_text(texts_of, page)
            yield page.select(wanted)

    return register_io_source(source, schema=schema)


def _with_text(session: Session, page: pl.DataFrame) -> pl.DataFrame:
    rows = page["text_id"]
    ids = rows.unique().sort()
    with session.store.reading() as connection:
        if len(ids) and int(ids[-1]) - int(ids[0]) < 2 * len(ids):
            # mostly neighbours, as they were loaded: a range is read ten times as fast as single texts
            texts = reading.text_range(connection, int(ids[0]), int(ids[-1]) + 1)
            return page.with_columns(texts.gather(rows - int(ids[0])).alias("text"))
        texts = reading.texts_of(connection, ids.to_numpy())
    return page.with_columns(texts.gather(ids.search_sorted(rows)).alias("text"))


def _dataset_id(connection: object, name: str | None) -> int | None:
    if name is None:
        return None
    found = {d.name: d.id for d in reading.datasets(connection)}  # type: ignore[arg-type]  # a connection of the store
    if name not in found:
        raise InvalidInputError(f"there is no data set {name!r}: there are {', '.join(found) or 'none'}")
    return found[name]
