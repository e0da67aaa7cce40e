"""Which queries pass the filters, and which distinct texts they ask: for clusters, lists, searches, exports and counts.

It decides nothing about what a filter means (see `conditions`) and reads texts only where a condition looks at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PolarsError

from lmsys_rs import columns
from lmsys_rs.conditions import LABEL_COLUMN, checked, effective_language, where_names
from lmsys_rs.duplicates import near_duplicate_groups
from lmsys_rs.errors import InvalidInputError
from lmsys_rs.labels import label_column
from lmsys_rs.records import Filters, Selection
from lmsys_rs.session import Session
from lmsys_rs.store import reading

__all__ = ["FACETS", "facets", "first_queries", "passing", "queries", "select"]

FACETS = ("dataset", "model", "language", "month")
TEXT_PAGE = 200_000  # texts that a condition on them looks at, at a time


def select(session: Session, filters: Filters | None = None) -> Selection:
    """The distinct texts of the queries that pass, each with the number of these queries."""
    filters = filters or Filters()
    found = passing(session, filters.without_limit(), ("text_id",))
    counted = found.group_by("text_id").len("weight").sort("text_id").head(filters.limit or found.height)
    return Selection(counted["text_id"].to_numpy(), counted["weight"].cast(pl.Float32).to_numpy())


def passing(
    session: Session,
    filters: Filters | None = None,
    names: tuple[str, ...] = ("query_id", "text_id"),
    *,
    after: int | None = None,
    text_ids: npt.NDArray[np.uint32] | None = None,
) -> pl.DataFrame:
    """Columns ``names`` (see `conditions.WHERE_COLUMNS`) of the queries that pass, ascending by query_id.

    Args:
        after: only queries with an id above this one.
        text_ids: only queries with these texts.

    Raises:
        InvalidInputError: ``where`` is no condition.
    """
    filters = filters or Filters()
    needed = where_names(filters) | set(names)
    frames = columns.frames(session)
    found = frames.queries
    if after is not None:
        found = found.slice(int(found["query_id"].search_sorted(after, side="right")))
    if text_ids is not None:
        found = found.filter(_member_mask(text_ids, frames.texts.height)[found["text_id"].to_numpy()])
    table = _with_columns(session, frames, found, needed, filters.labelling or {})
    if filters.is_open:
        return table.select(names).head(filters.limit or table.height)
    try:
        kept = table.filter(checked(filters, table.schema))
    except PolarsError as error:
        raise InvalidInputError(f"where: {str(error).strip().splitlines()[0]}") from error
    if filters.near_duplicates is False:
        first = kept.group_by("near_duplicate").agg(pl.col("text_id").min())["text_id"].to_numpy()
        kept = kept.filter(_member_mask(first, frames.texts.height)[kept["text_id"].to_numpy()])
    return kept.select(names).head(filters.limit or kept.height)


def first_queries(session: Session, text_ids: npt.NDArray[np.uint32], filters: Filters | None = None) -> pl.DataFrame:
    """For each text the first query that passes, in the order of ``text_ids``; texts without one are left out.

    Columns query_id, text_id, conversation_id, dataset, model, language, timestamp, text, n_queries.
    """
    found = passing(session, filters, ("query_id", "text_id"), text_ids=text_ids)
    first = found.group_by("text_id").agg(pl.col("query_id").min(), pl.len().cast(pl.Int64).alias("n_queries"))
    wanted = pl.DataFrame({"text_id": pl.Series(text_ids, dtype=pl.UInt32)})
    ordered = wanted.join(first, on="text_id", how="inner", maintain_order="left")
    with session.store.reading() as connection:
        found = reading.queries_by_id(connection, ordered["query_id"].to_numpy()).drop("cluster_id")
    return found.with_columns(ordered["n_queries"])


def queries(
    session: Session,
    filters: Filters | None = None,
    *,
    run_id: str | None = None,
    cluster_id: int | None = None,
    after: int = 0,
    limit: int | None = 50,
) -> pl.DataFrame:
    """A page of the queries that pass, by id: the columns of `reading.QUERY_SCHEMA`.

    Args:
        run_id: only queries whose texts are in this run, with their cluster; ``latest`` is the newest.
        cluster_id: only queries of this cluster of the run.
        after: only queries with an id above this one, to go on after a page.
    """
    text_ids = None
    if run_id is not None:
        with session.store.reading() as connection:
            run_id = reading.get_run(connection, run_id).run_id
            text_ids = reading.members(connection, run_id, cluster_id)["text_id"].to_numpy()
    found = passing(session, replace(filters or Filters(), limit=limit), ("query_id",), after=after, text_ids=text_ids)
    with session.store.reading() as connection:
        return reading.queries_by_id(connection, found["query_id"].to_numpy(), run_id=run_id)


def facets(session: Session, filters: Filters | None = None, by: tuple[str, ...] = FACETS) -> dict[str, pl.DataFrame]:
    """How many queries that pass have each value: for every facet a frame (value, n_queries), most first.

    Args:
        by: some of `FACETS`, or columns of labels (``label_task_type``); ``month`` counts by month of the conversation,
            in order of time.
    """
    unknown = [name for name in by if name not in FACETS and not LABEL_COLUMN.fullmatch(name)]
    if unknown:
        raise InvalidInputError(f"a facet must be one of {', '.join(FACETS)} or a column of labels: {unknown[0]!r}")
    names = tuple(dict.fromkeys("timestamp" if name == "month" else name for name in by))
    found = passing(session, filters, names)
    counted: dict[str, pl.DataFrame] = {}
    for name in by:
        if name == "month":
            # of 1M times 12 ms, where truncating each to its month takes 70
            days = found.select((pl.col("timestamp").to_physical() // 86_400_000_000).cast(pl.Int32).alias("day"))
            months = (
                days.group_by("day")
                .len("n_queries")
                .with_columns(pl.col("day").cast(pl.Date).dt.truncate("1mo").alias("value"))
                .group_by("value")
                .agg(pl.col("n_queries").sum())
            )
            counted[name] = months.sort("value", nulls_last=True)
            continue
        counts = found.group_by(pl.col(name).alias("value")).len("n_queries")
        counted[name] = counts.with_columns(pl.col("value").cast(pl.String)).sort(
            ["n_queries", "value"], descending=[True, False], nulls_last=True
        )
    return counted


def _with_columns(
    session: Session, frames: columns.Frames, found: pl.DataFrame, needed: set[str], pins: Mapping[str, str]
) -> pl.DataFrame:
    """The queries with every needed column that they do not have themselves."""
    if "dataset" in needed:
        # a data set that is being deleted may have rows here for a moment
        names = pl.DataFrame(
            {"dataset_id": list(frames.datasets), "dataset": list(frames.datasets.values())},
            schema={"dataset_id": pl.Int32, "dataset": pl.Categorical},
        )
        found = found.join(names, on="dataset_id", how="left", maintain_order="left")
    of_texts = needed & (set(columns.TEXTS) - {"text_id"})
    if "language" in needed:
        of_texts.add("detected_language")
    if of_texts:
        rows = found["text_id"]
        found = found.with_columns(frames.texts[name].gather(rows) for name in sorted(of_texts))
    if "language" in needed:
        found = found.with_columns(effective_language())
    for name in sorted(name for name in needed if LABEL_COLUMN.fullmatch(name)):
        found = found.with_columns(
            label_column(session, name, frames.texts.height, pins.get(name)).gather(found["text_id"])
        )
    if "near_duplicate" in needed:
        groups = near_duplicate_groups(session, frames.texts.height)
        found = found.with_columns(pl.Series("near_duplicate", groups[found["text_id"].to_numpy()]))
    if "n_occurrences" in needed:
        counts = np.bincount(frames.queries["text_id"].to_numpy(), minlength=frames.texts.height)
        found = found.with_columns(pl.Series("n_occurrences", counts[found["text_id"].to_numpy()]))
    if "text" in needed:
        found = found.with_columns(_texts_of(session, found["text_id"]))
    return found


def _texts_of(session: Session, text_ids: pl.Series) -> pl.Series:
    distinct = text_ids.unique().sort()
    with session.store.reading() as connection:
        parts = [
            reading.texts_of(connection, distinct.slice(at, TEXT_PAGE).to_numpy())
            for at in range(0, len(distinct), TEXT_PAGE)
        ]
    texts = pl.concat(parts) if parts else pl.Series([], dtype=pl.String)
    where = distinct.search_sorted(text_ids) if len(distinct) else text_ids
    return texts.gather(where).alias("text")


def _member_mask(text_ids: npt.NDArray[np.uint32], n_texts: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n_texts, dtype=np.bool_)
    mask[text_ids] = True
    return mask
